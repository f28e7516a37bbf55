"""vlan_ipam and the reading modules: the store's part, seen through the modules and the kernel."""

from __future__ import annotations

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
