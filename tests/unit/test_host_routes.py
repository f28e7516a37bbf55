# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Routes to what other hosts have in l3: made, mended, taken away; never what somebody else made."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import host_routes, plan_networks
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.lifelines import Lifeline
from ansible_collections.netops.underlay.plugins.module_utils.model import Endpoint, HostRoute, Parent
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import NetworkSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import AddRoutes, Put, RemoveLink, RemoveRoutes

from .builders import address, carried_out, host, link, netns, network, replace, route, seen, subnet, vlan_link

ETH0 = link(2, "eth0")
L3 = vlan_link(3, "eth0.118", 2, 118)
OWN = address(3, "10.0.118.11/24")


def to(subnet: str, via: str) -> HostRoute:
    return HostRoute(ip_network(subnet), ip_address(via))


B, C = to("192.168.110.16/28", "10.0.118.12"), to("192.168.110.32/28", "10.0.118.13")
NET = network("n", "192.168.110.0/24", parent="eth0.118", mode="l3")


def ask(*routes: HostRoute, name: str = "n", **fields: Any) -> NetworkSpec:
    return NetworkSpec(f"name '{name}'", name, "present", routes=routes, **fields)


def there(*routes: Any, links: Any = (ETH0, L3), net: Any = NET, **fields: Any) -> Observed:
    return seen(net, on=host(*links, addresses=(OWN,), routes=routes), **fields)


def in_kernel(observed: Observed) -> list[tuple[str, str | None, int]]:
    return [(item.destination, item.gateway, item.protocol) for item in observed.host.space.routes]


def refusal(observed: Observed, *specs: NetworkSpec) -> str:
    with pytest.raises(Refused) as caught:
        plan_networks.plan(observed, specs)
    return str(caught.value)


def done(observed: Observed, *specs: NetworkSpec, **options: Any) -> Observed:
    """After the plan; a second one finds nothing to do."""
    change = plan_networks.plan(observed, specs, **options)
    after = carried_out(observed, change.plan, change.networks)
    again = plan_networks.plan(after, specs, **options).plan
    assert (again.actions, again.kernel, again.before) == ((), (), ())
    return after


def test_they_come_change_and_go():
    after = done(there(), ask(B, C))
    assert in_kernel(after) == [("192.168.110.16/28", "10.0.118.12", 110), ("192.168.110.32/28", "10.0.118.13", 110)]
    moved = to("192.168.110.32/28", "10.0.118.14")
    after = done(after, ask(moved))
    assert in_kernel(after) == [("192.168.110.32/28", "10.0.118.14", 110)]
    assert in_kernel(done(after, ask())) == []
    assert in_kernel(done(after, NetworkSpec("n", "n", "absent"))) == []


def test_the_action_says_what_changes():
    (action,) = plan_networks.plan(there(), [ask(B)]).plan.actions
    assert (action.action, action.kind, action.name) == ("change", "network", "n")
    assert action.changes == {"routes": {"before": [], "after": [{"subnet": str(B.subnet), "via": str(B.via)}]}}


def test_what_is_left_out_is_kept_and_put_back():
    observed = there(net=replace(NET, routes=(B, C)))
    change = plan_networks.plan(observed, [NetworkSpec("n", "n", "present")])
    (action,) = change.plan.actions
    assert (action.action, action.changes) == ("repair", {"routes": {"before": [], "after": [str(B), str(C)]}})
    assert len(in_kernel(carried_out(observed, change.plan, change.networks))) == 2


def test_with_the_mode_they_go():
    observed = done(there(), ask(B))
    assert in_kernel(done(observed, NetworkSpec("n", "n", "present", settings={"ipvlan_mode": "l2"}))) == []


def test_with_their_parent_they_come_and_go():
    """A sub-interface that we make has no address: the gateway is said to be on the link."""
    made = seen(on=host(ETH0))
    after = done(made, ask(B, subnets=(subnet("192.168.110.0/24"),), parent="eth0.118", settings={"ipvlan_mode": "l3"}))
    assert in_kernel(after) == [("192.168.110.16/28", "10.0.118.12", 110)]
    plan = plan_networks.plan(after, [NetworkSpec("n", "n", "absent")]).plan
    assert [type(step) for step in plan.kernel] == [RemoveRoutes, RemoveLink]


def test_a_parent_that_was_lost_comes_back_with_its_routes():
    made = {"eth0.118": Parent("eth0.118", "eth0", 118)}
    observed = seen(replace(NET, routes=(B,)), on=host(ETH0), made=made.values())
    assert in_kernel(done(observed, NetworkSpec("n", "n", "present"))) == [("192.168.110.16/28", "10.0.118.12", 110)]
    actions = plan_networks.plan(observed, [NetworkSpec("n", "n", "present")]).plan.actions
    assert [(item.action, item.kind) for item in actions] == [("repair", "parent")]


def test_nothing_is_set_on_a_parent_that_is_down():
    change = plan_networks.plan(there(links=(ETH0, replace(L3, up=False))), [ask(B)])
    assert not [step for step in change.plan.kernel if isinstance(step, AddRoutes)]
    assert any("is down" in warning for warning in change.plan.warnings)


def test_a_route_of_others_is_never_changed():
    by_hand = route(3, "192.168.110.16/28", "10.0.118.12")
    same = done(there(by_hand), ask(B))
    assert same.host.space.routes == (by_hand,)
    assert done(same, ask()).host.space.routes == (by_hand,)
    assert done(same, NetworkSpec("n", "n", "absent")).host.space.routes == (by_hand,)
    for other in (
        route(3, "192.168.110.16/28", "10.0.118.99"),
        route(2, "192.168.110.16/28", "10.0.118.12"),
        # Of our protocol, and never told by the store.
        route(3, "192.168.110.16/28", "10.0.118.99", protocol=110),
    ):
        words = f"the host has another route to 192.168.110.16/28, via {other.gateway}, which is not ours"
        assert words in refusal(there(other), ask(B))


def test_a_route_that_another_network_needs_stays():
    beside = network("m", "192.168.120.0/24", parent="eth0.118", mode="l3", routes=(B,))
    observed = seen(replace(NET, routes=(B,)), beside, on=host(ETH0, L3, addresses=(OWN,)))
    after = done(observed, ask(B), ask(B, name="m"))
    assert len(in_kernel(after)) == 1
    after = done(after, ask())
    assert len(in_kernel(after)) == 1
    assert in_kernel(done(after, NetworkSpec("m", "m", "absent"))) == []


def test_what_a_run_that_broke_off_left_is_still_known():
    """Told before the kernel hears of it: the routes that were and those that come."""
    observed = done(there(endpoints=()), ask(B))
    plan = plan_networks.plan(observed, [ask(C)]).plan
    (put,) = (step for step in plan.before if isinstance(step, Put))
    assert put.row.routes == (C, B) and put.row.pending
    broken = replace(observed, networks={"n": put.row})
    after = done(broken, ask(C))
    assert in_kernel(after) == [("192.168.110.32/28", "10.0.118.13", 110)]
    assert after.networks["n"].routes == (C,)


def test_endpoints_are_not_touched_by_it():
    row = Endpoint("n", "web", netns("web"), "eth0", None, ())
    plan = plan_networks.plan(there(endpoints=[row]), [ask(B)]).plan
    assert [type(step) for step in plan.kernel] == [AddRoutes]


@pytest.mark.parametrize(
    ("net", "wanted", "words"),
    [
        (replace(NET, mode="l2"), B, "routes are for the modes l3 and l3s on a parent"),
        (
            network("n", "192.168.110.0/24", parent=None, mode="l3"),
            B,
            "routes are for the modes l3 and l3s on a parent",
        ),
        (
            NET,
            to("10.0.0.0/8", "192.168.0.1"),
            "subnet 10.0.0.0/8 overlaps 10.0.118.0/24, the host's own on 'eth0.118'",
        ),
        (NET, to("192.168.110.16/28", "10.0.118.11"), "via 10.0.118.11 is an address of this host itself"),
    ],
)
def test_what_cannot_be(net, wanted, words):
    assert words in refusal(there(net=net), ask(wanted))


@pytest.mark.parametrize(
    "own", ["10.1.0.0/16", "10.1.2.0/24", "10.1.2.128/25", "10.1.3.0/24", "10.0.0.0/8", "10.2.0.0/24"]
)
@pytest.mark.parametrize("wanted", ["10.1.2.0/24", "10.1.0.0/16", "10.1.2.5/32", "10.1.3.0/25"])
def test_overlaps_with_the_hosts_own_are_found_without_a_search(own, wanted):
    others = [address(2, text) for text in ("10.0.118.11/24", "10.9.0.1/16", "10.1.1.1/24", "2001:db8::1/32")]
    roads = host_routes.Roads(host(ETH0, addresses=[*others, address(2, own)]), ())
    expected = [text for text in (own, "10.1.1.0/24", "10.0.118.0/24") if ip_network(text).overlaps(ip_network(wanted))]
    if expected:
        with pytest.raises(ValueError, match="the host's own on 'eth0'"):
            roads.check(NET, to(wanted, "10.0.118.12"), ())
    else:
        roads.check(NET, to(wanted, "10.0.118.12"), ())


def test_two_networks_with_two_ways():
    beside = network("m", "192.168.120.0/24", parent="eth0.119", mode="l3", routes=(B,))
    observed = seen(NET, beside, on=host(ETH0, L3, vlan_link(4, "eth0.119", 2, 119), addresses=(OWN,)))
    assert "network 'm' has 192.168.110.16/28 via 10.0.118.12 on parent 'eth0.119' already" in refusal(observed, ask(B))


def test_the_way_back_to_ansible_is_kept():
    lines = (Lifeline(2, "the connection that Ansible came in on (from 192.168.110.20)", "192.168.110.20"),)
    observed = there()
    observed = replace(observed, host=replace(observed.host, lifelines=lines))
    assert "the route to 192.168.110.16/28 would cut the connection that Ansible came in on" in refusal(
        observed, ask(B)
    )
    assert plan_networks.plan(observed, [ask(C)]).plan.changed
    assert plan_networks.plan(observed, [ask(B, own_force=True)]).plan.changed
