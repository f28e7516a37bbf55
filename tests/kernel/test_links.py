# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a link can be beyond mode and address: QinQ, MTU, settings of its own; and no link at all."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import looks
from .conftest import Host, batch, command, ip

NET = {"parent": "eth0.20", "ipam_config": [{"subnet": "172.16.50.0/22", "gateway": "172.16.50.1"}]}


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


# --- QinQ -----------------------------------------------------------------------------------------------------


@pytest.fixture
def far_end() -> Iterator[str]:
    """A trunk of its own, without a switch, whose far end takes the outer tag 300 in either protocol, and the inner 20."""
    batch(
        "netns add far\nlink add eth7 type veth peer name port7 netns far\nlink set eth7 up\n",
    )
    batch(
        "link set port7 up\n"
        "link add link port7 name s300 type vlan id 300 protocol 802.1ad\nlink set s300 up\naddr add 10.30.0.1/24 dev s300\n"
        "link add link port7 name c300 type vlan id 300\nlink set c300 up\naddr add 10.31.0.1/24 dev c300\n"
        "link add link s300 name s300.20 type vlan id 20\nlink set s300.20 up\naddr add 10.32.0.1/24 dev s300.20\n",
        netns="far",
    )
    yield "far"
    subprocess.run(("ip", "-force", "-batch", "-"), input="netns del far\nlink del eth7\n", text=True, check=False)


def test_the_outer_tag_of_qinq(host: Host, far_end: str) -> None:
    result = host.network("s", parent="eth7.300", vlan_protocol="802.1ad", ipam_config=[{"subnet": "10.30.0.0/24"}])
    assert result["networks"][0]["vlan_protocol"] == "802.1ad"
    link = host.link("eth7.300")
    assert link["linkinfo"]["info_data"]["protocol"] == "802.1ad"
    host.endpoint("a", "s")
    tags = ("ip", "netns", "exec", far_end, "tcpdump", "-nei", "port7", "-c1", "--immediate-mode", "vlan and icmp")
    with subprocess.Popen(tags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as capture:
        capture.stderr.readline()
        capture.stderr.readline()
        assert host.pings("a", "10.30.0.1")
        assert "802.1Q-QinQ" in capture.communicate(timeout=60)[0]
    # The same id in the other protocol is another VLAN.
    assert "carries network 's' with vlan_protocol 802.1ad" in host.refused(
        "vlan_network", name="c", parent="eth7.300", vlan_protocol="802.1q", ipam_config=[{"subnet": "10.31.0.0/24"}]
    )
    # A second network on the link needs not say it again; an inner tag on it is a link of the user's own.
    command("ip", "link", "add", "link", "eth7.300", "name", "eth7.300.20", "type", "vlan", "id", "20")
    command("ip", "link", "set", "eth7.300.20", "up")
    host.network("both", parent="eth7.300.20", ipam_config=[{"subnet": "10.32.0.0/24"}])
    host.endpoint("b", "both")
    assert host.pings("b", "10.32.0.1")
    assert not host.network("s", parent="eth7.300")["changed"]
    # Changed: refused while endpoints are there, with force made anew, with the tag on the wire to show it.
    host.run("vlan_network", networks=[{"name": "both", "state": "absent", "force": True}])
    command("ip", "link", "del", "eth7.300.20")
    text = host.refused("vlan_network", name="s", vlan_protocol="802.1q")
    assert "vlan_protocol of network 's', which has 1 endpoint (a), cannot be changed in place" in text
    host.network("s", vlan_protocol="802.1q", force=True, ipam_config=[{"subnet": "10.30.0.0/24"}])
    assert host.link("eth7.300")["linkinfo"]["info_data"]["protocol"] == "802.1Q"
    assert host.silent("a", "10.30.0.1")
    command("ip", "-n", far_end, "addr", "del", "10.30.0.1/24", "dev", "s300")
    command("ip", "-n", far_end, "addr", "add", "10.30.0.1/24", "dev", "c300")
    assert host.pings("a", "10.30.0.1")


def test_a_hand_made_parent_has_the_tag_that_it_has(host: Host, far_end: str) -> None:
    command(*"ip link add link eth7 name eth7.300 type vlan id 300 protocol 802.1ad".split())
    assert "its VLAN protocol is 802.1ad, not 802.1q" in host.refused(
        "vlan_network", name="s", parent="eth7.300", vlan_protocol="802.1q", ipam_config=[{"subnet": "10.30.0.0/24"}]
    )
    result = host.network("s", parent="eth7.300", ipam_config=[{"subnet": "10.30.0.0/24"}])
    assert result["networks"][0]["vlan_protocol"] == "802.1ad"


# --- MTU ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["ipvlan", "macvlan"])
def test_the_mtu_follows_the_parent_down_and_up_again(host: Host, driver: str) -> None:
    def mtus() -> list[int]:
        return [host.link("eth0.20")["mtu"], *(host.link("eth0", name)["mtu"] for name in ("a", "b"))]

    def again() -> bool:
        changed = host.network("net")["changed"]
        return host.run("vlan_endpoint", network="net", endpoints=pair)["changed"] or changed

    pair = [{"name": "a", "netns": "a"}, {"name": "b", "netns": "b"}]
    host.network("net", driver=driver, **NET)
    host.run("vlan_endpoint", network="net", endpoints=pair)
    assert mtus() == [1500, 1500, 1500]
    for mtu in (1400, 1500):
        command("ip", "link", "set", "eth0", "mtu", str(mtu))
        again()
        assert mtus() == [mtu, mtu, mtu]
        assert not again()
    # A network's own MTU is never above what carries it, and comes back with it.
    host.network("net", mtu=1450)
    assert mtus() == [1500, 1450, 1450]
    command("ip", "link", "set", "eth0", "mtu", "1400")
    again()
    assert mtus() == [1400, 1400, 1400]
    command("ip", "link", "set", "eth0", "mtu", "1500")
    again()
    assert mtus() == [1500, 1450, 1450]
    assert "mtu 1600 is above that of 'eth0' (1500)" in host.refused("vlan_network", name="net", mtu=1600)
    # What is ours follows its base in the same run, and nobody is asked to raise it, or warned of it.
    command("ip", "link", "set", "eth0", "mtu", "1600")
    assert host.network("net", mtu=1600)["warnings"] == []
    assert mtus() == [1600, 1600, 1600]
    for mtu, warned in (("1500", True), ("1600", False)):
        command("ip", "link", "set", "eth0", "mtu", mtu)
        assert bool(host.network("net")["warnings"]) == warned


def test_a_sub_interface_of_macsec_has_room_for_its_tag(host: Host) -> None:
    command("modprobe", "macsec", check=False)  # where the kernel does not load it by itself
    batch("link add link eth0 name sec7 type macsec\nlink set sec7 up\n")
    try:
        looks.done(host, "vlan_network", name="net", parent="sec7.20", ipam_config=[{"subnet": "10.33.0.0/24"}])
        room = host.link("sec7")["mtu"] - 4
        assert host.link("sec7.20")["mtu"] == room
        assert f"mtu {room + 1} is above" in host.refused("vlan_network", name="net", mtu=room + 1)
        looks.done(host, "vlan_network", name="net", mtu=room)
    finally:
        command("ip", "link", "del", "sec7")


# --- settings of a link ---------------------------------------------------------------------------------------


def test_settings_of_its_own(host: Host) -> None:
    def value(netns: str, path: str) -> str:
        return command("ip", "netns", "exec", netns, "cat", f"/proc/sys/{path}").stdout.strip()

    host.network("net", **NET)
    wanted = {"net.ipv4.conf.IFNAME.log_martians": 1, "net.ipv4.neigh.IFNAME.gc_stale_time": "90"}
    host.endpoint("a", "net", sysctls=wanted, ifname="lan.0")
    assert value("a", "net/ipv4/conf/lan.0/log_martians") == "1"
    assert value("a", "net/ipv4/neigh/lan.0/gc_stale_time") == "90"
    assert value("a", "net/ipv4/conf/default/log_martians") == "0"
    assert not host.endpoint("a", "net", sysctls=wanted)["changed"]
    assert not host.endpoint("a", "net")["changed"]
    command("ip", "netns", "exec", "a", "sysctl", "-qw", "net/ipv4/conf/lan.0/log_martians=0")
    result = host.endpoint("a", "net")
    assert [a["changes"] for a in result["actions"]] == [{"log_martians": {"before": "0", "after": "1"}}]
    assert value("a", "net/ipv4/conf/lan.0/log_martians") == "1"
    assert result["endpoints"][0]["sysctls"] == {key: str(text) for key, text in wanted.items()}


# --- no link --------------------------------------------------------------------------------------------------


def test_none_is_the_loopback_alone(host: Host) -> None:
    before = looks.everything(host)
    result = host.endpoint("vault", "none")
    assert result["endpoints"] == host.run("vlan_endpoint_info")["endpoints"]
    (lo,) = ip("addr", netns="vault")
    assert (lo["ifname"], "UP" in lo["flags"]) == ("lo", True)
    assert [(i["local"], i["prefixlen"], i["scope"]) for i in lo["addr_info"]] == [("127.0.0.1", 8, "host")]
    assert host.pings("vault", "127.0.0.1")
    assert host.silent("vault", "::1")
    assert not host.endpoint("vault", "none")["changed"]
    command("ip", "-n", "vault", "link", "set", "lo", "down")
    assert [a["action"] for a in host.endpoint("vault", "none")["actions"]] == ["repair"]
    assert host.pings("vault", "127.0.0.1")
    # No other network beside it, and it not beside another.
    host.network("net", **NET)
    assert "is on network 'none'" in host.refused("vlan_endpoint", name="web", network="net", netns="vault")
    host.endpoint("web", "net")
    assert "means none" in host.refused("vlan_endpoint", name="w", network="none", netns="web")
    command("ip", "netns", "add", "busy")
    command("ip", "-n", "busy", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
    assert "has the link 'veth0'" in host.refused("vlan_endpoint", name="w", network="none", netns="busy")
    command("ip", "netns", "del", "busy")
    host.run("vlan_network", networks=[{"name": "net", "state": "absent", "force": True}])
    host.endpoint("vault", "none", state="absent")
    assert looks.everything(host) == before
