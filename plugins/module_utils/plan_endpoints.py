# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Endpoints as asked for x what was observed -> what has to be done. Pure: no kernel, no store, no Ansible.

Those that leave are planned first, so that what they free can be used by those that come in the same run; among
those that come, asked-for addresses are claimed before any free one is given out. What an endpoint that stays gives up
(address, MAC, name, default route) another can have in the same run, whatever the order of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import addressing, links, parents, plan_names
from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress
from ansible_collections.netops.underlay.plugins.module_utils.book import Book
from ansible_collections.netops.underlay.plugins.module_utils.errors import ItemError, Refused, similar
from ansible_collections.netops.underlay.plugins.module_utils.facts import Link, attribute
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    ENDPOINT,
    FAMILIES,
    HOST,
    NONE,
    RESERVED,
    Action,
    Allocation,
    Endpoint,
    MadeNamespace,
    Network,
    Outcome,
    Target,
    allocated,
    endpoint_mark,
    endpoint_of_mark,
    endpoint_words,
    parent_mark,
    released,
    working_mac,
    working_name,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed, Space
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT, PRESENT, EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    WHOLE_RUN,
    Announce,
    Drop,
    KernelStep,
    MakeNamespace,
    Plan,
    Put,
    RemoveLink,
    RemoveNamespace,
    Settle,
    SetUp,
    StepAside,
    StoreStep,
    handed_over,
)

Key = tuple[str, str]
# How long an address that somebody else has is held, in seconds: a day.
QUARANTINE_S = 86400


@dataclass
class Room:
    """A namespace while it is planned: what it will hold so far."""

    space: Space | None
    names: set[str]
    default: dict[int, tuple[Key | int | None, str]] = field(default_factory=dict)
    asked_names: set[str] = field(default_factory=set)
    asked_default: dict[int, Key] = field(default_factory=dict)
    lo_up: bool = False
    to_be_made: bool = False


class Rows(dict[Key, Endpoint]):
    """Endpoints by key, and the same by target."""

    def __init__(self, rows: Mapping[Key, Endpoint]) -> None:
        super().__init__()
        self._at: dict[Target, dict[Key, Endpoint]] = {}
        for row in rows.values():
            self.put(row)

    def put(self, row: Endpoint) -> None:
        self.take(row.key)
        self[row.key] = row
        self._at.setdefault(row.target, {})[row.key] = row

    def take(self, key: Key) -> Endpoint | None:
        row = self.pop(key, None)
        if row is not None:
            del self._at[row.target][key]
        return row

    def at(self, target: Target) -> Iterable[Endpoint]:
        return self._at.get(target, {}).values()


@dataclass
class _Work:
    """What planning keeps count of; only this file sees it."""

    seen: Observed
    networks: Mapping[str, Network]
    book: Book
    endpoints: Rows
    namespaces: dict[str, MadeNamespace]
    rooms: dict[Any, Room] = field(default_factory=dict)
    macs: dict[tuple[str, str], Key] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    before: list[StoreStep] = field(default_factory=list)
    kernel: list[KernelStep] = field(default_factory=list)
    after: list[StoreStep] = field(default_factory=list)
    outcomes: dict[Key, Outcome] = field(default_factory=dict)
    refused: list[tuple[int, str]] = field(default_factory=list)
    order: dict[Key, int] = field(default_factory=dict)
    checked_parents: set[str] = field(default_factory=set)
    left: list[tuple[str, Endpoint]] = field(default_factory=list)
    released: dict[tuple[str, str, int], Allocation] = field(default_factory=dict)
    on_host: list[Callable[[], None]] = field(default_factory=list)
    unlinked: set[tuple[Target, int]] = field(default_factory=set)
    held: dict[tuple[str, str], dict[int, Allocation]] = field(default_factory=dict)
    coming: set[Key] = field(default_factory=set)
    aliases: dict[Key, str] = field(default_factory=dict)
    nameless: set[Key] = field(default_factory=set)
    altered: list[tuple[Endpoint, Link, SetUp]] = field(default_factory=list)
    forced: set[Key] = field(default_factory=set)
    of_host: set[tuple[str, str]] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    parents_to_come: frozenset[str] = frozenset()
    host_names: frozenset[str] = frozenset()


def plan(
    seen: Observed,
    specs: Sequence[EndpointSpec],
    purged: Iterable[str] = (),
    networks: Mapping[str, Network] | None = None,
    parents_to_come: Iterable[str] = (),
    verb: str = "repair",
) -> tuple[Plan, dict[Key, Outcome]]:
    """The plan, and what each endpoint will be.

    :param purged: networks of which only the endpoints in ``specs`` are to stay
    :param networks: the networks as they will be, if this run changes them; ``parents_to_come`` are links that it makes
    :param verb: the action that altering a link for the network's sake is called
    :raises Refused: if anything asked for cannot be; it names every such item
    """
    networks = seen.networks if networks is None else networks
    specs = [seen.settled(spec) for spec in specs]
    work = _Work(
        seen,
        networks,
        Book(networks, seen.allocations, seen.free, seen.now),
        Rows(seen.endpoints),
        dict(seen.namespaces),
        parents_to_come=frozenset(parents_to_come),
    )
    work.host_names = _names_on_host(work)
    for row in seen.endpoints.values():
        if row.mac_address and row.network in networks:
            work.macs[networks[row.network].parent, row.mac_address] = row.key
    for allocation in seen.allocations:
        if allocation.kind == ENDPOINT and not allocation.cooling:
            work.held.setdefault((allocation.network, allocation.owner), {})[allocation.family] = allocation
    work.order = {spec.key: position for position, spec in enumerate(specs)}
    wanted = {spec.key for spec in specs}
    present = [spec for spec in specs if spec.state == PRESENT]
    work.coming = {spec.key for spec in present}
    renamed = {spec.key for spec in present if spec.aliases is not None}
    work.aliases = {
        (row.network, alias): row.name
        for row in seen.endpoints.values()
        if row.aliases and row.key not in renamed and (row.key not in wanted or row.key in work.coming)
        for alias in row.aliases
    }
    names = {link.index: link.name for link in seen.host.space.links}
    work.of_host = {(names.get(address.index, ""), address.address) for address in seen.host.space.addresses}
    work.forced = {spec.key for spec in specs if spec.force}
    for spec in specs:
        if spec.state == ABSENT:
            _leave(work, spec.item, spec.key, spec.keep)
    for key in sorted(key for key in seen.endpoints if key[0] in set(purged) and key not in wanted):
        _leave(work, f"endpoint '{key[1]}' of network '{key[0]}'", key)
    for spec in present:
        _give_up(work, spec)
    asked = [spec for spec in present if _attempt(work, _claim, spec)]
    for spec in asked:
        _attempt(work, _come, spec, verb)
    _keep_hosts_in_step(work, specs, purged)
    _step_aside(work)
    known = _names(work, specs)
    if work.refused:
        raise Refused(text for _position, text in sorted(work.refused))
    for item, row in work.left:
        _vacate(work, item, row.target)
    for target in sorted(seen.abandoned, key=str):
        if not _holds_ours(work, target):
            _vacate(work, str(target), target)
    before, after = handed_over(work.before, work.after)
    return Plan(tuple(work.actions), before, tuple(work.kernel), after, tuple(work.warnings)) + known, work.outcomes


def _keep_hosts_in_step(work: _Work, specs: Sequence[EndpointSpec], purged: Iterable[str]) -> None:
    """The host's own endpoints have a route to each other endpoint of their network, so they come last: those that are
    asked for, and those of the networks that this run is about."""
    networks = {spec.network for spec in specs} | set(purged)
    unasked = [
        row
        for row in work.endpoints.values()
        # Of a network that is not known (the store was lost) nothing can be told; one that is asked for, was refused.
        if row.target == HOST and row.network in networks & set(work.networks) and row.key not in work.coming
    ]
    for spec in as_specs(unasked):
        _attempt(work, _come, spec, "change")
    for finish in work.on_host:
        finish()


def _names(work: _Work, specs: Sequence[EndpointSpec]) -> Plan:
    items = {row.target: item for item, row in work.left} | {spec.target: spec.item for spec in specs if spec.target}
    plan, problems = plan_names.plan(
        work.seen,
        (work.seen.endpoints.values(), work.held),
        (work.endpoints.values(), _addresses_after(work)),
        items,
    )
    for spec in specs:
        if spec.target in problems:
            work.refused.append((work.order[spec.key], f"{spec.item}: {problems[spec.target]}"))
    return plan


def _addresses_after(work: _Work) -> dict[Key, Mapping[int, Allocation]]:
    return {**work.held, **{key: outcome.addresses for key, outcome in work.outcomes.items()}}


def as_specs(rows: Iterable[Endpoint], forced: Iterable[str] = (), state: str = PRESENT) -> list[EndpointSpec]:
    """Kept endpoints, asked for as they are: what they should be follows from their rows and networks. Those of the networks
    that are ``forced`` may cut the host off."""
    return [
        EndpointSpec(
            f"endpoint '{row.name}' of network '{row.network}'",
            row.network,
            row.name,
            state,
            row.target if state == PRESENT else None,
            force=row.network in forced,
        )
        for row in rows
    ]


def leads_on(seen: Observed, row: Endpoint) -> bool:
    """Whether the target of a kept endpoint still leads to where it did, or can be made to.

    The number of a process is given out again, and a path in /proc is one: such a target does so only for the very same
    process in the same boot. A name means whatever has it now.
    """
    target = seen.engine_of.get(row.target, row.target)
    if target.kind == "netns":
        return True
    space = seen.space_of(target)
    if space is None:
        return False
    if target.kind == "pid":
        return row.boot_id in ("", seen.host.boot_id) and row.start_time == space.start_time
    if target.kind == "netns_path" and target.value.startswith("/proc/"):
        return row.boot_id == seen.host.boot_id and row.cookie in (None, space.cookie)
    return True


def _attempt(work: _Work, function: Any, spec: EndpointSpec, *arguments: Any) -> bool:
    try:
        function(work, spec, *arguments)
    except (ItemError, ValueError) as error:
        text = str(error) if isinstance(error, ItemError) else f"{spec.item}: {error}"
        work.refused.append((work.order.get(spec.key, -1), text))
        return False
    return True


# --- leaving --------------------------------------------------------------------------------------------------


def _leave(work: _Work, item: str, key: Key, keep: bool = False) -> None:
    """Plans to take an endpoint away, and what it holds (``keep``: not that)."""
    row = work.endpoints.take(key)
    work.outcomes[key] = Outcome(key, None, {})
    if row is not None:
        work.actions.append(Action("remove", "endpoint", row.label))
        _unlink(work, item, row)
        work.after.append(Drop(row, item))
        work.left.append((item, row))
        if row.mac_address and row.network in work.networks:
            work.macs.pop((work.networks[row.network].parent, row.mac_address), None)
    for family in () if keep else FAMILIES:
        for allocation in work.book.rows(key[0], ENDPOINT, key[1], family):
            _release(work, item, allocation)


def _unlink(work: _Work, item: str, row: Endpoint, but: Target | None = None) -> None:
    """Plans to take the endpoint's link away, wherever it now is (``but`` not there)."""
    for target in {row.target, work.seen.former.get(row.key, row.target)} - {but}:
        if but is not None and _same_place(work, target, but):
            continue
        space = work.seen.space_of(target)
        link = space and _own_link(space, row.key)
        if link:
            _remove_link(work, item, target, row.key, link)
            _room(work, target).names.discard(link.name)
            _forget_default(_room(work, target), row.key, link.index)


def _remove_link(work: _Work, item: str, target: Target, key: Key, link: Link) -> None:
    if (target, link.index) in work.unlinked:
        return
    if target == HOST:
        _check_lifelines(
            work, item, key, f"removing its link '{link.name}'", parents.cut_with(work.seen.host, link.index)
        )
    work.unlinked.add((target, link.index))
    work.kernel.append(RemoveLink(item, target, link.index, link.name, endpoint_mark(*key)))


def _check_lifelines(work: _Work, item: str, key: Key, doing: str, cut: str | None) -> None:
    """Refuses to cut what the host is reached by, unless that is asked for of this very endpoint."""
    if cut is None:
        return
    if key in work.forced:
        work.warnings.append(f"{item}: {doing} cuts {cut}, since force is true")
        return
    way_out = (
        f"lead that over another link first, or set force to true for endpoint '{key[1]}' of network '{key[0]}' itself"
    )
    work.refused.append((work.order.get(key, -1), f"{item}: {doing} would cut {cut}; {way_out}"))


def _own_link(space: Space, key: Key) -> Link | None:
    """The endpoint's link in a namespace: the one with its mark, else what a kill left half made."""
    mark = endpoint_mark(*key)
    return space.marked(mark) or next((link for link in space.links if parents.half_made(link, mark)), None)


def _release(work: _Work, item: str, allocation: Allocation) -> None:
    work.released[allocation.network, allocation.owner, allocation.family] = allocation
    work.after.append(Drop(allocation, item))
    cooling = work.book.release(allocation)
    if cooling:
        work.after.append(Put(cooling, item))
    work.actions.append(released(allocation))


def _holds_ours(work: _Work, target: Target) -> bool:
    """Whether there are links of endpoints that this run leaves where they are."""
    space = work.seen.space_of(target)
    ours = (link for link in space.links if endpoint_of_mark(link.alias)) if space else ()
    return any((target, link.index) not in work.unlinked for link in ours)


def _vacate(work: _Work, item: str, target: Target) -> None:
    """Plans to take away a namespace of ours when its last endpoint leaves, unless others live in it."""
    made = work.namespaces.get(target.value) if target.kind == "netns" else None
    if made is None or any(work.endpoints.at(target)):
        return
    space = work.seen.space_of(target)
    work.namespaces.pop(target.value, None)
    # Known until all is done: if something of another endpoint stays in it, it is not removed now.
    work.after.append(Drop(made, WHOLE_RUN))
    if space is None:
        work.kernel.append(RemoveNamespace(item, target))  # the file of its name, if a kill left that
        return
    if not is_ours(made, space, work.seen.host.boot_id):
        return
    foreign = (link for link in space.links if not link.loopback and (target, link.index) not in work.unlinked)
    if space.inode in work.seen.busy or any(foreign):
        return
    work.actions.append(Action("remove", "namespace", target.value))
    work.kernel.append(RemoveNamespace(item, target))


def is_ours(made: MadeNamespace, space: Space, boot_id: str) -> bool:
    """Whether the namespace is the very one that we made: one of the same name made later is not."""
    return made.boot_id == boot_id and made.cookie in (None, space.cookie)


def _know_again(work: _Work, made: MadeNamespace, space: Space) -> None:
    """Of a namespace that we made in a run that was broken off we keep its number now."""
    if made.cookie is None and space.cookie is not None and is_ours(made, space, work.seen.host.boot_id):
        work.namespaces[made.name] = made._replace(cookie=space.cookie)
        work.before.append(Put(work.namespaces[made.name]))


# --- coming ---------------------------------------------------------------------------------------------------


def _give_up(work: _Work, spec: EndpointSpec) -> None:
    """What an endpoint that stays will not have any longer, before any is asked what it takes; and what is asked for by
    name, before anything free is given out."""
    for family in FAMILIES:
        address = spec.address(family)
        for allocation in work.book.rows(spec.network, ENDPOINT, spec.name, family) if address else ():
            if allocation.address != address:
                _release(work, spec.item, allocation)
    room = _room(work, spec.place)
    if spec.ifname:
        room.asked_names.add(spec.ifname)
    if spec.default_route and spec.network in work.networks:
        network = work.networks[spec.network]
        for family in FAMILIES:
            if any(links.gateway_of(network, subnet) for subnet in network.of_family(family)):
                room.asked_default.setdefault(family, spec.key)
    old = work.endpoints.get(spec.key)
    if old is None:
        return
    if old.mac_address and old.mac_address != _mac_to_come(work, spec, old):
        parent = work.seen.networks[old.network].parent if old.network in work.seen.networks else ""
        work.macs.pop((parent, old.mac_address), None)
    if not _same_place(work, old.target, spec.place):
        _unlink(work, spec.item, old, but=spec.place)
        work.endpoints.take(spec.key)
        return
    link = _own_link(room.space, spec.key) if room.space else None
    if link and link.name != (spec.ifname or old.ifname):
        room.names.discard(link.name)
        work.nameless.add(spec.key)
    if spec.default_route is False:
        _forget_default(room, spec.key, link.index if link else -1)
        old = old._replace(default_route=())
    work.endpoints.put(old._replace(ifname=spec.ifname or old.ifname))


def _claim(work: _Work, spec: EndpointSpec) -> None:
    """What can be said before any free address is given out: the network, the options that it takes, asked-for
    addresses."""
    if spec.network == NONE:
        return
    network = work.networks.get(spec.network)
    if network is None:
        meant = similar(spec.network, sorted(work.networks))
        raise ValueError(f"network '{spec.network}' does not exist; make it with vlan_network first{meant}")
    if spec.mac_address and not network.own_mac:
        reason = f"{network.driver_name} {network.mode}" if network.lone else network.driver_name
        raise ValueError(
            f"mac_address {spec.mac_address} cannot be had: a link of {reason} has its parent's MAC address"
        )
    for alias in spec.aliases or ():
        key = (spec.network, alias)
        if key in work.coming or key in work.endpoints:
            raise ValueError(f"aliases: '{alias}' is the name of another endpoint of network '{spec.network}'")
    namesake = None if spec.key in work.seen.endpoints else work.aliases.get(spec.key)
    if namesake:
        raise ValueError(
            f"name '{spec.name}' is an alias of endpoint '{namesake}' of network '{spec.network}'; take it away there, or "
            "choose another name"
        )
    if spec.place == HOST:
        if spec.default_route:
            raise ValueError("default_route cannot be true with host: true; the host keeps its own default route")
        if network.lone:
            raise ValueError(f"host: true cannot be had: {network.driver_name} {network.mode} takes one endpoint only")
    for family in FAMILIES:
        address = spec.address(family)
        if address is None:
            continue
        if not network.of_family(family):
            raise ValueError(
                f"ipv{family}_address {address} cannot be had: network '{network.name}' has no IPv{family} subnet"
            )
        if not work.book.rows(network.name, ENDPOINT, spec.name, family):
            try:
                _allocated(work, work.book.claim(network, ENDPOINT, spec.name, address))
            except ValueError as error:
                raise ValueError(f"ipv{family}_{error}") from None


def _allocated(work: _Work, allocation: Allocation) -> None:
    if (allocation.segment, allocation.text) in work.of_host:
        raise ValueError(
            f"address {allocation.text} cannot be used: it is the host's own on '{allocation.segment}', and what comes for the "
            "host would be taken from it; set it aside with aux_addresses of the network, or give another one"
        )
    work.before.append(Put(allocation))
    work.actions.append(allocated(allocation))


def _come(work: _Work, spec: EndpointSpec, verb: str) -> None:
    if spec.network == NONE:
        _come_alone(work, spec)
        return
    network = work.networks[spec.network]
    old = work.seen.endpoints.get(spec.key)
    _check_parent(work, network)
    if network.lone and any(key[0] == network.name and key != spec.key for key in work.endpoints):
        raise ValueError(
            f"network '{network.name}' is {network.driver_name} {network.mode}: it takes one endpoint only"
        )
    if spec.place == HOST:
        _check_alone_on_host(work, spec, network)
    room = _enter(work, spec)
    alone = next((row for row in work.endpoints.at(spec.place) if row.network == NONE), None)
    if alone:
        raise ValueError(f"{spec.place} is on network '{NONE}' (endpoint '{alone.name}'), so nothing else can join it")
    astray = old is not None and spec.key in work.seen.former
    # If somebody moved its link alone, the endpoint has not moved.
    stayed = old and room.space and room.space.cookie == old.cookie
    left = old if old and (not _same_place(work, old.target, spec.place) or (astray and not stayed)) else None
    moved = left is not None
    if old and (moved or astray):
        _unlink(work, spec.item, old, but=spec.place)
    # In another namespace the default route is decided anew.
    decided_before = set(work.held.get(spec.key, ())) if old and not moved else set()
    addresses = _addresses(work, spec, network)
    _check_conflicts(work, network, addresses)
    space = room.space
    own = None if space is None else _own_link(space, spec.key)
    link = own if own and own.alias else None
    wrong = link is not None and not _same_kind(link, network, work)
    row = Endpoint(
        network=network.name,
        name=spec.name,
        target=spec.place,
        ifname=_ifname(work, spec, room, old, own, moved),
        mac_address=_mac(work, spec, network, addresses, old),
        default_route=_default_route(work, spec, network, addresses, room, old, link, decided_before),
        cookie=None if space is None else space.cookie,
        boot_id=work.seen.host.boot_id if space is not None else "",
        start_time=None if space is None else space.start_time,
        aliases=spec.aliases if spec.aliases is not None else (old.aliases if old else ()),
        sysctls=spec.sysctls if spec.sysctls is not None else (old.sysctls if old else {}),
    )
    hosts_path = _container_hosts(work, row)
    if hosts_path is not None:
        row = row._replace(hosts_path=hosts_path)
    if left is not None:
        work.left.append((spec.item, left))
    work.endpoints.put(row)
    work.outcomes[spec.key] = Outcome(spec.key, row, addresses)

    def finish() -> None:
        _steps(work, spec, network, old, row, addresses, room, None if wrong else link, moved, wrong, verb)

    if spec.place == HOST:
        _warn_of_filters(work, spec, network)
        work.on_host.append(finish)
    else:
        finish()


def _check_alone_on_host(work: _Work, spec: EndpointSpec, network: Network) -> None:
    """The host can have one route to an address: no other link of it may lead to the same ones."""
    for row in work.endpoints.at(HOST):
        other = work.networks.get(row.network)
        if other is None or row.key == spec.key:
            continue
        if other.name == network.name:
            raise ValueError(
                f"host: true cannot be had: endpoint '{row.name}' is on the host already, and the routes to the others are by "
                "its link; one is enough"
            )
        if other.parent != network.parent and _overlap(network, other):
            raise ValueError(
                f"host: true cannot be had: network '{other.name}' has the same subnet on another parent and endpoint "
                f"'{row.name}' on the host, which can reach an address on one of the two only"
            )


def _overlap(one: Network, other: Network) -> bool:
    return any(
        mine.network.overlaps(theirs.network)
        for mine in one.subnets
        for theirs in other.subnets
        if mine.family == theirs.family
    )


def _same_place(work: _Work, one: Target, other: Target) -> bool:
    """Whether two targets are one, or two words for one namespace (a process and its container)."""
    here, there = work.seen.space_of(one), work.seen.space_of(other)
    return one == other or (here is not None and there is not None and here.identity == there.identity)


def _container_hosts(work: _Work, row: Endpoint) -> str | None:
    return work.seen.hosts_path(row) if row.target.kind == "container" else None


def _warn_of_filters(work: _Work, spec: EndpointSpec, network: Network) -> None:
    """A mode or flag that keeps endpoints apart keeps the host's own apart, too."""
    word = next((word for word in (network.mode, network.flag) if word in ("private", "vepa")), None)
    if word:
        work.warnings.append(
            f"{spec.item}: network '{network.name}' is {network.driver_name} {word}, so the host does not reach its endpoints "
            "by this link either" + (", unless the switch sends frames back" if word == "vepa" else "")
        )


def _come_alone(work: _Work, spec: EndpointSpec) -> None:
    """The network without links: a namespace that has its loopback and nothing else, and stays so."""
    old = work.seen.endpoints.get(spec.key)
    room = _enter(work, spec)
    others = [row.label for row in work.endpoints.at(spec.place) if row.key != spec.key]
    names = room.names - {links.LOOPBACK}
    if room.space:
        names -= {link.name for link in room.space.links if (spec.place, link.index) in work.unlinked}
    if others or names:
        what = f"endpoint '{others[0]}'" if others else f"the link '{sorted(names)[0]}'"
        raise ValueError(
            f"{spec.place} has {what}, and network '{NONE}' means none; take that away, or name another target"
        )
    if old is not None and old.target != spec.place:
        work.left.append((spec.item, old))
    row = Endpoint(
        network=NONE,
        name=spec.name,
        target=spec.place,
        ifname=links.LOOPBACK,
        mac_address=None,
        default_route=(),
        cookie=room.space.cookie if room.space else None,
        boot_id=work.seen.host.boot_id if room.space else "",
        start_time=room.space.start_time if room.space else None,
    )
    work.endpoints.put(row)
    work.outcomes[spec.key] = Outcome(spec.key, row, {})
    step, changes = links.loopback_alone(spec.item, spec.place, room.space)
    if not step.empty:
        work.kernel.append(step)
    if not step.empty or old is None or old.target != row.target:
        action = "create" if old is None else "move" if old.target != row.target else "repair"
        work.actions.append(
            Action(action, "endpoint", row.label, {} if old is None else {**changes, **_row_changes(old, row)})
        )
    if old != row or room.space is None:
        work.before.append(Put(row))
        work.after.append(Settle(row, spec.item))


def _check_parent(work: _Work, network: Network) -> None:
    if network.parent in work.checked_parents:
        return
    parent = work.seen.host.links.get(network.parent)
    if parent and parents.half_made(parent, parent_mark(parent.name)):
        parent = None
    if parent is None and network.parent not in work.parents_to_come:
        raise ValueError(
            f"parent '{network.parent}' of network '{network.name}' is not there (any more); "
            "run vlan_network for this network, which makes it again or says what is missing"
        )
    if parent is not None:
        parents.check_usable(work.seen.host, parent.name)
    child = parent and parents.foreign_child(work.seen, parent.index, network)
    if child:
        raise ValueError(child)
    work.checked_parents.add(network.parent)


def _enter(work: _Work, spec: EndpointSpec) -> Room:
    """The namespace that an endpoint comes to; a named one that does not exist is planned."""
    target = spec.place
    room = _room(work, target)
    if target != HOST and room.space is not None and room.space.identity == work.seen.host.space.identity:
        raise ValueError(f"{target.kind} {target.value} is the host's own network namespace; name another one")
    if room.space is None and not room.to_be_made:
        raise ValueError(work.seen.unreachable[target])
    if room.to_be_made and target.value not in work.namespaces:
        made = MadeNamespace(target.value, None, work.seen.host.boot_id)
        work.namespaces[target.value] = made
        work.before.append(Put(made))
        work.after.append(Settle(made, spec.item))
        work.kernel.append(MakeNamespace(spec.item, target))
        work.actions.append(Action("create", "namespace", target.value))
    elif room.space is not None and target.kind == "netns" and target.value in work.namespaces:
        _know_again(work, work.namespaces[target.value], room.space)
    return room


def _room(work: _Work, target: Target) -> Room:
    space = work.seen.space_of(target)
    place = target if space is None or target in work.rooms else space.identity
    if place not in work.rooms:
        work.rooms[place] = _furnished(work, target, space)
    return work.rooms[place]


def _furnished(work: _Work, target: Target, space: Space | None) -> Room:
    if space is None:
        made = work.namespaces.get(target.value) if target.kind == "netns" else None
        if made is not None:
            # The row of a namespace that is gone: it is made anew, and is then the one that the row means.
            del work.namespaces[target.value]
        return Room(None, {"lo"}, to_be_made=target.kind == "netns" and target not in work.seen.unreachable)
    room = Room(space, {link.name for link in space.links})
    # What the host does with its own loopback is its own business.
    room.lo_up = target == HOST or any(link.loopback and link.up for link in space.links)
    names: dict[int | None, str] = {link.index: endpoint_words(link.alias) or link.name for link in space.links}
    for route in space.routes:
        if route.destination == "default":
            room.default.setdefault(route.family, (route.index, f"by {names.get(route.index, 'another link')}"))
    return room


def _forget_default(room: Room, *holders: Key | int) -> None:
    room.default = {family: entry for family, entry in room.default.items() if entry[0] not in holders}


def _same_kind(link: Link, network: Network, work: _Work) -> bool:
    """Whether a marked link can be brought to what it should be; else it has to be made anew."""
    parent = work.seen.host.links.get(network.parent)
    # A parent that is made anew takes its links with it.
    if parent is None or network.parent in work.parents_to_come:
        return False
    if link.kind != network.driver.kind or link.parent_index != parent.index:
        return False
    mode = network.driver.mode
    if mode is None or not network.driver.lone_modes:
        return True
    now = mode.word(attribute(link, mode.attribute, mode.format))
    return now == network.mode or not {now, network.mode} & network.driver.lone_modes


def _addresses(work: _Work, spec: EndpointSpec, network: Network) -> dict[int, Allocation]:
    """The endpoint's addresses: what it has, else the next free one, per family of its network."""
    found = {}
    for family in FAMILIES:
        rows = work.book.rows(network.name, ENDPOINT, spec.name, family)
        subnets = network.of_family(family)
        for row in list(rows):
            if not any(row.address in subnet.network for subnet in subnets):
                rows.remove(row)
                _release(work, spec.item, row)
        if subnets:
            if not rows:
                rows = [_next_unused(work, spec, network, family)]
                _allocated(work, rows[0])
            found[family] = rows.pop(0)
        for row in rows:
            _release(work, spec.item, row)
    return found


def _next_unused(work: _Work, spec: EndpointSpec, network: Network, family: int) -> Allocation:
    """The next free address that no other station has; those that one has are set aside for a while."""
    while True:
        row = work.book.next_free(network, ENDPOINT, spec.name, family)
        mac = work.seen.conflicts.get((network.parent, row.address))
        if mac is None:
            return row
        work.book.forget(row)
        why = f"in use by {mac} on {network.parent}"
        aside = work.book.claim(
            network, RESERVED, f"conflict-{row.address}", row.address, why, expires=work.seen.now + QUARANTINE_S
        )
        _allocated(work, aside)
        work.warnings.append(
            f"{spec.item}: {row.address} of network '{network.name}' is {why}, so it is set aside for a day and another one "
            "is taken"
        )


def _check_conflicts(work: _Work, network: Network, addresses: Mapping[int, Allocation]) -> None:
    for family, row in addresses.items():
        mac = work.seen.conflicts.get((network.parent, row.address))
        if mac:
            raise ValueError(
                f"ipv{family}_address {row.address} cannot be used in network '{network.name}': {mac} on {network.parent} has it; "
                "free it there, or use another"
            )


def _ifname(work: _Work, spec: EndpointSpec, room: Room, old: Endpoint | None, link: Link | None, moved: bool) -> str:
    """The name asked for, else the one it has (in another namespace: if it is free there), else the first free ethN."""
    there = room.names - ({link.name} if link and spec.key not in work.nameless else set())
    taken = there | {row.ifname for row in work.endpoints.at(spec.place) if row.key != spec.key}
    avoided = taken | room.asked_names
    kept = old.ifname if old and not (moved and old.ifname in avoided) else None
    name = spec.ifname or kept
    if name is None:
        stem = "underlay" if spec.place == HOST else "eth"
        name = next(f"{stem}{number}" for number in range(len(avoided) + 1) if f"{stem}{number}" not in avoided)
    if name in taken:
        raise ValueError(f"ifname '{name}' is taken by another link in {spec.place}; choose another ifname")
    room.names = there | {name}
    return name


def _mac(
    work: _Work, spec: EndpointSpec, network: Network, addresses: Mapping[int, Allocation], old: Endpoint | None
) -> str | None:
    if not network.own_mac:
        return None
    mac = spec.mac_address or _kept_mac(work, spec, old) or _derived_mac(spec.key, addresses)
    holder = work.macs.setdefault((network.parent, mac), spec.key)
    if holder != spec.key:
        raise ValueError(
            f"mac_address {mac} is already that of endpoint '{holder[1]}' of network '{holder[0]}' on parent "
            f"'{network.parent}'"
        )
    return mac


def _mac_to_come(work: _Work, spec: EndpointSpec, old: Endpoint) -> str:
    held = work.held.get(spec.key, {})
    address = spec.ipv4_address or (held[4].address if 4 in held else None)
    return spec.mac_address or _kept_mac(work, spec, old) or addressing.mac_for(address, *spec.key)


def _derived_mac(key: Key, addresses: Mapping[int, Allocation]) -> str:
    ipv4 = addresses.get(4)
    return addressing.mac_for(ipv4.address if ipv4 else None, *key)


def _kept_mac(work: _Work, spec: EndpointSpec, old: Endpoint | None) -> str | None:
    """The MAC that was once asked for; one that followed from the address goes on following it."""
    if old is None or old.mac_address is None:
        return None
    followed = _derived_mac(spec.key, work.held.get(spec.key, {}))
    return None if old.mac_address == followed else old.mac_address


# --- default routes ---------------------------------------------------------------------------------------------------


def _default_route(
    work: _Work,
    spec: EndpointSpec,
    network: Network,
    addresses: Mapping[int, Allocation],
    room: Room,
    old: Endpoint | None,
    link: Link | None,
    decided_before: set[int],
) -> tuple[int, ...]:
    """The families whose default route this endpoint carries. Left out, it is decided once: yes, unless the namespace
    has a default route or another endpoint asks for it; the first in a list wins."""
    _forget_default(room, spec.key, link.index if link else -1)
    if spec.default_route is False or spec.place == HOST:
        return ()
    possible = [family for family, address in addresses.items() if links.default_route_of(network, address)]
    if spec.default_route and not possible:
        raise ValueError(f"default_route is true, but network '{network.name}' has no gateway that a route could use")
    carried = []
    for family in possible:
        other = room.default.get(family) or _default_elsewhere(work, spec, family)
        if spec.default_route and other:
            raise ValueError(
                f"default_route is true, but {spec.place} already has an IPv{family} default route {other[1]}; "
                "set default_route to false here, or take the other one away"
            )
        decided = old is not None and family in decided_before and spec.default_route is None
        left = not other and (spec.default_route or room.asked_default.get(family, spec.key) == spec.key)
        if (family in old.default_route) if old is not None and decided else left:
            carried.append(family)
            room.default[family] = (spec.key, f"by endpoint '{spec.name}' of network '{spec.network}'")
    return tuple(carried)


def _default_elsewhere(work: _Work, spec: EndpointSpec, family: int) -> tuple[Key | int | None, str] | None:
    """Another endpoint that carries the default route of this target, even if its link is not there just now."""
    for row in work.endpoints.at(spec.place):
        if row.key != spec.key and family in row.default_route:
            return row.key, f"by endpoint '{row.name}' of network '{row.network}'"
    return None


# --- steps ----------------------------------------------------------------------------------------------------


def _steps(
    work: _Work,
    spec: EndpointSpec,
    network: Network,
    old: Endpoint | None,
    row: Endpoint,
    addresses: Mapping[int, Allocation],
    room: Room,
    link: Link | None,
    moved: bool,
    replaced: bool,
    verb: str,
) -> None:
    space = room.space
    changes = _row_changes(old, row)
    former = {f: work.released[(*row.key, f)] for f in FAMILIES if (*row.key, f) in work.released}
    mtu = links.mtu_of(network, work.seen.host.links.get(network.parent))
    peers = _peers(work, row) if row.target == HOST else {}
    if peers:
        work.outcomes[row.key] = work.outcomes[row.key]._replace(peers=peers)
    leaving = {allocation.address for allocation in former.values()}
    if link is not None and space is not None:
        leaving |= _held_by_others(work, network, row, space, link)
    wanted = links.Wanted(spec.item, network, row, addresses, mtu, frozenset(leaving), peers)
    if link is None or space is None:
        if space is not None:
            _clear_way(work, spec, space)
        parent = work.seen.host.links.get(network.parent)
        if network.lone and parent is not None:
            doing = (
                f"{network.driver_name} {network.mode}, which takes all that comes in on '{parent.name}' for itself,"
            )
            _check_lifelines(work, spec.item, spec.key, doing, parents.cut_by_passthru(work.seen.host, parent.index))
        name_free = row.ifname not in work.host_names and (space is None or space.named(row.ifname) is None)
        work.kernel += links.made(wanted, loopback_up=not room.lo_up, name_free=name_free)
        work.kernel += _announced(spec, network, row, addresses)
        action = "create" if old is None else "move" if moved else "rebuild" if replaced else "repair"
        work.actions.append(Action(action, "endpoint", row.label, changes if old is not None else {}))
    else:
        step, found = links.differences(wanted, space, link, room.lo_up, work.seen.sysctls.get(row.key, {}))
        if row.target == HOST and (step.rename or step.addresses_off):
            doing = f"changing its link '{link.name}'"
            _check_lifelines(work, spec.item, spec.key, doing, parents.cut_with(work.seen.host, link.index))
        if not step.empty:
            work.kernel.append(step)
            work.altered.append((row, link, step))
        if step.addresses or step.mac_address:
            work.kernel += _announced(spec, network, row, addresses)
        if not step.empty or changes or old is None:
            action = "adopt" if old is None else "change" if changes or former else verb
            work.actions.append(Action(action, "endpoint", row.label, {**found, **changes}))
    if link is None or old != row:
        work.before.append(Put(_intended(row, old if moved else None) if link is None else row))
        work.after.append(Settle(row, spec.item))
    room.lo_up = True


def _held_by_others(work: _Work, network: Network, row: Endpoint, space: Space, link: Link) -> set[IPAddress]:
    """Addresses on a link that other endpoints have: one that changed hands in a run that was broken off, or that somebody
    put there."""
    found = set()
    for address in space.addresses:
        if links.is_global(address, link.index):
            holder = work.book.holder(network.parent, addressing.parse_address(address.address))
            key = (
                (holder.network, holder.owner) if holder and holder.kind == ENDPOINT and not holder.cooling else row.key
            )
            if key != row.key and (key in work.endpoints or key in work.coming):
                found.add(addressing.parse_address(address.address))
    return found


def _step_aside(work: _Work) -> None:
    """Where one endpoint takes what the link of another gives up, that link lets go of it before anybody takes anything: the
    kernel knows no exchange."""
    if not work.altered:
        return
    at: dict[int, list[Endpoint]] = {}
    for outcome in work.outcomes.values():
        if outcome.row is not None:
            at.setdefault(id(_room(work, outcome.row.target)), []).append(outcome.row)
    for row, link, step in work.altered:
        parent, name = work.networks[row.network].parent, working_name(endpoint_mark(*row.key))
        others = [other for other in at.get(id(_room(work, row.target)), ()) if other.key != row.key]
        own = {allocation.address for allocation in work.outcomes[row.key].addresses.values()}
        carried = {family for other in others for family in other.default_route} - set(row.default_route)
        holders = {pair: work.book.holder(parent, pair[0]) for pair in step.addresses_off if pair[0] not in own}
        first = SetUp(
            step.item,
            step.space,
            link.name,
            link.name,
            addresses_off=tuple(pair for pair, holder in holders.items() if holder and not holder.cooling),
            routes_off=tuple(
                route for route in step.routes_off if route.destination is None and route.family in carried
            ),
        )
        if step.mac_address and work.macs.get((parent, link.mac), row.key) != row.key:
            first = first._replace(mac_address=working_mac(endpoint_mark(*row.key)))
        if step.rename and any(other.ifname == link.name for other in others):
            first = first._replace(name=name, rename=True)
            work.kernel[work.kernel.index(step)] = step._replace(link=name)
        if not first.empty:
            work.kernel.append(StepAside(step.item, step.space, first))


def _names_on_host(work: _Work) -> frozenset[str]:
    """What no link can be called from the beginning, in whatever namespace it is made: before Linux 6.15 the kernel looks its
    name up among the links of who asks for it, too (net/core/rtnetlink.c, ``__rtnl_newlink``)."""
    links_there = work.seen.host.space.links
    names = {link.name for link in links_there}.union(*(link.other_names for link in links_there))
    return frozenset(names | set(work.seen.host.links) | work.parents_to_come)


def _intended(row: Endpoint, former: Endpoint | None) -> Endpoint:
    """The row until its link is there; of one that moves it still says which namespace has the old link."""
    known = (former.cookie, former.boot_id) if former else (None, "")
    return row if known == (row.cookie, row.boot_id) else row._replace(cookie=known[0], boot_id=known[1])


def _announced(
    spec: EndpointSpec, network: Network, row: Endpoint, addresses: Mapping[int, Allocation]
) -> list[Announce]:
    """What its neighbours have to hear of; in l3 it has none."""
    held = tuple(allocation.address for allocation in addresses.values())
    if network.routed or not network.announce.count or not held:
        return []
    told = network.announce
    return [Announce(spec.item, row.target, endpoint_mark(*row.key), held, told.count, told.interval_ms)]


def _peers(work: _Work, row: Endpoint) -> dict[int, tuple[IPAddress, ...]]:
    """The addresses of the other endpoints of a network that are not on the host themselves, by family."""
    addresses = _addresses_after(work)
    there = [other for other in work.endpoints.values() if other.network == row.network and other.target != HOST]
    return {
        family: tuple(
            sorted(held[family].address for other in there for held in [addresses.get(other.key, {})] if family in held)
        )
        for family in FAMILIES
    }


def _row_changes(old: Endpoint | None, row: Endpoint) -> dict[str, dict[str, Any]]:
    if old is None:
        return {}
    pairs = {
        "target": (str(old.target), str(row.target)),
        "ifname": (old.ifname, row.ifname),
        "mac_address": (old.mac_address, row.mac_address),
        "default_route": (bool(old.default_route), bool(row.default_route)),
        "aliases": (list(old.aliases), list(row.aliases)),
        "sysctls": (dict(old.sysctls), dict(row.sysctls)),
    }
    return {name: {"before": a, "after": b} for name, (a, b) in pairs.items() if a != b}


def _clear_way(work: _Work, spec: EndpointSpec, space: Space) -> None:
    """A link of this endpoint that cannot stay (another kind or parent, or half made) goes before the new one comes."""
    present = _own_link(space, spec.key)
    if present and (spec.place, present.index) not in work.unlinked:
        _remove_link(work, spec.item, spec.place, spec.key, present)
