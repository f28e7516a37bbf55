# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The support matrix: tests under the Pythons, pyroute2 and ansible-core that are supported.

    matrix.py all                    every cell, then `publish`; fails where a Python is missing
    matrix.py ends                   both ends of the hosts, as far as this machine has their Pythons
    matrix.py hosts | controllers    one half of the cells
    matrix.py host 3.9 0.7.2         one cell
    matrix.py controller 2.17 3.11   one cell; the tarball of `make build` has to be there
    matrix.py publish                what passed here last becomes record.json and the tables of the README

Not each with each: every Python, both ends of pyroute2 with both ends of Python, and what distributions have together.
Hosts run with the newest ansible-core's module_utils. Environments, and what passed, are kept under .work/matrix/.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work" / "matrix"
RECORD = Path(__file__).resolve().with_name("record.json")
README = ROOT / "README.md"

LIBRARIES = {"0.7.2": "Debian 12", "0.7.7": "Debian 13", "0.7.12": "Fedora, EPEL 10", "0.9.7": "newest"}
OLDEST, NEWEST = ("3.9", "0.7.2"), ("3.13", "0.9.7")
# The four corners, the Pythons between them, and the pairs of Debian 12, EPEL 10 and Debian 13.
HOSTS = (
    OLDEST, ("3.9", "0.9.7"), ("3.10", "0.7.2"), ("3.11", "0.7.2"),
    ("3.12", "0.7.12"), ("3.13", "0.7.2"), ("3.13", "0.7.7"), NEWEST,
)  # fmt: skip
CONTROLLERS = (("2.17.14", "3.11"), ("2.19.14", "3.12"), ("2.21.5", "3.13"))

NETADDR = "netaddr==1.3.0"
TESTS = ("pytest", "hypothesis", "pyyaml", "jinja2", "scapy")  # each the newest that its Python can have
# Not of the hosts: what runs on the controller, what looks at the repository, and what tries many thousands of inputs.
NOT_OF_HOSTS = (
    "from_compose", "report", "takeover", "topology", "slices", "inventory_page", "architecture", "concepts", "first_errors",
    "matrix", "pages", "release", "hostile", "killed", "lifelines",
)  # fmt: skip
FILTERS = [f"tests/unit/test_{name}.py" for name in ("from_compose", "report", "takeover", "topology", "slices")]
KERNEL = ("tests/kernel/test_netlink.py", "tests/kernel/test_quiet.py")
PIP = ("-m", "pip", "install", "-qq", "--disable-pip-version-check")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

Run = dict[str, Any]


class Trouble(Exception):
    """A cell that cannot be, or did not pass."""


def say(words: str) -> None:
    print(f"tests/matrix: {words}", flush=True)


# --- Pythons and environments -----------------------------------------------------------------------------------


def find(version: str) -> str | None:
    """A Python of this version that works: the system's, pyenv's or another on PATH."""
    # Not $HOME, which a clean run sets elsewhere.
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions"
    named = [str(path / "bin/python3") for path in sorted(pyenv.glob(f"{version}.*"), reverse=True)]
    for python in (f"/usr/bin/python{version}", *named, shutil.which(f"python{version}") or ""):
        try:
            must([python, "-c", f"import sys, ensurepip, venv; assert '%d.%d' % sys.version_info[:2] == '{version}'"])
        except Trouble:
            continue
        return python
    return None


def must(words: list[str], folder: Path = ROOT, more: Mapping[str, str] | None = None) -> str:
    """What a command says, both streams in one."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", **(more or {})}
    try:
        done = subprocess.run(
            words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise Trouble(str(error)) from None
    if done.returncode:
        raise Trouble(f"{' '.join(words)} failed:\n{done.stdout}")
    return done.stdout


def once(place: Path, stamp: str, *commands: list[str]) -> Path:
    """A folder that commands make; made anew where they have changed."""
    kept = place / "stamp"
    if not kept.exists() or kept.read_text() != stamp:
        shutil.rmtree(place, ignore_errors=True)
        say(f"making {place.relative_to(ROOT)}")
        for command in commands:
            must(command)
        kept.write_text(stamp)
    return place


def environment(version: str, name: str, *packages: str) -> Path:
    python = find(version)
    if python is None:
        raise Trouble(f"Python {version} is not on this machine: install it by a package or by pyenv")
    place = WORK / name
    stamp = f"{must([python, '-VV'])}{python} {packages}"
    return once(place, stamp, [python, "-m", "venv", str(place)], [f"{place}/bin/python", *PIP, *packages])


def library(name: str, version: str) -> str:
    """A pure package alone, for PYTHONPATH: one copy serves all Pythons."""
    place = WORK / f"{name}-{version}"
    how = ("--no-deps", "--ignore-requires-python", "--target", str(place))
    return str(once(place, version, [sys.executable, *PIP, *how, f"{name}=={version}"]))


def exact(python: str) -> str:
    return must([python, "-c", "import platform; print(platform.python_version())"]).strip()


# --- cells ------------------------------------------------------------------------------------------------------


def passed(words: list[str], more: Mapping[str, str]) -> int:
    """How many tests of a pytest run passed: all of them, and none was skipped."""
    out = must(words, more=more)
    last = re.findall(r"^\d+ passed.* in .*$", out, re.MULTILINE)
    if len(last) != 1 or re.search(r"skipped|failed|error", last[0]):
        raise Trouble(f"{' '.join(words)}: not all ran:\n{out}")
    return int(last[0].split()[0])


def host(version: str, pyroute2: str) -> Run:
    python = str(environment(version, f"host-{version}", NETADDR, *TESTS) / "bin/python")
    more = {"PYTHONPATH": f"{library('ansible-core', CONTROLLERS[-1][0])}:{library('pyroute2', pyroute2)}"}
    unit = ["tests/unit", *(f"--ignore=tests/unit/test_{name}.py" for name in NOT_OF_HOSTS)]
    return {
        "python": exact(python),
        "pyroute2": pyroute2,
        "unit": passed([python, *PYTEST, *unit], more),
        "kernel": passed(["tests/lab/run", python, *PYTEST, *KERNEL], more),
    }


def controller(core: str, version: str) -> Run:
    """The tarball, installed and used by one ansible-core under one Python; and the tests of the filters."""
    packages = (f"ansible-core=={core}", NETADDR, f"pyroute2=={NEWEST[1]}", *TESTS)
    place = environment(version, f"core-{core}-{version}", *packages)
    python = f"{place}/bin/python"
    path = {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    filters = passed([python, *PYTEST, *FILTERS], path)
    tarballs = list((ROOT / ".work/dist").glob("netops-underlay-*.tar.gz"))
    if len(tarballs) != 1:
        raise Trouble(".work/dist has to hold one tarball: make build")
    with tempfile.TemporaryDirectory() as tmp:
        more = {**path, "ANSIBLE_COLLECTIONS_PATH": f"{tmp}/collections", "ANSIBLE_HOME": f"{tmp}/ansible"}
        elsewhere = Path(shutil.copytree(ROOT / "tests/installed", f"{tmp}/elsewhere"))
        install = ["ansible-galaxy", "collection", "install", "--offline", "-p", f"{tmp}/collections", str(tarballs[0])]
        must([f"{place}/bin/{install[0]}", *install[1:]], elsewhere, more)
        must([str(ROOT / "tests/lab/run"), "./in-lab", str(tarballs[0])], elsewhere, more)
    return {"core": core, "python": exact(python), "filters": filters, "plays": "passed"}


def cell(work: Any, *arguments: str) -> bool:
    """Runs a cell and keeps what came out; False where it did not pass."""
    name = "-".join([work.__name__, *arguments])
    kept = WORK / "ran" / f"{name}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.unlink(missing_ok=True)
    begun = time.monotonic()
    try:
        outcome = {**work(*arguments), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    except Trouble as trouble:
        say(f"{name} FAILED: {trouble}")
        return False
    kept.write_text(json.dumps(outcome))
    say(f"{name} passed in {time.monotonic() - begun:.0f} s: {outcome}")
    return True


def ends() -> bool:
    """Oldest with oldest, newest with newest. Another machine may lack these Pythons: then the outermost that it has."""
    pythons = sorted({version for version, _rest in HOSTS}, key=lambda version: int(version.split(".")[1]))
    here = [version for version in pythons if find(version)]
    if not here:
        say("none of these Pythons is on this machine: " + ", ".join(pythons))
        return False
    for end, found in ((OLDEST[0], here[0]), (NEWEST[0], here[-1])):
        if end != found:
            say(f"NOT TRIED: Python {end}, which is not on this machine; Python {found} in its place")
    return all([cell(host, here[0], OLDEST[1]), cell(host, here[-1], NEWEST[1])])


def hosts() -> bool:
    outcomes = [cell(host, *pair) for pair in HOSTS]  # all of them, whatever fails
    return all(outcomes)


def controllers() -> bool:
    outcomes = [cell(controller, *pair) for pair in CONTROLLERS]
    return all(outcomes)


# --- what passed, told ------------------------------------------------------------------------------------------


def publish() -> bool:
    missing = []

    def ran(kind: str, pairs: tuple[tuple[str, str], ...]) -> list[Run]:
        files = [WORK / "ran" / f"{kind}-{'-'.join(pair)}.json" for pair in pairs]
        missing.extend(file.stem for file in files if not file.exists())
        return [json.loads(file.read_text()) for file in files if file.exists()]

    record = {"host": ran("host", HOSTS), "controller": ran("controller", CONTROLLERS)}
    if missing:
        say("these did not pass here, and are told as not tried: " + ", ".join(missing))
    if any(f"host-{'-'.join(end)}" in missing for end in (OLDEST, NEWEST)):
        say("nothing is told without both ends of the hosts: make test-ends")
        return False
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    README.write_text(with_tables(README.read_text(), tables(record)))
    say("record.json and README.md tell what passed")
    return True


BEGIN, END = "<!-- what passed in make test-matrix: begin -->\n", "<!-- what passed in make test-matrix: end -->\n"


def with_tables(text: str, new: str) -> str:
    before, _begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"tests/matrix: README.md lacks the marks {BEGIN.strip()} and {END.strip()}")
    return before + BEGIN + new + end + after


def tables(record: Mapping[str, list[Run]]) -> str:
    at = {(minor(run["python"]), run["pyroute2"]): f"{run['unit']} + {run['kernel']}" for run in record["host"]}
    pythons = list(dict.fromkeys(python for python, _rest in HOSTS))
    plays = {(run["core"], minor(run["python"])): run for run in record["controller"]}
    dates = sorted({run["date"] for runs in record.values() for run in runs})
    return (
        f"\nWhat passed on {' and '.join(dates)}, in numbers of tests: unit + kernel, or filters. `-`: not tried.\n\n"
        + table(
            ["Python of the host", *(f"pyroute2 {name} ({whose})" for name, whose in LIBRARIES.items())],
            [[python, *(at.get((python, name), "-") for name in LIBRARIES)] for python in pythons],
        )
        + "\n"
        + table(
            ["ansible-core of the controller", "its Python", "filters", "the installed collection's plays"],
            [[*pair, *(told(plays.get(pair), key) for key in ("filters", "plays"))] for pair in CONTROLLERS],
        )
        + "\n"
    )


def told(run: Run | None, key: str) -> str:
    return str(run[key]) if run else "-"


def table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def main(words: list[str]) -> bool:
    full = {minor(core): core for core, _rest in CONTROLLERS}
    if words == ["all"]:
        return all([hosts(), controllers()]) and publish()
    if len(words) == 1 and words[0] in ("ends", "hosts", "controllers", "publish"):
        return bool(globals()[words[0]]())
    if len(words) == 3 and words[0] == "host":
        return cell(host, *words[1:])
    if len(words) == 3 and words[0] == "controller":
        return cell(controller, full.get(words[1], words[1]), words[2])
    print(__doc__)
    return False


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:]))
