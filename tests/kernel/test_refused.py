# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refused anywhere: each call that writes and each question to the kernel meets an error once. The message names item and
cause, and the same task, run again, ends where an undisturbed one does.

The errors go round: one after the other, from call to call. ``EVERY_FAULT=1`` tries all of them at each.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import faults, looks
from .conftest import Failed, Host
from .undisturbed import ONLY_BACK, PAIRS, Task, again, course, run_all

ERRORS = (errno.EBUSY, errno.EEXIST, errno.ENOSPC, errno.ENODEV, errno.EPERM, errno.ENOBUFS)
CAUSES = {number: os.strerror(number) for number in ERRORS} | {
    faults.LOST: "no answer from the kernel",
    faults.INTERRUPTED: "changes interrupted",
}
OF_MESSAGES = (*ERRORS, faults.LOST)
OF_QUESTIONS = (*ERRORS, faults.INTERRUPTED_ONCE, faults.INTERRUPTED)
ITEM = re.compile(
    r"^((networks|endpoints|addresses)\[\d\] \(\w+\)|endpoint '\w+' of network '\w+'|parent '\S+'|names in /\S+)", re.M
)
EVERY = bool(os.environ.get("EVERY_FAULT"))


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


def tries(gate: faults.Gate, turn: int) -> Iterator[tuple[str, int, faults.Refuse]]:
    """What is refused, by which error, and the gate that does it."""
    for number, words in enumerate(gate.points):
        message = words.split()[0] in faults.VERBS
        for fault in _going_round(OF_MESSAGES if message else ERRORS, turn + number):
            yield words, fault, faults.Refuse(fault, point=number)
    for number, words in enumerate(gate.questions):
        for fault in _going_round(OF_QUESTIONS if words.split()[0] in faults.VERBS else ERRORS, turn + number):
            yield words, fault, faults.Refuse(fault, question=number)


def _going_round(kinds: tuple[int, ...], turn: int) -> tuple[int, ...]:
    return kinds if EVERY else (kinds[turn % len(kinds)],)


def refused(host: Host, task: Task, words: str, fault: int, gate: faults.Refuse) -> list[str]:
    """Runs a task that meets a fault; what is wrong with the message."""
    try:
        with faults.gated(gate):
            host.run(task.module, **task.params)
    except Failed as error:
        text = str(error)
        cause = "database or disk is full" if words in ("COMMIT", "the schema") else CAUSES[fault]
        gone = fault == errno.ENODEV and "not there (any more)" in text
        wrong = (
            []
            if cause in text or gone or (fault == errno.EEXIST and CAUSES[errno.EBUSY] in text)
            else [f"the cause '{cause}' is not in: {text}"]
        )
        of_store = str(host.state_dir) in text
        if not (of_store or ITEM.search(text) or "cannot be looked at" in text):
            wrong.append(f"no item is in: {text}")
        if "bug of ours" in text:
            wrong.append(str(error.result.get("exception", text)))
        if ITEM.search(text) and not isinstance(error.result.get("done"), list):
            wrong.append(f"it does not say what was done: {text}")
        return wrong
    return []


@pytest.mark.parametrize("pair", PAIRS)
def test_refused_anywhere_the_error_says_what_and_the_next_run_ends_where_an_undisturbed_one_does(
    host: Host, pair: str, tell: Callable[[str, int], None]
) -> None:
    known = course(host, pair)
    turn = list(PAIRS).index(pair)
    ways = [list(tries(gate, turn)) for gate in known.gates]
    if pair in ONLY_BACK and not EVERY:
        # What else of them there is has been tried by their likes; this leaves the most behind.
        ways = [[one for one in faulty if one[0] == "delete link"] for faulty in ways]
    tried, wrong = 0, []
    for number in range(max(map(len, ways))):
        for task, end, faulty in zip(known.tasks, known.ends, ways):
            if number >= len(faulty) or (pair in ONLY_BACK and task is known.tasks[0]):
                run_all(host, [task])
                continue
            tried += 1
            words, fault, gate = faulty[number]
            found = refused(host, task, words, fault, gate)
            try:
                found += again(host, task, end, third=EVERY)
            except Failed as error:
                found.append(f"the next run: {error}")
            if found:
                name = errno.errorcode.get(fault, fault)
                wrong += [f"{task.module}, {name} at {number} ({words}): {text}" for text in found]
                known.stand_at(host, task)
    tell("faults injected", tried)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
