# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What flows along the road: the things that the store keeps, the marks in the kernel, the actions that are reported.

Frozen values only; nothing here reads or writes anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress, IPNetwork, Subnet
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS, Driver

FAMILIES = (4, 6)
# linux/if_ether.h
VLAN_PROTOCOLS = {"802.1q": 0x8100, "802.1ad": 0x88A8}
DEFAULT_VLAN_PROTOCOL = "802.1q"
# The predefined network that has no links.
NONE = "none"


class Announcing(NamedTuple):
    """How often neighbours are told of an endpoint that comes or changes, and how long lies between."""

    count: int = 3  # type: ignore[assignment]
    interval_ms: int = 1000


ANNOUNCING = Announcing()
# How an IPv6 address comes to be used: at once and unprobed; at once, while the kernel probes (RFC 4429); once the wire was
# asked about it.
NODAD, OPTIMISTIC, WAIT = "nodad", "optimistic", "wait"


class HostRoute(NamedTuple):
    """A route of the host out of a parent, to what another host has in l3 or l3s."""

    subnet: IPNetwork
    via: IPAddress

    def __str__(self) -> str:
        return f"{self.subnet} via {self.via}"


class Network(NamedTuple):
    """A network as it is kept.

    ``parent`` is the link that the endpoints hang on: the one asked for, or the dummy of an isolated network;
    ``asked_parent`` is what was asked for (None: isolated); ``mtu`` None follows the parent; ``cooldown`` is how many seconds
    a released address rests; ``vlan_protocol`` is that of a sub-interface that is made for it. ``pending``: a run began to
    change it, and has not brought all its endpoints after it.
    """

    name: str
    driver_name: str
    parent: str
    asked_parent: str | None
    mode: str | None
    flag: str | None
    internal: bool
    enable_ipv4: bool
    enable_ipv6: bool
    subnets: tuple[Subnet, ...]
    mtu: int | None = None
    labels: Mapping[str, str] = MappingProxyType({})
    cooldown: int = 0
    vlan_protocol: str = DEFAULT_VLAN_PROTOCOL
    pending: bool = False
    announce: Announcing = ANNOUNCING
    conflict_check: bool = False
    routes: tuple[HostRoute, ...] = ()
    ipv6_dad: str = NODAD

    @property
    def driver(self) -> Driver:
        return DRIVERS[self.driver_name]

    @property
    def isolated(self) -> bool:
        return self.internal or self.asked_parent is None

    @property
    def routed(self) -> bool:
        """Whether a gateway means nothing here (l3, l3s)."""
        return self.mode in self.driver.routed_modes

    @property
    def lone(self) -> bool:
        """Whether the one link of this network has the parent for itself (passthru)."""
        return self.mode in self.driver.lone_modes

    def families_asked_about(self, said: bool | None) -> tuple[int, ...]:
        """The families whose addresses the wire is asked about before one is used; ``said`` is what the endpoint says."""
        if self.isolated or self.routed:
            return ()
        if self.conflict_check if said is None else said:
            return FAMILIES
        return (6,) if self.ipv6_dad == WAIT else ()

    @property
    def own_mac(self) -> bool:
        return self.driver.own_mac and not self.lone

    def of_family(self, family: int) -> tuple[Subnet, ...]:
        enabled = self.enable_ipv4 if family == 4 else self.enable_ipv6
        return tuple(subnet for subnet in self.subnets if enabled and subnet.family == family)

    def subnet_of(self, address: IPAddress) -> Subnet | None:
        for subnet in self.subnets:  # a generator would take longer than to look into the one or two that there are
            if address in subnet.network:
                return subnet
        return None


class Parent(NamedTuple):
    """A link that we made for networks to hang on: a VLAN sub-interface of ``base``, or a dummy (``base`` None)."""

    name: str
    base: str | None = None
    vlan_id: int | None = None
    protocol: str = DEFAULT_VLAN_PROTOCOL

    @property
    def kind(self) -> str:
        return "vlan" if self.base else "dummy"

    @property
    def carries(self) -> tuple[str | None, int | None, str]:
        """The VLAN that it is: of what, its id and its protocol."""
        return self.base, self.vlan_id, self.protocol


class Target(NamedTuple):
    """Where an endpoint lives: ``kind`` is ``netns``, ``netns_path``, ``pid``, ``container`` or ``host``; ``value`` the
    name, path or number (of the host: nothing). ``engine`` is that of a container: ``docker``, ``podman``, or ``auto``
    while it is not known."""

    kind: str
    value: str
    engine: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.value}".rstrip()

    @property
    def of_a_process(self) -> bool:
        """Whether it names a process, whose number means another one after a boot."""
        return self.kind == "pid" or (self.kind == "netns_path" and self.value.startswith("/proc/"))


HOST = Target("host", "")

# On a link of a network in the host's own namespace, which has another link in the same segment: it answers for its own
# address alone, and takes nothing from routers. IFNAME stands for the link's name.
HOST_SYSCTLS = {
    "net.ipv4.conf.IFNAME.arp_announce": "2",
    "net.ipv4.conf.IFNAME.arp_ignore": "1",
    "net.ipv6.conf.IFNAME.accept_ra": "0",
}


OPTIMISTIC_DAD = "net.ipv6.conf.IFNAME.optimistic_dad"


def sysctl_at(key: str, ifname: str) -> str:
    """The setting of one link, as namespaces.py takes it: with slashes, since a link's name may hold dots."""
    return key.replace(".", "/").replace("IFNAME", ifname)


# The protocol of our routes to single endpoints and to what other hosts have (rtnetlink(7): numbers over RTPROT_STATIC are for
# whoever takes one), by which they are known as ours.
ROUTE_PROTOCOL = 110


class Endpoint(NamedTuple):
    """An endpoint as it is kept. ``default_route`` holds the families (4, 6) for which it carries the default route;
    ``cookie`` is the kernel's number of the namespace, ``boot_id`` and ``start_time`` tell a reused pid from the old one.
    ``sysctls`` have IFNAME in the place of the link's name; ``hosts_path`` is the hosts file of a container."""

    network: str
    name: str
    target: Target
    ifname: str
    mac_address: str | None
    default_route: tuple[int, ...]
    cookie: int | None = None
    boot_id: str = ""
    start_time: int | None = None
    aliases: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = MappingProxyType({})
    hosts_path: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.network, self.name

    @property
    def label(self) -> str:
        return f"{self.network}/{self.name}"


class MadeNamespace(NamedTuple):
    """A named namespace that we made; ``cookie`` and ``boot_id`` tell it from one of the same name made later (an
    inode would not: the kernel gives it out again)."""

    name: str
    cookie: int | None
    boot_id: str


class MadeFile(NamedTuple):
    """A hosts file or a folder for one that we made, by its path. ``digest`` is that of what a file held beside our names:
    what somebody has written to since is no longer ours."""

    name: str
    digest: str = ""


ENDPOINT, RESERVED = "endpoint", "reserved"


class Allocation(NamedTuple):
    """An address, or all from ``address`` to ``last``, and its owner. ``segment`` is the parent link: on one parent an
    address exists once. (A tuple: there are tens of thousands of them in one run.)

    ``since`` and ``expires`` are seconds since the epoch; an allocation counts until it expires. One that is
    ``cooling`` was released: until it expires only its old owner gets it.
    """

    segment: str
    network: str
    kind: str
    owner: str
    address: IPAddress
    description: str = ""
    last: IPAddress | None = None
    since: int = 0
    expires: int | None = None
    cooling: bool = False

    @property
    def family(self) -> int:
        return self.address.version

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.network, self.kind, self.owner, self.address.version

    @property
    def bounds(self) -> tuple[int, int]:
        """First and last address, as integers."""
        first = int(self.address)
        return first, first if self.last is None else int(self.last)

    def holds(self, address: IPAddress) -> bool:
        return address.version == self.family and self.bounds[0] <= int(address) <= self.bounds[1]

    @property
    def text(self) -> str:
        return str(self.address) if self.last is None else f"{self.address}-{self.last}"

    @property
    def holder(self) -> str:
        """The owner in words for an error."""
        return f"{'endpoint' if self.kind == ENDPOINT else 'owner'} '{self.owner}' of network '{self.network}'"

    @property
    def standing(self) -> str:
        """What keeps it from others, in words for an error: it is ..."""
        if self.cooling:
            return f"cooling until {moment(self.expires)}, since {self.holder} left it"
        part = "" if self.last is None else f", which holds {self.text}"
        until = "" if self.expires is None else f", until {moment(self.expires)}"
        return f"held by {self.holder}{part}{until}"


def allocated(row: Allocation) -> Action:
    """What a user reads of an address that is given to its owner."""
    return Action("allocate", "address", row.text, OwnerChange(None, row.owner))


def released(row: Allocation) -> Action:
    """What a user reads of an address that is taken from its owner."""
    return Action("release", "address", row.text, OwnerChange(row.owner, None))


class Outcome(NamedTuple):
    """An endpoint as it will be: its row and its addresses, None where it will not be; ``peers`` are those to which the
    host has a route by it."""

    key: tuple[str, str]
    row: Endpoint | None
    addresses: Mapping[int, Allocation]
    peers: Mapping[int, tuple[IPAddress, ...]] = MappingProxyType({})


class Held(NamedTuple):
    """A line of the history: who held an address (or all up to ``last``), from when until when."""

    row: Allocation
    until: int | None


class HostSetting(NamedTuple):
    """A setting of the whole host, as it is kept: ``value`` is what JSON can carry."""

    name: str
    value: Any


POOLS, HISTORY_DAYS = "default_address_pools", "history_days"
DEFAULT_HISTORY_DAYS = 90
# By network and gateway the MAC that answered last; what the trunk check compares with.
GATEWAY_MACS = "gateway_macs"
# Not of a user: the networks whose names a run has begun to change in hosts files of endpoints that it was not about.
OPEN_NAMES = "open_names"


def moment(seconds: int | None) -> str | None:
    """A time as users read and write it: ``2027-01-01T00:00:00Z``."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class OwnerChange(Mapping[str, Mapping[str, Any]]):
    """The ``changes`` of an address that is given to or taken from its owner. What it looks like is made when it is
    looked at: a plan may hold tens of thousands."""

    __slots__ = ("_after", "_before")

    def __init__(self, before: str | None, after: str | None) -> None:
        self._before, self._after = before, after

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        if key != "owner":
            raise KeyError(key)
        return {"before": self._before, "after": self._after}

    def __iter__(self) -> Iterator[str]:
        return iter(("owner",))

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return repr(dict(self))


class Action(NamedTuple):
    """One thing that is done, as the user reads it. ``changes`` is ``{field: {before, after}}``."""

    action: str
    kind: str
    name: str
    changes: Mapping[str, Mapping[str, Any]] = MappingProxyType({})

    def as_dict(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "kind": self.kind,
            "name": self.name,
            "changes": {key: dict(value) for key, value in self.changes.items()},
        }


# --- marks: how a link in the kernel says that it is ours (its ifalias) ---------------------------------------

MARK = "netops.underlay"
WORKING_PREFIX = "nu."
# Link groups (include/linux/netdevice.h, net_device.group; an int) that nobody uses.
MAKING_GROUPS = range(2_000_000_000, 2_100_000_000)


def parent_mark(name: str) -> str:
    return f"{MARK} parent {name}"


def parent_of_mark(mark: str) -> str | None:
    """The parent whose link carries a mark; None where it is no parent's mark."""
    return mark.removeprefix(parent_mark("")) if mark.startswith(parent_mark("")) else None


def endpoint_mark(network: str, name: str) -> str:
    return f"{MARK} endpoint {network}/{name}"


def endpoint_of_mark(mark: str) -> tuple[str, str] | None:
    """Network and name of the endpoint whose link carries a mark; None where it is no endpoint's mark."""
    network, slash, name = mark.removeprefix(f"{MARK} endpoint ").partition("/")
    return (network, name) if slash and mark.startswith(f"{MARK} endpoint ") else None


def endpoint_words(mark: str) -> str | None:
    """The endpoint that a mark names, in words; None where it is no endpoint's mark."""
    key = endpoint_of_mark(mark)
    return f"endpoint '{key[1]}' of network '{key[0]}'" if key else None


@lru_cache(maxsize=4096)
def making_group(mark: str) -> int:
    """The group that a link of ours is in until it is ready: the kernel takes it with the link, and no mark before there is
    one. Mark, group 0 and "up" come in one request, so what a kill left half made is found by this, and whatever has neither
    is not ours."""
    number = int.from_bytes(hashlib.sha256(mark.encode()).digest()[:8], "big")
    return MAKING_GROUPS[number % len(MAKING_GROUPS)]


def working_name(mark: str) -> str:
    """The name that an endpoint's link has until it is ready, where its own is taken until then. To rename one costs the
    kernel a tenth of all that it does for an endpoint."""
    return f"{WORKING_PREFIX}{hashlib.sha256(mark.encode()).hexdigest()[:12]}"


def working_mac(mark: str) -> str:
    """The MAC address that a link has while another one takes its own."""
    return (b"\x06" + hashlib.sha256(mark.encode()).digest()[:5]).hex(":")


def dummy_name(network: str) -> str:
    """The name of the dummy parent of an isolated network."""
    return f"nud-{hashlib.sha256(network.encode()).hexdigest()[:10]}"


class WireFinding(NamedTuple):
    """Something about the wire that a person should know. ``severity`` is ``problem`` or ``hint``."""

    severity: str
    code: str
    words: str
