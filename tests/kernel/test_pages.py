# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The YAML of the pages, run as it stands there: page by page, from a clean host, the blocks of a page one after the other.

Tasks of other collections are not run; what they say in ``{{ }}`` is worked out. Which blocks another test runs instead, and
which none, the pages say themselves (tests/pages.py); tests/unit/test_pages.py looks after them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.netops.underlay.plugins.filter.from_compose import from_compose
from ansible_collections.netops.underlay.plugins.filter.report import report
from jinja2.nativetypes import NativeEnvironment

from .conftest import Host, run_module

sys.path.append(str(Path(__file__).resolve().parents[1]))

from pages import OURS, blocks, pages

# They need engines: run by test_containers.py.
WITH_CONTAINERS = ("docs/containers.md", "docs/moving_in.md")
PAGES = [page for page in pages() if page not in WITH_CONTAINERS and any(block.runs_here for block in blocks(page))]
PART = {"name": "vlan20", "parent": "eth0.20", "ipam_config": [{"subnet": "192.168.20.0/24"}]}
COMPOSE = """
services:
  web: {image: nginx, networks: {front: {ipv4_address: 192.168.30.10}}}
networks:
  front:
    driver: macvlan
    driver_opts: {parent: eth0.30}
    ipam: {config: [{subnet: 192.168.30.0/24}]}
"""
# What a page takes for granted: variables, and what is there before.
TAKEN = {
    "networks": [PART],
    "addresses": [{"network": "vlan20", "owner": "docker-app", "address": "192.168.20.9"}],
    "endpoints": [{"name": "app", "network": "vlan20", "netns": "app", "ipv4_address": "192.168.20.9"}],
}
GIVEN: dict[str, dict[str, Any]] = {"docs/moving_in.md": {"taken": TAKEN}}


def prepare(host: Host, page: str) -> dict[str, Any]:
    if page == "docs/moving_in.md":
        host.run("vlan_network", networks=TAKEN["networks"])
        host.run("vlan_ipam", addresses=TAKEN["addresses"])
    if page == "docs/report.md":
        host.run("vlan_network", networks=[PART])
        names = {"networks": "vlan_network_info", "endpoints": "vlan_endpoint_info", "addresses": "vlan_ipam_info"}
        return {name: host.run(module) for name, module in names.items()}
    return dict(GIVEN.get(page, {}))


def lookup(_plugin: str, _file: str) -> str:
    return COMPOSE


EXPRESSIONS = NativeEnvironment()
EXPRESSIONS.filters.update(
    {
        "from_yaml": yaml.safe_load,
        "ternary": lambda value, yes, no: yes if value else no,
        "netops.underlay.from_compose": from_compose,
        "netops.underlay.report": report,
    }
)
EXPRESSIONS.tests["changed"] = lambda result: result["changed"]
EXPRESSIONS.globals["lookup"] = lookup


def filled_in(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: filled_in(below, variables) for key, below in value.items()}
    if isinstance(value, list):
        return [filled_in(below, variables) for below in value]
    if isinstance(value, str) and "{{" in value:
        return EXPRESSIONS.from_string(value).render(variables)
    return value


def run(host: Host, page: str) -> int:
    """Runs the blocks of a page; how many tasks they have."""
    variables = {"inventory_hostname": "hypervisor7", **prepare(host, page)}
    tasks = [task for block in blocks(page) if block.runs_here for task in block.tasks()]
    for task in tasks:
        variables.update(filled_in(task.get("vars", {}), variables))
        (action,) = (name for name in task if "." in name)
        options = filled_in(task[action] or {}, variables)
        if action.startswith(OURS):
            result = run_module(action.removeprefix(OURS), {"state_dir": str(host.state_dir), **options})
            variables[task.get("register", "_")] = result
    return len(tasks)


@pytest.mark.parametrize("page", PAGES)
def test_the_tasks_of_the_page_run(host: Host, page: str) -> None:
    assert run(host, page)
