# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real udevd, and a real systemd-networkd and a real NetworkManager that are told to manage whatever there is: with the role's
files they leave our links alone; without them networkd takes their addresses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from . import looks
from .conftest import Host, batch, command

REPOSITORY = Path(__file__).resolve().parents[2]
ROLE = REPOSITORY / "roles" / "vlan_map" / "files"
# udevd is the same program by another name; tests/setup fetches it where the machine has none.
UDEVADM = shutil.which("udevadm") or str(REPOSITORY / ".work" / "udev" / "bin" / "udevadm")
RULES = Path("/etc/udev/rules.d/90-netops-underlay.rules")
NETWORK = Path("/etc/systemd/network/00-netops-underlay.network")
GREEDY = """\
[Match]
Name=eth0.* underlay* nud-*

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
DHCP=no
Address=10.9.9.9/24
"""


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


@contextmanager
def daemon(name: str, executable: str) -> Iterator[None]:
    process = subprocess.Popen((name,), executable=executable, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def managers(networkd: bool = True) -> Iterator[None]:
    """udevd, that has looked at all links that there are, and networkd."""
    for folder in (RULES.parent, NETWORK.parent):
        folder.mkdir(parents=True, exist_ok=True)
    state = Path("/run/systemd/netif")
    for folder in (state, state / "links", state / "leases", state / "lldp"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, "systemd-network", "systemd-network")
    greedy = NETWORK.parent / "50-greedy.network"
    greedy.write_text(GREEDY)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, state)
        for path in (RULES, NETWORK, greedy):
            stack.callback(path.unlink, missing_ok=True)
        stack.enter_context(daemon("systemd-udevd", executable=UDEVADM))
        looks.until(lambda: Path("/run/udev/control").exists(), "udevd listens")
        command(UDEVADM, "trigger", "--subsystem-match=net", "--action=add")
        command(UDEVADM, "settle")
        if networkd:
            stack.enter_context(daemon("systemd-networkd", executable="/lib/systemd/systemd-networkd"))
        yield


def state(link: str, host: Host) -> str:
    """What networkd makes of a link: ``unmanaged``, ``configured`` and so on."""
    path = Path(f"/run/systemd/netif/links/{host.link(link)['ifindex']}")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition("=")[2] for line in lines if line.startswith("ADMIN_STATE=")), "")


def properties_of(link: str) -> list[str]:
    """What udev says of a link, and so what NetworkManager heeds."""
    return command(UDEVADM, "info", "--query=property", f"/sys/class/net/{link}").stdout.splitlines()


def made(host: Host) -> None:
    """Three links of ours in the host's namespace, and one by hand."""
    host.network("vlan20", parent="eth0.20", ipam_config=[{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}])
    host.network("iso", ipam_config=[{"subnet": "10.66.0.0/24"}])
    host.endpoint("gate", "vlan20", host=True)
    batch("link add link eth0 name eth0.51 type vlan id 51\nlink set eth0.51 up\n")


def ours(host: Host) -> list[str]:
    return ["eth0.20", "underlay0", *(name for name in host.links() if name.startswith("nud-"))]


def test_networkd_leaves_our_links_alone_with_the_roles_files(host: Host) -> None:
    with managers():
        RULES.write_text((ROLE / "netops-underlay.rules").read_text())
        NETWORK.write_text((ROLE / "netops-underlay.network").read_text())
        command(UDEVADM, "control", "--reload")
        command("networkctl", "reload", check=False)
        made(host)
        # The control: what is not ours is managed, so networkd has seen what came.
        looks.until(lambda: state("eth0.51", host) == "configured", "networkd manages the link by hand")
        command(UDEVADM, "settle")
        for name in ours(host):
            looks.until(
                lambda name=name: state(name, host) not in ("", "pending", "initialized"), "networkd has looked at it"
            )
            assert state(name, host) == "unmanaged", name
            assert "10.9.9.9/24" not in host.addresses(name)
            properties = properties_of(name)
            assert "NM_UNMANAGED=1" in properties
        properties = properties_of("eth0.51")
        assert not [line for line in properties if line.startswith(("NM_UNMANAGED", "NETOPS_UNDERLAY"))]
        assert host.addresses("underlay0") == ["172.16.48.1/32"]


def test_without_them_it_takes_our_addresses_away(host: Host) -> None:
    with managers():
        made(host)
        looks.until(lambda: "10.9.9.9/24" in host.addresses("underlay0"), "networkd manages our link")
        assert host.addresses("underlay0") != ["172.16.48.1/32"]


# --- NetworkManager -------------------------------------------------------------------------------------------

FETCHED = REPOSITORY / ".work" / "network-manager"  # where tests/setup put it, if the machine has none
BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_type="*"/><allow receive_type="*"/></policy>
</busconfig>
"""
SETTINGS = """\
[main]
plugins=keyfile
dns=none
auth-polkit=false
no-auto-default=*
"""
PROFILES = Path("/etc/NetworkManager/system-connections")
# A profile for a sub-interface.
PROFILE = """\
[connection]
id={name}
type=vlan
interface-name={name}

[vlan]
parent=eth0
id={vlan}

[ipv4]
method=manual
address1=10.9.9.{vlan}/24

[ipv6]
method=disabled
"""


def of_network_manager(name: str) -> str:
    return shutil.which(name) or str(next(FETCHED.glob(f"usr/*bin/{name}")))


LIBRARIES = {"LD_LIBRARY_PATH": os.pathsep.join(map(str, FETCHED.glob("usr/lib/*-linux-gnu")))}


@contextmanager
def network_manager(place: Path) -> Iterator[None]:
    """It, with the bus that it speaks on."""
    bus, settings = place / "bus.conf", place / "NetworkManager.conf"
    bus.write_text(BUS)
    for folder in (PROFILES, Path("/var/lib/NetworkManager"), Path("/run/dbus"), Path("/run/NetworkManager")):
        folder.mkdir(parents=True, exist_ok=True)
    settings.write_text(SETTINGS)
    nowhere = str(place / "none")
    words = ("--no-daemon", "--config", str(settings), "--config-dir", nowhere, "--system-config-dir", nowhere)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, PROFILES)
        stack.callback(Path("/run/dbus/system_bus_socket").unlink, missing_ok=True)
        log = stack.enter_context((place / "log").open("w"))
        for command_line in (
            ("dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile"),
            (of_network_manager("NetworkManager"), *words),
        ):
            process = subprocess.Popen(
                command_line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **LIBRARIES}
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if command_line[0] == "dbus-daemon":
                looks.until(lambda: Path("/run/dbus/system_bus_socket").exists(), "the bus is there")
        looks.until(lambda: "eth0" in as_seen(), "NetworkManager has looked at the links")
        yield


def nmcli(*words: str) -> str:
    """What it says, errors too."""
    done = subprocess.run(
        (of_network_manager("nmcli"), *words),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env={**os.environ, **LIBRARIES},
    )  # fmt: skip
    return done.stdout


def as_seen() -> dict[str, str]:
    """What NetworkManager makes of each link: ``unmanaged``, ``connected`` and so on."""
    lines = nmcli("-t", "-f", "DEVICE,STATE", "device").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def profiles() -> None:
    """For eth0.20 and eth0.51, alike. Not before these are there, or it would make them itself."""
    for vlan in (20, 51):
        file = PROFILES / f"eth0.{vlan}.nmconnection"
        file.write_text(PROFILE.format(name=f"eth0.{vlan}", vlan=vlan))
        file.chmod(0o600)
    nmcli("connection", "reload")


def test_network_manager_leaves_our_links_alone_with_the_roles_file(host: Host, tmp_path: Path) -> None:
    with managers(networkd=False), network_manager(tmp_path):
        RULES.write_text((ROLE / "netops-underlay.rules").read_text())
        command(UDEVADM, "control", "--reload")
        made(host)
        batch("addr add 172.16.49.9/22 dev eth0.20\n")
        looks.until(lambda: {*ours(host), "eth0.51"} <= set(as_seen()), "NetworkManager has looked at the links")
        profiles()
        # The control: the link by hand, for which it has a profile just like that for ours.
        print(nmcli("--wait", "20", "connection", "up", "eth0.51"))
        looks.until(lambda: host.addresses("eth0.51") == ["10.9.9.51/24"], "NetworkManager manages the link by hand")
        seen = as_seen()
        assert {name: seen.get(name) for name in ours(host)} == dict.fromkeys(ours(host), "unmanaged")
        assert host.addresses("eth0.20") == ["172.16.49.9/22"]
        assert host.addresses("underlay0") == ["172.16.48.1/32"]


def test_the_role_puts_the_files_there_and_takes_them_away(tmp_path: Path) -> None:
    """Its part of the role alone: each task takes seconds in the guest."""
    for folder in (RULES.parent, NETWORK.parent):
        folder.mkdir(parents=True, exist_ok=True)
    name = {"name": "netops.underlay.vlan_map", "tasks_from": "managers"}

    def told(state: str) -> dict[str, object]:
        return {
            "ansible.builtin.include_role": name,
            "vars": {"vlan_map_trunk": "eth0", "vlan_map_state": state, "__vlan_map_seen": {"networkd": True}},
        }

    look = {"ansible.builtin.command": f"cp {RULES} {NETWORK} {tmp_path}", "changed_when": False}
    tasks = [told("present"), told("present"), look, told("absent"), told("absent")]
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    words = ("ansible-playbook", "--connection", "local", "--inventory", "localhost,", str(book))
    done = command(*words, "--extra-vars", f"ansible_python_interpreter={sys.executable}", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Once there and once away: what is as it should be is no change.
    assert "changed=2 " in done.stdout.strip().splitlines()[-1], done.stdout
    assert (tmp_path / RULES.name).read_text() == (ROLE / "netops-underlay.rules").read_text()
    assert (tmp_path / NETWORK.name).read_text() == (ROLE / "netops-underlay.network").read_text()
    assert not RULES.exists() and not NETWORK.exists()
