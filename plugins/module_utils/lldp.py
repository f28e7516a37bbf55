# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a switch says of itself and of the port that this host is on, in LLDP (IEEE 802.1AB) or CDP. Pure.

It says so by itself, every 30 (LLDP) or 60 (CDP) seconds as a rule; nothing is sent to ask for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_LLDP = 0x88CC
_ETHERNET_BYTES = 14
_PORT_ID, _PORT_DESCRIPTION, _SYSTEM_NAME, _ORGANISATION = 2, 4, 5, 127
_PORT_IS_MAC = 3  # the subtype of a port's name that is no text
_IEEE_8021 = b"\x00\x80\xc2"
_PORT_VLAN, _VLAN_NAME = 1, 3

# 802.2 LLC and SNAP in front of CDP, then its version, time to live and checksum
_CDP = bytes.fromhex("aaaa0300000c2000")
_CDP_HEADER_BYTES = 4
_CDP_DEVICE, _CDP_PORT, _CDP_NATIVE_VLAN = 1, 3, 10


class Neighbour(NamedTuple):
    """A switch and its port. ``vlans`` are those that it says the port carries, empty if it does not say; ``native_vlan``
    that of frames without a tag."""

    protocol: str
    system: str = ""
    port: str = ""
    description: str = ""
    vlans: tuple[int, ...] = ()
    native_vlan: int | None = None


def read(frame: bytes) -> Neighbour | None:
    """What a frame says; None where it is neither LLDP nor CDP."""
    if len(frame) < _ETHERNET_BYTES:
        return None
    body = frame[_ETHERNET_BYTES:]
    if struct.unpack_from("!H", frame, _ETHERNET_BYTES - 2)[0] == _LLDP:
        return _read_lldp(body)
    return _read_cdp(body[len(_CDP) :]) if body.startswith(_CDP) else None


def _read_lldp(body: bytes) -> Neighbour:
    system = port = description = ""
    vlans: set[int] = set()
    native = None
    for kind, value in _lldp_parts(body):
        if kind == _PORT_ID and value:
            port = value[1:].hex(":") if value[0] == _PORT_IS_MAC else _text(value[1:])
        elif kind == _PORT_DESCRIPTION:
            description = _text(value)
        elif kind == _SYSTEM_NAME:
            system = _text(value)
        elif kind == _ORGANISATION and value.startswith(_IEEE_8021) and len(value) >= 6:
            number = int.from_bytes(value[4:6], "big")
            if value[3] == _VLAN_NAME:
                vlans.add(number)
            elif value[3] == _PORT_VLAN:
                native = number or None
    return Neighbour("lldp", system, port, description, tuple(sorted(vlans)), native)


def _lldp_parts(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Seven bits of type, nine of length, then the value; type 0 ends it."""
    while len(body) >= 2:
        (head,) = struct.unpack_from("!H", body)
        kind, length = head >> 9, head & 0x1FF
        if not kind or len(body) < 2 + length:
            return
        yield kind, body[2 : 2 + length]
        body = body[2 + length :]


def _read_cdp(body: bytes) -> Neighbour:
    found = dict(_cdp_parts(body[_CDP_HEADER_BYTES:]))
    native = found.get(_CDP_NATIVE_VLAN, b"")
    return Neighbour(
        "cdp",
        _text(found.get(_CDP_DEVICE, b"")),
        _text(found.get(_CDP_PORT, b"")),
        native_vlan=int.from_bytes(native, "big") or None if len(native) == 2 else None,
    )


def _cdp_parts(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Type, and length with these four bytes, then the value."""
    while len(body) >= 4:
        kind, length = struct.unpack_from("!HH", body)
        if length < 4 or len(body) < length:
            return
        yield kind, body[4:length]
        body = body[length:]


def _text(value: bytes) -> str:
    """Text of somebody else, which may hold anything."""
    text = value.rstrip(b"\0").decode(errors="replace")
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class Listening:
    """Hears what one link's switch says of itself, for some seconds at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._start: float | None = None
        self.found: Neighbour | None = None

    def due(self, now: float) -> list[bytes]:
        if self._start is None:
            self._start = now
        return []

    def heard(self, frame: bytes, _at: float) -> None:
        self.found = self.found or read(frame)

    def done(self, now: float) -> bool:
        return self.found is not None or (self._start is not None and now - self._start >= self._seconds)
