# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Addresses that another station on the wire has: found before they are used."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import conflicts, restore, wire

from . import looks
from .conftest import Host, batch, ip, sweep

SUBNETS = [{"subnet": "10.9.0.0/24", "gateway": "10.9.0.1"}, {"subnet": "2001:db8:9::/64"}]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with eth0, and at its other end a station that has two addresses of the network. It answers at once, so there is no
    need to wait as long for it as for others."""
    monkeypatch.setattr(conflicts, "ASKED_AT", (0.0, 0.2, 0.4))
    monkeypatch.setattr(conflicts, "FREE_AFTER", 0.6)
    sweep()
    batch("netns add peer\nlink add eth0 type veth peer name far netns peer\nlink set eth0 up\n")
    lines = "link set lo up\nlink set far up\naddr add 10.9.0.2/24 dev far\naddr add 2001:db8:9::3/64 dev far nodad\n"
    batch(lines, netns="peer")
    yield Host(tmp_path / "state")
    sweep()


def peer_mac() -> str:
    return next(link["address"] for link in ip("link", "show", "far", netns="peer"))


def make(host: Host, driver: str = "macvlan", check: bool = True) -> None:
    how = {"announce": {"count": 0}, "conflict_check": check}
    host.network("net", driver=driver, parent="eth0", ipam_config=SUBNETS, **how)


def test_the_next_free_address_is_taken_and_the_other_set_aside(host: Host) -> None:
    make(host)
    result = looks.done(host, "vlan_endpoint", name="web1", network="net", netns="web1")
    assert host.addresses("eth0", "web1") == ["10.9.0.3/24", "2001:db8:9::2/64"]
    mac = peer_mac()
    assert len(result["warnings"]) == 1
    assert f"10.9.0.2 of network 'net' is in use by {mac} on eth0" in result["warnings"][0]
    held = host.run("vlan_ipam_info", network="net", owner="conflict-10.9.0.2")["addresses"]
    assert [(row["address"], row["kind"], row["description"]) for row in held] == [
        ("10.9.0.2", "reserved", f"in use by {mac} on eth0")
    ]
    assert held[0]["expires"] is not None
    # The second conflict, of the other family; the first is known and not asked about again.
    result = host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2") == ["10.9.0.4/24", "2001:db8:9::4/64"]
    assert [f"2001:db8:9::3 of network 'net' is in use by {mac}" in text for text in result["warnings"]] == [True]


def test_without_the_check_the_address_is_used(host: Host) -> None:
    """The control; and the option is kept with the network."""
    make(host, check=False)
    host.endpoint("web1", "net")
    assert "10.9.0.2/24" in host.addresses("eth0", "web1")
    make(host)
    assert host.network("net")["networks"][0]["conflict_check"] is True


def test_an_address_that_was_asked_for_is_refused_and_nothing_is_left(host: Host) -> None:
    make(host, "ipvlan")
    for option, address in (("ipv4_address", "10.9.0.2"), ("ipv6_address", "2001:db8:9::3")):
        endpoints = [{"name": "web1", "netns": "web1", option: address}, {"name": "web2", "netns": "web2"}]
        before = looks.everything(host)
        message = host.refused("vlan_endpoint", network="net", endpoints=endpoints)
        assert message.startswith("endpoints[0] (web1): ")
        assert f"{option} {address} cannot be used in network 'net': {peer_mac()} on eth0 has it" in message
        assert looks.everything(host) == before
    assert host.namespaces() == {"peer"}


def test_two_hundred_are_asked_about_at_the_same_time(host: Host) -> None:
    """In one talk, whose frames are exactly those that docs/wire.md promises."""
    make(host)
    batch("addr flush dev far", netns="peer")
    [mac] = {link["address"] for link in ip("link", "show", "eth0")}
    talks = []
    with pytest.MonkeyPatch.context() as patch, looks.captured("peer", "far") as heard:
        lead = wire.talk
        patch.setattr(wire, "talk", lambda asked: (talks.append(asked), lead(asked)))
        endpoints = [{"name": f"e{n}", "netns": "all", "ipv4_address": f"10.9.0.{n}"} for n in range(20, 220)]
        host.run("vlan_endpoint", check=True, network="net", endpoints=endpoints)
        frames = [frame for _tag, frame in heard()]
    assert [list(asked) for asked in talks if asked] == [["eth0"]]
    probes = [frame for frame in frames if frame[12:14] == b"\x08\x06" and frame[6:12].hex(":") == mac]
    wanted = {wire.arp_probe(mac, ip_address(f"10.9.0.{n}")) for n in range(20, 220)}
    assert set(probes) == wanted
    assert len(probes) == len(wanted) * len(conflicts.ASKED_AT)
    # Of its own the kernel may ask for eth0's link-local address in the same way.
    net = ip_address("2001:db8:9::").packed[:8]
    asked = [frame for frame in frames if frame[12:14] == b"\x86\xdd" and frame[62:70] == net]
    targets = {ip_address(frame[62:78]) for frame in asked}
    assert len(targets) == 200
    assert Counter(asked) == {
        wire.neighbour_solicitation(mac, None, target): len(conflicts.ASKED_AT) for target in targets
    }


def test_where_nobody_can_be_asked_a_warning_says_so(host: Host) -> None:
    make(host)
    batch("link set far down", netns="peer")
    result = host.endpoint("web1", "net")
    words = "eth0 has no carrier: no cable, or its switch port is shut, so nobody could be asked"
    assert [text.startswith(words) for text in result["warnings"]] == [True]


def test_somebody_who_asks_for_the_same_address_has_it(host: Host) -> None:
    """Two hosts that want one address at the same time: neither of them takes it."""
    make(host)
    with looks.inside("/run/netns/peer"):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        link.bind(("far", 0))
    with link, pytest.MonkeyPatch.context() as patch:
        due = conflicts.Conversation.due

        def both(self: conflicts.Conversation, now: float) -> list[bytes]:
            frames = due(self, now)
            [shown] = ip("-d", "link", "show", "eth0")  # while we listen
            assert (shown["promiscuity"], shown["allmulti"]) == (0, 0)
            for _frame in frames[:1]:
                link.send(wire.arp_probe("02:00:00:00:00:77", ip_address("10.9.0.50")))
            return frames

        patch.setattr(conflicts.Conversation, "due", both)
        message = host.refused("vlan_endpoint", name="web1", network="net", netns="web1", ipv4_address="10.9.0.50")
    assert "02:00:00:00:00:77 on eth0 has it" in message


def test_one_endpoint_may_say_otherwise(host: Host) -> None:
    make(host, check=False)
    endpoints = [
        {"name": "web1", "netns": "web1", "ipv4_address": "10.9.0.2", "conflict_check": True},
        {"name": "web2", "netns": "web2", "ipv4_address": "10.9.0.9"},
    ]
    message = host.refused("vlan_endpoint", network="net", endpoints=endpoints)
    assert message.startswith(
        f"endpoints[0] (web1): ipv4_address 10.9.0.2 cannot be used in network 'net': {peer_mac()}"
    )
    make(host)
    host.endpoint("web1", "net", conflict_check=False)
    assert "10.9.0.2/24" in host.addresses("eth0", "web1")


def test_what_is_put_back_is_asked_about_and_a_conflict_keeps_the_others_from_nothing(host: Host) -> None:
    make(host)
    for name, address in (("web1", "10.9.0.20"), ("web2", "10.9.0.21")):
        host.endpoint(name, "net", ipv4_address=address)
        batch("link del eth0", netns=name)
    batch("addr add 10.9.0.20/24 dev far", netns="peer")
    said: list[str] = []
    restore.put_back(str(host.state_dir), said.append)
    assert ip("link", "show", netns="web1")[-1]["ifname"] == "lo"
    assert "10.9.0.21/24" in host.addresses("eth0", "web2")
    assert said == [
        f"endpoint 'web1' of network 'net' is not put back: {peer_mac()} on eth0 has 10.9.0.20, which stays held for it; free it "
        "there, then run the task or `netops-underlay restore`",
        "repair endpoint net/web2",
    ]
    batch("addr del 10.9.0.20/24 dev far", netns="peer")
    restore.put_back(str(host.state_dir), said.append)
    assert said[2:] == ["repair endpoint net/web1"]
    assert "10.9.0.20/24" in host.addresses("eth0", "web1")


def test_what_is_put_back_without_a_carrier_is_not_asked_about(host: Host) -> None:
    make(host)
    host.endpoint("web1", "net")
    batch("link del eth0", netns="web1")
    batch("link set far down", netns="peer")
    said: list[str] = []
    restore.put_back(str(host.state_dir), said.append)
    assert [words.partition(":")[0] for words in said] == ["eth0 has no carrier", "repair endpoint net/web1"]
    assert host.addresses("eth0", "web1")


# --- ipv6_dad -------------------------------------------------------------------------------------------------


def of_six(netns: str) -> dict[str, Any]:
    """The IPv6 address of an endpoint, as the kernel has it."""
    [link] = ip("-6", "addr", "show", "eth0", netns=netns)
    return next(address for address in link["addr_info"] if address["scope"] == "global")


def solicitations(frames: Iterable[bytes], address: str) -> list[bytes]:
    """Those of duplicate address detection for an address: from the unspecified one."""
    wanted = ip_address(address).packed
    return [
        frame
        for frame in frames
        if frame[12:14] == b"\x86\xdd"
        and frame[54] == wire.SOLICITATION
        and frame[22:38] == bytes(16)
        and frame[62:78] == wanted
    ]


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_an_address_is_used_at_once_and_nobody_is_asked_unless_that_is_wanted(host: Host, driver: str) -> None:
    make(host, driver, check=False)
    with looks.captured("peer", "far") as heard:
        host.endpoint("web1", "net")
        assert not of_six("web1").keys() & {"tentative", "optimistic", "dadfailed"}
        assert host.network("net")["networks"][0]["ipv6_dad"] == "nodad"
        assert solicitations([frame for _tag, frame in heard()], "2001:db8:9::2") == []


def test_where_the_task_waits_a_duplicate_is_a_conflict(host: Host) -> None:
    make(host, check=False)
    host.network("net", ipv6_dad="wait")
    before = looks.everything(host)
    asked = {"name": "web1", "network": "net", "netns": "web1", "ipv4_address": "10.9.0.2"}
    message = host.refused("vlan_endpoint", **asked, ipv6_address="2001:db8:9::3")
    assert f"ipv6_address 2001:db8:9::3 cannot be used in network 'net': {peer_mac()} on eth0 has it" in message
    assert looks.everything(host) == before
    # The next free one is taken instead; nobody is asked about IPv4.
    host.run("vlan_ipam", network="net", owner="vm", address="2001:db8:9::2", family="ipv6")
    result = looks.done(host, "vlan_endpoint", **asked)
    assert host.addresses("eth0", "web1") == ["10.9.0.2/24", "2001:db8:9::4/64"]
    assert not of_six("web1").keys() & {"tentative", "optimistic", "dadfailed"}
    assert [f"2001:db8:9::3 of network 'net' is in use by {peer_mac()}" in text for text in result["warnings"]] == [
        True
    ]
