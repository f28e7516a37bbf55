# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role's service under a real systemd: installed, started, at work, started again, removed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import looks, systemd
from .conftest import Host
from .engines import IMAGE, Engine
from .systemd import Run, until

UNIT = "netops-underlay.service"


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[Run]:
    with systemd.booted(tmp_path) as run:
        yield run


def play(run: Run, host: Host, state: str, *options: str) -> str:
    """The role, with a container on VLAN 20; what ansible-playbook says at its end."""
    role = {
        "role": "netops.underlay.vlan_map",
        "vlan_map_trunk": "eth0",
        "vlan_map_vlans": [{"vlan": 20, "subnet": "172.16.50.0/22", "gateway": "172.16.50.1"}],
        "vlan_map_endpoints": [{"name": "app", "vlan": 20, "container": "app"}],
        "vlan_map_manage_requirements": False,
        "vlan_map_state": state,
        "vlan_map_state_dir": str(host.state_dir),
    }
    book = host.state_dir.parent / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [role]}]))
    done = run(
        *("ansible-playbook", "--connection", "local", "--inventory", "localhost,", str(book)),
        *("--extra-vars", f"ansible_python_interpreter={sys.executable}"),
        *options,
        ANSIBLE_NOCOLOR="true",
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
    until(lambda: "172.16.48.1/22" in addresses())
    # Ended by whatever: systemd starts it again, and its first pass finds what it missed.
    booted("systemctl", "kill", "--signal=KILL", UNIT)
    booted("podman", "restart", "app")
    until(lambda: "172.16.48.1/22" in addresses())

    # Foreseen is all that goes, also what goes with the last network: the endpoint, the network, the unit that stops, its files.
    assert "changed=4 " in play(booted, host, "absent", "--check")
    assert booted("systemctl", "is-active", UNIT).stdout == "active\n"
    assert "failed=0" in play(booted, host, "absent")
    assert booted("systemctl", "is-active", UNIT, check=False).stdout == "inactive\n"
    assert not os.path.exists(f"/etc/systemd/system/{UNIT}")
    assert not os.path.exists("/usr/local/lib/netops-underlay")
    booted("podman", "rm", "--force", "app")
