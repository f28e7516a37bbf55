# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses as asked for by owners x what the store holds -> what has to be done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ansible_collections.netops.underlay.plugins.module_utils.book import Book
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    RESERVED,
    Action,
    Allocation,
    Network,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT, AddressSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Plan, Put, StoreStep

Outcomes = list["Allocation | None"]


class _Work:
    def __init__(self, seen: Observed) -> None:
        self.networks = seen.networks
        self.book = Book(seen.networks, seen.allocations, seen.free)
        self.actions: list[Action] = []
        self.steps: list[StoreStep] = []

    def take(self, row: Allocation) -> Allocation:
        self.steps.append(Put(row))
        self.actions.append(_action("allocate", row, before=None, after=row.owner))
        return row

    def give(self, row: Allocation) -> None:
        self.book.release(row)
        self.steps.append(Drop(row))
        self.actions.append(_action("release", row, before=row.owner, after=None))


def _action(verb: str, row: Allocation, before: str | None, after: str | None) -> Action:
    return Action(verb, "address", str(row.address), {"owner": {"before": before, "after": after}})


def plan(seen: Observed, specs: Sequence[AddressSpec]) -> tuple[Plan, Outcomes]:
    """The plan, and the address of each spec as it will be (None: released). All of it is one transaction.

    :raises Refused: if anything asked for cannot be; it names every such item
    """
    work = _Work(seen)
    outcomes: Outcomes = [None] * len(specs)
    refused = []
    # Released first, then what was asked for by address, then the next free ones: see plan_endpoints.
    for position in sorted(range(len(specs)), key=lambda place: _rank(specs[place])):
        spec = specs[position]
        try:
            outcomes[position] = _leave(work, spec) if spec.state == ABSENT else _come(work, spec)
        except ValueError as error:
            refused.append((position, f"{spec.item}: {error}"))
    if refused:
        raise Refused(text for _position, text in sorted(refused))
    return Plan(actions=tuple(work.actions), before=tuple(work.steps)), outcomes


def _rank(spec: AddressSpec) -> int:
    return 0 if spec.state == ABSENT else 1 if spec.address else 2


def _leave(work: _Work, spec: AddressSpec) -> None:
    for row in work.book.rows(spec.network, RESERVED, spec.owner, spec.family):
        if spec.address is not None and row.address != spec.address:
            raise ValueError(
                f"owner '{spec.owner}' holds {row.address} in network '{spec.network}', not {spec.address}; "
                "leave address out to release what it holds"
            )
        work.give(row)


def _come(work: _Work, spec: AddressSpec) -> Allocation:
    network = work.networks.get(spec.network)
    if network is None:
        raise ValueError(f"network '{spec.network}' does not exist; make it with vlan_network first")
    rows = work.book.rows(spec.network, RESERVED, spec.owner, spec.family)
    kept = next((row for row in rows if spec.address in (None, row.address)), None)
    if kept is None:
        kept = work.take(_new(work, spec, network))
    elif spec.description not in (None, kept.description):
        changed = replace(kept, description=spec.description)
        work.steps += [Drop(kept), Put(changed)]
        change = {"description": {"before": kept.description, "after": changed.description}}
        work.actions.append(Action("change", "address", str(kept.address), change))
        kept = changed
    for row in rows:
        if row.address != kept.address:
            work.give(row)
    return kept


def _new(work: _Work, spec: AddressSpec, network: Network) -> Allocation:
    description = spec.description or ""
    if spec.address is None:
        return work.book.next_free(network, RESERVED, spec.owner, spec.family, description)
    return work.book.claim(network, RESERVED, spec.owner, spec.address, description)
