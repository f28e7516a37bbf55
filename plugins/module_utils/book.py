# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who gets which address: the allocator that planning uses. Pure; it knows neither the store nor the kernel.

It starts from what the store holds (the allocations that matter for this run, and enough free addresses) and keeps
count of what the plan takes and gives back, so that an address that one owner leaves can go to another in one run.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.addressing import (
    IPAddress,
    Subnet,
    address_of,
    unusable_in,
)
from ansible_collections.netops.underlay.plugins.module_utils.model import ENDPOINT, Allocation, Network

Place = tuple[str, int, int, int]  # segment, family, first, last
Key = tuple[str, str, str, int]  # network, kind, owner, family


class Book:
    """The allocations of a run.

    :param allocations: those of all owners in this run, and of all asked-for addresses
    :param free: by (segment, family, first, last): the lowest free addresses there, as intervals
    :param now: the time of this run, in seconds since the epoch
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        allocations: Iterable[Allocation],
        free: Mapping[Place, list[tuple[int, int]]],
        now: int = 0,
    ) -> None:
        self._networks = networks
        self._now = now
        self._rows: dict[Key, tuple[Allocation, ...]] = {}
        self._shelves: dict[tuple[str, int], _Shelf] = {}
        self._fresh = {place: _Fresh(list(intervals)) for place, intervals in free.items()}
        self._supplies: dict[tuple[str, int], _Supply] = {}
        for row in allocations:
            self._take(row)

    def rows(self, network: str, kind: str, owner: str, family: int) -> list[Allocation]:
        """What an owner has: one allocation or none, but two where a run that changed it was broken off."""
        return [row for row in self._rows.get((network, kind, owner, family), ()) if not row.cooling]

    def holder(self, segment: str, address: IPAddress) -> Allocation | None:
        """Who has an address, as far as this run knows."""
        shelf = self._shelves.get((segment, address.version))
        return shelf.holder(int(address), int(address)) if shelf else None

    def release(self, row: Allocation) -> Allocation | None:
        """Gives an allocation back. It can be had again at once, or it cools: then what has to be kept is returned."""
        network = self._networks.get(row.network)
        self.forget(row)
        if network is None or not network.cooldown:
            return None
        return self._take(row._replace(cooling=True, expires=self._now + network.cooldown))

    def forget(self, row: Allocation) -> None:
        """Gives an allocation back without a rest."""
        self._rows[row.key] = tuple(other for other in self._rows[row.key] if other != row)
        self._shelf(row.segment, row.family).give_back(row)

    def own_in_the_way(self, key: Key, segment: str, first: IPAddress, last: IPAddress | None) -> list[Allocation]:
        """What an owner has, or had and is cooling, that overlaps what it asks for."""
        low, high = int(first), int(last or first)
        rows = [row for row in self._rows.get(key, ()) if row.segment == segment]
        return [row for row in rows if row.bounds[0] <= high and row.bounds[1] >= low]

    def claim(
        self,
        network: Network,
        kind: str,
        owner: str,
        address: IPAddress,
        description: str = "",
        last: IPAddress | None = None,
        expires: int | None = None,
    ) -> Allocation:
        """The address, or all from it to ``last``, that an owner asked for.

        :raises ValueError: if it cannot have it, with the reason and, where there is one, the holder
        """
        row = Allocation(network.parent, network.name, kind, owner, address, description, last, self._now, expires)
        reason = self._unclaimable(network, row)
        if reason:
            what = f"address {row.text}" if last is None else f"range {row.text}"
            raise ValueError(f"{what} cannot be used in network '{network.name}': {reason}")
        return self._take(row)

    def _unclaimable(self, network: Network, row: Allocation) -> str | None:
        subnet = network.subnet_of(row.address)
        if subnet is None or (row.last is not None and row.last not in subnet.network):
            subnets = ", ".join(str(other.network) for other in network.subnets)
            return f"it is outside its subnets ({subnets})"
        shelf = self._shelf(row.segment, row.family)
        # What is set aside stays so inside a range: nobody gets it either way.
        if row.last is None:
            aside = shelf.aside.get(int(row.address))
            reason = f"it is {aside}" if aside else unusable_in(subnet.network, row.address)
            if reason:
                return reason
        holder = shelf.holder(*row.bounds)
        if holder is None or (holder.cooling and (holder.key, holder.bounds) == (row.key, row.bounds)):
            return None
        return f"{'it' if row.last is None else holder.text} is {holder.standing}"

    def next_free(
        self,
        network: Network,
        kind: str,
        owner: str,
        family: int,
        description: str = "",
        expires: int | None = None,
    ) -> Allocation:
        """The address that the owner had and that is cooling, else the lowest free one, the network's subnets in
        their order.

        :raises ValueError: if there is none
        """
        supply = self._supply(network, family)
        address = self._had(supply, (network.name, kind, owner, family)) or supply.lowest()
        if address is None:
            raise ValueError(self._full(network, supply.subnets))
        return self._take(
            Allocation(network.parent, network.name, kind, owner, address, description, None, self._now, expires)
        )

    def _had(self, supply: _Supply, key: Key) -> IPAddress | None:
        """What the owner had and is cooling, if it can still be given out."""
        for row in self._rows.get(key, ()):
            subnet = next((subnet for subnet in supply.subnets if row.address in subnet.network), None)
            usable = subnet is not None and unusable_in(subnet.network, row.address) is None
            if row.cooling and row.last is None and usable and int(row.address) not in supply.shelf.aside:
                return row.address
        return None

    def _supply(self, network: Network, family: int) -> _Supply:
        supply = self._supplies.get((network.name, family))
        if supply is None:
            subnets = network.of_family(family)
            if not subnets:
                raise ValueError(f"network '{network.name}' has no IPv{family} subnet")
            fresh = [self._fresh[(network.parent, family, *subnet.bounds())] for subnet in subnets]
            supply = _Supply(subnets, self._shelf(network.parent, family), fresh)
            self._supplies[network.name, family] = supply
        return supply

    def _full(self, network: Network, subnets: Sequence[Subnet]) -> str:
        where = ", ".join(str(subnet.ip_range or subnet.network) for subnet in subnets)
        cooldown = f" (a released one rests for {network.cooldown} s)" if network.cooldown else ""
        return (
            f"network '{network.name}' has no free IPv{subnets[0].family} address left in {where}{cooldown}; "
            "release some, widen the ip_range, or give the network a further subnet"
        )

    def _take(self, row: Allocation) -> Allocation:
        key = row.key
        shelf = self._shelf(row.segment, key[3])
        others = self._rows.get(key, ())
        for other in others:
            if other.cooling and (other.segment, other.bounds) == (row.segment, row.bounds):
                # An owner that comes back takes the place of its cooling row.
                shelf.give_back(other)
                others = tuple(another for another in others if another is not other)
        self._rows[key] = (*others, row)
        shelf.take(row)
        return row

    def _shelf(self, segment: str, family: int) -> _Shelf:
        shelf = self._shelves.get((segment, family))
        if shelf is None:
            shelf = self._shelves[segment, family] = _Shelf(set_aside(self._networks.values(), segment, family))
        return shelf


def set_aside(networks: Iterable[Network], segment: str, family: int) -> dict[int, str]:
    """What no owner on a parent may have: gateways and auxiliary addresses of all networks there, as integers, each with
    what it is."""
    return {
        number: f"{words} of network '{network.name}'"
        for network in networks
        if network.parent == segment
        for subnet in network.subnets
        if subnet.family == family
        for number, words in subnet.reserved().items()
    }


class _Fresh:
    """Addresses that were free when the run began, lowest first; what is taken meanwhile is stepped over."""

    def __init__(self, intervals: list[tuple[int, int]]) -> None:
        self._intervals = intervals[::-1]
        self._start = -1

    def next(self, shelf: _Shelf) -> int | None:
        while self._intervals:
            first, last = self._intervals[-1]
            self._start = shelf.first_open(max(self._start, first))
            if self._start <= last:
                return self._start
            self._intervals.pop()
        return None


class _Supply:
    """Where the addresses of a network's family come from."""

    def __init__(self, subnets: Sequence[Subnet], shelf: _Shelf, fresh: Sequence[_Fresh]) -> None:
        self.subnets = subnets
        self.shelf = shelf
        self._family = subnets[0].family
        self._sources = [(subnet.bounds(), source) for subnet, source in zip(subnets, fresh)]

    def lowest(self) -> IPAddress | None:
        """The lowest free address, the subnets in their order."""
        for bounds, fresh in self._sources:
            again, number = self.shelf.again(*bounds), fresh.next(self.shelf)
            if again is not None and (number is None or again < number):
                number = again
            if number is not None:
                return address_of(number, self._family)
        return None


class _Shelf:
    """The addresses of one family on one parent, as integers: which are taken, set aside, or were given back in this
    run."""

    def __init__(self, aside: Mapping[int, str]) -> None:
        self.aside = aside
        self._singles: dict[int, Allocation] = {}
        self._starts: list[int] = []
        self._ranges: list[Allocation] = []  # in the order of their starts
        self._given_back: list[list[int]] = []

    def take(self, row: Allocation) -> None:
        if row.last is None:
            self._singles[int(row.address)] = row
        else:
            place = bisect.bisect_left(self._starts, int(row.address))
            self._starts.insert(place, int(row.address))
            self._ranges.insert(place, row)
        if not self._given_back:
            return
        first, last = row.bounds
        place = bisect.bisect_left(self._given_back, [first])
        if self._given_back[place : place + 1] and self._given_back[place][0] == first:
            if self._given_back[place][1] <= last:
                del self._given_back[place]
            else:
                self._given_back[place][0] = last + 1

    def give_back(self, row: Allocation) -> None:
        if row.last is None:
            del self._singles[int(row.address)]
        else:
            place = self._starts.index(int(row.address))
            del self._starts[place], self._ranges[place]
        bisect.insort(self._given_back, list(row.bounds))

    def holder(self, first: int, last: int) -> Allocation | None:
        """The allocation of the lowest address that is held between the two."""
        if first == last and first in self._singles:
            return self._singles[first]
        held = [] if first == last else [(n, row) for n, row in self._singles.items() if first <= n <= last]
        held += [(row.bounds[0], row) for row in self._ranges if row.bounds[0] <= last and row.bounds[1] >= first]
        return min(held, default=(0, None))[1]

    def first_open(self, number: int) -> int:
        """The lowest number from this one on that is neither taken nor set aside."""
        while True:
            if number in self._singles or number in self.aside:
                number += 1
                continue
            if not self._ranges:
                return number
            place = bisect.bisect_right(self._starts, number) - 1
            if place < 0 or self._ranges[place].bounds[1] < number:
                return number
            number = self._ranges[place].bounds[1] + 1

    def again(self, first: int, last: int) -> int | None:
        """The lowest address between the two that was given back in this run."""
        for low, high in self._given_back:
            if low > last:
                break
            if high >= first:
                number = self.first_open(max(low, first))
                if number <= min(high, last):
                    return number
        return None


# --- how full a subnet is -------------------------------------------------------------------------------------


class Usage(NamedTuple):
    """How the addresses of a subnet, or of its range, are used; ``size`` is what can be given out at all, and the sum of
    the others. Numbers of addresses."""

    size: int
    held: int
    reserved: int
    cooling: int

    @property
    def free(self) -> int:
        return self.size - self.held - self.reserved - self.cooling


def usage(bounds: tuple[int, int], aside: Iterable[int], rows: Iterable[Allocation]) -> Usage:
    """The use of the addresses from ``bounds[0]`` to ``bounds[1]``.

    :param aside: what is never given out
    :param rows: the allocations on the parent, of this family; what of them lies elsewhere does not count
    """
    apart = sorted(set(aside))

    def count(first: int, last: int) -> int:
        first, last = max(first, bounds[0]), min(last, bounds[1])
        if first > last:
            return 0
        return last - first + 1 - (bisect.bisect_right(apart, last) - bisect.bisect_left(apart, first))

    numbers = {"held": 0, "reserved": 0, "cooling": 0}
    for row in rows:
        numbers["cooling" if row.cooling else "held" if row.kind == ENDPOINT else "reserved"] += count(*row.bounds)
    return Usage(count(*bounds), **numbers)
