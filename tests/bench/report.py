"""How a benchmark tells what it found: rows with our figure, the peer's and the bound; the machine; a table and JSON.

Knows nothing of what was measured. Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

FSYNCS = 200
SCALES = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"))
LAYOUT = "  {:<44} {:>11} {:>11} {:>9}  {:<42} {}"


@dataclass(frozen=True)
class Row:
    """One figure. ``unit`` is ``s``, ``bytes``, ``/s`` (more is better) or empty for a plain count; ``bound`` is in
    words, and ``holds`` None where there is none. ``reckoned`` tells that the peer's figure was not measured."""

    group: str
    work: str
    unit: str
    ours: float
    peer: float | None = None
    bound: str = ""
    holds: bool | None = None
    reckoned: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better we are."""
        better, worse = (self.peer, self.ours) if self.unit == "/s" else (self.ours, self.peer)
        return worse / better if better and worse else None


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    if unit == "bytes":
        return f"{value / 1e6:.1f} MB"
    if unit != "s":
        return f"{value:,.0f}{unit and ' '}{unit}"
    scale, short = next((size, name) for size, name in SCALES if value >= size or size == SCALES[-1][0])
    return f"{value / scale:.{2 if value / scale < 100 else 0}f} {short}"


def table(rows: Sequence[Row], peer: str) -> str:
    """The rows under the headings of their groups; the ratio says how many times better we are."""
    lines = [LAYOUT.format("", "ours", peer, "ratio", "bound", "holds").rstrip()]
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            lines += ["", group]
        mark = "~" if row.reckoned else ""
        ratio = "-" if row.ratio is None else f"{mark}{row.ratio:,.{0 if row.ratio >= 10 else 1}f} x"
        holds = {None: "", True: "yes", False: "NO"}[row.holds]
        peers = mark + shown(row.peer, row.unit)
        lines.append(LAYOUT.format(row.work, shown(row.ours, row.unit), peers, ratio, row.bound, holds).rstrip())
    return "\n".join(lines)


def unjudged(rows: Sequence[Row]) -> list[Row]:
    """The rows of a run that was too small to judge."""
    return [replace(row, holds=None) for row in rows]


def verdict(rows: Sequence[Row]) -> str | None:
    """What does not hold, in words."""
    broken = [f"  {row.group}: {row.work}: {shown(row.ours, row.unit)}" for row in rows if row.holds is False]
    return "\n".join(["Not as it must be:", *broken]) if broken else None


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{**asdict(row), "ratio": row.ratio} for row in rows]


def machine(folder: Path) -> dict[str, Any]:
    """What the figures depend on; ``folder`` is where the state is kept."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "file_system": _output("findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(folder)),
        "fsync": _fsync(folder),
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _fsync(folder: Path) -> float:
    """What it costs to bring a small file to the disk: 4 KiB written over, and fsync; the median."""
    path = folder / "fsync"
    taken = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _turn in range(FSYNCS):
            start = time.perf_counter()
            os.pwrite(descriptor, bytes(4096), 0)
            os.fsync(descriptor)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(taken)
