"""Bad input: a clear error, and nothing changed, neither in the kernel nor in the store, in check mode and for real.

Most cases share one host, ``world``: nothing that is done to it may change it. What needs a host of another kind
(no library, no rights, no driver, a strange store) comes last and makes its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils.store import SCHEMA_VERSION

from . import looks
from .conftest import Host, batch, build_trunk, command, sweep

NET = {"ipam_config": [{"subnet": "10.99.0.0/24"}]}


def ipam(subnet: str, **more: Any) -> dict[str, Any]:
    return {"ipam_config": [{"subnet": subnet, **more}]}


# --- one host that all is tried on ----------------------------------------------------------------------------


WATCHED = ("foreign", "web1", "db1")


class World(Host):
    """The trunk; networks and endpoints of ours; links that are not ours, here and elsewhere.

    ======== ==========================================================================================
    ipv20    ours: ipvlan l2/bridge on eth0.20 with endpoint ``web1``, 172.16.48.1
    full     ours: isolated, one address to give, which owner ``vm-1`` holds
    mac30    ours: macvlan bridge on eth0.30 with endpoint ``db1``, 10.1.0.2
    alone    ours: macvlan passthru on hand-made nic1, without an endpoint
    bare     ours: ipvlan l2/bridge on hand-made nic6, without an endpoint, and nobody's link is on nic6
    nic2..5  hand-made; an ipvlan l3/private of others on nic2, a macvlan on nic3, both in ``foreign``;
             the same on nic4 and nic5 in a namespace without a name
    port     a port of the bridge br1
    ipv      an ipvlan of others in the host's own namespace
    ======== ==========================================================================================
    """

    pid: int  # a process in the namespace without a name
    theirs: list[Any]
    watch: looks.Watch

    def foreign_links(self) -> list[Any]:
        """Kind and settings of the links of others that no named namespace shows."""
        found = looks.child_of(self.pid)
        return [found[name]["linkinfo"] for name in ("theirs4", "theirs5")]


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    sweep()
    build_trunk()
    world = World(tmp_path_factory.mktemp("refusals") / "state")
    command("ip", "netns", "add", "foreign")
    with looks.unnamed_namespace() as world.pid:
        lines = "".join(f"link add nic{n} type dummy\nlink set nic{n} up\n" for n in range(1, 8))
        for n, place in ((2, "foreign"), (4, str(world.pid))):
            lines += f"link add link nic{n} name theirs{n} netns {place} type ipvlan mode l3 private\n"
            lines += f"link add link nic{n + 1} name theirs{n + 1} netns {place} type macvlan mode bridge\n"
        lines += "link add br1 type bridge\nlink add port type dummy\nlink set port master br1\n"
        batch(lines + "link add link nic7 name ipv type ipvlan mode l2\n")
        world.run(
            "vlan_network",
            networks=[
                {
                    "name": "ipv20",
                    "parent": "eth0.20",
                    **ipam("172.16.48.0/22", gateway="172.16.50.1", aux_addresses={"printer": "172.16.48.9"}),
                },
                {"name": "full", **ipam("10.66.0.0/24", ip_range="10.66.0.8/32")},
                {"name": "mac30", "driver": "macvlan", "parent": "eth0.30", **ipam("10.1.0.0/16")},
                {"name": "alone", "parent": "nic1", "driver": "macvlan", "macvlan_mode": "passthru", **NET},
                {"name": "bare", "parent": "nic6", **ipam("10.6.0.0/24")},
            ],
        )
        world.endpoint("web1", "ipv20")
        world.endpoint("db1", "mac30")
        world.run("vlan_ipam", network="full", owner="vm-1")
        looks.until_settled()
        world.watch = looks.Watch(
            world, "/proc/self/ns/net", f"/proc/{world.pid}/ns/net", *(f"/run/netns/{name}" for name in WATCHED)
        )
        world.theirs = [looks.everything(world), world.foreign_links()]
        yield world
        world.watch.close()
    sweep()


@pytest.fixture
def world(_shared: World) -> World:
    return _shared


NETWORK, ENDPOINT, IPAM = "vlan_network", "vlan_endpoint", "vlan_ipam"

NETWORKS = {
    "parent missing": ({"parent": "eth9"}, ["name 'x'", "parent 'eth9' does not exist", "did you mean 'eth0'?"]),
    "vlan 0": ({"parent": "eth0.0"}, ["parent 'eth0.0'", "'0' is not a VLAN id (1 to 4094)"]),
    "vlan 4095": ({"parent": "eth0.4095"}, ["parent 'eth0.4095'", "'4095' is not a VLAN id (1 to 4094)"]),
    "vlan x": ({"parent": "eth0.x"}, ["parent 'eth0.x'", "'x' is not a VLAN id (1 to 4094)"]),
    "vlan 010": ({"parent": "eth0.010"}, ["'010' is not a VLAN id"]),
    "vlan nothing": ({"parent": "eth0."}, ["parent 'eth0.'"]),
    "two dots": ({"parent": "eth0.10.20"}, ["parent 'eth0.10.20' does not exist", "exactly one dot"]),
    "base missing": ({"parent": "eth9.10"}, ["parent 'eth9.10'", "base link 'eth9' does not exist"]),
    "lo": ({"parent": "lo"}, ["parent 'lo'", "loopback"]),
    "vlan of lo": ({"parent": "lo.10"}, ["parent 'lo.10'", "'lo' cannot carry VLANs"]),
    "an ipvlan as parent": ({"parent": "ipv"}, ["parent 'ipv' is itself an ipvlan link", "name that one"]),
    "a bridge port": ({"parent": "port"}, ["parent 'port' is a port of the bridge 'br1'", "name 'br1'"]),
    "parent with slash": ({"parent": "eth0/1"}, ["parent 'eth0/1'", "not the name of a link"]),
    "parent dots": ({"parent": ".."}, ["parent '..'", "not the name of a link"]),
    "parent newline": ({"parent": "eth0\n"}, ["parent 'eth0\\n'", "not the name of a link"]),
    "parent too long": ({"parent": "eth0123456789.10"}, ["parent", "has 16", "at most 15"]),
    "macvlan_mode for ipvlan": ({"macvlan_mode": "vepa"}, ["macvlan_mode does not belong", "ipvlan (the default)"]),
    "macvlan_mode for said ipvlan": (
        {"driver": "ipvlan", "macvlan_mode": "vepa"},
        ["macvlan_mode belongs to the driver macvlan", "driver is ipvlan"],
    ),
    "ipvlan_mode for macvlan": (
        {"driver": "macvlan", "ipvlan_mode": "l2"},
        ["ipvlan_mode belongs to the driver ipvlan", "driver is macvlan"],
    ),
    "ipvlan_flag for macvlan": ({"driver": "macvlan", "ipvlan_flag": "vepa"}, ["ipvlan_flag", "driver is macvlan"]),
    "macvlan where ipvlan is": (
        {"driver": "macvlan", "parent": "eth0.20"},
        ["parent 'eth0.20'", "'ipv20'", "driver ipvlan", "one driver on a parent"],
    ),
    "ipvlan where macvlan is": (
        {"parent": "eth0.30"},
        ["parent 'eth0.30'", "'mac30'", "driver macvlan", "one driver on a parent"],
    ),
    "another mode": ({"parent": "eth0.20", "ipvlan_mode": "l3"}, ["'ipv20' in l2/bridge", "is l3/bridge"]),
    "another flag": ({"parent": "eth0.20", "ipvlan_flag": "vepa"}, ["'ipv20' in l2/bridge", "is l2/vepa"]),
    "another flag, no endpoint there": (
        {"parent": "nic6", "ipvlan_flag": "private", **ipam("10.7.0.0/24")},
        ["'bare' in l2/bridge", "is l2/private"],
    ),
    "beside passthru": (
        {"driver": "macvlan", "parent": "nic1", **ipam("10.7.0.0/24")},
        ["parent 'nic1'", "'alone'", "passthru wants a parent for itself"],
    ),
    "passthru beside bridge": (
        {"driver": "macvlan", "macvlan_mode": "passthru", "parent": "eth0.30", **ipam("10.7.0.0/24")},
        ["'mac30'", "passthru wants a parent for itself"],
    ),
    "mode against theirs": (
        {"parent": "nic2"},
        ["parent 'nic2'", "'theirs2' (ipvlan)", "namespace 'foreign'", "not ours", "l3/private to l2/bridge"],
    ),
    "flag against theirs": (
        {"parent": "nic2", "ipvlan_mode": "l3"},
        ["'theirs2' (ipvlan)", "namespace 'foreign'", "l3/private to l3/bridge"],
    ),
    "macvlan on their ipvlan": (
        {"driver": "macvlan", "parent": "nic2"},
        ["'theirs2' (ipvlan)", "namespace 'foreign'", "ipvlan and macvlan at once"],
    ),
    "ipvlan on their macvlan": (
        {"parent": "nic3"},
        ["'theirs3' (macvlan)", "namespace 'foreign'", "macvlan and ipvlan at once"],
    ),
    "passthru on their macvlan": (
        {"driver": "macvlan", "macvlan_mode": "passthru", "parent": "nic3"},
        ["'theirs3' (macvlan)", "passthru wants the parent for itself"],
    ),
    "mode against theirs, unnamed": ({"parent": "nic4"}, ["'theirs4' (ipvlan)", "process PID", "l3/private"]),
    "macvlan on their ipvlan, unnamed": ({"driver": "macvlan", "parent": "nic4"}, ["'theirs4'", "process PID"]),
    "ipvlan on their macvlan, unnamed": ({"parent": "nic5"}, ["'theirs5' (macvlan)", "process PID (sleep)"]),
    "mode against the host's own": (
        {"parent": "nic7", "ipvlan_mode": "l3s"},
        ["'ipv' (ipvlan)", "the host's own namespace", "l2/bridge to l3s/bridge"],
    ),
    "subnet that is none": (ipam("10.7.0/24"), ["ipam_config[0]", "subnet '10.7.0/24'"]),
    "subnet without length": (ipam("10.7.0.0"), ["ipam_config[0]", "no prefix length", "192.168.20.0/24"]),
    "gateway outside": (
        ipam("10.7.0.0/24", gateway="10.8.0.1"),
        ["name 'x'", "ipam_config[0]", "gateway 10.8.0.1", "outside 10.7.0.0/24"],
    ),
    "gateway is the network": (ipam("10.7.0.0/24", gateway="10.7.0.0"), ["gateway 10.7.0.0", "network address"]),
    "gateway is the broadcast": (ipam("10.7.0.0/24", gateway="10.7.0.255"), ["gateway", "broadcast address"]),
    "gateway of the other family": (ipam("10.7.0.0/24", gateway="fd00::1"), ["'fd00::1' is not an IPv4 address"]),
    "range outside": (ipam("10.7.0.0/24", ip_range="10.8.0.0/25"), ["ip_range 10.8.0.0/25", "10.7.0.0/24"]),
    "range wider": (ipam("10.7.0.0/24", ip_range="10.7.0.0/16"), ["ip_range 10.7.0.0/16", "10.7.0.0/24"]),
    "aux outside": (
        ipam("10.7.0.0/24", aux_addresses={"nas": "10.8.0.9"}),
        ["ipam_config[0]", "aux_addresses", "nas 10.8.0.9", "outside 10.7.0.0/24"],
    ),
    "aux is the gateway": (
        ipam("10.7.0.0/24", gateway="10.7.0.7", aux_addresses={"nas": "10.7.0.7"}),
        ["nas 10.7.0.7 is the gateway"],
    ),
    "aux is the default gateway": (ipam("10.7.0.0/24", aux_addresses={"nas": "10.7.0.1"}), ["nas", "is the gateway"]),
    "aux is the network": (ipam("10.7.0.0/24", aux_addresses={"nas": "10.7.0.0"}), ["nas", "network address"]),
    "aux is the broadcast": (ipam("10.7.0.0/24", aux_addresses={"nas": "10.7.0.255"}), ["nas", "broadcast"]),
    "aux that an endpoint holds": (
        {
            "name": "ipv20",
            **ipam("172.16.48.0/22", gateway="172.16.50.1", aux_addresses={"nas": "172.16.48.1"}),
        },
        ["172.16.48.1", "auxiliary address 'nas'", "endpoint 'web1' of network 'ipv20'"],
    ),
    "gateway that an endpoint holds": (
        {"name": "ipv20", **ipam("172.16.48.0/22", gateway="172.16.48.1")},
        ["172.16.48.1", "the gateway", "endpoint 'web1' of network 'ipv20'"],
    ),
    "overlap on one parent": (
        {"parent": "eth0.20", **ipam("172.16.49.0/24")},
        ["subnet 172.16.49.0/24 overlaps 172.16.48.0/22", "'ipv20'", "parent 'eth0.20'"],
    ),
    "same subnet, same range": ({"parent": "eth0.20", **ipam("172.16.48.0/22")}, ["overlaps", "ip_range"]),
    "overlap in one network": (
        {"ipam_config": [{"subnet": "10.7.0.0/24"}, {"subnet": "10.7.0.128/25"}]},
        ["ipam_config[1]", "10.7.0.128/25 overlaps 10.7.0.0/24"],
    ),
    "the host's subnet in l3": (
        {"parent": "eth0", "ipvlan_mode": "l3", **ipam("192.168.0.0/16")},
        ["192.168.0.0/16 overlaps 192.168.1.0/24", "the host's own", "mode l3"],
    ),
    "name with slash": ({"name": "a/b"}, ["'a/b' is not a network name"]),
    "name dots": ({"name": ".."}, ["'..' is not a network name"]),
    "name with newline": ({"name": "a\nb"}, ["'a\\nb' is not a network name"]),
    "name with a last newline": ({"name": "a\n"}, ["'a\\n' is not a network name"]),
    "name too long": ({"name": "n" * 65}, ["is not a network name", "up to 64"]),
    "name none": ({"name": "none"}, ["'none' is taken"]),
    "mtu above the parent's": ({"parent": "nic6", "mtu": 9000, **ipam("10.7.0.0/24")}, ["mtu 9000", "(1500)"]),
    "mtu too small": ({"mtu": 60}, ["mtu 60", "68"]),
    "ipv6 subnet but no ipv6": ({**ipam("fd00::/64"), "enable_ipv6": False}, ["enable_ipv6 is false"]),
    "no family": ({"enable_ipv4": False, "enable_ipv6": False}, ["enable_ipv4 and enable_ipv6"]),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_network(world: World, case: str) -> None:
    params, words = NETWORKS[case]
    words = [word.replace("PID", str(world.pid)) for word in words]
    looks.refused(world, NETWORK, *words, **{"name": "x", **NET, **params})


def on20(**params: Any) -> dict[str, Any]:
    return {"name": "x", "network": "ipv20", "netns": "web1", "ifname": "eth7", **params}


ENDPOINTS = {
    "network unknown": (on20(network="ipv99"), ["name 'x'", "network 'ipv99' does not exist", "vlan_network"]),
    "network missing": ({"name": "x", "netns": "web1"}, ["network is missing"]),
    "address outside": (on20(ip="10.8.0.1"), ["ipv4_address 10.8.0.1", "'ipv20'", "outside", "172.16.48.0/22"]),
    "address is the network's": (on20(ip="172.16.48.0"), ["ipv4_address 172.16.48.0", "network address"]),
    "address is the broadcast": (on20(ip="172.16.51.255"), ["ipv4_address 172.16.51.255", "broadcast address"]),
    "address is the gateway": (on20(ip="172.16.50.1"), ["ipv4_address 172.16.50.1", "the gateway", "'ipv20'"]),
    "address is auxiliary": (on20(ip="172.16.48.9"), ["ipv4_address 172.16.48.9", "auxiliary address 'printer'"]),
    "address is held": (
        on20(ip="172.16.48.1"),
        ["ipv4_address", "172.16.48.1", "held by endpoint 'web1' of network 'ipv20'"],
    ),
    "address is reserved": (on20(network="full", ip="10.66.0.8"), ["held by owner 'vm-1' of network 'full'"]),
    "range is full": (
        on20(network="full"),
        ["network 'full' has no free IPv4 address left in 10.66.0.8/32", "release some", "ip_range"],
    ),
    "no subnet of the family": (on20(ip6="fd00::5"), ["ipv6_address fd00::5", "no IPv6 subnet"]),
    "wrong family": (on20(ip="fd00::5"), ["ipv4_address", "'fd00::5' is not an IPv4 address"]),
    "mac for ipvlan": (on20(mac_address="02:00:00:00:00:01"), ["mac_address 02:00:00:00:00:01", "ipvlan"]),
    "mac for passthru": (on20(network="alone", mac_address="02:00:00:00:00:01"), ["mac_address", "passthru"]),
    "mac multicast": (on20(network="mac30", mac_address="01:00:00:00:00:01"), ["mac_address", "multicast"]),
    "mac of another": (
        on20(network="mac30", mac_address="02:42:0a:01:00:02"),
        ["02:42:0a:01:00:02", "endpoint 'db1' of network 'mac30'", "parent 'eth0.30'"],
    ),
    "two targets": (on20(pid=1), ["exactly one of", "both netns and pid"]),
    "no target": ({"name": "x", "network": "ipv20"}, ["exactly one of netns, netns_path, pid", "none is given"]),
    "pid 0": (on20(netns=None, pid=0), ["pid 0"]),
    "pid 1": (on20(netns=None, pid=1), ["pid 1 is the host's own network namespace"]),
    "the host's own namespace": (
        on20(netns=None, netns_path="/proc/self/ns/net"),
        ["netns_path /proc/self/ns/net is the host's own network namespace"],
    ),
    "path missing": (on20(netns=None, netns_path="/run/netns/gone"), ["no network namespace at /run/netns/gone"]),
    "path of a file": (on20(netns=None, netns_path="/etc/passwd"), ["/etc/passwd is no network namespace"]),
    "path of a folder": (on20(netns=None, netns_path="/run/netns"), ["/run/netns is no network namespace"]),
    "path of another kind": (on20(netns=None, netns_path="/proc/self/ns/mnt"), ["/proc/self/ns/mnt is no network"]),
    "path relative": (on20(netns=None, netns_path="web1"), ["netns_path 'web1' is not an absolute path"]),
    "netns with slash": (on20(netns="a/b"), ["netns 'a/b'", "netns_path"]),
    "netns dots": (on20(netns=".."), ["netns '..'"]),
    "netns with newline": (on20(netns="a\nb"), ["netns 'a\\nb'"]),
    "netns with a last newline": (on20(netns="a\n"), ["netns 'a\\n'"]),
    "netns that is an option": (on20(netns="-all"), ["netns '-all'"]),
    "ifname taken": (on20(ifname="eth0"), ["ifname 'eth0' is taken", "netns web1"]),
    "ifname with slash": (on20(ifname="a/b"), ["ifname 'a/b'"]),
    "ifname dots": (on20(ifname=".."), ["ifname '..'"]),
    "ifname with newline": (on20(ifname="a\n"), ["ifname 'a\\n'"]),
    "ifname too long": (on20(ifname="e" * 16), ["ifname", "has 16", "at most 15"]),
    "ifname lo": (on20(ifname="lo"), ["ifname 'lo'"]),
    "name with slash": (on20(name="a/b"), ["'a/b' ", "endpoint name"]),
    "name dots": (on20(name=".."), ["'..' ", "endpoint name"]),
    "name with newline": (on20(name="a\nb"), ["'a\\nb' ", "endpoint name"]),
    "docker does not run": (
        on20(netns=None, container="app", container_engine="docker"),
        ["container 'app'", "docker does not answer", "Docker daemon", "make 'docker ps' work"],
    ),
    "default route is there": (
        on20(default_route=True),
        ["default_route is true", "netns web1", "default route by", "to false here"],
    ),
}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_endpoint(world: World, case: str) -> None:
    params, words = ENDPOINTS[case]
    looks.refused(world, ENDPOINT, *words, **params)


def test_pid_that_is_gone(world: World) -> None:
    ended = subprocess.Popen(("true",))
    ended.wait()
    words = (f"pid {ended.pid} does not exist", "running process")
    looks.refused(world, ENDPOINT, *words, name="x", network="ipv20", pid=ended.pid)


@pytest.mark.parametrize(("place", "words"), [("foreign", "namespace 'foreign'"), (None, "process PID")])
def test_an_ipvlan_of_others_that_came_after_the_network_keeps_its_mode(
    world: World, place: str | None, words: str
) -> None:
    """The first endpoint on a parent looks again: the kernel would give their link the mode of ours."""
    command("ip", "link", "add", "link", "nic6", "name", "late", "netns", place or str(world.pid), "type", "ipvlan",
            "mode", "l3")  # fmt: skip
    try:
        words = words.replace("PID", str(world.pid))
        looks.refused(world, ENDPOINT, "'late' (ipvlan)", words, "l3/bridge to l2/bridge", **on20(network="bare"))
        links = world.links("foreign") if place else looks.child_of(world.pid)
        assert links["late"]["linkinfo"]["info_data"]["mode"] == "l3"
    finally:
        where = ("-n", place) if place else ()
        enter = () if place else ("nsenter", "-t", str(world.pid), "-n")
        command(*enter, "ip", *where, "link", "del", "late")


@pytest.mark.parametrize("change", [{"ipvlan_mode": "l3"}, {"ipvlan_flag": "private"}])
def test_a_change_that_would_turn_an_ipvlan_of_others(world: World, change: dict[str, str]) -> None:
    lines = "link add link eth0.20 name late netns foreign type ipvlan mode l2\n"
    batch(lines)
    try:
        looks.refused(
            world, NETWORK, "'late' (ipvlan)", "namespace 'foreign'", "from l2/bridge", name="ipv20", **change
        )
        assert world.link("late", "foreign")["linkinfo"]["info_data"]["mode"] == "l2"
        assert world.pings("web1", "172.16.50.1")
    finally:
        batch("link del late\n", netns="foreign")


@pytest.mark.parametrize("kind", ["ipvlan mode l2", "vlan id 7"])
def test_a_parent_that_carries_a_link_of_others_is_not_removed(world: World, kind: str) -> None:
    """The kernel would delete theirs with it, in whatever namespace it is."""
    world.run(NETWORK, name="going", parent="eth0.10", **NET)
    place = "" if kind.startswith("vlan") else f"netns {world.pid}"
    batch(f"link add link eth0.10 name late {place} type {kind}\n")
    looks.until_settled()
    try:
        words = ("'going'", "parent 'eth0.10' cannot be removed", "'late'", "remove that first")
        looks.refused(world, NETWORK, *words, name="going", state="absent")
        looks.refused(world, NETWORK, *words, name="going", state="absent", force=True)
    finally:
        enter = () if not place else ("nsenter", "-t", str(world.pid), "-n")
        command(*enter, "ip", "link", "del", "late")
        world.run(NETWORK, name="going", state="absent")
    assert "eth0.10" not in world.links()


ADDRESSES = {
    "network unknown": ({"network": "x"}, ["owner 'vm-2'", "network 'x' does not exist"]),
    "held": ({"address": "10.66.0.8"}, ["10.66.0.8", "held by owner 'vm-1' of network 'full'"]),
    "held by an endpoint": (
        {"network": "ipv20", "address": "172.16.48.1"},
        ["172.16.48.1", "held by endpoint 'web1' of network 'ipv20'"],
    ),
    "outside": ({"address": "10.67.0.8"}, ["address 10.67.0.8", "outside", "10.66.0.0/24"]),
    "gateway": ({"address": "10.66.0.1"}, ["address 10.66.0.1", "the gateway of network 'full'"]),
    "network address": ({"address": "10.66.0.0"}, ["address 10.66.0.0", "network address"]),
    "broadcast": ({"address": "10.66.0.255"}, ["address 10.66.0.255", "broadcast address"]),
    "full": ({}, ["network 'full' has no free IPv4 address left in 10.66.0.8/32"]),
    "family": ({"family": "ipv6"}, ["'full' has no IPv6 subnet"]),
    "no address": ({"address": "10.66.0.x"}, ["address", "'10.66.0.x' is not an IP address"]),
    "owner with newline": ({"owner": "a\nb"}, ["'a\\nb' is not a usable owner"]),
    "not what is held": (
        {"owner": "vm-1", "address": "10.66.0.9", "state": "absent"},
        ["'vm-1' holds 10.66.0.8", "not 10.66.0.9"],
    ),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_address(world: World, case: str) -> None:
    params, words = ADDRESSES[case]
    looks.refused(world, IPAM, *words, **{"network": "full", "owner": "vm-2", **params})


# --- lists ---


def test_two_items_of_one_name(world: World) -> None:
    pair = [{"name": "x"}, {"name": "y"}, {"name": "x"}]
    looks.refused(world, NETWORK, "networks[2] (x)", "already given by networks[0] (x)", networks=pair)
    endpoints = [{**on20(), "ifname": f"eth{n}"} for n in (7, 8)]
    looks.refused(world, ENDPOINT, "endpoints[1] (x)", "already given by endpoints[0] (x)", endpoints=endpoints)
    owners = [{"owner": "vm-2"}, {"owner": "vm-2"}]
    looks.refused(world, IPAM, "addresses[1] (vm-2)", "addresses[0] (vm-2)", network="ipv20", addresses=owners)


def test_two_items_that_want_one_address_one_ifname_or_one_vlan(world: World) -> None:
    pair = [on20(name=name, netns=name, ip="172.16.48.7") for name in ("x", "y")]
    words = ("endpoints[1] (y)", "172.16.48.7", "held by endpoint 'x' of network 'ipv20'")
    looks.refused(world, ENDPOINT, *words, endpoints=pair)
    pair = [on20(name=name) for name in ("x", "y")]
    looks.refused(world, ENDPOINT, "endpoints[1] (y)", "ifname 'eth7' is taken", endpoints=pair)
    pair = [{"name": name, "parent": "eth0.10", **ipam("10.7.0.0/24")} for name in ("x", "y")]
    looks.refused(world, NETWORK, "10.7.0.0/24 overlaps", "parent 'eth0.10'", networks=pair)


def test_one_bad_item_of_ten_changes_nothing(world: World) -> None:
    networks = [{"name": f"n{n}", "parent": f"eth0.{100 + n}", **ipam(f"10.7.{n}.0/24")} for n in range(10)]
    networks[6]["parent"] = "eth9"
    looks.refused(world, NETWORK, "networks[6] (n6)", "parent 'eth9' does not exist", networks=networks)
    endpoints = [{"name": f"e{n}", "network": "ipv20", "netns": f"e{n}"} for n in range(10)]
    endpoints[9]["network"] = "ipv99"
    looks.refused(world, ENDPOINT, "endpoints[9] (e9)", "'ipv99' does not exist", endpoints=endpoints)
    addresses = [{"owner": f"o{n}"} for n in range(10)]
    addresses[0]["address"] = "172.16.48.1"
    looks.refused(world, IPAM, "addresses[0] (o0)", "endpoint 'web1'", network="ipv20", addresses=addresses)


def test_every_bad_item_is_named_at_once(world: World) -> None:
    networks = [{"name": "x", "parent": "eth8"}, {"name": "y"}, {"name": "z", "parent": "lo"}]
    message = looks.refused(world, NETWORK, "networks[0] (x)", "networks[2] (z)", networks=networks)
    assert "networks[1]" not in message


def test_forms_of_a_task(world: World) -> None:
    looks.refused(world, NETWORK, "'name'", "'networks'")
    looks.refused(world, NETWORK, "'parent'", "'networks'", parent="eth0", networks=[{"name": "x"}])
    looks.refused(world, NETWORK, "'networks' is empty", "purge_all", networks=[], purge=True)
    looks.refused(world, NETWORK, "purge", "list 'networks'", name="x", purge=True)
    looks.refused(world, NETWORK, "purge_all", "purge: true", networks=[], purge_all=True)
    looks.refused(world, ENDPOINT, "'endpoints' is empty", "purge_all", endpoints=[], purge=True)


def test_in_use(world: World) -> None:
    words = ("'ipv20'", "1 endpoint (web1)", "force to true")
    looks.refused(world, NETWORK, *words, name="ipv20", state="absent")
    looks.refused(world, NETWORK, "'full'", "1 owner (vm-1)", "force to true", name="full", state="absent")
    looks.refused(world, NETWORK, "driver", "'ipv20'", "force to true", name="ipv20", driver="macvlan")
    looks.refused(world, NETWORK, "parent", "'ipv20'", "force to true", name="ipv20", parent="eth0.10")
    words = ("macvlan_mode bridge", "'mac30'", "cannot be changed in place", "force to true")
    looks.refused(world, NETWORK, *words, name="mac30", macvlan_mode="passthru")
    words = ("172.16.48.1", "endpoint 'web1'", "ipam_config", "force to true")
    looks.refused(world, NETWORK, *words, name="ipv20", **ipam("10.7.0.0/24"))


def test_passthru_takes_one_endpoint(world: World) -> None:
    pair = [on20(name=name, network="alone", netns=name) for name in ("x", "y")]
    looks.refused(world, ENDPOINT, "endpoints[1] (y)", "macvlan passthru", "one endpoint only", endpoints=pair)


def test_all_of_the_above_left_the_world_as_it_was(world: World) -> None:
    """And what watches over it hears of a change in every place."""
    assert [looks.everything(world), world.foreign_links()] == world.theirs
    assert world.pings("web1", "172.16.50.1")
    assert world.pings("db1", "10.1.100.1")
    assert world.addresses("eth0", "web1") == ["172.16.48.1/22"]
    world.watch.heard()
    for place in ((), ("nsenter", "-t", str(world.pid), "-n"), *(("ip", "netns", "exec", n) for n in WATCHED)):
        command(*place, "ip", "link", "add", "seen", "type", "dummy")
        assert sum(world.watch.heard().values()) > 0, place
        command(*place, "ip", "link", "del", "seen")
        world.watch.heard()
    assert not world.watch.heard()


# --- another kind of host -------------------------------------------------------------------------------------


def _alone(host: World, work: Any, *words: str) -> str:
    """A refusal in a forked process."""
    host.watch.heard()
    before = host.watch.rest()
    message = looks.in_child(work)
    assert host.watch.rest() == before
    assert not host.watch.heard()
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("module", [NETWORK, ENDPOINT, "vlan_ipam_info"])
def test_pyroute2_missing(world: World, module: str) -> None:
    def work() -> None:
        looks.forget_imports("pyroute2")
        sys.meta_path.insert(0, looks.Hidden("pyroute2"))
        world.run(module, **({} if module.endswith("info") else {"name": "x"}))

    how = f"`{sys.executable} -m pip install 'pyroute2>=0.7.2'`"
    _alone(world, work, "pyroute2 is missing", sys.executable, how, "apt install python3-pyroute2")


def test_pyroute2_too_old(world: World) -> None:
    def work() -> None:
        looks.forget_imports("pyroute2")
        sys.modules["pyroute2.config.version"] = types.SimpleNamespace(__version__="0.6.13")
        world.run(NETWORK, name="x")

    _alone(world, work, "pyroute2 0.6.13 is too old", sys.executable, "0.7.2 or newer", "pip install")


def test_a_module_as_ansible_starts_it_without_pyroute2(world: World, tmp_path: Path) -> None:
    """In a process of its own, which finds a library of that name that cannot be imported. It is the second start, since
    another Python would find the same (tests/installed has one that finds a good one)."""
    (tmp_path / "pyroute2.py").write_text("raise ImportError('broken on purpose')\n")
    module = importlib.import_module(f"{looks.COLLECTION}.modules.vlan_network")
    arguments = {"name": "x", "state_dir": str(world.state_dir), "_ansible_check_mode": False}
    (tmp_path / "start.py").write_text(
        "import json, sys\n"
        "from ansible.module_utils import basic\n"
        f"basic._ANSIBLE_ARGS = {json.dumps({'ANSIBLE_MODULE_ARGS': arguments}).encode()!r}\n"
        "basic._ANSIBLE_PROFILE = 'legacy'\n"
        "sys.modules['__main__']._respawned = True\n"
        "from ansible_collections.netops.underlay.plugins.modules import vlan_network\n"
        "vlan_network.main()\n"
    )
    roots = [str(tmp_path), *(path for path in sys.path if path)]
    before = world.watch.rest()
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "start.py")],
        env={**os.environ, "PYTHONPATH": ":".join(roots)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert world.watch.rest() == before
    assert not world.watch.heard()
    assert module.__file__ and ended.returncode == 1, ended.stderr
    result = json.loads(ended.stdout)
    assert result["failed"] is True
    assert "Traceback" not in ended.stderr + ended.stdout
    for word in ("pyroute2 is missing", sys.executable, "broken on purpose", "pip install 'pyroute2>=0.7.2'"):
        assert word in result["msg"]


def test_netaddr_missing(world: World) -> None:
    def work() -> None:
        looks.forget_imports("netaddr")
        sys.meta_path.insert(0, looks.Hidden("netaddr"))
        world.run(NETWORK, name="x")

    _alone(world, work, "netaddr is missing", f"{sys.executable} -m pip install netaddr", "python3-netaddr")


@pytest.mark.parametrize("module", [NETWORK, ENDPOINT, IPAM, "vlan_network_info"])
def test_no_root(world: World, module: str) -> None:
    def work() -> None:
        os.setgid(65534)
        os.setuid(65534)
        world.run(module, **({} if module.endswith("info") else {"owner" if module == IPAM else "name": "x"}))

    _alone(world, work, "root only", "become")


@pytest.fixture
def fresh(world: World, tmp_path: Path) -> Iterator[Host]:
    """The same kernel with a store that is not there yet."""
    host = Host(tmp_path / "state")
    host.watch = looks.Watch(host, "/proc/self/ns/net")
    yield host
    host.watch.close()


ON_ETH0 = {"parent": "eth0", **NET}


NEWER = SCHEMA_VERSION + 1


@pytest.mark.parametrize("pragma", [f"user_version = {NEWER}", "user_version = 0", "application_id = 1"])
def test_a_store_that_another_version_wrote(fresh: Host, pragma: str) -> None:
    fresh.network("x", **ON_ETH0)
    path = fresh.state_dir / "store.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA {pragma}")
    connection.close()
    words = [str(path), "move it away"] if "application" in pragma else [str(path), "version of netops.underlay"]
    words += {
        f"user_version = {NEWER}": ["a newer", f"schema {NEWER}"],
        "user_version = 0": ["an older", "schema 0"],
    }.get(pragma, [])
    looks.refused(fresh, NETWORK, *words, name="x", state="absent")
    looks.refused(fresh, ENDPOINT, *words, name="x", network="x", netns="x")
    looks.refused(fresh, IPAM, *words, owner="x", network="x")
    looks.refused(fresh, "vlan_network_info", *words)


def test_a_store_that_is_no_store(fresh: Host) -> None:
    fresh.state_dir.mkdir(mode=0o700)
    (fresh.state_dir / "store.sqlite").write_text("what somebody left here\n" * 100)
    fresh.state_dir.joinpath("store.sqlite").rename(fresh.state_dir / "kept")
    (fresh.state_dir / "store.sqlite").symlink_to(fresh.state_dir / "kept")
    fresh.picture = lambda: None
    fresh.refused(NETWORK, name="x", **ON_ETH0)
    assert (fresh.state_dir / "kept").read_text() == "what somebody left here\n" * 100
    (fresh.state_dir / "store.sqlite").unlink()
    (fresh.state_dir / "kept").rename(fresh.state_dir / "store.sqlite")
    assert str(fresh.state_dir / "store.sqlite") in fresh.refused(NETWORK, name="x", **ON_ETH0)
    assert (fresh.state_dir / "store.sqlite").read_text() == "what somebody left here\n" * 100
    assert not fresh.watch.heard()


@pytest.mark.parametrize("how", ["mode", "group", "owner", "link"])
def test_a_state_dir_that_others_may_write_to(fresh: Host, how: str) -> None:
    fresh.network("x", **ON_ETH0)
    folder = fresh.state_dir
    if how == "link":
        folder.rename(folder.with_name("elsewhere"))
        folder.symlink_to("elsewhere")
    elif how == "owner":
        os.chown(folder, 65534, 0)
    else:
        folder.chmod(0o777 if how == "mode" else 0o770)
    words = ["state_dir", str(folder)] + ([] if how == "link" else ["by others", f"chmod 0700 {folder}"])
    looks.refused(fresh, NETWORK, *words, name="x", state="absent")
    looks.refused(fresh, "vlan_ipam_info", *words)


def test_a_state_dir_that_is_no_path(fresh: Host) -> None:
    looks.refused(fresh, NETWORK, "state_dir 'here'", "absolute path", name="x", state_dir="here")
