# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host full of what looks like ours and is not: whatever the modules and the role do, all of it is there as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import restore
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    dummy_name,
    endpoint_mark,
    making_group,
    parent_mark,
    working_name,
)

from . import looks, others
from .conftest import Host, batch, command

NETWORK, ENDPOINT, IPAM = "vlan_network", "vlan_endpoint", "vlan_ipam"
ROLE_TIMEOUT = 300  # seconds; it takes some twenty in the guest
VLAN20 = {"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}
NETWORKS: list[dict[str, Any]] = [
    {"name": "vlan20", "parent": "eth0.20", "ipam_config": [VLAN20]},
    {"name": "fifty", "parent": "eth0.50", "ipam_config": [{"subnet": "10.50.0.0/24", "ip_range": "10.50.0.64/26"}]},
    {
        "name": "lan",
        "driver": "macvlan",
        "parent": "eth0",
        "ipam_config": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.128/26"}],
    },
    {"name": "iso", "ipam_config": [{"subnet": "10.66.0.0/24"}]},
]
ENDPOINTS: list[dict[str, Any]] = [
    {"name": "web1", "network": "vlan20", "netns": "web1", "ifname": "net1"},
    {"name": "own", "network": "vlan20", "netns": "own"},
    {"name": "e50", "network": "fifty", "netns": "e50"},
    {"name": "l1", "network": "lan", "netns": "l1"},
    {"name": "gate", "network": "lan", "host": True},
    {"name": "i1", "network": "iso", "netns": "i1"},
]

# The host's own namespace. eth0.50 is also a parent that we use; so is eth0.
HERE = f"""\
link add link eth0 name eth0.50 type vlan id 50
link add link eth0 name eth0.51 type vlan id 51
link add link eth0 name eth0.60 type vlan id 60
link set eth0.60 alias "{parent_mark("eth0.60")}"
link add {dummy_name("other")} type dummy
link add {working_name(parent_mark("eth0.61"))} type dummy
link add link eth0 name eth0.62 type vlan id 62
link set eth0.62 group {making_group(parent_mark("eth0.20"))}
link add link eth0 name eth0.63 type vlan id 63
link set eth0.63 alias theirs
link set eth0.63 group {making_group(parent_mark("eth0.63"))}
link add underlay0 type dummy
link add ghost type dummy
link set ghost alias "netops.underlay endpoint vlan20/ghost"
link add vrrp.51 link eth0 type macvlan mode private
link add docker0 type bridge
link add veth1a2b type veth peer name eth0 netns PID
link set veth1a2b master docker0
link set eth0.50 up
link set eth0.51 up
link set eth0.60 up
link set underlay0 up
link set vrrp.51 up
link set docker0 up
link set veth1a2b up
addr add 10.50.0.1/24 dev eth0.50
addr add 10.51.0.1/24 dev eth0.51
addr add 10.51.0.9/32 dev vrrp.51
addr add 192.168.1.77/32 dev eth0
addr add 172.17.0.1/16 dev docker0
addr add 10.99.0.1/24 dev underlay0
addr add 2001:db8:50::1/64 dev eth0.50 nodad
route add 198.51.100.0/24 via 192.168.1.1
route add 198.51.101.0/24 via 10.50.0.2 proto 110
route add default via 10.51.0.2 table 200
rule add from 10.51.0.0/24 table 200 priority 200
link add link eth0.50 name ipvl50 netns PID type ipvlan mode l2 bridge
link add link eth0 name mac0 netns theirs type macvlan mode bridge
link add link eth0.50 name ipvl51 netns theirs type ipvlan mode l2 bridge
"""
HIDDEN = """\
link set ipvl50 up
link set eth0 up
link set lo up
addr add 10.50.0.200/24 dev ipvl50
addr add 172.17.0.2/16 dev eth0
route add default via 172.17.0.1
"""
# A namespace of the name that an endpoint of ours asks for, with links named like ours.
WEB1 = f"""\
link set lo up
link add eth0 type dummy
link set eth0 alias "netops.underlay endpoint vlan20/nobody"
link set eth0 group {making_group(endpoint_mark("vlan20", "web1"))}
link set eth0 up
link add eth9 type dummy
link set eth9 group {making_group(endpoint_mark("vlan20", "nobody"))}
addr add 10.7.0.1/24 dev eth0
route add 10.8.0.0/16 via 10.7.0.2
route add default via 10.7.0.3
"""
THEIRS = """\
link set lo up
link set ipvl51 alias "netops.underlay endpoint fifty/lost"
link set ipvl51 up
link set mac0 up
addr add 10.50.0.201/24 dev ipvl51
addr add 192.168.1.201/24 dev mac0
route add default via 192.168.1.1
"""
FILES = {
    "/etc/netns/web1/hosts": "127.0.0.1 localhost\n10.7.0.1 mine # by hand\n172.16.48.1 web1 # not by netops.underlay\n",
    "/etc/netns/theirs/hosts": "127.0.0.1 localhost\n",
    "/etc/netns/web1/resolv.conf": "nameserver 10.7.0.53\n",
}


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    command("ip", "rule", "del", "priority", "200", check=False)
    command("ip", "addr", "del", "192.168.1.77/32", "dev", "eth0", check=False)
    command("ip", "route", "del", "198.51.100.0/24", check=False)
    looks.tidy()


class Crowd:
    """The lookalikes, and a check that all of them are as they were."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.files = ["/etc/hosts", *FILES]
        self.before = self._now()

    def _now(self) -> dict[str, Any]:
        return others.picture(("web1", "theirs"), (self.pid,), self.files)

    def is_as_it_was(self) -> None:
        assert others.differences(self.before, self._now()) == {}


@pytest.fixture
def crowd(host: Host) -> Iterator[Crowd]:
    # The store exists: in a lost one what carries our mark is taken back.
    host.run(NETWORK, networks=[], default_address_pools=[])
    batch("netns add web1\nnetns add theirs\n")
    with looks.unnamed_namespace() as pid:
        batch(HERE.replace("PID", str(pid)))
        subprocess.run(("nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"), input=HIDDEN, text=True, check=True)
        batch(WEB1, netns="web1")
        batch(THEIRS, netns="theirs")
        for path, text in FILES.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
        settle(pid)
        yield Crowd(pid)


def settle(pid: int) -> None:
    """Until no address is tentative any more, anywhere."""
    for enter in ((), ("ip", "netns", "exec", "web1"), ("ip", "netns", "exec", "theirs"),
                  ("nsenter", "-t", str(pid), "-n")):  # fmt: skip
        looks.until(
            lambda enter=enter: "tentative" not in command(*enter, "ip", "-6", "addr").stdout, "addresses are settled"
        )


def play_absent(host: Host) -> str:
    """The role with ``vlan_map_state: absent``; what ansible-playbook says at its end."""
    role = {
        "role": "netops.underlay.vlan_map",
        "vlan_map_trunk": "eth0",
        "vlan_map_vlans": [{"vlan": 20, **VLAN20}],
        "vlan_map_endpoints": [
            {"name": "web1", "vlan": 20, "netns": "web1"},
            {"name": "own", "vlan": 20, "netns": "own"},
        ],
        "vlan_map_manage_requirements": False,
        "vlan_map_manage_modules": False,
        "vlan_map_state": "absent",
        "vlan_map_state_dir": str(host.state_dir),
    }
    book = host.state_dir.parent / "play.yml"
    book.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": [role]}]), encoding="utf-8")
    done = subprocess.run(
        (
            *("ansible-playbook", "--connection", "local", "--inventory", "localhost,", str(book)),
            *("--extra-vars", f"ansible_python_interpreter={sys.executable}"),
        ),
        env={**os.environ, "ANSIBLE_NOCOLOR": "true"},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=ROLE_TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_all_that_is_not_ours_stays_as_it_is(host: Host, crowd: Crowd, tell: Callable[[str, int], None]) -> None:
    def made() -> None:
        host.run(NETWORK, networks=NETWORKS)
        crowd.is_as_it_was()
        found = host.run(ENDPOINT, endpoints=ENDPOINTS)["endpoints"]
        crowd.is_as_it_was()
        assert found[4]["ifname"] == "underlay1", "underlay0 is somebody's"

    made()
    # What the service does at boot.
    command("ip", "netns", "del", "own")
    restore.put_back(str(host.state_dir), lambda _text: None)
    crowd.is_as_it_was()
    assert host.pings("own", "172.16.50.1")
    # Changed.
    changed = [{**entry, "mtu": 1400} for entry in NETWORKS]
    changed[0]["ipvlan_flag"] = "private"
    host.run(NETWORK, networks=changed)
    host.run(
        ENDPOINT, endpoints=[{**ENDPOINTS[0], "ifname": "net2", "aliases": ["www"]}, {**ENDPOINTS[2], "netns": "e51"}]
    )
    crowd.is_as_it_was()
    # What would turn the links of others is refused, and theirs are as they were.
    looks.refused(host, NETWORK, "(ipvlan)", "not ours", name="fifty", ipvlan_mode="l3")
    crowd.is_as_it_was()
    # Detached, one by one and by purge.
    host.endpoint("web1", "vlan20", state="absent")
    host.run(ENDPOINT, endpoints=[ENDPOINTS[3]], purge=True)
    crowd.is_as_it_was()
    host.run(NETWORK, networks=NETWORKS[:2], purge=True, force=True)
    crowd.is_as_it_was()
    assert host.namespaces() >= {"web1", "theirs"}
    # Everything.
    made()
    host.run(ENDPOINT, endpoints=[], purge=True, purge_all=True)
    crowd.is_as_it_was()
    host.run(NETWORK, networks=[], purge=True, purge_all=True)
    crowd.is_as_it_was()
    assert {name for name in host.links() if name.startswith("eth0.")} == {
        *("eth0.50", "eth0.51", "eth0.60", "eth0.62", "eth0.63")
    }
    assert host.namespaces() == {"switch", "router", "web1", "theirs"}
    # Everything again, by force alone.
    made()
    host.run(NETWORK, networks=[], purge=True, purge_all=True, force=True)
    crowd.is_as_it_was()
    tell("lookalikes left alone", len(crowd.before))


def test_the_role_takes_away_its_own_alone(host: Host, crowd: Crowd) -> None:
    host.run(NETWORK, networks=NETWORKS[:1])
    host.run(ENDPOINT, endpoints=ENDPOINTS[:2])
    assert "failed=0" in play_absent(host)
    crowd.is_as_it_was()
    assert "eth0.20" not in host.links()
    assert host.namespaces() == {"switch", "router", "web1", "theirs"}


def test_a_namespace_of_ours_that_others_have_made_anew_or_moved_into(
    host: Host, tell: Callable[[str, int], None]
) -> None:
    host.run(NETWORK, networks=NETWORKS[:1])
    names = ("anew", "moved", "link")
    host.run(ENDPOINT, network="vlan20", endpoints=[{"name": name, "netns": name} for name in names])
    batch("netns del anew\nnetns add anew\nlink add theirs0 type dummy\nlink set theirs0 netns link\n")
    process = subprocess.Popen(("ip", "netns", "exec", "moved", "sleep", "600"))
    try:
        inside = f"/proc/{process.pid}/ns/net"
        looks.until(lambda: os.stat(inside).st_ino == os.stat("/run/netns/moved").st_ino, "it has moved in")
        looks.until_settled()
        before = others.picture(("anew",))
        inodes = {name: os.stat(f"/run/netns/{name}").st_ino for name in names}
        host.run(ENDPOINT, network="vlan20", endpoints=[], purge=True)
        assert others.differences(before, others.picture(("anew",))) == {}
        assert {name: os.stat(f"/run/netns/{name}").st_ino for name in names} == inodes
        assert "theirs0" in host.links("link")
    finally:
        process.kill()
        process.wait()
    tell("lookalikes left alone", len(names))
