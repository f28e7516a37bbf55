# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What outlives a run: networks, the links and namespaces that we made, endpoints, addresses and who had them. The only
file that knows SQL; it knows neither Ansible nor the kernel.

SQLite with a rollback journal that stays (``PERSIST``), every transaction on disk when it returns (``synchronous=FULL``):
each run opens and closes the store, and a write-ahead log would be made, synced and removed every time, which costs an
allocation a millisecond more. Writers take a lock file first and keep it for the whole run, so that what was planned on
is still true when it is carried out; readers take none, but a commit waits for those that are reading.
Times are whole seconds since the epoch. What has expired is not there for any reader; the next write forgets it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import heapq
import json
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.addressing import (
    IPAddress,
    Subnet,
    address_from,
    address_of,
    subnet_from,
)
from ansible_collections.netops.underlay.plugins.module_utils.errors import OtherVersion, StoreError
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    DEFAULT_HISTORY_DAYS,
    ENDPOINT,
    HISTORY_DAYS,
    RESERVED,
    Allocation,
    Announcing,
    Endpoint,
    Held,
    HostRoute,
    HostSetting,
    MadeFile,
    MadeNamespace,
    Network,
    Parent,
    Target,
    moment,
)
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Put, StoreStep

SCHEMA_VERSION = 3
APPLICATION_ID = 0x6E6F756C  # "noul": says that the file is ours
FILE_NAME = "store.sqlite"
LOCK_NAME = "lock"
_POLL_S = 0.002
_MOMENT_S = 1.0  # no word of what is waited for before that: most runs are over by then
_HOLDER_BYTES = 200
_DAY_S = 86400

# ``held`` is what makes the next free address cheap: the allocated addresses of a segment as maximal runs, so that
# one step over a run replaces a walk over its addresses. It is derived from ``allocations`` in the same transaction.
# Addresses are big-endian blobs (4 or 16 bytes): SQLite compares them as numbers.
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE networks (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE parents (
    name TEXT PRIMARY KEY, base TEXT, vlan_id INTEGER, protocol TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE made_files (name TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE namespaces (name TEXT PRIMARY KEY, cookie INTEGER, boot_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE endpoints (
    network TEXT NOT NULL, name TEXT NOT NULL, target_kind TEXT NOT NULL, target_value TEXT NOT NULL,
    target_engine TEXT NOT NULL, ifname TEXT NOT NULL, mac_address TEXT, default_route TEXT NOT NULL,
    cookie INTEGER, boot_id TEXT NOT NULL, start_time INTEGER,
    aliases TEXT NOT NULL, sysctls TEXT NOT NULL, hosts_path TEXT,
    PRIMARY KEY (network, name)) WITHOUT ROWID;
CREATE TABLE allocations (
    segment TEXT NOT NULL, family INTEGER NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,
    network TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, description TEXT NOT NULL,
    since INTEGER NOT NULL, expires INTEGER, cooling INTEGER NOT NULL,
    PRIMARY KEY (segment, family, first)) WITHOUT ROWID;
CREATE INDEX allocations_by_owner ON allocations (network, kind, owner, family);
CREATE INDEX allocations_by_expiry ON allocations (expires) WHERE expires IS NOT NULL;
CREATE TABLE held (
    segment TEXT NOT NULL, family INTEGER NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,
    PRIMARY KEY (segment, family, first)) WITHOUT ROWID;
CREATE TABLE history (
    segment TEXT NOT NULL, family INTEGER NOT NULL, first BLOB NOT NULL, last BLOB NOT NULL,
    network TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, description TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL);
CREATE INDEX history_by_address ON history (family, first);
CREATE INDEX history_by_end ON history (until);
"""

# Called before every write with a word for it; tests count and break the run with it.
recorder: Callable[[str, object], None] | None = None

Span = tuple[str, IPAddress, IPAddress]  # segment, first, last
Waiting = Callable[[str], None]


def clock() -> int:
    """The time; tests set it."""
    return int(time.time())


class Store:
    """The store of one host. Use ``reading`` or ``writing``. ``fresh``: there was none before; ``now``: when it was
    opened, which is the time for all of this run."""

    def __init__(self, connection: sqlite3.Connection, fresh: bool = False) -> None:
        self._sql = connection
        self.fresh = fresh
        self.now = clock()
        self._begin()

    def _begin(self) -> None:
        """What is read until the next write is of one moment, and SQLite takes its locks once and not for each question."""
        self._sql.execute("BEGIN")

    # --- reading ---

    def settings(self) -> dict[str, Any]:
        return {name: json.loads(value) for name, value in self._sql.execute("SELECT name, value FROM settings")}

    def networks(self) -> dict[str, Network]:
        return {name: _network(name, json.loads(body)) for name, body in self._sql.execute("SELECT * FROM networks")}

    def parents(self) -> dict[str, Parent]:
        return {row[0]: Parent(*row) for row in self._sql.execute("SELECT name, base, vlan_id, protocol FROM parents")}

    def namespaces(self) -> dict[str, MadeNamespace]:
        rows = self._sql.execute("SELECT name, cookie, boot_id FROM namespaces")
        return {row[0]: MadeNamespace(*row) for row in rows}

    def made_files(self) -> dict[str, MadeFile]:
        return {row[0]: MadeFile(*row) for row in self._sql.execute("SELECT name, digest FROM made_files")}

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        rows = self._sql.execute(f"SELECT {_ENDPOINT_COLUMNS} FROM endpoints")
        return {(row[0], row[1]): _endpoint(row) for row in rows}

    def allocations(self, network: str | None = None, owner: str | None = None) -> list[Allocation]:
        """The allocations of a network, of an owner, or all; by network and address."""
        if owner is not None:
            networks = [network] if network is not None else self._networks_of_owners()
            found = self.owned((name, kind, owner) for name in networks for kind in (ENDPOINT, RESERVED))
            return sorted(found, key=lambda row: (row.network, row.family, row.bounds, row.segment))
        where = _COUNTS if network is None else f"{_COUNTS} AND network = :network"
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM allocations WHERE {where} ORDER BY network, family, first",
            {"network": network, "now": self.now},
        )
        return [_allocation(row) for row in rows]

    def _networks_of_owners(self) -> list[str]:
        """All networks that hold something, by a few looks into the index of owners, which begins with them."""
        rows = self._sql.execute(
            "WITH RECURSIVE found (name) AS (SELECT min(network) FROM allocations UNION ALL SELECT (SELECT min(network)"
            " FROM allocations WHERE network > name) FROM found WHERE name IS NOT NULL)"
            " SELECT name FROM found WHERE name IS NOT NULL"
        )
        return [name for (name,) in rows]

    def on_segments(self, segments: Iterable[str]) -> list[Allocation]:
        """The allocations of all networks on these parents."""
        query = f"SELECT {_COLUMNS} FROM allocations WHERE segment = :segment AND {_COUNTS}"
        return [
            _allocation(row)
            for segment in sorted(set(segments))
            for row in self._sql.execute(query, {"segment": segment, "now": self.now})
        ]

    def owned(self, keys: Iterable[tuple[str, str, str]]) -> list[Allocation]:
        """The allocations of ``(network, kind, owner)`` keys, both families."""
        owners: dict[tuple[str, str], list[str]] = {}
        for network, kind, owner in keys:
            owners.setdefault((network, kind), []).append(owner)
        query = (
            f"SELECT {_COLUMNS} FROM json_each(:owners) CROSS JOIN allocations"
            f" ON network = :network AND kind = :kind AND owner = json_each.value AND {_COUNTS}"
        )
        return [
            _allocation(row)
            for (network, kind), names in owners.items()
            for row in self._sql.execute(
                query, {"owners": json.dumps(names), "network": network, "kind": kind, "now": self.now}
            )
        ]

    def of_networks(self, networks: Iterable[str]) -> list[Allocation]:
        """All that these networks hold, by network and address."""
        rows = self._sql.execute(
            f"SELECT {_COLUMNS} FROM json_each(:networks) CROSS JOIN allocations ON network = json_each.value AND {_COUNTS}"
            " ORDER BY network, family, first",
            {"networks": json.dumps(list(networks)), "now": self.now},
        )
        return [_allocation(row) for row in rows]

    def of_endpoints(self, networks: Iterable[str]) -> list[Allocation]:
        """What all endpoints of these networks hold."""
        query = f"SELECT {_COLUMNS} FROM allocations WHERE network = :network AND kind = :kind AND {_COUNTS}"
        return [
            _allocation(row)
            for network in sorted(set(networks))
            for row in self._sql.execute(query, {"network": network, "kind": ENDPOINT, "now": self.now})
        ]

    def holders(self, spans: Iterable[Span]) -> list[Allocation]:
        """The allocations that hold any address of the spans."""
        places = [(segment, first.version, first.packed, last.packed) for segment, first, last in spans]
        found: dict[tuple[str, IPAddress], Allocation] = {}
        for start in range(0, len(places), _SPANS_AT_ONCE):
            some = places[start : start + _SPANS_AT_ONCE]
            # From the last one that begins at or before the span, which may reach into it.
            before = (
                "SELECT max(first) FROM allocations AS b WHERE b.segment = at AND b.family = version AND b.first <= low"
            )
            rows = self._sql.execute(
                f"WITH spans (at, version, low, high) AS (VALUES {', '.join(['(?, ?, ?, ?)'] * len(some))})"
                f" SELECT {_COLUMNS} FROM spans CROSS JOIN allocations ON segment = at AND family = version"
                f" AND first BETWEEN ifnull(({before}), low) AND high AND last >= low AND {_COUNTS.replace(':now', '?')}",
                (*chain.from_iterable(some), self.now),
            )
            found.update(((row[0], row[4]), row) for row in map(_allocation, rows))
        return list(found.values())

    def history(
        self, network: str | None = None, owner: str | None = None, address: IPAddress | None = None
    ) -> list[Held]:
        """Who held what, of a network, an owner, an address, or all: by address and time."""
        given: dict[str, Any] = {"network": network, "owner": owner}
        conditions = [f"{column} = :{column}" for column, value in given.items() if value is not None]
        if address is not None:
            given |= {"family": address.version, "address": address.packed}
            conditions += ["family = :family", "first <= :address", "last >= :address"]
        rows = self._sql.execute(
            f"SELECT {_HISTORY_COLUMNS} FROM history WHERE {' AND '.join(conditions) or '1'}"
            " ORDER BY family, first, since, until",
            given,
        )
        return [_past(row) for row in rows]

    def free(self, segment: str, family: int, first: int, last: int, count: int) -> list[tuple[int, int]]:
        """The lowest free addresses from ``first`` to ``last``, as ``(first, last)`` intervals that together hold at
        least ``count`` addresses, if there are so many."""
        found: list[tuple[int, int]] = []
        for low, high in heapq.merge(
            self._gaps(segment, family, first, last), self._expired(segment, family, first, last)
        ):
            found.append((low, high))
            count -= high - low + 1
            if count <= 0:
                break
        return found

    def _gaps(self, segment: str, family: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        start = first
        for run_first, run_last in self._runs(segment, family, first, last):
            if run_first > start:
                yield start, run_first - 1
            start = max(start, run_last + 1)
        if start <= last:
            yield start, last

    def _expired(self, segment: str, family: int, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What ``held`` still has of allocations that have expired."""
        rows = self._sql.execute(
            "SELECT first, last FROM allocations INDEXED BY allocations_by_expiry WHERE expires <= ? AND segment = ?"
            " AND family = ? AND first <= ? AND last >= ? ORDER BY first",
            (self.now, segment, family, _blob(last, family), _blob(first, family)),
        )
        for row_first, row_last in rows:
            yield max(first, _number(row_first)), min(last, _number(row_last))

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
        with self._transaction():
            self._forget_what_expired()
            drops = [step.row for step in steps if isinstance(step, Drop)]
            puts = [step.row for step in steps if isinstance(step, Put)]
            gone = [row for row in drops if self._drop(row) and isinstance(row, Allocation)]
            came = [row for row in puts if isinstance(row, Allocation) and self._put_allocation(row)]
            self._put_others([row for row in puts if not isinstance(row, Allocation)])
            self._change_held(gone, came)
            self._keep_history(gone, [row for row in puts if isinstance(row, Allocation)])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("ROLLBACK")  # ends the look: from within it SQLite would not wait for other readers
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            yield
            self._sql.execute("COMMIT")
        except BaseException:
            # Of some errors, such as a full disk, SQLite has gone back by itself.
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            raise
        finally:
            self._begin()

    def _put_others(self, rows: Iterable[Any]) -> None:
        by_table: dict[str, list[tuple[Any, ...]]] = {}
        for row in rows:
            table, values_of = _ROWS[type(row)]
            by_table.setdefault(table, []).append(values_of(row))
        for table, values in by_table.items():
            places = ", ".join("?" * len(values[0]))
            self._sql.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", values)

    def _put_allocation(self, row: Allocation) -> bool:
        """Whether it was not there before."""
        values = _allocation_row(row)
        if self._sql.execute(
            "INSERT OR IGNORE INTO allocations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values
        ).rowcount:
            return True
        # It never takes the place of another owner's.
        changed = self._sql.execute(
            "UPDATE allocations SET description = ?, since = ?, expires = ?, cooling = ? WHERE segment = ? AND family = ?"
            " AND first = ? AND last = ? AND network = ? AND kind = ? AND owner = ?",
            (*values[7:], *values[:7]),
        ).rowcount
        if not changed:
            raise StoreError(f"{row.text} on '{row.segment}' is already held; nothing was written")
        return False

    def _drop(self, row: Any) -> bool:
        """Whether it was there (told of allocations only)."""
        if isinstance(row, Allocation):
            return bool(
                self._sql.execute(
                    "DELETE FROM allocations WHERE segment = ? AND family = ? AND first = ? AND last = ? AND network = ?"
                    " AND kind = ? AND owner = ?",
                    _allocation_row(row)[:7],
                ).rowcount
            )
        if isinstance(row, Endpoint):
            self._sql.execute("DELETE FROM endpoints WHERE network = ? AND name = ?", row.key)
        else:
            self._sql.execute(f"DELETE FROM {_ROWS[type(row)][0]} WHERE name = ?", (row.name,))
        return False

    def _forget_what_expired(self) -> None:
        rows = self._sql.execute(f"SELECT {_COLUMNS} FROM allocations WHERE expires <= ?", (self.now,)).fetchall()
        expired = [_allocation(row) for row in rows]
        if expired:
            self._sql.execute("DELETE FROM allocations WHERE expires <= ?", (self.now,))
            self._change_held(expired, ())
            self._add_history(Held(row, row.expires) for row in expired if not row.cooling)
        days = self.settings().get(HISTORY_DAYS, DEFAULT_HISTORY_DAYS)
        self._sql.execute("DELETE FROM history WHERE until < ?", (self.now - days * _DAY_S,))

    def _keep_history(self, gone: Sequence[Allocation], puts: Sequence[Allocation]) -> None:
        """A line for each allocation that ended: it went, or it is cooling from now on. One that only changed did not."""
        kept = {(*row.key, row.bounds) for row in puts if not row.cooling}
        ended = {(*row.key, row.bounds): row for row in puts if row.cooling}
        # What was cooling already had its line when that began.
        ended |= {(*row.key, row.bounds): row for row in gone if not row.cooling}
        self._add_history(Held(row, self.now) for key, row in ended.items() if key not in kept)

    def _add_history(self, lines: Iterable[Held]) -> None:
        self._sql.executemany(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_past_row(line) for line in lines],
        )

    def _change_held(self, gone: Iterable[Allocation], came: Iterable[Allocation]) -> None:
        """Brings ``held`` in step with the allocations that went and came."""
        for change, rows in ((self._open, gone), (self._close, came)):
            places: dict[tuple[str, int], list[tuple[int, int]]] = {}
            for row in rows:
                places.setdefault((row.segment, row.family), []).append(row.bounds)
            for (segment, family), spans in places.items():
                for first, last in _joined(spans):
                    change(segment, family, first, last)

    def _close(self, segment: str, family: int, first: int, last: int) -> None:
        """Marks ``first`` to ``last`` held, and joins the run with its neighbours."""
        top = (1 << (32 if family == 4 else 128)) - 1
        lowest, highest = max(first - 1, 0), min(last + 1, top)
        for run_first, run_last in list(self._runs(segment, family, lowest, highest)):
            if run_last < lowest:
                continue
            if run_last >= first and run_first <= last:
                address = address_of(max(first, run_first), family)
                raise StoreError(f"{address} on '{segment}' is already held; nothing was written")
            self._delete_run(segment, family, run_first)
            first, last = min(first, run_first), max(last, run_last)
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


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that do not overlap, joined where they meet; lowest first."""
    (first, last), *others = sorted(spans)
    for low, high in others:
        if low != last + 1:
            yield first, last
            first = low
        last = high
    yield first, last


# --- opening --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(state_dir: str) -> Iterator[Store]:
    """The store for reading only. A host that has none yet has an empty one, which takes what is written to it to no
    disk.

    :raises StoreError: if it cannot be read
    """
    path = os.path.join(state_dir, FILE_NAME)
    with _told(path, "read"):
        if os.path.lexists(state_dir):
            _check_folder(state_dir)
        fresh = not os.path.lexists(path)
        connection = _in_memory() if fresh else _opened(path)
    with contextlib.closing(connection), _sql_told(path, "read"):
        if not fresh:
            connection.execute("PRAGMA query_only = ON")
        yield Store(connection, fresh)


@contextlib.contextmanager
def writing(state_dir: str, lock_timeout: float, who: str = "", waiting: Waiting | None = None) -> Iterator[Store]:
    """The store for one run that changes things; alone on this host until it is closed.

    :param lock_timeout: seconds to wait for another run
    :param who: what this run is, for those that wait for it; the name of the program if left out
    :param waiting: hears for whom this run waits, if it takes longer than a moment
    :raises StoreError: if it cannot be used
    """
    path = os.path.join(state_dir, FILE_NAME)
    with _alone(state_dir, lock_timeout, who, waiting):
        with _told(path, "use"):
            fresh = not os.path.lexists(path)
            if fresh:
                _created(path + _NEW).close()
                _put_in_place(path)
            connection = _opened(path)
        with contextlib.closing(connection), _sql_told(path, "use"):
            yield Store(connection, fresh)


class Rebuilt(NamedTuple):
    """A store in the place of a damaged one. ``rows`` are those that could still be read from it; ``aside`` is where it
    is kept from now on."""

    store: Store
    rows: tuple[Any, ...]
    aside: str


@contextlib.contextmanager
def rebuilding(
    state_dir: str, lock_timeout: float, dry: bool, who: str = "", waiting: Waiting | None = None
) -> Iterator[Rebuilt | None]:
    """A new store for a damaged one, which takes its place when all went well; the damaged one is kept. None where the
    store is sound or there is none. ``dry``: on no disk, and the damaged one stays.

    :raises StoreError: if it cannot be done; the damaged one is then where it was
    """
    path = os.path.join(state_dir, FILE_NAME)
    if dry and not os.path.lexists(path):
        yield None
        return
    with _alone(state_dir, lock_timeout, who, waiting):
        with _told(path, "rebuild"), _copied(path) as copy:
            rows = None if copy is None or not _damage(copy, path) else tuple(_salvaged(copy))
        if rows is None:
            yield None
            return
        aside = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(clock()))}"
        with _told(path, "rebuild"):
            connection = _in_memory() if dry else _created(path + _NEW)
        with contextlib.closing(connection), _sql_told(path, "rebuild"):
            yield Rebuilt(Store(connection, fresh=True), rows, aside)
        if not dry:
            with _told(path, "rebuild"):
                for suffix in ("", _JOURNAL):
                    if os.path.exists(path + suffix):
                        os.link(path + suffix, aside + suffix)
                _put_in_place(path)


_NEW, _JOURNAL = ".new", "-journal"
_JOURNAL_BYTES = 1 << 20


@contextlib.contextmanager
def _alone(state_dir: str, lock_timeout: float, who: str, waiting: Waiting | None) -> Iterator[None]:
    with _told(state_dir, "use"):
        with contextlib.suppress(FileExistsError):
            os.makedirs(state_dir, mode=0o700)
        _check_folder(state_dir)
    with _locked(os.path.join(state_dir, LOCK_NAME), lock_timeout, who, waiting):
        yield


def _opened(path: str) -> sqlite3.Connection:
    """The store that is there, if it is one that we may use."""
    _check_file(path)
    if os.path.lexists(path + _JOURNAL):
        _check_file(path + _JOURNAL)
    if os.path.getsize(path) == 0:
        raise sqlite3.DatabaseError("the file is empty")
    connection = _connect(path)
    try:
        _check_version(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_mode = PERSIST")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _in_memory() -> sqlite3.Connection:
    connection = _connect(":memory:")
    connection.executescript(_SCHEMA)
    return connection


def _created(path: str) -> sqlite3.Connection:
    """An empty store beside the place that it will have: there, a file is at no instant half made."""
    if recorder is not None:
        recorder("schema", SCHEMA_VERSION)
    _remove(path, path + _JOURNAL)  # what a kill left
    # Made by us with its mode, so that it is at no instant readable by others.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = _connect(path)
    connection.executescript(
        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )
    return connection


def _put_in_place(path: str) -> None:
    """The new store, closed, takes its name; a journal that lies there is another store's, and would be rolled back into
    it."""
    _remove(path + _NEW + _JOURNAL, path + _JOURNAL)
    os.rename(path + _NEW, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _check_version(connection: sqlite3.Connection, path: str) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is not a store of netops.underlay; move it away, or name another folder in state_dir")
    if version != SCHEMA_VERSION:
        age = "a newer" if version > SCHEMA_VERSION else "an older"
        raise OtherVersion(
            f"the store {path} was written by {age} version of netops.underlay (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); use that version for this host, nothing was changed"
        )


def _check_folder(state_dir: str) -> None:
    """What lies in the folder decides what is removed from this host: nobody but root may write there."""
    status = os.lstat(state_dir)
    _check_no_link(f"state_dir {state_dir}", status)
    if not stat.S_ISDIR(status.st_mode):
        raise StoreError(f"state_dir {state_dir} is not a folder")
    _check_rights(f"state_dir {state_dir}", status, f"chown root {state_dir} && chmod 0700 {state_dir}")


def _check_no_link(words: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise StoreError(f"{words} is a symbolic link, which is not followed; put there what it leads to")


def _check_file(path: str) -> None:
    status = os.lstat(path)
    _check_no_link(path, status)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is not a file; move it away")
    _check_rights(f"the store {path}", status, f"chown root {path} && chmod 0600 {path}")


def _check_rights(words: str, status: os.stat_result, way_out: str) -> None:
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise StoreError(
            f"{words} can be written to by others (owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}); "
            f"make it root's alone: {way_out}"
        )


# --- a damaged store ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _copied(path: str) -> Iterator[str | None]:
    """A copy of the store to look at: opening the store itself could write to it. None where there is none."""
    if not os.path.lexists(path):
        yield None
        return
    _check_file(path)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(path), prefix="look-") as folder:
        copy = os.path.join(folder, FILE_NAME)
        for suffix in ("", _JOURNAL):
            if os.path.exists(path + suffix):
                shutil.copyfile(path + suffix, copy + suffix)
        yield copy


def _damage(copy: str, path: str) -> str | None:
    """What is wrong with the store; None where nothing is.

    :raises StoreError: if it is sound, but not ours or of another version
    """
    try:
        with contextlib.closing(_connect(copy)) as connection:
            if os.path.getsize(copy) == 0:
                return "the file is empty"
            finding: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if finding == "ok":
                _check_version(connection, copy)
                return None
            return finding
    except sqlite3.DatabaseError as error:
        return str(error)
    except StoreError as error:
        raise StoreError(str(error).replace(copy, path)) from None


def _salvaged(copy: str) -> Iterator[Any]:
    """The rows of a damaged store that can still be read, as far as they mean something."""
    try:
        opened = _connect(copy)
    except sqlite3.DatabaseError:
        return
    with contextlib.closing(opened) as connection:
        for table, columns, build in _BUILDERS:
            found: dict[Any, Any] = {}
            # What cannot be read on the way from one end may be from the other.
            for order in ("ASC", "DESC"):
                with contextlib.suppress(sqlite3.DatabaseError):
                    for values in connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1 {order}"):
                        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                            found[repr(values)] = build(values)
            yield from found.values()


@contextlib.contextmanager
def _locked(path: str, timeout: float, who: str, waiting: Waiting | None) -> Iterator[None]:
    with _told(path, "lock"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with _told(path, "lock"):
            _wait_for(descriptor, path, timeout, waiting)
            # Over what was there, always of one length: a file that shrinks costs more than a commit of SQLite.
            os.pwrite(descriptor, _introduced(who).encode()[:_HOLDER_BYTES].ljust(_HOLDER_BYTES), 0)
        yield
    finally:
        os.close(descriptor)


def _introduced(who: str) -> str:
    """This run, for those that wait for it."""
    user = os.environ.get("SUDO_USER") or os.environ.get("LOGNAME") or ""
    of_user = f" of {user}" if user.isprintable() and user else ""
    name = who or os.path.basename(sys.argv[0]) or "python"
    return f"process {os.getpid()} ({name}{of_user}, since {moment(clock())})"


def _wait_for(descriptor: int, path: str, timeout: float, waiting: Waiting | None) -> None:
    began = time.monotonic()
    give_up = began + timeout
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if waiting is not None and time.monotonic() >= began + _MOMENT_S:
                waiting(_holder(descriptor))
                waiting = None
            if time.monotonic() >= give_up:
                raise StoreError(
                    f"{_holder(descriptor)} has held {path} for the {timeout:g} s that lock_timeout allows; "
                    "wait for it to end, or raise lock_timeout"
                ) from None
        time.sleep(_POLL_S)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, _HOLDER_BYTES, 0).decode(errors="replace").strip() or "another run"


# What SQLite says and what it means for the user; errors of the system by their number.
_MEANINGS: tuple[tuple[str, str], ...] = (
    ("is full", "the disk is full: free some space there, then run again; what was not yet written is not lost"),
    ("readonly", "it cannot be written to: mount its file system read-write, or name another folder in state_dir"),
    ("unable to open", "it cannot be opened: see whether its folder can be written to and the disk has space"),
    ("I/O error", "the disk failed: see the kernel's log; put the disk right, then run again"),
    ("locked", "something else has it open; only netops.underlay should"),
)
_DAMAGED = (
    "it is damaged, and nothing was changed in it. Run vlan_ipam once with state: recovered, which keeps it aside, and takes "
    "back what can still be read of it and what the kernel shows"
)
_WAYS_OUT = {
    errno.ENOSPC: "free some space there, then run again",
    errno.EDQUOT: "free some space there, then run again",
    errno.EROFS: "mount its file system read-write, or name another folder in state_dir",
    errno.ELOOP: "it is a symbolic link; put the folder or file itself there",
}


@contextlib.contextmanager
def _told(path: str, doing: str) -> Iterator[None]:
    """Turns what the system says into words for the user."""
    try:
        with _sql_told(path, doing):
            yield
    except OSError as error:
        way_out = _WAYS_OUT.get(error.errno or 0)
        reason = f"{error.strerror}; {way_out}" if way_out else error.strerror or error
        raise StoreError(f"cannot {doing} {path}: {reason}") from error


@contextlib.contextmanager
def _sql_told(path: str, doing: str) -> Iterator[None]:
    """The same for what SQLite alone says. What is a mistake in our use of it stays what it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
            raise
        meaning = next((words for sign, words in _MEANINGS if sign in str(error)), _DAMAGED)
        raise StoreError(f"cannot {doing} {path} ({error}): {meaning}") from error


# --- rows -----------------------------------------------------------------------------------------------------

_COLUMNS = "segment, family, first, last, network, kind, owner, description, since, expires, cooling"
_HISTORY_COLUMNS = "segment, family, first, last, network, kind, owner, description, since, until"
_ENDPOINT_COLUMNS = (
    "network, name, target_kind, target_value, target_engine, ifname, mac_address, default_route, cookie, boot_id,"
    " start_time, aliases, sysctls, hosts_path"
)
# An allocation counts until it expires.
_COUNTS = "(expires IS NULL OR expires > :now)"
_SPANS_AT_ONCE = 200  # of four values each; SQLite before 3.32 takes 999


def _blob(number: int, family: int) -> bytes:
    return number.to_bytes(4 if family == 4 else 16, "big")


def _number(blob: bytes) -> int:
    return int.from_bytes(blob, "big")


def _allocation(row: Sequence[Any]) -> Allocation:
    segment, family, first, last, network, kind, owner, description, since, expires, cooling = row
    until = None if last == first else address_of(_number(last), family)
    address = address_of(_number(first), family)
    return Allocation(segment, network, kind, owner, address, description, until, since, expires, bool(cooling))


def _past(row: Sequence[Any]) -> Held:
    return Held(_allocation((*row[:9], None, 0)), row[9])


def _endpoint(row: Sequence[Any]) -> Endpoint:
    network, name, kind, value, engine, ifname, mac, routes, cookie, boot_id, start_time, aliases, sysctls, hosts = row
    families = tuple(int(family) for family in routes.split())
    target = Target(kind, value, engine)
    settings = json.loads(sysctls) if sysctls else {}
    names = tuple(aliases.split())
    return Endpoint(network, name, target, ifname, mac, families, cookie, boot_id, start_time, names, settings, hosts)


def _network(name: str, body: dict[str, Any]) -> Network:
    subnets = tuple(
        Subnet(
            network=subnet_from(subnet["subnet"]),
            gateway=None if subnet["gateway"] is None else address_from(subnet["gateway"]),
            ip_range=None if subnet["ip_range"] is None else subnet_from(subnet["ip_range"]),
            auxiliary=tuple((key, address_from(value)) for key, value in subnet["auxiliary"]),
            from_pool=subnet["from_pool"],
        )
        for subnet in body.pop("subnets")
    )
    # A store of before has neither.
    announce = Announcing(*body.pop("announce", ()))
    routes = tuple(HostRoute(subnet_from(subnet), address_from(via)) for subnet, via in body.pop("routes", ()))
    return Network(name=name, subnets=subnets, announce=announce, routes=routes, **body)


def _network_row(network: Network) -> tuple[Any, ...]:
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
        "cooldown": network.cooldown,
        "vlan_protocol": network.vlan_protocol,
        "conflict_check": network.conflict_check,
        "ipv6_dad": network.ipv6_dad,
        "announce": [network.announce.count, network.announce.interval_ms],
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
        **({"routes": [[str(route.subnet), str(route.via)] for route in network.routes]} if network.routes else {}),
        **({"pending": True} if network.pending else {}),
    }
    return network.name, json.dumps(body)


def _allocation_row(row: Allocation) -> tuple[Any, ...]:
    address, last = row.address, row.last or row.address
    place = (row.segment, address.version, address.packed, last.packed, row.network, row.kind, row.owner)
    return (*place, row.description, row.since, row.expires, row.cooling)


def _past_row(line: Held) -> tuple[Any, ...]:
    return (*_allocation_row(line.row)[:9], line.until)


# The table of each kind of row, and the values there.
_ROWS: dict[type, tuple[str, Callable[[Any], tuple[Any, ...]]]] = {
    HostSetting: ("settings", lambda row: (row.name, json.dumps(row.value))),
    Network: ("networks", _network_row),
    Parent: ("parents", lambda row: (row.name, row.base, row.vlan_id, row.protocol)),
    MadeFile: ("made_files", lambda row: (row.name, row.digest)),
    MadeNamespace: ("namespaces", lambda row: (row.name, row.cookie, row.boot_id)),
    Endpoint: (
        "endpoints",
        lambda row: (
            row.network,
            row.name,
            row.target.kind,
            row.target.value,
            row.target.engine,
            row.ifname,
            row.mac_address,
            " ".join(map(str, row.default_route)),
            row.cookie,
            row.boot_id,
            row.start_time,
            " ".join(row.aliases),
            json.dumps(dict(row.sysctls)) if row.sysctls else "",
            row.hosts_path,
        ),
    ),
    Held: ("history", _past_row),
}

# Table, columns, and what makes a row of them: for salvage.
_BUILDERS: tuple[tuple[str, str, Callable[[Sequence[Any]], Any]], ...] = (
    ("settings", "name, value", lambda row: HostSetting(row[0], json.loads(row[1]))),
    ("networks", "name, body", lambda row: _network(row[0], json.loads(row[1]))),
    ("parents", "name, base, vlan_id, protocol", lambda row: Parent(*row)),
    ("made_files", "name, digest", lambda row: MadeFile(*row)),
    ("namespaces", "name, cookie, boot_id", lambda row: MadeNamespace(*row)),
    ("endpoints", _ENDPOINT_COLUMNS, _endpoint),
    ("allocations", _COLUMNS, _allocation),
    ("history", _HISTORY_COLUMNS, _past),
)
