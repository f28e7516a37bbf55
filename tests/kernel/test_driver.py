"""A fourth driver is a change of one file: added to a copy of the collection, it makes a working endpoint."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import command

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVERS = "plugins/module_utils/drivers.py"

# macvtap has macvlan's attributes (drivers/net/macvtap.c) and is a kind that the collection does not know.
TOY = """
TOY = Driver(
    name="toy",
    kind="macvtap",
    module="macvtap",
    mode=Setting("toy_mode", 1, "=I", {"bridge": 4, "private": 1}, "bridge"),
    own_mac=True,
)

DRIVERS: """


# Runs a module from the copy: folder of collections, module, arguments.
START = """
import importlib, sys
from ansible.module_utils import basic
sys.path.insert(0, sys.argv[1])
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.argv[3].encode(), "legacy"
importlib.import_module("ansible_collections.netops.underlay.plugins.modules." + sys.argv[2]).main()
"""


def test_a_further_driver_touches_one_file(host, tmp_path):
    copy = tmp_path / "collections" / "ansible_collections" / "netops" / "underlay"
    shutil.copytree(REPOSITORY / "plugins", copy / "plugins")
    text = (copy / DRIVERS).read_text()
    assert text.count("\nDRIVERS: ") == 1 and text.count("(IPVLAN, MACVLAN)") == 1
    (copy / DRIVERS).write_text(text.replace("\nDRIVERS: ", TOY).replace("(IPVLAN, MACVLAN)", "(IPVLAN, MACVLAN, TOY)"))

    def run(module: str, **params: object) -> dict:
        arguments = {"ANSIBLE_MODULE_ARGS": {"state_dir": str(host.state_dir), **params}}
        words = [sys.executable, "-c", START, str(tmp_path / "collections"), module, json.dumps(arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        result = json.loads(done.stdout)
        assert not result.get("failed"), result
        return result

    command("modprobe", "-d", "/run/m", "macvtap", check=False)
    [network] = run(
        "vlan_network",
        name="t",
        driver="toy",
        toy_mode="private",
        parent="eth0.20",
        ipam_config=[{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}],
    )["networks"]
    assert (network["driver"], network["mode"]) == ("toy", "private")
    run("vlan_endpoint", name="a", network="t", netns="a")
    link = host.link("eth0", "a")
    assert (link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["mode"]) == ("macvtap", "private")
    assert host.pings("a", "172.16.50.1")
    assert not run("vlan_endpoint", name="a", network="t", netns="a")["changed"]
    run("vlan_endpoint", name="a", network="t", state="absent")
    run("vlan_network", name="t", state="absent")
    assert set(host.links()) == {"lo", "eth0"}
    command("rmmod", "macvtap", check=False)  # holds macvlan, which another test unloads
