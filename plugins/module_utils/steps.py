# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a plan is made of: steps for the store and for the kernel, as data. Planning builds them, only apply does them.

A link is named by where it is and what it is called there, not by its index, which does not exist before the link does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Union

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    Action,
    Allocation,
    Endpoint,
    Held,
    HostRoute,
    HostSetting,
    MadeFile,
    MadeNamespace,
    Network,
    Parent,
    Target,
)

# --- the store ------------------------------------------------------------------------------------------------

# The item of a step for the store that follows only if no item failed.
WHOLE_RUN = "the whole run"

Row = Union[HostSetting, Network, Parent, Endpoint, MadeNamespace, MadeFile, Allocation, Held]


@dataclass(frozen=True)
class Put:
    """Keep a row, in the place of the one with the same key. ``item`` is whose it is: what follows is not done for an
    item that failed."""

    row: Row
    item: str = ""


@dataclass(frozen=True)
class Drop:
    """Forget a row."""

    row: Row
    item: str = ""


@dataclass(frozen=True)
class Settle:
    """Keep the row of an endpoint or a namespace that is now there; apply fills in where (inode, boot)."""

    row: Row
    item: str = ""


StoreStep = Union[Put, Drop, Settle]

# --- the kernel -----------------------------------------------------------------------------------------------


class CheckGone(NamedTuple):
    """Look once more, right before what depends on it is done, that the namespace of this number is not there."""

    item: str
    cookie: int


@dataclass(frozen=True)
class RemoveRoutes:
    """Take away routes of ours out of a parent; the kernel leaves those of another protocol."""

    item: str
    parent: str
    routes: tuple[HostRoute, ...]


class RemoveLink(NamedTuple):
    """Take away a link of ours. ``space`` is the target of the namespace that it is in, None for the host's own;
    ``mark`` is checked once more right before."""

    item: str
    space: Target | None
    index: int  # type: ignore[assignment]
    name: str
    mark: str


@dataclass(frozen=True)
class RemoveNamespace:
    """Take away a named namespace that we made, unless something else lives in it by now."""

    item: str
    target: Target


class MakeParent(NamedTuple):
    """Make a VLAN sub-interface or a dummy in the group of what is being made, then mark and (if ``up``) raise it."""

    item: str
    parent: Parent
    up: bool
    mtu: int | None = None


class ChangeParent(NamedTuple):
    """Alter a parent link of ours; ``new_name`` is what it is to be called. ``space`` is the target of the namespace that it
    is to come back from, where it is known by its mark alone. ``mark`` is for one that was left half made."""

    item: str
    name: str
    up: bool | None = None
    mtu: int | None = None
    new_name: str | None = None
    space: Target | None = None
    mark: str | None = None


@dataclass(frozen=True)
class AddRoutes:
    """Set routes of ours out of a parent."""

    item: str
    parent: str
    routes: tuple[HostRoute, ...]


@dataclass(frozen=True)
class MakeNamespace:
    """Make a named namespace."""

    item: str
    target: Target


class RouteSpec(NamedTuple):
    """A route by a link: ``gateway`` None means the device itself; ``destination`` None is the default route, else one
    address."""

    family: int
    gateway: IPAddress | None
    onlink: bool = False
    destination: IPAddress | None = None


class MakeLink(NamedTuple):
    """Make an endpoint's link straight in its namespace. ``name`` is its working name where its own is not free yet; by
    its ``group`` it is known until it has its mark."""

    item: str
    space: Target
    name: str
    group: int
    kind: str
    parent: str
    attributes: tuple[tuple[int, str, int], ...]
    mtu: int | None
    mac_address: str | None


class SetUp(NamedTuple):
    """Bring an endpoint's link to what it should be: everything in here is to be written, nothing else is.

    ``link`` is its present name in the namespace; ``made``: it was made a moment ago, and has no mark yet. Order: sysctls,
    addresses taken away, the link's own properties with its name, mark and "up" in one request, addresses, routes. ``sysctls``
    have IFNAME in the place of the link's name. ``optimistic`` is how IPv6 addresses are given to it.
    """

    item: str
    space: Target
    link: str
    name: str
    made: bool = False
    rename: bool = False
    mark: str | None = None
    up: bool = False
    kind: str | None = None
    attributes: tuple[tuple[int, str, int], ...] = ()
    mtu: int | None = None
    mac_address: str | None = None
    sysctls: Mapping[str, str] = MappingProxyType({})
    routes_off: tuple[RouteSpec, ...] = ()
    addresses_off: tuple[tuple[IPAddress, int], ...] = ()
    addresses: tuple[tuple[IPAddress, int], ...] = ()
    routes: tuple[RouteSpec, ...] = ()
    loopback_up: bool = False
    optimistic: bool = False

    @property
    def empty(self) -> bool:
        return self == SetUp(self.item, self.space, self.link, self.name)


class StepAside(NamedTuple):
    """Let an endpoint's link let go of what another one takes in the same run; its own ``SetUp`` follows."""

    item: str
    space: Target
    first: SetUp


class Announce(NamedTuple):
    """Tell the neighbours of an endpoint's link which addresses it has, ``count`` times. ``mark`` finds the link."""

    item: str
    space: Target
    mark: str
    addresses: tuple[IPAddress, ...]
    count: int  # type: ignore[assignment]
    interval_ms: int


class PutNames(NamedTuple):
    """Bring our block of names in a hosts file to ``block`` ('': no block). ``base`` is what a file begins with that is
    to be made; None: one that is not there is left alone."""

    item: str
    path: str
    block: str
    base: str | None = None


class RemoveNames(NamedTuple):
    """Take away a hosts file that we made, if it holds nothing but what it began with and our names (``digest``), and
    those of ``folders`` that are empty then; else only our names."""

    item: str
    path: str
    digest: str
    folders: tuple[str, ...]


KernelStep = Union[
    CheckGone,
    RemoveRoutes,
    RemoveLink,
    RemoveNamespace,
    MakeParent,
    ChangeParent,
    AddRoutes,
    MakeNamespace,
    MakeLink,
    StepAside,
    SetUp,
    Announce,
    PutNames,
    RemoveNames,
]

# The order in which the kernel gets them: what is freed first can be used by what comes later.
PHASES: tuple[type, ...] = (
    CheckGone,
    RemoveRoutes,
    RemoveLink,
    StepAside,
    RemoveNamespace,
    MakeParent,
    ChangeParent,
    AddRoutes,
    MakeNamespace,
    MakeLink,
    SetUp,
    PutNames,
    RemoveNames,
    Announce,
)


@dataclass(frozen=True)
class Plan:
    """All that is to be done, in order: the intent to the store, the kernel's part, what is done to the store.

    ``actions`` is the same, as a user reads it; ``warnings`` what the user should know even if nothing is done.
    """

    actions: tuple[Action, ...] = ()
    before: tuple[StoreStep, ...] = ()
    kernel: tuple[KernelStep, ...] = ()
    after: tuple[StoreStep, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    @property
    def writes(self) -> bool:
        return bool(self.before or self.kernel or self.after)

    def __add__(self, other: Any) -> Plan:
        return Plan(
            self.actions + other.actions,
            self.before + other.before,
            self.kernel + other.kernel,
            self.after + other.after,
            self.warnings + other.warnings,
        )


def handed_over(
    before: Sequence[StoreStep], after: Sequence[StoreStep]
) -> tuple[tuple[StoreStep, ...], tuple[StoreStep, ...]]:
    """An address that goes from one owner to another in this run changes hands in one transaction: at no instant has it
    two owners or none."""
    taken = {(step.row.segment, step.row.address) for step in before if isinstance(step.row, Allocation)}

    def goes(step: StoreStep) -> bool:
        return isinstance(step.row, Allocation) and (step.row.segment, step.row.address) in taken

    return (
        (*(step for step in after if goes(step)), *before),
        tuple(step for step in after if not goes(step)),
    )
