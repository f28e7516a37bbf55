# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel tells of links, addresses and routes: the facts as values, and their decoding from netlink messages.

Decoded here and not by pyroute2, since a run reads every namespace that it manages; tests hold it against pyroute2's
decoding on every kind. Pure: bytes in, values out.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Container, Mapping
from functools import lru_cache
from typing import NamedTuple

# linux/if_link.h, linux/if.h, linux/rtnetlink.h, linux/if_addr.h, linux/ipv6.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_LINK_NETNSID, _IFLA_PROP_LIST = 18, 20, 26, 27, 37, 52
# A link has some 40 attributes, on which most of a run's reading time goes by: a quarter of them is needed.
_LINK_WANTED = {
    *(_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER),
    *(_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_AF_SPEC, _IFLA_GROUP, _IFLA_LINK_NETNSID, _IFLA_PROP_LIST),
}
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _IFLA_INFO_SLAVE_KIND = 1, 2, 4
_IFLA_INET6_CONF, _DEVCONF_ACCEPT_RA_DEFRTR, _DEVCONF_DISABLE_IPV6 = 2, 17, 26
IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 0x1, 0x8, 0x10000
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _IFA_PROTO = 1, 2, 8, 11
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_MULTIPATH = 1, 4, 5, 6, 7, 9
_RTA_TABLE, _RTA_VIA = 15, 18
RTNH_F_ONLINK = 4
IPV6_MIN_MTU = 1280  # include/linux/ipv6.h; with less the kernel has no IPv6 on a link

ATTRIBUTE = struct.Struct("=HH")  # length, type
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_ANY = range(_TYPE_MASK + 1)
_LINK = struct.Struct("=BxHiII")  # family, device type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
# family, length of destination and of source, tos, table, protocol, scope, type, flags
_ROUTE = struct.Struct("=BBBBBBBBI")
_HOP = struct.Struct("=HBBi")  # of a multipath route: length, flags, weight, index
_AF_INET, _AF_INET6 = int(socket.AF_INET), int(socket.AF_INET6)  # an IntEnum is slow to compare
FAMILIES = {_AF_INET: 4, _AF_INET6: 6}  # by the number of the address family


class Ipv6Conf(NamedTuple):
    """Of a link's IPv6 sysctls those needed; None where the link has no IPv6 at all (an MTU below 1280)."""

    disable_ipv6: int | None = None
    accept_ra_defrtr: int | None = None


class Link(NamedTuple):
    """One link of a namespace, from RTM_NEWLINK (net/core/rtnetlink.c, ``rtnl_fill_ifinfo``).

    * ``kind``: ``IFLA_INFO_KIND`` ("vlan", "veth"), None for hardware and loopback.
    * ``parent_index``: the link below (of a veth: its peer), an index in the namespace that ``parent_nsid``
      numbers; None there means this namespace, -1 one that has no number here.
    * ``carrier``: up, and the device below sees a signal. ``mac``: lower case, '' if none.
    * ``attributes``: ``IFLA_INFO_DATA`` as (number, value in bytes), read by ``attribute``.
    * ``port_kind``: what kind of master it is a port of ("bridge"), with the master's index in ``master``.
    * ``group``: 0 is the default; ``other_names`` (``ip link property add``) are as taken as ``name``.
    """

    index: int  # type: ignore[assignment]
    name: str
    kind: str | None
    parent_index: int | None
    parent_nsid: int | None
    up: bool
    carrier: bool
    mtu: int
    mac: str
    alias: str
    master: int | None
    loopback: bool
    attributes: tuple[tuple[int, bytes], ...]
    port_kind: str | None
    ipv6_conf: Ipv6Conf
    group: int = 0
    other_names: tuple[str, ...] = ()


class Address(NamedTuple):
    """One address of a link, from RTM_NEWADDR; of a point-to-point link our end.

    ``family`` is 4 or 6; ``address`` in the form of inet_ntop; ``scope``, ``flags`` and ``protocol`` as in
    linux/rtnetlink.h and linux/if_addr.h (``protocol`` 0 before Linux 5.18).
    """

    index: int  # type: ignore[assignment]
    family: int
    address: str
    prefixlen: int
    scope: int
    flags: int
    protocol: int


class Route(NamedTuple):
    """One route, from RTM_NEWROUTE.

    ``family`` is 4 or 6; ``destination`` 'default' or CIDR; ``source`` the preferred source address;
    ``table``, ``scope``, ``protocol`` and ``type`` as in linux/rtnetlink.h. ``gateway`` and ``index`` (the
    link that it leaves by) are None where the route has none or several (multipath); ``hops`` are the indexes of several.
    """

    family: int
    table: int
    destination: str
    gateway: str | None
    index: int | None  # type: ignore[assignment]
    scope: int
    protocol: int
    type: int
    metric: int
    onlink: bool
    source: str | None
    hops: tuple[int, ...] = ()

    @property
    def links(self) -> tuple[int, ...]:
        """The indexes of all links that it leaves by."""
        return self.hops if self.index is None else (self.index,)


def attribute(link: Link, number: int, fmt: str) -> int | None:
    """One of the kind's attributes by its number, read by a ``struct`` format; None where there is none."""
    for found, value in link.attributes:
        if found == number:
            return int(struct.unpack_from(fmt, value)[0])
    return None


# A loopback and a default route are the same bytes in each of a thousand namespaces, and most of what is read again after a
# change is as it was: the same bytes are decoded once.
_decoded_once = lru_cache(maxsize=2048)


@_decoded_once
def decode_link(data: bytes) -> Link:
    """The link of an RTM_NEWLINK message, given without its header."""
    _family, _type, index, flags, _change = _LINK.unpack_from(data)
    found = attributes_of(data, _LINK.size, _LINK_WANTED)
    info = attributes_of(found[_IFLA_LINKINFO]) if _IFLA_LINKINFO in found else {}
    kind, port_kind = info.get(_IFLA_INFO_KIND), info.get(_IFLA_INFO_SLAVE_KIND)
    nsid = found.get(_IFLA_LINK_NETNSID)
    return Link(
        index=index,
        name=text_of(found[_IFLA_IFNAME]),
        kind=None if kind is None else text_of(kind),
        parent_index=number_of(found.get(_IFLA_LINK, b"")) or None,
        parent_nsid=None if nsid is None else struct.unpack("=i", nsid)[0],
        up=flags & IFF_UP != 0,
        carrier=flags & _IFF_LOWER_UP != 0,
        mtu=number_of(found.get(_IFLA_MTU, b"")),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        alias=text_of(found.get(_IFLA_IFALIAS, b"")),
        master=number_of(found.get(_IFLA_MASTER, b"")) or None,
        loopback=flags & _IFF_LOOPBACK != 0,
        attributes=tuple(attributes_of(info[_IFLA_INFO_DATA]).items()) if _IFLA_INFO_DATA in info else (),
        port_kind=None if port_kind is None else text_of(port_kind),
        ipv6_conf=_ipv6_conf(found.get(_IFLA_AF_SPEC, b"")),
        group=number_of(found.get(_IFLA_GROUP, b"")),
        other_names=_other_names(found[_IFLA_PROP_LIST]) if _IFLA_PROP_LIST in found else (),
    )


def _ipv6_conf(specification: bytes) -> Ipv6Conf:
    inet6 = attributes_of(specification, 0, (_AF_INET6,)).get(_AF_INET6, b"")
    values = attributes_of(inet6, 0, (_IFLA_INET6_CONF,)).get(_IFLA_INET6_CONF)
    if values is None:
        return Ipv6Conf()
    numbers = memoryview(values).cast("i")
    return Ipv6Conf(numbers[_DEVCONF_DISABLE_IPV6], numbers[_DEVCONF_ACCEPT_RA_DEFRTR])


def _other_names(properties: bytes) -> tuple[str, ...]:
    """All of them are names, each an attribute of the same number."""
    found = []
    offset = 0
    while offset + ATTRIBUTE.size <= len(properties):
        length, _number = ATTRIBUTE.unpack_from(properties, offset)
        if length < ATTRIBUTE.size:
            break
        found.append(text_of(properties[offset + ATTRIBUTE.size : offset + length]))
        offset += (length + 3) & ~3
    return tuple(found)


@_decoded_once
def decode_address(data: bytes) -> Address:
    """The address of an RTM_NEWADDR message, given without its header."""
    family, prefixlen, flags, scope, index = _ADDRESS.unpack_from(data)
    found = attributes_of(data, _ADDRESS.size)
    return Address(
        index=index,
        family=FAMILIES[family],
        address=socket.inet_ntop(family, found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]),
        prefixlen=prefixlen,
        scope=scope,
        flags=number_of(found[_IFA_FLAGS]) if _IFA_FLAGS in found else flags,
        protocol=number_of(found.get(_IFA_PROTO, b"")),
    )


@_decoded_once
def decode_route(data: bytes) -> Route:
    """The route of an RTM_NEWROUTE message, given without its header."""
    family, length, _source, _tos, table, protocol, scope, kind, flags = _ROUTE.unpack_from(data)
    found = attributes_of(data, _ROUTE.size)
    source = found.get(_RTA_PREFSRC)
    return Route(
        family=FAMILIES[family],
        table=number_of(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
        destination=f"{socket.inet_ntop(family, found[_RTA_DST])}/{length}" if length else "default",
        gateway=_gateway(family, found),
        index=number_of(found.get(_RTA_OIF, b"")) or None,
        scope=scope,
        protocol=protocol,
        type=kind,
        metric=number_of(found.get(_RTA_PRIORITY, b"")),
        onlink=flags & RTNH_F_ONLINK != 0,
        source=None if source is None else socket.inet_ntop(family, source),
        hops=_hops(found[_RTA_MULTIPATH]) if _RTA_MULTIPATH in found else (),
    )


def _gateway(family: int, found: Mapping[int, bytes]) -> str | None:
    """A gateway of the route's own family, or (RTA_VIA: family, address) of the other."""
    if _RTA_GATEWAY in found:
        return socket.inet_ntop(family, found[_RTA_GATEWAY])
    if _RTA_VIA in found:
        return socket.inet_ntop(number_of(found[_RTA_VIA][:2]), found[_RTA_VIA][2:])
    return None


def _hops(data: bytes) -> tuple[int, ...]:
    found = []
    offset = 0
    while offset + _HOP.size <= len(data):
        length, _flags, _weight, index = _HOP.unpack_from(data, offset)
        if length < _HOP.size:
            break
        found.append(index)
        offset += (length + 3) & ~3
    return tuple(found)


def attributes_of(data: bytes, offset: int = 0, wanted: Container[int] = _ANY) -> dict[int, bytes]:
    """Of the attributes that follow one another from ``offset`` those wanted: number -> value."""
    found = {}
    unpack = ATTRIBUTE.unpack_from
    end = len(data) - ATTRIBUTE.size
    while offset <= end:
        length, number = unpack(data, offset)
        if length < ATTRIBUTE.size:
            break
        if number & _TYPE_MASK in wanted:
            found[number & _TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def number_of(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def text_of(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="backslashreplace")
