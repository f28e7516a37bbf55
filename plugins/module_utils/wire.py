# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Frames that ask who is there, as bytes, and the sockets that carry them.

Knows Ethernet, ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861), not networks, store or Ansible. A socket is bound
to one link and hears what that link takes in anyway: nothing is switched to promiscuous mode.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError

BROADCAST = "ff:ff:ff:ff:ff:ff"
NO_MAC = "00:00:00:00:00:00"
ALL_NODES = ipaddress.IPv6Address("ff02::1")
ALL_NODES_MAC = "33:33:00:00:00:01"
_UNSPECIFIED = ipaddress.IPv6Address("::")

# linux/if_ether.h, linux/if_arp.h, linux/in.h, linux/icmpv6.h; options: RFC 4861, 4.6
_ETH_P_ALL, _ETH_P_IP, _ETH_P_ARP, _ETH_P_IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
_ARPHRD_ETHER = 1
ARP_REQUEST, ARP_REPLY = 1, 2
_ICMPV6 = 58
_ECHO_REQUEST, SOLICITATION, ADVERTISEMENT = 128, 135, 136
_SOURCE_MAC, _TARGET_MAC = 1, 2
_OVERRIDE = 0x20000000
_HOPS = 255  # neighbour discovery from beyond a router would have less, so receivers take nothing else

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_NEIGHBOUR = struct.Struct("!BBHI16s")


# --- frames as bytes ------------------------------------------------------------------------------------------


def arp_probe(mac: str, address: IPAddress) -> bytes:
    """Who has this address? With no address of our own, so nobody keeps a wrong one for us (RFC 5227, 2.1.1)."""
    return _arp(ARP_REQUEST, mac, "0.0.0.0", NO_MAC, address)


def _arp(operation: int, mac: str, sender: IPAddress | str, target_mac: str, target: IPAddress | str) -> bytes:
    """A broadcast ARP packet in Ethernet; all its addresses as text or as ipaddress has them."""
    ends = _mac(mac), _packed(sender), _mac(target_mac), _packed(target)
    return _frame(BROADCAST, mac, _ETH_P_ARP, _ARP.pack(_ARPHRD_ETHER, _ETH_P_IP, 6, 4, operation, *ends))


def neighbour_solicitation(mac: str, source: IPAddress | None, address: IPAddress) -> bytes:
    """Who has this IPv6 address? Without a source the answer goes to all nodes (RFC 4861, 7.2.4)."""
    group = ipaddress.IPv6Address(int(ipaddress.IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)
    option = b"" if source is None else struct.pack("!BB6s", _SOURCE_MAC, 1, _mac(mac))
    body = _NEIGHBOUR.pack(SOLICITATION, 0, 0, 0, address.packed) + option
    return _icmpv6("33:33:" + group.packed[-4:].hex(":"), mac, source or _UNSPECIFIED, group, body)


def echo_to_all(mac: str, source: IPAddress) -> bytes:
    """A ping to all IPv6 nodes of the segment."""
    body = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, 0, 1)
    return _icmpv6(ALL_NODES_MAC, mac, source, ALL_NODES, body)


def _icmpv6(to_mac: str, mac: str, source: IPAddress, destination: IPAddress, body: bytes) -> bytes:
    # The checksum covers a pseudo-header (RFC 8200, 8.1).
    pseudo = source.packed + destination.packed + struct.pack("!II", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", _checksum(pseudo + body)) + body[4:]
    header = _IPV6.pack(6 << 28, len(body), _ICMPV6, _HOPS, source.packed, destination.packed)
    return _frame(to_mac, mac, _ETH_P_IPV6, header + body)


def _checksum(data: bytes) -> int:
    """RFC 1071, over an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _frame(to_mac: str, mac: str, protocol: int, body: bytes) -> bytes:
    return _ETHERNET.pack(_mac(to_mac), _mac(mac), protocol) + body


def padded(frame: bytes, size: int) -> bytes:
    """The same frame with zeros behind it, so that it carries ``size`` bytes: as large as an MTU allows. ARP and IPv6
    know how long they are, and a receiver drops the rest."""
    return frame.ljust(_ETHERNET.size + size, b"\0")


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _packed(address: IPAddress | str) -> bytes:
    return socket.inet_aton(address) if isinstance(address, str) else address.packed


def announcements(mac: str, addresses: Iterable[IPAddress]) -> list[bytes]:
    """Who has these addresses, told to all: for IPv4 a gratuitous ARP request and reply, since some heed only the one and some
    only the other (RFC 5227, 3); for IPv6 an unsolicited advertisement (RFC 4861, 7.2.6)."""
    frames = []
    for address in addresses:
        if address.version == 4:
            frames.append(_arp(ARP_REQUEST, mac, address, NO_MAC, address))
            frames.append(_arp(ARP_REPLY, mac, address, mac, address))
        else:
            option = struct.pack("!BB6s", _TARGET_MAC, 1, _mac(mac))
            body = _NEIGHBOUR.pack(ADVERTISEMENT, 0, 0, _OVERRIDE, address.packed) + option
            frames.append(_icmpv6(ALL_NODES_MAC, mac, address, ALL_NODES, body))
    return frames


# --- frames read ----------------------------------------------------------------------------------------------


class Heard(NamedTuple):
    """A frame: ``source`` is who sent it (a MAC). ``kind`` is ``arp`` or ``nd`` where it tells of addresses: ``operation``
    is then one of the numbers above, ``mac`` and ``sender`` what it says of its sender (``sender`` None: nothing),
    ``target`` who is looked for; of an advertisement ``sender`` is what it advertises."""

    source: str
    kind: str = ""
    operation: int = 0
    mac: str = ""
    sender: IPAddress | None = None
    target: IPAddress | None = None


def read(frame: bytes) -> Heard | None:
    """What a frame says; None where it is too short to be one. What is malformed inside counts as a frame of its source."""
    if len(frame) < _ETHERNET.size:
        return None
    _to, source, protocol = _ETHERNET.unpack_from(frame)
    body = frame[_ETHERNET.size :]
    found = None
    if protocol == _ETH_P_ARP:
        found = _read_arp(source.hex(":"), body)
    elif protocol == _ETH_P_IPV6:
        found = _read_neighbour(source.hex(":"), body)
    return found or Heard(source.hex(":"))


def _read_arp(source: str, body: bytes) -> Heard | None:
    if len(body) < _ARP.size:
        return None
    *kind, operation, mac, sender, _target_mac, target = _ARP.unpack_from(body)
    if kind != [_ARPHRD_ETHER, _ETH_P_IP, 6, 4]:
        return None
    known = ipaddress.IPv4Address(sender) if any(sender) else None
    return Heard(source, "arp", operation, mac.hex(":"), known, ipaddress.IPv4Address(target))


def _read_neighbour(source: str, body: bytes) -> Heard | None:
    if len(body) < _IPV6.size + _NEIGHBOUR.size:
        return None
    _version, length, following, hops, sender, _destination = _IPV6.unpack_from(body)
    operation, code, _sum, _flags, target = _NEIGHBOUR.unpack_from(body, _IPV6.size)
    if following != _ICMPV6 or hops != _HOPS or code or operation not in (SOLICITATION, ADVERTISEMENT):
        return None
    options = _options(body[_IPV6.size + _NEIGHBOUR.size : _IPV6.size + length])
    address = ipaddress.IPv6Address(target)
    if operation == ADVERTISEMENT:
        return Heard(source, "nd", operation, options.get(_TARGET_MAC, source), address, None)
    known = ipaddress.IPv6Address(sender) if any(sender) else None
    return Heard(source, "nd", operation, options.get(_SOURCE_MAC, source), known, address)


def _options(data: bytes) -> dict[int, str]:
    """The MAC addresses in the options of a neighbour discovery message, by the option's number."""
    found = {}
    while len(data) >= 8 and data[1]:
        found[data[0]] = data[2:8].hex(":")
        data = data[8 * data[1] :]
    return found


# --- sockets --------------------------------------------------------------------------------------------------

_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35  # asm-generic/socket.h
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23  # linux/socket.h, linux/if_packet.h (since Linux 4.20)
_TIME = struct.Struct("@ll")
_FRAME_BYTES = 1600
_FRAMES_AT_ONCE = 64  # of one socket, so that a busy link does not keep the others waiting
_SOCKETS_AT_ONCE = 500  # well under the 1,024 descriptors that a process may have by default
_SIDE_BY_SIDE = 64
_TICK_S = 0.02

# Of all that comes in: no tag left (a link also shows the frames of its sub-interfaces), and broadcast, ARP or ICMPv6.
# Numbers: linux/filter.h, linux/bpf_common.h; 0xFFFFF030 is SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT.
_FILTER = (
    (0x20, 0, 0, 0xFFFFF030),  # is there a tag?
    (0x15, 0, 8, 0),  # no: go on; yes: drop
    (0x20, 0, 0, 0),  # the first four bytes of the destination
    (0x15, 5, 0, 0xFFFFFFFF),  # broadcast: accept
    (0x28, 0, 0, 12),  # the protocol
    (0x15, 3, 0, _ETH_P_ARP),  # accept
    (0x15, 0, 3, _ETH_P_IPV6),
    (0x30, 0, 0, 20),  # IPv6's next header
    (0x15, 0, 1, _ICMPV6),
    (0x06, 0, 0, _FRAME_BYTES),  # accept
    (0x06, 0, 0, 0),  # drop
)
# LLDP, and CDP, which has a length in the place of the protocol.
_SWITCH_FILTER = (
    (0x20, 0, 0, 0),  # the first four bytes of the destination
    (0x15, 3, 0, 0x01000CCC),  # CDP's group: accept
    (0x15, 0, 3, 0x0180C200),  # those of LLDP, and of what is no business of ours
    (0x28, 0, 0, 12),  # the protocol
    (0x15, 0, 1, 0x88CC),
    (0x06, 0, 0, _FRAME_BYTES),  # accept
    (0x06, 0, 0, 0),  # drop
)


_PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST = 1, 0  # linux/if_packet.h


class Ear(NamedTuple):
    """What a socket hears: of what its link takes in what the filter lets pass, and these multicast groups beside."""

    program: tuple[tuple[int, int, int, int], ...]
    groups: tuple[str, ...] = ()


STATIONS = Ear(_FILTER)
SWITCHES = Ear(_SWITCH_FILTER, ("01:80:c2:00:00:0e", "01:80:c2:00:00:03", "01:80:c2:00:00:00", "01:00:0c:cc:cc:cc"))


class Talk(Protocol):
    """What is asked and heard on one link. It is told of the time and of frames, and says what to send."""

    def due(self, now: float) -> list[bytes]:
        """The frames that are to be sent by now."""

    def heard(self, frame: bytes, at: float) -> None:
        """A frame came in."""

    def done(self, now: float) -> bool:
        """Whether there is nothing more to wait for."""


def talk(talks: Mapping[str, Talk], ear: Ear = STATIONS) -> None:
    """Leads all talks at the same time, each on the link of its name in this namespace, until all are done.

    Time is that of ``time.monotonic``. A link that goes away or down meanwhile is silent.

    :raises UnderlayError: where this kernel has no packet sockets
    """
    items = list(talks.items())
    for start in range(0, len(items), _SOCKETS_AT_ONCE):
        _talk_on(items[start : start + _SOCKETS_AT_ONCE], ear)


def _talk_on(talks: Iterable[tuple[str, Talk]], ear: Ear) -> None:
    open_ones: dict[int, tuple[socket.socket, Talk]] = {}
    try:
        for ifname, each in talks:
            link = opened(ifname, ear)
            if link is not None:
                open_ones[link.fileno()] = link, each
        _lead(open_ones)
    finally:
        close_all(link for link, _each in open_ones.values())


def _lead(open_ones: Mapping[int, tuple[socket.socket, Talk]]) -> None:
    with select.epoll() as waiting:
        for number in open_ones:
            waiting.register(number, select.EPOLLIN)
        over = False
        while not over:
            _send_due(open_ones.values())
            # What has come in by now is read before anybody says that it is over, however late we are.
            now = time.monotonic()
            for number, _event in waiting.poll(_TICK_S):
                link, each = open_ones[number]
                for frame, at in _received(link):
                    each.heard(frame, at)
            over = all(each.done(now) for _link, each in open_ones.values())


def close_all(links: Iterable[socket.socket]) -> None:
    """Closes sockets side by side: with each the kernel waits until all its readers have let go, 15 ms or so."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and seldom needed

    links = list(links)
    # There can be no more threads: then the rest are closed here, one by one. Closing twice is no error.
    with contextlib.suppress(RuntimeError), ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        list(pool.map(socket.socket.close, links))
    for link in links:
        link.close()


def _send_due(talks: Iterable[tuple[socket.socket, Talk]]) -> None:
    for link, each in talks:
        for frame in each.due(time.monotonic()):
            # Down or gone (ENETDOWN, ENXIO), larger than the link's MTU (EMSGSIZE): nothing will answer.
            with contextlib.suppress(OSError):
                link.send(frame)


def opened(ifname: str, ear: Ear = STATIONS) -> socket.socket | None:
    """A socket on a link of this thread's namespace; None where there is no such link (any more)."""
    try:
        # Protocol 0 hears nothing, so nothing comes in before the filter is there.
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    except OSError as error:
        raise UnderlayError(
            f"this kernel gives no packet socket ({error.strerror}); load it: modprobe af_packet"
        ) from error
    try:
        _attach_filter(link, ear.program)
        link.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        with contextlib.suppress(OSError):  # an old kernel: our own frames are known by their MAC
            link.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        link.bind((ifname, _ETH_P_ALL))
        for group in ear.groups:
            wanted = struct.pack("@iHH8s", socket.if_nametoindex(ifname), _PACKET_MR_MULTICAST, 6, _mac(group))
            link.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, wanted)
    except OSError:
        link.close()
        return None
    return link


def _attach_filter(link: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    kept = ctypes.create_string_buffer(code, len(code))
    link.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(kept)))


def _received(link: socket.socket) -> Iterator[tuple[bytes, float]]:
    """Frames that have come in, with when: the kernel stamps them, since we may come to them late."""
    for _count in range(_FRAMES_AT_ONCE):
        try:
            frame, beside, _flags, _from = link.recvmsg(_FRAME_BYTES, socket.CMSG_SPACE(_TIME.size))
        except OSError:
            return
        late = 0.0
        for _level, _kind, data in beside:
            if len(data) >= _TIME.size:
                seconds, nanoseconds = _TIME.unpack_from(data)
                late = time.time() - seconds - nanoseconds / 1e9
        yield frame, time.monotonic() - max(late, 0.0)
