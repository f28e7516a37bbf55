"""Networks on a real kernel: the parents that are made, used and left alone, changes, removal, drift.

``looks.done`` runs each task three times: in check mode (what it foretells has to happen, and nothing may change), for
real, and again (nothing may be written).
"""

from __future__ import annotations

import importlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from . import looks
from .conftest import Failed, Host, Killed, at_write, batch, command, ip, kill

NETWORK, ENDPOINT, IPAM = "vlan_network", "vlan_endpoint", "vlan_ipam"
NET10 = {"parent": "eth0.10", "ipam_config": [{"subnet": "172.16.80.0/24", "gateway": "172.16.80.1"}]}
NET20 = {"parent": "eth0.20", "ipam_config": [{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}]}
GATEWAY = "172.16.80.1"


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


def subnet(text: str, **more: Any) -> dict[str, Any]:
    return {"ipam_config": [{"subnet": text, **more}]}


def vlan(host: Host, name: str) -> tuple[str, int, str, bool]:
    """Base, VLAN id, protocol of a sub-interface, and whether it is up."""
    link = host.link(name)
    data = link["linkinfo"]["info_data"]
    assert link["linkinfo"]["info_kind"] == "vlan"
    return link["link"], data["id"], data["protocol"], "UP" in link["flags"]


def pair(host: Host, network: str) -> None:
    host.run(ENDPOINT, endpoints=[{"name": name, "network": network, "netns": name} for name in ("a", "b")])


def settings(host: Host, *names: str) -> list[dict[str, Any]]:
    return [host.link("eth0", name)["linkinfo"] for name in names]


def half_made(host: Host, *networks: dict[str, Any]) -> None:
    """A run was killed when it had made its parents and not yet marked them."""
    with at_write("change_link", kill), pytest.raises(Killed):
        host.run(NETWORK, networks=[{"name": f"n{number}", **net} for number, net in enumerate(networks)])


def not_default(host: Host) -> set[str]:
    return {name for name, link in host.links().items() if link["group"] != "default"}


# --- sub-interfaces that are made ---


def test_a_sub_interface_is_made_shared_and_goes_with_the_last_network(host: Host) -> None:
    before = looks.everything(host)
    first = looks.done(host, NETWORK, name="one", **NET10)
    assert vlan(host, "eth0.10") == ("eth0", 10, "802.1Q", True)
    assert host.link("eth0.10")["ifalias"] == "netops.underlay parent eth0.10"
    assert looks.words_of(first) == ["create parent eth0.10", "create network one"]
    index = host.link("eth0.10")["ifindex"]
    (item,) = first["networks"]
    assert (item["parent_created"], item["vlan_id"], item["vlan_protocol"]) == (True, 10, "802.1q")

    second = looks.done(host, NETWORK, name="two", parent="eth0.10", **subnet("10.77.0.0/24"))
    assert looks.words_of(second) == ["create network two"]
    host.endpoint("a", "one")
    assert host.pings("a", GATEWAY)

    assert looks.words_of(looks.done(host, NETWORK, name="two", state="absent")) == ["remove network two"]
    assert host.link("eth0.10")["ifindex"] == index
    assert host.pings("a", GATEWAY)
    host.endpoint("a", "one", state="absent")
    gone = looks.done(host, NETWORK, name="one", state="absent")
    assert looks.words_of(gone) == ["remove network one", "remove parent eth0.10"]
    assert looks.everything(host) == before


def test_nothing_but_the_sub_interface_is_made(host: Host) -> None:
    before = looks.kernel()[""]
    host.network("net", **NET10)
    after = looks.kernel()[""]
    assert after["links"][:-1] == before["links"]
    assert (after["addresses"], after["routes"]) == (before["addresses"], before["routes"])
    assert set(host.links()) == {"lo", "eth0", "eth0.10"}


def test_many_networks_in_one_task_come_out_in_input_order(host: Host) -> None:
    items = [{"name": f"n{n}", "parent": f"eth0.{n}", **subnet(f"10.{n % 100}.0.0/16")} for n in (30, 7, 4094, 1)]
    result = looks.done(host, NETWORK, networks=items)
    assert [item["name"] for item in result["networks"]] == ["n30", "n7", "n4094", "n1"]
    for n in (30, 7, 4094, 1):
        assert vlan(host, f"eth0.{n}") == ("eth0", n, "802.1Q", True)


# --- links that are not ours ---


@pytest.mark.parametrize(("processors", "ways"), [(1, 1), (8, 64)])
def test_many_sub_interfaces_go_side_by_side_and_what_is_not_ours_stays(
    host: Host, monkeypatch: pytest.MonkeyPatch, processors: int, ways: int
) -> None:
    """Where the kernel has to wait for its other processors; the lab has one, and is told of more."""
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    names = [f"n{number}" for number in range(100, 180)]
    host.run(
        NETWORK, networks=[{"name": name, "parent": f"eth0.{name[1:]}", **subnet("10.1.0.0/16")} for name in names]
    )
    batch(
        "link del eth0.150\nlink add link eth0 name eth0.150 type vlan id 150\nlink add link eth0 name x type vlan id 9\n"
    )
    before = {name: host.link(name) for name in ("eth0", "eth0.150", "x")}
    senders: list[tuple[Any, bool]] = []
    netlink = importlib.import_module(f"{looks.COLLECTION}.module_utils.netlink")
    real = netlink.Channel.send

    def send(channel: Any, requests: Any) -> Any:
        if any(isinstance(request, netlink.DeleteLink) for request in requests):
            senders.append((channel, threading.current_thread() is threading.main_thread()))
        return real(channel, requests)

    monkeypatch.setattr(netlink.Channel, "send", send)
    assert host.run(NETWORK, networks=[{"name": name} for name in names], state="absent")["changed"]
    assert len({channel for channel, _here in senders}) == len(senders) == ways
    assert {here for _channel, here in senders} == {ways == 1}
    assert {name: link for name, link in host.links().items() if name.startswith("eth0") or name == "x"} == before
    batch("link del eth0.150\nlink del x\n")


def test_hand_made_links_of_any_name_are_used_and_never_touched(host: Host) -> None:
    batch(
        "link add link eth0 name eth0.40 type vlan id 40\nlink add link eth0 name foo type vlan id 10\n"
        "link set eth0.40 up\nlink set foo up alias mine\naddr add 10.5.0.1/24 dev foo\n"
    )
    looks.until_settled()
    before = looks.everything(host)
    items = [
        {"name": "forty", "parent": "eth0.40", **subnet("10.77.0.0/24")},
        {"name": "foo", "parent": "foo", **subnet("172.16.80.0/24", gateway=GATEWAY)},
        {"name": "trunk", "parent": "eth0", "driver": "macvlan", **subnet("10.78.0.0/24")},
    ]
    result = looks.done(host, NETWORK, networks=items)
    assert [(item["parent_created"], item["vlan_id"]) for item in result["networks"]] == [
        (False, 40),
        (False, 10),
        (False, None),
    ]
    assert result["warnings"] == []
    assert looks.kernel() == before["kernel"]
    host.endpoint("a", "foo")
    host.endpoint("t", "trunk")
    assert host.pings("a", GATEWAY)
    looks.done(host, NETWORK, name="beside", parent="foo", **subnet("10.79.0.0/24"))
    looks.done(host, NETWORK, name="beside", state="absent")
    assert host.pings("a", GATEWAY)
    looks.done(host, NETWORK, networks=[], purge=True, purge_all=True, force=True)
    assert looks.everything(host) == before


def test_what_only_the_kernel_would_refuse_is_refused_before_the_first_write(host: Host) -> None:
    batch("link property add dev eth0 altname enp3s0\n")
    looks.refused(host, NETWORK, "'enp3s0' is another name of 'eth0'", name="net", parent="enp3s0")
    looks.refused(host, NETWORK, "name 'eth0.20' as parent", name="net", parent="enp3s0.20")
    batch("link property del dev eth0 altname enp3s0\n")
    host.network("net", **NET10)
    batch("link add br7 type bridge\nlink set eth0.10 master br7\n")
    words = "parent 'eth0.10' is a port of the bridge 'br7'; name 'br7' as parent"
    looks.refused(host, ENDPOINT, words, name="a", network="net", netns="a")
    looks.refused(host, NETWORK, words, name="net", **NET10)
    looks.refused(host, NETWORK, words, name="two", parent="eth0.10", **subnet("10.77.0.0/24"))
    looks.refused(host, NETWORK, "its place as a port of 'br7' would be lost", name="net", state="absent")
    batch("link del br7\n")
    looks.done(host, NETWORK, name="net", state="absent")


def test_a_name_that_promises_another_vlan_is_warned_of(host: Host) -> None:
    batch(
        "link add link eth0 name eth0.50 type vlan id 51\nlink add eth0.60 type dummy\n"
        "link add nic1 type dummy\nlink add link nic1 name eth0.70 type vlan id 70\n"
        "link set eth0.50 up\nlink set eth0.60 up\nlink set nic1 up\nlink set eth0.70 up\n"
    )
    items = [{"name": f"n{n}", "parent": f"eth0.{n}", **subnet(f"10.77.{n}.0/24")} for n in (50, 60, 70)]
    warnings = looks.done(host, NETWORK, networks=items)["warnings"]
    assert len(warnings) == 3
    for warning, words in zip(warnings, ("VLAN 51 of 'eth0', not VLAN 50", "no VLAN link", "VLAN 70 of 'nic1'")):
        assert words in warning


def test_one_vlan_under_two_names_is_refused_by_the_name_it_has(host: Host) -> None:
    batch("link add link eth0 name foo type vlan id 40\nlink set foo up\n")
    words = ("parent 'eth0.40' cannot be made", "link 'foo' already carries VLAN 40 of 'eth0'")
    looks.refused(host, NETWORK, *words, name="net", parent="eth0.40", **subnet("10.77.0.0/24"))
    items = [{"name": name, "parent": name, **subnet("10.77.0.0/24")} for name in ("foo", "eth0.40")]
    looks.refused(host, NETWORK, "networks[1] (eth0.40)", *words, networks=items)


def test_what_looks_like_ours_but_is_not_in_the_store_is_left_alone(host: Host) -> None:
    """A link without our mark is used; one with our mark but without a row is somebody's, too. (With no store at all it
    would be taken back.)"""
    host.network("first")
    host.network("first", state="absent")
    batch(
        "link add link eth0 name eth0.10 type vlan id 10\nlink set eth0.10 up\n"
        "link add link eth0 name eth0.20 type vlan id 20\n"
        "link set eth0.20 up alias 'netops.underlay parent eth0.20'\n"
        "link add link eth0 name eth0.30 type vlan id 30\n"
        "link set eth0.30 alias 'netops.underlay parent eth0.30'\n"
    )
    looks.until_settled()
    before = looks.everything(host)
    result = looks.done(host, NETWORK, networks=[{"name": "n10", **NET10}, {"name": "n20", **NET20}])
    assert [item["parent_created"] for item in result["networks"]] == [False, False]
    looks.done(host, NETWORK, networks=[], purge=True, purge_all=True)
    assert looks.everything(host) == before


def test_what_a_kill_left_half_made_is_finished(host: Host) -> None:
    iso = subnet("10.66.0.0/24")
    half_made(host, NET10, NET20, iso)
    names = not_default(host)
    assert len(names) == 3 and {"eth0.10", "eth0.20"} < names
    left = host.links()
    assert all("ifalias" not in left[name] and "UP" not in left[name]["flags"] for name in names)
    text = host.refused(ENDPOINT, name="a", network="n0", netns="a")
    assert "parent 'eth0.10' of network 'n0' is not there (any more); run vlan_network for this network" in text
    # Somebody has found a use for it meanwhile: it is brought to its end, not made anew.
    batch("addr add 10.9.9.9/32 dev eth0.10\n")
    looks.done(host, NETWORK, networks=[{"name": "n0", **NET10}, {"name": "n1", **NET20}, {"name": "n2", **iso}])
    for name in names:
        link = host.link(name)
        assert (link["ifindex"], link["ifalias"]) == (left[name]["ifindex"], f"netops.underlay parent {name}")
        assert "UP" in link["flags"]
    assert not_default(host) == set()
    assert host.addresses("eth0.10") == ["10.9.9.9/32"]
    looks.done(host, NETWORK, networks=[], purge=True, purge_all=True)
    assert not names & set(host.links())


def test_what_a_kill_left_half_made_goes_with_its_network_or_for_another_one(host: Host) -> None:
    half_made(host, NET10, NET20)
    host.run(NETWORK, networks=[{"name": "n0", "state": "absent"}])
    assert not_default(host) == {"eth0.20"}
    host.network("n1", vlan_protocol="802.1ad", force=True)
    assert vlan(host, "eth0.20") == ("eth0", 20, "802.1ad", True)
    assert not_default(host) == set()


def test_what_a_kill_left_half_made_is_still_ours_when_the_store_is_lost(host: Host) -> None:
    half_made(host, NET10)
    shutil.rmtree(host.state_dir)
    host.network("n0", **NET10)
    assert host.link("eth0.10")["ifalias"] == "netops.underlay parent eth0.10"
    assert not_default(host) == set()
    host.network("n0", state="absent")
    assert "eth0.10" not in host.links()


def test_a_link_that_somebody_makes_after_a_kill_or_at_the_last_moment_is_theirs(host: Host) -> None:
    theirs = "link add link eth0 name eth0.10 type vlan id 10\nlink set eth0.10 group 2000000001\n"
    with at_write("create_link", lambda: batch(theirs)), pytest.raises(Failed) as failure:
        host.network("one", **NET10)
    assert (
        "name 'one': make parent 'eth0.10': File exists: another link has taken its name or its VLAN meanwhile; "
        "run the task again" in str(failure.value)
    )
    link = host.link("eth0.10")
    assert "made anew by somebody else" in "".join(host.network("one", **NET10)["warnings"])
    host.network("one", state="absent")
    assert host.link("eth0.10") == link
    command("ip", "link", "del", "eth0.10")


@pytest.mark.parametrize("noticed", [True, False])
def test_a_sub_interface_that_somebody_made_anew_is_no_longer_ours(host: Host, noticed: bool) -> None:
    host.network("net", **NET10)
    batch("link del eth0.10\nlink add link eth0 name eth0.10 type vlan id 10\nlink set eth0.10 up\n")
    looks.until_settled()
    [shown] = host.run("vlan_network_info")["networks"]
    assert (shown["parent_created"], shown["vlan_id"]) == (False, 10)
    before = looks.kernel()
    if noticed:
        warned = host.network("net", **NET10)["warnings"]
        assert any("made anew by somebody else" in text for text in warned)
    gone = looks.done(host, NETWORK, name="net", state="absent")
    assert looks.words_of(gone) == ["remove network net"]
    assert looks.kernel() == before


@pytest.mark.parametrize("new_name", [None, "lan0.10"])
def test_a_base_that_was_renamed_takes_nothing_along(host: Host, new_name: str | None) -> None:
    """The sub-interface, itself renamed or not, serves on; where its network is led to the new name, it goes for another one."""
    host.network("net", **NET10)
    host.endpoint("a", "net")
    renamed = f"link set eth0.10 name {new_name}\n" if new_name else ""
    batch(f"link set eth0 down\n{renamed}link set eth0 name lan0\nlink set lan0 up\n")
    batch(f"link set {new_name or 'eth0.10'} up\n")
    try:
        result = looks.done(host, NETWORK, name="net", **NET10)
        assert looks.words_of(result) == (["repair parent eth0.10"] if new_name else [])
        assert "is called 'lan0' now" in result["warnings"][0] and "name 'lan0.10'" in result["warnings"][0]
        assert host.pings("a", GATEWAY)
        result = looks.done(host, NETWORK, name="net", parent="lan0.10", force=True)
        assert {"create parent lan0.10", "remove parent eth0.10"} <= set(looks.words_of(result))
        assert host.pings("a", GATEWAY)
        looks.done(host, NETWORK, name="net", state="absent", force=True)
        assert set(host.links()) == {"lo", "lan0"}
    finally:
        batch("link set lan0 down\nlink set lan0 name eth0\nlink set eth0 up\n")


@pytest.mark.parametrize("options", [NET10, subnet("10.66.0.0/24")], ids=["sub-interface", "dummy"])
def test_a_parent_of_ours_that_was_renamed_goes_with_its_network(host: Host, options: dict[str, Any]) -> None:
    before = looks.everything(host)
    parent = host.network("net", **options)["networks"][0]["parent"]
    batch(f"link set {parent} down\nlink set {parent} name wan7\nlink set wan7 up\n")
    gone = looks.done(host, NETWORK, name="net", state="absent")
    assert looks.words_of(gone) == ["remove network net", f"remove parent {parent}"]
    assert looks.everything(host) == before


def test_another_tag_is_refused_where_it_would_harm_links_of_others(host: Host) -> None:
    """Also where the task says nothing of the parent."""
    host.network("net", **NET10)
    command("ip", "netns", "add", "foreign")
    batch("link add link eth0.10 name theirs netns foreign type ipvlan mode l2\n")
    words = ("the link 'theirs' (ipvlan) in namespace 'foreign' would be lost",)
    looks.refused(host, NETWORK, *words, name="net", vlan_protocol="802.1ad", force=True)
    batch("link del theirs\n", netns="foreign")
    batch("link add link eth0 name svc type vlan id 10 protocol 802.1ad\n")
    looks.refused(host, NETWORK, "link 'svc' already carries VLAN 10", name="net", vlan_protocol="802.1ad", force=True)
    command("ip", "link", "del", "svc")
    looks.done(host, NETWORK, name="net", vlan_protocol="802.1ad")
    assert vlan(host, "eth0.10") == ("eth0", 10, "802.1ad", True)


# --- no parent ---


@pytest.mark.parametrize("driver", ["ipvlan", "macvlan"])
def test_without_a_parent_a_dummy_is_made_and_nobody_else_is_reached(host: Host, driver: str) -> None:
    before = looks.everything(host)
    options = {"name": "net", "driver": driver, **subnet("172.16.80.0/24", gateway=GATEWAY)}
    result = looks.done(host, NETWORK, **options)
    (dummy,) = (link for link in host.links().values() if link.get("linkinfo", {}).get("info_kind") == "dummy")
    assert ("UP" in dummy["flags"], result["networks"][0]["parent"]) == (True, dummy["ifname"])
    pair(host, "net")
    assert host.default_route("a") == []
    assert host.pings("a", host.addresses("eth0", "b")[0].partition("/")[0])
    assert host.silent("a", GATEWAY)
    # The control: on the trunk's VLAN the same network reaches the gateway.
    looks.done(host, NETWORK, **options, parent="eth0.10", force=True)
    assert host.pings("a", GATEWAY)
    assert dummy["ifname"] not in host.links()
    looks.done(host, NETWORK, name="net", state="absent", force=True)
    assert looks.everything(host) == before


def test_internal_uses_a_dummy_and_says_that_the_parent_is_not_used(host: Host) -> None:
    result = looks.done(host, NETWORK, name="net", internal=True, **NET10)
    assert any("parent 'eth0.10' is not used" in text for text in result["warnings"])
    kinds = {name: link.get("linkinfo", {}).get("info_kind") for name, link in host.links().items()}
    assert "eth0.10" not in kinds
    assert sorted(kind for kind in kinds.values() if kind) == ["dummy", "veth"]


def test_isolated_l3_has_a_default_route_by_the_link(host: Host) -> None:
    host.network("net", ipvlan_mode="l3", **subnet("10.77.0.0/24"))
    pair(host, "net")
    assert host.default_route("a") == [(None, "eth0")]
    assert host.pings("a", host.addresses("eth0", "b")[0].partition("/")[0])


# --- subnets ---


def test_default_pools_give_one_subnet_after_the_other(host: Host) -> None:
    command("ip", "addr", "add", "172.20.7.1/24", "dev", "eth0")  # what the host routes is never given
    try:
        result = looks.done(host, NETWORK, networks=[{"name": name} for name in ("a", "b", "c")])
        found = [item["ipam_config"] for item in result["networks"]]
        assert [(config[0]["subnet"], config[0]["gateway"]) for config in found] == [
            ("172.18.0.0/16", "172.18.0.1"),
            ("172.19.0.0/16", "172.19.0.1"),
            ("172.21.0.0/16", "172.21.0.1"),
        ]
        host.endpoint("x", "a")
        assert host.addresses("eth0", "x") == ["172.18.0.2/16"]
        host.network("b", state="absent")
        again = looks.done(host, NETWORK, name="d")["networks"][0]["ipam_config"]
        assert again[0]["subnet"] == "172.19.0.0/16"
    finally:
        command("ip", "addr", "del", "172.20.7.1/24", "dev", "eth0")


def test_host_bits_are_cleared_with_a_warning(host: Host) -> None:
    result = looks.done(host, NETWORK, name="net", parent="eth0.20", **subnet("172.16.50.0/22", gateway="172.16.50.1"))
    assert result["networks"][0]["ipam_config"][0]["subnet"] == "172.16.48.0/22"
    (warning,) = result["warnings"]
    assert "172.16.50.0/22" in warning and "172.16.48.0/22" in warning
    host.endpoint("a", "net")
    assert host.addresses("eth0", "a") == ["172.16.48.1/22"]
    assert host.pings("a", "172.16.50.1")


@pytest.mark.parametrize(
    ("given", "gateway", "first"),
    [
        ({"subnet": "10.77.0.0/24"}, "10.77.0.1", "10.77.0.2/24"),
        ({"subnet": "10.77.0.0/24", "gateway": "10.77.0.254"}, "10.77.0.254", "10.77.0.1/24"),
        ({"subnet": "10.77.0.0/24", "gateway": "none"}, None, "10.77.0.1/24"),
        ({"subnet": "10.77.0.0/24", "ip_range": "10.77.0.128/25"}, "10.77.0.1", "10.77.0.128/24"),
        (
            {"subnet": "10.77.0.0/24", "ip_range": "10.77.0.128/25", "aux_addresses": {"nas": "10.77.0.128"}},
            "10.77.0.1",
            "10.77.0.129/24",
        ),
        ({"subnet": "10.77.0.0/31"}, None, "10.77.0.0/31"),
    ],
)
def test_what_a_subnet_gives_out(host: Host, given: dict[str, Any], gateway: str | None, first: str) -> None:
    host.network("net", parent="eth0.10", ipam_config=[given])
    host.endpoint("a", "net")
    assert host.addresses("eth0", "a") == [first]
    assert host.default_route("a") == ([(gateway, "eth0")] if gateway else [])


# --- the same again ---


def test_an_option_that_is_left_out_does_not_change_anything(host: Host) -> None:
    host.run(
        NETWORK,
        name="net",
        parent="eth0.10",
        ipvlan_mode="l3",
        ipvlan_flag="vepa",
        mtu=1400,
        labels={"owner": "netops"},
        ipam_config=[{"subnet": "10.77.0.0/24", "ip_range": "10.77.0.128/25", "aux_addresses": {"nas": "10.77.0.9"}}],
    )
    before = looks.everything(host)
    result = looks.done(host, NETWORK, name="net")
    assert (result["changed"], result["diff"]) == (False, {"before": {}, "after": {}})
    (item,) = result["networks"]
    assert (item["mode"], item["flag"], item["mtu"], item["labels"]) == ("l3", "vepa", 1400, {"owner": "netops"})
    assert looks.everything(host) == before


def test_the_info_module_shows_what_the_task_returned(host: Host) -> None:
    result = host.run(NETWORK, networks=[{"name": "n20", **NET20}, {"name": "n10", **NET10}])
    shown = host.run("vlan_network_info")["networks"]
    assert shown == sorted(result["networks"], key=lambda item: item["name"])
    assert host.run("vlan_network_info", name="n10")["networks"] == [result["networks"][1]]
    assert host.run("vlan_network_info", name="n30")["networks"] == []


# --- changes in place ---


def test_mtu_changes_under_the_endpoints(host: Host) -> None:
    host.network("net", **NET10)
    pair(host, "net")
    indexes = [host.link("eth0", name)["ifindex"] for name in ("a", "b")]
    result = looks.done(host, NETWORK, name="net", mtu=1400)
    assert [host.link("eth0", name)["mtu"] for name in ("a", "b")] == [1400, 1400]
    assert [host.link("eth0", name)["ifindex"] for name in ("a", "b")] == indexes
    assert (host.link("eth0.10")["mtu"], host.link("eth0")["mtu"]) == (1500, 1500)
    assert {"before": 1500, "after": 1400} in [entry["changes"].get("mtu") for entry in result["actions"]]
    looks.done(host, NETWORK, name="net", mtu=0)
    assert [host.link("eth0", name)["mtu"] for name in ("a", "b")] == [1500, 1500]
    assert host.pings("a", GATEWAY)


def test_ipvlan_mode_and_flag_change_under_the_endpoints(host: Host) -> None:
    host.network("net", **NET10)
    pair(host, "net")
    indexes = [host.link("eth0", name)["ifindex"] for name in ("a", "b")]
    looks.done(host, NETWORK, name="net", ipvlan_mode="l3", ipvlan_flag="private")
    for info in settings(host, "a", "b"):
        assert (info["info_data"]["mode"], info["info_data"].get("private")) == ("l3", True)
    assert host.default_route("a") == host.default_route("b") == [(None, "eth0")]
    looks.done(host, NETWORK, name="net", ipvlan_mode="l2", ipvlan_flag="bridge")
    for info in settings(host, "a", "b"):
        assert (info["info_data"]["mode"], info["info_data"].get("private")) == ("l2", None)
    assert host.default_route("a") == host.default_route("b") == [(GATEWAY, "eth0")]
    assert [host.link("eth0", name)["ifindex"] for name in ("a", "b")] == indexes
    assert host.pings("a", GATEWAY)


def test_both_networks_of_a_parent_change_their_mode_together(host: Host) -> None:
    """The kernel has one mode for all ipvlans of a parent, so one of two cannot change it alone."""
    items = [{"name": "one", **NET10}, {"name": "two", "parent": "eth0.10", **subnet("10.77.0.0/24")}]
    host.run(NETWORK, networks=items)
    host.run(ENDPOINT, endpoints=[{"name": n, "network": net, "netns": n} for n, net in (("a", "one"), ("b", "two"))])
    looks.refused(host, NETWORK, "network 'two' in l2/bridge", name="one", ipvlan_mode="l3s")
    looks.done(host, NETWORK, networks=[{**item, "ipvlan_mode": "l3s"} for item in items])
    assert [info["info_data"]["mode"] for info in settings(host, "a", "b")] == ["l3s", "l3s"]


def test_labels_and_subnets_change_without_touching_a_link(host: Host) -> None:
    host.network("net", **NET10)
    pair(host, "net")
    before = looks.kernel()
    wider = {"ipam_config": [*NET10["ipam_config"], {"subnet": "10.77.0.0/24"}]}
    result = looks.done(host, NETWORK, name="net", labels={"site": "north"}, **wider)
    assert looks.words_of(result) == ["change network net"]
    assert looks.kernel() == before


# --- rebuilding ---


@pytest.mark.parametrize(
    ("change", "word"),
    [({"driver": "macvlan"}, "driver"), ({"parent": "eth0.30"}, "parent")],
)
def test_what_needs_new_links_is_refused_and_with_force_puts_every_endpoint_back(
    host: Host, change: dict[str, str], word: str
) -> None:
    host.network("net", **NET10)
    pair(host, "net")
    held = {name: host.addresses("eth0", name) for name in ("a", "b")}
    looks.refused(
        host, NETWORK, f"{word} of network 'net'", "2 endpoints (a, b)", "force to true", name="net", **change
    )
    assert host.pings("a", GATEWAY)
    result = looks.done(host, NETWORK, name="net", force=True, **change)
    assert "rebuild network net" in looks.words_of(result)
    assert {name: host.addresses("eth0", name) for name in ("a", "b")} == held
    assert host.default_route("a") == [(GATEWAY, "eth0")]
    parent = change.get("parent", "eth0.10")
    for name in ("a", "b"):
        link = host.link("eth0", name)
        assert link["linkinfo"]["info_kind"] == change.get("driver", "ipvlan")
        assert link["link_index"] == host.link(parent)["ifindex"]
    assert host.pings("a", held["b"][0].partition("/")[0])
    if word == "parent":
        assert "eth0.10" not in host.links()
        assert host.silent("a", GATEWAY)  # VLAN 30 has another gateway
    else:
        assert host.pings("a", GATEWAY)


def test_a_subnet_in_use_is_given_anew_with_force_only(host: Host) -> None:
    host.network("net", **NET10)
    pair(host, "net")
    words = ("172.16.80.2", "endpoint 'a' of network 'net'", "force to true")
    looks.refused(host, NETWORK, *words, name="net", **subnet("10.77.0.0/24"))
    looks.done(host, NETWORK, name="net", force=True, **subnet("10.77.0.0/24"))
    assert [host.addresses("eth0", name) for name in ("a", "b")] == [["10.77.0.2/24"], ["10.77.0.3/24"]]
    assert host.default_route("a") == [("10.77.0.1", "eth0")]
    assert host.pings("a", "10.77.0.3")


# --- removal ---


def test_purge_removes_what_is_not_in_the_list_and_no_more(host: Host) -> None:
    batch("link add link eth0 name eth0.40 type vlan id 40\nlink set eth0.40 up\n")
    items = [{"name": "n10", **NET10}, {"name": "n20", **NET20}, {"name": "n40", "parent": "eth0.40"}, {"name": "iso"}]
    host.run(NETWORK, networks=items)
    looks.refused(host, NETWORK, "'networks' is empty", "purge_all to true", networks=[], purge=True)
    result = looks.done(host, NETWORK, networks=items[:1], purge=True)
    assert set(host.links()) == {"lo", "eth0", "eth0.10", "eth0.40"}
    assert sorted(word for word in looks.words_of(result) if "network" in word) == [
        "remove network iso",
        "remove network n20",
        "remove network n40",
    ]
    looks.done(host, NETWORK, networks=[], purge=True, purge_all=True)
    assert set(host.links()) == {"lo", "eth0", "eth0.40"}
    assert looks.rows(host) == {}


def test_a_network_in_use_goes_with_force_and_its_endpoints_with_it(host: Host) -> None:
    before = looks.everything(host)
    host.run(NETWORK, networks=[{"name": "n10", **NET10}, {"name": "n20", **NET20}])
    pair(host, "n10")
    host.endpoint("c", "n20")
    host.run(IPAM, network="n10", owner="vm-1")
    words = ("2 endpoints (a, b)", "force to true")
    looks.refused(host, NETWORK, *words, name="n10", state="absent")
    looks.refused(host, NETWORK, *words, networks=[{"name": "n20"}], purge=True)
    result = looks.done(host, NETWORK, name="n10", state="absent", force=True)
    assert {"remove endpoint n10/a", "remove endpoint n10/b", "remove parent eth0.10"} <= set(looks.words_of(result))
    assert host.namespaces() == {"switch", "router", "c"}
    assert host.pings("c", "172.16.50.1")
    looks.done(host, NETWORK, name="n20", state="absent", force=True)
    assert looks.everything(host) == before


def test_absent_is_no_change_where_there_is_nothing(host: Host) -> None:
    result = looks.done(host, NETWORK, name="net", state="absent")
    assert (result["changed"], result["networks"][0]["state"]) == (False, "absent")


# --- drift ---


def test_a_sub_interface_that_was_set_down_is_set_up_again(host: Host) -> None:
    host.network("net", **NET10)
    pair(host, "net")
    command("ip", "link", "set", "eth0.10", "down")
    assert host.silent("a", GATEWAY)
    result = looks.done(host, NETWORK, name="net", **NET10)
    assert "repair parent eth0.10" in looks.words_of(result)
    assert vlan(host, "eth0.10") == ("eth0", 10, "802.1Q", True)
    assert host.pings("a", GATEWAY)


@pytest.mark.parametrize("driver", ["ipvlan", "macvlan"])
def test_a_deleted_sub_interface_comes_back_with_every_endpoint(host: Host, driver: str) -> None:
    host.network("net", driver=driver, **NET10)
    pair(host, "net")
    batch("addr add 10.9.9.9/32 dev lo\n", netns="a")
    held = {name: host.addresses("eth0", name) for name in ("a", "b")}
    command("ip", "link", "del", "eth0.10")
    assert "eth0" not in host.links("a")
    result = looks.done(host, NETWORK, name="net", **NET10)
    assert {"repair parent eth0.10", "repair endpoint net/a", "repair endpoint net/b"} <= set(looks.words_of(result))
    assert {name: host.addresses("eth0", name) for name in ("a", "b")} == held
    assert host.default_route("b") == [(GATEWAY, "eth0")]
    assert "10.9.9.9/32" in host.addresses("lo", "a")
    assert host.pings("a", GATEWAY)


def test_a_deleted_dummy_comes_back_with_its_mtu(host: Host) -> None:
    host.network("net", mtu=1300, **subnet("10.77.0.0/24"))
    pair(host, "net")
    (dummy,) = (name for name in host.links() if name not in ("lo", "eth0"))
    command("ip", "link", "set", dummy, "mtu", "1400")
    assert f"repair parent {dummy}" in looks.words_of(looks.done(host, NETWORK, name="net"))
    assert host.link(dummy)["mtu"] == 1300
    command("ip", "link", "del", dummy)
    looks.done(host, NETWORK, name="net")
    assert [host.link(dummy)["mtu"], host.link("eth0", "a")["mtu"]] == [1300, 1300]
    assert host.pings("a", "10.77.0.3")


def test_a_base_that_is_down_is_warned_of_and_left_down(host: Host) -> None:
    command("ip", "link", "set", "eth0", "down")
    result = looks.done(host, NETWORK, name="net", **NET10)
    assert any("link 'eth0' is down" in text for text in result["warnings"])
    assert "UP" not in host.link("eth0")["flags"]
    command("ip", "link", "set", "eth0", "up")
    assert "link 'eth0' is down" not in str(host.network("net", **NET10)["warnings"])
    host.endpoint("a", "net")
    assert host.pings("a", GATEWAY)


def test_a_hand_made_parent_that_is_down_is_warned_of_and_left_down(host: Host) -> None:
    batch("link add link eth0 name foo type vlan id 10\n")
    result = looks.done(host, NETWORK, name="net", **{**NET10, "parent": "foo"})
    assert any("link 'foo' is down" in text for text in result["warnings"])
    assert "UP" not in host.link("foo")["flags"]


# --- l3 ---


def test_l3_warns_of_what_the_host_has_to_do(host: Host) -> None:
    """Per case: no address on the parent; an address, but no way out by it; both."""
    options = {"name": "net", "ipvlan_mode": "l3", **NET10}
    warned = looks.done(host, NETWORK, **options)["warnings"]
    assert any(f"gateway {GATEWAY} is ignored in mode l3" in text for text in warned)
    assert any("parent 'eth0.10' has no IPv4 address" in text for text in warned)
    command("ip", "addr", "add", "10.5.0.2/24", "dev", "eth0.10")
    warned = host.run(NETWORK, **options)["warnings"]
    assert any("no IPv4 default route by parent 'eth0.10'" in text for text in warned)
    command("ip", "route", "add", "default", "via", "10.5.0.1", "dev", "eth0.10")
    warned = host.run(NETWORK, **options)["warnings"]
    assert not any("eth0.10" in text for text in warned)


def test_l3_reaches_out_where_the_host_routes(host: Host) -> None:
    """A remote host reaches endpoints by the host's address on the parent; without the remote's route it does not."""
    host.network("net", parent="eth0.10", ipvlan_mode="l3", **subnet("10.77.0.0/24"))
    host.endpoint("a", "net", ip="10.77.0.5")
    batch("addr add 172.16.80.77/24 dev eth0.10\nroute add default via 172.16.80.1 dev eth0.10\n")
    assert host.silent("a", GATEWAY)
    batch("route add 10.77.0.0/24 via 172.16.80.77\n", netns="router")
    try:
        assert host.pings("a", GATEWAY)
        assert host.pings("router", "10.77.0.5")
        assert ip("route", "show", "10.77.0.0/24") == []
    finally:
        batch("route del 10.77.0.0/24\n", netns="router")
