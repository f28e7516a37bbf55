"""Runs the work on endpoints, ours and the others' by turns, and keeps how long it took. Judges nothing.

Whoever has made endpoints is looked after by iproute2, and all is cleared away before the next begins.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import floor
import ground
from endpoint_peers import Cni, IpBatch
from report import say
from task import Done, Request, done

HERE = Path(__file__).resolve().parent
OURS, FLOOR, IP, CNI = "netops.underlay", "raw netlink", "ip -batch", "CNI macvlan"

ATTACH, ATTACH_THERE = "attach", "attach, namespaces there"
UNCHANGED, CHECKED, REPAIRED = "unchanged", "check mode", "one address gone"
DETACH, DETACH_STAY = "detach, namespaces ours", "detach, namespaces not ours"
AGAIN = 2  # unchanged runs and their like in each turn
PAIRS = 4  # more attachings of the floor and of ours in each turn, whose ratio has the narrowest bound
DEL_PART = 10  # CNI removes one in so many: each costs the same, and waiting for a thousand is most of a minute

NETWORK = {
    "name": "net",
    "driver": "macvlan",
    "parent": ground.NIC,
    "ipam_config": [{"subnet": str(ground.SUBNET), "gateway": str(ground.GATEWAY)}],
}


@dataclass
class Taken:
    """What was measured: seconds by work, way and count; memory and left-over links of ours; what an unchanged run wrote."""

    seconds: dict[tuple[str, str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    memory: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    left: dict[str, int] = field(default_factory=dict)
    heard: int = 0
    written: int = 0
    phases: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, work: str, way: str, count: int, seconds: float) -> None:
        self.seconds[work, way, count].append(seconds)

    def median(self, work: str, way: str, count: int) -> float:
        return statistics.median(self.seconds[work, way, count])

    def each(self, work: str, way: str, count: int) -> float:
        """For one endpoint."""
        return self.median(work, way, count) / count

    def curve(self, way: str) -> list[tuple[float, float]]:
        """Seconds to attach by count."""
        counts = sorted(count for work, whose, count in self.seconds if (work, whose) == (ATTACH, way))
        return [(count, self.median(ATTACH, way, count)) for count in counts]


@dataclass(frozen=True)
class Ours:
    """One network and its endpoints, each task of which is a fresh process."""

    folder: Path
    count: int

    @classmethod
    def made(cls, folder: Path, count: int) -> Ours:
        ours = cls(folder, count)
        ours._done("vlan_network", [NETWORK], True)
        return ours

    def attach(self, **ways: bool) -> Done:
        return self._endpoints({}, True, **ways)

    def unchanged(self, **ways: bool) -> Done:
        return self._endpoints({}, False, **ways)

    def repair(self, number: int) -> Done:
        """Takes the address of one endpoint away first, and its default route with it."""
        own = f"{ground.address(number)}/{ground.SUBNET.prefixlen}"
        ground.ip("-n", ground.names(number + 1)[-1], "address", "del", own, "dev", ground.LINK)
        repaired = self._endpoints({}, True)
        ground.check_one(number, OURS)
        return repaired

    def detach(self, **ways: bool) -> Done:
        return self._endpoints({"state": "absent"}, True, **ways)

    def _endpoints(self, values: dict[str, Any], changed: bool, **ways: bool) -> Done:
        names = ground.names(self.count)
        items = [{"name": name} if values else {"name": name, "netns": name} for name in names]
        return self._done("vlan_endpoint", items, changed, {"network": NETWORK["name"], **values}, **ways)

    def _done(
        self,
        module: str,
        items: list[dict[str, Any]],
        changed: bool,
        values: dict[str, Any] | None = None,
        **ways: bool,
    ) -> Done:
        os.sync()  # what others wrote is not to be paid for by what is measured
        told = done(Request(module, str(self.folder), items, values or {}, **ways))
        if told.changed != changed:
            raise ground.Different(f"{module} says changed: {told.changed}")
        return told


@dataclass(frozen=True)
class Runs:
    """``one`` is the count that all is measured at, ``many`` that of the growth; at ``few`` only attaching is."""

    folder: Path
    few: Sequence[int]
    one: int
    many: int
    taken: Taken

    def turn(self, number: int) -> None:
        """Everything once."""
        for count in (*self.few, self.one, self.many):
            say(f"turn {number + 1}: {count:,} endpoints")
            self.floor(count)
            if count <= self.one or number == 0:
                self.ip_batch(count, number)
            if count <= self.one:
                self.cni(count, number)
            self.ours(count, number)
        self.pairs()
        self.ours_in_others(number)

    def pairs(self) -> None:
        """The floor and ours close together, each first as often: the machine is not as fast in one minute as in the next."""
        for again in range(PAIRS):
            for way in (self.floor, self.ours_alone)[:: -1 if again % 2 else 1]:
                way(self.one)

    def ours_alone(self, count: int) -> None:
        ours = Ours.made(Path(tempfile.mkdtemp(dir=self.folder)), count)
        self._kept(ATTACH, count, ours.attach())
        ground.check(count, OURS)
        self._kept(DETACH, count, ours.detach())
        ground.clear()

    def floor(self, count: int) -> None:
        command = [sys.executable, str(HERE / "floor.py"), str(count), ground.NIC]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.taken.add(ATTACH, FLOOR, count, float(told))
        ground.check(count, FLOOR)
        ground.clear()

    def ip_batch(self, count: int, number: int) -> None:
        way = IpBatch(self.folder / f"ip-{number}-{count}")
        self.taken.add(ATTACH, IP, count, way.attach(count))
        ground.check(count, IP)
        self.taken.add(DETACH, IP, count, way.detach(count))
        ground.clear()

    def cni(self, count: int, number: int) -> None:
        way = Cni(self.folder / f"cni-{number}-{count}")
        self.taken.add(ATTACH, CNI, count, way.attach(count))
        ground.check(count, CNI)
        self.taken.add(DETACH_STAY, CNI, count, way.detach(count, count // DEL_PART or 1))
        ground.clear()

    def ours(self, count: int, number: int) -> None:
        ours = Ours.made(self.folder / f"ours-{number}-{count}", count)
        self._kept(ATTACH, count, ours.attach())
        ground.check(count, OURS)
        if count >= self.one:
            for again in range(AGAIN):
                self._kept(UNCHANGED, count, ours.unchanged())
                if count == self.one:
                    self._kept(CHECKED, count, ours.unchanged(check=True))
                    self._kept(REPAIRED, count, ours.repair((number * AGAIN + again + 1) * count // 7 % count))
            if number == 0 and count == self.one:
                self._listen(ours)
        self._kept(DETACH, count, ours.detach())
        self._note_left(DETACH, bool(os.listdir(ground.NETNS)))
        ground.clear()

    def ours_in_others(self, number: int) -> None:
        """In namespaces that somebody else made, which stay."""
        floor.make_namespaces(self.one)
        ground.settle()
        ours = Ours.made(self.folder / f"there-{number}", self.one)
        self._kept(ATTACH_THERE, self.one, ours.attach())
        ground.check(self.one, OURS)
        self._kept(DETACH_STAY, self.one, ours.detach())
        self._note_left(DETACH_STAY, len(os.listdir(ground.NETNS)) != self.one)
        ground.clear()

    def profile(self) -> None:
        """By phases, in a life of its own, since that costs a little."""
        ours = Ours.made(self.folder / "profile", self.one)
        for work, task in ((ATTACH, ours.attach), (UNCHANGED, ours.unchanged), (DETACH, ours.detach)):
            self.taken.phases[work] = task(profile=True).phases
            ground.until_told()
        ground.clear()

    def _kept(self, work: str, count: int, told: Done) -> None:
        ground.until_told()
        self.taken.add(work, OURS, count, told.seconds)
        self.taken.memory[count].append((told.before, told.peak))

    def _note_left(self, work: str, wrong_spaces: bool) -> None:
        """To be called as soon as the task has returned."""
        self.taken.left[work] = self.taken.left.get(work, 0) + ground.children()
        if wrong_spaces:
            raise ground.Different(f"{work}: {len(os.listdir(ground.NETNS))} namespaces are left")

    def _listen(self, ours: Ours) -> None:
        """Who listens in every namespace hears nothing of an unchanged run, and does hear of a repair."""
        ears = ground.Listener(ground.names(ours.count))
        try:
            told = ours.unchanged(record=True)
            self.taken.heard, self.taken.written = ears.heard(), sum(told.writes.values())
            ours.repair(ours.count // 2)
            if not ears.heard():
                raise ground.Different("nothing was heard of a change, so nobody listened")
        finally:
            ears.close()
