# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The code blocks of all pages, and what is said of each in the comment in front of it, which no reader sees.

    <!-- run by tests/x -->      that file takes the block from the page and runs it, or compares it with what is run
    <!-- not run: why -->        nothing does
    <!-- all blocks: run by tests/x --> anywhere: so for every block of the page

Without a comment a block of YAML is run by tests/kernel/test_pages.py. Blocks of ``text`` are drawings and outputs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
OURS = "netops.underlay."


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs_here(self) -> bool:
        """Whether tests/kernel/test_pages.py runs it."""
        return self.language == "yaml" and not self.mark

    def tasks(self) -> list[dict[str, Any]]:
        """Of tasks, or of the plays in it; the variables of a play are in ``vars`` of each of its tasks."""
        found = []
        for entry in yaml.safe_load(self.text):
            if "tasks" in entry:
                found += [{**task, "vars": entry.get("vars", {})} for task in entry["tasks"]]
            elif "hosts" not in entry:
                found.append(entry)
        return found

    def roles(self) -> list[dict[str, Any]]:
        entries = yaml.safe_load(self.text) if self.language == "yaml" else []
        plays = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        return [role for play in plays for role in play.get("roles", [])]


def pages() -> list[str]:
    patterns = ("*.md", "docs/*.md", "docs/site/*.md", "roles/*/*.md")
    return sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern))


def blocks(page: str) -> list[Block]:
    return read(page, (ROOT / page).read_text(encoding="utf-8"))


def read(page: str, text: str) -> list[Block]:
    whole = re.search(r"^<!-- all blocks: (.*?) -->$", text, flags=re.MULTILINE)
    found = []
    fence = r"^(?: *<!-- ([^\n]*?) -->\n\n?)?( *)```(\S*)[^\n]*\n(.*?)^\2```$"
    for match in re.finditer(fence, text, flags=re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(3)) + 1
        mark = match[1] or (whole[1] if whole else "")
        found.append(Block(page, line, match[3], match[4], mark))
    return found


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page)]
