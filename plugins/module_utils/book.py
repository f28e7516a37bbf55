# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who gets which address: the allocator that planning uses. Pure; it knows neither the store nor the kernel.

It starts from what the store holds (the allocations that matter for this run, and enough free addresses) and keeps
count of what the plan takes and gives back, so that an address that one owner leaves can go to another in one run.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping

from ansible_collections.netops.underlay.plugins.module_utils.addressing import (
    IPAddress,
    address_of,
    unusable_in,
)
from ansible_collections.netops.underlay.plugins.module_utils.model import Allocation, Network

Place = tuple[str, int, int, int]  # segment, family, first, last


class Book:
    """The allocations of a run.

    :param allocations: those of all owners in this run, and of all asked-for addresses
    :param free: by (segment, family, first, last): the lowest free addresses there, as intervals
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        allocations: Iterable[Allocation],
        free: Mapping[Place, list[tuple[int, int]]],
    ) -> None:
        self._networks = networks
        self._by_owner: dict[tuple[str, str, str, int], list[Allocation]] = {}
        self._by_address: dict[tuple[str, IPAddress], Allocation] = {}
        self._given_back: dict[tuple[str, int], list[int]] = {}
        self._peeked: dict[Place, int] = {}
        for row in allocations:
            self._take(row)
        self._free = {place: _numbers(intervals) for place, intervals in free.items()}
        self._aside: dict[str, dict[IPAddress, str]] = {}

    def rows(self, network: str, kind: str, owner: str, family: int) -> list[Allocation]:
        """What an owner has: one address or none, but two where a run that changed it was broken off."""
        return list(self._by_owner.get((network, kind, owner, family), ()))

    def release(self, row: Allocation) -> None:
        """Gives an address back; it can be had again at once."""
        self._by_owner[row.key].remove(row)
        del self._by_address[row.segment, row.address]
        bisect.insort(self._given_back.setdefault((row.segment, row.family), []), int(row.address))

    def claim(self, network: Network, kind: str, owner: str, address: IPAddress, description: str = "") -> Allocation:
        """The address that an owner asked for.

        :raises ValueError: if it cannot have it, with the reason and, where there is one, the holder
        """
        reason = self._unclaimable(network, address)
        if reason:
            raise ValueError(f"address {address} cannot be used in network '{network.name}': {reason}")
        return self._take(Allocation(network.parent, network.name, kind, owner, address, description))

    def _unclaimable(self, network: Network, address: IPAddress) -> str | None:
        subnet = network.subnet_of(address)
        if subnet is None:
            subnets = ", ".join(str(other.network) for other in network.subnets)
            return f"it is outside its subnets ({subnets})"
        aside = self._set_aside(network.parent).get(address)
        if aside:
            return f"it is {aside}"
        holder = self._by_address.get((network.parent, address))
        return unusable_in(subnet.network, address) or (holder and f"it is held by {holder.holder}")

    def next_free(self, network: Network, kind: str, owner: str, family: int, description: str = "") -> Allocation:
        """The lowest free address, the network's subnets in their order.

        :raises ValueError: if there is none
        """
        subnets = network.of_family(family)
        if not subnets:
            raise ValueError(f"network '{network.name}' has no IPv{family} subnet")
        for subnet in subnets:
            number = self._lowest((network.parent, family, *subnet.bounds()))
            if number is not None:
                address = address_of(number, family)
                return self._take(Allocation(network.parent, network.name, kind, owner, address, description))
        full = ", ".join(str(subnet.ip_range or subnet.network) for subnet in subnets)
        raise ValueError(
            f"network '{network.name}' has no free IPv{family} address left in {full}; release some, widen the "
            "ip_range, or give the network a further subnet"
        )

    def _take(self, row: Allocation) -> Allocation:
        self._by_owner.setdefault(row.key, []).append(row)
        self._by_address[row.segment, row.address] = row
        given_back = self._given_back.get((row.segment, row.family), [])
        place = bisect.bisect_left(given_back, int(row.address))
        if given_back[place : place + 1] == [int(row.address)]:
            del given_back[place]
        return row

    def _lowest(self, place: Place) -> int | None:
        """The lowest address that can be given out: one that was given back in this run, or one that was free before."""
        segment, family, first, last = place
        again = next(self._usable_again(segment, family, first, last), None)
        fresh = self._next_fresh(place)
        return min((number for number in (again, fresh) if number is not None), default=None)

    def _next_fresh(self, place: Place) -> int | None:
        """The lowest address of the store's free ones that is still free; remembered until it is taken."""
        segment, family, _first, _last = place
        aside = self._set_aside(segment)
        number = self._peeked.get(place)
        while number is None or (segment, address_of(number, family)) in self._by_address:
            number = next((n for n in self._free[place] if address_of(n, family) not in aside), None)
            if number is None:
                return None
        self._peeked[place] = number
        return number

    def _usable_again(self, segment: str, family: int, first: int, last: int) -> Iterator[int]:
        aside = self._set_aside(segment)
        for number in self._given_back.get((segment, family), ()):
            address = address_of(number, family)
            if first <= number <= last and address not in aside:
                yield number

    def _set_aside(self, segment: str) -> dict[IPAddress, str]:
        """What no owner on a segment may have: gateways and auxiliary addresses of all networks there."""
        if segment not in self._aside:
            self._aside[segment] = {
                address_of(number, subnet.family): f"{words} of network '{network.name}'"
                for network in self._networks.values()
                if network.parent == segment
                for subnet in network.subnets
                for number, words in subnet.reserved().items()
            }
        return self._aside[segment]


def _numbers(intervals: Iterable[tuple[int, int]]) -> Iterator[int]:
    for first, last in intervals:
        yield from range(first, last + 1)
