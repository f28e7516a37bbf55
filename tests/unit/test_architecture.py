# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shape of the code: who may import what, who may write, and that modules and their documentation agree."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
UTILS = {path.stem: ast.parse(path.read_text()) for path in sorted((PLUGINS / "module_utils").glob("*.py"))}
MODULES = {path.stem: path.read_text() for path in sorted((PLUGINS / "modules").glob("*.py"))}
PACKAGE = "ansible_collections.netops.underlay.plugins"
MANAGING = ("vlan_network", "vlan_endpoint", "vlan_ipam")


def imported(tree: ast.AST) -> Iterator[str]:
    """Every name that is imported anywhere in a file, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports do not work in what Ansible sends to a host"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(top: str) -> set[str]:
    return {name for name, tree in UTILS.items() if any(f"{full}.".startswith(f"{top}.") for full in imported(tree))}


def own_imports(tree: ast.AST) -> set[str]:
    """The files of module_utils that a file imports."""
    prefix = f"{PACKAGE}.module_utils."
    return {full.removeprefix(prefix).split(".")[0] for full in imported(tree) if full.startswith(prefix)}


GRAPH = {name: own_imports(tree) for name, tree in UTILS.items()}


def reach(name: str) -> set[str]:
    found: set[str] = set()
    ahead = [name]
    while ahead:
        for other in GRAPH[ahead.pop()] - found:
            found.add(other)
            ahead.append(other)
    return found


# --- imports --------------------------------------------------------------------------------------------------


def test_the_files_are_found():
    assert {"addressing", "spec", "store", "netlink", "apply", "run"} <= set(UTILS)
    assert {*MANAGING, *(f"{name}_info" for name in MANAGING), "vlan_service"} == set(MODULES)


def test_one_file_imports_pyroute2():
    assert importers("pyroute2") == {"netlink"}


def test_one_file_knows_sql():
    assert importers("sqlite3") == {"store"}


def test_what_runs_commands_knows_nothing_of_networks():
    assert importers("subprocess") == {"engines", "pythons"}
    assert GRAPH["engines"] == GRAPH["pythons"] == set()


def test_nothing_below_the_modules_knows_ansible_but_how_to_respawn():
    assert importers("ansible") == {"pythons"}
    of_ansible = {full.rpartition(".")[0] for full in imported(UTILS["pythons"]) if full.startswith("ansible.")}
    assert of_ansible == {"ansible.module_utils.common.respawn"}


@pytest.mark.parametrize("path", sorted((PLUGINS / "plugin_utils").glob("*.py")), ids=lambda path: path.stem)
def test_what_filters_share_knows_no_ansible(path):
    tree = ast.parse(path.read_text())
    assert not [full for full in imported(tree) if full.split(".")[0] == "ansible"]


def test_modules_import_ansible_and_the_road_alone():
    for name, text in MODULES.items():
        below = own_imports(ast.parse(text))
        own = {other for other in below if other.startswith("run_")}
        assert len(own) == 1 and below - own <= {"run", "drivers"}, name


def test_frames_know_nothing_of_networks():
    assert GRAPH["wire"] <= {"addressing", "errors"}
    assert GRAPH["announce"] <= {"addressing", "errors", "namespaces", "wire"}


def test_arrows_point_one_way():
    assert {name for name in GRAPH if name in reach(name)} == set()


PURE = ("addressing", "book", "drivers", "errors", "lldp", "model", "spec", "steps")


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_reaches_neither_kernel_nor_store(name):
    assert not reach(name) & {"netlink", "namespaces", "store", "observe", "apply", "run"}


@pytest.mark.parametrize(
    "name",
    ["links", "parents", "plan_networks", "plan_endpoints", "plan_addresses", "audit", "result", "trunk", "conflicts"],
)
def test_what_plans_does_nothing_itself(name):
    assert not GRAPH[name] & {"netlink", "namespaces", "store", "apply", "run"}
    outside = {full.split(".")[0] for full in imported(UTILS[name])} - {"ansible_collections", "__future__"}
    assert outside <= {
        "bisect",
        "collections",
        "functools",
        "dataclasses",
        "typing",
        "hashlib",
        "ipaddress",
        "re",
        "itertools",
        "struct",
        "types",
    }


def test_the_allocator_knows_neither_store_nor_kernel():
    assert reach("book") <= {"addressing", "drivers", "model"}


# --- who writes -----------------------------------------------------------------------------------------------

WRITES = {
    *("send", "create_namespaces", "remove_namespace", "remove_leftover", "side_by_side", "write_sysctl", "write"),
    *("put_block", "make_file", "remove_file"),  # hosts.py
    *("put_files", "remove_all"),  # install.py
    "send_announcements",  # announce.py
}


def names_used(tree: ast.AST) -> set[str]:
    """All names and attributes that a file reads, so also those of functions that it calls or hands on."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} | {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name)
    }


# The service is no plan: files are there or not.
OF_INSTALL = {"put_files", "remove_all"}
# What wire.py and announce.py send goes to others and changes nothing here.
WRITERS = {"apply", "netlink", "namespaces", "store", "hosts", "install", "wire", "announce"}


@pytest.mark.parametrize("name", sorted(set(UTILS) - WRITERS))
def test_only_apply_writes(name):
    assert names_used(UTILS[name]) & WRITES <= (OF_INSTALL if name == "run_service" else set())


def test_apply_is_where_all_writes_are():
    assert names_used(UTILS["apply"]) >= WRITES - OF_INSTALL


@pytest.mark.parametrize("name", ["netlink", "store", "hosts"])
def test_every_writer_announces_its_writes(name):
    assert "recorder" in names_used(UTILS[name])


# --- modules --------------------------------------------------------------------------------------------------


def after_return(text: str) -> list[ast.stmt]:
    """What follows the RETURN documentation."""
    body = ast.parse(text).body
    place = next(
        index
        for index, node in enumerate(body)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RETURN"
    )
    return body[place + 1 :]


def is_table(node: ast.stmt) -> bool:
    """Whether a statement is an option table: data, not code."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_is_thin(name):
    code = [node for node in after_return(MODULES[name]) if not is_table(node)]
    assert sum(node.end_lineno - node.lineno + 1 for node in code) <= 25
    functions = [node.name for node in ast.walk(ast.parse(MODULES[name])) if isinstance(node, ast.FunctionDef)]
    assert functions == ["main"]
    [main] = [node for node in code if isinstance(node, ast.FunctionDef)]
    assert len(main.body) == 2, "one AnsibleModule, one call"


def test_every_module_is_in_the_action_group_that_is_documented():
    runtime = yaml.safe_load((PLUGINS.parent / "meta/runtime.yml").read_text())
    assert sorted(MODULES) == runtime["action_groups"]["underlay"]
    fragment = importlib.import_module(f"{PACKAGE}.doc_fragments.underlay").ModuleDocFragment.DOCUMENTATION
    assert yaml.safe_load(fragment)["attributes"]["action_group"]["membership"] == ["netops.underlay.underlay"]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_has_documentation_examples_and_return(name):
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    assert yaml.safe_load(module.DOCUMENTATION)["module"] == name
    assert all(f"netops.underlay.{name}" in task for task in yaml.safe_load(module.EXAMPLES) if name in str(task))
    plural = {
        "vlan_network": "networks",
        "vlan_endpoint": "endpoints",
        "vlan_ipam": "addresses",
        "vlan_service": "files",
    }
    assert plural[name.removesuffix("_info")] in yaml.safe_load(module.RETURN)
    told = yaml.safe_dump([yaml.safe_load(text) for text in (module.EXAMPLES, module.RETURN)])
    assert not re.search(r"mac_address: \d{9}", told), "a MAC address of digits stands in quotes, or YAML has a number"


class _Captured(Exception):
    pass


def argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module hands to AnsibleModule."""
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    found: dict[str, Any] = {}

    class Capture:
        def __init__(self, **arguments: Any) -> None:
            found.update(arguments)
            raise _Captured

    monkeypatch.setattr(module, "AnsibleModule", Capture)
    with pytest.raises(_Captured):
        module.main()
    assert found["supports_check_mode"] is True
    return found["argument_spec"]


def documented(name: str) -> dict[str, Any]:
    """The options of the documentation and its fragments."""
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    document = yaml.safe_load(module.DOCUMENTATION)
    options = dict(document["options"])
    for fragment in document["extends_documentation_fragment"]:
        _namespace, _collection, file, *variable = fragment.split(".")
        fragments = importlib.import_module(f"{PACKAGE}.doc_fragments.{file}").ModuleDocFragment
        text = getattr(fragments, variable[0].upper() if variable else "DOCUMENTATION")
        more = yaml.safe_load(text).get("options", {})
        assert not set(more) & set(options)
        options.update(more)
    return options


def plain(options: Mapping[str, Mapping[str, Any]], below: str) -> dict[str, Any]:
    """Options in one form, from either side; ``below`` is what holds those of a dict."""
    found = {}
    for name, option in options.items():
        found[name] = {key: option.get(key) for key in ("type", "elements", "default", "choices")}
        found[name]["aliases"] = option.get("aliases", [])
        found[name]["required"] = option.get("required", False)
        found[name]["options"] = plain(option[below], below) if below in option else None
    return found


@pytest.mark.parametrize("name", sorted(MODULES))
def test_documentation_and_argument_spec_agree(name, monkeypatch):
    assert plain(documented(name), "suboptions") == plain(argument_spec(name, monkeypatch), "options")


@pytest.mark.parametrize("name", MANAGING)
def test_the_list_takes_what_one_item_takes(name, monkeypatch):
    options = argument_spec(name, monkeypatch)
    plural = {"vlan_network": "networks", "vlan_endpoint": "endpoints", "vlan_ipam": "addresses"}[name]
    common = {plural, "purge", "purge_all", "state_dir", "lock_timeout", "default_address_pools", "history_days"}
    item = options[plural]["options"]
    assert set(item) == set(options) - common
    required = [option for option, value in item.items() if value.get("required")]
    assert required == ["owner" if name == "vlan_ipam" else "name"]
    assert not any(options[option].get("required") for option in options)
    # A few states are about the whole store, not about an item.
    assert {"present", "absent"} == set(item["state"]["choices"]) <= set(options["state"]["choices"])
    assert {option: {**value, "required": False} for option, value in item.items() if option != "state"} == {
        option: {**options[option], "required": False} for option in item if option != "state"
    }


def every_description(options: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, option in options.items():
        yield name, option.get("description")
        yield from every_description(option.get("suboptions", {}))


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_option_is_described(name):
    for option, description in every_description(documented(name)):
        assert description, option


@pytest.mark.parametrize("name", sorted(MODULES))
def test_examples_use_documented_options(name):
    """Of every module of the collection that they name, also inside lists."""
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    for task in yaml.safe_load(module.EXAMPLES):
        [used] = [key for key in task if key.startswith("netops.underlay.")] or [None]
        if used is None:
            continue
        unknown(task[used] or {}, documented(used.rpartition(".")[2]))


def unknown(given: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    for name, value in given.items():
        assert name in options, name
        if "suboptions" in options[name]:
            for item in value:
                unknown(item, options[name]["suboptions"])


def test_the_tests_that_the_guarantees_name_exist():
    root = PLUGINS.parent
    named = re.findall(r"`(unit|kernel)/(\w+\.py)::(\w+)`", (root / "docs" / "guarantees.md").read_text())
    assert len(named) > 20
    for folder, file, name in named:
        text = (root / "tests" / folder / file).read_text()
        assert f"def {name}(" in text, f"{file}::{name}"


def test_the_worked_example_of_an_option_is_as_the_code_is():
    page = (PLUGINS.parent / "CONTRIBUTING.md").read_text()
    block = re.search(r"For example `cooldown`.*?```python\n(.*?)```", page, flags=re.DOTALL)
    assert block is not None
    lines: set[str] = set()
    for line in filter(None, block[1].splitlines()):
        file = re.match(r"# (plugins/\S+\.py): ", line)
        if file:
            lines = {written.strip() for written in (PLUGINS.parent / file[1]).read_text().splitlines()}
        else:
            assert line in lines


@pytest.mark.parametrize("name", ["steps", "netlink", "model", "spec"])
def test_tuples_of_two_kinds_are_never_equal(name):
    """Of what is done: to add and to delete the same would be."""
    kinds = vars(importlib.import_module(f"{PACKAGE}.module_utils.{name}")).values()
    own = [
        kind for kind in kinds if isinstance(kind, type) and issubclass(kind, tuple) and kind.__module__.endswith(name)
    ]
    fields = [kind._fields for kind in own]
    assert own and len(fields) == len(set(fields))
