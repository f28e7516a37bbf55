# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of docs/concepts.md has every mode and flag once, so the kernel tests that read it try each of them."""

from __future__ import annotations

import ast
from pathlib import Path

from ansible_collections.netops.underlay.plugins.module_utils import drivers

from ..kernel.modes_page import reach, rows

ROOT = Path(__file__).resolve().parents[2]


def combinations() -> list[tuple[str, str, str]]:
    return [
        (driver.name, mode, flag)
        for driver in drivers.DRIVERS.values()
        for mode in (driver.mode.values if driver.mode else [""])
        for flag in (driver.flag.values if driver.flag else [""])
    ]


def test_every_mode_and_flag_stands_there_once() -> None:
    assert sorted(row[:3] for row in rows()) == sorted(combinations())
    for combination in combinations():
        alone = combination[1] in drivers.DRIVERS[combination[0]].lone_modes
        assert all((cell is None) == alone for cell in reach(*combination))


def test_the_kernel_tests_try_them_all_in_every_column() -> None:
    """By what their parameters are: a mode that no test tries would be a claim of the page alone."""
    tried: dict[str, list[set[str]]] = {}
    for test in ast.parse((ROOT / "tests/kernel/test_modes.py").read_text(encoding="utf-8")).body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            given = [ast.literal_eval(mark.args[1]) for mark in test.decorator_list if isinstance(mark, ast.Call)]
            tried[test.name] = [set(values) for values in given]
    for name in ("test_ipvlan", "test_ipvlan_with_a_switch_that_sends_back"):
        assert tried[name] == [set(drivers.IPVLAN.mode.values), set(drivers.IPVLAN.flag.values)]
    shared = set(drivers.MACVLAN.mode.values) - drivers.MACVLAN.lone_modes
    for name in ("test_macvlan", "test_macvlan_with_a_switch_that_sends_back"):
        assert tried[name] == [shared]
    modes, hows = tried["test_the_hosts_own_endpoint"]
    assert modes == {*(("ipvlan", mode) for mode in drivers.IPVLAN.mode.values), ("macvlan", None)}
    assert hows == set(drivers.IPVLAN.flag.values) == shared
