"""The IPAM on a real kernel: who keeps which address, what store and kernel tell of each other, and what is left when the
store is lost, damaged, full or read-only.

What the kernel has is asked of ``ip``, what is on disk of SQLite and the file system.
"""

from __future__ import annotations

import importlib
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import restore

from . import looks
from .conftest import Failed, Host, batch, command, ip

NETWORK, ENDPOINT, IPAM, INFO = "vlan_network", "vlan_endpoint", "vlan_ipam", "vlan_ipam_info"
NET = {"parent": "eth0.20", "ipam_config": [{"subnet": "192.168.20.0/24"}]}
BOTH = {"parent": "eth0.20", "ipam_config": [{"subnet": "192.168.20.0/24"}, {"subnet": "2001:db8:20::/64"}]}
NOON = 1_800_000_000  # 2027-01-15T08:00:00Z


def ours(name: str) -> Any:
    return importlib.import_module(f"{looks.COLLECTION}.module_utils.{name}")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second between two looks is of no use here: nothing changes by itself."""
    monkeypatch.setattr(ours("run_addresses"), "_LOOK_AGAIN_S", 0.01)


class Clock:
    """The time, as the store's runs see it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(ours("store"), "clock", found)
    return found


def held(host: Host, **params: Any) -> dict[str, str]:
    """Who holds which IPv4 address, as vlan_ipam_info tells."""
    rows = host.run(INFO, **params)["addresses"]
    return {row["owner"]: row["address"] for row in rows if row["kind"] in ("endpoint", "reserved")}


def on_disk(host: Host) -> dict[str, bytes]:
    """Every file of state_dir but the lock, which tells who last had it."""
    if not host.state_dir.exists():
        return {}
    return {path.name: path.read_bytes() for path in host.state_dir.iterdir() if path.name != "lock"}


def fails(host: Host, module: str, **params: Any) -> str:
    """The error of a module; it is one that a user can act on."""
    with pytest.raises(Failed) as failure:
        host.run(module, **params)
    text = str(failure.value)
    assert "Traceback" not in text and "bug of ours" not in text and "exception" not in failure.value.result, text
    return text


def edited(host: Host, query: str, *values: object) -> list[Any]:
    """SQL on the store, behind our back."""
    with sqlite3.connect(host.state_dir / "store.sqlite") as connection:
        found = connection.execute(query, values).fetchall()
    connection.close()
    return found


def nothing_twice(host: Host) -> None:
    """No address has two owners, and no owner two addresses of a family."""
    rows = edited(host, "SELECT segment, family, first, network, kind, owner FROM allocations WHERE NOT cooling")
    assert len({row[:3] for row in rows}) == len({(row[1], *row[3:]) for row in rows}) == len(rows)


# --- store and kernel held against each other -----------------------------------------------------------------


def findings(host: Host, **params: Any) -> list[tuple[Any, ...]]:
    found = host.run(INFO, audit=True, **params)["findings"]
    return [(row["finding"], row["owner"], row["address"], row["dead"]) for row in found]


def reconciled(host: Host, *owners: str, **params: Any) -> None:
    """state: reconciled releases what these endpoints hold, as check mode foretold, and a second run nothing."""
    before = looks.everything(host)
    foretold = host.run(IPAM, check=True, state="reconciled", **params)
    assert looks.everything(host) == before, "check mode changed something"
    result = host.run(IPAM, state="reconciled", **params)
    for part in ("changed", "actions", "addresses", "diff"):
        assert foretold[part] == result[part], part
    assert sorted({row["owner"] for row in result["addresses"]}) == sorted(owners)
    assert result["changed"] == bool(owners)
    assert looks.everything(host)["kernel"] == before["kernel"], "only the store changes"
    again = host.run(IPAM, state="reconciled", **params)
    assert (again["changed"], again["actions"], again["addresses"]) == (False, [], [])
    assert not set(owners) & set(held(host))


def test_audit_tells_what_differs_and_reconciled_frees_only_the_dead(host: Host) -> None:
    host.network("net", **BOTH)
    host.run(ENDPOINT, network="net", endpoints=[{"name": n, "netns": n} for n in ("web1", "web2", "web3")])
    host.run(IPAM, network="net", owner="vm-1")
    assert any(
        info["scope"] == "link"
        for entry in ip("addr", "show", "dev", "eth0", netns="web3")
        for info in entry["addr_info"]
    )
    batch("addr add 169.254.7.7/16 scope link dev eth0", netns="web3")
    assert findings(host) == [], "link-local addresses are nobody's business"
    reconciled(host)
    command("ip", "netns", "del", "web1")
    batch("link del eth0", netns="web2")
    batch("addr add 192.168.20.99/24 dev eth0\naddr add 2001:db8:20::99/64 dev eth0 nodad", netns="web3")
    batch(
        "link add ghost type dummy\nlink set ghost alias 'netops.underlay endpoint net/ghost'\n",
        netns="web3",
    )
    six = {owner: next(a for a in _six(host, owner)) for owner in ("web1", "web2")}
    assert sorted(findings(host), key=str) == sorted(
        [
            ("link_gone", "web1", "192.168.20.2", True),
            ("link_gone", "web1", six["web1"], True),
            ("link_gone", "web2", "192.168.20.3", False),
            ("link_gone", "web2", six["web2"], False),
            ("unknown_address", "web3", "192.168.20.99", False),
            ("unknown_address", "web3", "2001:db8:20::99", False),
            ("unknown_link", "ghost", None, False),
        ],
        key=str,
    )
    assert findings(host, network="other") == []
    reconciled(host, "web1")
    assert held(host, network="net").keys() == {"web2", "web3", "vm-1"}
    host.endpoint("next", "net")
    assert host.addresses("eth0", "next")[0] == "192.168.20.2/24", "what the dead one had can be had again"
    assert {row[:2] for row in findings(host)} == {
        ("link_gone", "web2"),
        ("unknown_address", "web3"),
        ("unknown_link", "ghost"),
    }
    host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2")[0] == "192.168.20.3/24"


def _six(host: Host, owner: str) -> list[str]:
    rows = host.run(INFO, owner=owner)["addresses"]
    return [row["address"] for row in rows if row["family"] == "ipv6"]


def test_reconciled_of_one_network_leaves_the_others(host: Host) -> None:
    host.network("net", **NET)
    host.network("alone", ipam_config=[{"subnet": "10.9.0.0/24"}])
    host.endpoint("web1", "net")
    host.endpoint("web2", "alone")
    batch("netns del web1\nnetns del web2\n")
    assert {row[1] for row in findings(host)} == {"web1", "web2"}
    reconciled(host, "web2", network="alone")
    assert held(host) == {"web1": "192.168.20.2"}
    reconciled(host, "web1")


def test_a_process_of_another_boot_or_one_that_ended(host: Host) -> None:
    host.network("net", **NET)
    with looks.unnamed_namespace() as pid:
        host.endpoint("proc", "net", pid=pid)
        host.endpoint("web1", "net")
        host.endpoint("web2", "net")
        edited(host, "UPDATE endpoints SET boot_id = 'an earlier one' WHERE name IN ('web1', 'web2')")
        assert findings(host) == [], "both are there, whatever the store says of the boot"
        reconciled(host)
        command("ip", "netns", "del", "web1")
        [row] = host.run(INFO, audit=True)["findings"]
        assert (row["owner"], row["dead"]) == ("web1", False)
        assert "has not come back to netns web1 since this host started" in row["reason"]
        reconciled(host)
        # Which is what the service then does.
        restore.put_back(str(host.state_dir), lambda _text: None)
        assert host.addresses("eth0", "web1") == ["192.168.20.3/24"]
    [row] = host.run(INFO, audit=True)["findings"]
    assert (row["owner"], row["dead"], row["reason"]) == ("proc", True, "its namespace is gone")
    edited(host, "UPDATE endpoints SET boot_id = 'an earlier one' WHERE name = 'proc'")
    [row] = host.run(INFO, audit=True)["findings"]
    assert (row["dead"], row["reason"]) == (True, "its process was of before this host last started")
    reconciled(host, "proc")
    assert held(host) == {"web1": "192.168.20.3", "web2": "192.168.20.4"}


@contextmanager
def _lived_in(folder: Path) -> Iterator[None]:
    own = os.readlink("/proc/self/ns/net")
    with _ended(subprocess.Popen(("ip", "netns", "exec", "web1", "sleep", "1000"))) as pid:
        looks.until(lambda: os.readlink(f"/proc/{pid}/ns/net") != own, "the process is in the namespace")
        yield


@contextmanager
def _open(folder: Path) -> Iterator[None]:
    with open("/run/netns/web1", "rb"):
        yield


@contextmanager
def _open_elsewhere(folder: Path) -> Iterator[None]:
    with _ended(subprocess.Popen(("sh", "-c", "exec 9</run/netns/web1 sleep 1000"))) as pid:
        looks.until(lambda: os.path.exists(f"/proc/{pid}/fd/9"), "the process has it open")
        yield


@contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    place = folder / "a place"
    place.touch()
    command("mount", "--bind", "/run/netns/web1", str(place))
    try:
        yield
    finally:
        command("umount", str(place))


@contextmanager
def _mounted_elsewhere(folder: Path) -> Iterator[None]:
    """In the mount namespace of a process, where we do not see it."""
    place, ready = folder / "place", folder / "ready"
    place.touch()
    script = f"mount --bind /run/netns/web1 {place} && touch {ready} && exec sleep 1000"
    with _ended(subprocess.Popen(("unshare", "-m", "sh", "-c", script))):
        looks.until(ready.exists, "it is mounted")
        assert str(place) not in Path("/proc/self/mountinfo").read_text()
        yield


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[int]:
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


HOLDERS = [_lived_in, _open, _open_elsewhere, _mounted, _mounted_elsewhere]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda function: function.__name__.strip("_"))
@pytest.mark.parametrize("link", ["link", "no-link"])
def test_a_namespace_that_lives_on_without_its_name(host: Host, tmp_path: Path, holder: Any, link: str) -> None:
    """Its link goes on holding the address; and even without a link it is not proven dead."""
    host.network("net", **NET)
    host.endpoint("web1", "net")
    with holder(tmp_path):
        if link == "no-link":
            batch("link del eth0", netns="web1")
        command("ip", "netns", "del", "web1")
        assert "web1" not in host.namespaces()
        expected = [] if link == "link" else [("link_gone", "web1", "192.168.20.2", False)]
        assert findings(host) == expected
        reconciled(host)
        assert held(host) == {"web1": "192.168.20.2"}
    looks.until(lambda: findings(host) == [("link_gone", "web1", "192.168.20.2", True)], "the namespace is gone")
    reconciled(host, "web1")


def test_a_namespace_that_is_seen_again_at_the_last_look(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.network("net", **NET)
    for name in ("web1", "web2"):
        host.endpoint(name, "net")
    batch("netns del web1\nnetns del web2\n")
    [(cookie,)] = edited(host, "SELECT cookie FROM endpoints WHERE name = 'web1'")
    monkeypatch.setattr(ours("apply"), "living", lambda: frozenset({cookie}))
    error = fails(host, IPAM, state="reconciled")
    assert "endpoint 'web1' of network 'net'" in error and "it is there after all" in error
    assert "web2" not in error
    assert held(host) == {"web1": "192.168.20.2"}, "the other one was released"
    monkeypatch.undo()
    reconciled(host, "web1")


def test_a_namespace_that_is_seen_at_the_second_look(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.network("net", **NET)
    host.endpoint("web1", "net")
    command("ip", "netns", "del", "web1")
    [(cookie,)] = edited(host, "SELECT cookie FROM endpoints")
    observe = ours("observe")
    look, seen = observe.for_audit, []

    def second_differs(store: Any) -> Any:
        found = look(store)
        seen.append(found)
        return found if len(seen) == 1 else replace(found, alive=found.alive | {cookie})

    monkeypatch.setattr(observe, "for_audit", second_differs)
    result = host.run(IPAM, state="reconciled")
    assert len(seen) == 2 and not result["changed"]
    monkeypatch.undo()
    assert held(host) == {"web1": "192.168.20.2"}


def test_reconciled_with_cooldown_rests(host: Host, clock: Clock) -> None:
    host.network("net", cooldown=60, **NET)
    host.endpoint("web1", "net")
    command("ip", "netns", "del", "web1")
    host.run(IPAM, state="reconciled")
    host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2") == ["192.168.20.3/24"]
    clock.now += 60
    host.endpoint("web3", "net")
    assert host.addresses("eth0", "web3") == ["192.168.20.2/24"]


# --- a store that is lost -------------------------------------------------------------------------------------


ALONE = {"ipam_config": [{"subnet": "10.9.0.0/24"}]}
TEN = {
    "parent": "eth0.10",
    "driver": "macvlan",
    "ipam_config": [{"subnet": "172.16.80.0/24", "gateway": "172.16.80.1"}],
}
NETWORKS = [{"name": "net", **BOTH}, {"name": "ten", **TEN}, {"name": "alone", **ALONE}]
ENDPOINTS = [
    {"name": "web1", "network": "net", "netns": "web1"},
    {"name": "web2", "network": "net", "netns": "web2"},
    {"name": "db1", "network": "ten", "netns": "db1", "ifname": "lan0"},
    {"name": "a1", "network": "alone", "netns": "a1"},
]
PARENTS = ("eth0.20", "eth0.10")


def populated(host: Host) -> dict[str, Any]:
    """Networks of every sort with endpoints, some of which came in the other order; what they look like."""
    host.run(NETWORK, networks=NETWORKS)
    host.run(ENDPOINT, endpoints=ENDPOINTS[::-1])
    host.run(IPAM, network="net", owner="vm-1", address="192.168.20.77")
    return in_kernel(host)


def in_kernel(host: Host) -> dict[str, Any]:
    """The endpoints' links with index, MAC and addresses, and the links of the host by index."""
    found: dict[str, Any] = {"host": {link["ifname"]: link["ifindex"] for link in ip("link")}}
    for entry in ENDPOINTS:
        if entry["netns"] in host.namespaces():
            found[entry["name"]] = [
                (link["ifname"], link["ifindex"], link["address"], host.addresses(link["ifname"], entry["netns"]))
                for link in ip("link", netns=entry["netns"])
                if link["ifname"] != "lo"
            ]
    return found


def lost(host: Host) -> None:
    for name in ("store.sqlite", "store.sqlite-journal", "store.sqlite-wal", "store.sqlite-shm"):
        (host.state_dir / name).unlink(missing_ok=True)


def all_as_it_was(host: Host, before: dict[str, Any]) -> None:
    """The same tasks change nothing in the kernel, and nobody gets what another has."""
    result = host.run(ENDPOINT, endpoints=ENDPOINTS)
    assert in_kernel(host) == before
    shown = {item["name"]: item["ipv4"]["address"] for item in result["endpoints"]}
    assert {name: f"{address}/24" for name, address in shown.items()} == {
        name: links[0][3][0] for name, links in before.items() if name != "host"
    }
    new = [
        {"name": f"new-{network}", "network": network, "netns": f"new-{network}"} for network in ("net", "ten", "alone")
    ]
    host.run(ENDPOINT, endpoints=new)
    taken = [text for links in before.values() if isinstance(links, list) for text in links[0][3]]
    for network in ("net", "ten", "alone"):
        assert not set(host.addresses("eth0", f"new-{network}")) & set(taken)
    nothing_twice(host)
    assert host.pings("new-net", "192.168.20.2"), "web1 or web2, which kept its link"


def everything_removed(host: Host) -> None:
    host.run(ENDPOINT, endpoints=[], purge=True, purge_all=True)
    host.run(IPAM, network="net", owner="vm-1", state="absent")
    host.run(NETWORK, networks=[], purge=True, purge_all=True)
    assert set(host.links()) == {"lo", "eth0"}, "our sub-interfaces and the dummy went"
    for name in host.namespaces() - {"switch", "router"}:
        assert set(host.links(name)) == {"lo"}, name


@pytest.mark.parametrize("way", ["together", "one-by-one"])
def test_a_lost_store_is_made_anew_from_the_kernel(host: Host, way: str) -> None:
    before = populated(host)
    lost(host)
    nothing = on_disk(host)
    foretold = host.run(NETWORK, check=True, networks=NETWORKS)
    assert any("had no store" in text and "4 endpoints" in text for text in foretold["warnings"]), foretold["warnings"]
    assert on_disk(host) == nothing, "check mode wrote"
    assert {row["name"] for row in host.run("vlan_endpoint_info")["endpoints"]} == {"web1", "web2", "db1", "a1"}
    assert on_disk(host) == nothing, "reading wrote"
    if way == "together":
        results = [host.run(NETWORK, networks=NETWORKS)]
    else:
        results = [host.run(NETWORK, **entry) for entry in NETWORKS]
    warnings = [text for result in results for text in result["warnings"]]
    assert sum("had no store" in text and "4 endpoints" in text for text in warnings) == 1, warnings
    assert [item["parent_created"] for result in results for item in result["networks"]] == [True, True, True]
    assert in_kernel(host) == before, "nothing was made anew"
    all_as_it_was(host, before)
    everything_removed(host)


def test_a_lost_store_and_a_first_task_that_is_refused(host: Host) -> None:
    """An endpoint's network is not known any more: the task fails, and what was taken back stays."""
    before = populated(host)
    lost(host)
    error = fails(host, ENDPOINT, **ENDPOINTS[0])
    assert "network 'net' does not exist" in error
    assert in_kernel(host) == before
    assert not findings(host)
    host.run(NETWORK, networks=NETWORKS)
    all_as_it_was(host, before)


# --- a store that is damaged ----------------------------------------------------------------------------------


def _garbage(data: bytes) -> bytes:
    start, end = len(data) // 4, len(data) * 3 // 4
    return data[:start] + random.Random(7).randbytes(end - start) + data[end:]


DAMAGE = {
    "garbage": _garbage,
    "half": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "empty": lambda data: b"",
    "no-head": lambda data: random.Random(7).randbytes(100) + data[100:],
}
TASKS: list[tuple[str, dict[str, Any]]] = [
    (NETWORK, {"networks": NETWORKS}),
    (ENDPOINT, {"endpoints": ENDPOINTS}),
    (IPAM, {"network": "net", "owner": "vm-2"}),
    (IPAM, {"state": "reconciled"}),
    ("vlan_network_info", {}),
    ("vlan_endpoint_info", {}),
    (INFO, {"history": True, "audit": True}),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store(host: Host, damage: str) -> None:
    before = populated(host)
    path = host.state_dir / "store.sqlite"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    damaged = on_disk(host)
    for module, params in TASKS:
        error = fails(host, module, **params)
        assert str(path) in error and "state: recovered" in error, (module, error)
    assert fails(host, module=NETWORK, check=True, name="net").startswith("cannot read"), "in check mode, too"
    assert on_disk(host) == damaged, "a refused task changed something"
    assert in_kernel(host) == before
    foretold = host.run(IPAM, check=True, state="recovered")
    assert foretold["changed"]
    assert on_disk(host) == damaged, "check mode changed something"
    result = host.run(IPAM, state="recovered")
    assert result["changed"]
    assert (foretold["actions"], foretold["addresses"]) == (result["actions"], result["addresses"])
    [aside] = host.state_dir.glob("store.sqlite.damaged-*Z")
    assert aside.read_bytes() == damaged["store.sqlite"], "the damaged one is kept as it was"
    assert any(str(aside) in text for text in result["warnings"])
    assert {"web1", "web2", "db1", "a1"} <= set(held(host))
    sound = on_disk(host)
    for check in (False, True):
        again = host.run(IPAM, check=check, state="recovered")
        assert (again["changed"], again["actions"], on_disk(host)) == (False, [], sound)
    host.run(NETWORK, networks=NETWORKS)
    all_as_it_was(host, before)


def test_a_sound_store_is_not_recovered(host: Host) -> None:
    assert not host.run(IPAM, check=True, state="recovered")["changed"]
    assert not host.run(IPAM, state="recovered")["changed"], "there is none"
    populated(host)
    before = on_disk(host)
    for check in (True, False):
        assert not host.run(IPAM, check=check, state="recovered")["changed"]
        assert on_disk(host) == before


# --- a disk that is full, or read-only ------------------------------------------------------------------------


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self) -> None:
        with self._filling.open("ab", buffering=0) as file:
            for size in (4096, 512, 1):
                with suppress(OSError):
                    while True:
                        file.write(bytes(size))
        assert os.statvfs(self.folder).f_bavail == 0

    def free(self) -> None:
        self._filling.unlink()

    def remount(self, how: str) -> None:
        command("mount", "-o", f"remount,{how}", str(self.folder))


@pytest.fixture
def disk(host: Host, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command("mount", "-t", "tmpfs", "-o", "size=200k,mode=0700", "tmpfs", str(folder))
    host.state_dir = folder
    yield Disk(folder)
    command("umount", str(folder))


def says_full(error: str, disk: Disk) -> None:
    for word in ("the disk is full", "free some space", str(disk.folder)):
        assert word in error, f"{word} not in: {error}"


def test_the_disk_is_full_from_the_start(host: Host, disk: Disk) -> None:
    disk.fill()
    before = looks.kernel()
    error = fails(host, NETWORK, name="net", **NET)
    assert str(disk.folder) in error and "free some space" in error and "disk" in error, error
    assert looks.kernel() == before
    assert host.run("vlan_network_info")["networks"] == []
    disk.free()
    assert host.network("net", **NET)["changed"]
    host.endpoint("web1", "net")
    assert host.addresses("eth0", "web1") == ["192.168.20.2/24"]
    assert not [name for name in os.listdir(disk.folder) if ".new" in name], "no leftovers"


def test_the_disk_fills_up(host: Host, disk: Disk) -> None:
    """Many addresses, which need room in the store; and an endpoint, whose link must not come without its row."""
    host.network("net", **NET)
    host.endpoint("web1", "net")
    for path in disk.folder.glob("store.sqlite-*"):
        path.unlink()
    disk.fill()
    many = {"network": "net", "addresses": [{"owner": f"vm-{n}", "description": "x" * 60} for n in range(100)]}
    before = looks.everything(host)
    says_full(fails(host, IPAM, **many), disk)
    says_full(fails(host, ENDPOINT, name="web2", network="net", netns="web2"), disk)
    assert looks.everything(host) == before
    assert held(host) == {"web1": "192.168.20.2"}, "reading goes on"
    assert not host.endpoint("web1", "net")["changed"], "what has nothing to write goes on, too"
    disk.free()
    host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2") == ["192.168.20.3/24"]
    addresses = [row["address"] for row in host.run(IPAM, **many)["addresses"]]
    assert addresses == [f"192.168.20.{n}" for n in range(4, 104)]
    nothing_twice(host)


def test_the_disk_is_full_when_the_kernel_is_done(host: Host, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The intent is on disk and the link is made: the next run finds it, and no second one is made."""
    host.network("net", **NET)
    writes = []

    def full(_verb: str, _steps: object) -> None:
        writes.append(1)
        if len(writes) == 2:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ours("store"), "recorder", full)
    says_full(fails(host, ENDPOINT, name="web1", network="net", netns="web1"), disk)
    monkeypatch.undo()
    link = host.link("eth0", "web1")
    assert host.addresses("eth0", "web1") == ["192.168.20.2/24"]
    host.endpoint("web2", "net")
    host.endpoint("web1", "net")
    assert host.link("eth0", "web1")["ifindex"] == link["ifindex"]
    assert (host.addresses("eth0", "web1"), host.addresses("eth0", "web2")) == (
        ["192.168.20.2/24"],
        ["192.168.20.3/24"],
    )
    assert not host.endpoint("web1", "net")["changed"]
    nothing_twice(host)


def test_recovered_on_a_full_disk(host: Host, disk: Disk) -> None:
    host.network("net", **NET)
    host.endpoint("web1", "net")
    path = disk.folder / "store.sqlite"
    path.write_bytes(DAMAGE["garbage"](path.read_bytes()))
    disk.fill()
    before = on_disk(host)
    error = fails(host, IPAM, state="recovered")
    assert "free some space" in error and str(disk.folder) in error, error
    assert on_disk(host).keys() - {"filling"} <= before.keys() | {"store.sqlite.new", "store.sqlite.new-journal"}
    assert on_disk(host)["store.sqlite"] == before["store.sqlite"], "the damaged one is where it was"
    disk.free()
    for left in disk.folder.glob("store.sqlite-*"):  # a damaged store and its copy do not fit beside it
        left.unlink()
    disk.remount("size=600k")
    assert host.run(IPAM, state="recovered")["changed"]
    assert held(host) == {"web1": "192.168.20.2"}


def test_a_disk_that_is_read_only(host: Host, disk: Disk) -> None:
    host.network("net", **NET)
    host.endpoint("web1", "net")
    disk.remount("ro")
    before = looks.kernel(), on_disk(host)
    for module, params in (
        (NETWORK, {"name": "alone"}),
        (ENDPOINT, {"name": "web2", "network": "net", "netns": "web2"}),
        (IPAM, {"network": "net", "owner": "vm-1"}),
        (IPAM, {"state": "reconciled"}),
        (IPAM, {"state": "recovered"}),
    ):
        error = fails(host, module, **params)
        for word in (str(disk.folder), "read-write", "state_dir"):
            assert word in error, (module, params, error)
    assert held(host) == {"web1": "192.168.20.2"}
    assert [row["name"] for row in host.run("vlan_endpoint_info")["endpoints"]] == ["web1"]
    assert [row["name"] for row in host.run("vlan_network_info")["networks"]] == ["net"]
    assert host.run(ENDPOINT, check=True, name="web2", network="net", netns="web2")["changed"]
    assert (looks.kernel(), on_disk(host)) == before
    disk.remount("rw")
    host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2") == ["192.168.20.3/24"]


# --- who keeps which address ----------------------------------------------------------------------------------


def lease(host: Host, name: str) -> list[str]:
    return [text.partition("/")[0] for text in host.addresses("eth0", name)]


def test_an_endpoint_keeps_its_address_while_it_is_away(host: Host) -> None:
    host.network("net", **BOTH)
    host.endpoint("web1", "net")
    host.endpoint("web2", "net")
    had = lease(host, "web1")
    assert len(had) == 2
    result = looks.done(host, ENDPOINT, name="web1", network="net", state="absent", keep=True)
    assert looks.words_of(result) == ["remove endpoint net/web1", "remove namespace web1"]
    assert held(host, owner="web1").keys() == {"web1"}
    assert findings(host) == [], "what is kept is no finding"
    reconciled(host)
    host.endpoint("web3", "net")
    assert not set(lease(host, "web3")) & set(had)
    for family, address in zip((4, 6), had):
        error = fails(host, ENDPOINT, name="web4", network="net", netns="web4", **{f"ipv{family}_address": address})
        assert address in error and "'web1'" in error
    host.endpoint("web1", "net", netns="elsewhere")
    assert lease(host, "elsewhere") == had
    assert not host.endpoint("web1", "net", netns="elsewhere")["changed"]
    looks.done(host, ENDPOINT, name="web1", network="net", state="absent")
    assert not held(host, owner="web1")
    host.endpoint("web4", "net")
    assert lease(host, "web4") == had


def test_a_network_stays_while_an_address_of_it_is_kept(host: Host) -> None:
    host.network("net", **NET)
    host.endpoint("web1", "net")
    host.endpoint("web1", "net", state="absent", keep=True)
    looks.refused(host, NETWORK, "still held", "web1", name="net", state="absent")
    looks.done(host, ENDPOINT, name="web1", network="net", state="absent")
    assert not held(host)
    host.endpoint("web1", "net", state="present")
    host.endpoint("web1", "net", state="absent", keep=True)
    host.network("net", state="absent", force=True)
    assert set(host.links()) == {"lo", "eth0"}
    assert edited(host, "SELECT * FROM allocations") == edited(host, "SELECT * FROM held") == []


def test_an_owner_keeps_its_address(host: Host) -> None:
    host.network("net", **NET)
    three = {"network": "net", "addresses": [{"owner": name} for name in ("a", "b", "c")]}
    host.run(IPAM, **three)
    first = held(host)
    host.run(IPAM, network="net", owner="a", state="absent")
    assert not host.run(IPAM, network="net", addresses=three["addresses"][1:])["changed"]
    host.endpoint("web1", "net")
    looks.done(host, IPAM, **three)
    assert held(host) == {**first, "web1": first["a"], "a": "192.168.20.5"}
    assert lease(host, "web1") == [first["a"]]


# --- ranges and ends ------------------------------------------------------------------------------------------


def test_nobody_gets_an_address_of_a_range(host: Host, clock: Clock) -> None:
    small = "192.168.20.96/27"  # .97 is the gateway
    host.network("net", parent="eth0.20", ipam_config=[{"subnet": small}])
    ranges = [
        {"owner": "storage", "address": "192.168.20.100-192.168.20.120", "expires": "1h", "description": "iSCSI"},
        {"owner": "phones", "address": "192.168.20.124/31"},
    ]
    result = looks.done(host, IPAM, network="net", addresses=ranges)
    assert [row["address"] for row in result["addresses"]] == [
        "192.168.20.100-192.168.20.120",
        "192.168.20.124-192.168.20.125",
    ]
    names = [f"web{number}" for number in range(6)]
    host.run(ENDPOINT, network="net", endpoints=[{"name": name, "netns": name} for name in names])
    got = [lease(host, name)[0] for name in names]
    assert got == [f"192.168.20.{n}" for n in (98, 99, 121, 122, 123, 126)]
    assert "no free IPv4 address" in fails(host, ENDPOINT, name="late", network="net", netns="late")
    for address, owner, words in (
        ("192.168.20.110", "storage", "192.168.20.100-192.168.20.120"),
        ("192.168.20.125", "phones", "192.168.20.124-192.168.20.125"),
    ):
        for module, more in (
            (ENDPOINT, {"name": "x", "netns": "x", "ipv4_address": address}),
            (IPAM, {"owner": "x", "address": address}),
        ):
            error = fails(host, module, network="net", **more)
            assert f"owner '{owner}'" in error and words in error, error
    [use] = host.run(INFO, network="net")["subnets"]
    assert (use["size"], use["held"], use["reserved"], use["free"]) == (29, 6, 23, 0)
    clock.now += 3599
    assert "storage" in fails(host, ENDPOINT, name="late", network="net", netns="late", ipv4_address="192.168.20.100")
    clock.now += 1
    assert "storage" not in held(host)
    host.endpoint("late", "net")
    assert lease(host, "late") == ["192.168.20.100"]
    assert not host.run(IPAM, network="net", addresses=ranges[1:])["changed"]
    [past] = host.run(INFO, owner="storage", history=True)["history"]
    assert (past["since"], past["until"]) == ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z")


# --- addresses that rest --------------------------------------------------------------------------------------


def uses(host: Host) -> dict[str, tuple[int, ...]]:
    """size, held, reserved, cooling, free of each subnet; they add up."""
    found = {}
    for row in host.run(INFO)["subnets"]:
        parts = [row[key] for key in ("held", "reserved", "cooling", "free")]
        assert sum(parts) == row["size"], row
        found[row["subnet"]] = (row["size"], *parts)
    return found


def test_a_released_address_rests(host: Host, clock: Clock) -> None:
    host.network("net", cooldown=600, **BOTH)
    host.endpoint("web1", "net")
    host.run(IPAM, network="net", addresses=[{"owner": "vm"}, {"owner": "vip", "address": "192.168.20.64/26"}])
    four, six = lease(host, "web1")
    whole = 2**64 - 2  # neither the subnet-router anycast address nor the gateway
    assert uses(host) == {
        "192.168.20.0/24": (253, 1, 65, 0, 187),
        "2001:db8:20::/64": (whole, 1, 0, 0, whole - 1),
    }
    looks.done(host, ENDPOINT, name="web1", network="net", state="absent")
    resting = [row for row in host.run(INFO)["addresses"] if row["state"] == "cooling"]
    assert [(row["address"], row["owner"], row["expires"]) for row in resting] == [
        (four, "web1", "2027-01-15T08:10:00Z"),
        (six, "web1", "2027-01-15T08:10:00Z"),
    ]
    assert uses(host) == {
        "192.168.20.0/24": (253, 0, 65, 1, 187),
        "2001:db8:20::/64": (whole, 0, 0, 1, whole - 1),
    }
    for family, address in ((4, four), (6, six)):
        asked = {f"ipv{family}_address": address}
        looks.refused(
            host, ENDPOINT, f"{address}", "cooling until 2027-01-15T08:10:00Z", "endpoint 'web1' of network 'net'",
            name="web2", network="net", netns="web2", **asked,
        )  # fmt: skip
    host.endpoint("web2", "net")
    assert not {four, six} & set(lease(host, "web2"))
    host.endpoint("web1", "net")
    assert lease(host, "web1") == [four, six], "its old owner gets it at once"
    assert not host.endpoint("web1", "net")["changed"]
    host.endpoint("web1", "net", state="absent")
    clock.now += 599
    assert "cooling until" in fails(host, ENDPOINT, name="web3", network="net", netns="web3", ipv4_address=four)
    clock.now += 1
    assert uses(host)["192.168.20.0/24"] == (253, 1, 65, 0, 187)
    host.endpoint("web3", "net")
    assert lease(host, "web3") == [four, six]
    nothing_twice(host)


def test_a_change_of_cooldown_counts_from_then_on(host: Host, clock: Clock) -> None:
    host.network("net", **NET)
    host.endpoint("web1", "net")
    host.endpoint("web2", "net")
    looks.done(host, NETWORK, name="net", cooldown=60)
    host.endpoint("web1", "net", state="absent")
    looks.done(host, NETWORK, name="net", cooldown=0)
    host.endpoint("web2", "net", state="absent")
    host.endpoint("web3", "net")
    assert lease(host, "web3") == ["192.168.20.3"], "the one rests, the other does not"
    host.network("net", state="absent", force=True)
    assert edited(host, "SELECT * FROM allocations") == [], "what rests goes with its network"


# --- default pools --------------------------------------------------------------------------------------------


POOLS = [{"base": "10.200.0.0/16", "size": 24}, {"base": "fd00:99::/48", "size": 64}]


def test_default_pools(host: Host) -> None:
    result = looks.done(host, NETWORK, default_address_pools=POOLS)
    assert looks.words_of(result) == ["change setting default_address_pools"]
    assert result["networks"] == []
    assert host.run("vlan_network_info")["settings"] == {"default_address_pools": POOLS, "history_days": 90}
    command("ip", "addr", "add", "10.200.1.77/25", "dev", "eth0")
    command("ip", "route", "add", "10.200.2.128/25", "dev", "eth0")
    command("ip", "route", "add", "10.200.3.7/32", "dev", "eth0", "table", "100")
    command("ip", "route", "add", "blackhole", "10.200.4.0/24", "table", "200")
    command("ip", "-6", "route", "add", "fd00:99:0:0:8000::/65", "dev", "eth0", "table", "100")
    host.network("other", parent="eth0.10", ipam_config=[{"subnet": "10.200.5.0/25"}, {"subnet": "fd00:99:0:1::/64"}])
    with looks.nameserver("10.200.0.53"):
        result = looks.done(host, NETWORK, name="iso", enable_ipv6=True)
    [made] = result["networks"]
    assert [entry["subnet"] for entry in made["ipam_config"]] == ["10.200.6.0/24", "fd00:99:0:2::/64"]
    host.endpoint("web1", "iso")
    assert lease(host, "web1") == ["10.200.6.2", "fd00:99:0:2::2"]
    assert not host.network("iso", enable_ipv6=True)["changed"]
    [second] = host.network("iso2")["networks"]
    assert [entry["subnet"] for entry in second["ipam_config"]] == ["10.200.0.0/24"], (
        "that of the name server is free now"
    )
    looks.done(host, NETWORK, default_address_pools=[])
    assert not host.network("iso", enable_ipv6=True)["changed"], "what it has stays"
    [third] = host.network("iso3")["networks"]
    assert third["ipam_config"][0]["subnet"].startswith("172.")


def test_a_pool_that_is_used_up(host: Host) -> None:
    host.network("one", default_address_pools=[{"base": "10.200.0.0/24", "size": 25}])
    command("ip", "route", "add", "10.200.0.128/26", "dev", "eth0", "table", "100")
    looks.refused(host, NETWORK, "no free IPv4 subnet left", "default_address_pools", name="two")


# --- who had it -----------------------------------------------------------------------------------------------


def test_history(host: Host, clock: Clock) -> None:
    host.network("net", **NET)
    host.endpoint("web1", "net")
    clock.now += 60
    host.endpoint("web1", "net", state="absent")
    clock.now += 60
    host.endpoint("web2", "net")
    host.endpoint("web3", "net")
    address = "192.168.20.2"
    assert lease(host, "web2") == [address]
    rows = host.run(INFO, history=True, address=address)["history"]
    assert [(row["owner"], row["address"], row["kind"], row["since"], row["until"]) for row in rows] == [
        ("web1", address, "endpoint", "2027-01-15T08:00:00Z", "2027-01-15T08:01:00Z"),
        ("web2", address, "endpoint", "2027-01-15T08:02:00Z", None),
    ]
    assert host.run(INFO, address=address)["history"] == [], "only if it is asked for"
    assert {row["owner"] for row in host.run(INFO, history=True)["history"]} == {"web1", "web2", "web3"}
    assert host.run(INFO, history=True, owner="web1")["history"] == rows[:1]
    looks.done(host, NETWORK, history_days=1)
    clock.now += 86_400 + 61
    host.endpoint("web3", "net", state="absent")
    assert host.run(INFO, history=True, owner="web1")["history"] == [], "a day is over"
    [row] = host.run(INFO, history=True, owner="web3")["history"]
    assert row["until"] == "2027-01-16T08:03:01Z"
