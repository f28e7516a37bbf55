# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The trunk check: what is asked on each parent, and what the answers mean. Pure: wire.py carries the frames.

What is asked, when and how often is documented in docs/wire.md, frame by frame.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils import wire
from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress, IPNetwork
from ansible_collections.netops.underlay.plugins.module_utils.facts import Link
from ansible_collections.netops.underlay.plugins.module_utils.lldp import Neighbour
from ansible_collections.netops.underlay.plugins.module_utils.model import Network, WireFinding
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host
from ansible_collections.netops.underlay.plugins.module_utils.parents import base_of, obstacle, vlan_of

# When a gateway is asked, in seconds from the start, and when it counts as silent.
ASKED_AT = (0.0, 0.25, 0.6)
SILENT_AFTER = 1.2
# When all IPv6 nodes are asked for a sign of life, if no gateway has answered by then.
ALL_ASKED_AT = 0.5
# How long stations are listened to in any case, and when everything ends.
LISTEN = 1.0
LIMIT = 4.0
# Each size is tried twice, and has failed after this long.
SIZE_TRIED_AT = (0.0, 0.12)
SIZE_FAILED_AFTER = 0.3
# What is tried below an MTU that does not pass: usual ones.
USUAL_MTUS = (9000, 1500, 1492, 1400, 1280)
_STATIONS_KEPT = 10_000
_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
_TENTATIVE, _DAD_FAILED = 0x40, 0x08  # linux/if_addr.h


class Question(NamedTuple):
    """What is to be found out on one parent. ``source`` is its link-local address; ``sizes`` the MTUs to try, the largest
    first; ``subnets`` are those of IPv4 that its stations are to be in."""

    mac: str
    source: IPAddress | None
    gateways: tuple[IPAddress, ...]
    sizes: tuple[int, ...]
    subnets: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What was found out. ``macs`` and ``rtts`` (seconds) are by gateway; ``tried`` whether any size was tried; ``passes``
    the largest that passes. ``outside`` has, by station, who asked for which address outside the subnets."""

    macs: Mapping[IPAddress, tuple[str, ...]] = field(default_factory=dict)
    rtts: Mapping[IPAddress, float] = field(default_factory=dict)
    tried: bool = False
    passes: int | None = None
    stations: frozenset[str] = frozenset()
    outside: Mapping[str, tuple[IPAddress, IPAddress]] = field(default_factory=dict)


# --- what is asked --------------------------------------------------------------------------------------------


def questions(host: Host, networks: Iterable[Network]) -> dict[str, Question]:
    """One for each parent that can carry frames."""
    by_parent: dict[str, list[Network]] = {}
    for item in networks:
        if not item.isolated and obstacle(host, item.parent) is None:
            by_parent.setdefault(item.parent, []).append(item)
    return {name: _question(host, host.links[name], items) for name, items in by_parent.items()}


def _question(host: Host, link: Link, networks: Sequence[Network]) -> Question:
    # In l3 and l3s the endpoints' subnets are behind this host, not on the wire.
    bridged = [item for item in networks if not item.routed]
    gateways = dict.fromkeys(gateway for item in bridged for gateway in _gateways(item))
    mtus = {min(item.mtu or link.mtu, link.mtu) for item in networks}
    sizes = sorted(mtus | {size for size in USUAL_MTUS if size < max(mtus)}, reverse=True)
    subnets = [subnet.network for item in bridged for subnet in item.of_family(4)]
    return Question(link.mac, _link_local(host, link), tuple(gateways), tuple(sizes), tuple(subnets))


def _gateways(item: Network) -> list[IPAddress]:
    subnets = [] if item.routed else [*item.of_family(4), *item.of_family(6)]
    return [subnet.gateway for subnet in subnets if subnet.gateway is not None]


def _link_local(host: Host, link: Link) -> IPAddress | None:
    for found in host.space.addresses:
        if found.index == link.index and found.family == 6 and not found.flags & (_TENTATIVE | _DAD_FAILED):
            address = ipaddress.IPv6Address(found.address)
            if address.is_link_local:
                return address
    return None


class _Ask:
    """How far we are with one gateway."""

    def __init__(self) -> None:
        self.sent: list[float] = []
        self.macs: list[str] = []
        self.rtt: float | None = None


class Conversation:
    """What is asked and heard on one parent, as wire.py leads it."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._start: float | None = None  # the first time that it is asked what is due
        self._asks = {gateway: _Ask() for gateway in question.gateways}
        self._all_asked = False
        self._stations: set[str] = set()
        self._outside: dict[str, tuple[IPAddress, IPAddress]] = {}
        # The gateway that answers for the sizes, those that are still to be tried, when the first was, and the result.
        self._teller: IPAddress | None = None
        self._sizes = list(question.sizes)
        self._size_sent: list[float] = []
        self._size_from = 0.0
        self._passes: int | None = None

    # --- what is sent ---

    def due(self, now: float) -> list[bytes]:
        frames = []
        elapsed = self._elapsed(now)
        for gateway, ask in self._asks.items():
            tries = len(ask.sent)
            if not ask.macs and tries < len(ASKED_AT) and elapsed >= ASKED_AT[tries]:
                ask.sent.append(now)
                frames.append(self._probe(gateway))
        source = self._question.source
        late = elapsed >= (ALL_ASKED_AT if self._asks else 0.0)
        if source and late and not self._all_asked and not self._answered():
            self._all_asked = True
            frames.append(wire.echo_to_all(self._question.mac, source))
        return frames + self._size_due(now)

    def _elapsed(self, now: float) -> float:
        if self._start is None:
            self._start = now
        return now - self._start

    def _probe(self, gateway: IPAddress) -> bytes:
        if gateway.version == 4:
            return wire.arp_probe(self._question.mac, gateway)
        return wire.neighbour_solicitation(self._question.mac, self._question.source, gateway)

    def _answered(self) -> bool:
        return any(ask.macs for ask in self._asks.values())

    def _size_due(self, now: float) -> list[bytes]:
        """A probe as large as the MTU that is being tried, if its time has come."""
        if self._teller is None or self._sizes_done() or now < self._size_from:
            return []
        if self._size_sent and now - self._size_sent[0] >= SIZE_FAILED_AFTER:
            self._sizes.pop(0)
            self._size_sent = []
            if not self._sizes:
                return []
        tries = len(self._size_sent)
        if tries < len(SIZE_TRIED_AT) and (not tries or now - self._size_sent[0] >= SIZE_TRIED_AT[tries]):
            self._size_sent.append(now)
            return [wire.padded(self._probe(self._teller), self._sizes[0])]
        return []

    def _sizes_done(self) -> bool:
        return self._passes is not None or not self._sizes

    # --- what is heard ---

    def heard(self, frame: bytes, at: float) -> None:
        found = wire.read(frame)
        if found is None or found.source == self._question.mac:
            return
        if len(self._stations) < _STATIONS_KEPT:
            self._stations.add(found.source)
        if found.sender in self._asks:
            self._of_gateway(self._asks[found.sender], found, at)
        self._note_outside(found)

    def _of_gateway(self, ask: _Ask, found: wire.Heard, at: float) -> None:
        if found.mac not in ask.macs:
            ask.macs.append(found.mac)
        answers = (found.kind, found.operation) in (("arp", wire.ARP_REPLY), ("nd", wire.ADVERTISEMENT))
        if not answers or not ask.sent:
            return
        if self._size_sent and found.sender == self._teller:
            self._passes = self._sizes[0]
        if ask.rtt is None:
            ask.rtt = max(at - ask.sent[-1], 0.0)
            if self._teller is None:
                self._teller = found.sender
                # The answer to a second probe could else be taken for that to the first large one.
                self._size_from = at + (SIZE_FAILED_AFTER if len(ask.sent) > 1 else 0.0)

    def _note_outside(self, found: wire.Heard) -> None:
        """A station that looks for an address which is in none of our subnets."""
        asks = (found.kind, found.operation) == ("arp", wire.ARP_REQUEST)
        if not asks or found.sender is None or found.target is None or not self._question.subnets:
            return
        if found.target in _LINK_LOCAL or any(found.target in subnet for subnet in self._question.subnets):
            return
        if len(self._outside) < _STATIONS_KEPT:
            self._outside.setdefault(found.source, (found.sender, found.target))

    # --- the end ---

    def done(self, now: float) -> bool:
        elapsed = self._elapsed(now)
        if elapsed >= LIMIT:
            return True
        settled = elapsed >= SILENT_AFTER or all(ask.macs for ask in self._asks.values())
        sized = self._teller is None or self._sizes_done()
        return elapsed >= LISTEN and settled and sized

    def answer(self) -> Answer:
        return Answer(
            macs={gateway: tuple(ask.macs) for gateway, ask in self._asks.items() if ask.macs},
            rtts={gateway: ask.rtt for gateway, ask in self._asks.items() if ask.rtt is not None},
            tried=self._teller is not None,
            passes=self._passes,
            stations=frozenset(self._stations),
            outside=dict(self._outside),
        )


# --- what it means --------------------------------------------------------------------------------------------


def findings(item: Network, host: Host, answer: Answer | None, known: Mapping[str, str]) -> list[WireFinding]:
    """What is to be told of one network. ``known`` has the MAC that each gateway had last time."""
    if item.isolated:
        return []
    barred = obstacle(host, item.parent)
    if barred or answer is None:
        return [barred] if barred else []
    link = host.links[item.parent]
    place = _place(host, link)
    if not answer.stations:
        return [_not_carried(host, link, place)]
    found = [_silent(place, gateway, answer) for gateway in _gateways(item) if gateway not in answer.macs]
    for gateway in _gateways(item):
        found += _of_macs(place, gateway, answer.macs.get(gateway, ()), known.get(str(gateway)))
    return [*found, *_of_mtu(place, item, link, answer), *_of_masks(place, item, answer)]


def listening_places(host: Host, networks: Iterable[Network]) -> dict[str, tuple[str, ...]]:
    """By parent the links on which its switch can be heard: the lowest one, and those that are its ports."""
    found: dict[str, tuple[str, ...]] = {}
    for item in networks:
        link = None if item.isolated else host.links.get(item.parent)
        base = link
        while base is not None:
            link, base = base, base_of(host, base)
        if link is not None:
            ports = [other.name for other in host.links.values() if other.master == link.index]
            found[item.parent] = (link.name, *ports)
    return found


def not_listed(item: Network, host: Host, switch: Neighbour | None) -> list[WireFinding]:
    """The switch names the VLANs of its port, and this one is not among them."""
    link = host.links.get(item.parent)
    below = base_of(host, link) if link else None
    while below is not None and vlan_of(below)[1] is not None:  # the switch knows the outermost tag
        link, below = below, base_of(host, below)
    vlan_id = vlan_of(link)[1] if link else None
    if link is None or switch is None or vlan_id is None or not switch.vlans or vlan_id in switch.vlans:
        return []
    where = " ".join(part for part in (switch.system, switch.port) if part)
    words = f"VLAN {vlan_id}: the switch ({where}) names the VLANs of its port, and VLAN {vlan_id} is not among them"
    return [WireFinding("hint", "not_listed", words)]


def _place(host: Host, link: Link) -> str:
    """The segment in words."""
    _index, vlan_id, _protocol = vlan_of(link)
    return link.name if vlan_id is None else f"VLAN {vlan_id}"


def _not_carried(host: Host, link: Link, place: str) -> WireFinding:
    base = base_of(host, link)
    what = "this segment" if place == link.name else place
    words = f"{place}: no station answers; {(base or link).name}'s switch port does not seem to carry {what}"
    return WireFinding("problem", "not_carried", words)


def _silent(place: str, gateway: IPAddress, answer: Answer) -> WireFinding:
    heard = f"{len(answer.stations)} station{'s' if len(answer.stations) != 1 else ''} heard"
    return WireFinding(
        "problem", "gateway_silent", f"{place}: gateway {gateway} silent, but {heard}: wrong gateway address?"
    )


def _of_macs(place: str, gateway: IPAddress, macs: Sequence[str], known: str | None) -> list[WireFinding]:
    if len(macs) > 1:
        words = (
            f"{place}: gateway {gateway} is answered for by {' and '.join(sorted(macs))}: is its address used twice?"
        )
        return [WireFinding("problem", "gateway_twice", words)]
    if macs and known not in (None, macs[0]):
        words = f"{place}: gateway {gateway} is now {macs[0]}, and was {known} last time: was the router replaced?"
        return [WireFinding("problem", "gateway_changed", words)]
    return []


def _of_mtu(place: str, item: Network, link: Link, answer: Answer) -> list[WireFinding]:
    mtu = mtu_tried(item, link, answer)
    if mtu is None or (answer.passes is not None and answer.passes >= mtu):
        return []
    passes = "nothing that was tried does" if answer.passes is None else f"{answer.passes} does"
    return [WireFinding("problem", "mtu", f"{place}: MTU {mtu} does not pass; {passes}")]


def mtu_tried(item: Network, link: Link, answer: Answer) -> int | None:
    return min(item.mtu or link.mtu, link.mtu) if answer.tried and not item.routed else None


def _of_masks(place: str, item: Network, answer: Answer) -> list[WireFinding]:
    if not answer.outside or item.routed or not item.of_family(4):
        return []
    sender, target = min(answer.outside.values(), key=lambda pair: (int(pair[0]), int(pair[1])))
    more = len(answer.outside) - 1
    others = f" (and {more} more station{'s' if more > 1 else ''} alike)" if more else ""
    subnets = " and ".join(str(subnet.network) for subnet in item.of_family(4))
    words = f"{place}: {sender} asks for {target}, which is outside {subnets}{others}: a wrong mask?"
    return [WireFinding("hint", "outside_subnet", words)]


def macs_seen(networks: Iterable[Network], answers: Mapping[str, Answer]) -> dict[str, dict[str, str]]:
    """The gateways that one station answers for, by network: what is held against the next time's."""
    found: dict[str, dict[str, str]] = {}
    for item in networks:
        answer = answers.get(item.parent, Answer())
        for gateway in _gateways(item):
            macs = answer.macs.get(gateway, ())
            if len(macs) == 1:
                found.setdefault(item.name, {})[str(gateway)] = macs[0]
    return found


def wire_of(
    item: Network, host: Host, answer: Answer | None, switch: Neighbour | None = None
) -> dict[str, object] | None:
    """What was seen of a network's wire, as a result shows it; None where it has none."""
    if item.isolated:
        return None
    link = host.links.get(item.parent)
    answer_or_none = answer or Answer()
    gateways = [
        {
            "address": str(gateway),
            "mac_address": next(iter(answer_or_none.macs.get(gateway, ())), None),
            "rtt_ms": round(answer_or_none.rtts[gateway] * 1000, 2) if gateway in answer_or_none.rtts else None,
        }
        for gateway in _gateways(item)
    ]
    mtu = mtu_tried(item, link, answer) if link and answer else None
    return {
        "parent_up": bool(link and link.up),
        "carrier": bool(link and link.carrier),
        "carried": bool(answer.stations) if answer else None,
        "gateways": gateways,
        "mtu": mtu,
        "mtu_passes": answer_or_none.passes if mtu is not None else None,
        "stations": len(answer_or_none.stations),
        "switch": None if switch is None else {**switch._asdict(), "vlans": list(switch.vlans)},
    }
