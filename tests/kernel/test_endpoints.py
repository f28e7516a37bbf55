"""Endpoints on a real kernel: what they get, that it stays, that drift is mended, and that nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import apply, netlink

from .conftest import Failed, Killed, at_write, batch, command, ip, kill, writes_counted

NET20 = {"parent": "eth0.20", "ipam_config": [{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}]}
NET10 = {"parent": "eth0.10", "ipam_config": [{"subnet": "172.16.80.0/24"}]}
DUAL = {
    "parent": "eth0.30",
    "ipam_config": [{"subnet": "10.1.0.0/16"}, {"subnet": "2001:db8:abc9::/64", "gateway": "2001:db8:abc9::22"}],
}


@pytest.fixture
def sleeper():
    """A process in a network namespace of its own, without a name."""
    process = subprocess.Popen(["unshare", "-n", "sleep", "600"])
    command(
        "sh", "-c", f'until [ "$(readlink /proc/{process.pid}/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done'
    )
    yield process.pid
    process.kill()
    process.wait()


def own(host, netns, name="eth0"):
    """What a link has, in the words of ``ip``."""
    link = host.link(name, netns)
    return link["linkinfo"]["info_kind"], link["mtu"], "UP" in link["flags"], host.addresses(name, netns)


# --- what an endpoint gets ---


def test_a_namespace_becomes_a_machine_on_the_vlan(host):
    host.network("vlan20", **NET20)
    host.endpoint("web1", "vlan20")
    host.endpoint("web2", "vlan20")
    assert own(host, "web1") == ("ipvlan", 1500, True, ["172.16.48.1/22"])
    assert own(host, "web2") == ("ipvlan", 1500, True, ["172.16.48.2/22"])
    assert host.default_route("web1") == [("172.16.50.1", "eth0")]
    assert "UP" in host.link("lo", "web1")["flags"]
    assert host.link("eth0", "web1")["ifalias"] == "netops.underlay endpoint vlan20/web1"
    assert host.pings("web1", "172.16.48.2") and host.pings("web1", "172.16.50.1")


def test_check_mode_predicts_exactly_what_then_happens(host):
    host.network("vlan30", driver="macvlan", **DUAL)
    items = [
        {"name": "a", "network": "vlan30", "netns": "a"},
        {
            "name": "b",
            "network": "vlan30",
            "netns": "b",
            "ipv4_address": "10.1.7.7",
            "ipv6_address": "2001:db8:abc9::7",
        },
        {"name": "c", "network": "vlan30", "netns": "b", "ifname": "lan0", "default_route": False},
    ]
    before = host.picture()
    predicted = host.run("vlan_endpoint", check=True, endpoints=items)
    assert host.picture() == before
    real = host.run("vlan_endpoint", endpoints=items)
    for key in ("changed", "actions", "diff", "endpoints", "warnings"):
        assert predicted[key] == real[key], key
    for state in ("present", "absent"):
        change = [{**item, "ipv4_address": f"10.1.9.{n}", "state": state} for n, item in enumerate(items, 1)]
        predicted = host.run("vlan_endpoint", check=True, endpoints=change)
        real = host.run("vlan_endpoint", endpoints=change)
        assert real["changed"]
        for key in ("changed", "actions", "diff", "endpoints", "warnings"):
            assert predicted[key] == real[key], (state, key)


def test_dual_stack_addresses_and_routes_of_both_families(host):
    host.network("v6", **DUAL)
    host.endpoint("a", "v6")
    assert host.addresses("eth0", "a") == ["10.1.0.2/16", "2001:db8:abc9::1/64"]
    assert host.default_route("a", 4) == [("10.1.0.1", "eth0")]
    assert host.default_route("a", 6) == [("2001:db8:abc9::22", "eth0")]
    batch("addr add 2001:db8:abc9::22/64 dev uplink.30 nodad\n", netns="router")
    assert host.pings("a", "2001:db8:abc9::22")


def test_without_an_ipv6_subnet_the_link_has_no_ipv6_at_all(host):
    host.network("vlan20", **NET20)
    host.endpoint("web1", "vlan20")
    assert not [
        i for e in ip("addr", netns="web1") for i in e["addr_info"] if i["family"] == "inet6" and e["ifname"] != "lo"
    ]


def test_macvlan_mac_follows_the_address_and_can_be_asked_for(host):
    host.network("pub", driver="macvlan", parent="eth0", ipam_config=[{"subnet": "172.16.86.0/24"}])
    host.endpoint("a", "pub")
    host.endpoint("b", "pub", mac_address="02-42-C0-A8-14-0A")
    assert host.link("eth0", "a")["address"] == "02:42:ac:10:56:02"
    assert host.link("eth0", "b")["address"] == "02:42:c0:a8:14:0a"
    host.endpoint("b", "pub")
    assert host.link("eth0", "b")["address"] == "02:42:c0:a8:14:0a"
    host.endpoint("a", "pub", ipv4_address="172.16.86.77")
    assert host.link("eth0", "a")["address"] == "02:42:ac:10:56:4d"
    assert host.addresses("eth0", "a") == ["172.16.86.77/24"]


def test_several_endpoints_in_one_namespace_share_one_default_route(host):
    host.run("vlan_network", networks=[{"name": "vlan10", **NET10}, {"name": "vlan20", **NET20}])
    host.run(
        "vlan_endpoint",
        endpoints=[{"name": "x", "network": network, "netns": "x"} for network in ("vlan20", "vlan10")],
    )
    assert host.default_route("x") == [("172.16.50.1", "eth0")]
    assert host.addresses("eth1", "x") == ["172.16.80.2/24"]
    assert not host.run("vlan_endpoint", endpoints=[{"name": "x", "network": "vlan10", "netns": "x"}])["changed"]
    assert "default_route" in host.refused("vlan_endpoint", name="x", network="vlan10", netns="x", default_route=True)


def test_a_namespace_with_a_default_route_keeps_it(host):
    host.network("vlan20", **NET20)
    command("ip", "netns", "add", "web1")
    batch(
        "link add dum0 type dummy\nlink set dum0 up\naddr add 10.99.0.1/24 dev dum0\nroute add default via 10.99.0.9\n",
        netns="web1",
    )
    host.endpoint("web1", "vlan20")
    assert host.default_route("web1") == [("10.99.0.9", "dum0")]
    assert host.pings("web1", "172.16.50.1")


# --- targets ---


def test_by_pid_and_by_path(host, sleeper):
    host.network("vlan20", **NET20)
    host.endpoint("by-pid", "vlan20", pid=sleeper)
    host.endpoint("by-path", "vlan20", netns_path=f"/proc/{sleeper}/ns/net")
    shown = command("nsenter", "-t", str(sleeper), "-n", "ip", "-br", "addr").stdout
    assert "172.16.48.1/22" in shown and "172.16.48.2/22" in shown and "eth1" in shown
    assert not host.endpoint("by-pid", "vlan20", pid=sleeper)["changed"]


def test_an_endpoint_whose_process_ended_waits_and_can_be_removed(host, sleeper):
    host.network("vlan20", **NET20)
    host.endpoint("p", "vlan20", pid=sleeper)
    os.kill(sleeper, signal.SIGKILL)
    os.waitpid(sleeper, 0)
    assert "does not exist" in host.refused("vlan_endpoint", name="p", network="vlan20", pid=sleeper)
    [shown] = host.run("vlan_endpoint_info")["endpoints"]
    assert (shown["state"], shown["ipv4"]["address"]) == ("waiting", "172.16.48.1")
    host.endpoint("other", "vlan20")
    assert host.addresses("eth0", "other") == ["172.16.48.2/22"]
    assert host.endpoint("p", "vlan20", state="absent")["changed"]
    assert host.run("vlan_endpoint_info", name="p")["endpoints"] == []


def test_moved_to_another_namespace_with_its_address(host):
    host.network("vlan20", **NET20)
    host.endpoint("web", "vlan20", netns="old", ipv4_address="172.16.48.20")
    result = host.endpoint("web", "vlan20", netns="new")
    assert "move" in [action["action"] for action in result["actions"]]
    assert host.addresses("eth0", "new") == ["172.16.48.20/22"] and host.pings("new", "172.16.50.1")
    assert host.namespaces() == {"switch", "router", "new"}


# --- leaving ---


def test_a_namespace_goes_with_its_last_endpoint_if_we_made_it_and_nobody_is_in_it(host):
    host.run("vlan_network", networks=[{"name": "vlan10", **NET10}, {"name": "vlan20", **NET20}])
    command("ip", "netns", "add", "hand")
    places = [("vlan10", "a"), ("vlan20", "a"), ("vlan10", "hand"), ("vlan10", "busy"), ("vlan10", "shared")]
    items = [{"name": netns, "network": network, "netns": netns} for network, netns in places]
    host.run("vlan_endpoint", endpoints=items)
    batch("link add mine type dummy\n", netns="shared")
    process = subprocess.Popen(["ip", "netns", "exec", "busy", "sleep", "600"])
    command("sh", "-c", f'until [ "$(cat /proc/{process.pid}/comm)" = sleep ]; do :; done')
    try:
        host.endpoint("a", "vlan10", state="absent")
        assert "a" in host.namespaces()
        host.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
        assert host.namespaces() == {"switch", "router", "hand", "busy", "shared"}
        assert [set(host.links(n)) for n in ("hand", "busy", "shared")] == [{"lo"}, {"lo"}, {"lo", "mine"}]
    finally:
        process.kill()
        process.wait()


def test_a_released_address_is_free_in_the_same_call(host):
    host.network("dual", **DUAL)
    address = {"ipv4_address": "10.1.5.5", "ipv6_address": "2001:db8:abc9::5"}
    host.endpoint("e0", "dual", **address)
    for round_ in range(1, 6):
        host.run(
            "vlan_endpoint",
            network="dual",
            endpoints=[
                {"name": f"e{round_}", "netns": f"e{round_}", **address},
                {"name": f"e{round_ - 1}", "state": "absent"},
            ],
        )
        assert host.addresses("eth0", f"e{round_}") == ["10.1.5.5/16", "2001:db8:abc9::5/64"]
    assert host.namespaces() == {"switch", "router", "e5"}


@pytest.mark.parametrize("driver", ["ipvlan", "macvlan"])
def test_endpoints_exchange_what_they_have_in_one_task(host, driver):
    """Addresses, with them the MAC addresses of macvlan, names of links, the default route; and a new one takes an address."""
    host.network("dual", driver=driver, **DUAL)

    def ends(one, two, *more):
        numbers = {"a": one, "b": two} | dict(more)
        given = {n: {"ipv4_address": f"10.1.7.{n}", "ipv6_address": f"2001:db8:abc9::7:{n}"} for n in (1, 2, 3)}
        return [
            {"name": name, "netns": "c" if name == "c" else "ab", "ifname": f"lan{number}", **given[number]}
            | {"default_route": number != 2}
            for name, number in numbers.items()
        ]

    def found(netns, number):
        name = f"lan{number}"
        mac = host.link(name, netns)["address"][-2:] if driver == "macvlan" else f"0{number}"
        gateways = [gateway for family in (4, 6) for gateway, dev in host.default_route(netns, family) if dev == name]
        return host.link(name, netns)["ifalias"][-1], sorted(host.addresses(name, netns)), mac, len(gateways)

    def expected(name, number):
        addresses = [f"10.1.7.{number}/16", f"2001:db8:abc9::7:{number}/64"]
        return name, addresses, f"0{number}", 0 if number == 2 else 2

    for items, holders in (
        (ends(1, 2), "ab"),
        (ends(2, 1), "ba"),
        (ends(1, 2)[::-1], "ab"),
        (ends(3, 2, ("c", 1)), " ba"),
    ):
        check = host.run("vlan_endpoint", check=True, network="dual", endpoints=items)
        result = host.run("vlan_endpoint", network="dual", endpoints=items)
        assert result["actions"] == check["actions"]
        for number, name in enumerate(holders, 1):
            assert name == " " or found("ab", number) == expected(name, number)
        assert not host.run("vlan_endpoint", network="dual", endpoints=items)["changed"]
    assert found("c", 1) == expected("c", 1)


def test_purge_covers_the_networks_of_the_list_only(host):
    host.run("vlan_network", networks=[{"name": "vlan10", **NET10}, {"name": "vlan20", **NET20}])
    for name, network in (("a", "vlan10"), ("b", "vlan10"), ("c", "vlan20")):
        host.endpoint(name, network)
    host.run("vlan_endpoint", endpoints=[{"name": "a", "network": "vlan10", "netns": "a"}], purge=True)
    assert host.namespaces() == {"switch", "router", "a", "c"}
    assert "purge_all" in host.refused("vlan_endpoint", endpoints=[], purge=True)
    host.run("vlan_endpoint", network="vlan20", endpoints=[], purge=True)
    assert host.namespaces() == {"switch", "router", "a"}


# --- drift ---

DRIFT = {
    "link down": ("link set eth0 down", "up"),
    "address removed": ("addr flush dev eth0 scope global", "ipv4_address"),
    "default route removed": ("route del default", "ipv4_default_route"),
    "mtu altered": ("link set eth0 mtu 1400", "mtu"),
    "renamed": ("link set eth0 down\nlink set eth0 name lan7\nlink set lan7 up", "ifname"),
    "mac altered": ("link set eth0 address 02:00:00:00:00:99", "mac_address"),
    "loopback down": ("link set lo down", "loopback_up"),
    "another default route by our link": ("route add default via 10.1.0.77 metric 50", "ipv4_default_route"),
}


@pytest.mark.parametrize("what", DRIFT)
def test_drift_is_seen_said_and_mended_and_nothing_else_is_touched(host, what):
    lines, field = DRIFT[what]
    host.network("net", driver="macvlan", **DUAL)
    host.endpoint("a", "net")
    host.endpoint("b", "net")
    before, other = host.picture("a"), host.picture("b")
    batch(lines + "\n", netns="a")
    assert host.picture("a") != before
    result = host.endpoint("a", "net")
    [action] = result["actions"]
    assert action["action"] == "repair" and field in action["changes"], action
    assert host.picture("a") == before and host.picture("b") == other
    assert not host.endpoint("a", "net")["changed"]


def test_a_link_that_was_removed_comes_back(host):
    host.network("net", driver="macvlan", **DUAL)
    host.endpoint("a", "net")
    batch("link del eth0\n", netns="a")
    assert [action["action"] for action in host.endpoint("a", "net")["actions"]] == ["repair"]
    assert host.addresses("eth0", "a") == ["10.1.0.2/16", "2001:db8:abc9::1/64"]
    assert host.default_route("a") == [("10.1.0.1", "eth0")]
    assert host.default_route("a", 6) == [("2001:db8:abc9::22", "eth0")]
    assert host.link("eth0", "a")["address"] == "02:42:0a:01:00:02"


def test_the_namespace_deleted_and_even_made_anew_by_hand(host):
    host.network("vlan20", **NET20)
    host.endpoint("web1", "vlan20")
    command("ip", "netns", "del", "web1")
    host.endpoint("web1", "vlan20")
    assert host.addresses("eth0", "web1") == ["172.16.48.1/22"]
    command("ip", "netns", "del", "web1")
    command("ip", "netns", "add", "web1")
    host.endpoint("web1", "vlan20")
    assert host.addresses("eth0", "web1") == ["172.16.48.1/22"] and host.pings("web1", "172.16.50.1")
    host.endpoint("web1", "vlan20", state="absent")
    assert "web1" in host.namespaces(), "a namespace that was made by hand is not ours to remove"


def test_a_deleted_namespace_that_a_process_holds_gives_its_link_up(host):
    host.network("vlan20", **NET20)
    host.endpoint("web1", "vlan20")
    process = subprocess.Popen(["ip", "netns", "exec", "web1", "sleep", "600"])
    command("sh", "-c", f'until [ "$(cat /proc/{process.pid}/comm)" = sleep ]; do :; done')
    try:
        command("ip", "netns", "del", "web1")
        host.endpoint("web1", "vlan20")
        assert host.pings("web1", "172.16.50.1")
        assert "172.16.48.1" not in command("nsenter", "-t", str(process.pid), "-n", "ip", "addr").stdout
    finally:
        process.kill()
        process.wait()


def test_foreign_addresses_routes_and_links_stay(host):
    host.network("vlan20", **NET20)
    host.endpoint("web1", "vlan20")
    batch(
        "addr add 172.16.48.200/32 dev eth0\nroute add 10.50.0.0/16 via 172.16.48.9 dev eth0\nlink add mine type dummy\n",
        netns="web1",
    )
    before = host.picture()
    assert not host.endpoint("web1", "vlan20")["changed"]
    assert host.picture() == before
    host.endpoint("web1", "vlan20", state="absent")
    assert set(host.links("web1")) == {"lo", "mine"}


def groups(host, netns=None):
    return {link["group"] for link in host.links(netns).values()}


# The host has an eth0, so that a link gets this name last.
@pytest.mark.parametrize("ifname", ["eth0", "net1"])
def test_what_a_kill_left_half_made_is_finished(host, ifname):
    host.network("vlan20", **NET20)
    for verb in ("create_namespace", "create_link", "write_sysctl", "change_link", "add_address", "add_route"):
        with at_write(verb, kill), pytest.raises(Killed):
            host.endpoint("web1", "vlan20", ifname=ifname)
        if verb == "write_sysctl":
            [(name, link)] = [pair for pair in host.links("web1").items() if pair[0] != "lo"]
            assert (name == ifname) == (ifname != "eth0") and link["group"] != "default" and "ifalias" not in link
        host.endpoint("web1", "vlan20", ifname=ifname)
        assert own(host, "web1", ifname) == ("ipvlan", 1500, True, ["172.16.48.1/22"]), verb
        assert host.default_route("web1") == [("172.16.50.1", ifname)]
        assert set(host.links("web1")) == {"lo", ifname} and groups(host, "web1") == {"default"}
        host.endpoint("web1", "vlan20", state="absent")
        assert host.namespaces() == {"switch", "router"}


def test_what_a_kill_left_half_made_goes_whatever_is_asked_for_next(host):
    host.network("vlan20", **NET20)
    command("ip", "netns", "add", "web1")
    batch("link add theirs type dummy\nlink set theirs group 2000000001\n", netns="web1")

    def half_made():
        with at_write("write_sysctl", kill), pytest.raises(Killed):
            host.endpoint("web1", "vlan20", ifname="net1")
        assert {"net1", "theirs"} < set(host.links("web1"))

    half_made()
    host.endpoint("web1", "vlan20", ifname="net2")
    assert set(host.links("web1")) == {"lo", "net2", "theirs"}
    host.endpoint("web1", "vlan20", state="absent")
    half_made()
    host.endpoint("web1", "vlan20", state="absent")
    assert set(host.links("web1")) == {"lo", "theirs"}
    half_made()
    host.endpoint("web1", "vlan20", netns="web2", ifname="net1")
    assert set(host.links("web1")) == {"lo", "theirs"} and set(host.links("web2")) == {"lo", "net1"}
    assert host.link("theirs", "web1")["group"] == "2000000001"


def made_as(host, *items, **params):
    """The names under which links were made."""
    with writes_counted() as written:
        host.run("vlan_endpoint", endpoints=list(items), **params)
    return [request.name for verb, request in written if verb == "create_link"]


def test_a_link_has_its_name_from_the_beginning_where_it_is_free(host):
    host.network("vlan20", **NET20)
    command("ip", "link", "property", "add", "dev", "eth0", "altname", "enp1s0")

    def asked(name, **params):
        return {"name": name, "network": "vlan20", "netns": "x", **params}

    assert made_as(host, asked("a", ifname="net1"), asked("b", ifname="net9"), asked("h", netns=None, host=True)) == [
        *("net1", "net9", "underlay0")
    ]
    # Taken: on the host, there by another name, and by one that leaves it in the same run.
    for ifname in ("eth0", "enp1s0"):
        [name] = made_as(host, asked("c", ifname=ifname))
        assert name.startswith("nu.") and own(host, "x", ifname)[2:] == (True, ["172.16.48.4/22"])
        host.endpoint("c", "vlan20", state="absent")
    [name] = made_as(host, asked("a", ifname="net2"), asked("c", ifname="net1"))
    assert name.startswith("nu.") and own(host, "x", "net1")[2:] == (True, ["172.16.48.4/22"])
    # And by one that goes.
    made_as(host, {"name": "a", "network": "vlan20", "state": "absent"}, asked("d", ifname="net2"))
    assert set(host.links("x")) == {"lo", "net1", "net2", "net9"}
    assert host.link("net2", "x")["ifalias"] == "netops.underlay endpoint vlan20/d"
    assert groups(host, "x") | groups(host) == {"default"}


def test_a_name_that_is_taken_at_the_last_moment_is_told_and_the_next_run_succeeds(host):
    host.network("vlan20", **NET20)
    command("ip", "netns", "add", "web1")
    items = [
        {"name": name, "network": "vlan20", "netns": name, "ifname": ifname}
        for name, ifname in (("web1", "net1"), ("web2", "net2"))
    ]

    def taken():
        batch("link add net1 type dummy\n", netns="web1")

    with at_write("create_namespace", taken), pytest.raises(Failed) as failure:
        host.run("vlan_endpoint", endpoints=items)
    text = str(failure.value)
    assert "endpoints[0] (web1)" in text and "another link has taken its name" in text and "endpoints[1]" not in text
    assert host.link("net1", "web1")["linkinfo"]["info_kind"] == "dummy"
    assert "ifalias" not in host.link("net1", "web1") and own(host, "web2", "net2")[2]
    assert "ifname 'net1' is taken by another link in netns web1" in host.refused("vlan_endpoint", endpoints=items)
    batch("link del net1\n", netns="web1")
    host.run("vlan_endpoint", endpoints=items)
    assert own(host, "web1", "net1") == ("ipvlan", 1500, True, ["172.16.48.1/22"])
    # On the host only older kernels mind.
    host.run("vlan_endpoint", network="vlan20", endpoints=[], purge=True)
    with at_write("create_namespace", lambda: batch("link add net1 type dummy\n")):
        try:
            host.run("vlan_endpoint", endpoints=items)
        except Failed as failed:
            assert "endpoints[0] (web1)" in str(failed) and "another link has taken its name" in str(failed)
    host.run("vlan_endpoint", endpoints=items)
    assert own(host, "web1", "net1") == ("ipvlan", 1500, True, ["172.16.48.1/22"])
    assert host.link("net1")["linkinfo"]["info_kind"] == "dummy"


def test_a_link_that_came_in_the_place_of_ours_is_left_alone(host):
    """Between making and marking."""
    host.network("vlan20", **NET20)

    def another():
        batch("link set net1 name ours\nlink add net1 type dummy\n", netns="web1")

    set_up = apply._set_up_room

    def later(*arguments):
        another()
        set_up(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "_set_up_room", later)
        with pytest.raises(Failed, match="another link than a moment ago"):
            host.endpoint("web1", "vlan20", ifname="net1")
    assert "ifalias" not in host.link("net1", "web1") and not host.addresses("net1", "web1")
    batch("link del net1\n", netns="web1")
    host.endpoint("web1", "vlan20", ifname="net1")
    assert set(host.links("web1")) == {"lo", "net1"}


def test_a_kernel_that_refuses_one_item_does_the_others_and_names_it(host):
    """An address that a link which is not ours holds on the parent: ipvlan refuses it."""
    host.network("vlan20", **NET20)
    host.endpoint("first", "vlan20")
    command("ip", "netns", "add", "elsewhere")
    batch("link add rogue link eth0.20 netns elsewhere type ipvlan mode l2 bridge\n")
    batch("link set rogue up\naddr add 172.16.48.2/22 dev rogue\n", netns="elsewhere")
    with pytest.raises(Failed) as failure:
        host.run(
            "vlan_endpoint",
            endpoints=[{"name": n, "network": "vlan20", "netns": n} for n in ("bad", "good")],
        )
    text = str(failure.value)
    assert "endpoints[0] (bad)" in text and "172.16.48.2/22" in text and "endpoints[1]" not in text
    assert failure.value.result["done"]
    assert host.addresses("eth0", "good") == ["172.16.48.3/22"] and host.pings("good", "172.16.50.1")
    command("ip", "-n", "elsewhere", "link", "del", "rogue")
    host.endpoint("bad", "vlan20")
    assert host.addresses("eth0", "bad") == ["172.16.48.2/22"]


def test_of_many_whose_namespaces_are_made_ahead_those_that_cannot_be_are_named_and_the_others_done(host):
    """Something takes two of the names between looking and making, one at the start and one far ahead."""
    host.network("vlan20", **NET20)
    names = [f"web{number}" for number in range(1, 71)]
    taken = (Path("/run/netns/web1"), Path("/run/netns/web66"))
    create = netlink.create_namespaces

    def late(wanted):
        for file in taken:
            file.parent.mkdir(exist_ok=True)
            file.write_text("not ours")
        return create(wanted)

    items = [{"name": name, "network": "vlan20", "netns": name} for name in names]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netlink, "create_namespaces", late)
        with pytest.raises(Failed) as failure:
            host.run("vlan_endpoint", endpoints=items)
    assert str(failure.value).count("exists already") == 2
    assert all(f"({file.name}): make namespace '{file.name}': " in str(failure.value) for file in taken)
    assert host.namespaces() >= set(names) - {file.name for file in taken}
    assert own(host, "web65")[3] == ["172.16.48.65/22"] and own(host, "web70")[3] == ["172.16.48.70/22"]
    for file in taken:
        assert file.read_text() == "not ours"
        file.unlink()
    host.run("vlan_endpoint", endpoints=items)
    assert own(host, "web1")[3] == ["172.16.48.1/22"] and own(host, "web66")[3] == ["172.16.48.66/22"]
