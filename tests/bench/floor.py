"""The floor: what 1,000 endpoints cost the kernel, when Python asks it by nothing but hand-packed netlink messages.

Namespaces with a name, macvlans, addresses, default routes, links and loopbacks up. No addresses are chosen, nothing is
looked at, kept or told, and the first refusal ends it. `python floor.py COUNT NIC` prints the seconds that it took.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Iterable

import ground

OPEN_AT_ONCE = 256  # under the 1,024 descriptors that a process may have by default

CLONE_NEWNET, MS_BIND = 0x40000000, 0x1000  # linux/sched.h, linux/mount.h
THIS_THREAD = "/proc/thread-self/ns/net"

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
REQUEST, ACK, EXCL, CREATE = 0x1, 0x4, 0x200, 0x400
NLMSG_ERROR, RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 2, 16, 20, 24
IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINK, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 5, 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE = 1, 2, 1, 4
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_OIF, RTA_GATEWAY = 4, 5
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1
IFF_UP, LOOPBACK = 1, 1
INDEX = 100  # asked for, so that nobody has to look which one a new link got


def attach(count: int, nic: int) -> float:
    """Makes the endpoints on the link with the index ``nic``; the seconds that it took."""
    start = time.perf_counter()
    own = os.open(THIS_THREAD, os.O_RDONLY)
    with rtnetlink() as host:
        for first in range(0, count, OPEN_AT_ONCE):
            _attach(range(first, min(count, first + OPEN_AT_ONCE)), nic, host, own)
    os.close(own)
    return time.perf_counter() - start


def _attach(numbers: Iterable[int], nic: int, host: socket.socket, own: int) -> None:
    descriptors, sockets = [], []
    for number in numbers:
        descriptors.append(new_namespace(f"e{number}"))
        sockets.append(rtnetlink())
    ground.call("setns", own, CLONE_NEWNET)
    exchange(host, [new_link(number, nic, descriptor) for number, descriptor in zip(numbers, descriptors)])
    for number, inside, descriptor in zip(numbers, sockets, descriptors):
        exchange(inside, [loopback_up(), new_address(number), default_route()])
        inside.close()
        os.close(descriptor)


def make_namespaces(count: int) -> None:
    """Named namespaces without anything in them."""
    own = os.open(THIS_THREAD, os.O_RDONLY)
    for name in ground.names(count):
        os.close(new_namespace(name))
    ground.call("setns", own, CLONE_NEWNET)
    os.close(own)


def new_namespace(name: str) -> int:
    """Makes it as `ip netns add` does; this thread is in it afterwards. A descriptor."""
    path = f"{ground.NETNS}/{name}"
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0))
    ground.call("unshare", CLONE_NEWNET)
    ground.call("mount", THIS_THREAD.encode(), path.encode(), b"none", ctypes.c_ulong(MS_BIND), None)
    return os.open(path, os.O_RDONLY)


# --- messages ---------------------------------------------------------------------------------------------------


def rtnetlink() -> socket.socket:
    found = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    return found


def exchange(channel: socket.socket, messages: list[bytes]) -> None:
    """Sends all in one piece and waits for the answer to each."""
    channel.send(b"".join(messages))
    for _message in messages:
        kind, _flags, _sequence, _port, error = struct.unpack_from("=HHIIi", channel.recv(4096), 4)
        if kind != NLMSG_ERROR or error:
            raise OSError(-error, os.strerror(-error))


def message(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | flags, 0, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


BROADCAST, GATEWAY = ground.SUBNET.broadcast_address.packed, ground.GATEWAY.packed
BASE = int(ground.SUBNET[ground.FIRST])
MACVLAN = attribute(
    IFLA_LINKINFO,
    attribute(IFLA_INFO_KIND, b"macvlan\0")
    + attribute(IFLA_INFO_DATA, attribute(IFLA_MACVLAN_MODE, struct.pack("=I", MACVLAN_MODE_BRIDGE))),
)


def packed_address(number: int) -> bytes:
    return struct.pack(">I", BASE + number)


def new_link(number: int, nic: int, namespace: int) -> bytes:
    body = (
        struct.pack("=BxHiII", socket.AF_UNSPEC, 0, INDEX, IFF_UP, IFF_UP)
        + attribute(IFLA_IFNAME, ground.LINK.encode() + b"\0")
        + attribute(IFLA_LINK, struct.pack("=I", nic))
        + attribute(IFLA_ADDRESS, b"\x02\x42" + packed_address(number))
        + attribute(IFLA_NET_NS_FD, struct.pack("=I", namespace))
        + MACVLAN
    )
    return message(RTM_NEWLINK, CREATE | EXCL, body)


def loopback_up() -> bytes:
    return message(RTM_NEWLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, LOOPBACK, IFF_UP, IFF_UP))


def new_address(number: int) -> bytes:
    own = packed_address(number)
    body = (
        struct.pack("=BBBBI", socket.AF_INET, ground.SUBNET.prefixlen, 0, 0, INDEX)
        + attribute(IFA_LOCAL, own)
        + attribute(IFA_ADDRESS, own)
        + attribute(IFA_BROADCAST, BROADCAST)
    )
    return message(RTM_NEWADDR, CREATE | EXCL, body)


def default_route() -> bytes:
    body = (
        struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0)
        + attribute(RTA_GATEWAY, GATEWAY)
        + attribute(RTA_OIF, struct.pack("=I", INDEX))
    )
    return message(RTM_NEWROUTE, CREATE | EXCL, body)


if __name__ == "__main__":
    print(attach(int(sys.argv[1]), socket.if_nametoindex(sys.argv[2])))
