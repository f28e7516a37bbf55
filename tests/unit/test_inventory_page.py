# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""docs/inventory.md: what the page has in its blocks becomes a map that the role takes, as Ansible itself fills it in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..pages import ROOT, blocks

TABLE, BY_TABLE, _PLUGIN, RECORDED, BY_NETBOX = blocks("docs/inventory.md")


def variables(folder: Path, host: dict[str, Any], group: str) -> dict[str, Any]:
    """The role's variables of a host, as ansible has them."""
    hosts = {"all": {"children": {"hypervisors": {"hosts": {"hypervisor7": host}}}}}
    (folder / "hosts.json").write_text(json.dumps(hosts), encoding="utf-8")
    (folder / "group_vars").mkdir()
    (folder / "group_vars" / "hypervisors.yml").write_text(group, encoding="utf-8")
    play = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ {'trunk': vlan_map_trunk, 'vlans': vlan_map_vlans} | to_json }}",
                        "dest": str(folder / "found.json"),
                        "mode": "0600",
                    },
                    "delegate_to": "localhost",
                }
            ],
        }
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(play), encoding="utf-8")
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.json", "play.yml"]
    environment = {**os.environ, "ANSIBLE_PYTHON_INTERPRETER": sys.executable, "ANSIBLE_LOCALHOST_WARNING": "False"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def taken(found: dict[str, Any]) -> bool:
    specs = yaml.safe_load((ROOT / "roles/vlan_map/meta/argument_specs.yml").read_text(encoding="utf-8"))
    given = {"vlan_map_trunk": found["trunk"], "vlan_map_vlans": found["vlans"]}
    return ArgumentSpecValidator(specs["argument_specs"]["main"]["options"]).validate(given).error_messages == []


def test_the_table_becomes_the_map(tmp_path: Path) -> None:
    (tmp_path / "vlans.csv").write_text(TABLE.text, encoding="utf-8")
    found = variables(tmp_path, {}, BY_TABLE.text)
    assert found["vlans"] == [
        {"vlan": 10, "subnet": "172.16.80.0/24", "gateway": "172.16.80.1"},
        {"vlan": 20, "subnet": "172.16.48.0/22", "gateway": "172.16.50.1"},
        {"vlan": 30, "subnet": "2001:db8:30::/64", "gateway": "2001:db8:30::1"},
    ]
    assert found["trunk"] == "eth0" and taken(found)


def test_what_netbox_says_becomes_the_map_of_what_the_port_carries(tmp_path: Path) -> None:
    found = variables(tmp_path, json.loads(RECORDED.text), BY_NETBOX.text)
    assert found["vlans"] == [
        {"vlan": 10, "subnet": "172.16.80.0/24", "gateway": "172.16.80.1"},
        {"vlan": 20, "subnet": "172.16.48.0/22", "gateway": "172.16.50.1"},
    ]
    assert found["trunk"] == "eth0" and taken(found)


def test_a_prefix_without_a_gateway_has_none_in_the_map(tmp_path: Path) -> None:
    host = json.loads(RECORDED.text)
    host["sites"][0]["prefixes"][1]["custom_fields"] = {"gateway": None}
    found = variables(tmp_path, host, BY_NETBOX.text)
    assert found["vlans"][1] == {"vlan": 20, "subnet": "172.16.48.0/22"} and taken(found)
