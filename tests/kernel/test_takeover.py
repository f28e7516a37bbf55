"""What the real host-local allocated is held by the same owners here; a Compose file becomes what it says."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.netops.underlay.plugins.filter.from_cni_host_local import from_cni_host_local
from ansible_collections.netops.underlay.plugins.filter.from_compose import from_compose

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


COMPOSE = """
name: shop
networks:
  front:
    driver: macvlan
    driver_opts: {parent: eth0.20}
    ipam:
      config:
        - {subnet: 172.16.48.0/22, gateway: 172.16.50.1, ip_range: 172.16.49.0/24}
  back:
    driver: ipvlan
    internal: true
    ipam: {config: [{subnet: 10.7.0.0/24}]}
services:
  web:
    image: nginx
    networks:
      front: {ipv4_address: 172.16.49.10, aliases: [www], mac_address: "02:42:ac:10:31:0a", gw_priority: 1}
      back:
  db:
    networks: [back]
  vault:
    network_mode: none
"""


def test_a_compose_file_moves_over_in_one_task_each(host):
    found = from_compose(yaml.safe_load(COMPOSE), target="netns")
    host.run("vlan_network", networks=found["networks"])
    host.run("vlan_endpoint", endpoints=found["endpoints"])
    names = {(item["name"], item["network"]): item["ifname"] for item in found["endpoints"] if "ifname" in item}
    web = {link: host.addresses(link, "web") for link in host.links("web") if link != "lo"}
    assert sorted(web.values()) == [["10.7.0.2/24"], ["172.16.49.10/22"]], names
    (front,) = [link for link, addresses in web.items() if addresses == ["172.16.49.10/22"]]
    assert host.link(front, "web")["address"] == "02:42:ac:10:31:0a"
    assert host.default_route("web") == [("172.16.50.1", front)]
    assert host.pings("web", "172.16.50.1") and host.pings("web", "db") and host.pings("db", "web")
    assert set(host.links("vault")) == {"lo"}
    assert not host.run("vlan_network", networks=found["networks"])["changed"]
    assert not host.run("vlan_endpoint", endpoints=found["endpoints"])["changed"]
