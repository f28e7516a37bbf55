# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every call by which our code writes has a fault point (tests/kernel/faults.py): a new one that has none fails here."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..kernel import faults

FOLDER = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
FILES = {path.stem: ast.parse(path.read_text()) for path in sorted(FOLDER.glob("*.py"))}
# They write by ways of their own, and no endpoint, network or address hangs on it: the service's files, a look at a copy of
# a damaged store, questions to engines and to other Pythons.
OTHER_WAYS = {
    "install": {"shutil"},
    "store": {"tempfile", "shutil"},
    "engines": {"shutil", "subprocess"},
    "pythons": {"subprocess"},
}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def attributes_of(tree: ast.AST, module: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module
    }


@pytest.mark.parametrize("name", sorted(FILES))
def test_of_os_all_that_is_used_is_known_to_write_or_to_read(name):
    known = faults.OS_WRITES | faults.OS_BY_OTHERS | faults.OS_READS
    used = {word for word in attributes_of(FILES[name], "os") if inspect.isroutine(getattr(os, word))}
    assert used - known == set(), "tests/kernel/faults.py: does it write?"


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_else_of_the_standard_library_writes(name):
    ways = {way for way in ("shutil", "tempfile", "subprocess", "pathlib") if attributes_of(FILES[name], way)}
    assert ways <= OTHER_WAYS.get(name, set())
    for call in calls(FILES[name]):
        if isinstance(call.func, ast.Name) and call.func.id == "open":
            modes = [word.value for word in call.args[1:2] if isinstance(word, ast.Constant)]
            assert modes in ([], ["rb"], ["r"]), ast.unparse(call)


def test_all_calls_of_the_c_library_are_known_to_write_or_to_read():
    called = {
        call.args[0].value
        for call in calls(FILES["namespaces"])
        if isinstance(call.func, ast.Name) and call.func.id == "_call"
    } | attributes_of(FILES["namespaces"], "_libc")
    assert called == faults.C_WRITES | faults.C_READS
    assert {name for name, tree in FILES.items() if "CDLL" in attributes_of(tree, "ctypes")} == {"namespaces"}


def test_the_socket_sends_by_one_call():
    used = {
        node.func.attr
        for node in calls(FILES["netlink"])
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self._socket"
    }
    assert used & {"send", "sendall", "sendmsg", "sendto"} == faults.SOCKET_WRITES


def test_the_store_commits_by_calls_that_have_a_point():
    used = {
        node.func.attr
        for node in calls(FILES["store"])
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in ("self._sql", "connection")
    }
    assert used - {"close"} == faults.SQL_WRITES
    text = (FOLDER / "store.py").read_text()
    assert text.count('"COMMIT"') == 1 and text.count("COMMIT;") == 1
