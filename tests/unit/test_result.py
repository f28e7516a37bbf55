# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How things look to a user: the keys of the design, in every state."""

from __future__ import annotations

from ansible_collections.netops.underlay.plugins.module_utils import plan_endpoints, result
from ansible_collections.netops.underlay.plugins.module_utils.model import Action, Parent, dummy_name, parent_mark
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import Plan

from .builders import carried_out, host, link, netns, network, replace, reserved, route, seen, subnet, vlan_link

NETWORK_KEYS = (
    "name driver parent parent_created vlan_id vlan_protocol mode flag mtu internal enable_ipv4 enable_ipv6 "
    "ipam_config labels cooldown announce conflict_check routes ipv6_dad state"
)
ENDPOINT_KEYS = (
    "network name driver target ifname mac_address mtu ipv4 ipv6 routes default_route aliases sysctls hosts_file state"
)
ADDRESS_KEYS = "network owner address family kind description expires state"
ON = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20, mtu=1450, alias=parent_mark("eth0.20")))
NET = network("vlan20", subnet("192.168.20.0/24", ip_range="192.168.20.128/25", router="192.168.20.129"))
OURS = {"eth0.20": Parent("eth0.20", "eth0", 20)}


def keys(found):
    return " ".join(found)


def test_a_network_as_it_is():
    found = result.network(replace(NET, labels={"a": "1"}), ON, OURS)
    assert keys(found) == NETWORK_KEYS
    assert found == {
        "name": "vlan20",
        "driver": "ipvlan",
        "parent": "eth0.20",
        "parent_created": True,
        "vlan_id": 20,
        "vlan_protocol": "802.1q",
        "mode": "l2",
        "flag": "bridge",
        "mtu": 1450,
        "internal": False,
        "enable_ipv4": True,
        "enable_ipv6": False,
        "ipam_config": [
            {
                "subnet": "192.168.20.0/24",
                "gateway": "192.168.20.1",
                "ip_range": "192.168.20.128/25",
                "aux_addresses": {"router": "192.168.20.129"},
            }
        ],
        "labels": {"a": "1"},
        "cooldown": 0,
        "announce": {"count": 0, "interval_ms": 1000},
        "conflict_check": False,
        "routes": [],
        "ipv6_dad": "nodad",
        "state": "present",
    }


def test_a_hand_made_parent_is_not_created():
    assert result.network(NET, ON, {})["parent_created"] is False


def test_a_parent_that_somebody_made_anew_is_told_as_it_is():
    found = result.network(NET, host(link(2, "eth0"), link(3, "eth0.20", "dummy")), OURS)
    assert (found["parent_created"], found["vlan_id"], found["vlan_protocol"]) == (False, None, None)
    gone = result.network(NET, host(link(2, "eth0")), OURS)
    assert (gone["parent_created"], gone["vlan_id"]) == (True, 20), "what is to come back"


def test_a_network_on_a_card_has_no_vlan():
    found = result.network(network("n", parent="eth0"), ON, {})
    assert (found["vlan_id"], found["vlan_protocol"], found["mtu"]) == (None, None, 1500)


def test_the_prediction_of_a_network_is_what_it_will_be():
    on = host(link(2, "eth0", mtu=1450))
    predicted = result.network(NET, on, OURS)
    assert predicted == result.network(NET, ON, OURS)
    dummy = network("iso", parent=None)
    made = {dummy_name("iso"): Parent(dummy_name("iso"))}
    there = host(link(9, dummy_name("iso"), "dummy", alias=parent_mark(dummy_name("iso"))))
    assert result.network(dummy, host(), made) == result.network(dummy, there, made)


def attached(spec, *nets):
    observed = seen(*nets, on=ON)
    plan, outcomes = plan_endpoints.plan(observed, [spec])
    return observed, carried_out(observed, plan), outcomes[spec.key]


def shown(observed, outcome, predicted=False):
    row = outcome.row
    net = observed.networks[row.network]
    space = observed.spaces.get(row.target)
    path = observed.hosts_path(row)
    return result.endpoint(row, net, outcome.addresses, observed.host, space, path, outcome if predicted else None)


def with_connected_route(observed):
    place = observed.spaces[netns("web1")]
    own = next(item for item in place.links if item.kind)
    routes = (*place.routes, route(own.index, "192.168.20.0/24"))
    return replace(observed, spaces={netns("web1"): replace(place, routes=routes)})


SPEC = EndpointSpec("name 'web1'", "vlan20", "web1", "present", netns("web1"))


def test_an_endpoint_is_predicted_as_it_will_be():
    before, after, outcome = attached(SPEC, network("vlan20", "192.168.20.0/24"))
    predicted = shown(before, outcome, predicted=True)
    assert keys(predicted) == ENDPOINT_KEYS
    assert predicted == shown(with_connected_route(after), outcome)
    assert predicted == {
        "network": "vlan20",
        "name": "web1",
        "driver": "ipvlan",
        "target": {"kind": "netns", "value": "web1"},
        "ifname": "eth0",
        "mac_address": "52:54:00:00:00:01",
        "mtu": 1450,
        "ipv4": {"address": "192.168.20.2", "prefixlen": 24, "gateway": "192.168.20.1"},
        "ipv6": None,
        "routes": [
            {"destination": "default", "gateway": "192.168.20.1", "family": "ipv4"},
            {"destination": "192.168.20.0/24", "gateway": None, "family": "ipv4"},
        ],
        "default_route": True,
        "aliases": [],
        "sysctls": {},
        "hosts_file": "/etc/netns/web1/hosts",
        "state": "attached",
    }


def test_of_an_endpoint_the_kernel_is_believed():
    _before, after, outcome = attached(SPEC, network("vlan20", "192.168.20.0/24"))
    place = after.spaces[netns("web1")]
    bare = replace(after, spaces={netns("web1"): replace(place, addresses=(), routes=())})
    found = shown(bare, outcome)
    assert (found["ipv4"], found["routes"], found["state"]) == (None, [], "attached")


def test_an_endpoint_whose_link_is_not_there_waits_with_its_address():
    _before, after, outcome = attached(SPEC, network("vlan20", "192.168.20.0/24"))
    for place in (None, replace(after.spaces[netns("web1")], links=())):
        found = shown(replace(after, spaces={netns("web1"): place}), outcome)
        assert keys(found) == ENDPOINT_KEYS
        assert (found["state"], found["ipv4"]["address"], found["routes"]) == ("waiting", "192.168.20.2", [])


def test_an_address_as_it_is():
    [row] = reserved(NET, "vm 12", "192.168.20.50", description="build VM")
    found = result.address(row)
    assert keys(found) == ADDRESS_KEYS
    assert found == {
        "network": "vlan20",
        "owner": "vm 12",
        "address": "192.168.20.50",
        "family": "ipv4",
        "kind": "reserved",
        "description": "build VM",
        "expires": None,
        "state": "present",
    }


def test_what_is_set_aside_looks_like_an_address():
    found = result.set_aside(NET)
    assert [(item["owner"], item["address"], item["kind"]) for item in found] == [
        ("gateway", "192.168.20.1", "gateway"),
        ("router", "192.168.20.129", "auxiliary"),
    ]
    assert {keys(item) for item in found} == {ADDRESS_KEYS}


def test_what_is_absent_has_all_keys():
    assert result.absent({"name": 1, "driver": 2, "state": 3}, name="web") == {
        "name": "web",
        "driver": None,
        "state": "absent",
    }


def test_a_plan_tells_its_actions():
    action = Action("change", "network", "web", {"mtu": {"before": 1, "after": 2}})
    assert result.of_plan(Plan(actions=(action,))) == {
        "changed": True,
        "actions": [
            {"action": "change", "kind": "network", "name": "web", "changes": {"mtu": {"before": 1, "after": 2}}}
        ],
    }
    assert result.of_plan(Plan(warnings=("look",))) == {"changed": False, "actions": []}


def test_a_diff_holds_what_differs_and_nothing_else():
    before = {"same": {"a": 1}, "changed": {"a": 1}, "gone": {"a": 1}}
    after = {"same": {"a": 1}, "changed": {"a": 2}, "new": {"a": 1}}
    assert result.diff(before, after) == {
        "before": {"changed": {"a": 1}, "gone": {"a": 1}},
        "after": {"changed": {"a": 2}, "new": {"a": 1}},
    }
