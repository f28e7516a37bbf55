# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The store on a real SQLite: what comes back, what is free, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import time
from dataclasses import replace
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
    MadeNamespace,
    Parent,
    Target,
)
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Put
from hypothesis import given
from hypothesis import strategies as st

from .builders import network, subnet


@pytest.fixture
def state_dir(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def write(state_dir: str, *steps: Any) -> None:
    with store.writing(state_dir, 0) as kept:
        kept.write(steps)


def allocation(address: str, owner: str = "x", segment: str = "eth0.20", **fields: Any) -> Allocation:
    values = {"network": "web", "kind": ENDPOINT, **fields}
    return Allocation(segment=segment, owner=owner, address=ip_address(address), **values)


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
        assert kept.holders([("eth0.20", ip_address(address))]) == [row]
        assert kept.count("web") == 1


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
        assert kept.owned([("web", RESERVED, "x")]) == []
        assert kept.holders([("eth0.30", ip_address("10.0.0.2")), ("eth0.30", ip_address("10.0.0.3"))]) == [three]
        assert (kept.count("web"), kept.count("db"), kept.count("no")) == (2, 1, 0)


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
        with pytest.raises(StoreError, match="writing the store"):
            kept.write([Put(network("web")), Put(allocation("10.0.0.9")), Put(replace(mine, owner="thief"))])
        # the connection is usable after that
        kept.write([Put(network("later"))])
    with store.reading(state_dir) as kept:
        assert kept.allocations() == [mine]
        assert list(kept.networks()) == ["later"]
    assert held_runs(state_dir) == before


def test_a_write_that_breaks_off_leaves_nothing(state_dir, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(_self: Any, _steps: Any) -> None:
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


@given(st.sets(st.integers(0, 60)))
def test_runs_are_maximal_and_in_order(numbers):
    assert list(store.runs_of(numbers)) == plain_runs(numbers)


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
        assert kept._sql.execute("PRAGMA journal_mode").fetchone() == ("wal",)
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


@pytest.mark.parametrize("exists", [True, False])
def test_reading_cannot_write(state_dir, exists):
    if exists:
        open_for_writing(state_dir)
    with store.reading(state_dir) as kept, pytest.raises(sqlite3.OperationalError, match="readonly"):
        kept._sql.execute("INSERT INTO parents VALUES ('a', NULL, NULL)")


def test_a_reader_sees_one_moment_whatever_a_writer_does(state_dir):
    write(state_dir, Put(network("web")))
    with store.reading(state_dir) as kept:
        assert list(kept.networks()) == ["web"]
        write(state_dir, Put(network("db")))
        assert list(kept.networks()) == ["web"]
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
    assert refusal(function, str(tmp_path / "state")) == f"state_dir {tmp_path / 'state'} is not a folder"


@pytest.mark.parametrize("function", [open_for_writing, open_for_reading])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, function):
    (tmp_path / "state").write_text("mine")
    assert refusal(function, str(tmp_path / "state")) == f"state_dir {tmp_path / 'state'} is not a folder"
    assert (tmp_path / "state").read_text() == "mine"


@pytest.mark.parametrize("name", [store.FILE_NAME, store.LOCK_NAME])
def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path, state_dir, name):
    os.mkdir(state_dir, 0o700)
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    os.symlink(victim, os.path.join(state_dir, name))
    assert "symbolic link" in refusal(open_for_writing, state_dir)
    assert victim.read_bytes() == b""


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


def test_a_store_of_zero_bytes_is_refused_by_a_reader(state_dir):
    os.mkdir(state_dir, 0o700)
    Path(state_dir, store.FILE_NAME).touch()
    assert "is not a store of netops.underlay" in refusal(open_for_reading, state_dir)


def test_a_torn_store_is_refused(state_dir):
    write(state_dir, *(Put(allocation(str(ip_address("10.0.0.0") + value))) for value in range(3000)))
    path = Path(state_dir, store.FILE_NAME)
    path.write_bytes(path.read_bytes()[:8192])

    def read() -> None:
        with store.writing(state_dir, 0) as kept:
            kept.write([Put(allocation("10.9.9.9"))])

    assert refusal(read)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    text = refusal(open_for_writing, str(tmp_path / "file" / "state"))
    assert text == f"opening {tmp_path}/file/state/store.sqlite: Not a directory"


# --- the lock -------------------------------------------------------------------------------------------------


def test_a_lock_that_is_held_names_its_holder(state_dir):
    with store.writing(state_dir, 0):
        text = refusal(open_for_writing, state_dir, 0)
    lock = os.path.join(state_dir, store.LOCK_NAME)
    assert text == (
        f"process {os.getpid()} ({os.path.basename(sys.argv[0]) or 'python'}) has held {lock} for the 0 s that "
        "lock_timeout allows; wait for it to end, or raise lock_timeout"
    )


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
    with store.writing(state_dir, 0) as kept:
        kept.write([Put(network("web"))])
        with store.reading(state_dir) as other:
            assert list(other.networks()) == ["web"]


def test_the_lock_is_let_go_when_a_run_fails(state_dir):
    with pytest.raises(KeyError), store.writing(state_dir, 0):
        raise KeyError
    open_for_writing(state_dir, 0)
