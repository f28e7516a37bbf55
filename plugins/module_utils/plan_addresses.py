# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses as asked for by owners x what the store holds -> what has to be done. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.netops.underlay.plugins.module_utils.book import Book
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused, similar
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    RESERVED,
    Action,
    Allocation,
    Network,
    allocated,
    moment,
    released,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT, AddressSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Plan, Put, StoreStep

Outcomes = list["Allocation | None"]


class _Work:
    def __init__(self, seen: Observed) -> None:
        self.networks = seen.networks
        self.book = Book(seen.networks, seen.allocations, seen.free, seen.now)
        self.now = seen.now
        self.warnings: list[str] = []
        self.actions: list[Action] = []
        self.steps: list[StoreStep] = []

    def take(self, row: Allocation) -> Allocation:
        self.steps.append(Put(row))
        self.actions.append(allocated(row))
        return row

    def give(self, row: Allocation) -> None:
        self.steps.append(Drop(row))
        cooling = self.book.release(row)
        if cooling:
            self.steps.append(Put(cooling))
        self.actions.append(released(row))

    def make_way(self, row: Allocation) -> None:
        """What an owner had and that is cooling in the way of what it asks for."""
        self.book.forget(row)
        # Cooling since this very run, or from before.
        if Put(row) in self.steps:
            self.steps.remove(Put(row))
        else:
            self.steps.append(Drop(row))


def plan(seen: Observed, specs: Sequence[AddressSpec]) -> tuple[Plan, Outcomes]:
    """The plan, and the address of each spec as it will be (None: released). All of it is one transaction.

    :raises Refused: if anything asked for cannot be; it names every such item
    """
    work = _Work(seen)
    outcomes: Outcomes = [None] * len(specs)
    refused = []
    # What is let go first, so that two owners can change places; then what was asked for by address, then the next free.
    for step in (_let_go, _come):
        for position in sorted(range(len(specs)), key=lambda place: specs[place].address is None):
            try:
                outcomes[position] = step(work, specs[position])
            except ValueError as error:
                refused.append((position, f"{specs[position].item}: {error}"))
    if refused:
        raise Refused(text for _position, text in sorted(refused))
    return Plan(tuple(work.actions), tuple(work.steps), warnings=tuple(work.warnings)), outcomes


def _let_go(work: _Work, spec: AddressSpec) -> None:
    for row in work.book.rows(spec.network, RESERVED, spec.owner, spec.family):
        if spec.state == ABSENT and not _is_asked(spec, row):
            asked = f"{spec.address}-{spec.last}" if spec.last else spec.address
            raise ValueError(
                f"owner '{spec.owner}' holds {row.text} in network '{spec.network}', not {asked}; "
                "leave address out to release what it holds"
            )
        if spec.state == ABSENT or not _is_asked(spec, row):
            work.give(row)


def _is_asked(spec: AddressSpec, row: Allocation) -> bool:
    return spec.address is None or (spec.address, spec.last) == (row.address, row.last)


def _come(work: _Work, spec: AddressSpec) -> Allocation | None:
    if spec.state == ABSENT:
        return None
    network = work.networks.get(spec.network)
    if network is None:
        meant = similar(spec.network, sorted(work.networks))
        raise ValueError(f"network '{spec.network}' does not exist; make it with vlan_network first{meant}")
    rows = work.book.rows(spec.network, RESERVED, spec.owner, spec.family)
    kept = rows[0] if rows else None
    expires = spec.expires.moment(kept.since if kept else work.now) if spec.expires else None
    passed = expires is not None and expires <= work.now
    if passed:
        work.warnings.append(f"{spec.item}: expires {moment(expires)} has passed, so nothing is held for this owner")
    for row in rows if passed else rows[1:]:
        work.give(row)
    if passed:
        return None
    return _changed(work, spec, kept, expires) if kept else _new(work, spec, network, expires)


def _new(work: _Work, spec: AddressSpec, network: Network, expires: int | None) -> Allocation:
    description = spec.description or ""
    if spec.address is None:
        return work.take(work.book.next_free(network, RESERVED, spec.owner, spec.family, description, expires))
    key = (network.name, RESERVED, spec.owner, spec.family)
    for row in work.book.own_in_the_way(key, network.parent, spec.address, spec.last):
        work.make_way(row)
    return work.take(work.book.claim(network, RESERVED, spec.owner, spec.address, description, spec.last, expires))


def _changed(work: _Work, spec: AddressSpec, row: Allocation, expires: int | None) -> Allocation:
    """The same allocation with another description or end."""
    new = row
    if spec.description is not None:
        new = new._replace(description=spec.description)
    if spec.expires is not None:
        new = new._replace(expires=expires)
    if new != row:
        changes = {
            name: {"before": before, "after": after}
            for name, before, after in (
                ("description", row.description, new.description),
                ("expires", moment(row.expires), moment(new.expires)),
            )
            if before != after
        }
        work.steps.append(Put(new))
        work.actions.append(Action("change", "address", row.text, changes))
    return new
