# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role's report by itself, for two hosts that are this machine with empty stores; molecule has it at the end of a real run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..conftest import COLLECTIONS, REPOSITORY
from ..results import small

HOSTS = {
    "all": {
        "hosts": {"one": {}, "two": {}},
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
    }
}


def play(folder: Path, task: dict[str, Any], *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    (folder / "elsewhere").mkdir(exist_ok=True)
    (folder / "hosts.json").write_text(json.dumps(HOSTS))
    tasks = [{"ansible.builtin.include_role": task, "vars": variables}]
    text = [{"hosts": "all", "gather_facts": False, "tasks": tasks}]
    (folder / "play.yml").write_text(json.dumps(text))
    return subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            "-i",
            folder / "hosts.json",
            folder / "play.yml",
            *options,
        ],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_HOME": str(folder), "NO_COLOR": "1"},
        cwd=folder / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )


def report(folder: Path, *options: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    given = small()
    variables = {
        "vlan_map_result": {"networks": given["networks"], "endpoints": given["endpoints"]},
        "vlan_map_state_dir": f"{folder}/store",
        "__vlan_map_python": sys.executable,
        **variables,
    }
    return play(folder, {"name": "netops.underlay.vlan_map", "tasks_from": "report"}, *options, **variables)


def test_a_table_and_a_page_for_each_host(tmp_path):
    done = report(tmp_path, vlan_map_report="{{ inventory_hostname }}.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"  30  eth0.30        vlan30   10.1.0.0/16     10.1.100.1   2') == 2
    assert done.stdout.count("changed=0 ") == 2
    for host in ("one", "two"):
        page = (tmp_path / f"{host}.html").read_text()
        assert f"<h1>VLANs of {host}</h1>" in page and "as of 20" in page and ">172.16.51.7<" in page
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_check_mode_shows_the_table_and_writes_nothing(tmp_path):
    done = report(tmp_path, "--check", "--diff", vlan_map_report="{{ inventory_hostname }}.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("eth0.30") == 2 and "<h1>" not in done.stdout
    assert list(tmp_path.glob("*.html")) == []


@pytest.mark.parametrize("verify", [True, False])
def test_the_trunk_check_is_shown_if_it_ran_now(tmp_path, verify):
    """The fact of an earlier run in the same play is not taken for it."""
    verified = [{**small()["networks"][1], "name": "vlan10", "ipam_config": []}]
    given = [
        {key: value for key, value in one.items() if key not in ("wire", "findings")} for one in small()["networks"]
    ]
    done = report(
        tmp_path,
        vlan_map_verify=verify,
        vlan_map_verified=verified,
        vlan_map_result={"networks": given, "endpoints": []},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("wrong gateway address?") == (2 if verify else 0)
    assert done.stdout.count("3 networks") == 2


def test_one_file_for_two_hosts_is_refused_at_once(tmp_path):
    done = play(
        tmp_path, {"name": "netops.underlay.vlan_map"}, vlan_map_report="all.html", vlan_map_manage_modules=False
    )
    assert done.returncode != 0
    assert done.stdout.count("vlan_map_report is one file (all.html) for 2 hosts") >= 2, done.stdout + done.stderr
    assert done.stdout.count("changed=0 ") == 2


def test_force_of_one_item_goes_to_that_item_alone():
    """What the role gives the modules: ``force`` beside a list would be for all of it."""
    role = REPOSITORY / "roles" / "vlan_map"
    networks, endpoints = (
        list(task.values())[1] for task in yaml.safe_load((role / "tasks/present.yml").read_text())[:2]
    )
    given = {
        "vlan_map_trunk": "eth0",
        "vlan_map_vlans": [{"vlan": vlan, "subnet": f"10.{vlan}.0.0/24"} for vlan in (10, 20)],
        "vlan_map_endpoints": [{"name": name, "vlan": 10, "netns": name} for name in ("a", "b")],
        "__vlan_map_to_come": [],
    }
    given["vlan_map_vlans"][1]["force"] = given["vlan_map_endpoints"][1]["force"] = True
    files = [f"@{role}/{part}/main.yml" for part in ("defaults", "vars")]
    more = [word for text in (*files, json.dumps(given)) for word in ("-e", text)]
    asked = json.dumps({"msg": [networks["networks"], networks["force"], endpoints["endpoints"]]})
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible"), "-i", "localhost,", "localhost", "-m", "debug", "-a", asked, *more],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    of_networks, of_all, of_endpoints = json.loads(done.stdout.partition("=>")[2])["msg"]
    assert ([item["force"] for item in of_networks], of_all) == ([False, True], False)
    assert [item.get("force") for item in of_endpoints] == [None, True] and "force" not in endpoints
