# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the host is reached by is found, and no plan cuts it unless it is told to."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_address
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import lifelines, plan_endpoints, plan_networks
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.lifelines import Connection, Lifeline
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    HOST,
    Endpoint,
    Parent,
    endpoint_mark,
    parent_mark,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host, Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec, NetworkSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import Plan, RemoveLink

from .builders import (
    BOOT,
    address,
    held,
    host,
    ipvlan_link,
    link,
    loopback,
    netns,
    network,
    replace,
    route,
    seen,
    space,
    vlan_link,
)

# --- what there is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.9 50022 10.0.0.1 22", Connection("10.0.0.9", "10.0.0.1")),
        ("2001:DB8::9 50022 2001:db8:0::1 22", Connection("2001:db8::9", "2001:db8::1")),
        ("fe80::9%eth0 50022 fe80::1%eth0 22", Connection("fe80::9", "fe80::1", "eth0")),
        ("10.0.0.9 50022 10.0.0.1", None),
        ("UNKNOWN 65535 UNKNOWN 65535", None),
        ("", None),
    ],
)
def test_an_ssh_connection_is_read(text, found):
    assert lifelines.parsed(text) == found


def in_a_process(*before: str, **environment: str) -> str:
    """What a fresh Python below ``before`` finds."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from ansible_collections.netops.underlay.plugins.module_utils import lifelines\n"
        "print(lifelines.connection())"
    )
    clean = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    # The shell stays, since it has a second command.
    words = ("sh", "-c", '"$@"; exit $?', "sh", *before, sys.executable, "-c", code)
    return subprocess.run(words, capture_output=True, text=True, check=True, env={**clean, **environment}).stdout


def test_the_connection_is_found_in_the_environment_and_above_it():
    came = "10.9.9.9 50022 10.9.9.1 22"
    assert "10.9.9.1" in in_a_process(SSH_CONNECTION=came)
    # As after sudo, whose command has a clean environment.
    assert "10.9.9.1" in in_a_process("env", "-i", SSH_CONNECTION=came)
    assert "10.9.9.1" not in in_a_process("env", "-i")


def test_default_routes_are_lifelines_but_not_those_of_router_advertisements():
    routes = [
        route(2, "default", "10.0.0.1"),
        route(3, "default", "fe80::1", family=6, protocol=9),
        route(3, "10.5.0.0/16", "10.0.0.5"),
        replace(route(4, "default", None), index=None, hops=(4, 5)),
    ]
    found = lifelines.found([], [], routes, None, None)
    assert found == (
        Lifeline(2, "the host's IPv4 default route via 10.0.0.1"),
        Lifeline(4, "the host's IPv4 default route"),
        Lifeline(5, "the host's IPv4 default route"),
    )


def test_the_connection_hangs_on_its_address_and_on_the_way_back():
    addresses = [address(2, "10.0.0.2/24"), address(3, "10.5.0.2/16")]
    found = lifelines.found([], addresses, [], Connection("10.7.0.9", "10.5.0.2"), 2)
    assert [line.link for line in found] == [3, 2]
    assert found[0].words == "the connection that Ansible came in on (to 10.5.0.2)"
    assert found[1].words == "the connection that Ansible came in on (from 10.7.0.9)"


def test_a_link_local_address_is_that_of_its_link():
    links = [link(2, "eth0"), link(3, "eth1")]
    addresses = [address(2, "fe80::1/64"), address(3, "fe80::1/64")]
    found = lifelines.found(links, addresses, [], Connection("fe80::9", "fe80::1", "eth1"), None)
    assert [line.link for line in found] == [3]


# --- networks -------------------------------------------------------------------------------------------------

WAY = "the host's IPv4 default route via 192.168.20.1"
ETH0 = link(2, "eth0")
OURS20 = Parent("eth0.20", "eth0", 20)
MARKED20 = vlan_link(3, "eth0.20", 2, 20, alias=parent_mark("eth0.20"))


def on(index: int, *links: Any) -> Host:
    """A host that is reached by the link with this index."""
    return replace(host(*(links or (ETH0, MARKED20))), lifelines=(Lifeline(index, WAY),))


def refusal(observed: Observed, specs: list[NetworkSpec], **options: Any) -> str:
    with pytest.raises(Refused) as error:
        plan_networks.plan(observed, specs, **options)
    return str(error.value)


def absent(**fields: Any) -> list[NetworkSpec]:
    return [NetworkSpec("name 'web'", "web", "absent", **fields)]


def removed(plan: Plan) -> list[str]:
    return [step.name for step in plan.kernel if isinstance(step, RemoveLink)]


def test_a_parent_that_the_host_is_reached_by_goes_only_by_force_of_its_own():
    observed = seen(network(), on=on(3), made=[OURS20])
    words = f"name 'web': removing parent 'eth0.20' would cut {WAY}; lead that over another link first, or set force to true"
    assert words in refusal(observed, absent())
    assert words in refusal(observed, absent(force=True)), "a word for the whole list is not enough"
    change = plan_networks.plan(observed, absent(force=True, own_force=True))
    assert removed(change.plan) == ["eth0.20"]
    assert change.plan.warnings == (f"name 'web': removing parent 'eth0.20' cuts {WAY}, since force is true",)
    # The control: reached by another link.
    assert removed(plan_networks.plan(seen(network(), on=on(2), made=[OURS20]), absent()).plan) == ["eth0.20"]


def test_purge_never_cuts_even_by_force():
    observed = seen(network(), on=on(3), made=[OURS20])
    message = refusal(observed, [], purge=True, force=True)
    assert "network 'web' (purge): removing parent 'eth0.20' would cut" in message
    assert "force to true for network 'web' itself" in message
    one = absent(own_force=True)
    assert removed(plan_networks.plan(observed, one, purge=True).plan) == ["eth0.20"]


def test_a_network_that_moves_away_does_not_cut_either():
    observed = seen(network(), on=on(3), made=[OURS20])
    moving = NetworkSpec("name 'web'", "web", "present", parent="eth0")
    assert "removing parent 'eth0.20' would cut" in refusal(observed, [moving])


def test_what_the_host_is_reached_by_may_stand_on_the_parent():
    bridge = link(5, "br0", "bridge")
    port = replace(MARKED20, master=5, port_kind="bridge")
    # A port of a bridge is kept by another rule; here it is seen that the way down is known.
    observed = seen(network(), on=on(5, ETH0, port, bridge), made=[OURS20])
    assert "a port of 'br0'" in refusal(observed, absent(own_force=True))
    stacked = seen(network(), on=on(6, ETH0, MARKED20, vlan_link(6, "q", 3, 5)), made=[OURS20])
    assert "would cut" in refusal(stacked, absent())


def test_a_parent_that_was_altered_is_not_made_anew_under_the_hosts_feet():
    altered = vlan_link(3, "eth0.20", 2, 21, alias=parent_mark("eth0.20"))
    observed = seen(network(), on=on(3, ETH0, altered), made=[OURS20])
    present = NetworkSpec("name 'web'", "web", "present")
    assert "making parent 'eth0.20', which was altered, anew would cut" in refusal(observed, [present])
    change = plan_networks.plan(observed, [replace(present, own_force=True)])
    assert removed(change.plan) == ["eth0.20"]


@pytest.mark.parametrize(("vlan_id", "cut"), [(20, True), (21, False)])
def test_a_sub_interface_does_not_take_the_vlan_of_a_bridge_from_under_the_host(vlan_id, cut):
    """A new eth0.20 gets the frames that br0.20 got through its port eth0."""
    links = (link(2, "eth0", master=5, port_kind="bridge"), link(5, "br0", "bridge"), vlan_link(6, "br0.x", 5, vlan_id))
    observed = seen(on=on(6, *links))
    making = NetworkSpec("name 'web'", "web", "present", parent="eth0.20", subnets=network().subnets)
    if cut:
        assert "making parent 'eth0.20', which takes VLAN 20 from what 'eth0' is a port of," in refusal(
            observed, [making]
        )
        making = replace(making, own_force=True)
    assert "eth0.20" in plan_networks.plan(observed, [making]).parents_to_come


# --- endpoints ------------------------------------------------------------------------------------------------


def refused(observed: Observed, *specs: EndpointSpec, purged: tuple[str, ...] = ()) -> str:
    with pytest.raises(Refused) as error:
        plan_endpoints.plan(observed, specs, purged)
    return str(error.value)


def with_gate(index: int) -> Observed:
    """An endpoint on the host itself, ``underlay0`` (index 7); the host is reached by the link with this index."""
    net = network(parent="eth0")
    own = ipvlan_link(7, "underlay0", 2, alias=endpoint_mark("web", "gate"))
    there = on(index, ETH0, own)
    place = replace(there.space, addresses=(address(7, "192.168.20.2/32"),))
    row = Endpoint("web", "gate", HOST, "underlay0", None, (), 1, BOOT)
    return seen(
        net,
        on=replace(there, space=place),
        endpoints=[row],
        allocations=held(net, "gate", "192.168.20.2"),
        spaces={HOST: place},
    )


def test_the_hosts_own_endpoint_is_not_taken_away_while_the_host_is_reached_by_it():
    gone = EndpointSpec("name 'gate'", "web", "gate", "absent")
    message = refused(with_gate(7), gone)
    assert message.startswith(
        f"name 'gate': removing its link 'underlay0' would cut {WAY}; lead that over another link"
    )
    assert "force to true for endpoint 'gate' of network 'web' itself" in message
    assert "removing its link 'underlay0'" in refused(with_gate(7), purged=("web",))
    plan, _outcomes = plan_endpoints.plan(with_gate(7), [replace(gone, force=True)])
    assert removed(plan) == ["underlay0"]
    assert plan.warnings == (f"name 'gate': removing its link 'underlay0' cuts {WAY}, since force is true",)
    plan, _outcomes = plan_endpoints.plan(with_gate(2), [gone])
    assert removed(plan) == ["underlay0"]


@pytest.mark.parametrize("change", [{"ifname": "lan0"}, {"ipv4_address": ip_address("192.168.20.9")}])
def test_nor_renamed_or_given_another_address(change):
    asked = EndpointSpec("name 'gate'", "web", "gate", "present", HOST, **change)
    assert "changing its link 'underlay0' would cut" in refused(with_gate(7), asked)
    plan_endpoints.plan(with_gate(7), [replace(asked, force=True)])
    plan_endpoints.plan(with_gate(2), [asked])
    plan_endpoints.plan(with_gate(7), [replace(asked, ifname=None, ipv4_address=None)])


def test_passthru_does_not_take_the_hosts_card():
    net = network(parent="eth0", driver_name="macvlan", mode="passthru")
    asked = EndpointSpec("name 'a'", "web", "a", "present", netns("a"))

    def world(index: int) -> Observed:
        return seen(net, on=on(index, ETH0, link(3, "eth1")), spaces={netns("a"): space(9, loopback())})

    message = refused(world(2), asked)
    assert "macvlan passthru, which takes all that comes in on 'eth0' for itself, would cut" in message
    plan_endpoints.plan(world(2), [replace(asked, force=True)])
    plan_endpoints.plan(world(3), [asked])


def test_no_endpoint_gets_an_address_that_the_host_has_on_its_parent():
    net = network(parent="eth0")
    there = host(ETH0, link(3, "eth1"), addresses=[address(2, "192.168.20.2/24"), address(3, "192.168.20.3/24")])
    observed = seen(net, on=there, spaces={netns("a"): space(9, loopback())})
    asked = EndpointSpec("name 'a'", "web", "a", "present", netns("a"))
    words = "address 192.168.20.2 cannot be used: it is the host's own on 'eth0'"
    assert words in refused(observed, asked)
    assert words in refused(observed, replace(asked, ipv4_address=ip_address("192.168.20.2")))
    # On another link it is another segment's.
    plan_endpoints.plan(observed, [replace(asked, ipv4_address=ip_address("192.168.20.3"))])
