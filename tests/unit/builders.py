# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was observed, built by hand, and a plan carried out on it: a host without a kernel for the tests of planning."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.module_utils.addressing import Subnet
from ansible_collections.netops.underlay.plugins.module_utils.facts import Address, Ipv6Conf, Link, Route
from ansible_collections.netops.underlay.plugins.module_utils.links import IN_LINK
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    ENDPOINT,
    HOST,
    RESERVED,
    ROUTE_PROTOCOL,
    Allocation,
    Announcing,
    Endpoint,
    HostSetting,
    MadeFile,
    MadeNamespace,
    Network,
    Parent,
    Target,
    dummy_name,
    parent_mark,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Child, Host, Observed, Space
from ansible_collections.netops.underlay.plugins.module_utils.parents import half_made
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    PHASES,
    AddRoutes,
    Announce,
    Drop,
    MakeLink,
    MakeNamespace,
    MakeParent,
    Plan,
    PutNames,
    RemoveLink,
    RemoveNames,
    RemoveNamespace,
    RemoveRoutes,
    Settle,
    SetUp,
    StepAside,
)

BOOT = "boot-1"
HOST_SPACE = (4, 1)
STATION_MAC = "52:54:00:00:00:01"


def replace(value: Any, **fields: Any) -> Any:
    """The value with other fields, whether it is a tuple or a dataclass."""
    return value._replace(**fields) if isinstance(value, tuple) else dataclasses.replace(value, **fields)


# --- links ----------------------------------------------------------------------------------------------------


def link(index: int, name: str, kind: str | None = None, **fields: Any) -> Link:
    """A link that is up; ``fields`` are those of ``Link``."""
    values = {
        "parent_index": None,
        "parent_nsid": None,
        "up": True,
        "carrier": True,
        "mtu": 1500,
        "mac": STATION_MAC,
        "alias": "",
        "master": None,
        "loopback": False,
        "attributes": (),
        "port_kind": None,
        "ipv6_conf": Ipv6Conf(0, 1),
    }
    return Link(index=index, name=name, kind=kind, **{**values, **fields})


def loopback(up: bool = True) -> Link:
    return link(1, "lo", loopback=True, up=up, mac="00:00:00:00:00:00", mtu=65536)


def vlan_link(index: int, name: str, base: int, vlan_id: int, **fields: Any) -> Link:
    attributes = ((1, struct.pack("=H", vlan_id)), (5, struct.pack(">H", 0x8100)))
    return link(index, name, "vlan", parent_index=base, attributes=attributes, **fields)


def ipvlan_link(index: int, name: str, parent: int, mode: int = 0, flag: int = 0, **fields: Any) -> Link:
    attributes = ((1, struct.pack("=H", mode)), (2, struct.pack("=H", flag)))
    return link(index, name, "ipvlan", parent_index=parent, attributes=attributes, **fields)


def macvlan_link(index: int, name: str, parent: int, mode: int = 4, **fields: Any) -> Link:
    return link(index, name, "macvlan", parent_index=parent, attributes=((1, struct.pack("=I", mode)),), **fields)


def address(index: int, text: str, **fields: Any) -> Address:
    """``text`` with its prefix length."""
    plain, _slash, prefixlen = text.partition("/")
    values = {"scope": 0, "flags": 0, "protocol": 0, **fields}
    return Address(index, ip_address(plain).version, plain, int(prefixlen), **values)


def route(index: int, destination: str, gateway: str | None = None, family: int = 4, **fields: Any) -> Route:
    values = {"table": 254, "scope": 0, "protocol": 3, "type": 1, "metric": 0, "onlink": False, "source": None}
    return Route(family=family, destination=destination, gateway=gateway, index=index, **{**values, **fields})


def host(*links: Link, addresses: Sequence[Address] = (), routes: Sequence[Route] = ()) -> Host:
    """A host with ``lo`` and ``links``, by default the trunk ``eth0`` (index 2)."""
    found = (loopback(), *(links or (link(2, "eth0"),)))
    space = Space(HOST_SPACE, found, tuple(addresses), tuple(routes), cookie=1)
    return Host(space, BOOT, "machine-1", {item.name: item for item in found})


def space(inode: int, *links: Link, addresses: Sequence[Address] = (), routes: Sequence[Route] = ()) -> Space:
    return Space((4, inode), links or (loopback(),), tuple(addresses), tuple(routes), cookie=inode)


# --- rows -----------------------------------------------------------------------------------------------------


def subnet(text: str, gateway: str | None = "first", ip_range: str | None = None, **auxiliary: str) -> Subnet:
    network = ip_network(text)
    return Subnet(
        network,
        addressing.default_gateway(network) if gateway == "first" else gateway and ip_address(gateway),
        None if ip_range is None else ip_network(ip_range),
        tuple((name, ip_address(value)) for name, value in sorted(auxiliary.items())),
    )


def network(name: str = "web", *subnets: Subnet | str, parent: str | None = "eth0.20", **fields: Any) -> Network:
    """An ipvlan network in l2; ``parent`` None: isolated."""
    given = tuple(subnet(item) if isinstance(item, str) else item for item in subnets or ("192.168.20.0/24",))
    driver = fields.pop("driver_name", "ipvlan")
    values = {
        "mode": "l2" if driver == "ipvlan" else "bridge",
        "flag": "bridge" if driver == "ipvlan" else None,
        "internal": False,
        "enable_ipv4": True,
        "enable_ipv6": any(item.family == 6 for item in given),
        "announce": Announcing(count=0),  # has tests of its own
        **fields,
    }
    return Network(
        name=name,
        driver_name=driver,
        parent=parent or dummy_name(name),
        asked_parent=parent,
        subnets=given,
        **values,
    )


def held(net: Network, owner: str, *texts: str, kind: str = ENDPOINT, description: str = "") -> list[Allocation]:
    return [Allocation(net.parent, net.name, kind, owner, ip_address(text), description) for text in texts]


def reserved(net: Network, owner: str, *texts: str, description: str = "") -> list[Allocation]:
    return held(net, owner, *texts, kind=RESERVED, description=description)


def free_of(
    networks: Iterable[Network], allocations: Iterable[Allocation]
) -> dict[tuple[str, int, int, int], list[tuple[int, int]]]:
    """What the store would say is free in each range, told from the allocations alone."""
    taken: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row in allocations:
        taken.setdefault((row.segment, row.family), []).append(row.bounds)
    found = {}
    for net in networks:
        for item in net.subnets:
            start, last = item.bounds()
            place = (net.parent, item.family, start, last)
            intervals = []
            for low, high in sorted(taken.get((net.parent, item.family), ())):
                if low > start:
                    intervals.append((start, min(low - 1, last)))
                start = max(start, high + 1)
                if start > last:
                    break
            found[place] = [pair for pair in intervals if pair[0] <= pair[1]] + (
                [(start, last)] if start <= last else []
            )
    return found


def seen(
    *networks: Network,
    on: Host | None = None,
    made: Iterable[Parent] = (),
    endpoints: Iterable[Endpoint] = (),
    namespaces: Iterable[MadeNamespace] = (),
    allocations: Iterable[Allocation] = (),
    children: Mapping[int, Sequence[Child]] | None = None,
    **fields: Any,
) -> Observed:
    rows = tuple(allocations)
    return Observed(
        networks={item.name: item for item in networks},
        parents={item.name: item for item in made},
        endpoints={item.key: item for item in endpoints},
        namespaces={item.name: item for item in namespaces},
        host=on or host(),
        allocations=rows,
        free=free_of(networks, rows),
        children={} if children is None else {index: tuple(found) for index, found in children.items()},
        **fields,
    )


def netns(name: str) -> Target:
    return Target("netns", name)


# --- a plan carried out ---------------------------------------------------------------------------------------


class _Kernel:
    def __init__(self, observed: Observed) -> None:
        self.host = observed.host
        self.spaces = dict(observed.spaces)
        there = [observed.host.space, *filter(None, observed.spaces.values())]
        self.next_index = max(100, *(item.index for found in there for item in found.links))

    def space_of(self, target: Target | None) -> Space:
        found = self.host.space if target is None else self.spaces[target]
        assert found is not None, f"{target} is not there"
        return found

    def put(self, target: Target | None, changed: Space) -> None:
        if target is None:
            self.host = replace(self.host, space=changed, links={item.name: item for item in changed.links})
            return
        old = self.spaces.get(target)
        if target == HOST:
            self.host = replace(self.host, space=changed, links={item.name: item for item in changed.links})
        same = [key for key, found in self.spaces.items() if old and found and found.identity == old.identity]
        for key in {target, *same}:
            self.spaces[key] = changed

    def next_inode(self) -> int:
        return 5000 + max((found.inode for found in self.spaces.values() if found), default=0)

    def add_link(self, target: Target | None, new: Link) -> None:
        place = self.space_of(target)
        assert place.named(new.name) is None, f"File exists: {new.name}"
        self.next_index += 1
        self.put(target, replace(place, links=(*place.links, replace(new, index=self.next_index))))


def carried_out(observed: Observed, plan: Plan, networks: Mapping[str, Network] | None = None) -> Observed:
    """What would be observed after ``plan``, the kernel doing just what each step says and refusing what a kernel
    refuses (a name twice, a link that is not there)."""
    kernel = _Kernel(observed)
    for phase in PHASES:
        for step in plan.kernel:
            if isinstance(step, phase):
                _do(kernel, step)
    tables = {
        Network: dict(observed.networks),
        Parent: dict(observed.parents),
        Endpoint: dict(observed.endpoints),
        MadeNamespace: dict(observed.namespaces),
        MadeFile: dict(observed.made_files),
        HostSetting: {name: HostSetting(name, value) for name, value in observed.settings.items()},
        Allocation: {(row.segment, row.address): row for row in observed.allocations},
    }
    for steps in (plan.before, plan.after):
        for step in sorted(steps, key=lambda item: not isinstance(item, Drop)):
            _keep(tables, kernel, step)
    rows = tuple(tables[Allocation].values())
    nets = tables[Network]
    return replace(
        observed,
        networks=nets,
        parents=tables[Parent],
        endpoints=tables[Endpoint],
        namespaces=tables[MadeNamespace],
        made_files=tables[MadeFile],
        settings={name: row.value for name, row in tables[HostSetting].items()},
        allocations=rows,
        free=free_of(nets.values(), rows),
        host=kernel.host,
        spaces=kernel.spaces,
        former={},
    )


def _keep(tables: dict[type, dict[Any, Any]], kernel: _Kernel, step: Any) -> None:
    row = step.row
    key = getattr(row, "key", None) or getattr(row, "name", None)
    if isinstance(row, Allocation):
        key = (row.segment, row.address)
    table = tables[type(row)]
    if isinstance(step, Drop):
        table.pop(key, None)
        return
    if isinstance(row, Allocation):
        assert all(
            other.key == row.key and other.bounds == row.bounds
            for other in table.values()
            if other.segment == row.segment
            and other.family == row.family
            and other.bounds[0] <= row.bounds[1]
            and row.bounds[0] <= other.bounds[1]
        ), f"{row.text} has two owners"
    if isinstance(step, Settle):
        if isinstance(row, Endpoint):
            there = kernel.space_of(row.target)
            row = replace(row, cookie=there.cookie, boot_id=BOOT, start_time=there.start_time)
        else:
            row = replace(row, cookie=kernel.space_of(netns(row.name)).cookie, boot_id=BOOT)
    table[key] = row


def _do(kernel: _Kernel, step: Any) -> None:
    if isinstance(step, (Announce, PutNames, RemoveNames)):
        return
    if isinstance(step, (AddRoutes, RemoveRoutes)):
        _change_routes(kernel, step)
    elif isinstance(step, RemoveLink):
        place = kernel.space_of(step.space)
        assert any(item.index == step.index and item.name == step.name for item in place.links), step
        kernel.put(step.space, _without(place, step.index))
    elif isinstance(step, RemoveNamespace):
        kernel.spaces[step.target] = None
    elif isinstance(step, MakeNamespace):
        assert kernel.spaces.get(step.target) is None
        kernel.spaces[step.target] = space(kernel.next_inode(), loopback(up=False))
    elif isinstance(step, MakeParent):
        _make_parent(kernel, step)
    elif isinstance(step, StepAside):
        _set_up(kernel, step.first)
    elif isinstance(step, SetUp):
        _set_up(kernel, step)
    elif isinstance(step, MakeLink):
        # As kernels before 6.15 do, who look the name up on the host, too.
        assert kernel.host.space.named(step.name) is None, f"File exists: {step.name}"
        parent = kernel.host.links[step.parent]
        attributes = tuple((number, struct.pack(form, value)) for number, form, value in step.attributes)
        new = link(
            0,
            step.name,
            step.kind,
            parent_index=parent.index,
            up=False,
            mtu=step.mtu or parent.mtu,
            mac=step.mac_address or parent.mac,
            attributes=attributes,
            group=step.group,
        )
        kernel.add_link(step.space, new)
    else:
        place = kernel.space_of(None)
        old = kernel.host.links[step.name]
        up = old.up if step.up is None else step.up
        new = replace(old, name=step.new_name or old.name, up=up, mtu=step.mtu or old.mtu)
        if step.mark:
            assert half_made(old, step.mark)
            new = replace(new, alias=step.mark, group=0)
        kernel.put(None, replace(place, links=tuple(new if item == old else item for item in place.links)))


def _destination(text: str) -> str:
    """An address without the length that says that it is one, or a subnet as it is."""
    return text.partition("/")[0] if text.endswith(("/32", "/128")) else text


def _without(place: Space, index: int) -> Space:
    return replace(
        place,
        links=tuple(item for item in place.links if item.index != index),
        addresses=tuple(item for item in place.addresses if item.index != index),
        routes=tuple(item for item in place.routes if item.index != index),
    )


def _change_routes(kernel: _Kernel, step: AddRoutes | RemoveRoutes) -> None:
    place, parent = kernel.space_of(None), kernel.host.links[step.parent]
    told = [
        route(parent.index, str(item.subnet), str(item.via), item.subnet.version, protocol=ROUTE_PROTOCOL, onlink=True)
        for item in step.routes
    ]
    if isinstance(step, RemoveRoutes):
        assert all(item in place.routes for item in told)
        kernel.put(None, replace(place, routes=tuple(item for item in place.routes if item not in told)))
        return
    assert parent.up
    assert not {item.destination for item in told} & {item.destination for item in place.routes}, "File exists"
    kernel.put(None, replace(place, routes=(*place.routes, *told)))


def _make_parent(kernel: _Kernel, step: MakeParent) -> None:
    parent = step.parent
    fields = {"alias": parent_mark(parent.name), "up": step.up, "mtu": step.mtu or 1500}
    if parent.base is None:
        new = link(0, parent.name, "dummy", **fields)
    else:
        base = kernel.host.links[parent.base]
        fields["mtu"] = step.mtu or base.mtu
        new = vlan_link(0, parent.name, base.index, parent.vlan_id or 0, **fields)
    kernel.add_link(None, new)


def _set_up(kernel: _Kernel, step: SetUp) -> None:
    place = kernel.space_of(step.space)
    old = place.named(step.link)
    assert old is not None, f"no link {step.link} in {step.space}"
    taken = place.named(step.name)
    assert taken is None or taken == old, f"File exists: {step.name}"
    assert not step.made or half_made(old, step.mark)
    settings = {name.rpartition(".")[2]: int(value) for name, value in step.sysctls.items() if name in IN_LINK}
    new = replace(
        old,
        name=step.name if step.rename else old.name,
        alias=old.alias if step.mark is None else step.mark,
        group=0 if step.made else old.group,
        up=old.up or step.up,
        mtu=step.mtu or old.mtu,
        mac=step.mac_address or old.mac,
        ipv6_conf=old.ipv6_conf._replace(**settings),
        attributes=tuple((number, struct.pack(form, value)) for number, form, value in step.attributes)
        or old.attributes,
    )
    _refuse_twice(kernel, step, new)
    bounced = step.rename and old.up
    links = [new if item == old else item for item in place.links]
    if step.loopback_up and old.loopback:  # as the kernel does
        place = replace(place, addresses=(*place.addresses, address(old.index, "127.0.0.1/8")))
    if step.loopback_up:
        links = [replace(item, up=True) if item.loopback else item for item in links]
    off = {(str(text), prefixlen) for text, prefixlen in step.addresses_off}
    addresses = [
        item
        for item in place.addresses
        if item.index != old.index or not ((item.address, item.prefixlen) in off or (bounced and item.family == 6))
    ]
    addresses += [address(old.index, f"{text}/{prefixlen}") for text, prefixlen in step.addresses]
    routes_off = {
        (str(item.destination or "default"), item.family, item.gateway and str(item.gateway))
        for item in step.routes_off
    }
    routes = [
        item
        for item in place.routes
        if item.index != old.index
        or not (bounced or (_destination(item.destination), item.family, item.gateway) in routes_off)
    ]
    for item in step.routes:
        there = [other for other in routes if other.destination == "default" and other.family == item.family]
        assert item.destination or all(other.protocol == 9 for other in there), "File exists: default route"
    routes += [
        route(
            old.index,
            f"{item.destination}/{item.destination.max_prefixlen}" if item.destination else "default",
            item.gateway and str(item.gateway),
            item.family,
            onlink=item.onlink,
            protocol=ROUTE_PROTOCOL if item.destination else 3,
        )
        for item in step.routes
    ]
    kernel.put(step.space, replace(place, links=tuple(links), addresses=tuple(addresses), routes=tuple(routes)))


def _refuse_twice(kernel: _Kernel, step: SetUp, new: Link) -> None:
    """On one parent no two links have an address or, of macvlan, a MAC address."""
    spaces = {place.identity: place for place in [kernel.host.space, *kernel.spaces.values()] if place}
    own = kernel.space_of(step.space).identity
    for place in spaces.values():
        others = {
            item.index: item
            for item in place.links
            if item.kind == new.kind and item.parent_index == new.parent_index and item.parent_index is not None
            if (place.identity, item.index) != (own, new.index)
        }
        held = {item.address for item in place.addresses if item.index in others}
        twice = held & {str(text) for text, _prefixlen in step.addresses}
        assert not twice, f"Address already in use: {twice}"
        taken = {item.mac for item in others.values() if item.up and item.kind == "macvlan"}
        assert not step.mac_address or step.mac_address not in taken, f"Address already in use: {step.mac_address}"
