"""Endpoints against the bounds that we promise, with those beside us who make the same ones, in the same run.

Runs on this machine's own kernel, in network and mount namespaces of its own; networks on VLANs in the lab. `make
bench-endpoints` calls it; exits with 1 if a bound does not hold. Environment: BENCH_DIR is where stores are kept meanwhile
(default .work/bench, which should be on a real disk); BENCH_QUICK=1 takes a tenth of all sizes and judges nothing, for
trying; BENCH_PUBLISH=1 puts the plot and the table into the documentation.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import docker_peer
import ground
import peers
from endpoint_runs import (
    ATTACH,
    ATTACH_THERE,
    CHECKED,
    CNI,
    DETACH,
    DETACH_STAY,
    FLOOR,
    IP,
    OURS,
    REPAIRED,
    UNCHANGED,
    Runs,
    Taken,
)
from endpoint_runs import NETWORK as THE_NETWORK
from peers import PeerError
from playbook import FEW as FEW_ITEMS
from playbook import MORE, Playbook, PlayError
from plot import Curve, svg
from report import Row, as_json, machine, say, shown, table, unjudged, verdict
from task import Failed

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
PUBLISH = os.environ.get("BENCH_PUBLISH", "") not in ("", "0")
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".work" / "bench"
PAGE, PICTURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / "endpoints.svg"
BEGIN, END = "<!-- measured by make bench-endpoints: begin -->", "<!-- end -->"

PART = 10 if QUICK else 1
FEW = (10,) if QUICK else (10, 100)
ONE, MANY = 1000 // PART, 4000 // PART
TURNS = 1 if QUICK else 3
SINGLES = 2 if QUICK else 5
VLANS, VLAN_TURNS = 250 // PART, 2 if QUICK else 10

FLOOR_BOUND, CNI_BOUND = 2.0, 6.0
UNCHANGED_BOUND_S, DETACH_BOUND_S, STAY_BOUND_S = 0.0005, 0.0012, 0.003
REPAIR_BOUND, CHECK_BOUND = 1.2, 1.05
GROWTH_BOUND, MEMORY_BOUND = 1.15, 150e6
TASK_BOUND_S = 0.2
VLAN_BOUND = 1.5


@dataclass(frozen=True)
class Measured:
    """``docker`` is None where it cannot run here, and ``notes`` say why."""

    taken: Taken
    docker: docker_peer.Measured | None
    loop: float
    whole: float
    singles: dict[str, float]
    vlans: dict[str, dict[str, float]]
    notes: Sequence[str]


def measured(folder: Path) -> Measured:
    taken, notes = Taken(), []
    runs = Runs(folder, FEW, ONE, MANY, taken)
    for number in range(TURNS):
        runs.turn(number)
    say("the phases of a task")
    runs.profile()
    say("ansible-playbook")
    book = Playbook(folder / "playbook")
    singles = book.single_items(SINGLES)
    ground.clear()
    loop = book.loop()
    ground.clear()
    whole = book.thousand(ONE, THE_NETWORK) / ONE
    ground.check(ONE, "ansible-playbook")
    ground.clear()
    say("Docker")
    docker = None
    try:
        docker = docker_peer.measured()
    except docker_peer.NoDocker as error:
        notes.append(f"Docker is left out: {error}")
    say(f"{VLANS} VLAN networks in the lab")
    return Measured(taken, docker, loop, whole, singles, in_lab(folder / "vlans"), notes)


def in_lab(folder: Path) -> dict[str, dict[str, float]]:
    """Seconds for all VLANs by work and way: medians."""
    folder.mkdir()
    command = [
        ROOT / "tests/lab/run",
        sys.executable,
        ROOT / "tests/bench/vlans.py",
        str(VLANS),
        str(VLAN_TURNS),
        folder,
    ]
    told = subprocess.run(
        command, env={**os.environ, "LAB_SHARE": str(folder)}, stdout=subprocess.PIPE, text=True, check=False
    )
    if told.returncode:
        raise ground.Different(f"the lab ended with {told.returncode}")
    return {
        work: {way: statistics.median(found) for way, found in ways.items()}
        for work, ways in json.loads(told.stdout).items()
    }


# --- rows -------------------------------------------------------------------------------------------------------


def attach_rows(found: Measured) -> list[Row]:
    group = f"Attach {ONE:,} endpoints in one task, for each: namespace, macvlan, addresses, default route"
    mine = found.taken.each(ATTACH, OURS, ONE)
    lowest, ip, cni = (found.taken.each(ATTACH, way, ONE) for way in (FLOOR, IP, CNI))
    rows = [
        Row(group, "beside raw netlink", "s", mine, lowest, f"<= {FLOOR_BOUND:g} x", mine <= FLOOR_BOUND * lowest),
        Row(group, "beside ip -batch", "s", mine, ip, "faster", mine < ip),
        Row(
            group,
            "beside CNI macvlan and host-local",
            "s",
            mine,
            cni,
            f">= {CNI_BOUND:g} x faster",
            CNI_BOUND * mine <= cni,
        ),
    ]
    if found.docker:
        rows.append(Row(group, "beside docker network connect", "s", mine, found.docker.attach, reckoned=True))
    rows.append(Row(group, "whole task of a play, beside a loop", "s", found.whole, found.loop, reckoned=True))
    rows.append(Row(group, "into namespaces that are there", "s", found.taken.each(ATTACH_THERE, OURS, ONE)))
    return rows


def again_rows(taken: Taken) -> list[Row]:
    group = f"The same task again, {ONE:,} endpoints, for each"
    same, checked, repaired = (taken.each(work, OURS, ONE) for work in (UNCHANGED, CHECKED, REPAIRED))
    return [
        Row(group, "nothing to do", "s", same, None, f"<= {shown(UNCHANGED_BOUND_S, 's')}", same <= UNCHANGED_BOUND_S),
        Row(group, "  messages heard in the namespaces", "", taken.heard, None, "none", taken.heard == 0),
        Row(group, "  writes to the kernel", "", taken.written, None, "none", taken.written == 0),
        Row(
            group,
            "one endpoint's address is gone: put back",
            "s",
            repaired,
            None,
            f"<= {REPAIR_BOUND:g} x nothing to do ({repaired / same:.2f} x)",
            repaired <= REPAIR_BOUND * same,
        ),
        Row(
            group,
            "check mode, nothing to do",
            "s",
            checked,
            None,
            f"no slower, but for chance ({checked / same:.2f} x)",
            checked <= CHECK_BOUND * same,
        ),
    ]


def detach_rows(found: Measured) -> list[Row]:
    taken, group = found.taken, f"Detach {ONE:,} endpoints in one task, for each"
    ours, stay = taken.each(DETACH, OURS, ONE), taken.each(DETACH_STAY, OURS, ONE)
    peer, cni = taken.each(DETACH, IP, ONE), taken.each(DETACH_STAY, CNI, ONE)
    bound, stay_bound = (f"<= {shown(seconds, 's')}" for seconds in (DETACH_BOUND_S, STAY_BOUND_S))
    rows = [
        Row(group, "namespaces ours, beside ip -batch", "s", ours, peer, bound, ours <= DETACH_BOUND_S),
        Row(group, "  links left when it returns", "", taken.left[DETACH], None, "none", not taken.left[DETACH]),
        Row(group, "namespaces of others, beside CNI's DEL", "s", stay, cni, stay_bound, stay <= STAY_BOUND_S, True),
        Row(
            group,
            "  links left when it returns",
            "",
            taken.left[DETACH_STAY],
            None,
            "none",
            not taken.left[DETACH_STAY],
        ),
    ]
    if found.docker:
        rows.insert(
            3, Row(group, "  the same beside network disconnect", "s", stay, found.docker.detach, reckoned=True)
        )
    return rows


def growth_rows(taken: Taken) -> list[Row]:
    group = f"{MANY:,} endpoints in one task, for each"
    rows = []
    for work, words, peer in (
        (ATTACH, "attach, beside raw netlink", taken.each(ATTACH, FLOOR, MANY)),
        (UNCHANGED, "nothing to do", None),
        (DETACH, "detach, namespaces ours, beside ip -batch", taken.each(DETACH, IP, MANY)),
    ):
        mine = taken.each(work, OURS, MANY)
        growth = mine / taken.each(work, OURS, ONE)
        bound = f"< {GROWTH_BOUND:g} x at {ONE:,} ({growth:.2f} x)"
        rows.append(Row(group, words, "s", mine, peer, bound, growth < GROWTH_BOUND))
    lowest = taken.each(ATTACH, FLOOR, MANY) / taken.each(ATTACH, FLOOR, ONE)
    rows[0] = Row(**{**vars(rows[0]), "bound": f"{rows[0].bound[:-1]}; floor {lowest:.2f} x)"})
    before, peak = (
        max(before for before, _peak in taken.memory[MANY]),
        max(peak for _before, peak in taken.memory[MANY]),
    )
    rows.append(Row(group, "peak memory of the process", "bytes", peak, None, "<= 150 MB", peak <= MEMORY_BOUND))
    rows.append(Row(group, "  of it before the call: Python, the request", "bytes", before))
    return rows


def single_rows(singles: dict[str, float]) -> list[Row]:
    group = "One item, whole task through ansible-playbook, local connection, beside ansible.builtin.ping"
    ping = singles["ping"]
    return [
        Row(
            group,
            words,
            "s",
            seconds,
            ping,
            f"<= {shown(TASK_BOUND_S, 's')} more ({shown(seconds - ping, 's')})",
            seconds - ping <= TASK_BOUND_S,
        )
        for words, seconds in singles.items()
        if words != "ping"
    ]


def vlan_rows(vlans: dict[str, dict[str, float]]) -> list[Row]:
    group = f"{VLANS} VLAN networks on one trunk in the lab, all of them, beside ip -batch"
    bound = f"<= {VLAN_BOUND:g} x"
    return [
        Row(group, work, "s", way["ours"], way["peer"], bound, way["ours"] <= VLAN_BOUND * way["peer"])
        for work, way in vlans.items()
    ]


def rows_of(found: Measured) -> list[Row]:
    taken = found.taken
    return [
        *attach_rows(found),
        *again_rows(taken),
        *detach_rows(found),
        *growth_rows(taken),
        *single_rows(found.singles),
        *vlan_rows(found.vlans),
    ]


# --- telling ----------------------------------------------------------------------------------------------------


def profile_table(phases: dict[str, dict[str, float]]) -> str:
    """Milliseconds for one endpoint by phase; the longest first."""
    layout = "  {:<28}" + " {:>26}" * len(phases)
    names = sorted({name for found in phases.values() for name in found}, key=lambda name: -phases[ATTACH].get(name, 0))
    lines = [layout.format("", *phases)]
    for name in names:
        times = [found.get(name, 0.0) / ONE for found in phases.values()]
        if max(times) >= 5e-6:
            lines.append(layout.format(name, *(shown(seconds, "s") if seconds else "-" for seconds in times)))
    lines.append(layout.format("all", *(shown(sum(found.values()) / ONE, "s") for found in phases.values())))
    return "\n".join(lines)


def told(rows: Sequence[Row], found: Measured, about: dict[str, Any], seconds: float) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    notes = "".join(f"\n{note}" for note in found.notes)
    return f"""\
Endpoints of netops.underlay beside others who make them, {about["date"]}
Linux {about["kernel"]}, {about["cpu"]}, {about["cores"]} cores (load {about["load"]:.1f} at the start), \
Python {about["python"]}, SQLite {about["sqlite"]}
{versions}
Stores on {about["file_system"]}, where to write a small file over with fsync costs {shown(about["fsync"], "s")}

{table(rows, "peer")}

ratio: how many times better ours is; all figures are medians. Ours is the module's own time, from its parameters to its
result, in a fresh process; whole tasks are measured by ansible-playbook. ~: reckoned from fewer: {docker_peer.COUNT} containers of
Docker's, whose namespaces are not counted; {MORE - FEW_ITEMS} items of the loop, each of which runs iproute2's commands; a tenth of CNI's
DELs. 1 MB is 1,000,000 bytes.{notes}

Where the time of one of {ONE:,} endpoints goes
{profile_table(found.taken.phases)}

The whole took {seconds:.0f} s.
"""


def versions(found: Measured) -> dict[str, str]:
    known = {name: metadata.version(name) for name in ("ansible-core", "pyroute2")}
    known["iproute2"] = ground.run("ip", "-V").strip().rpartition("-")[2].split(",")[0]
    known["CNI plugins"] = peers.version()
    if found.docker:
        known["Docker"] = found.docker.version
    return known


def curves(found: Measured) -> list[Curve]:
    known = [Curve(way, found.taken.curve(way)) for way in (OURS, FLOOR, IP, CNI)]
    if found.docker:
        known.append(Curve("Docker's network", [(docker_peer.COUNT, found.docker.attach * docker_peer.COUNT)]))
    return [*known, Curve("Ansible loop of ip", [(10, found.loop * 10)])]


def picture(found: Measured, about: dict[str, Any]) -> str:
    words = f"Linux {about['kernel'].split('-')[0]}, {about['cpu']}, {about['date'][:10]}; dashes: reckoned from fewer"
    return svg("Time to attach endpoints", words, "endpoints in one task", curves(found))


def publish(text: str, drawing: str) -> None:
    """Puts a run into the documentation."""
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(drawing)
    before, _begin, rest = PAGE.read_text().partition(BEGIN)
    _old, _end, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n```text\n{text.rstrip()}\n```\n\n{END}{after}")


def main() -> None:
    ground.enter()
    begun = time.monotonic()
    ground.prepare()
    try:
        peers.version()
        base = Path(os.environ.get("BENCH_DIR") or RESULTS).resolve()
        for folder in (base, RESULTS):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="endpoints-", dir=base) as folder:
            about = {**machine(Path(folder)), "quick": QUICK}
            found = measured(Path(folder))
    except (PeerError, PlayError, Failed, ground.Different) as error:
        sys.exit(f"bench: {error}")
    about["versions"] = versions(found)
    rows = unjudged(rows_of(found)) if QUICK else rows_of(found)
    text, drawing = told(rows, found, about, time.monotonic() - begun), picture(found, about)
    print(f"\n{text}")
    results = RESULTS / ("endpoints-quick.json" if QUICK else "endpoints.json")
    known = {"machine": about, "rows": as_json(rows), "profile": found.taken.phases, "notes": found.notes}
    known["curves"] = [vars(curve) for curve in curves(found)]
    results.write_text(json.dumps(known, indent=2) + "\n")
    results.with_suffix(".svg").write_text(drawing)
    if PUBLISH and not QUICK:
        publish(text, drawing)
    broken = verdict(rows)
    print("BENCH_QUICK: a tenth of the sizes, so no bound was judged." if QUICK else broken or "All bounds hold.")
    print(f"The same as JSON: {results}\nThe plot: {results.with_suffix('.svg')}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
