# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters become values or an error that names the item, the option, the value and the way out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml
from ansible_collections.netops.underlay.plugins.module_utils import spec
from ansible_collections.netops.underlay.plugins.module_utils.errors import ItemError, Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import Announcing, HostSetting, Target
from hypothesis import given
from hypothesis import strategies as st

NETWORK_OPTIONS = (
    "name driver ipvlan_mode ipvlan_flag macvlan_mode parent internal enable_ipv4 enable_ipv6 ipam_config mtu labels "
    "cooldown announce conflict_check routes ipv6_dad force state"
).split()
ENDPOINT_OPTIONS = (
    "name network netns netns_path pid ipv4_address ipv6_address mac_address ifname default_route keep state"
).split()
ADDRESS_OPTIONS = ("network", "owner", "address", "family", "description", "expires", "state")


def networks(**params: Any) -> list[spec.NetworkSpec]:
    """The way of vlan_network's parameters."""
    items = spec.items_of(params, "networks", NETWORK_OPTIONS, key="name", shared=("state", "force"))
    return spec.collect([(label, _whole(options, NETWORK_OPTIONS)) for label, options in items], spec.network_spec)


def endpoints(**params: Any) -> list[spec.EndpointSpec]:
    items = spec.items_of(
        _whole(params, ("state", "network")), "endpoints", ENDPOINT_OPTIONS, key="name", shared=("state", "network")
    )
    return spec.collect([(label, _whole(options, ENDPOINT_OPTIONS)) for label, options in items], spec.endpoint_spec)


def addresses(**params: Any) -> list[spec.AddressSpec]:
    items = spec.items_of(
        _whole(params, ("state", "network")), "addresses", ADDRESS_OPTIONS, key="owner", shared=("state", "network")
    )
    return spec.collect([(label, _whole(options, ADDRESS_OPTIONS)) for label, options in items], spec.address_spec)


def _whole(options: dict[str, Any], names: Any) -> dict[str, Any]:
    """With None for what is left out, as Ansible gives them."""
    return {**dict.fromkeys(names), **options}


def network(**options: Any) -> spec.NetworkSpec:
    return networks(**{"name": "web", **options})[0]


def endpoint(**options: Any) -> spec.EndpointSpec:
    return endpoints(**{"name": "web1", "network": "vlan20", "netns": "web1", **options})[0]


def addr(**options: Any) -> spec.AddressSpec:
    return addresses(**{"owner": "vm-12", "network": "vlan20", **options})[0]


def refusal(function: Any, **params: Any) -> str:
    with pytest.raises(Refused) as error:
        function(**{"state": None, "force": None, **params} if function is networks else params)
    return str(error.value)


def network_refusal(**options: Any) -> str:
    """Why network 'web' is refused, without its label."""
    text = refusal(networks, **{"name": "web", **options})
    assert text.startswith("name 'web': ")
    return text.removeprefix("name 'web': ")


def subnet_refusal(**entry: Any) -> str:
    entry = {**dict.fromkeys(("gateway", "ip_range", "aux_addresses")), "subnet": "192.168.20.0/24", **entry}
    text = network_refusal(ipam_config=[entry])
    assert text.startswith("ipam_config[0]: ")
    return text.removeprefix("ipam_config[0]: ")


def endpoint_refusal(**options: Any) -> str:
    text = refusal(endpoints, **{"name": "web1", "network": "vlan20", "netns": "web1", **options})
    assert text.startswith("name 'web1': ")
    return text.removeprefix("name 'web1': ")


# --- one item or many -----------------------------------------------------------------------------------------


def test_one_item_is_a_list_of_one():
    assert [item.name for item in networks(name="web")] == ["web"]
    assert networks(name="web")[0].item == "name 'web'"


def test_items_are_labelled_by_their_place_and_name():
    found = networks(networks=[{"name": "a"}, {"name": "b"}], state=None, force=None)
    assert [item.item for item in found] == ["networks[0] (a)", "networks[1] (b)"]


def test_neither_form_is_refused():
    assert refusal(networks) == "give either 'name' (one item) or 'networks' (a list of items)"
    assert refusal(endpoints, network="a") == "give either 'name' (one item) or 'endpoints' (a list of items)"
    assert refusal(addresses) == "give either 'owner' (one item) or 'addresses' (a list of items)"


def test_both_forms_at_once_are_refused():
    assert refusal(networks, name="web", networks=[{"name": "a"}]) == (
        "'name' stands beside 'networks': give one item by its own options, or all of them in 'networks'"
    )


@pytest.mark.parametrize("value", [False, 0, "", []])
def test_an_option_beside_the_list_is_refused_whatever_its_value(value):
    assert "'internal' stands beside 'networks'" in refusal(networks, internal=value, networks=[{"name": "a"}])


def test_an_empty_list_is_a_list():
    assert networks(networks=[]) == []


def test_state_beside_the_list_is_that_of_items_without_one():
    found = networks(networks=[{"name": "a"}, {"name": "b", "state": "present"}], state="absent", force=None)
    assert [item.state for item in found] == ["absent", "present"]


def test_force_false_of_an_item_holds_against_force_beside_the_list():
    found = networks(networks=[{"name": "a"}, {"name": "b", "force": False}], state=None, force=True)
    assert [item.force for item in found] == [True, False]


def test_network_beside_the_list_is_that_of_items_without_one():
    found = endpoints(
        network="vlan20",
        endpoints=[{"name": "a", "netns": "a"}, {"name": "b", "netns": "b", "network": "vlan30"}],
    )
    assert [item.network for item in found] == ["vlan20", "vlan30"]
    held = addresses(network="vlan20", addresses=[{"owner": "a"}, {"owner": "b", "network": "vlan30"}])
    assert [item.network for item in held] == ["vlan20", "vlan30"]


def test_items_do_not_share_what_they_inherit():
    entries = [{"name": "a", "labels": {"x": "1"}}, {"name": "b"}]
    found = networks(networks=entries, state=None, force=None)
    assert [item.labels for item in found] == [{"x": "1"}, None]
    assert entries == [{"name": "a", "labels": {"x": "1"}}, {"name": "b"}]


def test_every_bad_item_is_named_in_input_order():
    with pytest.raises(Refused) as error:
        networks(networks=[{"name": "a/b"}, {"name": "ok"}, {"name": "c", "mtu": 1}], state=None, force=None)
    assert len(error.value.messages) == 2
    assert error.value.messages[0].startswith("networks[0] ('a/b'): 'a/b' is not a network name")
    assert error.value.messages[1] == "networks[2] (c): mtu 1 is not between 68 and 65535 (0: follow the parent)"


def test_two_items_for_one_thing_are_refused():
    found = networks(networks=[{"name": "web"}, {"name": "db"}, {"name": "web"}], state=None, force=None)
    with pytest.raises(Refused) as error:
        spec.unique(found, lambda item: item.name, "a network of this name")
    assert str(error.value) == "networks[2] (web): a network of this name is already given by networks[0] (web)"


def test_items_of_different_keys_are_unique():
    found = endpoints(endpoints=[{"name": "a", "netns": "a", "network": net} for net in ("n1", "n2")])
    spec.unique(found, lambda item: item.key, "an endpoint")


# --- names ----------------------------------------------------------------------------------------------------

GOOD_NAMES = ["a", "0", "web", "VLAN_20.x-y", "9to5", "a" * 64, "a..b"]
BAD_NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "../x",
    "a\nb",
    "a\n",
    "a b",
    "-rf",
    "_a",
    ".a",
    "größe",
    "名前",
    "a\0",
    "a" * 65,
    "a" * 10_000,
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_good_name_is_taken_as_it_is(name):
    assert network(name=name).name == name
    assert endpoint(name=name).name == name
    assert endpoint(network=name).network == name


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize(
    ("function", "options"),
    [
        (networks, {"name": None}),
        (endpoints, {"name": None, "network": "a", "netns": "a"}),
        (endpoints, {"name": "a", "network": None, "netns": "a"}),
        (addresses, {"owner": "a", "network": None}),
    ],
)
def test_a_bad_name_is_refused(function, options, name):
    text = refusal(function, **{key: name if value is None else value for key, value in options.items()})
    assert "a letter or digit, then letters, digits, '_', '.', '-', up to 64 characters" in text


def test_the_error_of_a_bad_name_shows_it_quoted():
    assert network_refusal_of("a\nb") == (
        "'a\\nb' is not a network name: a letter or digit, then letters, digits, '_', '.', '-', up to 64 characters"
    )


def network_refusal_of(name: str) -> str:
    with pytest.raises(ValueError) as error:
        spec.network_spec("item", _whole({"name": name}, NETWORK_OPTIONS))
    return str(error.value)


def test_the_name_none_is_taken():
    assert refusal(networks, name="none") == (
        "name 'none': the network name 'none' is taken by the network that has no links; choose another"
    )


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a" * 10_000])
def test_an_error_is_one_short_line_whatever_was_given(name):
    for text in (
        refusal(networks, networks=[{"name": name}]),
        refusal(networks, name=name),
        refusal(endpoints, endpoints=[{"name": name, "network": "a", "netns": "a"}]),
        refusal(endpoints, name="a", network="a", netns=name + "\n"),
        refusal(endpoints, name="a", network="a", netns="a", ifname=name + "\n"),
        refusal(endpoints, name="a", network="a", netns_path=name),
        refusal(endpoints, name="a", network="a", netns="a", mac_address=name),
        refusal(endpoints, name="a", network="a", netns="a", ipv4_address=name),
        refusal(networks, name="a", parent=name),
        refusal(networks, name="a", ipam_config=[{"subnet": name}]),
        refusal(addresses, owner=name + "\n", network="a"),
        refusal(addresses, addresses=[{"owner": name + "\n", "network": "a"}]),
    ):
        assert text.isprintable(), text[:200]
        assert len(text) < 600, text[:200]


@pytest.mark.parametrize("name", ["a\nb", "..", "a/b"])
def test_a_network_that_goes_needs_a_good_name_too(name):
    assert "is not a network name" in refusal(networks, name=name, state="absent")


def test_of_a_network_that_goes_nothing_else_is_looked_at():
    assert network(state="absent", mtu=1, parent="x" * 99) == spec.NetworkSpec("name 'web'", "web", "absent")


# --- networks -------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_not_given():
    assert network() == spec.NetworkSpec("name 'web'", "web", "present", settings={})


def test_a_whole_network():
    found = network(
        driver="ipvlan",
        parent="eth0.20",
        ipvlan_mode="l3",
        ipvlan_flag="private",
        internal=False,
        enable_ipv6=True,
        ipam_config=[
            {
                "subnet": "192.168.20.0/24",
                "gateway": "192.168.20.1",
                "ip_range": "192.168.20.128/25",
                "aux_addresses": {"my-router": "192.168.20.129"},
            }
        ],
        mtu=1400,
        labels={"team": "net", "n": 1},
        force=True,
    )
    assert (found.driver, found.parent, found.mtu, found.force) == ("ipvlan", "eth0.20", 1400, True)
    assert found.settings == {"ipvlan_mode": "l3", "ipvlan_flag": "private"}
    assert (found.internal, found.enable_ipv4, found.enable_ipv6) == (False, None, True)
    assert found.labels == {"team": "net", "n": "1"}
    assert found.given_gateways == ("192.168.20.1",)
    [subnet] = found.subnets
    assert subnet.network == ip_network("192.168.20.0/24")
    assert subnet.gateway == ip_address("192.168.20.1")
    assert subnet.ip_range == ip_network("192.168.20.128/25")
    assert subnet.auxiliary == (("my-router", ip_address("192.168.20.129")),)
    assert not subnet.from_pool


def test_an_option_of_the_other_driver_is_refused():
    assert network_refusal(driver="ipvlan", macvlan_mode="bridge") == (
        "macvlan_mode belongs to the driver macvlan, but driver is ipvlan"
    )
    assert network_refusal(driver="macvlan", ipvlan_flag="vepa") == (
        "ipvlan_flag belongs to the driver ipvlan, but driver is macvlan"
    )


@pytest.mark.parametrize("mtu", [0, 68, 1500, 65535])
def test_a_good_mtu(mtu):
    assert network(mtu=mtu).mtu == mtu


@pytest.mark.parametrize("mtu", [-1, 1, 67, 65536])
def test_a_bad_mtu_is_refused(mtu):
    assert network_refusal(mtu=mtu) == f"mtu {mtu} is not between 68 and 65535 (0: follow the parent)"


@pytest.mark.parametrize("parent", ["eth0", "eth0.20", "eth0.10.20", "foo", "br-lan", "a" * 15, "enp1s0@x"])
def test_a_good_parent(parent):
    assert network(parent=parent).parent == parent


@pytest.mark.parametrize("parent", ["", ".", "..", "a/b", "a b", "a\n", "a:1", "\0", "a\x7f"])
def test_a_parent_that_no_link_can_be_called_is_refused(parent):
    assert network_refusal(parent=parent) == f"parent {parent!r} is not the name of a link"


def test_a_parent_over_fifteen_characters_is_refused():
    assert network_refusal(parent="a" * 16) == (f"parent '{'a' * 16}' has 16 bytes; the name of a link has at most 15")


def test_a_sub_interface_of_a_card_with_a_long_name_can_have_another_name():
    assert network_refusal(parent="enp129s0f1np1.2001") == (
        "parent 'enp129s0f1np1.2001' has 18 bytes; the name of a link has at most 15; make it yourself under a shorter name, "
        "and name that one: ip link add link enp129s0f1np1 name vlan2001 type vlan id 2001"
    )


def test_the_kernel_counts_the_bytes_of_a_name():
    """IFNAMSIZ (include/uapi/linux/if.h) is 16 bytes with the closing zero."""
    assert "at most 15" in network_refusal(parent="ééééééé.20")


@pytest.mark.parametrize(
    ("parent", "found"),
    [
        ("eth0", None),
        ("eth0.1", ("eth0", 1)),
        ("eth0.20", ("eth0", 20)),
        ("bond0.4094", ("bond0", 4094)),
    ],
)
def test_a_sub_interface_is_told_by_its_name(parent, found):
    assert spec.sub_interface(parent) == found


@pytest.mark.parametrize("vlan_id", ["0", "4095", "x", "-1", "+1", "020", "1e2", "٢٠", "99999", " 20"])
def test_what_is_no_vlan_id_is_refused(vlan_id):
    with pytest.raises(ValueError) as error:
        spec.sub_interface(f"eth0.{vlan_id}")
    assert str(error.value) == (
        f"parent 'eth0.{vlan_id}' does not exist, and cannot be made: '{vlan_id}' is not a VLAN id (1 to 4094)"
    )


@pytest.mark.parametrize("parent", ["eth0.10.20", "eth0.", ".20", "eth0..20", "a.b.c.d"])
def test_a_sub_interface_has_exactly_one_dot(parent):
    with pytest.raises(ValueError) as error:
        spec.sub_interface(parent)
    assert str(error.value) == (
        f"parent '{parent}' does not exist, and only a sub-interface with exactly one dot (eth0.20) can be made"
    )


def test_host_bits_are_cleared_with_a_warning_that_names_the_item():
    found = network(ipam_config=[{"subnet": "172.16.50.0/22"}])
    assert found.subnets[0].network == ip_network("172.16.48.0/22")
    assert found.warnings == ("name 'web': subnet 172.16.50.0/22 has host bits set; the network is 172.16.48.0/22",)


def test_no_warning_without_host_bits():
    assert network(ipam_config=[{"subnet": "172.16.80.0/24"}]).warnings == ()


@pytest.mark.parametrize(
    ("entry", "gateway"),
    [
        ({}, "192.168.20.1"),
        ({"gateway": "192.168.20.254"}, "192.168.20.254"),
        ({"gateway": "none"}, None),
        ({"subnet": "10.0.0.0/31"}, None),
        ({"subnet": "10.0.0.0/31", "gateway": "10.0.0.0"}, "10.0.0.0"),
        ({"subnet": "10.0.0.1/32"}, None),
        ({"subnet": "10.0.0.1/32", "gateway": "10.9.9.9"}, "10.9.9.9"),
        ({"subnet": "2001:db8::/64"}, "2001:db8::1"),
        ({"subnet": "2001:db8::/64", "gateway": "2001:db8::f"}, "2001:db8::f"),
    ],
)
def test_the_gateway_of_a_subnet(entry, gateway):
    found = network(ipam_config=[{"subnet": "192.168.20.0/24", **entry}])
    assert found.subnets[0].gateway == (None if gateway is None else ip_address(gateway))


def test_a_range_is_normalised_with_a_warning():
    found = network(ipam_config=[{"subnet": "192.168.20.0/24", "ip_range": "192.168.20.100/25"}])
    assert found.subnets[0].ip_range == ip_network("192.168.20.0/25")
    assert found.warnings == ("name 'web': ip_range 192.168.20.100/25 has host bits set; the range is 192.168.20.0/25",)


@pytest.mark.parametrize("word", ["False", "None", "", "router"])
def test_a_gateway_that_should_mean_none_is_refused_with_the_word_for_it(word):
    assert network_refusal(ipam_config=[{"subnet": "192.168.20.0/24", "gateway": word}]) == (
        f"ipam_config[0]: gateway '{word}' is not an IP address; 'none' says that there is none"
    )


def test_only_gateways_that_were_given_count_as_given():
    found = network(ipam_config=[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/24", "gateway": "none"}])
    assert found.given_gateways == ()


CORRECT_GATEWAY = "correct one of them, or set gateway to 'none'"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            {"gateway": "192.168.21.1"},
            f"gateway 192.168.21.1 cannot be used: it is outside 192.168.20.0/24; {CORRECT_GATEWAY}",
        ),
        (
            {"gateway": "192.168.20.0"},
            f"gateway 192.168.20.0 cannot be used: it is the network address of 192.168.20.0/24; {CORRECT_GATEWAY}",
        ),
        (
            {"gateway": "192.168.20.255"},
            f"gateway 192.168.20.255 cannot be used: it is the broadcast address of 192.168.20.0/24; {CORRECT_GATEWAY}",
        ),
        ({"ip_range": "192.168.21.0/25"}, "ip_range 192.168.21.0/25 is not inside subnet 192.168.20.0/24"),
        ({"ip_range": "192.168.0.0/16"}, "ip_range 192.168.0.0/16 is not inside subnet 192.168.20.0/24"),
        ({"ip_range": "2001:db8::/96"}, "ip_range 2001:db8::/96 is not inside subnet 192.168.20.0/24"),
        (
            {"aux_addresses": {"r\n": "x"}},
            "'r\\n' is not a usable name in aux_addresses: 1 to 64 printable characters, one line",
        ),
        (
            {"aux_addresses": {"r": "192.168.21.9"}},
            "aux_addresses: r 192.168.21.9 cannot be used: it is outside 192.168.20.0/24",
        ),
        (
            {"aux_addresses": {"r": "2001:db8::1"}},
            "aux_addresses: r 2001:db8::1 cannot be used: it is outside 192.168.20.0/24",
        ),
        (
            {"aux_addresses": {"r": "192.168.20.0"}},
            "aux_addresses: r 192.168.20.0 cannot be used: it is the network address of 192.168.20.0/24",
        ),
        (
            {"aux_addresses": {"r": "192.168.20.255"}},
            "aux_addresses: r 192.168.20.255 cannot be used: it is the broadcast address of 192.168.20.0/24",
        ),
        ({"aux_addresses": {"r": "192.168.20.1"}}, "aux_addresses: r 192.168.20.1 is the gateway"),
        (
            {"aux_addresses": {"r": "192.168.20.9", "s": "192.168.20.9"}},
            "aux_addresses: s 192.168.20.9 is given twice",
        ),
        (
            {"aux_addresses": {"a\nb": "192.168.20.9"}},
            "'a\\nb' is not a usable name in aux_addresses: 1 to 64 printable characters, one line",
        ),
        ({"subnet": "0.0.0.0/0"}, "subnet '0.0.0.0/0' cannot be used: it covers all addresses"),
        ({"subnet": "192.168.20.0"}, "subnet '192.168.20.0' has no prefix length; write it as 192.168.20.0/24"),
    ],
)
def test_a_bad_subnet_entry_is_refused_with_the_reason(entry, text):
    assert subnet_refusal(**entry) == text


@pytest.mark.parametrize(
    ("entry", "option"),
    [
        ({"gateway": "router"}, "gateway"),
        ({"gateway": "2001:db8::1"}, "gateway"),
        ({"gateway": "fe80::1%eth0"}, "gateway"),
        ({"ip_range": "192.168.20.0"}, "ip_range"),
        ({"ip_range": "x/y"}, "ip_range"),
        ({"aux_addresses": {"r": "router"}}, "aux_addresses"),
    ],
)
def test_what_is_no_address_is_refused_under_the_name_of_its_option(entry, option):
    assert subnet_refusal(**entry).startswith(option)


def test_overlapping_subnets_of_a_network_are_refused():
    entries = [{"subnet": "10.1.0.0/16"}, {"subnet": "2001:db8::/64"}, {"subnet": "10.1.2.0/24"}]
    assert network_refusal(ipam_config=entries) == "ipam_config[2]: subnet 10.1.2.0/24 overlaps 10.1.0.0/16"


def test_an_empty_ipam_config_says_nothing():
    assert network(ipam_config=[]).subnets is None


def test_a_network_needs_a_family():
    assert network_refusal(enable_ipv4=False, enable_ipv6=False) == (
        "enable_ipv4 and enable_ipv6 are both false; an endpoint would have no address"
    )


@pytest.mark.parametrize(("family", "subnet"), [(4, "10.1.0.0/24"), (6, "2001:db8::/64")])
def test_a_subnet_of_a_family_that_is_off_is_refused(family, subnet):
    assert network_refusal(ipam_config=[{"subnet": subnet}], **{f"enable_ipv{family}": False}) == (
        f"ipam_config has an IPv{family} subnet, but enable_ipv{family} is false"
    )


# --- endpoints ------------------------------------------------------------------------------------------------


def test_a_whole_endpoint():
    found = endpoint(
        ipv4_address="192.168.20.10",
        ipv6_address="2001:DB8::10",
        mac_address="02-42-C0-A8-14-0A",
        ifname="lan0",
        default_route=False,
    )
    assert found == spec.EndpointSpec(
        "name 'web1'",
        "vlan20",
        "web1",
        "present",
        Target("netns", "web1"),
        ip_address("192.168.20.10"),
        ip_address("2001:db8::10"),
        "02:42:c0:a8:14:0a",
        "lan0",
        False,
    )
    assert found.key == ("vlan20", "web1")
    assert found.address(4) == ip_address("192.168.20.10")
    assert found.address(6) == ip_address("2001:db8::10")


def test_an_endpoint_needs_a_network():
    assert endpoint_refusal(network=None) == "network is missing: name the network"


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ({"netns": "web-1.x@y+z:0"}, Target("netns", "web-1.x@y+z:0")),
        ({"netns": None, "netns_path": "/proc/1/ns/net"}, Target("netns_path", "/proc/1/ns/net")),
        ({"netns": None, "pid": 4711}, Target("pid", "4711")),
    ],
)
def test_the_target_of_an_endpoint(options, target):
    assert endpoint(**options).target == target


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"netns": None}, "none is given"),
        ({"pid": 1}, "both netns and pid are given"),
        ({"netns_path": "/x", "pid": 1}, "both netns and netns_path and pid are given"),
    ],
)
def test_an_endpoint_has_exactly_one_target(options, found):
    assert endpoint_refusal(**options) == (
        f"exactly one of netns, netns_path, pid, container, host says where the endpoint lives; {found}"
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\n", "-rf", "größe", "a b", "a\0", "n" * 256])
def test_a_bad_namespace_name_is_refused(name):
    assert endpoint_refusal(netns=name).endswith(
        "is not the name of a namespace: letters, digits and _.@+:- (up to 255), starting with a letter, a digit or _;"
        " for a path use netns_path"
    )


@pytest.mark.parametrize("path", ["", "run/netns/a", "./x", "/a\0b", "/a\nb", "/\ud800"])
def test_a_bad_namespace_path_is_refused(path):
    assert endpoint_refusal(netns=None, netns_path=path) == f"netns_path {path!r} is not an absolute path"


@pytest.mark.parametrize("pid", [0, -1, 4194305])
def test_a_pid_that_no_process_has_is_refused(pid):
    assert endpoint_refusal(netns=None, pid=pid) == f"pid {pid} is not a process id"


def test_what_is_very_long_is_not_repeated_whole():
    number = 10**1000
    assert endpoint_refusal(netns=None, pid=number) == f"pid 1{'0' * 76}... is not a process id"
    assert len(endpoint_refusal(netns=None, netns_path="/" + "x" * 10000)) < 200
    with pytest.raises(Refused) as error:
        spec.lock_timeout(number)
    assert str(error.value) == f"lock_timeout 1{'0' * 76}... is not between 0 and 86400 seconds"


def test_a_name_that_is_looked_for():
    assert spec.name_looked_for(None) is None
    assert spec.name_looked_for("web") == "web"
    assert spec.name_looked_for("\ud800") == spec.name_looked_for("a\n") == ""


@pytest.mark.parametrize("ifname", ["eth0", "a" * 15, "lan-0.x", "_x"])
def test_a_good_ifname(ifname):
    assert endpoint(ifname=ifname).ifname == ifname


def test_an_ifname_over_fifteen_characters_is_refused():
    assert endpoint_refusal(ifname="a" * 16) == (
        f"ifname '{'a' * 16}' has 16 characters; the name of a link has at most 15"
    )


@pytest.mark.parametrize("ifname", ["", ".", "..", "a/b", "a b", "a\n", "-rf", "é", "eth%d"])
def test_a_bad_ifname_is_refused(ifname):
    assert endpoint_refusal(ifname=ifname) == (
        f"ifname {ifname!r} is not a name for a link: letters, digits and _.- only"
    )


@pytest.mark.parametrize("ifname", ["lo", "all", "default"])
def test_an_ifname_with_a_meaning_of_its_own_is_refused(ifname):
    assert endpoint_refusal(ifname=ifname) == f"ifname '{ifname}' has a meaning of its own; choose another"


@pytest.mark.parametrize(
    ("mac", "text"),
    [
        ("x", "mac_address 'x' is not a MAC address such as 02:42:c0:a8:14:0a"),
        ("", "mac_address '' is not a MAC address such as 02:42:c0:a8:14:0a"),
        (
            "01:00:5e:00:00:01",
            "mac_address 01:00:5e:00:00:01 is a multicast address; the first octet must be even",
        ),
        (
            "ff:ff:ff:ff:ff:ff",
            "mac_address ff:ff:ff:ff:ff:ff is a multicast address; the first octet must be even",
        ),
        ("00:00:00:00:00:00", "mac_address 00:00:00:00:00:00 is not usable: it is all zeros"),
    ],
)
def test_a_bad_mac_address_is_refused(mac, text):
    assert endpoint_refusal(mac_address=mac) == text


# YAML 1.1 reads groups of two digits below 60 as one number. Of 52:54:00:12:34:56 it makes eleven digits, which could be a MAC
# address as well, and another one; of the last it makes ten.
@pytest.mark.parametrize("mac", ["52:54:00:12:34:56", "20:00:00:00:00:01", "10:00:00:00:00:01"])
def test_a_mac_address_that_yaml_took_for_a_number_is_refused(mac):
    number = yaml.safe_load(mac)
    assert isinstance(number, int)
    assert endpoint_refusal(mac_address=str(number)) == (
        f"mac_address '{number}' is not a MAC address such as 02:42:c0:a8:14:0a; put it in quotes, or YAML takes digits with "
        "colons between them for a number"
    )
    assert endpoint(mac_address=yaml.safe_load(f"'{mac}'")).mac_address == mac
    assert endpoint(mac_address="525400123456").mac_address == "52:54:00:12:34:56"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ipv4_address": "x"}, "ipv4_address 'x' is not an IP address"),
        (
            {"ipv4_address": "192.168.20.9/24"},
            "ipv4_address '192.168.20.9/24' is not an IP address; give it without the prefix length",
        ),
        ({"ipv4_address": "2001:db8::1"}, "ipv4_address '2001:db8::1' is not an IPv4 address"),
        ({"ipv6_address": "192.168.20.9"}, "ipv6_address '192.168.20.9' is not an IPv6 address"),
        (
            {"ipv6_address": "2001:db8::1%eth0"},
            "ipv6_address '2001:db8::1%eth0' has a zone id; give the address without it",
        ),
    ],
)
def test_a_bad_address_of_an_endpoint_is_refused(options, text):
    assert endpoint_refusal(**options) == text


def test_of_an_endpoint_that_goes_only_the_name_matters():
    found = endpoint(state="absent", netns=None)
    assert (found.key, found.state, found.target) == (("vlan20", "web1"), "absent", None)


# --- addresses ------------------------------------------------------------------------------------------------


def test_a_whole_address():
    assert addr(address="192.168.20.50", description="build VM") == spec.AddressSpec(
        "owner 'vm-12'", "vlan20", "vm-12", 4, "present", ip_address("192.168.20.50"), description="build VM"
    )


@pytest.mark.parametrize(
    ("options", "family"),
    [
        ({}, 4),
        ({"family": "ipv6"}, 6),
        ({"address": "2001:db8::5"}, 6),
        ({"address": "2001:db8::5", "family": "ipv6"}, 6),
        ({"address": "10.0.0.5"}, 4),
    ],
)
def test_the_family_follows_from_the_address(options, family):
    assert addr(**options).family == family


def test_an_address_of_the_other_family_is_refused():
    assert refusal(addresses, owner="vm", network="a", family="ipv4", address="2001:db8::5") == (
        "owner 'vm': address 2001:db8::5 is not of the family ipv4"
    )


def test_an_address_that_is_none_is_refused():
    assert refusal(addresses, owner="vm", network="a", address="x") == "owner 'vm': address 'x' is not an IP address"


@pytest.mark.parametrize("owner", ["vm 12", "größe", "../x", "-rf", "o" * 255])
def test_an_owner_is_any_printable_line(owner):
    assert addr(owner=owner).owner == owner


@pytest.mark.parametrize("owner", ["", "a\nb", "a\0b", "a\x1b", "o" * 256])
def test_what_is_no_printable_line_is_no_owner(owner):
    with pytest.raises(ValueError, match="is not a usable owner: 1 to 255 printable characters, one line"):
        spec.address_spec("item", _whole({"owner": owner, "network": "a"}, ADDRESS_OPTIONS))


def test_an_empty_description_is_a_description():
    assert addr(description="").description == ""
    assert addr().description is None


def test_a_description_is_one_line():
    assert "is not a usable description" in refusal(addresses, owner="vm", network="a", description="a\nb")


# --- anything at all ------------------------------------------------------------------------------------------

words = st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["a", "eth0.20", "none", "10.0.0.0/24", "10.0.0.5"]))
states = st.sampled_from([None, "present", "absent"])
flags = st.one_of(st.none(), st.booleans())
entries = st.fixed_dictionaries(
    {
        "subnet": st.one_of(st.text(), st.sampled_from(["10.0.0.0/24", "2001:db8::/64", "10.0.0.0/31"])),
        "gateway": words,
        "ip_range": words,
        "aux_addresses": st.one_of(st.none(), st.dictionaries(st.text(), words, max_size=3)),
    }
)


def _only_errors_in_words(function: Any, params: dict[str, Any]) -> None:
    try:
        function(**params)
    except (ItemError, Refused) as error:
        assert str(error)


@given(
    st.fixed_dictionaries(
        {
            "name": st.one_of(st.text(), st.just("a")),
            "driver": st.sampled_from([None, "ipvlan", "macvlan"]),
            "ipvlan_mode": st.sampled_from([None, "l2", "l3", "l3s"]),
            "macvlan_mode": st.sampled_from([None, "passthru"]),
            "parent": words,
            "internal": flags,
            "enable_ipv4": flags,
            "enable_ipv6": flags,
            "ipam_config": st.one_of(st.none(), st.lists(entries, max_size=3)),
            "mtu": st.one_of(st.none(), st.integers()),
            "labels": st.one_of(st.none(), st.dictionaries(st.text(), st.text(), max_size=2)),
            "force": flags,
            "state": states,
        }
    )
)
def test_any_network_is_a_spec_or_an_error_in_words(params):
    _only_errors_in_words(networks, params)


@given(
    st.fixed_dictionaries(
        {
            "name": st.one_of(st.text(), st.just("a")),
            "network": words,
            "netns": words,
            "netns_path": words,
            "pid": st.one_of(st.none(), st.integers()),
            "ipv4_address": words,
            "ipv6_address": words,
            "mac_address": words,
            "ifname": words,
            "default_route": flags,
            "state": states,
        }
    )
)
def test_any_endpoint_is_a_spec_or_an_error_in_words(params):
    _only_errors_in_words(endpoints, params)


@given(
    st.fixed_dictionaries(
        {
            "owner": st.text(),
            "network": words,
            "address": words,
            "family": st.sampled_from([None, "ipv4", "ipv6"]),
            "description": words,
            "state": states,
        }
    )
)
def test_any_address_is_a_spec_or_an_error_in_words(params):
    _only_errors_in_words(addresses, params)


@given(st.text())
def test_any_parent_is_a_name_or_an_error_in_words(text):
    try:
        assert spec.parent_name(text) == text
        spec.sub_interface(text)
    except ValueError as error:
        assert "parent" in str(error)


@given(st.one_of(st.text(max_size=24), st.from_regex(r"[0-9a-fA-F:.-]{0,24}", fullmatch=True)))
def test_any_mac_address_is_one_in_its_usual_form_or_an_error(text):
    try:
        mac = endpoint(mac_address=text).mac_address
    except Refused:
        return
    octets = bytes.fromhex(mac.replace(":", ""))
    assert mac == octets.hex(":")
    assert len(octets) == 6
    assert octets[0] & 1 == 0


# --- time and settings ----------------------------------------------------------------------------------------

NEW_YEAR = 1798761600  # 2027-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("never", spec.Expiry()),
        ("90s", spec.Expiry(after=90)),
        ("30m", spec.Expiry(after=1800)),
        ("12h", spec.Expiry(after=43200)),
        ("7d", spec.Expiry(after=604800)),
        ("2w", spec.Expiry(after=1209600)),
        ("2027-01-01T00:00:00Z", spec.Expiry(at=NEW_YEAR)),
        ("2027-01-01 00:00:00+00:00", spec.Expiry(at=NEW_YEAR)),  # what YAML makes of it without quotes
        ("2027-01-01T01:00:00+01:00", spec.Expiry(at=NEW_YEAR)),
        ("2027-01-01T00:00:00", spec.Expiry(at=NEW_YEAR)),
        ("2027-01-01", spec.Expiry(at=NEW_YEAR)),
    ],
)
def test_an_end(text, expected):
    assert addr(expires=text).expires == expected


@pytest.mark.parametrize(
    "text", ["", "0d", "1y", "-1d", "1.5h", "d", "soon", "2027-13-01", "2027-01-01T25:00Z", "9" * 10000]
)
def test_a_bad_end_is_refused(text):
    found = refusal(addr, expires=text)
    assert found.startswith("owner 'vm-12': expires '")
    assert found.endswith("is neither a time (2027-01-01T00:00:00Z), a duration (90s, 30m, 12h, 7d, 2w) nor never")
    assert len(found) < 300


def test_an_end_counts_from_the_beginning():
    assert (spec.Expiry().moment(5), spec.Expiry(at=9).moment(5), spec.Expiry(after=9).moment(5)) == (None, 9, 14)


def test_several_addresses_at_once():
    found = addr(address="192.168.20.10-192.168.20.19")
    assert (found.address, found.last) == (ip_address("192.168.20.10"), ip_address("192.168.20.19"))
    found = addr(address="2001:db8::/120", family="ipv6")
    assert (found.family, found.last) == (6, ip_address("2001:db8::ff"))
    text = refusal(addr, address="192.168.20.10-192.168.20.19", family="ipv6")
    assert text == "owner 'vm-12': address 192.168.20.10-192.168.20.19 is not of the family ipv6"


@pytest.mark.parametrize("seconds", [-1, 31536001])
def test_a_cooldown_has_bounds(seconds):
    assert network_refusal(cooldown=seconds) == f"cooldown {seconds} is not between 0 and 31536000 seconds"


def test_an_absent_endpoint_may_keep_its_addresses():
    assert endpoint(state="absent", keep=True).keep and not endpoint(state="absent").keep


def test_the_settings_of_the_host():
    pools = [{"base": "10.200.0.0/16", "size": 24}, {"base": "fd00:db8::/48", "size": 64}]
    assert spec.host_settings({"default_address_pools": pools, "history_days": 7}) == (
        HostSetting("default_address_pools", pools),
        HostSetting("history_days", 7),
    )
    assert spec.host_settings({"default_address_pools": None, "history_days": None}) == ()
    assert spec.host_settings({"default_address_pools": []}) == (HostSetting("default_address_pools", []),)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"history_days": -1}, "history_days -1 is not between 0 and 36500 days"),
        (
            {"default_address_pools": [{"base": "10.200.0.0/16", "size": 8}]},
            "default_address_pools[0]: size 8 is not a prefix length between 16 (the base's) and 30",
        ),
        (
            {"default_address_pools": [{"base": "10.0.0.0/8", "size": 24}, {"base": "10.1.0.0/16", "size": 24}]},
            "default_address_pools[1]: base 10.1.0.0/16 overlaps 10.0.0.0/8",
        ),
    ],
)
def test_bad_settings_are_refused(params, text):
    with pytest.raises(Refused) as error:
        spec.host_settings(params)
    assert str(error.value) == text


def test_the_address_that_is_looked_for():
    assert spec.lone_address("10.0.0.1") == ip_address("10.0.0.1")
    with pytest.raises(Refused, match="address: 'x' is not an IP address"):
        spec.lone_address("x")


# --- names, settings, containers, the host ------------------------------------------------------------------------


def endpoint_of(**options):
    given = {"name": "web1", "network": "vlan20", "netns": "web1", "state": None, **options}
    return spec.endpoint_spec("name 'web1'", given)


def wrong_endpoint(**options):
    with pytest.raises(ValueError) as error:
        endpoint_of(**options)
    return str(error.value)


def test_a_container_and_the_host_are_targets():
    assert endpoint_of(netns=None, container="app").target == Target("container", "app", "auto")
    found = endpoint_of(netns=None, container="app", container_engine="podman")
    assert found.target == Target("container", "app", "podman")
    assert endpoint_of(netns=None, host=True).target == Target("host", "")
    assert endpoint_of(host=False).target == Target("netns", "web1")
    assert "both netns and host are given" in wrong_endpoint(host=True)
    assert "container_engine has a meaning with container only" in wrong_endpoint(container_engine="docker")


@pytest.mark.parametrize("name", ["", "-rf", "../x", "a b", "a\nb", "ä", "/x", "x" * 256])
def test_what_is_no_container(name):
    assert "is not the name of a container" in wrong_endpoint(netns=None, container=name)


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "ip6-localhost"])
def test_the_names_of_the_machine_itself_are_taken(name):
    assert "means the machine itself" in wrong_endpoint(name=name)
    assert "means the machine itself" in wrong_endpoint(aliases=[name])


@pytest.mark.parametrize("alias", ["a b", "a\tb", "a\n127.0.0.1 localhost", "#x", "", "-x", "ä", "x" * 65])
def test_what_is_no_alias(alias):
    assert "is not a name for aliases" in wrong_endpoint(aliases=[alias])


def test_aliases_are_each_kept_once_and_never_the_name():
    assert endpoint_of(aliases=["www", "web1", "www", "shop"]).aliases == ("www", "shop")
    assert endpoint_of().aliases is None
    assert "aliases has 65 names" in wrong_endpoint(aliases=[f"a{n}" for n in range(65)])


def test_settings_of_the_link():
    found = endpoint_of(sysctls={"net.ipv4.conf.IFNAME.rp_filter": 2, "net.ipv6.conf.IFNAME.use_tempaddr": "-1"})
    assert found.sysctls == {"net.ipv4.conf.IFNAME.rp_filter": "2", "net.ipv6.conf.IFNAME.use_tempaddr": "-1"}
    assert endpoint_of(sysctls={"net.ipv4.neigh.IFNAME.gc_stale_time": True}).sysctls == {
        "net.ipv4.neigh.IFNAME.gc_stale_time": "1"
    }


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("net.ipv4.ip_forward", 1, "not a setting of this endpoint's link"),
        ("net.ipv4.conf.eth0.rp_filter", 1, "not a setting of this endpoint's link"),
        ("net.ipv4.conf.IFNAME./../x", 1, "not a setting of this endpoint's link"),
        ("kernel.IFNAME.x", 1, "not a setting of this endpoint's link"),
        ("net.ipv6.conf.IFNAME.disable_ipv6", 1, "enable_ipv6 of the network"),
        ("net.ipv4.conf.IFNAME.rp_filter", "2\n", "must be a whole number"),
        ("net.ipv4.conf.IFNAME.rp_filter", "many", "must be a whole number"),
    ],
)
def test_what_is_no_setting_of_the_link(key, value, words):
    assert words in wrong_endpoint(sysctls={key: value})


@pytest.mark.parametrize("option", ["ipv4_address", "mac_address", "ifname", "aliases"])
def test_the_network_none_takes_nothing_of_a_link(option):
    assert f"{option} has no meaning on network 'none'" in wrong_endpoint(network="none", **{option: ["x"]})


def test_the_host_is_not_on_none():
    assert "contradict each other" in wrong_endpoint(network="none", netns=None, host=True)


# --- announcing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, None),
        ({"count": 3, "interval_ms": 1000}, Announcing(3, 1000)),
        ({"count": 0, "interval_ms": 10}, Announcing(0, 10)),
        ({"count": "5"}, Announcing(5, 1000)),
        ({"interval_ms": 50}, Announcing(3, 50)),
        ({}, Announcing()),
    ],
)
def test_how_often_neighbours_are_told(given, found):
    assert network(announce=given).announce == found


@pytest.mark.parametrize("count", [-1, 11])
def test_neighbours_are_told_a_few_times_only(count):
    words = network_refusal(announce={"count": count, "interval_ms": 1000})
    assert words == f"announce: count {count} is not between 0 and 10 times"


@pytest.mark.parametrize("interval", [9, 6001])
def test_neighbours_are_told_within_a_minute(interval):
    words = network_refusal(announce={"count": 3, "interval_ms": interval})
    assert words == f"announce: interval_ms {interval} is not between 10 and 6000 milliseconds"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"times": 3}, "announce: 'times' is not known; there are count and interval_ms"),
        ({"count": "many"}, "announce: count 'many' is not a whole number"),
        ({"count": True}, "announce: count 'True' is not a whole number"),
    ],
)
def test_how_often_is_said_in_numbers(given, words):
    assert network_refusal(announce=given) == words
