# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs that are killed at any instant, and many at once: the store opens, is whole, and has all that was acknowledged."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import os
import pickle
import random
import select
import signal
import sqlite3
import sys
import termios
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import observe, plan_addresses, store
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import Allocation
from ansible_collections.netops.underlay.plugins.module_utils.spec import AddressSpec, Expiry
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Put

from .builders import network, replace, subnet

SEED = 20261125
KILLS = 200
F_SETPIPE_SZ = 1031  # linux/fcntl.h; Python's module fcntl has it from 3.10 on
QUICK = network("quick", subnet("10.0.0.0/24"), subnet("2001:db8::/120"), parent="p")
REST = replace(network("rest", subnet("10.1.0.0/25"), subnet("2001:db8:1::/120"), parent="p"), cooldown=1)
BASES = {("quick", 4): "10.0.0.0", ("rest", 4): "10.1.0.0", ("quick", 6): "2001:db8::", ("rest", 6): "2001:db8:1::"}

Model = dict[tuple[str, int, int], Allocation]


# --- the run that gets killed ---------------------------------------------------------------------------------


def batch(rng: random.Random) -> list[AddressSpec]:
    """A task of random size: owners that come, leave, change, or want a range."""
    specs = {}
    for _number in range(rng.choice((1, 1, 3, 10, 30))):
        name, family = rng.choice(list(BASES))
        owner = f"o{rng.randrange(40)}"
        address = last = None
        move = rng.choice(("next", "next", "next", "absent", "absent", "range", "claim"))
        if move in ("range", "claim"):
            address = ip_address(BASES[name, family]) + rng.randrange(60, 120)
            last = address + rng.randrange(1, 9) if move == "range" else None
        expires = rng.choice((None, None, None, Expiry(after=1), Expiry(after=2), Expiry()))
        state = "absent" if move == "absent" else "present"
        specs[name, owner, family] = AddressSpec(owner, name, owner, family, state, address, last, None, expires)
    return list(specs.values())


def keep_running(state_dir: str, seed: int, writer: int) -> None:
    """Batch after batch, each as a run of its own; it says what it will write, and when that is done."""

    def tell(word: str, what: Any) -> None:
        os.write(writer, base64.b64encode(pickle.dumps((word, what))) + b"\n")

    rng = random.Random(seed)
    while True:
        with store.writing(state_dir, 30) as kept:
            specs = batch(rng)
            seen = observe.for_addresses(kept, specs)
            try:
                plan, _outcomes = plan_addresses.plan(seen, specs)
            except Refused:
                continue
            tell("will", (kept.now, plan.before))
            apply(plan, kept, "boot")
            tell("did", None)


def start(work: Callable[[int], None]) -> tuple[int, int]:
    """A process that has begun ``work`` with the end of a pipe to write to; its id and the end to read from."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 1 << 20)
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.write(writer, b"\n")
            work(writer)
        finally:
            os._exit(1)
    os.close(writer)
    select.select([reader], [], [], 60)  # until it has begun
    return child, reader


def wait_for_more(reader: int) -> None:
    """Until the process has said something further."""

    def waiting() -> int:
        return int.from_bytes(fcntl.ioctl(reader, termios.FIONREAD, bytes(4)), sys.byteorder)

    before = waiting()
    for _try in range(10000):
        if waiting() > before:
            return
        time.sleep(0.0005)
    raise AssertionError("it stands still")


def kill(child: int) -> int:
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def told(reader: int) -> list[tuple[str, Any]]:
    """What the process said in whole lines."""
    with open(reader, "rb") as file:
        lines = file.read().split(b"\n")[1:-1]
    return [pickle.loads(base64.b64decode(line)) for line in lines]


# --- what has to be there afterwards --------------------------------------------------------------------------


def with_steps(model: Model, now: int, steps: Any) -> Model:
    """The rows after one write, told without the store: what expired goes, then the drops, then the puts."""
    after = {key: row for key, row in model.items() if row.expires is None or row.expires > now}
    for kind in (Drop, Put):
        for step in steps:
            if isinstance(step, kind):
                row = step.row
                key = (row.segment, row.family, int(row.address))
                if kind is Put:
                    after[key] = row
                elif key in after and after[key].key == row.key:
                    del after[key]
    return after


def counting(model: Model, now: int) -> set[Allocation]:
    return {row for row in model.values() if row.expires is None or row.expires > now}


def check_whole(state_dir: str) -> None:
    """No page is damaged, no two rows overlap, and ``held`` has the runs of the rows."""
    with contextlib.closing(sqlite3.connect(os.path.join(state_dir, store.FILE_NAME))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT segment, family, first, last FROM allocations ORDER BY 1, 2, 3").fetchall()
        held = connection.execute("SELECT segment, family, first, last FROM held ORDER BY 1, 2, 3").fetchall()
    runs: list[tuple[str, int, int, int]] = []
    for segment, family, low, high in rows:
        first, last = int.from_bytes(low, "big"), int.from_bytes(high, "big")
        if runs and runs[-1][:2] == (segment, family):
            assert runs[-1][3] < first, "two rows overlap"
            if runs[-1][3] + 1 == first:
                first = runs.pop()[2]
        runs.append((segment, family, first, last))
    assert runs == [(s, f, int.from_bytes(low, "big"), int.from_bytes(high, "big")) for s, f, low, high in held]


def test_a_run_that_is_killed_at_any_instant_loses_nothing(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    state_dir = str(tmp_path / "state")
    with store.writing(state_dir, 0) as kept:
        kept.write([Put(QUICK), Put(REST)])
    model: Model = {}
    numbers = {"kills": 0, "acknowledged": 0, "in the middle": 0, "written though not acknowledged": 0, "losses": 0}
    for _round in range(KILLS):
        seed = rng.randrange(1 << 32)
        child, reader = start(functools.partial(keep_running, state_dir, seed))
        time.sleep(rng.uniform(0, 0.08))
        if rng.random() < 0.5:
            wait_for_more(reader)
            time.sleep(rng.uniform(0, 0.006))  # a batch is being written
        assert kill(child) == -signal.SIGKILL
        numbers["kills"] += 1
        pending = None
        for word, what in told(reader):
            if word == "will":
                pending = what
            elif pending is not None:
                model, pending = with_steps(model, *pending), None
                numbers["acknowledged"] += 1
        check_whole(state_dir)
        with store.writing(state_dir, 0) as kept:
            assert not kept.fresh
            assert kept.networks() == {"quick": QUICK, "rest": REST}
            found = set(kept.allocations())
            now = kept.now
        # What was not acknowledged is there in whole or not at all.
        numbers["in the middle"] += pending is not None
        if pending is not None and found != counting(model, now):
            model = with_steps(model, *pending)
            numbers["written though not acknowledged"] += 1
        numbers["losses"] += found != counting(model, now)
    print(numbers)
    assert (numbers["kills"], numbers["losses"]) == (KILLS, 0)
    assert numbers["acknowledged"] > 0
    assert {store.LOCK_NAME, store.FILE_NAME} == {name.removesuffix("-journal") for name in os.listdir(state_dir)}


def test_a_run_that_is_killed_while_it_makes_the_store_leaves_none_or_a_whole_one(tmp_path):
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    found = {"none": 0, "a whole one": 0}
    for number in range(50):
        state_dir = str(tmp_path / f"state{number}")

        def work(_writer: int, state_dir: str = state_dir) -> None:
            with store.writing(state_dir, 0) as kept:
                kept.write([Put(QUICK)])
                while True:
                    time.sleep(1)

        child, reader = start(work)
        os.close(reader)
        time.sleep(rng.uniform(0, 0.03))
        kill(child)
        found["a whole one" if Path(state_dir, store.FILE_NAME).exists() else "none"] += 1
        with store.writing(state_dir, 0) as kept:
            assert kept.networks() in ({}, {"quick": QUICK})
            kept.write([Put(REST)])
        check_whole(state_dir)
        assert {store.LOCK_NAME, store.FILE_NAME} == {name.removesuffix("-journal") for name in os.listdir(state_dir)}
    print(found)


# --- many at once ---------------------------------------------------------------------------------------------

PROCESSES, EACH = 16, 40
CROWD = network("crowd", subnet("10.2.0.0/16"), parent="p")


def take_some(state_dir: str, number: int) -> None:
    """What one of many processes does: an allocation, and the store closed again, many times."""
    for turn in range(EACH):
        spec = AddressSpec("x", "crowd", f"o{number}-{turn}", 4, "present")
        with store.writing(state_dir, 300) as kept:
            seen = observe.for_addresses(kept, [spec])
            plan, [row] = plan_addresses.plan(seen, [spec])
            apply(plan, kept, "")
        with store.reading(state_dir) as kept:
            assert row in kept.owned([("crowd", row.kind, row.owner)])


def test_many_processes_at_once_get_each_their_own(tmp_path):
    state_dir = str(tmp_path / "state")
    with store.writing(state_dir, 0) as kept:
        kept.write([Put(CROWD)])
    children = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                take_some(state_dir, number)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * PROCESSES
    with store.reading(state_dir) as kept:
        rows = kept.allocations()
    assert len({row.address for row in rows}) == len({row.owner for row in rows}) == PROCESSES * EACH == len(rows)
