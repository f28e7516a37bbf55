# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The store held against the kernel: what differs, what may be released, what can be taken back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress, parse_address
from ansible_collections.netops.underlay.plugins.module_utils.book import Book
from ansible_collections.netops.underlay.plugins.module_utils.drivers import by_kind
from ansible_collections.netops.underlay.plugins.module_utils.facts import Address, Link, attribute
from ansible_collections.netops.underlay.plugins.module_utils.links import RTPROT_RA
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    DEFAULT_VLAN_PROTOCOL,
    ENDPOINT,
    NONE,
    Action,
    Allocation,
    Endpoint,
    Held,
    HostSetting,
    MadeNamespace,
    Network,
    Parent,
    Target,
    endpoint_of_mark,
    released,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed, Space
from ansible_collections.netops.underlay.plugins.module_utils.parents import made_by_us, vlan_of
from ansible_collections.netops.underlay.plugins.module_utils.steps import CheckGone, Drop, Plan, Put, StoreStep

Key = tuple[str, str]

# linux/if_addr.h
_IFA_F_PERMANENT = 0x80
_IFAPROT_KERNEL_RA = 2


class Finding(NamedTuple):
    """Something in which store and kernel differ: ``link_gone``, ``unknown_link`` or ``unknown_address``. ``reason`` says
    in words what was seen; ``dead``: it is proven that the endpoint's namespace is no more."""

    finding: str
    network: str
    owner: str
    address: str | None
    where: str | None
    reason: str
    dead: bool = False


class _Found(NamedTuple):
    """A link with an endpoint's mark."""

    key: Key
    target: Target
    space: Space
    link: Link

    def addresses(self) -> list[Address]:
        """Those that somebody gave it: not link-local, not from a router advertisement."""
        return [
            item
            for item in self.space.addresses
            if item.index == self.link.index
            and item.scope == 0
            and item.protocol != _IFAPROT_KERNEL_RA
            and (item.family == 4 or item.protocol or item.flags & _IFA_F_PERMANENT)
        ]


def _links(seen: Observed) -> Iterator[_Found]:
    for target, space in seen.spaces.items():
        for link in space.links if space else ():
            key = endpoint_of_mark(link.alias)
            if key and space:
                yield _Found(key, target, space, link)


# --- what differs ---------------------------------------------------------------------------------------------


def findings(seen: Observed, network: str | None = None) -> list[Finding]:
    """All in which store and kernel differ, of one network or of all."""
    links = list(_links(seen))
    there = {found.key for found in links}
    held: dict[Key, list[Allocation]] = {}
    for row in seen.allocations:
        if row.kind == ENDPOINT and not row.cooling:
            held.setdefault((row.network, row.owner), []).append(row)
    result = []
    for key, endpoint in sorted(seen.endpoints.items()):
        if key not in there:
            dead = _death(seen, endpoint)
            if endpoint.network == NONE and not dead:
                continue
            reason = dead or (
                f"it has not come back to {endpoint.target} since this host started; the service brings it, or its task"
                if _before_the_boot(seen, endpoint)
                else f"no link of it is in {endpoint.target}"
            )
            addresses: list[str | None] = [item.text for item in held.get(key, ())]
            for address in addresses or [None]:
                result.append(Finding("link_gone", *key, address, str(endpoint.target), reason, dead is not None))
    for found in links:
        if found.key not in seen.endpoints:
            reason = f"link '{found.link.name}' carries our mark, but the store does not know the endpoint"
            result.append(Finding("unknown_link", *found.key, None, str(found.target), reason))
        known = {str(row.address) for row in held.get(found.key, ())}
        for item in found.addresses():
            if item.address not in known:
                reason = f"link '{found.link.name}' has it, but the store does not hold it for this endpoint"
                result.append(Finding("unknown_address", *found.key, item.address, str(found.target), reason))
    return [item for item in result if network in (None, item.network)]


def _death(seen: Observed, row: Endpoint) -> str | None:
    """What proves that the namespace of an endpoint is no more; None where nothing does."""
    # A container that has stopped may come back, and only its engine knows.
    if row.target.kind == "container":
        return None
    if _before_the_boot(seen, row):
        # What is in a name's namespace is put back, and may only be waiting for that.
        return "its process was of before this host last started" if row.target.of_a_process else None
    if row.boot_id and row.cookie is not None and row.cookie not in seen.alive:
        return "its namespace is gone"
    return None


def _before_the_boot(seen: Observed, row: Endpoint) -> bool:
    return bool(row.boot_id) and row.boot_id != seen.host.boot_id


# --- what may be released -------------------------------------------------------------------------------------


def _dead(seen: Observed, network: str | None) -> dict[Key, Endpoint]:
    there = {found.key for found in _links(seen)}
    return {
        key: row
        for key, row in seen.endpoints.items()
        if network in (None, key[0]) and key not in there and _death(seen, row)
    }


def reconcile(first: Observed, second: Observed, network: str | None = None) -> tuple[Plan, list[Allocation]]:
    """The plan that forgets endpoints that were proven dead in both looks, and what it releases. It looks a third time
    before it does so."""
    before = _dead(first, network)
    dead = {key: row for key, row in sorted(_dead(second, network).items()) if before.get(key) == row}
    book = Book(second.networks, second.allocations, {}, second.now)
    actions: list[Action] = []
    after: list[StoreStep] = []
    freed = []
    for key, row in dead.items():
        item = f"endpoint '{key[1]}' of network '{key[0]}'"
        actions.append(Action("remove", "endpoint", row.label))
        after.append(Drop(row, item))
        for family in (4, 6):
            for allocation in book.rows(key[0], ENDPOINT, key[1], family):
                after.append(Drop(allocation, item))
                cooling = book.release(allocation)
                if cooling:
                    after.append(Put(cooling, item))
                actions.append(released(allocation))
                freed.append(allocation)
    left = {row.target for key, row in second.endpoints.items() if key not in dead}
    for made in second.namespaces.values():
        gone = made.boot_id != second.host.boot_id or (made.cookie is not None and made.cookie not in second.alive)
        if network is None and gone and Target("netns", made.name) not in left:
            after.append(Drop(made))
    checks = tuple(
        CheckGone(f"endpoint '{key[1]}' of network '{key[0]}'", row.cookie)
        for key, row in dead.items()
        if row.boot_id == second.host.boot_id and row.cookie is not None
    )
    return Plan(tuple(actions), kernel=checks, after=tuple(after)), freed


# --- what can be taken back -----------------------------------------------------------------------------------


def take_back(seen: Observed, salvaged: Iterable[Any] = ()) -> Plan:
    """The plan that fills a new store from what could be read of a damaged one and from what the kernel shows. Where the
    two contradict each other, the kernel is right."""
    rows = list(salvaged)
    networks = {row.name: row for row in rows if isinstance(row, Network)}
    parents = {row.name: row for row in rows if isinstance(row, Parent)}
    endpoints = {row.key: row for row in rows if isinstance(row, Endpoint)}
    steps: list[StoreStep] = [
        Put(row) for row in rows if isinstance(row, (HostSetting, Network, MadeNamespace, Held, Parent, Endpoint))
    ]
    actions, warnings = [], []
    for parent in _parents(seen):
        if parent.name not in parents:
            steps.append(Put(parent))
            actions.append(Action("adopt", "parent", parent.name))
    links = list(_links(seen))
    for found in links:
        if found.key not in endpoints:
            endpoint = _endpoint(seen, found)
            steps.append(Put(endpoint))
            actions.append(Action("adopt", "endpoint", endpoint.label))
    shown = _shown(seen, links, networks)
    kept, lost = _agreeing([row for row in rows if isinstance(row, Allocation)], shown)
    warnings += [f"{row.text} was held by {row.holder}, but a link of {other.holder} has it" for row, other in lost]
    known = {(*row.key, row.address) for row in kept}
    for row in kept:
        steps.append(Put(row))
    for row in shown:
        if (*row.key, row.address) not in known:
            steps.append(Put(row))
            actions.append(Action("adopt", "address", row.text, {"owner": {"before": None, "after": row.owner}}))
    missing = sorted({found.key[0] for found in links} - set(networks))
    if missing:
        warnings.append(
            f"endpoints of the networks {', '.join(missing)} were found, but the networks themselves are not known any more; "
            "run vlan_network for them, with the subnets that they had"
        )
    return Plan(tuple(actions), before=tuple(steps), warnings=tuple(warnings))


def _parents(seen: Observed) -> Iterator[Parent]:
    names = {link.index: link.name for link in seen.host.links.values()}
    for link in seen.host.links.values():
        if made_by_us(link):
            base, vlan_id, protocol = vlan_of(link)
            name = names.get(base) if base is not None else None
            yield Parent(link.name, name, vlan_id, protocol or DEFAULT_VLAN_PROTOCOL)


def _endpoint(seen: Observed, found: _Found) -> Endpoint:
    link, space = found.link, found.space
    defaults = {
        route.family
        for route in space.routes
        if route.destination == "default" and route.index == link.index and route.protocol != RTPROT_RA
    }
    return Endpoint(
        network=found.key[0],
        name=found.key[1],
        target=found.target,
        ifname=link.name,
        mac_address=link.mac if _has_own_mac(link) else None,
        default_route=tuple(sorted(defaults)),
        cookie=space.cookie,
        boot_id=seen.host.boot_id,
        start_time=space.start_time,
    )


def _has_own_mac(link: Link) -> bool:
    driver = by_kind(link.kind)
    if driver is None or not driver.own_mac or driver.mode is None:
        return False
    return driver.mode.word(attribute(link, driver.mode.attribute, driver.mode.format)) not in driver.lone_modes


def _shown(seen: Observed, links: Sequence[_Found], networks: Mapping[str, Network]) -> list[Allocation]:
    """What the links hold: of each family one address, in a subnet of the network where that is known."""
    names: dict[int | None, str] = {link.index: link.name for link in seen.host.links.values()}
    found: dict[tuple[str, IPAddress], Allocation] = {}
    for item in links:
        parent = names.get(item.link.parent_index)
        network = networks.get(item.key[0])
        families = set()
        # One that stands alone is rather another service's: a VIP that keepalived put there, say.
        for shown in sorted(item.addresses(), key=lambda found: found.prefixlen in (32, 128)):
            address = parse_address(shown.address)
            fits = network is None or network.subnet_of(address) is not None
            if parent is None or not fits or shown.family in families or (parent, address) in found:
                continue
            families.add(shown.family)
            found[parent, address] = Allocation(parent, item.key[0], ENDPOINT, item.key[1], address, since=seen.now)
    return list(found.values())


def _agreeing(
    rows: Iterable[Allocation], shown: Iterable[Allocation]
) -> tuple[list[Allocation], list[tuple[Allocation, Allocation]]]:
    """Of the salvaged rows those that contradict neither the kernel nor one another, and those that do with what they
    contradict."""
    singles = {(row.segment, row.family, row.bounds[0]): row for row in shown}
    kept, lost = [], []
    last: Allocation | None = None
    for row in sorted(rows, key=lambda item: (item.segment, item.family, item.bounds)):
        first, end = row.bounds
        if row.last is None:
            clash = singles.get((row.segment, row.family, first))
        else:
            clash = next(
                (
                    o
                    for (segment, family, n), o in singles.items()
                    if (segment, family) == (row.segment, row.family) and first <= n <= end
                ),
                None,
            )
        if clash is not None and clash.key == row.key and row.last is None and not row.cooling:
            clash = None
        if (
            clash is None
            and last is not None
            and (last.segment, last.family) == (row.segment, row.family)
            and last.bounds[1] >= first
        ):
            clash = last
        if clash is None:
            kept.append(row)
            last = row
        else:
            lost.append((row, clash))
    return kept, lost
