# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Killed in front of each write, and after the last: the same task, run again, ends where an undisturbed one does."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import faults, looks
from .conftest import Failed, Host, command, writes_counted
from .undisturbed import ONLY_BACK, PAIRS, UP, again, course, differing, picture, run_all


def killed(host: Host, work: Callable[[], object], number: int) -> bool:
    """Does the work in a process of its own, which ends in front of write ``number``; whether it came to that."""
    trouble = host.state_dir.parent / "trouble"
    child = os.fork()
    if child == 0:
        try:
            with faults.gated(faults.Kill(number)):
                work()
            os._exit(0)
        except BaseException as error:
            trouble.write_text(repr(error))
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), trouble.read_text()
    return code != 0


@pytest.fixture(scope="module", autouse=True)
def warm() -> Iterator[None]:
    """What is there stays out of the collector's way: a child does not copy it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


@pytest.mark.parametrize("pair", PAIRS)
def test_killed_in_front_of_each_write_the_next_run_ends_where_an_undisturbed_one_does(
    host: Host, pair: str, tell: Callable[[str, int], None]
) -> None:
    known = course(host, pair)
    tried, wrong = 0, []
    for number in range(max(len(gate.points) for gate in known.gates) + 1):
        for task, end, gate in zip(known.tasks, known.ends, known.gates):
            passed = gate.points
            if number > len(passed) or (pair in ONLY_BACK and task is known.tasks[0]):
                run_all(host, [task])
                continue
            tried += 1
            try:
                died = killed(host, functools.partial(host.run, task.module, **task.params), number)
                found = again(host, task, end)
            except Failed as error:
                died, found = True, [str(error)]
            if died != (number < len(passed)):
                found.append("it has not as many writes as an undisturbed run")
            if found:
                where = passed[number] if number < len(passed) else "the end"
                wrong += [f"{task.module}, killed at {number} ({where}): {words}" for words in found]
                known.stand_at(host, task)
    tell("kill points tried", tried)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_killed_while_another_process_makes_namespaces_ahead_the_next_run_makes_the_rest(host: Host) -> None:
    """Without gates, so as it is on a host: with them everything is written one by one."""
    from ansible_collections.netops.underlay.plugins.module_utils import apply

    names = [f"web{number}" for number in range(1, 41)]
    ends = [{"name": name, "network": "vlan20", "netns": name} for name in names]
    host.network("vlan20", parent="eth0.20", ipam_config=[{"subnet": "172.16.48.0/22"}])
    set_up, rooms = apply._set_up_room, []

    def once_more(*arguments: object) -> None:
        rooms.append(arguments)
        if len(rooms) == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        set_up(*arguments)

    child = os.fork()
    if child == 0:
        apply._set_up_room = once_more
        with contextlib.suppress(BaseException):
            host.run("vlan_endpoint", endpoints=ends)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    up = {name for name in names if name in looks.names() and "172.16" in command("ip", "-n", name, "addr").stdout}
    assert len(up) == 9
    result = host.run("vlan_endpoint", endpoints=ends)
    assert result["changed"] and host.namespaces() >= set(names)
    given = [host.addresses("eth0", name) for name in names]
    assert given == [[f"172.16.48.{number}/22"] for number in range(2, 42)]  # 1 is the gateway
    assert not host.run("vlan_endpoint", endpoints=ends)["changed"]
    # It is not forgotten either whose the namespaces are that were made ahead of the kill.
    host.run("vlan_endpoint", endpoints=[], network="vlan20", purge=True)
    assert not host.namespaces() & set(names)


# --- the power ----------------------------------------------------------------------------------------------------------


def boots(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function after which it is another boot: nothing of ours is in the kernel, and what was of the store is."""
    from ansible_collections.netops.underlay.plugins.module_utils import netlink

    numbers = itertools.count()

    def boot() -> None:
        etc = Path("/etc/netns")
        kept = {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
        looks.tidy()
        for path, content in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        number = next(numbers)
        monkeypatch.setattr(netlink, "boot_id", lambda: f"boot {number}")

    return boot


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair not in ONLY_BACK])
def test_the_power_fails_around_each_commit_and_the_tasks_run_again_end_where_undisturbed_ones_do(
    host: Host, pair: str, tell: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two commits the store is as after the first of them, so that these are all states in which it can be found."""
    boot = boots(monkeypatch)
    known = course(host, pair)
    tried, wrong = 0, []
    commits = [[number for number, words in enumerate(gate.points) if words == "COMMIT"] for gate in known.gates]
    for position in range(2 * max(map(len, commits))):
        for task, end, numbers in zip(known.tasks, known.ends, commits):
            if position < 2 * len(numbers):
                # In front of a commit, or right after it.
                work = functools.partial(host.run, task.module, **task.params)
                killed(host, work, numbers[position // 2] + position % 2)
                boot()
                tried += 1
            run_all(host, known.ground)
            found = again(host, task, end, third=False)
            # What a gateway of ours set stays on its link when that has none any more; on a new link it was never set.
            found = [words for words in found if "accept_ra_defrtr is '1" not in words]
            wrong += [f"{task.module}, at commit {position}: {words}" for words in found]
    tell("power failures", tried)
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def test_killed_while_everything_is_put_back_after_a_boot_the_next_try_puts_it_all_back(
    host: Host, tell: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.netops.underlay.plugins.module_utils import restore

    boot = boots(monkeypatch)
    run_all(host, UP)
    end = picture(host)
    said: list[str] = []
    put_back = functools.partial(restore.put_back, str(host.state_dir), said.append)
    wrong, died, number = [], True, 0
    while died:
        boot()
        died = killed(host, put_back, number)
        put_back()
        wrong += [f"killed at {number}: {words}" for words in differing(end, picture(host))]
        number += 1
    with writes_counted() as written:
        put_back()
    assert written == []
    tell("kill points tried", number)
    if wrong:
        pytest.fail("\n".join([*wrong, *said]), pytrace=False)
