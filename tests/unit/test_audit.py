# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The store held against the kernel: what is found, what is dead, what is taken back."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import audit
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    ENDPOINT,
    RESERVED,
    Allocation,
    Endpoint,
    Held,
    HostSetting,
    MadeNamespace,
    Parent,
    Target,
    endpoint_mark,
    parent_mark,
)
from ansible_collections.netops.underlay.plugins.module_utils.steps import CheckGone, Drop, Put

from .builders import (
    BOOT,
    address,
    held,
    host,
    ipvlan_link,
    link,
    loopback,
    macvlan_link,
    network,
    replace,
    reserved,
    route,
    seen,
    space,
    vlan_link,
)

NET = network("net", "192.168.20.0/24", "2001:db8::/64")
ON = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20, alias=parent_mark("eth0.20")))
WEB1 = Target("netns", "web1")


def endpoint(name: str = "web1", cookie: int | None = 7, boot: str = BOOT, **fields: Any) -> Endpoint:
    values = {"target": Target("netns", name), "ifname": "eth0", "mac_address": None, "default_route": (4,), **fields}
    return Endpoint("net", name, cookie=cookie, boot_id=boot, **values)


def our_link(name: str = "web1", index: int = 2, **fields: Any) -> Any:
    return ipvlan_link(index, "eth0", 3, alias=endpoint_mark("net", name), **fields)


def there(*addresses: Any, routes: Any = (), **fields: Any) -> Any:
    return space(7, loopback(), our_link(**fields), addresses=addresses, routes=routes)


def observed(*rows: Endpoint, spaces: Any = None, alive: Any = (), allocations: Any = None, **fields: Any) -> Any:
    if allocations is None:
        allocations = [row for item in rows for row in held(NET, item.name, "192.168.20.2")]
    return seen(
        NET, on=ON, endpoints=rows, allocations=allocations, spaces=spaces or {}, alive=frozenset(alive), **fields
    )


def found(*arguments: Any, **fields: Any) -> list[tuple[Any, ...]]:
    return [
        (item.finding, item.owner, item.address, item.reason, item.dead)
        for item in audit.findings(observed(*arguments, **fields))
    ]


# --- findings -------------------------------------------------------------------------------------------------


def test_what_agrees_is_no_finding():
    others = [
        address(2, "fe80::1/64", scope=253),
        address(2, "2001:db8::beef/64", protocol=2),
        address(2, "2001:db8::cafe/64", flags=0x100),
        address(1, "127.0.0.1/8"),
    ]
    assert found(endpoint(), spaces={WEB1: there(address(2, "192.168.20.2/24"), *others)}, alive={7}) == []


WAITS = "it has not come back to netns web1 since this host started; the service brings it, or its task"
OF_BEFORE = "its process was of before this host last started"


@pytest.mark.parametrize(
    ("row", "alive", "reason", "dead"),
    [
        (endpoint(boot="before"), {7}, WAITS, False),
        (
            endpoint(boot="before", target=Target("netns_path", "/srv/a")),
            {7},
            WAITS.replace("netns web1", "netns_path /srv/a"),
            False,
        ),
        (endpoint(boot="before", target=Target("pid", "9")), {7}, OF_BEFORE, True),
        (endpoint(boot="before", target=Target("netns_path", "/proc/9/ns/net")), {7}, OF_BEFORE, True),
        (endpoint(), {1}, "its namespace is gone", True),
        (endpoint(), {7}, "no link of it is in netns web1", False),
        (endpoint(cookie=None), {1}, "no link of it is in netns web1", False),
        (endpoint(boot="", cookie=None), {1}, "no link of it is in netns web1", False),
    ],
)
def test_a_link_that_is_gone_and_whether_its_namespace_is_dead(row, alive, reason, dead):
    assert found(row, alive=alive) == [("link_gone", "web1", "192.168.20.2", reason, dead)]


def test_what_is_cooling_is_not_what_a_link_that_is_gone_had():
    rows = held(NET, "web1", "192.168.20.2", "192.168.20.3")
    rows[1] = replace(rows[1], cooling=True)
    assert [item[2] for item in found(endpoint(), alive={7}, allocations=rows)] == ["192.168.20.2"]


def test_a_link_that_is_elsewhere_is_there():
    elsewhere = {Target("pid", "4711"): there(address(2, "192.168.20.2/24"))}
    assert found(endpoint(boot="before"), spaces=elsewhere) == []


def test_a_link_and_an_address_that_the_store_does_not_know():
    extra = {WEB1: there(address(2, "192.168.20.2/24"), address(2, "192.168.20.99/24"), address(2, "10.1.1.1/32"))}
    reason = "link 'eth0' has it, but the store does not hold it for this endpoint"
    assert found(endpoint(), spaces=extra, alive={7}) == [
        ("unknown_address", "web1", "192.168.20.99", reason, False),
        ("unknown_address", "web1", "10.1.1.1", reason, False),
    ]
    [first, *_rest] = found(spaces={WEB1: there()}, allocations=[])
    assert first[:2] == ("unknown_link", "web1") and "does not know the endpoint" in first[3]


def test_findings_of_one_network_alone():
    assert audit.findings(observed(endpoint()), "net") != []
    assert audit.findings(observed(endpoint()), "other") == []


# --- what is released -----------------------------------------------------------------------------------------


def reconciled(first: Any, second: Any, network: str | None = None) -> tuple[list[Any], list[Any], list[str]]:
    plan, freed = audit.reconcile(first, second, network)
    assert plan.before == ()
    return list(plan.kernel), list(plan.after), [row.text for row in freed]


def test_what_is_dead_in_both_looks_is_released_after_a_third():
    row = endpoint()
    dead = observed(row, alive={1}, namespaces=[MadeNamespace("web1", 7, BOOT)])
    checks, steps, freed = reconciled(dead, dead)
    item = "endpoint 'web1' of network 'net'"
    assert checks == [CheckGone(item, 7)]
    assert steps == [
        Drop(row, item),
        Drop(held(NET, "web1", "192.168.20.2")[0], item),
        Drop(MadeNamespace("web1", 7, BOOT)),
    ]
    assert freed == ["192.168.20.2"]


def test_what_is_seen_in_either_look_stays():
    row = endpoint()
    dead, alive = observed(row, alive={1}), observed(row, alive={7})
    back = observed(row, spaces={WEB1: there()}, alive={1})
    other = observed(replace(row, cookie=8), alive={1})
    for pair in ((dead, alive), (alive, dead), (dead, back), (back, dead), (dead, other), (dead, observed())):
        assert reconciled(*pair) == ([], [], [])


def test_one_that_waits_for_being_put_back_after_a_boot_keeps_its_address():
    waiting = observed(endpoint(boot="before"))
    assert reconciled(waiting, waiting) == ([], [], [])


def test_a_process_of_another_boot_needs_no_third_look():
    dead = observed(endpoint(boot="before", target=Target("pid", "9")))
    checks, steps, freed = reconciled(dead, dead)
    assert (checks, len(steps), freed) == ([], 2, ["192.168.20.2"])


def test_one_network_alone_and_no_namespace_with_it():
    dead = observed(endpoint(), alive={1}, namespaces=[MadeNamespace("gone", 9, BOOT)])
    assert reconciled(dead, dead, "other") == ([], [], [])
    assert reconciled(dead, dead, "net")[2] == ["192.168.20.2"]
    assert Drop(MadeNamespace("gone", 9, BOOT)) in reconciled(dead, dead)[1]
    assert Drop(MadeNamespace("gone", 9, BOOT)) not in reconciled(dead, dead, "net")[1]


def test_what_owners_hold_or_endpoints_keep_is_never_released():
    rows = [*held(NET, "kept", "192.168.20.9"), *reserved(NET, "vm", "192.168.20.8")]
    dead = observed(endpoint(), alive={1}, allocations=rows)
    assert reconciled(dead, dead)[2] == []


def test_what_is_released_rests_where_the_network_says_so():
    net = replace(NET, cooldown=60)
    row = held(NET, "web1", "192.168.20.2")[0]
    dead = seen(net, on=ON, endpoints=[endpoint()], allocations=[row], alive=frozenset({1}), now=1000)
    _checks, steps, _freed = reconciled(dead, dead)
    assert [step.row for step in steps if isinstance(step, Put)] == [row._replace(cooling=True, expires=1060)]


# --- what is taken back ---------------------------------------------------------------------------------------


def taken(*salvaged: Any, on: Any = ON, spaces: Any = None) -> tuple[list[Any], tuple[str, ...]]:
    plan = audit.take_back(seen(on=on, spaces=spaces or {}, now=1000), salvaged)
    assert (plan.kernel, plan.after) == ((), ())
    return [step.row for step in plan.before], plan.warnings


def test_a_host_without_our_links_gives_nothing():
    assert taken(on=host()) == ([], ())


def test_endpoints_parents_and_addresses_come_from_the_kernel():
    on = host(
        link(2, "eth0"),
        vlan_link(3, "eth0.20", 2, 20, alias=parent_mark("eth0.20")),
        link(4, "nud-1", "dummy", alias=parent_mark("nud-1")),
        link(5, "other", "dummy", alias=parent_mark("nud-2")),
    )
    routes = [route(2, "default", "192.168.20.1"), route(2, "default", "fe80::1", 6, protocol=9)]
    routes.append(route(1, "default", "fe80::2", 6))  # by another link
    spaces = {
        WEB1: there(address(2, "192.168.20.2/24"), address(2, "2001:db8::2/64", flags=0x80), routes=routes),
        Target("pid", "4711"): replace(
            space(
                8,
                macvlan_link(5, "lan0", 4, alias=endpoint_mark("mac", "db1"), mac="02:42:0a:00:00:02"),
                addresses=[address(5, "10.0.0.2/24"), address(5, "10.0.0.3/24")],
            ),
            start_time=99,
        ),
        Target("netns_path", "/x"): space(9, macvlan_link(6, "eth0", 2, 8, alias=endpoint_mark("thru", "a"))),
    }
    rows, warnings = taken(on=on, spaces=spaces)
    pid = Target("pid", "4711")
    assert rows == [
        Parent("eth0.20", "eth0", 20),
        Parent("nud-1"),
        endpoint(),
        Endpoint("mac", "db1", pid, "lan0", "02:42:0a:00:00:02", (), 8, BOOT, 99),
        Endpoint("thru", "a", Target("netns_path", "/x"), "eth0", None, (), 9, BOOT),
        Allocation("eth0.20", "net", ENDPOINT, "web1", ip_address("192.168.20.2"), since=1000),
        Allocation("eth0.20", "net", ENDPOINT, "web1", ip_address("2001:db8::2"), since=1000),
        Allocation("nud-1", "mac", ENDPOINT, "db1", ip_address("10.0.0.2"), since=1000),
    ]
    [warning] = warnings
    assert "mac, net, thru" in warning and "run vlan_network for them" in warning


def test_of_a_known_network_only_what_its_subnets_hold():
    spaces = {WEB1: there(address(2, "10.1.1.1/32"), address(2, "192.168.20.2/24"))}
    rows, warnings = taken(NET, spaces=spaces)
    assert [str(row.address) for row in rows if isinstance(row, Allocation)] == ["192.168.20.2"]
    assert warnings == ()


def test_what_was_read_comes_first_and_is_not_taken_twice():
    salvaged = [
        HostSetting("history_days", 7),
        NET,
        Parent("eth0.20", "eth0", 20),
        MadeNamespace("web1", 7, BOOT),
        endpoint(ifname="lan0"),
        *held(NET, "web1", "192.168.20.2"),
        *reserved(NET, "vm", "192.168.20.8"),
        Held(reserved(NET, "old", "192.168.20.9")[0], 5),
    ]
    rows, warnings = taken(*salvaged, spaces={WEB1: there(address(2, "192.168.20.2/24"))})
    assert sorted(map(repr, rows)) == sorted(map(repr, salvaged))
    assert warnings == ()


def test_where_they_contradict_the_kernel_is_right():
    block = Allocation("eth0.20", "net", RESERVED, "block", ip_address("192.168.20.2"), last=ip_address("192.168.20.9"))
    resting = held(NET, "web1", "2001:db8::2")[0]._replace(cooling=True, expires=2000)
    clear = reserved(NET, "clear", "192.168.20.20")[0]
    overlap = Allocation(
        "eth0.20", "net", RESERVED, "over", ip_address("192.168.20.20"), last=ip_address("192.168.20.29")
    )
    shown = {WEB1: there(address(2, "192.168.20.2/24"), address(2, "2001:db8::2/64", flags=0x80))}
    rows, warnings = taken(NET, block, resting, clear, overlap, spaces=shown)
    kept = [row for row in rows if isinstance(row, Allocation)]
    assert [(row.owner, row.text, row.cooling) for row in kept] == [
        ("clear", "192.168.20.20", False),
        ("web1", "192.168.20.2", False),
        ("web1", "2001:db8::2", False),
    ]
    assert [text.split(",")[0] for text in warnings] == [
        "192.168.20.2-192.168.20.9 was held by owner 'block' of network 'net'",
        "192.168.20.20-192.168.20.29 was held by owner 'over' of network 'net'",
        "2001:db8::2 was held by endpoint 'web1' of network 'net'",
    ]
