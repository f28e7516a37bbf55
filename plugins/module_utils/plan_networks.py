# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Networks as asked for x what was observed -> what has to be done. Pure: no kernel, no store, no Ansible.

What follows for the endpoints of changed networks is planned by plan_endpoints, from the networks as they will be.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from ansible_collections.netops.underlay.plugins.module_utils import addressing, book, host_routes, parents, result
from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPNetwork, Subnet
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DEFAULT, DRIVERS
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.facts import IPV6_MIN_MTU, Link
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    ANNOUNCING,
    DEFAULT_HISTORY_DAYS,
    DEFAULT_VLAN_PROTOCOL,
    ENDPOINT,
    FAMILIES,
    HISTORY_DAYS,
    HOST,
    NODAD,
    OPTIMISTIC,
    POOLS,
    WAIT,
    Action,
    Allocation,
    Endpoint,
    HostRoute,
    HostSetting,
    Network,
    Parent,
    dummy_name,
    endpoint_of_mark,
    parent_mark,
    released,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.parents import Vlan
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT, PRESENT, NetworkSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    WHOLE_RUN,
    AddRoutes,
    ChangeParent,
    Drop,
    KernelStep,
    MakeParent,
    Plan,
    Put,
    RemoveLink,
    RemoveRoutes,
    StoreStep,
)


class Change(NamedTuple):
    """What a run does to networks.

    ``networks`` and ``parents`` are as they will be; ``touched`` are networks whose endpoints have to be put right,
    ``removed`` those whose endpoints have to go; ``parents_to_come`` are links that this run makes.
    """

    plan: Plan
    networks: Mapping[str, Network]
    parents: Mapping[str, Parent]
    touched: frozenset[str]
    removed: frozenset[str]
    parents_to_come: frozenset[str]


@dataclass
class _Work:
    """``endpoints``, ``held`` (what of their addresses was looked for) are by network; ``altered`` are parents on which all
    networks are touched; ``crowded_out`` are cooling addresses for which there is no room where their network comes to."""

    seen: Observed
    networks: dict[str, Network]
    parents: dict[str, Parent]
    endpoints: Mapping[str, Sequence[Endpoint]]
    held: Mapping[str, Sequence[Allocation]]
    items: dict[str, str] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    before: list[StoreStep] = field(default_factory=list)
    kernel: list[KernelStep] = field(default_factory=list)
    after: list[StoreStep] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    to_come: set[str] = field(default_factory=set)
    refused: list[tuple[int, str]] = field(default_factory=list)
    order: dict[str, int] = field(default_factory=dict)
    ensured: set[str] = field(default_factory=set)
    asked: tuple[IPNetwork, ...] = ()
    settings: Sequence[HostSetting] = ()
    unrouted: set[str] = field(default_factory=set)
    crowded_out: set[Allocation] = field(default_factory=set)

    # What each new network asks about all links, parents and networks is told once.

    @cached_property
    def marked(self) -> dict[str, Link]:
        """The links of the host by their alias."""
        return {link.alias: link for link in reversed(tuple(self.seen.host.links.values()))}

    @cached_property
    def carriers(self) -> Mapping[Vlan, str]:
        return parents.carriers(self.seen.host)

    @cached_property
    def to_carry(self) -> dict[tuple[str | None, int | None, str], str]:
        """The parents that we made or are to make."""
        return {made.carries: made.name for made in reversed(tuple(self.parents.values()))}

    @cached_property
    def places(self) -> set[str]:
        """The parents of all networks, and of some that have left them."""
        return {network.parent for network in self.networks.values()}

    @cached_property
    def covered(self) -> addressing.Spans:
        """What a new subnet from the default pools must not overlap."""
        return self.covered_but(None)

    def covered_but(self, name: str | None) -> addressing.Spans:
        others = (network for network in self.networks.values() if network.name != name)
        subnets = (subnet.network for network in others for subnet in network.subnets)
        return addressing.spans_of([*subnets, *self.asked, *self.seen.elsewhere])

    def refuse(self, spec: NetworkSpec, reason: str) -> None:
        self.refused.append((self.order.get(spec.name, len(self.order)), f"{spec.item}: {reason}"))


def plan(
    seen: Observed,
    specs: Sequence[NetworkSpec],
    purge: bool = False,
    force: bool = False,
    settings: Sequence[HostSetting] = (),
) -> Change:
    """The plan for the networks.

    :param settings: those of the host that are given
    :param purge: networks that are not in ``specs`` are to go; with ``force`` also those that are in use
    :raises Refused: if anything asked for cannot be; it names every such item
    """
    work = _Work(
        seen,
        dict(seen.networks),
        dict(seen.parents),
        endpoints=_by(lambda row: row.network, seen.endpoints.values()),
        held=_by(lambda row: row.network, seen.allocations),
        settings=settings,
    )
    _keep_settings(work)
    work.order = {spec.name: position for position, spec in enumerate(specs)}
    work.asked = tuple(subnet.network for spec in specs for subnet in spec.subnets or ())
    for spec in [*specs, *_purged(seen, specs, force if purge else None)]:
        if spec.state == ABSENT:
            _attempt(work, _leave, spec)
    present = [spec for spec in specs if spec.state == PRESENT]
    for spec in present:
        _attempt(work, _settle, spec)
    for spec in present:
        if spec.name in work.items:
            _attempt(work, _ensure_parent, spec)
    beside = _by(lambda network: network.parent, work.networks.values())
    held = _held_then(work)
    for spec in present:
        if spec.name in work.items:
            _attempt(work, _check_company, spec, beside, held)
    _route_all(work, [spec for spec in present if spec.name in work.items])
    for spec in present:
        if spec.name in work.items:
            _record_network(work, spec)
    _remove_idle_parents(work, specs)
    _write_changed(work)
    if work.refused:
        raise Refused(dict.fromkeys(text for _position, text in sorted(work.refused)))
    return Change(
        Plan(tuple(work.actions), tuple(work.before), tuple(work.kernel), tuple(work.after), tuple(work.warnings)),
        work.networks,
        work.parents,
        frozenset(work.touched),
        frozenset(work.removed),
        frozenset(work.to_come),
    )


Item = TypeVar("Item")


def _by(key: Callable[[Item], str], items: Iterable[Item]) -> dict[str, list[Item]]:
    """The items by what ``key`` says of them."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def as_specs(networks: Iterable[Network]) -> list[NetworkSpec]:
    """Kept networks, asked for as they are: what they need of the host follows from that."""
    return [
        NetworkSpec(f"network '{row.name}'", row.name, PRESENT, parent=None if row.internal else row.asked_parent)
        for row in networks
    ]


def awaited(seen: Observed, network: Network) -> str | None:
    """The link that has to be there before a network can be put back; None where nothing keeps it from that.

    What we made is made again as soon as what it was made on is there; for what others made we wait.
    """
    if network.parent in seen.host.links:
        return None
    made = seen.parents.get(network.parent)
    missing = made.base if made else network.parent
    return None if missing is None or missing in seen.host.links else missing


def _purged(seen: Observed, specs: Sequence[NetworkSpec], force: bool | None) -> list[NetworkSpec]:
    if force is None:
        return []
    names = sorted(set(seen.networks) - {spec.name for spec in specs})
    return [NetworkSpec(f"network '{name}' (purge)", name, ABSENT, force=force) for name in names]


def _attempt(work: _Work, function: Any, spec: NetworkSpec, *arguments: Any) -> None:
    try:
        function(work, spec, *arguments)
    except ValueError as error:
        work.refuse(spec, str(error))


# --- leaving --------------------------------------------------------------------------------------------------


def _leave(work: _Work, spec: NetworkSpec) -> None:
    network = work.networks.get(spec.name)
    if network is None:
        return
    names = sorted(row.name for row in work.endpoints.get(spec.name, ()))
    if names and not spec.force:
        raise ValueError(
            f"network '{spec.name}' still has {_counted(names, 'endpoint')}; remove them first, or set force to true "
            "to remove them with it"
        )
    owners = sorted(row.owner for row in work.held.get(spec.name, ()) if not row.cooling)
    if owners and not names and not spec.force:
        raise ValueError(
            f"addresses of network '{spec.name}' are still held by {_counted(owners, 'owner')}; release them first, or "
            "set force to true to release them with it"
        )
    del work.networks[spec.name]
    work.removed.add(spec.name)
    work.actions.append(Action("remove", "network", spec.name))
    # Known until all is gone: if the kernel does not let its parent go, the next run has to find it.
    work.after.append(Drop(network, WHOLE_RUN))
    # What an endpoint holds goes with the endpoint; what is held for one that is not there goes here.
    for row in work.held.get(spec.name, ()):
        if _in_use(work, row):
            continue
        work.after.append(Drop(row, WHOLE_RUN))
        if not row.cooling:
            work.actions.append(released(row))


def _in_use(work: _Work, row: Allocation) -> bool:
    """Whether there is an endpoint that has it."""
    return row.kind == ENDPOINT and not row.cooling and (row.network, row.owner) in work.seen.endpoints


def _counted(names: Sequence[str], noun: str) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} {noun}{'s' if len(names) != 1 else ''} ({shown})"


# --- what a network will be -----------------------------------------------------------------------------------


def _settle(work: _Work, spec: NetworkSpec) -> None:
    """The network as it will be, into ``work.networks``."""
    old = work.seen.networks.get(spec.name)
    driver = DRIVERS[spec.driver or (old.driver_name if old else DEFAULT.name)]
    for option in spec.settings or {}:
        if option not in {setting.option for setting in driver.settings}:
            why = "" if spec.driver or old else " (the default)"
            raise ValueError(f"{option} does not belong to the driver of this network, which is {driver.name}{why}")
    same_driver = old is not None and old.driver_name == driver.name
    if driver.kind in work.seen.missing_drivers:
        raise ValueError(_no_driver(driver.kind, driver.module))
    mode, flag = (
        None
        if setting is None
        else (spec.settings or {}).get(setting.option) or (kept if same_driver else setting.default)
        for setting, kept in ((driver.mode, old.mode if old else None), (driver.flag, old.flag if old else None))
    )
    internal = spec.internal if spec.internal is not None else bool(old and old.internal)
    asked_parent = spec.parent or (old.asked_parent if old else None)
    enabled = {
        4: spec.enable_ipv4 if spec.enable_ipv4 is not None else (old.enable_ipv4 if old else True),
        6: _enable_ipv6(spec, old),
    }
    network = Network(
        name=spec.name,
        driver_name=driver.name,
        parent=dummy_name(spec.name) if internal or asked_parent is None else asked_parent,
        asked_parent=asked_parent,
        mode=mode,
        flag=flag,
        internal=internal,
        enable_ipv4=enabled[4],
        enable_ipv6=enabled[6],
        subnets=_subnets(work, spec, old, enabled),
        mtu=(spec.mtu or None) if spec.mtu is not None else (old.mtu if old else None),
        labels=spec.labels if spec.labels is not None else (old.labels if old else {}),
        vlan_protocol=spec.vlan_protocol or _kept_protocol(work, old, asked_parent),
        cooldown=spec.cooldown if spec.cooldown is not None else (old.cooldown if old else 0),
        announce=spec.announce or (old.announce if old else ANNOUNCING),
        routes=spec.routes or (),
        conflict_check=spec.conflict_check if spec.conflict_check is not None else bool(old and old.conflict_check),
        ipv6_dad=_ipv6_dad(work, spec, old),
    )
    if spec.routes is None and network.routed and not network.isolated:
        network = network._replace(routes=_kept_routes(old))
    if internal and asked_parent:
        work.warnings.append(f"{spec.item}: internal is true, so parent '{asked_parent}' is not used")
    if old and old.subnets != network.subnets:
        work.__dict__.pop("covered", None)  # to be told anew
    work.networks[spec.name] = network
    work.places.add(network.parent)
    work.items[spec.name] = spec.item


def _kept_routes(old: Network | None) -> tuple[HostRoute, ...]:
    """Of a run that was broken off also those are known that it was about to take away; one subnet has one route."""
    found = {route.subnet: route for route in reversed(old.routes if old else ())}
    return tuple(sorted(found.values(), key=lambda route: (route.subnet.version, route.subnet)))


def _kept_protocol(work: _Work, old: Network | None, parent: str | None) -> str:
    """That which the network has, or another one on its parent, else the default."""
    if old or parent not in work.places:
        return old.vlan_protocol if old else DEFAULT_VLAN_PROTOCOL
    beside = (network.vlan_protocol for network in work.networks.values() if network.parent == parent)
    return next(beside, DEFAULT_VLAN_PROTOCOL)


def _ipv6_dad(work: _Work, spec: NetworkSpec, old: Network | None) -> str:
    if spec.ipv6_dad == OPTIMISTIC and work.seen.no_optimistic_dad:
        raise ValueError(
            "ipv6_dad optimistic cannot be had: this kernel was built without it (CONFIG_IPV6_OPTIMISTIC_DAD); "
            f"choose {NODAD} or {WAIT}"
        )
    return spec.ipv6_dad or (old.ipv6_dad if old else NODAD)


def _enable_ipv6(spec: NetworkSpec, old: Network | None) -> bool:
    if spec.enable_ipv6 is not None:
        return spec.enable_ipv6
    if spec.subnets is not None:
        return any(subnet.family == 6 for subnet in spec.subnets)
    return old.enable_ipv6 if old else False


def _subnets(work: _Work, spec: NetworkSpec, old: Network | None, enabled: Mapping[int, bool]) -> tuple[Subnet, ...]:
    """Those given, else those there were; and from the default pools what a family that is enabled lacks."""
    kept = old.subnets if old else ()
    chosen = list(spec.subnets) if spec.subnets is not None else [s for s in kept if not s.from_pool]
    chosen = [subnet for subnet in chosen if enabled[subnet.family]]
    for family in FAMILIES:
        if not enabled[family] or any(subnet.family == family for subnet in chosen):
            continue
        before = [subnet for subnet in kept if subnet.from_pool and subnet.family == family]
        chosen += before or [_pool_subnet(work, spec.name, family)]
    return tuple(chosen)


def _pool_subnet(work: _Work, name: str, family: int) -> Subnet:
    # Its own may overlap what it has now.
    used = work.covered_but(name) if name in work.networks else work.covered
    block = addressing.first_free_block(_pools(work, family), used)
    if block is None:
        raise ValueError(
            f"the default pools have no free IPv{family} subnet left; give one in ipam_config, or more pools in "
            "default_address_pools"
        )
    bisect.insort(work.covered[family], addressing.ends(block))
    return Subnet(block, addressing.default_gateway(block), from_pool=True)


def _pools(work: _Work, family: int) -> list[addressing.Pool]:
    """The default pools of a family: the host's own setting, else ours."""
    setting = next((item.value for item in work.settings if item.name == POOLS), work.seen.settings.get(POOLS, ()))
    pools = [addressing.parse_pool(pool["base"], pool["size"]) for pool in setting]
    chosen = [pool for pool in pools if pool[0].version == family]
    if chosen:
        return chosen
    if family == 4:
        return list(addressing.DEFAULT_IPV4_POOLS)
    return [(addressing.unique_local_prefix(work.seen.host.machine_id), 64)]


def _keep_settings(work: _Work) -> None:
    defaults = {POOLS: [], HISTORY_DAYS: DEFAULT_HISTORY_DAYS}
    for setting in work.settings:
        before = work.seen.settings.get(setting.name, defaults[setting.name])
        if before != setting.value:
            work.before.append(Put(setting))
            changes = {setting.name: {"before": before, "after": setting.value}}
            work.actions.append(Action("change", "setting", setting.name, changes))


def _no_driver(kind: str, module: str) -> str:
    return (
        f"this kernel has no '{kind}' links: its module '{module}' is neither loaded nor can be; "
        f"load it with `modprobe {module}`, or install the kernel's package that has it"
    )


# --- parents --------------------------------------------------------------------------------------------------


def _ensure_parent(work: _Work, spec: NetworkSpec) -> None:
    """The network's parent is there, or is planned."""
    network = work.networks[spec.name]
    named = work.seen.host.links.get(network.parent)
    made = work.parents.get(network.parent)
    link = _link_of(work, network)
    ours = link is not None and (link is not named or parents.made_by_us(link))
    if named is not None and not (made and ours):
        _check_protocol(spec, named)
    if network.parent in work.ensured:
        return
    if link is None and made is not None and _can_come_back(work, made):
        _bring_back(work, spec, network, made)
    elif link is not None and made is not None and ours:
        _mend_parent(work, spec, network, made, link)
    elif link is not None:
        if made is not None:
            work.warnings.append(
                f"{spec.item}: parent '{made.name}' was made anew by somebody else; it is used, and no longer ours"
            )
            work.before.append(Drop(work.parents.pop(made.name)))
            work.to_carry.pop(made.carries, None)
        parents.check_usable(work.seen.host, network.parent)
        warning = parents.misnamed(work.seen.host, network.parent)
        work.warnings += [f"{spec.item}: {warning}"] if warning else []
    elif made is not None:
        row = _to_make(work, made.name, network.vlan_protocol) if made.base else made
        _make_parent(work, spec, network, row, "repair")
    else:
        row = (
            Parent(network.parent)
            if network.isolated
            else _to_make(work, network.parent, network.vlan_protocol, work.to_carry)
        )
        _make_parent(work, spec, network, row, "create")
    work.ensured.add(network.parent)
    _warn_if_down(work, spec, network)


def _check_protocol(spec: NetworkSpec, link: Link) -> None:
    """A link that is not ours is used with the tag that it has."""
    protocol = parents.vlan_of(link)[2]
    if spec.vlan_protocol and protocol and protocol != spec.vlan_protocol:
        raise ValueError(
            f"parent '{link.name}' exists and its VLAN protocol is {protocol}, not {spec.vlan_protocol}; leave "
            "vlan_protocol out, or name another parent"
        )


def _to_make(
    work: _Work, name: str, protocol: str, to_carry: Mapping[tuple[str | None, int | None, str], str] | None = None
) -> Parent:
    return parents.to_make(
        work.seen.host, name, protocol, work.carriers, to_carry or {}, lambda other: _goes_before(work, other)
    )


def _goes_before(work: _Work, name: str) -> bool:
    """Whether a link is a parent of ours that all its networks leave in this run: it is gone before any is made."""
    return (
        name in work.parents
        and parents.made_by_us(work.seen.host.links[name])
        and any(network.parent == name for network in work.seen.networks.values())
        and all(network.parent != name for network in work.networks.values())
    )


def _check_lifelines(work: _Work, spec: NetworkSpec, doing: str, cut: str | None) -> None:
    """Refuses to cut what the host is reached by, unless that is asked for of this very network."""
    if cut is None:
        return
    if not spec.own_force:
        raise ValueError(
            f"{doing} would cut {cut}; lead that over another link first, or set force to true for network '{spec.name}' itself"
        )
    work.warnings.append(f"{spec.item}: {doing} cuts {cut}, since force is true")


def _make_parent(work: _Work, spec: NetworkSpec, network: Network, row: Parent, verb: str) -> None:
    if row.kind in work.seen.missing_drivers:
        raise ValueError(_no_driver(row.kind, {"vlan": "8021q"}.get(row.kind, row.kind)))
    taking = f"making parent '{row.name}', which takes VLAN {row.vlan_id} from what '{row.base}' is a port of,"
    _check_lifelines(work, spec, taking, parents.cut_by_vlan(work.seen.host, row))
    base = work.seen.host.links.get(row.base) if row.base else None
    work.parents[row.name] = row
    work.to_carry[row.carries] = row.name
    work.to_come.add(row.name)
    work.before.append(Put(row))
    work.kernel.append(
        MakeParent(
            spec.item,
            row,
            up=base is None or base.up,
            mtu=network.mtu if base is None else None,
        )
    )
    work.actions.append(Action(verb, "parent", row.name))
    work.altered.add(row.name)


def _link_of(work: _Work, network: Network) -> Link | None:
    """The link that a network hangs on, whatever it is called just now."""
    named, made = work.seen.host.links.get(network.parent), work.parents.get(network.parent)
    return named if named is not None or made is None else _renamed(work, made)


def _renamed(work: _Work, made: Parent) -> Link | None:
    """A parent of ours that somebody gave another name."""
    link = work.marked.get(parent_mark(made.name))
    if link is None or link.name == made.name or link.kind != made.kind:
        return None
    # The VLAN of a link never changes: with another one it is a link that somebody gave our mark.
    carries = parents.vlan_of(link)[1:]
    return link if made.base is None or carries == (made.vlan_id, made.protocol) else None


def _can_come_back(work: _Work, made: Parent) -> bool:
    """Whether somebody moved a parent of ours to another namespace, and what it was made on is still here."""
    if made.name not in work.seen.moved:
        return False
    base = work.seen.host.links.get(made.base) if made.base else None
    link = work.seen.moved[made.name][1]
    return made.base is None or parents.vlan_of(link) == (base and base.index, made.vlan_id, made.protocol)


def _bring_back(work: _Work, spec: NetworkSpec, network: Network, made: Parent) -> None:
    """A parent that somebody moved to another namespace comes back, with what is on it. No other can be made in its place:
    it has the VLAN, and what is on a dummy would stay with it."""
    place, link = work.seen.moved[made.name]
    base = work.seen.host.links.get(made.base) if made.base else None
    up = True if base is None or base.up else None
    mtu = parents.mtu_over(base) if base else network.mtu or result.DUMMY_MTU
    work.kernel.append(ChangeParent(spec.item, made.name, up=up, mtu=mtu if mtu != link.mtu else None, space=place))
    work.actions.append(
        Action("repair", "parent", made.name, {"namespace": {"before": str(place), "after": str(HOST)}})
    )
    work.altered.add(made.name)


def _mend_parent(work: _Work, spec: NetworkSpec, network: Network, made: Parent, link: Link) -> None:
    """A parent of ours that was altered, renamed, or left half made, is put right and keeps what is on it; one that is another
    link by now is made anew."""
    host = work.seen.host
    parents.check_usable(host, link.name)
    base = host.links.get(made.base) if made.base else None
    if made.base and made.protocol != network.vlan_protocol:
        made = made._replace(protocol=network.vlan_protocol)
    index, *vlan = parents.vlan_of(link)
    if made.base and base is None and vlan == [made.vlan_id, made.protocol]:
        base = parents.base_of(host, link)
        where = f"is called '{base.name}' now" if base else "is in another namespace now"
        work.warnings.append(
            f"{spec.item}: '{made.base}', on which parent '{made.name}' was made, {where}; the parent is used as it is, but could "
            "not be made again" + (f"; name '{base.name}.{made.vlan_id}' as parent" if base else "")
        )
    elif made.base and (index, *vlan) != (base and base.index, made.vlan_id, made.protocol):
        row = _to_make(work, made.name, made.protocol)
        lost = parents.lost_with(work.seen, link)
        if lost:
            raise ValueError(
                f"parent '{made.name}' was altered and would have to be made anew, but {lost} would be lost"
            )
        cut = parents.cut_with(host, link.index)
        _check_lifelines(work, spec, f"making parent '{made.name}', which was altered, anew", cut)
        work.kernel.append(RemoveLink(spec.item, None, link.index, link.name, parent_mark(made.name)))
        _make_parent(work, spec, network, row, "rebuild")
        return
    changes: dict[str, Any] = {}
    renamed = link.name != made.name
    if renamed:
        doing = f"giving parent '{link.name}' its name '{made.name}' back, which sets it down for a moment,"
        _check_lifelines(work, spec, doing, parents.cut_with(host, link.index))
        changes["name"] = {"before": link.name, "after": made.name}
    mark = parent_mark(made.name)
    if link.alias != mark:
        changes["mark"] = {"before": None, "after": mark}
    if not link.up and (base is None or base.up):
        changes["up"] = {"before": False, "after": True}
    # A sub-interface goes down with its base link's MTU by itself, but not up again.
    mtu = parents.mtu_over(base) if base else network.mtu or result.DUMMY_MTU
    if (base or made.base is None) and link.mtu != mtu:
        changes["mtu"] = {"before": link.mtu, "after": mtu}
    if changes:
        work.kernel.append(
            ChangeParent(
                spec.item,
                link.name,
                up=True if "up" in changes or (renamed and link.up) else None,
                mtu=mtu if "mtu" in changes else None,
                mark=mark if "mark" in changes else None,
                new_name=made.name if renamed else None,
            )
        )
        work.actions.append(Action("repair", "parent", made.name, changes))
        work.altered.add(made.name)


def _warn_if_down(work: _Work, spec: NetworkSpec, network: Network) -> None:
    carrier = _carrier_that_is_down(work, network)
    if carrier is not None:
        work.warnings.append(
            f"{spec.item}: link '{carrier.name}' is down, so nothing passes on this network until it is up"
        )


def _remove_idle_parents(work: _Work, specs: Sequence[NetworkSpec]) -> None:
    """Links that we made for networks go with the last network that uses them. One that no network used is not idle: after
    a loss of the store networks come back one by one, and it may carry their endpoints or addresses of the host."""
    before = {network.parent for network in work.seen.networks.values()}
    before |= {parent.base for name, parent in work.seen.parents.items() if name in before and parent.base}
    used = {network.parent for network in work.networks.values()}
    bases = {parent.base for name, parent in work.parents.items() if name in used}
    idle = sorted((work.parents.keys() & before) - used - bases)
    if not idle:
        return
    users: dict[str | None, set[str]] = {}
    for network in work.seen.networks.values():
        for place in (network.parent, _base_of(work, network.parent)):
            users.setdefault(place, set()).add(network.name)
    by_name = {spec.name: spec for spec in specs}
    for name in idle:
        row = work.parents.pop(name)
        named = work.seen.host.links.get(name)
        link = named if named is not None and parents.made_by_us(named) else _renamed(work, row)
        work.after.append(Drop(row, WHOLE_RUN))
        # Under its new name somebody may have asked for it.
        if name not in work.seen.moved and (link is None or link.name in used):
            continue
        gone = users.get(name, set())
        purged = [NetworkSpec(f"network '{user}' (purge)", user, ABSENT) for user in sorted(gone)]
        leaving = [by_name[user] for user in sorted(gone & by_name.keys(), key=work.order.__getitem__)] or purged
        spec = next((spec for spec in leaving if spec.own_force), leaving[0])
        if name in work.seen.moved or link is None:
            work.refuse(
                spec,
                f"parent '{name}' was moved to {work.seen.moved[name][0]}, where it cannot be seen what of others would be lost "
                "with it; run vlan_network with state: present first, which brings it back",
            )
            continue
        lost = parents.lost_with(work.seen, link)
        if lost:
            work.refuse(spec, f"parent '{name}' cannot be removed: {lost} would be lost with it; remove that first")
            continue
        cut = parents.cut_with(work.seen.host, link.index)
        _attempt(work, _check_lifelines, spec, f"removing parent '{name}'", cut)
        work.actions.append(Action("remove", "parent", name))
        work.kernel.append(RemoveLink(f"parent '{name}'", None, link.index, link.name, parent_mark(name)))


def _base_of(work: _Work, name: str) -> str | None:
    made = work.seen.parents.get(name)
    return made.base if made else None


# --- routes of the host ---------------------------------------------------------------------------------------


def _route_all(work: _Work, specs: Iterable[NetworkSpec]) -> None:
    """The routes out of the parents are there, and those that nobody asks for any more are gone."""
    known = work.seen.networks
    if not any(network.routes for network in (*work.networks.values(), *known.values())):
        return
    roads = host_routes.Roads(work.seen.host, work.networks.values())
    for name in sorted(work.removed):
        _take_routes(work, roads, f"network '{name}'", known[name])
    for spec in specs:
        _attempt(work, _route, spec, roads)


def _route(work: _Work, spec: NetworkSpec, roads: host_routes.Roads) -> None:
    old, network = work.seen.networks.get(spec.name), work.networks[spec.name]
    if network.routes and (not network.routed or network.isolated):
        raise ValueError("routes are for the modes l3 and l3s on a parent; leave them out, or set routes to []")
    for route in network.routes:
        roads.check(network, route, old.routes if old else ())
    if old and _take_routes(work, roads, spec.item, old):
        work.unrouted.add(spec.name)
    fresh = network.parent in work.to_come
    there = roads.by(network.parent) if not fresh else frozenset()
    missing = roads.to_come(network.parent, (route for route in network.routes if route not in there))
    if not missing or _carrier_that_is_down(work, network):
        return
    for route in missing:
        _check_lifelines(work, spec, f"the route to {route.subnet}", roads.cut_by(network.parent, route))
    work.kernel.append(AddRoutes(spec.item, network.parent, missing))
    if old and old.routes == network.routes and not fresh:
        before = [str(route) for route in network.routes if route in there]
        changes = {"routes": {"before": before, "after": [str(route) for route in network.routes]}}
        work.actions.append(Action("repair", "network", spec.name, changes))


def _take_routes(work: _Work, roads: host_routes.Roads, item: str, old: Network) -> bool:
    """Those of a network that nobody asks for any more: what is ours in the kernel, and was known to be. Whether there is any."""
    ours = roads.by(old.parent, ours=True)
    gone = tuple(route for route in old.routes if route in ours and not roads.wanted(old.parent, route))
    if gone:
        work.kernel.append(RemoveRoutes(item, old.parent, gone))
    return bool(gone)


def _carrier_that_is_down(work: _Work, network: Network) -> Link | None:
    links = work.seen.host.links
    made = work.parents.get(network.parent)
    carrier = links.get(made.base if made and made.base else network.parent)
    return None if carrier is None or carrier.up or (made and not made.base) else carrier


# --- what may stand beside what -------------------------------------------------------------------------------


def _check_company(
    work: _Work,
    spec: NetworkSpec,
    beside: Mapping[str, Sequence[Network]],
    held: Mapping[str, Sequence[Allocation]],
) -> None:
    """The rules that need the other networks and allocations (``beside`` and ``held``, by parent), the links that are not
    ours, and the host."""
    network = work.networks[spec.name]
    for other in beside[network.parent]:
        if other.name != network.name:
            _check_beside(network, other)
            if network.vlan_protocol != other.vlan_protocol and network.parent in work.parents:
                raise ValueError(
                    f"parent '{network.parent}' carries network '{other.name}' with vlan_protocol {other.vlan_protocol}; "
                    f"asked for is {network.vlan_protocol}. Use the same, or another VLAN id"
                )
    _check_mtu(work, spec, network)
    link = _link_of(work, network)
    if link is not None:
        child = parents.foreign_child(work.seen, link.index, network)
        if child:
            raise ValueError(child)
    if network.routed:
        _check_routed(work, spec, network)
    _check_addresses(network, held.get(network.parent, ()), beside[network.parent], work.crowded_out)


def _check_mtu(work: _Work, spec: NetworkSpec, network: Network) -> None:
    """No link can carry more than its parent; a dummy of ours follows the network. Where the parent's has shrunk since, the
    endpoints have that until it grows again."""
    if network.mtu and network.mtu < IPV6_MIN_MTU and network.of_family(6):
        raise ValueError(
            f"mtu {network.mtu} is less than the {IPV6_MIN_MTU} that IPv6 needs; raise it, or leave the IPv6 subnet out"
        )
    made = work.parents.get(network.parent)
    if made is not None and made.base is None:
        return
    # A sub-interface of ours follows its base.
    base = work.seen.host.links.get(made.base or "") if made else None
    carrier = base or _link_of(work, network)
    if carrier is None or not network.mtu:
        return
    most = parents.mtu_over(base) if base else carrier.mtu
    if network.mtu <= most:
        return
    words = f"mtu {network.mtu} is above that of '{carrier.name}' ({carrier.mtu}), which carries it"
    if spec.mtu:
        raise ValueError(f"{words}; raise that one first")
    work.warnings.append(f"{spec.item}: {words}; its endpoints have {most} until that one is raised")


def _check_beside(network: Network, other: Network) -> None:
    where = f"parent '{network.parent}' carries network '{other.name}'"
    if network.driver is not other.driver:
        raise ValueError(f"{where} of the driver {other.driver_name}, and the kernel allows one driver on a parent")
    if network.driver.one_setting_per_parent and (network.mode, network.flag) != (other.mode, other.flag):
        raise ValueError(
            f"{where} in {other.mode}/{other.flag}, and the kernel has one mode and flag for all {network.driver_name} "
            f"links of a parent; asked for is {network.mode}/{network.flag}. Use the same, or another parent"
        )
    if network.lone or other.lone:
        raise ValueError(
            f"{where}, and {network.driver_name} {(network if network.lone else other).mode} wants a parent for itself"
        )
    for subnet in network.subnets:
        for theirs in other.subnets:
            if subnet.family != theirs.family or not subnet.network.overlaps(theirs.network):
                continue
            if subnet.network == theirs.network and subnet.ip_range != theirs.ip_range:
                continue
            raise ValueError(
                f"subnet {subnet.network} overlaps {theirs.network} of network '{other.name}' on parent '{network.parent}'; "
                "two networks on a parent may share a subnet only as a whole and with different ip_range"
            )


def _check_routed(work: _Work, spec: NetworkSpec, network: Network) -> None:
    for gateway in spec.given_gateways:
        work.warnings.append(
            f"{spec.item}: gateway {gateway} is ignored in mode {network.mode}, where the default route is the device itself"
        )
    host = work.seen.host
    for subnet in network.subnets:
        for name in host.links:
            own = next(
                (n for n in host.subnets_of(name) if n.version == subnet.family and n.overlaps(subnet.network)), None
            )
            if own and not host.links[name].loopback and endpoint_of_mark(host.links[name].alias) is None:
                raise ValueError(
                    f"subnet {subnet.network} overlaps {own}, the host's own on '{name}'; in mode {network.mode} "
                    "the subnets must be others than the host's"
                )
    if network.isolated:
        return
    for family in sorted({subnet.family for subnet in network.subnets}):
        _warn_unreachable(work, spec, network, family)


def _warn_unreachable(work: _Work, spec: NetworkSpec, network: Network, family: int) -> None:
    """In l3 the host routes for the endpoints: it needs an address and a way out on the parent itself."""
    host = work.seen.host
    link = host.links.get(network.parent)
    index = link.index if link else None
    has_address = any(a.index == index and a.family == family and a.scope == 0 for a in host.space.addresses)
    has_route = any(r.index == index and r.family == family and r.destination == "default" for r in host.space.routes)
    if not has_address:
        work.warnings.append(
            f"{spec.item}: parent '{network.parent}' has no IPv{family} address, so no remote host can route to these "
            f"endpoints; give it one, and have the remote routes for {_listed(network, family)} point to it"
        )
    elif not has_route:
        work.warnings.append(
            f"{spec.item}: the host has no IPv{family} default route by parent '{network.parent}', so these endpoints reach "
            "only what the host reaches on that link"
        )


def _listed(network: Network, family: int) -> str:
    return ", ".join(str(subnet.network) for subnet in network.subnets if subnet.family == family)


def _held_then(work: _Work) -> dict[str, list[Allocation]]:
    """What will be held on each parent, as far as it was looked for: what stays there, and what networks bring along. It says
    where it is held now."""
    found: dict[str, list[Allocation]] = {}
    for row in work.seen.allocations:
        network = work.networks.get(row.network)
        known = work.seen.networks.get(row.network)
        if network and known and fits(row, network) and row.segment in (network.parent, known.parent):
            found.setdefault(network.parent, []).append(row)
    return found


def _check_addresses(
    network: Network, held: Sequence[Allocation], beside: Iterable[Network], crowded_out: set[Allocation]
) -> None:
    """No gateway or auxiliary address may be one that an owner holds, and what a network brings along from another parent has
    to be free on this one.

    :param held: what will be held on its parent; ``beside`` are all networks there
    :param crowded_out: gets what cools and cannot go on doing so here
    """
    aside = {
        addressing.address_of(number, subnet.family): words
        for subnet in network.subnets
        for number, words in subnet.reserved().items()
    }
    for row in held:
        if row.last is None and not row.cooling and row.address in aside:
            raise ValueError(f"{row.address} cannot be {aside[row.address]}: it is {row.standing}")
    brought = [row for row in held if row.network == network.name and row.segment != network.parent]
    if not brought:
        return
    others = [other for other in beside if other.name != network.name]
    aside_there = {family: book.set_aside(others, network.parent, family) for family in FAMILIES}
    theirs = [row for row in held if row.network != network.name]
    singles = {row.address: row for row in theirs if row.last is None}
    ranges = [row for row in theirs if row.last is not None]
    for row in brought:
        if row.last is None:
            holder = singles.get(row.address) or next((other for other in ranges if other.holds(row.address)), None)
            words = holder.standing if holder else aside_there[row.family].get(int(row.address))
        else:
            holder = next((other for other in theirs if row.holds(other.address) or other.holds(row.address)), None)
            words = holder.standing if holder else None
        if words is None:
            continue
        if not row.cooling:
            raise ValueError(
                f"parent '{network.parent}' has no room for {row.text}, which is {row.standing}: there it is {words}; "
                "release one of them first"
            )
        crowded_out.add(row)


# --- changes --------------------------------------------------------------------------------------------------


def _record_network(work: _Work, spec: NetworkSpec) -> None:
    """The action for a network that is new or changes, and what has to be written for it."""
    work.warnings += spec.warnings
    old, new = _known(work, spec.name), work.networks[spec.name]
    if old is None:
        work.actions.append(Action("create", "network", spec.name))
        work.before.append(Put(new))
        return
    if old == new:
        return
    before = result.network(old, work.seen.host, work.seen.parents)
    after = result.network(new, work.seen.host, work.parents)
    changes = {key: {"before": before[key], "after": after[key]} for key in after if before[key] != after[key]}
    rebuild = _needs_rebuild(work, old, new)
    if rebuild and not spec.force:
        work.refuse(spec, f"{rebuild}; set force to true to have every endpoint made anew")
        return
    work.actions.append(Action("rebuild" if rebuild else "change", "network", spec.name, changes))
    work.touched.add(spec.name)
    for row in work.held.get(spec.name, ()):
        if not fits(row, new):
            if _in_use(work, row):
                continue  # released with what becomes of its endpoint
            work.after.append(Drop(row))
            if not row.cooling:
                work.actions.append(released(row))
        elif old.parent != new.parent:
            work.before.append(Drop(row))
            if row not in work.crowded_out:
                work.before.append(Put(row._replace(segment=new.parent)))


def _known(work: _Work, name: str) -> Network | None:
    old = work.seen.networks.get(name)
    return old._replace(pending=False) if old and old.pending else old


def _write_changed(work: _Work) -> None:
    """Networks whose endpoints have to be put right are marked until that is done: of a run that is broken off the next one
    could not tell, since the network is by then as it should be."""
    work.touched |= {name for name, network in work.networks.items() if network.parent in work.altered}
    work.touched |= {name for name, network in work.seen.networks.items() if network.pending and name in work.networks}
    for name in sorted(work.touched & set(work.seen.networks)):
        network = work.networks[name] = work.networks[name]._replace(pending=False)
        if name in work.endpoints or name in work.unrouted:
            # A route is known until it is gone, or nobody could tell whose it is.
            known = dict.fromkeys((*network.routes, *work.seen.networks[name].routes))
            work.before.append(Put(network._replace(pending=True, routes=tuple(known))))
            work.after.append(Put(network, WHOLE_RUN))
        elif network != work.seen.networks[name]:
            work.before.append(Put(network))


def fits(row: Allocation, network: Network) -> bool:
    """Whether an allocation lies in a subnet of the network."""
    subnet = network.subnet_of(row.address)
    return subnet is not None and (row.last is None or row.last in subnet.network)


def _needs_rebuild(work: _Work, old: Network, new: Network) -> str | None:
    """Why the endpoints would have to be made anew, or lose their addresses; None where nothing would be lost."""
    names = sorted(row.name for row in work.endpoints.get(old.name, ()))
    for row in work.held.get(old.name, ()):
        if not row.cooling and not fits(row, new):
            return f"ipam_config of network '{old.name}' would lose the subnet of {row.text}, which is {row.standing}"
    if not names:
        return None
    where = f"of network '{old.name}', which has {_counted(names, 'endpoint')}, cannot be changed in place"
    if old.driver is not new.driver:
        return f"driver {where}"
    if old.parent != new.parent:
        return f"parent {where}"
    if old.vlan_protocol != new.vlan_protocol and new.parent in work.parents:
        return f"vlan_protocol {where}"
    if old.mode != new.mode and {old.mode, new.mode} & old.driver.lone_modes:
        return f"{old.driver.mode.option if old.driver.mode else 'mode'} {old.mode} {where}"
    return None
