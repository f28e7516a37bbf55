# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The mistakes of the first hour, made as a new user makes them: each module as Ansible starts it, each error with the next
step. And the page docs/troubleshooting.md: every error that it quotes is one that the code has."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
COLLECTIONS = str(ROOT / ".work" / "collections")
PACKAGE = "ansible_collections.netops.underlay.plugins.modules"


def error(module: str, **params: Any) -> str:
    """What the module says in a process of its own, as Ansible starts it."""
    start = (
        "import json, runpy, sys; from ansible.module_utils import basic; basic._ANSIBLE_ARGS = sys.argv[1].encode();"
        f" basic._ANSIBLE_PROFILE = 'legacy'; runpy.run_module('{PACKAGE}.{module}', run_name='__main__')"
    )
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": params})
    done = subprocess.run(
        [sys.executable, "-c", start, arguments], env={**os.environ, "PYTHONPATH": COLLECTIONS},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return json.loads(done.stdout)["msg"]


# --- a typo in an option --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "params", "hint"),
    [
        ("vlan_network", {"name": "vlan20", "parnet": "eth0.20"}, "parnet; did you mean 'parent'?"),
        ("vlan_endpoint", {"name": "a", "network": "b", "netn": "c"}, "netn; did you mean 'netns'?"),
        ("vlan_ipam_info", {"audti": True}, "audti; did you mean 'audit'?"),
    ],
)
def test_an_option_that_does_not_exist(module: str, params: dict[str, Any], hint: str) -> None:
    assert hint in error(module, **params).splitlines()


@pytest.mark.parametrize(
    ("module", "params", "lines"),
    [
        (
            "vlan_network",
            {"networks": [{"name": "a"}, {"name": "b", "dirver": "ipvlan"}]},
            ["networks[1] (b): there is no option dirver; did you mean 'driver'?"],
        ),
        (
            "vlan_network",
            {"networks": [{"name": "b", "ipam_config": [{"iprange": "10.0.0.0/25", "subent": "10.0.0.0/24"}]}]},
            [
                "networks[0] (b): missing required arguments: subnet found in networks -> ipam_config",
                "networks[0] (b): there is no option ipam_config.subent; did you mean 'subnet'?",
            ],
        ),
        (
            "vlan_network",
            {"name": "a", "ipam_config": ["10.0.0.0/24"]},
            ["ipam_config[0] ('10.0.0.0/24'): it has to be a dictionary: {subnet: ...}"],
        ),
        (
            "vlan_endpoint",
            {"network": "a", "endpoints": ["web1", None, {"name": "web2", "netns": "web2"}, {"netns": "web3"}]},
            [
                "endpoints[0] (web1): it has to be a dictionary: {name: ...}",
                "endpoints[1]: it has to be a dictionary: {name: ...}",
                "endpoints[3]: missing required arguments: name found in endpoints",
            ],
        ),
        (
            "vlan_ipam",
            {"network": "a", "addresses": [{"owner": "vm 1", "family": "v4"}]},
            [
                "addresses[0] ('vm 1'): value of family must be one of: ipv4, ipv6, got: v4 found in addresses",
            ],
        ),
    ],
)
def test_an_item_of_the_wrong_form_is_named(module: str, params: dict[str, Any], lines: list[str]) -> None:
    told = error(module, **params).splitlines()
    assert [line for line in told if not line.startswith("Unsupported parameters for")] == lines


def test_of_many_items_of_the_wrong_form_the_first_are_named() -> None:
    told = error("vlan_endpoint", network="a", endpoints=[{"name": f"web{n}", "pid": "x"} for n in range(300)])
    assert len(told.splitlines()) == 11
    assert told.splitlines()[0].startswith("endpoints[0] (web0): argument 'pid' is of type")
    assert told.splitlines()[-1] == "and 290 more"


def test_an_option_that_is_like_none() -> None:
    message = error("vlan_network_info", colour="red")
    assert "Supported parameters include: listen, name, state_dir, verify" in message
    assert "did you mean" not in message


# --- the page -------------------------------------------------------------------------------------------------


def fragments(source: str) -> list[list[str]]:
    """The strings of a source, each as what stands between its placeholders."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            found.append([str(part.value).strip("\n") for part in node.values if isinstance(part, ast.Constant)])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append([node.value])
    return found


def role_fragments() -> list[list[str]]:
    checks = yaml.safe_load((ROOT / "roles/vlan_map/vars/main.yml").read_text(encoding="utf-8"))["__vlan_map_checks"]
    return [re.split(r"\{\{.*?\}\}", check["message"], flags=re.DOTALL) for check in checks]


TEXTS = [
    one for file in sorted((ROOT / "plugins").rglob("*.py")) for one in fragments(file.read_text(encoding="utf-8"))
]
TEXTS += role_fragments()


def told(quote: str, parts: list[str]) -> int:
    """How many letters of a quote are those of a text of the code; the quote may end before the text does."""
    place = letters = 0
    for part in parts:
        start = quote.find(part, place)
        if start < 0:
            cut = next((length for length in range(len(part), 0, -1) if quote.endswith(part[:length])), 0)
            return letters + cut if cut and len(quote) - cut >= place else 0
        place = start + len(part)
        letters += len(part)
    return letters


def quotes() -> list[str]:
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [quote for row in rows for quote in re.findall(r"`(.*?)`", row)]


def is_told(quote: str) -> bool:
    return max(told(quote, parts) for parts in TEXTS) >= min(16, len(quote))


@pytest.mark.parametrize("quote", quotes())
def test_an_error_that_the_page_quotes_is_one_of_the_code(quote: str) -> None:
    assert is_told(quote)


def test_an_error_in_other_words_would_be_found() -> None:
    assert len(quotes()) > 60
    assert not is_told("parent 'eth9' was not found on this host (links here: eth0)")
    assert not is_told("networks can be seen and changed by an administrator only")
