# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What tests count is printed at the end of the run (tests/conftest.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"


def test_numbers_that_are_told_are_added_up_and_printed(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_it.py").write_text(
        "def test_one(tell):\n    tell('points tried', 400)\n    tell('losses', 0)\n"
        "def test_two(tell):\n    tell('points tried', 12)\n"
    )
    run = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path))
    lines = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()
    assert "points tried: 412" in lines and "losses: 0" in lines
    (tmp_path / "test_it.py").write_text("def test_one(tell):\n    pass\n")
    assert "counts" not in subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
