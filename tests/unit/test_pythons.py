# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which Python is taken where the one that Ansible chose lacks the libraries, and what is said of it. That a module really
runs on under it is shown by tests/installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import netlink, pythons, run


def script(path: Path, line: str) -> str:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def candidates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One that is not there, one that is none, one without libraries, and two that have them."""
    named = [
        str(tmp_path / "missing"),
        script(tmp_path / "broken", "exit 1"),
        script(tmp_path / "bare", f'exec "{sys.executable}" -S -E "$@"'),
        script(tmp_path / "first", f'exec "{sys.executable}" "$@"'),
        script(tmp_path / "second", f'exec "{sys.executable}" "$@"'),
    ]
    monkeypatch.setattr(pythons, "CANDIDATES", named)
    return named


class Module:
    """As much of AnsibleModule as the road knows."""

    params: dict[str, Any]
    check_mode = False

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}

    def exit_json(self, **said: Any) -> None:
        self.said = said

    fail_json = exit_json


def test_the_first_that_has_the_libraries_is_taken(candidates):
    assert pythons.find() == candidates[3]


def test_one_without_them_is_not(candidates, monkeypatch):
    monkeypatch.setattr(pythons, "CANDIDATES", candidates[:3])
    assert pythons.find() is None


def test_the_one_that_runs_is_not_tried_again(candidates, monkeypatch):
    monkeypatch.setattr(sys, "executable", candidates[3])
    assert pythons.find() == candidates[4]


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr(netlink, "_import_error", "No module named 'pyroute2'")


def test_where_no_python_has_them_the_error_is_of_the_one_that_was_chosen(candidates, no_library, monkeypatch):
    monkeypatch.setattr(pythons, "CANDIDATES", candidates[:3])
    module = Module()
    run.run(module, lambda module: {})
    assert set(module.said) == {"msg"}
    assert f"pyroute2 is missing for {sys.executable}" in module.said["msg"]


def test_a_module_that_moved_says_so_and_moves_no_more(candidates, no_library, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "_respawned", True, raising=False)
    monkeypatch.setattr(pythons, "_respawn", pytest.fail)
    module = Module()
    run.run(module, lambda module: {})
    assert module.said["interpreter"] == sys.executable
    monkeypatch.setattr(run, "_check_ground", lambda: None)
    run.run(module, lambda module: {"changed": False})
    assert module.said == {"changed": False, "interpreter": sys.executable}


def test_whether_it_moved_is_what_ansible_says(monkeypatch):
    from ansible.module_utils.common.respawn import has_respawned

    assert (pythons.moved(), has_respawned()) == (False, False)
    monkeypatch.setattr(sys.modules["__main__"], "_respawned", True, raising=False)
    assert (pythons.moved(), has_respawned()) == (True, True)


def test_one_that_need_not_move_says_nothing(monkeypatch):
    monkeypatch.setattr(run, "_check_ground", lambda: None)
    module = Module()
    run.run(module, lambda module: {"changed": False})
    assert module.said == {"changed": False}
