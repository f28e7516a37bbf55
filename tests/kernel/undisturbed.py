# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tasks in pairs, there and back, and where they end when nothing disturbs them: for tests in which something does.

The end of one is the beginning of the other, so that no host has to be built anew for each try.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import faults, looks
from .conftest import Host, writes_counted


class Task(NamedTuple):
    module: str
    params: dict[str, Any]
    first: tuple[Task, ...] = ()  # what has to run before it, undisturbed


def networks(*items: dict[str, Any], **more: Any) -> Task:
    return Task("vlan_network", {"networks": list(items), **more})


def endpoints(*items: dict[str, Any], **more: Any) -> Task:
    return Task("vlan_endpoint", {"endpoints": list(items), **more})


def addresses(*items: dict[str, Any], **more: Any) -> Task:
    return Task("vlan_ipam", {"addresses": list(items), **more})


def absent(*items: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {key: item[key] for key in ("name", "network", "owner") if key in item} | {"state": "absent"} for item in items
    ]


DUAL = {"ipam_config": [{"subnet": "172.16.80.0/24"}, {"subnet": "2001:db8:80::/64"}]}
NETWORKS = (
    {"name": "dual", "parent": "eth0.10", **DUAL},
    {"name": "mac", "driver": "macvlan", "parent": "eth0.20", "ipam_config": [{"subnet": "172.16.48.0/22"}]},
    {"name": "alone", "ipam_config": [{"subnet": "10.9.0.0/24"}]},
)
ENDPOINTS = (
    {"name": "web", "network": "dual", "netns": "web", "aliases": ["www"]},
    {"name": "db", "network": "mac", "netns": "db"},
    {"name": "app", "network": "alone", "netns": "web"},
    {"name": "here", "network": "dual", "host": True},
    {"name": "quiet", "network": "none", "netns": "quiet"},
)
CHANGED_NETWORKS = (
    {"name": "dual", "ipvlan_mode": "l3", "mtu": 1400, "routes": [{"subnet": "10.77.0.0/16", "via": "172.16.80.9"}]},
    {"name": "mac", "macvlan_mode": "private"},
    {"name": "alone", "mtu": 1300, "labels": {"a": "b"}},
)
CHANGED_BACK_NETWORKS = (
    {"name": "dual", "ipvlan_mode": "l2", "mtu": 1500},
    {"name": "mac", "macvlan_mode": "bridge"},
    {"name": "alone", "mtu": 1500, "labels": {}},
)
CHANGED_ENDPOINTS = (
    {"name": "web", "network": "dual", "netns": "web", "ipv4_address": "172.16.80.77", "aliases": ["shop"]},
    {"name": "db", "network": "mac", "netns": "elsewhere", "ifname": "lan0"},
    {"name": "app", "network": "alone", "netns": "web", "ipv4_address": "10.9.0.99", "ifname": "back"},
)
CHANGED_BACK_ENDPOINTS = (
    {"name": "web", "network": "dual", "netns": "web", "ipv4_address": "172.16.80.2", "aliases": ["www"]},
    {"name": "db", "network": "mac", "netns": "db", "ifname": "eth0"},
    {"name": "app", "network": "alone", "netns": "web", "ipv4_address": "10.9.0.2", "ifname": "eth1"},
)


def exchanging(one: int, two: int) -> Task:
    """Endpoints with what is theirs, or the other's."""
    numbers = {"left": one, "right": two}
    return endpoints(
        *(
            {"name": name, "network": "dual", "netns": "web", "ifname": f"lan{n}", "default_route": n == 1}
            | {"ipv4_address": f"172.16.80.{n + 10}", "ipv6_address": f"2001:db8:80::{n + 10}"}
            for name, n in numbers.items()
        ),
        *(
            {"name": name, "network": "mac", "netns": name, "ipv4_address": f"172.16.48.{n + 10}"}
            for name, n in numbers.items()
        ),
    )


RESERVED = tuple({"network": name, "owner": f"vm-{name}"} for name in ("dual", "mac", "alone"))


# --- what there is ------------------------------------------------------------------------------------------------------


def picture(host: Host) -> dict[str, Any]:
    """All that a run can leave: links, addresses, routes, settings, namespaces, files, rows; without the numbers that are
    others every time."""
    paths = {name: f"/run/netns/{name}" for name in sorted(looks.names() - looks.NOT_THE_HOST)}
    leftover = [name for name, path in paths.items() if not os.path.ismount(path)]
    paths = {"": "/proc/thread-self/ns/net"} | {name: path for name, path in paths.items() if name not in leftover}
    seen = {name: looks.place(path) for name, path in paths.items()}
    indexes = {link["index"]: link["name"] for link in seen[""]["links"]}
    made_up = {link["address"] for link in seen[""]["links"] if b"dummy".hex() in link.get("info", "")}
    return {
        "kernel": {
            name: _steady(place, indexes, made_up) | _settings(paths[name], place) for name, place in seen.items()
        },
        "leftover": leftover,
        "etc": {
            str(path): path.read_text() if path.is_file() else ""
            for path in sorted(path for name in ("netns", "netns/**/*") for path in Path("/etc").glob(name))
        },
        "state": sorted(path.name for path in host.state_dir.rglob("*")),
        "rows": rows(host, {_cookie(path): name for name, path in paths.items()}),
    }


def differing(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """What is not as expected, in words."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in {**expected, **found}:
            yield from differing(expected.get(key), found.get(key), f"{where}/{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        yield from (f"{where} lacks {entry}" for entry in expected if entry not in found)
        yield from (f"{where} has {entry}" for entry in found if entry not in expected)
    elif expected != found:
        yield f"{where} is {found!r}, not {expected!r}"


def _cookie(path: str) -> int:
    with looks.inside(path), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        return struct.unpack("=Q", asking.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8))[0]


_LOCAL = struct.pack("=I", 255).hex()  # linux/rtnetlink.h: RT_TABLE_LOCAL
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h


def _steady(place: dict[str, Any], host: dict[int, str], made_up: set[str]) -> dict[str, Any]:
    """Links by their names, in the place of their numbers; and no address that the kernel made up for a dummy."""
    own = {link["index"]: link["name"] for link in place["links"]}
    names = {struct.pack("=I", index).hex(): name for index, name in own.items()}

    def steady(link: dict[str, Any]) -> dict[str, Any]:
        found = {key: value for key, value in link.items() if key not in ("index", "netnsid")}
        if "link" in link:
            number = struct.unpack("=I", bytes.fromhex(link["link"]))[0]
            found["link"] = (host if "netnsid" in link else own).get(number)
        if link.get("address") in made_up:
            found["address"] = "that of a dummy"
        return found

    def of_link(entry: dict[str, Any], key: str) -> dict[str, Any]:
        return {**entry, key: names.get(entry.get(key), entry.get(key))}

    return {
        "links": sorted(map(steady, place["links"]), key=lambda link: link["name"]),
        "addresses": sorted((of_link(entry, "index") for entry in place["addresses"]), key=repr),
        # Not those to its own addresses: the kernel makes and removes them when it comes to it.
        "routes": sorted(
            (of_link(route, "oif") for route in place["routes"] if route.get("table") != _LOCAL), key=repr
        ),
    }


_SETTINGS = ("ipv6/conf/{}/disable_ipv6", "ipv6/conf/{}/accept_ra_defrtr", "ipv4/conf/{}/rp_filter")


def _settings(path: str, place: dict[str, Any]) -> dict[str, dict[str, str]]:
    links = [bytes.fromhex(link["name"])[:-1].decode() for link in place["links"]]
    with looks.inside(path):
        files = [Path("/proc/sys/net", setting.format(link)) for link in links for setting in _SETTINGS]
        return {"settings": {str(file): file.read_text() for file in files}}


# Columns that say when, not what.
_TIMES = frozenset({"since", "boot_id"})


def rows(host: Host, names: dict[int, str]) -> dict[str, Any]:
    """The rows of the store, but its log; a namespace's number becomes the name of the one that has it now."""
    path = host.state_dir / "store.sqlite"
    found = {}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - {"history"}:
            kept = [dict(zip(row.keys(), row)) for row in connection.execute(f"SELECT * FROM {table}")]
            found[table] = sorted(
                repr({k: names.get(v, v) if k == "cookie" else v for k, v in row.items() if k not in _TIMES})
                for row in kept
            )
    return found


# --- the pairs ----------------------------------------------------------------------------------------------------------

NET = [networks(*NETWORKS)]
UP = [*NET, endpoints(*ENDPOINTS)]
PAIRS: dict[str, tuple[list[Task], Task, Task]] = {
    "create and remove networks": ([], networks(*NETWORKS), networks(*absent(*NETWORKS))),
    "allocate and release addresses": (NET, addresses(*RESERVED), addresses(*absent(*RESERVED))),
    "attach and detach": (NET, endpoints(*ENDPOINTS), endpoints(*absent(*ENDPOINTS))),
    "attach and purge": (NET, endpoints(*ENDPOINTS), endpoints(purge=True, purge_all=True)),
    "attach and purge networks": (
        [],
        endpoints(*ENDPOINTS)._replace(first=(networks(*NETWORKS),)),
        networks(purge=True, purge_all=True, force=True),
    ),
    "change networks": (UP, networks(*CHANGED_NETWORKS), networks(*CHANGED_BACK_NETWORKS)),
    "change endpoints": (UP, endpoints(*CHANGED_ENDPOINTS), endpoints(*CHANGED_BACK_ENDPOINTS)),
    "exchange": ([*NET, exchanging(1, 2)], exchanging(2, 1), exchanging(1, 2)),
}


# Whose way there is that of another pair, or the same as back.
ONLY_BACK = frozenset({"attach and purge", "attach and purge networks", "exchange"})


def again(host: Host, task: Task, end: dict[str, Any], third: bool = True) -> list[str]:
    """Runs a task once more, and a third time; what is not as it should be then."""
    host.run(task.module, **task.params)
    found = list(differing(end, picture(host)))
    if not third:
        return found
    with writes_counted() as written:
        result = host.run(task.module, **task.params)
    if result["changed"] or result["actions"] or written:
        found.append(f"a third run does something: {result['actions']} {written}")
    return found


def run_all(host: Host, tasks: Iterable[Task]) -> None:
    for task in tasks:
        run_all(host, task.first)
        host.run(task.module, **task.params)


class Course(NamedTuple):
    """A pair that ran twice: where each task ends, what it wrote and what it asked on its way."""

    tasks: tuple[Task, Task]
    ends: list[dict[str, Any]]
    gates: list[faults.Gate]
    ground: list[Task]

    def stand_at(self, host: Host, task: Task) -> None:
        """The host made anew, as it is when the task has ended."""
        looks.tidy()
        shutil.rmtree(host.state_dir, ignore_errors=True)
        run_all(host, [*self.ground, *self.tasks[: self.tasks.index(task) + 1]])


def course(host: Host, pair: str) -> Course:
    ground, there, back = PAIRS[pair]
    run_all(host, ground)
    for task in (there, back):  # only after that both start from where the other ends
        run_announced(host, task)
    ends, gates = [], []
    for task in (there, back):
        run_all(host, task.first)
        with faults.gated(faults.Gate()) as gate:
            host.run(task.module, **task.params)
        gates.append(gate)
        ends.append(picture(host))
    return Course((there, back), ends, gates, ground)


def run_announced(host: Host, task: Task) -> None:
    """Runs a task; every write that our code announces has a fault point of its own."""
    from ansible_collections.netops.underlay.plugins.module_utils import hosts, netlink, store

    run_all(host, task.first)
    with faults.gated(faults.Gate()) as gate, pytest.MonkeyPatch.context() as patch:
        for file in (hosts, netlink, store):
            patch.setattr(file, "recorder", lambda verb, _request: gate.points.append(f"announced: {verb}"))
        host.run(task.module, **task.params)
    announced = [words.startswith("announced") for words in [*gate.points, "announced: the end"]]
    assert any(announced[:-1]) and (True, True) not in zip(announced, announced[1:]), gate.points
