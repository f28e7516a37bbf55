# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service's files: whole at once, and nothing beside them, also where the run that brought or removed them was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import install

from ..kernel import faults


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files go, and only two of them are code."""
    monkeypatch.setattr(install, "LIBRARY", str(tmp_path / "lib" / "netops-underlay"))
    monkeypatch.setattr(install, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(install, "_sources", lambda: {"restore": "import store\n", "store": "x = 1\n"})
    return tmp_path


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def bring() -> None:
    wanted = install.files("/usr/bin/python3", "/var/lib/netops-underlay")
    install.put_files(install.differing(wanted), install.strays(wanted))


def killed(work: Callable[[], None], number: int) -> bool:
    """Does it in a process of its own, which ends in front of write ``number``; whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            with faults.gated(faults.Kill(number)):
                work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_killed_in_front_of_each_write_the_next_run_brings_or_removes_all(
    places: Path, tell: Callable[[str, int], None]
) -> None:
    bring()
    end = tree(places)
    assert len(end) >= 4
    install.remove_all()
    assert tree(places) == {}
    tried = {bring: 0, install.remove_all: 0}
    going = True
    while going:
        going = False
        for work, left in ((bring, end), (install.remove_all, {})):
            died = killed(work, tried[work])
            tried[work] += died
            going = going or died
            work()
            assert tree(places) == left, tried
    assert tried[bring] > 5 * len(end) and tried[install.remove_all] >= len(end)
    tell("kill points tried", sum(tried.values()))


def test_what_a_kill_left_of_the_unit_goes_with_the_rest(places: Path) -> None:
    for number in range(100):
        if not killed(bring, number):
            break
        install.remove_all()
        assert tree(places) == {}, number
    install.remove_all()
    assert tree(places) == {}


def test_what_is_imported_only_where_it_is_needed_is_installed_too():
    """In a process of its own, in which nothing else has imported it."""
    code = f"from {install.__name__.rpartition('.')[0]} import install; print(*install._sources())"
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert {"restore", "announce", "conflicts", "wire"} <= set(process.stdout.split())


def test_the_installed_command_runs_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "LIBRARY", str(tmp_path / "lib" / "netops-underlay"))
    monkeypatch.setattr(install, "UNITS", str(tmp_path / "units"))
    install.put_files(install.files(sys.executable, "/var/lib/netops-underlay"), [])
    libraries = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    process = subprocess.run(
        [f"{install.LIBRARY}/netops-underlay", "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": libraries},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "Puts networks and endpoints on VLANs back." in process.stdout
