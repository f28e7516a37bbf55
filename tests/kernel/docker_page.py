# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads ``docs/docker_examples.md``: Docker's commands, our tasks, the names of the tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).resolve().parents[2] / "docs" / "docker_examples.md"
PREFIX = "netops.underlay."


@dataclass(frozen=True)
class Example:
    """One example of the page. ``section`` is Docker's heading, ``tasks`` are pairs of module and options."""

    section: str
    title: str
    commands: tuple[str, ...]
    tasks: tuple[tuple[str, dict[str, Any]], ...]
    tests: tuple[str, ...]

    @property
    def anchor(self) -> str:
        """As GitHub makes it of the title."""
        return "#" + re.sub(r"[^\w\- ]", "", self.title.lower()).replace(" ", "-")


def examples() -> list[Example]:
    """The examples in their order, read anew, so that everybody may change what they get."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        heading, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
        found += [_example(heading.partition("\n")[0], part) for part in parts]
    return found


def example(test: str) -> Example:
    """The one that a test is about."""
    (found,) = (one for one in examples() if one.tests == (test,))
    return found


def _example(section: str, text: str) -> Example:
    return Example(
        section,
        text.partition("\n")[0],
        tuple(command for block in _blocks(text, "console") for command in _commands(block)),
        tuple(_task(task) for block in _blocks(text, "yaml") for task in yaml.safe_load(block)),
        tuple(re.findall(r"^Test: `(\w+)`$", text, flags=re.MULTILINE)),
    )


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def _commands(block: str) -> Iterator[str]:
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        assert line.startswith("$ "), line
        yield line.removeprefix("$ ")


def _task(task: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ((action, options),) = task.items()
    assert action.startswith(PREFIX), action
    return action.removeprefix(PREFIX), options
