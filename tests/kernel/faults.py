# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fault points: every call by which our code writes, found at the calls themselves, below everything that is ours.

A point is a call of Python's ``os`` that changes a file, a call of the C library, a netlink message that changes something,
or a commit of SQLite. A datagram of many messages has a point in front of each: a kernel that is broken off has done the
first of them. What has no point here is in ``READS``, each by its name; tests/unit/test_faults.py holds both against the
source, so that a call which is in neither fails it.
"""

from __future__ import annotations

import ctypes
import errno
import io
import math
import os
import signal
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest

# --- what writes and what does not ----------------------------------------------------------------------------

# Of ``os``. ``open`` writes where it makes or empties a file; makedirs makes each folder by mkdir, fdopen writes by its file.
OS_WRITES = frozenset(
    "open write pwrite ftruncate fchmod link unlink rename replace mkdir rmdir symlink chmod chown truncate".split()
)
OS_BY_OTHERS = frozenset({"makedirs", "fdopen"})
OS_READS = frozenset(
    "abort close cpu_count fsencode fspath fsync fstat geteuid getpid listdir lstat memfd_create pipe pread read readlink stat strerror"
    " uname walk"
    # Of announce.py, whose child process leaves nothing behind.
    " _exit chdir dup2 fork setsid waitpid".split()
)
# Of the C library, as namespaces.py calls it. Entering a namespace, and what makes a /proc that is mounted nowhere, leave
# nothing behind, nor does the name of a process.
C_WRITES = frozenset({"mount", "umount2", "unshare"})
C_READS = frozenset({"prctl", "setns", "syscall"})
# Methods of SQLite's connection and of sockets; which of their calls write, is told by what they are given.
SQL_WRITES = frozenset({"execute", "executemany", "executescript"})
SOCKET_WRITES = frozenset({"send"})

_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ERROR, _DUMP_INTERRUPTED = 2, 0x10  # linux/netlink.h
_ADDS, _DELETES, _ASKS = 0, 1, 2  # linux/rtnetlink.h: of each four types
_NAMES = {16: "link", 20: "address", 24: "route", 88: "nsid"}
VERBS = ("add", "delete", "read", "set")


KILL = -1
# Faults of netlink that are no numbers of errors: it is done, but the answer is lost; a dump is interrupted once, or always.
LOST, INTERRUPTED_ONCE, INTERRUPTED = -2, -3, -4


class Gate:
    """What every point passes. ``points`` are the words for the writes that were passed, ``questions`` for what was read by
    netlink, and for namespaces that were entered."""

    def __init__(self) -> None:
        self.points: list[str] = []
        self.questions: list[str] = []

    def arrive(self, words: str) -> int | None:
        """Called in front of a write: the fault that it meets."""
        self.points.append(words)
        return None

    def ask(self, words: str) -> int | None:
        """Called in front of a question to the kernel."""
        self.questions.append(words)
        return None


class Kill(Gate):
    """Ends this process at point ``number`` (from 0), by SIGKILL: nothing is closed, undone or said."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def arrive(self, words: str) -> int | None:
        super().arrive(words)
        return KILL if len(self.points) > self._number else None


class Refuse(Gate):
    """One fault: at write ``number``, or at question ``number``."""

    def __init__(self, fault: int, *, point: int | None = None, question: int | None = None) -> None:
        super().__init__()
        self._fault, self._point, self._question = fault, point, question

    def arrive(self, words: str) -> int | None:
        super().arrive(words)
        return self._fault if len(self.points) - 1 == self._point else None

    def ask(self, words: str) -> int | None:
        super().ask(words)
        number = len(self.questions) - 1
        # What is always interrupted is so when it is asked again.
        again = self._fault == INTERRUPTED and self._question is not None and number > self._question
        return self._fault if number == self._question or again else None


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- between our code and the system --------------------------------------------------------------------------


@contextmanager
def gated(gate: Gate) -> Iterator[Gate]:
    """All points of this process pass the gate meanwhile."""
    from ansible_collections.netops.underlay.plugins.module_utils import namespaces, netlink, store

    with pytest.MonkeyPatch.context() as patch:
        for name in OS_WRITES:
            patch.setattr(os, name, _of_os(name, getattr(os, name), gate))
        patch.setattr(os, "fdopen", _fdopen(os.fdopen, gate))
        patch.setattr(namespaces, "_libc", _Library(namespaces._libc, gate))
        patch.setattr(store.sqlite3, "connect", _connect(sqlite3.connect, gate))
        kernel = _Netlink(gate)
        patch.setattr(socket.socket, "send", kernel.send)
        patch.setattr(socket.socket, "recv", kernel.recv)
        patch.setattr(netlink, "side_by_side", _one_by_one(netlink))
        yield gate


def _meet(fault: int | None, words: object = None) -> None:
    if fault == KILL:
        die()
    if fault:
        raise OSError(fault, os.strerror(fault), words)


def _of_os(name: str, real: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    def opening(path: Any, flags: int, *more: Any, **named: Any) -> int:
        makes = flags & os.O_CREAT and not os.path.lexists(path)
        if makes or flags & os.O_TRUNC:
            fault = gate.arrive(f"make {path}")
            if fault == errno.EEXIST:
                os.close(real(path, flags, *more, **named))
            _meet(fault, path)
        return real(path, flags, *more, **named)

    def writing(descriptor: int, data: bytes, *place: int) -> int:
        """In two halves: the end may come in the middle."""
        _meet(gate.arrive(f"{name} {len(data)} bytes"))
        half = len(data) // 2
        if half < 2:  # a sysctl
            return real(descriptor, data, *place)
        done = real(descriptor, data[:half], *place)
        _meet(gate.arrive(f"{name} the second half of {len(data)} bytes"))
        return done + real(descriptor, data[half:], *(number + half for number in place))

    def changing(*given: Any, **named: Any) -> Any:
        fault = gate.arrive(f"{name} {given[0]}")
        if fault == errno.EEXIST:
            # Somebody else was faster. What makes nothing has no such error.
            if name in ("mkdir", "link") and not os.path.lexists(given[-1] if name == "link" else given[0]):
                real(*given, **named)
            elif name not in ("mkdir", "link"):
                fault = errno.EBUSY
        _meet(fault, given[0])
        return real(*given, **named)

    return {"open": opening, "write": writing, "pwrite": writing}.get(name, changing)


def _fdopen(real: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    def fdopen(descriptor: int, mode: str = "r", *more: Any, **named: Any) -> Any:
        if "w" not in mode:
            return real(descriptor, mode, *more, **named)
        raw = _Raw(descriptor, named.pop("closefd", True))
        buffered = io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **named)

    return fdopen


class _Raw(io.RawIOBase):
    """A file whose writes are those of ``os``, and so have their points."""

    def __init__(self, descriptor: int, closes: bool) -> None:
        self._descriptor = descriptor
        self._closes = closes

    def fileno(self) -> int:
        return self._descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return os.write(self._descriptor, bytes(data))

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._closes:
                os.close(self._descriptor)


class _Library:
    """The C library."""

    def __init__(self, real: Any, gate: Gate) -> None:
        self._real = real
        self._gate = gate
        self._home = os.stat("/proc/thread-self/ns/net").st_ino

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = getattr(self._real, name)
        if name == "setns":
            return self._enter
        if name in C_READS:
            return function

        def call(*arguments: Any) -> int:
            number = self._gate.arrive(f"{name} {b' '.join(a for a in arguments if isinstance(a, bytes)).decode()}")
            if number == KILL:
                die()
            if number:
                ctypes.set_errno(number)
                return -1
            return function(*arguments)

        return call

    def _enter(self, descriptor: int, kind: int) -> int:
        """The way back is never refused: a process that cannot return ends by itself."""
        away = os.fstat(descriptor).st_ino != self._home
        fault = self._gate.ask("enter a namespace") if away else None
        if fault and fault > 0:
            ctypes.set_errno(fault)
            return -1
        return int(self._real.setns(descriptor, kind))


def _connect(real: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *more: Any) -> Any:
            if sql == "COMMIT":
                self._pass(sql)
            return super().execute(sql, *more)

        def executescript(self, sql: str) -> Any:
            self._pass("the schema")
            return super().executescript(sql)

        @staticmethod
        def _pass(words: str) -> None:
            fault = gate.arrive(words)
            if fault == KILL:
                die()
            if fault:
                raise sqlite3.OperationalError("database or disk is full")

    return lambda *given, **named: real(*given, factory=Connection, **named)


def _one_by_one(netlink: Any) -> Callable[[int], AbstractContextManager[Any]]:
    """In the place of threads, whose order is another every time."""
    return lambda _count: nullcontext(netlink._at_once)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, sequence number and bytes of each message of a datagram."""
    while data:
        length, kind, _flags, sequence, _port = _MESSAGE.unpack_from(data)
        yield kind, sequence, data[:length]
        data = data[(length + 3) & ~3 :]


class _Netlink:
    """The kernel's end of the sockets."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._real_send, self._real_recv = socket.socket.send, socket.socket.recv
        self._made_up: list[tuple[int, bytes]] = []  # answers that the kernel did not give, by sequence number
        self._told: dict[int, int] = {}  # by sequence number: the error that takes the place of its answer
        self._interrupted: set[int] = set()

    # A function, since it stands in the place of a method of another class.
    @property
    def send(self) -> Callable[..., int]:
        def send(sock: socket.socket, data: Any, *flags: int) -> int:
            if sock.family != socket.AF_NETLINK:
                return self._real_send(sock, data, *flags)
            passed, ends = b"", False
            for kind, sequence, message in _messages(bytes(data)):
                kept = self._passed(kind, sequence, message)
                ends = kept is None
                if kept is None:
                    break
                passed += kept + bytes(-len(kept) % 4)
            if passed:
                self._real_send(sock, passed, *flags)
            if ends:
                die()
            return len(data)

        return send

    def _passed(self, kind: int, sequence: int, message: bytes) -> bytes | None:
        """What of a message reaches the kernel; None if it does not come to that."""
        words = f"{VERBS[kind & 3]} {_NAMES.get(kind & ~3, kind)}"
        asks = kind & 3 == _ASKS
        fault = self._gate.ask(words) if asks else self._gate.arrive(words)
        if fault == KILL:
            return None
        if fault in (INTERRUPTED, INTERRUPTED_ONCE):
            self._interrupted.add(sequence)
        elif fault:
            self._told[sequence] = fault
            # Somebody else was faster: it is as it should be, and the kernel says so by these errors.
            done = fault == LOST or (fault, kind & 3) in ((errno.EEXIST, _ADDS), (errno.ENODEV, _DELETES))
            if asks or not done:
                self._made_up.append((sequence, _refusal(sequence, self._told.pop(sequence))))
                return b""
            return _answered(message)
        return message

    @property
    def recv(self) -> Callable[..., bytes]:
        def recv(sock: socket.socket, size: int, *flags: int) -> bytes:
            if sock.family != socket.AF_NETLINK:
                return self._real_recv(sock, size, *flags)
            if self._made_up and self._made_up[0][0] < self._next(sock, size):
                return self._made_up.pop(0)[1]
            data = self._real_recv(sock, size, *flags)
            told = bytearray()
            for kind, sequence, message in _messages(data):
                fault = self._told.pop(sequence, None) if kind == _ERROR else None
                if fault == LOST:
                    raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
                changed = bytearray(_refusal(sequence, fault) if fault else message)
                if sequence in self._interrupted:
                    struct.pack_into("=H", changed, 6, struct.unpack_from("=H", changed, 6)[0] | _DUMP_INTERRUPTED)
                told += changed + bytes(-len(changed) % 4)
            return bytes(told)

        return recv

    def _next(self, sock: socket.socket, size: int) -> float:
        """The sequence number of the kernel's next answer: it answers in the order of the messages."""
        try:
            return next(_messages(self._real_recv(sock, size, socket.MSG_PEEK | socket.MSG_DONTWAIT)))[1]
        except BlockingIOError:
            return math.inf


def _answered(message: bytes) -> bytes:
    """The same with NLM_F_ACK: of what goes well the kernel tells only where it is asked to."""
    (flags,) = struct.unpack_from("=H", message, 6)
    return message[:6] + struct.pack("=H", flags | 4) + message[8:]


def _refusal(sequence: int, number: int) -> bytes:
    """An NLMSG_ERROR as the kernel sends it with NETLINK_CAP_ACK."""
    return _MESSAGE.pack(36, _ERROR, 0, sequence, 0) + struct.pack("=i", -number) + _MESSAGE.pack(16, 0, 0, sequence, 0)
