# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What outlives a run: networks, the links and namespaces that we made, endpoints, addresses. The only file that
knows SQL; it knows neither Ansible nor the kernel.

SQLite in WAL mode, every transaction on disk when it returns (``synchronous=FULL``). Writers take a lock file first
and keep it for the whole run, so that what was planned on is still true when it is carried out; readers take none.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress, Subnet, address_of
from ansible_collections.netops.underlay.plugins.module_utils.errors import StoreError
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    Allocation,
    Endpoint,
    MadeNamespace,
    Network,
    Parent,
    Target,
)
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Put, StoreStep

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6E6F756C  # "noul": says that the file is ours
FILE_NAME = "store.sqlite"
LOCK_NAME = "lock"
_POLL_S = 0.05

# ``held`` is what makes the next free address cheap: the allocated addresses of a segment as maximal runs, so that
# one step over a run replaces a walk over its addresses. It is derived from ``allocations`` in the same transaction.
# Addresses are big-endian blobs (4 or 16 bytes): SQLite compares them as numbers.
_SCHEMA = """
CREATE TABLE networks (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE parents (name TEXT PRIMARY KEY, base TEXT, vlan_id INTEGER) WITHOUT ROWID;
CREATE TABLE namespaces (name TEXT PRIMARY KEY, cookie INTEGER, boot_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE endpoints (
    network TEXT NOT NULL, name TEXT NOT NULL, target_kind TEXT NOT NULL, target_value TEXT NOT NULL,
    ifname TEXT NOT NULL, mac_address TEXT, default_route TEXT NOT NULL,
    cookie INTEGER, boot_id TEXT NOT NULL, start_time INTEGER,
    PRIMARY KEY (network, name)) WITHOUT ROWID;
CREATE TABLE allocations (
    segment TEXT NOT NULL, family INTEGER NOT NULL, address BLOB NOT NULL,
    network TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, description TEXT NOT NULL,
    PRIMARY KEY (segment, family, address)) WITHOUT ROWID;
CREATE INDEX allocations_by_owner ON allocations (network, kind, owner, family);
CREATE TABLE held (
    segment TEXT NOT NULL, family INTEGER NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,
    PRIMARY KEY (segment, family, first)) WITHOUT ROWID;
"""

# Called before every write with a word for it; tests count and break the run with it.
recorder: Callable[[str, object], None] | None = None


class Store:
    """The store of one host. Use ``reading`` or ``writing``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    # --- reading ---

    def networks(self) -> dict[str, Network]:
        return {name: _network(name, json.loads(body)) for name, body in self._sql.execute("SELECT * FROM networks")}

    def parents(self) -> dict[str, Parent]:
        return {row[0]: Parent(*row) for row in self._sql.execute("SELECT name, base, vlan_id FROM parents")}

    def namespaces(self) -> dict[str, MadeNamespace]:
        rows = self._sql.execute("SELECT name, cookie, boot_id FROM namespaces")
        return {row[0]: MadeNamespace(*row) for row in rows}

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        rows = self._sql.execute(
            "SELECT network, name, target_kind, target_value, ifname, mac_address, default_route, cookie, boot_id,"
            " start_time FROM endpoints"
        )
        return {(row[0], row[1]): _endpoint(row) for row in rows}

    def allocations(self, network: str | None = None, owner: str | None = None) -> list[Allocation]:
        """The allocations of a network, of an owner, or all; by network and address."""
        wanted = {"network": network, "owner": owner}
        given = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = :{column}" for column in given) or "1"
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM allocations WHERE {where} ORDER BY network, family, address", given
        )
        return [_allocation(row) for row in rows]

    def owned(self, keys: Iterable[tuple[str, str, str]]) -> list[Allocation]:
        """The allocations of ``(network, kind, owner)`` keys, both families."""
        query = f"SELECT {_COLUMNS} FROM allocations WHERE network = ? AND kind = ? AND owner = ?"
        return [_allocation(row) for key in keys for row in self._sql.execute(query, key)]

    def holders(self, addresses: Iterable[tuple[str, IPAddress]]) -> list[Allocation]:
        """The allocations of ``(segment, address)`` pairs; free ones are left out."""
        query = f"SELECT {_COLUMNS} FROM allocations WHERE segment = ? AND family = ? AND address = ?"
        found = []
        for segment, address in addresses:
            found += map(_allocation, self._sql.execute(query, (segment, address.version, address.packed)))
        return found

    def count(self, network: str) -> int:
        """How many addresses a network holds."""
        return self._sql.execute("SELECT count(*) FROM allocations WHERE network = ?", (network,)).fetchone()[0]

    def free(self, segment: str, family: int, first: int, last: int, count: int) -> list[tuple[int, int]]:
        """The lowest free addresses from ``first`` to ``last``, as ``(first, last)`` intervals that together hold at
        least ``count`` addresses, if there are so many."""
        intervals: list[tuple[int, int]] = []
        start = first
        for run_first, run_last in self._runs(segment, family, first, last):
            if run_first > start:
                intervals.append((start, run_first - 1))
                count -= run_first - start
                if count <= 0:
                    return intervals
            start = max(start, run_last + 1)
        if start <= last:
            intervals.append((start, last))
        return intervals

    def _runs(self, segment: str, family: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        place = (segment, family)
        before = self._sql.execute(
            "SELECT first, last FROM held WHERE segment = ? AND family = ? AND first < ? ORDER BY first DESC LIMIT 1",
            (*place, _blob(first, family)),
        )
        within = self._sql.execute(
            "SELECT first, last FROM held WHERE segment = ? AND family = ? AND first BETWEEN ? AND ? ORDER BY first",
            (*place, _blob(first, family), _blob(last, family)),
        )
        for rows in (before, within):
            for run_first, run_last in rows:
                yield _number(run_first), _number(run_last)

    # --- writing ---

    def write(self, steps: Sequence[StoreStep]) -> None:
        """All steps in one transaction, on disk when this returns; none of them if one fails. Drops come first, so that
        an address that one owner leaves can be another's in the same transaction."""
        if not steps:
            return
        if recorder is not None:
            recorder("store", steps)
        with _told("writing the store"), self._transaction():
            for step in steps:
                if isinstance(step, Drop):
                    self._drop(step.row)
            for step in steps:
                if isinstance(step, Put):
                    self._put(step.row)
            self._change_held(steps)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    def _put(self, row: Any) -> None:
        table, values = _ROWS[type(row)](row)
        # An allocation must never take the place of another owner's: its conflict is an error, not an update.
        verb = "INSERT" if isinstance(row, Allocation) else "INSERT OR REPLACE"
        self._sql.execute(f"{verb} INTO {table} VALUES ({', '.join('?' * len(values))})", values)

    def _drop(self, row: Any) -> None:
        if isinstance(row, Allocation):
            self._sql.execute(
                "DELETE FROM allocations WHERE segment = ? AND family = ? AND address = ?",
                (row.segment, row.family, row.address.packed),
            )
        elif isinstance(row, Endpoint):
            self._sql.execute("DELETE FROM endpoints WHERE network = ? AND name = ?", row.key)
        else:
            self._sql.execute(f"DELETE FROM {_ROWS[type(row)](row)[0]} WHERE name = ?", (row.name,))

    def _change_held(self, steps: Sequence[StoreStep]) -> None:
        """Brings ``held`` in step with the allocations that ``steps`` dropped and put."""
        changed: dict[tuple[str, int], tuple[set[int], set[int]]] = {}
        for step in steps:
            if isinstance(step.row, Allocation):
                place = changed.setdefault((step.row.segment, step.row.family), (set(), set()))
                place[isinstance(step, Put)].add(int(step.row.address))
        for (segment, family), (dropped, put) in changed.items():
            for first, last in runs_of(dropped - put):
                self._open(segment, family, first, last)
            for first, last in runs_of(put - dropped):
                self._close(segment, family, first, last)

    def _close(self, segment: str, family: int, first: int, last: int) -> None:
        """Marks ``first`` to ``last`` held, and joins the run with its neighbours."""
        place = (segment, family)
        left = self._sql.execute(
            "SELECT first, last FROM held WHERE segment = ? AND family = ? AND first < ? ORDER BY first DESC LIMIT 1",
            (*place, _blob(first, family)),
        ).fetchone()
        if left and _number(left[1]) == first - 1:
            first = _number(left[0])
        if last + 1 < 1 << (32 if family == 4 else 128):
            right = self._sql.execute(
                "SELECT last FROM held WHERE segment = ? AND family = ? AND first = ?",
                (*place, _blob(last + 1, family)),
            ).fetchone()
            if right:
                self._delete_run(segment, family, last + 1)
                last = _number(right[0])
        self._insert_run(segment, family, first, last)

    def _open(self, segment: str, family: int, first: int, last: int) -> None:
        """Marks ``first`` to ``last`` free again; they lie in one run."""
        run = self._sql.execute(
            "SELECT first, last FROM held WHERE segment = ? AND family = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (segment, family, _blob(first, family)),
        ).fetchone()
        run_first, run_last = _number(run[0]), _number(run[1])
        self._delete_run(segment, family, run_first)
        if run_first < first:
            self._insert_run(segment, family, run_first, first - 1)
        if last < run_last:
            self._insert_run(segment, family, last + 1, run_last)

    def _insert_run(self, segment: str, family: int, first: int, last: int) -> None:
        self._sql.execute(
            "INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?)",
            (segment, family, _blob(first, family), _blob(last, family)),
        )

    def _delete_run(self, segment: str, family: int, first: int) -> None:
        self._sql.execute(
            "DELETE FROM held WHERE segment = ? AND family = ? AND first = ?", (segment, family, _blob(first, family))
        )


def runs_of(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Maximal runs of consecutive numbers, lowest first."""
    first = last = None
    for number in sorted(numbers):
        if last is not None and number == last + 1:
            last = number
            continue
        if first is not None:
            yield first, last
        first = last = number
    if first is not None:
        yield first, last


# --- opening --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(state_dir: str) -> Iterator[Store]:
    """The store for reading only. A host that has none yet has an empty one; nothing is made on disk.

    :raises StoreError: if it cannot be read
    """
    path = os.path.join(state_dir, FILE_NAME)
    with _told(f"reading {path}"):
        if os.path.lexists(state_dir):
            _check_folder(state_dir)
        if not os.path.lexists(path):
            connection = _connect(":memory:")
            connection.executescript(_SCHEMA)
        else:
            connection = _connect(path)
            _check_version(connection, path)
        connection.execute("PRAGMA query_only = ON")
        # One snapshot for the whole run, whatever a writer does meanwhile.
        connection.execute("BEGIN")
    try:
        yield Store(connection)
    finally:
        connection.close()


@contextlib.contextmanager
def writing(state_dir: str, lock_timeout: float) -> Iterator[Store]:
    """The store for one run that changes things; alone on this host until it is closed.

    :param lock_timeout: seconds to wait for another run
    :raises StoreError: if it cannot be used
    """
    path = os.path.join(state_dir, FILE_NAME)
    with _told(f"opening {path}"):
        with contextlib.suppress(FileExistsError):
            os.makedirs(state_dir, mode=0o700)
        _check_folder(state_dir)
    with _locked(os.path.join(state_dir, LOCK_NAME), lock_timeout):
        with _told(f"opening {path}"):
            # Made by us with its mode, so that it is at no instant readable by others.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            connection = _connect(path)
            _create_schema(connection)
            _check_version(connection, path)
        try:
            yield Store(connection)
        finally:
            connection.close()


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _create_schema(connection: sqlite3.Connection) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables:
        return
    if recorder is not None:
        recorder("schema", SCHEMA_VERSION)
    connection.execute("PRAGMA journal_mode = WAL")  # stays with the file
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _check_version(connection: sqlite3.Connection, path: str) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not a store of netops.underlay; move it away, or name another folder in state_dir")
    if version != SCHEMA_VERSION:
        age = "a newer" if version > SCHEMA_VERSION else "an older"
        raise StoreError(
            f"the store {path} was written by {age} version of netops.underlay (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); use that version for this host, nothing was changed"
        )


def _check_folder(state_dir: str) -> None:
    """What lies in the folder decides what is removed from this host: nobody but root may write there."""
    status = os.lstat(state_dir)
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError(f"state_dir {state_dir} is not a folder")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise StoreError(
            f"state_dir {state_dir} can be written to by others (owner {status.st_uid}, mode "
            f"{stat.S_IMODE(status.st_mode):04o}); make it root's alone: chown root {state_dir} && chmod 0700 {state_dir}"
        )


@contextlib.contextmanager
def _locked(path: str, timeout: float) -> Iterator[None]:
    with _told(f"locking {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, path, timeout)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} ({os.path.basename(sys.argv[0]) or 'python'})".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: str, timeout: float) -> None:
    give_up = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= give_up:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another run"
                raise StoreError(
                    f"{holder} has held {path} for the {timeout:g} s that lock_timeout allows; "
                    "wait for it to end, or raise lock_timeout"
                ) from None
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _told(doing: str) -> Iterator[None]:
    """Turns what the system says into words for the user."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{doing}: {error}") from error
    except OSError as error:
        raise StoreError(f"{doing}: {error.strerror or error}") from error


# --- rows -----------------------------------------------------------------------------------------------------

_COLUMNS = "segment, family, address, network, kind, owner, description"


def _blob(number: int, family: int) -> bytes:
    return number.to_bytes(4 if family == 4 else 16, "big")


def _number(blob: bytes) -> int:
    return int.from_bytes(blob, "big")


def _allocation(row: Sequence[Any]) -> Allocation:
    segment, family, address, network, kind, owner, description = row
    return Allocation(segment, network, kind, owner, address_of(_number(address), family), description)


def _endpoint(row: Sequence[Any]) -> Endpoint:
    network, name, target_kind, target_value, ifname, mac, routes, cookie, boot_id, start_time = row
    families = tuple(int(family) for family in routes.split())
    target = Target(target_kind, target_value)
    return Endpoint(network, name, target, ifname, mac, families, cookie, boot_id, start_time)


def _network(name: str, body: dict[str, Any]) -> Network:
    subnets = tuple(
        Subnet(
            network=ipaddress.ip_network(subnet["subnet"]),
            gateway=None if subnet["gateway"] is None else ipaddress.ip_address(subnet["gateway"]),
            ip_range=None if subnet["ip_range"] is None else ipaddress.ip_network(subnet["ip_range"]),
            auxiliary=tuple((key, ipaddress.ip_address(value)) for key, value in subnet["auxiliary"]),
            from_pool=subnet["from_pool"],
        )
        for subnet in body.pop("subnets")
    )
    return Network(name=name, subnets=subnets, **body)


def _network_row(network: Network) -> tuple[str, tuple[Any, ...]]:
    body = {
        "driver_name": network.driver_name,
        "parent": network.parent,
        "asked_parent": network.asked_parent,
        "mode": network.mode,
        "flag": network.flag,
        "internal": network.internal,
        "enable_ipv4": network.enable_ipv4,
        "enable_ipv6": network.enable_ipv6,
        "mtu": network.mtu,
        "labels": dict(network.labels),
        "subnets": [
            {
                "subnet": str(subnet.network),
                "gateway": None if subnet.gateway is None else str(subnet.gateway),
                "ip_range": None if subnet.ip_range is None else str(subnet.ip_range),
                "auxiliary": [[name, str(address)] for name, address in subnet.auxiliary],
                "from_pool": subnet.from_pool,
            }
            for subnet in network.subnets
        ],
    }
    return "networks", (network.name, json.dumps(body))


_ROWS: dict[type, Callable[[Any], tuple[str, tuple[Any, ...]]]] = {
    Network: _network_row,
    Parent: lambda row: ("parents", (row.name, row.base, row.vlan_id)),
    MadeNamespace: lambda row: ("namespaces", (row.name, row.cookie, row.boot_id)),
    Endpoint: lambda row: (
        "endpoints",
        (
            row.network,
            row.name,
            row.target.kind,
            row.target.value,
            row.ifname,
            row.mac_address,
            " ".join(map(str, row.default_route)),
            row.cookie,
            row.boot_id,
            row.start_time,
        ),
    ),
    Allocation: lambda row: (
        "allocations",
        (row.segment, row.family, row.address.packed, row.network, row.kind, row.owner, row.description),
    ),
}
