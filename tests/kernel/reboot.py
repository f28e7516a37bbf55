# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host before and after real reboots: each test runs in a guest of its own (``make test-reboot``), and what a disk keeps
lies in REBOOT_DISK from one to the next."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import systemd
from .conftest import Host, batch, build_trunk, command
from .systemd import Run, until
from .test_restore import ENDPOINTS, NETWORKS, picture, told

DISK = Path(os.environ.get("REBOOT_DISK", "/nowhere"))
# What of the root file system was written to, and is there after a boot; all else of the guest is in memory.
KEPT = ("/usr/local/lib/netops-underlay", "/etc/systemd/system/netops-underlay.service", "/etc/netns")
UNIT = "netops-underlay.service"
WORDS = Path("/run/words")
BOTH_TRUNKS = [*NETWORKS, {"name": "far", "parent": "eth1.40", "ipam_config": [{"subnet": "10.40.0.0/24"}]}]
PINGS = (
    ("web1", "172.16.50.1"),
    ("web1", "10.1.100.1"),
    ("web2", "2001:db8:20::2"),
    ("db", "10.1.0.1"),
    ("r1", "10.7.0.3"),
)


def test_first_boot(tell: Callable[[str, int], None]) -> None:
    """A host is set up; all that there is is noted."""
    host = Host(DISK / "state")
    build_trunk()
    add_eth1()
    host.run("vlan_network", networks=BOTH_TRUNKS)
    host.run("vlan_endpoint", endpoints=[*ENDPOINTS, {"name": "f1", "network": "far", "netns": "f1"}])
    with subprocess.Popen(("unshare", "--net", "sleep", "600")) as process:
        until(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino)
        host.endpoint("proc", "front", pid=process.pid)
        host.run("vlan_service")
        assert all(host.pings(*pair) for pair in PINGS)
        (DISK / "before.json").write_text(json.dumps(facts(host)))
        process.kill()
    tell("endpoints before the boots", len(told(host)))
    for path in KEPT:
        copied(path, f"{DISK}{path}")


def test_everything_is_back_after_a_reboot(tmp_path: Path, tell: Callable[[str, int], None]) -> None:
    before = json.loads((DISK / "before.json").read_text())
    with started(tmp_path, build_trunk, add_eth1) as (host, run):
        # The unit counts as started only when all is back: nothing is waited for here.
        after = facts(host)
        assert after["boot"] != before["boot"]
        assert same(after, before)
        assert all(host.pings(*pair) for pair in PINGS)
        assert "endpoint 'proc' of network 'front' waits for pid" in WORDS.read_text()
        assert len(host.run("vlan_ipam_info", network="front", owner="proc")["addresses"]) == 2
        assert not host.run("vlan_network", networks=BOTH_TRUNKS)["changed"]
        assert not host.run("vlan_endpoint", endpoints=ENDPOINTS)["changed"]
        tell("endpoints put back after a reboot", len(told(host)))

        # The card goes and returns, as with a driver that is loaded again; the other stays as it was.
        untouched = host.picture("f1")
        unplug()
        until(lambda: "waits for the link 'eth0'" in WORDS.read_text())
        assert "eth0.20" not in host.links() and len(host.links("web1")) == 1
        plug()
        until(lambda: same(facts(host), before))
        assert all(host.pings(*pair) for pair in PINGS)
        assert host.picture("f1") == untouched
        tell("endpoints back with their parent", len(told(host)) - 4)

        # A sub-interface alone, while a run has the store: the service says for whom it waits.
        with held(host):
            batch("link del eth0.20\n")
            until(lambda: "waiting for process" in WORDS.read_text())
            assert "eth0.20" not in host.links()
        until(lambda: same(facts(host), before))
        assert host.pings("web1", "172.16.50.1")
        assert run("systemctl", "is-active", UNIT).stdout == "active\n"


def test_a_boot_without_the_parent_does_not_fail_and_goes_on_when_it_comes(tmp_path: Path) -> None:
    before = json.loads((DISK / "before.json").read_text())
    with started(tmp_path, lambda: batch("netns add switch\nnetns del switch\n")) as (host, run):
        assert run("systemctl", "is-active", UNIT).stdout == "active\n"
        assert run("systemctl", "is-system-running", check=False).stdout == "running\n"
        for link in ("eth0", "eth1"):
            assert f"waits for the link '{link}'" in WORDS.read_text()
        # What needs no card is there.
        assert host.pings("a1", "172.18.0.3")
        assert {"a1", "a2", "vault"} <= host.namespaces() and "web1" not in host.namespaces()
        build_trunk()
        add_eth1()
        until(lambda: same(facts(host), before))
        assert all(host.pings(*pair) for pair in PINGS)
        assert run("systemctl", "is-active", UNIT).stdout == "active\n"


def test_a_boot_into_older_code_leaves_the_store_alone(tmp_path: Path) -> None:
    path = DISK / "state" / "store.sqlite"
    with sqlite3.connect(path) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {version + 1}")
    connection.close()
    before = path.read_bytes()
    with started(tmp_path, build_trunk) as (host, run):
        assert run("systemctl", "is-active", UNIT).stdout == "active\n"
        assert "run the role or vlan_service again" in WORDS.read_text()
        assert "eth0.20" not in host.links() and not {"web1", "a1"} & host.namespaces()
    assert path.read_bytes() == before


# --- what a boot is -------------------------------------------------------------------------------------------


@contextmanager
def started(tmp_path: Path, *hardware: Callable[[], None]) -> Iterator[tuple[Host, Run]]:
    """A boot: the disk as it was left, the cards, and systemd with the unit that is enabled."""
    for path in KEPT:
        copied(f"{DISK}{path}", path)
    command("sha256sum", "--check", "--quiet", "/usr/local/lib/netops-underlay/SHA256SUMS")
    wants = Path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(exist_ok=True)
    (wants / UNIT).symlink_to(f"../{UNIT}")
    more = Path(f"/etc/systemd/system/{UNIT}.d")
    more.mkdir()
    # Without a journal; and Ansible is nowhere to be found.
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("pyroute2", "netaddr"):
        found = subprocess.check_output((sys.executable, "-c", f"import {name}; print({name}.__path__[0])"), text=True)
        shutil.copytree(found.strip(), libraries / name)
    (more / "lab.conf").write_text(
        f"[Service]\nStandardError=append:{WORDS}\nExecStart=\n"
        f"ExecStart={sys.executable} -S /usr/local/lib/netops-underlay/netops-underlay --state-dir {DISK}/state watch\n"
        f"Environment=PYTHONPATH={libraries}\n"
    )
    for part in hardware:
        part()
    with systemd.booted(tmp_path) as run:
        yield Host(DISK / "state"), run


def copied(path: str, to: str) -> None:
    Path(to).parent.mkdir(parents=True, exist_ok=True)
    command("cp", "--archive", "--no-target-directory", path, to)


def facts(host: Host) -> dict[str, Any]:
    """All there is on the host, as it can be compared across boots: what iproute2 shows, and what the module tells."""
    names = {path.parent.name: path.read_text() for path in sorted(Path("/etc/netns").glob("*/hosts"))}
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    kernel = {place: seen for place, seen in picture(host).items() if place != "router"}
    found = {"boot": boot, "kernel": kernel, "told": told(host), "names": names}
    return json.loads(json.dumps(found))


def same(now: dict[str, Any], before: dict[str, Any]) -> bool:
    return {**now, "boot": ""} == {**before, "boot": ""}


def add_eth1() -> None:
    batch("link add eth1 address 02:00:00:00:00:fd type dummy\nlink set eth1 up\n")


def unplug() -> None:
    batch("link del eth0\n")


def plug() -> None:
    batch("link add eth0 address 02:00:00:00:00:fe type veth peer name port1 netns switch\n")
    batch("link set port1 master br0 up\n", netns="switch")
    batch("".join(f"vlan add dev port1 vid {vlan}\n" for vlan in (10, 20, 30)), netns="switch", tool="bridge")
    batch("link set eth0 up\naddr add 192.168.1.250/24 dev eth0\n")


@contextmanager
def held(host: Host) -> Iterator[None]:
    """Another run has the store."""
    from ansible_collections.netops.underlay.plugins.module_utils import store

    with store.writing(str(host.state_dir), 30):
        yield
