"""The ground on which endpoints are measured: this kernel, but a network, mounts and processes of our own, with one NIC.

Knows how to look at what somebody made there, and how to clear it all away; knows nothing of who makes it. Endpoint number
``n`` of every way is the namespace ``e{n}`` with the link ``eth0`` and the address ``address(n)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

NIC = "nic0"  # not eth0, which old kernels would then not give to a link in a namespace
LINK = "eth0"
SUBNET = ipaddress.ip_network("10.0.0.0/16")
GATEWAY = SUBNET[1]
FIRST = 2  # in the subnet, the address of endpoint 0
RUN = "/run"
NETNS = "/run/netns"
HOSTS = "/etc/netns"
FENCE = "fence"
MNT_DETACH = 2  # linux/mount.h

SAMPLE = 12  # namespaces that are looked into after each way
_ENTERED = "BENCH_ON_GROUND"
_libc = ctypes.CDLL(None, use_errno=True)


class Different(Exception):
    """What was made is not what should have been."""


def enter() -> None:
    """Starts this script anew in namespaces of its own, whose processes all end with it; returns there."""
    if os.environ.get(_ENTERED):
        return
    if os.geteuid() != 0:
        sys.exit("bench: namespaces are made by root only; run as root")
    contained = "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc".split()
    os.environ[_ENTERED] = "1"
    os.execvp(contained[0], [*contained, sys.executable, *sys.argv])


def prepare() -> None:
    """Mounts and links; every new run of the benchmark begins on fresh ones."""
    for folder in (RUN, NETNS, HOSTS):
        os.makedirs(folder, exist_ok=True)
        run("mount", "-t", "tmpfs", "bench", folder)
    run("mount", "--make-shared", NETNS)  # as `ip netns` does
    ip("link", "set", "lo", "up")
    ip("link", "add", NIC, "type", "veth", "peer", "name", "port0")
    ip("link", "set", NIC, "up")
    ip("link", "set", "port0", "up")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def names(count: int) -> list[str]:
    return [f"e{number}" for number in range(count)]


def address(number: int) -> ipaddress.IPv4Address:
    return SUBNET[FIRST + number]


def mac(number: int) -> str:
    """One that only its endpoint has; nobody but us is asked to make it from the address."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address(number).packed)


# --- looking ----------------------------------------------------------------------------------------------------


def look(name: str, link: str = LINK) -> dict[str, Any]:
    """The link of an endpoint with its addresses and routes, by iproute2."""
    found = {one["ifname"]: one for one in ip_json("-n", name, "-details", "address")}
    if link not in found:
        raise Different(f"{name} has no link {link}")
    return as_made(found[link], ip_json("-n", name, "route", "show", "dev", link))


def as_made(link: dict[str, Any], routes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """What an endpoint is, of what iproute2 tells; MAC addresses are each way's own."""
    return {
        "kind": link["linkinfo"]["info_kind"],
        "mode": link["linkinfo"]["info_data"]["mode"],
        "parent": link["link_index"],
        "up": "UP" in link["flags"],
        "mtu": link["mtu"],
        "addresses": [
            (one["local"], one["prefixlen"], one.get("broadcast"))
            for one in link["addr_info"]
            if one["scope"] == "global"
        ],
        "routes": sorted((route["dst"], route.get("gateway"), route.get("scope")) for route in routes),
    }


def expected(number: int) -> dict[str, Any]:
    return {
        "kind": "macvlan",
        "mode": "bridge",
        "parent": socket.if_nametoindex(NIC),
        "up": True,
        "mtu": 1500,
        "addresses": [(str(address(number)), SUBNET.prefixlen, str(SUBNET.broadcast_address))],
        "routes": [(str(SUBNET), None, "link"), ("default", str(GATEWAY), None)],
    }


def check(count: int, who: str) -> None:
    """That there are this many endpoints, all with their links, and that some of them are in every way as they should be.

    :raises Different: otherwise
    """
    there, links = len(os.listdir(NETNS)), children()
    if (there, links) != (count, count):
        raise Different(f"{who}: {there} namespaces and {links} links on {NIC} instead of {count}")
    for number in sample(count):
        check_one(number, who)


def check_one(number: int, who: str) -> None:
    found = look(names(number + 1)[-1])
    if found != expected(number):
        raise Different(f"{who}: endpoint {number} is {found} instead of {expected(number)}")


def sample(count: int) -> list[int]:
    """The first, the last, and some between."""
    return sorted({number * (count - 1) // (SAMPLE - 1) for number in range(SAMPLE)})


def children() -> int:
    """How many macvlans there are on the NIC, in whatever namespace: it takes packets for the address of each."""
    listed = json.loads(run("bridge", "-json", "fdb", "show", "dev", NIC))
    return sum(not int(entry["mac"][:2], 16) & 1 for entry in listed)


class Listener:
    """Hears all changes of links, addresses and routes inside the given namespaces; the host's own ears do not."""

    GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # linux/rtnetlink.h: RTMGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, and of IPv6

    def __init__(self, namespaces: Iterable[str]) -> None:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._sockets = []
        try:
            for name in namespaces:
                with open(f"{NETNS}/{name}", "rb") as file:
                    call("setns", file.fileno(), 0)
                ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
                ear.bind((0, self.GROUPS))
                self._sockets.append(ear)
        finally:
            call("setns", own, 0)
            os.close(own)

    def heard(self) -> int:
        """How many messages came since the last time."""
        return sum(map(_drained, self._sockets))

    def close(self) -> None:
        for ear in self._sockets:
            ear.close()


def _drained(ear: socket.socket) -> int:
    number = 0
    while True:
        try:
            ear.recv(65536)
        except BlockingIOError:
            return number
        number += 1


# --- clearing ---------------------------------------------------------------------------------------------------


def clear() -> None:
    """Removes all named namespaces and returns when the kernel has nothing left of them."""
    for name in os.listdir(NETNS):
        call("umount2", f"{NETNS}/{name}".encode(), MNT_DETACH)
        os.unlink(f"{NETNS}/{name}")
    settle()
    if children():
        raise Different(f"there are links on {NIC} that nobody can have made")


def settle() -> None:
    """Waits until the kernel has cleared away all namespaces that were removed, and disks are at rest.

    It clears them in the background, batch after batch in their order: when one that was removed now is gone, the batches
    before its own are through, and with a second one its own as well.
    """
    for _turn in range(2):
        ip("netns", "add", FENCE)
        ip("link", "add", FENCE, "type", "veth", "peer", "name", FENCE, "netns", FENCE)
        ip("netns", "delete", FENCE)
        until_gone(FENCE)
    os.sync()


def until_told() -> None:
    """Waits for whoever still tells neighbours of endpoints, and would take part in what is measured next."""
    while any(map(_announces, filter(str.isdigit, os.listdir("/proc")))):
        time.sleep(0.05)


def _announces(process: str) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
        return "(netops-announce)" in text and ") Z " not in text
    return False


def until_gone(link: str) -> None:
    while True:
        try:
            socket.if_nametoindex(link)
        except OSError:
            return
        time.sleep(0.002)


# --- tools ------------------------------------------------------------------------------------------------------


def run(*command: str, given: str | None = None) -> str:
    """The output of a command that must go well."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Different(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def ip(*words: str) -> str:
    return run("ip", *words)


def ip_json(*words: str) -> list[dict[str, Any]]:
    return json.loads(run("ip", "-json", *words) or "[]")


def call(function: str, *arguments: Any) -> None:
    """A system call through libc."""
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)
