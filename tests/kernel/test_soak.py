# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""24 hours in small: rounds of attach, detach, change, kill and reboot on 50 networks and 200 endpoints. After each round
kernel, hosts files and store are held against a plain model of what should be, which knows nothing of the collection.

``SOAK_ROUNDS`` says how many (``make soak``: 2,000), ``SOAK_SEED`` which ones. A round is told by its number and what it did.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import socket
import sqlite3
import subprocess
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import restore

from . import looks
from .conftest import batch, ip, run_module, sweep

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "60"))
SEED = int(os.environ.get("SOAK_SEED", "20261128"))
NETWORKS, ENDPOINTS = 50, 200
ETC = Path("/etc/netns")
# Python's own heap breathes; what leaks a little in each round is above this long before the last one.
MOST_GROWTH_KIB = 48 << 10


# --- the model ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Net:
    number: int
    mtu: int = 1500
    flag: str = "bridge"

    @property
    def name(self) -> str:
        return f"net{self.number}"

    @property
    def driver(self) -> str:
        return "macvlan" if self.number % 3 == 0 else "ipvlan"

    @property
    def parent(self) -> str | None:
        """Every tenth is isolated."""
        return f"eth0.{100 + self.number}" if self.number % 10 else None

    def params(self) -> dict[str, Any]:
        subnets = [{"subnet": f"10.{self.number}.0.0/24"}, {"subnet": f"fd00:{self.number}::/64"}]
        given = {"name": self.name, "driver": self.driver, "mtu": self.mtu, "ipam_config": subnets}
        if self.parent:
            given["parent"] = self.parent
        if self.driver == "ipvlan":
            given["ipvlan_flag"] = self.flag
        return given


@dataclass(frozen=True)
class End:
    net: int
    name: str
    netns: str
    host: int  # the last number of both addresses
    default_route: bool
    aliases: tuple[str, ...] = ()

    @property
    def ifname(self) -> str:
        return f"n{self.net}"

    def params(self, pinned: bool = False) -> dict[str, Any]:
        given = {
            "name": self.name,
            "network": f"net{self.net}",
            "netns": self.netns,
            "ifname": self.ifname,
            "aliases": list(self.aliases),
        }
        if self.net % 10:
            given["default_route"] = self.default_route
        if pinned:
            given.update(ipv4_address=f"10.{self.net}.0.{self.host}", ipv6_address=f"fd00:{self.net}::{self.host:x}")
        return given


@dataclass
class Model:
    nets: dict[int, Net] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)

    def of(self, net: int) -> list[End]:
        return sorted((end for end in self.ends.values() if end.net == net), key=lambda end: end.name)

    def at(self, netns: str) -> list[End]:
        return sorted((end for end in self.ends.values() if end.netns == netns), key=lambda end: end.net)

    def free(self, net: int) -> int:
        """The lowest free number; 1 is the gateway's."""
        held = {end.host for end in self.of(net)}
        return next(number for number in range(2, 100) if number not in held)


# --- what happens in a round ------------------------------------------------------------------------------------


class Soak:
    def __init__(self, state_dir: Path, seed: int) -> None:
        self.state_dir = state_dir
        self.rng = random.Random(seed)
        self.model = Model()
        self.boot = 0
        self.kills = self.reboots = self.born = 0

    # --- tasks ---

    def task(self, module: str, may_kill: bool = True, **params: Any) -> None:
        """Runs a module; now and then it is killed on the way and then run again, or the host restarts in between."""
        params = {"state_dir": str(self.state_dir), **params}
        kill = may_kill and self.rng.random() < 0.35
        if kill and killed(lambda: run_module(module, params), self.rng.randrange(24)):
            self.kills += 1
            if self.rng.random() < 0.15:
                self.reboot()
        run_module(module, params)

    def everything(self) -> None:
        """The tasks for all there should be."""
        nets = [net.params() for net in self.model.nets.values()]
        self.task("vlan_network", may_kill=False, networks=nets)
        self.task("vlan_endpoint", may_kill=False, endpoints=[end.params() for end in self.model.ends.values()])

    def attach(self) -> str:
        return self._attach(self.rng.choice((1, 1, 3, 8)))

    def _attach(self, count: int) -> str:
        new = []
        for _turn in range(min(count, ENDPOINTS - len(self.model.ends))):
            self.born += 1
            net = self.rng.choice(list(self.model.nets))
            hosts = sorted({end.netns for end in self.model.ends.values()} - {end.netns for end in self.model.of(net)})
            shared = bool(hosts) and self.rng.random() < 0.1
            netns = self.rng.choice(hosts) if shared else f"s{self.born}"
            aliases = (f"alias{self.born}",) if self.rng.random() < 0.3 else ()
            end = End(net, f"e{self.born}", netns, self.model.free(net), not shared, aliases)
            self.model.ends[end.name] = end
            new.append(end.params())
        if new:
            self.task("vlan_endpoint", endpoints=new)
        return f"attach {len(new)}"

    def detach(self) -> str:
        leaving = self.rng.sample(sorted(self.model.ends), min(self.rng.choice((1, 2, 6)), len(self.model.ends)))
        items = [{**self._named(name), "state": "absent"} for name in leaving]
        for name in leaving:
            del self.model.ends[name]
        self.task("vlan_endpoint", endpoints=items)
        return f"detach {', '.join(leaving)}"

    def _named(self, name: str) -> dict[str, Any]:
        return {"name": name, "network": f"net{self.model.ends[name].net}"}

    def change(self) -> str:
        """Other addresses, aliases and namespaces, several in one task."""
        done, items = [], []
        for name in self.rng.sample(sorted(self.model.ends), min(3, len(self.model.ends))):
            end = self.model.ends[name]
            what = self.rng.choice(("address", "aliases", "namespace"))
            if what == "address":
                held = {other.host for other in self.model.of(end.net)}
                end = replace(end, host=self.rng.choice([n for n in range(100, 200) if n not in held]))
            elif what == "aliases":
                end = replace(end, aliases=() if end.aliases else (f"other-{name}",))
            elif len(self.model.at(end.netns)) == 1:
                self.born += 1
                end = replace(end, netns=f"m{self.born}")
            self.model.ends[name] = end
            items.append(end.params(pinned=what == "address"))
            done.append(f"{what} of {name}")
        if items:
            self.task("vlan_endpoint", endpoints=items)
        return f"change {', '.join(done)}"

    def change_network(self) -> str:
        number = self.rng.choice(list(self.model.nets))
        net = self.model.nets[number]
        flags = ("bridge", "private", "vepa") if net.driver == "ipvlan" else ("bridge",)
        net = replace(net, mtu=self.rng.choice((1300, 1400, 1500)), flag=self.rng.choice(flags))
        self.model.nets[number] = net
        self.task("vlan_network", networks=[net.params()])
        return f"change network {number}"

    def replace_network(self) -> str:
        """One goes with all its endpoints, another comes."""
        number = self.rng.choice(list(self.model.nets))
        del self.model.nets[number]
        self.model.ends = {name: end for name, end in self.model.ends.items() if end.net != number}
        self.task("vlan_network", name=f"net{number}", state="absent", force=True)
        number = self.rng.choice([n for n in range(1, NETWORKS + 5) if n not in self.model.nets])
        self.model.nets[number] = Net(number)
        self.task("vlan_network", networks=[Net(number).params()])
        return f"replace a network by {number}"

    def reboot(self) -> str:
        """And the service puts back what the store says."""
        self._power_off()
        restore.put_back(str(self.state_dir), print)
        return "reboot"

    def _power_off(self) -> None:
        """All that the kernel has is gone; files and store stay."""
        self.reboots += 1
        self.boot += 1
        # Links first: a namespace that is removed keeps its own for a while, other than one of a host that was off.
        links = [link["ifname"] for link in ip("link") if link["ifname"] not in ("lo", "eth0", "port1")]
        lines = [f"link del {name}\n" for name in links] + [f"netns del {name}\n" for name in looks.names()]
        subprocess.run(
            ("ip", "-force", "-batch", "-"), input="".join(lines), text=True, capture_output=True, check=False
        )
        assert not looks.names()

    def round(self) -> str:
        kinds: dict[Callable[[], str], int] = {
            self.attach: 30,
            self.detach: 22,
            self.change: 30,
            self.change_network: 10,
            self.replace_network: 4,
            self.reboot: 2,
        }
        return self.rng.choices(list(kinds), list(kinds.values()))[0]()


def killed(work: Callable[[], Any], writes: int) -> bool:
    """Does the work in a process that is killed before it writes more often than this; whether it came to that."""
    from ansible_collections.netops.underlay.plugins.module_utils import hosts, netlink, store

    child = os.fork()
    if child == 0:
        left = [writes]

        def recorder(_verb: str, _request: object) -> None:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

        try:
            for file in (hosts, netlink, store):
                file.recorder = recorder
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), "a run failed, see above"
    return code != 0


# --- held against the model -------------------------------------------------------------------------------------


def losses(soak: Soak) -> list[str]:
    """In what kernel, files and store differ from the model."""
    model = soak.model
    wrong = []

    def same(what: str, found: Any, wanted: Any) -> None:
        if found != wanted:
            wrong.append(f"{what}: {found} instead of {wanted}")

    spaces = {end.netns for end in model.ends.values()}
    same("namespaces", looks.names(), spaces)
    host = {link["name"]: link for link in links("/proc/self/ns/net")}
    isolated = {name for name in host if name not in ("lo", "eth0", "port1") and not name.startswith("eth0.")}
    same(
        "sub-interfaces",
        {n for n in host if n.startswith("eth0.")},
        {n.parent for n in model.nets.values() if n.parent},
    )
    same("dummies", len(isolated), sum(not net.parent for net in model.nets.values()))
    same("down", [name for name, link in host.items() if not link["up"] and name in isolated], [])
    lines = {number: block_lines(model.of(number)) for number in model.nets}
    for netns in spaces & looks.names():
        ends = model.at(netns)
        same(f"links of {netns}", links_of(netns), {"lo": None, **{end.ifname: as_link(end, model) for end in ends}})
        same(f"names of {netns}", our_lines(netns), [line for name in sorted(f"net{e.net}" for e in ends)
                                                     for line in lines[int(name[3:])]])  # fmt: skip
    wanted = {str(ETC), *(f"{ETC}/{name}" for name in spaces), *(f"{ETC}/{name}/hosts" for name in spaces)}
    same("hosts files", {str(path) for path in [ETC, *ETC.rglob("*")] if path.exists()}, wanted if spaces else set())
    same("rows", rows(soak.state_dir), {
        "networks": len(model.nets), "parents": len(model.nets), "endpoints": len(model.ends), "namespaces": len(spaces),
        "allocations": 2 * len(model.ends), "made_files": len(wanted) if spaces else 0, "settings": 1,
    })  # fmt: skip
    same("files of the store", sorted(os.listdir(soak.state_dir)), ["lock", "store.sqlite", "store.sqlite-journal"])
    return wrong


def links(path: str) -> list[dict[str, Any]]:
    return [{**link, "name": text(link["name"])} for link in looks.place(path)["links"]]


def text(raw: str) -> str:
    return bytes.fromhex(raw).rstrip(b"\0").decode()


def links_of(netns: str) -> dict[str, Any]:
    """Each link of a namespace with what it has: mark, mtu, addresses and gateways, as the kernel's messages say."""
    place = looks.place(f"/run/netns/{netns}")
    found: dict[str, Any] = {}
    for link in place["links"]:
        index = link["index"].to_bytes(4, "little").hex()
        if "alias" not in link:
            found[text(link["name"])] = None
            continue
        addresses = {
            f"{shown(address.get('local', address['address']))}/{address['prefixlen']}"
            for address in place["addresses"]
            if address["index"] == index
        }
        gateways = {
            shown(route["gateway"])
            for route in place["routes"]
            if route.get("oif") == index and "gateway" in route and route["prefixlen"] == 0
        }
        mtu = int.from_bytes(bytes.fromhex(link["mtu"]), "little")
        found[text(link["name"])] = (text(link["alias"]), mtu, link["up"], sorted(addresses), sorted(gateways))
    return found


def shown(raw: str) -> str:
    return socket.inet_ntop(socket.AF_INET if len(raw) == 8 else socket.AF_INET6, bytes.fromhex(raw))


def as_link(end: End, model: Model) -> Any:
    addresses = sorted((f"10.{end.net}.0.{end.host}/24", f"fd00:{end.net}::{end.host:x}/64"))
    gateways = [f"10.{end.net}.0.1", f"fd00:{end.net}::1"] if end.default_route and end.net % 10 else []
    return (f"netops.underlay endpoint net{end.net}/{end.name}", model.nets[end.net].mtu, 1, addresses, gateways)


def block_lines(ends: list[End]) -> list[str]:
    return [
        f"{address}\t{' '.join((end.name, *end.aliases))}"
        for end in ends
        for address in (f"10.{end.net}.0.{end.host}", f"fd00:{end.net}::{end.host:x}")
    ]


def our_lines(netns: str) -> list[str]:
    file = ETC / netns / "hosts"
    lines = file.read_text().splitlines() if file.exists() else []
    begin = next((n for n, line in enumerate(lines) if line.startswith("# BEGIN netops.underlay")), len(lines))
    return lines[begin + 1 : -1]


def rows(state_dir: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(state_dir / "store.sqlite")) as connection:
        tables = ("networks", "parents", "endpoints", "namespaces", "allocations", "made_files", "settings")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


def checked_with_ip(soak: Soak) -> None:
    """Of one namespace what ``ip`` shows, so that not only this file's reading of messages is trusted."""
    if not soak.model.ends:
        return
    end = soak.rng.choice(list(soak.model.ends.values()))
    [shown_by_ip] = ip("addr", "show", "dev", end.ifname, netns=end.netns)
    found = {f"{info['local']}/{info['prefixlen']}" for info in shown_by_ip["addr_info"] if info["scope"] == "global"}
    assert found == {f"10.{end.net}.0.{end.host}/24", f"fd00:{end.net}::{end.host:x}/64"}


@dataclass(frozen=True)
class Size:
    descriptors: int
    memory_kib: int
    store_bytes: int


def size(soak: Soak) -> Size:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Size(
        len(os.listdir("/proc/self/fd")), pages * os.sysconf("SC_PAGESIZE") >> 10,
        (soak.state_dir / "store.sqlite").stat().st_size,
    )  # fmt: skip


# --- the test ---------------------------------------------------------------------------------------------------


@pytest.fixture
def soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soak]:
    from ansible_collections.netops.underlay.plugins.module_utils import netlink

    sweep()
    batch("link add eth0 type veth peer name port1\nlink set eth0 up\nlink set port1 up\n")
    found = Soak(tmp_path / "state", SEED)
    monkeypatch.setattr(netlink, "boot_id", lambda: f"boot-{found.boot}")
    yield found
    sweep()


def test_rounds_of_everything_that_happens_to_a_host(soak: Soak, tell: Callable[[str, int], None]) -> None:
    print(f"seed {SEED}, {ROUNDS} rounds")
    soak.model.nets = {number: Net(number) for number in range(1, NETWORKS + 1)}
    soak.task("vlan_network", history_days=0)
    soak.everything()
    soak._attach(ENDPOINTS)
    assert losses(soak) == []
    full, lost, most = size(soak).store_bytes, 0, 0
    start = None
    for number in range(ROUNDS):
        done = soak.round()
        found = losses(soak)
        if found:
            print(f"round {number}, {done}:", *found[:10], sep="\n  ")
            lost += len(found)
        checked_with_ip(soak)
        now = size(soak)
        most = max(most, now.memory_kib)
        if number == min(ROUNDS // 4, 100):
            start = now
        assert not found, f"round {number} (seed {SEED}): {done}: {found[:3]}"
    assert start is not None and now.descriptors == start.descriptors, "descriptors are left open"
    assert most - start.memory_kib < MOST_GROWTH_KIB, "memory grows"
    assert now.store_bytes <= 2 * full, "the store grows"
    tell("soak: rounds survived", ROUNDS)
    tell("soak: kills", soak.kills)
    tell("soak: reboots", soak.reboots)
    tell("soak: losses", lost)
    soak.task("vlan_endpoint", may_kill=False, endpoints=[], purge=True, purge_all=True)
    soak.task("vlan_network", may_kill=False, networks=[], purge=True, purge_all=True)
    soak.model = Model()
    assert losses(soak) == []
