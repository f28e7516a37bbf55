# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What neighbours are told of an endpoint that comes or changes: the frames on the wire, and who sends them."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from . import looks
from .conftest import Host, batch, ip, sweep

QUICK = {"count": 3, "interval_ms": 10}
SUBNETS = [{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}, {"subnet": "2001:db8:9::/64"}]


@pytest.fixture
def announcements() -> None:
    """They are sent here, other than in other files (conftest.py)."""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with eth0, and at its other end a peer with an address of the network."""
    sweep()
    batch("netns add peer\nlink add eth0 type veth peer name far netns peer\nlink set eth0 up\n")
    batch("link set lo up\nlink set far up\naddr add 10.9.0.1/24 dev far\n", netns="peer")
    yield Host(tmp_path / "state")
    looks.until(lambda: not announcing(), "nobody announces any more")
    sweep()


def announcing() -> list[int]:
    """The processes that send announcements."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            text = Path(f"/proc/{entry}/stat").read_text()
            if "(netops-announce)" in text and ") Z " not in text:
                found.append(int(entry))
    return found


def of(frames: list[tuple[int | None, bytes]], mac: str) -> list[bytes]:
    """Of frames those that announce this MAC: gratuitous ARP, and advertisements."""
    source = mac.replace(":", "")
    arp = [frame for _tag, frame in frames if frame[6:14].hex() == source + "0806" and frame[28:32] == frame[38:42]]
    nd = [frame for _tag, frame in frames if frame[6:14].hex() == source + "86dd" and frame[54] == 136]
    return arp + nd


def expected(mac: str, ipv4: str, ipv6: str) -> list[bytes]:
    """As docs/wire.md has them, by hand."""
    hardware, address = bytes.fromhex(mac.replace(":", "")), socket.inet_aton(ipv4)
    start = b"\xff" * 6 + hardware + b"\x08\x06" + bytes.fromhex("000108000604")
    request = start + b"\x00\x01" + hardware + address + bytes(6) + address
    reply = start + b"\x00\x02" + hardware + address + hardware + address
    source, group = socket.inet_pton(socket.AF_INET6, ipv6), socket.inet_pton(socket.AF_INET6, "ff02::1")
    body = b"\x88\x00\x00\x00" + b"\x20\x00\x00\x00" + source + b"\x02\x01" + hardware
    words = source + group + struct.pack("!II", len(body), 58) + body
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = b"\x60\x00\x00\x00" + struct.pack("!HBB", len(body), 58, 255) + source + group
    advertisement = b"\x33\x33\x00\x00\x00\x01" + hardware + b"\x86\xdd" + header
    advertisement += body[:2] + struct.pack("!H", total) + body[4:]
    return [request, reply, advertisement]


@contextmanager
def at_peer() -> Iterator[Callable[[str], list[bytes]]]:
    with looks.captured("peer", "far") as heard:
        yield lambda mac: of(heard(), mac)


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_the_frames_on_the_wire(host: Host, driver: str) -> None:
    host.network("net", driver=driver, parent="eth0", announce=QUICK, ipam_config=SUBNETS)
    with at_peer() as heard:
        result = host.endpoint("web1", "net", ipv4_address="10.9.0.7", ipv6_address="2001:db8:9::7")
        mac = result["endpoints"][0]["mac_address"]
        looks.until(lambda: not announcing(), "all is said")
        frames = heard(mac)
    once = expected(mac, "10.9.0.7", "2001:db8:9::7")
    assert sorted(frames) == sorted(once * 3)
    with at_peer() as heard:
        host.endpoint("web1", "net", ipv4_address="10.9.0.7", ipv6_address="2001:db8:9::7")
        host.endpoint("web1", "net", aliases=["www"])
        assert (announcing(), heard(mac)) == ([], [])
        # (A macvlan's MAC address follows its IPv4 address.)
        mac = host.endpoint("web1", "net", ipv4_address="10.9.0.8")["endpoints"][0]["mac_address"]
        looks.until(lambda: not announcing(), "all is said")
        assert sorted(heard(mac)) == sorted(expected(mac, "10.9.0.8", "2001:db8:9::7") * 3)


def test_a_peer_with_a_stale_entry_reaches_the_endpoint_at_once(host: Host) -> None:
    """With the control that it does not where nothing is announced."""

    def entry() -> str:
        [found] = ip("neigh", "show", "10.9.0.7", netns="peer")
        return found["lladdr"]

    for count, mac in ((0, "02:00:00:00:00:0b"), (1, "02:00:00:00:00:0c")):
        host.network("net", driver="macvlan", parent="eth0", announce={"count": 0}, ipam_config=SUBNETS)
        host.endpoint("web1", "net", ipv4_address="10.9.0.7", mac_address="02:00:00:00:00:0a")
        # The peer believes what it knows for longer than this test takes.
        batch("neigh replace 10.9.0.7 dev far lladdr 02:00:00:00:00:0a nud reachable", netns="peer")
        host.network("net", announce={"count": count})
        host.endpoint("web1", "net", mac_address=mac)
        looks.until(lambda: not announcing(), "all is said")
        # A reply to the peer's own questions would be no proof: it asks none while its entry is reachable.
        assert entry() == (mac if count else "02:00:00:00:00:0a")
        if count:
            assert host.pings("peer", "10.9.0.7")
        host.endpoint("web1", "net", state="absent")


def test_the_task_does_not_wait_and_nothing_of_it_is_held(host: Host) -> None:
    host.network(
        "net", driver="macvlan", parent="eth0", announce={"count": 3, "interval_ms": 6000}, ipam_config=SUBNETS
    )
    host.endpoint("web1", "net")
    looks.until(announcing, "it is there after the task is done")
    [pid] = announcing()
    looks.until(lambda: descriptors(pid) == {"/dev/null"}, "it has said it once, and holds nothing while it waits")
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    assert os.getsid(pid) != os.getsid(0)
    # It keeps neither the link nor the namespace: both can go, and come again.
    host.endpoint("web1", "net", state="absent")
    assert host.namespaces() == {"peer"}
    host.network("net", announce={"count": 0})
    host.endpoint("web1", "net")
    with suppress(ProcessLookupError):  # on a slow machine it has said all by now
        os.kill(pid, signal.SIGKILL)


def descriptors(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.add(os.readlink(entry))
    return found


def test_one_process_for_all(host: Host) -> None:
    host.network(
        "net", driver="macvlan", parent="eth0", announce={"count": 2, "interval_ms": 6000}, ipam_config=SUBNETS
    )
    host.run("vlan_endpoint", network="net", endpoints=[{"name": f"e{n}", "netns": f"e{n}"} for n in range(20)])
    looks.until(announcing, "it is there")
    [pid] = announcing()
    os.kill(pid, signal.SIGKILL)


def test_it_waits_for_carrier(host: Host) -> None:
    host.network(
        "net", driver="macvlan", parent="eth0", announce={"count": 10, "interval_ms": 100}, ipam_config=SUBNETS
    )
    # A bridge hears what its port takes in, and is there while the port is down.
    batch("link add br0 type bridge\nlink set br0 up\nlink set far down master br0", netns="peer")
    with looks.captured("peer", "br0") as heard:
        result = host.endpoint("web1", "net", ipv4_address="10.9.0.7", ipv6_address="2001:db8:9::7")
        mac = result["endpoints"][0]["mac_address"]
        looks.until(announcing, "it is there")
        assert of(heard(), mac) == []
        batch("link set far up", netns="peer")
        looks.until(lambda: not announcing(), "all is said")
        assert set(of(heard(), mac)) == set(expected(mac, "10.9.0.7", "2001:db8:9::7"))


def test_nobody_is_told_in_l3_or_where_it_is_turned_off(host: Host) -> None:
    host.network("net", driver="macvlan", parent="eth0", announce={"count": 0}, ipam_config=SUBNETS)
    host.endpoint("web1", "net")
    assert announcing() == []
    host.endpoint("web1", "net", state="absent")
    host.network("net", state="absent")
    host.network("l3", parent="eth0", ipvlan_mode="l3", ipam_config=SUBNETS)
    host.endpoint("web1", "l3")
    assert announcing() == []


def test_a_network_keeps_how_often(host: Host) -> None:
    first = host.network("net", parent="eth0", ipam_config=SUBNETS)
    assert first["networks"][0]["announce"] == {"count": 3, "interval_ms": 1000}
    result = looks.done(host, "vlan_network", name="net", announce={"count": 1, "interval_ms": 20})
    assert result["actions"][0]["changes"] == {
        "announce": {"before": {"count": 3, "interval_ms": 1000}, "after": {"count": 1, "interval_ms": 20}}
    }
    assert host.network("net")["changed"] is False
