"""The allocator and its store against the bounds that we promise, with CNI's host-local beside it in the same run.

Runs on this machine's own kernel and touches no link. `make bench-ipam` calls it; exits with 1 if a bound does not hold.
Environment: BENCH_DIR is where the state is kept meanwhile (default .work/bench, which should be on a real disk);
BENCH_QUICK=1 takes a tenth of all sizes and judges nothing, for trying.
"""

from __future__ import annotations

import ipaddress
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Union

import peers
from ansible_collections.netops.underlay.plugins.module_utils import (
    observe,
    plan_addresses,
    run,
    run_addresses,
    spec,
    store,
)
from ansible_collections.netops.underlay.plugins.module_utils.addressing import Subnet, default_gateway
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.model import Allocation, Network
from ansible_collections.netops.underlay.plugins.module_utils.steps import Put
from peers import HostLocal, PeerError
from report import Row, as_json, machine, say, shown, table, unjudged, verdict

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
RESULTS = Path(__file__).resolve().parents[2] / ".work" / "bench"
PART = 10 if QUICK else 1

NETWORK, PARENT = "web", "eth0.20"
SUBNETS = {4: "10.1.0.0/16", 6: "2001:db8:0:20::/64"}
FILL = 65533 // PART  # a /16 less its own address, the broadcast address and the gateway
HELD = 65000 // PART
REPETITIONS, PEER_REPETITIONS = 250 // PART, {0: 100 // PART, HELD: 5}
WARM_UP = 5  # steps of ours that are not counted
FILLS = 3
PROCESSES = 16
BURST, PEER_BURST = 1000 // PART, 20
BURST_HELD = 4000 // PART
LOCK_TIMEOUT = 30  # the modules' default

FILL_BOUND_S = 3.0
MEMORY_BOUND = 120e6
ONE_BOUND_S = 0.003
GROWTH_BOUND = 2.0
THROUGHPUT_BOUND = 10.0

# Processes that begin with nothing of this one's memory, as a module does.
FRESH = multiprocessing.get_context("spawn")


# --- ours -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ours:
    """A store with one network. Each method opens and closes it, as a run of a module does, and checks what it got."""

    folder: str
    family: int

    @classmethod
    def made(cls, folder: Path, family: int) -> Ours:
        """One that holds nothing yet."""
        subnet = ipaddress.ip_network(SUBNETS[family])
        network = Network(
            name=NETWORK,
            driver_name="ipvlan",
            parent=PARENT,
            asked_parent=PARENT,
            mode="l2",
            flag="bridge",
            internal=False,
            enable_ipv4=family == 4,
            enable_ipv6=family == 6,
            subnets=(Subnet(subnet, default_gateway(subnet)),),
        )
        with store.writing(str(folder), LOCK_TIMEOUT) as kept:
            kept.write([Put(network)])
        return cls(str(folder), family)

    def change(self, specs: Sequence[spec.AddressSpec]) -> list[Allocation | None]:
        """What a task does with these items, between its parameters and its result."""
        with run.without_collector(), store.writing(self.folder, LOCK_TIMEOUT) as kept:
            seen = observe.for_addresses(kept, specs)
            plan, outcomes = plan_addresses.plan(seen, specs)
            apply(plan, kept, seen.host.boot_id)
        return outcomes

    def specs(self, owners: Sequence[str], state: str = spec.PRESENT) -> list[spec.AddressSpec]:
        return [
            spec.AddressSpec(f"addresses[{place}] ({owner})", NETWORK, owner, self.family, state)
            for place, owner in enumerate(owners)
        ]

    def allocate(self, owner: str) -> str:
        (row,) = self.change(self.specs([owner]))
        assert row is not None and row.owner == owner
        return str(row.address)

    def release(self, owner: str, address: str) -> None:
        self.change(self.specs([owner], spec.ABSENT))

    def look_up(self, owner: str, address: str) -> None:
        with store.reading(self.folder) as kept:
            found = kept.allocations(network=NETWORK, owner=owner)
        assert [str(row.address) for row in found] == [address]

    def look_up_address(self, owner: str, address: str) -> None:
        with store.reading(self.folder) as kept:
            wanted = ipaddress.ip_address(address)
            found = kept.holders([(PARENT, wanted, wanted)])
        assert [row.owner for row in found] == [owner]

    def hold(self, count: int) -> None:
        """Allocates ``count`` addresses, in IPv6 at random places."""
        specs = self.specs(owners(count))
        if self.family == 6:
            subnet = ipaddress.ip_network(SUBNETS[6])
            places = random.Random(6).sample(range(2, 2**63), count)
            specs = [
                spec.AddressSpec(one.item, NETWORK, one.owner, 6, spec.PRESENT, subnet[place])
                for one, place in zip(specs, places)
            ]
        self.change(specs)

    def held(self) -> dict[str, str]:
        """The owners by their addresses."""
        with store.reading(self.folder) as kept:
            return {str(row.address): row.owner for row in kept.allocations(network=NETWORK)}


System = Union[Ours, HostLocal]


def owners(count: int) -> list[str]:
    return [f"vm-{number}" for number in range(count)]


# --- filling a subnet -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filled:
    """``before`` and ``peak`` are the process's highest memory use, in bytes: with all that it was asked for read in,
    and after the call."""

    seconds: float
    before: int
    peak: int


def fill(ours: Ours, count: int) -> Filled:
    """The allocator's part of one task with ``count`` items."""
    specs = ours.specs(owners(count))
    return _filled(lambda: ours.change(specs))


def fill_by_module(ours: Ours, count: int) -> Filled:
    """The same with parameters read, results and diff built; only Ansible's own work is left out."""
    from ansible_collections.netops.underlay.plugins.modules.vlan_ipam import OPTIONS

    nothing = dict.fromkeys(OPTIONS)
    addresses = [{**nothing, "owner": owner} for owner in owners(count)]
    params = {**nothing, "network": NETWORK, "addresses": addresses, "state_dir": ours.folder}
    module = SimpleNamespace(params={**params, "lock_timeout": LOCK_TIMEOUT}, check_mode=False, _diff=True)
    return _filled(lambda: run_addresses.addresses(module, OPTIONS))


def _filled(work: Callable[[], object]) -> Filled:
    before = _peak_memory()
    start = time.perf_counter()
    work()
    return Filled(time.perf_counter() - start, before, _peak_memory())


def _peak_memory() -> int:
    """Not by getrusage: its maximum goes on from the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def measured_fills(folder: Path, work: Callable[[Ours, int], Filled], times: int) -> list[Filled]:
    done = []
    for number in range(times):
        ours = Ours.made(folder / f"{work.__name__}-{number}", 4)
        with FRESH.Pool(1) as pool:
            done.append(pool.apply(work, (ours, FILL)))
        held = ours.held()
        usable = set(map(str, ipaddress.ip_network(SUBNETS[4]).hosts())) - {"10.1.0.1"}
        assert len(held) == FILL and set(held) <= usable and set(held.values()) == set(owners(FILL))
    return done


def fill_rows(folder: Path, peer_reckoned: float) -> list[Row]:
    group = f"One task in an empty IPv4 /16: {FILL:,} addresses, each with its own owner{'' if QUICK else '; then it is full'}"
    fills = measured_fills(folder, fill, FILLS)
    seconds = statistics.median(one.seconds for one in fills)
    peak = max(one.peak for one in fills)
    (whole,) = measured_fills(folder, fill_by_module, 1)
    return [
        Row(
            group,
            "time, allocator and store",
            "s",
            seconds,
            peer_reckoned,
            f"<= {shown(FILL_BOUND_S, 's')}",
            seconds <= FILL_BOUND_S,
            reckoned=True,
        ),
        Row(group, "time, with parameters, results and diff", "s", whole.seconds),
        Row(
            group,
            "peak memory, allocator and store",
            "bytes",
            peak,
            bound=f"<= {shown(MEMORY_BOUND, 'bytes')}",
            holds=peak <= MEMORY_BOUND,
        ),
        Row(group, "  of it before the call: Python, the request", "bytes", max(one.before for one in fills)),
        Row(group, "peak memory, with results and diff", "bytes", whole.peak),
    ]


# --- one address at a time ------------------------------------------------------------------------------------

WORK = {
    "allocate": "allocate the next free one",
    "release": "release one",
    "look_up": "look up by owner",
    "look_up_address": "look up by address",
}


@dataclass
class Churn:
    """A system under one allocation, two look-ups and one release after the other; it keeps as many as it holds."""

    system: System
    held: list[tuple[str, str]]
    taken: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WORK})

    def step(self, owner: str, chance: random.Random) -> None:
        self.held.append((owner, self._timed("allocate", owner)))
        self._timed("look_up", *chance.choice(self.held))
        if isinstance(self.system, Ours):
            self._timed("look_up_address", *chance.choice(self.held))
        place = chance.randrange(len(self.held))
        self.held[place], self.held[-1] = self.held[-1], self.held[place]
        self._timed("release", *self.held.pop())

    def _timed(self, name: str, *arguments: str) -> Any:
        work = getattr(self.system, name)
        start = time.perf_counter()
        result = work(*arguments)
        self.taken[name].append(time.perf_counter() - start)
        return result

    def check(self) -> None:
        assert self.system.held() == {address: owner for owner, address in self.held}

    def median(self, name: str) -> float | None:
        return statistics.median(self.taken[name]) if self.taken[name] else None


def churned(systems: Sequence[System], repetitions: int, warm_up: int) -> list[Churn]:
    """All systems by turns, so that what else the machine does meets them alike."""
    chance = random.Random(1)
    churns = [Churn(system, [(owner, address) for address, owner in system.held().items()]) for system in systems]
    for number in range(warm_up + repetitions):
        if number == warm_up:
            for churn in churns:
                churn.taken = {name: [] for name in WORK}
        for churn in churns:
            churn.step(f"new-{number}", chance)
    for churn in churns:
        churn.check()
    return churns


def single_rows(folder: Path, family: int) -> list[Row]:
    counts = (0, HELD)
    ours = [Ours.made(folder / f"ours-{family}-{count}", family) for count in counts]
    ours[1].hold(HELD)
    held = ours[1].held()
    os.sync()  # what was prepared is not to be paid for by what is measured
    mine = churned(ours, REPETITIONS, WARM_UP)
    peer = {}
    for count in counts:
        system = HostLocal.made(folder / f"peer-{family}-{count}", SUBNETS[family], held if count else {})
        os.sync()
        peer[count] = churned([system], PEER_REPETITIONS[count], warm_up=1)[0]
    where = "the lowest" if family == 4 else "random"
    group = f"IPv{family} /{ipaddress.ip_network(SUBNETS[family]).prefixlen}, one at a time, {where} addresses held"
    rows = []
    for name, words in WORK.items():
        none, some = (churn.median(name) for churn in mine)
        rows.append(Row(group, f"{words}, none held", "s", none, peer[0].median(name)))
        bound = f"<= {shown(ONE_BOUND_S, 's')}, <= {GROWTH_BOUND:g} x none held ({some / none:.1f} x)"
        holds = some <= ONE_BOUND_S and some <= GROWTH_BOUND * none
        rows.append(Row(group, f"{words}, {HELD:,} held", "s", some, peer[HELD].median(name), bound, holds))
    return rows


# --- many processes at once -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Burst:
    """What one process, or all together, were told, how long each allocation took, and what failed."""

    told: Sequence[tuple[str, str]]
    waits: Sequence[float]
    failures: Sequence[str]
    begun: float
    ended: float

    @property
    def rate(self) -> float:
        return len(self.told) / (self.ended - self.begun)


def _enter(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603 - the way by which a pool hands a barrier to its processes
    _barrier = barrier


def _part(system: System, number: int, count: int) -> Burst:
    """One process's share."""
    told, waits, failures = [], [], []
    _barrier.wait(timeout=60)
    begun = time.monotonic()
    for place in range(count):
        owner = f"process-{number}-{place}"
        start = time.monotonic()
        try:
            told.append((owner, system.allocate(owner)))
        except Exception as error:
            failures.append(f"{owner}: {error}")
        waits.append(time.monotonic() - start)
    return Burst(told, waits, failures, begun, time.monotonic())


def burst(system: System, count: int) -> Burst:
    """``count`` allocations in each of the processes, which all begin together."""
    with FRESH.Pool(PROCESSES, _enter, (FRESH.Barrier(PROCESSES),)) as pool:
        parts = pool.starmap(_part, [(system, number, count) for number in range(PROCESSES)], chunksize=1)
    return Burst(
        [one for part in parts for one in part.told],
        [one for part in parts for one in part.waits],
        [one for part in parts for one in part.failures],
        min(part.begun for part in parts),
        max(part.ended for part in parts),
    )


def wrong_in(done: Burst, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Addresses that two were told, allocations that are not kept (or kept and not told), and what failed."""
    taken = dict(before)
    wrong = list(done.failures)
    for owner, address in done.told:
        if address in taken:
            wrong.append(f"{address} was given to {taken[address]} and to {owner}")
        taken[address] = owner
    wrong += [f"{address} of {owner} is lost" for address, owner in taken.items() if after.get(address) != owner]
    wrong += [f"{address} of {owner} is kept, and nobody was told" for address, owner in after.items() - taken.items()]
    return wrong


def burst_rows(folder: Path) -> list[Row]:
    ours = Ours.made(folder / "ours-burst", 4)
    ours.hold(BURST_HELD)
    before = ours.held()
    peer = HostLocal.made(folder / "peer-burst", SUBNETS[4], before)
    mine, theirs = burst(ours, BURST), burst(peer, PEER_BURST)
    wrong, peer_wrong = wrong_in(mine, before, ours.held()), wrong_in(theirs, before, peer.held())
    for text in [*wrong[:5], *peer_wrong[:5]]:
        say(text)
    group = (
        f"{PROCESSES} processes at once, {BURST:,} allocations each (host-local: {PEER_BURST}), "
        f"{BURST_HELD:,} held at the start"
    )
    fast = mine.rate >= THROUGHPUT_BOUND * theirs.rate
    return [
        Row(group, "allocations", "/s", mine.rate, theirs.rate, f">= {THROUGHPUT_BOUND:g} x host-local", fast),
        Row(group, "given twice, lost or failed", "", len(wrong), len(peer_wrong), "none", not wrong),
        Row(group, "one allocation, median", "s", statistics.median(mine.waits), statistics.median(theirs.waits)),
        Row(group, "one allocation, the longest", "s", max(mine.waits), max(theirs.waits)),
    ]


# --- all of it ------------------------------------------------------------------------------------------------


def measured(folder: Path) -> list[Row]:
    say(f"one address at a time, IPv4, none and {HELD:,} held")
    single = single_rows(folder, 4)
    say(f"one address at a time, IPv6, none and {HELD:,} held")
    single += single_rows(folder, 6)
    say(f"filling a /16, {FILLS + 1} times")
    # Nobody would wait for it: what host-local's ADD costs grows with what is held, so its mean is half way.
    peer_one = statistics.mean(row.peer or 0 for row in single[:2])
    fills = fill_rows(folder, FILL * peer_one)
    say(f"{PROCESSES} processes at once")
    return fills + single + burst_rows(folder)


def told(rows: Sequence[Row], about: dict[str, Any], seconds: float) -> str:
    return f"""
The IPAM of netops.underlay beside CNI host-local {about["peer"]}, {about["date"]}
Linux {about["kernel"]}, {about["cpu"]}, {about["cores"]} cores (load {about["load"]:.1f} at the start), \
Python {about["python"]}, SQLite {about["sqlite"]}
State on {about["file_system"]}, where to write a small file over with fsync costs {shown(about["fsync"], "s")}

{table(rows, "host-local")}

ratio: how many times better ours is. One at a time: medians; ours opens and closes its store each time, without the start
of Python; host-local is a process each time, as a runtime starts it (subtract its time with none held if you do not want
that counted). Ours is on the disk when it returns; host-local never calls fsync. host-local's look-up by owner is CHECK;
it has none by address. ~: reckoned from its first and its last ADD. 1 MB is 1,000,000 bytes. The whole took {seconds:.0f} s.
"""


def main() -> None:
    begun = time.monotonic()
    try:
        peer = peers.version()
        base = Path(os.environ.get("BENCH_DIR") or RESULTS).resolve()
        for folder in (base, RESULTS):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="ipam-", dir=base) as folder:
            about = {**machine(Path(folder)), "peer": peer, "quick": QUICK}
            rows = measured(Path(folder))
    except PeerError as error:
        sys.exit(f"bench: {error}")
    if QUICK:
        rows = unjudged(rows)
    print(told(rows, about, time.monotonic() - begun))
    results = RESULTS / ("ipam-quick.json" if QUICK else "ipam.json")
    results.write_text(json.dumps({"machine": about, "rows": as_json(rows)}, indent=2) + "\n")
    broken = verdict(rows)
    if QUICK:
        print("BENCH_QUICK: a tenth of the sizes, so no bound was judged.")
    else:
        print(broken or "All bounds hold.")
    print(f"The same as JSON: {results}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
