"""The world of the kernel tests: a host with the trunk ``eth0``, a switch and a router, and the modules run in this process.

Needs a kernel with VLANs: run by ``make test-kernel``, inside the lab. Every test starts on a clean host, which has an
``eth0`` like most do.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from .engines import docker, podman  # noqa: F401 # pylint: disable=unused-import

VLANS = (10, 20, 30)

# Who looks for a program tries to start it in one folder of PATH after the other, and in the guest a try costs a tenth of a
# start even where nothing is: first come the folders that have what is started here.
os.environ["PATH"] = os.pathsep.join((os.path.dirname(sys.executable), "/usr/sbin", "/usr/bin", os.environ["PATH"]))


class Failed(Exception):
    """A module failed; the text is its ``msg``, ``result`` all that it returned."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


class _Exit(Exception):
    pass


def run_module(name: str, params: dict[str, Any], check: bool = False) -> dict[str, Any]:
    """Runs a module of the collection in this process, as Ansible would; its result, with what it warned of.

    :raises Failed: if it fails
    """
    module = importlib.import_module(f"ansible_collections.netops.underlay.plugins.modules.{name}")
    arguments = {**params, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_verbosity": 0}
    caught: dict[str, Any] = {}

    def leave(_self: object, failed: bool, **result: Any) -> None:
        json.dumps(result)  # what Ansible could not send is an error here, too
        caught.update(result, failed=failed)
        raise _Exit

    warnings: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        patch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        patch.setattr(basic.AnsibleModule, "exit_json", lambda self, **kw: leave(self, False, **kw))
        patch.setattr(basic.AnsibleModule, "fail_json", lambda self, msg, **kw: leave(self, True, msg=msg, **kw))
        patch.setattr(basic.AnsibleModule, "warn", lambda self, text, **kw: warnings.append(text))
        with suppress(_Exit):
            module.main()
    if caught.pop("failed"):
        raise Failed(caught)
    return {**caught, "warnings": warnings}


def command(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = _run(words)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stderr or done.stdout}")
    return done


def _run(words: Sequence[str], lines: str | None = None) -> subprocess.CompletedProcess[str]:
    program = shutil.which(words[0])  # else every folder in front of its own is tried
    return subprocess.run(words, executable=program, input=lines, capture_output=True, text=True, check=False)


def ip(*words: str, netns: str | None = None) -> Any:
    """What ``ip -j`` says."""
    place = ("-n", netns) if netns else ()
    output = command("ip", *place, "-j", *words).stdout
    return json.loads(output) if output.strip() else []


def batch(lines: str, netns: str | None = None, tool: str = "ip") -> None:
    """Several ``ip`` (or ``bridge``) commands in one process."""
    place = ("-n", netns) if netns else ()
    done = _run((tool, *place, "-batch", "-"), lines)
    assert done.returncode == 0, f"{lines}: {done.stderr}"


class Host:
    """The host under test, and what is around it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir

    # --- the modules ---

    def run(self, module: str, check: bool = False, **params: Any) -> dict[str, Any]:
        return run_module(module, {"state_dir": str(self.state_dir), **params}, check)

    def network(self, name: str, check: bool = False, **params: Any) -> dict[str, Any]:
        return self.run("vlan_network", check, name=name, **params)

    def endpoint(self, name: str, network: str, check: bool = False, **params: Any) -> dict[str, Any]:
        if params.get("state") != "absent" and not {"netns", "netns_path", "pid", "container", "host"} & set(params):
            params["netns"] = name
        return self.run("vlan_endpoint", check, name=name, network=network, **params)

    def refused(self, module: str, **params: Any) -> str:
        """The error of a module that must fail, and that must not change anything."""
        before = self.picture()
        with pytest.raises(Failed) as failure:
            self.run(module, **params)
        assert self.picture() == before, "a refused task changed something"
        assert "Traceback" not in str(failure.value)
        return str(failure.value)

    # --- looking, without our code ---

    def links(self, netns: str | None = None) -> dict[str, dict[str, Any]]:
        return {link["ifname"]: link for link in ip("-d", "link", "show", netns=netns)}

    def link(self, name: str, netns: str | None = None) -> dict[str, Any]:
        return self.links(netns)[name]

    def addresses(self, name: str, netns: str | None = None) -> list[str]:
        """Addresses of a link but the link-local ones."""
        return [text for entry in ip("addr", "show", "dev", name, netns=netns) for text in _addresses(entry)]

    def routes(self, netns: str | None = None, family: int = 4) -> list[dict[str, Any]]:
        return _no_link_local(ip(f"-{family}", "route", netns=netns))

    def default_route(self, netns: str, family: int = 4) -> list[tuple[str | None, str]]:
        return [(r.get("gateway"), r["dev"]) for r in self.routes(netns, family) if r["dst"] == "default"]

    def namespaces(self) -> set[str]:
        return {entry["name"] for entry in ip("netns", "list")}

    def picture(self, *only: str) -> dict[str, Any]:
        """Links, addresses and routes of some namespaces, or of the host and every named one but the switch's, without
        what the kernel changes by itself (counters, timers, link-local addresses)."""
        found = {}
        for place in only or [None, *sorted(self.namespaces() - {"switch"})]:
            links, addresses, routes = several_looks("link\naddr\nroute\n", netns=place)
            [routes6] = several_looks("route\n", "-6", netns=place)
            found[str(place)] = (
                [_steady(link) for link in links],
                {entry["ifname"]: _addresses(entry) for entry in addresses},
                [(r["dst"], r.get("gateway"), r["dev"]) for r in (*_no_link_local(routes), *_no_link_local(routes6))],
            )
        return found

    def pings(self, netns: str, address: str, wait: int = 1) -> bool:
        """One reply within a few tries."""
        return any(self._ping(netns, "-c1", f"-W{wait}", address) for _try in range(3))

    def silent(self, netns: str, address: str) -> bool:
        """No reply; one try is enough, since every test has a control that gets one."""
        return not self._ping(netns, "-c3", "-i0.2", "-W0.3", address)

    @staticmethod
    def _ping(netns: str, *words: str) -> bool:
        return command("ip", "netns", "exec", netns, "ping", *words, check=False).returncode == 0


def several_looks(lines: str, *options: str, netns: str | None = None) -> list[Any]:
    """What ``ip -j`` says to several questions, in one process."""
    place = ("-n", netns) if netns else ()
    done = _run(("ip", *place, "-d", "-j", *options, "-batch", "-"), lines)
    assert done.returncode == 0, f"{lines}: {done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def _no_link_local(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [route for route in routes if route.get("dst") not in ("fe80::/64", "ff00::/8")]


def _addresses(entry: dict[str, Any]) -> list[str]:
    infos = entry.get("addr_info", ())
    return [f"{info['local']}/{info['prefixlen']}" for info in infos if info["scope"] != "link"]


def _steady(link: dict[str, Any]) -> dict[str, Any]:
    info = link.get("linkinfo", {})
    kept = ("ifindex", "ifname", "link", "link_index", "mtu", "address", "ifalias", "master")
    return {
        **{key: link.get(key) for key in kept},
        "up": "UP" in link["flags"],
        "kind": info.get("info_kind"),
        "data": {key: info.get("info_data", {}).get(key) for key in ("id", "protocol", "mode", "flags")},
    }


@pytest.fixture(autouse=True)
def announcements() -> Iterator[None]:
    """None are sent in most tests: whoever sends them goes on for seconds, beside what is tested. test_announce.py sends them.

    A patch of its own: what a test patches has to be undone before its other fixtures are.
    """
    announce = importlib.import_module("ansible_collections.netops.underlay.plugins.module_utils.announce")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(announce, "send_announcements", lambda _speakers: None)
        yield


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A clean host with the trunk eth0 into a switch that carries VLAN 10, 20 and 30 to a router in namespace 'router'.

    The router has the seed's gateways. It routes; ``router_forwards`` switches that off and on.
    """
    sweep()
    build_trunk()
    yield Host(tmp_path / "state")
    sweep()


@pytest.fixture(scope="module")
def shared_trunk() -> Iterator[None]:
    """The same trunk for all tests of a file, which tidy up after themselves: building it costs more than most of them."""
    sweep()
    build_trunk()
    yield
    sweep()


GATEWAYS = {10: "172.16.80.1/24", 20: "172.16.50.1/22", 30: "10.1.100.1/16"}


def build_trunk() -> None:
    batch(
        "netns add switch\nnetns add router\n"
        "link add eth0 address 02:00:00:00:00:fe type veth peer name port1 netns switch\n"
        "link add uplink netns router type veth peer name port2 netns switch\n"
        "link set eth0 up\n"
        "addr add 192.168.1.250/24 dev eth0\n"
    )
    batch(
        "link add br0 type bridge vlan_filtering 1 vlan_default_pvid 1\n"
        "link set port1 master br0 up\nlink set port2 master br0 up\nlink set br0 up\n",
        netns="switch",
    )
    lines = "".join(f"vlan add dev {port} vid {vlan}\n" for port in ("port1", "port2") for vlan in VLANS)
    batch(lines, netns="switch", tool="bridge")
    lines = "link set uplink up\nlink set lo up\naddr add 192.168.1.1/24 dev uplink\n"
    for vlan, gateway in GATEWAYS.items():
        lines += (
            f"link add link uplink name uplink.{vlan} type vlan id {vlan}\n"
            f"link set uplink.{vlan} up\naddr add {gateway} dev uplink.{vlan}\n"
        )
    batch(lines, netns="router")
    router_forwards(True)


def router_forwards(on: bool) -> None:
    with inside("/run/netns/router"):
        Path("/proc/sys/net/ipv4/ip_forward").write_text(str(int(on)), encoding="ascii")


def sweep(*kept: str, then: str = "") -> None:
    """Back to a host with nothing but lo, and the namespaces and links that are ``kept``; then more lines for ``ip``."""
    names = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    links = {name for _index, name in socket.if_nameindex()} - {"lo"}
    gone = [f"netns del {name}\n" for name in names.difference(kept)]
    gone += [f"link del {name}\n" for name in links.difference(kept)]
    shutil.rmtree("/etc/netns", ignore_errors=True)
    # Routes to nowhere are on no link, and would stay.
    gone += [f"route flush table all type {kind}\n" for kind in ("blackhole", "unreachable", "prohibit", "throw")]
    # A link may go with another; -force goes on then.
    _run(("ip", "-force", "-batch", "-"), "".join(gone) + then)


@contextmanager
def inside(path: str) -> Iterator[None]:
    """This thread in the network namespace at a path."""
    here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        assert libc.setns(there, _CLONE_NEWNET) == 0, path
        try:
            yield
        finally:
            assert libc.setns(here, _CLONE_NEWNET) == 0
    finally:
        os.close(here)
        os.close(there)


libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


@contextmanager
def writes_counted() -> Iterator[list[tuple[str, object]]]:
    """Every write to kernel, hosts files and store that our code makes meanwhile."""
    from ansible_collections.netops.underlay.plugins.module_utils import hosts, netlink, store

    seen: list[tuple[str, object]] = []
    with pytest.MonkeyPatch.context() as patch:
        for file in (hosts, netlink, store):
            patch.setattr(file, "recorder", lambda verb, request: seen.append((verb, request)))
        yield seen


class Killed(BaseException):
    """A run ends here, as if it were killed."""


def kill() -> None:
    raise Killed


@contextmanager
def at_write(verb: str, happens: Callable[[], None]) -> Iterator[None]:
    """In front of each write of a kind to the kernel something happens."""
    from ansible_collections.netops.underlay.plugins.module_utils import netlink

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netlink, "recorder", lambda seen, _request: happens() if seen == verb else None)
        yield
