# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The store on a real SQLite: what comes back, what is free, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import store
from ansible_collections.netops.underlay.plugins.module_utils.addressing import Subnet, address_of
from ansible_collections.netops.underlay.plugins.module_utils.errors import StoreError
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
)
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Put
from hypothesis import given
from hypothesis import strategies as st

from .builders import network, replace, subnet


@pytest.fixture
def state_dir(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def write(state_dir: str, *steps: Any) -> None:
    with store.writing(state_dir, 0) as kept:
        kept.write(steps)


def allocation(address: str, owner: str = "x", segment: str = "eth0.20", **fields: Any) -> Allocation:
    values = {"network": "web", "kind": ENDPOINT, **fields}
    return Allocation(segment=segment, owner=owner, address=ip_address(address), **values)


def span(first: str, last: str | None = None, segment: str = "eth0.20") -> tuple[str, Any, Any]:
    return segment, ip_address(first), ip_address(last or first)


def open_for_writing(state_dir: str, timeout: float = 0) -> None:
    with store.writing(state_dir, timeout):
        pass


def open_for_reading(state_dir: str) -> None:
    with store.reading(state_dir):
        pass


def refusal(function: Any, *arguments: Any) -> str:
    with pytest.raises(StoreError) as error:
        function(*arguments)
    return str(error.value)


# --- what comes back ------------------------------------------------------------------------------------------

WHOLE = replace(
    network(
        "web",
        subnet(
            "192.168.20.0/24", "192.168.20.254", "192.168.20.128/25", router="192.168.20.129", printer="192.168.20.9"
        ),
        subnet("2001:db8::/64", None),
        parent="eth0.20",
        driver_name="macvlan",
        mode="vepa",
        flag=None,
    ),
    internal=True,
    enable_ipv4=False,
    mtu=1400,
    labels={"team": "netops", "größe": "1"},
)
FROM_POOL = network("pool", Subnet(ip_network("172.18.0.0/16"), ip_address("172.18.0.1"), from_pool=True), parent=None)


@pytest.mark.parametrize("row", [WHOLE, FROM_POOL, network("plain")])
def test_a_network_comes_back_as_it_was_put(state_dir, row):
    write(state_dir, Put(row))
    with store.reading(state_dir) as kept:
        found = kept.networks()
    assert found == {row.name: row}
    # ``from_pool`` takes no part in comparing subnets
    assert [item.from_pool for item in found[row.name].subnets] == [item.from_pool for item in row.subnets]


@pytest.mark.parametrize("row", [Parent("eth0.20", "eth0", 20), Parent("nud-0123456789")])
def test_a_parent_comes_back_as_it_was_put(state_dir, row):
    write(state_dir, Put(row))
    with store.reading(state_dir) as kept:
        assert kept.parents() == {row.name: row}


@pytest.mark.parametrize("row", [MadeNamespace("web1", 2**63 - 1, "boot"), MadeNamespace("web1", None, "boot")])
def test_a_namespace_comes_back_as_it_was_put(state_dir, row):
    write(state_dir, Put(row))
    with store.reading(state_dir) as kept:
        assert kept.namespaces() == {"web1": row}


@pytest.mark.parametrize(
    "row",
    [
        Endpoint("web", "web1", Target("netns", "web1"), "eth0", None, (4, 6), 7, "boot", None),
        Endpoint("web", "web1", Target("pid", "4711"), "eth1", "02:42:c0:a8:14:0a", (), None, "", 123456),
        Endpoint("web", "web1", Target("netns_path", "/proc/7/ns/net"), "lan0", None, (6,), 1, "boot", 0),
    ],
)
def test_an_endpoint_comes_back_as_it_was_put(state_dir, row):
    write(state_dir, Put(row))
    with store.reading(state_dir) as kept:
        assert kept.endpoints() == {("web", "web1"): row}


@pytest.mark.parametrize("address", ["192.168.20.2", "0.0.0.1", "255.255.255.255", "2001:db8::2", "::1:0"])
def test_an_allocation_comes_back_as_it_was_put(state_dir, address):
    row = allocation(address, "vm 12", kind=RESERVED, description="größe ✓")
    write(state_dir, Put(row))
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [row]
        assert kept.owned([("web", RESERVED, "vm 12")]) == [row]
        assert kept.holders([("eth0.20", ip_address(address), ip_address(address))]) == [row]


def test_allocations_come_by_network_family_and_number(state_dir):
    texts = ["2001:db8::2", "10.0.0.10", "10.0.0.9", "192.168.0.1"]
    write(state_dir, *(Put(allocation(text)) for text in texts), Put(allocation("1.1.1.1", network="a", segment="p")))
    with store.reading(state_dir) as kept:
        found = [str(row.address) for row in kept.allocations()]
    assert found == ["1.1.1.1", "10.0.0.9", "10.0.0.10", "192.168.0.1", "2001:db8::2"]


def test_allocations_are_told_apart_by_network_owner_and_segment(state_dir):
    one = allocation("10.0.0.2", "x")
    two = allocation("10.0.0.3", "y")
    three = allocation("10.0.0.2", "x", segment="eth0.30", network="db")
    write(state_dir, Put(one), Put(two), Put(three))
    with store.reading(state_dir) as kept:
        assert kept.allocations(network="web") == [one, two]
        assert kept.allocations(owner="x") == [three, one]
        assert kept.allocations(network="web", owner="x") == [one]
        assert kept.allocations(network="no") == []
        assert kept.of_networks(["no", "web"]) == [one, two]
        assert kept.owned([("web", RESERVED, "x")]) == []
        assert kept.holders([span("10.0.0.2", segment="eth0.30"), span("10.0.0.3", segment="eth0.30")]) == [three]


def test_a_row_takes_the_place_of_the_one_with_its_key(state_dir):
    row = network("web")
    write(state_dir, Put(row))
    write(state_dir, Put(replace(row, mtu=1400)))
    with store.reading(state_dir) as kept:
        assert kept.networks()["web"].mtu == 1400


def test_what_is_dropped_is_gone_and_nothing_else(state_dir):
    rows = [
        network("web"),
        network("db"),
        Parent("eth0.20", "eth0", 20),
        MadeNamespace("web1", 1, "b"),
        Endpoint("web", "web1", Target("netns", "web1"), "eth0", None, ()),
        Endpoint("db", "web1", Target("netns", "web1"), "eth1", None, ()),
        allocation("10.0.0.2"),
        allocation("10.0.0.3"),
    ]
    write(state_dir, *map(Put, rows))
    write(state_dir, *(Drop(rows[number]) for number in (0, 2, 3, 4, 6)))
    with store.reading(state_dir) as kept:
        assert (kept.networks(), kept.parents(), kept.namespaces()) == ({"db": rows[1]}, {}, {})
        assert kept.endpoints() == {("db", "web1"): rows[5]}
        assert kept.allocations() == [rows[7]]


# --- one transaction ------------------------------------------------------------------------------------------


def test_an_address_changes_hands_in_one_transaction_whatever_the_order(state_dir):
    old, new = allocation("10.0.0.2", "old"), allocation("10.0.0.2", "new")
    write(state_dir, Put(old))
    write(state_dir, Put(new), Drop(old))
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [new]
    assert held_runs(state_dir) == [("eth0.20", 4, number("10.0.0.2"), number("10.0.0.2"))]


def test_an_address_of_another_owner_is_never_taken_and_nothing_else_is_written(state_dir):
    mine = allocation("10.0.0.2", "mine")
    write(state_dir, Put(mine))
    before = held_runs(state_dir)
    with store.writing(state_dir, 0) as kept:
        with pytest.raises(StoreError, match=r"10\.0\.0\.2 on 'eth0\.20' is already held"):
            kept.write([Put(network("web")), Put(allocation("10.0.0.9")), Put(mine._replace(owner="thief"))])
        # the connection is usable after that
        kept.write([Put(network("later"))])
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [mine]
        assert list(kept.networks()) == ["later"]
    assert held_runs(state_dir) == before


def test_a_write_that_breaks_off_leaves_nothing(state_dir, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(_self: Any, *_rows: Any) -> None:
        raise Stop

    monkeypatch.setattr(store.Store, "_change_held", stop)
    with pytest.raises(Stop):
        write(state_dir, Put(network("web")), Put(allocation("10.0.0.2")))
    monkeypatch.undo()
    with store.reading(state_dir) as kept:
        assert (kept.networks(), kept.allocations()) == ({}, [])


def test_every_write_is_announced_first_and_no_write_is_none(state_dir, monkeypatch):
    heard = []
    monkeypatch.setattr(store, "recorder", lambda words, what: heard.append(words))
    with store.writing(state_dir, 0) as kept:
        assert heard == ["schema"]
        kept.write([])
        assert heard == ["schema"]
        kept.write([Put(network("web"))])
    assert heard == ["schema", "store"]
    heard.clear()
    open_for_writing(state_dir)
    assert heard == []


def test_what_is_announced_is_not_yet_written(state_dir, monkeypatch):
    open_for_writing(state_dir)

    def fail(_words: str, _what: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "recorder", fail)
    with pytest.raises(KeyboardInterrupt):
        write(state_dir, Put(network("web")))
    with store.reading(state_dir) as kept:
        assert kept.networks() == {}


# --- what is free ---------------------------------------------------------------------------------------------


def number(text: str) -> int:
    return int(ip_address(text))


def held_runs(state_dir: str) -> list[tuple[str, int, int, int]]:
    connection = sqlite3.connect(os.path.join(state_dir, store.FILE_NAME))
    rows = connection.execute(
        "SELECT segment, family, first, last FROM held ORDER BY segment, family, first"
    ).fetchall()
    connection.close()
    return [(segment, family, int.from_bytes(a, "big"), int.from_bytes(b, "big")) for segment, family, a, b in rows]


def expected_runs(rows: Any) -> list[tuple[str, int, int, int]]:
    places: dict[tuple[str, int], list[int]] = {}
    for row in rows:
        places.setdefault((row.segment, row.family), []).append(int(row.address))
    return [(*place, first, last) for place in sorted(places) for first, last in plain_runs(places[place])]


def plain_runs(numbers: Any) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for value in sorted(numbers):
        if found and found[-1][1] == value - 1:
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return found


def test_a_subnet_without_allocations_is_one_interval(state_dir):
    open_for_writing(state_dir)
    with store.reading(state_dir) as kept:
        assert kept.free("eth0.20", 4, 2, 254, 1) == [(2, 254)]


def test_free_looks_at_this_segment_and_family_alone(state_dir):
    write(
        state_dir,
        Put(allocation("0.0.0.5", segment="eth0.30")),
        Put(allocation("::5")),
        Put(allocation("0.0.0.6")),
    )
    with store.reading(state_dir) as kept:
        assert kept.free("eth0.20", 4, 2, 9, 99) == [(2, 5), (7, 9)]


def test_a_run_that_begins_before_the_range_counts(state_dir):
    write(state_dir, *(Put(allocation(f"0.0.0.{value}")) for value in range(3, 9)))
    with store.reading(state_dir) as kept:
        assert kept.free("eth0.20", 4, 5, 12, 99) == [(9, 12)]
        assert kept.free("eth0.20", 4, 5, 8, 99) == []
        assert kept.free("eth0.20", 4, 1, 4, 99) == [(1, 2)]


def test_no_more_is_told_than_was_asked_for(state_dir):
    write(state_dir, *(Put(allocation(f"0.0.0.{value}")) for value in range(10, 100, 10)))
    with store.reading(state_dir) as kept:
        assert kept.free("eth0.20", 4, 2, 200, 9) == [(2, 9), (11, 19)]
        assert kept.free("eth0.20", 4, 2, 200, 8) == [(2, 9)]


IPV4_END, IPV6_END = (1 << 32) - 1, (1 << 128) - 1
V6 = int(ip_address("2001:db8::"))
# Where the numbers of a test lie: in the middle and at both ends of the address space.
PLACES = ((4, 0), (4, 1 << 24), (4, IPV4_END - 15), (6, 0), (6, V6), (6, V6 + (1 << 63)), (6, IPV6_END - 15))
moves = st.lists(
    st.tuples(st.booleans(), st.sampled_from(PLACES), st.sets(st.integers(0, 15), min_size=1)), max_size=12
)


@given(moves, st.integers(0, 15), st.integers(0, 15), st.integers(1, 20))
def test_held_and_free_are_those_of_a_plain_set(tmp_path_factory, sequence, low, high, count):
    state_dir = str(tmp_path_factory.mktemp("store"))
    os.chmod(state_dir, 0o700)
    model: dict[tuple[int, int], Allocation] = {}
    with store.writing(state_dir, 0) as kept:
        for put, (family, base), offsets in sequence:
            steps = []
            for offset in offsets:
                key = (family, base + offset)
                if put and key not in model:
                    model[key] = Allocation("p", "n", ENDPOINT, "o", address_of(base + offset, family))
                    steps.append(Put(model[key]))
                elif not put and key in model:
                    steps.append(Drop(model.pop(key)))
            kept.write(steps)
        for family, base in PLACES:
            first, last = base + min(low, high), base + max(low, high)
            free = [value for value in range(first, last + 1) if (family, value) not in model]
            found = [value for a, b in kept.free("p", family, first, last, count) for value in range(a, b + 1)]
            assert found == free[: len(found)]
            assert len(found) >= min(count, len(free))
        assert kept.allocations() == sorted(model.values(), key=lambda row: (row.family, int(row.address)))
    assert held_runs(state_dir) == expected_runs(model.values())


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_drops_and_puts_in_one_transaction_leave_maximal_runs(tmp_path_factory, before, after):
    state_dir = str(tmp_path_factory.mktemp("store"))
    os.chmod(state_dir, 0o700)
    old = {value: allocation(f"10.0.0.{value}", "old") for value in before}
    new = {value: allocation(f"10.0.0.{value}", "new") for value in after}
    with store.writing(state_dir, 0) as kept:
        kept.write([Put(row) for row in old.values()])
        kept.write([*(Put(row) for row in new.values()), *(Drop(row) for row in old.values())])
        assert kept.allocations() == [new[value] for value in sorted(new)]
    assert held_runs(state_dir) == expected_runs(new.values())


def test_thousands_are_written_in_one_go(state_dir):
    rows = [allocation(str(ip_address("10.0.0.0") + value), f"o{value}") for value in range(5000)]
    write(state_dir, *map(Put, rows))
    assert held_runs(state_dir) == expected_runs(rows)
    write(state_dir, *map(Drop, rows[1::2]))
    assert held_runs(state_dir) == expected_runs(rows[::2])
    with store.reading(state_dir) as kept:
        assert kept.free("eth0.20", 4, number("10.0.0.0"), number("10.0.0.9"), 2) == [
            (number("10.0.0.1"), number("10.0.0.1")),
            (number("10.0.0.3"), number("10.0.0.3")),
        ]


# --- ranges, time, history ------------------------------------------------------------------------------------


def block(first: str, last: str, owner: str = "x", **fields: Any) -> Allocation:
    return allocation(first, owner, kind=RESERVED, last=ip_address(last), **fields)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time, in a list of one."""
    time_is = [1000]
    monkeypatch.setattr(store, "clock", lambda: time_is[0])
    return time_is


def test_a_range_comes_back_and_is_found_by_what_it_holds(state_dir):
    row, single = block("10.0.0.10", "10.0.0.19"), allocation("10.0.0.30", "y")
    write(state_dir, Put(row), Put(single))
    with store.reading(state_dir) as kept:
        assert kept.allocations() == kept.on_segments(["eth0.20", "eth0.30"]) == [row, single]
        for first, last, expected in (
            ("10.0.0.10", None, [row]),
            ("10.0.0.15", None, [row]),
            ("10.0.0.19", None, [row]),
            ("10.0.0.9", None, []),
            ("10.0.0.20", None, []),
            ("10.0.0.1", "10.0.0.9", []),
            ("10.0.0.1", "10.0.0.10", [row]),
            ("10.0.0.12", "10.0.0.40", [row, single]),
            ("10.0.0.20", "10.0.0.29", []),
        ):
            assert kept.holders([span(first, last)]) == expected, (first, last)
        assert kept.free("eth0.20", 4, number("10.0.0.8"), number("10.0.0.22"), 99) == [
            (number("10.0.0.8"), number("10.0.0.9")),
            (number("10.0.0.20"), number("10.0.0.22")),
        ]


@pytest.mark.parametrize(
    ("first", "last", "inside"),
    [
        ("10.0.0.10", "10.0.0.19", "10.0.0.15"),
        ("0.0.0.0", "0.0.0.9", "0.0.0.0"),
        ("255.255.255.250", "255.255.255.255", "255.255.255.255"),
        ("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1:2:3:4"),
        ("ffff::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_what_overlaps_is_refused_and_nothing_is_written(state_dir, first, last, inside):
    whole, one = block(first, last, "whole"), allocation(inside, "one")
    for held, asked in ((whole, one), (one, whole)):
        with store.writing(state_dir, 0) as kept:
            kept.write([Put(held)])
            before = held_runs(state_dir)
            with pytest.raises(StoreError, match="already held; nothing was written"):
                kept.write([Put(network("web")), Put(asked)])
            assert (kept.allocations(), kept.networks(), held_runs(state_dir)) == ([held], {}, before)
            kept.write([Put(asked), Drop(held)])
            assert (kept.allocations(), held_runs(state_dir)) == ([asked], [("eth0.20", asked.family, *asked.bounds)])
            kept.write([Drop(asked)])
            assert held_runs(state_dir) == []


def test_another_owners_row_is_not_dropped(state_dir):
    mine = allocation("10.0.0.2", "mine")
    write(state_dir, Put(mine))
    write(state_dir, Drop(mine._replace(owner="thief")), Drop(mine._replace(last=ip_address("10.0.0.9"))))
    with store.reading(state_dir) as kept:
        assert (kept.allocations(), kept.history()) == ([mine], [])


def test_what_has_expired_is_not_there_and_the_next_write_forgets_it(state_dir, now):
    row = block("10.0.0.10", "10.0.0.19", since=1000, expires=1100)
    write(state_dir, Put(row), Put(allocation("10.0.0.5")))
    now[0] = 1099
    with store.reading(state_dir) as kept:
        assert row in kept.allocations()
    now[0] = 1100
    with store.reading(state_dir) as kept:
        assert kept.allocations(owner="x", network="web") == [allocation("10.0.0.5")]
        assert kept.holders([span("10.0.0.12")]) == kept.owned([("web", RESERVED, "x")]) == []
        assert kept.free("eth0.20", 4, number("10.0.0.4"), number("10.0.0.12"), 99) == [
            (number("10.0.0.4"), number("10.0.0.4")),
            (number("10.0.0.6"), number("10.0.0.9")),
            (number("10.0.0.10"), number("10.0.0.12")),
        ]
        assert kept.history() == []
    now[0] = 1500
    new = allocation("10.0.0.12", "new", since=1500)
    write(state_dir, Put(new))
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [allocation("10.0.0.5"), new]
        assert kept.history() == [Held(row._replace(expires=None), 1100)]
    assert held_runs(state_dir) == expected_runs([allocation("10.0.0.5"), new])


def test_what_cools_is_held_but_not_counted_and_can_come_back(state_dir, now):
    live = allocation("10.0.0.2", since=900)
    cooling = live._replace(cooling=True, expires=1060)
    write(state_dir, Put(live))
    write(state_dir, Drop(live), Put(cooling))
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [cooling]
        assert kept.history() == [Held(live, 1000)]
        assert kept.free("eth0.20", 4, number("10.0.0.2"), number("10.0.0.3"), 9) == [(number("10.0.0.3"),) * 2]
    again = live._replace(since=1010)
    write(state_dir, Put(again))
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [again]
        assert kept.history() == [Held(live, 1000)], "that it cooled is no line of its own"
    write(state_dir, Put(again._replace(cooling=True, expires=1020)))
    now[0] = 1020
    write(state_dir, Put(network("web")))
    with store.reading(state_dir) as kept:
        assert (kept.allocations(), len(kept.history())) == ([], 2)
    assert held_runs(state_dir) == []


def test_the_history_has_a_line_for_each_that_ended_and_none_for_a_change(state_dir, now):
    row, whole = allocation("10.0.0.2", since=900), block("10.0.0.10", "10.0.0.19", "y", network="db", since=950)
    write(state_dir, Put(row), Put(whole))
    write(state_dir, Put(whole._replace(description="changed", expires=5000)))
    moved = row._replace(segment="eth0.30")
    write(state_dir, Drop(row), Put(moved))
    with store.reading(state_dir) as kept:
        assert kept.history() == []
    now[0] = 2000
    write(state_dir, Drop(moved), Drop(whole))
    first, second = Held(moved, 2000), Held(whole, 2000)
    with store.reading(state_dir) as kept:
        assert kept.history() == [first, second]
        assert kept.history(network="db") == kept.history(owner="y") == [second]
        assert kept.history(address=ip_address("10.0.0.15")) == [second]
        assert kept.history(address=ip_address("10.0.0.2"), network="web") == [first]
        assert kept.history(address=ip_address("10.0.0.20")) == kept.history(network="web", owner="y") == []


@pytest.mark.parametrize("days", [None, 7, 0])
def test_the_history_is_kept_for_so_many_days(state_dir, now, days):
    row = allocation("10.0.0.2", since=900)
    if days is not None:
        write(state_dir, Put(HostSetting("history_days", days)))
    write(state_dir, Put(row))
    write(state_dir, Drop(row))
    now[0] += (90 if days is None else days) * 86400
    write(state_dir, Put(network("a")))
    with store.reading(state_dir) as kept:
        assert kept.history() == [Held(row, 1000)]
        assert kept.settings() == ({} if days is None else {"history_days": days})
    now[0] += 1
    write(state_dir, Put(network("b")))
    with store.reading(state_dir) as kept:
        assert kept.history() == []


# --- lost and damaged -----------------------------------------------------------------------------------------


def test_a_store_gets_its_name_only_when_it_is_whole(state_dir, monkeypatch):
    path = os.path.join(state_dir, store.FILE_NAME)

    def killed(*_paths: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store.os, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        open_for_writing(state_dir)
    monkeypatch.undo()
    assert not os.path.exists(path) and os.path.exists(f"{path}.new")
    Path(f"{path}-journal").write_bytes(b"of a store that is no more" * 100)
    with store.writing(state_dir, 0) as kept:
        assert kept.fresh
    with store.writing(state_dir, 0) as kept:
        assert not kept.fresh
    assert not os.path.exists(f"{path}.new")


ROWS = [allocation(str(ip_address("10.0.0.0") + value), f"o{value}") for value in range(3000)]


def torn(data: bytes) -> bytes:
    return data[: len(data) // 2]


def headless(data: bytes) -> bytes:
    return b"\xa5" * 4096 + data[4096:]


def pierced(data: bytes) -> bytes:
    middle = len(data) // 8192 * 4096
    return data[:middle] + b"\xa5" * 4096 + data[middle + 4096 :]


def emptied(_data: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [torn, headless, pierced, emptied])
def test_a_damaged_store_is_kept_and_what_can_be_read_of_it_is_told(state_dir, damage):
    write(state_dir, Put(network("web")), *map(Put, ROWS))
    path = Path(state_dir, store.FILE_NAME)
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    before = sorted(os.listdir(state_dir))
    with store.rebuilding(state_dir, 0, dry=True) as rebuilt:
        rebuilt.store.write([Put(network("new"))])
    with pytest.raises(KeyError), store.rebuilding(state_dir, 0, dry=False) as rebuilt:
        raise KeyError
    assert path.read_bytes() == broken
    assert [name for name in sorted(os.listdir(state_dir)) if ".new" not in name] == before
    with store.rebuilding(state_dir, 0, dry=False) as rebuilt:
        if damage is pierced:
            assert len([row for row in rebuilt.rows if row in ROWS]) > 1000
        assert all(row in ROWS or row == network("web") for row in rebuilt.rows)
        rebuilt.store.write([Put(network("new"))])
    assert Path(rebuilt.aside).read_bytes() == broken
    assert re.fullmatch(re.escape(str(path)) + r"\.damaged-[0-9]{8}T[0-9]{6}Z", rebuilt.aside)
    with store.reading(state_dir) as kept:
        assert list(kept.networks()) == ["new"]
    with store.rebuilding(state_dir, 0, dry=False) as again:
        assert again is None


def test_a_sound_store_and_none_are_not_rebuilt(state_dir):
    with store.rebuilding(state_dir, 0, dry=False) as rebuilt:
        assert rebuilt is None
    write(state_dir, Put(network("web")))
    before = Path(state_dir, store.FILE_NAME).read_bytes()
    with store.rebuilding(state_dir, 0, dry=False) as rebuilt:
        assert rebuilt is None
    assert Path(state_dir, store.FILE_NAME).read_bytes() == before


def test_what_is_sound_but_not_ours_is_not_rebuilt(state_dir):
    path = foreign(state_dir)
    before = path.read_bytes()

    def rebuild() -> None:
        with store.rebuilding(state_dir, 0, dry=False):
            pass

    assert refusal(rebuild) == (
        f"{path} is not a store of netops.underlay; move it away, or name another folder in state_dir"
    )
    assert path.read_bytes() == before


# --- on disk --------------------------------------------------------------------------------------------------


def test_folder_and_files_are_of_their_owner_alone(state_dir):
    before = os.umask(0)
    try:
        with store.writing(state_dir, 0) as kept:
            kept.write([Put(network("web"))])
            modes = {
                name: stat.S_IMODE(os.stat(os.path.join(state_dir, name)).st_mode) for name in os.listdir(state_dir)
            }
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(state_dir).st_mode) == 0o700
    assert {store.FILE_NAME, store.LOCK_NAME} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_every_commit_is_on_disk_when_it_returns(state_dir):
    with store.writing(state_dir, 0) as kept:
        assert kept._sql.execute("PRAGMA journal_mode").fetchone() == ("persist",)
        assert kept._sql.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_reading_a_host_that_has_no_store_makes_nothing(tmp_path):
    missing = tmp_path / "a" / "b"
    with store.reading(str(missing)) as kept:
        assert (kept.networks(), kept.parents(), kept.endpoints(), kept.namespaces()) == ({}, {}, {}, {})
        assert kept.allocations() == []
        assert kept.free("p", 4, 2, 9, 99) == [(2, 9)]
    assert list(tmp_path.iterdir()) == []


def test_reading_an_empty_folder_makes_nothing(tmp_path):
    os.chmod(tmp_path, 0o700)
    with store.reading(str(tmp_path)) as kept:
        assert kept.networks() == {}
    assert list(tmp_path.iterdir()) == []


def test_reading_cannot_write(state_dir):
    open_for_writing(state_dir)
    with store.reading(state_dir) as kept, pytest.raises(sqlite3.OperationalError, match="readonly"):
        kept._sql.execute("INSERT INTO parents VALUES ('a', NULL, NULL, '802.1q')")


def test_a_reader_sees_one_moment_and_a_commit_waits_for_it(state_dir):
    write(state_dir, Put(network("web")))
    with store.reading(state_dir) as kept:
        assert list(kept.networks()) == ["web"]
        writer = threading.Thread(target=write, args=(state_dir, Put(network("db"))))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert list(kept.networks()) == ["web"]
    writer.join()
    with store.reading(state_dir) as kept:
        assert sorted(kept.networks()) == ["db", "web"]


# --- refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_folder_that_others_can_write_to_is_refused(state_dir, mode, function):
    open_for_writing(state_dir)
    os.chmod(state_dir, mode)
    assert refusal(function, state_dir) == (
        f"state_dir {state_dir} can be written to by others (owner {os.geteuid()}, mode {mode:04o}); make it root's "
        f"alone: chown root {state_dir} && chmod 0700 {state_dir}"
    )


@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path, function):
    open_for_writing(str(tmp_path / "real"))
    (tmp_path / "state").symlink_to(tmp_path / "real")
    assert refusal(function, str(tmp_path / "state")).startswith(f"state_dir {tmp_path / 'state'} is a symbolic link")


@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, function):
    (tmp_path / "state").write_text("mine")
    assert refusal(function, str(tmp_path / "state")) == f"state_dir {tmp_path / 'state'} is not a folder"
    assert (tmp_path / "state").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True], ids=["a new store", "a store that is there"])
@pytest.mark.parametrize("aim", ["victim", "nothing"])
@pytest.mark.parametrize("name", [store.FILE_NAME, store.LOCK_NAME, store.FILE_NAME + "-journal"])
def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path, state_dir, name, aim, there):
    os.mkdir(state_dir, 0o700)
    if there:
        open_for_writing(state_dir)
    elif name.endswith("-journal"):
        return  # of a store that is made, what lies there goes; see below
    place, victim = Path(state_dir, name), tmp_path / "victim"
    place.unlink(missing_ok=True)
    victim.write_bytes(b"")
    place.symlink_to(tmp_path / aim)
    text = refusal(open_for_writing, state_dir)
    assert str(place) in text and "symbolic link" in text
    assert victim.read_bytes() == b"" and not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("aim", ["victim", "nothing"])
@pytest.mark.parametrize("name", [".new", ".new-journal", "-journal"])
def test_a_link_in_the_place_of_what_a_kill_may_leave_goes(tmp_path, state_dir, name, aim):
    os.mkdir(state_dir, 0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    Path(state_dir, store.FILE_NAME + name).symlink_to(tmp_path / aim)
    open_for_writing(state_dir)
    assert victim.read_bytes() == b"" and not (tmp_path / "nothing").exists()
    assert not any(path.is_symlink() for path in Path(state_dir).iterdir())


def test_a_dry_rebuild_of_nothing_makes_nothing(tmp_path):
    with store.rebuilding(str(tmp_path / "state"), 0, dry=True) as rebuilt:
        assert rebuilt is None
    assert not (tmp_path / "state").exists()


def foreign(state_dir: str, **pragmas: int) -> Path:
    os.mkdir(state_dir, 0o700)
    path = Path(state_dir, store.FILE_NAME)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    for name, value in pragmas.items():
        connection.execute(f"PRAGMA {name} = {value}")
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_file_that_is_no_database_is_refused_and_kept(state_dir, function):
    os.mkdir(state_dir, 0o700)
    path = Path(state_dir, store.FILE_NAME)
    path.write_bytes(b"this is no database" * 100)
    text = refusal(function, state_dir)
    assert str(path) in text
    assert "not a database" in text
    assert path.read_bytes() == b"this is no database" * 100


@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_database_of_somebody_else_is_refused_and_not_changed(state_dir, function):
    path = foreign(state_dir)
    before = path.read_bytes()
    assert refusal(function, state_dir) == (
        f"{path} is not a store of netops.underlay; move it away, or name another folder in state_dir"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("version", "age"), [(store.SCHEMA_VERSION + 1, "a newer"), (store.SCHEMA_VERSION - 1, "an older")]
)
@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_store_of_another_version_is_refused_and_not_changed(state_dir, function, version, age):
    path = foreign(state_dir, application_id=store.APPLICATION_ID, user_version=version)
    before = path.read_bytes()
    assert refusal(function, state_dir) == (
        f"the store {path} was written by {age} version of netops.underlay (schema {version}, this one knows "
        f"{store.SCHEMA_VERSION}); use that version for this host, nothing was changed"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_store_of_zero_bytes_is_refused(state_dir, function):
    """It was never ours: a new one gets its name only when it is whole."""
    os.mkdir(state_dir, 0o700)
    path = Path(state_dir, store.FILE_NAME)
    path.touch(0o600)
    text = refusal(function, state_dir)
    assert f"{path} (the file is empty): it is damaged" in text and "state: recovered" in text
    assert path.read_bytes() == b""


def test_a_torn_store_is_refused(state_dir):
    write(state_dir, *(Put(allocation(str(ip_address("10.0.0.0") + value))) for value in range(3000)))
    path = Path(state_dir, store.FILE_NAME)
    path.write_bytes(path.read_bytes()[:8192])

    def read() -> None:
        with store.writing(state_dir, 0) as kept:
            kept.write([Put(allocation("10.9.9.9"))])

    text = refusal(read)
    assert str(path) in text and "it is damaged" in text and "state: recovered" in text


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o602])
@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_store_that_others_can_write_to_is_refused(state_dir, mode, function):
    open_for_writing(state_dir)
    path = os.path.join(state_dir, store.FILE_NAME)
    os.chmod(path, mode)
    assert refusal(function, state_dir) == (
        f"the store {path} can be written to by others (owner {os.geteuid()}, mode {mode:04o}); make it root's alone: "
        f"chown root {path} && chmod 0600 {path}"
    )


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    text = refusal(open_for_writing, str(tmp_path / "file" / "state"))
    assert text == f"cannot use {tmp_path}/file/state: Not a directory"


# --- the lock -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "variables", "words"),
    [
        (
            "vlan_network",
            {"SUDO_USER": "alice", "LOGNAME": "root"},
            "(vlan_network of alice, since 2027-01-15T09:00:00Z)",
        ),
        ("", {"LOGNAME": "root"}, f"({os.path.basename(sys.argv[0])} of root, since 2027-01-15T09:00:00Z)"),
        ("netops-underlay", {"SUDO_USER": "a\nb"}, "(netops-underlay, since 2027-01-15T09:00:00Z)"),
    ],
)
def test_a_lock_that_is_held_names_its_holder(state_dir, monkeypatch, who, variables, words):
    for name in ("SUDO_USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(store, "clock", lambda: 1800003600)
    with store.writing(state_dir, 0, who):
        text = refusal(open_for_writing, state_dir, 0)
    lock = os.path.join(state_dir, store.LOCK_NAME)
    assert text == (
        f"process {os.getpid()} {words} has held {lock} for the 0 s that lock_timeout allows; wait for it to end, or raise "
        "lock_timeout"
    )


def test_a_run_that_waits_says_once_for_whom(state_dir):
    with contextlib.ExitStack() as stack:
        stack.enter_context(store.writing(state_dir, 0, "vlan_network"))
        told: list[str] = []

        def waiting(holder: str) -> None:
            told.append(holder)
            stack.close()

        with store.writing(state_dir, 60, "vlan_endpoint", waiting):
            pass
    assert len(told) == 1
    assert told[0].startswith(f"process {os.getpid()} (vlan_network")


def test_a_lock_held_by_something_unknown_is_told_too(state_dir):
    open_for_writing(state_dir)
    lock = os.path.join(state_dir, store.LOCK_NAME)
    with open(lock, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert refusal(open_for_writing, state_dir, 0).startswith(f"another run has held {lock} for the 0 s")


def test_a_lock_held_by_another_process_is_waited_for(state_dir):
    open_for_writing(state_dir)
    lock = os.path.join(state_dir, store.LOCK_NAME)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, os, sys; f = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(f, fcntl.LOCK_EX);"
            "print('held', flush=True); sys.stdin.readline()",
            lock,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        began = time.monotonic()
        assert "for the 0.2 s that lock_timeout allows" in refusal(open_for_writing, state_dir, 0.2)
        assert time.monotonic() - began >= 0.2
        holder.stdin.close()
        open_for_writing(state_dir, 30)
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_killed_holder_leaves_no_lock(state_dir):
    open_for_writing(state_dir)
    Path(state_dir, store.LOCK_NAME).write_text("process 1 (gone)")
    open_for_writing(state_dir, 0)


def test_readers_take_no_lock(state_dir):
    write(state_dir, Put(network("web")))
    with store.writing(state_dir, 0), store.reading(state_dir) as other:
        assert list(other.networks()) == ["web"]


def test_the_lock_is_let_go_when_a_run_fails(state_dir):
    with pytest.raises(KeyError), store.writing(state_dir, 0):
        raise KeyError
    open_for_writing(state_dir, 0)
