# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every code block of every page is run by a test, or says why not; see tests/pages.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..pages import OURS, ROOT, Block, all_blocks, pages, read
from .test_architecture import argument_spec

BLOCKS = all_blocks()
OUTPUT = {"text", "{toctree}", "{raw}"}


def problem(block: Block) -> str:
    """What is wrong with a block's mark; nothing if all is well."""
    if block.language in OUTPUT:
        return ""
    if block.mark.startswith("not run: "):
        return "" if len(block.mark) > 20 else f"{block.place}: say why it is not run"
    runner = re.fullmatch(r"run by (\S+)", block.mark)
    if runner:
        path = ROOT / runner[1]
        if not path.is_file():
            return f"{block.place}: {runner[1]} does not exist"
        name = block.page.rpartition("/")[2]
        return "" if name in path.read_text(encoding="utf-8") else f"{block.place}: {runner[1]} does not read {name}"
    if block.mark:
        return f"{block.place}: '{block.mark}' says neither 'run by' nor 'not run: '"
    if block.language != "yaml":
        return f"{block.place}: no test runs it; say which does, or why none (see tests/pages.py)"
    return (
        ""
        if block.tasks() and OURS in block.text
        else f"{block.place}: tests/kernel/test_pages.py finds no task of ours in it"
    )


def test_every_block_is_run_or_says_why_not():
    assert {"README.md", "CONTRIBUTING.md", "docs/wire.md", "roles/vlan_map/README.md"} <= set(pages())
    assert len(BLOCKS) > 60
    assert [found for found in map(problem, BLOCKS) if found] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```console\nls\n```\n", "no test runs it"),
        ("```yaml\n- ansible.builtin.ping:\n```\n", "finds no task of ours"),
        ("<!-- run by tests/no/such -->\n```console\nls\n```\n", "does not exist"),
        ("<!-- run by tests/pages.py -->\n```console\nls\n```\n", "does not read new.md"),
        ("<!-- not run: -->\n```console\nls\n```\n", "says neither"),
    ],
)
def test_a_new_block_that_nobody_runs_is_found(text: str, words: str):
    (block,) = read("docs/new.md", text)
    assert words in problem(block)


TASKS = [
    (block.place, name.removeprefix(OURS), options or {})
    for block in BLOCKS
    if block.language == "yaml" and isinstance(yaml.safe_load(block.text), list)
    for task in block.tasks()
    for name, options in task.items()
    if name.startswith(OURS)
]
# What an expression gives is known where it runs.
PLAIN = [one for one in TASKS if "{{" not in str(one[2])]


@pytest.mark.parametrize(("place", "module", "options"), PLAIN, ids=[f"{one[0]}-{one[1]}" for one in PLAIN])
def test_modules_take_the_options(place: str, module: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    assert ArgumentSpecValidator(argument_spec(module, monkeypatch)).validate(options).error_messages == []


ROLES = [(block.place, role) for block in BLOCKS for role in block.roles()]


@pytest.mark.parametrize(("place", "role"), ROLES, ids=[place for place, _role in ROLES])
def test_the_role_takes_the_variables(place: str, role: dict[str, Any]):
    name = role["role"].removeprefix(OURS)
    specs = yaml.safe_load((ROOT / "roles" / name / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    given = {key: value for key, value in role.items() if key != "role"}
    assert (
        given and ArgumentSpecValidator(specs["argument_specs"]["main"]["options"]).validate(given).error_messages == []
    )
