"""Asking whether an address is in use: what is asked about, what is sent when, and what counts as an answer."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import conflicts, plan_endpoints, wire
from ansible_collections.netops.underlay.plugins.module_utils.model import Endpoint
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec

from .builders import carried_out, host, link, netns, network, replace, seen, vlan_link

MAC, OURS, OTHER = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:02"
FIRST, SECOND = ipaddress.ip_address("192.168.20.2"), ipaddress.ip_address("192.168.20.3")
SIXTH = ipaddress.ip_address("2001:db8::2")
OTHER_BYTES = bytes.fromhex(OTHER.replace(":", ""))
OWN = frozenset({MAC, OURS})
NET = network("net", "192.168.20.0/24", "2001:db8::/64", conflict_check=True)
ON = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20))


def ask(name: str = "web1", check: bool | None = None) -> EndpointSpec:
    return EndpointSpec(f"name '{name}'", "net", name, "present", netns(name), conflict_check=check)


def asked(observed: Observed, *specs: EndpointSpec) -> list[conflicts.Place]:
    """What is asked about, of what a plan for these endpoints gives them."""
    return conflicts.to_ask(observed, plan_endpoints.plan(observed, specs)[1], specs)


def test_new_addresses_are_asked_about_and_those_that_are_there_are_not():
    observed = seen(NET, on=ON)
    assert asked(observed, ask()) == [("eth0.20", FIRST), ("eth0.20", SIXTH)]
    there = carried_out(observed, plan_endpoints.plan(observed, [ask()])[0])
    assert asked(there, ask()) == []
    assert [str(address) for _parent, address in asked(there, ask(), ask("web2"))] == ["192.168.20.3", "2001:db8::3"]


def test_what_goes_is_not_asked_about():
    there = carried_out(seen(NET, on=ON), plan_endpoints.plan(seen(NET, on=ON), [ask()])[0])
    assert asked(there, replace(ask(), target=None, state="absent")) == []


def test_an_address_on_another_link_of_its_namespace_is_asked_about():
    there = carried_out(seen(NET, on=ON), plan_endpoints.plan(seen(NET, on=ON), [ask()])[0])
    own = there.spaces[netns("web1")]
    addresses = tuple(replace(row, index=99) for row in own.addresses)
    for links in ((*own.links, link(99, "eth9")), (link(99, "eth9"),)):
        moved = replace(own, links=links, addresses=addresses)
        found = asked(replace(there, spaces={netns("web1"): moved}), ask())
        assert found == [("eth0.20", FIRST), ("eth0.20", SIXTH)]


def test_an_endpoint_may_say_otherwise_than_its_network():
    assert asked(seen(NET, on=ON), ask(check=False)) == []
    silent = seen(replace(NET, conflict_check=False), on=ON)
    assert asked(silent, ask(check=True), ask("web2")) == [("eth0.20", FIRST), ("eth0.20", SIXTH)]


def test_duplicates_of_ipv6_alone_are_asked_about_where_the_task_is_to_wait():
    waiting = seen(replace(NET, conflict_check=False, ipv6_dad="wait"), on=ON)
    assert asked(waiting, ask()) == asked(waiting, ask(check=False)) == [("eth0.20", SIXTH)]
    assert asked(seen(replace(NET, ipv6_dad="wait"), on=ON), ask()) == [("eth0.20", FIRST), ("eth0.20", SIXTH)]


@pytest.mark.parametrize(
    "net",
    [
        replace(NET, conflict_check=False),
        replace(NET, conflict_check=False, ipv6_dad="optimistic"),
        replace(NET, mode="l3"),
        network("net", parent=None, conflict_check=True),
    ],
)
def test_nothing_is_asked_where_it_is_not_wanted_or_nobody_could_answer(net):
    on = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20), link(4, net.parent, "dummy")) if net.isolated else ON
    observed = seen(net, on=on)
    assert asked(observed, ask()) == []


def test_a_parent_without_carrier_is_warned_of():
    links = [link(2, "eth0"), replace(vlan_link(3, "eth0.20", 2, 20), carrier=False)]
    observed = seen(NET, on=host(*links))
    assert conflicts.talks(observed, [("eth0.20", FIRST)]) == {}
    [words] = conflicts.unasked(observed, [("eth0.20", FIRST)])
    assert words.startswith("eth0.20 has no carrier")
    assert words.endswith("so nobody could be asked whether addresses are in use")


def test_a_parent_with_carrier_is_not_warned_of():
    assert conflicts.unasked(seen(NET, on=ON), [("eth0.20", FIRST)]) == []


def test_our_own_on_the_parent_are_no_strangers_and_those_on_others_are():
    nets = [
        network("net", "192.168.20.0/24", driver_name="macvlan"),
        network("far", "10.1.0.0/16", driver_name="macvlan", parent="eth0.30"),
    ]
    on = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20, mac=MAC), vlan_link(4, "eth0.30", 2, 30))
    rows = [
        Endpoint("net", "a", netns("a"), "eth0", OURS, (4,)),
        Endpoint("far", "b", netns("b"), "eth0", OTHER, (4,)),
    ]
    [talk] = conflicts.talks(seen(*nets, on=on, endpoints=rows), [("eth0.20", FIRST), ("eth0.20", SECOND)]).values()
    talk.heard(arp(wire.ARP_REPLY, OURS, FIRST, "0.0.0.0"), 0.1)
    talk.heard(arp(wire.ARP_REPLY, MAC, FIRST, "0.0.0.0"), 0.1)
    assert talk.found == {}
    talk.heard(arp(wire.ARP_REPLY, OTHER, SECOND, "0.0.0.0"), 0.1)
    assert talk.found == {SECOND: OTHER}


def test_three_probes_a_second_apart_and_two_seconds_to_answer():
    talk = conflicts.Conversation(MAC, [FIRST, SIXTH], OWN)
    probes = [wire.arp_probe(MAC, FIRST), wire.neighbour_solicitation(MAC, None, SIXTH)]
    sent = [(step / 10, talk.due(step / 10)) for step in range(50)]
    assert [(at, frames) for at, frames in sent if frames] == [(0.0, probes), (1.0, probes), (2.0, probes)]
    assert not talk.done(3.9)
    assert talk.done(4.0)
    assert talk.found == {}


def arp(operation: int, mac: str, sender: object, target: object) -> bytes:
    return wire._arp(operation, mac, sender, wire.NO_MAC, target)


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (arp(wire.ARP_REPLY, OTHER, FIRST, "0.0.0.0"), FIRST),
        (arp(wire.ARP_REQUEST, OTHER, FIRST, FIRST), FIRST),
        (arp(wire.ARP_REQUEST, OTHER, "0.0.0.0", FIRST), FIRST),
        (wire.announcements(OTHER, [SIXTH])[0], SIXTH),
        (wire.neighbour_solicitation(OTHER, None, SIXTH), SIXTH),
        (arp(wire.ARP_REQUEST, OTHER, "192.168.20.99", FIRST), None),  # somebody looks for it, but has it not
        (arp(wire.ARP_REPLY, OTHER, SECOND, "0.0.0.0"), None),
        (arp(wire.ARP_REPLY, OURS, FIRST, "0.0.0.0"), None),
        (arp(wire.ARP_REQUEST, MAC, "0.0.0.0", FIRST), None),
        (
            OTHER_BYTES.join((b"\xff" * 6, arp(wire.ARP_REPLY, OURS, FIRST, "0.0.0.0")[12:])),
            None,
        ),  # by who answers for us
        (b"short", None),
    ],
)
def test_who_has_an_address(frame, found):
    talk = conflicts.Conversation(MAC, [FIRST, SIXTH], OWN)
    talk.due(0.0)
    talk.heard(frame, 0.1)
    assert talk.found == ({found: OTHER} if found else {})


def test_what_is_known_is_not_asked_again_and_when_all_is_known_it_ends():
    talk = conflicts.Conversation(MAC, [FIRST], OWN)
    talk.due(0.0)
    talk.heard(arp(wire.ARP_REPLY, OTHER, FIRST, "0.0.0.0"), 0.1)
    assert talk.done(0.2)
    assert talk.due(1.0) == []
