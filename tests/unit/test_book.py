# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The allocator, held against a plain dict: no address twice, none outside, none that is set aside, lowest first."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address, ip_network

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import addressing, observe, plan_addresses, store
from ansible_collections.netops.underlay.plugins.module_utils.book import Book, Usage, set_aside, usage
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import ENDPOINT, RESERVED, Allocation
from ansible_collections.netops.underlay.plugins.module_utils.spec import AddressSpec, Expiry
from ansible_collections.netops.underlay.plugins.module_utils.steps import Put
from hypothesis import given, settings
from hypothesis import strategies as st

from .builders import free_of, held, network, replace, reserved, subnet


def book(*networks, allocations=(), now=0):
    allocations = list(allocations)
    return Book({item.name: item for item in networks}, allocations, free_of(networks, allocations), now)


def several(net, owner, first, last, **fields):
    """A range that an owner has reserved."""
    return Allocation(net.parent, net.name, RESERVED, owner, ip_address(first), last=ip_address(last), **fields)


def claim(kept, net, owner, first, last=None):
    return kept.claim(net, RESERVED, owner, ip_address(first), last=None if last is None else ip_address(last)).text


def why_not(kept, net, owner, first, last=None):
    with pytest.raises(ValueError) as error:
        claim(kept, net, owner, first, last)
    return str(error.value)


def texts(*rows):
    return [str(row.address) for row in rows]


def take(kept, net, count, family=4, kind=ENDPOINT):
    return texts(*(kept.next_free(net, kind, f"owner-{number}", family) for number in range(count)))


# --- next free ------------------------------------------------------------------------------------------------


def test_the_lowest_free_address_comes_first_and_the_gateway_never():
    net = network("web", "192.168.20.0/24")
    assert take(book(net), net, 3) == ["192.168.20.2", "192.168.20.3", "192.168.20.4"]


def test_a_gap_is_filled_before_what_is_above_it():
    net = network("web", "192.168.20.0/24")
    kept = book(net, allocations=held(net, "x", "192.168.20.2") + held(net, "y", "192.168.20.4"))
    assert take(kept, net, 2) == ["192.168.20.3", "192.168.20.5"]


def test_a_range_gives_its_own_first_and_last_address():
    net = network("web", subnet("192.168.20.0/24", ip_range="192.168.20.64/30"))
    assert take(book(net), net, 4) == [f"192.168.20.{number}" for number in range(64, 68)]


def test_auxiliary_addresses_and_a_gateway_inside_the_range_are_left_out():
    net = network("web", subnet("192.168.20.0/24", "192.168.20.65", "192.168.20.64/30", router="192.168.20.66"))
    assert take(book(net), net, 2) == ["192.168.20.64", "192.168.20.67"]


def test_the_subnets_are_used_in_their_order():
    net = network("web", subnet("192.168.20.0/30"), subnet("10.1.0.0/30"))
    assert take(book(net), net, 2) == ["192.168.20.2", "10.1.0.2"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/31", ["10.0.0.0", "10.0.0.1"]),
        ("10.0.0.7/32", ["10.0.0.7"]),
        ("2001:db8::/127", ["2001:db8::", "2001:db8::1"]),
        ("2001:db8::7/128", ["2001:db8::7"]),
    ],
)
def test_the_smallest_subnets_are_given_out_whole(text, expected):
    net = network("web", text)
    family = net.subnets[0].family
    kept = book(net)
    assert take(kept, net, len(expected), family) == expected
    with pytest.raises(ValueError, match="has no free"):
        kept.next_free(net, ENDPOINT, "one-more", family)


def test_an_ipv6_subnet_gives_all_but_anycast_and_gateway():
    net = network("web", "2001:db8::/126")
    assert take(book(net), net, 2, 6) == ["2001:db8::2", "2001:db8::3"]


def test_the_first_of_a_64_is_found_without_a_walk():
    net = network("web", "2001:db8::/64")
    assert take(book(net), net, 2, 6) == ["2001:db8::2", "2001:db8::3"]


def test_a_full_range_says_what_can_be_done():
    net = network("web", subnet("192.168.20.0/24", ip_range="192.168.20.64/31"), subnet("10.1.0.0/30"))
    kept = book(net)
    take(kept, net, 3)
    with pytest.raises(ValueError) as error:
        kept.next_free(net, ENDPOINT, "one-more", 4)
    assert str(error.value) == (
        "network 'web' has no free IPv4 address left in 192.168.20.64/31, 10.1.0.0/30; release some, widen the "
        "ip_range, or give the network a further subnet"
    )


def test_a_family_without_a_subnet_is_refused():
    net = network("web")
    with pytest.raises(ValueError) as error:
        book(net).next_free(net, ENDPOINT, "x", 6)
    assert str(error.value) == "network 'web' has no IPv6 subnet"


def test_a_family_that_is_off_is_refused():
    net = network("web", "192.168.20.0/24", "2001:db8::/64", enable_ipv6=False)
    with pytest.raises(ValueError, match="has no IPv6 subnet"):
        book(net).next_free(net, ENDPOINT, "x", 6)


# --- asked for ------------------------------------------------------------------------------------------------


def test_an_address_outside_the_range_but_in_the_subnet_can_be_asked_for():
    net = network("web", subnet("192.168.20.0/24", ip_range="192.168.20.64/30"))
    row = book(net).claim(net, RESERVED, "vip", ip_address("192.168.20.9"), "a VIP")
    assert (row.segment, row.network, row.kind, row.owner, str(row.address), row.description) == (
        "eth0.20",
        "web",
        RESERVED,
        "vip",
        "192.168.20.9",
        "a VIP",
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.168.21.5", "it is outside its subnets (192.168.20.0/24, 2001:db8::/64)"),
        ("192.168.20.1", "it is the gateway of network 'web'"),
        ("192.168.20.129", "it is the auxiliary address 'router' of network 'web'"),
        ("192.168.20.0", "it is the network address of 192.168.20.0/24"),
        ("192.168.20.255", "it is the broadcast address of 192.168.20.0/24"),
        ("2001:db8::", "it is the subnet-router anycast address of 2001:db8::/64"),
        ("2001:db8::1", "it is the gateway of network 'web'"),
        ("192.168.20.7", "it is held by endpoint 'web7' of network 'web'"),
        ("192.168.20.8", "it is held by owner 'vm 8' of network 'web'"),
    ],
)
def test_an_address_that_cannot_be_had_is_refused_with_the_reason(address, reason):
    net = network("web", subnet("192.168.20.0/24", router="192.168.20.129"), "2001:db8::/64")
    rows = held(net, "web7", "192.168.20.7") + reserved(net, "vm 8", "192.168.20.8")
    with pytest.raises(ValueError) as error:
        book(net, allocations=rows).claim(net, ENDPOINT, "x", ip_address(address))
    assert str(error.value) == f"address {address} cannot be used in network 'web': {reason}"


def test_what_is_set_aside_by_one_network_is_so_for_all_on_the_parent():
    one = network("one", subnet("192.168.20.0/24", "192.168.20.1", "192.168.20.0/25", router="192.168.20.129"))
    two = network("two", subnet("192.168.20.0/24", "192.168.20.200", "192.168.20.128/25"))
    kept = book(one, two)
    assert take(kept, two, 2) == ["192.168.20.128", "192.168.20.130"]
    with pytest.raises(ValueError, match=r"it is the gateway of network 'two'"):
        kept.claim(one, ENDPOINT, "x", ip_address("192.168.20.200"))


def test_networks_on_one_parent_share_their_addresses():
    one = network("one", subnet("192.168.20.0/24", ip_range="192.168.20.0/25"))
    two = network("two", subnet("192.168.20.0/24", ip_range="192.168.20.128/25"))
    kept = book(one, two)
    kept.claim(two, ENDPOINT, "a", ip_address("192.168.20.2"))
    assert take(kept, one, 1) == ["192.168.20.3"]
    with pytest.raises(ValueError, match="it is held by endpoint 'a' of network 'two'"):
        kept.claim(one, ENDPOINT, "b", ip_address("192.168.20.2"))


def test_networks_on_two_parents_have_their_own_addresses():
    one = network("one", "192.168.20.0/24", parent="eth0.20")
    two = network("two", "192.168.20.0/24", parent="eth0.30")
    kept = book(one, two)
    assert take(kept, one, 1) == take(kept, two, 1) == ["192.168.20.2"]


# --- release --------------------------------------------------------------------------------------------------


def test_a_released_address_can_be_had_again_at_once():
    net = network("web", "192.168.20.0/24")
    kept = book(net, allocations=held(net, "x", "192.168.20.2", "192.168.20.3"))
    [first, _second] = kept.rows("web", ENDPOINT, "x", 4)
    kept.release(first)
    assert texts(*kept.rows("web", ENDPOINT, "x", 4)) == ["192.168.20.3"]
    assert take(kept, net, 2) == ["192.168.20.2", "192.168.20.4"]


def test_a_released_address_can_be_asked_for_by_another_owner():
    net = network("web", "192.168.20.0/24")
    kept = book(net, allocations=held(net, "x", "192.168.20.9"))
    kept.release(kept.rows("web", ENDPOINT, "x", 4)[0])
    kept.claim(net, RESERVED, "vm", ip_address("192.168.20.9"))
    assert take(kept, net, 1) == ["192.168.20.2"]


def test_what_is_released_outside_the_range_is_not_given_out_unasked():
    net = network("web", subnet("192.168.20.0/24", ip_range="192.168.20.64/30"))
    kept = book(net, allocations=held(net, "x", "192.168.20.9"))
    kept.release(kept.rows("web", ENDPOINT, "x", 4)[0])
    assert take(kept, net, 1) == ["192.168.20.64"]


def test_owners_are_told_apart_by_network_kind_name_and_family():
    net = network("web", "192.168.20.0/24", "2001:db8::/64")
    kept = book(net)
    kept.next_free(net, ENDPOINT, "x", 4)
    kept.next_free(net, RESERVED, "x", 4)
    kept.next_free(net, ENDPOINT, "x", 6)
    found = {
        (kind, family): texts(*kept.rows("web", kind, "x", family))
        for kind in (ENDPOINT, RESERVED)
        for family in (4, 6)
    }
    assert found == {
        (ENDPOINT, 4): ["192.168.20.2"],
        (RESERVED, 4): ["192.168.20.3"],
        (ENDPOINT, 6): ["2001:db8::2"],
        (RESERVED, 6): [],
    }


def test_thousands_can_be_handed_on_in_one_run():
    net = network("web", "10.0.0.0/16")
    leaving = [
        row for number in range(5000) for row in held(net, f"old-{number}", str(ip_address("10.0.0.2") + number))
    ]
    kept = book(net, allocations=leaving)
    for row in leaving:
        kept.release(row)
    found = [kept.next_free(net, ENDPOINT, f"new-{number}", 4) for number in range(6000)]
    assert [int(row.address) for row in found] == [int(ip_address("10.0.0.2")) + number for number in range(6000)]


# --- ranges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("192.168.20.9", "192.168.20.40"),
        ("192.168.20.0", "192.168.20.255"),  # over the gateway, and what no station may have
        ("2001:db8::100", "2001:db8::1ff"),
        ("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
    ],
)
def test_a_range_inside_a_subnet_can_be_had(first, last):
    net = network("web", "192.168.20.0/24", "2001:db8::/64")
    kept = book(net, now=7)
    row = kept.claim(net, RESERVED, "vms", ip_address(first), "of the cluster", ip_address(last), 99)
    assert row == several(net, "vms", first, last, description="of the cluster", since=7, expires=99)
    assert kept.rows("web", RESERVED, "vms", row.family) == [row]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("192.168.20.9", "192.168.21.9"),
        ("192.168.20.250", "192.168.21.5"),
        ("192.168.19.250", "192.168.20.5"),
        ("10.0.0.1", "10.0.0.9"),
    ],
)
def test_a_range_that_is_not_in_one_subnet_is_refused(first, last):
    net = network("web", "192.168.20.0/24", "192.168.21.0/24")
    assert why_not(book(net), net, "vms", first, last) == (
        f"range {first}-{last} cannot be used in network 'web': it is outside its subnets (192.168.20.0/24, "
        "192.168.21.0/24)"
    )


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("192.168.20.5", "192.168.20.70", "192.168.20.9 is held by endpoint 'web9' of network 'web'"),
        ("192.168.20.9", "192.168.20.10", "192.168.20.9 is held by endpoint 'web9' of network 'web'"),
        ("192.168.20.8", "192.168.20.9", "192.168.20.9 is held by endpoint 'web9' of network 'web'"),
        (
            "192.168.20.10",
            "192.168.20.32",
            "192.168.20.32-192.168.20.47 is held by owner 'vms' of network 'web', which holds 192.168.20.32-192.168.20.47",
        ),
        (
            "192.168.20.47",
            "192.168.20.70",
            "192.168.20.32-192.168.20.47 is held by owner 'vms' of network 'web', which holds 192.168.20.32-192.168.20.47",
        ),
        (
            "192.168.20.40",
            "192.168.20.41",
            "192.168.20.32-192.168.20.47 is held by owner 'vms' of network 'web', which holds 192.168.20.32-192.168.20.47",
        ),
        ("192.168.20.48", "192.168.20.99", "192.168.20.60 is held by owner 'vm' of network 'web', until {end}"),
    ],
)
def test_a_range_over_a_holder_is_refused_with_the_lowest_one(first, last, reason):
    net = network("web", "192.168.20.0/24")
    rows = [
        reserved(net, "vm", "192.168.20.60")[0]._replace(expires=1798761600),
        several(net, "vms", "192.168.20.32", "192.168.20.47"),
        *held(net, "web9", "192.168.20.9"),
    ]
    assert why_not(book(net, allocations=rows), net, "x", first, last) == (
        f"range {first}-{last} cannot be used in network 'web': {reason.format(end='2027-01-01T00:00:00Z')}"
    )


def test_an_address_inside_the_range_of_another_owner_is_refused():
    net = network("web", "192.168.20.0/24")
    kept = book(net, allocations=[several(net, "vms", "192.168.20.32", "192.168.20.47")])
    for text in ("192.168.20.32", "192.168.20.40", "192.168.20.47"):
        assert why_not(kept, net, "x", text) == (
            f"address {text} cannot be used in network 'web': it is held by owner 'vms' of network 'web', which holds "
            "192.168.20.32-192.168.20.47"
        )
    assert claim(kept, net, "below", "192.168.20.31") == "192.168.20.31"
    assert claim(kept, net, "above", "192.168.20.48") == "192.168.20.48"


def test_the_next_free_address_is_above_the_ranges_in_its_way():
    net = network("web", "192.168.20.0/24")
    kept = book(net)
    claim(kept, net, "a", "192.168.20.3", "192.168.20.5")
    claim(kept, net, "b", "192.168.20.6", "192.168.20.9")
    claim(kept, net, "c", "192.168.20.11", "192.168.20.12")
    assert take(kept, net, 3) == ["192.168.20.2", "192.168.20.10", "192.168.20.13"]


def test_a_huge_range_is_stepped_over_without_a_walk():
    net = network("web", "2001:db8::/64")
    kept = book(net)
    claim(kept, net, "vms", "2001:db8::", "2001:db8::7fff:ffff:ffff:ffff")
    assert take(kept, net, 2, 6) == ["2001:db8:0:0:8000::", "2001:db8::8000:0:0:1"]
    kept.release(kept.rows("web", RESERVED, "vms", 6)[0])
    assert texts(kept.next_free(net, ENDPOINT, "later", 6)) == ["2001:db8::2"]


def test_a_subnet_that_is_one_range_is_full():
    net = network("web", "2001:db8::/64")
    kept = book(net)
    claim(kept, net, "vms", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")
    with pytest.raises(ValueError, match="has no free IPv6 address left in 2001:db8::/64"):
        kept.next_free(net, ENDPOINT, "x", 6)


def test_a_released_range_can_be_had_in_parts():
    net = network("web", "192.168.20.0/28")
    kept = book(net, allocations=[several(net, "vms", "192.168.20.0", "192.168.20.15")])
    kept.release(kept.rows("web", RESERVED, "vms", 4)[0])
    assert claim(kept, net, "other", "192.168.20.3", "192.168.20.5") == "192.168.20.3-192.168.20.5"
    assert take(kept, net, 3) == ["192.168.20.2", "192.168.20.6", "192.168.20.7"]


# --- a rest after release -------------------------------------------------------------------------------------

NOON = 1798804800  # 2027-01-01T12:00:00Z
RESTING = replace(network("web", "192.168.20.0/24", "2001:db8::/64"), cooldown=3600)


def left(net, owner, text, expires=NOON + 60, **fields):
    """An address that an owner left and that is cooling."""
    return reserved(net, owner, text)[0]._replace(cooling=True, expires=expires, **fields)


def test_a_released_address_rests_for_as_long_as_the_network_says():
    kept = book(RESTING, allocations=reserved(RESTING, "x", "192.168.20.2", description="a VIP"), now=NOON)
    [row] = kept.rows("web", RESERVED, "x", 4)
    cooling = kept.release(row)
    assert cooling == row._replace(cooling=True, expires=NOON + 3600)
    assert kept.rows("web", RESERVED, "x", 4) == []
    assert take(kept, RESTING, 1) == ["192.168.20.3"]
    assert why_not(kept, RESTING, "y", "192.168.20.2") == (
        "address 192.168.20.2 cannot be used in network 'web': it is cooling until 2027-01-01T13:00:00Z, since owner 'x' "
        "of network 'web' left it"
    )
    assert why_not(kept, RESTING, "y", "192.168.20.1", "192.168.20.2") == (
        "range 192.168.20.1-192.168.20.2 cannot be used in network 'web': 192.168.20.2 is cooling until "
        "2027-01-01T13:00:00Z, since owner 'x' of network 'web' left it"
    )


def test_a_network_without_a_cooldown_lets_go_at_once():
    net = network("web")
    kept = book(net, allocations=held(net, "x", "192.168.20.2"), now=NOON)
    assert kept.release(kept.rows("web", ENDPOINT, "x", 4)[0]) is None
    assert take(kept, net, 1) == ["192.168.20.2"]


def test_its_old_owner_gets_a_resting_address_back_even_if_it_is_not_the_lowest():
    kept = book(
        RESTING, allocations=[left(RESTING, "x", "192.168.20.77"), left(RESTING, "z", "192.168.20.2")], now=NOON
    )
    assert texts(kept.next_free(RESTING, RESERVED, "y", 4)) == ["192.168.20.3"]
    row = kept.next_free(RESTING, RESERVED, "x", 4)
    assert (row.text, row.cooling, row.since, row.expires) == ("192.168.20.77", False, NOON, None)
    assert kept.rows("web", RESERVED, "x", 4) == [row]
    assert texts(kept.next_free(RESTING, RESERVED, "x", 4)) == ["192.168.20.4"]


def test_its_old_owner_can_ask_for_a_resting_address():
    kept = book(RESTING, allocations=[left(RESTING, "x", "192.168.20.77")], now=NOON)
    assert claim(kept, RESTING, "x", "192.168.20.77") == "192.168.20.77"
    assert "is held by owner 'x'" in why_not(kept, RESTING, "y", "192.168.20.77")


def test_another_kind_network_or_family_is_another_owner_of_what_rests():
    kept = book(RESTING, allocations=[left(RESTING, "x", "192.168.20.77")], now=NOON)
    assert texts(kept.next_free(RESTING, ENDPOINT, "x", 4)) == ["192.168.20.2"]
    assert texts(kept.next_free(RESTING, RESERVED, "x", 6)) == ["2001:db8::2"]


def test_a_resting_range_is_no_next_address():
    row = several(RESTING, "x", "192.168.20.2", "192.168.20.9", cooling=True, expires=NOON + 60)
    kept = book(RESTING, allocations=[row], now=NOON)
    assert texts(kept.next_free(RESTING, RESERVED, "x", 4)) == ["192.168.20.10"]
    assert claim(kept, RESTING, "x", "192.168.20.2", "192.168.20.9") == "192.168.20.2-192.168.20.9"


@pytest.mark.parametrize(
    ("subnets", "address"),
    [
        ([subnet("192.168.20.0/24", "192.168.20.79")], "192.168.20.1"),  # it is the gateway now
        ([subnet("192.168.20.0/24", router="192.168.20.79")], "192.168.20.2"),
        ([subnet("192.168.20.0/28")], "192.168.20.2"),  # it is outside now
        ([subnet("192.168.20.64/28")], "192.168.20.66"),  # it is the broadcast address now
        ([subnet("192.168.20.0/24", ip_range="192.168.20.0/28")], "192.168.20.79"),  # outside the range, but usable
        ([subnet("192.168.20.0/28"), subnet("192.168.20.78/31")], "192.168.20.79"),
    ],
)
def test_a_resting_address_that_can_no_longer_be_used_does_not_come_back(subnets, address):
    net = replace(network("web", *subnets), cooldown=60)
    kept = book(net, allocations=[left(net, "x", "192.168.20.79")], now=NOON)
    assert texts(kept.next_free(net, RESERVED, "x", 4)) == [address]


def test_a_full_network_tells_of_its_cooldown():
    net = replace(network("web", "192.168.20.0/30"), cooldown=90)
    kept = book(net, allocations=[left(net, "x", "192.168.20.2")], now=NOON)
    with pytest.raises(ValueError) as error:
        kept.next_free(net, RESERVED, "y", 4)
    assert str(error.value) == (
        "network 'web' has no free IPv4 address left in 192.168.20.0/30 (a released one rests for 90 s); release some, "
        "widen the ip_range, or give the network a further subnet"
    )


def test_what_is_in_an_owners_own_way_is_what_overlaps_and_is_its_own():
    mine = [
        left(RESTING, "x", "192.168.20.7"),
        several(RESTING, "x", "192.168.20.16", "192.168.20.31"),
        reserved(RESTING, "x", "192.168.20.40")[0]._replace(segment="eth0.30"),
    ]
    kept = book(RESTING, allocations=[*mine, *reserved(RESTING, "y", "192.168.20.8")], now=NOON)
    key = ("web", RESERVED, "x", 4)

    def in_the_way(first, last=None):
        return kept.own_in_the_way(key, RESTING.parent, ip_address(first), last and ip_address(last))

    assert in_the_way("192.168.20.7") == mine[:1]
    assert in_the_way("192.168.20.8") == in_the_way("192.168.20.40") == in_the_way("192.168.20.32") == []
    assert in_the_way("192.168.20.31") == in_the_way("192.168.20.8", "192.168.20.16") == mine[1:2]
    assert in_the_way("192.168.20.0", "192.168.20.255") == mine[:2]
    assert kept.own_in_the_way(("web", RESERVED, "no", 4), RESTING.parent, ip_address("192.168.20.7"), None) == []


def test_what_is_forgotten_does_not_rest():
    kept = book(RESTING, allocations=[left(RESTING, "x", "192.168.20.7")], now=NOON)
    kept.forget(left(RESTING, "x", "192.168.20.7"))
    assert claim(kept, RESTING, "y", "192.168.20.7") == "192.168.20.7"


# --- how full -------------------------------------------------------------------------------------------------


def use(net, *rows, number=0):
    item = net.subnets[number]
    found = usage(item.bounds(), set_aside([net], net.parent, item.family), rows)
    return found.size, found.held, found.reserved, found.cooling, found.free


@pytest.mark.parametrize(
    ("item", "size"),
    [
        (subnet("192.168.20.0/24"), 253),
        (subnet("192.168.20.0/24", None), 254),
        (subnet("192.168.20.0/24", router="192.168.20.2", printer="192.168.20.9"), 251),
        (subnet("192.168.20.0/24", "192.168.20.70", "192.168.20.64/28"), 15),
        (subnet("192.168.20.0/24", "192.168.20.1", "192.168.20.64/28"), 16),
        (subnet("192.168.20.0/24", "192.168.20.1", "192.168.20.0/25"), 126),
        (subnet("192.168.20.0/30"), 1),
        (subnet("192.168.20.0/31"), 2),
        (subnet("192.168.20.0/31", "192.168.20.0"), 1),
        (subnet("192.168.20.7/32"), 1),
        (subnet("2001:db8::/64"), 2**64 - 2),
        (subnet("2001:db8::/64", None), 2**64 - 1),
        (subnet("2001:db8::/64", "2001:db8::1", "2001:db8::8000:0:0:0/65"), 2**63),
        (subnet("2001:db8::/126"), 2),
        (subnet("2001:db8::/127"), 2),
        (subnet("2001:db8::7/128"), 1),
        (subnet("::/1", None), 2**127 - 1),
    ],
)
def test_the_size_is_what_can_be_given_out(item, size):
    assert use(network("web", item)) == (size, 0, 0, 0, size)


def test_the_use_of_a_subnet_is_told_by_what_holds_it():
    net = network("web", subnet("192.168.20.0/24", ip_range="192.168.20.64/26"), "2001:db8::/64")
    rows = [
        *held(net, "web1", "192.168.20.64"),
        *held(net, "web2", "192.168.20.127"),
        *reserved(net, "vm", "192.168.20.65"),
        left(net, "gone", "192.168.20.66"),
        *held(net, "outside", "192.168.20.63"),
        *reserved(net, "outside", "192.168.20.128"),
        several(net, "vms", "192.168.20.120", "192.168.20.126"),
    ]
    assert use(net, *rows) == (64, 2, 8, 1, 53)
    whole = usage(addressing.usable(net.subnets[0].network), set_aside([net], net.parent, 4), rows)
    assert whole == Usage(253, 3, 9, 1)
    assert whole.free == 240


def test_the_use_of_a_64_is_told_to_the_last_address():
    net = network("web", "2001:db8::/64")
    half = several(net, "vms", "2001:db8::8000:0:0:0", "2001:db8::ffff:ffff:ffff:ffff")
    assert use(net, half, *held(net, "web1", "2001:db8::2")) == (2**64 - 2, 1, 2**63, 0, 2**63 - 3)
    whole = several(net, "vms", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")
    assert use(net, whole) == (2**64 - 2, 0, 2**64 - 2, 0, 0)


def test_what_is_set_aside_inside_a_range_is_not_counted():
    net = network("web", subnet("192.168.20.0/24", "192.168.20.10", router="192.168.20.12"))
    row = several(net, "vms", "192.168.20.9", "192.168.20.13")
    assert use(net, row) == (252, 0, 3, 0, 249)
    assert use(net, row._replace(cooling=True, expires=9)) == (252, 0, 0, 3, 249)
    assert use(net, several(net, "vms", "192.168.20.0", "192.168.20.255")) == (252, 0, 252, 0, 0)


def test_a_range_counts_as_far_as_it_lies_inside():
    net = network("web", subnet("192.168.20.0/24", ip_range="192.168.20.64/28"))
    assert use(net, several(net, "vms", "192.168.20.0", "192.168.20.66")) == (16, 0, 3, 0, 13)
    assert use(net, several(net, "vms", "192.168.20.78", "192.168.20.255")) == (16, 0, 2, 0, 14)
    assert use(net, several(net, "vms", "192.168.20.80", "192.168.20.255")) == (16, 0, 0, 0, 16)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("192.168.20.0/31", "192.168.20.0"),
        ("192.168.20.7/32", "192.168.20.7"),
        ("2001:db8::/127", "2001:db8::"),
        ("2001:db8::7/128", "2001:db8::7"),
    ],
)
def test_the_smallest_subnets_are_counted_whole(text, first):
    net = network("web", text)
    size = net.subnets[0].network.num_addresses
    assert use(net, *held(net, "x", first)) == (size, 1, 0, 0, size - 1)


# --- against a plain model ------------------------------------------------------------------------------------

WORLDS = (
    # small subnets, so that they run full; ranges; a shared segment; both families
    (
        network("a", subnet("10.0.0.0/28", ip_range="10.0.0.0/29", router="10.0.0.3"), parent="p1"),
        network("b", subnet("10.0.0.0/28", "10.0.0.9", "10.0.0.8/29"), parent="p1"),
        network("c", subnet("10.0.0.0/29"), parent="p2"),
    ),
    (
        network("a", "10.1.0.0/30", "10.2.0.0/31", "2001:db8::/125", parent="p1"),
        network("b", subnet("10.3.0.0/29", None), subnet("2001:db9::/127"), parent="p1"),
    ),
    (
        network("a", subnet("255.255.240.0/29", "255.255.240.6"), parent="p1"),
        network("b", subnet("2001:db8::/124", None, "2001:db8::8/125", x="2001:db8::a"), parent="p1"),
    ),
)
OWNERS = ("x", "y", "z")
moves = st.lists(
    st.tuples(
        st.sampled_from(["next", "next", "claim", "release"]),
        st.integers(0, 2),
        st.sampled_from([ENDPOINT, RESERVED]),
        st.sampled_from(OWNERS),
        st.sampled_from([4, 6]),
        st.integers(-1, 18),
    ),
    max_size=40,
)


def _set_aside(world, segment):
    return {
        addressing.address_of(number, item.family)
        for net in world
        if net.parent == segment
        for item in net.subnets
        for number in item.reserved()
    }


def _expected_next(world, model, net, family):
    """The lowest free address, by trying them one by one."""
    aside = _set_aside(world, net.parent)
    for item in net.of_family(family):
        for candidate in item.ip_range or item.network:
            usable = addressing.unusable_in(item.network, candidate) is None and candidate not in aside
            if usable and (net.parent, candidate) not in model:
                return candidate
    return None


@given(st.sampled_from(WORLDS), moves, st.data())
def test_any_sequence_of_moves_does_what_a_plain_model_does(world, sequence, data):
    start = data.draw(st.lists(st.tuples(st.integers(0, len(world) - 1), st.integers(0, 15)), max_size=6))
    model = {}
    for number, offset in start:
        net = world[number]
        first = net.subnets[0]
        address = first.network.network_address + offset % first.network.num_addresses
        if address not in _set_aside(world, net.parent) and not addressing.unusable_in(first.network, address):
            model.setdefault((net.parent, address), (net.name, RESERVED, "before"))
    rows = [
        row
        for (_segment, address), (name, kind, owner) in model.items()
        for net in world
        if net.name == name
        for row in held(net, owner, str(address), kind=kind)
    ]
    kept = book(*world, allocations=rows)
    for move, number, kind, owner, family, offset in sequence:
        net = world[number % len(world)]
        who = (net.name, kind, owner)
        if move == "next":
            expected = _expected_next(world, model, net, family)
            if expected is None:
                with pytest.raises(ValueError):
                    kept.next_free(net, kind, owner, family)
                continue
            assert kept.next_free(net, kind, owner, family).address == expected
            model[net.parent, expected] = who
        elif move == "claim":
            item = net.subnets[number % len(net.subnets)]
            address = addressing.address_of(
                min(int(item.network.network_address) + offset, (1 << item.network.max_prefixlen) - 1), item.family
            )
            home = net.subnet_of(address)
            possible = (
                home is not None
                and addressing.unusable_in(home.network, address) is None
                and address not in _set_aside(world, net.parent)
                and (net.parent, address) not in model
            )
            if not possible:
                with pytest.raises(ValueError):
                    kept.claim(net, kind, owner, address)
                continue
            assert kept.claim(net, kind, owner, address).address == address
            model[net.parent, address] = who
        else:
            for row in kept.rows(net.name, kind, owner, family)[:1]:
                kept.release(row)
                del model[row.segment, row.address]
        for whose in OWNERS:
            have = {row.address for row in kept.rows(net.name, kind, whose, family)}
            should = {
                address
                for (_segment, address), holder in model.items()
                if holder == (net.name, kind, whose) and address.version == family
            }
            assert have == should


# --- all pieces together, against a plain model ---------------------------------------------------------------


class Plain:
    """What should be: every address with its holder, told one by one and without our code."""

    def __init__(self):
        self.rows = set()  # (network, kind, owner, first, last, since, expires, cooling)
        self.networks = {}  # name -> (cooldown, [(subnet, gateway, range)])

    def pass_time(self, now):
        self.rows = {row for row in self.rows if row[6] is None or row[6] > now}

    def taken(self):
        found = {}
        for row in self.rows:
            for number in range(row[3], row[4] + 1):
                assert number not in found, "an address has two holders"
                found[number] = row
        return found

    def aside(self):
        return {
            int(gateway)
            for _cooldown, subnets in self.networks.values()
            for _net, gateway, _range in subnets
            if gateway
        }

    def usable(self, net, ip_range=None):
        """The addresses that may be given out, lowest first."""
        numbers = range(int(net[0]), int(net[-1]) + 1)
        if len(numbers) > 2:
            numbers = numbers[1:-1] if net.version == 4 else numbers[1:]
        wanted = ip_range or net
        return [n for n in numbers if int(wanted[0]) <= n <= int(wanted[-1]) and n not in self.aside()]

    def live(self, name, owner):
        return next((row for row in self.rows if row[:3] == (name, RESERVED, owner) and not row[7]), None)

    def let_go(self, row, now):
        self.rows.remove(row)
        cooldown = self.networks[row[0]][0]
        if cooldown:
            self.rows.add((*row[:6], now + cooldown, True))

    def expected_next(self, name, owner):
        """The addresses of which any may come."""
        subnets = self.networks[name][1]
        usable = {n for net, _gateway, _range in subnets for n in self.usable(net)}
        own = [row for row in self.rows if row[:3] == (name, RESERVED, owner) and row[7] and row[3] == row[4]]
        had = {row[3] for row in own if row[3] in usable}
        if had:
            return had
        taken = self.taken()
        return next(({n} for net, _g, ip_range in subnets for n in self.usable(net, ip_range) if n not in taken), set())

    def can_have(self, name, owner, first, last):
        net = next((net for net, _g, _r in self.networks[name][1] if int(net[0]) <= first <= int(net[-1])), None)
        if net is None or last > int(net[-1]) or (first == last and first not in self.usable(net)):
            return False
        taken = self.taken()
        holders = {taken[number] for number in range(first, last + 1) if number in taken}
        # What is its own, held or cooling, it may take the place of.
        return all(row[:3] == (name, RESERVED, owner) for row in holders)

    def come(self, name, owner, asked, after, now):
        """Changes the rows as a task of one item should; False where it has to be refused. ``after``: when it expires."""
        old = self.live(name, owner)
        if old and asked in (None, old[3:5]):
            expires = old[6] if after is None else old[5] + after
            self.rows.remove(old)
            self.rows.add((*old[:6], expires, False))
            if expires is not None and expires <= now:
                self.rows.remove((*old[:6], expires, False))
                self.rows.add(old)
                self.let_go(old, now)
            return True
        assert asked is not None
        if not self.can_have(name, owner, *asked):
            return False
        if old:
            self.let_go(old, now)
        own = {row for row in self.rows if row[:3] == (name, RESERVED, owner)}
        self.rows -= {row for row in own if row[3] <= asked[1] and row[4] >= asked[0]}
        self.rows.add((name, RESERVED, owner, *asked, now, None if after is None else now + after, False))
        return True


def _halves(net):
    return list(net.subnets(1)) if net.prefixlen < net.max_prefixlen else [net, net]


def _last_usable(net):
    return net[-2] if net.version == 4 and net.num_addresses > 2 else net[-1]


def _variant(name, net, further, number):
    """One of the ways in which a network may be set up; all of them keep its subnets, so that nothing lies outside."""
    low, high = _halves(net)
    ip_range = (None, low, high)[number % 3]
    has_gateway = net.num_addresses > 2
    gateway = (net[1] if number % 2 else _last_usable(net)) if has_gateway and number != 4 else None
    subnets = [(net, gateway, ip_range)]
    if number >= 3:
        subnets.append((further, None, None))
    parsed = [
        addressing.Subnet(item, None if gate is None else ip_address(int(gate)) if net.version == 4 else gate, part)
        for item, gate, part in subnets
    ]
    return subnets, replace(network(name, *parsed, parent="p"), enable_ipv4=True, enable_ipv6=True)


happenings = st.lists(
    st.one_of(
        st.tuples(
            st.just("next"), st.sampled_from("ab"), st.sampled_from(OWNERS), st.sampled_from([None, None, 3, 20])
        ),
        st.tuples(st.just("claim"), st.sampled_from("ab"), st.sampled_from(OWNERS), st.integers(0, 300)),
        st.tuples(
            st.just("range"),
            st.sampled_from("ab"),
            st.sampled_from(OWNERS),
            st.tuples(st.integers(-1, 260), st.integers(1, 12), st.sampled_from([None, 5])),
        ),
        st.tuples(st.just("release"), st.sampled_from("ab"), st.sampled_from(OWNERS), st.none()),
        st.tuples(st.just("pass"), st.none(), st.none(), st.integers(1, 12)),
        st.tuples(st.just("change"), st.sampled_from("ab"), st.none(), st.integers(0, 5)),
    ),
    max_size=30,
)
SIZES = {4: (24, 27, 28, 29, 30, 31, 32), 6: (120, 123, 124, 125, 126, 127, 128)}


@settings(max_examples=300)
@given(st.sampled_from([4, 6]), st.integers(0, 6), st.integers(0, 15), happenings)
def test_whatever_happens_no_address_is_held_twice_lost_or_given_out_though_set_aside(family, size, shift, sequence):
    base = "10.9.0.0" if family == 4 else "2001:db8::900"
    net = ip_network(f"{base}/{SIZES[family][size]}")
    # The further subnet follows somewhere behind.
    start = int(ip_address(base)) + 256
    further = ip_network((start + 4 * shift, net.max_prefixlen - 2))
    plain, now = Plain(), 1_800_000_000
    with contextlib.closing(store._in_memory()) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "clock", lambda: now)

        def opened():
            connection.rollback()  # where the one before was looking
            return store.Store(connection)

        def run(spec):
            """A task of one item; whether it was carried out."""
            kept = opened()
            try:
                plan, _outcomes = plan_addresses.plan(observe.for_addresses(kept, [spec]), [spec])
            except Refused:
                return False
            kept.write(plan.before)
            return True

        def set_up(name, number):
            subnets, row = _variant(name, net, further, number)
            cooldown = 7 if name == "a" else 0
            gates = {int(gate) for _net, gate, _range in subnets if gate}
            if any(row[3] == row[4] and not row[7] and row[3] in gates for row in plain.rows):
                return  # the plan of networks refuses that
            lost = {other for other, _gate, _range in plain.networks.get(name, (0, []))[1]} - {s[0] for s in subnets}
            if any(int(other[0]) <= row[3] <= int(other[-1]) for other in lost for row in plain.rows):
                return  # and that
            plain.networks[name] = cooldown, subnets
            opened().write([Put(replace(row, cooldown=cooldown))])

        set_up("a", 0)
        set_up("b", 2)
        for what, name, owner, value in sequence:
            if what == "pass":
                now += value
                plain.pass_time(now)
            elif what == "change":
                set_up(name, value)
            elif what == "release":
                assert run(AddressSpec("x", name, owner, family, "absent"))
                old = plain.live(name, owner)
                if old:
                    plain.let_go(old, now)
            elif what == "next":
                old, could = plain.live(name, owner), plain.expected_next(name, owner)
                expires = None if value is None else Expiry(after=value)
                done = run(AddressSpec("x", name, owner, family, "present", expires=expires))
                assert done == bool(old or could)
                if old:
                    plain.come(name, owner, None, value, now)
                elif done:
                    [row] = [r for r in opened().allocations(name, owner) if not r.cooling]
                    assert int(row.address) in could
                    assert plain.come(name, owner, row.bounds, value, now)
            else:
                offset, length, after = (value, 0, None) if what == "claim" else value
                first = int(ip_address(base)) + offset
                last = first + length
                spec = AddressSpec(
                    "x",
                    name,
                    owner,
                    family,
                    "present",
                    addressing.address_of(first, family),
                    addressing.address_of(last, family) if length else None,
                    expires=None if after is None else Expiry(after=after),
                )
                before = set(plain.rows)
                done = run(spec)
                assert plain.come(name, owner, (first, last), after, now) == done
                if not done:
                    assert plain.rows == before
            kept = opened()
            rows = kept.allocations()
            assert {(r.network, r.kind, r.owner, *r.bounds, r.since, r.expires, r.cooling) for r in rows} == plain.rows
            taken, networks = plain.taken(), kept.networks()
            aside = set_aside(networks.values(), "p", family)
            for net_name, (_cooldown, subnets) in plain.networks.items():
                for number, (item, _gateway, ip_range) in enumerate(subnets):
                    numbers = plain.usable(item, ip_range)
                    found = usage(networks[net_name].subnets[number].bounds(), aside, rows)
                    cooling = sum(taken[n][7] for n in numbers if n in taken)
                    held_here = sum(not taken[n][7] for n in numbers if n in taken)
                    assert found == Usage(len(numbers), 0, held_here, cooling)
                    assert found.free == sum(n not in taken for n in numbers)
