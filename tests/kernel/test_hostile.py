# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hostile input for real, where tests/unit/test_hostile.py stays in check mode: option sets that nobody should write, names
that mean something elsewhere, and a symbolic link in the place of every path that we write.

``HOSTILE_REAL`` says how many option sets. All of it runs in processes that end, on a file system that is thrown away.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import batch, build_trunk, command, libc, run_module, sweep

# The package of these tests begins below the folder that has it.
sys.path.append(str(Path(__file__).resolve().parents[1]))
import hostile

COUNT = int(os.environ.get("HOSTILE_REAL", "2000"))
WATCHED = (
    "/etc",
    "/home",
    "/opt",
    "/root",
    "/srv",
    "/tmp",
    "/usr/local",
    "/var/cache",
    "/var/lib",
    "/var/spool",
    "/var/tmp",
)
NETNS = ("web1", "db1", "foreign")
_CLONE_NEWNS = 0x00020000
PRECIOUS = "10.9.8.7 precious\n"


@pytest.fixture(scope="module")
def world() -> Iterator[None]:
    """A host with all that the option sets speak of: trunks, a bridge with a port, namespaces."""
    sweep()
    build_trunk()
    batch(
        "link add eth1 type veth peer name peer1\nlink set eth1 up\nlink add nic1 type veth peer name peer2\nlink set nic1 up\n"
        "link add br0 type bridge\nlink add port type dummy\nlink set port master br0\nlink set br0 up\n"
        + "".join(f"netns add {name}\n" for name in NETNS)
    )
    yield
    sweep()


def in_a_process(work: Callable[[], Any]) -> Any:
    """What the work returns, from a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with open(writer, "w", encoding="utf-8") as file:
                json.dump(work(), file)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        text = file.read()
    os.waitpid(child, 0)
    assert text, "the process ended without a word, see above"
    return json.loads(text)


def layered() -> None:
    """From now on whatever this process and its children write to a WATCHED folder goes to a layer of its own."""
    assert libc.unshare(_CLONE_NEWNS) == 0
    command("mount", "--make-rprivate", "/")
    command("mount", "-t", "tmpfs", "layers", "/mnt")
    for number, folder in enumerate(WATCHED):
        upper, work = Path(f"/mnt/{number}/upper"), Path(f"/mnt/{number}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        command("mount", "-t", "overlay", "-o", f"lowerdir={folder},upperdir={upper},workdir={work}", "overlay", folder)


def written() -> list[str]:
    """What was written, made or removed there since."""
    found = []
    for number, folder in enumerate(WATCHED):
        upper = Path(f"/mnt/{number}/upper")
        paths = [path for path in upper.rglob("*") if path.is_symlink() or not path.is_dir()]
        found += [f"{folder}/{path.relative_to(upper)}" for path in paths]
    return found


def hand_made() -> dict[str, Any]:
    """The links of the host that are not ours, as they have to stay."""
    kept = {"lo", "eth0", "eth1", "nic1", "br0", "port", "peer1", "peer2"}
    links = json.loads(command("ip", "-j", "link").stdout)
    return {
        link["ifname"]: (link["mtu"], link["address"], "UP" in link["flags"])
        for link in links
        if link["ifname"] in kept
    }


def answers(work: Callable[[], Iterator[tuple[str, str, dict[str, Any]]]], state_dir: str) -> dict[str, Any]:
    from ansible_collections.netops.underlay.plugins.module_utils import engines, run_addresses

    run_addresses._LOOK_AGAIN_S = 0.0
    # A client of an engine takes a second to say that there is no engine.
    engines.inspect = lambda names: {key: f"container '{key[1]}': docker has none of this name" for key in names}
    layered()
    counts: Counter[str] = Counter()
    wrong = []
    for words, module, params in work():
        try:
            word, _answer = hostile.tried(module, params, check=False, state_dir=state_dir)
        except BaseException as error:
            word = "wrong"
            wrong.append(f"{words}: {module} {params!r:.2000}\n{error!r:.2000}\n{traceback.format_exc()[-1500:]}")
        counts[word] += 1
    return {"counts": counts, "wrong": wrong[:10], "written": written()}


KNOWN = [
    {"name": "web", "parent": "eth0.20", "ipam_config": [{"subnet": "192.168.20.0/24"}]},
    {"name": "l3net", "parent": "eth1", "ipvlan_mode": "l3", "ipam_config": [{"subnet": "10.3.0.0/24"}]},
    {
        "name": "mac",
        "parent": "eth0.30",
        "driver": "macvlan",
        "ipam_config": [{"subnet": "10.1.100.0/24"}, {"subnet": "2001:db8:30::/64"}],
    },
]


def option_sets() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for number in range(COUNT):
        if number % 20 == 0:  # they speak of these, and now and then take them away
            yield f"before number {number}", "vlan_network", {"networks": KNOWN}
        module, params = hostile.option_set(number)
        if params.get("state_dir") in ("/", "/etc"):  # it may write there, then
            del params["state_dir"]
        yield f"number {number}", module, params


EVIL = ("../../etc/passwd", "a\nb", "-rf", "web\u202e1", "日本", "x" * 10000, "$(id)", "a b", "/etc/passwd", "..")
PLACES: dict[str, tuple[str, dict[str, Any]]] = {
    "network": ("vlan_network", {"name": "EVIL", "parent": "eth0.20"}),
    "parent": ("vlan_network", {"name": "n1", "parent": "EVIL"}),
    "label": ("vlan_network", {"name": "n1", "parent": "eth0.20", "labels": {"EVIL": "EVIL"}}),
    "auxiliary": ("vlan_network", {"name": "n1", "ipam_config": [{"subnet": "10.5.0.0/24", "aux_addresses": {"EVIL": "10.5.0.9"}}]}),
    "endpoint": ("vlan_endpoint", {"name": "EVIL", "network": "good", "netns": "web1"}),
    "netns": ("vlan_endpoint", {"name": "e1", "network": "good", "netns": "EVIL"}),
    "netns_path": ("vlan_endpoint", {"name": "e1", "network": "good", "netns_path": "/run/netns/EVIL"}),
    "container": ("vlan_endpoint", {"name": "e1", "network": "good", "container": "EVIL"}),
    "ifname": ("vlan_endpoint", {"name": "e1", "network": "good", "netns": "web1", "ifname": "EVIL"}),
    "alias": ("vlan_endpoint", {"name": "e1", "network": "good", "netns": "web1", "aliases": ["EVIL"]}),
    "sysctl": ("vlan_endpoint", {"name": "e1", "network": "good", "netns": "web1", "sysctls": {"net.ipv4.conf.IFNAME.EVIL": 1}}),
    "owner": ("vlan_ipam", {"network": "good", "owner": "EVIL"}),
    "description": ("vlan_ipam", {"network": "good", "owner": "vm", "description": "EVIL"}),
}  # fmt: skip


def evil_names() -> Iterator[tuple[str, str, dict[str, Any]]]:
    yield "good", "vlan_network", {"name": "good", "parent": "eth0.10", "ipam_config": [{"subnet": "10.6.0.0/24"}]}
    for place, (module, params) in PLACES.items():
        for evil in EVIL:
            made = json.loads(
                json.dumps(params).replace('"EVIL"', json.dumps(evil)).replace("EVIL", json.dumps(evil)[1:-1])
            )
            yield f"{evil[:20]!r} as {place}", module, made
    for module, many in (("vlan_endpoint", "endpoints"), ("vlan_network", "networks")):
        yield "away with it", module, {many: [], "purge": True, "purge_all": True}


@pytest.mark.parametrize("sets", [option_sets, evil_names], ids=["option sets", "names"])
def test_for_real_there_is_no_traceback_and_no_stray_write(
    world: None, tmp_path: Path, tell: Callable[[str, int], None], sets: Callable[[], Any]
) -> None:
    allowed = (str(tmp_path), "/etc/netns", "/usr/local/lib/netops-underlay", "/etc/systemd/system/netops-underlay")
    # The folders of a task's own state_dir, as hostile.FOLDERS has them.
    allowed += ("/tmp/a b/", "/tmp/a%b/", "/tmp/x", "/tmp/y/")
    links = hand_made()
    told = in_a_process(lambda: answers(sets, str(tmp_path / "state")))
    assert not told["wrong"], "\n\n".join(told["wrong"])
    assert [path for path in told["written"] if not path.startswith(allowed)] == []
    assert hand_made() == links
    counts = told["counts"]
    print(f"seed {hostile.SEED}: {counts}")
    assert counts.get("planned", 0) > sum(counts.values()) / 30, "they get far enough to mean something"
    assert any(path.endswith("/state/store.sqlite") for path in told["written"]), "what is written is seen"
    tell("hostile: inputs tried for real", sum(counts.values()))


# --- a symbolic link in the place of every path that we write -----------------------------------------------------

TASKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("vlan_network", {"name": "net", "parent": "eth0.20", "ipam_config": [{"subnet": "10.7.0.0/24"}]}),
    ("vlan_endpoint", {"name": "new", "network": "net", "netns": "new"}),
    ("vlan_endpoint", {"name": "web1", "network": "net", "netns": "web1", "aliases": ["www"]}),
    ("vlan_endpoint", {"name": "new", "network": "net", "state": "absent"}),
    ("vlan_endpoint", {"name": "web1", "network": "net", "state": "absent"}),
    ("vlan_network", {"name": "net", "state": "absent"}),
)
# Below STATE, the state directory, and elsewhere.
WRITTEN = (
    *("STATE", "STATE/lock", "STATE/store.sqlite", "STATE/store.sqlite-journal", "STATE/store.sqlite.new"),
    *("STATE/store.sqlite.new-journal", "/etc/netns"),
    *(f"/etc/netns/{name}{file}" for name in ("new", "web1") for file in ("", "/hosts", "/.hosts.netops-underlay")),
    *("/run/netns/new", "/run/netns/web1"),
)
_CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
}


def written_paths(state_dir: str) -> list[str]:
    """Every path that the tasks write to, as Python's audit events tell; of SQLite's the file."""
    found = set()

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        paths: tuple[Any, ...] = ()
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            paths = arguments[:1]
        elif event in _CHANGES:
            paths = arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]
        elif event == "sqlite3.connect":
            paths = arguments[:1]
        found.update(os.fsdecode(path) for path in paths if isinstance(path, (str, bytes, os.PathLike)))

    sys.addaudithook(hear)
    for module, params in TASKS:
        run_module(module, {"state_dir": state_dir, **params})
    # Settings of links are written below a /proc of our own, by paths that are relative to it.
    return sorted(path.replace(state_dir, "STATE") for path in found if not path.startswith(("sys/net/", "/dev/")))


def test_the_list_of_what_we_write_is_complete(world: None, tmp_path: Path) -> None:
    found = in_a_process(lambda: written_paths(str(tmp_path / "state")))
    assert set(found) <= {*WRITTEN, "/run/netns"}
    assert {"STATE/lock", "STATE/store.sqlite.new", "/etc/netns/new/hosts", "/run/netns/new"} <= set(found)


AIMS = ("file", "folder", "nothing")


def test_no_link_in_the_place_of_what_we_write_is_followed(
    world: None, tmp_path: Path, tell: Callable[[str, int], None]
) -> None:
    state_dir, victim = tmp_path / "state", tmp_path / "victim"
    (victim / "folder").mkdir(parents=True)
    (victim / "file").write_text(PRECIOUS)
    before = snapshot(victim)
    for place in WRITTEN:
        for aim in AIMS:
            path = Path(place.replace("STATE", str(state_dir)))
            plant(path, victim / aim)
            messages = [message_of(module, params, state_dir) for module, params in TASKS]
            assert snapshot(victim) == before, (place, aim)
            # What is only in the way of a file that we make beside its place is cleared away, as what a kill left is.
            assert any("symbolic link" in text for text in messages) or not path.is_symlink(), (place, aim, messages)
            tell("hostile: links planted", 1)
            path.unlink(missing_ok=True)
            clear(state_dir)


def message_of(module: str, params: dict[str, Any], state_dir: Path) -> str:
    word, ours = hostile.tried(module, params, check=False, state_dir=str(state_dir))
    assert word != "unfit"
    return ours.failed["msg"] if ours is not None and ours.failed is not None else ""


def plant(path: Path, aim: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path == Path("/run/netns/web1"):
        command("ip", "netns", "del", "web1")
    path.symlink_to(aim)


def clear(state_dir: Path) -> None:
    """Back to before the tasks, whatever was refused of them."""
    shutil.rmtree(state_dir, ignore_errors=True)
    shutil.rmtree("/etc/netns", ignore_errors=True)
    lines = "netns del new\nnetns del web1\nlink del eth0.20\nnetns add web1\n"
    subprocess.run(("ip", "-force", "-batch", "-"), input=lines, capture_output=True, text=True, check=False)
    assert os.path.ismount("/run/netns/web1")


def snapshot(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mode, path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in (folder, *folder.rglob("*"))
    }
