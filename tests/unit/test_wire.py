"""Frames, held against scapy; and reading whatever comes in."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import wire
from hypothesis import given
from hypothesis import strategies as st

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402

MAC, OTHER = "02:42:c0:a8:14:0a", "02:00:00:00:00:01"
V4 = ipaddress.ip_address("192.168.20.1")
V6, LOCAL = ipaddress.ip_address("2001:db8::1:2ab:cdef"), ipaddress.ip_address("fe80::42:c0ff:fea8:140a")


def built_alike(ours: bytes, theirs: Ether) -> None:
    """The very bytes that scapy builds, checksums among them."""
    assert ours == bytes(theirs)


# --- built ----------------------------------------------------------------------------------------------------


def test_an_arp_probe_names_no_address_of_ours():
    arp = ARP(op=1, hwsrc=MAC, psrc="0.0.0.0", hwdst="00:00:00:00:00:00", pdst=str(V4))
    built_alike(wire.arp_probe(MAC, V4), Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC) / arp)


def test_a_solicitation_from_a_link_local_address():
    ethernet = Ether(dst="33:33:ff:ab:cd:ef", src=MAC)
    ip = IPv6(src=str(LOCAL), dst="ff02::1:ffab:cdef", hlim=255)
    body = ICMPv6ND_NS(tgt=str(V6)) / ICMPv6NDOptSrcLLAddr(lladdr=MAC)
    built_alike(wire.neighbour_solicitation(MAC, LOCAL, V6), ethernet / ip / body)


def test_a_solicitation_from_no_address_carries_no_mac():
    ip = IPv6(src="::", dst="ff02::1:ffab:cdef", hlim=255)
    theirs = Ether(dst="33:33:ff:ab:cd:ef", src=MAC) / ip / ICMPv6ND_NS(tgt=str(V6))
    built_alike(wire.neighbour_solicitation(MAC, None, V6), theirs)


def test_a_ping_to_all_nodes():
    ip = IPv6(src=str(LOCAL), dst="ff02::1", hlim=255)
    theirs = Ether(dst="33:33:00:00:00:01", src=MAC) / ip / ICMPv6EchoRequest(id=0, seq=1)
    built_alike(wire.echo_to_all(MAC, LOCAL), theirs)


def test_a_padded_frame_carries_an_mtu_and_says_the_same():
    probe = wire.arp_probe(MAC, V4)
    large = wire.padded(probe, 1500)
    assert len(large) == 14 + 1500
    assert large.startswith(probe)
    assert wire.read(large) == wire.read(probe)
    assert wire.padded(probe, 10) == probe


# --- announcements --------------------------------------------------------------------------------------------


def test_an_ipv4_address_is_announced_by_request_and_reply():
    broadcast = Ether(dst="ff:ff:ff:ff:ff:ff", src=MAC)
    request, reply = wire.announcements(MAC, [V4])
    built_alike(request, broadcast / ARP(op=1, hwsrc=MAC, psrc=str(V4), hwdst="00:00:00:00:00:00", pdst=str(V4)))
    built_alike(reply, broadcast / ARP(op=2, hwsrc=MAC, psrc=str(V4), hwdst=MAC, pdst=str(V4)))


def test_an_ipv6_address_is_announced_by_an_advertisement_that_nobody_asked_for():
    [frame] = wire.announcements(MAC, [V6])
    ip = IPv6(src=str(V6), dst="ff02::1", hlim=255)
    body = ICMPv6ND_NA(R=0, S=0, O=1, tgt=str(V6)) / ICMPv6NDOptDstLLAddr(lladdr=MAC)
    built_alike(frame, Ether(dst="33:33:00:00:00:01", src=MAC) / ip / body)


# --- read -----------------------------------------------------------------------------------------------------


def test_an_arp_reply():
    frame = bytes(
        Ether(src=OTHER, dst=MAC) / ARP(op=2, hwsrc=OTHER, psrc=str(V4), hwdst=MAC, pdst="0.0.0.0") / Raw(b"\0" * 18)
    )
    assert wire.read(frame) == wire.Heard(OTHER, "arp", 2, OTHER, V4, ipaddress.ip_address("0.0.0.0"))


def test_the_mac_that_an_arp_reply_names_may_be_another_than_its_senders():
    """So it is with virtual routers (VRRP)."""
    frame = bytes(
        Ether(src=OTHER, dst=MAC) / ARP(op=2, hwsrc="00:00:5e:00:01:01", psrc=str(V4), hwdst=MAC, pdst="0.0.0.0")
    )
    assert wire.read(frame)[:4] == (OTHER, "arp", 2, "00:00:5e:00:01:01")


def test_an_arp_request_without_an_address_of_its_own():
    assert wire.read(wire.arp_probe(MAC, V4)) == wire.Heard(MAC, "arp", 1, MAC, None, V4)


@pytest.mark.parametrize("options", [True, False])
def test_an_advertisement_names_who_is_advertised(options):
    body = ICMPv6ND_NA(tgt=str(V6), R=1, S=1, O=1)
    if options:
        body /= ICMPv6NDOptDstLLAddr(lladdr="00:00:5e:00:02:01")
    frame = bytes(Ether(src=OTHER, dst=MAC) / IPv6(src=str(LOCAL), dst=str(LOCAL), hlim=255) / body)
    mac = "00:00:5e:00:02:01" if options else OTHER
    assert wire.read(frame) == wire.Heard(OTHER, "nd", wire.ADVERTISEMENT, mac, V6, None)


def test_a_solicitation_says_who_asks_for_whom():
    assert wire.read(wire.neighbour_solicitation(MAC, LOCAL, V6)) == wire.Heard(MAC, "nd", 135, MAC, LOCAL, V6)
    assert wire.read(wire.neighbour_solicitation(MAC, None, V6)) == wire.Heard(MAC, "nd", 135, MAC, None, V6)


def test_an_advertisement_from_beyond_a_router_is_none():
    frame = Ether(src=OTHER, dst=MAC) / IPv6(src=str(V6), dst=str(LOCAL), hlim=254) / ICMPv6ND_NA(tgt=str(V6))
    assert wire.read(bytes(frame)) == wire.Heard(OTHER)


def test_other_frames_count_for_their_sender_alone():
    assert wire.read(bytes(Ether(src=OTHER, dst=MAC, type=0x88CC) / Raw(b"x" * 60))) == wire.Heard(OTHER)
    assert wire.read(b"short") is None


WHOLE = (wire.arp_probe(MAC, V4), wire.neighbour_solicitation(MAC, LOCAL, V6), wire.echo_to_all(MAC, LOCAL))


@given(st.sampled_from(WHOLE), st.integers(0, 90), st.binary(max_size=40))
def test_reading_takes_anything(frame, cut, more):
    wire.read(frame[:cut] + more)
    wire.read(os.urandom(14) + more)


@pytest.mark.parametrize("threads", [0, 1])
def test_sockets_are_closed_however_few_threads_there_can_be(threads, monkeypatch):
    real, started = threading.Thread.start, []

    def start(thread):
        if len(started) == threads:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    links = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _number in range(3)]
    monkeypatch.setattr(threading.Thread, "start", start)
    wire.close_all(iter(links))
    assert [link.fileno() for link in links] == [-1] * 3
