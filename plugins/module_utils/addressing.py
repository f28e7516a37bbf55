# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Address arithmetic: subnets, what of them can be given out, default pools, MAC addresses. Pure.

Addresses travel as ``ipaddress`` objects; errors are ``ValueError`` with a text for the user, without the item.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Union

IPNetwork = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
IPAddress = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Pool = tuple[IPNetwork, int]  # what subnets are cut from, and their prefix length
Spans = dict[int, list[tuple[int, int]]]  # by family: first and last addresses, in their order

NO_GATEWAY = "none"

# 172.18.0.0/16 first, as Docker documents; then what of RFC 1918 it leaves.
DEFAULT_IPV4_POOLS: tuple[Pool, ...] = (
    *((ipaddress.ip_network(f"172.{second}.0.0/16"), 16) for second in range(18, 32)),
    (ipaddress.ip_network("192.168.0.0/16"), 20),
)


@dataclass(frozen=True)
class Subnet:
    """A subnet of a network.

    ``gateway`` is None where there is none; ``auxiliary`` are ``(name, address)`` pairs that are in use by others;
    ``from_pool`` tells that nobody asked for just this subnet.
    """

    network: IPNetwork
    gateway: IPAddress | None = None
    ip_range: IPNetwork | None = None
    auxiliary: tuple[tuple[str, IPAddress], ...] = ()
    from_pool: bool = field(default=False, compare=False)

    @property
    def family(self) -> int:
        return self.network.version

    # The results of a thousand endpoints tell them again and again.
    @cached_property
    def text(self) -> str:
        return str(self.network)

    @cached_property
    def gateway_text(self) -> str | None:
        return None if self.gateway is None else str(self.gateway)

    def bounds(self) -> tuple[int, int]:
        """The lowest and highest address that may be given out without being asked for, as integers."""
        first, last = usable(self.network)
        if self.ip_range is None:
            return first, last
        lowest, highest = ends(self.ip_range)
        return max(first, lowest), min(last, highest)

    def reserved(self) -> dict[int, str]:
        """Addresses that are never given out, as integers, each with what it is."""
        taken = {int(address): f"the auxiliary address '{name}'" for name, address in self.auxiliary}
        if self.gateway is not None:
            taken[int(self.gateway)] = "the gateway"
        return taken


def shown(value: object) -> str:
    """A value from the user as an error shows it: on one line, and not endless."""
    text = str(value)
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def shown_number(value: int) -> str:
    """The same of a number, which stands without quotes."""
    return shown(value).strip("'")


def slip(text: str) -> str:
    """What was probably meant by a text that is no address, for the end of an error; empty where nobody knows.

    YAML 1.1 takes groups of digits for a number to the base 60: six of them (a MAC address) have nine digits at least.
    """
    if re.fullmatch(r"[0-9]{9,}", text):
        return "; put it in quotes, or YAML takes digits with colons between them for a number"
    if re.search(r"(?:^|\.)0[0-9]", text):
        return "; leave out leading zeros"
    return ""


# What is written in the task is in the store as well, and is read from there once more when all is done: the same text is
# parsed once.
_parsed_once = lru_cache(maxsize=1 << 14)


@_parsed_once
def subnet_from(text: str) -> IPNetwork:
    """The subnet that a text without host bits stands for; ValueError where it stands for none."""
    return ipaddress.ip_network(text)


@_parsed_once
def address_from(text: str) -> IPAddress:
    """The address that a text stands for; ValueError where it stands for none."""
    return ipaddress.ip_address(text)


def ends(network: IPNetwork) -> tuple[int, int]:
    """First and last address of a subnet, as integers."""
    first = int(network.network_address)
    return first, first + (1 << (network.max_prefixlen - network.prefixlen)) - 1


def usable(network: IPNetwork) -> tuple[int, int]:
    """First and last address that a station may have.

    IPv4 loses the network and the broadcast address, but not in a /31 (RFC 3021) or /32; IPv6 the subnet-router
    anycast address (RFC 4291, 2.6.1), but not in a /127 (RFC 6164) or /128.
    """
    first, last = ends(network)
    if last - first < 2:
        return first, last
    return first + 1, last - 1 if network.version == 4 else last


def default_gateway(network: IPNetwork) -> IPAddress | None:
    """The first usable address; none where the subnet is too small to spare one."""
    if network.max_prefixlen - network.prefixlen < 2:
        return None
    return network.network_address + 1


_UNUSABLE: dict[int, tuple[tuple[IPNetwork, str], ...]] = {
    4: (
        (ipaddress.IPv4Network("240.0.0.0/4"), "reserved"),
        (ipaddress.IPv4Network("127.0.0.0/8"), "loopback"),
        (ipaddress.IPv4Network("169.254.0.0/16"), "link-local"),
        (ipaddress.IPv4Network("224.0.0.0/4"), "multicast"),
        (ipaddress.IPv4Network("0.0.0.0/8"), "unspecified"),
    ),
    6: (
        (ipaddress.IPv6Network("::ffff:0:0/96"), "IPv4-mapped"),
        (ipaddress.IPv6Network("ff00::/8"), "multicast"),
        (ipaddress.IPv6Network("fe80::/10"), "link-local"),
        (ipaddress.IPv6Network("::1/128"), "loopback"),
        (ipaddress.IPv6Network("::/128"), "unspecified"),
    ),
}
_UNUSABLE_ENDS = {
    family: [(*ends(block), block, words) for block, words in blocks] for family, blocks in _UNUSABLE.items()
}


def parse_subnet(text: str) -> tuple[IPNetwork, bool]:
    """The subnet that ``text`` names, and whether host bits had to be cleared. Refuses what no VLAN can carry."""
    if "%" in text:
        raise ValueError(f"{shown(text)} has a zone id; a subnet has none")
    if "/" not in text and "-" in text:
        raise ValueError(f"{shown(text)} is not a subnet; write it as one block, such as 192.168.20.64/26")
    if "/" not in text:
        raise ValueError(f"{shown(text)} has no prefix length; write it as 192.168.20.0/24")
    had_host_bits = False
    try:
        network = subnet_from(text)
    except ValueError:
        network, had_host_bits = _without_host_bits(text), True
    reason = _unusable(network)
    if reason:
        raise ValueError(f"{shown(text)} cannot be used: {reason}")
    return network, had_host_bits


def _without_host_bits(text: str) -> IPNetwork:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{shown(text)} is not an IPv4 or IPv6 subnet{slip(text)}") from None


def _unusable(network: IPNetwork) -> str | None:
    if network.prefixlen == 0:
        return "it covers all addresses"
    first, last = ends(network)
    for lowest, highest, block, words in _UNUSABLE_ENDS[network.version]:
        if lowest <= first and last <= highest:
            return f"these are {words} addresses"
        if lowest <= last and first <= highest:
            return f"it holds {words} addresses ({block})"
    return None


def parse_address(text: str, family: int | None = None) -> IPAddress:
    """A plain address, of one family if asked; refuses prefix lengths and zone ids."""
    try:
        address = address_from(text)
    except ValueError:
        too_much = "; give it without the prefix length" if re.fullmatch(r"[^/]+/[0-9]+", text) else ""
        raise ValueError(f"{shown(text)} is not an IP address{slip(text) or too_much}") from None
    if "%" in text:
        raise ValueError(f"{shown(text)} has a zone id; give the address without it")
    if family is not None and address.version != family:
        raise ValueError(f"{shown(text)} is not an IPv{family} address")
    return address


def parse_addresses(text: str) -> tuple[IPAddress, IPAddress | None]:
    """One address, or first and last of several: ``10.0.0.10-10.0.0.50`` or ``10.0.0.0/28``."""
    if "/" in text:
        try:
            block = ipaddress.ip_network(text)
        except ValueError as error:
            reason = f" ({error})" if "host bits" in str(error) else ""
            raise ValueError(f"{shown(text)} is not a block of addresses{reason}") from None
        first, last = block.network_address, block.broadcast_address
    elif "-" in text:
        start, _dash, end = text.partition("-")
        try:
            first, last = parse_address(start.strip()), parse_address(end.strip())
        except ValueError as error:
            raise ValueError(f"{error}; write a range as 10.0.0.10-10.0.0.50") from None
        if first.version != last.version or int(first) > int(last):
            raise ValueError(f"{shown(text)} is not a range: the first address comes first, and both are of one family")
    else:
        return parse_address(text), None
    return first, None if first == last else last


def address_of(number: int, family: int) -> IPAddress:
    """The address that an integer stands for."""
    return ipaddress.IPv4Address(number) if family == 4 else ipaddress.IPv6Address(number)


def unusable_in(subnet: IPNetwork, address: IPAddress) -> str | None:
    """Why no station may have ``address`` in ``subnet``, or None."""
    first, last = usable(subnet)
    if address not in subnet:
        return f"it is outside {subnet}"
    if int(address) < first:
        return f"it is the {'network' if subnet.version == 4 else 'subnet-router anycast'} address of {subnet}"
    if int(address) > last:
        return f"it is the broadcast address of {subnet}"
    return None


def spans_of(used: Iterable[IPNetwork]) -> Spans:
    """What subnets cover."""
    found: Spans = {4: [], 6: []}
    for network in used:
        found[network.version].append(ends(network))
    for spans in found.values():
        spans.sort()
    return found


def first_free_block(pools: Iterable[Pool], used: Spans) -> IPNetwork | None:
    """The first block of the pools that overlaps nothing in ``used``. Steps over what is used, each once, and not over blocks:
    a pool may have more of them than can be tried."""
    for base, prefixlen in pools:
        size = 1 << (base.max_prefixlen - prefixlen)
        first, last = ends(base)
        for low, high in used[base.version]:
            if low >= first + size:
                break
            if high >= first:
                first = (high // size + 1) * size
        if first <= last:
            return type(base)((first, prefixlen))
    return None


def parse_pool(base: str, size: int) -> Pool:
    """A pool of the user: blocks of prefix length ``size``, cut from ``base``."""
    network, had_host_bits = parse_subnet(base)
    if had_host_bits:
        raise ValueError(f"base {shown(base)} has host bits set; the network is {network}")
    longest = network.max_prefixlen - 2
    if not network.prefixlen <= size <= longest:
        raise ValueError(
            f"size {shown_number(size)} is not a prefix length between {network.prefixlen} (the base's) and {longest}"
        )
    return network, size


def unique_local_prefix(seed: str) -> ipaddress.IPv6Network:
    """A /48 of RFC 4193 addresses, the same for the same seed (a host's machine id)."""
    global_id = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:5], "big")
    return ipaddress.IPv6Network(((0xFD << 120) | (global_id << 80), 48))


def mac_for(ipv4: IPAddress | None, network: str, owner: str) -> str:
    """The MAC address of an endpoint: ``02:42:`` and the IPv4 address as Docker documents (``02:42:ac:10:56:02`` for
    172.16.86.2); without IPv4 ``02:`` and 40 bits of a hash of network and owner. Stable over re-runs and reboots."""
    if ipv4 is not None:
        octets = b"\x02\x42" + ipv4.packed
    else:
        octets = b"\x02" + hashlib.sha256(f"{network}/{owner}".encode()).digest()[:5]
    return octets.hex(":")
