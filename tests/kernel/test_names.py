# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names: endpoints of a network find each other, others do not, and nothing else in any hosts file changes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import looks
from .conftest import Host, command

NET20 = {"parent": "eth0.20", "ipam_config": [{"subnet": "192.168.20.0/24"}, {"subnet": "2001:db8:20::/64"}]}
NET30 = {"parent": "eth0.30", "ipam_config": [{"subnet": "192.168.30.0/24"}]}
ETC = Path("/etc/netns")


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    before = Path("/etc/hosts").read_bytes()
    yield Host(tmp_path / "state")
    looks.tidy()
    assert Path("/etc/hosts").read_bytes() == before


def tree() -> set[str]:
    """All there is below /etc/netns, and itself."""
    return {str(path) for path in [ETC, *ETC.rglob("*")] if path.exists()}


def found(netns: str, name: str, family: int = 4) -> str | None:
    """The address that a name has there by the hosts file; name servers, which no packet reaches from here, are not asked."""
    words = ("getent", "-s", "hosts:files", f"ahostsv{family}", name)
    done = command("ip", "netns", "exec", netns, *words, check=False)
    return done.stdout.split()[0] if done.returncode == 0 else None


def test_endpoints_find_each_other_and_names_go_with_them(host: Host) -> None:
    host.run("vlan_network", networks=[{"name": "ipvlan20", **NET20}, {"name": "ipvlan30", **NET30}])
    endpoints = [
        {"name": "ipv1", "network": "ipvlan20", "netns": "ipv1", "aliases": ["www"]},
        {"name": "ipv2", "network": "ipvlan20", "netns": "ipv2"},
        {"name": "db1", "network": "ipvlan30", "netns": "db1"},
    ]
    host.run("vlan_endpoint", endpoints=endpoints)
    # A process that runs since before another endpoint came: it sees its name, too.
    script = "echo up; read line; getent ahostsv4 ipv3"
    with subprocess.Popen(
        ("ip", "netns", "exec", "ipv2", "sh", "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline() == "up\n"
        host.endpoint("ipv3", "ipvlan20")
        assert running.communicate("go\n")[0].split()[0] == "192.168.20.4"
    assert command("ip", "netns", "exec", "ipv2", "ping", "-c1", "-W5", "ipv1").returncode == 0
    assert command("ip", "netns", "exec", "ipv2", "ping", "-6", "-c1", "-W5", "www").returncode == 0
    assert (found("ipv1", "ipv1"), found("ipv1", "ipv2", 6)) == ("192.168.20.2", "2001:db8:20::3")
    # Two networks do not see each other's names; the machine's own still resolve.
    assert (found("db1", "ipv1"), found("ipv1", "db1")) == (None, None)
    assert found("db1", "db1") == "192.168.30.2"
    assert found("ipv1", "localhost") == "127.0.0.1"
    own = os.uname().nodename
    assert found("ipv1", own) == found("db1", own)
    base = Path("/etc/hosts").read_text()
    assert (ETC / "ipv1" / "hosts").read_text().startswith(base)

    host.endpoint("ipv1", "ipvlan20", state="absent")
    assert (found("ipv2", "ipv1"), found("ipv2", "ipv3")) == (None, "192.168.20.4")
    assert not (ETC / "ipv1").exists()
    host.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
    assert tree() == set()
    assert looks.rows(host).keys() == {"networks", "parents"}


def test_no_other_line_ever_changes(host: Host) -> None:
    host.network("ipvlan20", **NET20)
    file = ETC / "web1" / "hosts"
    file.parent.mkdir(parents=True)
    mine = "10.9.9.9 elsewhere # a word\n\n127.0.0.1 localhost"
    file.write_text(mine)
    inode = file.stat().st_ino
    host.run("vlan_endpoint", network="ipvlan20", endpoints=[{"name": n, "netns": n} for n in ("web1", "web2")])
    assert (found("web1", "elsewhere"), found("web1", "web2")) == ("10.9.9.9", "192.168.20.3")
    # Edited: our lines are put right, the others' stay; and it is said.
    text = file.read_text()
    file.write_text(text.replace("192.168.20.3", "192.168.20.99") + "10.8.8.8 more\n")
    result = host.endpoint("web1", "ipvlan20")
    assert [(a["action"], a["kind"], a["name"]) for a in result["actions"]] == [("repair", "names", str(file))]
    assert file.read_text() == text + "10.8.8.8 more\n"
    assert not host.endpoint("web1", "ipvlan20")["changed"]
    host.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
    assert file.read_text() == mine + "10.8.8.8 more\n" or file.read_text() == mine + "\n10.8.8.8 more\n"
    assert file.stat().st_ino == inode


def test_check_mode_writes_no_names_and_a_link_is_not_followed(host: Host) -> None:
    host.network("ipvlan20", **NET20)
    host.endpoint("web1", "ipvlan20", check=True)
    assert tree() == set()
    target = host.state_dir / "precious"
    target.write_text("precious\n")
    (ETC / "web1").mkdir(parents=True)
    (ETC / "web1" / "hosts").symlink_to(target)
    text = host.refused("vlan_endpoint", name="web1", network="ipvlan20", netns="web1")
    assert "name web1: /etc/netns/web1/hosts is a symbolic link, which is not followed" in text.replace("'", "")
    assert target.read_text() == "precious\n"


def test_a_process_and_a_path_have_no_names_and_the_info_module_says_so(host: Host) -> None:
    host.network("ipvlan20", **NET20)
    command("ip", "netns", "add", "plain")
    result = host.endpoint("a", "ipvlan20", netns_path="/run/netns/plain")
    assert result["endpoints"][0]["hosts_file"] is None
    host.endpoint("b", "ipvlan20")
    by_name = {item["name"]: item for item in host.run("vlan_endpoint_info")["endpoints"]}
    assert (by_name["a"]["hosts_file"], by_name["b"]["hosts_file"]) == (None, "/etc/netns/b/hosts")
    assert found("b", "a") == "192.168.20.2"


def test_a_run_that_was_killed_leaves_no_names_behind(host: Host) -> None:
    """Others' hosts files lag behind the store then, and the next run may not be about them."""
    host.run("vlan_network", networks=[{"name": "ipvlan20", **NET20}, {"name": "ipvlan30", **NET30}])
    host.run("vlan_endpoint", network="ipvlan20", endpoints=[{"name": n, "netns": n} for n in ("web1", "web2")])
    host.endpoint("db1", "ipvlan30")
    whole = texts()
    coming = {"name": "web3", "network": "ipvlan20", "netns": "web3", "aliases": ["www"]}
    kills = 0
    for first in (coming, {"name": "db1", "network": "ipvlan30", "netns": "db1"}):
        writes = 0
        while killed_after(writes, host, **coming):
            result = host.run("vlan_endpoint", **first)
            assert {action["action"] for action in result["actions"] if action["kind"] == "names"} == {"repair"}
            now = texts()
            assert all("192.168.20.4\tweb3 www\n" in now[f"{ETC}/{name}/hosts"] for name in ("web1", "web2", "web3"))
            assert now[f"{ETC}/db1/hosts"] == whole[f"{ETC}/db1/hosts"]
            assert not host.run("vlan_endpoint", **first)["changed"]
            host.endpoint("web3", "ipvlan20", state="absent")
            assert texts() == whole
            writes += 1
        kills += writes
        host.endpoint("web3", "ipvlan20", state="absent")
    assert kills == 6
    assert "settings" not in looks.rows(host)


def texts() -> dict[str, str]:
    return {str(path): path.read_text() for path in ETC.rglob("hosts")}


class _Killed(BaseException):
    pass


def killed_after(writes: int, host: Host, **params: object) -> bool:
    """Runs vlan_endpoint and kills it before it writes one more hosts file than these; whether it came to that."""
    from ansible_collections.netops.underlay.plugins.module_utils import hosts

    done: list[str] = []

    def recorder(verb: str, _request: object) -> None:
        if len(done) == writes:
            raise _Killed
        done.append(verb)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "recorder", recorder)
        try:
            host.run("vlan_endpoint", **params)
        except _Killed:
            return True
    return False
