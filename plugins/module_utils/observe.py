# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at the store and the kernel: what is there before anything is planned. Reads only.

The number of dumps does not grow with the items, but for one read of each namespace that an item lives in.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils import hosts, lifelines, netlink
from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress, IPNetwork, Subnet, address_of
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError
from ansible_collections.netops.underlay.plugins.module_utils.facts import Address, Link, Route
from ansible_collections.netops.underlay.plugins.module_utils.lifelines import Lifeline
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    FAMILIES,
    HOST,
    HOST_SYSCTLS,
    NONE,
    OPEN_NAMES,
    OPTIMISTIC,
    OPTIMISTIC_DAD,
    RESERVED,
    Allocation,
    Endpoint,
    MadeFile,
    MadeNamespace,
    Network,
    Parent,
    Target,
    endpoint_mark,
    endpoint_of_mark,
    parent_mark,
    sysctl_at,
)
from ansible_collections.netops.underlay.plugins.module_utils.spec import (
    ABSENT,
    AddressSpec,
    EndpointSpec,
    NetworkSpec,
)
from ansible_collections.netops.underlay.plugins.module_utils.store import Span, Store

if TYPE_CHECKING:
    from ansible_collections.netops.underlay.plugins.module_utils import engines

Key = tuple[str, str]  # (network, endpoint)
Place = tuple[str, int, int, int]  # (segment, family, first, last)


class Space(NamedTuple):
    """One namespace as seen. ``identity`` is (device, inode), and its number, ``cookie``, is used once in a boot; ``path``
    opens it; ``start_time`` is that of the process by which it was reached."""

    identity: tuple[int, int]
    links: tuple[Link, ...]
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    start_time: int | None = None
    cookie: int | None = None
    path: str = ""

    @property
    def inode(self) -> int:
        return self.identity[1]

    def named(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def marked(self, mark: str) -> Link | None:
        return next((link for link in self.links if link.alias == mark), None)


@dataclass(frozen=True)
class Host:
    """The namespace that we run in, which holds the parents; ``lifelines`` are what the host is reached by."""

    space: Space
    boot_id: str
    machine_id: str
    links: Mapping[str, Link]
    lifelines: tuple[Lifeline, ...] = ()

    def subnets_of(self, link: str) -> list[IPNetwork]:
        """The subnets of the addresses that the host has on a link."""
        return self._subnets.get(self.links[link].index, []) if link in self.links else []

    @cached_property
    def other_names(self) -> dict[str, str]:
        """What links are called besides their names (``ip link property add``), with these: the kernel gives no other link
        such a name."""
        return {other: link.name for link in self.links.values() for other in link.other_names}

    @cached_property
    def _subnets(self) -> dict[int, list[IPNetwork]]:
        """By the index of the link: each network in l3 asks about all links."""
        found: dict[int, list[IPNetwork]] = {}
        for address in self.space.addresses:
            subnet = ipaddress.ip_interface(f"{address.address}/{address.prefixlen}").network
            found.setdefault(address.index, []).append(subnet)
        return found

    @cached_property
    def lifeline_over(self) -> dict[int, str]:
        """What the host is reached by over each link, by its index: each parent that goes is looked up."""
        found: dict[int, str] = {}
        for line in self.lifelines:
            for index in self._beneath(line.link):
                found.setdefault(index, line.words)
        return found

    def _beneath(self, index: int) -> set[int]:
        """A link and all that it stands on: ports, and the link that it was made on."""
        found: set[int] = set()
        ahead = {index}
        while ahead:
            found |= ahead
            ports = {link.index for link in self.space.links if link.master in ahead}
            lower = {
                link.parent_index
                for link in self.space.links
                if link.index in ahead and link.parent_index is not None and link.parent_nsid is None
            }
            ahead = (ports | lower) - found
        return found


_NO_HOST = Host(Space((0, 0), ()), "", "", {})


class Child(NamedTuple):
    """A link of one of our kinds on a parent of this host, wherever it is; ``words`` name its namespace."""

    link: Link
    words: str


@dataclass(frozen=True)
class Observed:
    """What a plan is made from.

    ``spaces`` has None for a target that does not exist, and in ``unreachable`` why. ``former`` says where the link of
    an endpoint now is, if its target no longer leads there or somebody moved it. ``children`` is by the parent's index, None if not looked
    for. ``free`` is by (segment, family, first, last). ``alive`` are the numbers (cookies) of all namespaces, ``busy`` the
    inodes of those with processes in them; ``missing_drivers`` are link kinds that this kernel lacks; ``elsewhere`` is
    what the default pools must not overlap. ``settings`` are the host's, ``now`` is the time of this run in seconds
    since the epoch. ``engine_of`` says which engine has a container for which none was named, ``containers`` what the
    engines tell of it. ``hosts`` are the hosts files of the targets that this run is about, ``hosts_base`` the host's own
    and ``made_files`` those that we made; ``sysctls`` are by endpoint, those that the kernel does not tell with a link.
    ``abandoned`` are targets without any endpoint whose namespace or hosts file we made: runs that were broken off left them.
    ``conflicts`` has the MAC of the station that has an address, by parent and address, as far as the wire was asked.
    ``no_optimistic_dad``: a network asks for it, and this kernel lacks it.
    ``moved`` are parents of ours that somebody moved: the namespace that each is in now, and what it is there.
    """

    networks: Mapping[str, Network]
    parents: Mapping[str, Parent]
    endpoints: Mapping[Key, Endpoint]
    namespaces: Mapping[str, MadeNamespace]
    host: Host
    allocations: tuple[Allocation, ...] = ()
    free: Mapping[Place, list[tuple[int, int]]] = field(default_factory=dict)
    spaces: Mapping[Target, Space | None] = field(default_factory=dict)
    unreachable: Mapping[Target, str] = field(default_factory=dict)
    former: Mapping[Key, Target] = field(default_factory=dict)
    children: Mapping[int, tuple[Child, ...]] | None = None
    busy: frozenset[int] = frozenset()
    elsewhere: tuple[IPNetwork, ...] = ()
    missing_drivers: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    now: int = 0
    alive: frozenset[int] = frozenset()
    engine_of: Mapping[Target, Target] = field(default_factory=dict)
    containers: Mapping[Target, engines.Container] = field(default_factory=dict)
    hosts: Mapping[Target, hosts.HostsFile] = field(default_factory=dict)
    hosts_base: str = ""
    made_files: Mapping[str, MadeFile] = field(default_factory=dict)
    sysctls: Mapping[Key, Mapping[str, str]] = field(default_factory=dict)
    abandoned: frozenset[Target] = frozenset()
    conflicts: Mapping[tuple[str, IPAddress], str] = field(default_factory=dict)
    no_optimistic_dad: bool = False
    moved: Mapping[str, tuple[Target, Link]] = field(default_factory=dict)

    def space_of(self, target: Target) -> Space | None:
        return self.spaces.get(target)

    def settled(self, spec: EndpointSpec) -> EndpointSpec:
        """What is asked for, with the engine that has the container."""
        target = self.engine_of.get(spec.target) if spec.target else None
        return spec._replace(target=target) if target else spec

    def hosts_path(self, row: Endpoint) -> str | None:
        """The hosts file that an endpoint's target has; None where it has none of its own."""
        if row.target.kind == "netns":
            return hosts.path_for(row.target.value)
        container = self.containers.get(row.target)
        return container.hosts_path if container else row.hosts_path


def for_networks(store: Store, specs: Sequence[NetworkSpec], purge: bool) -> Observed:
    """What the plan of networks needs."""
    seen = _base(store, addresses=True)
    known = [spec for spec in specs if spec.name in seen.networks]
    fresh = [spec for spec in specs if spec.name not in seen.networks and spec.state != ABSENT]
    leaving = {spec.name for spec in specs if spec.state == ABSENT} & set(seen.networks)
    if purge:
        leaving |= set(seen.networks) - {spec.name for spec in specs}
    concerned = leaving | _changing_subnets(seen, known)
    held = store.of_networks(concerned) if concerned else []
    changing = {spec.name for spec in known if spec.settings or spec.driver or spec.parent or spec.internal is not None}
    return replace(
        seen,
        children=_children(seen) if fresh or known or leaving else None,
        allocations=_merged(
            held,
            store.holders(_at_stake(seen, specs, held)),
        ),
        elsewhere=_used_elsewhere(seen.host) if any(_from_pool(spec) for spec in [*fresh, *known]) else (),
        settings=store.settings(),
        missing_drivers=_missing_drivers() if fresh or changing else frozenset(),
        no_optimistic_dad=any(spec.ipv6_dad == OPTIMISTIC for spec in specs) and not _optimistic_dad(),
        moved=_moved(seen),
    )


def for_endpoints(
    store: Store,
    specs: Sequence[EndpointSpec],
    purged: Iterable[str] = (),
    base: Observed | None = None,
    networks: Mapping[str, Network] | None = None,
    conflicts: Mapping[tuple[str, IPAddress], str] = MappingProxyType({}),
) -> Observed:
    """What the plan of endpoints needs; ``purged`` are networks whose other endpoints are to go. ``base`` is what was
    seen before in this run, if anything was, and ``networks`` are as they will be, if the run changes them. ``conflicts``
    are addresses that others were found to have, in whose place more free ones are needed."""
    seen = base or _base(store, addresses=True)
    networks = seen.networks if networks is None else networks
    wanted = {spec.key for spec in specs}
    purged = set(purged)
    leaving = {key for key in seen.endpoints if key[0] in purged and key not in wanted}
    leaving |= {spec.key for spec in specs if spec.state == ABSENT}
    concerned = [row for key, row in seen.endpoints.items() if key in wanted or key in leaving]
    names = {spec.network for spec in specs} | {row.network for row in concerned}
    # The host's own endpoints of a network follow its others.
    concerned += [
        row for key, row in seen.endpoints.items() if row.target == HOST and key[0] in names and row not in concerned
    ]
    targets = {row.target for row in concerned} | {spec.target for spec in specs if spec.target is not None}
    made_files = store.made_files()
    abandoned = _abandoned(seen, made_files)
    targets |= abandoned
    engine_of, containers, no_container = _containers(targets)
    targets = {engine_of.get(target, target) for target in targets}
    spaces, unreachable = _spaces(targets, containers)
    unreachable.update(no_container)
    former = _former(concerned, spaces, seen.host.boot_id)
    spaces.update(_spaces(former.values())[0])
    settings = store.settings()
    unfinished = [row for row in seen.endpoints.values() if row.network in settings.get(OPEN_NAMES, ())]
    # Whoever sees the names of these networks, and all that they see.
    readers = targets | {row.target for row in seen.endpoints.values() if row.network in names}
    readers |= {row.target for row in unfinished}
    known = names | {row.network for row in seen.endpoints.values() if row.target in readers}
    asked = [
        (networks[spec.network].parent, address, address)
        for spec in specs
        for address in (spec.ipv4_address, spec.ipv6_address)
        if spec.network in networks and address is not None
    ]
    destinations = {spec.key: spec.target for spec in specs}
    going = leaving | {row.key for row in concerned if destinations.get(row.key) not in (None, row.target)}
    return replace(
        seen,
        allocations=_merged(store.of_endpoints(known), store.holders(asked)),
        free=_free(store, networks, names, len(wanted) + len(conflicts)),
        conflicts=conflicts,
        engine_of=engine_of,
        containers=containers,
        hosts=_hosts(targets | {row.target for row in unfinished}, [*concerned, *unfinished], containers),
        made_files=made_files,
        hosts_base=hosts.read(hosts.HOSTS).text or "",
        settings=settings,
        sysctls=_sysctls(seen.endpoints, specs, spaces, engine_of),
        spaces=spaces,
        unreachable=unreachable,
        former=former,
        children=seen.children if seen.children is not None else _children_if_first(seen, specs),
        busy=_busy(seen, {seen.endpoints[key].target for key in going if key in seen.endpoints} | abandoned),
        abandoned=abandoned,
    )


def left_behind(store: Store, seen: Observed) -> bool:
    """Whether a run that was broken off left a namespace or a file that we made, and no endpoint to come upon it by."""
    made_files = store.made_files()
    return bool(_abandoned(seen, made_files)) or set(made_files) == {hosts.NETNS_ETC}


def _abandoned(seen: Observed, made_files: Mapping[str, MadeFile]) -> frozenset[Target]:
    names = {*seen.namespaces, *filter(None, map(hosts.netns_of, made_files))}
    return frozenset({Target("netns", name) for name in names} - {row.target for row in seen.endpoints.values()})


def for_addresses(store: Store, specs: Sequence[AddressSpec]) -> Observed:
    """What the plan of addresses needs: the store alone."""
    seen = Observed(store.networks(), {}, {}, {}, _NO_HOST, now=store.now)
    networks = {spec.network for spec in specs} & set(seen.networks)
    asked = [
        (seen.networks[spec.network].parent, spec.address, spec.last or spec.address)
        for spec in specs
        if spec.network in networks and spec.address is not None
    ]
    wanted = len(specs) + sum(int(last) - int(first) for _segment, first, last in asked)
    keys = {(spec.network, RESERVED, spec.owner) for spec in specs}
    return replace(
        seen,
        allocations=_merged(store.owned(keys), store.holders(asked)),
        free=_free(store, seen.networks, networks, wanted),
    )


def for_audit(store: Store) -> Observed:
    """What comparing the store with the kernel needs: every namespace of this host, and in ``spaces`` those that hold
    links with our mark."""
    seen = replace(_base(store, addresses=True), allocations=tuple(store.allocations()))
    spaces: dict[Target, Space | None] = {}
    alive = set()
    for identity, namespace in {**netlink.every_namespace(), **netlink.hidden_namespaces()}.items():
        descriptor = netlink.open_if_there(namespace.path)
        if descriptor is None:
            continue
        try:
            with _looking_at(namespace.words), netlink.Channel(descriptor) as channel:
                links = tuple(channel.links())
                cookie = channel.cookie
                alive.add(cookie)
                if any(endpoint_of_mark(link.alias) for link in links):
                    more = tuple(channel.addresses()), tuple(channel.routes())
                    own = identity == seen.host.space.identity
                    target = HOST if own else _target_at(namespace.path)
                    start = netlink.process_start_time(int(target.value)) if target.kind == "pid" else None
                    spaces[target] = Space(identity, links, *more, start_time=start, cookie=cookie, path=namespace.path)
        finally:
            os.close(descriptor)
    return replace(seen, spaces=spaces, alive=frozenset(number for number in alive if number is not None))


def _target_at(path: str) -> Target:
    """The target that a path to a namespace stands for."""
    folder, name = os.path.split(path)
    if folder == netlink.NETNS_DIR:
        return Target("netns", name)
    process = re.fullmatch(r"/proc/([0-9]+)/ns/net", path)
    return Target("pid", process[1]) if process else Target("netns_path", path)


def living() -> frozenset[int | None]:
    """The numbers (cookies) of all namespaces that can be found on this host."""
    namespaces = [*netlink.every_namespace().values(), *netlink.hidden_namespaces().values()]
    return frozenset(_cookie_at(namespace.path) for namespace in namespaces)


def spaces_of(seen: Observed, targets: Iterable[Target]) -> Observed:
    """``seen`` with these targets read once more; for showing what there is after a change."""
    containers = seen.containers or _containers(targets)[1]
    spaces, unreachable = _spaces(targets, containers)
    return replace(
        seen,
        spaces={**seen.spaces, **spaces},
        unreachable={**seen.unreachable, **unreachable},
        containers=containers,
    )


def for_wire(store: Store) -> Observed:
    """What the trunk check needs: the host with its addresses, and the networks."""
    return _base(store, addresses=True)


def everything(store: Store, addresses: bool = False) -> Observed:
    """The host and all rows but those of addresses; what the ``_info`` modules start from. ``addresses``: with the host's
    own, its routes, and what it is reached by."""
    return _base(store, addresses)


# --- the host -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _looking_at(words: str) -> Iterator[None]:
    """What the kernel refuses is told with the place."""
    try:
        yield
    except UnderlayError as error:
        raise UnderlayError(f"{words} cannot be looked at: {error}; run the task again") from error


_THIS_HOST = "the host's own namespace"


def _base(store: Store, addresses: bool = False) -> Observed:
    with _looking_at(_THIS_HOST), netlink.Channel() as channel:
        links = tuple(channel.links())
        own = tuple(channel.addresses()) if addresses else ()
        routes = tuple(channel.routes()) if addresses else ()
        lines = _lifelines(channel, links, own, routes) if addresses else ()
    descriptor = netlink.current_namespace()
    try:
        space = Space(netlink.namespace_id(descriptor), links, own, routes)
    finally:
        os.close(descriptor)
    host = Host(space, netlink.boot_id(), _machine_id(), {link.name: link for link in links}, lines)
    return Observed(store.networks(), store.parents(), store.endpoints(), store.namespaces(), host, now=store.now)


def _lifelines(
    channel: netlink.Channel, links: tuple[Link, ...], addresses: tuple[Address, ...], routes: tuple[Route, ...]
) -> tuple[Lifeline, ...]:
    connected = lifelines.connection()
    answers_by = channel.way_to(connected.client, connected.local) if connected else None
    return lifelines.found(links, addresses, routes, connected, answers_by)


def _machine_id() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            text = file.read().strip()
            if text:  # an image is shipped with an empty one, which would be the same on every host
                return text
    return os.uname().nodename


def _used_elsewhere(host: Host) -> tuple[IPNetwork, ...]:
    """What a subnet from the default pools must not overlap: where the host has routes, in whatever table, and its name
    servers."""
    with _looking_at(_THIS_HOST), netlink.Channel() as channel:
        routes = channel.routes(every_table=True)
    used = [ipaddress.ip_network(route.destination) for route in routes if route.destination != "default"]
    used += [
        ipaddress.ip_interface(f"{address.address}/{address.prefixlen}").network for address in host.space.addresses
    ]
    with contextlib.suppress(OSError), open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver":
                with contextlib.suppress(ValueError):
                    used.append(ipaddress.ip_network(words[1].partition("%")[0]))
    return tuple(used)


def _from_pool(spec: NetworkSpec) -> bool:
    """Whether a subnet from the default pools may be needed."""
    families = {subnet.family for subnet in spec.subnets or ()}
    return spec.state != ABSENT and (4 not in families or (bool(spec.enable_ipv6) and 6 not in families))


def _changing_subnets(seen: Observed, specs: Iterable[NetworkSpec]) -> set[str]:
    """The known networks whose subnets or parent may change, so that their addresses matter."""
    changing = set()
    for spec in specs:
        network = seen.networks[spec.name]
        if (
            (spec.subnets is not None and not _same_subnets(spec.subnets, network))
            or spec.parent not in (None, network.asked_parent)
            or spec.internal not in (None, network.internal)
            or spec.enable_ipv4 not in (None, network.enable_ipv4)
            or spec.enable_ipv6 not in (None, network.enable_ipv6)
        ):
            changing.add(spec.name)
    return changing


def _same_subnets(subnets: tuple[Subnet, ...], network: Network) -> bool:
    kept = tuple(subnet for subnet in network.subnets if not subnet.from_pool)
    return subnets == kept or set(subnets) == set(kept)


def _at_stake(seen: Observed, specs: Iterable[NetworkSpec], held: Iterable[Allocation]) -> list[Span]:
    """What must not be held by others on parents which already carry a network: the gateways and auxiliary addresses that are
    asked for, and with a network that comes from another parent those that it has, and all that it holds."""
    carrying = {network.parent for network in seen.networks.values()}
    holds: dict[str, list[Allocation]] = {}
    for row in held:
        holds.setdefault(row.network, []).append(row)
    found: list[Span] = []
    for spec in specs:
        old = seen.networks.get(spec.name)
        place = spec.parent or (old.asked_parent or old.parent if old else None)
        if place is None or place not in carrying or spec.state == ABSENT:
            continue
        comes = old is not None and old.parent != place
        subnets = spec.subnets or (old.subnets if old and comes else ())
        addresses = (address_of(number, subnet.family) for subnet in subnets for number in subnet.reserved())
        found += [(place, address, address) for address in addresses]
        if comes:
            found += [(place, row.address, row.last or row.address) for row in holds.get(spec.name, ())]
    return found


def _optimistic_dad() -> bool:
    name = sysctl_at(OPTIMISTIC_DAD, "default")
    return name in netlink.read_sysctls(None, [name])


def _missing_drivers() -> frozenset[str]:
    """The link kinds that networks are made of and that this kernel neither has nor can load."""
    kinds = {*(driver.kind for driver in DRIVERS.values()), "vlan", "dummy"}
    with _looking_at(_THIS_HOST), netlink.Channel() as channel:
        return frozenset(kind for kind in kinds if not channel.knows(kind))


# --- namespaces -----------------------------------------------------------------------------------------------


def path_of(target: Target) -> str:
    """Where the namespace of a target can be opened; a container's is known by its engine alone."""
    if target.kind == "netns":
        return f"{netlink.NETNS_DIR}/{target.value}"
    if target.kind == "pid":
        return f"/proc/{target.value}/ns/net"
    return "/proc/thread-self/ns/net" if target == HOST else target.value


def _containers(
    targets: Iterable[Target],
) -> tuple[dict[Target, Target], dict[Target, engines.Container], dict[Target, str]]:
    """Which engine has a container where none was named; what the engines tell; and why a container cannot be used."""
    asked = {(target.engine, target.value): target for target in targets if target.kind == "container"}
    engine_of: dict[Target, Target] = {}
    containers: dict[Target, engines.Container] = {}
    unusable: dict[Target, str] = {}
    if not asked:
        return engine_of, containers, unusable
    # Only where it is needed, since it takes its time.
    from ansible_collections.netops.underlay.plugins.module_utils import engines

    for key, found in engines.inspect(asked).items():
        target = asked[key]
        if isinstance(found, str):
            unusable[target] = found
            continue
        settled = target._replace(engine=found.engine)
        if settled != target:
            engine_of[target] = settled
        containers[settled] = found
        reason = _why_not(found)
        if reason:
            unusable[settled] = reason
            containers[settled] = found._replace(pid=0)
    return engine_of, containers, unusable


def _why_not(container: engines.Container) -> str | None:
    from ansible_collections.netops.underlay.plugins.module_utils import engines

    if not container.pid:
        return f"{engines.words(container)} is not running ({container.state}); start it, then run again"
    user = engines.rootless(container.pid)
    return None if user is None else engines.rootless_refusal(container.name, user)


def _hosts(
    targets: Iterable[Target], rows: Iterable[Endpoint], containers: Mapping[Target, engines.Container]
) -> dict[Target, hosts.HostsFile]:
    """The hosts files of these targets as they are."""
    paths: dict[Target, str | None] = {row.target: row.hosts_path for row in rows if row.hosts_path}
    paths.update({target: hosts.path_for(target.value) for target in targets if target.kind == "netns"})
    paths.update({target: found.hosts_path for target, found in containers.items()})
    found = hosts.read_all(path for path in paths.values() if path)
    return {target: found[path] for target, path in paths.items() if path}


def _sysctls(
    rows: Mapping[Key, Endpoint],
    specs: Iterable[EndpointSpec],
    spaces: Mapping[Target, Space | None],
    engine_of: Mapping[Target, Target],
) -> dict[Key, dict[str, str]]:
    """Of the endpoints that are to have settings of their own, those that the kernel does not tell with a link."""
    wanted: dict[Key, tuple[Target, set[str]]] = {
        key: (row.target, set(row.sysctls)) for key, row in rows.items() if row.sysctls or row.target == HOST
    }
    for spec in specs:
        if spec.target is not None and (spec.sysctls or spec.key in wanted or spec.target == HOST):
            keys = wanted.get(spec.key, (spec.target, set()))[1] | set(spec.sysctls or ())
            wanted[spec.key] = engine_of.get(spec.target, spec.target), keys
    found = {}
    for key, (target, names) in wanted.items():
        space = spaces.get(target)
        link = space.marked(endpoint_mark(*key)) if space else None
        if space is None or link is None:
            continue
        if target == HOST:
            names.update(HOST_SYSCTLS)
        descriptor = netlink.open_namespace(space.path)
        try:
            with _looking_at(str(target)):
                values = netlink.read_sysctls(descriptor, [sysctl_at(name, link.name) for name in names])
        finally:
            os.close(descriptor)
        found[key] = {
            name: values[sysctl_at(name, link.name)] for name in names if sysctl_at(name, link.name) in values
        }
    return found


def _spaces(
    targets: Iterable[Target], containers: Mapping[Target, engines.Container] = MappingProxyType({})
) -> tuple[dict[Target, Space | None], dict[Target, str]]:
    spaces: dict[Target, Space | None] = {}
    unreachable: dict[Target, str] = {}
    by_identity: dict[tuple[int, int], Space] = {}
    for target in targets:
        if target.kind == "container":
            process = containers[target].pid if target in containers else 0
            path = f"/proc/{process}/ns/net"
        else:
            path = path_of(target)
        try:
            descriptor = netlink.open_namespace(path)
        except netlink.NoNamespace as error:
            spaces[target] = None
            # A named one that is not there can be made, unless something stands in its place.
            reason = netlink.obstacle(target.value) if target.kind == "netns" else _why_unreachable(target, error)
            if reason:
                unreachable[target] = reason
            continue
        try:
            identity = netlink.namespace_id(descriptor)
            if identity not in by_identity:
                with _looking_at(str(target)), netlink.Channel(descriptor) as channel:
                    by_identity[identity] = read_space(channel, identity, path)
        finally:
            os.close(descriptor)
        space = by_identity[identity]
        if space.path != path:
            space = space._replace(path=path)
        if target.kind == "pid":
            space = space._replace(start_time=netlink.process_start_time(int(target.value)))
        spaces[target] = space
    return spaces, unreachable


def _why_unreachable(target: Target, error: UnderlayError) -> str:
    if target.kind == "container":
        return f"container '{target.value}' ended a moment ago; start it, then run again"
    if target.kind == "pid":
        return f"pid {target.value} does not exist (any more); give the pid of a running process"
    return str(error)


def read_space(channel: netlink.Channel, identity: tuple[int, int], path: str) -> Space:
    """A namespace as it is now."""
    seen = tuple(channel.links()), tuple(channel.addresses()), tuple(channel.routes())
    return Space(identity, *seen, cookie=channel.cookie, path=path)


def _former(rows: Iterable[Endpoint], spaces: Mapping[Target, Space | None], boot_id: str) -> dict[Key, Target]:
    """Where the namespaces of endpoints are whose target now leads to another one or nowhere, though they may well
    live on (a process holds them): their links would go on holding the address. And where the links are that are
    not in their namespaces any more, if somebody moved them."""
    lost: dict[int, list[Key]] = {}
    strays: dict[str, Key] = {}
    for row in rows:
        space = spaces[row.target]
        if row.cookie is None or row.boot_id != boot_id:
            continue
        if space is None or space.cookie != row.cookie:
            lost.setdefault(row.cookie, []).append(row.key)
        elif row.network != NONE and space.marked(endpoint_mark(*row.key)) is None:
            strays[endpoint_mark(*row.key)] = row.key
    if not lost and not strays:
        return {}
    found = {}
    for namespace in netlink.every_namespace().values():
        for key in lost.get(_cookie_at(namespace.path) or 0, ()):
            found[key] = _target_at(namespace.path)
        for link in _links_at(namespace.path) if strays else ():
            if link.alias in strays and link.kind in _ENDPOINT_KINDS:
                found[strays[link.alias]] = _target_at(namespace.path)
    return found


def _moved(seen: Observed) -> dict[str, tuple[Target, Link]]:
    """Parents of ours that are in another namespace, by their names."""
    lost = {parent_mark(name): row for name, row in seen.parents.items()}
    for link in seen.host.space.links:
        lost.pop(link.alias, None)
    found = {}
    for namespace in netlink.every_namespace().values() if lost else ():
        for link in _links_at(namespace.path):
            if link.alias in lost and link.kind == lost[link.alias].kind:
                found[lost[link.alias].name] = (_target_at(namespace.path), link)
    return found


def _links_at(path: str) -> list[Link]:
    descriptor = netlink.open_if_there(path)
    if descriptor is None:
        return []  # its links went with it
    try:
        with netlink.Channel(descriptor) as channel:
            return list(channel.links())
    finally:
        os.close(descriptor)


def _cookie_at(path: str) -> int | None:
    descriptor = netlink.open_if_there(path)
    if descriptor is None:
        return None
    try:
        with _looking_at(f"the namespace at {path}"):
            return netlink.namespace_cookie(descriptor)
    finally:
        os.close(descriptor)


def _busy(seen: Observed, targets: Iterable[Target]) -> frozenset[int]:
    """Inodes of the namespaces that processes are in; looked for only if a namespace of ours may have to go."""
    if not any(target.kind == "netns" and target.value in seen.namespaces for target in targets):
        return frozenset()
    return netlink.occupied_namespaces()


# --- children -------------------------------------------------------------------------------------------------


def _children_if_first(seen: Observed, specs: Iterable[EndpointSpec]) -> Mapping[int, tuple[Child, ...]] | None:
    """Children are looked for before the first link on a parent in this boot."""
    used = {
        seen.networks[row.network].parent
        for row in seen.endpoints.values()
        if row.boot_id == seen.host.boot_id and row.network in seen.networks
    }
    wanted = {
        seen.networks[spec.network].parent for spec in specs if spec.state != ABSENT and spec.network in seen.networks
    }
    return _children(seen) if wanted - used else None


_ENDPOINT_KINDS = frozenset(driver.kind for driver in DRIVERS.values())
# The kinds of links that are made on another one and go with it.
_ON_A_PARENT = _ENDPOINT_KINDS | {"vlan", "macvtap", "ipvtap", "macsec"}


def _children(seen: Observed) -> dict[int, tuple[Child, ...]]:
    """All links of our kinds on parents of this host, in every namespace that can be reached: the host's own dumps do
    not show them, yet the kernel changes or deletes them with ours."""
    found: dict[int, list[Child]] = {}
    own = netlink.current_namespace()
    try:
        for identity, namespace in netlink.every_namespace().items():
            if identity == seen.host.space.identity:
                _add_children(found, seen.host.space.links, None, _THIS_HOST)
                continue
            descriptor = netlink.open_if_there(namespace.path)
            if descriptor is None:
                continue  # its links went with it
            try:
                with _looking_at(namespace.words), netlink.Channel(descriptor) as channel:
                    links = [link for link in channel.links() if link.kind in _ON_A_PARENT]
                    number = channel.nsid(own) if links else None
            finally:
                os.close(descriptor)
            if number is not None:
                _add_children(found, links, number, namespace.words)
    finally:
        os.close(own)
    return {index: tuple(children) for index, children in found.items()}


def _add_children(found: dict[int, list[Child]], links: Iterable[Link], host_number: int | None, words: str) -> None:
    for link in links:
        if link.kind in _ON_A_PARENT and link.parent_index is not None and link.parent_nsid == host_number:
            found.setdefault(link.parent_index, []).append(Child(link, words))


# --- addresses ------------------------------------------------------------------------------------------------


def _free(
    store: Store, networks: Mapping[str, Network], names: Iterable[str], count: int
) -> dict[Place, list[tuple[int, int]]]:
    """The free addresses of networks that ``count`` new owners could get, however many are set aside."""
    found = {}
    for name in names:
        network = networks.get(name)
        if network is None:
            continue
        aside = sum(
            len(subnet.reserved())
            for other in networks.values()
            if other.parent == network.parent
            for subnet in other.subnets
        )
        for family in FAMILIES:
            for subnet in network.of_family(family):
                first, last = subnet.bounds()
                place = (network.parent, family, first, last)
                found[place] = store.free(*place, count + aside)
    return found


def _merged(*lists: Iterable[Allocation]) -> tuple[Allocation, ...]:
    return tuple({(row.segment, row.address): row for rows in lists for row in rows}.values())
