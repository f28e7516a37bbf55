# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Does another station have an address that an endpoint is to get? What is asked, and what the answers mean. wire.py
carries the frames, from the parent, so that an answer comes in before anything is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.netops.underlay.plugins.module_utils import parents, wire
from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress
from ansible_collections.netops.underlay.plugins.module_utils.model import Outcome, endpoint_mark
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec

# Seconds from the start: PROBE_NUM probes, PROBE_MIN apart, and ANNOUNCE_WAIT after the last (RFC 5227, 1.1). The random wait
# before the first is left out: it is for many hosts that start at once.
ASKED_AT = (0.0, 1.0, 2.0)
FREE_AFTER = 4.0

Place = tuple[str, IPAddress]  # (parent, address)


def to_ask(seen: Observed, outcomes: Mapping[tuple[str, str], Outcome], specs: Iterable[EndpointSpec]) -> list[Place]:
    """The addresses that endpoints are to get and do not have yet, where they or their network want the wire to be asked."""
    said = {spec.key: spec.conflict_check for spec in specs}
    found = []
    for key, outcome in outcomes.items():
        network = seen.networks.get(key[0])
        families = network.families_asked_about(said.get(key)) if network else ()
        if outcome.row is None or network is None or not families:
            continue
        space = seen.space_of(outcome.row.target)
        link = space.marked(endpoint_mark(*key)) if space else None
        there = (
            {address.address for address in space.addresses if link and address.index == link.index} if space else set()
        )
        new = [row.address for row in outcome.addresses.values() if str(row.address) not in there]
        found += [(network.parent, address) for address in new if address.version in families]
    return found


def taken(seen: Observed, places: Iterable[Place]) -> dict[Place, str]:
    """Those of these addresses that another station has, with its MAC; all are asked about at once."""
    led = talks(seen, places)
    wire.talk(led)
    return {(parent, address): mac for parent, each in led.items() for address, mac in each.found.items()}


def talks(seen: Observed, places: Iterable[Place]) -> dict[str, Conversation]:
    """One for each parent that can carry frames."""
    by_parent: dict[str, list[IPAddress]] = {}
    for parent, address in sorted(places, key=lambda place: (place[0], place[1].version, place[1])):
        if parents.obstacle(seen.host, parent) is None:
            by_parent.setdefault(parent, []).append(address)
    return {
        parent: Conversation(seen.host.links[parent].mac, addresses, _own_macs(seen, parent))
        for parent, addresses in by_parent.items()
    }


def _own_macs(seen: Observed, parent: str) -> frozenset[str]:
    """An endpoint that has an address now and is to lose it in this run is no stranger."""
    on_parent = {name for name, network in seen.networks.items() if network.parent == parent}
    macs = {row.mac_address for row in seen.endpoints.values() if row.network in on_parent and row.mac_address}
    return frozenset(macs | {seen.host.links[parent].mac})


def unasked(seen: Observed, places: Iterable[Place]) -> list[str]:
    """Warnings of parents on which nobody could be asked."""
    found = {parent: parents.obstacle(seen.host, parent) for parent in sorted({parent for parent, _address in places})}
    return [
        f"{finding.words}, so nobody could be asked whether addresses are in use"
        for finding in found.values()
        if finding
    ]


class Conversation:
    """The probes for all new addresses on one parent. ``found`` has the MAC of who has one."""

    def __init__(self, mac: str, addresses: Iterable[IPAddress], own: frozenset[str]) -> None:
        self._mac = mac
        self._own = own
        self._addresses = dict.fromkeys(addresses)
        self._start: float | None = None
        self._rounds = 0
        self.found: dict[IPAddress, str] = {}

    def _elapsed(self, now: float) -> float:
        if self._start is None:
            self._start = now
        return now - self._start

    def due(self, now: float) -> list[bytes]:
        if self._rounds == len(ASKED_AT) or self._elapsed(now) < ASKED_AT[self._rounds]:
            return []
        self._rounds += 1
        return [self._probe(address) for address in self._addresses if address not in self.found]

    def _probe(self, address: IPAddress) -> bytes:
        if address.version == 4:
            return wire.arp_probe(self._mac, address)
        return wire.neighbour_solicitation(self._mac, None, address)

    def heard(self, frame: bytes, _at: float) -> None:
        """It has an address who speaks as its owner, and as good as has it who asks for it as we do (RFC 5227, 2.1.1; RFC
        4862, 5.4.3)."""
        told = wire.read(frame)
        if told is None or told.mac in self._own or told.source in self._own:
            return
        address = told.sender or told.target
        if address in self._addresses:
            self.found.setdefault(address, told.mac)

    def done(self, now: float) -> bool:
        return self._elapsed(now) >= FREE_AFTER or len(self.found) == len(self._addresses)
