# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Routes of the host out of the parents of l3 networks, to what other hosts have: which there are, and which cannot be. Pure."""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPNetwork
from ansible_collections.netops.underlay.plugins.module_utils.facts import Route
from ansible_collections.netops.underlay.plugins.module_utils.model import FAMILIES, ROUTE_PROTOCOL, HostRoute, Network
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host

_RT_TABLE_MAIN = 254  # linux/rtnetlink.h


class Roads:
    """The routes that the host has, and those that the networks are to have, each found without a search."""

    def __init__(self, host: Host, networks: Iterable[Network]) -> None:
        self._links = host.links
        self._brought: set[tuple[str, HostRoute]] = set()
        self._lifelines = host.lifelines
        self._by_link: dict[int | None, list[Route]] = defaultdict(list)
        self._by_subnet: dict[str, list[Route]] = defaultdict(list)
        for route in host.space.routes:
            if route.table == _RT_TABLE_MAIN and route.gateway is not None and route.destination != "default":
                self._by_link[route.index].append(route)
                self._by_subnet[route.destination].append(route)
        self._own_addresses = {address.address for address in host.space.addresses}
        names = {link.index: link.name for link in host.space.links}
        self._own: dict[IPNetwork, str] = {}
        for address in host.space.addresses:
            own = ipaddress.ip_interface(f"{address.address}/{address.prefixlen}").network
            self._own.setdefault(own, names.get(address.index, ""))
        self._in_order = {family: sorted(own for own in self._own if own.version == family) for family in FAMILIES}
        self._lengths = {family: {own.prefixlen for own in found} for family, found in self._in_order.items()}
        self._asked: dict[IPNetwork, dict[tuple[str, HostRoute], str]] = defaultdict(dict)
        for network in networks:
            for wanted in network.routes:
                self._asked[wanted.subnet].setdefault((network.parent, wanted), network.name)

    def by(self, parent: str, ours: bool = False) -> frozenset[HostRoute]:
        """The routes that there are out of a parent by gateways; or only those with our mark, which is their protocol."""
        link = self._links.get(parent)
        found = self._by_link[link.index] if link else ()
        return frozenset(_read(route) for route in found if not ours or route.protocol == ROUTE_PROTOCOL)

    def to_come(self, parent: str, routes: Iterable[HostRoute]) -> tuple[HostRoute, ...]:
        """Those that no other network has brought yet."""
        found = tuple(route for route in routes if (parent, route) not in self._brought)
        self._brought |= {(parent, route) for route in found}
        return found

    def wanted(self, parent: str, route: HostRoute) -> bool:
        """Whether a network is to have it."""
        return (parent, route) in self._asked[route.subnet]

    def cut_by(self, parent: str, route: HostRoute) -> str | None:
        """The connection whose answers would leave by a parent for the route, in words; None where there is none."""
        link = self._links.get(parent)
        return next(
            (
                line.words
                for line in self._lifelines
                if line.client
                and ipaddress.ip_address(line.client) in route.subnet
                and not (link and link.index == line.link)
            ),
            None,
        )

    def _own_overlapping(self, subnet: IPNetwork) -> IPNetwork | None:
        """A subnet of the host's own that it lies in, or that lies in it."""
        for length in self._lengths[subnet.version]:
            if length <= subnet.prefixlen and subnet.supernet(new_prefix=length) in self._own:
                return subnet.supernet(new_prefix=length)
        found = self._in_order[subnet.version]
        # What lies in it follows it in their order: by address, then by length.
        place = bisect_left(found, subnet)
        return found[place] if place < len(found) and found[place].overlaps(subnet) else None

    def check(self, network: Network, route: HostRoute, former: Collection[HostRoute]) -> None:
        """Refuses a route that would lead elsewhere what the host or another network leads already.

        :param former: those that this network had, which are ours to change
        """
        for (parent, theirs), name in self._asked[route.subnet].items():
            if (parent, theirs) != (network.parent, route):
                raise ValueError(
                    f"routes: network '{name}' has {theirs} on parent '{parent}' already; a subnet has one way"
                )
        own = self._own_overlapping(route.subnet)
        if own is not None:
            raise ValueError(f"routes: subnet {route.subnet} overlaps {own}, the host's own on '{self._own[own]}'")
        if str(route.via) in self._own_addresses:
            raise ValueError(f"routes: via {route.via} is an address of this host itself; give that of the other host")
        link = self._links.get(network.parent)
        for found in self._by_subnet[str(route.subnet)]:
            here = link is not None and found.index == link.index
            if here and (_read(found) == route or (found.protocol == ROUTE_PROTOCOL and _read(found) in former)):
                continue
            raise ValueError(
                f"routes: the host has another route to {route.subnet}, via {found.gateway}, which is not ours; take that away, "
                "or leave this one out"
            )


def _read(route: Route) -> HostRoute:
    return HostRoute(ipaddress.ip_network(route.destination), ipaddress.ip_address(route.gateway or ""))
