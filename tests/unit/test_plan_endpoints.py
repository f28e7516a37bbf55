# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of endpoints, from what was observed: made, put right, moved, removed, refused, left alone."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import plan_endpoints
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.facts import Ipv6Conf, Link
from ansible_collections.netops.underlay.plugins.module_utils.links import ACCEPT_RA_DEFRTR, DISABLE_IPV6
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    HOST,
    ROUTE_PROTOCOL,
    Action,
    Allocation,
    Announcing,
    Endpoint,
    MadeNamespace,
    Target,
    endpoint_mark,
    making_group,
    parent_mark,
    working_name,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Child, Observed, Space
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    PHASES,
    Announce,
    Drop,
    MakeLink,
    MakeNamespace,
    Plan,
    Put,
    RemoveLink,
    RemoveNamespace,
    RouteSpec,
    Settle,
    SetUp,
    StepAside,
)
from hypothesis import given
from hypothesis import strategies as st

from .builders import (
    BOOT,
    HOST_SPACE,
    address,
    carried_out,
    held,
    host,
    ipvlan_link,
    link,
    loopback,
    macvlan_link,
    netns,
    network,
    replace,
    reserved,
    route,
    seen,
    space,
    subnet,
    vlan_link,
)

ON = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20), vlan_link(4, "eth0.30", 2, 30))
NET = network("vlan20", "192.168.20.0/24")
DUAL = network("dual", "192.168.20.0/24", "2001:db8::/64")
MAC = network("mac", "192.168.20.0/24", driver_name="macvlan")
L3 = network("l3", "192.168.20.0/24", "2001:db8::/64", mode="l3")
GW = RouteSpec(4, ip_address("192.168.20.1"))


def ask(name: str = "web1", net: str = "vlan20", target: Target | None = None, **given_fields: Any) -> EndpointSpec:
    texts = {key: ip_address(given_fields.pop(key)) for key in ("ipv4_address", "ipv6_address") if key in given_fields}
    state = given_fields.pop("state", "present")
    return EndpointSpec(f"name '{name}'", net, name, state, target or netns(name), **texts, **given_fields)


def gone(name: str = "web1", net: str = "vlan20") -> EndpointSpec:
    return EndpointSpec(f"name '{name}'", net, name, "absent")


def world(*networks: Any, spaces: dict[Target, Space | None] | None = None, **more: Any) -> Observed:
    return seen(*(networks or (NET,)), on=more.pop("on", ON), spaces=spaces or {}, **more)


def plan(observed: Observed, *specs: EndpointSpec, **options: Any) -> Plan:
    """The plan; that it is the same again, and that nothing of what it was made from has changed, is always checked."""
    before = repr((observed, specs))
    found = plan_endpoints.plan(observed, specs, **options)
    assert plan_endpoints.plan(observed, specs, **options) == found
    assert repr((observed, specs)) == before
    return found[0]


def outcomes(observed: Observed, *specs: EndpointSpec) -> Any:
    return plan_endpoints.plan(observed, specs)[1]


def refusal(observed: Observed, *specs: EndpointSpec, **options: Any) -> str:
    with pytest.raises(Refused) as error:
        plan_endpoints.plan(observed, specs, **options)
    return str(error.value)


def done(found: Plan) -> list[tuple[str, str, str]]:
    return [(action.action, action.kind, action.name) for action in found.actions]


def attached(observed: Observed, *specs: EndpointSpec) -> Observed:
    """The world after these were made."""
    return carried_out(observed, plan(observed, *specs))


def steps(found: Plan, kind: type) -> list[Any]:
    return [step for step in found.kernel if isinstance(step, kind)]


def held_by(observed: Observed) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in observed.allocations:
        found.setdefault(row.owner, []).append(str(row.address))
    return found


def written(step: SetUp) -> set[str]:
    """The fields of a step that say that something is to be written."""
    untouched = SetUp(step.item, step.space, step.link, step.name)
    return {name for name in SetUp._fields if getattr(step, name) != getattr(untouched, name)}


def the_link(observed: Observed, name: str = "web1", net: str = "vlan20", target: Target | None = None) -> Link:
    found = observed.spaces[target or netns(name)].marked(endpoint_mark(net, name))
    assert found is not None
    return found


def altered(observed: Observed, change: Callable[[Space, Link], Space], net: str = "vlan20") -> Observed:
    """What somebody did in the namespace of ``web1``."""
    place = observed.spaces[netns("web1")]
    return replace(observed, spaces={**observed.spaces, netns("web1"): change(place, the_link(observed, net=net))})


def with_link(**values: Any) -> Callable[[Space, Link], Space]:
    def change(place: Space, own: Link) -> Space:
        return replace(place, links=tuple(replace(own, **values) if item == own else item for item in place.links))

    return change


# --- made -----------------------------------------------------------------------------------------------------


def test_an_endpoint_in_a_namespace_that_is_made_for_it():
    found = plan(world(), ask())
    row = Endpoint("vlan20", "web1", netns("web1"), "eth0", None, (4,))
    allocation = Allocation("eth0.20", "vlan20", "endpoint", "web1", ip_address("192.168.20.2"))
    made = MadeNamespace("web1", None, BOOT)
    mark = endpoint_mark("vlan20", "web1")
    assert done(found) == [
        ("create", "namespace", "web1"),
        ("allocate", "address", "192.168.20.2"),
        ("create", "endpoint", "vlan20/web1"),
    ]
    assert found.before == (Put(made), Put(allocation), Put(row))
    assert found.after == (Settle(made, "name 'web1'"), Settle(row, "name 'web1'"))
    assert found.kernel == (
        MakeNamespace("name 'web1'", netns("web1")),
        MakeLink(
            "name 'web1'",
            netns("web1"),
            working_name(mark),
            making_group(mark),
            "ipvlan",
            "eth0.20",
            ((1, "=H", 0), (2, "=H", 0)),
            1500,
            None,
        ),
        SetUp(
            "name 'web1'",
            netns("web1"),
            working_name(mark),
            "eth0",
            made=True,
            rename=True,
            mark=mark,
            up=True,
            sysctls={DISABLE_IPV6: "1"},
            addresses=((ip_address("192.168.20.2"), 24),),
            routes=(GW,),
            loopback_up=True,
        ),
    )


def names_made(found: Plan) -> list[tuple[str, bool]]:
    """How links are called when they are made, and whether they are renamed then."""
    return [
        (made.name, set_up.rename)
        for made, set_up in zip(steps(found, MakeLink), steps(found, SetUp))
        if made.name == set_up.link
    ]


def test_a_link_has_its_name_from_the_beginning_unless_the_host_has_one_of_that_name():
    host_links = (link(2, "eth0", other_names=("enp1s0",)), vlan_link(3, "eth0.20", 2, 20))
    on = world(on=host(*host_links), spaces={HOST: host(*host_links).space})
    working = working_name(endpoint_mark("vlan20", "web1"))
    for ifname, expected in {
        "net1": ("net1", False),
        "eth0": (working, True),
        "eth0.20": (working, True),
        "enp1s0": (working, True),
    }.items():
        found = plan(on, ask(ifname=ifname))
        assert names_made(found) == [expected]
        assert plan(carried_out(on, found), ask(ifname=ifname)) == Plan()
    assert names_made(plan(on, ask(), parents_to_come=("eth1",))) == [(working, True)]
    assert names_made(plan(on, ask(ifname="net1"), parents_to_come=("net1",))) == [(working, True)]
    assert names_made(plan(on, ask(target=HOST))) == [("underlay0", False)]


def test_a_name_that_another_link_leaves_in_the_same_run_is_given_when_it_has():
    before = attached(world(), ask("a", ifname="net1", target=netns("x")))
    asked = [ask("a", ifname="net2", target=netns("x")), ask("b", ifname="net1", target=netns("x"))]
    found = plan(before, *asked)
    assert [made.name for made in steps(found, MakeLink)] == [working_name(endpoint_mark("vlan20", "b"))]
    assert plan(carried_out(before, found), *asked) == Plan()
    # One that goes, goes before.
    asked = [gone("a"), ask("b", ifname="net1", target=netns("x"))]
    assert plan(carried_out(before, plan(before, *asked)), *asked) == Plan()


def test_the_intent_is_stored_before_the_kernel_and_the_place_after():
    found = plan(world(), ask())
    [row] = [step.row for step in found.before if isinstance(step.row, Endpoint)]
    assert (row.cookie, row.boot_id) == (None, "")


@pytest.mark.parametrize(
    ("net", "spec"),
    [
        (NET, ask()),
        (DUAL, ask(net="dual")),
        (MAC, ask(net="mac")),
        (L3, ask(net="l3")),
        (network("iso", "192.168.20.0/24", parent=None), ask(net="iso")),
        (network("iso3", "192.168.20.0/24", parent=None, mode="l3"), ask(net="iso3")),
        (network("p", "192.168.20.0/24", driver_name="macvlan", mode="passthru"), ask(net="p")),
        (network("v6", "2001:db8::/64", enable_ipv4=False), ask(net="v6")),
        (network("no", subnet("192.168.20.0/24", None)), ask(net="no")),
        (network("on", subnet("10.0.0.1/32", "10.9.9.9")), ask(net="on")),
        (network("small", "10.0.0.0/31", "2001:db8::/127"), ask(net="small")),
        (replace(NET, mtu=1400), ask(ipv4_address="192.168.20.77", ifname="lan0", default_route=False)),
        (NET, ask(target=Target("netns_path", "/run/x"))),
        (NET, ask(target=Target("pid", "4711"))),
    ],
)
def test_what_was_made_is_what_was_asked_for(net, spec):
    links = [*ON.space.links[1:], link(9, net.parent, "dummy")] if net.isolated else ON.space.links[1:]
    observed = world(net, on=host(*links))
    if spec.target.kind != "netns":
        there = replace(space(77), start_time=5 if spec.target.kind == "pid" else None)
        observed = replace(observed, spaces={spec.target: there})
    assert plan(attached(observed, spec), spec) == Plan()


def test_a_namespace_that_is_there_is_used_as_it_is():
    found = plan(world(spaces={netns("web1"): space(7)}), ask())
    assert done(found) == [("allocate", "address", "192.168.20.2"), ("create", "endpoint", "vlan20/web1")]
    assert steps(found, SetUp)[0].loopback_up is False


def test_a_loopback_that_is_down_is_raised_once():
    place = space(7, loopback(up=False))
    found = plan(world(spaces={netns("n"): place}), ask("a", target=netns("n")), ask("b", target=netns("n")))
    assert [step.loopback_up for step in steps(found, SetUp)] == [True, False]


def test_both_families_are_allocated_and_routed():
    found = plan(world(DUAL), ask(net="dual"))
    [step] = steps(found, SetUp)
    assert step.addresses == ((ip_address("192.168.20.2"), 24), (ip_address("2001:db8::2"), 64))
    assert step.routes == (GW, RouteSpec(6, ip_address("2001:db8::1")))
    assert step.sysctls == {DISABLE_IPV6: "0", ACCEPT_RA_DEFRTR: "0"}


def test_in_l3_the_default_route_is_the_device_itself():
    [step] = steps(plan(world(L3), ask(net="l3")), SetUp)
    assert step.routes == (RouteSpec(4, None), RouteSpec(6, None))
    assert step.sysctls == {DISABLE_IPV6: "0"}


def test_an_isolated_network_has_no_default_route():
    net = network("iso", "192.168.20.0/24", parent=None)
    [step] = steps(plan(world(net, on=host(link(9, net.parent, "dummy"))), ask(net="iso")), SetUp)
    assert step.routes == ()


def test_a_gateway_outside_the_subnet_is_on_the_link():
    net = network("on", subnet("10.0.0.1/32", "10.9.9.9"))
    [step] = steps(plan(world(net), ask(net="on")), SetUp)
    assert step.routes == (RouteSpec(4, ip_address("10.9.9.9"), onlink=True),)


def test_a_family_that_is_off_gets_no_address():
    net = replace(DUAL, enable_ipv6=False)
    [step] = steps(plan(world(net), ask(net="dual")), SetUp)
    assert step.addresses == ((ip_address("192.168.20.2"), 24),)
    assert step.sysctls == {DISABLE_IPV6: "1"}


@pytest.mark.parametrize(("mtu", "expected"), [(None, 1450), (1400, 1400), (1500, 1450)])
def test_the_mtu_is_never_above_the_parents(mtu, expected):
    on = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20, mtu=1450))
    [step] = steps(plan(world(replace(NET, mtu=mtu), on=on), ask()), MakeLink)
    assert step.mtu == expected


# --- MAC addresses --------------------------------------------------------------------------------------------


def mac_of(*specs: EndpointSpec, net: Any = MAC) -> list[str | None]:
    return [step.mac_address for step in steps(plan(world(net), *specs), MakeLink)]


def test_the_mac_address_follows_from_the_ipv4_address():
    assert mac_of(ask(net="mac", ipv4_address="192.168.20.10")) == ["02:42:c0:a8:14:0a"]


def test_a_mac_address_that_is_given_is_had():
    assert mac_of(ask(net="mac", mac_address="02:00:00:00:00:07")) == ["02:00:00:00:00:07"]


@pytest.mark.parametrize(("net", "words"), [(NET, "ipvlan"), (replace(MAC, mode="passthru"), "macvlan passthru")])
def test_a_mac_address_where_there_is_none_to_choose_is_refused(net, words):
    assert refusal(world(net), ask(net=net.name, mac_address="02:00:00:00:00:07")) == (
        f"name 'web1': mac_address 02:00:00:00:00:07 cannot be had: a link of {words} has its parent's MAC address"
    )


def test_one_mac_address_twice_on_a_parent_is_refused():
    mac = "02:00:00:00:00:07"
    text = f"mac_address {mac} is already that of endpoint 'a' of network 'mac' on parent 'eth0.20'"
    both = refusal(world(MAC), ask("a", "mac", mac_address=mac), ask("b", "mac", mac_address=mac))
    assert both == f"name 'b': {text}"
    after = attached(world(MAC), ask("a", "mac", mac_address=mac))
    assert refusal(after, ask("b", "mac", mac_address=mac)) == f"name 'b': {text}"
    # the other network of the same parent counts, another parent does not
    more = network("more", "192.168.21.0/24", driver_name="macvlan")
    far = network("far", "192.168.21.0/24", driver_name="macvlan", parent="eth0.30")
    assert text in refusal(
        attached(world(MAC, more), ask("a", "mac", mac_address=mac)), ask("b", "more", mac_address=mac)
    )
    assert plan(attached(world(MAC, far), ask("a", "mac", mac_address=mac)), ask("b", "far", mac_address=mac)).changed


def test_the_mac_address_of_one_that_leaves_can_be_had():
    mac = "02:00:00:00:00:07"
    observed = attached(world(MAC), ask("a", "mac", mac_address=mac))
    assert plan(observed, ask("b", "mac", mac_address=mac), gone("a", "mac")).changed


def test_a_mac_address_once_asked_for_stays():
    observed = attached(world(MAC), ask(net="mac", mac_address="02:00:00:00:00:07"))
    assert plan(observed, ask(net="mac")) == Plan()
    moved = plan(observed, ask(net="mac", ipv4_address="192.168.20.99"))
    assert "mac_address" not in written(steps(moved, SetUp)[0])


def test_a_mac_address_that_followed_from_the_address_goes_on_following():
    observed = attached(world(MAC), ask(net="mac"))
    found = plan(observed, ask(net="mac", ipv4_address="192.168.20.99"))
    assert steps(found, SetUp)[0].mac_address == "02:42:c0:a8:14:63"


# --- names of interfaces --------------------------------------------------------------------------------------


def ifnames(observed: Observed, *specs: EndpointSpec) -> list[str]:
    return [outcome.row.ifname for outcome in outcomes(observed, *specs).values()]


def test_the_first_free_eth_is_taken():
    place = space(7, loopback(), link(5, "eth1"))
    observed = world(spaces={netns("n"): place})
    target = netns("n")
    assert ifnames(observed, *(ask(name, target=target) for name in "abc")) == ["eth0", "eth2", "eth3"]


def test_an_ifname_that_is_taken_is_refused():
    place = space(7, loopback(), link(5, "lan0"))
    observed = world(spaces={netns("web1"): place})
    text = "name 'web1': ifname 'lan0' is taken by another link in netns web1; choose another ifname"
    assert refusal(observed, ask(ifname="lan0")) == text


def test_two_that_want_one_ifname_are_refused():
    text = refusal(world(), ask("a", target=netns("n"), ifname="x"), ask("b", target=netns("n"), ifname="x"))
    assert text == "name 'b': ifname 'x' is taken by another link in netns n; choose another ifname"


def test_two_ways_to_one_namespace_share_its_names():
    place = space(7)
    pid = Target("pid", "4711")
    observed = world(spaces={netns("n"): place, pid: replace(place, start_time=5)})
    assert ifnames(observed, ask("a", target=netns("n")), ask("b", target=pid)) == ["eth0", "eth1"]


def test_the_name_of_one_that_leaves_can_be_had():
    observed = attached(world(), ask("a", target=netns("n")))
    found = plan(observed, ask("b", target=netns("n"), ifname="eth0"), gone("a"))
    after = carried_out(observed, found)
    assert the_link(after, "b", target=netns("n")).name == "eth0"


def test_a_rename_is_one_request_that_puts_back_what_it_takes():
    observed = attached(world(DUAL), ask(net="dual"))
    found = plan(observed, ask(net="dual", ifname="lan0"))
    assert found.actions == (
        Action("change", "endpoint", "dual/web1", {"ifname": {"before": "eth0", "after": "lan0"}}),
    )
    [step] = steps(found, SetUp)
    assert (step.link, step.name, step.rename, step.up) == ("eth0", "lan0", True, True)
    assert step.addresses == ((ip_address("2001:db8::2"), 64),)
    assert step.routes == (GW, RouteSpec(6, ip_address("2001:db8::1")))
    assert plan(carried_out(observed, found), ask(net="dual", ifname="lan0")) == Plan()


# --- default routes -------------------------------------------------------------------------------------------


def default_routes(observed: Observed, *specs: EndpointSpec) -> list[tuple[int, ...]]:
    return [outcome.row.default_route for outcome in outcomes(observed, *specs).values()]


def test_the_first_in_a_list_gets_the_default_route():
    target = netns("n")
    assert default_routes(world(), ask("a", target=target), ask("b", target=target)) == [(4,), ()]
    assert default_routes(world(), ask("b", target=target), ask("a", target=target)) == [(4,), ()]


def test_a_default_route_that_is_there_is_left_alone():
    place = space(7, loopback(), link(5, "eth5"), routes=[route(5, "default", "10.0.0.1")])
    observed = world(DUAL, spaces={netns("web1"): place})
    assert default_routes(observed, ask(net="dual")) == [(6,)]


def test_a_default_route_asked_for_against_another_is_refused():
    place = space(7, loopback(), link(5, "eth5"), routes=[route(5, "default", "10.0.0.1")])
    observed = world(spaces={netns("web1"): place})
    assert refusal(observed, ask(default_route=True)) == (
        "name 'web1': default_route is true, but netns web1 already has an IPv4 default route by eth5; set "
        "default_route to false here, or take the other one away"
    )


def test_two_default_routes_asked_for_are_refused():
    target = netns("n")
    text = refusal(world(), ask("a", target=target, default_route=True), ask("b", target=target, default_route=True))
    assert text == (
        "name 'b': default_route is true, but netns n already has an IPv4 default route by endpoint 'a' of network "
        "'vlan20'; set default_route to false here, or take the other one away"
    )


def test_a_default_route_without_a_gateway_is_refused():
    net = network("vlan20", subnet("192.168.20.0/24", None))
    assert refusal(world(net), ask(default_route=True)) == (
        "name 'web1': default_route is true, but network 'vlan20' has no gateway that a route could use"
    )


def test_what_was_decided_once_stays():
    target = netns("n")
    observed = attached(world(), ask("a", target=target), ask("b", target=target))
    after = attached(observed, gone("a"))
    assert plan(after, ask("b", target=target)) == Plan()
    assert plan(observed, ask("b", target=target), ask("a", target=target)) == Plan()


def test_the_default_route_can_be_handed_on_in_one_run():
    target = netns("n")
    observed = attached(world(), ask("a", target=target), ask("b", target=target))
    found = plan(observed, ask("a", target=target, default_route=False), ask("b", target=target, default_route=True))
    one, two = steps(found, SetUp)
    assert (one.routes_off, one.routes) == ((GW,), ())
    assert (two.routes_off, two.routes) == ((), (GW,))


def test_a_route_of_a_router_advertisement_is_no_drift():
    observed = attached(world(DUAL), ask(net="dual"))

    def advertised(place: Space, own: Link) -> Space:
        more = route(own.index, "default", "fe80::1", family=6, protocol=9)
        return replace(place, routes=(*place.routes, more))

    assert plan(altered(observed, advertised, "dual"), ask(net="dual")) == Plan()


def test_routes_and_addresses_of_others_are_left_alone():
    observed = attached(world(), ask())

    def more(place: Space, own: Link) -> Space:
        return replace(
            place,
            links=(*place.links, link(60, "theirs")),
            addresses=(*place.addresses, address(own.index, "192.168.20.200/24"), address(60, "10.0.0.5/24")),
            routes=(*place.routes, route(own.index, "10.7.0.0/16", "192.168.20.5"), route(60, "10.8.0.0/16")),
        )

    assert plan(altered(observed, more), ask()) == Plan()


# --- drift ----------------------------------------------------------------------------------------------------


def without_address(family: int) -> Callable[[Space, Link], Space]:
    return lambda place, _own: replace(
        place, addresses=tuple(item for item in place.addresses if item.family != family)
    )


def without_routes(place: Space, _own: Link) -> Space:
    return replace(place, routes=())


def second_default(place: Space, own: Link) -> Space:
    return replace(place, routes=(*place.routes, route(own.index, "default", "192.168.20.66")))


def wrong_prefix(place: Space, own: Link) -> Space:
    found = [replace(item, prefixlen=16) if item.family == 4 else item for item in place.addresses]
    return replace(place, addresses=tuple(found))


def lo_down(place: Space, _own: Link) -> Space:
    return replace(place, links=tuple(replace(item, up=item.up and not item.loopback) for item in place.links))


def pair(before: Any, after: Any) -> dict[str, Any]:
    return {"before": before, "after": after}


@pytest.mark.parametrize(
    ("net", "change", "changes", "fields_written"),
    [
        (DUAL, with_link(mtu=1300), {"mtu": pair(1300, 1500)}, {"mtu"}),
        (
            MAC,
            with_link(mac="02:00:00:00:00:99"),
            {"mac_address": pair("02:00:00:00:00:99", "02:42:c0:a8:14:02")},
            {"mac_address"},
        ),
        (
            DUAL,
            with_link(attributes=((1, struct.pack("=H", 1)), (2, struct.pack("=H", 0)))),
            {"ipvlan_mode": pair("l3", "l2")},
            {"kind", "attributes"},
        ),
        (
            DUAL,
            with_link(attributes=((1, struct.pack("=H", 0)), (2, struct.pack("=H", 2)))),
            {"ipvlan_flag": pair("vepa", "bridge")},
            {"kind", "attributes"},
        ),
        (
            MAC,
            with_link(attributes=((1, struct.pack("=I", 2)),)),
            {"macvlan_mode": pair("vepa", "bridge")},
            {"kind", "attributes"},
        ),
        (NET, with_link(ipv6_conf=Ipv6Conf(0, 1)), {"disable_ipv6": pair("0", "1")}, {"sysctls"}),
        (DUAL, with_link(ipv6_conf=Ipv6Conf(0, 1)), {"accept_ra_defrtr": pair("1", "0")}, {"sysctls"}),
        (NET, without_address(4), {"ipv4_address": pair(None, "192.168.20.2/24")}, {"addresses"}),
        (DUAL, without_address(6), {"ipv6_address": pair(None, "2001:db8::2/64")}, {"addresses"}),
        (
            NET,
            wrong_prefix,
            {"ipv4_address": pair("192.168.20.2/16", "192.168.20.2/24")},
            {"addresses", "addresses_off", "routes", "routes_off"},
        ),
        (NET, without_routes, {"ipv4_default_route": pair([], ["via 192.168.20.1"])}, {"routes"}),
        (
            NET,
            second_default,
            {"ipv4_default_route": pair(["via 192.168.20.1", "via 192.168.20.66"], ["via 192.168.20.1"])},
            {"routes_off"},
        ),
        (NET, lo_down, {"loopback_up": pair(False, True)}, {"loopback_up"}),
        (NET, with_link(name="foo"), {"ifname": pair("foo", "eth0")}, {"rename", "mark", "up", "routes", "routes_off"}),
        (NET, with_link(up=False), {"up": pair(False, True)}, {"up", "routes", "routes_off"}),
    ],
)
def test_drift_is_told_and_put_right_and_nothing_else_is_written(net, change, changes, fields_written):
    spec = ask(net=net.name)
    observed = altered(attached(world(net), spec), change, net.name)
    found = plan(observed, spec)
    assert found.actions == (Action("repair", "endpoint", f"{net.name}/web1", changes),)
    [step] = found.kernel
    assert written(step) == fields_written
    assert (found.before, found.after) == ((), ())
    assert plan(carried_out(observed, found), spec) == Plan()


def test_a_link_that_was_down_gets_its_ipv6_back():
    observed = attached(world(DUAL), ask(net="dual"))

    def down(place: Space, own: Link) -> Space:
        place = with_link(up=False)(place, own)
        return replace(place, addresses=tuple(item for item in place.addresses if item.family == 4), routes=())

    found = plan(altered(observed, down, "dual"), ask(net="dual"))
    [step] = steps(found, SetUp)
    assert step.addresses == ((ip_address("2001:db8::2"), 64),)
    assert step.routes == (GW, RouteSpec(6, ip_address("2001:db8::1")))


def test_a_link_that_is_gone_is_made_again_with_its_address():
    observed = attached(world(), ask(ipv4_address="192.168.20.9"))

    def unlinked(place: Space, own: Link) -> Space:
        return replace(place, links=place.links[:1], addresses=(), routes=())

    lost = altered(observed, unlinked)
    found = plan(lost, ask())
    assert done(found) == [("repair", "endpoint", "vlan20/web1")]
    assert steps(found, SetUp)[0].addresses == ((ip_address("192.168.20.9"), 24),)
    assert plan(carried_out(lost, found), ask()) == Plan()


def test_a_namespace_that_is_gone_is_made_again():
    observed = replace(attached(world(), ask()), spaces={netns("web1"): None})
    found = plan(observed, ask())
    assert done(found) == [("create", "namespace", "web1"), ("repair", "endpoint", "vlan20/web1")]
    assert plan(carried_out(observed, found), ask()) == Plan()


WEB1_MARK = endpoint_mark("vlan20", "web1")


def half_made_world(*left: Link, on: Any = ON) -> Observed:
    row = Endpoint("vlan20", "web1", netns("web1"), "net1", None, (4,))
    place = space(7, loopback(), *left)
    return world(on=on, spaces={netns("web1"): place}, endpoints=[row], allocations=held(NET, "web1", "192.168.20.2"))


@pytest.mark.parametrize(
    "left",
    [
        ipvlan_link(5, "net1", 3, group=making_group(WEB1_MARK)),
        ipvlan_link(5, working_name(WEB1_MARK), 3, group=making_group(WEB1_MARK)),
        ipvlan_link(5, working_name(WEB1_MARK), 3),
    ],
    ids=["own name", "working name", "not renamed"],
)
@pytest.mark.parametrize("ifname", [None, "net1", "net2"])
def test_what_a_kill_left_half_made_goes_before_the_link_is_made(left, ifname):
    observed = half_made_world(left)
    found = plan(observed, ask(ifname=ifname))
    assert steps(found, RemoveLink) == [RemoveLink("name 'web1'", netns("web1"), 5, left.name, WEB1_MARK)]
    after = carried_out(observed, found)
    assert [item.name for item in after.spaces[netns("web1")].links] == ["lo", ifname or "net1"]
    assert plan(after, ask(ifname=ifname)) == Plan()
    # It goes with its endpoint, too.
    found = plan(observed, gone())
    assert [step.index for step in steps(found, RemoveLink)] == [5]
    assert plan(carried_out(observed, found), gone()) == Plan()


@pytest.mark.parametrize(
    "theirs",
    [
        {"group": making_group(endpoint_mark("vlan20", "web2"))},
        {"group": making_group(WEB1_MARK), "alias": "theirs"},
        {"group": 7},
        {},
    ],
)
def test_a_link_without_our_mark_and_our_group_is_somebodys(theirs):
    observed = half_made_world(ipvlan_link(5, "mine", 3, **theirs))
    for spec in (ask(ifname="net1"), gone()):
        found = plan(observed, spec)
        assert steps(found, RemoveLink) == []
        assert carried_out(observed, found).spaces[netns("web1")].named("mine")
    assert "ifname 'mine' is taken by another link" in refusal(observed, ask(ifname="mine"))


def test_a_marked_link_in_some_group_is_just_marked():
    observed = altered(attached(world(), ask()), with_link(group=making_group(WEB1_MARK)))
    assert plan(observed, ask()) == Plan()


def test_a_parent_that_is_half_made_carries_nothing_yet():
    left = vlan_link(3, "eth0.20", 2, 20, group=making_group(parent_mark("eth0.20")))
    text = refusal(half_made_world(on=host(link(2, "eth0"), left)), ask())
    assert "parent 'eth0.20' of network 'vlan20' is not there (any more); run vlan_network" in text


@pytest.mark.parametrize(
    "wrong",
    [
        with_link(kind="dummy"),
        with_link(parent_index=4),
        with_link(kind="macvlan"),
    ],
)
def test_a_link_that_cannot_be_put_right_is_made_anew(wrong):
    observed = altered(attached(world(), ask()), wrong)
    found = plan(observed, ask())
    assert done(found) == [("rebuild", "endpoint", "vlan20/web1")]
    assert [type(step) for step in found.kernel] == [RemoveLink, MakeLink, SetUp]
    assert plan(carried_out(observed, found), ask()) == Plan()


def test_a_marked_link_that_the_store_does_not_know_is_adopted():
    observed = replace(attached(world(), ask()), endpoints={}, allocations=())
    found = plan(observed, ask())
    after = carried_out(observed, found)
    assert ("vlan20", "web1") in after.endpoints
    assert steps(found, MakeLink) == []
    assert plan(after, ask()) == Plan()


# --- addresses ------------------------------------------------------------------------------------------------


def test_an_address_change_is_one_step():
    observed = attached(world(), ask())
    found = plan(observed, ask(ipv4_address="192.168.20.10"))
    assert done(found) == [
        ("release", "address", "192.168.20.2"),
        ("allocate", "address", "192.168.20.10"),
        ("change", "endpoint", "vlan20/web1"),
    ]
    assert found.actions[-1].changes["ipv4_address"] == pair("192.168.20.2/24", "192.168.20.10/24")
    [step] = found.kernel
    assert step.addresses_off == ((ip_address("192.168.20.2"), 24),)
    assert step.addresses == ((ip_address("192.168.20.10"), 24),)
    after = carried_out(observed, found)
    assert held_by(after) == {"web1": ["192.168.20.10"]}
    assert plan(after, ask()) == Plan()


def test_the_address_stays_where_none_is_asked_for():
    observed = attached(world(), ask(ipv4_address="192.168.20.10"))
    assert plan(observed, ask()) == Plan()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            ask(ipv4_address="192.168.20.1"),
            "ipv4_address 192.168.20.1 cannot be used in network 'vlan20': it is the gateway of network 'vlan20'",
        ),
        (
            ask(ipv4_address="192.168.21.1"),
            "ipv4_address 192.168.21.1 cannot be used in network 'vlan20': it is outside its subnets (192.168.20.0/24)",
        ),
        (
            ask(ipv4_address="192.168.20.50"),
            "ipv4_address 192.168.20.50 cannot be used in network 'vlan20': it is held by owner 'vm' of network "
            "'vlan20'",
        ),
        (
            ask(ipv6_address="2001:db8::5"),
            "ipv6_address 2001:db8::5 cannot be had: network 'vlan20' has no IPv6 subnet",
        ),
    ],
)
def test_an_address_that_cannot_be_had_is_refused(spec, text):
    observed = world(allocations=reserved(NET, "vm", "192.168.20.50"))
    assert refusal(observed, spec) == f"name 'web1': {text}"


def test_asked_for_addresses_are_claimed_before_free_ones_are_given_out():
    found = outcomes(world(), ask("a"), ask("b", ipv4_address="192.168.20.2"), ask("c"))
    assert [str(outcome.addresses[4].address) for outcome in found.values()] == [
        "192.168.20.3",
        "192.168.20.2",
        "192.168.20.4",
    ]


def test_a_full_network_names_each_that_finds_no_room():
    net = network("vlan20", "10.0.0.0/30")
    text = refusal(world(net), ask("a"), ask("b"), ask("c"))
    assert [line.split(":")[0] for line in text.splitlines()] == ["name 'b'", "name 'c'"]
    assert "has no free IPv4 address left in 10.0.0.0/30" in text


@pytest.mark.parametrize("order", [1, -1])
def test_an_address_from_one_that_leaves_changes_hands_in_one_transaction(order):
    observed = attached(world(), ask("old", ipv4_address="192.168.20.10"))
    specs = [gone("old"), ask("new", ipv4_address="192.168.20.10")][::order]
    found = plan(observed, *specs)
    rows = [step for step in found.before if isinstance(step.row, Allocation)]
    assert [(type(step), step.row.owner) for step in rows] == [(Drop, "old"), (Put, "new")]
    assert not any(isinstance(step.row, Allocation) for step in found.after)
    assert held_by(carried_out(observed, found)) == {"new": ["192.168.20.10"]}


def test_a_free_address_from_one_that_leaves_changes_hands_too():
    observed = attached(world(), ask("old"))
    found = plan(observed, ask("new"), gone("old"))
    assert [type(step) for step in found.before if isinstance(step.row, Allocation)] == [Drop, Put]
    assert held_by(carried_out(observed, found)) == {"new": ["192.168.20.2"]}


def test_an_address_that_nobody_takes_is_released_after_its_link_is_gone():
    observed = attached(world(), ask("old"))
    found = plan(observed, gone("old"))
    assert not any(isinstance(step.row, Allocation) for step in found.before)
    assert [step.row.owner for step in found.after if isinstance(step.row, Allocation)] == ["old"]


def test_an_address_that_one_gives_up_can_be_had_by_another_after_it():
    observed = attached(world(), ask("a", ipv4_address="192.168.20.10"))
    specs = [ask("a", ipv4_address="192.168.20.11"), ask("b", ipv4_address="192.168.20.10")]
    after = carried_out(observed, plan(observed, *specs))
    assert held_by(after) == {"a": ["192.168.20.11"], "b": ["192.168.20.10"]}


# --- what one gives up and another takes ----------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("net", [NET, MAC, DUAL, L3])
@pytest.mark.parametrize("new", [False, True], ids=["exchanged", "taken by a new one"])
def test_an_address_can_be_had_by_another_in_the_same_run(net, new, order):
    first = [ask("a", net.name, ipv4_address="192.168.20.10"), ask("b", net.name, ipv4_address="192.168.20.11")]
    observed = attached(world(net), *first[: 1 if new else 2])
    specs = [ask("a", net.name, ipv4_address="192.168.20.11"), ask("b", net.name, ipv4_address="192.168.20.10")][
        ::order
    ]
    found = plan(observed, *specs)
    rows = {
        (type(step), str(step.row.address))
        for step in found.before
        if isinstance(step.row, Allocation) and step.row.family == 4
    }
    assert rows >= {(Drop, "192.168.20.10"), (Put, "192.168.20.10"), (Put, "192.168.20.11")}
    after = carried_out(observed, found)
    assert "192.168.20.11" in held_by(after)["a"] and "192.168.20.10" in held_by(after)["b"]
    _check_world(after, net)
    assert plan(after, *specs) == Plan()


def test_where_nobody_takes_it_nothing_steps_aside():
    observed = attached(world(), ask("a"), ask("b"))
    found = plan(observed, ask("a", ipv4_address="192.168.20.10"), ask("b", ifname="lan0", default_route=False))
    assert not steps(found, StepAside)


def test_an_address_goes_with_its_cooldown_and_not_to_another():
    net = network("vlan20", "192.168.20.0/24", cooldown=60)
    observed = attached(world(net), ask("a", ipv4_address="192.168.20.10"))
    text = refusal(
        observed, ask("a", ipv4_address="192.168.20.11"), ask("b", ipv4_address="192.168.20.10"), verb="repair"
    )
    assert "it is cooling" in text


@pytest.mark.parametrize("order", [1, -1])
def test_mac_addresses_can_be_exchanged(order):
    def both(one: int, two: int) -> list[EndpointSpec]:
        return [
            ask("a", "mac", mac_address=f"02:00:00:00:00:0{one}"),
            ask("b", "mac", mac_address=f"02:00:00:00:00:0{two}"),
        ][::order]

    observed = attached(world(MAC), *both(1, 2))
    after = carried_out(observed, plan(observed, *both(2, 1)))
    assert [the_link(after, name, "mac").mac[-1] for name in ("a", "b")] == ["2", "1"]
    assert plan(after, *both(2, 1)) == Plan()
    after = carried_out(observed, plan(observed, *both(3, 1)))
    assert [the_link(after, name, "mac").mac[-1] for name in ("a", "b")] == ["3", "1"]


@pytest.mark.parametrize("order", [1, -1])
def test_names_of_links_can_be_exchanged(order):
    def both(one: str, two: str) -> list[EndpointSpec]:
        return [ask("a", target=netns("x"), ifname=one), ask("b", target=netns("x"), ifname=two)][::order]

    observed = attached(world(), *both("eth0", "eth1"))
    for names in (("eth1", "eth0"), ("eth1", "eth2"), ("eth5", "eth0")):
        after = carried_out(observed, plan(observed, *both(*names)))
        assert [the_link(after, name, target=netns("x")).name for name in ("a", "b")] == list(names)
        _check_world(after, NET)
        assert plan(after, *both(*names)) == Plan()


def test_a_name_that_is_asked_for_is_not_given_to_another_before():
    specs = [ask("a", target=netns("x")), ask("b", target=netns("x"), ifname="eth0")]
    after = attached(world(), *specs)
    assert [the_link(after, name, target=netns("x")).name for name in ("a", "b")] == ["eth1", "eth0"]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("net", [NET, DUAL, L3])
def test_the_default_route_can_be_handed_on_whatever_the_order(net, order):
    def both(one: bool) -> list[EndpointSpec]:
        return [
            ask("a", net.name, netns("x"), default_route=one),
            ask("b", net.name, netns("x"), default_route=not one),
        ][::order]

    observed = attached(world(net), *both(True))
    after = carried_out(observed, plan(observed, *both(False)))
    carried = {row.name: bool(row.default_route) for row in after.endpoints.values()}
    assert carried == {"a": False, "b": True}
    _check_world(after, net)
    assert plan(after, *both(False)) == Plan()


def test_a_default_route_that_is_asked_for_is_not_given_to_another_before():
    specs = [ask("a", target=netns("x")), ask("b", target=netns("x"), default_route=True)]
    after = attached(world(), *specs)
    assert {row.name: row.default_route for row in after.endpoints.values()} == {"a": (), "b": (4,)}


@pytest.mark.parametrize("order", [1, -1])
def test_what_one_leaves_that_moves_another_has(order):
    here, there = netns("x"), netns("y")
    observed = attached(world(), ask("a", target=here, ifname="eth0"))
    specs = [ask("a", target=there), ask("b", target=here, ifname="eth0", default_route=True)][::order]
    after = carried_out(observed, plan(observed, *specs))
    _check_world(after, NET)
    assert plan(after, *specs) == Plan()


def test_two_places_can_be_exchanged():
    observed = attached(world(), ask("a", target=netns("x")), ask("b", target=netns("y")))
    specs = [ask("a", target=netns("y")), ask("b", target=netns("x"))]
    after = carried_out(observed, plan(observed, *specs))
    assert held_by(after) == {"a": ["192.168.20.2"], "b": ["192.168.20.3"]}
    _check_world(after, NET)
    assert plan(after, *specs) == Plan()


@pytest.mark.parametrize("net", [NET, MAC])
def test_what_a_broken_exchange_left_is_finished(net):
    """The store knows already whose the addresses are, and the kernel does not."""
    observed = attached(
        world(net), ask("a", net.name, ipv4_address="192.168.20.10"), ask("b", net.name, ipv4_address="192.168.20.11")
    )
    specs = [ask("a", net.name, ipv4_address="192.168.20.11"), ask("b", net.name, ipv4_address="192.168.20.10")]
    begun = carried_out(observed, replace(plan(observed, *specs), kernel=(), after=()))
    after = carried_out(begun, plan(begun, *specs))
    _check_world(after, net)
    assert plan(after, *specs) == Plan()


def test_an_address_of_another_endpoint_does_not_stay_on_a_link_and_any_other_does():
    observed = attached(world(MAC), ask("web1", "mac"), ask("b", "mac"))

    def change(place: Space, own: Link) -> Space:
        more = address(own.index, "192.168.20.3/24"), address(own.index, "192.168.20.99/24")
        return replace(place, addresses=(*place.addresses, *more))

    [step] = steps(plan(altered(observed, change, "mac"), ask("web1", "mac")), SetUp)
    assert step.addresses_off == ((ip_address("192.168.20.3"), 24),)


def test_a_name_that_is_an_alias_of_another_is_refused_as_the_alias_would_be():
    observed = attached(world(), ask("web", aliases=("www",)))
    assert "name 'www' is an alias of endpoint 'web' of network 'vlan20'" in refusal(observed, ask("www"))
    after = carried_out(observed, plan(observed, ask("www"), ask("web", aliases=())))
    assert plan(after, ask("www"), ask("web", aliases=())) == Plan()
    plan(observed, ask("www"), gone("web"))
    plan(world(NET, MAC, endpoints=observed.endpoints.values()), ask("www", "mac"))


def test_after_a_broken_change_of_address_one_is_left():
    observed = attached(world(), ask())
    both = held(NET, "web1", "192.168.20.2", "192.168.20.10")
    observed = replace(observed, allocations=tuple(both))
    after = carried_out(observed, plan(observed, ask(ipv4_address="192.168.20.10")))
    assert held_by(after) == {"web1": ["192.168.20.10"]}
    assert plan(after, ask()) == Plan()


# --- moved ----------------------------------------------------------------------------------------------------


def test_another_namespace_moves_the_endpoint_with_its_address():
    observed = attached(world(), ask(ipv4_address="192.168.20.10"))
    spec = ask(target=netns("other"))
    found = plan(observed, spec)
    assert done(found) == [
        ("create", "namespace", "other"),
        ("move", "endpoint", "vlan20/web1"),
        ("remove", "namespace", "web1"),
    ]
    assert found.actions[1].changes == {"target": pair("netns web1", "netns other")}
    assert sorted((type(step) for step in found.kernel), key=PHASES.index) == [
        RemoveLink,
        RemoveNamespace,
        MakeNamespace,
        MakeLink,
        SetUp,
    ]
    after = carried_out(observed, found)
    assert held_by(after) == {"web1": ["192.168.20.10"]}
    assert plan(after, spec) == Plan()


def test_an_endpoint_whose_name_leads_to_another_namespace_is_taken_from_the_old_one():
    observed = attached(world(), ask())
    old = Target("netns_path", "/proc/99/ns/net")
    moved = replace(
        observed,
        spaces={netns("web1"): space(8), old: observed.spaces[netns("web1")]},
        former={("vlan20", "web1"): old},
    )
    found = plan(moved, ask())
    assert steps(found, RemoveLink)[0].space == old
    assert steps(found, MakeLink)[0].space == netns("web1")
    assert held_by(carried_out(moved, found)) == {"web1": ["192.168.20.2"]}


def test_a_link_that_somebody_moved_is_taken_from_there_and_made_again_where_it_was():
    observed = attached(world(), ask())
    home, there = observed.spaces[netns("web1")], netns("elsewhere")
    moved = replace(
        observed,
        spaces={
            netns("web1"): replace(home, links=(loopback(),), addresses=(), routes=()),
            there: replace(home, identity=(0, 99), cookie=99, addresses=(), routes=()),
        },
        former={("vlan20", "web1"): there},
    )
    found = plan(moved, ask())
    assert done(found) == [("repair", "endpoint", "vlan20/web1")]
    assert [step.space for step in steps(found, RemoveLink)] == [there]
    after = carried_out(moved, found)
    assert (after.endpoints, held_by(after)) == (observed.endpoints, {"web1": ["192.168.20.2"]})


def test_in_another_namespace_the_default_route_is_decided_anew():
    observed = attached(world(), ask("b", target=netns("n2")))
    specs = [ask("a", target=netns("n1"), ifname="lan0"), ask("b", target=netns("n1"))]
    assert default_routes(observed, *specs) == [(4,), ()]
    assert plan(attached(observed, *specs), *specs) == Plan()


# --- removed --------------------------------------------------------------------------------------------------


def test_an_endpoint_that_goes_takes_link_address_and_our_namespace():
    observed = attached(world(), ask())
    found = plan(observed, gone())
    assert done(found) == [
        ("remove", "endpoint", "vlan20/web1"),
        ("release", "address", "192.168.20.2"),
        ("remove", "namespace", "web1"),
    ]
    own = the_link(observed)
    assert found.kernel == (
        RemoveLink("name 'web1'", netns("web1"), own.index, "eth0", endpoint_mark("vlan20", "web1")),
        RemoveNamespace("name 'web1'", netns("web1")),
    )
    after = carried_out(observed, found)
    assert (after.endpoints, after.namespaces, after.allocations) == ({}, {}, ())
    assert plan(after, gone()) == Plan()


def test_an_endpoint_that_is_not_there_is_gone():
    assert plan(world(), gone()) == Plan()
    assert outcomes(world(), gone())[("vlan20", "web1")].row is None


def test_the_last_endpoint_of_two_takes_the_namespace_along():
    target = netns("n")
    observed = attached(world(), ask("a", target=target), ask("b", target=target))
    assert not steps(plan(observed, gone("a")), RemoveNamespace)
    assert len(steps(plan(observed, gone("a"), gone("b")), RemoveNamespace)) == 1
    assert len(steps(plan(attached(observed, gone("a")), gone("b")), RemoveNamespace)) == 1


def test_a_namespace_that_is_not_ours_stays():
    observed = attached(world(spaces={netns("web1"): space(7)}), ask())
    found = plan(observed, gone())
    assert not steps(found, RemoveNamespace)
    assert len(steps(found, RemoveLink)) == 1


@pytest.mark.parametrize(
    "what",
    [
        lambda seen_before, place: replace(seen_before, busy=frozenset({place.inode})),
        lambda seen_before, place: replace(
            seen_before, spaces={netns("web1"): replace(place, links=(*place.links, link(60, "theirs")))}
        ),
        lambda seen_before, place: replace(seen_before, spaces={netns("web1"): replace(place, cookie=999)}),
        lambda seen_before, place: replace(
            seen_before, namespaces={"web1": replace(seen_before.namespaces["web1"], boot_id="before")}
        ),
    ],
    ids=["a process in it", "a foreign link in it", "another namespace of its name", "one of another boot"],
)
def test_a_namespace_that_others_live_in_stays(what):
    observed = attached(world(), ask())
    found = plan(what(observed, observed.spaces[netns("web1")]), gone())
    assert not steps(found, RemoveNamespace)
    assert ("remove", "namespace", "web1") not in done(found)


def test_a_namespace_that_one_leaves_and_another_enters_stays():
    observed = attached(world(), ask("a", target=netns("n")))
    found = plan(observed, ask("b", target=netns("n")), gone("a"))
    assert not steps(found, RemoveNamespace)
    assert not steps(found, MakeNamespace)


def test_a_link_that_is_not_ours_is_never_removed():
    observed = altered(attached(world(), ask()), with_link(alias="theirs"))
    found = plan(observed, gone())
    assert found.kernel == ()
    assert held_by(carried_out(observed, found)) == {}


def test_purge_takes_those_that_are_not_in_the_list():
    other = network("other", "192.168.30.0/24", parent="eth0.30")
    observed = attached(world(NET, other), ask("a"), ask("b"), ask("c", "other"))
    found = plan(observed, ask("a"), purged=["vlan20"])
    assert [action for action in done(found) if action[1] == "endpoint"] == [("remove", "endpoint", "vlan20/b")]
    assert found.kernel[0].item == "endpoint 'b' of network 'vlan20'"


# --- refused --------------------------------------------------------------------------------------------------


def test_an_unknown_network_is_refused():
    assert refusal(world(), ask(net="vlan99")) == (
        "name 'web1': network 'vlan99' does not exist; make it with vlan_network first"
    )


def test_a_parent_that_is_gone_is_refused():
    assert refusal(world(on=host()), ask()) == (
        "name 'web1': parent 'eth0.20' of network 'vlan20' is not there (any more); run vlan_network for this network, "
        "which makes it again or says what is missing"
    )
    assert plan(world(on=host()), ask(), parents_to_come=["eth0.20"]).changed


def test_a_pid_that_is_gone_is_refused():
    pid = Target("pid", "4711")
    text = "pid 4711 does not exist (any more); give the pid of a running process"
    observed = world(spaces={pid: None}, unreachable={pid: text})
    assert refusal(observed, ask(target=pid)) == f"name 'web1': {text}"


def test_a_path_that_is_no_namespace_is_refused():
    path = Target("netns_path", "/etc/passwd")
    observed = world(spaces={path: None}, unreachable={path: "/etc/passwd is no network namespace"})
    assert refusal(observed, ask(target=path)) == "name 'web1': /etc/passwd is no network namespace"


def test_something_in_the_place_of_a_namespace_is_refused():
    target = netns("web1")
    observed = world(spaces={target: None}, unreachable={target: "/run/netns/web1 is a symbolic link; remove it"})
    assert refusal(observed, ask(target=target)) == "name 'web1': /run/netns/web1 is a symbolic link; remove it"


def test_an_endpoint_of_the_host_on_a_network_that_is_not_known_is_no_reason():
    row = Endpoint("vlan99", "gate", HOST, "underlay0", None, ())
    observed = world(endpoints=[row], spaces={HOST: ON.space})
    assert refusal(observed, ask("a", "vlan99")) == (
        "name 'a': network 'vlan99' does not exist; make it with vlan_network first"
    )


@pytest.mark.parametrize("target", [Target("pid", "1"), Target("netns_path", "/proc/1/ns/net"), netns("host")])
def test_the_hosts_own_namespace_is_refused(target):
    observed = world(spaces={target: Space(HOST_SPACE, ON.space.links)})
    assert refusal(observed, ask(target=target)) == (
        f"name 'web1': {target.kind} {target.value} is the host's own network namespace; name another one"
    )


def test_a_passthru_network_takes_one_endpoint():
    net = replace(MAC, mode="passthru")
    text = "network 'mac' is macvlan passthru: it takes one endpoint only"
    assert refusal(world(net), ask("a", "mac"), ask("b", "mac")) == f"name 'b': {text}"
    observed = attached(world(net), ask("a", "mac"))
    assert refusal(observed, ask("b", "mac")) == f"name 'b': {text}"
    assert plan(observed, gone("a", "mac"), ask("b", "mac")).changed
    [step] = steps(plan(world(net), ask("a", "mac")), MakeLink)
    assert step.mac_address is None


@pytest.mark.parametrize(
    "child", [macvlan_link(50, "x", 3), ipvlan_link(50, "x", 3, mode=1), link(50, "x", "macvtap", parent_index=3)]
)
def test_a_child_that_is_not_ours_is_not_harmed(child):
    observed = world(children={3: [Child(child, "namespace 'theirs'")]})
    text = refusal(observed, ask("a"), ask("b"))
    assert [line.split(":")[0] for line in text.splitlines()] == ["name 'a'", "name 'b'"]
    assert f"parent 'eth0.20' has the link 'x' ({child.kind}) in namespace 'theirs', which is not ours" in text


def test_our_own_children_are_no_reason():
    observed = attached(world(), ask("a"))
    own = the_link(observed, "a")
    observed = replace(observed, children={3: (Child(replace(own, parent_index=3), "namespace 'a'"),)})
    assert plan(observed, ask("b")).changed


def test_every_failing_item_is_named_in_input_order():
    pid = Target("pid", "4711")
    observed = world(spaces={pid: None}, unreachable={pid: "pid 4711 does not exist"})
    specs = [
        ask("a", "vlan99"),
        ask("b"),
        ask("c", target=pid),
        ask("d", ipv4_address="10.0.0.1"),
        ask("e", mac_address="02:00:00:00:00:01"),
    ]
    with pytest.raises(Refused) as error:
        plan_endpoints.plan(observed, specs)
    assert [text.split(":")[0] for text in error.value.messages] == ["name 'a'", "name 'c'", "name 'd'", "name 'e'"]


# --- a network that changes -----------------------------------------------------------------------------------


def test_the_links_follow_a_changed_network_under_its_verb():
    observed = attached(world(), ask())
    changed = {"vlan20": replace(NET, mtu=1400, flag="private")}
    rows = plan_endpoints.as_specs(observed.endpoints.values())
    found = plan(observed, *rows, networks=changed, verb="change")
    assert found.actions == (
        Action(
            "change",
            "endpoint",
            "vlan20/web1",
            {"mtu": pair(1500, 1400), "ipvlan_flag": pair("bridge", "private")},
        ),
    )
    assert steps(found, SetUp)[0].attributes == ((1, "=H", 0), (2, "=H", 1))


def test_to_and_from_passthru_the_link_is_made_anew():
    observed = attached(world(MAC), ask(net="mac"))
    rows = plan_endpoints.as_specs(observed.endpoints.values())
    found = plan(observed, *rows, networks={"mac": replace(MAC, mode="passthru")}, verb="change")
    assert sorted((type(step) for step in found.kernel), key=PHASES.index) == [RemoveLink, MakeLink, SetUp]
    assert done(found) == [("rebuild", "endpoint", "mac/web1")]


def test_an_address_outside_the_new_subnet_is_given_anew():
    observed = attached(world(), ask())
    changed = network("vlan20", "10.7.0.0/24")
    from_now = replace(observed, networks={"vlan20": changed})
    fresh = world(changed)
    observed = replace(observed, free=fresh.free)
    rows = plan_endpoints.as_specs(observed.endpoints.values())
    found = plan(observed, *rows, networks=from_now.networks, verb="change")
    assert ("release", "address", "192.168.20.2") in done(found)
    assert ("allocate", "address", "10.7.0.2") in done(found)
    [step] = steps(found, SetUp)
    assert step.addresses == ((ip_address("10.7.0.2"), 24),)
    assert step.addresses_off == ((ip_address("192.168.20.2"), 24),)
    assert step.routes == (RouteSpec(4, ip_address("10.7.0.1")),)


# --- many -----------------------------------------------------------------------------------------------------


def test_a_thousand_endpoints_get_a_thousand_addresses_in_order():
    net = network("vlan20", "10.0.0.0/16")
    specs = [ask(f"web{number}") for number in range(1000)]
    found, results = plan_endpoints.plan(world(net), specs)
    assert [int(results[spec.key].addresses[4].address) for spec in specs] == [
        int(ip_address("10.0.0.2")) + number for number in range(1000)
    ]
    assert len(steps(found, MakeLink)) == len(steps(found, SetUp)) == len(steps(found, MakeNamespace)) == 1000


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c"]),
                st.sampled_from(["present", "present", "absent"]),
                st.sampled_from(["n1", "n2"]),
                st.sampled_from([None, None, "192.168.20.2", "192.168.20.3", "192.168.20.9"]),
                st.sampled_from([None, None, "eth0", "eth1"]),
                st.sampled_from([None, None, True, False]),
                st.sampled_from([None, None, "02:00:00:00:00:01", "02:00:00:00:00:02"]),
            ),
            max_size=3,
            unique_by=lambda item: item[0],
        ),
        max_size=5,
    ),
    st.sampled_from([NET, DUAL, MAC, L3]),
)
def test_any_run_is_refused_or_leaves_nothing_for_the_next(runs, net):
    observed = world(net)
    for run in runs:
        specs = []
        for name, state, place, text, ifname, default_route, mac in run:
            if state == "absent":
                specs.append(gone(name, net.name))
                continue
            texts: dict[str, Any] = {} if text is None else {"ipv4_address": text}
            if net is MAC:
                texts["mac_address"] = mac
            specs.append(ask(name, net.name, netns(place), ifname=ifname, default_route=default_route, **texts))
        try:
            found = plan(observed, *specs)
        except Refused:
            with pytest.raises(Refused):
                plan(observed, *reversed(specs))
            continue
        plan(observed, *reversed(specs))
        observed = carried_out(observed, found)
        assert plan(observed, *specs) == Plan()
        _check_world(observed, net)


def _check_world(observed: Observed, net: Any) -> None:
    addresses = [row.address for row in observed.allocations]
    assert len(set(addresses)) == len(addresses)
    assert {row.owner for row in observed.allocations} == {row.name for row in observed.endpoints.values()}
    homes = {row.target for row in observed.endpoints.values()}
    assert {netns(name) for name in observed.namespaces} == homes
    for target, place in observed.spaces.items():
        if place is None:
            assert target not in homes
            continue
        for family in (4, 6):
            defaults = [item for item in place.routes if item.destination == "default" and item.family == family]
            assert len(defaults) <= 1
    for row in observed.endpoints.values():
        own = observed.spaces[row.target].marked(endpoint_mark(*row.key))
        assert own is not None and own.name == row.ifname and own.up
        found = {item.address for item in observed.spaces[row.target].addresses if item.index == own.index}
        assert found == {str(item.address) for item in observed.allocations if item.owner == row.name}


# --- what is kept, and what rests -----------------------------------------------------------------------------


def test_what_an_absent_endpoint_keeps_it_has_again():
    observed = carried_out(world(DUAL), plan(world(DUAL), ask(net="dual")))
    away = plan(observed, replace(gone(net="dual"), keep=True))
    assert done(away) == [("remove", "endpoint", "dual/web1"), ("remove", "namespace", "web1")]
    kept = carried_out(observed, away)
    assert [row.text for row in kept.allocations] == ["192.168.20.2", "2001:db8::2"]
    assert plan(kept, replace(gone(net="dual"), keep=True)) == Plan()
    other = carried_out(kept, plan(kept, ask("web2", net="dual")))
    back = carried_out(other, plan(other, ask(net="dual")))
    assert {row.owner: row.text for row in back.allocations if row.family == 4} == {
        "web1": "192.168.20.2",
        "web2": "192.168.20.3",
    }


def test_what_is_kept_is_released_by_absent_without_keep():
    observed = carried_out(world(), plan(world(), ask()))
    kept = carried_out(observed, plan(observed, replace(gone(), keep=True)))
    away = plan(kept, gone())
    assert done(away) == [("release", "address", "192.168.20.2")]
    assert carried_out(kept, away).allocations == ()
    assert plan(carried_out(kept, away), gone()) == Plan()


def test_what_an_endpoint_leaves_cools_where_the_network_says_so():
    net = replace(NET, cooldown=60)
    start = replace(world(net), now=1000)
    observed = carried_out(start, plan(start, ask()))
    cooled = carried_out(observed, plan(observed, gone()))
    assert [(row.owner, row.cooling, row.expires) for row in cooled.allocations] == [("web1", True, 1060)]
    assert "it is cooling until 1970-01-01T00:17:40Z, since endpoint 'web1' of network 'vlan20' left it" in refusal(
        cooled, ask("web2", ipv4_address="192.168.20.2")
    )
    assert ("allocate", "address", "192.168.20.3") in done(plan(cooled, ask("web2")))
    for back in (ask(), ask(ipv4_address="192.168.20.2")):
        assert ("allocate", "address", "192.168.20.2") in done(plan(cooled, back))


# --- on the host ------------------------------------------------------------------------------------------------------

HOST_ASK = {"name": "gate", "target": HOST}


def host_world(*networks: Any) -> Observed:
    return world(*(networks or (DUAL,)), spaces={HOST: ON.space})


def host_routes(observed: Observed) -> list[str]:
    return [item.destination for item in observed.host.space.routes if item.protocol == ROUTE_PROTOCOL]


def test_the_host_gets_one_route_to_each_endpoint_and_none_to_the_subnet():
    observed = attached(host_world(), ask(net="dual", **HOST_ASK), ask("web1", "dual"), ask("web2", "dual"))
    assert host_routes(observed) == ["192.168.20.3/32", "192.168.20.4/32", "2001:db8::3/128", "2001:db8::4/128"]
    own = the_link(observed, "gate", "dual", HOST)
    assert own.name == "underlay0"
    on_it = [(item.address, item.prefixlen) for item in observed.host.space.addresses if item.index == own.index]
    assert on_it == [("192.168.20.2", 32), ("2001:db8::2", 128)]
    row = observed.endpoints["dual", "gate"]
    assert row.default_route == ()
    assert plan(observed, ask(net="dual", **HOST_ASK), ask("web1", "dual"), ask("web2", "dual")) == Plan()


def test_the_routes_follow_whoever_comes_and_goes_though_nobody_names_the_host():
    observed = attached(host_world(), ask(net="dual", **HOST_ASK), ask("web1", "dual"))
    found = plan(observed, ask("web2", "dual"))
    assert ("change", "endpoint", "dual/gate") in done(found)
    observed = carried_out(observed, found)
    assert host_routes(observed) == ["192.168.20.3/32", "2001:db8::3/128", "192.168.20.4/32", "2001:db8::4/128"]
    found = plan(observed, gone("web1", "dual"))
    observed = carried_out(observed, found)
    assert host_routes(observed) == ["192.168.20.4/32", "2001:db8::4/128"]
    assert plan(observed, ask("web2", "dual")) == Plan()


def test_a_route_to_an_endpoint_that_was_removed_comes_back_and_those_of_others_stay():
    observed = attached(host_world(NET), ask(**HOST_ASK), ask("web1"))
    own = the_link(observed, "gate", target=HOST)
    foreign = route(own.index, "192.168.20.77/32", protocol=4)
    place = replace(
        observed.host.space,
        routes=(*(item for item in observed.host.space.routes if item.protocol != ROUTE_PROTOCOL), foreign),
    )
    observed = replace(observed, host=replace(observed.host, space=place), spaces={**observed.spaces, HOST: place})
    found = plan(observed, ask(**HOST_ASK))
    [step] = found.kernel
    assert written(step) == {"routes"}
    assert found.actions[0].changes == {"ipv4_routes": {"before": [], "after": ["192.168.20.3"]}}


def test_on_the_host_the_link_leaves_the_lan_alone():
    net = network("mac", "192.168.20.0/24", "2001:db8::/64", driver_name="macvlan")
    [step] = [step for step in plan(host_world(net), ask(net="mac", **HOST_ASK)).kernel if isinstance(step, SetUp)]
    assert step.sysctls == {
        DISABLE_IPV6: "0",
        "net.ipv4.conf.IFNAME.arp_announce": "2",
        "net.ipv4.conf.IFNAME.arp_ignore": "1",
        "net.ipv6.conf.IFNAME.accept_ra": "0",
    }
    assert not step.loopback_up
    observed = attached(host_world(net), ask(net="mac", **HOST_ASK))
    drifted = replace(observed, sysctls={("mac", "gate"): {"net.ipv4.conf.IFNAME.arp_ignore": "0"}})
    [step] = plan(drifted, ask(net="mac", **HOST_ASK)).kernel
    assert step.sysctls == {"net.ipv4.conf.IFNAME.arp_ignore": "1"}


@pytest.mark.parametrize(("flag", "mode", "words"), [("private", "l2", "private"), ("vepa", "l2", "sends frames back")])
def test_that_the_host_cannot_reach_them_is_warned_of(flag, mode, words):
    net = network("vlan20", "192.168.20.0/24", flag=flag, mode=mode)
    [warning] = plan(host_world(net), ask(**HOST_ASK)).warnings
    assert "the host does not reach" in warning and words in warning


def test_what_cannot_be_on_the_host_is_refused():
    assert "default_route cannot be true with host" in refusal(
        host_world(), ask(net="dual", default_route=True, **HOST_ASK)
    )
    lone = network("mac", "192.168.20.0/24", driver_name="macvlan", mode="passthru")
    assert "takes one endpoint only" in refusal(host_world(lone), ask(net="mac", **HOST_ASK))
    both = [ask(net="dual", **{**HOST_ASK, "name": name}) for name in ("gate", "door")]
    assert "endpoint 'gate' is on the host already" in refusal(host_world(), *both)
    twin = network("twin", "192.168.20.0/24", parent="eth0.30")
    both = [ask(net=net.name, **HOST_ASK) for net in (NET, twin)]
    assert "network 'vlan20' has the same subnet on another parent" in refusal(host_world(NET, twin), *both)


# --- with no links ----------------------------------------------------------------------------------------------------


def test_the_network_none_is_a_namespace_with_its_loopback_up_and_without_ipv6():
    found = plan(world(), ask("vault", "none"))
    assert done(found) == [("create", "namespace", "vault"), ("create", "endpoint", "none/vault")]
    [_made, step] = found.kernel
    assert (step.link, step.sysctls, step.loopback_up) == ("lo", {DISABLE_IPV6: "1"}, True)
    observed = carried_out(world(), found)
    assert plan(observed, ask("vault", "none")) == Plan()
    found = plan(observed, gone("vault", "none"))
    assert done(found) == [("remove", "endpoint", "none/vault"), ("remove", "namespace", "vault")]
    observed = carried_out(observed, found)
    assert (observed.endpoints, observed.namespaces) == ({}, {})


def test_what_was_done_to_its_loopback_is_drift():
    observed = attached(world(), ask("vault", "none"))
    place = observed.spaces[netns("vault")]
    [lo] = place.links
    altered_lo = replace(lo, ipv6_conf=Ipv6Conf(0, 1))
    observed = replace(observed, spaces={netns("vault"): replace(place, links=(altered_lo,), addresses=())})
    found = plan(observed, ask("vault", "none"))
    assert found.actions[0].changes == {
        "disable_ipv6": {"before": "0", "after": "1"},
        "ipv4_address": {"before": None, "after": "127.0.0.1/8"},
    }
    assert plan(carried_out(observed, found), ask("vault", "none")) == Plan()


def test_none_and_another_network_exclude_each_other():
    observed = attached(world(), ask("vault", "none"))
    assert "netns vault is on network 'none'" in refusal(observed, ask("web1", target=netns("vault")))
    observed = attached(world(), ask("web1"))
    assert "netns web1 has endpoint 'vlan20/web1'" in refusal(observed, ask("vault", "none", target=netns("web1")))
    busy = world(spaces={netns("busy"): space(77, loopback(), link(5, "tun0"))})
    assert "netns busy has the link 'tun0'" in refusal(busy, ask("vault", "none", target=netns("busy")))
    # In one task, whichever comes first.
    both = [ask("vault", "none", target=netns("a")), ask("web1", target=netns("a"))]
    assert "network 'none'" in refusal(world(), *both)
    assert "means none" in refusal(world(), *reversed(both))


def test_from_a_network_to_none_in_one_task():
    observed = attached(world(), ask("web1"))
    found = plan(observed, gone("web1"), ask("vault", "none", target=netns("web1")))
    assert ("create", "endpoint", "none/vault") in done(found)
    observed = carried_out(observed, found)
    assert [item.name for item in observed.spaces[netns("web1")].links] == ["lo"]
    assert set(observed.endpoints) == {("none", "vault")}


# --- settings of a link -----------------------------------------------------------------------------------------------

LOG = "net.ipv4.conf.IFNAME.log_martians"


def test_settings_of_a_link_are_written_kept_and_put_right():
    observed = attached(world(), ask(sysctls={LOG: "1"}))
    assert observed.endpoints["vlan20", "web1"].sysctls == {LOG: "1"}
    right = replace(observed, sysctls={("vlan20", "web1"): {LOG: "1"}})
    assert plan(right, ask()) == Plan()
    wrong = replace(observed, sysctls={("vlan20", "web1"): {LOG: "0"}})
    found = plan(wrong, ask())
    assert found.actions == (
        Action("repair", "endpoint", "vlan20/web1", {"log_martians": {"before": "0", "after": "1"}}),
    )
    [step] = found.kernel
    assert step.sysctls == {LOG: "1"}


def test_a_container_named_by_its_process_is_not_moved_when_it_is_named_as_container():
    process, container = Target("pid", "77"), Target("container", "app", "docker")
    place = space(77, loopback())
    observed = attached(world(spaces={process: place}), ask(target=process))
    spaces = {process: observed.spaces[process], container: observed.spaces[process]}
    found = plan(replace(observed, spaces=spaces), ask(target=container))
    assert found.kernel == ()
    assert found.actions[0].changes == {"target": {"before": "pid 77", "after": "container app"}}


def test_with_a_parent_that_is_made_anew_its_links_are_made_anew():
    observed = attached(world(), ask())
    found = plan(observed, ask(), parents_to_come=["eth0.20"])
    assert [type(step) for step in found.kernel] == [RemoveLink, MakeLink, SetUp]
    assert done(found) == [("rebuild", "endpoint", "vlan20/web1")]


# --- what neighbours are told ---------------------------------------------------------------------------------

TELLING = replace(DUAL, announce=Announcing(2, 500))


def told(found: Plan) -> list[tuple[Target, str, tuple[str, ...], int, int]]:
    return [
        (step.space, step.mark, tuple(map(str, step.addresses)), step.count, step.interval_ms)
        for step in found.kernel
        if isinstance(step, Announce)
    ]


def test_neighbours_are_told_of_one_that_comes_and_not_again():
    observed = world(TELLING)
    first = plan(observed, ask("web1", "dual"))
    assert told(first) == [
        (netns("web1"), endpoint_mark("dual", "web1"), ("192.168.20.2", "2001:db8::2"), 2, 500),
    ]
    there = carried_out(observed, first)
    assert told(plan(there, ask("web1", "dual"))) == []
    assert told(plan(there, ask("web1", "dual", aliases=("www",)))) == []


def test_neighbours_are_told_of_another_address_mac_address_or_place():
    observed = world(replace(MAC, announce=Announcing()))
    there = carried_out(observed, plan(observed, ask("web1", "mac")))
    for change in ({"ipv4_address": "192.168.20.9"}, {"mac_address": "02:00:00:00:00:99"}, {"target": netns("other")}):
        assert len(told(plan(there, ask("web1", "mac", **change)))) == 1, change


@pytest.mark.parametrize("net", [replace(DUAL, announce=Announcing(0)), replace(L3, announce=Announcing())])
def test_nothing_is_told_where_it_is_turned_off_or_nobody_listens(net):
    assert told(plan(world(net), ask("web1", net.name))) == []


# --- addresses that others have -------------------------------------------------------------------------------

THEIRS = "02:00:00:00:00:77"


def in_use(observed: Observed, *addresses: str) -> Observed:
    return replace(observed, conflicts={("eth0.20", ip_address(text)): THEIRS for text in addresses}, now=1_800_000_000)


def test_a_free_address_that_somebody_has_is_set_aside_and_the_next_one_taken():
    observed = in_use(world(NET), "192.168.20.2", "192.168.20.3")
    found = plan(observed, ask("web1"), ask("web2"))
    rows = {str(step.row.address): step.row for step in found.before if isinstance(step.row, Allocation)}
    assert {text: row.owner for text, row in rows.items()} == {
        "192.168.20.2": "conflict-192.168.20.2",
        "192.168.20.3": "conflict-192.168.20.3",
        "192.168.20.4": "web1",
        "192.168.20.5": "web2",
    }
    aside = rows["192.168.20.2"]
    assert (aside.kind, aside.description, aside.expires) == (
        "reserved",
        f"in use by {THEIRS} on eth0.20",
        1_800_000_000 + plan_endpoints.QUARANTINE_S,
    )
    assert found.warnings[0] == (
        f"name 'web1': 192.168.20.2 of network 'vlan20' is in use by {THEIRS} on eth0.20, so it is set aside for a day "
        "and another one is taken"
    )
    assert len(found.warnings) == 2


def test_an_address_that_was_asked_for_and_that_somebody_has_is_refused():
    words = refusal(in_use(world(NET), "192.168.20.9"), ask("web1", ipv4_address="192.168.20.9"), ask("web2"))
    assert words == (
        f"name 'web1': ipv4_address 192.168.20.9 cannot be used in network 'vlan20': {THEIRS} on eth0.20 has it; free it there, "
        "or use another"
    )


def test_an_address_that_is_held_and_that_somebody_has_is_refused():
    observed = in_use(world(NET, allocations=held(NET, "web1", "192.168.20.9")), "192.168.20.9")
    assert "192.168.20.9 cannot be used" in refusal(observed, ask("web1"))
