# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The README's tables of what is supported are those of the run of `make test-matrix` that is recorded."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "matrix"))

import matrix  # noqa: E402

RECORD: dict[str, list[dict[str, Any]]] = json.loads(matrix.RECORD.read_text())


def test_the_tables_are_those_of_the_recorded_run() -> None:
    readme = (ROOT / "README.md").read_text()
    assert matrix.with_tables(readme, matrix.tables(RECORD)) == readme, "run: make test-matrix"


def test_every_cell_is_recorded() -> None:
    assert [(matrix.minor(run["python"]), run["pyroute2"]) for run in RECORD["host"]] == list(matrix.HOSTS)
    assert [(run["core"], matrix.minor(run["python"])) for run in RECORD["controller"]] == list(matrix.CONTROLLERS)
    assert all(run["unit"] > 1000 and run["kernel"] > 50 for run in RECORD["host"])
    assert all(run["filters"] > 200 and run["plays"] == "passed" for run in RECORD["controller"])


def test_the_oldest_are_what_the_collection_asks_for() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    assert runtime["requires_ansible"] == f">={matrix.minor(matrix.CONTROLLERS[0][0])}.0"
    readme = (ROOT / "README.md").read_text()
    python, pyroute2 = matrix.OLDEST
    assert re.search(rf"Python {re.escape(python)} or newer, pyroute2 {re.escape(pyroute2)} or newer", readme)
    pinned = (ROOT / "tests" / "requirements.txt").read_text().split()
    assert f"pyroute2=={matrix.NEWEST[1]}" in pinned


def test_a_cell_whose_python_is_missing_fails_and_says_so(capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(matrix, "WORK", tmp_path)
    monkeypatch.setattr(matrix, "find", lambda version: None)
    assert not matrix.main(["host", "3.9", "0.7.2"])
    assert "Python 3.9 is not on this machine" in capsys.readouterr().out
    assert not matrix.main(["ends"])
    assert not matrix.main(["publish"])
