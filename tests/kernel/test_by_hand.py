# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/moving_in.md, "From `ip` commands": the commands and the tasks there end in the same links, addresses and routes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from .conftest import Host, command, run_module

sys.path.append(str(Path(__file__).resolve().parents[1]))

from pages import OURS, blocks

COMMANDS, TASKS = (one for one in blocks("docs/moving_in.md") if one.mark == "run by tests/kernel/test_by_hand.py")


def seen(host: Host) -> dict[str, Any]:
    """What is there, without what differs from one making to the next: indexes, and our mark."""
    differs = ("ifindex", "link_index", "ifalias")
    found = {}
    for place, (links, addresses, routes) in host.picture().items():
        kept = [{key: value for key, value in link.items() if key not in differs} for link in links]
        # A parent that is made later has a later place in the list.
        found[place] = (sorted(kept, key=lambda link: link["ifname"]), addresses, routes)
    return found


def test_the_tasks_do_what_the_commands_do(host: Host) -> None:
    before = seen(host)
    for line in COMMANDS.text.splitlines():
        command(*shlex.split(line.removeprefix("$ ")))
    by_hand = seen(host)
    assert host.pings("web1", "192.168.20.10")
    command("ip", "netns", "del", "web1")
    command("ip", "link", "del", "eth0.20")
    assert seen(host) == before != by_hand
    for task in TASKS.tasks():
        ((action, options),) = task.items()
        run_module(action.removeprefix(OURS), {"state_dir": str(host.state_dir), **options})
    assert seen(host) == by_hand
