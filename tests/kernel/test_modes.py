"""Every mode and flag on a real kernel: set, read back inside the namespace, and who reaches whom, as the table of
docs/concepts.md says; and that VLANs are apart, with tags on the trunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import looks
from .conftest import Host, batch, command, ip
from .modes_page import reach

NET = {"parent": "eth0.10", "ipam_config": [{"subnet": "172.16.80.0/24", "gateway": "172.16.80.1"}]}
GATEWAY, FIRST, SECOND = "172.16.80.1", "172.16.80.2", "172.16.80.3"
PAIR = [{"name": name, "network": "net", "netns": name} for name in ("a", "b")]


@pytest.fixture(scope="module")
def trunk(shared_trunk: None) -> None:
    """At rest: just built it is slow, and a reply that comes late would count as none."""
    looks.until_settled()


@pytest.fixture
def host(trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


def settings(name: str, netns: str) -> dict[str, Any]:
    (link,) = ip("-d", "link", "show", "dev", name, netns=netns)
    return {"kind": link["linkinfo"]["info_kind"], **link["linkinfo"]["info_data"]}


def leaves_nothing(host: Host, before: dict[str, Any]) -> None:
    host.run("vlan_endpoint", endpoints=[{**item, "state": "absent"} for item in PAIR])
    host.run("vlan_network", networks=[], purge=True, purge_all=True)
    assert looks.everything(host) == before


@pytest.fixture
def hairpin(trunk: None) -> Iterator[Callable[[], None]]:
    """From when it is called to the end of the test the switch sends a frame back out of the port that it came in by."""

    def turned(how: str) -> None:
        command("bridge", "-n", "switch", "link", "set", "dev", "port1", "hairpin", how)

    yield lambda: turned("on")
    turned("off")


# --- ipvlan ---


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_ipvlan(host: Host, mode: str, flag: str) -> None:
    before = looks.everything(host)
    host.network("net", ipvlan_mode=mode, ipvlan_flag=flag, **NET)
    host.run("vlan_endpoint", endpoints=PAIR)
    assert host.addresses("eth0", "a") == [f"{FIRST}/24"]
    assert host.addresses("eth0", "b") == [f"{SECOND}/24"]
    for name in ("a", "b"):
        found = settings("eth0", name)
        assert (found["kind"], found["mode"]) == ("ipvlan", mode)
        assert {word: found[word] for word in ("private", "vepa") if found.get(word)} == (
            {} if flag == "bridge" else {flag: True}
        )
    if mode == "l2":
        assert host.default_route("a") == [(GATEWAY, "eth0")]
        assert host.pings("a", GATEWAY)
    else:
        (route,) = [route for route in ip("route", netns="a") if route["dst"] == "default"]
        assert (route["dev"], route["scope"], route.get("gateway")) == ("eth0", "link", None)
    if reach("ipvlan", mode, flag).beside:
        assert host.pings("a", SECOND)
    else:
        assert host.silent("a", SECOND)
        # The control: but for this one flag they reach each other.
        host.network("net", ipvlan_flag="bridge")
        assert host.pings("a", SECOND)
    leaves_nothing(host, before)


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_ipvlan_with_a_switch_that_sends_back(host: Host, hairpin: Callable[[], None], mode: str, flag: str) -> None:
    host.network("net", ipvlan_mode=mode, ipvlan_flag=flag, **NET)
    host.run("vlan_endpoint", endpoints=PAIR)
    hairpin()
    if reach("ipvlan", mode, flag).sent_back:
        assert host.pings("a", SECOND)
    else:
        assert host.silent("a", SECOND)
        # The control: but for this one flag they reach each other.
        host.network("net", ipvlan_flag="bridge")
        assert host.pings("a", SECOND)


def test_two_subnets_of_one_l3_network_reach_each_other(host: Host) -> None:
    subnets = [{"subnet": "10.77.1.0/24"}, {"subnet": "10.77.2.0/24"}]
    host.network("net", parent="eth0.10", ipvlan_mode="l3", ipam_config=subnets)
    pair = [{**PAIR[0], "ip": "10.77.1.5"}, {**PAIR[1], "ip": "10.77.2.5"}]
    host.run("vlan_endpoint", endpoints=pair)
    assert host.pings("a", "10.77.2.5")
    # The control: in l2 they lack a router.
    host.network("net", ipvlan_mode="l2")
    assert host.silent("a", "10.77.2.5")


# --- macvlan ---


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa"])
def test_macvlan(host: Host, mode: str) -> None:
    before = looks.everything(host)
    host.network("net", driver="macvlan", macvlan_mode=mode, **NET)
    host.run("vlan_endpoint", endpoints=PAIR)
    for name, address in (("a", "02:42:ac:10:50:02"), ("b", "02:42:ac:10:50:03")):
        found = settings("eth0", name)
        assert (found["kind"], found["mode"]) == ("macvlan", mode)
        assert host.link("eth0", name)["address"] == address
    assert host.default_route("a") == [(GATEWAY, "eth0")]
    assert host.pings("a", GATEWAY)
    if reach("macvlan", mode).beside:
        assert host.pings("a", SECOND)
    else:
        assert host.silent("a", SECOND)
        host.network("net", macvlan_mode="bridge")
        assert [settings("eth0", name)["mode"] for name in ("a", "b")] == ["bridge", "bridge"]
        assert host.pings("a", SECOND)
    leaves_nothing(host, before)


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa"])
def test_macvlan_with_a_switch_that_sends_back(host: Host, hairpin: Callable[[], None], mode: str) -> None:
    host.network("net", driver="macvlan", macvlan_mode=mode, **NET)
    host.run("vlan_endpoint", endpoints=PAIR)
    hairpin()
    if reach("macvlan", mode).sent_back:
        assert host.pings("a", SECOND)
    else:
        assert host.silent("a", SECOND)
        host.network("net", macvlan_mode="bridge")
        assert host.pings("a", SECOND)


def test_macvlan_passthru(host: Host, hairpin: Callable[[], None]) -> None:
    before = looks.everything(host)
    host.network("net", driver="macvlan", macvlan_mode="passthru", **NET)
    mac = host.link("eth0.10")["address"]
    host.run("vlan_endpoint", endpoints=PAIR[:1])
    found = settings("eth0", "a")
    assert (found["kind"], found["mode"]) == ("macvlan", "passthru")
    assert host.link("eth0", "a")["address"] == mac == host.link("eth0.10")["address"]
    assert host.pings("a", GATEWAY)
    hairpin()
    assert host.pings("a", GATEWAY)
    assert set(reach("macvlan", "passthru")) == {None}
    looks.refused(host, "vlan_endpoint", "passthru", "one endpoint only", **PAIR[1])
    leaves_nothing(host, before)


# --- the host's own endpoint ---


@pytest.mark.parametrize(("driver", "word"), [("ipvlan", "l2"), ("ipvlan", "l3"), ("ipvlan", "l3s"), ("macvlan", None)])
@pytest.mark.parametrize("how", ["bridge", "private", "vepa"])
def test_the_hosts_own_endpoint(host: Host, driver: str, word: str | None, how: str) -> None:
    """It reaches an endpoint as another endpoint would; without a switch that sends back."""
    option = f"{driver}_{'flag' if driver == 'ipvlan' else 'mode'}"
    mode = {"ipvlan_mode": word} if word else {}
    host.network("net", driver=driver, **mode, **{option: how}, **NET)
    own = {"name": "own", "network": "net", "host": True}
    host.run("vlan_endpoint", endpoints=[PAIR[0], own])
    if not (reach(driver, word, how) if word else reach(driver, how)).host:
        assert not host_pings(FIRST)
        host.network("net", **{option: "bridge"})
    assert host_pings(FIRST)
    assert host.pings("a", SECOND)


def host_pings(address: str) -> bool:
    return command("ping", "-c3", "-i0.2", "-W1", address, check=False).returncode == 0


# --- VLANs ---


def apart(driver: str) -> list[dict[str, Any]]:
    """The same subnet on VLAN 10 and on VLAN 20, from which each takes its own half."""
    return [
        {
            "name": f"v{vlan}",
            "driver": driver,
            "parent": f"eth0.{vlan}",
            "ipam_config": [{"subnet": "10.77.0.0/24", "gateway": "none", "ip_range": part}],
        }
        for vlan, part in ((10, "10.77.0.0/25"), (20, "10.77.0.128/25"))
    ]


ENDS = [
    {"name": f"{name}{vlan}", "network": f"v{vlan}", "netns": f"{name}{vlan}"} for vlan in (10, 20) for name in "ab"
]


def tags_of(frames: list[tuple[int | None, bytes]], address: str) -> set[int | None]:
    """The VLANs on which the address was asked for by ARP (RFC 826: its target is the last four bytes)."""
    packed = bytes(int(part) for part in address.split("."))
    return {tag for tag, frame in frames if frame[12:14] == b"\x08\x06" and frame[38:42] == packed}


def test_vlans_are_apart_until_the_networks_are_on_one(host: Host) -> None:
    host.run("vlan_network", networks=apart("ipvlan"))
    host.run("vlan_endpoint", endpoints=ENDS)
    assert [host.addresses("eth0", end["netns"]) for end in ENDS] == [[f"10.77.0.{n}/24"] for n in (1, 2, 128, 129)]
    with looks.captured("switch", "port1") as frames:
        assert host.pings("a10", "10.77.0.2")
        assert host.pings("a20", "10.77.0.129")
        assert host.silent("a10", "10.77.0.128")
        assert host.silent("a20", "10.77.0.1")
        looks.until(lambda: tags_of(frames(), "10.77.0.1"), "the question for 10.77.0.1 came by the trunk")
        assert tags_of(frames(), "10.77.0.128") == {10}
        assert tags_of(frames(), "10.77.0.1") == {20}
        assert {tag for tag, frame in frames() if frame[12:14] == b"\x08\x06"} == {10, 20}
    # The control: nothing but the parent of one network is changed.
    host.network("v20", parent="eth0.10", force=True)
    assert host.addresses("eth0", "a20") == ["10.77.0.128/24"]
    assert host.pings("a10", "10.77.0.128")


def test_vlans_are_apart_until_somebody_joins_them_outside(host: Host) -> None:
    host.run("vlan_network", networks=apart("macvlan"))
    host.run("vlan_endpoint", endpoints=ENDS)
    with looks.captured("switch", "port1") as frames:
        assert host.silent("a10", "10.77.0.128")
        assert tags_of(frames(), "10.77.0.128") == {10}
        # The control: whoever joins the VLANs behind the switch makes them one.
        batch(
            "link add join type bridge\nlink set uplink.10 master join\nlink set uplink.20 master join\nlink set join up\n",
            netns="router",
        )
        try:
            looks.until(lambda: host.pings("a10", "10.77.0.128"), "the bridge forwards")
            looks.until(lambda: tags_of(frames(), "10.77.0.128") == {10, 20}, "the question comes back on VLAN 20")
        finally:
            batch("link del join\n", netns="router")
        assert host.silent("a10", "10.77.0.129")


def test_two_vlans_meet_at_the_router_alone(host: Host) -> None:
    networks = [
        {"name": "v10", "parent": "eth0.10", "ipam_config": [{"subnet": "172.16.80.0/24"}]},
        {"name": "v20", "parent": "eth0.20", "ipam_config": [{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}]},
    ]
    host.run("vlan_network", networks=networks)
    host.run("vlan_endpoint", endpoints=ENDS)
    switch = ("ip", "netns", "exec", "router", "sysctl", "-qw")
    command(*switch, "net.ipv4.ip_forward=0")
    try:
        assert host.pings("a10", GATEWAY)
        assert host.pings("a20", "172.16.50.1")
        assert host.silent("a10", "172.16.48.1")
    finally:
        command(*switch, "net.ipv4.ip_forward=1")
    assert host.pings("a10", "172.16.48.1")
