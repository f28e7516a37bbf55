# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role's service under a real systemd: installed, started, at work, started again, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import looks
from .conftest import Host
from .engines import IMAGE, Engine, mount_cgroups

UNIT = "netops-underlay-containers.service"
LIMIT = 120
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[Run]:
    """A systemd with next to nothing to start, first in a process namespace of its own; runs a command on that system."""
    mount_cgroups()
    # Without the units of the machine, which would mount and clean folders that are in use here.
    units = tmp_path / "units"
    units.mkdir()
    for name in ("sysinit", "basic", "shutdown", "network", "multi-user"):
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nAllowIsolate=yes\n")
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    first = ("/lib/systemd/systemd", "--system", "--unit=multi-user.target", "--log-target=console", "--show-status=no")
    with (tmp_path / "systemd").open("w+") as log:
        unshare = subprocess.Popen(
            ("unshare", "--pid", "--fork", "--mount-proc", "env", "-i", "container=lab", "LANG=C.UTF-8", f"PATH={path}",
             f"SYSTEMD_UNIT_PATH=/etc/systemd/system:{units}", *first),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            pid = _until(lambda: _child(unshare.pid))

            def run(*words: str, check: bool = True, **options: str) -> subprocess.CompletedProcess[str]:
                done = subprocess.run(
                    ("nsenter", "-t", pid, "-p", "-m", *words),
                    capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, env={**os.environ, **options},
                )  # fmt: skip
                assert not check or done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}\n{log.read()}"
                return done

            _until(lambda: run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"))
            yield run
        finally:
            subprocess.run(("pkill", "-KILL", "-P", str(unshare.pid)), check=False)
            unshare.wait()


def _child(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def _until(found: Callable[[], object]) -> str:
    end = time.monotonic() + LIMIT
    while not (value := found()):
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.1)
    return str(value)


def play(run: Run, host: Host, state: str) -> str:
    """The role, with a container on VLAN 20; what ansible-playbook says at its end."""
    role = {
        "role": "netops.underlay.vlan_map",
        "vlan_map_trunk": "eth0",
        "vlan_map_vlans": [{"vlan": 20, "subnet": "172.16.50.0/22", "gateway": "172.16.50.1"}],
        "vlan_map_endpoints": [{"name": "app", "vlan": 20, "container": "app"}],
        "vlan_map_containers": True,
        "vlan_map_manage_requirements": False,
        "vlan_map_state": state,
        "vlan_map_state_dir": str(host.state_dir),
    }
    tasks = []
    if state == "absent":  # that part of the role alone: each task takes seconds in the guest
        name = {"name": role.pop("role"), "tasks_from": "containers"}
        tasks = [{"ansible.builtin.include_role": name, "vars": {**role, "__vlan_map_python": sys.executable}}]
    book = host.state_dir.parent / "play.yml"
    book.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks, "roles": [] if tasks else [role]}])
    )
    done = run(
        *("ansible-playbook", "--connection", "local", "--inventory", "localhost,", str(book)),
        *("--extra-vars", f"ansible_python_interpreter={sys.executable}"),
        ANSIBLE_NOCOLOR="true",
        ANSIBLE_PIPELINING="true",
    )
    return done.stdout.strip().splitlines()[-1]


def test_the_role_keeps_a_container_on_its_vlan(host: Host, podman: Engine, booted: Run) -> None:
    def addresses() -> str:
        return booted("podman", "exec", "app", "ip", "addr", "show", "dev", "eth0", check=False).stdout

    booted(
        "podman",
        "run",
        "--detach",
        "--name",
        "app",
        "--network",
        "none",
        "--stop-signal",
        "KILL",
        IMAGE,
        "sleep",
        "99999",
    )
    assert "failed=0" in play(booted, host, "present")
    assert "172.16.48.1/22" in addresses()
    assert booted("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    assert booted("systemctl", "is-active", UNIT).stdout == "active\n"

    booted("podman", "restart", "app")
    _until(lambda: "172.16.48.1/22" in addresses())
    # Ended by whatever: systemd starts it again, and its first pass finds what it missed.
    booted("systemctl", "kill", "--signal=KILL", UNIT)
    booted("podman", "restart", "app")
    _until(lambda: "172.16.48.1/22" in addresses())

    assert "failed=0" in play(booted, host, "absent")
    assert booted("systemctl", "is-active", UNIT, check=False).stdout == "inactive\n"
    assert not os.path.exists(f"/etc/systemd/system/{UNIT}")
    assert not os.path.exists("/usr/local/lib/netops-underlay")
    booted("podman", "rm", "--force", "app")
