"""Looking closer than ``host`` does: everything in the kernel and in the store, before and after a module ran.

Asks the kernel and SQLite, never the collection's own code. What there should be is for the tests to say, with ``ip``.
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
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .conftest import Host, command, inside, sweep, writes_counted

COLLECTION = "ansible_collections.netops.underlay.plugins"


# --- all there is ---

NOT_THE_HOST = frozenset({"switch", "router"})  # what is at the other end of the trunk


def kernel() -> dict[str, Any]:
    """Links, addresses and routes of the host's own namespace and of every named one, as the kernel's messages have them.

    Left out is what changes by itself: counters, timers, carrier, link-local addresses and the routes to them, and
    the local route of an IPv6 address, which the kernel makes only once it has heard of the link's carrier.
    """
    places = {name: f"/run/netns/{name}" for name in sorted(names() - NOT_THE_HOST)}
    return {name: place(path) for name, path in {"": "/proc/self/ns/net", **places}.items()}


# linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h: the dump requests, and the attributes that are kept, by number
_GETLINK, _GETADDR, _GETROUTE, _DONE, _ERROR, _ROOT_MATCH_REQUEST = 18, 22, 26, 3, 2, 0x301
_OF_LINK = {
    1: "address",
    3: "name",
    4: "mtu",
    5: "link",
    10: "master",
    18: "info",
    20: "alias",
    27: "group",
    37: "netnsid",
}
_OF_ADDRESS = {1: "address", 2: "local", 3: "label", 4: "broadcast"}
_OF_ROUTE = {1: "dst", 4: "oif", 5: "gateway", 6: "metric", 7: "source", 8: "metrics", 9: "multipath", 15: "table"}
_LINK_SCOPE, _UP = 253, 1
_LATE = (10, 2)  # AF_INET6, RTN_LOCAL


def place(path: str) -> dict[str, list[Any]]:
    with inside(path), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        links, addresses, routes = (_dump(asking, kind) for kind in (_GETLINK, _GETADDR, _GETROUTE))
    return {
        "links": [
            {"index": index, "up": flags & _UP, **_attributes(body[16:], _OF_LINK)}
            for body in links
            for index, flags in [struct.unpack_from("=4xiI", body)]
        ],
        "addresses": [
            {"prefixlen": body[1], "index": body[4:8].hex(), **_attributes(body[8:], _OF_ADDRESS)}
            for body in addresses
            if body[3] != _LINK_SCOPE
        ],
        "routes": [
            {"family": body[0], "prefixlen": body[1], "scope": body[6], "type": body[7], **found}
            for body in routes
            for found in [_attributes(body[12:], _OF_ROUTE)]
            if not found.get("dst", "").startswith(("fe80", "ff00")) and (body[0], body[7]) != _LATE
        ],
    }


def _dump(asking: socket.socket, kind: int) -> list[bytes]:
    # 17 bytes of zeros are body enough for all three (the kernel takes AF_UNSPEC from them)
    asking.send(struct.pack("=IHHII", 16 + 20, kind, _ROOT_MATCH_REQUEST, 1, 0) + bytes(20))
    found = []
    while True:
        data = asking.recv(1 << 18)
        while data:
            length, answer = struct.unpack_from("=IH", data)
            assert answer != _ERROR, data.hex()
            if answer == _DONE:
                return found
            found.append(data[16:length])
            data = data[(length + 3) & ~3 :]


def _attributes(data: bytes, wanted: Mapping[int, str]) -> dict[str, str]:
    """The attributes that are wanted, in hexadecimal; of a bridge its kind alone, since it has timers."""
    found = {}
    while len(data) >= 4:
        length, number = struct.unpack_from("=HH", data)
        if number & 0x3FFF in wanted:
            value = data[4:length]
            found[wanted[number & 0x3FFF]] = "bridge" if b"bridge\0" in value else value.hex()
        data = data[(length + 3) & ~3 :]
    return found


def names() -> set[str]:
    return set(os.listdir("/run/netns"))


def rows(host: Host) -> dict[str, list[Any]]:
    """Every row of every table of the store but its log, ``history``; none where there is no store."""
    path = host.state_dir / "store.sqlite"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        kept = sorted(tables - {"history"})
        found = {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}"))) for name in kept}
    connection.close()
    return {name: lines for name, lines in found.items() if lines}


def everything(host: Host) -> dict[str, Any]:
    return {"kernel": kernel(), "store": rows(host)}


# include/uapi/linux/rtnetlink.h: links, IPv4 and IPv6 addresses and routes
_GROUPS = sum(1 << (number - 1) for number in (1, 5, 7, 9, 11))


class Watch:
    """Hears of every change of a link, an address or a route in some namespaces, and knows the rows of the store.

    Costs no process, other than ``everything``; so it suits a host on which nothing may change for long.
    """

    def __init__(self, host: Host, *paths: str) -> None:
        self._host = host
        self._sockets = {}
        for path in paths:
            with inside(path):
                listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            listener.bind((0, _GROUPS))
            listener.setblocking(False)
            self._sockets[path] = listener

    def close(self) -> None:
        for listener in self._sockets.values():
            listener.close()

    def heard(self) -> dict[str, int]:
        """How many messages came since the last call, by namespace; those with none left out."""
        found = {}
        for path, listener in self._sockets.items():
            with suppress(BlockingIOError):
                while listener.recv(65536):
                    found[path] = found.get(path, 0) + 1
        return found

    def rest(self) -> Any:
        """What must stay, beside that nothing may be heard."""
        return names(), rows(self._host)


def tidy() -> None:
    """Back to the trunk alone; cheaper than building it anew."""
    sweep("eth0", *NOT_THE_HOST, then="link set eth0 mtu 1500 up\n")


# --- what a module does ---


def refused(host: Host, module: str, *words: str, **params: Any) -> str:
    """The error of a module that must fail and change nothing, in check mode and for real, with these words in it."""
    watch: Watch | None = getattr(host, "watch", None)
    if watch:
        watch.heard()
    before = watch.rest() if watch else everything(host)
    host.picture = lambda: None  # compared below, and once for both runs
    foretold = host.refused(module, check=True, **params)
    message = host.refused(module, **params)
    after = watch.rest() if watch else everything(host)
    assert after == before, "a refused task changed something"
    assert not (watch and watch.heard()), "a refused task changed something in the kernel"
    assert foretold == message, "check mode refuses with other words"
    missing = [word for word in words if word not in message]
    assert not missing, f"{missing} not in: {message}"
    return message


def done(host: Host, module: str, /, **params: Any) -> dict[str, Any]:
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
def nameserver(address: str) -> Iterator[None]:
    """The host asks this name server meanwhile."""
    path = Path("/etc/resolv.conf")
    before = path.read_bytes() if path.exists() else None
    path.write_text(f"# a comment\nnameserver {address}\noptions edns0\n")
    try:
        yield
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)


@contextmanager
def unnamed_namespace() -> Iterator[int]:
    """A process in a network namespace that has no name; its pid."""
    process = subprocess.Popen(("unshare", "-n", "sleep", "600"))
    try:
        own = os.readlink("/proc/self/ns/net")
        until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own, "the process left this namespace")
        until(lambda: b"sleep" in _bytes(f"/proc/{process.pid}/comm"), "the process is what it should be")
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def until(true: Callable[[], Any], words: str, seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, f"not within {seconds} s: {words}"


def until_settled() -> None:
    """Waits for duplicate address detection, which changes addresses and routes by itself."""
    until(lambda: "tentative" not in command("ip", "-6", "addr").stdout, "no address is tentative any more")


def child_of(pid: int) -> dict[str, dict[str, Any]]:
    """Links in the namespace of a process."""
    output = command("nsenter", "-t", str(pid), "-n", "ip", "-j", "-d", "link").stdout
    return {link["ifname"]: link for link in json.loads(output)}


_SOL_PACKET, _PACKET_AUXDATA, _VLAN_VALID = 263, 8, 0x10
_SO_RCVBUFFORCE = 33
_ETH_P_ALL = 0x0003


@contextmanager
def captured(netns: str, device: str) -> Iterator[Callable[[], list[tuple[int | None, bytes]]]]:
    """Listens on a link in a namespace; gives a function that returns the frames so far as ``(VLAN id, frame)``.

    The kernel takes the tag out of the frame and tells it beside it (packet(7), PACKET_AUXDATA).
    """
    with inside(f"/run/netns/{netns}"):
        listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        listener.bind((device, _ETH_P_ALL))
    listener.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
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


@contextmanager
def spoken(netns: str, device: str, frames: Iterable[bytes]) -> Iterator[None]:
    """These frames go out of a link in a namespace all the time, as from stations or a switch at that end."""
    with inside(f"/run/netns/{netns}"):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        link.bind((device, 0))
    said, over = list(frames), threading.Event()

    def speak() -> None:
        while not over.wait(0.05):
            for frame in said:
                link.send(frame)

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        link.close()


# What a kernel sends of its own on any link with IPv6: router solicitations and multicast listener reports (linux/icmpv6.h).
_OF_ITS_OWN = frozenset({133, 143})


def sent_by(mac: str, frames: Iterable[tuple[int | None, bytes]]) -> list[tuple[int | None, bytes]]:
    """Of captured frames those of this MAC, but for what its kernel sends of its own."""
    return [
        (tag, frame)
        for tag, frame in frames
        if frame[6:12].hex(":") == mac and not (frame[12:14] == b"\x86\xdd" and _icmpv6_type(frame) in _OF_ITS_OWN)
    ]


def _icmpv6_type(frame: bytes) -> int:
    """A listener report stands behind a hop-by-hop header of 8 bytes."""
    at = 62 if frame[20] == 0 else 54
    return frame[at] if len(frame) > at else 0
