# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a switch says of itself is heard on the trunk, and what it says of the VLANs is held against the networks."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import wire

from . import looks
from .conftest import Failed, Host, batch, ip, sweep


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    sweep()
    batch("netns add switch\nlink add eth0 type veth peer name port1 netns switch\nlink set eth0 up\n")
    batch("link set port1 up\naddr add 10.9.0.1/24 dev port1\n", netns="switch")
    made = Host(tmp_path / "state")
    made.network("net", driver="macvlan", parent="eth0", ipam_config=[{"subnet": "10.9.0.0/24"}])
    yield made
    sweep()


def part(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2, "big") + value


LLDP = (
    bytes.fromhex("0180c200000e" + "020000000001" + "88cc")
    + part(1, b"\x04\x02\x00\x00\x00\x00\x01")
    + part(2, b"\x05Ethernet1/7")
    + part(3, b"\x00\x78")
    + part(5, b"tor1")
    + part(127, b"\x00\x80\xc2\x03\x00\x0a\x03web")
    + part(0, b"")
)


def test_the_switch_and_its_port(host: Host) -> None:
    with looks.spoken("switch", "port1", [LLDP]):
        [network] = host.run("vlan_network_info", verify=True, listen=30)["networks"]
        assert network["findings"] == []
        assert network["wire"]["switch"] == {
            "protocol": "lldp",
            "system": "tor1",
            "port": "Ethernet1/7",
            "description": "",
            "vlans": [10],
            "native_vlan": None,
        }
        # Not unless it is asked for.
        [network] = host.run("vlan_network_info", verify=True)["networks"]
        assert network["wire"]["switch"] is None


def test_a_switch_that_says_nothing(host: Host) -> None:
    """And to which nothing is said: what is sent is the trunk check's own two frames to the gateway."""
    mac = host.link("eth0")["address"]
    with looks.captured("switch", "port1") as heard:
        [network] = host.run("vlan_network_info", verify=True, listen=1)["networks"]
        probe = wire.arp_probe(mac, ip_address("10.9.0.1"))
        asked = [frame for _tag, frame in looks.sent_by(mac, heard()) if frame[12:14] != b"\x86\xdd"]
    assert (network["wire"]["switch"], network["findings"]) == (None, [])
    assert asked == [probe, wire.padded(probe, 1500)]


def test_listening_goes_with_the_check(host: Host) -> None:
    with pytest.raises(Failed, match="listen has a meaning only with verify: true"):
        host.run("vlan_network_info", listen=1)
    with pytest.raises(Failed, match="listen 301 is not between 0 and 300 seconds"):
        host.run("vlan_network_info", verify=True, listen=301)


def test_no_link_is_made_promiscuous(host: Host) -> None:
    link = wire.opened("eth0", wire.SWITCHES)
    assert link is not None
    with link:
        [shown] = ip("-d", "link", "show", "eth0")
    assert (shown["promiscuity"], shown["allmulti"]) == (0, 0)


@pytest.fixture
def vlan(host: Host) -> None:
    host.network("vlan20", driver="macvlan", parent="eth0.20", ipam_config=[{"subnet": "10.20.0.0/24"}])
    host.network("vlan10", driver="macvlan", parent="eth0.10", ipam_config=[{"subnet": "10.10.0.0/24"}])


@pytest.mark.usefixtures("vlan")
def test_a_vlan_that_the_switch_does_not_name(host: Host) -> None:
    # Of two tags the switch knows the outer one.
    batch("link add link eth0.10 name inner77 type vlan id 77\nlink set inner77 up\n")
    host.network("inner", parent="inner77", ipam_config=[{"subnet": "10.77.0.0/24"}])
    with looks.spoken("switch", "port1", [LLDP]):
        networks = host.run("vlan_network_info", verify=True, listen=30)["networks"]
    found = {network["name"]: [finding["words"] for finding in network["findings"]] for network in networks}
    words = "VLAN 20: the switch (tor1 Ethernet1/7) names the VLANs of its port, and VLAN 20 is not among them"
    assert words in found["vlan20"]
    assert not any("not among them" in text for text in found["vlan10"] + found["net"] + found["inner"])
