# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How things look to a user: one form for results, diffs and the ``_info`` modules. Pure.

What only the kernel can know is None where it was not (or not yet) seen.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.module_utils.book import set_aside as set_aside_on
from ansible_collections.netops.underlay.plugins.module_utils.book import usage
from ansible_collections.netops.underlay.plugins.module_utils.facts import Link
from ansible_collections.netops.underlay.plugins.module_utils.links import (
    LOOPBACK,
    LOOPBACK_ADDRESS,
    LOOPBACK_PREFIXLEN,
    RTPROT_KERNEL,
    default_route_of,
    is_global,
    is_ours,
    mtu_of,
    prefixlen_in,
)
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    FAMILIES,
    HOST,
    NONE,
    Allocation,
    Endpoint,
    Held,
    Network,
    Outcome,
    Parent,
    Target,
    endpoint_mark,
    moment,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host, Space
from ansible_collections.netops.underlay.plugins.module_utils.parents import made_by_us, mtu_over, vlan_of
from ansible_collections.netops.underlay.plugins.module_utils.steps import Plan

if TYPE_CHECKING:
    from ansible_collections.netops.underlay.plugins.module_utils.audit import Finding

DUMMY_MTU, LOOPBACK_MTU = 1500, 65536


class _Shown(NamedTuple):
    """All that a network is told from."""

    item: Network
    created: bool
    vlan_id: int | None
    protocol: str | None
    mtu: int | None


class Networks(NamedTuple):
    """Networks by name: what each is told from, and what is told."""

    shown: Mapping[str, _Shown]
    told: Mapping[str, dict[str, Any]]


def networks(
    items: Mapping[str, Network],
    host: Host,
    parents: Mapping[str, Parent],
    like: Networks = Networks({}, {}),  # noqa: B008
) -> Networks:
    """What is as in ``like`` is not told anew: of hundreds most are afterwards what they were, or were to be."""
    shown = {name: _shown(item, host, parents) for name, item in items.items()}
    told = {name: like.told[name] if like.shown.get(name) == item else _told(item) for name, item in shown.items()}
    return Networks(shown, told)


def network(item: Network, host: Host, parents: Mapping[str, Parent]) -> dict[str, Any]:
    """A network; ``parents`` are the links that we made or will have made."""
    return _told(_shown(item, host, parents))


def _shown(item: Network, host: Host, parents: Mapping[str, Parent]) -> _Shown:
    made = parents.get(item.parent)
    link = host.links.get(item.parent)
    if made and link and not made_by_us(link):
        made = None  # somebody made it anew
    vlan_id, protocol = (made.vlan_id, made.protocol) if made else vlan_of(link)[1:] if link else (None, None)
    return _Shown(item, made is not None, vlan_id, protocol, item.mtu or _parent_mtu(made, link, host))


def _told(shown: _Shown) -> dict[str, Any]:
    item, created, vlan_id, protocol, mtu = shown
    return {
        "name": item.name,
        "driver": item.driver_name,
        "parent": item.parent,
        "parent_created": created,
        "vlan_id": vlan_id,
        "vlan_protocol": protocol if vlan_id is not None else None,
        "mode": item.mode,
        "flag": item.flag,
        "mtu": mtu,
        "internal": item.internal,
        "enable_ipv4": item.enable_ipv4,
        "enable_ipv6": item.enable_ipv6,
        "ipam_config": [_subnet(subnet) for subnet in item.subnets],
        "labels": dict(item.labels),
        "cooldown": item.cooldown,
        "announce": {"count": item.announce.count, "interval_ms": item.announce.interval_ms},
        "conflict_check": item.conflict_check,
        "routes": [{"subnet": str(route.subnet), "via": str(route.via)} for route in item.routes],
        "ipv6_dad": item.ipv6_dad,
        "state": "present",
    }


def on_wire(seen: Mapping[str, Any] | None, findings: Iterable[Any]) -> dict[str, Any]:
    """What the trunk check adds to a network."""
    return {"wire": seen, "findings": [item._asdict() for item in findings]}


def _parent_mtu(made: Parent | None, link: Link | None, host: Host) -> int | None:
    if link is not None:
        return link.mtu
    if made is not None and made.base is not None:
        return mtu_over(host.links[made.base]) if made.base in host.links else None
    return DUMMY_MTU if made is not None else None


def _subnet(subnet: addressing.Subnet) -> dict[str, Any]:
    # Told once: what a subnet keeps of itself for its endpoints would be more than what is told.
    return {
        "subnet": str(subnet.network),
        "gateway": None if subnet.gateway is None else str(subnet.gateway),
        "ip_range": None if subnet.ip_range is None else str(subnet.ip_range),
        "aux_addresses": {name: str(address) for name, address in subnet.auxiliary},
    }


def endpoint(
    row: Endpoint,
    item: Network | None,
    addresses: Mapping[int, Allocation],
    host: Host,
    space: Space | None,
    hosts_file: str | None = None,
    outcome: Outcome | None = None,
) -> dict[str, Any]:
    """An endpoint as it is in ``space``, or as it will be (``outcome``)."""
    if row.network == NONE:
        return _alone(row, space, outcome is not None)
    predicted = outcome is not None
    link = None if space is None else space.marked(endpoint_mark(*row.key))
    attached = predicted or link is not None
    if predicted or link is None:
        parent = host.links.get(item.parent) if item else None
        mac = row.mac_address or (parent.mac if attached and parent else None)
        mtu = mtu_of(item, parent) if attached and item else None
        ifname = row.ifname
    else:
        mac, mtu, ifname = link.mac, link.mtu, link.name
    # Of an attached link the kernel is asked what it has; of one that is not there, the store what is held for it.
    on = (
        None
        if predicted or link is None or space is None
        else {(found.address, found.prefixlen) for found in space.addresses if found.index == link.index}
    )
    if row.target == HOST:
        routes = _routes_of_host(link, space, outcome)
    else:
        # Of what is not there no route can be.
        routes = _routes(row, item, addresses) if item and attached else []
        if not predicted:
            routes = [route for route in routes if link and _is_there(route, link.index, space)]
    return {
        "network": row.network,
        "name": row.name,
        "driver": item.driver_name if item else None,
        "target": _target(row.target),
        "ifname": ifname,
        "mac_address": mac,
        "mtu": mtu,
        "ipv4": _interface(row, item, addresses.get(4), on),
        "ipv6": _interface(row, item, addresses.get(6), on),
        "routes": routes,
        "default_route": bool(row.default_route),
        "aliases": list(row.aliases),
        "sysctls": dict(row.sysctls),
        "hosts_file": hosts_file,
        "state": "attached" if attached else "waiting",
    }


def others(row: Endpoint, entry: Mapping[str, Any], space: Space | None) -> dict[str, Any] | None:
    """The addresses and routes on an endpoint's link that are not ours: by hand, by another service, by a router; None where
    there are none. ``entry`` is the endpoint as it is shown. The kernel's own (link-local addresses, routes to a subnet) are
    nobody's."""
    link = None if space is None else space.marked(endpoint_mark(*row.key))
    if link is None or space is None:
        return None
    own = {f"{found['address']}/{found['prefixlen']}" for found in (entry["ipv4"], entry["ipv6"]) if found}
    texts = [f"{found.address}/{found.prefixlen}" for found in space.addresses if is_global(found, link.index)]
    addresses = [text for text in texts if text not in own]
    known = {(route["destination"], route["gateway"]) for route in entry["routes"]}
    routes = [
        f"{found.destination} via {found.gateway}" if found.gateway else f"{found.destination} dev {link.name}"
        for found in space.routes
        if found.index == link.index
        and found.protocol != RTPROT_KERNEL
        and (found.destination, found.gateway) not in known
    ]
    if not addresses and not routes:
        return None
    return {"network": row.network, "name": row.name, "addresses": addresses, "routes": routes}


def _target(target: Target) -> dict[str, str]:
    engine = {"engine": target.engine} if target.engine else {}
    return {"kind": target.kind, "value": target.value, **engine}


def _alone(row: Endpoint, space: Space | None, predicted: bool) -> dict[str, Any]:
    """An endpoint of the network without links: its loopback is all that there is."""
    loopback = next((link for link in space.links if link.loopback), None) if space else None
    attached = predicted or (loopback is not None and loopback.up)
    return {
        "network": row.network,
        "name": row.name,
        "driver": None,
        "target": _target(row.target),
        "ifname": LOOPBACK,
        "mac_address": None,
        "mtu": loopback.mtu if loopback else LOOPBACK_MTU,
        "ipv4": {"address": LOOPBACK_ADDRESS, "prefixlen": LOOPBACK_PREFIXLEN, "gateway": None} if attached else None,
        "ipv6": None,
        "routes": [],
        "default_route": False,
        "aliases": [],
        "sysctls": {},
        "hosts_file": None,
        "state": "attached" if attached else "waiting",
    }


def _routes_of_host(link: Link | None, space: Space | None, outcome: Outcome | None) -> list[dict[str, Any]]:
    """The host's routes to single endpoints."""
    if outcome is not None:
        found = [address for family in FAMILIES for address in outcome.peers.get(family, ())]
    elif link is None or space is None:
        found = []
    else:
        texts = (route.destination.partition("/")[0] for route in space.routes if is_ours(route, link.index))
        found = sorted(map(addressing.parse_address, texts), key=lambda address: (address.version, address))
    return [
        {"destination": f"{address}/{address.max_prefixlen}", "gateway": None, "family": f"ipv{address.version}"}
        for address in found
    ]


def _interface(
    row: Endpoint, item: Network | None, allocation: Allocation | None, on: Container[tuple[str, int]] | None
) -> dict[str, Any] | None:
    subnet = item.subnet_of(allocation.address) if item and allocation else None
    if allocation is None or subnet is None:
        return None
    text, prefixlen = str(allocation.address), prefixlen_in(row.target, subnet)
    if on is not None and (text, prefixlen) not in on:
        return None
    return {
        "address": text,
        "prefixlen": prefixlen,
        "gateway": subnet.gateway_text,
    }


def _routes(row: Endpoint, item: Network, addresses: Mapping[int, Allocation]) -> list[dict[str, Any]]:
    """The routes that we answer for: the subnet of each address, and the default routes."""
    routes: list[dict[str, Any]] = []
    for family in FAMILIES:
        allocation = addresses.get(family)
        subnet = item.subnet_of(allocation.address) if allocation else None
        if allocation is None or subnet is None:
            continue
        default = default_route_of(item, allocation) if family in row.default_route else None
        if default:
            gateway = subnet.gateway_text if default.gateway else None
            routes.append({"destination": "default", "gateway": gateway, "family": f"ipv{family}"})
        if subnet.network.num_addresses > 1:
            routes.append({"destination": subnet.text, "gateway": None, "family": f"ipv{family}"})
    return routes


def _is_there(route: Mapping[str, Any], index: int, space: Space | None) -> bool:
    return space is not None and any(
        (found.destination, found.gateway, f"ipv{found.family}") == tuple(route.values()) and found.index == index
        for found in space.routes
    )


def address(allocation: Allocation) -> dict[str, Any]:
    """An address, or a range of them, and its owner."""
    return {
        **_address(allocation.network, allocation.owner, allocation.text, allocation.family, allocation.kind),
        "description": allocation.description,
        "expires": moment(allocation.expires),
        "state": "cooling" if allocation.cooling else "present",
    }


def set_aside(item: Network) -> list[dict[str, Any]]:
    """Gateways and auxiliary addresses of a network, in the same form."""
    found = []
    for subnet in item.subnets:
        if subnet.gateway is not None:
            found.append(_address(item.name, "gateway", str(subnet.gateway), subnet.family, "gateway"))
        for name, auxiliary in subnet.auxiliary:
            found.append(_address(item.name, name, str(auxiliary), subnet.family, "auxiliary"))
    return found


def _address(network_name: str, owner: str, text: str, family: int, kind: str) -> dict[str, Any]:
    return {
        "network": network_name,
        "owner": owner,
        "address": text,
        "family": f"ipv{family}",
        "kind": kind,
        "description": "",
        "expires": None,
        "state": "present",
    }


def past(line: Held) -> dict[str, Any]:
    """A line of the history."""
    row = line.row
    return {
        **{key: value for key, value in address(row).items() if key not in ("expires", "state")},
        "since": moment(row.since),
        "until": moment(line.until),
    }


def finding(item: Finding) -> dict[str, Any]:
    """Something in which store and kernel differ."""
    return item._asdict()


def usages(
    item: Network, networks: Iterable[Network], allocations: Mapping[tuple[str, int], Sequence[Allocation]]
) -> list[dict[str, Any]]:
    """How full the subnets of a network are, and their ranges. ``allocations`` are those of all networks, by parent and
    family: what another network holds of a shared subnet counts."""
    found = []
    networks = list(networks)
    for subnet in item.subnets:
        place = (item.parent, subnet.family)
        aside = set_aside_on(networks, *place)
        for ip_range in dict.fromkeys((None, subnet.ip_range)):
            bounds = subnet.bounds() if ip_range else addressing.usable(subnet.network)
            use = usage(bounds, aside, allocations.get(place, ()))
            found.append(
                {
                    "network": item.name,
                    "subnet": subnet.text,
                    "ip_range": None if ip_range is None else str(ip_range),
                    "family": f"ipv{subnet.family}",
                    "size": use.size,
                    "held": use.held,
                    "reserved": use.reserved,
                    "cooling": use.cooling,
                    "free": use.free,
                }
            )
    return found


def absent(like: Mapping[str, Any], **known: Any) -> dict[str, Any]:
    """What is not (any more) there: the keys of its kind, of which only its name is known."""
    return {**dict.fromkeys(like), **known, "state": "absent"}


def of_plan(plan: Plan) -> dict[str, Any]:
    """What every managing module returns beside its items."""
    return {"changed": plan.changed, "actions": [action.as_dict() for action in plan.actions]}


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The diff of Ansible, of the items that differ; by name, absent ones left out on their side."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {
        "before": {name: before[name] for name in names if before.get(name) is not None},
        "after": {name: after[name] for name in names if after.get(name) is not None},
    }
