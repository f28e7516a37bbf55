# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several hosts, one address plan: slices are disjoint, inside the subnet, and stay when hosts come; what cannot be is said."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.filter.address_plan import address_plan
from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.plugin_utils import slices as arithmetic
from hypothesis import assume, given
from hypothesis import strategies as st

HOSTS = ["hv1", "hv2", "hv3"]


def vlan(subnet: str = "172.16.80.0/24", name: str = "vlan10", **more: Any) -> dict[str, Any]:
    options = {key: more.pop(key) for key in ("gateway", "ip_range", "aux_addresses") if key in more}
    return {"name": name, "parent": "eth0.10", "ipam_config": [{"subnet": subnet, **options}], **more}


def ranges(networks: list[dict[str, Any]], host: str, *arguments: Any, **more: Any) -> list[str]:
    plan = address_plan(networks, host, *arguments, **more)
    assert plan["problems"] == []
    return [entry["ip_range"] for network in plan["networks"] for entry in network["ipam_config"]]


def problem(networks: list[dict[str, Any]], host: str, *arguments: Any, **more: Any) -> str:
    (text,) = address_plan(networks, host, *arguments, **more)["problems"]
    return text


def test_each_host_has_its_slice_of_every_subnet():
    networks = [vlan(), vlan("2001:db8:30::/64", "v6", enable_ipv4=False)]
    assert ranges(networks, "hv1", HOSTS) == ["172.16.80.0/28", "2001:db8:30::/68"]
    assert ranges(networks, "hv3", HOSTS) == ["172.16.80.32/28", "2001:db8:30:0:2000::/68"]
    assert address_plan(networks, "hv3", HOSTS)["slice"] == 2


def test_a_range_is_sliced_in_the_place_of_its_subnet_and_keeps_the_rest():
    network = vlan("10.1.100.0/16", gateway="10.1.100.1", ip_range="10.1.200.0/24", aux_addresses={"nas": "10.1.200.9"})
    (found,) = address_plan([network], "hv2", HOSTS, 4)["networks"]
    assert found["ipam_config"] == [
        {
            "subnet": "10.1.100.0/16",
            "gateway": "10.1.100.1",
            "ip_range": "10.1.200.64/26",
            "aux_addresses": {"nas": "10.1.200.9"},
        }
    ]
    assert network["ipam_config"][0]["ip_range"] == "10.1.200.0/24"


def test_networks_that_no_other_host_reaches_stay_as_they_are():
    networks = [{"name": "isolated"}, {"name": "internal", "parent": "eth0.9", "internal": "true"}]
    assert address_plan(networks, "hv1", HOSTS)["networks"] == networks


@st.composite
def subnets(draw: st.DrawFn) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if draw(st.booleans()):
        return ipaddress.ip_network((0x0A000000 + (draw(st.integers(0, 0xFFFF)) << 8), 24)).supernet(
            draw(st.integers(0, 12))
        )
    return ipaddress.ip_network(((0xFD << 120) + (draw(st.integers(0, 1 << 48)) << 64), 64))


@given(subnets(), st.integers(0, 6), st.data())
def test_slices_are_disjoint_inside_and_of_one_size(subnet, bits, data):
    count = 1 << bits
    cut = [arithmetic.slice_of(subnet, count, number) for number in range(count)]
    assert cut[0][0] == subnet[0] and cut[-1][-1] == subnet[-1]
    assert all(low[-1] + 1 == high[0] for low, high in zip(cut, cut[1:], strict=False))
    assert {part.prefixlen for part in cut} == {subnet.prefixlen + bits}
    hosts = [f"hv{number}" for number in range(data.draw(st.integers(1, count)))]
    network = vlan(str(subnet), enable_ipv4=subnet.version == 4)
    # What a host may give out: no address twice, and neither the gateway nor what nobody may have.
    given_out: list[tuple[int, int]] = []
    for host in hosts:
        plan = address_plan([network], host, hosts, count)
        assume(not plan["problems"])
        mine = ipaddress.ip_network(plan["networks"][0]["ipam_config"][0]["ip_range"])
        given_out.append(addressing.Subnet(subnet, ip_range=mine).bounds())
        first, last = addressing.usable(subnet)
        assert first <= given_out[-1][0] <= given_out[-1][1] <= last
    assert all(low[1] < high[0] for low, high in zip(given_out, given_out[1:], strict=False))


@given(subnets(), st.lists(st.sampled_from("abcdefghijklmnop"), unique=True, min_size=2), st.integers(0, 15))
def test_a_host_that_comes_or_goes_at_the_end_changes_nothing_for_the_others(subnet, hosts, more):
    network = vlan(str(subnet), enable_ipv4=subnet.version == 4)
    before = {host: address_plan([network], host, hosts[:-1]) for host in hosts[:-1]}
    assert before == {host: address_plan([network], host, hosts) for host in hosts[:-1]}
    # Nor does one with a number of its own, wherever it stands.
    number = {"new": more}
    assume(more >= len(hosts))
    assert before == {host: address_plan([network], host, [*hosts, "new"], 16, number) for host in hosts[:-1]}


def test_a_number_that_is_given_counts_before_the_place():
    assert ranges([vlan()], "hv1", HOSTS, given={"hv1": "15"}) == ["172.16.80.240/28"]
    # hv1 was taken out of the list: the others keep theirs by their numbers.
    assert ranges([vlan()], "hv3", ["hv2", "hv3"], given={"hv2": 1, "hv3": 2}) == ranges([vlan()], "hv3", HOSTS)


@pytest.mark.parametrize(
    ("hosts", "slices", "numbers", "words"),
    [
        (["hv1"], 12, {}, "vlan_map_slices is '12'; it is a power of two"),
        (["hv1"], "many", {}, "it is a power of two"),
        (["hv1", "hv1"], 16, {}, "vlan_map_hosts has hv1 more than once."),
        (["hv2", "hv3"], 16, {}, "hv1 is not one of the hosts that share the address plan (hv2, hv3)"),
        (
            ["hv1", "hv2"],
            16,
            {"hv2": 0},
            "hv1 and hv2 have the same slice, 0 (hv1 by its place in vlan_map_hosts, hv2 by its",
        ),
        (
            ["hv1", "hv2"],
            16,
            {"hv2": 16},
            "vlan_map_slice of hv2 is '16', and with vlan_map_slices 16 the hosts are numbered",
        ),
        (["hv1", "hv2"], 16, {"hv1": "one"}, "vlan_map_slice of hv1 is 'one'"),
        (["hv1", "hv2"], 16, {"hv1": True}, "vlan_map_slice of hv1 is 'True'"),
        (["hv2", "hv3", "hv1"], 2, {}, "hv1 is host 2, and with vlan_map_slices 2 the hosts are numbered from 0 to 1"),
    ],
)
def test_numbers_that_cannot_be(hosts, slices, numbers, words):
    assert words in problem([vlan()], "hv1", hosts, slices, numbers)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (vlan("10.0.0.0/30"), "10.0.0.0/30 has fewer addresses than there are slices (16)"),
        (vlan("10.0.0.0/28"), "its slice 10.0.0.0/32 has no address to give out"),
        (vlan("10.0.0.0/27", aux_addresses={"a": "10.0.0.1"}, gateway="none"), "its slice 10.0.0.0/31 has no address"),
        (vlan("10.0.0.0"), "has no prefix length"),
        (vlan("10.0.0.0/24", ip_range="10.0.1.0/28"), "its ip_range 10.0.1.0/28 is not inside it"),
        (vlan("2001:db8::/64"), "Network 'vlan10' has no IPv4 subnet, so each host would take the same one"),
        ({"name": "vlan10", "parent": "eth0.10"}, "Network 'vlan10' has no IPv4 subnet"),
    ],
)
def test_subnets_that_cannot_be_shared(network, words):
    assert words in problem([network], "hv1", HOSTS)


@pytest.mark.parametrize("option", ["ipv4_address", "ip"])
def test_an_address_of_another_hosts_slice_is_refused(option):
    networks = [vlan("172.16.80.0/24", ip_range="172.16.80.128/25"), vlan("172.16.81.0/24", "vlan11")]

    def asked(address: str, network: str = "vlan10") -> list[str]:
        endpoint = {"name": "web1", "network": network, option: address}
        return address_plan(networks, "hv2", HOSTS, endpoints=[endpoint])["problems"]

    (text,) = asked("172.16.80.129")
    assert text.startswith(
        "web1 on network 'vlan10': 172.16.80.129 is in the slice of another host; hv2 has 172.16.80.136/29 of 172.16.80.128/25."
    )
    assert (
        asked("172.16.80.137") == [] == asked("172.16.80.5") == asked("no address") == asked("172.16.81.17", "vlan11")
    )
    assert len(asked("172.16.81.5", "vlan11")) == 1
    # A reservation of several.
    assert len(asked("172.16.81.16-172.16.81.40", "vlan11")) == 1


def l3(**more: Any) -> dict[str, Any]:
    network = vlan("192.168.110.0/24", "vlan118", ipvlan_mode="l3", **more)
    network["ipam_config"].append({"subnet": "2001:db8:110::/64"})
    return network


HOPS = {host: {"vlan118": [f"10.0.118.1{number}", f"2001:db8:118::{number}"]} for number, host in enumerate(HOSTS, 1)}


def test_in_l3_each_host_has_routes_to_the_slices_of_the_others():
    plan = address_plan([l3(), vlan()], "hv2", HOSTS, next_hops=HOPS)
    assert plan["problems"] == []
    assert plan["networks"][0]["routes"] == [
        {"subnet": "192.168.110.0/28", "via": "10.0.118.11"},
        {"subnet": "2001:db8:110::/68", "via": "2001:db8:118::1"},
        {"subnet": "192.168.110.32/28", "via": "10.0.118.13"},
        {"subnet": "2001:db8:110:0:2000::/68", "via": "2001:db8:118::3"},
    ]
    assert "routes" not in plan["networks"][1]
    # One address of one family, and a host that went and keeps its place.
    hops = {"hv1": {"vlan118": "10.0.118.11"}, "hv2": {"vlan118": "10.0.118.12"}}
    (found,) = address_plan([vlan("192.168.110.0/24", "vlan118", ipvlan_mode="l3s")], "hv2", HOSTS, next_hops=hops)[
        "networks"
    ]
    assert found["routes"] == [{"subnet": "192.168.110.0/28", "via": "10.0.118.11"}]


def test_routes_are_somebody_elses_where_no_host_has_a_next_hop():
    for hops in (None, {}, {host: {} for host in HOSTS}, {host: {"other": "10.0.0.1"} for host in HOSTS}):
        assert address_plan([l3()], "hv1", HOSTS, next_hops=hops)["networks"][0]["routes"] == []
    more = [{"subnet": "10.9.0.0/16", "via": "10.0.118.1"}]
    assert address_plan([l3(routes=more)], "hv1", HOSTS)["networks"][0]["routes"] == more
    assert address_plan([l3(routes=more)], "hv1", HOSTS, next_hops=HOPS)["networks"][0]["routes"][:1] == more


@pytest.mark.parametrize(
    ("hops", "words"),
    [
        ({}, "hv3 has no IPv4 next hop, and the others have to know one to route its slice of 192.168.110.0/24"),
        ({"vlan118": ["10.0.118.13"]}, "hv3 has no IPv6 next hop"),
        ({"vlan118": ["10.0.118.13", "10.0.118.14", "2001:db8::3"]}, "hv3 has 2 IPv4 next hops"),
        ({"vlan118": "hv3.example"}, "vlan_map_next_hops of hv3: 'hv3.example' is not an IP address"),
    ],
)
def test_next_hops_that_cannot_be(hops, words):
    problems = address_plan([l3()], "hv1", HOSTS, next_hops={**HOPS, "hv3": hops})["problems"]
    assert any(words in problem for problem in problems)


def test_in_l3_an_address_outside_the_slice_is_refused():
    network = l3(ip_range="192.168.110.128/25")
    for address, words in (("192.168.110.5", "is outside 192.168.110.136/29"), ("192.168.110.129", "of another host")):
        endpoint = {"name": "web1", "network": "vlan118", "ipv4_address": address}
        assert words in problem([network], "hv2", HOSTS, endpoints=[endpoint])


def test_what_is_no_list():
    with pytest.raises(AnsibleFilterError, match="hosts is no list"):
        address_plan([vlan()], "hv1", "hv1,hv2")


def test_the_example_of_the_documentation_is_so():
    text = (Path(__file__).parents[2] / "plugins/filter/address_plan.yml").read_text()
    documented = yaml.safe_load(text)
    (task,) = yaml.safe_load(documented["EXAMPLES"])
    sample = documented["RETURN"]["_value"]["sample"]
    assert address_plan([task["vars"]["vlan20"]], "hv2", HOSTS) == sample
