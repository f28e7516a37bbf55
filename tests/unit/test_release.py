# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make release``, tried in a copy of this repository, with a stand-in for the checks; and what CI runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
AUTHOR = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def git(at: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=at, env={**os.environ, **AUTHOR}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What is in this repository, as it is now, as the one commit of another one."""
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    there = [name for name in names if name and (ROOT / name).exists()]
    packed = subprocess.run(["tar", "--create", *there], cwd=ROOT, capture_output=True, check=True).stdout
    repository = tmp_path / "repository"
    repository.mkdir()
    subprocess.run(["tar", "--extract"], cwd=repository, input=packed, check=True)
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "all")
    return repository


def release(at: Path, version: str, checks: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **AUTHOR, "RELEASE_CHECKS": checks}
    return subprocess.run(
        [".ci/release", version], cwd=at, env=environment, capture_output=True, text=True, check=False
    )


def test_a_release_is_built_checked_and_tagged(copy: Path) -> None:
    done = release(copy, "1.0.0", "test -f .work/dist/netops-underlay-1.0.0.tar.gz")
    assert done.returncode == 0, done.stdout + done.stderr
    assert git(copy, "status", "--porcelain") == ""
    assert git(copy, "describe", "--exact-match") == "1.0.0\n"
    assert yaml.safe_load((copy / "galaxy.yml").read_text())["version"] == "1.0.0"
    assert "## v1\\.0\\.0" in (copy / "CHANGELOG.md").read_text()
    assert not list(copy.glob("changelogs/fragments/*.yml"))
    with tarfile.open(copy / ".work/dist/netops-underlay-1.0.0.tar.gz") as tarball:
        names = set(tarball.getnames())
    assert {"CHANGELOG.md", "changelogs/changelog.yaml", "plugins/modules/vlan_network.py"} <= names
    assert not [name for name in names if name.startswith((".git", ".ci", ".work"))]


def test_a_release_whose_checks_fail_leaves_nothing(copy: Path) -> None:
    before = git(copy, "log", "--format=%H")
    done = release(copy, "1.0.0", "false")
    assert done.returncode == 1
    assert "the repository is as it was" in done.stderr
    assert (git(copy, "log", "--format=%H"), git(copy, "tag"), git(copy, "status", "--porcelain")) == (before, "", "")


def test_what_is_no_next_version_is_refused_and_so_is_what_is_not_committed(copy: Path) -> None:
    for version in ("", "1.0", "v1.0.0", "1.0.01", "0.0.9"):
        done = release(copy, version, "true")
        assert done.returncode == 1
        assert f"'{version}' is no version" in done.stderr or f"{version} is older than" in done.stderr
        assert git(copy, "status", "--porcelain") == ""
    (copy / "README.md").write_text("else\n")
    assert "not committed" in release(copy, "1.0.0", "true").stderr


# --- CI -------------------------------------------------------------------------------------------------------


def test_ci_runs_every_step_of_make_test() -> None:
    told = json.loads(subprocess.run(["make", "--silent", "steps"], cwd=ROOT, capture_output=True, check=True).stdout)
    steps = re.search(r"^steps := (.*)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert steps is not None
    assert told == steps[1].split()
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert "make --silent steps" in jobs["steps"]["steps"][-1]["run"]
    (runs,) = (step["run"] for step in jobs["test"]["steps"] if "run" in step)
    assert runs.endswith("make ${{ matrix.step }}")
    assert "docs" in told


def test_what_a_plugin_says_of_when_it_came_is_a_version_of_the_collection() -> None:
    """Nothing is released yet, so all of it comes with the version that galaxy.yml has."""
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    texts = [path.read_text() for folder in ("modules", "filter") for path in (ROOT / "plugins" / folder).glob("*.*")]
    said = [word for text in texts for word in re.findall(r"^\s*version_added: (\S+)$", text, flags=re.MULTILINE)]
    assert len(said) >= 12
    if not (ROOT / "changelogs/changelog.yaml").exists():
        assert set(said) == {version}
    numbers = [tuple(map(int, one.split("."))) for one in (*said, version)]
    assert max(numbers) == numbers[-1]
