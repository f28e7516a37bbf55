# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The role's report by itself, for two hosts that are this machine with empty stores; molecule has it at the end of a real run."""

from __future__ import annotations

import json
import os
import re
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
    if not (folder / "hosts.json").exists():
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
        "__vlan_map_networks_done": {"actions": []},
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


def test_the_page_is_written_without_become_where_the_inventory_has_it_for_all_hosts(tmp_path, monkeypatch):
    sudo, log = tmp_path / "sudo", tmp_path / "log"
    sudo.write_text(f'#!/bin/sh\necho "$*" >>{log}\nwhile [ "$1" != /bin/sh ]; do shift; done\nexec "$@"\n')
    sudo.chmod(0o755)
    hosts = json.loads(json.dumps(HOSTS))
    hosts["all"]["vars"] |= {"ansible_become": True, "ansible_become_exe": str(sudo)}
    (tmp_path / "hosts.json").write_text(json.dumps(hosts))
    monkeypatch.setenv("ANSIBLE_BECOME_ALLOW_SAME_USER", "true")
    done = report(tmp_path, vlan_map_report=f"{tmp_path}/{{{{ inventory_hostname }}}}.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "one.html").exists()
    assert log.read_text().count("AnsiballZ_vlan_ipam_info") == 2
    assert not {"AnsiballZ_stat", "AnsiballZ_copy", "AnsiballZ_file"} & set(re.findall(r"\w+", log.read_text()))


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_check_mode_says_which_endpoints_it_cannot_foresee(tmp_path, options):
    done = report(
        tmp_path,
        *options,
        vlan_map_vlans=[{"vlan": 10}, {"vlan": 20}],
        vlan_map_endpoints=[{"name": name, "vlan": vlan} for name, vlan in (("a", 10), ("b", 20), ("c", 10))],
        __vlan_map_networks_done={"actions": [{"kind": "network", "action": "create", "name": "vlan10"}]},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    words = "Endpoints left out in check mode, since their networks are not there yet: 2"
    assert done.stdout.count(words) == (2 if options else 0)


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


@pytest.mark.parametrize("playbook", ["map", "remove"])
def test_the_playbooks_say_where_there_is_no_map(tmp_path, playbook):
    """As with a file of variables that is misspelt, or beside another inventory."""
    (tmp_path / "hosts").write_text("[hypervisors]\none\ntwo\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "hypervisor.yml").write_text("vlan_map_vlans: [{vlan: 10}]\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "two.yml").write_text("vlan_map_vlans: [{vlan: 10}]\n")
    words = ["ansible-playbook", "-i", tmp_path / "hosts", "-c", "local", f"netops.underlay.{playbook}", "--check"]
    done = subprocess.run(
        [Path(sys.executable).with_name(words[0]), *words[1:], "-e", "ansible_become=false"],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_HOME": str(tmp_path),
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "one has no vlan_map_vlans, so nothing is" in done.stdout, done.stdout + done.stderr
    assert "two has no vlan_map_vlans" not in done.stdout


def computed(given: dict[str, Any], *asked: Any) -> list[Any]:
    """What the role makes of its variables."""
    role = REPOSITORY / "roles" / "vlan_map"
    files = [f"@{role}/{part}/main.yml" for part in ("defaults", "vars")]
    more = [word for text in (*files, json.dumps(given)) for word in ("-e", text)]
    words = ["-i", "localhost,", "localhost", "-m", "debug", "-a", json.dumps({"msg": asked})]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible"), *words, *more],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.partition("=>")[2])["msg"]


def test_force_of_one_item_goes_to_that_item_alone():
    """What the role gives the modules: ``force`` beside a list would be for all of it."""
    tasks = yaml.safe_load((REPOSITORY / "roles/vlan_map/tasks/present.yml").read_text())
    networks, endpoints = (list(task.values())[1] for task in tasks[:2])
    given = {
        "vlan_map_trunk": "eth0",
        "vlan_map_vlans": [{"vlan": vlan, "subnet": f"10.{vlan}.0.0/24"} for vlan in (10, 20)],
        "vlan_map_endpoints": [{"name": name, "vlan": 10, "netns": name} for name in ("a", "b")],
        "__vlan_map_to_come": [],
    }
    given["vlan_map_vlans"][1]["force"] = given["vlan_map_endpoints"][1]["force"] = True
    of_networks, of_all, of_endpoints = computed(given, networks["networks"], networks["force"], endpoints["endpoints"])
    assert ([item["force"] for item in of_networks], of_all) == ([False, True], False)
    assert [item.get("force") for item in of_endpoints] == [None, True] and "force" not in endpoints


SEEN = {"linux": True, "root": True, "trunk": True, "usable_python": sys.executable, "python_is_old": False}


@pytest.mark.parametrize("nothing", [None, "{{ nowhere | default(omit) }}"])
def test_what_is_null_or_omitted_is_not_said(nothing: str | None):
    """As an inventory has it whose templates have nothing to fill in. A parent that is null would be an isolated network."""
    empty = ("name", "driver", "parent", "gateway", "mtu", "ipam_config", "internal", "labels")
    given = {
        "vlan_map_trunk": "eth0",
        "vlan_map_driver": "macvlan",
        "vlan_map_vlans": [{"vlan": 10, "subnet": "10.1.0.0/24", **dict.fromkeys(empty, nothing)}],
        "vlan_map_endpoints": [{"name": "a", "vlan": 10, "netns": "a", "network": nothing, "ipv4_address": nothing}],
        "vlan_map_report": "",
        "__vlan_map_seen": SEEN,
    }
    networks, endpoints, problems = computed(
        given, "{{ __vlan_map_networks }}", "{{ __vlan_map_endpoints }}", "{{ __vlan_map_problems }}"
    )
    subnet = {"subnet": "10.1.0.0/24"}
    assert networks == [{"name": "vlan10", "driver": "macvlan", "parent": "eth0.10", "ipam_config": [subnet]}]
    assert endpoints == [{"network": "vlan10", "name": "a", "netns": "a"}]
    assert problems == []


def test_a_vlan_that_is_not_internal_needs_a_trunk():
    vlans = [
        {"vlan": vlan, "subnet": f"10.{vlan}.0.0/24", "internal": internal} for vlan, internal in ((1, True), (2, "no"))
    ]
    given = {"vlan_map_vlans": vlans, "vlan_map_endpoints": [], "__vlan_map_seen": SEEN}
    ((problem,),) = computed(given, "{{ __vlan_map_problems }}")
    assert problem.startswith("No trunk is given.") and "VLANs 2 a parent" in problem


@pytest.mark.parametrize("purge", [True, False])
def test_purge_removes_no_network_that_an_endpoint_of_the_map_needs(purge: bool):
    given = {
        "vlan_map_trunk": "eth0",
        "vlan_map_purge": purge,
        "vlan_map_vlans": [{"vlan": 10, "subnet": "10.1.0.0/24"}, {"vlan": 20, "name": "db", "subnet": "10.2.0.0/24"}],
        "vlan_map_endpoints": [
            {"name": name, "network": name, "netns": name} for name in ("none", "db", "vlan10", "by-hand")
        ],
        "__vlan_map_seen": SEEN,
    }
    (problems,) = computed(given, "{{ __vlan_map_problems }}")
    assert [problem[:47] for problem in problems] == ["vlan_map_endpoints names network by-hand, which"] * purge


def test_a_python_that_is_too_old_is_named():
    seen = {**SEEN, "usable_python": "", "python": "/usr/bin/python3.8", "python_is_old": True}
    ((problem,),) = computed({"vlan_map_vlans": [], "__vlan_map_seen": seen}, "{{ __vlan_map_problems }}")
    assert problem.startswith("/usr/bin/python3.8 on localhost is older than Python 3.9")


def test_libraries_are_there_for_whoever_has_a_wrong_map_too(tmp_path):
    """The playbook ``status`` begins with them."""
    task = {"name": "netops.underlay.vlan_map", "tasks_from": "requirements"}
    done = play(tmp_path, task, vlan_map_vlans=[{"subnet": "10.0.0.0/24"}], vlan_map_hosts=["three"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("changed=0 ") == 2


@pytest.mark.parametrize(("there", "files"), [(True, 2), (False, 1)])
def test_networkd_is_told_where_it_has_its_folder(there: bool, files: int):
    (told,) = computed({"__vlan_map_seen": {"networkd": there}}, "{{ __vlan_map_for_managers }}")
    assert len(told) == files and "netops-underlay.rules" in told


def test_a_map_that_no_other_host_shares_needs_no_plan(tmp_path: Path):
    """A template computes every variable that it names, and that of a long map takes a second."""
    planned = tmp_path / "planned"
    given = {
        "vlan_map_trunk": "eth0",
        "vlan_map_vlans": [{"vlan": 10, "subnet": "10.1.0.0/24"}],
        "vlan_map_report": "",
        "__vlan_map_seen": SEEN,
        "__vlan_map_plan": f"{{{{ {{'problems': [], 'networks': [lookup('ansible.builtin.pipe', 'touch {planned}')]}} }}}}",
    }
    asked = "{{ __vlan_map_networks }}", "{{ __vlan_map_problems }}"
    assert [len(found) for found in computed(given, *asked)] == [1, 0] and not planned.exists()
    computed({**given, "vlan_map_hosts": ["localhost"]}, *asked)
    assert planned.exists()
