# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Address arithmetic: what of a subnet can be given out, what no VLAN can carry, pools, MAC addresses."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
import yaml
from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.module_utils.addressing import Subnet
from hypothesis import given
from hypothesis import strategies as st

networks = st.one_of(
    st.builds(
        lambda number, prefixlen: IPv4Network((number, prefixlen), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(1, 32),
    ),
    st.builds(
        lambda number, prefixlen: IPv6Network((number, prefixlen), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(1, 128),
    ),
)


@given(networks)
def test_usable_is_all_of_a_subnet_but_what_no_station_may_have(network):
    first, last = addressing.usable(network)
    lost = int(network.num_addresses) - (last - first + 1)
    small = network.num_addresses <= 2
    assert lost == (0 if small else 2 if network.version == 4 else 1)
    assert first == int(network.network_address) + (0 if small else 1)
    assert int(network.network_address) <= first <= last <= int(network.broadcast_address)


@given(networks)
def test_unusable_in_agrees_with_usable_at_both_ends(network):
    first, last = addressing.usable(network)
    for number in sorted({first, last}):
        assert addressing.unusable_in(network, addressing.address_of(number, network.version)) is None
    for number in (first - 1, last + 1):
        if 0 <= number < 1 << network.max_prefixlen:
            assert addressing.unusable_in(network, addressing.address_of(number, network.version))


@pytest.mark.parametrize("text", ["10.0.0.0/31", "10.0.0.7/32", "2001:db8::/127", "2001:db8::5/128"])
def test_the_smallest_subnets_are_usable_whole_and_spare_no_gateway(text):
    network = ip_network(text)
    assert addressing.usable(network) == (int(network.network_address), int(network.broadcast_address))
    assert addressing.default_gateway(network) is None


@pytest.mark.parametrize(
    ("text", "gateway"),
    [
        ("192.168.20.0/24", "192.168.20.1"),
        ("172.16.48.0/22", "172.16.48.1"),
        ("10.0.0.4/30", "10.0.0.5"),
        ("2001:db8:abc8::/64", "2001:db8:abc8::1"),
        ("2001:db8::4/126", "2001:db8::5"),
    ],
)
def test_the_default_gateway_is_the_first_usable_address(text, gateway):
    assert addressing.default_gateway(ip_network(text)) == ip_address(gateway)


@pytest.mark.parametrize(
    ("subnet", "address", "reason"),
    [
        ("10.0.0.0/24", "10.0.0.0", "it is the network address of 10.0.0.0/24"),
        ("10.0.0.0/24", "10.0.0.255", "it is the broadcast address of 10.0.0.0/24"),
        ("10.0.0.0/24", "10.0.1.0", "it is outside 10.0.0.0/24"),
        ("10.0.0.0/24", "2001:db8::1", "it is outside 10.0.0.0/24"),
        ("2001:db8::/64", "2001:db8::", "it is the subnet-router anycast address of 2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", None),
        ("10.0.0.0/31", "10.0.0.0", None),
        ("10.0.0.0/31", "10.0.0.1", None),
    ],
)
def test_why_no_station_may_have_an_address(subnet, address, reason):
    assert addressing.unusable_in(ip_network(subnet), ip_address(address)) == reason


# --- subnets as written ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "network", "had_host_bits"),
    [
        ("172.16.80.0/24", "172.16.80.0/24", False),
        ("172.16.50.0/22", "172.16.48.0/22", True),
        ("10.1.100.0/16", "10.1.0.0/16", True),
        ("2001:db8:abc8::/64", "2001:db8:abc8::/64", False),
        ("2001:db8:abc8::1/64", "2001:db8:abc8::/64", True),
        ("192.168.1.0/255.255.255.0", "192.168.1.0/24", False),
        ("192.168.1.9/255.255.255.0", "192.168.1.0/24", True),
    ],
)
def test_host_bits_are_cleared_and_told(text, network, had_host_bits):
    assert addressing.parse_subnet(text) == (ip_network(network), had_host_bits)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.0.0.0/0", "it covers all addresses"),
        ("::/0", "it covers all addresses"),
        ("224.0.1.0/24", "multicast"),
        ("ff02::/64", "multicast"),
        ("127.0.0.0/8", "loopback"),
        ("127.5.0.0/24", "loopback"),
        ("::1/128", "these are loopback addresses"),
        ("::/127", r"it holds loopback addresses \(::1/128\)"),
        ("::/128", "these are unspecified addresses"),
        ("169.254.0.0/16", "link-local"),
        ("169.0.0.0/8", "link-local"),
        ("fe80::/64", "link-local"),
        ("::ffff:10.0.0.0/120", "IPv4-mapped"),
        ("0.0.0.0/8", "unspecified"),
        ("240.0.0.0/8", "reserved"),
        ("192.0.0.0/2", "multicast|reserved"),
        ("::/8", "loopback|IPv4-mapped"),
        ("fe80::1%eth0/64", "has a zone id"),
        ("192.168.20.0", "has no prefix length; write it as 192.168.20.0/24"),
        ("", "has no prefix length"),
        ("192.168.20.0/33", "is not an IPv4 or IPv6 subnet"),
        ("192.168.020.0/24", "is not an IPv4 or IPv6 subnet; leave out leading zeros"),
        ("192.168.20.10-192.168.20.50", "is not a subnet; write it as one block, such as 192.168.20.64/26"),
        ("eth0/24", "is not an IPv4 or IPv6 subnet"),
        ("192.168.20/24", "is not an IPv4 or IPv6 subnet"),
    ],
)
def test_a_subnet_that_no_vlan_can_carry_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason) as error:
        addressing.parse_subnet(text)
    assert f"'{text}'" in str(error.value)


SPECIAL = [
    ip_network(text)
    for text in (
        "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 240.0.0.0/4 ::1/128 ::ffff:0:0/96 fe80::/10 ff00::/8"
    ).split()
]


@given(networks)
def test_no_accepted_subnet_holds_a_special_address(network):
    try:
        accepted, _had_host_bits = addressing.parse_subnet(str(network))
    except ValueError:
        return
    assert not [block for block in SPECIAL if block.version == network.version and block.overlaps(accepted)]


@given(st.text())
def test_any_text_is_a_subnet_or_an_error_in_words(text):
    try:
        network, _had_host_bits = addressing.parse_subnet(text)
    except ValueError as error:
        assert str(error)
    else:
        assert network.prefixlen > 0


@pytest.mark.parametrize(
    ("text", "family", "reason"),
    [
        ("fe80::1%eth0", None, "'fe80::1%eth0' has a zone id; give the address without it"),
        ("192.168.20.1/24", None, "'192.168.20.1/24' is not an IP address; give it without the prefix length"),
        ("2001:db8::1/64", None, "'2001:db8::1/64' is not an IP address; give it without the prefix length"),
        ("192.168.20.256", None, "'192.168.20.256' is not an IP address"),
        ("010.0.0.1", None, "'010.0.0.1' is not an IP address; leave out leading zeros"),
        ("192.168.020.1", None, "'192.168.020.1' is not an IP address; leave out leading zeros"),
        (
            str(yaml.safe_load("2001:10:20:30:40:50:1:2")),
            6,
            "'5602001869620062' is not an IP address; put it in quotes, or YAML takes digits with colons between them for a "
            "number",
        ),
        ("", None, "'' is not an IP address"),
        ("192.168.20.1", 6, "'192.168.20.1' is not an IPv6 address"),
        ("2001:db8::1", 4, "'2001:db8::1' is not an IPv4 address"),
    ],
)
def test_an_address_that_is_none_is_refused_with_the_reason(text, family, reason):
    with pytest.raises(ValueError) as error:
        addressing.parse_address(text, family)
    assert str(error.value) == reason


# --- what a subnet gives out ----------------------------------------------------------------------------------


def test_a_range_inside_a_larger_subnet_uses_its_own_first_and_last_address():
    subnet = Subnet(ip_network("192.168.20.0/24"), ip_range=ip_network("192.168.20.64/27"))
    assert subnet.bounds() == (int(ip_address("192.168.20.64")), int(ip_address("192.168.20.95")))


def test_a_range_at_the_edge_of_the_subnet_loses_what_the_subnet_loses():
    subnet = Subnet(ip_network("192.168.20.0/24"), ip_range=ip_network("192.168.20.128/25"))
    assert subnet.bounds() == (int(ip_address("192.168.20.128")), int(ip_address("192.168.20.254")))
    low = Subnet(ip_network("192.168.20.0/24"), ip_range=ip_network("192.168.20.0/25"))
    assert low.bounds() == (int(ip_address("192.168.20.1")), int(ip_address("192.168.20.127")))


def test_gateway_and_auxiliary_addresses_are_set_aside_by_name():
    subnet = Subnet(
        ip_network("192.168.20.0/24"),
        ip_address("192.168.20.1"),
        auxiliary=(("my-router", ip_address("192.168.20.129")),),
    )
    assert subnet.reserved() == {
        int(ip_address("192.168.20.1")): "the gateway",
        int(ip_address("192.168.20.129")): "the auxiliary address 'my-router'",
    }


# --- pools ----------------------------------------------------------------------------------------------------


POOLS = addressing.DEFAULT_IPV4_POOLS
BLOCKS = [block for base, size in POOLS for block in base.subnets(new_prefix=size)]


def test_the_default_pools_are_as_documented():
    assert [str(block) for block in BLOCKS[:16]] == [
        *(f"172.{second}.0.0/16" for second in range(18, 32)),
        "192.168.0.0/20",
        "192.168.16.0/20",
    ]
    assert len(BLOCKS) == 14 + 16
    assert not any(one.overlaps(other) for one, other in itertools.combinations(BLOCKS, 2))


NOTHING = addressing.spans_of([])


def test_the_first_free_block_is_the_first():
    assert str(addressing.first_free_block(POOLS, NOTHING)) == "172.18.0.0/16"


@given(st.lists(networks, max_size=40))
def test_the_first_free_block_overlaps_nothing_used_and_all_before_it_do(used):
    found = addressing.first_free_block(POOLS, addressing.spans_of(iter(used)))

    def is_used(block):
        return any(other.version == 4 and block.overlaps(other) for other in used)

    assert found == next((block for block in BLOCKS if not is_used(block)), None)


def test_a_pool_of_countless_blocks_is_not_walked():
    pools = [(ip_network("fd00::/8"), 64)]
    assert str(addressing.first_free_block(pools, addressing.spans_of([ip_network("fd00::/9")]))) == "fd80::/64"
    assert addressing.first_free_block(pools, addressing.spans_of([ip_network("fc00::/7")])) is None
    assert str(addressing.first_free_block([(ip_network("::/16"), 64)], NOTHING)) == "::/64"


def test_a_pool_of_the_user():
    assert addressing.parse_pool("10.200.0.0/16", 24) == (ip_network("10.200.0.0/16"), 24)
    assert addressing.parse_pool("10.200.0.0/16", 16) == (ip_network("10.200.0.0/16"), 16)
    assert addressing.parse_pool("fd00:db8::/48", 64) == (ip_network("fd00:db8::/48"), 64)


@pytest.mark.parametrize(
    ("base", "size", "text"),
    [
        ("10.200.0.0/16", 15, "size 15 is not a prefix length between 16 (the base's) and 30"),
        ("10.200.0.0/16", 31, "size 31 is not a prefix length between 16 (the base's) and 30"),
        ("fd00:db8::/48", 127, "size 127 is not a prefix length between 48 (the base's) and 126"),
        ("10.200.0.1/16", 24, "base '10.200.0.1/16' has host bits set; the network is 10.200.0.0/16"),
        ("224.0.0.0/8", 24, "'224.0.0.0/8' cannot be used: these are multicast addresses"),
        ("pool", 24, "'pool' has no prefix length; write it as 192.168.20.0/24"),
    ],
)
def test_a_bad_pool_is_refused(base, size, text):
    with pytest.raises(ValueError) as error:
        addressing.parse_pool(base, size)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.0.0.10", "10.0.0.10", None),
        ("10.0.0.10-10.0.0.50", "10.0.0.10", "10.0.0.50"),
        ("10.0.0.10 - 10.0.0.50", "10.0.0.10", "10.0.0.50"),
        ("10.0.0.10-10.0.0.10", "10.0.0.10", None),
        ("10.0.0.64/28", "10.0.0.64", "10.0.0.79"),
        ("10.0.0.64/32", "10.0.0.64", None),
        ("2001:db8::1000-2001:db8::1fff", "2001:db8::1000", "2001:db8::1fff"),
        ("2001:db8:0:0:8000::/65", "2001:db8::8000:0:0:0", "2001:db8::ffff:ffff:ffff:ffff"),
    ],
)
def test_one_address_or_several(text, first, last):
    assert addressing.parse_addresses(text) == (ip_address(first), last and ip_address(last))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.50-10.0.0.10", "is not a range: the first address comes first, and both are of one family"),
        ("10.0.0.50-2001:db8::1", "is not a range: the first address comes first, and both are of one family"),
        ("10.0.0.1/24", "is not a block of addresses (10.0.0.1/24 has host bits set)"),
        ("10.0.0.1-50", "'50' is not an IP address; write a range as 10.0.0.10-10.0.0.50"),
        ("10.0.0.1-", "'' is not an IP address"),
        ("10.0.0.1-10.0.0.2-10.0.0.3", "'10.0.0.2-10.0.0.3' is not an IP address"),
        ("10.0.0.0/33", "is not a block of addresses"),
        ("fe80::1%eth0-fe80::2%eth0", "has a zone id"),
        ("web", "'web' is not an IP address"),
        ("", "'' is not an IP address"),
    ],
)
def test_what_is_no_address_and_no_range_is_refused(text, reason):
    with pytest.raises(ValueError) as error:
        addressing.parse_addresses(text)
    assert reason in str(error.value)


def test_full_pools_have_no_free_block():
    used = [ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16")]
    assert addressing.first_free_block(addressing.DEFAULT_IPV4_POOLS, addressing.spans_of(used)) is None


@given(st.text())
def test_the_unique_local_prefix_is_a_stable_48_of_fd00(seed):
    prefix = addressing.unique_local_prefix(seed)
    assert prefix.prefixlen == 48
    assert prefix.subnet_of(ip_network("fd00::/8"))
    assert prefix == addressing.unique_local_prefix(seed)


def test_two_hosts_have_two_unique_local_prefixes():
    assert addressing.unique_local_prefix("host-a") != addressing.unique_local_prefix("host-b")


# --- MAC addresses --------------------------------------------------------------------------------------------


def test_the_mac_address_carries_the_ipv4_address_as_documented():
    assert addressing.mac_for(ip_address("172.16.86.2"), "macvlan10", "web1") == "02:42:ac:10:56:02"


@given(st.text(), st.text())
def test_without_ipv4_the_mac_address_is_local_unicast_and_stable(network, owner):
    mac = addressing.mac_for(None, network, owner)
    octets = bytes.fromhex(mac.replace(":", ""))
    assert octets[0] == 0x02
    assert len(octets) == 6
    assert mac == addressing.mac_for(None, network, owner)


def test_without_ipv4_the_mac_address_depends_on_network_and_owner():
    macs = {addressing.mac_for(None, network, owner) for network in "ab" for owner in "cd"}
    assert len(macs) == 4


@given(networks, st.data())
def test_an_address_and_its_number_are_one(network, data):
    number = data.draw(st.integers(int(network.network_address), int(network.broadcast_address)))
    assert int(addressing.address_of(number, network.version)) == number
    assert addressing.address_of(number, network.version) in network
