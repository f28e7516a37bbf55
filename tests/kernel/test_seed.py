# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The examples of Docker's documentation: the tasks of ``docs/docker_examples.md``, run as they stand there, and what comes out.

Each test is about the example that names it, begins on a clean host and ends with the tasks under "Removal", after which the
host has to be what it was.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import docker_page, looks
from .conftest import VLANS, Host, batch, command, ip, router_forwards
from .docker_page import Example

NETWORK, ENDPOINT = "vlan_network", "vlan_endpoint"
MORE_VLANS = sorted({40, 50, 114, 118, 139, 140, 218} - set(VLANS))
HOST, ROUTER = "the host itself", "router"
LAN = "192.168.1.0/24 dev eth0 src 192.168.1.250"

Task = tuple[str, dict[str, Any]]
Given = Callable[..., None]


# --- the ground -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trunk(shared_trunk: None) -> None:
    """The trunk with every VLAN of the examples; the router forwards both families."""
    ports = [f"vlan add dev {port} vid {vlan}\n" for port in ("port1", "port2") for vlan in MORE_VLANS]
    batch("".join(ports), netns="switch", tool="bridge")
    links = [f"link add link uplink name uplink.{vlan} up type vlan id {vlan}\n" for vlan in MORE_VLANS]
    batch("".join(links), netns=ROUTER)
    command("ip", "netns", "exec", ROUTER, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
    looks.until_settled()


@pytest.fixture
def host(trunk: None, tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "state")
    batch("neigh flush all\n", netns=ROUTER)
    before = all_there_is(host)
    yield host
    try:
        carry_out(host, docker_page.example("test_removal").tasks)
        assert all_there_is(host) == before, "the host is not what it was"
    except Exception:
        looks.tidy()
        raise


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Example:
    """The example that the test is about."""
    return docker_page.example(request.function.__name__)


@pytest.fixture
def given(host: Host) -> Iterator[Given]:
    """``given(namespace, "addr add ...", ...)`` does so, and undoes it after the test."""
    done: list[tuple[str | None, str]] = []

    def give(netns: str, *lines: str) -> None:
        place = None if netns == HOST else netns
        batch("".join(f"{line}\n" for line in lines), netns=place)
        done.extend((place, line) for line in lines)

    yield give
    for netns, lines in groupby(reversed(done), key=lambda entry: entry[0]):
        batch("".join(f"{line.replace(' add ', ' del ', 1)}\n" for _netns, line in lines), netns=netns)


@pytest.fixture
def router_has(given: Given) -> Given:
    """``router_has(20, "192.168.20.1/24")``: the router has this address on VLAN 20; 0 is the untagged one."""

    def has(vlan: int, *addresses: str) -> None:
        link = f"uplink.{vlan}" if vlan else "uplink"
        given(ROUTER, *(f"addr add {text} dev {link}{' nodad' if ':' in text else ''}" for text in addresses))

    return has


@contextmanager
def router_silent() -> Iterator[None]:
    """Meanwhile the router forwards nothing."""
    router_forwards(False)
    try:
        yield
    finally:
        router_forwards(True)


def all_there_is(host: Host) -> dict[str, Any]:
    """Links, addresses and routes of every namespace, the store's rows, and what lies in /etc/netns."""
    return {**looks.everything(host), "names": looks.names(), "files": sorted(Path("/etc").glob("netns/**/*"))}


# --- tasks ----------------------------------------------------------------------------------------------------


def carry_out(host: Host, tasks: Sequence[Task], *warned: str) -> list[dict[str, Any]]:
    """Runs tasks in check mode, for real, and again (see ``looks.done``); the results.

    :param warned: words of the warnings, in order; there may be no others
    """
    results, warnings = [], []
    for module, asked in tasks:
        # looks.done() has a host of its own.
        options = {"endpoints": [asked]} if "host" in asked else asked
        result = host.run(module, **options) if module.endswith("_info") else looks.done(host, module, **options)
        results.append(result)
        warnings += result["warnings"]
    assert len(warnings) == len(warned), warnings
    for text, words in zip(warnings, warned):
        assert words in text
    return results


def endpoints(host: Host, network: str, *names: str, **options: Any) -> None:
    """More endpoints than the example has, in namespaces of their names."""
    carry_out(
        host, [(ENDPOINT, {"network": network, "endpoints": [{"name": n, "netns": n, **options} for n in names]})]
    )


# --- looking --------------------------------------------------------------------------------------------------


class Machine(NamedTuple):
    """What ``ip`` says of ``eth0`` in a namespace."""

    kind: str
    mode: str
    mac: str
    addresses: list[str]
    parent: int


def machine(netns: str) -> Machine:
    (link,) = (entry for entry in ip("-d", "addr", netns=netns) if entry["ifname"] == "eth0")
    assert "UP" in link["flags"]
    found = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if not a["local"].startswith("fe80")]
    info = link["linkinfo"]
    return Machine(info["info_kind"], info["info_data"]["mode"], link["address"], found, link["link_index"])


def routes(netns: str | None, family: int = 4) -> list[str]:
    """As ``ip route`` prints them, without protocol and scope; link-local ones left out."""
    return [
        " ".join([route["dst"], *(f"{word} {route[key]}" for word, key in _WORDS if key in route)])
        for route in ip(f"-{family}", "route", netns=netns)
        if not route["dst"].startswith("fe80")
    ]


_WORDS = (("via", "gateway"), ("dev", "dev"), ("src", "prefsrc"), ("metric", "metric"))


def replies(pairs: Collection[tuple[str, str]], *options: str) -> set[tuple[str, str]]:
    """Pings all of ``(from, to)`` at once; those that got a reply."""
    running = {
        (place, address): subprocess.Popen(
            [*(() if place == HOST else ("ip", "netns", "exec", place)), "ping", "-q", *options, address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for place, address in pairs
    }
    return {pair for pair, process in running.items() if process.wait() == 0}


def reach(*pairs: tuple[str, str]) -> None:
    """Each gets a reply within a few tries."""
    left = set(pairs)
    for _try in range(4):
        left -= replies(left, "-c1", "-W1")
    assert not left, f"no reply: {left}"


def apart(*pairs: tuple[str, str]) -> None:
    """None gets a reply. Every test that asks for this has something that makes it reply."""
    assert replies(pairs, "-c3", "-i0.2", "-W0.4") == set()


def tags_of(frames: list[tuple[int | None, bytes]], address: str) -> set[int | None]:
    """The VLAN tags of what came from an IPv4 address (RFC 791: bytes 12 to 15 of the header)."""
    return {tag for tag, frame in frames if frame[12:14] == b"\x08\x00" and frame[26:30] == socket.inet_aton(address)}


def is_db_net(host: Host, *names: str) -> None:
    """Endpoints of Docker's db_net, by whatever name: on the host's own LAN, by ipvlan l2, with the gateway .1."""
    lan_card = host.link("eth0")
    for number, name in enumerate(names, 2):
        own = f"192.168.1.{number}"
        assert machine(name) == ("ipvlan", "l2", lan_card["address"], [f"{own}/24"], lan_card["ifindex"])
        assert routes(name) == ["default via 192.168.1.1 dev eth0", f"192.168.1.0/24 dev eth0 src {own}"]
    # The router is the control: the host alone is kept away from them.
    reach((names[0], "192.168.1.1"), (ROUTER, "192.168.1.2"), (HOST, "192.168.1.1"))
    apart((names[0], "192.168.1.250"), (HOST, "192.168.1.2"))


# --- IPvlan L2 mode example usage -----------------------------------------------------------------------------


def test_db_net(host: Host, page: Example) -> None:
    carry_out(host, page.tasks)
    is_db_net(host, "c1")


def test_db_net_ipv(host: Host, page: Example) -> None:
    carry_out(host, page.tasks)
    is_db_net(host, "ipv1", "ipv2")
    reach(("ipv2", "ipv1"), ("ipv1", "ipv2"))


def test_isolated(host: Host, page: Example) -> None:
    carry_out(host, page.tasks)
    own = {"cid1": "192.168.10", "cid2": "192.168.11", "cid3": "172.18.0"}
    links = {link["ifindex"]: link for link in host.links().values()}
    parents = set()
    for name, start in own.items():
        found = machine(name)
        length = 16 if name == "cid3" else 24
        assert (found.kind, found.mode, found.addresses) == ("ipvlan", "l2", [f"{start}.2/{length}"])
        assert [route.split()[0] for route in routes(name)] == [f"{start}.0/{length}"]
        parent = links[found.parent]
        assert (parent["linkinfo"]["info_kind"], "UP" in parent["flags"]) == ("dummy", True)
        parents.add(found.parent)
    assert len(parents) == 3
    for number in (1, 2, 3):
        endpoints(host, f"isolated{number}", f"second{number}")
        # That there is no route is not what keeps them apart.
        batch("route add default dev eth0\n", netns=f"cid{number}")
    reach(*((name, f"{start}.3") for name, start in own.items()))
    apart(
        *((name, f"{start}.2") for name in own for other, start in own.items() if other != name),
        *((name, address) for name in own for address in ("192.168.1.250", "192.168.1.1")),
    )


# --- IPvlan 802.1Q trunk L2 mode example usage ----------------------------------------------------------------


def test_sub_interface(host: Host, page: Example) -> None:
    command(*shlex.split(page.commands[0]))
    by_hand = host.link("eth0.10")
    command("ip", "link", "del", "eth0.10")
    carry_out(host, page.tasks)
    ours = host.link("eth0.10")
    for key in ("link", "linkinfo", "mtu", "address", "link_type", "group"):
        assert ours[key] == by_hand[key]
    assert ("UP" in ours["flags"], ours["ifalias"]) == (True, "netops.underlay parent eth0.10")


def test_ipvlan20(host: Host, page: Example, router_has: Given, given: Given) -> None:
    router_has(20, "192.168.20.1/24")
    carry_out(host, page.tasks)
    one, two = "192.168.20.2", "192.168.20.3"
    parent = host.link("eth0.20")
    assert (parent["link"], parent["linkinfo"]["info_data"]["id"]) == ("eth0", 20)
    assert [machine(name).addresses for name in ("ivlan_test1", "ivlan_test2")] == [[f"{one}/24"], [f"{two}/24"]]
    assert machine("ivlan_test1").parent == parent["ifindex"]
    with looks.captured("switch", "port1") as frames:
        reach(("ivlan_test1", two), ("ivlan_test2", one), ("ivlan_test1", "192.168.20.1"))
        assert tags_of(frames(), one) == {20}
    # The host on the same VLAN reaches the gateway there, and not the endpoints.
    given(HOST, "addr add 192.168.20.250/24 dev eth0.20")
    reach((HOST, "192.168.20.1"))
    apart((HOST, one), ("ivlan_test1", "192.168.20.250"))


def test_ipvlan30(host: Host, page: Example, router_has: Given) -> None:
    router_has(20, "192.168.20.1/24")
    router_has(30, "192.168.30.1/24")
    carry_out(host, [*docker_page.example("test_ipvlan20").tasks, *page.tasks])
    assert routes("ivlan_test3") == ["default via 192.168.30.1 dev eth0", "192.168.30.0/24 dev eth0 src 192.168.30.2"]
    reach(("ivlan_test3", "192.168.30.3"), ("ivlan_test4", "192.168.30.2"))
    across = [("ivlan_test1", "192.168.30.2"), ("ivlan_test3", "192.168.20.2")]
    with router_silent():
        reach(("ivlan_test1", "192.168.20.1"), ("ivlan_test3", "192.168.30.1"))
        apart(*across)
    reach(*across)


def test_ipvlan114(host: Host, page: Example, router_has: Given) -> None:
    router_has(114, "192.168.114.254/24", "192.168.116.254/24")
    carry_out(host, page.tasks)
    endpoints(host, "ipvlan114", "c3", ip="192.168.116.10")
    assert [machine(name).addresses for name in ("c1", "c2", "c3")] == [
        ["192.168.114.10/24"],
        ["192.168.114.11/24"],
        ["192.168.116.10/24"],
    ]
    assert routes("c1")[0] == "default via 192.168.114.254 dev eth0"
    assert routes("c3")[0] == "default via 192.168.116.254 dev eth0"
    across = [("c1", "192.168.116.10"), ("c3", "192.168.114.10")]
    with router_silent():
        reach(("c1", "192.168.114.11"), ("c2", "192.168.114.10"), ("c3", "192.168.116.254"))
        apart(*across)
    reach(*across)


def test_mapping_from_netops(host: Host, page: Example) -> None:
    carry_out(host, page.tasks, "the network is 172.16.48.0/22", "the network is 10.1.0.0/16")
    ends = {
        10: ("172.16.80.2/24", "172.16.80.1"),
        20: ("172.16.48.1/22", "172.16.50.1"),
        30: ("10.1.0.1/16", "10.1.100.1"),
    }
    for vlan, (own, gateway) in ends.items():
        endpoints(host, f"vlan{vlan}", f"v{vlan}")
        assert machine(f"v{vlan}").addresses == [own]
        assert routes(f"v{vlan}")[0] == f"default via {gateway} dev eth0"
        assert host.link(f"eth0.{vlan}")["linkinfo"]["info_data"]["id"] == vlan
    across = [
        (f"v{vlan}", own.partition("/")[0]) for vlan in ends for other, (own, _g) in ends.items() if other != vlan
    ]
    with router_silent():
        reach(*((f"v{vlan}", gateway) for vlan, (_own, gateway) in ends.items()))
        apart(*across)
    reach(*across)


# --- IPvlan L3 mode example -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_ipnet210(host: Host, page: Example, mode: str) -> None:
    network = page.tasks[0][1]
    network["ipvlan_mode"] = mode
    carry_out(host, page.tasks)
    own = ["192.168.214.10", "10.1.214.10", "192.168.214.9", "10.1.214.9"]
    for name, address in zip(("c1", "c2", "c3", "c4"), own):
        assert machine(name)[:2] == ("ipvlan", mode)
        subnet = address.rpartition(".")[0] + ".0/24"
        assert routes(name) == ["default dev eth0", f"{subnet} dev eth0 src {address}"]
    reach(("c3", own[1]), ("c4", own[0]), ("c1", own[3]), ("c2", own[2]), ("c1", own[2]))
    # A gateway that is given is ignored.
    network["ipam_config"][0]["gateway"] = "192.168.214.1"
    carry_out(host, page.tasks, "gateway 192.168.214.1 is ignored")
    assert routes("c1")[0] == "default dev eth0"
    # The control: in l2 the subnets need a router.
    host.network("ipnet210", ipvlan_mode="l2")
    apart(("c3", own[1]), ("c4", own[0]))


def test_no_broadcast_in_l3(host: Host, page: Example) -> None:
    carry_out(host, page.tasks)
    alone = {"192.168.215.3", "2001:db8:abc5::3"}
    all_of_them = alone | {"192.168.215.255", "255.255.255.255", "224.0.0.1", "ff02::1"}

    def arrived() -> set[str]:
        return {to for to in all_of_them if any(to.encode() in frame for _tag, frame in heard())}

    with looks.captured("c2", "eth0") as heard:
        call("c1", sorted(all_of_them - alone))
        call("c1", sorted(alone))
        looks.until(lambda: arrived() >= alone, "the unicast, which was sent last, arrives")
        assert arrived() == alone
        host.network("quiet", ipvlan_mode="l2")
        call("c1", sorted(all_of_them))
        looks.until(lambda: arrived() == all_of_them, "in l2 all arrive")


def call(netns: str, addresses: Sequence[str]) -> None:
    """A datagram to each address, with the address in it."""
    with looks.inside(f"/run/netns/{netns}"):
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as sending:
                sending.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sending.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
                sending.sendto(address.encode(), (address, 9))


def test_two_networks_on_one_parent(host: Host, page: Example) -> None:
    carry_out(host, page.tasks, *["parent 'eth0.10' has no IPv4 address"] * 2)
    across = [("c1", "10.10.2.2"), ("c2", "10.10.1.2")]
    assert machine("c1").parent == machine("c2").parent == host.link("eth0.10")["ifindex"]
    reach(*across)
    host.run(NETWORK, networks=[{"name": name, "ipvlan_mode": "l2"} for name in ("red", "blue")])
    apart(*across)


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_remote_host(host: Host, page: Example, given: Given, router_has: Given, mode: str) -> None:
    given(HOST, "addr add 2001:db8:1::250/64 dev eth0 nodad")
    router_has(0, "2001:db8:1::1/64")
    given(HOST, "netns add remote")
    batch("link add far up type veth peer name eth0 netns remote\n", netns=ROUTER)
    for netns, link, number in ((ROUTER, "far", 1), ("remote", "eth0", 2)):
        batch(
            f"link set {link} up\naddr add 10.99.0.{number}/24 dev {link}\n"
            f"addr add 2001:db8:99::{number}/64 dev {link} nodad\n",
            netns=netns,
        )
    batch("route add default via 10.99.0.1\nroute add ::/0 via 2001:db8:99::1\n", netns="remote")

    page.tasks[0][1]["ipvlan_mode"] = mode
    no_way = [f"the host has no IPv{family} default route by parent 'eth0'" for family in (4, 6)]
    carry_out(host, page.tasks, *no_way)
    assert machine("c1")[3] == ["192.168.120.2/24", "2001:db8:abc7::2/64"]
    to_us = [("remote", "192.168.120.2"), ("remote", "2001:db8:abc7::2")]
    from_us = [("c1", "10.99.0.2"), ("c1", "2001:db8:99::2")]
    ways_in = [
        "route add 192.168.120.0/24 via 192.168.1.250 dev uplink",
        "route add 2001:db8:abc7::/64 via 2001:db8:1::250 dev uplink",
    ]
    batch("\n".join(ways_in) + "\n", netns=ROUTER)
    apart(*to_us, *from_us)
    given(HOST, "route add default via 192.168.1.1 dev eth0", "route add ::/0 via 2001:db8:1::1 dev eth0")
    carry_out(host, page.tasks)
    reach(*to_us, *from_us)
    assert routes(None) == ["default via 192.168.1.1 dev eth0", LAN]
    assert not [route for route in routes(None, 6) if "abc7" in route]
    batch("\n".join(ways_in).replace(" add ", " del ") + "\n", netns=ROUTER)
    apart(*to_us, *from_us)


# --- Dual stack IPv4 IPv6 IPvlan L2 mode ----------------------------------------------------------------------


def test_v6ipvlan139(host: Host, page: Example, router_has: Given) -> None:
    router_has(139, "2001:db8:abc2::22/64")
    carry_out(host, page.tasks)
    for number, name in enumerate(("c1", "c2"), 1):
        assert machine(name).addresses == [f"172.18.0.{number + 1}/16", f"2001:db8:abc2::{number}/64"]
        assert routes(name)[0] == "default via 172.18.0.1 dev eth0"
        assert routes(name, 6) == [
            "2001:db8:abc2::/64 dev eth0 metric 256",
            "default via 2001:db8:abc2::22 dev eth0 metric 1024",
        ]
        (link,) = ip("-6", "addr", "show", "dev", "eth0", "scope", "global", netns=name)
        assert [found["nodad"] for found in link["addr_info"] if found] == [True]
    assert host.link("eth0.139")["linkinfo"]["info_data"]["id"] == 139
    reach(("c2", "2001:db8:abc2::1"), ("c1", "2001:db8:abc2::2"), ("c1", "2001:db8:abc2::22"), ("c2", "172.18.0.2"))


def test_ipvlan140(host: Host, page: Example, router_has: Given) -> None:
    router_has(140, "192.168.140.1/24", "192.168.142.1/24", "2001:db8:abc9::22/64")
    carry_out(host, page.tasks[:1])
    docker_says = {"name": "c1", "network": "ipvlan140", "netns": "c1", "ip6": "2001:db8:abc2::51"}
    looks.refused(host, ENDPOINT, "2001:db8:abc2::51", "2001:db8:abc9::/64", **docker_says)
    carry_out(host, page.tasks)
    assert machine("c1").addresses == ["192.168.140.2/24", "2001:db8:abc9::51/64"]
    assert machine("c2").addresses == ["192.168.140.10/24", "2001:db8:abc9::1/64"]
    assert routes("c1") == ["default via 192.168.140.1 dev eth0", "192.168.140.0/24 dev eth0 src 192.168.140.2"]
    assert routes("c1", 6) == [
        "2001:db8:abc9::/64 dev eth0 metric 256",
        "default via 2001:db8:abc9::22 dev eth0 metric 1024",
    ]
    gateways = [("c1", "192.168.140.1"), ("c2", "2001:db8:abc9::22")]
    reach(
        ("c2", "192.168.140.2"),
        ("c1", "192.168.140.10"),
        ("c2", "2001:db8:abc9::51"),
        ("c1", "2001:db8:abc9::1"),
        *gateways,
    )


# --- Dual stack IPv4 IPv6 IPvlan L3 mode ----------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["eth0", "eth0.118"])
def test_ipnet110(host: Host, page: Example, parent: str) -> None:
    page.tasks[0][1]["parent"] = parent
    warned = [f"parent '{parent}' has no IPv{family} address" for family in (4, 6)]
    if parent == "eth0":
        warned[0] = "the host has no IPv4 default route by parent 'eth0'"
    carry_out(host, page.tasks, *warned)
    own = {
        "c1": ("192.168.110.2", "2001:db8:abc6::2"),
        "c2": ("192.168.110.3", "2001:db8:abc6::10"),
        "c3": ("192.168.112.30", "2001:db8:abc6::3"),
        "c4": ("192.168.112.50", "2001:db8:abc6::50"),
    }
    index = host.link(parent)["ifindex"]
    for name, (ipv4, ipv6) in own.items():
        found = machine(name)
        assert (found.kind, found.mode, found.parent) == ("ipvlan", "l3", index)
        assert found.addresses == [f"{ipv4}/24", f"{ipv6}/64"]
        assert routes(name) == ["default dev eth0", f"{ipv4.rpartition('.')[0]}.0/24 dev eth0 src {ipv4}"]
        assert routes(name, 6) == ["2001:db8:abc6::/64 dev eth0 metric 256", "default dev eth0 metric 1024"]
    assert ip("route", "show", "default", netns="c1")[0]["scope"] == "link"
    pairs = [("c1", "c2"), ("c2", "c4"), ("c3", "c1"), ("c4", "c3")]
    reach(*((name, address) for name, other in pairs for address in own[other]))


def test_address_at_once_for_the_next(host: Host, page: Example) -> None:
    no_way = ["the host has no IPv4 default route", "parent 'eth0' has no IPv6 address"]
    carry_out(host, page.tasks, *no_way)
    asked = page.tasks[-1][1]["endpoints"][1]
    there, next_one = "c2", "c1"
    for _time in range(99):
        items = [{"name": there, "state": "absent"}, {**asked, "name": next_one, "netns": next_one}]
        host.run(ENDPOINT, network="ipnet110", endpoints=items)
        there, next_one = next_one, there
    assert looks.names() - looks.NOT_THE_HOST == {there}
    assert machine(there).addresses == [f"{asked['ip']}/24", f"{asked['ip6']}/64"]
    endpoints(host, "ipnet110", "other")
    reach(("other", asked["ip"]), ("other", asked["ip6"]))


# --- Manually create 802.1Q links -----------------------------------------------------------------------------


def hand_made(host: Host, page: Example, link: str) -> None:
    """The example with a link that is made by Docker's own commands, up to the removal of all but this link."""
    before = looks.everything(host)
    carry_out(host, page.tasks)
    assert machine("ivlan_test5")[3:] == (["192.168.40.2/24"], host.link(link)["ifindex"])
    reach(("ivlan_test5", "192.168.40.3"), ("ivlan_test6", "192.168.40.2"), ("ivlan_test5", "192.168.40.1"))
    carry_out(host, docker_page.example("test_removal").tasks)
    assert looks.everything(host) == before


def test_hand_made_eth0_40(host: Host, page: Example, router_has: Given) -> None:
    router_has(40, "192.168.40.1/24")
    for line in page.commands[:2]:
        command(*shlex.split(line))
    looks.until_settled()
    hand_made(host, page, "eth0.40")
    command("ip", "link", "del", "eth0.40")


def test_hand_made_foo(host: Host, page: Example, router_has: Given) -> None:
    router_has(40, "192.168.40.1/24")
    for line in page.commands[:2]:
        command(*shlex.split(line))
    looks.until_settled()
    looks.refused(host, NETWORK, "link 'foo' already carries VLAN 40 of 'eth0'", name="beside", parent="eth0.40")
    hand_made(host, page, "foo")
    command(*shlex.split(page.commands[-1]))


# --- Considerations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_host_access(host: Host, page: Example, driver: str) -> None:
    page.tasks[0][1]["driver"] = driver
    carry_out(host, page.tasks[:2])
    apart((HOST, "192.168.1.2"), ("c1", "192.168.1.250"))
    assert routes(None) == [LAN]
    carry_out(host, page.tasks[2:])
    by_us = [route for route in routes(None) if route != LAN]
    assert [route.split()[:3] for route in by_us] == [[f"192.168.1.{number}", "dev", "underlay0"] for number in (2, 3)]
    reach((HOST, "192.168.1.2"), (HOST, "192.168.1.3"), ("c1", "192.168.1.4"), ("c2", "192.168.1.4"))
    reach((HOST, "192.168.1.1"), (ROUTER, "192.168.1.250"), ("c1", "192.168.1.3"), (ROUTER, "192.168.1.2"))


# --- Create a Macvlan network ---------------------------------------------------------------------------------


def test_pub_net(host: Host, page: Example, router_has: Given, given: Given) -> None:
    router_has(0, "172.16.86.1/24")
    carry_out(host, page.tasks)
    endpoints(host, "pub_net", "c1", "c2")
    for number, name in ((2, "c1"), (3, "c2")):
        mac = f"02:42:ac:10:56:0{number}"
        assert machine(name) == ("macvlan", "bridge", mac, [f"172.16.86.{number}/24"], host.link("eth0")["ifindex"])
    assert routes("c1") == ["default via 172.16.86.1 dev eth0", "172.16.86.0/24 dev eth0 src 172.16.86.2"]
    reach(("c1", "172.16.86.3"), ("c2", "172.16.86.1"), (ROUTER, "172.16.86.2"))
    # The host in this subnet reaches the router, and not the endpoints.
    given(HOST, "addr add 172.16.86.250/24 dev eth0")
    reach((HOST, "172.16.86.1"))
    apart((HOST, "172.16.86.2"), ("c1", "172.16.86.250"))


def test_macnet32(host: Host, page: Example, router_has: Given) -> None:
    router_has(0, "192.168.32.254/24", "192.168.32.129/24")
    carry_out(host, page.tasks)
    endpoints(host, "macnet32", "c1", "c2", "c3")
    assert [machine(name).addresses for name in ("c1", "c2", "c3")] == [[f"192.168.32.{n}/24"] for n in (128, 130, 131)]
    assert routes("c1")[0] == "default via 192.168.32.254 dev eth0"
    reach(("c1", "192.168.32.130"), ("c1", "192.168.32.254"), ("c1", "192.168.32.129"))
    for address, words in (("192.168.32.129", "'my-router'"), ("192.168.32.254", "the gateway")):
        looks.refused(host, ENDPOINT, words, name="c4", network="macnet32", netns="c4", ip=address)


def test_macvlan50(host: Host, page: Example, router_has: Given) -> None:
    router_has(50, "192.168.50.1/24")
    carry_out(host, page.tasks)
    endpoints(host, "macvlan50", "c1", "c2")
    parent = host.link("eth0.50")
    assert (parent["link"], parent["linkinfo"]["info_data"]["id"]) == ("eth0", 50)
    assert machine("c1") == ("macvlan", "bridge", "02:42:c0:a8:32:02", ["192.168.50.2/24"], parent["ifindex"])
    with looks.captured("switch", "port1") as frames:
        reach(("c1", "192.168.50.3"), ("c1", "192.168.50.1"), (ROUTER, "192.168.50.3"))
        assert tags_of(frames(), "192.168.50.2") == {50}


def test_ipvlan210(host: Host, page: Example, router_has: Given) -> None:
    router_has(0, "192.168.210.254/24")
    carry_out(host, page.tasks)
    endpoints(host, "ipvlan210", "c1", "c2")
    card = host.link("eth0")
    for number, name in ((1, "c1"), (2, "c2")):
        assert machine(name) == ("ipvlan", "l2", card["address"], [f"192.168.210.{number}/24"], card["ifindex"])
    assert routes("c1")[0] == "default via 192.168.210.254 dev eth0"
    reach(("c1", "192.168.210.2"), ("c1", "192.168.210.254"), ("c2", "192.168.210.254"))
    seen = {n["dst"]: n["lladdr"] for n in ip("neigh", netns=ROUTER) if n["dst"].startswith("192.168.210.")}
    assert seen == {f"192.168.210.{number}": card["address"] for number in (1, 2)}


# --- Use IPv6 -------------------------------------------------------------------------------------------------


def test_macvlan216(host: Host, page: Example, router_has: Given) -> None:
    router_has(218, "192.168.216.1/24", "192.168.218.1/24", "2001:db8:abc8::10/64")
    carry_out(host, page.tasks)
    endpoints(host, "macvlan216", "c1", "c2")
    endpoints(host, "macvlan216", "c3", ip="192.168.218.2")
    own = {"c1": "192.168.216.2", "c2": "192.168.216.3", "c3": "192.168.218.2"}
    for number, (name, ipv4) in enumerate(own.items(), 1):
        found = machine(name)
        assert (found.kind, found.mode, found.parent) == ("macvlan", "bridge", host.link("eth0.218")["ifindex"])
        assert found.addresses == [f"{ipv4}/24", f"2001:db8:abc8::{number}/64"]
        start = ipv4.rpartition(".")[0]
        assert routes(name) == [f"default via {start}.1 dev eth0", f"{start}.0/24 dev eth0 src {ipv4}"]
        assert routes(name, 6)[-1] == "default via 2001:db8:abc8::10 dev eth0 metric 1024"
        reach((name, f"{start}.1"), (name, "2001:db8:abc8::10"))
    reach(("c1", "192.168.216.3"), ("c1", "2001:db8:abc8::2"), ("c3", "2001:db8:abc8::1"))


# --- Usage examples -------------------------------------------------------------------------------------------


def usage(host: Host, page: Example, name: str, parent: str) -> None:
    """Docker's steps 1 to 5: made, listed, inspected, looked at, stopped and removed."""
    before = looks.everything(host)
    network, *_rest = results = carry_out(host, page.tasks[:5])
    assert results[1]["networks"] == results[2]["networks"] == network["networks"]
    mac = "02:42:ac:10:56:02"
    assert machine(name) == ("macvlan", "bridge", mac, ["172.16.86.2/24"], host.link(parent)["ifindex"])
    assert routes(name) == ["default via 172.16.86.1 dev eth0", "172.16.86.0/24 dev eth0 src 172.16.86.2"]
    (shown,) = results[4]["endpoints"]
    assert (shown["mac_address"], shown["ipv4"]) == (
        mac,
        {"address": "172.16.86.2", "prefixlen": 24, "gateway": "172.16.86.1"},
    )
    reach((name, "172.16.86.1"))
    carry_out(host, page.tasks[5:])
    assert looks.everything(host) == before


def test_my_macvlan_net(host: Host, page: Example, router_has: Given) -> None:
    router_has(0, "172.16.86.1/24")
    usage(host, page, "my-macvlan-alpine", "eth0")


def test_my_8021q_macvlan_net(host: Host, page: Example, router_has: Given) -> None:
    router_has(10, "172.16.86.1/24")
    usage(host, page, "my-second-macvlan-alpine", "eth0.10")


# --- None network driver --------------------------------------------------------------------------------------


def test_none(host: Host, page: Example) -> None:
    carry_out(host, page.tasks)
    for name in ("c1", "no-net-alpine"):
        (lo,) = ip("addr", netns=name)
        assert (lo["ifname"], "UP" in lo["flags"]) == ("lo", True)
        assert [(a["local"], a["prefixlen"]) for a in lo["addr_info"]] == [("127.0.0.1", 8)]
    reach(("c1", "127.0.0.1"))
    apart(("c1", "::1"))
    reach((HOST, "::1"))
    host.network("isolated1")
    host.endpoint("web", "isolated1")
    looks.refused(host, ENDPOINT, "'none'", "c1", name="web2", network="isolated1", netns="c1")
    looks.refused(host, ENDPOINT, "'none'", "web", name="c2", network="none", netns="web")


# --- Removal --------------------------------------------------------------------------------------------------


def test_removal(host: Host, page: Example, given: Given) -> None:
    given(HOST, "link add link eth0 name eth0.20 up type vlan id 20")
    looks.until_settled()
    host.run(NETWORK, networks=[{"name": name, "parent": name} for name in ("eth0", "eth0.10", "eth0.20")])
    host.network("isolated1")
    items = [{"name": "web", "network": name, "netns": name} for name in ("eth0", "eth0.10", "eth0.20", "isolated1")]
    host.run(ENDPOINT, endpoints=items)
    assert len(host.links()) == 5
    carry_out(host, page.tasks)
    assert set(host.links()) == {"lo", "eth0", "eth0.20"}
    assert host.namespaces() == looks.NOT_THE_HOST
