"""What a switch says of itself, in frames that scapy built."""

from __future__ import annotations

import logging

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import lldp
from hypothesis import given
from hypothesis import strategies as st

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.contrib import cdp  # noqa: E402
from scapy.contrib import lldp as scapy_lldp  # noqa: E402
from scapy.layers.l2 import LLC, SNAP, Dot3, Ether  # noqa: E402

SWITCH = "02:00:00:00:00:01"


def ours(subtype: int, value: bytes) -> scapy_lldp.LLDPDUGenericOrganisationSpecific:
    """A part that IEEE 802.1 has defined."""
    return scapy_lldp.LLDPDUGenericOrganisationSpecific(org_code=0x0080C2, subtype=subtype, data=value)


def frame_of_lldp(port: object = None, *more: object) -> bytes:
    parts = Ether(dst="01:80:c2:00:00:0e", src=SWITCH) / scapy_lldp.LLDPDUChassisID(subtype=4, id=SWITCH)
    parts /= port or scapy_lldp.LLDPDUPortID(subtype=5, id=b"Ethernet1/7")
    parts /= scapy_lldp.LLDPDUTimeToLive(ttl=120)
    for part in more:
        parts /= part
    return bytes(parts / scapy_lldp.LLDPDUEndOfLLDPDU())


def test_a_switch_that_tells_all():
    frame = frame_of_lldp(
        None,
        scapy_lldp.LLDPDUPortDescription(description="hypervisor 12"),
        scapy_lldp.LLDPDUSystemName(system_name="tor1"),
        ours(1, b"\x00\x01"),
        ours(3, b"\x00\x14\x03web"),
        ours(3, b"\x00\x0a\x00"),
    )
    assert lldp.read(frame) == lldp.Neighbour("lldp", "tor1", "Ethernet1/7", "hypervisor 12", (10, 20), 1)


def test_a_switch_that_tells_what_it_must():
    assert lldp.read(frame_of_lldp()) == lldp.Neighbour("lldp", port="Ethernet1/7")
    mac = scapy_lldp.LLDPDUPortID(subtype=3, id="02:00:00:00:00:07")
    assert lldp.read(frame_of_lldp(mac)) == lldp.Neighbour("lldp", port="02:00:00:00:00:07")


def test_a_switch_that_speaks_cdp():
    said = cdp.CDPv2_HDR() / cdp.CDPMsgDeviceID(val="tor1") / cdp.CDPMsgPortID(iface="Gi1/0/7")
    said /= cdp.CDPMsgNativeVLAN(vlan=5)
    frame = (
        Dot3(dst="01:00:0c:cc:cc:cc", src=SWITCH)
        / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
        / SNAP(OUI=0xC, code=0x2000)
        / said
    )
    assert lldp.read(bytes(frame)) == lldp.Neighbour("cdp", "tor1", "Gi1/0/7", native_vlan=5)


def test_what_is_no_text_is_made_harmless():
    found = lldp.read(frame_of_lldp(None, scapy_lldp.LLDPDUSystemName(system_name=b"a\x1b[31m\xff\nb")))
    assert found is not None
    assert found.system == "a?[31m\ufffd?b"


@pytest.mark.parametrize("frame", [b"", b"short", bytes(Ether(dst=SWITCH, src=SWITCH, type=0x0800)) + bytes(40)])
def test_other_frames_are_none(frame):
    assert lldp.read(frame) is None


@given(st.integers(0, 120), st.binary(max_size=40))
def test_reading_takes_anything(cut, more):
    whole = frame_of_lldp(None, scapy_lldp.LLDPDUSystemName(system_name="tor1"), ours(3, b"\x00\x14\x03web"))
    lldp.read(whole[:cut] + more)
    lldp.read(whole[:12] + bytes.fromhex("0040aaaa0300000c2000") + more)


def test_it_listens_until_it_has_heard_one_or_the_time_is_over():
    talk = lldp.Listening(5)
    assert talk.due(10.0) == []
    assert not talk.done(14.9)
    assert talk.done(15.0)
    talk.heard(b"no such frame at all", 11.0)
    assert not talk.done(12.0)
    talk.heard(frame_of_lldp(), 12.0)
    assert talk.done(12.0)
    assert talk.found == lldp.Neighbour("lldp", port="Ethernet1/7")
