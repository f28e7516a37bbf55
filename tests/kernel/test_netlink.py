# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""netlink.py and namespaces.py on a real kernel, seen with the eyes of ``ip``. Run by tests/lab/run."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import facts, namespaces, netlink
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError
from ansible_collections.netops.underlay.plugins.module_utils.netlink import (
    AddAddress,
    AddRoute,
    ChangeLink,
    Channel,
    CreateLink,
    DeleteAddress,
    DeleteLink,
    DeleteRoute,
)

from .looks import until


def ip(*arguments: str) -> list[dict]:
    shown = subprocess.run(["ip", "-j", "-d", *arguments], check=True, capture_output=True, text=True).stdout
    return json.loads(shown or "[]")


def ip_link(name: str, netns: str | None = None) -> dict:
    return ip(*(["-n", netns] if netns else []), "link", "show", "dev", name)[0]


def done(answers: list) -> None:
    assert [str(answer) for answer in answers if answer] == []


@pytest.fixture(autouse=True)
def nothing_left():
    """After each test: this thread where it was, no descriptor, child, thread or namespace is left."""
    before = here(), len(os.listdir("/proc/self/fd"))
    yield
    assert (here(), len(os.listdir("/proc/self/fd"))) == before
    assert Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text() == ""
    assert threading.active_count() == 1
    assert named() == set()


def created(name: str) -> int:
    """A descriptor of the new namespace."""
    [error] = netlink.create_namespaces([name])
    if error:
        raise error
    return netlink.open_namespace(f"{netlink.NETNS_DIR}/{name}")


def here() -> str:
    return os.readlink("/proc/thread-self/ns/net")


@contextmanager
def descriptor_of_here() -> Iterator[int]:
    fd = netlink.current_namespace()
    yield fd
    os.close(fd)


@pytest.fixture
def host():
    """A channel of a fresh namespace that stands for the host: this thread is in it, `eth0` is a trunk."""
    fd = created("host")
    try:
        with netlink.entered(fd), Channel() as channel:
            up = " && ".join(f"ip link set {name} up" for name in ("lo", "eth0", "tor"))
            subprocess.run(f"ip link add eth0 type veth peer tor && {up}", shell=True, check=True)
            yield channel
    finally:
        os.close(fd)
        netlink.remove_namespace("host")


@pytest.fixture
def web(host):
    """The descriptor of a second, empty namespace."""
    fd = created("web")
    try:
        yield fd
    finally:
        os.close(fd)
        netlink.remove_namespace("web")


def create(channel: Channel, request: CreateLink) -> facts.Link:
    done(channel.send([request]))
    link = channel.link(request.name)
    assert link is not None
    return link


# ---- links of every kind


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
@pytest.mark.parametrize("flag", ["bridge", "private", "vepa"])
def test_ipvlan(host, mode, flag):
    numbers = ["l2", "l3", "l3s"].index(mode), ["bridge", "private", "vepa"].index(flag)
    attributes = ((1, "=H", numbers[0]), (2, "=H", numbers[1]))
    link = create(host, CreateLink("ipv0", "ipvlan", host.link_index("eth0"), attributes=attributes))
    shown = ip_link("ipv0")["linkinfo"]
    # iproute2 prints its boolean names for the flags: {"private": true}
    assert (shown["info_kind"], shown["info_data"]) == ("ipvlan", {"mode": mode, flag: True})
    assert (facts.attribute(link, 1, "=H"), facts.attribute(link, 2, "=H")) == numbers


@pytest.mark.parametrize(("mode", "number"), [("private", 1), ("vepa", 2), ("bridge", 4), ("passthru", 8)])
def test_macvlan(host, mode, number):
    parent = host.link_index("eth0")
    mac = None if mode == "passthru" else "02:42:c0:a8:14:0a"
    link = create(host, CreateLink("mac0", "macvlan", parent, mtu=1400, mac=mac, attributes=((1, "=I", number),)))
    shown = ip_link("mac0")
    assert shown["linkinfo"]["info_data"]["mode"] == mode
    assert (shown["mtu"], shown["address"]) == (link.mtu, link.mac) == (1400, mac or host.link("eth0").mac)
    assert facts.attribute(link, 1, "=I") == number
    assert link.parent_index == parent


@pytest.mark.parametrize(("protocol", "number"), [("802.1Q", 0x8100), ("802.1ad", 0x88A8)])
def test_vlan(host, protocol, number):
    attributes = ((1, "=H", 20), (5, ">H", number))
    link = create(host, CreateLink("eth0.20", "vlan", host.link_index("eth0"), attributes=attributes))
    shown = ip_link("eth0.20")["linkinfo"]
    assert (shown["info_data"]["id"], shown["info_data"]["protocol"]) == (20, protocol)
    assert (facts.attribute(link, 1, "=H"), facts.attribute(link, 5, ">H")) == (20, number)


@pytest.mark.parametrize("kind", ["dummy", "bridge", "veth"])
def test_kind_without_attributes(host, kind):
    link = create(host, CreateLink("one", kind))
    assert link.kind == ip_link("one")["linkinfo"]["info_kind"] == kind
    done(host.send([DeleteLink(link.index)]))
    assert host.link("one") is None


def test_every_link_as_ip_shows_it(host, web):
    eth0 = host.link_index("eth0")
    done(host.send([CreateLink("di-1", "dummy"), CreateLink("br0", "bridge"), CreateLink("pa", "veth")]))
    done(
        host.send(
            [
                CreateLink("eth0.20", "vlan", eth0, attributes=((1, "=H", 20),)),
                CreateLink("ipv0", "ipvlan", eth0),
            ]
        )
    )
    done(host.send([ChangeLink(host.link_index("di-1"), alias="mark", up=True)]))
    subprocess.run(["ip", "link", "set", "pa", "master", "br0"], check=True)
    shown = {entry["ifname"]: entry for entry in ip("link")}
    links = host.links()
    assert [link.name for link in links] == list(shown)
    for link in links:
        entry = shown[link.name]
        assert (link.index, link.mtu, link.mac) == (entry["ifindex"], entry["mtu"], entry["address"])
        assert link.kind == entry.get("linkinfo", {}).get("info_kind")
        assert link.port_kind == entry.get("linkinfo", {}).get("info_slave_kind")
        assert link.alias == entry.get("ifalias", "")
        assert link.up == ("UP" in entry["flags"])
        assert link.carrier == ("LOWER_UP" in entry["flags"])
        assert link.loopback == ("LOOPBACK" in entry["flags"])
        assert link.parent_index == (host.link_index(entry["link"]) if entry.get("link") else None)
        assert link.master == (host.link_index(entry["master"]) if "master" in entry else None)
        assert host.link(link.name) == link


@pytest.mark.parametrize("kind", ["vlan", "macvlan", "ipvlan", "dummy", "veth", "bridge"])
def test_kernel_is_asked_for_a_kind_and_nothing_is_made(host, kind):
    before = host.links()
    assert host.knows(kind)
    assert not host.knows("nonsense")
    assert host.links() == before


def test_link_that_is_not_there(host):
    assert host.link("none") is None
    assert host.link("a-name-longer-than-15") is None
    assert host.link_index("none") is None


# ---- into another namespace


def test_link_made_in_another_namespace_and_named_there(host, web):
    """The host has an `eth0` of its own, which stops Linux 6.1 from making another over there at once."""
    before = host.links()
    done(host.send([CreateLink("tmp-1", "macvlan", host.link_index("eth0"), netns_fd=web, attributes=((1, "=I", 4),))]))
    assert host.links() == before
    with Channel(web) as channel, descriptor_of_here() as host_fd:
        made = channel.link("tmp-1")
        assert (made.up, made.parent_index) == (False, host.link_index("eth0"))
        assert made.parent_nsid == channel.nsid(host_fd)
        done(channel.send([ChangeLink(made.index, name="eth0", alias="mark", up=True)]))
        link = channel.link("eth0")
    shown = ip_link("eth0", "web")
    assert (shown["ifalias"], "UP" in shown["flags"], shown["ifindex"]) == ("mark", True, made.index)
    assert (link.index, link.alias, link.up) == (made.index, "mark", True)


def test_namespace_without_a_number(host, web):
    assert host.nsid(web) is None


def test_change_in_place(host):
    link = create(host, CreateLink("mac0", "macvlan", host.link_index("eth0"), attributes=((1, "=I", 4),)))
    change = ChangeLink(link.index, mtu=1300, mac="02:00:00:00:00:09", kind="macvlan", attributes=((1, "=I", 2),))
    done(host.send([change, ChangeLink(link.index, up=True)]))
    shown = ip_link("mac0")
    assert (shown["mtu"], shown["address"], shown["linkinfo"]["info_data"]["mode"]) == (
        1300,
        "02:00:00:00:00:09",
        "vepa",
    )
    done(host.send([ChangeLink(link.index, up=False, alias="x")]))
    done(host.send([ChangeLink(link.index, alias="")]))
    assert (host.link("mac0").up, host.link("mac0").alias) == (False, "")
    assert host.send([ChangeLink(999, name="x")])[0].errno == errno.ENODEV


def write_sysctl(descriptor, values):
    with netlink.procfs() as proc:
        netlink.write_sysctl(proc, descriptor, values)


def test_ipv6_settings(host):
    write_sysctl(None, {"net/ipv6/conf/eth0/disable_ipv6": "1", "net/ipv6/conf/eth0/accept_ra_defrtr": "0"})
    assert host.link("eth0").ipv6_conf == facts.Ipv6Conf(disable_ipv6=1, accept_ra_defrtr=0)
    assert host.link("tor").ipv6_conf == facts.Ipv6Conf(disable_ipv6=0, accept_ra_defrtr=1)


# ---- addresses and routes


def test_addresses(host):
    eth0 = host.link_index("eth0")
    added = [
        AddAddress(eth0, "192.168.20.2", 24),
        AddAddress(eth0, "10.0.0.2", 31),
        AddAddress(eth0, "2001:db8::2", 64),
    ]
    done(host.send([*added, AddAddress(eth0, "2001:db8:1::2", 64, nodad=False)]))
    shown = {entry["local"]: entry for entry in ip("address", "show", "dev", "eth0")[0]["addr_info"]}
    assert (shown["192.168.20.2"]["prefixlen"], shown["192.168.20.2"]["broadcast"]) == (24, "192.168.20.255")
    assert "broadcast" not in shown["10.0.0.2"]
    assert shown["2001:db8::2"]["nodad"] is True
    assert "nodad" not in shown["2001:db8:1::2"]
    ours = {address.address: address for address in host.addresses() if address.index == eth0}
    assert {name: (a.prefixlen, a.family) for name, a in ours.items()} == {
        name: (entry["prefixlen"], {"inet": 4, "inet6": 6}[entry["family"]]) for name, entry in shown.items()
    }
    assert host.send([added[0]])[0].errno == errno.EEXIST
    done(host.send([DeleteAddress(eth0, a.address, a.prefixlen) for a in added]))
    assert not {a.address for a in host.addresses()} & {a.address for a in added}
    assert host.send([DeleteAddress(eth0, "192.168.20.2", 24)])[0].errno == errno.EADDRNOTAVAIL


def ip_routes(family: int) -> list[tuple]:
    return sorted(
        (r["dst"], r.get("gateway"), r["dev"], "onlink" in r.get("flags", []), r.get("metric", 0))
        for r in ip(f"-{family}", "route", "show", "table", "main")
        if not r["dst"].startswith("fe80:")
    )


def our_routes(channel: Channel, family: int) -> list[tuple]:
    names = {link.index: link.name for link in channel.links()}
    return sorted(
        (r.destination, r.gateway, names[r.index], r.onlink, r.metric)
        for r in channel.routes()
        if r.family == family and not r.destination.startswith("fe80:")
    )


@pytest.mark.parametrize(
    ("family", "address", "requests"),
    [
        (4, ("192.168.20.2", 24), [("default", {"gateway": "192.168.20.1"})]),
        (4, ("192.168.20.2", 24), [("default", {})]),
        (4, ("192.168.20.2", 24), [("default", {"gateway": "172.16.0.1", "onlink": True})]),
        (4, ("192.168.20.2", 24), [("default", {"metric": 50}), ("10.0.0.0/8", {}), ("10.1.2.3/32", {})]),
        (6, ("2001:db8::2", 64), [("default", {"gateway": "2001:db8::1"})]),
        (6, ("2001:db8::2", 64), [("default", {"gateway": "2001:db9::1", "onlink": True})]),
        (6, ("2001:db8::2", 64), [("default", {}), ("2001:db8:7::/48", {"metric": 9})]),
    ],
)
def test_routes(host, family, address, requests):
    eth0 = host.link_index("eth0")
    done(host.send([AddAddress(eth0, *address)]))
    before = ip_routes(family)
    assert our_routes(host, family) == before
    done(host.send([AddRoute(family, destination, eth0, **more) for destination, more in requests]))
    shown = [(dst.replace("/32", ""), *rest) for dst, *rest in our_routes(host, family)]
    assert shown == ip_routes(family)
    assert len(shown) == len(before) + len(requests)
    by = next(r for r in ip(f"-{family}", "route") if r["dst"] == "default")
    assert by.get("protocol") in (None, "boot")
    assert by.get("scope") in ((None, "global") if family == 6 or by.get("gateway") else ("link",))
    done(host.send([DeleteRoute(family, destination, eth0, **more) for destination, more in requests]))
    assert ip_routes(family) == before
    assert host.send([DeleteRoute(family, "default", eth0)])[0].errno == errno.ESRCH


def test_routes_of_other_tables_and_shapes(host):
    eth0 = host.link_index("eth0")
    done(host.send([AddAddress(eth0, "192.168.20.2", 24), AddAddress(eth0, "2001:db8::2", 64)]))
    subprocess.run(
        "ip route add 10.1.0.0/16 nexthop via 192.168.20.1 nexthop via 192.168.20.9 &&"
        " ip route add 10.2.0.0/16 via inet6 2001:db8::9 && ip route add unreachable 10.3.0.0/16 &&"
        " ip route add 10.4.0.0/16 dev eth0 table 1000 &&"
        " ip -6 route add 2001:db8:8::/48 nexthop via 2001:db8::1 nexthop via 2001:db8::3",
        shell=True,
        check=True,
    )
    routes = {route.destination: route for route in host.routes()}
    assert (routes["10.1.0.0/16"].gateway, routes["10.1.0.0/16"].index) == (None, None)
    assert routes["10.2.0.0/16"].gateway == "2001:db8::9"
    assert routes["10.3.0.0/16"].type == 7
    assert "10.4.0.0/16" not in routes
    assert routes["2001:db8:8::/48"].index is None


# ---- many, failing, interrupted


@pytest.mark.parametrize("failing", [[250], [0, 498], [499], [1, 2, 499]], ids=str)
def test_many_requests_of_which_some_fail(host, failing):
    eth0 = host.link_index("eth0")
    requests = [AddAddress(eth0, f"10.{n // 250}.{n % 250}.1", 24) for n in range(500)]
    for position in failing:
        requests[position] = AddRoute(4, "default", eth0, gateway="192.0.2.1")
    answers = host.send(requests)
    assert len(answers) == 500
    assert [position for position, answer in enumerate(answers) if answer] == failing
    assert {(answers[position].errno, answers[position].kernel_message) for position in failing} == {
        (errno.ENETUNREACH, "Nexthop has invalid gateway")
    }
    assert len([a for a in host.addresses() if a.index == eth0 and a.family == 4]) == 500 - len(failing)


def test_no_requests(host):
    assert host.send([]) == []


def test_more_requests_than_one_piece_can_hold(host):
    answers = host.send([DeleteLink(10_000 + n) for n in range(6000)])
    assert {answer.errno for answer in answers} == {errno.ENODEV}


def test_nothing_is_sent_when_one_cannot_be_encoded(host):
    with pytest.raises(ValueError, match="is not an address"):
        host.send([DeleteLink(host.link_index("eth0")), AddAddress(1, "192.168.1", 24)])
    assert host.link("eth0")


def test_answers_that_do_not_fit_are_unknown(host, monkeypatch):
    """A receive buffer too small for the answers: those that came are told from those that were lost."""
    with Channel() as channel:
        channel._most_requests = 400
        channel._socket.setsockopt(1, 33, 1)  # SOL_SOCKET, SO_RCVBUFFORCE: the kernel's least
        answers = channel.send([DeleteLink(10_000 + n) for n in range(400)])
    assert len(answers) == 400
    assert {answer.errno for answer in answers} == {errno.ENODEV, errno.ETIMEDOUT}


class Interrupting:
    """A socket whose first dumps carry the kernel's word that they were interrupted."""

    def __init__(self, real, times: int) -> None:
        self.real, self.times = real, times

    def send(self, data: bytes) -> int:
        return self.real.send(data)

    def close(self) -> None:
        self.real.close()

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = bytearray(self.real.recv(size, flags))
        if self.times and struct.unpack_from("=H", data, 4)[0] != 3:
            self.times -= 1
            struct.pack_into("=H", data, 6, struct.unpack_from("=H", data, 6)[0] | 0x10)
        return bytes(data)


def test_interrupted_dump_is_asked_for_again(host):
    expected = host.links()
    host._socket = Interrupting(host._socket, 3)
    assert host.links() == expected
    assert host._socket.times == 0


def test_dump_interrupted_for_ever(host):
    host._socket = Interrupting(host._socket, -1)
    with pytest.raises(netlink.NetlinkError) as caught:
        host.links()
    assert caught.value.errno == errno.EINTR


def test_dumps_while_links_come_and_go(host):
    """Whatever happens meanwhile, a link that stays is seen once in each dump."""
    done(host.send([CreateLink(f"stay{n}", "dummy") for n in range(150)]))
    stop = threading.Event()
    fd = netlink.current_namespace()

    def stir() -> None:
        with Channel(fd) as channel:
            while not stop.is_set():
                channel.send([CreateLink("come", "dummy")])
                channel.send([DeleteLink(channel.link_index("come"))])

    thread = threading.Thread(target=stir)
    thread.start()
    try:
        for _turn in range(30):
            names = [link.name for link in host.links() if link.name.startswith("stay")]
            assert sorted(names) == sorted({f"stay{n}" for n in range(150)})
    finally:
        stop.set()
        thread.join()
        os.close(fd)


def test_socket_stays_in_its_namespace(host, web):
    with Channel(web) as channel:
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(channel.links()))
        thread.start()
        thread.join()
        assert [link.name for link in seen] == [link.name for link in channel.links()] == ["lo"]


# ---- the recorder


def test_recorder_hears_of_each_write_before_it_is_done(host, monkeypatch):
    heard = []
    monkeypatch.setattr(netlink, "recorder", lambda verb, request: heard.append((verb, host.link("one"), request)))
    request = CreateLink("one", "dummy")
    done(host.send([request]))
    done(host.send([ChangeLink(host.link_index("one"), alias="a"), DeleteLink(host.link_index("one"))]))
    for read in (host.links, host.addresses, host.routes, netlink.every_namespace):
        read()
    os.close(created("two"))
    write_sysctl(None, {"net/ipv4/conf/eth0/forwarding": "1"})
    netlink.remove_namespace("two")
    assert [(verb, link and link.alias) for verb, link, _request in heard] == [
        ("create_link", None),
        ("change_link", ""),
        ("delete_link", "a"),
        ("create_namespace", None),
        ("write_sysctl", None),
        ("remove_namespace", None),
    ]
    assert [heard[0][2], heard[3][2], heard[4][2]] == [request, "two", ("net/ipv4/conf/eth0/forwarding", "1")]


def test_recorder_that_raises_stops_what_comes_after(host, monkeypatch):
    def fail_at_third(_verb: str, request: object) -> None:
        if request.name == "two":
            raise KeyboardInterrupt

    monkeypatch.setattr(netlink, "recorder", fail_at_third)
    with pytest.raises(KeyboardInterrupt):
        host.send([CreateLink(name, "dummy") for name in ("zero", "one", "two", "three")])
    assert [bool(host.link(name)) for name in ("zero", "one", "two", "three")] == [True, True, False, False]


# ---- namespaces


def ip_netns() -> list[str]:
    return sorted(entry["name"] for entry in ip("netns", "list"))


def test_namespace_is_one_for_ip(host):
    fd = created("mine")
    assert ip_netns() == ["host", "mine"]
    assert [entry["ifname"] for entry in ip("-n", "mine", "link")] == ["lo"]
    assert named() == {"host", "mine"}
    same = netlink.open_namespace("/run/netns/mine")
    assert netlink.namespace_id(fd) == netlink.namespace_id(same)
    os.close(fd)
    os.close(same)
    netlink.remove_namespace("mine")
    assert ip_netns() == ["host"]
    netlink.remove_namespace("mine")  # gone already


def test_namespace_of_ip_is_one_for_us(host):
    subprocess.run(["ip", "netns", "add", "theirs"], check=True)
    assert "theirs" in named()
    netlink.remove_namespace("theirs")
    assert ip_netns() == ["host"]
    subprocess.run(["ip", "netns", "add", "theirs"], check=True)
    subprocess.run(["ip", "netns", "delete", "theirs"], check=True)


def test_name_that_is_taken(web):
    with pytest.raises(UnderlayError, match="namespace 'web' exists already"):
        created("web")
    assert netlink.namespace_id(web) in netlink.every_namespace()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "x" * 256])
def test_name_that_no_namespace_can_have(name):
    with pytest.raises(UnderlayError, match="cannot be the name of a namespace"):
        created(name)


def test_leftover_of_a_kill_is_no_namespace_and_is_reused(host):
    leftover = Path(netlink.NETNS_DIR, "half")
    leftover.touch(mode=0o000)
    assert "half" not in named()
    os.close(created("half"))
    assert "half" in named()
    netlink.remove_namespace("half")
    leftover.touch()
    netlink.remove_namespace("half")
    assert not leftover.exists()


def test_file_that_is_somebodys_is_left_alone(host):
    file = Path(netlink.NETNS_DIR, "notes")
    file.write_text("mine")
    with pytest.raises(UnderlayError, match="exists already"):
        created("notes")
    assert file.read_text() == "mine"
    file.unlink()


@pytest.mark.parametrize("aim", ["nowhere", "empty", "/proc/self/ns/net"])
def test_symbolic_link_is_not_followed(host, tmp_path, aim):
    (tmp_path / "empty").touch()
    link = Path(netlink.NETNS_DIR, "linked")
    assert netlink.obstacle("linked") is None
    link.symlink_to(tmp_path / aim)
    assert f"{link} is a symbolic link" in netlink.obstacle("linked")
    assert [f"{link} is a symbolic link" in str(answer) for answer in netlink.create_namespaces(["linked"])] == [True]
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    link.unlink()


def test_failed_creation_leaves_nothing(host, monkeypatch):
    original = namespaces._mount

    def refuse(source: str, target: str, flags: int) -> None:
        if target.endswith("/mine"):
            raise OSError(errno.EPERM, "Operation not permitted")
        original(source, target, flags)

    monkeypatch.setattr(namespaces, "_mount", refuse)
    before = here()
    with pytest.raises(UnderlayError, match="namespace 'mine' cannot be made: Operation not permitted"):
        created("mine")
    assert here() == before
    assert not os.path.exists("/run/netns/mine")


def test_many_are_made_ahead_and_each_answers_for_itself(host):
    """What is told of them by iproute2: the link that each got by its own descriptor is in the one of its name."""
    names = [f"many{number}" for number in range(60)]
    taken = {names[0], names[1], names[20], names[41]}
    for name in taken:
        Path(netlink.NETNS_DIR, name).write_text("mine")
    answers = list(netlink.create_namespaces(names))
    assert {name: str(answer) for name, answer in zip(names, answers) if answer} == {
        name: f"namespace '{name}' exists already" for name in taken
    }
    made = [name for name in names if name not in taken]
    assert named() == {"host", *made}
    identities = set()
    for name in made:
        with netlink.Channel(fd := netlink.open_namespace(f"{netlink.NETNS_DIR}/{name}")) as channel:
            done(channel.send([CreateLink(name, "dummy")]))
            identities.add(netlink.namespace_id(fd))
        os.close(fd)
    assert len(identities) == len(made)
    for name in made:
        told = subprocess.run(["ip", "-json", "-n", name, "link"], check=True, capture_output=True).stdout
        assert [link["ifname"] for link in json.loads(told)] == ["lo", name]
        netlink.remove_namespace(name)
    for name in taken:
        file = Path(netlink.NETNS_DIR, name)
        assert file.read_text() == "mine"
        file.unlink()


def test_they_are_made_while_the_caller_does_something_else(host, the_many):
    answers = netlink.create_namespaces(the_many)
    assert [next(answers), next(answers)] == [None, None]
    # It asks for no more, and still they come.
    until(lambda: named() == {"host", *the_many}, "all are there")
    assert list(answers) == [None] * (len(the_many) - 2)


def test_no_more_are_made_when_nobody_waits_for_them(host, the_many, monkeypatch):
    monkeypatch.setattr(namespaces, "create", slowly(namespaces.create))
    answers = netlink.create_namespaces(the_many)
    assert [next(answers) for _number in range(3)] == [None] * 3
    answers.close()
    assert the_many[0] in named() and the_many[-1] not in named()


def test_no_more_are_made_when_the_caller_is_killed(host, the_many, monkeypatch):
    monkeypatch.setattr(namespaces, "create", slowly(namespaces.create))
    reader, writer = os.pipe()
    caller = os.fork()
    if caller == 0:
        answers = netlink.create_namespaces(the_many)
        next(answers), next(answers), os.write(writer, b"x")
        signal.pause()
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.kill(caller, signal.SIGKILL)
    os.waitpid(caller, 0)
    # The maker holds the pipe, too, as long as it is there.
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert the_many[0] in named() and the_many[-1] not in named()


@pytest.mark.parametrize("broken", ["many30", "many31"])
def test_when_the_maker_breaks_each_that_was_left_says_so(host, the_many, monkeypatch, broken):
    original = namespaces.create

    def create(name: str, *others: Any) -> None:
        if name == broken:
            raise MemoryError
        original(name, *others)

    monkeypatch.setattr(namespaces, "create", create)
    answers = dict(zip(the_many, netlink.create_namespaces(the_many)))
    done = the_many[: the_many.index(broken)]
    assert [name for name, answer in answers.items() if answer is None] == done
    assert str(answers[broken]) == (
        f"namespace '{broken}' cannot be made: the process that makes them has ended; run the task again"
    )
    assert named() == {"host", *done}


def test_without_another_process_they_are_made_here(host, the_many, monkeypatch):
    def none_left() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", none_left)
    assert list(netlink.create_namespaces(the_many)) == [None] * len(the_many)
    assert named() == {"host", *the_many}


@pytest.fixture
def the_many() -> Iterator[list[str]]:
    names = [f"many{number}" for number in range(40)]
    yield names
    for name in set(names) & named():
        netlink.remove_namespace(name)


def slowly(create: Callable[..., None]) -> Callable[..., None]:
    """Slow enough for whoever waits for one to be ahead of the last."""

    def slow(*arguments: Any) -> None:
        time.sleep(0.1)
        create(*arguments)

    return slow


@pytest.mark.parametrize("path", ["/proc/self/ns/uts", "/dev/null", "/run", "/etc/hostname"])
def test_path_that_is_no_network_namespace(path):
    with pytest.raises(UnderlayError, match=f"{path} is no network namespace"):
        netlink.open_namespace(path)


def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnderlayError, match="is no network namespace"):
        netlink.open_namespace(str(tmp_path / "pipe"))


@pytest.mark.parametrize("path", ["/run/netns/none", "/proc/4194305/ns/net"])
def test_path_that_is_not_there(path):
    with pytest.raises(UnderlayError, match=f"there is no network namespace at {path}") as caught:
        netlink.open_namespace(path)
    assert isinstance(caught.value, FileNotFoundError)


def test_return_after_an_exception(web):
    before = here()
    with pytest.raises(ZeroDivisionError), netlink.entered(web):
        assert here() != before
        raise ZeroDivisionError
    assert here() == before


def test_descriptor_that_cannot_be_entered(host):
    before = here()
    with open("/dev/null") as file, pytest.raises(UnderlayError, match="cannot be entered"):
        Channel(file.fileno())
    assert here() == before


def test_process_that_cannot_return_dies(web):
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.netops.underlay.plugins.module_utils import namespaces
before = namespaces._set_namespace
def once(fd, state=[]):
    if state:
        raise OSError(1, "Operation not permitted")
    state.append(before(fd))
namespaces._set_namespace = once
try:
    with namespaces.entered(int(sys.argv[2])):
        pass
except BaseException:
    pass
print("still here")
"""
    collections = next(path for path in sys.path if path.endswith("/.work/collections"))
    ended = subprocess.run(
        [sys.executable, "-c", script, collections, str(web)],
        capture_output=True,
        text=True,
        pass_fds=[web],
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (-6, "")
    assert "cannot return to the network namespace" in ended.stderr


def test_every_namespace(web):
    process = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        wait_for_command(process.pid, "sleep")
        found = netlink.every_namespace()
        assert found[netlink.namespace_id(web)] == netlink.Namespace("/run/netns/web", "namespace 'web'")
        fd = netlink.open_namespace(f"/proc/{process.pid}/ns/net")
        identity = netlink.namespace_id(fd)
        os.close(fd)
        assert found[identity].words == f"the namespace of process {process.pid} (sleep)"
        assert found[identity].path == f"/proc/{process.pid}/ns/net"
        assert identity[1] in netlink.occupied_namespaces()
        assert netlink.namespace_id(web)[1] not in netlink.occupied_namespaces()
        start = netlink.process_start_time(process.pid)
        assert start >= netlink.process_start_time(os.getpid())
    finally:
        process.kill()
        process.wait()
    assert identity not in netlink.every_namespace()
    assert netlink.process_start_time(process.pid) is None


def named() -> set[str]:
    """The names under /run/netns that stand for a namespace."""
    return {Path(seen.path).name for seen in netlink.every_namespace().values() if seen.path.startswith("/run/netns/")}


def wait_for_command(pid: int, name: str) -> None:
    while Path(f"/proc/{pid}/comm").read_text().strip() != name:
        os.sched_yield()


def test_boot_id():
    assert netlink.boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize("procfs", ["a fresh one", "the host's"])
def test_sysctls_are_those_of_the_namespace(host, web, procfs, monkeypatch):
    if procfs == "the host's":
        monkeypatch.setattr(namespaces, "_FSOPEN", 9999)  # as on a kernel that does not have the call
    with Channel(web) as channel:
        done(channel.send([CreateLink("eth0.20", "dummy")]))
    name = "net/ipv6/conf/eth0.20/disable_ipv6"
    write_sysctl(web, {name: "1", "net/ipv4/ip_forward": "1"})
    with netlink.entered(web):
        assert Path("/proc/sys", name).read_text() == "1\n"
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert not Path("/proc/sys", name).exists()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    with pytest.raises(UnderlayError, match=f"the kernel has no sysctl {name}"):
        write_sysctl(None, {name: "1"})
    with pytest.raises(UnderlayError, match="cannot be set to 'words': Invalid argument"):
        write_sysctl(web, {"net/ipv4/conf/all/rp_filter": "words"})


def test_requests_side_by_side_reach_each_their_own_namespace():
    """Every namespace has the same names and the same indexes: one that went astray would be seen."""
    names = [f"side{number}" for number in range(150)]
    open_ones = [created(name) for name in names]
    try:
        with ExitStack() as stack:
            channels = [stack.enter_context(netlink.Channel(descriptor)) for descriptor in open_ones]
            for channel in channels:
                assert channel.send([CreateLink("odd0", "dummy"), CreateLink("even0", "dummy")]) == [None, None]
            indexes = {(channel.link_index("odd0"), channel.link_index("even0")) for channel in channels}
            assert len(indexes) == 1
            ((odd, even),) = indexes
            work = [
                (
                    channel,
                    [netlink.ChangeLink(odd, alias=name), DeleteLink(odd if number % 2 else even), DeleteLink(999)],
                )
                for number, (name, channel) in enumerate(zip(names, channels))
            ]
            with netlink.side_by_side(len(work)) as send:
                answers = [send(channel, requests) for channel, requests in work]
            assert [[answer and answer.errno for answer in each()] for each in answers] == [
                [None, None, errno.ENODEV]
            ] * 150
            for number, (name, channel) in enumerate(zip(names, channels)):
                there = {link.name: link.alias for link in channel.links() if not link.loopback}
                assert there == ({"even0": ""} if number % 2 else {"odd0": name})
    finally:
        for name, descriptor in zip(names, open_ones):
            os.close(descriptor)
            netlink.remove_namespace(name)
