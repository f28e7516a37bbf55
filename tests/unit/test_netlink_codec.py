# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The messages of netlink.py, held against pyroute2 in both directions. Needs no root and no kernel.

What is decoded was dumped by Linux 6.1 in the lab from namespaces with links of every kind, addresses and
routes of every shape: ``(length, message)`` one after the other, compressed. The messages came without their
headers.
"""

from __future__ import annotations

import base64
import os
import struct
import subprocess
import sys
import zlib
from importlib import metadata

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import facts, netlink
from ansible_collections.netops.underlay.plugins.module_utils.facts import Address, Ipv6Conf, Link, Route
from ansible_collections.netops.underlay.plugins.module_utils.netlink import (
    AddAddress,
    AddRoute,
    ChangeLink,
    CreateLink,
    DeleteAddress,
    DeleteLink,
    DeleteRoute,
)
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

LINKS = (
    "eNrtm01sG0UUgN/seu114iSb2M1fEydp0iRt02JSEaHUiEhUonBBBQlV4tKkNhCUxCHEoUhIGCGkHhAKHEoRHHpCqAcOiAtSDlXb"
    "AweKIlRVHBAH1ENACMEFIX5k3uy8ddYTxz/pbuINO1L89u3Mzs7OvPn2zZvNPypgCqgMf58A/gsQAhXmMgA6NMEG5mtgmOc1aDWl"
    "DgH8ZSjHST9J8iDJOMlHSPaZNeswCvk8l0fo+kmSp+DPfAhl0szXYMAsH4EgLGRezqazacwbpLoeIJmgNo2YcgiaoVJqoOcTx0rh"
    "OABH4WvogP2SUjiCbqcIHMO+F324xrrhHTy+ZOtfMEe2+A9sUk6sTF6pZOCwb6il6xljDWgfZm25GLaS29QtVPofFdf8Ru2eoivk"
    "duYxXW0RZflxbjIMubMM+O3O4aVGiec7//P2beV1yO1mUpuhTP/kfp0om09GTPcS97OXi5WwBw17iKfOgKiV98hjBqO5pcJyZqlo"
    "/gel+f+9Bub8P03zX8xrd+e/QvOf0fxntvnP53C1DGh//EpX8rZgQD4vRsdiQJDKWaY1RZhoYN6Y+6qNAUHS+TO40X47AwxogzD2"
    "7Up6+UUx5pp5byfYUGuqlQ3Popq8vJUN3MbLscGs5D7ZwEq0u97YoNrYEEYNhzghxtg7fKiaDT/8ffvaYmk2WCZlMcKaU1OK9/wD"
    "lZ6DP4Mb7a/EBsVDbMid8dkgsyFJbAjY2BAhNpwYT1TFBthFNpRbO9TkO5Thg/wOttIE8x4f7M8x4bLvkLD4MDe9wPV+PB/E3DdN"
    "RjG0Q15eKcwxL/kWl1Ht/MTnh8yPh4kf2A2gGFDMj5PF/FD2gB9hkx+ZRVGHM7GHatjhxx6cYcelTwU74t5jB1jseA7VH5/02SGz"
    "Y5TYwf2Km7C5LknNHn9QXpdABXbIcUtWIzuE3N73iOKTLKSXM4uvTN5cm5+bzi6Do/7IeHfL2qnJ2vyRvzzKFNXF9svrFd63qez8"
    "/Gt1zArD5mecx4x3c3vDinqOb65rolZeQqUH4/HNmaXqfAy34hdQYo3CJCbsNL7ZPTb7zHuv+n6Gk0xYZ23QiH07szSbeiENcJ0p"
    "mG/YzHMU9VZJb5P0KESzlg0ysjEFviKbXA8J20tkRYxExJrwLZfjdhAiPUxta8TTYqQjONLWcRBzrHegmAfNJFvIPmLAcjeojhO0"
    "38fr1Wm9NUJ2d4SuO06ync53kOyk810kj9J9u81eMeeKwWUPxeV6aY4dIzlm1iP6JY7jae+nPlhN2/V++PiCXR+AOwm7fqjAMqEP"
    "wkMRiwNDJA+THHZsz8pt/28G1eErvv8nM/0XBYirm2tHHtFcnIGyTOfn3Wa6vG50iunfNn3WezfsM93tuDSn6yrUFxtS5MOEZXuf"
    "hvvyYay1DtuBvetoiSHYmd37fsze2fw5Vmzzjdijlk+TZBqWY+RnKPjWFX6JsKsAMVgjGSQZItlTYLQY6zDJgyTjJBuoXITa1mTz"
    "Y5ptfkwL+im8HQa1p5X0NqonSvXESPZSuT7S+0kOSn7AgLTW7sY2HLC9krjeLukdtndQF9k2+hMKl8NgsUP3iF+RRvXqNd+v2C4m"
    "3WDjLI8rzS6ubNnv3u31oh+T9g5jh0CsFdFuzKh0zIxJi2+sOFcV4kXAHIOJwhh4gR0voTpx1ll2wD5gx2liR6PEjvnpC/uWHYeG"
    "4h+Ef/LZ4SQ7ksiOCPYt2o0JjzE8r9M3qkEqo5PvpWPbxJpWJym8My9w5CNU/1jdfR+E1TlHzhBHuHds/+YO7WHL3pb8Xc1FiSPy"
    "3latHKm0t+XkPtb716OfT94rzxL5M7UvPMoSxcX2V8MSpUqWBMEb39h8iOq9p7ey5OL/fD3zHbGE7wQoMWuuqTCTWUglHPZJjBpZ"
    "4mas9G56I/77Yd8vcZIldyhWym2H67fwvBUr0mlnXidDtfau9EJMKEhjG6LzYZLFsSBN2rPSeQwIhH2yIvtsIxmlemOU30vyQGHP"
    "CqQYlEKxIeYRP+l1VJvf8mM1Mtt6iG3cUnKBzfXWytLzFddbI9b/LmqCbUJ31k+qZb1VC9uUN57698sFn21Osq0TecLnHdqO+a2g"
    "TjFAL/DhbVS/mdrKh5EK/9foBB/q+buf/wBVoFz5"
)

ADDRESSES = (
    "eNqNkbFKA0EQQGf2zuSMEQu3UKv8gHJaSUyRLhbWqVMoKAha2LvkC6yCKSQEUoilIFhYXJE2v2DlX0h2ndldcHJckYW94WZ5b2Zn"
    "OwCgMmORYgYIjwCYgfKxDgnc3nE+A0PnGmrg4vqgf97nzO8ZSCNfvGrFfIgpR9ckz9XDdX50kle6Xqg47y67WoZOgqvBrZGLIm6S"
    "4/Lm8Bigup8J8ZPoaJhwHw38XVkomTkl5sK3AVue8I5usVTRYU2Ade/Z2f3OQjr6BPBmRxEdiXAkZcf3r7OLt/t1HKfeMfSzZUcL"
    "tz/FXZR0TImfRsdQ1E/XqD8iblRR/yLM0r+Hpnfw9VHWx3Iukd4Z5Wf4P9/Qk1nWSj3lBzvOfp21JTsgboCrbyPn2iw5nopdZ9/b"
    "P9IxJn5cca8/rtuuvQ=="
)

ROUTES = (
    "eNq9lD0OgkAQhd8uywJGozHEWFhYUFJYWFp4GA9h6TE8goUHsPRiEmeW/wU1rhEImSz73nzD7IQEgKQn8yAoIMQUmYk+7pdYhFB0"
    "Aynr1qSTD0snMKKtEAFHo9f0fsv6Geft0UuOmhwc27595UPX5wEJItC2qamskde6WHMtaSOHsnOoXHed1czdO6YPLDCnvGsxuaG+"
    "It7Pe7Oq/brj10Xvlv29o/pNDyjKMt+BntGe9e16YlpaVZg+sqr0Jhjj0+VTJpSc0xuOqCyyydH/43i/cI7M2XTPseIEtSemhdVL"
    "840R3NjnT+zQOjPFcxeZ2VFG59v1iFUx17yXnVpY8XX/X8yTlbc1T9LlnB043kAcPRBHDcQZu3D4X6/s/1w+j30z6PI9Tz5KVNQ="
)

FAR_LINKS = (
    "eNrtVD1LA0EQfZu7y12CH1ECgoIiKn4FFAWLGEHEThs7S4NiFROxsE6XFOY/KFhZW/oTrK3EOliIpYVwzu6Mcp7naYiiiHPcvZmb"
    "3dnZ3XnzaIHEthR9PbC4sFCqaLsTTfI7yCABjT3G78GmryKcE3tecEBwUHBJcAgcfwK+r3FS5ucFF/Hgu4QF43cwbMankES5Utnn"
    "GCMSa0Zw1qCDcYOj6MJHkjZRn/XEi25jCpfow1+RHbrB75YOTNPZ8xleqH4ckV4PnC/Mzb5+EcCwqBhflGTo2ptWdJycSlN9cLQs"
    "Zalrqk7m6QrPuZe8l2VGOE+f5Libx2q9mk+huqGgl9ukqZmI/W3dvp+rjhHOW4VyRsz5VO8WYv1SxLIWrxccl42oB0fYvm5zVNou"
    "ErIxj3a6WzyI5f+1A8P/VeE/8/rn+K85/NkecLN2ftU44R7g+3w7/z2gvR5QQC/ZCnvF7cNSsYwc/dcc1N6kjPFIY3RNXXn0MI7J"
    "f8dw7Cv6SavSaj9pkHlWe9tPNC/i+onhc5v9REXk/Vv6yRMmEHHz"
)


def unpacked(blob: str) -> list[bytes]:
    data = zlib.decompress(base64.b64decode(blob))
    messages = []
    while data:
        (length,) = struct.unpack_from("=I", data)
        messages.append(data[4 : 4 + length])
        data = data[4 + length :]
    return messages


def theirs(message_class: type, payload: bytes):
    """pyroute2's decoding of a message that came without its header."""
    message = message_class(struct.pack("=IHHII", 16 + len(payload), 0, 0, 0, 0) + payload)
    message.decode()
    return message


def nested(message, *names: str):
    for name in names:
        if message is None:
            return None
        message = message.get_attr(name)
    return message


FLAG_UP, FLAG_LOOPBACK, FLAG_LOWER_UP = 1, 8, 0x10000
LINK_NAMES = [
    *("lo", "tor", "eth0", "eth0.20", "eth0.30", "di-1", "br0", "pb", "pa"),
    *("ipv0", "mac0", "mac1", "bond0", "vrf0"),
]


@pytest.mark.parametrize("payload", unpacked(LINKS) + unpacked(FAR_LINKS))
def test_link_is_what_pyroute2_reads(payload):
    ours, message = netlink.decode_link(payload), theirs(ifinfmsg, payload)
    info = message.get_attr("IFLA_LINKINFO")
    conf = nested(message, "IFLA_AF_SPEC", "AF_INET6", "IFLA_INET6_CONF") or {}
    assert (ours.index, ours.name) == (message["index"], message.get_attr("IFLA_IFNAME"))
    assert ours.kind == nested(info, "IFLA_INFO_KIND")
    assert ours.port_kind == nested(info, "IFLA_INFO_SLAVE_KIND")
    assert ours.parent_index == (message.get_attr("IFLA_LINK") or None)
    assert ours.parent_nsid == message.get_attr("IFLA_LINK_NETNSID")
    assert ours.up == bool(message["flags"] & FLAG_UP)
    assert ours.carrier == bool(message["flags"] & FLAG_LOWER_UP)
    assert ours.loopback == bool(message["flags"] & FLAG_LOOPBACK)
    assert (ours.mtu, ours.mac) == (message.get_attr("IFLA_MTU"), message.get_attr("IFLA_ADDRESS"))
    assert ours.alias == (message.get_attr("IFLA_IFALIAS") or "")
    assert ours.master == message.get_attr("IFLA_MASTER")
    assert ours.ipv6_conf == Ipv6Conf(conf.get("disable_ipv6"), conf.get("accept_ra_defrtr"))
    assert ours.group == message.get_attr("IFLA_GROUP")


@pytest.mark.parametrize(
    ("name", "number", "fmt", "path"),
    [
        ("eth0.20", 1, "=H", "IFLA_VLAN_ID"),
        ("eth0.30", 1, "=H", "IFLA_VLAN_ID"),
        ("eth0.30", 5, ">H", "IFLA_VLAN_PROTOCOL"),
        ("br0", 1, "=I", "IFLA_BR_FORWARD_DELAY"),
        ("vrf0", 1, "=I", "IFLA_VRF_TABLE"),
        ("ipv0", 1, "=H", "IFLA_IPVLAN_MODE"),
    ],
)
def test_kind_attribute_is_what_pyroute2_reads(name, number, fmt, path):
    payload = unpacked(LINKS)[LINK_NAMES.index(name)]
    value = nested(theirs(ifinfmsg, payload), "IFLA_LINKINFO", "IFLA_INFO_DATA", path)
    assert facts.attribute(netlink.decode_link(payload), number, fmt) == value
    assert value is not None


def test_links_of_a_namespace():
    links = {link.name: link for link in map(netlink.decode_link, unpacked(LINKS))}
    assert list(links) == LINK_NAMES
    kinds = {name: link.kind for name, link in links.items()}
    assert kinds == {
        "lo": None,
        "eth0": "veth",
        "tor": "veth",
        "eth0.20": "vlan",
        "eth0.30": "vlan",
        "di-1": "dummy",
        "br0": "bridge",
        "pa": "veth",
        "pb": "veth",
        "ipv0": "ipvlan",
        "mac0": "macvlan",
        "mac1": "macvlan",
        "bond0": "bond",
        "vrf0": "vrf",
    }
    assert links["lo"].loopback
    assert links["di-1"].alias == "netops:ümlaut"
    assert (links["pa"].port_kind, links["pa"].master) == ("bridge", links["br0"].index)
    assert links["mac1"].parent_index == links["di-1"].index
    assert facts.attribute(links["ipv0"], 1, "=H") == 2  # l3s
    assert facts.attribute(links["ipv0"], 2, "=H") == 2  # vepa, which pyroute2 does not know
    assert facts.attribute(links["mac0"], 1, "=I") == 1  # private
    assert facts.attribute(links["mac0"], 99, "=I") is None
    assert links["mac0"].ipv6_conf.disable_ipv6 == 1
    assert links["ipv0"].ipv6_conf.accept_ra_defrtr == 0
    assert links["pb"].ipv6_conf == Ipv6Conf(None, None)  # its MTU is too small for IPv6


def test_link_whose_parent_is_in_another_namespace():
    far = netlink.decode_link(unpacked(FAR_LINKS)[-1])
    assert (far.kind, far.parent_nsid) == ("macvlan", 0)
    assert far.parent_index == netlink.decode_link(unpacked(LINKS)[LINK_NAMES.index("eth0")]).index


@pytest.mark.parametrize("payload", unpacked(ADDRESSES))
def test_address_is_what_pyroute2_reads(payload):
    message = theirs(ifaddrmsg, payload)
    # IFA_PROTO is unknown to pyroute2.
    assert netlink.decode_address(payload)._replace(protocol=0) == Address(
        index=message["index"],
        family={2: 4, 10: 6}[message["family"]],
        address=message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"),
        prefixlen=message["prefixlen"],
        scope=message["scope"],
        flags=message.get_attr("IFA_FLAGS"),
        protocol=0,
    )


def test_addresses_of_a_namespace():
    addresses = {f"{a.address}/{a.prefixlen}": a for a in map(netlink.decode_address, unpacked(ADDRESSES))}
    assert addresses["127.0.0.1/8"].scope == 254
    assert (addresses["::1/128"].protocol, addresses["192.168.20.2/24"].protocol) == (
        1,
        0,
    )  # the kernel's, a user's
    assert addresses["192.168.20.2/24"].family == 4
    assert addresses["10.0.0.1/32"].address == "10.0.0.1"  # our end, not the peer 10.0.0.2
    assert addresses["2001:db8:1::2/128"].family == 6
    assert addresses["2001:db8::2/64"].flags & 0x02  # nodad


@pytest.mark.parametrize("payload", unpacked(ROUTES))
def test_route_is_what_pyroute2_reads(payload):
    message = theirs(rtmsg, payload)
    target, length, via = message.get_attr("RTA_DST"), message["dst_len"], message.get_attr("RTA_VIA")
    assert netlink.decode_route(payload) == Route(
        family={2: 4, 10: 6}[message["family"]],
        table=message.get_attr("RTA_TABLE"),
        destination=f"{target}/{length}" if length else "default",
        gateway=via["addr"] if via else message.get_attr("RTA_GATEWAY"),
        index=message.get_attr("RTA_OIF"),
        scope=message["scope"],
        protocol=message["proto"],
        type=message["type"],
        metric=message.get_attr("RTA_PRIORITY") or 0,
        onlink=bool(message["flags"] & 4),
        source=message.get_attr("RTA_PREFSRC"),
        hops=tuple(hop["oif"] for hop in message.get_attr("RTA_MULTIPATH") or ()),
    )


def test_routes_of_a_namespace():
    decoded = list(map(netlink.decode_route, unpacked(ROUTES)))
    routes = {(r.family, r.destination): r for r in decoded}
    assert {r.table for r in decoded} == {254}
    assert routes[4, "default"].gateway == "192.168.20.1"
    assert routes[6, "default"].gateway == "2001:db8::1"
    assert routes[4, "10.2.0.0/16"].source == "10.0.0.1"
    assert (routes[4, "10.3.0.0/16"].gateway, routes[4, "10.3.0.0/16"].index) == (None, None)  # multipath
    assert routes[4, "10.4.0.0/16"].onlink
    assert routes[4, "10.5.0.0/16"].gateway == "2001:db8::9"
    assert routes[4, "10.6.0.0/16"].type == 6  # blackhole


def header(data: bytearray) -> tuple[int, int, int]:
    length, kind, flags, _sequence, _port = struct.unpack_from("=IHHII", data)
    assert length == len(data)
    return kind, flags & 0x5, flags & 0x600  # request and ack; excl and create


def test_other_names_of_a_link():
    properties = b"".join(struct.pack("=HH", 4 + 8, 53) + name for name in (b"enp1s0\0\0", b"lan-one\0"))
    message = bytes(netlink.encode(CreateLink("eth0", "dummy"))[16:])
    given = struct.pack("=HH", 4 + len(properties), 52 | 0x8000) + properties
    assert netlink.decode_link(message + given).other_names == ("enp1s0", "lan-one")
    assert netlink.decode_link(message).other_names == ()


NEW, CHANGE = (0x5, 0x600), (0x5, 0)


def test_create_link():
    attributes = ((1, "=H", 2), (2, "=H", 1))
    data = netlink.encode(
        CreateLink("tmp0", "ipvlan", 7, 9, 1400, "02:42:0a:00:00:01", attributes, group=2_000_000_001)
    )
    message = theirs(ifinfmsg, bytes(data[16:]))
    assert header(data) == (16, *NEW)
    assert message.get_attr("IFLA_IFNAME") == "tmp0"
    assert (message.get_attr("IFLA_LINK"), message.get_attr("IFLA_NET_NS_FD")) == (7, 9)
    assert (message.get_attr("IFLA_MTU"), message.get_attr("IFLA_ADDRESS")) == (1400, "02:42:0a:00:00:01")
    assert message.get_attr("IFLA_GROUP") == netlink.decode_link(bytes(data[16:])).group == 2_000_000_001
    assert nested(message, "IFLA_LINKINFO", "IFLA_INFO_KIND") == "ipvlan"
    assert netlink.decode_link(bytes(data[16:])).attributes == ((1, b"\2\0"), (2, b"\1\0"))


def test_create_link_sends_nothing_that_was_left_out():
    data = netlink.encode(CreateLink("di-1", "dummy"))
    message = theirs(ifinfmsg, bytes(data[16:]))
    assert [name for name, _value in message["attrs"]] == ["IFLA_IFNAME", "IFLA_LINKINFO"]
    assert [name for name, _value in message.get_attr("IFLA_LINKINFO")["attrs"]] == ["IFLA_INFO_KIND"]


def test_kind_that_pyroute2_does_not_know():
    data = netlink.encode(CreateLink("x", "later", attributes=((300, ">I", 5), (2, "3s", b"abc"))))
    link = netlink.decode_link(bytes(data[16:]))
    assert (link.kind, link.attributes) == ("later", ((300, b"\0\0\0\5"), (2, b"abc")))


def test_change_link():
    data = netlink.encode(ChangeLink(5, name="eth0", alias="mark", up=True, mtu=0, group=0))
    message = theirs(ifinfmsg, bytes(data[16:]))
    assert header(data) == (16, *CHANGE)
    assert (message["index"], message["flags"], message["change"]) == (5, 1, 1)
    assert dict(slot[:2] for slot in message["attrs"]) == {
        "IFLA_IFNAME": "eth0",
        "IFLA_IFALIAS": "mark",
        "IFLA_MTU": 0,
        "IFLA_GROUP": 0,
    }
    down = theirs(ifinfmsg, bytes(netlink.encode(ChangeLink(5, up=False))[16:]))
    assert (down["flags"], down["change"]) == (0, 1)
    kept = theirs(ifinfmsg, bytes(netlink.encode(ChangeLink(5, kind="macvlan", attributes=((1, "=I", 8),)))[16:]))
    assert (kept["flags"], kept["change"]) == (0, 0)
    assert nested(kept, "IFLA_LINKINFO", "IFLA_INFO_DATA", "IFLA_MACVLAN_MODE") == "passthru"


def test_delete_link():
    data = netlink.encode(DeleteLink(5))
    message = theirs(ifinfmsg, bytes(data[16:]))
    assert header(data) == (17, *CHANGE)
    assert (message["index"], message["attrs"]) == (5, [])


@pytest.mark.parametrize(
    ("address", "prefixlen", "fields", "broadcast"),
    [
        ("192.168.20.2", 24, (2, 0, 0), "192.168.20.255"),
        ("192.168.20.2", 30, (2, 0, 0), "192.168.20.3"),
        ("192.168.20.2", 31, (2, 0, 0), None),
        ("192.168.20.2", 32, (2, 0, 0), None),
        ("127.0.0.1", 8, (2, 0, 254), None),
        ("2001:db8::2", 64, (10, 2, 0), None),
    ],
)
def test_addresses_sent(address, prefixlen, fields, broadcast):
    data = netlink.encode(AddAddress(3, address, prefixlen))
    message = theirs(ifaddrmsg, bytes(data[16:]))
    assert header(data) == (20, *NEW)
    assert (message["family"], message["flags"], message["scope"]) == fields
    assert (message["index"], message["prefixlen"]) == (3, prefixlen)
    assert message.get_attr("IFA_LOCAL") == message.get_attr("IFA_ADDRESS") == address
    assert message.get_attr("IFA_BROADCAST") == broadcast
    gone = netlink.encode(DeleteAddress(3, address, prefixlen))
    assert header(gone) == (21, *CHANGE)
    assert netlink.decode_address(bytes(gone[16:])).address == address


def test_address_that_is_probed():
    message = theirs(ifaddrmsg, bytes(netlink.encode(AddAddress(3, "2001:db8::2", 64, nodad=False))[16:]))
    assert message["flags"] == 0
    message = theirs(ifaddrmsg, bytes(netlink.encode(AddAddress(3, "2001:db8::2", 64, optimistic=True))[16:]))
    assert message["flags"] == 0x04  # linux/if_addr.h: IFA_F_OPTIMISTIC


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (AddRoute(4, "default", 3, "10.0.0.1"), ("default", "10.0.0.1", 0, 0, False)),
        (AddRoute(4, "default", 3), ("default", None, 253, 0, False)),
        (AddRoute(4, "10.1.0.0/16", 3, "10.9.9.9", True, 7), ("10.1.0.0/16", "10.9.9.9", 0, 7, True)),
        (AddRoute(4, "10.1.0.5/32", 3, scope=254), ("10.1.0.5/32", None, 254, 0, False)),
        (AddRoute(6, "default", 3), ("default", None, 0, 0, False)),
        (AddRoute(6, "2001:db8::/48", 3, "fe80::1"), ("2001:db8::/48", "fe80::1", 0, 0, False)),
    ],
)
def test_routes_sent(request_, expected):
    data = netlink.encode(request_)
    route = netlink.decode_route(bytes(data[16:]))
    assert header(data) == (24, *NEW)
    assert (route.destination, route.gateway, route.scope, route.metric, route.onlink) == expected
    assert (route.family, route.index, route.table) == (request_.family, 3, 254)
    assert (route.protocol, route.type) == (3, 1)
    assert theirs(rtmsg, bytes(data[16:])).get_attr("RTA_GATEWAY") == request_.gateway


def test_delete_route_matches_what_is_left_out():
    data = netlink.encode(DeleteRoute(4, "default", 3))
    route = netlink.decode_route(bytes(data[16:]))
    assert header(data) == (25, *CHANGE)
    assert (route.scope, route.protocol, route.type) == (255, 0, 0)
    assert netlink.decode_route(bytes(netlink.encode(DeleteRoute(4, "default", 3, scope=0))[16:])).scope == 0


def test_facts_cannot_be_changed():
    link: Link = netlink.decode_link(unpacked(LINKS)[0])
    with pytest.raises(AttributeError):
        link.name = "other"


def test_missing_library(monkeypatch):
    monkeypatch.setattr(netlink, "_import_error", "No module named 'pyroute2'")
    monkeypatch.setattr(netlink, "_library_version", "")
    with pytest.raises(netlink.MissingLibrary) as caught:
        netlink.require()
    text = str(caught.value)
    assert "pyroute2 is missing" in text
    assert f"{sys.executable} -m pip install 'pyroute2>=0.7.2'" in text
    assert "apt install python3-pyroute2" in text


def test_library_that_is_too_old(monkeypatch):
    monkeypatch.setattr(netlink, "_library_version", "0.6.13")
    with pytest.raises(netlink.MissingLibrary, match=r"0\.6\.13 is too old.*0\.7\.2 or newer"):
        netlink.require()


@pytest.mark.parametrize("version", ["0.7.2", "0.7.12", "0.9.7", "1.0", "0.10.0.post1"])
def test_library_that_will_do(monkeypatch, version):
    monkeypatch.setattr(netlink, "_library_version", version)
    netlink.require()


def test_library_that_does_not_know_its_version(monkeypatch):
    """Debian 12's package: its version is "unknown", the metadata say 0.7.2."""
    monkeypatch.setattr(netlink, "_library_version", "unknown")
    monkeypatch.setattr(metadata, "version", lambda name: "0.7.2")
    netlink.require()
    monkeypatch.setattr(metadata, "version", lambda name: "0.6.9")
    with pytest.raises(netlink.MissingLibrary, match=r"0\.6\.9 is too old"):
        netlink.require()


def test_error_words():
    assert str(netlink.NetlinkError(17)) == "File exists"
    assert str(netlink.NetlinkError(17, "it is there")) == "File exists (it is there)"


@pytest.mark.parametrize(
    "name", ["kernel/hostname", "net", "net/../kernel/hostname", "net/./x", "net//x", "/net/x", "net/x/"]
)
def test_sysctl_outside_the_namespace(name):
    with pytest.raises(netlink.UnderlayError, match="no sysctl of a network namespace"):
        netlink.write_sysctl(-1, None, {name: "1"})


# ---- one message of each form by pyroute2, the others by copies of it

_names = st.text(alphabet=st.sampled_from("abZ09._~^-ö"), min_size=1, max_size=15)
_maybe = st.none() | st.integers(1, 65535)
_macs = st.none() | st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
_indexes = st.integers(0, 0x7FFFFFFF) | st.sampled_from([0x7E6D5C4B, 0x7E7E7E7E])
_attributes = st.sampled_from([(), ((1, "=H", 0), (2, "=H", 1)), ((1, "=I", 4),)])
_groups = st.none() | st.integers(0, 0x7FFFFFFF) | st.just(0x7C6B5A49)
_kinds = st.sampled_from(["macvlan", "ipvlan", "vlan", "dummy"])
_ipv4 = st.ip_addresses(v=4).map(str), st.integers(0, 32)
_ipv6 = st.ip_addresses(v=6).map(str), st.integers(0, 128)
_interfaces = st.tuples(*_ipv4) | st.tuples(*_ipv6)
_metrics = st.none() | st.integers(1, 1 << 31)
_requests = st.one_of(
    st.builds(CreateLink, _names, _kinds, _maybe, st.none() | _indexes, _maybe, _macs, _attributes, _groups),
    st.builds(
        ChangeLink, _indexes, st.none() | _names, st.none() | st.text(alphabet="abc /ö", max_size=200),
        st.none() | st.booleans(), _maybe, _macs, st.none() | _kinds, _attributes, st.none() | _indexes,
        st.none() | st.just(0),
    ),
    st.builds(DeleteLink, _indexes),
    st.builds(lambda at, one, *how: AddAddress(at, *one, *how), _indexes, _interfaces, st.booleans(), st.booleans()),
    st.builds(lambda at, one: DeleteAddress(at, *one), _indexes, _interfaces),
    st.builds(
        lambda kind, at, gateway, metric, protocol: kind(4, "default", at, gateway, False, metric, None, protocol),
        st.sampled_from([AddRoute, DeleteRoute]), _indexes, st.none() | st.ip_addresses(v=4).map(str), _metrics,
        st.none() | st.integers(1, 255),
    ),
    st.builds(lambda at, to: AddRoute(6, f"{to}/128", at, protocol=110), _indexes, st.ip_addresses(v=6)),
)  # fmt: skip


@given(st.lists(_requests, min_size=1, max_size=4))
def test_a_copy_is_what_pyroute2_would_have_made(requests):
    for request in [*requests, *requests]:
        assert netlink.encode(request) == netlink.encode_whole(request)


def test_forms_are_not_kept_without_end():
    for metric in range(2500):
        netlink.encode(AddRoute(4, "default", 7, metric=metric))
    assert len(netlink._moulds) <= 1000


@pytest.mark.parametrize("mac", ["02:42", "02:42:0a:00:00:01:01", "zz:42:0a:00:00:01"])
def test_what_is_no_mac_address_is_not_sent(mac):
    with pytest.raises(ValueError):
        netlink.encode(CreateLink("wxyz", "macvlan", mac=mac))


def test_what_is_imported_does_not_import_all_of_the_library():
    """It would cost every task a tenth of a second; and whoever imports it afterwards gets it whole."""
    code = (
        "import sys; from ansible_collections.netops.underlay.plugins.module_utils import netlink;"
        " assert not [name for name in sys.modules if name == 'pyroute2' or name.startswith('pyroute2.iproute')];"
        " from pyroute2 import IPRoute, netlink; from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})


def test_the_bytes_of_many_links_are_not_kept():
    [payload, *_others] = unpacked(LINKS)
    facts.decode_link.cache_clear()
    many = netlink._decoded(facts.decode_link, [payload] * netlink._OF_A_HOST)
    assert facts.decode_link.cache_info().currsize == 0
    # The control: those of a namespace, whose like there are in others.
    few = netlink._decoded(facts.decode_link, [payload] * (netlink._OF_A_HOST - 1))
    assert facts.decode_link.cache_info().currsize == 1
    assert set(few) == set(many)
