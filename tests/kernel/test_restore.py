# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything put back from the store by the command that the service runs, without Ansible. A reboot of the kernel itself
is in tests/reboot."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import observe, restore

from . import looks
from .conftest import Host, batch, ip, writes_counted

NETWORKS = [
    {
        "name": "front",
        "parent": "eth0.20",
        "ipam_config": [{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}, {"subnet": "2001:db8:20::/64"}],
    },
    {
        "name": "back",
        "driver": "macvlan",
        "parent": "eth0.30",
        "mtu": 1400,
        "ipam_config": [{"subnet": "10.1.0.0/16", "gateway": "10.1.100.1"}],
    },
    {
        "name": "routed",
        "parent": "eth0.10",
        "ipvlan_mode": "l3",
        "ipam_config": [{"subnet": "10.7.0.0/24"}],
        "routes": [{"subnet": "10.7.1.0/24", "via": "172.16.80.9"}],
    },
    {"name": "alone"},
]
ENDPOINTS = [
    {"name": "web1", "network": "front", "netns": "web1", "aliases": ["www"]},
    {"name": "web1b", "network": "back", "netns": "web1"},
    {"name": "web2", "network": "front", "netns": "web2", "ifname": "uplink9"},
    {"name": "db", "network": "back", "netns": "db", "mac_address": "02:00:00:00:00:77"},
    {"name": "gate", "network": "back", "host": True},
    {"name": "r1", "network": "routed", "netns": "r1"},
    {"name": "r2", "network": "routed", "netns": "r2"},
    {"name": "a1", "network": "alone", "netns": "a1"},
    {"name": "a2", "network": "alone", "netns": "a2"},
    {"name": "vault", "network": "none", "netns": "vault"},
]


@pytest.fixture
def process() -> Iterator[str]:
    """The number of a process in a namespace of its own."""
    with subprocess.Popen(("unshare", "--net", "sleep", "600")) as running:
        while os.stat(f"/proc/{running.pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
            pass
        yield str(running.pid)
        running.kill()


def add_cards() -> None:
    for number, name in enumerate(("eth1", "byhand")):
        batch(f"link add {name} address 02:00:00:00:01:0{number} type dummy\nlink set {name} up\n")


def restored(host: Host, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """What the command returns and says."""
    capsys.readouterr()
    code = restore.main(["--state-dir", str(host.state_dir), "restore"])
    return code, capsys.readouterr().err.splitlines()


def lose_everything(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a boot: no namespaces, no links but the trunk, and another boot id."""
    names = sorted(host.namespaces() - {"switch", "router"})
    links = sorted(set(host.links()) - {"lo", "eth0"})
    # A link of ours on the host goes with its parent.
    batch("".join(f"netns del {name}\n" for name in names))
    subprocess.run(
        ("ip", "-force", "-batch", "-"),
        input="".join(f"link del {re.sub('@.*', '', name)}\n" for name in links),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert set(host.links()) == {"lo", "eth0"}
    monkeypatch.setattr(observe.netlink, "boot_id", lambda: f"boot after {len(names)}")


def picture(host: Host) -> dict[str, Any]:
    """All there is, but for the numbers of links, and the MAC address of a dummy, which nobody outside sees: those are
    new."""
    found = host.picture()
    for place, (links, _addresses, routes) in found.items():
        links.sort(key=lambda link: link["ifname"])
        routes.sort(key=str)
        for link in links:
            del link["ifindex"], link["link_index"]
            if link["kind"] == "dummy" or place in ("a1", "a2"):
                del link["address"]
    return found


def links_of(process: str) -> list[str]:
    with looks.inside(f"/proc/{process}/ns/net"):
        return [link["ifname"] for link in ip("link")]


def told(host: Host) -> dict[str, dict[str, Any]]:
    """What the module says of the endpoints of ENDPOINTS, but for the MAC address of a dummy."""
    found = host.run("vlan_endpoint_info")["endpoints"]
    return {
        row["name"]: {**row, "mac_address": row["network"] != "alone" and row["mac_address"]}
        for row in found
        if row["name"] != "proc"
    }


def test_everything_comes_back(
    host: Host, process: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch("addr add 172.16.80.250/24 dev eth0\n")  # so that l3 has a way
    host.run("vlan_network", networks=NETWORKS)
    host.run("vlan_endpoint", endpoints=ENDPOINTS)
    before = picture(host)
    rows = told(host)
    names = Path("/etc/netns/web2/hosts").read_text()
    assert host.pings("web1", "172.16.50.1") and host.pings("web2", "2001:db8:20::2")
    host.endpoint("proc", "front", pid=int(process))

    lose_everything(host, monkeypatch)
    code, said = restored(host, capsys)
    assert picture(host) == before
    assert told(host) == rows
    assert Path("/etc/netns/web2/hosts").read_text() != names  # with proc, which has an address and waits
    for one, other in (("web1", "172.16.50.1"), ("web1", "10.1.100.1"), ("db", "10.1.0.1"), ("r1", "10.7.0.3")):
        assert host.pings(one, other), (one, other)
    assert code == 0
    assert "repair parent eth0.20" in said and "create namespace web1" in said and "repair endpoint front/web1" in said

    # The process with that number may be another one by now: its namespace is none of ours.
    assert links_of(process) == ["lo"]
    assert (
        f"endpoint 'proc' of network 'front' waits for pid {process}, which is not there; its address is held" in said
    )
    held = host.run("vlan_ipam_info", network="front", owner="proc")["addresses"]
    assert [row["kind"] for row in held] == ["endpoint", "endpoint"]
    host.network("front", mtu=1450)
    assert links_of(process) == ["lo"]

    with writes_counted() as writes:
        code, said = restored(host, capsys)
    assert (code, writes) == (0, [])
    assert len(said) == 1  # that proc waits


def test_what_cannot_come_back_yet_waits_and_keeps_nothing_from_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_cards()
    one = {"ipam_config": [{"subnet": "192.0.2.0/24"}]}
    more = [
        {"name": "later", "parent": "eth1.7", "ipam_config": [{"subnet": "198.51.100.0/24"}]},
        {"name": "hand", "parent": "byhand", "ipam_config": [{"subnet": "203.0.113.0/24"}]},
        {"name": "l3", "parent": "eth0.11", "ipvlan_mode": "l3", **one},
    ]
    host.run("vlan_network", networks=[*NETWORKS, *more])
    host.run(
        "vlan_endpoint",
        endpoints=[*ENDPOINTS, *({"name": "x", "network": net["name"], "netns": net["name"]} for net in more)],
    )
    before = picture(host)

    lose_everything(host, monkeypatch)
    batch("addr add 192.0.2.77/24 dev eth0\n")  # the host's own subnet: l3 is refused
    code, said = restored(host, capsys)
    assert code == 0
    assert "network 'later' waits for the link 'eth1', which is not there" in said
    assert "network 'hand' waits for the link 'byhand', which is not there" in said
    (refusal,) = [line for line in said if line.startswith("network 'l3'")]
    assert "overlaps 192.0.2.0/24, the host's own on 'eth0'" in refusal
    assert host.pings("web1", "172.16.50.1") and host.addresses("eth0", "db") == ["10.1.0.2/16"]
    assert not {"l3", "later", "hand", "x"} & host.namespaces()

    batch("addr del 192.0.2.77/24 dev eth0\n")
    add_cards()
    code, said = restored(host, capsys)
    assert picture(host) == before
    assert not [line for line in said if "waits" in line]


def test_what_ends_between_networks_and_endpoints_leaves_word_for_the_next_run(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(*_given: Any) -> None:
        raise KeyboardInterrupt

    host.run("vlan_network", networks=NETWORKS[:1])
    host.endpoint("web1", "front")
    before = picture(host)
    batch("link del eth0.20\n")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(restore._Pass, "endpoints", ends)
        restore.put_back(str(host.state_dir), print)
    assert "eth0.20" in host.links() and picture(host) != before
    host.run("vlan_network", networks=NETWORKS[:1])
    assert picture(host) == before
    with writes_counted() as writes:
        assert restored(host, capsys) == (0, [])
    assert writes == []


def test_a_store_of_a_newer_version_is_left_alone(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert restored(host, capsys) == (0, [])  # no store: nothing to put back, and none is made
    assert not host.state_dir.exists()
    host.network("front", parent="eth0.20")
    batch("link del eth0.20\n")
    path = host.state_dir / "store.sqlite"
    with sqlite3.connect(path) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    before = path.read_bytes()
    code, (said,) = restored(host, capsys)
    assert code == 1
    assert "was written by a newer version" in said and "run the role or vlan_service again" in said
    assert path.read_bytes() == before
    assert "eth0.20" not in host.links()
