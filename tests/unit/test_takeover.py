# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Docker and CNI wrote becomes items that our modules take, nothing gets lost without a word, and bad input is named."""

from __future__ import annotations

import copy
import ipaddress
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.filter.from_cni_host_local import from_cni_host_local
from ansible_collections.netops.underlay.plugins.filter.from_docker_network_inspect import (
    from_docker_network_inspect,
)
from ansible_collections.netops.underlay.plugins.module_utils import spec
from hypothesis import given
from hypothesis import strategies as st

REPOSITORY = Path(__file__).resolve().parents[2]
FILTERS = REPOSITORY / "plugins" / "filter"
NOTHING: dict[str, list[Any]] = {"networks": [], "endpoints": [], "addresses": [], "warnings": []}


def check_items(result: dict[str, list[Any]]) -> None:
    """The rules of our modules take every item."""
    for network in result["networks"]:
        spec.network_spec("", defaultdict(lambda: None, network, state="present"))
    for endpoint in result["endpoints"]:
        options = {**endpoint, "netns": endpoint.get("netns", "any"), "state": "present"}
        spec.endpoint_spec("", defaultdict(lambda: None, options))
    for address in result["addresses"]:
        spec.address_spec("", defaultdict(lambda: None, address, state="present"))


# --- Docker: good input ---------------------------------------------------------------------------------------

WEB1 = "5c1d0b1e7f1a4b0f93d38f3d8f2f7b6b2f2c59cf3a8f5e7c44a3c7b4e1b9a001"
WEB2 = "8a1f9b6c2d3e4f5061728394a5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e"
MACVLAN_ID = "2f6a1c0b3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
IPVLAN_ID = "9b8a7c6d5e4f30211203f4e5d6c7b8a90f1e2d3c4b5a69788796a5b4c3d2e1f0"

# Docker 20.10, made by docker-compose 1 (which sets Attachable).
DOCKER_20: dict[str, Any] = {
    "Name": "macvlan20",
    "Id": MACVLAN_ID,
    "Created": "2021-06-02T09:12:44.021843712Z",
    "Scope": "local",
    "Driver": "macvlan",
    "EnableIPv6": False,
    "IPAM": {
        "Driver": "default",
        "Options": None,
        "Config": [
            {
                "Subnet": "192.168.20.0/24",
                "IPRange": "192.168.20.128/25",
                "Gateway": "192.168.20.254/24",
                "AuxiliaryAddresses": {"my-router": "192.168.20.129"},
            }
        ],
    },
    "Internal": False,
    "Attachable": False,
    "Ingress": False,
    "ConfigFrom": {"Network": ""},
    "ConfigOnly": False,
    "Containers": {
        WEB2: {
            "Name": "web2",
            "EndpointID": "e2",
            "MacAddress": "02:42:c0:a8:14:83",
            "IPv4Address": "192.168.20.131/24",
            "IPv6Address": "",
        },
        WEB1: {
            "Name": "web1",
            "EndpointID": "e1",
            "MacAddress": "02:42:c0:a8:14:82",
            "IPv4Address": "192.168.20.130/24",
            "IPv6Address": "",
        },
    },
    "Options": {"parent": "eth0.20", "macvlan_mode": "bridge", "com.docker.network.driver.mtu": "1400"},
    "Labels": {"com.example.team": "web"},
}

# Docker 28 and 29: EnableIPv4, no gateway in l3, Status with counters.
DOCKER_29: dict[str, Any] = {
    "Name": "ipvlan30",
    "Id": IPVLAN_ID,
    "Created": "2025-11-12T08:30:00.5Z",
    "Scope": "local",
    "Driver": "ipvlan",
    "EnableIPv4": True,
    "EnableIPv6": True,
    "IPAM": {
        "Driver": "default",
        "Options": {},
        "Config": [
            {"Subnet": "192.168.30.0/24", "Gateway": "192.168.30.254"},
            {"Subnet": "2001:db8:30::/64"},
        ],
    },
    "Internal": False,
    "Attachable": False,
    "Ingress": False,
    "ConfigFrom": {"Network": ""},
    "ConfigOnly": False,
    "Options": {"parent": "eth0.30", "ipvlan_mode": "l3s", "ipvlan_flag": "private"},
    "Labels": {},
    "Containers": {
        WEB1: {
            "Name": "web1",
            "EndpointID": "e3",
            "MacAddress": "",
            "IPv4Address": "192.168.30.2/24",
            "IPv6Address": "2001:db8:30::2/64",
        },
    },
    "Status": {"IPAM": {"Subnets": {"192.168.30.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 252}}}},
}


def docker(base: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A network of Docker with other keys; a dotted path in ``changes`` goes down (``IPAM__Config``)."""
    entry = copy.deepcopy(base or DOCKER_20)
    for path, value in changes.items():
        *above, last = path.split("__")
        place = entry
        for key in above:
            place = place[key]
        place[last] = value
    return entry


def test_a_macvlan_network_of_docker_20():
    result = from_docker_network_inspect([DOCKER_20])
    check_items(result)
    assert result == {
        "networks": [
            {
                "name": "macvlan20",
                "driver": "macvlan",
                "parent": "eth0.20",
                "macvlan_mode": "bridge",
                "mtu": 1400,
                "internal": False,
                "enable_ipv6": False,
                "ipam_config": [
                    {
                        "subnet": "192.168.20.0/24",
                        "gateway": "192.168.20.254",
                        "ip_range": "192.168.20.128/25",
                        "aux_addresses": {"my-router": "192.168.20.129"},
                    }
                ],
                "labels": {"com.example.team": "web"},
            }
        ],
        "endpoints": [
            {
                "name": "web1",
                "network": "macvlan20",
                "ipv4_address": "192.168.20.130",
                "mac_address": "02:42:c0:a8:14:82",
            },
            {
                "name": "web2",
                "network": "macvlan20",
                "ipv4_address": "192.168.20.131",
                "mac_address": "02:42:c0:a8:14:83",
            },
        ],
        "addresses": [
            {
                "network": "macvlan20",
                "owner": "web1",
                "address": "192.168.20.130",
                "description": "from docker network macvlan20",
            },
            {
                "network": "macvlan20",
                "owner": "web2",
                "address": "192.168.20.131",
                "description": "from docker network macvlan20",
            },
        ],
        "warnings": [],
    }


def test_an_ipvlan_network_of_docker_29_in_l3s_has_no_gateway_and_no_mac_addresses():
    result = from_docker_network_inspect([DOCKER_29])
    check_items(result)
    assert result["networks"] == [
        {
            "name": "ipvlan30",
            "driver": "ipvlan",
            "parent": "eth0.30",
            "ipvlan_mode": "l3s",
            "ipvlan_flag": "private",
            "internal": False,
            "enable_ipv4": True,
            "enable_ipv6": True,
            "ipam_config": [{"subnet": "192.168.30.0/24"}, {"subnet": "2001:db8:30::/64"}],
        }
    ]
    assert result["endpoints"] == [
        {
            "name": "web1",
            "network": "ipvlan30",
            "ipv4_address": "192.168.30.2",
            "ipv6_address": "2001:db8:30::2",
        }
    ]
    assert [row["address"] for row in result["addresses"]] == ["192.168.30.2", "2001:db8:30::2"]
    assert {row["owner"] for row in result["addresses"]} == {"web1"}
    assert result["warnings"] == []


def test_the_text_gives_what_the_list_gives():
    both = [DOCKER_20, DOCKER_29]
    assert from_docker_network_inspect(json.dumps(both, indent=4)) == from_docker_network_inspect(both)


def test_the_input_is_not_changed():
    before = copy.deepcopy(DOCKER_29)
    from_docker_network_inspect([DOCKER_29], target="netns")
    assert before == DOCKER_29


@pytest.mark.parametrize("empty", [[], "[]", "[]\n"])
def test_no_networks_give_nothing(empty):
    assert from_docker_network_inspect(empty) == NOTHING


@pytest.mark.parametrize("target", ["netns", "container"])
def test_the_target_has_the_name_of_the_container(target):
    endpoints = from_docker_network_inspect([DOCKER_20], target=target)["endpoints"]
    assert [endpoint[target] for endpoint in endpoints] == ["web1", "web2"]


@pytest.mark.parametrize("parent", [None, "", f"dm-{MACVLAN_ID[:12]}", f"di-{MACVLAN_ID[:12]}"])
def test_the_dummy_parent_of_docker_is_none(parent):
    options = {} if parent is None else {"parent": parent}
    [network] = from_docker_network_inspect([docker(Options=options)])["networks"]
    assert "parent" not in network


def test_a_parent_that_only_looks_like_a_dummy_is_kept():
    [network] = from_docker_network_inspect([docker(Options={"parent": "dm-0123456789ab"})])["networks"]
    assert network["parent"] == "dm-0123456789ab"


@pytest.mark.parametrize("missing", [{"Options": None}, {"Labels": None}, {"Containers": None}, {"Containers": {}}])
def test_null_is_empty(missing):
    result = from_docker_network_inspect([docker(**missing)])
    check_items(result)
    assert result["warnings"] == []


@pytest.mark.parametrize("config", [None, []])
def test_without_subnets_the_network_gets_one_of_ours(config):
    [network] = from_docker_network_inspect([docker(IPAM__Config=config, Containers={})])["networks"]
    assert "ipam_config" not in network


def test_a_gateway_that_docker_did_not_name_is_left_out():
    result = from_docker_network_inspect([docker(IPAM__Config=[{"Subnet": "192.168.20.0/24"}])])
    assert result["networks"][0]["ipam_config"] == [{"subnet": "192.168.20.0/24"}]
    assert result["warnings"] == []


def test_the_first_address_is_no_gateway_where_a_container_has_it():
    """Newer versions of Docker give it away in l3, l3s and internal networks."""
    entry = docker(DOCKER_29)
    entry["Containers"][WEB1]["IPv4Address"] = "192.168.30.1/24"
    result = from_docker_network_inspect([entry])
    assert result["networks"][0]["ipam_config"] == [
        {"subnet": "192.168.30.0/24", "gateway": "none"},
        {"subnet": "2001:db8:30::/64"},
    ]
    assert result["warnings"] == [
        "network 'ipvlan30': 'web1' has 192.168.30.1, which would be the gateway of 192.168.30.0/24 if none is named; "
        "so this subnet gets no gateway"
    ]


def test_passthru_has_no_mac_address_of_its_own():
    result = from_docker_network_inspect([docker(Options={"parent": "eth1", "macvlan_mode": "passthru"})])
    assert not any("mac_address" in endpoint for endpoint in result["endpoints"])


def test_an_endpoint_without_a_container_keeps_its_address_only():
    entry = docker()
    entry["Containers"] = {"ep-0a1b2c": entry["Containers"][WEB1]}
    result = from_docker_network_inspect([entry])
    assert result["endpoints"] == []
    assert [row["address"] for row in result["addresses"]] == ["192.168.20.130"]
    assert result["warnings"] == [
        "network 'macvlan20': 'web1' has an address but no container any more; it gets no endpoint"
    ]


# --- Docker: what is not taken over ---------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["bridge", "host", "null", "overlay", "macvlan:latest"])
def test_another_driver_is_left_out_with_a_warning(driver):
    assert from_docker_network_inspect([docker(Name="other", Driver=driver)]) == {
        **NOTHING,
        "warnings": [f"network 'other': its driver is '{driver}', and only ipvlan and macvlan are taken over"],
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Options__ipvlan_mode": "l3"}, "option ipvlan_mode ('l3')"),
        (
            {"Options": {"com.docker.network.container_iface_prefix": "lan"}},
            "option com.docker.network.container_iface_prefix ('lan')",
        ),
        ({"IPAM__Driver": "null"}, "IPAM.Driver is 'null'"),
        ({"IPAM__Options": {"foo": "bar"}}, "IPAM.Options: foo ('bar')"),
        ({"IPAM__Later": 1}, "IPAM.Later ('1')"),
        ({"IPAM__Config": [{"Subnet": "192.168.20.0/24", "NetworkID": "x"}]}, "IPAM.Config[0].NetworkID ('x')"),
        ({"Attachable": True}, "Attachable ('True')"),
        ({"Ingress": True}, "Ingress ('True')"),
        ({"ConfigFrom": {"Network": "cfg"}}, "ConfigFrom: it was made from the configuration 'cfg'"),
        ({"Services": {"web": {}}}, "Services ("),
        ({"SomethingNew": ["x"]}, "SomethingNew (\"['x']\")"),
    ],
)
def test_what_is_not_understood_is_named(changes, words):
    [warning] = from_docker_network_inspect([docker(**changes)])["warnings"]
    assert warning.startswith(f"network 'macvlan20': {words}")


def test_a_key_of_a_container_that_is_not_understood_is_named():
    entry = docker()
    entry["Containers"][WEB1]["IPv4Addresses"] = ["192.168.20.140"]
    [warning] = from_docker_network_inspect([entry])["warnings"]
    assert warning.startswith("network 'macvlan20': container web1: IPv4Addresses (")


def test_an_ipv6_subnet_without_ipv6_is_left_out_with_a_warning():
    config = [{"Subnet": "192.168.20.0/24"}, {"Subnet": "2001:db8::/64"}]
    result = from_docker_network_inspect([docker(IPAM__Config=config)])
    check_items(result)
    assert result["networks"][0]["ipam_config"] == [{"subnet": "192.168.20.0/24"}]
    assert result["warnings"] == ["network 'macvlan20': subnet 2001:db8::/64 is left out: IPv6 is not enabled"]


def test_the_second_of_two_networks_with_one_name_is_left_out():
    """Old versions of Docker allow it."""
    other = docker(IPAM__Config=[{"Subnet": "192.168.99.0/24"}])
    result = from_docker_network_inspect([DOCKER_20, other])
    assert len(result["networks"]) == 1
    assert len(result["addresses"]) == 2
    [warning] = result["warnings"]
    assert "item [1] (macvlan20) has the name of item [0] (macvlan20)" in warning


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"Name": "with blank"},
            "network 'with blank': vlan_network will refuse it: 'with blank' is not a network name",
        ),
        ({"Name": "none"}, "vlan_network will refuse it: the network name 'none' is taken"),
        ({"Options__parent": "lo0:1"}, "vlan_network will refuse it: parent 'lo0:1' is not the name of a link"),
        ({"Options__com.docker.network.driver.mtu": "20"}, "vlan_network will refuse it: mtu 20"),
        ({"IPAM__Config": [{"Subnet": "0.0.0.0/0"}]}, "it covers all addresses. It is left as it is"),
    ],
)
def test_what_our_modules_refuse_is_said_once_and_left_as_it_is(changes, words):
    entry = docker(**changes)
    result = from_docker_network_inspect([entry])
    [warning] = result["warnings"]
    assert words in warning
    assert result["networks"][0]["name"] == entry["Name"]
    assert {row["network"] for row in result["addresses"]} == {entry["Name"]}


def test_a_container_name_that_is_too_long_for_an_endpoint():
    entry = docker()
    entry["Containers"][WEB1]["Name"] = "w" * 70
    result = from_docker_network_inspect([entry], target="netns")
    [warning] = result["warnings"]
    assert warning.startswith("network 'macvlan20': vlan_endpoint will refuse an endpoint: 'wwww")
    assert "w" * 70 in {endpoint["name"] for endpoint in result["endpoints"]}
    assert "w" * 70 in {row["owner"] for row in result["addresses"]}


# --- Docker: bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "the input is no JSON"),
        ("Error: No such network: x", "give what `docker network inspect NAME` prints on its standard output"),
        (DOCKER_20, "the input has to be the list that `docker network inspect NAME` prints, as a whole"),
        (json.dumps(DOCKER_20), "the input has to be the list"),
        (None, "it is 'None'"),
        (["macvlan20"], "item [0] has to be a dictionary; it is 'macvlan20'"),
        ([{"Name": "x", "Driver": "macvlan", "ID": "1"}], "item [0] has no 'IPAM'"),
        ([{"name": "podman", "driver": "macvlan", "subnets": []}], "item [0] has no 'Name'"),
        ([docker(Name=None)], "item [0]: Name is missing"),
        ([docker(Driver=["macvlan"])], "item [0] (macvlan20): Driver has to be text"),
        ([docker(Options=["parent=eth0"])], "item [0] (macvlan20): Options has to be a dictionary"),
        ([docker(Options__parent=5)], "item [0] (macvlan20): Options.parent has to be text; it is '5'"),
        ([docker(Options__macvlan_mode="fast")], "Options: 'fast' is not one of bridge, vepa, passthru, private"),
        ([docker(**{"Options__com.docker.network.driver.mtu": "big"})], "driver.mtu has to be a number; it is 'big'"),
        ([docker(IPAM="default")], "item [0] (macvlan20): IPAM has to be a dictionary"),
        ([docker(IPAM__Config={"Subnet": "10.0.0.0/8"})], "IPAM.Config has to be a list"),
        ([docker(IPAM__Config=[{}])], "item [0] (macvlan20): IPAM.Config[0].Subnet is missing"),
        ([docker(IPAM__Config=[{"Subnet": "10.0.0.0/99"}])], "IPAM.Config[0].Subnet '10.0.0.0/99' is not a subnet"),
        (
            [docker(IPAM__Config=[{"Subnet": "192.168.20.0/24", "Gateway": "192.168.20"}])],
            "IPAM.Config[0].Gateway '192.168.20' is not an IP address",
        ),
        (
            [docker(IPAM__Config=[{"Subnet": "192.168.20.0/24", "AuxiliaryAddresses": {"r": "x"}}])],
            "IPAM.Config[0].AuxiliaryAddresses: r 'x' is not an IP address",
        ),
        ([DOCKER_29, docker(Containers={WEB1: {}})], f"item [1] (macvlan20): Containers: {WEB1[:12]}: Name is missing"),
        (
            [docker(Containers={WEB1: {"Name": "web1", "IPv4Address": "dhcp"}})],
            f"Containers: {WEB1[:12]}: IPv4Address 'dhcp' is not an IP address",
        ),
    ],
)
def test_bad_output_of_docker_is_named(value, words):
    with pytest.raises(AnsibleFilterError) as failure:
        from_docker_network_inspect(value)
    assert words in str(failure.value)
    assert str(failure.value).startswith("netops.underlay.from_docker_network_inspect: ")


def test_a_target_that_does_not_exist():
    with pytest.raises(AnsibleFilterError, match="target 'pid' is not one of netns, container"):
        from_docker_network_inspect([], target="pid")


# --- CNI: allocations -----------------------------------------------------------------------------------------

PLACE = "/var/lib/cni/networks"
ID1, ID2 = "6b2f0c1d9e8a", "abc1"
# What grep prints of the files of host-local 1.1.1, as Ansible splits it into lines, and with the \r that is in the files.
ALLOCATED = [
    f"{PLACE}/vlan20/2001:db8::2:{ID2}\r",
    f"{PLACE}/vlan20/2001:db8::2:eth0",
    f"{PLACE}/vlan20/192.168.20.3:{ID2}",
    f"{PLACE}/vlan20/192.168.20.3:eth0",
    f"{PLACE}/vlan20/last_reserved_ip.1:2001:db8::2",
    f"{PLACE}/vlan20/last_reserved_ip.0:192.168.20.10",
    f"{PLACE}/vlan20/last_reserved_ip:192.168.20.10",
    f"{PLACE}/vlan20/lock:",
    f"{PLACE}/vlan20/192.168.20.10:{ID1}\r",
    f"{PLACE}/vlan20/192.168.20.10:net1",
]


def rows(result: dict[str, list[Any]]) -> list[tuple[str, str, str]]:
    return [(row["network"], row["address"], row["owner"]) for row in result["addresses"]]


def test_allocations_of_both_families_in_the_order_of_addresses():
    result = from_cni_host_local(ALLOCATED)
    check_items(result)
    assert rows(result) == [
        ("vlan20", "192.168.20.3", f"{ID2}/eth0"),
        ("vlan20", "192.168.20.10", f"{ID1}/net1"),
        ("vlan20", "2001:db8::2", f"{ID2}/eth0"),
    ]
    assert {row["description"] for row in result["addresses"]} == {"from CNI host-local"}
    assert result == {**NOTHING, "addresses": result["addresses"]}


def test_no_lines_give_nothing():
    assert from_cni_host_local([]) == NOTHING
    assert from_cni_host_local([], configs=[]) == NOTHING


def test_an_old_version_kept_no_interface():
    assert rows(from_cni_host_local([f"{PLACE}/vlan20/192.168.20.3:{ID1}"])) == [("vlan20", "192.168.20.3", ID1)]


@pytest.mark.parametrize(
    ("line", "address", "owner"),
    [
        # An id may look like a further group of the address.
        (f"{PLACE}/v/2001:db8::2:abc1", "2001:db8::2", "abc1"),
        (f"{PLACE}/v/2001:db8:1:2:3:4:5:6:abc1", "2001:db8:1:2:3:4:5:6", "abc1"),
        (f"{PLACE}/v/fd00:::abc1", "fd00::", "abc1"),
        (f"{PLACE}/v/2001_db8__2:abc1", "2001:db8::2", "abc1"),
        ("/srv/a:b/10.0.0.1:x/v/10.0.0.2:abc1", "10.0.0.2", "abc1"),
        ("v/10.0.0.2:abc1", "10.0.0.2", "abc1"),
        ("./v/10.0.0.2:a.b_c-d", "10.0.0.2", "a.b_c-d"),
    ],
)
def test_a_line_is_split_behind_the_address(line, address, owner):
    assert rows(from_cni_host_local([line])) == [("v", address, owner)]


def test_no_address_is_lost_where_an_owner_has_several_of_one_family():
    lines = [
        f"{PLACE}/v/{address}:{word}" for address in ("10.0.0.10", "10.0.0.9", "fd00::9") for word in (ID1, "eth0")
    ]
    lines += [f"{PLACE}/w/10.1.0.9:{ID1}", f"{PLACE}/w/10.1.0.9:eth0"]
    assert rows(from_cni_host_local(lines)) == [
        ("v", "10.0.0.9", f"{ID1}/eth0"),
        ("v", "10.0.0.10", f"{ID1}/eth0#2"),
        ("v", "fd00::9", f"{ID1}/eth0"),
        ("w", "10.1.0.9", f"{ID1}/eth0"),
    ]


words = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=20).filter(
    lambda text: text[0].isalnum()
)


@given(
    st.dictionaries(
        st.tuples(words, st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))),
        st.tuples(words, st.none() | words),
        max_size=20,
    ),
    st.randoms(),
)
def test_every_allocation_is_found_with_its_owner(kept, random):
    files = [
        [f"{PLACE}/{network}/{address}:{word}" for word in (owner, ifname) if word is not None]
        for (network, address), (owner, ifname) in kept.items()
    ]
    random.shuffle(files)
    result = from_cni_host_local([line for file in files for line in file])
    found = {(row["network"], ipaddress.ip_address(row["address"])): row["owner"] for row in result["addresses"]}
    assert set(found) == set(kept)
    for place, (owner, ifname) in kept.items():
        assert found[place].partition("#")[0] == (owner if ifname is None else f"{owner}/{ifname}")
    keys = [(row["network"], row["owner"], ":" in row["address"]) for row in result["addresses"]]
    assert len(keys) == len(set(keys)), "an owner holds one address of each family"
    assert not any("is left out" in warning for warning in result["warnings"])


def test_a_file_that_is_no_address_is_named_once():
    result = from_cni_host_local([f"{PLACE}/v/README:one", f"{PLACE}/v/README:two: three"])
    assert result == {
        **NOTHING,
        "warnings": [f"network 'v': file {PLACE}/v/README is left out: its name is no address"],
    }


def test_a_file_without_an_id_is_named():
    result = from_cni_host_local([f"{PLACE}/v/10.0.0.2:"])
    assert result == {
        **NOTHING,
        "warnings": [f"network 'v': file {PLACE}/v/10.0.0.2 names no container; its address is left out"],
    }


def test_the_same_address_in_two_directories_is_named():
    result = from_cni_host_local([f"/a/v/10.0.0.2:{ID1}", f"/b/v/10.0.0.2:{ID2}"])
    assert rows(result) == [("v", "10.0.0.2", ID1)]
    assert result["warnings"] == ["network 'v': file /b/v/10.0.0.2 is left out: the same address was read from /a/v"]


def test_names_that_our_modules_refuse_are_said_and_kept():
    long = "x" * 300
    result = from_cni_host_local(
        [f"{PLACE}/a b/10.0.0.2:{ID1}", f"{PLACE}/a b/10.0.0.3:{ID1}", f"{PLACE}/v/10.0.0.2:{long}"]
    )
    assert [row["owner"] for row in result["addresses"]] == [ID1, f"{ID1}#2", long]
    network, owner = result["warnings"]
    assert network.startswith("network 'a b': vlan_network will refuse it: 'a b' is not a network name")
    assert owner.startswith("network 'v': vlan_ipam will refuse 10.0.0.2: 'xxx")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("\n".join(ALLOCATED), "the input has to be a list, the lines (stdout_lines) of `grep -rH"),
        (None, "the input has to be a list"),
        ([None], "line [0] 'None' is not DIRECTORY/NETWORK/ADDRESS:CONTENT"),
        ([*ALLOCATED, "10.0.0.2:abc1"], "line [10] '10.0.0.2:abc1' is not DIRECTORY/NETWORK/ADDRESS:CONTENT"),
        (["./10.0.0.2:abc1"], "line [0] './10.0.0.2:abc1' is not"),
        (["/10.0.0.2:abc1"], "line [0] '/10.0.0.2:abc1' is not"),
        ([f"{PLACE}/v/10.0.0.2"], "give the lines that `grep -rH '' /var/lib/cni/networks` prints"),
        ([f"{PLACE}/v/10.0.0.2:{ID1}"] * 3, f"file {PLACE}/v/10.0.0.2 has 3 lines; host-local writes two"),
    ],
)
def test_bad_lines_are_named(lines, words):
    with pytest.raises(AnsibleFilterError) as failure:
        from_cni_host_local(lines)
    assert words in str(failure.value)
    assert str(failure.value).startswith("netops.underlay.from_cni_host_local: ")


# --- CNI: configurations --------------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "cniVersion": "0.3.1",
    "name": "vlan20",
    "type": "macvlan",
    "master": "eth0.20",
    "mode": "bridge",
    "mtu": 1400,
    "ipam": {
        "type": "host-local",
        "ranges": [
            [{"subnet": "192.168.20.0/24", "rangeStart": "192.168.20.128", "rangeEnd": "192.168.20.191"}],
            [{"subnet": "2001:db8::/64", "gateway": "2001:db8::ff"}],
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "2001:db8::ff"}],
    },
}


def cni(**changes: Any) -> dict[str, Any]:
    return docker(CONFIG, **changes)


def one(**subnet: Any) -> dict[str, Any]:
    """A configuration with one range."""
    return cni(ipam={"type": "host-local", "ranges": [[{"subnet": "192.168.20.0/24", **subnet}]]})


def taken(*configs: Any) -> dict[str, list[Any]]:
    return from_cni_host_local([], configs=list(configs))


def test_a_single_configuration():
    result = taken(CONFIG)
    check_items(result)
    assert result["warnings"] == []
    assert result["networks"] == [
        {
            "name": "vlan20",
            "driver": "macvlan",
            "parent": "eth0.20",
            "macvlan_mode": "bridge",
            "mtu": 1400,
            "ipam_config": [
                {"subnet": "192.168.20.0/24", "ip_range": "192.168.20.128/26"},
                {"subnet": "2001:db8::/64", "gateway": "2001:db8::ff"},
            ],
        }
    ]


def test_a_list_names_the_plugins_that_are_left_out():
    plugin = {key: value for key, value in CONFIG.items() if key not in ("name", "cniVersion")}
    plugins = [plugin, {"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}, {"type": "portmap"}]
    result = taken({"cniVersion": "1.0.0", "disableCheck": True, "name": "vlan20", "plugins": plugins})
    assert result["networks"] == taken(CONFIG)["networks"]
    assert result["warnings"] == [
        "network 'vlan20': what the plugin 'tuning' does is not taken over",
        "network 'vlan20': what the plugin 'portmap' does is not taken over",
    ]


def test_the_old_form_of_a_range_and_a_routed_mode_without_gateway():
    result = taken(
        {
            "name": "old",
            "type": "ipvlan",
            "master": "eth0",
            "mode": "l3",
            "ipam": {
                "type": "host-local",
                "subnet": "10.1.2.0/24",
                "rangeStart": "10.1.2.64",
                "rangeEnd": "10.1.2.127",
                "gateway": "10.1.2.254",
            },
        }
    )
    check_items(result)
    assert result["warnings"] == []
    assert result["networks"] == [
        {
            "name": "old",
            "driver": "ipvlan",
            "parent": "eth0",
            "ipvlan_mode": "l3",
            "ipam_config": [{"subnet": "10.1.2.0/24", "ip_range": "10.1.2.64/26"}],
        }
    ]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, None),
        ("192.168.20.1", "192.168.20.254", None),
        ("192.168.20.0", "192.168.20.255", None),
        ("192.168.20.1", "192.168.20.127", "192.168.20.0/25"),
        ("192.168.20.128", None, "192.168.20.128/25"),
        ("192.168.20.128", "192.168.20.254", "192.168.20.128/25"),
        ("192.168.20.16", "192.168.20.31", "192.168.20.16/28"),
        ("192.168.20.77", "192.168.20.77", "192.168.20.77/32"),
    ],
)
def test_a_range_that_is_a_block(start, end, expected):
    given_ends = {key: value for key, value in (("rangeStart", start), ("rangeEnd", end)) if value}
    result = taken(one(**given_ends))
    check_items(result)
    assert result["warnings"] == []
    assert result["networks"][0]["ipam_config"][0].get("ip_range") == expected


@given(st.integers(0, 255), st.integers(0, 255))
def test_a_range_becomes_what_gives_out_the_same_addresses_or_is_named(one_end, other_end):
    start, end = sorted((one_end, other_end))
    result = taken(one(rangeStart=f"192.168.20.{start}", rangeEnd=f"192.168.20.{end}"))
    [entry] = result["networks"][0]["ipam_config"]
    [subnet] = spec.network_spec("", defaultdict(lambda: None, result["networks"][0], state="present")).subnets
    ours = tuple(number & 0xFF for number in subnet.bounds())
    if result["warnings"]:
        assert "ip_range" not in entry
        assert (
            f"the range 192.168.20.{start} to 192.168.20.{end} of 192.168.20.0/24 is left out" in result["warnings"][0]
        )
    elif ours[0] <= ours[1]:
        assert ours == (max(start, 1), min(end, 254))


def test_a_range_that_is_no_block_is_left_out_with_a_warning():
    result = taken(one(rangeStart="192.168.20.10", rangeEnd="192.168.20.50"))
    assert result["networks"][0]["ipam_config"] == [{"subnet": "192.168.20.0/24"}]
    assert result["warnings"] == [
        "network 'vlan20': the range 192.168.20.10 to 192.168.20.50 of 192.168.20.0/24 is left out, since it is not one CIDR "
        "block: the whole subnet is given out. Hold with vlan_ipam what has to stay free, or set ip_range"
    ]


def test_several_ranges_of_one_subnet_are_one_subnet():
    ranges = [
        {"subnet": "192.168.20.0/24", "rangeStart": "192.168.20.16", "rangeEnd": "192.168.20.31"},
        {"subnet": "192.168.20.0/24", "rangeStart": "192.168.20.64", "gateway": "192.168.20.2"},
        {
            "subnet": "192.168.20.0/24",
            "rangeStart": "192.168.20.40",
            "rangeEnd": "192.168.20.41",
            "gateway": "192.168.20.3",
        },
        {"subnet": "192.168.21.0/24"},
    ]
    result = taken(cni(ipam={"type": "host-local", "ranges": [ranges]}))
    check_items(result)
    assert result["networks"][0]["ipam_config"] == [
        {"subnet": "192.168.20.0/24", "gateway": "192.168.20.2"},
        {"subnet": "192.168.21.0/24"},
    ]
    gateway, left_out = result["warnings"]
    assert "gateway 192.168.20.3 of 192.168.20.0/24 is left out" in gateway
    assert "192.168.20.16 to 192.168.20.31, 192.168.20.64 to 192.168.20.254, 192.168.20.40 to 192.168.20.41" in left_out


def test_two_addresses_of_a_family_for_each_container_are_named():
    ranges = [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.1.0/24"}]]
    result = taken(cni(ipam={"type": "host-local", "ranges": ranges}))
    assert len(result["networks"][0]["ipam_config"]) == 2
    assert result["warnings"] == [
        "network 'vlan20': ipam gives 2 IPv4 addresses to each container; here an endpoint has one of each family"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "bridge"}, "its type is bridge, and only ipvlan and macvlan are taken over"),
        ({"plugins": []}, "its type is not said"),
        ({"ipam": {"type": "dhcp"}}, "ipam is of type 'dhcp', and only host-local is taken over"),
        ({"ipam": None}, "ipam is of type 'None'"),
    ],
)
def test_other_networks_are_left_out_with_a_warning_and_their_addresses_too(changes, words):
    config = cni(**changes)
    if "plugins" in changes:
        config = {"name": "vlan20", "plugins": []}
    result = from_cni_host_local(ALLOCATED, configs=[config])
    assert result["networks"] == result["addresses"] == []
    first, second = result["warnings"]
    assert first.startswith(f"network 'vlan20': {words}")
    assert second == ("network 'vlan20': its addresses (3) are left out, since no configuration of it is taken over")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mac": "02:42:c0:a8:14:0a"}, "key mac ('02:42:c0:a8:14:0a') is not taken over"),
        ({"linkInContainer": True}, "key linkInContainer ('True') is not taken over"),
        ({"dns": {"nameservers": ["10.0.0.53"]}}, "key dns ("),
        ({"ipam__resolvConf": "/etc/resolv.conf"}, "key ipam.resolvConf ('/etc/resolv.conf') is not taken over"),
        (
            {"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24", "range-start": "10.0.0.9"}]]}},
            "key ipam.ranges[0][0].range-start (",
        ),
        ({"ipam__routes": [{"dst": "10.9.0.0/16", "gw": "192.168.20.7"}]}, "the route to 10.9.0.0/16 by 192.168.20.7 "),
        ({"ipam__routes": [{"dst": "0.0.0.0/0", "gw": "192.168.20.7"}]}, "the route to 0.0.0.0/0 by 192.168.20.7 "),
        ({"master": ""}, "it has no master, so CNI uses the link of the host's default route; set parent"),
        (
            {"ipam__dataDir": "/srv/cni"},
            "no address of it was read; its addresses are kept in '/srv/cni' (ipam.dataDir)",
        ),
        ({"name": "a b"}, "vlan_network will refuse it: 'a b' is not a network name"),
        ({"master": "a/b"}, "vlan_network will refuse it: parent 'a/b' is not the name of a link"),
    ],
)
def test_what_of_a_configuration_is_not_taken_over_is_named(changes, words):
    result = taken(cni(**changes))
    [warning] = result["warnings"]
    assert words in warning
    assert len(result["networks"]) == 1


def test_what_says_nothing_is_not_named():
    assert taken(cni(dns={}, linkInContainer=False, mac="", ipMasq=False, ipam__resolvConf=""))["warnings"] == []


def test_the_first_of_two_configurations_with_one_name_counts():
    result = taken(CONFIG, cni(master="eth9"))
    assert [network["parent"] for network in result["networks"]] == ["eth0.20"]
    assert result["warnings"] == [
        "network 'vlan20': configs[1] (vlan20) is left out: configs[0] (vlan20) has the same name"
    ]


def test_addresses_of_the_networks_that_are_taken_over():
    lines = [
        *ALLOCATED,
        f"{PLACE}/cbr0/10.88.0.2:{ID1}",
        f"{PLACE}/cbr0/10.88.0.3:{ID2}",
        f"{PLACE}/vlan20/10.7.7.7:{ID1}",
    ]
    result = from_cni_host_local(lines, configs=[cni(ipam__dataDir=PLACE)])
    check_items(result)
    assert rows(result) == rows(from_cni_host_local(ALLOCATED))
    assert result["warnings"] == [
        "network 'cbr0': its addresses (2) are left out, since no configuration of it is taken over",
        f"network 'vlan20': 10.7.7.7 of '{ID1}' is left out: it is in none of its subnets",
    ]


def test_the_first_address_is_no_gateway_where_a_container_got_it():
    """host-local keeps only the gateway that is configured, here for a mode in which it means nothing to us."""
    config = cni(
        type="ipvlan", mode="l3", ipam={"type": "host-local", "subnet": "10.0.0.0/24", "gateway": "10.0.0.254"}
    )
    result = from_cni_host_local([f"{PLACE}/vlan20/10.0.0.1:{ID1}"], configs=[config])
    assert result["networks"][0]["ipam_config"] == [{"subnet": "10.0.0.0/24", "gateway": "none"}]
    [warning] = result["warnings"]
    assert f"'{ID1}' has 10.0.0.1, which would be the gateway of 10.0.0.0/24" in warning


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        (CONFIG, "configs has to be a list of CNI network configurations"),
        ([json.dumps(CONFIG)], "configs[0] is text; give it as parsed JSON (the filter from_json does that)"),
        ([[CONFIG]], "configs[0] has to be a dictionary"),
        ([None], "configs[0]: name is missing"),
        ([CONFIG, cni(name="")], "configs[1]: name is missing"),
        ([cni(name=20)], "configs[0]: name has to be text; it is '20'"),
        ([cni(type=None)], "configs[0] (vlan20): type is missing"),
        ([{"name": "v", "plugins": {"type": "macvlan"}}], "configs[0] (v): plugins has to be a list"),
        ([{"name": "v", "plugins": [{"type": "tuning"}, {}]}], "configs[0] (v): plugins[1]: type is missing"),
        ([cni(mode="l2")], "configs[0] (vlan20): mode: 'l2' is not one of bridge, vepa, passthru, private"),
        ([cni(mtu="big")], "configs[0] (vlan20): mtu has to be a number"),
        ([cni(master=["eth0"])], "configs[0] (vlan20): master has to be text"),
        ([cni(ipam="host-local")], "configs[0] (vlan20): ipam has to be a dictionary"),
        ([cni(ipam={"type": "host-local"})], "configs[0] (vlan20): ipam has no subnet: host-local needs 'ranges'"),
        ([cni(ipam__ranges=[[]])], "configs[0] (vlan20): ipam has no subnet"),
        ([cni(ipam__ranges=[{"subnet": "10.0.0.0/24"}])], "ipam.ranges[0] has to be a list"),
        ([cni(ipam__ranges=[[{}]])], "configs[0] (vlan20): ipam.ranges[0][0].subnet is missing"),
        ([one(subnet="10.0.0.0/33")], "ipam.ranges[0][0].subnet '10.0.0.0/33' is not a subnet"),
        ([one(gateway="10.9.9.9")], "ipam.ranges[0][0].gateway 10.9.9.9 is not in subnet 192.168.20.0/24"),
        ([one(rangeStart="x")], "ipam.ranges[0][0].rangeStart 'x' is not an IP address"),
        (
            [one(rangeStart="192.168.20.50", rangeEnd="192.168.20.10")],
            "ipam.ranges[0][0]: the range begins at 192.168.20.50, above its end 192.168.20.10",
        ),
        ([one(rangeEnd="192.168.20.0")], "the range begins at 192.168.20.1, above its end 192.168.20.0"),
        ([cni(ipam__routes=["0.0.0.0/0"])], "ipam.routes[0] has to be a dictionary"),
        (
            [{"name": "v", "plugins": [{**CONFIG, "ipam": {"type": "host-local", "subnet": "x"}}]}],
            "configs[0] (v): plugins[0]: ipam.subnet 'x' is not a subnet",
        ),
    ],
)
def test_bad_configurations_are_named(configs, words):
    with pytest.raises(AnsibleFilterError) as failure:
        from_cni_host_local([], configs=configs)
    assert words in str(failure.value)


# --- through Ansible ------------------------------------------------------------------------------------------

NAMES = ("from_cni_host_local", "from_docker_network_inspect")


def play(folder: Path, tasks: list[dict[str, Any]], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Runs tasks with Ansible itself, on the controller."""
    book = folder / "play.yml"
    plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
    book.write_text(yaml.safe_dump(plays))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".work" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(book)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_the_filters_are_found_by_their_names(tmp_path):
    tasks = [
        {
            "name": "Both filters, the one with text and the other with lines",
            "ansible.builtin.assert": {
                "that": [
                    "(inspected | netops.underlay.from_docker_network_inspect(target='netns')) == from_docker",
                    "(inspected | from_json | netops.underlay.from_docker_network_inspect('netns')) == from_docker",
                    "(lines | netops.underlay.from_cni_host_local(configs=configs)) == from_cni",
                    "(lines | netops.underlay.from_cni_host_local).networks == []",
                ]
            },
        }
    ]
    done = play(
        tmp_path,
        tasks,
        inspected=json.dumps([DOCKER_20, DOCKER_29]),
        from_docker=from_docker_network_inspect([DOCKER_20, DOCKER_29], target="netns"),
        lines=ALLOCATED,
        configs=[CONFIG],
        from_cni=from_cni_host_local(ALLOCATED, configs=[CONFIG]),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_an_error_reaches_the_user_in_words(tmp_path):
    task = {"ansible.builtin.debug": {"msg": "{{ 'no such network' | netops.underlay.from_docker_network_inspect }}"}}
    done = play(tmp_path, [task])
    assert done.returncode != 0
    assert "netops.underlay.from_docker_network_inspect: the input is no JSON" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_has_what_the_filter_takes_and_returns(name):
    document = yaml.safe_load((FILTERS / f"{name}.yml").read_text())
    assert document["DOCUMENTATION"]["name"] == name
    assert set(document["DOCUMENTATION"]["options"]) == {
        "_input",
        {"from_cni_host_local": "configs", "from_docker_network_inspect": "target"}[name],
    }
    assert set(document["RETURN"]["_value"]["contains"]) == set(NOTHING)
    check_items({key: part["sample"] for key, part in document["RETURN"]["_value"]["contains"].items()})
    assert f"netops.underlay.{name}" in str(yaml.safe_load(document["EXAMPLES"]))


def test_every_filter_that_takes_over_is_tested_here():
    assert (
        {path.stem for path in FILTERS.glob("from_*.py")}
        == {path.stem for path in FILTERS.glob("from_*.yml")}
        == {*NAMES, "from_compose"}
    )
