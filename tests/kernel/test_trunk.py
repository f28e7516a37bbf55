# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The trunk check, with a switch and a router whose faults are made one by one: what it says, and what it sends."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import wire

from . import looks
from .conftest import GATEWAYS, VLANS, Host, batch, command, ip, writes_counted

SUBNETS = {10: "172.16.80.0/24", 20: "172.16.48.0/22", 30: "10.1.0.0/16"}
NETWORKS = [
    {
        "name": f"vlan{vlan}",
        "parent": f"eth0.{vlan}",
        "ipam_config": [{"subnet": SUBNETS[vlan], "gateway": where.partition("/")[0]}],
    }
    for vlan, where in GATEWAYS.items()
]


@pytest.fixture(scope="module")
def host(shared_trunk: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with three networks on a trunk where all is well; each test leaves it so."""
    made = Host(tmp_path_factory.mktemp("trunk") / "state")
    made.run("vlan_network", networks=NETWORKS)
    looks.until_settled()
    yield made
    looks.tidy()


def findings(host: Host, **params: Any) -> list[str]:
    """What the check says of all networks, in order."""
    networks = host.run("vlan_network_info", verify=True, **params)["networks"]
    return [finding["words"] for network in networks for finding in network["findings"]]


def of_vlan(host: Host, vlan: int) -> dict[str, Any]:
    [network] = host.run("vlan_network_info", verify=True, name=f"vlan{vlan}")["networks"]
    return network


@contextmanager
def changed(netns: str | None, there: str, back: str, tool: str = "ip") -> Iterator[None]:
    """A fault, and its end."""
    batch(there, netns=netns, tool=tool)
    try:
        yield
    finally:
        batch(back, netns=netns, tool=tool)


def router_mac(vlan: int) -> str:
    return next(link["address"] for link in ip("link", "show", f"uplink.{vlan}", netns="router"))


# --- where all is well ----------------------------------------------------------------------------------------


def test_a_healthy_trunk_gives_no_finding(host: Host) -> None:
    networks = host.run("vlan_network_info", verify=True)["networks"]
    assert [network["findings"] for network in networks] == [[], [], []]
    for network in networks:
        seen = network["wire"]
        [gateway] = seen.pop("gateways")
        assert gateway["address"] == GATEWAYS[network["vlan_id"]].partition("/")[0]
        assert gateway["mac_address"] == router_mac(network["vlan_id"])
        assert gateway["rtt_ms"] > 0
        assert seen.pop("stations") >= 1
        assert seen.pop("switch") is None
        assert seen == {"parent_up": True, "carrier": True, "carried": True, "mtu": 1500, "mtu_passes": 1500}


def test_what_is_sent_on_a_healthy_trunk(host: Host) -> None:
    """Exactly what docs/wire.md promises: two frames on each VLAN, as they arrive at the switch."""
    mac = host.link("eth0")["address"]
    with looks.captured("switch", "port1") as heard:
        assert findings(host) == []
        ours = looks.sent_by(mac, heard())
    for vlan, where in GATEWAYS.items():
        gateway = socket.inet_aton(where.partition("/")[0])
        probe = bytes.fromhex("ffffffffffff" + mac.replace(":", "") + "0806" + "0001080006040001")
        probe += bytes.fromhex(mac.replace(":", "")) + bytes(4) + bytes(6) + gateway
        assert [frame for tag, frame in ours if tag == vlan] == [probe, probe.ljust(1514, b"\0")]
    assert {tag for tag, _frame in ours} == set(VLANS)


def test_the_host_stays_as_it_is(host: Host) -> None:
    """Nothing changes but one row of the store; check mode writes not even that, and a second check nothing new."""
    with sqlite3.connect(host.state_dir / "store.sqlite") as store:
        store.execute("DELETE FROM settings")
    store.close()
    before = looks.everything(host)
    with writes_counted() as written:
        host.run("vlan_network_info", check=True, verify=True)
        assert written == []
        host.run("vlan_network_info", verify=True)
        host.run("vlan_network_info", verify=True)
    assert len(written) == 1
    after = looks.everything(host)
    assert len(after["store"].pop("settings")) == 1
    assert after == before


def test_no_link_is_made_promiscuous(host: Host) -> None:
    link = wire.opened("eth0.20")
    assert link is not None
    with link:
        shown = ip("-d", "link")
    assert {(each["promiscuity"], each["allmulti"]) for each in shown if each["ifname"] != "lo"} == {(0, 0)}


def test_gateways_of_ipv6_are_asked_too(host: Host) -> None:
    with changed("router", "addr add 2001:db8::1/64 dev uplink.20 nodad", "addr del 2001:db8::1/64 dev uplink.20"):
        host.network("six", parent="eth0.20", enable_ipv4=False, ipam_config=[{"subnet": "2001:db8::/64"}])
        [network] = host.run("vlan_network_info", verify=True, name="six")["networks"]
        assert network["findings"] == []
        [gateway] = network["wire"]["gateways"]
        assert (gateway["address"], gateway["mac_address"]) == ("2001:db8::1", router_mac(20))
        assert network["wire"]["mtu_passes"] == 1500
        assert findings(host) == []  # both networks of one parent
        host.network("six", state="absent")


def test_networks_without_a_wire_or_a_gateway(host: Host) -> None:
    host.network("alone")
    host.network("inner", internal=True)
    host.network("vlan30", ipvlan_mode="l3")
    by_name = {each["name"]: each for each in host.run("vlan_network_info", verify=True)["networks"]}
    assert [by_name[name]["wire"] for name in ("alone", "inner")] == [None, None]
    routed = by_name["vlan30"]["wire"]
    # The router's link-local address answers the ping to all nodes.
    assert (routed["carried"], routed["gateways"], routed["mtu"], routed["mtu_passes"]) == (True, [], None, None)
    assert not any(each["findings"] for each in by_name.values())
    host.run("vlan_network", networks=[{"name": name, "state": "absent"} for name in ("alone", "inner")])
    host.network("vlan30", ipvlan_mode="l2")


# --- faults ---------------------------------------------------------------------------------------------------


def test_a_vlan_that_the_switch_does_not_carry(host: Host) -> None:
    with changed("switch", "vlan del dev port1 vid 30", "vlan add dev port1 vid 30", tool="bridge"):
        assert findings(host) == ["VLAN 30: no station answers; eth0's switch port does not seem to carry VLAN 30"]
        seen = of_vlan(host, 30)["wire"]
        assert (seen["carried"], seen["stations"], seen["mtu"]) == (False, 0, None)
        assert seen["gateways"] == [{"address": "10.1.100.1", "mac_address": None, "rtt_ms": None}]
    assert findings(host) == []


def test_a_gateway_that_moved(host: Host) -> None:
    to, fro = "172.16.50.254/22 dev uplink.20", "172.16.50.1/22 dev uplink.20"
    with changed("router", f"addr del {fro}\naddr add {to}", f"addr del {to}\naddr add {fro}"):
        assert findings(host) == ["VLAN 20: gateway 172.16.50.1 silent, but 1 station heard: wrong gateway address?"]
        assert of_vlan(host, 20)["wire"]["carried"] is True
    assert findings(host) == []


def test_a_silent_gateway_among_stations(host: Host) -> None:
    quiet = ("ip", "netns", "exec", "router", "sysctl", "-qw", "net.ipv4.conf.uplink/20.arp_ignore=")
    command(*quiet[:-1], quiet[-1] + "8")
    # The router is among those heard: it answers the ping to all nodes.
    with chatter(11):
        assert findings(host) == ["VLAN 20: gateway 172.16.50.1 silent, but 12 stations heard: wrong gateway address?"]
    command(*quiet[:-1], quiet[-1] + "0")
    assert findings(host) == []


def test_stations_with_a_wrong_mask(host: Host) -> None:
    with chatter(1, asks_for="172.16.99.7"):
        words = "VLAN 20: 172.16.50.100 asks for 172.16.99.7, which is outside 172.16.48.0/22: a wrong mask?"
        assert findings(host) == [words]
    with chatter(3, asks_for="172.16.99.7"):
        [finding] = of_vlan(host, 20)["findings"]
        assert "(and 2 more stations alike)" in finding["words"]
        assert (finding["severity"], finding["code"]) == ("hint", "outside_subnet")
    with chatter(1, asks_for="172.16.51.7"):
        assert findings(host) == []


def test_an_mtu_that_does_not_pass(host: Host) -> None:
    with changed("switch", "link set port2 mtu 1400", "link set port2 mtu 1500"):
        assert findings(host) == [f"VLAN {vlan}: MTU 1500 does not pass; 1400 does" for vlan in VLANS]
    assert findings(host) == []


def test_jumbo_frames_on_one_side_alone(host: Host) -> None:
    there = "link set eth0 mtu 9000\nlink set eth0.20 mtu 9000"
    with changed(None, there, "link set eth0.20 mtu 1500\nlink set eth0 mtu 1500"):
        assert findings(host) == ["VLAN 20: MTU 9000 does not pass; 1500 does"]
        seen = of_vlan(host, 20)["wire"]
        assert (seen["mtu"], seen["mtu_passes"]) == (9000, 1500)
        # Every part of the way has to carry them.
        jumbo = "link set port1 mtu 9000\nlink set port2 mtu 9000"
        router = "link set uplink mtu 9000\nlink set uplink.20 mtu 9000"
        with (
            changed("switch", jumbo, jumbo.replace("9000", "1500")),
            changed("router", router, "link set uplink mtu 1500"),
        ):
            assert findings(host) == []


def test_a_gateway_whose_address_somebody_else_has_too(host: Host) -> None:
    rogue = "netns add rogue\nlink add rogue netns rogue type veth peer name port3 netns switch\n"
    batch(rogue)
    batch("link set port3 master br0 up", netns="switch")
    batch("vlan add dev port3 vid 20 pvid untagged", netns="switch", tool="bridge")
    batch("link set rogue up\naddr add 172.16.50.1/22 dev rogue", netns="rogue")
    try:
        [link] = ip("link", "show", "rogue", netns="rogue")
        both = " and ".join(sorted([link["address"], router_mac(20)]))
        words = f"VLAN 20: gateway 172.16.50.1 is answered for by {both}: is its address used twice?"
        assert findings(host) == [words]
    finally:
        batch("netns del rogue")
    assert findings(host) == []


def test_a_gateway_that_is_another_than_last_time(host: Host) -> None:
    assert findings(host) == []
    before = router_mac(20)
    with changed("router", "link set uplink.20 address 02:00:00:00:00:99", f"link set uplink.20 address {before}"):
        words = f"VLAN 20: gateway 172.16.50.1 is now 02:00:00:00:00:99, and was {before} last time: was the router replaced?"
        assert findings(host, check=True) == [words]  # which keeps nothing
        assert findings(host) == [words]
        assert findings(host) == []
    assert "was 02:00:00:00:00:99 last time" in findings(host)[0]
    assert findings(host) == []


def test_links_that_are_down(host: Host) -> None:
    with changed("switch", "link set port1 down", "link set port1 up"):
        assert findings(host) == ["eth0 has no carrier: no cable, or its switch port is shut"] * 3
        seen = of_vlan(host, 20)["wire"]
        assert (seen["parent_up"], seen["carrier"], seen["carried"]) == (True, False, None)
    until_forwarding()
    with changed(None, "link set eth0.20 down", "link set eth0.20 up"):
        assert findings(host) == ["eth0.20 is down"]
    with changed(None, "link set eth0 down", "link set eth0 up"):
        assert findings(host) == ["eth0 is down"] * 3
    until_forwarding()
    batch("link del eth0.20")
    assert findings(host) == ["eth0.20 is not there; run the vlan_network task again"]
    host.run("vlan_network", networks=NETWORKS)
    assert findings(host) == []


def until_forwarding() -> None:
    """The kernel tells of a carrier at most once a second, and a bridge waits for it."""
    looks.until(
        lambda: "state forwarding" in command("bridge", "-n", "switch", "link", "show", "dev", "port1").stdout,
        "the switch port forwards",
    )


def chatter(count: int, asks_for: str = "172.16.48.9") -> AbstractContextManager[None]:
    """Stations on VLAN 20, beside the router, that ask for an address all the time."""
    stations = ((f"02:00:00:00:01:{number:02x}", f"172.16.50.{100 + number}") for number in range(count))
    asked = (wire._arp(wire.ARP_REQUEST, mac, address, wire.NO_MAC, asks_for) for mac, address in stations)
    return looks.spoken("router", "uplink.20", asked)
