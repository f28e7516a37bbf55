"""Puts the collection on the path under its own name, as Ansible does; prints what tests count."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
COLLECTIONS = REPOSITORY / ".work" / "collections"

sys.path.insert(0, str(COLLECTIONS))

_COUNTS = pytest.StashKey[Counter[str]]()


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str, int], None]:
    """``tell("kill points tried", 12)``: said at the end of the whole run, where all numbers told for the same words are
    added up. In the test's own process, not in one that it forks."""
    counts = pytestconfig.stash.setdefault(_COUNTS, Counter())
    return lambda words, number: counts.update({words: number})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    counts = config.stash.get(_COUNTS, None)
    if counts:
        terminalreporter.section("counts")
        for words, number in counts.items():
            terminalreporter.write_line(f"{words}: {number}")
