# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The allocator, held against a plain dict: no address twice, none outside, none that is set aside, lowest first."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.module_utils.book import Book
from ansible_collections.netops.underlay.plugins.module_utils.model import ENDPOINT, RESERVED
from hypothesis import given
from hypothesis import strategies as st

from .builders import free_of, held, network, reserved, subnet


def book(*networks, allocations=()):
    allocations = list(allocations)
    return Book({item.name: item for item in networks}, allocations, free_of(networks, allocations))


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
