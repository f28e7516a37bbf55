# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``host: true``: the host reaches the endpoints of a network, and keeps its own LAN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import looks
from .conftest import Host, command, ip

LAN = {
    "parent": "eth0",
    "ipam_config": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.128/25"}],
}


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


def host_pings(address: str, wait: float = 1) -> bool:
    return any(command("ping", "-c1", f"-W{wait}", address, check=False).returncode == 0 for _try in range(3))


def host_is_refused(address: str) -> bool:
    return command("ping", "-c2", "-i0.2", "-W0.4", address, check=False).returncode != 0


def way_to(address: str) -> str:
    return ip("route", "get", address)[0]["dev"]


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_the_host_reaches_its_endpoints_on_its_own_lan(host: Host, driver: str) -> None:
    before = looks.everything(host)
    host.network("db_net", driver=driver, **LAN)
    host.endpoint("db1", "db_net")
    one, two = "192.168.1.128", "192.168.1.130"
    assert host_is_refused(one)
    host.endpoint("gate", "db_net", host=True)
    assert host_pings(one) and host.pings("db1", "192.168.1.129")
    # Its own LAN is as it was: the subnet's route, and the machines on it.
    assert (way_to("192.168.1.1"), way_to("192.168.1.77"), way_to(one)) == ("eth0", "eth0", "underlay0")
    assert host_pings("192.168.1.1") and host.pings("router", "192.168.1.250")
    assert not [route for route in host.routes() if route["dst"] == "192.168.1.0/24" and route["dev"] != "eth0"]
    # One that comes later, and one that goes.
    host.endpoint("db2", "db_net")
    assert host_pings(two)
    host.endpoint("db1", "db_net", state="absent")
    assert [r["dst"] for r in host.routes() if r["dev"] == "underlay0"] == [two]
    # Drift.
    command("ip", "route", "del", two)
    result = host.endpoint("gate", "db_net", host=True)
    assert [(a["action"], a["name"]) for a in result["actions"]] == [("repair", "db_net/gate")]
    assert host_pings(two)
    assert not host.endpoint("gate", "db_net", host=True)["changed"]
    host.run("vlan_network", networks=[{"name": "db_net", "state": "absent", "force": True}])
    assert looks.everything(host) == before


def test_the_host_answers_there_for_its_own_address_alone(host: Host) -> None:
    host.network("db_net", driver="macvlan", **LAN)
    host.run(
        "vlan_endpoint",
        network="db_net",
        endpoints=[{"name": "db1", "netns": "db1"}, {"name": "gate", "host": True, "ifname": "lan0"}],
    )
    # The control: through the link's own address; the card's address stays unreachable, as Docker documents.
    assert host.pings("db1", "192.168.1.129")
    assert host.silent("db1", "192.168.1.250")
    # A machine on the LAN keeps the card's MAC for the card's address.
    host.pings("router", "192.168.1.250")
    (neighbour,) = [n for n in ip("neigh", netns="router") if n["dst"] == "192.168.1.250"]
    assert neighbour["lladdr"] == host.link("eth0")["address"]


def test_dual_stack_in_l3_and_a_warning_where_it_cannot_work(host: Host) -> None:
    subnets: list[Any] = [{"subnet": "10.77.1.0/24"}, {"subnet": "2001:db8:77::/64"}]
    host.network("net", parent="eth0.10", ipvlan_mode="l3", ipam_config=subnets)
    pair = [{"name": "a", "network": "net", "netns": "a"}, {"name": "gate", "network": "net", "host": True}]
    assert host.run("vlan_endpoint", endpoints=pair)["warnings"] == []
    assert host_pings("10.77.1.2") and host_pings("2001:db8:77::2")
    host.network("net", ipvlan_flag="private")
    (warning,) = host.run("vlan_endpoint", endpoints=pair)["warnings"]
    assert "the host does not reach its endpoints" in warning
    assert host_is_refused("10.77.1.2")
