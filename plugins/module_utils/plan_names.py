# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who finds whom by name: the hosts files that follow from the endpoints as they were and as they will be. Pure.

Whoever has an endpoint in a network finds all endpoints of that network, and of no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.netops.underlay.plugins.module_utils import hosts
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    FAMILIES,
    OPEN_NAMES,
    Action,
    Allocation,
    Endpoint,
    HostSetting,
    MadeFile,
    Target,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    WHOLE_RUN,
    Drop,
    KernelStep,
    Plan,
    Put,
    PutNames,
    RemoveNames,
    StoreStep,
)

Key = tuple[str, str]
Addresses = Mapping[Key, Mapping[int, Allocation]]


@dataclass
class _Work:
    seen: Observed
    actions: list[Action] = field(default_factory=list)
    before: list[StoreStep] = field(default_factory=list)
    kernel: list[KernelStep] = field(default_factory=list)
    after: list[StoreStep] = field(default_factory=list)
    made: dict[str, MadeFile] = field(default_factory=dict)


class _Picture:
    """The endpoints at one moment: the lines of each network, and which networks a target is in."""

    def __init__(self, seen: Observed, rows: Iterable[Endpoint], addresses: Addresses) -> None:
        self.lines: dict[str, list[str]] = {}
        self.networks: dict[Target, set[str]] = {}
        self.paths: dict[Target, str | None] = {}
        for row in sorted(rows, key=lambda row: row.key):
            self.lines.setdefault(row.network, []).extend(_lines(row, addresses.get(row.key, {})))
            self.networks.setdefault(row.target, set()).add(row.network)
            self.paths[row.target] = seen.hosts_path(row) or self.paths.get(row.target)
        self._blocks: dict[tuple[str, ...], str] = {}

    def block(self, target: Target) -> str:
        names = tuple(sorted(self.networks.get(target, ())))
        if names not in self._blocks:
            self._blocks[names] = hosts.block_of(line for name in names for line in self.lines.get(name, ()))
        return self._blocks[names]


def _lines(row: Endpoint, addresses: Mapping[int, Allocation]) -> list[str]:
    names = " ".join((row.name, *row.aliases))
    return [f"{addresses[family].address}\t{names}" for family in FAMILIES if family in addresses]


def plan(
    seen: Observed,
    before: tuple[Iterable[Endpoint], Addresses],
    after: tuple[Iterable[Endpoint], Addresses],
    items: Mapping[Target, str],
) -> tuple[Plan, dict[Target, str]]:
    """The plan for the hosts files, and the problems with those of targets that the run is about.

    :param before: the endpoints and their addresses as they were; ``after``: as they will be
    :param items: whose a target is, for messages
    """
    work = _Work(seen, made=dict(seen.made_files))
    old, new = _Picture(seen, *before), _Picture(seen, *after)
    changed = {name for name in {**old.lines, **new.lines} if old.lines.get(name) != new.lines.get(name)}
    problems = {}
    abandoned = {target: seen.hosts[target].path for target in seen.abandoned if target in seen.hosts}
    for target in {**old.paths, **new.paths, **abandoned}:
        path = new.paths.get(target) or old.paths.get(target) or abandoned.get(target)
        if path is None:
            continue
        same = old.networks.get(target) == new.networks.get(target) and not changed & new.networks.get(target, set())
        file = seen.hosts.get(target)
        if file is None and (same or target in items or target not in old.networks):
            continue
        if file is not None and file.problem:
            if target in new.networks:
                problems[target] = file.problem
            continue
        item = items.get(target, f"names in {path}")
        _one(
            work, item, path, file, new.block(target), may_make=target.kind == "netns" and file is not None, drift=same
        )
    _forget_folders(work)
    others = [problem for target, problem in problems.items() if target not in items]
    _tell_the_next_run(work, changed, set(items.values()), all_usable=not others)
    steps = tuple(work.before), tuple(work.kernel), tuple(work.after)
    return Plan(tuple(work.actions), *steps, tuple(f"names could not be written: {text}" for text in others)), problems


def _tell_the_next_run(work: _Work, changed: set[str], items: set[str], all_usable: bool) -> None:
    """Once the store has the endpoints as they will be, nothing shows that hosts files of others lag behind; so until they
    are written it says so, too. A run that finds it there looks at the files."""
    left = set(work.seen.settings.get(OPEN_NAMES, ()))
    open_names = left | changed if any(step.item not in items for step in work.kernel) else left
    row = HostSetting(OPEN_NAMES, sorted(open_names))
    if open_names != left:
        work.before.append(Put(row))
    if open_names and all_usable:
        work.after.append(Drop(row, WHOLE_RUN))


def _one(
    work: _Work, item: str, path: str, file: hosts.HostsFile | None, block: str, may_make: bool, drift: bool
) -> None:
    made = work.made.get(path)
    missing = file is not None and file.text is None
    if not block and made is not None:
        _take_away(work, item, path, made)
    elif file is not None and missing and block and may_make:
        _make(work, item, file, block)
    elif missing or (file is not None and file.block == block and not file.leftover):
        return
    else:
        work.kernel.append(PutNames(item, path, block))
    if drift:
        work.actions.append(Action("repair", "names", path))


def _make(work: _Work, item: str, file: hosts.HostsFile, block: str) -> None:
    base = hosts.without_block(work.seen.hosts_base)
    rows = [*(MadeFile(folder) for folder in file.missing), MadeFile(file.path, hosts.digest(base))]
    for row in rows:
        if work.made.get(row.name) != row:
            work.made[row.name] = row
            work.before.append(Put(row))
    work.kernel.append(PutNames(item, file.path, block, base))


def _take_away(work: _Work, item: str, path: str, made: MadeFile) -> None:
    ours = [work.made[folder] for folder in reversed(hosts.folders_of(path)) if folder in work.made]
    work.kernel.append(RemoveNames(item, path, made.digest, tuple(row.name for row in ours)))
    for row in (made, *ours):
        # The folder of all such files is ours until the last of them goes.
        if row.name != hosts.NETNS_ETC:
            work.after.append(Drop(work.made.pop(row.name), item))


def _forget_folders(work: _Work) -> None:
    top = work.made.get(hosts.NETNS_ETC)
    if top is not None and len(work.made) == 1:
        work.after.append(Drop(top, WHOLE_RUN))
