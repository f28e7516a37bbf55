"""What the real host-local allocated is held by the same owners here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.netops.underlay.plugins.filter.from_cni_host_local import from_cni_host_local

from .conftest import command

PLUGINS = "/usr/lib/cni"


def allocate(config: dict[str, Any], container: str) -> list[str]:
    """The addresses that host-local gives to a container."""
    environment = {
        **os.environ,
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": container,
        "CNI_NETNS": "/x",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": PLUGINS,
    }
    done = subprocess.run(
        [f"{PLUGINS}/host-local"],
        input=json.dumps(config),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [entry["address"].partition("/")[0] for entry in json.loads(done.stdout)["ips"]]


def test_addresses_of_the_real_host_local_are_held_by_their_owners(host, tmp_path: Path):
    ipam = {"type": "host-local", "dataDir": str(tmp_path / "cni"), "ranges": [[{"subnet": "192.168.20.0/24"}]]}
    config = {"cniVersion": "1.0.0", "name": "vlan20", "type": "macvlan", "master": "eth0.20", "ipam": ipam}
    # Two containers get both families. The ids look like groups of an IPv6 address.
    both = {**config, "ipam": {**ipam, "ranges": [*ipam["ranges"], [{"subnet": "2001:db8:20::/64"}]]}}
    allocated = {
        f"{container}/eth0": allocate(wanted, container)
        for container, wanted in (("abc1", both), ("abc2", both), ("abc3", config))
    }
    assert sorted(len(addresses) for addresses in allocated.values()) == [1, 2, 2]

    lines = command("grep", "-rH", "", ipam["dataDir"]).stdout.splitlines()
    found = from_cni_host_local(lines, configs=[both])
    assert found["warnings"] == []
    host.run("vlan_network", networks=found["networks"])
    host.run("vlan_ipam", addresses=found["addresses"])

    held: dict[str, list[str]] = {}
    for row in host.run("vlan_ipam_info", network="vlan20")["addresses"]:
        if row["kind"] == "reserved":
            held.setdefault(row["owner"], []).append(row["address"])
    assert {owner: sorted(addresses) for owner, addresses in held.items()} == {
        owner: sorted(addresses) for owner, addresses in allocated.items()
    }
    assert "eth0.20" in host.links()
    assert not host.run("vlan_network", networks=found["networks"])["changed"]
    assert not host.run("vlan_ipam", addresses=found["addresses"])["changed"]
