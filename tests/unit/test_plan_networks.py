# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of networks, from what was observed: what is made, changed, refused, and left alone."""

from __future__ import annotations

import io
import itertools
import re
from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import observe, parents, plan_networks
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    ANNOUNCING,
    Action,
    Allocation,
    Endpoint,
    HostSetting,
    Parent,
    dummy_name,
    endpoint_mark,
    making_group,
    parent_mark,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Child, Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import NetworkSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    WHOLE_RUN,
    ChangeParent,
    Drop,
    MakeParent,
    Plan,
    Put,
    RemoveLink,
)
from hypothesis import given
from hypothesis import strategies as st

from .builders import (
    address,
    carried_out,
    held,
    host,
    ipvlan_link,
    link,
    macvlan_link,
    netns,
    network,
    replace,
    reserved,
    route,
    seen,
    subnet,
    vlan_link,
)

ETH0 = link(2, "eth0")
OURS20 = Parent("eth0.20", "eth0", 20)
WEB20 = network("web", "10.1.0.0/24", parent="eth0.20")
MARKED20 = vlan_link(3, "eth0.20", 2, 20, alias=parent_mark("eth0.20"))


def ask(name: str = "web", *subnets: Any, state: str = "present", **fields: Any) -> NetworkSpec:
    given_subnets = tuple(subnet(item) if isinstance(item, str) else item for item in subnets) or None
    return NetworkSpec(f"name '{name}'", name, state, subnets=given_subnets, **fields)


def gone(name: str = "web", **fields: Any) -> NetworkSpec:
    return ask(name, state="absent", **fields)


def plan(observed: Observed, *specs: NetworkSpec, **options: Any) -> plan_networks.Change:
    """The plan; that it is the same again, and that nothing of what it was made from has changed, is always checked."""
    before = repr((observed, specs))
    change = plan_networks.plan(observed, specs, **options)
    assert plan_networks.plan(observed, specs, **options) == change
    assert repr((observed, specs)) == before
    return change


def refusal(observed: Observed, *specs: NetworkSpec, **options: Any) -> str:
    with pytest.raises(Refused) as error:
        plan_networks.plan(observed, specs, **options)
    return str(error.value)


def done(change: plan_networks.Change) -> list[tuple[str, str, str]]:
    return [(action.action, action.kind, action.name) for action in change.plan.actions]


def existing(*networks: Any, on: Any = None, **fields: Any) -> Observed:
    """A host on which ``eth0.20`` was made by us for these networks."""
    return seen(*networks, on=on or host(ETH0, MARKED20), made=[OURS20], **fields)


def endpoint(net: Any, name: str) -> Endpoint:
    return Endpoint(net.name, name, netns(name), "eth0", None, (4,), 7, "boot-1")


# --- made -----------------------------------------------------------------------------------------------------


def test_a_network_gets_its_sub_interface_made():
    change = plan(seen(), ask("web", "192.168.20.0/24", parent="eth0.20"))
    net = network("web", "192.168.20.0/24", parent="eth0.20", announce=ANNOUNCING)
    assert change.plan == Plan(
        actions=(Action("create", "parent", "eth0.20"), Action("create", "network", "web")),
        before=(Put(OURS20), Put(net)),
        kernel=(MakeParent("name 'web'", OURS20, up=True),),
    )
    assert change.networks == {"web": net}
    assert change.parents == {"eth0.20": OURS20}
    assert change.parents_to_come == {"eth0.20"}


def test_the_second_plan_is_empty():
    first = seen()
    spec = ask("web", "192.168.20.0/24", parent="eth0.20")
    after = carried_out(first, plan(first, spec).plan)
    assert plan(after, spec).plan == Plan()


def test_two_networks_share_one_sub_interface_that_is_made_once():
    change = plan(seen(), ask("a", "10.1.0.0/24", parent="eth0.20"), ask("b", "10.2.0.0/24", parent="eth0.20"))
    assert done(change) == [("create", "parent", "eth0.20"), ("create", "network", "a"), ("create", "network", "b")]
    assert [type(step) for step in change.plan.kernel] == [MakeParent]


def test_a_network_beside_another_uses_what_is_there():
    change = plan(existing(network("a", "10.1.0.0/24")), ask("b", "10.2.0.0/24", parent="eth0.20"))
    assert done(change) == [("create", "network", "b")]
    assert change.plan.kernel == ()


def test_a_hand_made_link_of_any_name_is_used_and_never_kept_as_ours():
    for name in ("eth0.20", "foo", "eth0.10.20"):
        on = host(ETH0, vlan_link(3, name, 2, 20))
        change = plan(seen(on=on), ask("web", "10.1.0.0/24", parent=name))
        assert done(change) == [("create", "network", "web")]
        assert (change.plan.kernel, change.parents) == ((), {})


def test_what_is_left_out_gets_the_defaults():
    net = plan(seen(), ask("web")).networks["web"]
    assert (net.driver_name, net.mode, net.flag) == ("ipvlan", "l2", "bridge")
    assert (net.parent, net.asked_parent, net.isolated) == (dummy_name("web"), None, True)
    assert (net.internal, net.enable_ipv4, net.enable_ipv6, net.mtu, net.labels) == (False, True, False, None, {})
    macvlan = plan(seen(), ask("web", driver="macvlan")).networks["web"]
    assert (macvlan.mode, macvlan.flag) == ("bridge", None)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"settings": {"ipvlan_mode": "l3", "ipvlan_flag": "vepa"}}, ("l3", "vepa")),
        ({"driver": "macvlan", "settings": {"macvlan_mode": "private"}}, ("private", None)),
    ],
)
def test_mode_and_flag_as_asked_for(fields, expected):
    net = plan(seen(), ask("web", parent="eth0", **fields)).networks["web"]
    assert (net.mode, net.flag) == expected


def test_an_isolated_network_gets_a_dummy_of_its_own():
    change = plan(seen(), ask("web", mtu=9000))
    parent = Parent(dummy_name("web"))
    assert change.plan.kernel == (MakeParent("name 'web'", parent, up=True, mtu=9000),)
    assert len(parent.name) <= 15


def test_internal_with_a_parent_uses_the_dummy_and_warns():
    change = plan(seen(), ask("web", internal=True, parent="eth0.20"))
    assert change.networks["web"].parent == dummy_name("web")
    assert [step.parent.name for step in change.plan.kernel] == [dummy_name("web")]
    assert change.plan.warnings == ("name 'web': internal is true, so parent 'eth0.20' is not used",)


def half_made(name: str) -> dict[str, Any]:
    return {"up": False, "group": making_group(parent_mark(name))}


def test_what_a_kill_left_of_a_parent_is_finished():
    left = vlan_link(9, "eth0.20", 2, 20, **half_made("eth0.20"))
    asked = ask("web", "10.1.0.0/24", parent="eth0.20")
    for known in ([], [WEB20]):
        observed = seen(*known, on=host(ETH0, left), made=[OURS20])
        change = plan(observed, asked)
        mark = parent_mark("eth0.20")
        assert change.plan.kernel == (ChangeParent("name 'web'", "eth0.20", up=True, mark=mark),)
        assert ("repair", "parent", "eth0.20") in done(change)
        after = carried_out(observed, change.plan)
        assert (after.host.links["eth0.20"].alias, after.host.links["eth0.20"].group) == (mark, 0)
        assert plan(after, asked).plan == Plan()


def test_what_a_kill_left_of_a_dummy_is_finished():
    dummy = dummy_name("web")
    observed = seen(on=host(ETH0, link(9, dummy, "dummy", **half_made(dummy))), made=[Parent(dummy)])
    change = plan(observed, ask("web", "10.1.0.0/24"))
    assert change.plan.kernel == (ChangeParent("name 'web'", dummy, up=True, mark=parent_mark(dummy)),)


def test_what_a_kill_left_of_another_parent_is_made_anew_unless_others_would_lose_by_it():
    left = vlan_link(9, "eth0.20", 2, 21, **half_made("eth0.20"))
    observed = seen(on=host(ETH0, left), made=[OURS20], children={})
    change = plan(observed, ask("web", "10.1.0.0/24", parent="eth0.20"))
    assert change.plan.kernel[0] == RemoveLink("name 'web'", None, 9, "eth0.20", parent_mark("eth0.20"))
    assert plan(carried_out(observed, change.plan), ask("web", "10.1.0.0/24", parent="eth0.20")).plan == Plan()
    child = Child(macvlan_link(12, "theirs", 9), "namespace 'x'")
    assert "would be lost" in refusal(
        replace(observed, children={9: [child]}), ask("web", "10.1.0.0/24", parent="eth0.20")
    )


def test_what_a_kill_left_of_a_parent_goes_with_its_network():
    left = vlan_link(9, "eth0.20", 2, 20, **half_made("eth0.20"))
    change = plan(seen(WEB20, on=host(ETH0, left), made=[OURS20]), gone("web"))
    assert change.plan.kernel == (RemoveLink("parent 'eth0.20'", None, 9, "eth0.20", parent_mark("eth0.20")),)


@pytest.mark.parametrize(
    "theirs",
    [
        {"group": making_group(parent_mark("eth0.30"))},
        {"group": making_group(parent_mark("eth0.20")), "alias": "theirs"},
        {"group": 7},
    ],
)
def test_a_parent_without_our_mark_and_our_group_is_somebodys(theirs):
    observed = seen(WEB20, on=host(ETH0, vlan_link(9, "eth0.20", 2, 20, **theirs)), made=[OURS20])
    change = plan(observed, ask("web", "10.1.0.0/24", parent="eth0.20"))
    assert change.plan.kernel == ()
    assert "made anew by somebody else" in change.plan.warnings[0]
    assert plan(observed, gone("web")).plan.kernel == ()


def test_a_base_that_is_down_leaves_the_sub_interface_down_and_warns():
    change = plan(seen(on=host(link(2, "eth0", up=False))), ask("web", "10.1.0.0/24", parent="eth0.20"))
    assert change.plan.kernel == (MakeParent("name 'web'", OURS20, up=False),)
    assert change.plan.warnings == (
        "name 'web': link 'eth0' is down, so nothing passes on this network until it is up",
    )


def test_a_hand_made_parent_that_is_down_is_only_warned_of():
    on = host(ETH0, vlan_link(3, "foo", 2, 20, up=False))
    change = plan(seen(on=on), ask("web", "10.1.0.0/24", parent="foo"))
    assert change.plan.kernel == ()
    assert "link 'foo' is down" in change.plan.warnings[0]


# --- subnets --------------------------------------------------------------------------------------------------


def subnets_of(change: plan_networks.Change, name: str) -> list[str]:
    return [str(item.network) for item in change.networks[name].subnets]


def test_the_default_pools_are_used_in_their_order():
    change = plan(seen(), *(ask(f"n{number}") for number in range(16)))
    found = [subnets_of(change, f"n{number}") for number in range(16)]
    assert found == [
        *([f"172.{second}.0.0/16"] for second in range(18, 32)),
        ["192.168.0.0/20"],
        ["192.168.16.0/20"],
    ]
    first = change.networks["n0"].subnets[0]
    assert (str(first.gateway), first.from_pool) == ("172.18.0.1", True)


def test_a_default_subnet_is_never_one_that_is_in_use():
    observed = seen(
        network("a", "172.18.7.0/24", parent="eth0"),
        elsewhere=(ip_network("172.19.0.0/16"), ip_network("172.20.9.9/32"), ip_network("2001:db8::/32")),
    )
    assert subnets_of(plan(observed, ask("web")), "web") == ["172.21.0.0/16"]


def test_a_default_subnet_is_never_one_that_another_item_asks_for():
    change = plan(seen(), ask("a"), ask("b", "172.18.0.0/16", parent="eth0.30"))
    assert subnets_of(change, "a") == ["172.19.0.0/16"]


def test_a_subnet_of_a_network_that_goes_can_be_had_again():
    dummy = dummy_name("a")
    on = host(ETH0, link(3, dummy, "dummy", alias=parent_mark(dummy)))
    observed = seen(network("a", "172.18.0.0/16", parent=None), on=on, made=[Parent(dummy)])
    assert subnets_of(plan(observed, ask("web"), gone("a")), "web") == ["172.18.0.0/16"]


def test_a_default_subnet_may_be_one_that_another_leaves_in_the_same_run():
    observed = seen(network("a", "172.18.0.0/16", parent="eth0"))
    change = plan(observed, ask("b"), ask("a", "10.7.0.0/24", parent="eth0"), ask("c"), ask("d"))
    assert [subnets_of(change, name) for name in "bcd"] == [["172.19.0.0/16"], ["172.18.0.0/16"], ["172.20.0.0/16"]]


def test_a_thousand_networks_have_a_subnet_each():
    """Of which each is found without looking at all others again: that took a minute."""
    pool = HostSetting("default_address_pools", [{"base": "10.0.0.0/8", "size": 24}])
    change = plan(seen(), *(ask(f"n{number}", enable_ipv6=True) for number in range(1000)), settings=[pool])
    found = [change.networks[f"n{number}"].subnets[0].network for number in range(1000)]
    assert found == list(itertools.islice(ip_network("10.0.0.0/8").subnets(new_prefix=24), 1000))
    assert len({change.networks[f"n{number}"].subnets[1].network for number in range(1000)}) == 1000


def test_full_pools_are_told():
    observed = seen(elsewhere=(ip_network("172.16.0.0/12"), ip_network("192.168.0.0/16")))
    assert refusal(observed, ask("web")) == (
        "name 'web': the default pools have no free IPv4 subnet left; give one in ipam_config, or more pools in "
        "default_address_pools"
    )


def test_an_ipv6_subnet_alone_gets_an_ipv4_subnet_too():
    net = plan(seen(), ask("web", "2001:db8::/64", parent="eth0")).networks["web"]
    assert [str(item.network) for item in net.subnets] == ["2001:db8::/64", "172.18.0.0/16"]
    assert (net.enable_ipv4, net.enable_ipv6) == (True, True)


def test_enable_ipv4_false_turns_that_off():
    change = plan(seen(), ask("web", "2001:db8::/64", parent="eth0", enable_ipv4=False))
    assert subnets_of(change, "web") == ["2001:db8::/64"]


def test_enable_ipv6_gives_a_64_of_the_hosts_own_prefix():
    change = plan(seen(), ask("a", enable_ipv6=True), ask("b", enable_ipv6=True))
    [_a4, a6], [_b4, b6] = (change.networks[name].subnets for name in ("a", "b"))
    assert a6.network.prefixlen == b6.network.prefixlen == 64
    assert a6.network.subnet_of(ip_network("fd00::/8"))
    assert a6.network.supernet(new_prefix=48) == b6.network.supernet(new_prefix=48)
    assert a6.network != b6.network


def test_a_default_subnet_stays():
    observed = seen()
    after = carried_out(observed, plan(observed, ask("a"), ask("b")).plan)
    after = replace(after, elsewhere=(ip_network("172.18.0.0/15"),))
    assert plan(after, ask("b"), ask("a")).plan == Plan()


@given(st.lists(st.sampled_from(["pool", "172.18.0.0/16", "172.19.4.0/24", "192.168.0.0/16"]), max_size=8))
def test_no_default_subnet_overlaps_any_other(kinds):
    specs = [
        ask(f"n{index}") if kind == "pool" else ask(f"n{index}", kind, parent=f"eth0.{index + 1}")
        for index, kind in enumerate(kinds)
    ]
    change = plan_networks.plan(seen(), specs)
    given_out = [(name, item) for name, net in change.networks.items() for item in net.subnets]
    for name, item in given_out:
        others = [other.network for owner, other in given_out if owner != name]
        assert not item.from_pool or not any(item.network.overlaps(other) for other in others)


# --- refused: parents -----------------------------------------------------------------------------------------


def test_a_new_network_does_not_look_at_all_links_and_parents_again(monkeypatch):
    looks = []
    vlan_of = parents.vlan_of
    monkeypatch.setattr(parents, "vlan_of", lambda link: looks.append(link.name) or vlan_of(link))
    there = [vlan_link(index, f"eth0.{index}", 2, index) for index in range(3, 103)]
    specs = [ask(f"n{vlan}", f"10.0.{vlan - 200}.0/24", parent=f"eth0.{vlan}") for vlan in range(200, 300)]
    change = plan_networks.plan(seen(on=host(ETH0, *there)), specs)
    assert [step.parent.vlan_id for step in change.plan.kernel if isinstance(step, MakeParent)] == list(range(200, 300))
    assert len(looks) < 2 * len(there)


@pytest.mark.parametrize(
    ("parent", "text"),
    [
        (
            "eth9",
            "parent 'eth9' does not exist on this host (links here: br0, eth0, ipvl0, mv0, port0, tap0, vlan7); "
            "did you mean 'eth0'?",
        ),
        ("nic", "parent 'nic' does not exist on this host (links here: br0, eth0, ipvl0, mv0, port0, tap0, vlan7)"),
        (
            "eth9.20",
            "parent 'eth9.20' cannot be made: its base link 'eth9' does not exist on this host "
            "(links here: br0, eth0, ipvl0, mv0, port0, tap0, vlan7); did you mean 'eth0.20'?",
        ),
        ("eth0.0", "parent 'eth0.0' does not exist, and cannot be made: '0' is not a VLAN id (1 to 4094)"),
        ("eth0.4095", "parent 'eth0.4095' does not exist, and cannot be made: '4095' is not a VLAN id (1 to 4094)"),
        ("eth0.x", "parent 'eth0.x' does not exist, and cannot be made: 'x' is not a VLAN id (1 to 4094)"),
        (
            "eth0.10.20",
            "parent 'eth0.10.20' does not exist, and only a sub-interface with exactly one dot (eth0.20) can be made",
        ),
        (
            "eth0.7",
            "parent 'eth0.7' cannot be made: link 'vlan7' already carries VLAN 7 of 'eth0'; name it as parent",
        ),
        ("lo", "parent 'lo' is the loopback; name a network card, a bond, a bridge or a sub-interface"),
        ("lo.20", "parent 'lo.20' cannot be made: 'lo' cannot carry VLANs"),
        (
            "ipvl0",
            "parent 'ipvl0' is itself an ipvlan link, and the kernel would use its parent instead; name that one",
        ),
        (
            "tap0",
            "parent 'tap0' is itself a macvtap link, and the kernel would use its parent instead; name that one",
        ),
        ("port0", "parent 'port0' is a port of the bridge 'br0'; name 'br0' as parent"),
        ("ipvl0.20", "parent 'ipvl0.20' cannot be made: 'ipvl0' cannot carry VLANs"),
    ],
)
def test_a_link_that_cannot_be_a_parent_is_refused_with_the_way_out(parent, text):
    on = host(
        ETH0,
        ipvlan_link(3, "ipvl0", 2),
        macvlan_link(4, "mv0", 2),
        link(5, "tap0", "macvtap", parent_index=2),
        link(6, "br0", "bridge"),
        link(7, "port0", master=6, port_kind="bridge"),
        vlan_link(8, "vlan7", 2, 7),
    )
    assert refusal(seen(on=on), ask("web", "10.1.0.0/24", parent=parent)) == f"name 'web': {text}"


@pytest.mark.parametrize(
    ("parent", "text"),
    [
        ("enp3s0", "parent 'enp3s0' is another name of 'eth0'; name that one"),
        (
            "enp3s0.20",
            "parent 'enp3s0.20' cannot be made: 'enp3s0' is another name of 'eth0'; name 'eth0.20' as parent",
        ),
        ("eth0.77", "parent 'eth0.77' is another name of 'eth0'; name that one"),
        (
            "tun0",
            "parent 'tun0' is no Ethernet link, and the kernel makes no ipvlan or macvlan links on it; name another one",
        ),
        (
            "gre0",
            "parent 'gre0' is no Ethernet link, and the kernel makes no ipvlan or macvlan links on it; name another one",
        ),
        ("tun0.20", "parent 'tun0.20' cannot be made: 'tun0' cannot carry VLANs"),
        ("vrf0.20", "parent 'vrf0.20' cannot be made: 'vrf0' cannot carry VLANs"),
    ],
)
def test_what_the_kernel_would_refuse_later_is_refused_before_the_first_write(parent, text):
    on = host(
        replace(ETH0, other_names=("enp3s0", "eth0.77")),
        link(3, "tun0", "tun", mac=""),
        link(4, "gre0", "gre", mac="0a:00:00:01"),
        link(5, "vrf0", "vrf"),
    )
    assert refusal(seen(on=on), ask("web", "10.1.0.0/24", parent=parent)) == f"name 'web': {text}"


def test_a_parent_of_ours_that_became_a_port_carries_no_network():
    bridged = replace(MARKED20, master=9, port_kind="bridge")
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, bridged, link(9, "br0", "bridge")))
    for specs in ([ask("web")], [ask("b", "10.2.0.0/24", parent="eth0.20")]):
        assert "parent 'eth0.20' is a port of the bridge 'br0'; name 'br0' as parent" in refusal(observed, *specs)


def test_two_names_for_one_vlan_of_one_base_are_refused():
    text = refusal(
        seen(),
        ask("a", "10.1.0.0/24", parent="eth0.20"),
        ask("b", "10.2.0.0/24", parent="eth0.020"),
    )
    assert text == "name 'b': parent 'eth0.020' does not exist, and cannot be made: '020' is not a VLAN id (1 to 4094)"


@pytest.mark.parametrize(
    ("name", "base", "vlan_id", "warned"),
    [
        ("eth0.20", 2, 20, None),
        ("eth0.20", 2, 30, "it is VLAN 30 of 'eth0', not VLAN 20 of 'eth0'"),
        ("eth0.20", 4, 20, "it is VLAN 20 of 'eth1', not VLAN 20 of 'eth0'"),
        ("vlan20", 2, 30, None),
    ],
)
def test_a_name_that_promises_another_vlan_is_warned_of(name, base, vlan_id, warned):
    on = host(ETH0, link(4, "eth1"), vlan_link(3, name, base, vlan_id))
    warnings = plan(seen(on=on), ask("web", "10.1.0.0/24", parent=name)).plan.warnings
    expected = [] if warned is None else [f"name 'web': parent '{name}' exists and is used as it is, but {warned}"]
    assert list(warnings) == expected


@pytest.mark.parametrize(
    ("missing", "spec", "module"),
    [
        ("macvlan", ask("web", driver="macvlan", parent="eth0"), "macvlan"),
        ("ipvlan", ask("web", parent="eth0"), "ipvlan"),
        ("vlan", ask("web", parent="eth0.20"), "8021q"),
        ("dummy", ask("web"), "dummy"),
    ],
)
def test_a_kernel_without_the_driver_is_told_with_its_module(missing, spec, module):
    text = refusal(seen(missing_drivers=frozenset({missing})), spec)
    assert text == (
        f"name 'web': this kernel has no '{missing}' links: its module '{module}' is neither loaded nor can be; "
        f"load it with `modprobe {module}`, or install the kernel's package that has it"
    )


# --- refused: what stands beside it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "asked", "text"),
    [
        (
            network("a", "10.1.0.0/24"),
            {"driver": "macvlan"},
            "parent 'eth0.20' carries network 'a' of the driver ipvlan, and the kernel allows one driver on a parent",
        ),
        (
            network("a", "10.1.0.0/24", driver_name="macvlan"),
            {"driver": "ipvlan"},
            "parent 'eth0.20' carries network 'a' of the driver macvlan, and the kernel allows one driver on a parent",
        ),
        (
            network("a", "10.1.0.0/24"),
            {"settings": {"ipvlan_mode": "l3"}},
            "parent 'eth0.20' carries network 'a' in l2/bridge, and the kernel has one mode and flag for all ipvlan "
            "links of a parent; asked for is l3/bridge. Use the same, or another parent",
        ),
        (
            network("a", "10.1.0.0/24"),
            {"settings": {"ipvlan_flag": "private"}},
            "parent 'eth0.20' carries network 'a' in l2/bridge, and the kernel has one mode and flag for all ipvlan "
            "links of a parent; asked for is l2/private. Use the same, or another parent",
        ),
        (
            network("a", "10.1.0.0/24", driver_name="macvlan"),
            {"driver": "macvlan", "settings": {"macvlan_mode": "passthru"}},
            "parent 'eth0.20' carries network 'a', and macvlan passthru wants a parent for itself",
        ),
        (
            network("a", "10.1.0.0/24", driver_name="macvlan", mode="passthru"),
            {"driver": "macvlan"},
            "parent 'eth0.20' carries network 'a', and macvlan passthru wants a parent for itself",
        ),
    ],
)
def test_what_a_parent_cannot_carry_at_once_is_refused(there, asked, text):
    assert refusal(existing(there), ask("web", "10.2.0.0/24", parent="eth0.20", **asked)) == f"name 'web': {text}"


def test_macvlan_modes_may_differ_on_one_parent():
    there = network("a", "10.1.0.0/24", driver_name="macvlan")
    asked = ask("web", "10.2.0.0/24", parent="eth0.20", driver="macvlan", settings={"macvlan_mode": "private"})
    assert done(plan(existing(there), asked)) == [("create", "network", "web")]


def test_a_base_and_its_sub_interface_are_two_parents():
    there = network("a", "10.1.0.0/24")
    asked = ask("web", "10.1.0.0/24", parent="eth0", driver="macvlan")
    assert done(plan(existing(there), asked)) == [("create", "network", "web")]


def test_two_new_networks_that_do_not_agree_are_both_named():
    text = refusal(
        seen(),
        ask("a", "10.1.0.0/24", parent="eth0.20"),
        ask("b", "10.2.0.0/24", parent="eth0.20", driver="macvlan"),
    )
    assert [line.split(":")[0] for line in text.splitlines()] == ["name 'a'", "name 'b'"]


def overlap(one: str, other: str, name: str = "a") -> str:
    return (
        f"subnet {one} overlaps {other} of network '{name}' on parent 'eth0.20'; "
        "two networks on a parent may share a subnet only as a whole and with different ip_range"
    )


@pytest.mark.parametrize("text", ["10.1.0.0/24", "10.1.0.0/16", "10.1.0.128/25"])
def test_overlapping_subnets_on_a_parent_are_refused(text):
    observed = existing(network("a", "10.1.0.0/24"))
    assert refusal(observed, ask("web", text, parent="eth0.20")) == f"name 'web': {overlap(text, '10.1.0.0/24')}"


def test_one_subnet_with_different_ranges_is_shared():
    observed = existing(network("a", subnet("10.1.0.0/24", ip_range="10.1.0.0/25")))
    shared = ask("web", subnet("10.1.0.0/24", ip_range="10.1.0.128/25"), parent="eth0.20")
    assert done(plan(observed, shared)) == [("create", "network", "web")]
    same = ask("web", subnet("10.1.0.0/24", ip_range="10.1.0.0/25"), parent="eth0.20")
    assert refusal(observed, same) == f"name 'web': {overlap('10.1.0.0/24', '10.1.0.0/24')}"


def test_one_subnet_on_two_parents_is_allowed():
    observed = existing(network("a", "10.1.0.0/24"))
    assert done(plan(observed, ask("web", "10.1.0.0/24", parent="eth0.30"))) == [
        ("create", "parent", "eth0.30"),
        ("create", "network", "web"),
    ]


@pytest.mark.parametrize(
    ("child", "asked", "reason"),
    [
        (
            macvlan_link(50, "mv0", 3),
            {},
            "(macvlan) in namespace 'theirs', which is not ours: a parent cannot carry macvlan and ipvlan at once; "
            "use another parent",
        ),
        (
            link(50, "mv0", "macvtap", parent_index=3),
            {},
            "(macvtap) in namespace 'theirs', which is not ours: a parent cannot carry macvlan and ipvlan at once; "
            "use another parent",
        ),
        (
            ipvlan_link(50, "mv0", 3),
            {"driver": "macvlan"},
            "(ipvlan) in namespace 'theirs', which is not ours: a parent cannot carry ipvlan and macvlan at once; "
            "use another parent",
        ),
        (
            ipvlan_link(50, "mv0", 3, mode=1, flag=1),
            {},
            "(ipvlan) in namespace 'theirs', which is not ours: it would be turned from l3/private to l2/bridge; "
            "use its mode and flag, or another parent",
        ),
        (
            macvlan_link(50, "mv0", 3),
            {"driver": "macvlan", "settings": {"macvlan_mode": "passthru"}},
            "(macvlan) in namespace 'theirs', which is not ours: macvlan passthru wants the parent for itself; "
            "use another parent",
        ),
        (
            macvlan_link(50, "mv0", 3, mode=8),
            {"driver": "macvlan"},
            "(macvlan) in namespace 'theirs', which is not ours: macvlan passthru wants the parent for itself; "
            "use another parent",
        ),
    ],
)
def test_a_child_that_is_not_ours_in_a_hidden_namespace_is_not_harmed(child, asked, reason):
    observed = seen(on=host(ETH0, vlan_link(3, "eth0.20", 2, 20)), children={3: [Child(child, "namespace 'theirs'")]})
    text = refusal(observed, ask("web", "10.1.0.0/24", parent="eth0.20", **asked))
    assert text == f"name 'web': parent 'eth0.20' has the link 'mv0' {reason}"


@pytest.mark.parametrize(
    ("child", "asked"),
    [
        (ipvlan_link(50, "x", 3), {}),
        (ipvlan_link(50, "x", 3, mode=1, flag=2), {"settings": {"ipvlan_mode": "l3", "ipvlan_flag": "vepa"}}),
        (macvlan_link(50, "x", 3, mode=2), {"driver": "macvlan"}),
        (vlan_link(50, "x", 3, 7), {}),
        (macvlan_link(50, "x", 2), {}),
    ],
)
def test_a_child_that_takes_no_harm_is_no_reason(child, asked):
    observed = seen(
        on=host(ETH0, vlan_link(3, "eth0.20", 2, 20)),
        children={child.parent_index: [Child(child, "namespace 'theirs'")]},
    )
    change = plan(observed, ask("web", "10.1.0.0/24", parent="eth0.20", **asked))
    assert done(change) == [("create", "network", "web")]


@pytest.mark.parametrize("alias", ["", "backup", endpoint_mark("web", "unknown"), parent_mark("eth0.99")])
def test_a_change_of_mode_that_would_harm_others_is_refused(alias):
    net = network("web", "10.1.0.0/24")
    ours = Child(ipvlan_link(51, "y", 3, alias=endpoint_mark("web", "a")), "namespace 'a'")
    theirs = Child(ipvlan_link(50, "x", 3, alias=alias), "namespace 'theirs'")
    row = replace(endpoint(net, "a"), boot_id="")
    change = ask("web", settings={"ipvlan_mode": "l3"})
    told = refusal(existing(net, endpoints=[row], children={3: [ours, theirs]}), change)
    assert "the link 'x' (ipvlan) in namespace 'theirs'" in told and "turned from l2/bridge to l3/bridge" in told
    assert plan(existing(net, endpoints=[row], children={3: [ours]}), change).plan.actions, "ours follows"


@pytest.mark.parametrize("aside", [{"gateway": "10.1.0.9"}, {"router": "10.1.0.9"}])
def test_a_gateway_or_auxiliary_address_that_an_owner_holds_is_refused(aside):
    net = network("web", "10.1.0.0/24")
    observed = existing(net, allocations=held(net, "web9", "10.1.0.9"))
    text = refusal(observed, ask("web", subnet("10.1.0.0/24", **aside)))
    what = "the gateway" if "gateway" in aside else "the auxiliary address 'router'"
    assert text == f"name 'web': 10.1.0.9 cannot be {what}: it is held by endpoint 'web9' of network 'web'"


def test_an_mtu_above_the_parents_is_refused():
    assert refusal(seen(), ask("web", "10.1.0.0/24", parent="eth0", mtu=9000)) == (
        "name 'web': mtu 9000 is above that of 'eth0' (1500), which carries it; raise that one first"
    )


@pytest.mark.parametrize("observed", [seen(), existing(network("other", "10.2.0.0/24"))])
def test_an_mtu_above_that_of_a_sub_interface_of_ours_is_refused_too(observed):
    """No link passes more than the base does, whoever made the sub-interface."""
    assert "mtu 9000 is above" in refusal(observed, ask("web", "10.1.0.0/24", parent="eth0.20", mtu=9000))


def test_a_sub_interface_of_ours_is_raised_with_its_base_and_then_carries_as_much():
    observed = existing(
        network("web", "10.1.0.0/24", mtu=1450), on=host(replace(ETH0, mtu=9000), replace(MARKED20, mtu=1400))
    )
    assert plan(observed, ask("web")).plan.warnings == ()
    change = plan(observed, ask("web", mtu=9000))
    assert done(change) == [("repair", "parent", "eth0.20"), ("change", "network", "web")]
    assert "mtu 9000 is above that of 'eth0.20' (1400)" in refusal(
        seen(on=observed.host), ask("web", "10.1.0.0/24", parent="eth0.20", mtu=9000)
    )


def test_on_macsec_a_sub_interface_is_smaller_by_its_tag():
    observed = existing(
        network("web", "10.1.0.0/24"), on=host(link(2, "eth0", "macsec", mtu=1468), replace(MARKED20, mtu=1464))
    )
    assert plan(observed, ask("web", mtu=1464)).plan.kernel == ()
    assert "mtu 1465 is above" in refusal(observed, ask("web", mtu=1465))


def test_an_mtu_that_leaves_no_room_for_ipv6_is_refused():
    specs = ask("web", "10.1.0.0/24", "2001:db8::/64", parent="eth0", mtu=1279)
    assert "mtu 1279 is less than the 1280 that IPv6 needs" in refusal(seen(), specs)
    plan(seen(), ask("web", "10.1.0.0/24", parent="eth0", mtu=1279))


def test_an_mtu_up_to_the_parents_is_taken():
    assert plan(seen(), ask("web", "10.1.0.0/24", parent="eth0", mtu=1500)).networks["web"].mtu == 1500


# --- l3 -------------------------------------------------------------------------------------------------------

L3 = {"settings": {"ipvlan_mode": "l3"}}
ROUTED = host(ETH0, addresses=[address(2, "10.9.0.5/24")], routes=[route(2, "default", "10.9.0.1")])


def test_l3_with_a_way_in_and_out_warns_of_nothing():
    change = plan(seen(on=ROUTED), ask("web", "10.1.0.0/24", parent="eth0", **L3))
    assert change.plan.warnings == ()


def test_l3_never_has_the_hosts_own_subnet():
    for mode in ("l3", "l3s"):
        spec = ask("web", "10.9.0.0/16", parent="eth0", settings={"ipvlan_mode": mode})
        assert refusal(seen(on=ROUTED), spec) == (
            f"name 'web': subnet 10.9.0.0/16 overlaps 10.9.0.0/24, the host's own on 'eth0'; in mode {mode} the "
            "subnets must be others than the host's"
        )


def test_l2_may_have_the_hosts_own_subnet():
    assert plan(seen(on=ROUTED), ask("web", "10.9.0.0/24", parent="eth0")).plan.changed


def test_l3_ignores_a_gateway_with_a_warning():
    spec = ask("web", "10.1.0.0/24", parent="eth0", given_gateways=("10.1.0.1",), **L3)
    assert plan(seen(on=ROUTED), spec).plan.warnings == (
        "name 'web': gateway 10.1.0.1 is ignored in mode l3, where the default route is the device itself",
    )


def test_l3_warns_per_family_where_nobody_can_route_in():
    spec = ask("web", "10.1.0.0/24", "10.2.0.0/24", "2001:db8::/64", parent="eth0", **L3)
    link_local = address(2, "fe80::1/64", scope=253)
    on = host(ETH0, addresses=[*ROUTED.space.addresses, link_local], routes=ROUTED.space.routes)
    assert plan(seen(on=on), spec).plan.warnings == (
        "name 'web': parent 'eth0' has no IPv6 address, so no remote host can route to these endpoints; give it one, "
        "and have the remote routes for 2001:db8::/64 point to it",
    )
    assert "remote routes for 10.1.0.0/24, 10.2.0.0/24 point to it" in plan(seen(), spec).plan.warnings[0]


def test_l3_warns_where_the_parent_leads_nowhere():
    on = host(ETH0, addresses=ROUTED.space.addresses)
    assert plan(seen(on=on), ask("web", "10.1.0.0/24", parent="eth0", **L3)).plan.warnings == (
        "name 'web': the host has no IPv4 default route by parent 'eth0', so these endpoints reach only what the host "
        "reaches on that link",
    )


def test_an_isolated_l3_network_warns_of_no_way_out():
    assert plan(seen(), ask("web", "10.1.0.0/24", **L3)).plan.warnings == ()


# --- changed --------------------------------------------------------------------------------------------------

WHOLE = network("web", subnet("10.1.0.0/24", ip_range="10.1.0.128/25"), mtu=1400, labels={"a": "1"}, flag="vepa")


def test_an_option_left_out_changes_nothing():
    assert plan(existing(WHOLE), ask("web")).plan == Plan()


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"mtu": 1300}, {"mtu": {"before": 1400, "after": 1300}}),
        ({"mtu": 0}, {"mtu": {"before": 1400, "after": 1500}}),
        ({"settings": {"ipvlan_mode": "l3"}}, {"mode": {"before": "l2", "after": "l3"}}),
        ({"settings": {"ipvlan_flag": "private"}}, {"flag": {"before": "vepa", "after": "private"}}),
        ({"labels": {"b": "2"}}, {"labels": {"before": {"a": "1"}, "after": {"b": "2"}}}),
        ({"labels": {}}, {"labels": {"before": {"a": "1"}, "after": {}}}),
    ],
)
def test_a_change_in_place_is_told_exactly(fields, changes):
    observed = existing(WHOLE, endpoints=[endpoint(WHOLE, "web1")], on=host(ETH0, MARKED20))
    change = plan(observed, ask("web", **fields))
    assert change.plan.actions == (Action("change", "network", "web", changes),)
    web = change.networks["web"]
    assert change.plan.before == (Put(replace(web, pending=True)),)
    assert change.plan.after == (Put(web, WHOLE_RUN),)
    assert change.touched == {"web"}
    assert change.plan.kernel == ()
    assert plan(carried_out(observed, change.plan), ask("web", **fields)).plan.actions == ()


def test_a_change_that_was_broken_off_is_brought_to_the_endpoints():
    """The network is as asked for; only its mark says that not all its endpoints are."""
    begun = existing(replace(WHOLE, pending=True), endpoints=[endpoint(WHOLE, "web1")], on=host(ETH0, MARKED20))
    change = plan(begun, ask("web"))
    assert change.touched == {"web"} and change.plan.actions == ()
    assert change.plan.after == (Put(WHOLE, WHOLE_RUN),)
    assert "web" in plan(begun, ask("other", "10.7.0.0/24")).touched
    assert plan(carried_out(begun, change.plan), ask("web")).touched == frozenset()


def test_a_subnet_is_changed_where_nothing_is_lost():
    observed = existing(WHOLE, endpoints=[endpoint(WHOLE, "web1")], allocations=held(WHOLE, "web1", "10.1.0.130"))
    change = plan(observed, ask("web", "10.1.0.0/23"))
    [action] = change.plan.actions
    assert list(action.changes) == ["ipam_config"]
    assert action.changes["ipam_config"]["before"][0]["ip_range"] == "10.1.0.128/25"
    assert action.changes["ipam_config"]["after"][0]["subnet"] == "10.1.0.0/23"


def in_use(net: Any) -> Observed:
    return existing(
        net, endpoints=[endpoint(net, "web1"), endpoint(net, "web2")], allocations=held(net, "web1", "10.1.0.130")
    )


def test_macvlan_modes_change_in_place_but_not_to_passthru():
    net = network("web", "10.1.0.0/24", driver_name="macvlan")
    assert done(plan(in_use(net), ask("web", settings={"macvlan_mode": "vepa"}))) == [("change", "network", "web")]
    text = refusal(in_use(net), ask("web", settings={"macvlan_mode": "passthru"}))
    assert text.startswith("name 'web': macvlan_mode bridge of network 'web', which has 2 endpoints (web1, web2)")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (ask("web", driver="macvlan"), "driver of network 'web', which has 2 endpoints (web1, web2), cannot"),
        (ask("web", parent="eth0.30"), "parent of network 'web', which has 2 endpoints (web1, web2), cannot"),
        (ask("web", internal=True), "parent of network 'web', which has 2 endpoints (web1, web2), cannot"),
        (
            ask("web", "10.7.0.0/24"),
            "ipam_config of network 'web' would lose the subnet of 10.1.0.130, which is held by endpoint 'web1' of network "
            "'web'; set",
        ),
    ],
)
def test_what_cannot_be_changed_in_place_is_refused_unless_forced(spec, text):
    observed = in_use(network("web", "10.1.0.0/24"))
    message = refusal(observed, spec)
    assert message.startswith(f"name 'web': {text}")
    assert message.endswith("; set force to true to have every endpoint made anew")
    change = plan(observed, replace(spec, force=True))
    assert ("rebuild", "network", "web") in done(change)
    assert "web" in change.touched


def test_without_endpoints_it_is_changed_at_once():
    change = plan(existing(network("web", "10.1.0.0/24")), ask("web", driver="macvlan", parent="eth0.30"))
    assert done(change) == [
        ("create", "parent", "eth0.30"),
        ("change", "network", "web"),
        ("remove", "parent", "eth0.20"),
    ]


def test_a_subnet_with_reserved_addresses_is_in_use_too():
    net = network("web", "10.1.0.0/24")
    observed = existing(net, allocations=reserved(net, "vm", "10.1.0.50"))
    assert "10.1.0.50" in refusal(observed, ask("web", "10.7.0.0/24"))


def test_forced_out_of_its_subnet_a_reserved_address_is_released():
    net = network("web", "10.1.0.0/24")
    row = reserved(net, "vm", "10.1.0.50")
    observed = existing(net, allocations=row)
    after = carried_out(observed, plan(observed, ask("web", "10.7.0.0/24", force=True)).plan)
    assert after.allocations == ()


def test_with_its_parent_a_network_takes_its_addresses_along():
    net = network("web", "10.1.0.0/24")
    observed = existing(net, allocations=held(net, "web1", "10.1.0.2"), endpoints=[endpoint(net, "web1")])
    after = carried_out(observed, plan(observed, ask("web", parent="eth0.30", force=True)).plan)
    assert [(row.segment, str(row.address), row.owner) for row in after.allocations] == [
        ("eth0.30", "10.1.0.2", "web1")
    ]


def two_parents(*rows: Allocation, **fields: Any) -> tuple[Observed, Any, Any]:
    """One subnet on two VLANs, and what is held there."""
    low = network("low", subnet("10.1.0.0/24", "10.1.0.1", "10.1.0.0/25"), parent="eth0.20", cooldown=60)
    high = network("high", subnet("10.1.0.0/24", "10.1.0.254", "10.1.0.128/25"), parent="eth0.30")
    on = host(ETH0, MARKED20, vlan_link(4, "eth0.30", 2, 30, alias=parent_mark("eth0.30")))
    made = [OURS20, Parent("eth0.30", "eth0", 30)]
    of = {"low": low, "high": high}
    allocations = [row._replace(segment=of[row.network].parent) for row in rows]
    return seen(low, high, on=on, made=made, allocations=allocations, **fields), low, high


LOW, HIGH = network("low", parent="eth0.20"), network("high", parent="eth0.30")


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (
            [*reserved(LOW, "vm", "10.1.0.200"), *reserved(HIGH, "nas", "10.1.0.200")],
            "parent 'eth0.30' has no room for 10.1.0.200, which is held by owner 'vm' of network 'low': there it is held by owner "
            "'nas' of network 'high'; release one of them first",
        ),
        (
            reserved(LOW, "vm", "10.1.0.254"),
            "parent 'eth0.30' has no room for 10.1.0.254, which is held by owner 'vm' of network 'low': there it is the gateway of "
            "network 'high'; release one of them first",
        ),
        (
            reserved(HIGH, "nas", "10.1.0.1"),
            "10.1.0.1 cannot be the gateway: it is held by owner 'nas' of network 'high'",
        ),
    ],
)
def test_what_a_network_brings_along_has_to_be_free_on_its_new_parent(rows, text):
    observed, *_networks = two_parents(*rows)
    assert refusal(observed, ask("low", parent="eth0.30")) == f"name 'low': {text}"
    # Where the other one goes, or changes places, in the same run there is room.
    plan(observed, ask("low", parent="eth0.30"), gone("high", force=True))
    swapped = plan(observed, ask("low", parent="eth0.30"), ask("high", parent="eth0.20"))
    kept = carried_out(observed, swapped.plan).allocations
    assert {(row.segment, row.owner) for row in kept} == {
        ({"low": "eth0.30", "high": "eth0.20"}[row.network], row.owner) for row in rows
    }


def test_two_networks_that_come_to_one_parent_bring_no_address_twice():
    observed, *_networks = two_parents(*reserved(LOW, "vm", "10.1.0.200"), *reserved(HIGH, "nas", "10.1.0.200"))
    text = refusal(observed, ask("low", parent="eth0"), ask("high", parent="eth0"))
    assert "parent 'eth0' has no room for 10.1.0.200" in text


def test_a_range_that_a_network_brings_along_may_hold_what_is_set_aside_but_not_what_is_held():
    [block] = reserved(LOW, "infra", "10.1.0.254")
    block = block._replace(address=ip_address("10.1.0.192"), last=ip_address("10.1.0.254"))
    observed, *_networks = two_parents(block)
    assert ("change", "network", "low") in done(plan(observed, ask("low", parent="eth0.30")))
    for rows in (
        [block, *reserved(HIGH, "nas", "10.1.0.200")],
        [*reserved(LOW, "vm", "10.1.0.200"), block._replace(network="high")],
    ):
        observed, *_networks = two_parents(*rows)
        assert "parent 'eth0.30' has no room for 10.1.0." in refusal(observed, ask("low", parent="eth0.30"))


def test_a_network_does_not_move_to_a_gateway_that_it_has_given_out():
    observed, *_networks = two_parents(*reserved(LOW, "vm", "10.1.0.9"))
    asked = ask("low", subnet("10.1.0.0/24", "10.1.0.9", "10.1.0.0/25"), parent="eth0.30")
    assert "10.1.0.9 cannot be the gateway: it is held by owner 'vm'" in refusal(observed, asked)


def test_what_cools_makes_room_for_what_is_held():
    [cooling] = reserved(LOW, "vm", "10.1.0.200")
    cooling = cooling._replace(cooling=True, expires=99)
    observed, *_networks = two_parents(cooling, *reserved(HIGH, "nas", "10.1.0.200"))
    after = carried_out(observed, plan(observed, ask("low", parent="eth0.30")).plan)
    assert [(row.segment, row.owner) for row in after.allocations] == [("eth0.30", "nas")]


def test_an_address_of_a_network_that_goes_can_be_a_gateway():
    old = network("old", "10.1.0.0/24")
    observed = existing(old, allocations=reserved(old, "vm", "10.1.0.5"))
    specs = gone("old", force=True), ask("new", subnet("10.1.0.0/24", "10.1.0.5"), parent="eth0.20")
    assert str(plan(observed, *specs).networks["new"].subnets[0].gateway) == "10.1.0.5"


@pytest.mark.parametrize("option", ["macvlan_mode"])
def test_an_option_of_the_other_driver_is_refused_against_what_there_is(option):
    text = refusal(existing(WHOLE), ask("web", settings={option: "bridge"}))
    assert text == f"name 'web': {option} does not belong to the driver of this network, which is ipvlan"
    fresh = refusal(seen(), ask("web", settings={option: "bridge"}))
    assert fresh == f"name 'web': {option} does not belong to the driver of this network, which is ipvlan (the default)"


# --- drift of parents -----------------------------------------------------------------------------------------


def test_a_parent_of_ours_that_is_gone_is_made_again():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0))
    change = plan(observed, ask("web"))
    assert done(change) == [("repair", "parent", "eth0.20")]
    assert change.touched == {"web"}
    assert change.plan.kernel == (MakeParent("name 'web'", OURS20, up=True),)


def test_a_parent_of_ours_that_was_renamed_gets_its_name_back():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, replace(MARKED20, name="wan7", up=False)))
    change = plan(observed, ask("web"))
    changes = {"name": {"before": "wan7", "after": "eth0.20"}, "up": {"before": False, "after": True}}
    assert change.plan.actions == (Action("repair", "parent", "eth0.20", changes),)
    assert change.touched == {"web"}
    assert change.plan.kernel == (ChangeParent("name 'web'", "wan7", up=True, new_name="eth0.20"),)


def test_a_renamed_parent_that_was_altered_too_is_put_right_in_one_run():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, replace(MARKED20, name="wan7", mtu=1400)))
    change = plan(observed, ask("web"))
    assert change.plan.kernel == (ChangeParent("name 'web'", "wan7", up=True, mtu=1500, new_name="eth0.20"),)
    assert plan(carried_out(observed, change.plan), ask("web")).plan == Plan()


@pytest.mark.parametrize(
    "other",
    [link(4, "x", "dummy", alias=parent_mark("eth0.20")), vlan_link(4, "x", 2, 9, alias=parent_mark("eth0.20"))],
)
def test_a_link_that_somebody_gave_our_mark_is_not_taken_for_the_parent(other):
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, other))
    assert plan(observed, ask("web")).plan.kernel == (MakeParent("name 'web'", OURS20, up=True),)
    assert plan(observed, gone("web")).plan.kernel == ()


def test_a_renamed_parent_goes_with_its_network():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, replace(MARKED20, name="wan7")))
    change = plan(observed, gone("web"))
    assert done(change) == [("remove", "network", "web"), ("remove", "parent", "eth0.20")]
    assert change.plan.kernel == (RemoveLink("parent 'eth0.20'", None, 3, "wan7", parent_mark("eth0.20")),)


def test_a_parent_that_somebody_asks_for_by_the_name_it_was_given_stays():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, replace(MARKED20, name="wan7")))
    change = plan(observed, ask("web", parent="wan7"))
    assert (done(change), change.plan.kernel) == ([("change", "network", "web")], ())


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (
            link(2, "lan0"),
            "is called 'lan0' now; the parent is used as it is, but could not be made again; name 'lan0.20'",
        ),
        (None, "is in another namespace now; the parent is used as it is, but could not be made again"),
    ],
)
def test_a_parent_whose_base_was_renamed_or_moved_is_used_as_it_is(base, words):
    links = (base, MARKED20) if base else (replace(MARKED20, parent_nsid=1),)
    change = plan(existing(network("web", "10.1.0.0/24"), on=host(*links)), ask("web"))
    assert (change.plan.actions, change.plan.kernel) == ((), ())
    assert f"'eth0', on which parent 'eth0.20' was made, {words}" in change.plan.warnings[0]


def test_another_tag_needs_the_base():
    observed = existing(network("web", "10.1.0.0/24"), on=host(link(2, "lan0"), MARKED20))
    assert "parent 'eth0.20' cannot be made: its base link 'eth0' does not exist" in refusal(
        observed, ask("web", vlan_protocol="802.1ad")
    )


def test_under_a_new_name_of_its_base_a_parent_is_made_where_the_old_one_goes():
    observed = existing(network("web", "10.1.0.0/24"), on=host(link(2, "lan0"), MARKED20))
    change = plan(observed, ask("web", parent="lan0.20"))
    assert done(change) == [
        ("create", "parent", "lan0.20"),
        ("change", "network", "web"),
        ("remove", "parent", "eth0.20"),
    ]
    both = existing(network("web", "10.1.0.0/24"), network("b", "10.2.0.0/24"), on=host(link(2, "lan0"), MARKED20))
    assert "link 'eth0.20' already carries VLAN 20 of 'lan0'" in refusal(both, ask("web", parent="lan0.20"))


def test_another_tag_that_a_link_of_others_has_is_refused():
    theirs = replace(vlan_link(4, "svc", 2, 20), attributes=((1, b"\x14\0"), (5, b"\x88\xa8")))
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, MARKED20, theirs))
    assert "link 'svc' already carries VLAN 20 of 'eth0'" in refusal(observed, ask("web", vlan_protocol="802.1ad"))


def test_every_network_on_a_link_of_others_is_held_to_its_tag():
    observed = seen(on=host(ETH0, vlan_link(3, "eth0.20", 2, 20)))
    asked = [
        ask("a", "10.1.0.0/24", parent="eth0.20"),
        ask("b", "10.2.0.0/24", parent="eth0.20", vlan_protocol="802.1ad"),
    ]
    for specs in (asked, asked[::-1]):
        assert "name 'b': parent 'eth0.20' exists and its VLAN protocol is 802.1q" in refusal(observed, *specs)


def test_a_parent_of_ours_that_is_down_is_set_up():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, replace(MARKED20, up=False)))
    change = plan(observed, ask("web"))
    assert change.plan.actions == (Action("repair", "parent", "eth0.20", {"up": {"before": False, "after": True}}),)
    assert change.plan.kernel == (ChangeParent("name 'web'", "eth0.20", up=True),)


def test_a_parent_of_ours_under_a_base_that_is_down_is_left_down():
    on = host(link(2, "eth0", up=False), replace(MARKED20, up=False))
    change = plan(existing(network("web", "10.1.0.0/24"), on=on), ask("web"))
    assert (change.plan.actions, change.plan.kernel) == ((), ())
    assert "link 'eth0' is down" in change.plan.warnings[0]


def test_a_parent_of_ours_that_carries_another_vlan_is_made_anew():
    wrong = vlan_link(3, "eth0.20", 2, 30, alias=parent_mark("eth0.20"))
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, wrong))
    change = plan(observed, ask("web"))
    assert done(change) == [("rebuild", "parent", "eth0.20")]
    assert [type(step) for step in change.plan.kernel] == [RemoveLink, MakeParent]
    assert plan(carried_out(observed, change.plan), ask("web")).plan == Plan()


def test_a_parent_made_anew_by_somebody_else_is_used_and_no_longer_ours():
    observed = existing(network("web", "10.1.0.0/24"), on=host(ETH0, vlan_link(3, "eth0.20", 2, 20)))
    change = plan(observed, ask("web"))
    assert change.parents == {}
    assert Drop(OURS20) in change.plan.before
    assert change.plan.kernel == ()
    assert change.plan.warnings == (
        "name 'web': parent 'eth0.20' was made anew by somebody else; it is used, and no longer ours",
    )


def test_the_mtu_of_a_dummy_follows_its_network():
    dummy = dummy_name("web")
    on = host(ETH0, link(3, dummy, "dummy", alias=parent_mark(dummy)))
    observed = seen(network("web", "10.1.0.0/24", parent=None), on=on, made=[Parent(dummy)])
    change = plan(observed, ask("web", mtu=9000))
    assert change.plan.kernel == (ChangeParent("name 'web'", dummy, mtu=9000),)


# --- removed --------------------------------------------------------------------------------------------------


def test_the_last_network_takes_its_sub_interface_along():
    net = network("web", "10.1.0.0/24")
    change = plan(existing(net), gone("web"))
    assert change.plan == Plan(
        actions=(Action("remove", "network", "web"), Action("remove", "parent", "eth0.20")),
        kernel=(RemoveLink("parent 'eth0.20'", None, 3, "eth0.20", parent_mark("eth0.20")),),
        after=(Drop(net, WHOLE_RUN), Drop(OURS20, WHOLE_RUN)),
    )
    assert (change.networks, change.parents, change.removed) == ({}, {}, {"web"})


def test_a_network_that_is_not_the_last_leaves_it():
    change = plan(existing(network("a", "10.1.0.0/24"), network("b", "10.2.0.0/24")), gone("a"))
    assert done(change) == [("remove", "network", "a")]
    assert change.plan.kernel == ()


def test_both_at_once_take_it_along_once():
    change = plan(existing(network("a", "10.1.0.0/24"), network("b", "10.2.0.0/24")), gone("a"), gone("b"))
    assert [type(step) for step in change.plan.kernel] == [RemoveLink]


def test_a_hand_made_parent_is_never_removed():
    on = host(ETH0, vlan_link(3, "eth0.20", 2, 20))
    change = plan(seen(network("web", "10.1.0.0/24"), on=on), gone("web"))
    assert done(change) == [("remove", "network", "web")]
    assert change.plan.kernel == ()


@pytest.mark.parametrize("alias", ["", "theirs", parent_mark("eth0.30")])
def test_a_link_of_our_name_without_our_mark_is_never_removed(alias):
    on = host(ETH0, vlan_link(3, "eth0.20", 2, 20, alias=alias))
    change = plan(existing(network("web", "10.1.0.0/24"), on=on), gone("web"))
    assert change.plan.kernel == ()
    assert change.plan.after[-1] == Drop(OURS20, WHOLE_RUN)


def test_a_marked_link_without_a_row_is_never_removed():
    change = plan(seen(network("web", "10.1.0.0/24"), on=host(ETH0, MARKED20)), gone("web"))
    assert change.plan.kernel == ()


def test_a_parent_that_others_hang_on_is_not_removed():
    for child, words in (
        (ipvlan_link(50, "x", 3), "the link 'x' (ipvlan) in namespace 'theirs'"),
        (vlan_link(50, "q", 3, 5), "the link 'q' (vlan) in namespace 'theirs'"),
    ):
        observed = existing(network("web", "10.1.0.0/24"), children={3: [Child(child, "namespace 'theirs'")]})
        assert refusal(observed, gone("web")) == (
            f"name 'web': parent 'eth0.20' cannot be removed: {words} would be lost with it; remove that first"
        )


def test_a_parent_that_became_a_bridge_port_is_not_removed():
    on = host(ETH0, replace(MARKED20, master=9, port_kind="bridge"), link(9, "br0", "bridge"))
    assert "its place as a port of 'br0' would be lost" in refusal(
        existing(network("web", "10.1.0.0/24"), on=on), gone("web")
    )


def test_a_network_that_is_not_there_is_gone():
    assert plan(seen(), gone("web")).plan == Plan()


def test_a_network_with_endpoints_goes_only_by_force():
    net = network("web", "10.1.0.0/24")
    observed = existing(net, endpoints=[endpoint(net, f"e{number}") for number in range(7)])
    assert refusal(observed, gone("web")) == (
        "name 'web': network 'web' still has 7 endpoints (e0, e1, e2, e3, e4, ...); remove them first, or set force to "
        "true to remove them with it"
    )
    assert plan(observed, gone("web", force=True)).removed == {"web"}


def test_a_network_with_held_addresses_goes_only_by_force():
    net = network("web", "10.1.0.0/24")
    observed = existing(net, allocations=reserved(net, "vm", "10.1.0.50"))
    assert refusal(observed, gone("web")) == (
        "name 'web': addresses of network 'web' are still held by 1 owner (vm); release them first, or set force to "
        "true to release them with it"
    )
    change = plan(observed, gone("web", force=True))
    assert done(change) == [
        ("remove", "network", "web"),
        ("release", "address", "10.1.0.50"),
        ("remove", "parent", "eth0.20"),
    ]
    assert carried_out(observed, change.plan).allocations == ()


# --- purge ----------------------------------------------------------------------------------------------------


def test_purge_removes_what_is_not_in_the_list():
    observed = existing(network("a", "10.1.0.0/24"), network("b", "10.2.0.0/24"), network("c", "10.3.0.0/24"))
    change = plan(observed, ask("b"), purge=True)
    assert done(change) == [("remove", "network", "a"), ("remove", "network", "c")]


def test_without_purge_the_others_stay():
    observed = existing(network("a", "10.1.0.0/24"), network("b", "10.2.0.0/24"))
    assert plan(observed, ask("b")).plan == Plan()


def test_purge_takes_networks_in_use_only_by_force():
    net = network("a", "10.1.0.0/24")
    observed = existing(net, endpoints=[endpoint(net, "web1")])
    assert refusal(observed, purge=True).startswith("network 'a' (purge): network 'a' still has 1 endpoint (web1)")
    assert plan(observed, purge=True, force=True).removed == {"a"}


def test_force_without_purge_removes_nothing():
    assert plan(existing(network("a", "10.1.0.0/24")), force=True).plan == Plan()


# --- a list ---------------------------------------------------------------------------------------------------


def test_every_failing_item_is_named_and_nothing_is_planned():
    with pytest.raises(Refused) as error:
        plan_networks.plan(
            seen(),
            [
                ask("a", "10.1.0.0/24", parent="eth9"),
                ask("ok", "10.2.0.0/24", parent="eth0.20"),
                ask("c", "10.3.0.0/24", parent="lo"),
            ],
        )
    assert [re.match(r"name '(\w+)'", text)[1] for text in error.value.messages] == ["a", "c"]


def test_failing_items_are_named_in_input_order_whatever_is_wrong_with_each():
    specs = [
        ask("company", "10.1.0.0/24", parent="eth0", mtu=9000),
        ask("parent", "10.2.0.0/24", parent="eth9"),
        ask("settings", settings={"macvlan_mode": "bridge"}),
        gone("used"),
    ]
    net = network("used", "10.3.0.0/24")
    text = refusal(existing(net, endpoints=[endpoint(net, "web1")]), *specs)
    assert [line.split(":")[0] for line in text.splitlines()] == [
        "name 'company'",
        "name 'parent'",
        "name 'settings'",
        "name 'used'",
    ]


def test_a_swap_of_parents_in_one_run_is_possible():
    on = host(ETH0, MARKED20, vlan_link(4, "eth0.30", 2, 30, alias=parent_mark("eth0.30")))
    observed = seen(
        network("a", "10.1.0.0/24", parent="eth0.20"),
        network("b", "10.2.0.0/24", parent="eth0.30"),
        on=on,
        made=[OURS20, Parent("eth0.30", "eth0", 30)],
    )
    change = plan(observed, ask("a", parent="eth0.30"), ask("b", parent="eth0.20"))
    assert done(change) == [("change", "network", "a"), ("change", "network", "b")]
    assert change.plan.kernel == ()


def test_a_thousand_networks_need_one_step_each():
    specs = [ask(f"n{vlan}", f"10.{vlan // 250}.{vlan % 250}.0/24", parent=f"eth0.{vlan}") for vlan in range(1, 1001)]
    change = plan_networks.plan(seen(), specs)
    assert len(change.plan.kernel) == 1000
    assert len(change.plan.actions) == 2000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["present", "absent"]),
            st.sampled_from([None, "eth0", "eth0.20", "eth0.30"]),
            st.sampled_from([None, "10.1.0.0/24", "10.2.0.0/24", "2001:db8::/64"]),
            st.sampled_from([None, "l2", "l3"]),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_any_run_is_refused_or_leaves_nothing_for_the_next(runs):
    observed = seen()
    for name, state, parent, text, mode, internal in runs:
        spec = ask(
            name,
            *([text] if text else []),
            state=state,
            parent=parent,
            settings={"ipvlan_mode": mode} if mode else {},
            internal=internal or None,
        )
        try:
            change = plan(observed, spec)
        except Refused:
            continue
        observed = carried_out(observed, change.plan)
        assert observed.networks == dict(change.networks)
        assert observed.parents == dict(change.parents)
        again = plan(observed, spec).plan
        assert (again.actions, again.before, again.kernel, again.after) == ((), (), (), ())
        used = {net.parent for net in observed.networks.values()}
        assert set(observed.parents) <= used
        assert used <= set(observed.host.links)


# --- what the host sets, and how long addresses rest ----------------------------------------------------------

POOLS = HostSetting("default_address_pools", [{"base": "10.200.0.0/16", "size": 24}])


def test_a_setting_of_the_host_is_kept_and_used_at_once():
    change = plan(seen(), ask("web"), settings=(POOLS,))
    assert done(change)[0] == ("change", "setting", "default_address_pools")
    assert change.plan.before[0] == Put(POOLS)
    assert str(change.networks["web"].subnets[0].network) == "10.200.0.0/24"
    known = seen(settings={POOLS.name: POOLS.value})
    assert done(plan(known, settings=(POOLS,))) == []
    assert str(plan(known, ask("web")).networks["web"].subnets[0].network) == "10.200.0.0/24"
    v6 = plan(known, ask("web", enable_ipv6=True)).networks["web"].subnets[1].network
    assert v6.subnet_of(ip_network("fd00::/8")), "a family without a pool has that of the collection"


def test_a_setting_that_is_what_there_is_anyway_is_no_change():
    settings = (HostSetting("history_days", 90), HostSetting("default_address_pools", []))
    assert done(plan(seen(), settings=settings)) == []
    assert done(plan(seen(), settings=(HostSetting("history_days", 7),))) == [("change", "setting", "history_days")]


def test_the_cooldown_changes_in_place():
    observed = seen(network("web", parent="eth0"))
    change = plan(observed, ask("web", cooldown=60))
    assert [(action.action, dict(action.changes)) for action in change.plan.actions] == [
        ("change", {"cooldown": {"before": 0, "after": 60}})
    ]
    assert change.networks["web"].cooldown == 60
    kept = seen(change.networks["web"])
    assert done(plan(kept, ask("web", cooldown=60))) == done(plan(kept, ask("web"))) == []


def test_a_gateway_may_lie_in_a_reserved_range_and_where_one_cools():
    net = network("web", subnet("192.168.20.0/24", "192.168.20.1"), parent="eth0")
    block = reserved(net, "infra", "192.168.20.10")[0]._replace(last=ip_address("192.168.20.19"))
    cooling = held(net, "web1", "192.168.20.30")[0]._replace(cooling=True, expires=99)
    for gateway in ("192.168.20.15", "192.168.20.30"):
        change = plan(seen(net, allocations=[block, cooling]), ask("web", subnet("192.168.20.0/24", gateway)))
        assert str(change.networks["web"].subnets[0].gateway) == gateway


def test_what_is_kept_for_an_absent_endpoint_holds_the_network():
    net = network("web", parent="eth0")
    rows = held(net, "web1", "192.168.20.2")
    assert refusal(seen(net, allocations=rows), gone()) == (
        "name 'web': addresses of network 'web' are still held by 1 owner (web1); release them first, or set force to "
        "true to release them with it"
    )
    change = plan(seen(net, allocations=rows), gone(force=True))
    assert done(change) == [("remove", "network", "web"), ("release", "address", "192.168.20.2")]
    cooling = [row._replace(cooling=True, expires=99) for row in rows]
    change = plan(seen(net, allocations=cooling), gone())
    assert done(change) == [("remove", "network", "web")]
    assert [step.row for step in change.plan.after if isinstance(step.row, Allocation)] == cooling


def test_a_parent_that_no_network_used_stays():
    """After a loss of the store networks come back one by one."""
    observed = seen(on=host(ETH0, MARKED20), made=[OURS20])
    assert done(plan(observed, ask("web", parent="eth0"))) == [("create", "network", "web")]
    used = seen(network("web", parent="eth0.20"), on=host(ETH0, MARKED20), made=[OURS20])
    assert ("remove", "parent", "eth0.20") in done(plan(used, gone()))


# --- what the host's own IPv6 prefix is made from ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"/etc/machine-id": b"a1\n"}, "a1"),
        ({"/etc/machine-id": b"\n", "/var/lib/dbus/machine-id": b"b2\n"}, "b2"),
        ({"/etc/machine-id": b""}, "its-name"),
        ({}, "its-name"),
    ],
)
def test_an_empty_machine_id_is_none(files, found, monkeypatch):
    def opened(path, **how):
        if path not in files:
            raise FileNotFoundError(path)
        return io.TextIOWrapper(io.BytesIO(files[path]), **how)

    monkeypatch.setattr(observe, "open", opened, raising=False)
    monkeypatch.setattr(observe.os, "uname", lambda: SimpleNamespace(nodename="its-name"))
    assert observe._machine_id() == found
