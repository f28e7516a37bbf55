"""Looking closer than ``host`` does: everything in the kernel and in the store, before and after a module ran.

Sees with the eyes of ``ip`` and of SQLite, never with the collection's own code.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from .conftest import Failed, Host, command, writes_counted

COLLECTION = "ansible_collections.netops.underlay.plugins"


# --- all there is ---

# Counters, timers, and what duplicate address detection and neighbour discovery still work on.
_VOLATILE = frozenset(
    "stats stats64 qdisc num_tx_queues num_rx_queues operstate tentative valid_life_time preferred_life_time state "
    "promiscuity allmulti".split()
)


def kernel(host: Host) -> dict[str, Any]:
    """Links, addresses and routes of every named namespace and of the host's own; link-local ones left out."""
    return {place or "": _place(place) for place in (None, *sorted(host.namespaces()))}


def _place(netns: str | None) -> list[Any]:
    words = ("ip", *(("-n", netns) if netns else ()), "-j", "-d", "-batch", "-")
    lines = "link show\naddr show\nroute show table all\n"
    output = subprocess.run(words, input=lines, capture_output=True, text=True, check=True).stdout
    links, addresses, routes = list(_documents(output))
    return [
        _steady(links),
        [
            [link["ifname"], [_steady(a) for a in link.get("addr_info", ()) if a["scope"] != "link"]]
            for link in addresses
        ],
        [_steady(route) for route in routes if not route["dst"].startswith(("fe80:", "ff00:"))],
    ]


def _documents(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        document, end = decoder.raw_decode(text, at)
        yield document
        at = end + len(text[end:]) - len(text[end:].lstrip())


def _steady(thing: Any) -> Any:
    if isinstance(thing, list):
        return [_steady(part) for part in thing]
    if not isinstance(thing, dict):
        return thing
    return {
        key: ("UP" in value if key == "flags" else _steady(value))
        for key, value in thing.items()
        if key not in _VOLATILE and not key.endswith("_timer")
    }


def rows(host: Host) -> dict[str, list[Any]]:
    """Every row of every table of the store; none where there is no store."""
    path = host.state_dir / "store.sqlite"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}"))) for name in tables}
    connection.close()
    return {name: lines for name, lines in found.items() if lines}


def everything(host: Host) -> dict[str, Any]:
    return {"kernel": kernel(host), "store": rows(host)}


# --- what a module does ---


def refused(host: Host, module: str, *words: str, **params: Any) -> str:
    """The error of a module that must fail and change nothing, in check mode and for real, with these words in it."""
    before = everything(host)
    host.picture = lambda: before["kernel"]  # looked at below, once for both runs
    foretold = host.refused(module, check=True, **params)
    message = host.refused(module, **params)
    assert everything(host) == before, "a refused task changed something"
    assert foretold == message, "check mode refuses with other words"
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"
    return message


def done(host: Host, module: str, **params: Any) -> dict[str, Any]:
    """Runs a module in check mode, for real, and again: what was foretold has to happen, and then nothing more.

    Returns the result of the real run.
    """
    before = everything(host)
    foretold = host.run(module, check=True, **params)
    assert everything(host) == before, "check mode changed something"
    result = host.run(module, **params)
    for part in ("changed", "actions", "warnings"):
        assert foretold[part] == result[part], part
    _agree(foretold["diff"], result["diff"])
    kind = {"vlan_network": "networks", "vlan_endpoint": "endpoints", "vlan_ipam": "addresses"}[module]
    _agree(foretold[kind], result[kind])
    assert result["changed"] == bool(result["actions"])
    after = everything(host)
    with writes_counted() as written:
        again = host.run(module, **params)
    assert (again["changed"], again["actions"], written) == (False, [], []), "the second run changed something"
    assert again[kind] == result[kind]
    assert everything(host) == after
    return result


def _agree(foretold: Any, found: Any, where: str = "") -> None:
    """What was predicted is so; what only the kernel can know is null in a prediction."""
    if foretold is None and where:
        return
    if isinstance(foretold, Mapping) and isinstance(found, Mapping):
        assert set(foretold) == set(found), where
        for key, value in foretold.items():
            _agree(value, found[key], f"{where}.{key}")
    elif isinstance(foretold, list) and isinstance(found, list):
        assert len(foretold) == len(found), where
        for index, value in enumerate(foretold):
            _agree(value, found[index], f"{where}[{index}]")
    else:
        assert foretold == found, where


def words_of(result: Mapping[str, Any]) -> list[str]:
    """The actions of a result, short: ``create network vlan10``."""
    return [f"{entry['action']} {entry['kind']} {entry['name']}" for entry in result["actions"]]


def in_child(work: Callable[[], None], timeout: float = 60) -> str:
    """The message with which a module fails in a forked process, which may lose rights or libraries first."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            try:
                work()
                text = "it did not fail"
            except BaseException as error:
                text = str(error) if type(error).__name__ == "Failed" else f"{type(error).__name__}: {error}"
            os.write(writing, text.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return text


def forget_imports(*more: str) -> None:
    """Makes the next import of the collection's files (and of ``more``) read them anew; for forked processes."""
    for name in list(sys.modules):
        if any(name == root or name.startswith(f"{root}.") for root in (COLLECTION, *more)):
            del sys.modules[name]
    importlib.invalidate_caches()


class Hidden:
    """Hides a library: put it in front of ``sys.meta_path``."""

    def __init__(self, library: str) -> None:
        self._library = library

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name.partition(".")[0] == self._library:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


# --- places, processes, frames ---


@contextmanager
def unnamed_namespace() -> Iterator[int]:
    """A process in a network namespace that has no name; its pid."""
    process = subprocess.Popen(("unshare", "-n", "sleep", "600"))
    try:
        own = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own, "the process left this namespace")
        until(lambda: "sleep" in open(f"/proc/{process.pid}/comm").read(), "the process is what it should be")
        yield process.pid
    finally:
        process.kill()
        process.wait()


def until(true: Callable[[], Any], words: str, seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, f"not within {seconds} s: {words}"


def child_of(pid: int) -> dict[str, dict[str, Any]]:
    """Links in the namespace of a process."""
    output = command("nsenter", "-t", str(pid), "-n", "ip", "-j", "-d", "link").stdout
    return {link["ifname"]: link for link in json.loads(output)}


_SOL_PACKET, _PACKET_AUXDATA, _VLAN_VALID = 263, 8, 0x10
_ETH_P_ALL, _SETNS_NET = 0x0003, 0x40000000


@contextmanager
def captured(netns: str, device: str) -> Iterator[Callable[[], list[tuple[int | None, bytes]]]]:
    """Listens on a link in a namespace; gives a function that returns the frames so far as ``(VLAN id, frame)``.

    The kernel takes the tag out of the frame and tells it beside it (packet(7), PACKET_AUXDATA).
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    here, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        assert libc.setns(there, _SETNS_NET) == 0
        try:
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            listener.bind((device, _ETH_P_ALL))
        finally:
            assert libc.setns(here, _SETNS_NET) == 0
    finally:
        os.close(here)
        os.close(there)
    listener.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    listener.setblocking(False)
    frames: list[tuple[int | None, bytes]] = []

    def heard() -> list[tuple[int | None, bytes]]:
        with suppress(BlockingIOError):
            while True:
                frame, beside, _flags, _from = listener.recvmsg(2048, 256)
                tag = None
                for level, kind, data in beside:
                    if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
                        status, _len, _snap, _mac, _net, tci, _tpid = struct.unpack_from("=IIIHHHH", data)
                        tag = tci & 0xFFF if status & _VLAN_VALID else None
                frames.append((tag, frame))
        return frames

    try:
        yield heard
    finally:
        listener.close()


__all__ = ["Failed", "Hidden", "captured", "child_of", "done", "everything", "forget_imports", "in_child", "kernel"]
__all__ += ["refused", "rows", "unnamed_namespace", "until", "words_of"]
