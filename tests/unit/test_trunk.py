"""The trunk check without a wire: what is sent when, what an answer means, and the words."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import trunk, wire

MAC, ROUTER, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:01", "02:00:00:00:00:02"
GATEWAY = ipaddress.ip_address("172.16.50.1")
GATEWAY6 = ipaddress.ip_address("2001:db8::1")
LOCAL = ipaddress.ip_address("fe80::a")
SUBNET = ipaddress.ip_network("172.16.48.0/22")
PROBE = wire.arp_probe(MAC, GATEWAY)
ECHO = wire.echo_to_all(MAC, LOCAL)


def question(**changes: object) -> trunk.Question:
    known = {"source": LOCAL, "gateways": (GATEWAY,), "sizes": (1500, 1492, 1400), "subnets": (SUBNET,)}
    return trunk.Question(MAC, **{**known, **changes})


def reply(mac: str = ROUTER, address: object = GATEWAY) -> bytes:
    return wire._arp(wire.ARP_REPLY, mac, address, MAC, "0.0.0.0")


def led(
    asked: trunk.Question, answer: Callable[[bytes, int], bytes | None]
) -> tuple[list[tuple[float, bytes]], trunk.Answer, float]:
    """A whole conversation, in steps of 10 ms: what was sent and when, what was found out, and how long it took.

    ``answer`` is given a frame and how many were sent before it; it answers 1 ms later.
    """
    talk = trunk.Conversation(asked)
    sent: list[tuple[float, bytes]] = []
    for step in range(1000):
        now = step / 100
        for frame in talk.due(now):
            back = answer(frame, len(sent))
            sent.append((now, frame))
            if back is not None:
                talk.heard(back, now + 0.001)
        if talk.done(now):
            return sent, talk.answer(), now
    raise AssertionError("it does not end")


def silence(_frame: bytes, _count: int) -> None:
    return None


def passing(largest: int) -> Callable[[bytes, int], bytes | None]:
    """A gateway behind a way that takes frames up to this size."""
    return lambda frame, _count: reply() if frame.startswith(PROBE) and len(frame) <= 14 + largest else None


def test_a_gateway_that_answers_is_asked_once_and_the_mtu_tried_once():
    sent, answer, took = led(question(), passing(1500))
    assert [frame for _at, frame in sent] == [PROBE, wire.padded(PROBE, 1500)]
    assert (answer.macs, answer.tried, answer.passes) == ({GATEWAY: (ROUTER,)}, True, 1500)
    assert answer.rtts[GATEWAY] == pytest.approx(0.001)
    assert took == trunk.LISTEN


def test_silence_is_asked_three_times_and_then_all_nodes_are():
    sent, answer, took = led(question(), silence)
    assert sent == [(0.0, PROBE), (0.25, PROBE), (0.5, ECHO), (0.6, PROBE)]
    assert (answer.stations, answer.tried, answer.macs) == (frozenset(), False, {})
    assert took == trunk.SILENT_AFTER


def test_without_a_link_local_address_all_nodes_are_not_asked():
    assert [frame for _at, frame in led(question(source=None), silence)[0]] == [PROBE] * 3


def test_without_a_gateway_all_nodes_are_asked_at_once():
    sent, _answer, took = led(question(gateways=()), silence)
    assert sent == [(0.0, ECHO)]
    assert took == trunk.LISTEN


@pytest.mark.parametrize("largest", [1400, 1499])
def test_smaller_mtus_are_tried_until_one_passes(largest):
    sent, answer, _took = led(question(), passing(largest))
    sizes = [len(frame) - 14 for _at, frame in sent if frame != PROBE]
    assert answer.passes == max(size for size in (1500, 1492, 1400) if size <= largest)
    assert sizes == [1500, 1500, *([1492] if largest > 1400 else [1492, 1492, 1400])]


def test_no_mtu_passes():
    answer = led(question(), passing(100))[1]
    assert (answer.tried, answer.passes) == (True, None)


def test_a_lost_answer_is_asked_for_again():
    sent, answer, _took = led(question(), lambda frame, count: reply() if count else None)
    assert [at for at, _frame in sent][:2] == [0.0, 0.25]
    # The answer to the first probe may still come, and must not pass for that to a large one.
    assert sent[2][0] >= 0.25 + trunk.SIZE_FAILED_AFTER
    assert answer.passes == 1500


def test_a_lost_answer_to_a_large_frame_is_asked_for_again():
    answer = led(question(), lambda frame, count: None if count == 1 else reply())[1]
    assert answer.passes == 1500


def test_all_gateways_are_asked_at_the_same_time():
    sent, answer, _took = led(question(gateways=(GATEWAY, GATEWAY6)), passing(1500))
    assert sent[:2] == [(0.0, PROBE), (0.0, wire.neighbour_solicitation(MAC, LOCAL, GATEWAY6))]
    assert set(answer.macs) == {GATEWAY}
    assert answer.passes == 1500


def test_a_gateway_that_is_only_overheard_is_there_but_has_no_round_trip():
    talk = trunk.Conversation(question())
    talk.due(0.0)
    talk.heard(wire._arp(wire.ARP_REQUEST, ROUTER, GATEWAY, wire.NO_MAC, "172.16.50.9"), 0.1)
    assert talk.done(trunk.LISTEN)
    answer = talk.answer()
    assert (answer.macs, answer.rtts, answer.tried) == ({GATEWAY: (ROUTER,)}, {}, False)


def test_our_own_frames_are_no_station():
    talk = trunk.Conversation(question())
    talk.due(0.0)
    talk.heard(PROBE, 0.1)
    assert talk.answer().stations == frozenset()


def asking(sender: str, target: str, mac: str = OTHER) -> bytes:
    return wire._arp(wire.ARP_REQUEST, mac, sender, wire.NO_MAC, target)


@pytest.mark.parametrize(
    ("frame", "counts"),
    [
        (asking("172.16.50.9", "172.16.99.1"), True),
        (asking("172.16.50.9", "172.16.51.1"), False),
        (asking("172.16.50.9", "169.254.1.1"), False),
        (asking("0.0.0.0", "172.16.99.1"), False),
        (wire._arp(wire.ARP_REPLY, OTHER, "172.16.50.9", MAC, "172.16.99.1"), False),
    ],
)
def test_who_asks_for_addresses_outside(frame, counts):
    talk = trunk.Conversation(question())
    talk.due(0.0)
    talk.heard(frame, 0.1)
    assert bool(talk.answer().outside) is counts
    quiet = trunk.Conversation(question(subnets=()))
    quiet.heard(frame, 0.1)
    assert not quiet.answer().outside
