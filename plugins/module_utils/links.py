# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an endpoint's link should be, and what of it has to be written. Pure.

Only what we manage is compared: further addresses and routes on the link are not ours, and stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress, Subnet, parse_address
from ansible_collections.netops.underlay.plugins.module_utils.facts import IPV6_MIN_MTU, Address, Link, Route, attribute
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    FAMILIES,
    HOST_SYSCTLS,
    OPTIMISTIC,
    OPTIMISTIC_DAD,
    ROUTE_PROTOCOL,
    Allocation,
    Endpoint,
    Network,
    Target,
    endpoint_mark,
    making_group,
    working_name,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Space
from ansible_collections.netops.underlay.plugins.module_utils.steps import MakeLink, RouteSpec, SetUp

# include/uapi/linux/rtnetlink.h: such a route comes from a router advertisement and is not ours.
RTPROT_RA = 9
_RT_SCOPE_LINK = 253
RTPROT_KERNEL = 2  # follows from an address
LOOPBACK, LOOPBACK_ADDRESS, LOOPBACK_PREFIXLEN = "lo", "127.0.0.1", 8
DISABLE_IPV6, ACCEPT_RA_DEFRTR = "net.ipv6.conf.IFNAME.disable_ipv6", "net.ipv6.conf.IFNAME.accept_ra_defrtr"
# The kernel tells them with the link; all others have to be read.
IN_LINK = frozenset({DISABLE_IPV6, ACCEPT_RA_DEFRTR})

Interface = tuple[IPAddress, int]  # an address and the prefix length of its subnet


def gateway_of(network: Network, subnet: Subnet) -> bool:
    """Whether an endpoint in this subnet can carry a default route."""
    return network.routed or (not network.isolated and subnet.gateway is not None)


def default_route_of(network: Network, address: Allocation) -> RouteSpec | None:
    """The default route that an endpoint of this network can carry; None where there is none to carry."""
    if network.routed:
        return RouteSpec(address.family, None)
    subnet = network.subnet_of(address.address)
    if network.isolated or subnet is None or subnet.gateway is None:
        return None
    return RouteSpec(address.family, subnet.gateway, onlink=subnet.gateway not in subnet.network)


def mtu_of(network: Network, parent: Link | None) -> int | None:
    """The MTU of a link: as asked for, but never above the parent's; else the parent's."""
    if parent is None:
        return network.mtu
    return min(network.mtu, parent.mtu) if network.mtu else parent.mtu


def prefixlen_in(target: Target, subnet: Subnet) -> int:
    """The prefix length of an address. In the host's own namespace the address stands alone: a route to the subnet would
    take the host's own one away."""
    return subnet.network.max_prefixlen if target.kind == "host" else subnet.network.prefixlen


class Wanted(NamedTuple):
    """An endpoint's link as it should be. ``addresses`` are by family; ``leaving`` those that are to go
    from it if it has them; in the host's own namespace ``peers`` are the addresses of the other endpoints."""

    item: str
    network: Network
    row: Endpoint
    addresses: Mapping[int, Allocation]
    mtu: int | None
    leaving: frozenset[IPAddress] = frozenset()
    peers: Mapping[int, tuple[IPAddress, ...]] = MappingProxyType({})

    @property
    def mark(self) -> str:
        return endpoint_mark(*self.row.key)

    def interfaces(self, family: int) -> tuple[Interface, ...]:
        allocation = self.addresses.get(family)
        subnet = self.network.subnet_of(allocation.address) if allocation else None
        return ((allocation.address, prefixlen_in(self.row.target, subnet)),) if allocation and subnet else ()

    def routes(self, family: int) -> tuple[RouteSpec, ...]:
        if family in self.addresses and self.row.target.kind == "host":
            return tuple(RouteSpec(family, None, destination=address) for address in self.peers.get(family, ()))
        if family not in self.row.default_route or family not in self.addresses:
            return ()
        route = default_route_of(self.network, self.addresses[family])
        return () if route is None else (route,)

    def sysctls(self) -> dict[str, str]:
        """The link's own settings, with IFNAME in the place of its name."""
        settings = {DISABLE_IPV6: "0" if self.network.of_family(6) else "1"}
        if any(route.gateway for route in self.routes(6)):
            # With a default route of ours none is taken from router advertisements.
            settings[ACCEPT_RA_DEFRTR] = "0"
        if self.row.target.kind == "host":
            settings.update({k: v for k, v in HOST_SYSCTLS.items() if ".ipv4." in k or self.network.of_family(6)})
        return {**settings, **self.row.sysctls}


def has_sysctl(link: Link, key: str, value: str) -> bool:
    """Whether a link is known to have a setting. One with an MTU too small for IPv6 has none to switch off."""
    if key == DISABLE_IPV6 and link.ipv6_conf.disable_ipv6 is None and link.mtu < IPV6_MIN_MTU:
        return value == "1"
    return key in IN_LINK and str(getattr(link.ipv6_conf, key.rpartition(".")[2])) == value


def made(wanted: Wanted, loopback_up: bool, name_free: bool) -> tuple[MakeLink, SetUp]:
    """The steps that make the link; ``loopback_up`` says that the namespace's loopback has to be raised, too, and
    ``name_free`` that no other link keeps its name from it meanwhile."""
    network, row = wanted.network, wanted.row
    mark = wanted.mark
    name = row.ifname if name_free else working_name(mark)
    make = MakeLink(
        item=wanted.item,
        space=row.target,
        name=name,
        group=making_group(mark),
        kind=network.driver.kind,
        parent=network.parent,
        attributes=network.driver.attributes(network.mode, network.flag),
        mtu=wanted.mtu,
        mac_address=row.mac_address,
    )
    set_up = SetUp(
        item=wanted.item,
        space=row.target,
        link=name,
        name=row.ifname,
        made=True,
        rename=not name_free,
        mark=mark,
        up=True,
        sysctls=wanted.sysctls(),
        addresses=tuple(pair for family in FAMILIES for pair in wanted.interfaces(family)),
        routes=tuple(route for family in FAMILIES for route in wanted.routes(family)),
        loopback_up=loopback_up,
    )
    return make, _optimistic(wanted, set_up)


def _optimistic(wanted: Wanted, step: SetUp) -> SetUp:
    """The same step, with what IPv6 addresses that it gives need to be used while the kernel probes for them. Those that the
    link has stay as they are."""
    if wanted.network.ipv6_dad != OPTIMISTIC or not any(address.version == 6 for address, _plen in step.addresses):
        return step
    return step._replace(sysctls={OPTIMISTIC_DAD: "1", **step.sysctls}, optimistic=True)


def loopback_alone(item: str, target: Target, space: Space | None) -> tuple[SetUp, dict[str, dict[str, Any]]]:
    """What has to be written for a namespace with nothing but its loopback: up, IPv4 only; the same in words."""
    found = Differences()
    loopback = next((link for link in space.links if link.loopback), None) if space else None
    now = loopback.ipv6_conf.disable_ipv6 if loopback else 0
    if now is not None:
        found.compare("disable_ipv6", str(now), "1", sysctls={DISABLE_IPV6: "1"})
    found.compare("up", bool(loopback and loopback.up), True, loopback_up=True)
    has = (
        {(a.address, a.prefixlen) for a in space.addresses if loopback and a.index == loopback.index}
        if space
        else set()
    )
    # The kernel gives it its address when it comes up.
    if loopback and loopback.up and (LOOPBACK_ADDRESS, LOOPBACK_PREFIXLEN) not in has:
        text = f"{LOOPBACK_ADDRESS}/{LOOPBACK_PREFIXLEN}"
        found.compare("ipv4_address", None, text, addresses=((parse_address(LOOPBACK_ADDRESS), LOOPBACK_PREFIXLEN),))
    return SetUp(item, target, LOOPBACK, LOOPBACK, **found.written), found.changes


class Differences:
    """Collects what has to be written to an existing link, and the same in words."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Any]] = {}
        self.written: dict[str, Any] = {}

    def compare(self, name: str, before: Any, after: Any, **written: Any) -> bool:
        """Notes a difference under ``name``, with what to write for it; whether there is one."""
        if before == after:
            return False
        self.changes[name] = {"before": before, "after": after}
        self.written.update(written)
        return True


def differences(
    wanted: Wanted, space: Space, link: Link, lo_up: bool, sysctls_now: Mapping[str, str]
) -> tuple[SetUp, dict[str, dict[str, Any]]]:
    """What of an existing link has to be written, and the same in words; ``sysctls_now`` are those that were read."""
    found = Differences()
    driver, network, row = wanted.network.driver, wanted.network, wanted.row
    # Going down, to be renamed or to be raised again, takes the IPv6 addresses and all routes from the link.
    bounced = found.compare("ifname", link.name, row.ifname, rename=True, mark=wanted.mark, up=True)
    bounced = found.compare("up", link.up, True, up=True) or bounced
    if wanted.mtu is not None:
        found.compare("mtu", link.mtu, wanted.mtu, mtu=wanted.mtu)
    if row.mac_address:
        found.compare("mac_address", link.mac, row.mac_address, mac_address=row.mac_address)
    attributes = driver.attributes(network.mode, network.flag)
    for setting, word in ((driver.mode, network.mode), (driver.flag, network.flag)):
        if setting:
            current = setting.word(attribute(link, setting.attribute, setting.format))
            found.compare(setting.option, current, word, kind=driver.kind, attributes=attributes)
    sysctls = {}
    for name, value in wanted.sysctls().items():
        now = sysctls_now.get(name) if name not in IN_LINK else getattr(link.ipv6_conf, name.rpartition(".")[2])
        if now is not None and found.compare(name.rpartition(".")[2], str(now), value):
            sysctls[name] = value
    if sysctls:
        found.written["sysctls"] = sysctls
    for family in FAMILIES:
        _compare_family(found, wanted, space, link, family, bounced)
    found.compare("loopback_up", lo_up, True, loopback_up=True)
    step = SetUp(wanted.item, row.target, link.name, row.ifname, **found.written)
    return _optimistic(wanted, step), found.changes


def _compare_family(found: Differences, wanted: Wanted, space: Space, link: Link, family: int, bounced: bool) -> None:
    now = {
        (parse_address(address.address), address.prefixlen)
        for address in space.addresses
        if address.index == link.index and address.family == family
    }
    off = _leaving(wanted, family, now)
    on = []
    for address, prefixlen in wanted.interfaces(family):
        missing = (address, prefixlen) not in now
        before = next((f"{old}/{length}" for old, length in off), None if missing else f"{address}/{prefixlen}")
        found.compare(f"ipv{family}_address", before, f"{address}/{prefixlen}")
        # With an address that goes, the kernel takes those that came after it in its subnet.
        if missing or off or (bounced and family == 6):
            on.append((address, prefixlen))
    _add(found.written, "addresses_off", off)
    _add(found.written, "addresses", on)
    _compare_routes(found, wanted, _routes_by(wanted, space, link, family), family, bounced or bool(off))


def _leaving(wanted: Wanted, family: int, now: set[Interface]) -> list[Interface]:
    """The addresses that have to go: what the endpoint had until this run or another has, and its own with another prefix
    length, which its subnet had before."""
    own = dict(wanted.interfaces(family))
    return sorted(
        (address, prefixlen)
        for address, prefixlen in now
        if (address in wanted.leaving and address not in own) or (address in own and prefixlen != own[address])
    )


def _routes_by(wanted: Wanted, space: Space, link: Link, family: int) -> list[RouteSpec]:
    """The routes by our link that are ours to judge: the default routes; on the host those with our protocol."""
    if wanted.row.target.kind == "host":
        return [
            RouteSpec(family, None, destination=parse_address(route.destination.partition("/")[0]))
            for route in space.routes
            if is_ours(route, link.index) and route.family == family
        ]
    return [_as_spec(route) for route in space.routes if _is_default_by(route, link, family)]


def is_global(address: Address, index: int) -> bool:
    """Whether it is an address on that link that somebody gave it, other than the kernel its link-local one."""
    return address.index == index and address.scope != _RT_SCOPE_LINK


def is_ours(route: Route, index: int) -> bool:
    """Whether it is a route of ours from the host to one endpoint."""
    return route.index == index and route.protocol == ROUTE_PROTOCOL and route.destination != "default"


def _is_default_by(route: Route, link: Link, family: int) -> bool:
    by_advertisement = family == 6 and route.protocol == RTPROT_RA
    return (
        route.family == family and route.destination == "default" and route.index == link.index and not by_advertisement
    )


def _as_spec(route: Route) -> RouteSpec:
    return RouteSpec(route.family, parse_address(route.gateway) if route.gateway else None, route.onlink)


def _compare_routes(found: Differences, wanted: Wanted, now: list[RouteSpec], family: int, disturbed: bool) -> None:
    """A second default route by our link contradicts what we manage and goes. Where the link goes down or loses an address,
    the kernel may take our route with it: then it is set again."""
    want = list(wanted.routes(family))
    name = "routes" if wanted.row.target.kind == "host" else "default_route"
    found.compare(f"ipv{family}_{name}", sorted(map(_word, now)), sorted(map(_word, want)))
    _add(found.written, "routes_off", [route for route in now if route not in want or disturbed])
    _add(found.written, "routes", [route for route in want if route not in now or disturbed])


def _add(written: dict[str, Any], name: str, values: list[Any]) -> None:
    if values:
        written[name] = written.get(name, ()) + tuple(values)


def _word(route: RouteSpec) -> str:
    if route.destination is not None:
        return str(route.destination)
    return f"via {route.gateway}" if route.gateway else "dev"
