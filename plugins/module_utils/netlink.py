# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kernel's network, read and changed by netlink messages; the only file that imports pyroute2.

Knows messages, not what they are for: no networks, endpoints, marks, store or Ansible. Requests are encoded
by pyroute2's message classes. The socket is a plain one of the standard library, since pyroute2's fork or
start threads depending on their version; dumps are decoded by facts.py.

Every write to the kernel, also to namespaces and sysctls (namespaces.py), goes out through this file, where
``recorder`` hears of it first.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec, module_from_spec
from threading import Lock
from typing import Any, ClassVar, NamedTuple, Optional, TypeVar, Union

from ansible_collections.netops.underlay.plugins.module_utils import namespaces
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError, ways_to_install
from ansible_collections.netops.underlay.plugins.module_utils.facts import (
    ATTRIBUTE,
    FAMILIES,
    IFF_UP,
    RTNH_F_ONLINK,
    Address,
    Link,
    Route,
    attributes_of,
    decode_address,
    decode_link,
    decode_route,
    text_of,
)
from ansible_collections.netops.underlay.plugins.module_utils.namespaces import (  # noqa: F401 - handed on # pylint: disable=unused-import
    NETNS_DIR,
    MissingNamespace,
    Namespace,
    NoNamespace,
    at_home,
    boot_id,
    current_namespace,
    entered,
    every_namespace,
    hidden_namespaces,
    namespace_id,
    obstacle,
    occupied_namespaces,
    open_if_there,
    open_namespace,
    process_start_time,
    procfs,
    read_sysctls,
)


@contextmanager
def _without_front(package: str) -> Iterator[None]:
    """Within it, parts of the package are imported without its ``__init__``, which with pyroute2 imports all parts there
    are: most of what starting a module would cost. Whoever imports the package later gets it whole."""
    spec = None if package in sys.modules else find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        yield
        return
    sys.modules[package] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[package]


try:
    with _without_front("pyroute2"):
        from pyroute2 import netlink as nl
        from pyroute2.config.version import __version__ as _library_version
        from pyroute2.netlink import rtnl
        from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfbase
        from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
except ImportError as error:
    _import_error: str | None = str(error)
    _library_version = ""
else:
    _import_error = None

    class _LinkMessage(ifinfbase, nl.nlmsg):
        """A link message that takes IFLA_INFO_DATA as bytes for every kind: pyroute2 knows some in part."""

        class ifinfo(ifinfbase.ifinfo):
            data_map: ClassVar[dict[str, type]] = {}


OLDEST_LIBRARY = (0, 7, 2)
TIMEOUT_SECONDS = 30
DUMP_TRIES = 50

# A dump's datagram is 32 KiB at most (net/netlink/af_netlink.c, netlink_recvmsg), other answers are smaller.
_RECEIVE_BYTES = 65536
_SEND_BYTES = 65536
_SOCKET_BUFFER_BYTES = 8 << 20
_SIDE_BY_SIDE = 500
_WORTH_A_PROCESS = 16
_ACK_BYTES = 4096  # more than an answer with its text takes of the receive buffer
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_NETLINK_CAP_ACK = 10  # linux/netlink.h

# linux/if_link.h, linux/if.h, linux/rtnetlink.h, linux/if_addr.h, linux/ipv6.h
_RTEXT_FILTER_SKIP_STATS = 8
_RT_TABLE_MAIN = 254
_RTMGRP_LINK = 1
_IFA_F_OPTIMISTIC = 0x04  # linux/if_addr.h
_LOOPBACK_NET = 127  # the first byte of its addresses (RFC 1122, 3.2.1.3)
_NETNSA_NSID, _NSID_NOT_ASSIGNED = 1, -1
_NLMSGERR_ATTR_MSG = 1
_SO_NETNS_COOKIE = 71  # asm-generic/socket.h

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_FLAGS_OFFSET, _SEQUENCE_OFFSET = 6, 8
_ADDRESS_FAMILIES = {number: family for family, number in FAMILIES.items()}

# Called before every write to the kernel with a verb and the request: a counter and a fault point for tests.
# While it is set, requests are sent one by one, so that what it stops is exactly what comes after.
recorder: Callable[[str, object], None] | None = None


class MissingLibrary(UnderlayError):
    """pyroute2 is not there, or older than this collection can use."""


class NetlinkError(UnderlayError):
    """The kernel refused: ``errno``, and its own words (extended ack) or '' in ``kernel_message``; ``doing`` is what it was
    asked for, where that does not go without saying."""

    def __init__(self, number: int, kernel_message: str = "", doing: str = "") -> None:
        words = os.strerror(number) + (f" ({kernel_message})" if kernel_message else "")
        super().__init__(f"{doing}: {words}" if doing else words)
        self.errno = number
        self.kernel_message = kernel_message


def require() -> None:
    """Raise MissingLibrary where pyroute2 cannot be used; it tells what to install, and for which Python."""
    if _import_error is not None or _version(_found_version()) < OLDEST_LIBRARY:
        raise MissingLibrary(_missing_words())


def _found_version() -> str:
    """What the library calls itself; Debian's package of 0.7.2 says "unknown", but its metadata know better."""
    named = str(_library_version)
    if not _version(named):
        from importlib import metadata  # seldom needed, and slow to import

        with suppress(metadata.PackageNotFoundError):
            return metadata.version("pyroute2")
    return named


@cache
def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def _missing_words() -> str:
    found = _found_version()
    oldest = ".".join(map(str, OLDEST_LIBRARY))
    old = found and _version(found) < OLDEST_LIBRARY
    what = f"pyroute2 {found} is too old" if old else "pyroute2 is missing"
    why = f" ({_import_error})" if _import_error else ""
    return f"{what} for {sys.executable}{why}: {oldest} or newer is needed. " + ways_to_install(
        "pyroute2", f"'pyroute2>={oldest}'"
    )


# ---- what is asked of the kernel

# (number, struct format, value) of one attribute in IFLA_INFO_DATA, as each link kind defines them for itself
KindAttributes = Sequence[tuple[int, str, Any]]


class CreateLink(NamedTuple):
    """A new link, down; with ``netns_fd`` it appears there, the parent being where the channel is."""

    name: str
    kind: str
    parent_index: int | None = None
    netns_fd: int | None = None
    mtu: int | None = None
    mac: str | None = None
    attributes: KindAttributes = ()
    group: int | None = None


class ChangeLink(NamedTuple):
    """What is given is changed, in one message; ``attributes`` need the ``kind`` that the link has, ``netns_fd`` is the
    namespace that it is moved to, where ``name`` stands for one that is taken there.

    The kernel's order is namespace, attributes, mtu, group, name, alias, up (net/core/rtnetlink.c, ``do_setlink``): a link that
    is down can be renamed and set up at once. Where a later part fails the earlier ones stay.
    """

    index: int  # type: ignore[assignment]
    name: str | None = None
    alias: str | None = None
    up: bool | None = None
    mtu: int | None = None
    mac: str | None = None
    kind: str | None = None
    attributes: KindAttributes = ()
    netns_fd: int | None = None
    group: int | None = None


class DeleteLink(NamedTuple):
    """The link goes, and every link that was made on it, in any namespace."""

    index: int  # type: ignore[assignment]


class AddAddress(NamedTuple):
    """A new address; EEXIST where the link has it. ``nodad``: an IPv6 address is used at once, unprobed; ``optimistic``: at
    once, while it is probed, if the link's sysctl allows that."""

    index: int  # type: ignore[assignment]
    address: str
    prefixlen: int
    nodad: bool = True
    optimistic: bool = False


class DeleteAddress(NamedTuple):
    """The address goes; EADDRNOTAVAIL where the link does not have it."""

    index: int  # type: ignore[assignment]
    address: str
    prefixlen: int


@dataclass(frozen=True)
class AddRoute:
    """A new route of the main table; EEXIST where one with its destination and metric is there.

    ``family`` 4 or 6; ``destination`` 'default' or CIDR; ``onlink``: the gateway need not lie in a connected
    subnet; ``scope`` as in linux/rtnetlink.h, omitted: link without a gateway, else universe (IPv6 has no
    scopes); ``protocol`` as there, omitted: boot.
    """

    family: int
    destination: str
    index: int
    gateway: str | None = None
    onlink: bool = False
    metric: int | None = None
    scope: int | None = None
    protocol: int | None = None


@dataclass(frozen=True)
class DeleteRoute:
    """The first route of the main table with these fields goes, whoever made it; omitted ones match any."""

    family: int
    destination: str
    index: int
    gateway: str | None = None
    onlink: bool = False
    metric: int | None = None
    scope: int | None = None
    protocol: int | None = None


Request = Union[CreateLink, ChangeLink, DeleteLink, AddAddress, DeleteAddress, AddRoute, DeleteRoute]
Attributes = list[tuple[str, Any]]


def encode(request: Request) -> bytearray:
    """The request as a message with its header, sequence number 0.

    pyroute2 takes longer to encode a message than the kernel to act on it, and a run sends thousands that differ in a few
    bytes. So of each form it encodes one, with stand-ins for what varies, and copies of that get the values.
    """
    form, values = _FORMS[type(request)](request)
    if min(map(len, values)) < _SHORTEST:
        return encode_whole(request)
    mould = _moulds.get(form)
    if mould is None:
        if len(_moulds) >= _MOST_MOULDS:
            _moulds.clear()
        mould = _moulds[form] = _mould(request)
    message = bytearray(mould.message)
    for places, value in zip(mould.places, values):
        for place in places:
            message[place : place + len(value)] = value
    return message


def encode_whole(request: Request) -> bytearray:
    """The same by pyroute2 alone."""
    _verb, encoder = _REQUESTS[type(request)]
    return encoder(request)


class _Mould(NamedTuple):
    """A message of one form, and where in it each of the values stands that vary."""

    message: bytes
    places: tuple[tuple[int, ...], ...]


_moulds: dict[tuple[Any, ...], _Mould] = {}
_MOST_MOULDS = 1000

# Values that occur nowhere else in a message; what is shorter could.
_NUMBER, _OTHER_NUMBER, _THIRD_NUMBER = 0x7E6D5C4B, 0x7D6C5B4A, 0x7C6B5A49
_MAC = "7a:6b:5c:4d:3e:2f"
_ADDRESSES = {4: "121.108.95.82", 6: "796c:5f52:463a:2e23:1b11:c69:746d:6652"}
_LOOPBACK_ADDRESS = "127.108.95.82"
_SHORTEST = 4


def _mould(request: Request) -> _Mould:
    """One message of the request's form, in which the stand-ins are found again."""
    stand_in = _STAND_INS[type(request)](request)
    message = bytes(encode_whole(stand_in))
    _form, values = _FORMS[type(request)](stand_in)
    places = []
    for value in values:
        found = tuple(match.start() for match in re.finditer(re.escape(value), message))
        if not found:
            raise ValueError(f"{request} has no place for {value!r}")
        places.append(found)
    return _Mould(message, tuple(places))


def _filled(text: str | None, filler: str) -> str | None:
    """A text of the same length in bytes."""
    return None if text is None else filler * len(text.encode())


def _address_like(request: AddAddress | DeleteAddress) -> str:
    if ":" in request.address:
        return _ADDRESSES[6]
    return _LOOPBACK_ADDRESS if request.address.startswith("127.") else _ADDRESSES[4]


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


def _mac_bytes(text: str) -> bytes:
    octets = bytes.fromhex(text.replace(":", ""))
    if len(octets) != 6:
        raise ValueError(f"{text!r} is not a MAC address")
    return octets


def _form_of_create(request: CreateLink) -> tuple[tuple[Any, ...], list[bytes]]:
    name = request.name.encode()
    values = [name]
    if request.netns_fd is not None:
        values.append(_number(request.netns_fd))
    if request.mac is not None:
        values.append(_mac_bytes(request.mac))
    if request.group is not None:
        values.append(_number(request.group))
    if request.attributes:
        values.append(_kind_data(request.attributes))
    varies = (len(name), request.netns_fd is None, request.mac is None, request.group is None)
    shape = tuple((number, fmt) for number, fmt, _value in request.attributes)
    return (CreateLink, *varies, request.kind, request.parent_index, request.mtu, shape), values


def _form_of_change(request: ChangeLink) -> tuple[tuple[Any, ...], list[bytes]]:
    values = [_number(request.index)]
    lengths = []
    for text in (request.name, request.alias):
        if text is not None:
            values.append(text.encode())
        lengths.append(None if text is None else len(values[-1]))
    if request.netns_fd is not None:
        values.append(_number(request.netns_fd))
    if request.mac is not None:
        values.append(_mac_bytes(request.mac))
    kept = (request.up, request.mtu, request.kind, tuple(request.attributes), request.group)
    return (ChangeLink, *lengths, request.netns_fd is None, request.mac is None, *kept), values


def _form_of_address(request: AddAddress | DeleteAddress) -> tuple[tuple[Any, ...], list[bytes]]:
    family, packed = _packed_address(request.address)
    values = [_number(request.index), packed]
    broadcast = _packed_broadcast(packed, request.prefixlen) if isinstance(request, AddAddress) else None
    if broadcast:
        values.append(broadcast)
    kept = (request.nodad, request.optimistic, packed[0] == _LOOPBACK_NET) if isinstance(request, AddAddress) else ()
    return (type(request), family, request.prefixlen, broadcast is None, *kept), values


def _form_of_route(request: AddRoute | DeleteRoute) -> tuple[tuple[Any, ...], list[bytes]]:
    kept = (request.family, request.destination, request.gateway, request.onlink)
    return (type(request), *kept, request.metric, request.scope, request.protocol), [_number(request.index)]


_FORMS: dict[type, Callable[[Any], tuple[tuple[Any, ...], list[bytes]]]] = {
    CreateLink: _form_of_create,
    ChangeLink: _form_of_change,
    DeleteLink: lambda request: ((DeleteLink,), [_number(request.index)]),
    AddAddress: _form_of_address,
    DeleteAddress: _form_of_address,
    AddRoute: _form_of_route,
    DeleteRoute: _form_of_route,
}

_STAND_INS: dict[type, Callable[[Any], Request]] = {
    CreateLink: lambda request: request._replace(
        name=_filled(request.name, "~"),
        netns_fd=None if request.netns_fd is None else _OTHER_NUMBER,
        mac=None if request.mac is None else _MAC,
        attributes=[
            (number, fmt, *struct.unpack(fmt, b"|" * struct.calcsize(fmt)))
            for number, fmt, _value in request.attributes
        ],
        group=None if request.group is None else _THIRD_NUMBER,
    ),
    ChangeLink: lambda request: request._replace(
        index=_NUMBER,
        name=_filled(request.name, "~"),
        alias=_filled(request.alias, "^"),
        netns_fd=None if request.netns_fd is None else _OTHER_NUMBER,
        mac=None if request.mac is None else _MAC,
    ),
    DeleteLink: lambda request: request._replace(index=_NUMBER),
    AddAddress: lambda request: request._replace(index=_NUMBER, address=_address_like(request)),
    DeleteAddress: lambda request: request._replace(index=_NUMBER, address=_address_like(request)),
    AddRoute: lambda request: replace(request, index=_NUMBER),
    DeleteRoute: lambda request: replace(request, index=_NUMBER),
}


def _message(body: Any, kind: int, flags: int, fields: Mapping[str, int], attributes: Attributes) -> bytearray:
    body["header"] = {"type": kind, "flags": nl.NLM_F_REQUEST | flags, "sequence_number": 0, "pid": 0}
    body.update(fields)
    body["attrs"] = [(name, value) for name, value in attributes if value is not None]
    body.encode()
    encoded: bytearray = body.data
    return encoded


def _new_flags() -> int:
    return int(nl.NLM_F_ACK | nl.NLM_F_CREATE | nl.NLM_F_EXCL)


def _create_link(request: CreateLink) -> bytearray:
    attributes = [
        ("IFLA_IFNAME", request.name),
        ("IFLA_LINK", request.parent_index),
        ("IFLA_NET_NS_FD", request.netns_fd),
        *_link_attributes(request),
    ]
    return _message(_LinkMessage(), rtnl.RTM_NEWLINK, _new_flags(), {}, attributes)


def _change_link(request: ChangeLink) -> bytearray:
    """RTM_NEWLINK without NLM_F_CREATE: unlike RTM_SETLINK it takes the attributes of the kind as well."""
    fields = {"index": request.index}
    if request.up is not None:
        fields.update(flags=IFF_UP if request.up else 0, change=IFF_UP)
    attributes = [
        ("IFLA_IFNAME", request.name),
        ("IFLA_IFALIAS", request.alias),
        ("IFLA_NET_NS_FD", request.netns_fd),
        *_link_attributes(request),
    ]
    return _message(_LinkMessage(), rtnl.RTM_NEWLINK, nl.NLM_F_ACK, fields, attributes)


def _link_attributes(request: CreateLink | ChangeLink) -> Attributes:
    attributes: Attributes = [
        ("IFLA_MTU", request.mtu),
        ("IFLA_ADDRESS", request.mac),
        ("IFLA_GROUP", request.group),
    ]
    if request.kind is not None:
        data = _kind_data(request.attributes)
        info = [("IFLA_INFO_KIND", request.kind), *([("IFLA_INFO_DATA", data)] if data else [])]
        attributes.append(("IFLA_LINKINFO", {"attrs": info}))
    return attributes


def _kind_data(attributes: KindAttributes) -> bytes:
    return b"".join(_packed(number, struct.pack(fmt, value)) for number, fmt, value in attributes)


def _packed(number: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, number) + value + bytes(-length % 4)


def _delete_link(request: DeleteLink) -> bytearray:
    return _message(_LinkMessage(), rtnl.RTM_DELLINK, nl.NLM_F_ACK, {"index": request.index}, [])


def _add_address(request: AddAddress) -> bytearray:
    """As ``ip address add`` has it, plus the broadcast address, which that sets when asked (``brd +``)."""
    fields, attributes = _address_parts(request)
    _family, packed = _packed_address(request.address)
    broadcast = _packed_broadcast(packed, request.prefixlen)
    if len(packed) != 4:
        fields["flags"] = _IFA_F_OPTIMISTIC if request.optimistic else IFA_F_NODAD if request.nodad else 0
    elif packed[0] == _LOOPBACK_NET:
        fields["scope"] = rtnl.rt_scope["host"]
    elif broadcast:
        attributes.append(("IFA_BROADCAST", socket.inet_ntop(socket.AF_INET, broadcast)))
    return _message(ifaddrmsg(), rtnl.RTM_NEWADDR, _new_flags(), fields, attributes)


def _packed_address(text: str) -> tuple[int, bytes]:
    """The address family, and the address as it goes over the wire."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return int(family), socket.inet_pton(family, text)
    except OSError:
        raise ValueError(f"{text!r} is not an address") from None


def _packed_broadcast(packed: bytes, prefixlen: int) -> bytes | None:
    """The broadcast address that goes with an address."""
    if len(packed) != 4 or packed[0] == _LOOPBACK_NET or prefixlen > 30:
        return None
    return (int.from_bytes(packed, "big") | 0xFFFFFFFF >> prefixlen).to_bytes(4, "big")


def _delete_address(request: DeleteAddress) -> bytearray:
    return _message(ifaddrmsg(), rtnl.RTM_DELADDR, nl.NLM_F_ACK, *_address_parts(request))


def _address_parts(request: AddAddress | DeleteAddress) -> tuple[dict[str, int], Attributes]:
    family = socket.AF_INET6 if ":" in request.address else socket.AF_INET
    fields = {"family": family, "prefixlen": request.prefixlen, "index": request.index}
    return fields, [("IFA_LOCAL", request.address), ("IFA_ADDRESS", request.address)]


def _add_route(request: AddRoute) -> bytearray:
    """Protocol boot, as ``ip route add`` and Docker have it: the route shows in ``ip route`` as theirs do."""
    scope = request.scope
    if scope is None:
        scope = rtnl.rt_scope["link" if request.family == 4 and request.gateway is None else "universe"]
    protocol = rtnl.rt_proto["boot"] if request.protocol is None else request.protocol
    fields = {"scope": scope, "proto": protocol, "type": rtnl.rt_type["unicast"]}
    return _route_message(request, rtnl.RTM_NEWROUTE, _new_flags(), fields)


def _delete_route(request: DeleteRoute) -> bytearray:
    """Scope nowhere, and protocol and type 0, stand for any (net/ipv4/fib_trie.c, ``fib_table_delete``)."""
    scope = rtnl.rt_scope["nowhere"] if request.scope is None else request.scope
    fields = {"scope": scope, "proto": request.protocol or 0, "type": 0}
    return _route_message(request, rtnl.RTM_DELROUTE, nl.NLM_F_ACK, fields)


def _route_message(request: AddRoute | DeleteRoute, kind: int, flags: int, fields: dict[str, int]) -> bytearray:
    target = None
    if request.destination != "default":
        target = ipaddress.ip_network(request.destination)
    fields.update(
        family=_ADDRESS_FAMILIES[request.family],
        dst_len=target.prefixlen if target else 0,
        table=_RT_TABLE_MAIN,
        flags=RTNH_F_ONLINK if request.onlink else 0,
    )
    attributes = [
        ("RTA_DST", target and str(target.network_address)),
        ("RTA_GATEWAY", request.gateway),
        ("RTA_OIF", request.index),
        ("RTA_PRIORITY", request.metric),
    ]
    return _message(rtmsg(), kind, flags, fields, attributes)


_REQUESTS: dict[type, tuple[str, Callable[[Any], bytearray]]] = {
    CreateLink: ("create_link", _create_link),
    ChangeLink: ("change_link", _change_link),
    DeleteLink: ("delete_link", _delete_link),
    AddAddress: ("add_address", _add_address),
    DeleteAddress: ("delete_address", _delete_address),
    AddRoute: ("add_route", _add_route),
    DeleteRoute: ("delete_route", _delete_route),
}


@cache
def _dump_request(kind: int, table: int = _RT_TABLE_MAIN) -> bytes:
    """What asks for all links, addresses or routes (table 0: of every table) of both families; always the same: encoded
    once."""
    flags = nl.NLM_F_DUMP
    if kind == rtnl.RTM_GETLINK:
        return bytes(_message(_LinkMessage(), kind, flags, {}, [("IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS)]))
    if kind == rtnl.RTM_GETADDR:
        return bytes(_message(ifaddrmsg(), kind, flags, {}, []))
    fields = {"family": socket.AF_UNSPEC, "table": table, "scope": 0, "proto": 0, "type": 0}
    return bytes(_message(rtmsg(), kind, flags, fields, []))


def _question(name: bytes) -> bytes:
    """What asks for the link of a name; see ``encode``."""
    if len(name) < _SHORTEST:
        return _question_like(name.decode())
    return _question_like("~" * len(name)).replace(b"~" * len(name), name)


@cache
def _question_like(name: str) -> bytes:
    attributes: Attributes = [("IFLA_IFNAME", name), ("IFLA_EXT_MASK", _RTEXT_FILTER_SKIP_STATS)]
    return bytes(_message(_LinkMessage(), rtnl.RTM_GETLINK, 0, {}, attributes))


Fact = TypeVar("Fact")
_OF_A_HOST = 64

_DUMPED = {18: "links", 22: "addresses", 26: "routes"}  # linux/rtnetlink.h


# ---- the socket


class Channel:
    """A netlink socket of one namespace: that of ``netns_fd``, or the one that this thread is in.

    It stays in its namespace whatever its thread does afterwards, and may be used by any one thread at a
    time. Raises MissingLibrary, NetlinkError where the kernel refuses or does not answer within
    TIMEOUT_SECONDS.
    """

    def __init__(self, netns_fd: int | None = None) -> None:
        require()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        with namespaces.inside(netns_fd):
            try:
                self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO, doing="open a netlink socket") from error
        self._sequence = 0
        self._most_requests = _prepare(self._socket) // _ACK_BYTES

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    @property
    def cookie(self) -> int | None:
        """The kernel's number of this channel's namespace, used once in a boot; None before Linux 5.14."""
        try:
            return int.from_bytes(self._socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return None

    def links(self) -> list[Link]:
        """Every link of the namespace, in the kernel's order."""
        return _decoded(decode_link, self._dump(_dump_request(rtnl.RTM_GETLINK)))

    def addresses(self) -> list[Address]:
        """Every address of the namespace, IPv4 and IPv6."""
        dump = self._dump(_dump_request(rtnl.RTM_GETADDR))
        return _decoded(decode_address, [data for data in dump if data[0] in FAMILIES])

    def routes(self, every_table: bool = False) -> list[Route]:
        """Every route of the main table, or of all tables, IPv4 and IPv6."""
        dump = self._dump(_dump_request(rtnl.RTM_GETROUTE, 0 if every_table else _RT_TABLE_MAIN))
        routes = _decoded(decode_route, [data for data in dump if data[0] in FAMILIES])
        # A kernel before 4.20 does not filter by table.
        return [route for route in routes if every_table or route.table == _RT_TABLE_MAIN]

    def link(self, name: str) -> Link | None:
        """The link of that name; None where there is none."""
        try:
            return decode_link(self._get(_question(name.encode())))
        except NetlinkError as error:
            if error.errno in (errno.ENODEV, errno.ERANGE):  # ERANGE: longer than a link's name can be
                return None
            raise

    def link_index(self, name: str) -> int | None:
        """The index of the link of that name; None where there is none."""
        link = self.link(name)
        return None if link is None else link.index

    def way_to(self, address: str, source: str) -> int | None:
        """Index of the link by which what goes from ``source`` to an address leaves; None where nothing would."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        length = 128 if family == socket.AF_INET6 else 32
        fields = {"family": int(family), "dst_len": length, "src_len": length}
        try:
            question = _message(rtmsg(), rtnl.RTM_GETROUTE, 0, fields, [("RTA_DST", address), ("RTA_SRC", source)])
            return decode_route(self._get(question)).index
        except NetlinkError:  # no route, or the source is not (or no longer) the host's
            return None

    def nsid(self, netns_fd: int) -> int | None:
        """How this channel's namespace numbers that one (``Link.parent_nsid``); None where it does not."""
        data = self._get(_message(nsidmsg(), rtnl.RTM_GETNSID, 0, {}, [("NETNSA_FD", netns_fd)]))
        number = struct.unpack("=i", attributes_of(data, 4)[_NETNSA_NSID])[0]
        return None if number == _NSID_NOT_ASSIGNED else number

    def knows(self, kind: str) -> bool:
        """Whether this kernel has, or can load, links of a kind; nothing is made.

        The request is one that every kind refuses (an address of zeros, no parent), and that the kernel
        refuses otherwise if it does not know the kind (net/core/rtnetlink.c, ``rtnl_newlink``).
        """
        info = [("IFLA_INFO_KIND", kind)]
        attributes: Attributes = [
            ("IFLA_IFNAME", "nu.probe"),
            ("IFLA_ADDRESS", "00:00:00:00:00:00"),
            ("IFLA_LINKINFO", {"attrs": info}),
        ]
        message = _message(_LinkMessage(), rtnl.RTM_NEWLINK, _new_flags(), {}, attributes)
        answer = self._exchange([message])[0]
        return answer is None or answer.errno != errno.EOPNOTSUPP

    def send(self, requests: Sequence[Request]) -> list[NetlinkError | None]:
        """Have the kernel carry out the requests, one after the other, and return its answer to each.

        The result has the order and length of ``requests``, None where the kernel did as asked. A failing one
        does not keep the kernel from the next. Where one cannot be encoded (ValueError, OSError) none is
        sent.
        """
        messages = [encode(request) for request in requests]
        answers: list[NetlinkError | None] = []
        batch: list[bytearray] = []
        for request, message in zip(requests, messages):
            if batch and self._is_full(batch, message):
                answers += self._exchange(batch)
                batch = []
            _record(_REQUESTS[type(request)][0], request)
            batch.append(message)
        return answers + (self._exchange(batch) if batch else [])

    def _is_full(self, batch: Sequence[bytearray], message: bytearray) -> bool:
        most = 1 if recorder is not None else self._most_requests
        return len(batch) >= most or sum(map(len, batch)) + len(message) > _SEND_BYTES

    def _exchange(self, batch: Sequence[bytearray]) -> list[NetlinkError | None]:
        """Send the messages in one piece and collect the answers.

        The kernel takes one after the other and tells of each that fails. Only the last is to be answered in any case: once it
        is, whatever was not told of has been done.
        """
        for message in batch[:-1]:
            (flags,) = struct.unpack_from("=H", message, _FLAGS_OFFSET)
            struct.pack_into("=H", message, _FLAGS_OFFSET, flags & ~nl.NLM_F_ACK)
        first = self._sequence + 1
        last = self._transmit(*batch)
        answers: dict[int, NetlinkError | None] = {}
        lost = False
        while last not in answers:
            try:
                data = self._receive(socket.MSG_DONTWAIT if lost else 0)
            except NetlinkError as error:
                if error.errno != errno.ENOBUFS:
                    break
                lost = True  # all that were not are there by now
                continue
            for kind, flags, sequence, payload in _split(data):
                if kind == nl.NLMSG_ERROR and sequence >= first:
                    answers[sequence] = _answer(payload, flags, _ERROR_TEXT_OFFSET)
        unknown = NetlinkError(errno.ETIMEDOUT, "no answer from the kernel, which may have done it or not")
        untold = unknown if lost or last not in answers else None
        return [answers.get(sequence, untold) for sequence in range(first, last + 1)]

    def _transmit(self, *messages: bytes | bytearray) -> int:
        """Send the messages, numbered on from the last; returns the number of the last."""
        data = bytearray()
        for message in messages:
            self._sequence += 1
            start = len(data)
            data += message
            struct.pack_into("=I", data, start + _SEQUENCE_OFFSET, self._sequence)
        try:
            self._socket.send(data)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from error
        return self._sequence

    def _get(self, message: bytes | bytearray) -> bytes:
        """The one message that answers a question, without its header."""
        asked = self._transmit(message)
        while True:
            for kind, flags, sequence, payload in _split(self._receive()):
                if sequence != asked:
                    continue
                answer = _answer(payload, flags, _ERROR_TEXT_OFFSET) if kind == nl.NLMSG_ERROR else None
                if answer:
                    raise answer
                return payload

    def _dump(self, request: bytes) -> list[bytes]:
        """The messages of a dump, without their headers, asked for again while changes interrupt it."""
        doing = f"list the {_DUMPED[_HEADER.unpack_from(request)[1]]} there"
        try:
            for _try in range(DUMP_TRIES):
                payloads = self._dump_once(request)
                if payloads is not None:
                    return payloads
        except NetlinkError as error:
            raise NetlinkError(error.errno, error.kernel_message, doing) from error
        raise NetlinkError(errno.EINTR, f"changes interrupted each of {DUMP_TRIES} attempts to read", doing)

    def _dump_once(self, request: bytes) -> list[bytes] | None:
        """None where the kernel says that the dump does not show one moment, or part of it was lost."""
        asked = self._transmit(request)
        payloads: list[bytes] = []
        whole = True
        while True:
            try:
                data = self._receive()
            except NetlinkError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                whole = False
                continue
            for answer, flags, sequence, payload in _split(data):
                if sequence != asked:
                    continue
                if flags & nl.NLM_F_DUMP_INTR:
                    whole = False
                if answer in (nl.NLMSG_DONE, nl.NLMSG_ERROR):
                    refusal = _answer(payload, flags, 4 if answer == nl.NLMSG_DONE else _ERROR_TEXT_OFFSET)
                    if refusal:
                        raise refusal
                    return payloads if whole else None
                payloads.append(payload)

    def _receive(self, flags: int = 0) -> bytes:
        try:
            return self._socket.recv(_RECEIVE_BYTES, flags)
        except BlockingIOError:
            text = f"the kernel did not answer within {TIMEOUT_SECONDS} seconds"
            raise NetlinkError(errno.ETIMEDOUT, text) from None
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO) from error


class LinkEvents:
    """Tells of the links of this thread's namespace that come, change and go from now on; something to select on."""

    def __init__(self) -> None:
        require()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        _prepare(self._socket)
        self._socket.bind((0, _RTMGRP_LINK))

    def __enter__(self) -> LinkEvents:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def gone(self, quiet: float, most: float) -> set[str] | None:
        """The names of the links that went since it was last asked; None where some of what happened was lost.

        Returns when nothing was heard for ``quiet`` seconds, after ``most`` at the latest: a card that is plugged in is
        renamed a moment later.
        """
        found: set[str] = set()
        whole = True
        end = time.monotonic() + most
        while select.select([self._socket], [], [], max(0.0, min(quiet, end - time.monotonic())))[0]:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise NetlinkError(error.errno or errno.EIO) from error
                whole = False
                continue
            # A bridge tells in the same way, with its own family, that a port has left it.
            found |= {
                decode_link(payload).name
                for kind, _flags, _sequence, payload in _split(data)
                if kind == rtnl.RTM_DELLINK and payload[0] == socket.AF_UNSPEC
            }
            if time.monotonic() >= end:
                break
        return found if whole else None


def _prepare(sock: socket.socket) -> int:
    """Set the socket's options; returns the size in bytes of its receive buffer."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_SECONDS, 0))
    sock.setsockopt(nl.SOL_NETLINK, nl.NETLINK_EXT_ACK, 1)
    sock.setsockopt(nl.SOL_NETLINK, _NETLINK_CAP_ACK, 1)
    with suppress(OSError):  # Linux 4.20
        sock.setsockopt(nl.SOL_NETLINK, nl.NETLINK_GET_STRICT_CHK, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _SOCKET_BUFFER_BYTES)
    except OSError:  # root of a user namespace only: as much as the system lets everyone have
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _decoded(decode: Callable[[bytes], Fact], dump: Sequence[bytes]) -> list[Fact]:
    """What the messages tell. Where there are many it is a host, whose like is not read again in other namespaces: there the
    bytes are not kept beside what they tell, and their memory serves what comes next."""
    if len(dump) >= _OF_A_HOST:
        decode = getattr(decode, "__wrapped__", decode)
    return [decode(data) for data in dump]


def _split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of a datagram: type, flags, sequence number, payload."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


# In an NLMSG_ERROR the header of the request follows the number; the body does not, by NETLINK_CAP_ACK.
_ERROR_TEXT_OFFSET = 4 + _HEADER.size


def _answer(payload: bytes, flags: int, text_offset: int) -> NetlinkError | None:
    """The error that an NLMSG_ERROR or NLMSG_DONE tells of; None for success."""
    number = -struct.unpack_from("=i", payload)[0]
    if number == 0:
        return None
    found = attributes_of(payload, text_offset) if flags & nl.NLM_F_ACK_TLVS else {}
    return NetlinkError(number, text_of(found.get(_NLMSGERR_ATTR_MSG, b"")))


def namespace_cookie(netns_fd: int) -> int | None:
    """The kernel's number of a namespace, used once in a boot; see ``Channel.cookie``."""
    with Channel(netns_fd) as channel:
        return channel.cookie


# ---- writes that are no messages


def _record(verb: str, request: object) -> None:
    if recorder is not None:
        recorder(verb, request)


def create_namespaces(names: Iterable[str]) -> Generator[UnderlayError | None, None, None]:
    """Make named namespaces as ``ip netns add`` does, in this order; the answer to each, None where it is made. What a kill in
    the middle leaves (an empty file) counts as absent.

    Of many, all but the first are made ahead of the caller, who works in some while the next are made.
    """
    rest = deque(names)
    prepared = False
    with at_home() as home:
        while rest and (not prepared or recorder is not None or len(rest) < _WORTH_A_PROCESS):
            name = rest.popleft()
            _record("create_namespace", name)
            answer = namespaces.answer_of_creation(name, home, prepared)
            prepared = prepared or answer is None
            yield answer
        if rest:
            yield from namespaces.create_ahead(rest, home)


def remove_namespace(name: str) -> None:
    """Take the name away; the namespace goes with its last process or descriptor. Gone before is no error."""
    _record("remove_namespace", name)
    namespaces.remove(name)


def remove_leftover(name: str) -> None:
    """Take away the empty file that a kill left of a name; nothing else that is there."""
    if namespaces.is_leftover(name):
        _record("remove_namespace", name)
        namespaces.remove(name)


def write_sysctl(proc: int, netns_fd: int | None, values: Mapping[str, str]) -> None:
    """Write sysctls of that namespace (None: this thread's): ``net/ipv6/conf/eth0.20/disable_ipv6`` -> "1".

    ``proc`` is what ``procfs`` gave; one for a few namespaces. All names are checked before the first is written.
    UnderlayError where one cannot be; those before stay.
    """
    for name in values:
        namespaces.sysctl_path(name)
    with namespaces.inside(netns_fd):
        for name, value in values.items():
            _record("write_sysctl", (name, value))
            namespaces.put_sysctl(proc, name, value)


Answers = Callable[[], list[Optional[NetlinkError]]]


@contextmanager
def side_by_side(count: int) -> Iterator[Callable[[Channel, Sequence[Request]], Answers]]:
    """What it gives sends the requests of a channel, one after the other, while those of up to ``count`` others are under way,
    and returns what waits for the answers.

    For requests on which the kernel waits for its readers, such as the removal of a link: so many wait together. Each
    channel is a plain socket that was opened in its namespace before, and stays there whatever thread uses it.
    """
    if count <= 1 or recorder is not None:
        yield _at_once
        return
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and seldom needed

    with ThreadPoolExecutor(min(count, _SIDE_BY_SIDE)) as threads:

        def send(channel: Channel, requests: Sequence[Request]) -> Answers:
            answers = _sent_once(channel, requests, Lock())
            try:
                return threads.submit(answers).result
            except RuntimeError:  # there can be no more threads: whoever waits for the answers sends it
                return answers

        yield send


def _sent_once(channel: Channel, requests: Sequence[Request], lock: Lock) -> Answers:
    """Sends by whoever calls it first; all others wait for the answers."""
    found: list[list[NetlinkError | None]] = []

    def answers() -> list[NetlinkError | None]:
        with lock:
            if not found:
                found.append(channel.send(requests))
        return found[0]

    return answers


def _at_once(channel: Channel, requests: Sequence[Request]) -> Answers:
    answers = channel.send(requests)
    return lambda: answers
