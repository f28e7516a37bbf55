# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Results of the ``_info`` modules for tests of what is drawn of them: few or many VLANs, with findings or without."""

from __future__ import annotations

from typing import Any

# Syntax, markup, directives and comments of Mermaid, Graphviz, HTML, SVG and Ansible.
HOSTILE = [
    '"]; click t0 "javascript:alert(1)" %%{init: {"securityLevel": "loose"}}%%',
    '</text></svg><script>alert("1")</script><img src=x onerror=alert(1)>',
    "a\nb\r\n  t9[x]\t--- t0 \\N \\",
    "`md` #quot; &lt;b&gt; {{ lookup('pipe', 'id') }} {% raw %}",
    "\u202egnp.exe\u2066 \x00\x1b[31m ]]>",
]


def network(name: str, parent: str, vlan_id: int | None, subnet: str, gateway: str | None = None, **more: Any) -> Any:
    return {
        "name": name,
        "driver": "ipvlan",
        "parent": parent,
        "parent_created": vlan_id is not None,
        "vlan_id": vlan_id,
        "vlan_protocol": None if vlan_id is None else "802.1q",
        "mode": "l2",
        "flag": "bridge",
        "mtu": 1500,
        "internal": False,
        "enable_ipv4": True,
        "enable_ipv6": False,
        "ipam_config": [{"subnet": subnet, "gateway": gateway, "ip_range": None, "aux_addresses": {}}],
        "labels": {},
        "cooldown": 0,
        "state": "present",
        **more,
    }


def endpoint(name: str, network: str, address: str, target: str = "", **more: Any) -> Any:
    return {
        "network": network,
        "name": name,
        "driver": "ipvlan",
        "target": {"kind": "netns", "value": target or name},
        "ifname": "eth0",
        "ipv4": {"address": address, "prefixlen": 24, "gateway": None},
        "ipv6": None,
        "state": "attached",
        **more,
    }


def use(network: str, subnet: str, size: int, held: int, reserved: int = 0, cooling: int = 0) -> Any:
    return {
        "network": network,
        "subnet": subnet,
        "ip_range": None,
        "family": "ipv6" if ":" in subnet else "ipv4",
        "size": size,
        "held": held,
        "reserved": reserved,
        "cooling": cooling,
        "free": size - held - reserved - cooling,
    }


def heard(address: str, rtt_ms: float | None = 0.3) -> Any:
    """What the trunk check keeps of a healthy network."""
    gateway = {"address": address, "mac_address": "02:42:ac:10:50:01", "rtt_ms": rtt_ms}
    wire = {"parent_up": True, "carrier": True, "carried": True, "gateways": [gateway], "mtu": 1500}
    return {"wire": {**wire, "mtu_passes": 1500, "stations": 4}, "findings": []}


def switch(system: str, port: str, vlans: list[int]) -> Any:
    """What it keeps of a switch that says who it is."""
    return {
        "protocol": "lldp",
        "system": system,
        "port": port,
        "description": None,
        "vlans": vlans,
        "native_vlan": None,
    }


def found(words: str, severity: str = "problem") -> Any:
    """What it keeps of one that is not."""
    wire = {"parent_up": True, "carrier": True, "carried": False, "gateways": [], "mtu": None, "mtu_passes": None}
    return {
        "wire": {**wire, "stations": 0},
        "findings": [{"severity": severity, "code": "not_carried", "words": words}],
    }


def small() -> Any:
    """The map of NetOps: three VLANs, two endpoints on each; the switch says who it is."""
    made = {
        "networks": [
            network("vlan10", "eth0.10", 10, "172.16.80.0/24", "172.16.80.1", **heard("172.16.80.1")),
            network(
                "vlan20",
                "eth0.20",
                20,
                "172.16.48.0/22",
                "172.16.50.1",
                **found("VLAN 20: gateway 172.16.50.1 silent, but 12 stations heard: wrong gateway address?", "hint"),
            ),
            network(
                "vlan30",
                "eth0.30",
                30,
                "10.1.0.0/16",
                "10.1.100.1",
                **found("VLAN 30: no station answers; eth0's switch port does not seem to carry VLAN 30"),
            ),
        ],
        "endpoints": [
            endpoint("web1", "vlan10", "172.16.80.2"),
            endpoint("web2", "vlan10", "172.16.80.3"),
            endpoint("app1", "vlan20", "172.16.48.1", target="shop-app-1"),
            endpoint("app2", "vlan20", "172.16.51.7", state="waiting"),
            endpoint("db1", "vlan30", "10.1.0.1"),
            endpoint("db2", "vlan30", "10.1.0.2"),
        ],
        "subnets": [
            use("vlan10", "172.16.80.0/24", 253, 2, 200, 20),
            use("vlan20", "172.16.48.0/22", 1021, 2, 4),
            use("vlan30", "10.1.0.0/16", 65533, 2),
        ],
    }
    for item in made["networks"]:
        item["wire"]["switch"] = switch("tor1", "Ethernet1/7", [10, 20])
    return made


def large(vlans: int = 250) -> Any:
    """Many VLANs on two trunks, up to 30 endpoints on each, some findings; an isolated network and two on one parent."""
    networks, endpoints, subnets = [], [], []
    for number in range(1, vlans + 1):
        vlan, trunk = 100 + number, "bond0" if number % 5 else "enp65s0f0"
        name, subnet, gateway = f"vlan{vlan}", f"10.{number}.0.0/24", f"10.{number}.0.1"
        wire = heard(gateway)
        if number % 29 == 3:
            wire = found(f"VLAN {vlan}: no station answers; {trunk}'s switch port does not seem to carry VLAN {vlan}")
        elif number % 31 == 7:
            wire = found(
                f"VLAN {vlan}: gateway {gateway} silent, but 12 stations heard: wrong gateway address?", "hint"
            )
        networks.append(network(name, f"{trunk}.{vlan}", vlan, subnet, gateway, **wire))
        count = number % 7 if number % 50 else 30
        endpoints += [endpoint(f"web{number}-{one}", name, f"10.{number}.0.{one + 2}") for one in range(count)]
        subnets.append(use(name, subnet, 253, count, number % 200))
    networks.append(
        network("second", networks[0]["parent"], 101, "192.168.7.0/24", "192.168.7.1", **heard("192.168.7.1"))
    )
    networks.append(network("lab", "dm-lab", None, "172.18.0.0/16", parent_created=True, internal=True))
    subnets += [use("second", "192.168.7.0/24", 253, 0), use("lab", "172.18.0.0/16", 65534, 0)]
    return {"networks": networks, "endpoints": endpoints, "subnets": subnets}
