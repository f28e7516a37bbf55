# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's own default route and the connection that Ansible came in on: what would cut them is refused, and ``force``
shows that it would have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import looks
from .conftest import Host, batch, command

NETWORK, ENDPOINT = "vlan_network", "vlan_endpoint"
VLAN20: dict[str, Any] = {
    "parent": "eth0.20",
    "ipam_config": [{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}],
}
LAN: dict[str, Any] = {
    "parent": "eth0",
    "ipam_config": [{"subnet": "192.168.1.0/24", "gateway": "192.168.1.1", "ip_range": "192.168.1.248/29"}],
}
DEFAULT = "would cut the host's IPv4 default route via 172.16.50.1"
CONNECTION = "would cut the connection that Ansible came in on"


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    yield Host(tmp_path / "state")
    command("ip", "route", "flush", "default", check=False)
    looks.tidy()


def reaches(address: str) -> bool:
    return any(command("ping", "-c1", "-W1", address, check=False).returncode == 0 for _try in range(3))


def led_over(link: str) -> None:
    """The host's default route, over a link that gets an address on VLAN 20."""
    batch(f"addr add 172.16.48.250/22 dev {link}\nroute add default via 172.16.50.1\n")
    looks.until_settled()


def came_in(monkeypatch: pytest.MonkeyPatch, client: str, local: str) -> None:
    monkeypatch.setenv("SSH_CONNECTION", f"{client} 50022 {local} 22")


def test_a_sub_interface_of_ours_that_carries_the_default_route(host: Host) -> None:
    host.network("net", **VLAN20)
    led_over("eth0.20")
    looks.refused(host, NETWORK, "name 'net': removing parent 'eth0.20'", DEFAULT, name="net", state="absent")
    everything = {"networks": [], "purge": True, "purge_all": True, "force": True}
    looks.refused(host, NETWORK, "network 'net' (purge)", DEFAULT, **everything)
    looks.refused(host, NETWORK, DEFAULT, name="net", parent="eth0")
    assert reaches("10.1.100.1")
    # The control: it would have been cut. Another network of the task does not matter.
    asked = [{"name": "net", "state": "absent", "force": True}, {"name": "other", "state": "absent"}]
    result = looks.done(host, NETWORK, networks=asked)
    assert [DEFAULT.replace("would cut", "cuts") in warning for warning in result["warnings"]] == [True]
    assert not reaches("10.1.100.1")


def test_a_sub_interface_that_was_renamed_keeps_its_name_as_long_as_it_carries_the_default_route(host: Host) -> None:
    host.network("net", **VLAN20)
    batch("link set eth0.20 down\nlink set eth0.20 name wan7\nlink set wan7 up\n")
    led_over("wan7")
    looks.refused(host, NETWORK, "giving parent 'wan7' its name 'eth0.20' back", DEFAULT, name="net", **VLAN20)
    assert reaches("10.1.100.1")
    # The control: the kernel takes the route away while the link is down.
    result = looks.done(host, NETWORK, name="net", force=True, **VLAN20)
    assert looks.words_of(result) == ["repair parent eth0.20"]
    assert not reaches("10.1.100.1")


def test_the_connection_that_ansible_came_in_on(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.network("net", **VLAN20)
    batch("addr add 172.16.48.250/22 dev eth0.20\nroute add 10.1.100.1/32 via 172.16.50.1\n")
    looks.until_settled()
    # To an address on the link that would go.
    came_in(monkeypatch, "172.16.50.1", "172.16.48.250")
    looks.refused(host, NETWORK, CONNECTION, "(to 172.16.48.250)", name="net", state="absent")
    # To another address, but what is answered leaves by it.
    came_in(monkeypatch, "10.1.100.1", "192.168.1.250")
    looks.refused(host, NETWORK, CONNECTION, "(from 10.1.100.1)", name="net", state="absent")
    # By another link altogether.
    came_in(monkeypatch, "192.168.1.1", "192.168.1.250")
    looks.done(host, NETWORK, name="net", state="absent")


def test_the_hosts_own_endpoint(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.network("net", **VLAN20)
    host.endpoint("gate", "net", host=True)
    came_in(monkeypatch, "172.16.50.1", "172.16.48.1")
    words = (CONNECTION, "(to 172.16.48.1)", "force to true for endpoint 'gate'")
    looks.refused(host, ENDPOINT, "removing its link 'underlay0'", *words, name="gate", network="net", state="absent")
    looks.refused(host, ENDPOINT, *words, network="net", endpoints=[], purge=True)
    looks.refused(host, NETWORK, CONNECTION, networks=[{"name": "net", "state": "absent"}], force=True)
    other = [{"name": "gate", "host": True, "ipv4_address": "172.16.48.9"}]
    looks.refused(host, ENDPOINT, "changing its link", *words, network="net", endpoints=other)
    # What does not cut it is done.
    host.endpoint("web1", "net")
    host.endpoint("web1", "net", state="absent")
    looks.done(host, ENDPOINT, name="gate", network="net", state="absent", force=True)
    assert "underlay0" not in host.links()


def test_passthru_on_the_card_that_the_host_is_reached_by(host: Host) -> None:
    host.network("net", driver="macvlan", macvlan_mode="passthru", **LAN)
    command("ip", "route", "add", "default", "via", "192.168.1.1")
    asked = {"name": "a", "network": "net", "netns": "a", "ip": "192.168.1.251"}
    words = ("macvlan passthru, which takes all that comes in on 'eth0' for itself, would cut", "via 192.168.1.1")
    looks.refused(host, ENDPOINT, *words, **asked)
    assert reaches("192.168.1.1")
    looks.done(host, ENDPOINT, **asked, force=True)
    assert not reaches("192.168.1.1")
    looks.done(host, ENDPOINT, name="a", network="net", state="absent")
    assert reaches("192.168.1.1")


def test_a_sub_interface_that_would_take_its_vlan_from_the_hosts_bridge(host: Host) -> None:
    batch(
        "link add br0 type bridge\nlink set eth0 master br0\nlink set br0 up\n"
        "link add link br0 name br0.20 type vlan id 20\nlink set br0.20 up\n"
    )
    led_over("br0.20")
    assert reaches("10.1.100.1")
    words = "making parent 'eth0.20', which takes VLAN 20 from what 'eth0' is a port of,"
    looks.refused(host, NETWORK, words, DEFAULT, name="net", **VLAN20)
    assert reaches("10.1.100.1")
    host.network("net", force=True, **VLAN20)
    # Until it has to ask for the gateway's MAC address again it still gets through: the answer comes to eth0.20.
    command("ip", "neigh", "flush", "dev", "br0.20")
    assert not reaches("10.1.100.1")
    host.network("net", state="absent")
    assert reaches("10.1.100.1")


def test_an_address_that_is_the_hosts_own(host: Host) -> None:
    host.network("net", **LAN)
    words = ("address 192.168.1.250 cannot be used: it is the host's own on 'eth0'", "aux_addresses")
    looks.refused(host, ENDPOINT, *words, name="a", network="net", netns="a", ip="192.168.1.250")
    pair = [{"name": name, "netns": name} for name in ("a", "b", "c")]
    looks.refused(host, ENDPOINT, "endpoints[2] (c)", *words, network="net", endpoints=pair)
    host.run(ENDPOINT, network="net", endpoints=pair[:2])
