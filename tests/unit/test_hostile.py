# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""100,000 option sets that nobody should write, in check mode: no traceback, nothing written, each error about an item or an
option.

The whole road is gone, from the argument spec to the result, with a real store; in the kernel's place stands ``Kernel``.
``HOSTILE_SEED`` and ``HOSTILE_COUNT`` change what is tried; tests/kernel/test_hostile.py tries some for real.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common import arg_spec
from ansible_collections.netops.underlay.plugins.module_utils import (
    engines,
    hosts,
    install,
    netlink,
    observe,
    run,
    run_addresses,
    store,
    wire,
)
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    HOST,
    RESERVED,
    Allocation,
    Endpoint,
    MadeNamespace,
    Network,
    Parent,
    Target,
    endpoint_mark,
    parent_mark,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Space
from ansible_collections.netops.underlay.plugins.module_utils.steps import Put
from hypothesis import given, settings
from hypothesis import strategies as st

from .. import hostile
from . import builders as b

COUNT = int(os.environ.get("HOSTILE_COUNT", "100000"))
EXAMPLES = int(os.environ.get("HOSTILE_EXAMPLES", "400"))

WEB = b.network("web", "192.168.20.0/24")
L3NET = b.network("l3net", "10.3.0.0/24", parent="eth1", mode="l3")
MAC = b.network("mac", "10.1.100.0/24", "2001:db8:30::/64", parent="eth0.30", driver_name="macvlan")
ALONE = b.network("alone", "10.9.0.0/24", parent="nic1", driver_name="macvlan", mode="passthru")
ISO = b.network("iso", "172.18.0.0/16", parent=None)
NETWORKS = (WEB, L3NET, MAC, ALONE, ISO)


def endpoint(net: Network, name: str, target: Target, *addresses: str, cookie: int | None = None) -> list[Any]:
    mac = "02:42:0a:01:64:02" if net is MAC else None
    ifname = "underlay0" if target == HOST else "eth0"
    row = Endpoint(net.name, name, target, ifname, mac, (4,) if target != HOST else (), cookie, b.BOOT)
    return [row, *(Allocation(net.parent, net.name, "endpoint", name, ip_address(text)) for text in addresses)]


ROWS = [
    *NETWORKS,
    Parent("eth0.20", "eth0", 20),
    Parent(ISO.parent),
    MadeNamespace("web1", 11, b.BOOT),
    MadeNamespace("gone", 77, "boot-0"),
    *endpoint(WEB, "web1", b.netns("web1"), "192.168.20.2", cookie=11),
    *endpoint(WEB, "lost", b.netns("gone"), "192.168.20.3", cookie=77),
    *endpoint(WEB, "gate", HOST, "192.168.20.4"),
    *endpoint(MAC, "db1", b.netns("db1"), "10.1.100.2", "2001:db8:30::2", cookie=12),
    *endpoint(MAC, "old", Target("pid", "4242"), "10.1.100.3", "2001:db8:30::3", cookie=78),
    *endpoint(ISO, "box", Target("container", "box", "docker"), "172.18.0.2", cookie=13),
    Allocation(WEB.parent, "web", RESERVED, "vm-1", ip_address("192.168.20.9"), "build VM"),
    Allocation(WEB.parent, "web", RESERVED, "vm-2", ip_address("192.168.20.30"), last=ip_address("192.168.20.39")),
    Allocation(WEB.parent, "web", RESERVED, "gone", ip_address("192.168.20.8"), expires=1 << 33, cooling=True),
]

HOST_LINKS = (
    b.loopback(),
    b.link(2, "eth0"),
    b.link(3, "eth1"),
    b.link(4, "nic1"),
    b.link(5, "br0", "bridge"),
    b.link(6, "port", "dummy", master=5, port_kind="bridge"),
    b.vlan_link(7, "eth0.20", 2, 20, alias=parent_mark("eth0.20")),
    b.vlan_link(8, "eth0.30", 2, 30),
    b.link(9, ISO.parent, "dummy", alias=parent_mark(ISO.parent)),
    b.ipvlan_link(10, "underlay0", 7, alias=endpoint_mark("web", "gate")),
)


def place(inode: int, *links: Any, **more: Any) -> Space:
    return b.space(inode, b.loopback(), *links, **more)


WEB1 = b.ipvlan_link(2, "eth0", 7, parent_nsid=0, alias=endpoint_mark("web", "web1"))
DB1 = b.macvlan_link(2, "eth0", 8, parent_nsid=0, alias=endpoint_mark("mac", "db1"), mac="02:42:0a:01:64:02")
SPACES = {
    "/run/netns/web1": place(
        11,
        WEB1,
        addresses=[b.address(2, "192.168.20.2/24")],
        routes=[b.route(2, "default", "192.168.20.1"), b.route(2, "192.168.20.0/24")],
    ),
    "/run/netns/db1": place(12, DB1, addresses=[b.address(2, "10.1.100.2/24"), b.address(2, "10.1.100.77/24")]),
    "/proc/4343/ns/net": place(13),
    "/run/netns/foreign": place(14, b.ipvlan_link(2, "theirs", 3, parent_nsid=0), routes=[b.route(2, "default")]),
}
BOX = engines.Container("docker", "box", "0123456789ab", 4343, "running", None, "none")


class Kernel:
    """What observe.py asks of netlink.py, told from the tables above."""

    NETNS_DIR = netlink.NETNS_DIR
    NoNamespace, MissingNamespace = netlink.NoNamespace, netlink.MissingNamespace
    obstacle = staticmethod(netlink.obstacle)
    host = b.replace(b.host(*HOST_LINKS[1:], addresses=[b.address(2, "192.168.1.250/24")]).space, cookie=1)
    opened: dict[int, Space] = {}  # noqa: RUF012 - by descriptor

    def open_namespace(self, path: str) -> int:
        if path not in SPACES and path not in ("/proc/thread-self/ns/net", "/proc/1/ns/net"):
            return netlink.open_namespace(path)  # which says no
        descriptor = os.open("/dev/null", os.O_RDONLY)
        self.opened[descriptor] = SPACES.get(path, self.host)
        return descriptor

    open_if_there = open_namespace  # of those that are found all are there

    def current_namespace(self) -> int:
        return self.open_namespace("/proc/1/ns/net")

    def namespace_id(self, descriptor: int) -> tuple[int, int]:
        return self.opened[descriptor].identity

    def namespace_cookie(self, descriptor: int) -> int | None:
        return self.opened[descriptor].cookie

    def Channel(self, descriptor: int | None = None) -> Channel:
        return Channel(self.host if descriptor is None else self.opened[descriptor])

    def every_namespace(self) -> dict[tuple[int, int], netlink.Namespace]:
        named = {found.identity: netlink.Namespace(path, f"namespace {path}") for path, found in SPACES.items()}
        return {self.host.identity: netlink.Namespace("/proc/1/ns/net", "the host"), **named}

    def hidden_namespaces(self) -> dict[tuple[int, int], netlink.Namespace]:
        return {}

    def occupied_namespaces(self) -> frozenset[int]:
        return frozenset({12, 13})

    def process_start_time(self, _pid: int) -> int:
        return 1

    def read_sysctls(self, _descriptor: int, names: Any) -> dict[str, str]:
        return dict.fromkeys(names, "0")

    def boot_id(self) -> str:
        return b.BOOT


class Channel:
    """A netlink socket of one of those namespaces."""

    def __init__(self, space: Space) -> None:
        self._space, self.cookie = space, space.cookie

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def links(self) -> Any:
        return self._space.links

    def addresses(self) -> Any:
        return self._space.addresses

    def routes(self, every_table: bool = False) -> Any:
        return self._space.routes

    def nsid(self, _descriptor: int) -> int:
        return 0

    def knows(self, _kind: str) -> bool:
        return True


def inspect(names: Any) -> dict[Any, Any]:
    known = {"box": BOX, "stopped": b.replace(BOX, name="stopped", pid=0, state="exited")}
    return {key: known.get(key[1], f"container '{key[1]}': docker has none of this name") for key in names}


# --- the world ---------------------------------------------------------------------------------------


def kept_open(state_dir: str) -> Any:
    """``store.reading`` that opens the store of the tables once in each process: to open it costs more than all else."""
    opened: dict[int, tuple[Any, store.Store]] = {}

    @contextmanager
    def reading(folder: str) -> Iterator[store.Store]:
        if folder != state_dir:
            with _reading(folder) as other:
                yield other
            return
        if os.getpid() not in opened:
            context = _reading(folder)
            opened[os.getpid()] = context, context.__enter__()
            for name in ("networks", "parents", "endpoints", "namespaces"):
                _answer_once(opened[os.getpid()][1], name)
        yield opened[os.getpid()][1]

    return reading


def _answer_once(kept: store.Store, name: str) -> None:
    rows = getattr(kept, name)()
    setattr(kept, name, lambda: dict(rows))


_reading = store.reading


@contextmanager
def world(folder: Path) -> Iterator[str]:
    """The host of the tables, with its store; the state directory."""
    state_dir = str(folder / "state")
    with store.writing(state_dir, 0) as kept:
        kept.write([Put(row) for row in ROWS])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "netlink", Kernel())
        patch.setattr(engines, "inspect", inspect)
        patch.setattr(engines, "rootless", lambda _pid: None)
        patch.setattr(run_addresses, "_LOOK_AGAIN_S", 0)
        patch.setattr(run, "_check_ground", lambda: None)  # no root is needed here
        patch.setattr(wire, "talk", lambda talks, ear=None: None)
        patch.setattr(sys, "dont_write_bytecode", True)  # what Python keeps of its imports is no write of ours
        patch.setattr(store, "reading", kept_open(state_dir))
        patch.setattr(arg_spec, "deepcopy", hostile.copied)
        for file in (hosts, netlink):  # the store on disk is watched by its file: one in memory may be written to
            patch.setattr(file, "recorder", forbidden)
        yield state_dir


def forbidden(verb: str, request: object) -> None:
    raise AssertionError(f"check mode writes: {verb} {request}")


def answers(numbers: range, state_dir: str, allowed: str) -> dict[str, Any]:
    """What becomes of these option sets; told by a process of their own."""
    guard = hostile.Guard((allowed,))
    counts: Counter[str] = Counter()
    wrong = []
    for number in numbers:
        module, params = hostile.option_set(number)
        try:
            word, _answer = hostile.tried(module, params, check=True, state_dir=state_dir)
        except BaseException as error:
            word = "wrong"
            wrong.append(
                f"number {number}: {module} {params!r:.3000}\n{error!r:.3000}\n{traceback.format_exc()[-1500:]}"
            )
        counts[word] += 1
        counts[module] += 1
        if guard.stray:
            wrong.append(f"number {number}: {module} {params!r:.3000}\nwrites: {guard.stray[:3]}")
            guard.stray.clear()
    return {"counts": counts, "wrong": wrong[:10]}


def side_by_side(count: int, state_dir: str, allowed: str) -> tuple[Counter[str], list[str]]:
    """All option sets, shared among as many processes as there are processors."""
    shares = os.cpu_count() or 1
    readers = []
    for share in range(shares):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                told = answers(range(share, count, shares), state_dir, allowed)
                os.write(writer, json.dumps(told).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writer)
        readers.append((child, reader))
    counts: Counter[str] = Counter()
    wrong = []
    for child, reader in readers:
        with open(reader, "rb") as file:
            told = json.loads(file.read() or '{"counts": {}, "wrong": ["a process ended without a word"]}')
        os.waitpid(child, 0)
        counts.update(told["counts"])
        wrong += told["wrong"]
    return counts, wrong


def test_no_option_set_brings_a_traceback_or_writes_in_check_mode(tmp_path, capsys):
    with world(tmp_path) as state_dir:
        before = snapshot(tmp_path)
        counts, wrong = side_by_side(COUNT, state_dir, str(tmp_path))
        assert snapshot(tmp_path) == before
    words = ", ".join(f"{counts[word]} {word}" for word in hostile.WORDS)
    with capsys.disabled():
        print(
            f"\nhostile input: {COUNT} option sets tried in check mode (seed {hostile.SEED}): {words}; wrong: {len(wrong)}"
        )
    assert not wrong, "\n\n".join(wrong)
    assert sum(counts[word] for word in hostile.WORDS) == COUNT
    # They get far enough to mean something.
    assert min(counts["planned"], counts["refused"]) > COUNT / 20
    assert all(counts[module] > COUNT / 200 for module in hostile.MODULES)


# --- hypothesis: any value in the place of any other ------------------------------------------------------------

_LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text() | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Nd", "Zs"])) | st.sampled_from(hostile.TEXTS)
VALUES = st.recursive(
    _TEXTS | _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a value another can stand."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from places(inner, (*path, key))


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory):
    with world(tmp_path_factory.mktemp("world")) as state_dir:
        yield state_dir


@settings(max_examples=EXAMPLES, derandomize="HOSTILE_SEED" not in os.environ, database=None)
@given(number=st.integers(0, 1 << 30), data=st.data())
def test_any_value_in_the_place_of_any_other(shared_world, number, data):
    module, params = hostile.option_set(number)
    params = hostile.copied(params)
    for _turn in range(2):
        found = list(places(params))
        if found:
            *way, last = data.draw(st.sampled_from(found), label="place")
            inner = params
            for key in way:
                inner = inner[key]
            inner[last] = data.draw(VALUES, label="value")
    hostile.tried(module, params, check=True, state_dir=shared_world)


# --- links in the place of the service's files ------------------------------------------------------------------


@pytest.fixture
def service(tmp_path, monkeypatch):
    """The module vlan_service with its files below a folder; gives a function that runs it."""
    monkeypatch.setattr(install, "LIBRARY", str(tmp_path / "lib/netops-underlay"))
    monkeypatch.setattr(install, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(run, "_check_ground", lambda: None)
    (tmp_path / "lib").mkdir()
    (tmp_path / "units").mkdir()

    def served(state: str = "present", check: bool = False) -> str:
        word, ours = hostile.tried("vlan_service", {"state": state}, check, str(tmp_path / "state"))
        return ours.failed["msg"] if word == "refused" else word

    return served


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("installed", [False, True], ids=["nothing there", "installed"])
def test_no_link_in_the_place_of_the_services_files_is_followed(service, tmp_path, state, installed):
    service()
    files = [path for path in tmp_path.rglob("*") if path.is_file() or "netops-underlay" in str(path)]
    tried = 0
    for place in sorted(files):
        if state == "absent" and place not in (Path(install.LIBRARY), Path(install.UNITS, install.UNIT)):
            continue  # what lies in our own folder goes with it, links as links
        for aim in ("victim", "nothing"):
            for folder in ("lib", "units", "victim"):
                shutil.rmtree(tmp_path / folder, ignore_errors=True)
            for folder in ("lib", "units", "victim"):
                (tmp_path / folder).mkdir()
            (tmp_path / "victim/mine").write_text("mine")
            if installed:
                service()
                shutil.rmtree(place) if place.is_dir() else place.unlink()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(tmp_path / aim)
            before = snapshot(tmp_path)
            for check in (True, False):
                assert f"{place} is a symbolic link" in service(state, check)
            assert snapshot(tmp_path) == before
            tried += 1
    assert tried >= 4


@pytest.mark.parametrize(
    "folder", ["/a\nExecStartPre=/bin/x", "/a b", "/a%b", "/a$b", '/a"b', "/a\\b", "/a;b", "/a'b", "/ä"]
)
def test_a_state_dir_that_means_something_in_a_unit_is_refused(service, folder):
    word, ours = hostile.tried("vlan_service", {}, True, folder)
    assert word == "refused" and ours.failed["msg"].startswith("state_dir ")


def snapshot(folder: Path) -> dict[str, Any]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        status = path.lstat()
        if path.name != store.LOCK_NAME:
            found[str(path)] = (status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns)
    return found
