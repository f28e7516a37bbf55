# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drift: what somebody altered is seen by one run, said in ``actions`` and put right; a second run has nothing to do, and
nothing that others made is touched. More of it stands in test_endpoints.py, test_networks.py and test_names.py."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from . import looks
from .conftest import Failed, Host, batch, build_trunk, command, sweep

SUBNETS = {
    "ipvlan": ("10.20.0.0/24", "2001:db8:20::/64"),
    "macvlan": ("10.30.0.0/24", "2001:db8:30::/64"),
}
PARENTS = {"ipvlan": "eth0.20", "macvlan": "eth0.30"}
NETWORKS = [
    {"name": driver, "driver": driver, "parent": PARENTS[driver], "ipam_config": [{"subnet": s} for s in subnets]}
    for driver, subnets in SUBNETS.items()
]
NAMES = {driver: [f"{driver[0]}{n}" for n in (1, 2, 3)] for driver in SUBNETS}
ENDPOINTS = [{"name": name, "network": driver, "netns": name} for driver, names in NAMES.items() for name in names]
VIP, BY_HAND = "203.0.113.7", "198.51.100.0/24"  # RFC 5737


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Two networks with three endpoints each; on the links of the third ones others keep an address and a route."""
    sweep()
    # No test here begins before the host's link-local addresses are settled, which takes seconds where duplicates are looked for.
    duplicates = Path("/proc/sys/net/ipv6/conf/default/accept_dad")
    duplicates.write_text("0", encoding="ascii")
    build_trunk()
    host = Host(tmp_path_factory.mktemp("drift") / "state")
    host.run("vlan_network", networks=NETWORKS)
    host.run("vlan_endpoint", endpoints=ENDPOINTS)
    for names in NAMES.values():
        batch(f"addr add {VIP}/32 dev eth0\nroute add {BY_HAND} dev eth0\n", netns=names[2])
    command("ip", "netns", "add", "elsewhere")
    yield host
    sweep()
    duplicates.write_text("1", encoding="ascii")


def picture() -> dict[str, Any]:
    """Links, addresses and routes everywhere but at the far end of the trunk, as the kernel's messages have them; by names
    instead of indexes, which a link that is made anew does not have again. And the hosts files."""
    places = {None: "/proc/self/ns/net", **{name: f"/run/netns/{name}" for name in looks.names() - looks.NOT_THE_HOST}}
    found: dict[str, Any] = {str(name): _named(looks.place(path)) for name, path in places.items()}
    found["names"] = {str(path): path.read_text() for path in Path("/etc/netns").rglob("hosts")}
    return found


def _named(place: dict[str, list[Any]]) -> dict[str, Any]:
    names = {link["index"].to_bytes(4, "little").hex(): link["name"] for link in place["links"]}
    own = ("index", "link", "netnsid", "oif")
    return {
        kind: sorted(
            str((names.get(entry.get("oif", entry.get("index"))), {k: v for k, v in entry.items() if k not in own}))
            for entry in entries
        )
        for kind, entries in place.items()
    }


def check(before: dict[str, Any]) -> None:
    """All is as before, once the kernel has come to rest: it settles carrier and IPv6 routes after it has answered."""
    with suppress(AssertionError):
        looks.until(lambda: picture() == before, "as before", 5)
    assert picture() == before


def at_rest() -> bool:
    """Whether nobody is still looking for duplicates of an address, and nothing changes by itself."""
    names = (name for endpoints in NAMES.values() for name in endpoints)
    shown = [command("ip", "-6", "addr").stdout, *(command("ip", "-n", name, "-6", "addr").stdout for name in names)]
    before = picture()
    time.sleep(0.5)
    return not any("tentative" in text for text in shown) and picture() == before


def in_netns(lines: str) -> Callable[[str], None]:
    return lambda netns: batch(lines + "\n", netns=netns)


def moved(netns: str, into: str) -> None:
    """Its link is carried away, and goes on living there with its MAC."""
    batch(f"link set eth0 down\nlink set eth0 name stray netns {into}\n", netns=netns)
    batch("link set stray up\n", netns="elsewhere" if into == "elsewhere" else None)


def hosts_file(change: Callable[[Path], Any]) -> Callable[[str], None]:
    return lambda netns: change(Path(f"/etc/netns/{netns}/hosts"))


def _host(netns: str, number: int) -> str:
    return f"10.{20 if netns[0] == 'i' else 30}.0.{number}"


def _host6(netns: str, number: int) -> str:
    return f"2001:db8:{20 if netns[0] == 'i' else 30}::{number}"


def _shorter(netns: str) -> None:
    batch(f"addr del {_host(netns, 2)}/24 dev eth0\naddr add {_host(netns, 2)}/25 dev eth0\n", netns=netns)


# What somebody does to the first endpoint of a network; the action, its kind and the field that have to be told.
Damage = dict[str, tuple[Callable[[str], None], str, str, str | None]]
BOTH: Damage = {
    "link removed": (in_netns("link del eth0"), "repair", "endpoint", None),
    "mtu altered": (in_netns("link set eth0 mtu 1280"), "repair", "endpoint", "mtu"),
    "renamed": (in_netns("link set eth0 down\nlink set eth0 name x\nlink set x up"), "repair", "endpoint", "ifname"),
    "set down": (in_netns("link set eth0 down"), "repair", "endpoint", "up"),
    "moved to another namespace": (lambda netns: moved(netns, "elsewhere"), "repair", "endpoint", None),
    "moved to the host": (lambda netns: moved(netns, str(os.getpid())), "repair", "endpoint", None),
    "prefix length altered": (
        _shorter,
        "repair",
        "endpoint",
        "ipv4_address",
    ),
    "IPv6 address removed": (
        lambda netns: batch(f"addr del {_host6(netns, 2)}/64 dev eth0\n", netns=netns),
        "repair",
        "endpoint",
        "ipv6_address",
    ),
    "default route elsewhere": (
        lambda netns: batch(f"route replace default via {_host(netns, 99)}\n", netns=netns),
        "repair",
        "endpoint",
        "ipv4_default_route",
    ),
    "IPv6 default route removed": (
        lambda netns: batch(f"route del default via {_host6(netns, 1)}\n", netns=netns),
        "repair",
        "endpoint",
        "ipv6_default_route",
    ),
    "IPv6 switched off": (
        lambda netns: command("ip", "netns", "exec", netns, "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1"),
        "repair",
        "endpoint",
        "disable_ipv6",
    ),
    "namespace deleted": (lambda netns: command("ip", "netns", "del", netns), "repair", "endpoint", None),
    "hosts file removed": (hosts_file(lambda path: shutil.rmtree(path.parent)), "repair", "names", None),
    "our names removed": (
        hosts_file(lambda path: path.write_text(path.read_text().partition("# BEGIN")[0])),
        "repair",
        "names",
        None,
    ),
}
OF_ONE: dict[str, Damage] = {
    "ipvlan": {
        "mode altered": (in_netns("link set eth0 type ipvlan mode l3"), "repair", "endpoint", "ipvlan_mode"),
        "flag altered": (in_netns("link set eth0 type ipvlan private"), "repair", "endpoint", "ipvlan_flag"),
    },
    "macvlan": {
        "mode altered": (in_netns("link set eth0 type macvlan mode vepa"), "repair", "endpoint", "macvlan_mode"),
        "MAC altered": (in_netns("link set eth0 address 02:00:00:00:00:99"), "repair", "endpoint", "mac_address"),
    },
}
CASES = [(driver, what) for driver in SUBNETS for what in [*BOTH, *OF_ONE[driver]]]


@pytest.mark.parametrize(("driver", "what"), CASES, ids=[f"{driver}-{what}" for driver, what in CASES])
def test_one_run_mends_it(world: Host, tell: Callable[[str, int], None], driver: str, what: str) -> None:
    damage, action, kind, field = {**BOTH, **OF_ONE[driver]}[what]
    looks.until_settled()
    before = picture()
    damage(NAMES[driver][0])
    assert picture() != before, "the damage is one"
    result = world.run("vlan_endpoint", endpoints=ENDPOINTS)
    told = [entry for entry in result["actions"] if entry["action"] == action and entry["kind"] == kind]
    assert any(field is None or field in entry["changes"] for entry in told), result["actions"]
    check(before)
    again = world.run("vlan_endpoint", endpoints=ENDPOINTS)
    assert (again["changed"], again["actions"]) == (False, [])
    tell("drift: repaired by one run", 1)


OF_A_PARENT = {
    "removed": "link del {parent}",
    "set down": "link set {parent} down",
    "mtu altered": "link set {parent} mtu 1400",
    "renamed": "link set {parent} down\nlink set {parent} name wan7\nlink set wan7 up",
}


@pytest.mark.parametrize("driver", SUBNETS)
@pytest.mark.parametrize("what", OF_A_PARENT)
def test_one_run_mends_a_parent(world: Host, tell: Callable[[str, int], None], driver: str, what: str) -> None:
    looks.until_settled()
    before = picture()
    batch(OF_A_PARENT[what].format(parent=PARENTS[driver]) + "\n")
    assert picture() != before, "the damage is one"
    result = world.run("vlan_network", networks=NETWORKS)
    assert f"repair parent {PARENTS[driver]}" in looks.words_of(result)
    if what == "removed":  # with what others had put on the links
        batch(f"addr add {VIP}/32 dev eth0\nroute add {BY_HAND} dev eth0\n", netns=NAMES[driver][2])
    check(before)
    assert not world.run("vlan_network", networks=NETWORKS)["changed"]
    assert not world.run("vlan_endpoint", endpoints=ENDPOINTS)["changed"]
    tell("drift: repaired by one run", 1)


@pytest.mark.parametrize("new_name", ["", "eth0"])
@pytest.mark.parametrize("name", [*SUBNETS, "alone"])
def test_one_run_brings_a_parent_back_from_another_namespace(
    world: Host, tell: Callable[[str, int], None], name: str, new_name: str
) -> None:
    """A sub-interface or a dummy, with all that is on it; it may have been given a name there that the host has, too."""
    networks = [*NETWORKS, {"name": "alone", "ipam_config": [{"subnet": "10.66.0.0/24"}]}]
    parent = world.run("vlan_network", networks=networks)["networks"][[*SUBNETS, "alone"].index(name)]["parent"]
    endpoints = [*ENDPOINTS, {"name": "solo", "network": "alone", "netns": "solo"}]
    world.run("vlan_endpoint", endpoints=endpoints)
    looks.until_settled()
    before = picture()
    batch(f"link set {parent} netns elsewhere\n")
    if new_name:
        batch(f"link set {parent} name {new_name}\n", netns="elsewhere")
    there = picture()
    assert there != before, "the damage is one"
    with pytest.raises(Failed, match=f"parent '{parent}' was moved to netns elsewhere"):
        world.run("vlan_network", name=name, state="absent", force=True)
    assert picture() == there
    result = world.run("vlan_network", networks=networks)
    [told] = result["actions"]
    assert (told["action"], told["kind"], told["name"]) == ("repair", "parent", parent)
    assert told["changes"] == {"namespace": {"before": "netns elsewhere", "after": "host"}}
    check(before)
    assert not world.run("vlan_network", networks=networks)["changed"]
    assert not world.run("vlan_endpoint", endpoints=endpoints)["changed"]
    world.run("vlan_network", name="alone", state="absent", force=True)
    tell("drift: repaired by one run", 1)


def test_a_parent_made_anew_by_hand_is_used_and_not_ours(world: Host) -> None:
    before = picture()
    batch("link del eth0.20\nlink add link eth0 name eth0.20 type vlan id 20\nlink set eth0.20 up\n")
    result = world.run("vlan_endpoint", endpoints=ENDPOINTS)
    assert {f"repair endpoint ipvlan/{name}" for name in NAMES["ipvlan"]} <= set(looks.words_of(result))
    batch(f"addr add {VIP}/32 dev eth0\nroute add {BY_HAND} dev eth0\n", netns=NAMES["ipvlan"][2])
    check({**before, "None": picture()["None"]})
    assert not world.run("vlan_endpoint", endpoints=ENDPOINTS)["changed"]
    [text] = world.run("vlan_network", networks=NETWORKS)["warnings"]
    assert "made anew by somebody else" in text
    batch("link del eth0.20\n")
    world.run("vlan_network", networks=NETWORKS)
    batch(f"addr add {VIP}/32 dev eth0\nroute add {BY_HAND} dev eth0\n", netns=NAMES["ipvlan"][2])
    check(before)


def advertise(prefix: str) -> None:
    """The router tells of a prefix and of itself (RFC 4861, 4.2 and 4.6.2)."""
    with looks.inside("/run/netns/router"):
        sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        index = socket.if_nametoindex("uplink.20")
    with sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
        message += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, prefix)
        sender.sendto(message, ("ff02::1", 0, 0, index))


def test_what_others_put_on_our_link_stays_and_is_told(world: Host) -> None:
    name = NAMES["ipvlan"][2]

    def by_router() -> list[str]:
        return [address for address in world.addresses("eth0", name) if address.startswith("2001:db8:99:")]

    def heard() -> bool:
        advertise("2001:db8:99::")
        return bool(by_router())

    looks.until(lambda: "tentative" not in command("ip", "-n", "router", "-6", "addr").stdout, "the router has its own")
    looks.until(heard, "an address of the router's prefix")
    # The host itself and the other endpoints have heard it, too, and take their time over it.
    looks.until(at_rest, "all who heard it have their addresses")
    before = picture()
    result = world.run("vlan_endpoint", endpoints=ENDPOINTS)
    assert (result["changed"], result["warnings"]) == (False, [])
    told = {item["name"]: item for item in world.run("vlan_endpoint_info")["others"]}
    assert {name, NAMES["macvlan"][2]} <= set(told) and NAMES["macvlan"][0] not in told
    assert set(told[name]["addresses"]) == {f"{VIP}/32", *by_router()}
    assert f"{BY_HAND} dev eth0" in told[name]["routes"]
    found = {entry["address"] for entry in world.run("vlan_ipam_info", audit=True)["findings"]}
    assert found == {VIP}
    # Their link is repaired under them.
    batch("link set eth0 mtu 1280\naddr del 10.20.0.4/24 dev eth0\n", netns=name)
    assert world.run("vlan_endpoint", endpoints=ENDPOINTS)["changed"]
    check(before)


def test_a_lost_store_finds_its_endpoints_again(world: Host) -> None:
    """Names, addresses and owners come back from the marks; with the networks, everything is as it was."""
    before = picture()
    shutil.rmtree(world.state_dir)
    result = world.run("vlan_network", networks=NETWORKS)
    assert any("were taken back from the kernel" in text for text in result["warnings"])
    again = world.run("vlan_endpoint", endpoints=ENDPOINTS)
    assert {entry["action"] for entry in again["actions"]} <= {"repair", "adopt", "change"}
    check(before)
    assert not world.run("vlan_endpoint", endpoints=ENDPOINTS)["changed"]
    owners = {
        (row["owner"], row["address"]) for row in world.run("vlan_ipam_info")["addresses"] if row["kind"] == "endpoint"
    }
    assert {(name, _host(name, number)) for names in NAMES.values() for number, name in enumerate(names, 2)} <= owners
