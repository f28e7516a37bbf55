"""vlan_ipam and the reading modules: the store's part, seen through the modules and the kernel."""

from __future__ import annotations

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import store

from . import looks
from .conftest import command

NET = {
    "parent": "eth0.20",
    "ipam_config": [{"subnet": "192.168.20.0/24", "aux_addresses": {"printer": "192.168.20.3"}}],
}


def held(host, **params):
    return [(row["owner"], row["address"], row["kind"]) for row in host.run("vlan_ipam_info", **params)["addresses"]]


def test_an_owner_keeps_its_address_and_no_endpoint_gets_it(host):
    host.network("net", **NET)
    first = host.run("vlan_ipam", network="net", owner="vm-12", description="build VM")
    assert first["changed"] and first["addresses"][0]["address"] == "192.168.20.2"
    assert not host.run("vlan_ipam", network="net", owner="vm-12")["changed"]
    host.endpoint("web1", "net")
    assert host.addresses("eth0", "web1") == ["192.168.20.4/24"], "neither the owner's nor the auxiliary address"
    assert held(host) == [
        ("gateway", "192.168.20.1", "gateway"),
        ("printer", "192.168.20.3", "auxiliary"),
        ("vm-12", "192.168.20.2", "reserved"),
        ("web1", "192.168.20.4", "endpoint"),
    ]
    assert held(host, owner="vm-12") == [("vm-12", "192.168.20.2", "reserved")]
    error = host.refused("vlan_endpoint", name="web2", network="net", netns="web2", ipv4_address="192.168.20.2")
    assert "vm-12" in error


def test_given_released_and_given_again(host):
    host.network("net", **NET)
    host.run("vlan_ipam", network="net", addresses=[{"owner": "a", "address": "192.168.20.50"}, {"owner": "b"}])
    swapped = [{"owner": "a", "state": "absent"}, {"owner": "b", "address": "192.168.20.50"}]
    predicted = host.run("vlan_ipam", check=True, network="net", addresses=swapped)
    real = host.run("vlan_ipam", network="net", addresses=swapped)
    for key in ("changed", "actions", "diff", "addresses"):
        assert predicted[key] == real[key], key
    assert held(host, owner="b") == [("b", "192.168.20.50", "reserved")]
    host.endpoint("web1", "net")
    assert host.addresses("eth0", "web1") == ["192.168.20.2/24"]


def test_networks_that_share_a_subnet_share_its_addresses(host):
    shared = "192.168.20.0/24"
    host.run(
        "vlan_network",
        networks=[
            {"name": "low", "parent": "eth0.20", "ipam_config": [{"subnet": shared, "ip_range": "192.168.20.0/29"}]},
            {"name": "high", "parent": "eth0.20", "ipam_config": [{"subnet": shared, "ip_range": "192.168.20.128/29"}]},
        ],
    )
    host.endpoint("a", "low", ipv4_address="192.168.20.128")
    host.endpoint("b", "high")
    assert host.addresses("eth0", "b") == ["192.168.20.129/24"] and host.pings("a", "192.168.20.129")
    assert "endpoint 'a' of network 'low'" in host.refused(
        "vlan_endpoint", name="c", network="high", netns="c", ipv4_address="192.168.20.128"
    )


@pytest.mark.parametrize("driver", ["ipvlan", "macvlan"])
def test_networks_of_one_subnet_change_their_vlans_and_keep_their_addresses(host, driver):
    """Two VLANs with the same subnet: their networks change places, and then one comes to where the other goes."""
    same = {"driver": driver, "ipam_config": [{"subnet": "10.1.0.0/24"}]}
    host.run("vlan_network", networks=[{"name": f"n{vlan}", "parent": f"eth0.{vlan}", **same} for vlan in (10, 20)])
    host.run("vlan_endpoint", endpoints=[{"name": f"e{n}", "network": f"n{n}", "netns": f"e{n}"} for n in (10, 20)])

    def places():
        names = {link["ifindex"]: name for name, link in host.links().items()}
        return {n: (host.addresses("eth0", n), names[host.link("eth0", n)["link_index"]]) for n in ("e10", "e20")}

    held = ["10.1.0.2/24"]
    assert places() == {"e10": (held, "eth0.10"), "e20": (held, "eth0.20")}
    swapped = [{"name": "n10", "parent": "eth0.20"}, {"name": "n20", "parent": "eth0.10"}]
    looks.done(host, "vlan_network", networks=swapped, force=True)
    assert places() == {"e10": (held, "eth0.20"), "e20": (held, "eth0.10")}
    moved = [{"name": "n10", "parent": "eth0.10"}, {"name": "n20", "state": "absent"}]
    looks.done(host, "vlan_network", networks=moved, force=True)
    assert (host.addresses("eth0", "e10"), "e20" in host.namespaces()) == (held, False)
    assert set(host.links()) == {"lo", "eth0", "eth0.10"}


def test_a_network_does_not_come_to_where_its_addresses_are_taken(host):
    ranges = {"low": ("eth0.10", "10.1.0.0/25", "10.1.0.1"), "high": ("eth0.20", "10.1.0.128/25", "10.1.0.254")}
    for name, (parent, ip_range, gateway) in ranges.items():
        config = {"subnet": "10.1.0.0/24", "ip_range": ip_range, "gateway": gateway}
        host.network(name, parent=parent, ipam_config=[config])
        host.run("vlan_ipam", network=name, owner=f"vm-{name}", address="10.1.0.200")
    words = ("no room for 10.1.0.200", "owner 'vm-low' of network 'low'", "owner 'vm-high' of network 'high'")
    looks.refused(host, "vlan_network", *words, name="low", parent="eth0.20", force=True)
    host.run("vlan_ipam", network="high", owner="vm-high", address="10.1.0.1")
    host.run("vlan_ipam", network="low", owner="vm-low", address="10.1.0.254")
    words = ("10.1.0.1 cannot be the gateway", "owner 'vm-high' of network 'high'")
    looks.refused(host, "vlan_network", *words, name="low", parent="eth0.20")
    host.run("vlan_ipam", network="high", owner="vm-high", state="absent")
    words = ("no room for 10.1.0.254", "there it is the gateway of network 'high'")
    looks.refused(host, "vlan_network", *words, name="low", parent="eth0.20")
    host.run("vlan_ipam", network="low", owner="vm-low", address="10.1.0.201")
    looks.done(host, "vlan_network", name="low", parent="eth0.20")


def test_info_shows_what_the_kernel_shows_and_nothing_is_an_empty_list(host):
    for kind in ("network", "endpoint", "ipam"):
        result = host.run(f"vlan_{kind}_info")
        assert not result["changed"]
        assert result[{"network": "networks", "endpoint": "endpoints", "ipam": "addresses"}[kind]] == []
    assert not host.state_dir.exists(), "reading makes nothing on disk"
    host.network("net", **NET)
    made = host.endpoint("web1", "net")["endpoints"]
    assert host.run("vlan_endpoint_info")["endpoints"] == made
    assert host.run("vlan_network_info")["networks"] == host.network("net", **NET)["networks"]
    command("ip", "-n", "web1", "addr", "flush", "dev", "eth0")
    [shown] = host.run("vlan_endpoint_info", network="net", name="web1")["endpoints"]
    assert shown["ipv4"] is None and shown["routes"] == [], "the kernel is believed, not the store"
    command("ip", "netns", "del", "web1")
    [shown] = host.run("vlan_endpoint_info")["endpoints"]
    assert (shown["state"], shown["ipv4"]["address"]) == ("waiting", "192.168.20.2")


# --- how long an address is held ------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The time, as the store sees it: a list of one number."""
    time = [1_800_000_000]  # 2027-01-15T08:00:00Z
    monkeypatch.setattr(store, "clock", lambda: time[0])
    return time


def test_an_endpoint_that_is_kept_finds_its_address_again(host):
    host.network("net", **NET)
    host.endpoint("web1", "net")
    host.run("vlan_endpoint", name="web1", network="net", state="absent", keep=True)
    assert "web1" not in host.namespaces()
    assert not host.run("vlan_endpoint", name="web1", network="net", state="absent", keep=True)["changed"]
    host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2") == ["192.168.20.4/24"]
    host.run("vlan_endpoint", name="web2", network="net", state="absent")
    assert "held by 1 owner (web1)" in host.refused("vlan_network", name="net", state="absent")
    host.endpoint("web1", "net")
    assert host.addresses("eth0", "web1") == ["192.168.20.2/24"]
    host.run("vlan_endpoint", name="web1", network="net", state="absent", keep=True)
    released = host.run("vlan_endpoint", name="web1", network="net", state="absent")
    assert [(action["action"], action["name"]) for action in released["actions"]] == [("release", "192.168.20.2")]
    host.run("vlan_network", name="net", state="absent")


def test_ranges_are_nobodys_until_they_expire(host, clock):
    host.network("net", parent="eth0.20", ipam_config=[{"subnet": "192.168.20.0/24", "ip_range": "192.168.20.64/28"}])
    ranges = [
        {"owner": "storage", "address": "192.168.20.64-192.168.20.70", "description": "iSCSI", "expires": "2h"},
        {"owner": "lab", "address": "192.168.20.72/30", "expires": "2027-01-15 09:00:00+00:00"},
    ]
    rows = host.run("vlan_ipam", network="net", addresses=ranges)["addresses"]
    assert [(row["address"], row["expires"]) for row in rows] == [
        ("192.168.20.64-192.168.20.70", "2027-01-15T10:00:00Z"),
        ("192.168.20.72-192.168.20.75", "2027-01-15T09:00:00Z"),
    ]
    clock[0] += 60
    assert not host.run("vlan_ipam", network="net", addresses=ranges)["changed"], "a duration counts from the beginning"
    host.run("vlan_endpoint", network="net", endpoints=[{"name": name, "netns": name} for name in ("a", "b")])
    assert host.addresses("eth0", "a") + host.addresses("eth0", "b") == ["192.168.20.71/24", "192.168.20.76/24"]
    refusal = host.refused("vlan_endpoint", name="c", network="net", netns="c", ipv4_address="192.168.20.66")
    assert "held by owner 'storage' of network 'net', which holds 192.168.20.64-192.168.20.70" in refusal
    clock[0] += 3 * 3600
    predicted = host.run("vlan_endpoint", check=True, name="c", network="net", netns="c")
    assert predicted["endpoints"][0]["ipv4"]["address"] == "192.168.20.64"
    host.endpoint("c", "net")
    assert host.addresses("eth0", "c") == ["192.168.20.64/24"]
    [line] = [line for line in host.run("vlan_ipam_info", history=True)["history"] if line["owner"] == "lab"]
    assert (line["since"], line["until"]) == ("2027-01-15T08:00:00Z", "2027-01-15T09:00:00Z")


def test_a_released_address_rests(host, clock):
    subnets = [{"subnet": "192.168.20.0/24"}, {"subnet": "2001:db8:20::/64"}]
    host.network("net", parent="eth0.20", ipam_config=subnets, cooldown=3600)
    host.endpoint("web1", "net")
    host.run("vlan_endpoint", name="web1", network="net", state="absent")
    refusal = host.refused("vlan_endpoint", name="web2", network="net", netns="web2", ipv4_address="192.168.20.2")
    assert "it is cooling until 2027-01-15T09:00:00Z, since endpoint 'web1' of network 'net' left it" in refusal
    host.endpoint("web2", "net")
    assert host.addresses("eth0", "web2") == ["192.168.20.3/24", "2001:db8:20::3/64"]
    info = host.run("vlan_ipam_info", network="net")
    states = {(row["owner"], row["state"]) for row in info["addresses"] if row["kind"] == "endpoint"}
    assert states == {("web1", "cooling"), ("web2", "present")}
    numbers = {use["family"]: use for use in info["subnets"]}
    assert [(use["size"], use["held"], use["cooling"]) for use in numbers.values()] == [(253, 1, 1), (2**64 - 2, 1, 1)]
    assert all(u["held"] + u["reserved"] + u["cooling"] + u["free"] == u["size"] for u in numbers.values())
    host.endpoint("web1", "net")
    assert host.addresses("eth0", "web1") == ["192.168.20.2/24", "2001:db8:20::2/64"], "its old owner has it at once"
    host.run("vlan_endpoint", name="web1", network="net", state="absent")
    clock[0] += 3601
    host.endpoint("web3", "net")
    assert host.addresses("eth0", "web3") == ["192.168.20.2/24", "2001:db8:20::2/64"]


def test_who_had_an_address_when(host, clock):
    host.network("net", **NET)
    for name in ("web1", "web2"):
        host.endpoint(name, "net", ipv4_address="192.168.20.7")
        clock[0] += 86400
        if name == "web1":
            host.run("vlan_endpoint", name=name, network="net", state="absent")
    asked = {"history": True, "address": "192.168.20.7"}
    found = host.run("vlan_ipam_info", **asked)["history"]
    assert [(line["owner"], line["since"], line["until"]) for line in found] == [
        ("web1", "2027-01-15T08:00:00Z", "2027-01-16T08:00:00Z"),
        ("web2", "2027-01-16T08:00:00Z", None),
    ]
    clock[0] += 30 * 86400
    host.run("vlan_network", history_days=7)
    assert not host.run("vlan_network", history_days=7)["changed"]
    host.run("vlan_ipam", network="net", owner="x")  # what is too old goes with the next write
    assert [line["owner"] for line in host.run("vlan_ipam_info", **asked)["history"]] == ["web2"]


def test_the_default_pools_of_the_host(host):
    pools = [{"base": "10.200.0.0/16", "size": 24}, {"base": "fd00:db8::/48", "size": 64}]
    command("ip", "link", "set", "eth0", "up")
    command("ip", "route", "add", "10.200.0.0/24", "dev", "eth0")
    command("ip", "route", "add", "10.200.1.0/25", "dev", "eth0", "table", "100")
    predicted = host.run("vlan_network", check=True, default_address_pools=pools)
    assert host.run("vlan_network", default_address_pools=pools)["actions"] == predicted["actions"] != []
    assert not host.run("vlan_network", default_address_pools=pools)["changed"]
    asked = [{"name": name, "parent": "eth0.20", "enable_ipv6": True} for name in ("one", "two")]
    with looks.nameserver("10.200.2.53"):
        made = host.run("vlan_network", networks=asked)["networks"]
    assert [[config["subnet"] for config in item["ipam_config"]] for item in made] == [
        ["10.200.3.0/24", "fd00:db8::/64"],
        ["10.200.4.0/24", "fd00:db8:0:1::/64"],
    ]
    assert host.run("vlan_network_info")["settings"] == {"default_address_pools": pools, "history_days": 90}
    assert not host.run("vlan_network", networks=asked)["changed"]
    assert "default_address_pools[0]: size 15 is not a prefix length" in host.refused(
        "vlan_network", default_address_pools=[{"base": "10.200.0.0/16", "size": 15}]
    )
    host.run("vlan_network", networks=[], purge=True, purge_all=True, default_address_pools=[])
    command("ip", "route", "del", "10.200.1.0/25", "dev", "eth0", "table", "100")
