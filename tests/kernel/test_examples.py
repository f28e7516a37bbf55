"""The examples in the modules' documentation work as they stand, one after the other, and again without a change."""

from __future__ import annotations

import importlib

import pytest
import yaml

from .conftest import batch

MODULES = (
    "vlan_network",
    "vlan_endpoint",
    "vlan_ipam",
    "vlan_network_info",
    "vlan_endpoint_info",
    "vlan_ipam_info",
    "vlan_service",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(host, name):
    module = importlib.import_module(f"ansible_collections.netops.underlay.plugins.modules.{name}")
    tasks = yaml.safe_load(module.EXAMPLES)
    returned = set(yaml.safe_load(module.RETURN)) - {"done", "interpreter"}  # of a failure; of a respawn
    for task in tasks:
        action = next((key for key in task if key.startswith("netops.underlay.")), None)
        if action is None:  # what systemd is to do needs a systemd: test_service.py
            continue
        used = action.rpartition(".")[2]
        params = task[action] or {}
        result = host.run(used, **params)
        assert not host.run(used, **params)["changed"], task["name"]
        if used == name:
            assert returned <= set(result), task["name"]


@pytest.mark.parametrize("name", MODULES)
def test_samples_have_the_keys_that_are_returned(host, name):
    host.network("ipvlan20", parent="eth0.20", ipam_config=[{"subnet": "192.168.20.0/24"}])
    host.endpoint("web1", "ipvlan20")
    host.endpoint("gone", "ipvlan20")
    batch("addr add 192.168.20.200/32 dev eth0\n", netns="web1")  # somebody else's
    batch("netns del gone\n")
    module = importlib.import_module(f"ansible_collections.netops.underlay.plugins.modules.{name}")
    params = {
        "vlan_network": {"name": "new"},
        "vlan_endpoint": {"name": "web2", "network": "ipvlan20", "netns": "web2"},
        "vlan_ipam": {"owner": "vm-12", "network": "ipvlan20"},
        "vlan_ipam_info": {"history": True, "audit": True},
    }
    result = host.run(name, **params.get(name, {}))
    for key, entry in yaml.safe_load(module.RETURN).items():
        if "sample" in entry and key != "interpreter":  # of a respawn
            assert result[key], "nothing to compare with"
            found, sample = (x[0] if isinstance(x, list) else x for x in (result[key], entry["sample"]))
            assert type(found) is type(sample), (name, key)
            if isinstance(sample, dict):
                assert set(found) == set(sample), (name, key)
