# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""l3 on two hosts: routes of the host to what the other one has. The namespace ``router`` is the other host."""

from __future__ import annotations

from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import restore

from .conftest import Host, batch, command, ip, router_forwards, writes_counted

OURS = {"subnet": "192.168.110.0/24", "ip_range": "192.168.110.0/28"}
OURS6 = {"subnet": "2001:db8:110::/64", "ip_range": "2001:db8:110::/68"}
ROUTES = [
    {"subnet": "192.168.110.16/28", "via": "172.16.50.1"},
    {"subnet": "2001:db8:110:0:1000::/68", "via": "2001:db8:50::1"},
]


def routes_of_ours() -> list[tuple[str, str, str]]:
    return [
        (route["dst"], route["gateway"], route["dev"])
        for family in ("-4", "-6")
        for route in ip(family, "route", "show", "proto", "110")
    ]


def another_host() -> None:
    """It has the second slice, and its routes are made by hand, as ours could be."""
    batch("netns add far\n")
    batch(
        "addr add 2001:db8:50::1/64 dev uplink.20 nodad\n"
        "link add link uplink.20 name f0 netns far type ipvlan mode l3\n"
        "route add 192.168.110.0/28 via 172.16.50.11 dev uplink.20\n"
        "route add 2001:db8:110::/68 via 2001:db8:50::11 dev uplink.20\n",
        netns="router",
    )
    batch(
        "link set lo up\nlink set f0 up\naddr add 192.168.110.17/24 dev f0\naddr add 2001:db8:110:0:1000::1/64 dev f0 nodad\n"
        "route add default dev f0\nroute add ::/0 dev f0\n",
        netns="far",
    )
    router_forwards(False)


def test_endpoints_on_two_hosts_reach_each_other_in_l3(host: Host) -> None:
    another_host()
    batch(
        "link add link eth0 name eth0.20 up type vlan id 20\n"
        "addr add 172.16.50.11/22 dev eth0.20\naddr add 2001:db8:50::11/64 dev eth0.20 nodad\n"
        "route add 10.99.0.0/16 via 172.16.50.1 dev eth0.20 proto 110\n"
    )
    before = host.picture()
    network: dict[str, Any] = {"parent": "eth0.20", "ipvlan_mode": "l3", "ipam_config": [OURS, OURS6]}
    host.network("n", **network)
    host.endpoint("web", "n")
    assert host.addresses("eth0", "web") == ["192.168.110.2/24", "2001:db8:110::2/64"]
    assert host.silent("web", "192.168.110.17") and host.silent("web", "2001:db8:110:0:1000::1")

    predicted = host.network("n", check=True, routes=ROUTES)
    assert routes_of_ours() == [("10.99.0.0/16", "172.16.50.1", "eth0.20")]
    result = host.network("n", routes=ROUTES)
    assert result["actions"] == predicted["actions"] and result["networks"] == predicted["networks"]
    assert [(action["action"], list(action["changes"])) for action in result["actions"]] == [("change", ["routes"])]
    wanted = [
        ("192.168.110.16/28", "172.16.50.1", "eth0.20"),
        ("2001:db8:110:0:1000::/68", "2001:db8:50::1", "eth0.20"),
    ]
    by_hand = [("10.99.0.0/16", "172.16.50.1", "eth0.20")]
    assert routes_of_ours() == by_hand + wanted
    assert host.pings("web", "192.168.110.17") and host.pings("web", "2001:db8:110:0:1000::1")
    assert host.pings("far", "192.168.110.2") and host.pings("far", "2001:db8:110::2")
    with writes_counted() as writes:
        assert not host.network("n", **network)["changed"]
    assert writes == []

    # What is gone is put back by the next run, and by the service, which asks nobody.
    command("ip", "route", "del", "192.168.110.16/28")
    (action,) = host.network("n")["actions"]
    assert (action["action"], list(action["changes"])) == ("repair", ["routes"])
    assert routes_of_ours() == by_hand + wanted
    command("ip", "link", "set", "eth0.20", "down")
    command("ip", "link", "set", "eth0.20", "up")
    assert routes_of_ours() == []
    assert restore.main(["--state-dir", str(host.state_dir), "restore"]) == 0
    assert routes_of_ours() == wanted
    batch("addr add 2001:db8:50::11/64 dev eth0.20 nodad\n")
    assert host.pings("web", "192.168.110.17") and host.pings("web", "2001:db8:110:0:1000::1")

    # One that somebody else made for the same subnet is left alone.
    batch(
        "route add 10.99.0.0/16 via 172.16.50.1 dev eth0.20 proto 110\nroute add 10.98.0.0/16 via 172.16.50.9 dev eth0.20\n"
    )
    other = [*ROUTES, {"subnet": "10.98.0.0/16", "via": "172.16.50.1"}]
    assert "the host has another route to 10.98.0.0/16, via 172.16.50.9" in host.refused(
        "vlan_network", name="n", routes=other
    )
    host.network("n", routes=ROUTES[1:])
    assert routes_of_ours() == by_hand + wanted[1:]
    assert host.silent("web", "192.168.110.17") and host.pings("web", "2001:db8:110:0:1000::1")

    host.run("vlan_network", networks=[{"name": "n", "state": "absent", "force": True}])
    assert routes_of_ours() == by_hand
    batch("route del 10.98.0.0/16\n")
    assert host.picture() == before
