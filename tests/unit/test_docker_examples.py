# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page ``docs/docker_examples.md``: it has every command of Docker's documentation, its tasks say the same as the commands,
its tests are there, and its table is complete. What the tasks do is tested in ``tests/kernel/test_seed.py``."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..kernel.docker_page import PAGE, Example, examples
from .test_architecture import argument_spec

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = examples()
IDS = [one.title for one in EXAMPLES]
with_commands = pytest.mark.parametrize("one", [one for one in EXAMPLES if one.commands], ids=lambda one: one.title)

# What a plural list holds.
PLURAL = {"vlan_network": "networks", "vlan_endpoint": "endpoints"}

DIGEST = "872b556ee27159bc"

SWITCHES = {"-it", "-itd", "-dit", "--rm"}
SHOWN = ("--net", "--network", "--name", "--ip6", "--ip")

# The one address of Docker's documentation that is not in its network; see docs/deviations.md.
PUT_RIGHT = {"2001:db8:abc2::51": "2001:db8:abc9::51"}


# --- Docker's commands, translated ----------------------------------------------------------------------------


def options_of(words: list[str], switches: set[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The options of a command, each with its values in their order, and its other words up to the image's."""
    given: dict[str, list[str]] = {}
    rest: list[str] = []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            rest.append(word)
        elif word in switches:
            given.setdefault(word, [])
        else:
            name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
            given.setdefault(name, []).append(value if equals else words.pop(0))
    return given, rest


def network_created(words: list[str]) -> dict[str, Any]:
    given, rest = options_of(words, {"--internal", "--ipv6"})
    task: dict[str, Any] = {"name": rest[0] if rest else None, "driver": given.pop("-d", ["ipvlan"])[0]}
    task.update(option.split("=") for option in given.pop("-o", ()))
    for switch, option in (("--internal", "internal"), ("--ipv6", "enable_ipv6")):
        if given.pop(switch, None) is not None:
            task[option] = True
    subnets = [{"subnet": text} for text in given.pop("--subnet", ())]
    for option, name in (("--gateway", "gateway"), ("--ip-range", "ip_range"), ("--aux-address", "aux_addresses")):
        for text in given.pop(option, ()):
            label, _equals, value = text.rpartition("=")
            home(subnets, value)[name] = {label: value} if label else value
    assert not given, given
    return {**task, "ipam_config": subnets} if subnets else task


def home(subnets: list[dict[str, Any]], text: str) -> dict[str, Any]:
    """The subnet that an address or a range lies in."""
    address = ipaddress.ip_interface(text).ip
    (found,) = (one for one in subnets if address in ipaddress.ip_network(one["subnet"], strict=False))
    return found


def container_run(words: list[str]) -> dict[str, Any]:
    given, _image = options_of(words, SWITCHES)
    (network,) = [value for option in ("--net", "--network") for value in given.get(option, ())]
    task = {"name": given.get("--name", [None])[0], "network": network}
    for option in ("ip", "ip6"):
        for text in given.get(f"--{option}", ()):
            task[option] = PUT_RIGHT.get(text, text)
    return task


def translated(command: str) -> tuple[str, dict[str, Any]] | None:
    """Module and options that say the same; a name that Docker does not give is None. None for ``ip``."""
    words = shlex.split(command)
    if words[:3] == ["docker", "network", "create"]:
        return "vlan_network", network_created(words[3:])
    if words[:2] == ["docker", "run"]:
        return "vlan_endpoint", container_run(words[2:])
    if words[0] == "docker":
        module, options = {
            "network ls": ("vlan_network_info", {}),
            "network inspect": ("vlan_network_info", {}),
            "network rm": ("vlan_network", {"state": "absent"}),
            "container inspect": ("vlan_endpoint_info", {}),
            "container stop": ("vlan_endpoint", {"state": "absent"}),
        }[" ".join(words[1:3])]
        return module, {**options, **({"name": words[3]} if words[3:] else {})}
    if words[0] != "ip":  # what NetOps hands over
        return "vlan_network", network_created(words)
    # The one that Docker calls the equivalent of its own making a sub-interface.
    return ("vlan_network", {"name": None, "driver": "ipvlan", "parent": "eth0.10"}) if "eth0.10" in words else None


def items(one: Example) -> list[tuple[str, dict[str, Any]]]:
    """The tasks of an example, one for each item."""
    found = []
    for module, options in one.tasks:
        plural = PLURAL.get(module)
        if plural not in options:
            found.append((module, options))
            continue
        shared = {name: value for name, value in options.items() if name != plural}
        found += [(module, {**shared, **item}) for item in options[plural]]
    return found


def as_docker_says_it(module: str, item: dict[str, Any], nameless: bool) -> tuple[str, dict[str, Any]]:
    """The item without what Docker has no word for: the namespace, and a name that it chooses itself."""
    item = {name: value for name, value in item.items() if name != "netns"}
    if item.get("state") == "absent" and module == "vlan_endpoint":
        del item["network"]
    if module == "vlan_network" and "state" not in item:
        item = {"driver": "ipvlan", **item}
    return module, {**item, "name": None} if nameless else item


@with_commands
def test_a_task_says_what_the_command_says(one: Example):
    said = [found for found in map(translated, one.commands) if found]
    nameless = {module for module, item in said if "name" in item and item["name"] is None}
    found = items(one)
    assert len(found) == len(said)
    for (module, wanted), (used, item) in zip(said, found):
        anonymous = module in nameless and wanted["name"] is None
        assert as_docker_says_it(used, item, anonymous) == (module, wanted)


def test_docker_runs_are_in_namespaces_of_their_names():
    for one in EXAMPLES:
        for module, item in items(one):
            if module == "vlan_endpoint" and item.get("state") != "absent" and "host" not in item:
                assert item["netns"] == item["name"]


def test_every_command_of_dockers_documentation_is_there():
    """Docker's pages are not here to compare with; this is the digest of their commands, word by word and in their order."""
    commands = [" ".join(shlex.split(command)) for one in EXAMPLES for command in one.commands]
    assert len(commands) == 72
    assert hashlib.sha256("\n".join(commands).encode()).hexdigest()[:16] == DIGEST


# --- our tasks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", EXAMPLES, ids=IDS)
def test_the_modules_take_the_tasks(one: Example, monkeypatch: pytest.MonkeyPatch):
    for module, options in one.tasks:
        spec = argument_spec(module, monkeypatch)
        assert ArgumentSpecValidator(spec).validate(options).error_messages == []


# --- tests and table ------------------------------------------------------------------------------------------


def named_tests(path: Path) -> list[str]:
    return re.findall(r"^def (test_\w+)\(", path.read_text(), flags=re.MULTILINE)


def test_every_example_has_its_test_and_every_test_its_example():
    assert [len(one.tests) for one in EXAMPLES] == [1] * len(EXAMPLES)
    assert [one.tests[0] for one in EXAMPLES] == named_tests(ROOT / "tests" / "kernel" / "test_seed.py")


@pytest.mark.parametrize("name", ["docker_examples.md", "deviations.md"])
def test_the_other_tests_that_are_named_exist(name: str):
    named = re.findall(r"`(unit|kernel)/(\w+\.py)::(\w+)`", (ROOT / "docs" / name).read_text())
    assert named
    for folder, file, test in named:
        assert test in named_tests(ROOT / "tests" / folder / file), f"{file}::{test}"


def shortened(command: str) -> str:
    """A command as the table has it: without what the example shows in full."""
    words = shlex.split(command)
    if words[:3] == ["docker", "network", "create"]:
        return f"network create {words[-1]}"
    if words[:2] == ["docker", "run"]:
        given, _image = options_of(words[2:], SWITCHES)
        return " ".join(["run", *(f"{option} {value}" for option in SHOWN for value in given.get(option, ()))])
    return command.removeprefix("docker ")


def table() -> list[str]:
    """The table as it should be."""
    lines = ["| Docker's heading | command | task | test |", "|---|---|---|---|"]
    before = ""
    for one in EXAMPLES:
        commands = "<br>".join(f"`{shortened(command)}`" for command in one.commands) or "in the text"
        heading = "" if one.section == before else one.section
        before = one.section
        lines.append(f"| {heading} | {commands} | [{one.title}]({one.anchor}) | `{one.tests[0]}` |")
    return lines


def test_the_table_is_complete():
    last = PAGE.read_text().partition("\n## All of them\n")[2].strip().splitlines()
    assert last == table(), "\n".join(["the table should be:", *table()])


def test_no_anchor_is_there_twice():
    anchors = Counter(one.anchor for one in EXAMPLES)
    assert max(anchors.values()) == 1, anchors
