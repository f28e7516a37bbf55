# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the table of ``docs/concepts.md``: who reaches whom, by driver, mode and flag."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parents[2] / "docs" / "concepts.md"


class Reach(NamedTuple):
    """From one endpoint to the next; the same where the switch sends back; from the host's own endpoint. None: it is alone."""

    beside: bool | None
    sent_back: bool | None
    host: bool | None


def rows() -> list[tuple[str, ...]]:
    found = re.findall(r"^\| (?:ipvlan|macvlan) \|.*\|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in found]


def reach(driver: str, mode: str, flag: str = "") -> Reach:
    (cells,) = (row[3:] for row in rows() if row[:3] == (driver, mode, flag))
    return Reach(*({"yes": True, "no": False, "alone": None}[cell] for cell in cells))
