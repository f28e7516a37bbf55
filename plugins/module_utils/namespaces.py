# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Network namespaces, their sysctls and their processes, by system calls of this thread; only many new ones are made by
a process of their own.

Knows nothing of links, networks or Ansible. What writes here is called by netlink.py alone, which announces
each write before it is done.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from typing import NamedTuple, NoReturn

from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError

NETNS_DIR = "/run/netns"  # iproute2's, which gives it as /var/run/netns (include/namespace.h)

NS_GET_NSTYPE = 0xB703  # linux/nsfs.h
CLONE_NEWNET = 0x40000000  # linux/sched.h
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 0x100000  # linux/mount.h
PR_SET_NAME = 15  # linux/prctl.h
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8  # include/linux/fs.h
_FSOPEN_CLOEXEC, _FSCONFIG_CMD_CREATE, _FSMOUNT_CLOEXEC = 1, 6, 1  # linux/mount.h
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # asm-generic/unistd.h; the C library has no functions for them everywhere

_THIS_THREAD = "/proc/thread-self/ns/net"
_NEVER_A_NAMESPACE = ("socket:", "pipe:", "anon_inode:", "/dev/")
_SYSCTL = re.compile(r"net(/[^/\0]+)+")

# Errors of a system that has run short; what was asked for may well be there.
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_MAKER_ENDED = "the process that makes them has ended; run the task again"

_libc = ctypes.CDLL(None, use_errno=True)


class NoNamespace(UnderlayError):
    """What is at the path is no network namespace that could be had."""


class MissingNamespace(NoNamespace, FileNotFoundError):
    """There is nothing at the path where a network namespace was expected."""


class Namespace(NamedTuple):
    """One way to reach a network namespace: ``path`` opens it, ``words`` name it in a message."""

    path: str
    words: str


def _call(function: str, *arguments: object) -> None:
    """A system call through libc; OSError with its errno where it fails."""
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), function)


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    """A system call by its number; its result, OSError with its errno where it fails."""
    found: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if found < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return found


def _mount(source: str, target: str, flags: int) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), b"none", ctypes.c_ulong(flags), None)


def _set_namespace(netns_fd: int) -> None:
    _call("setns", netns_fd, CLONE_NEWNET)


def name_process(name: bytes) -> None:
    """What this process is called in lists of processes, up to 15 bytes."""
    with suppress(OSError):
        _call("prctl", PR_SET_NAME, name, 0, 0, 0)


def current_namespace() -> int:
    """A descriptor of the network namespace that this thread is in; the caller closes it."""
    try:
        return os.open(_THIS_THREAD, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UnderlayError(f"this process's network namespace cannot be opened: {error.strerror}") from error


@contextmanager
def at_home() -> Iterator[int]:
    """The same, closed at the end: to enter or make many, each from here, it is opened once."""
    descriptor = current_namespace()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def entered(netns_fd: int, home: int | None = None) -> Iterator[None]:
    """This thread in that namespace; afterwards it is where it was, of which ``home`` is a descriptor if the caller has one.
    UnderlayError where it may not enter."""
    with _returning(home):
        try:
            _set_namespace(netns_fd)
        except OSError as error:
            raise UnderlayError(f"the network namespace cannot be entered: {error.strerror}") from error
        yield


@contextmanager
def _returning(home: int | None) -> Iterator[None]:
    before = current_namespace() if home is None else home
    try:
        yield
    finally:
        try:
            _set_namespace(before)
        except OSError as error:
            _die(f"cannot return to the network namespace that this process was in: {error}")
        if home is None:
            os.close(before)


def _die(text: str) -> NoReturn:
    """End the process at once: whatever it did next would be done in the wrong namespace."""
    os.write(2, f"netops.underlay: {text}\n".encode())
    os.abort()


def open_namespace(path: str) -> int:
    """A descriptor of the network namespace at ``path``; the caller closes it.

    Raises MissingNamespace where there is nothing, NoNamespace where it is something else or may not be opened,
    UnderlayError where the system is too short of something to tell.
    """
    try:
        # O_NONBLOCK for the case that it is a pipe, whose opening would wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, ProcessLookupError):
        raise MissingNamespace(f"there is no network namespace at {path}") from None
    except OSError as error:
        kind = UnderlayError if error.errno in _SHORT else NoNamespace
        raise kind(f"the network namespace {path} cannot be opened: {error.strerror}") from error
    if not _is_network_namespace(fd):
        os.close(fd)
        raise NoNamespace(f"{path} is no network namespace")
    return fd


def open_if_there(path: str) -> int | None:
    """The same for one that was found a moment ago; None where it has gone since."""
    try:
        return open_namespace(path)
    except NoNamespace:
        return None


def _is_network_namespace(fd: int) -> bool:
    try:
        return fcntl.ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False


def namespace_id(netns_fd: int) -> tuple[int, int]:
    """What tells one namespace from another as long as it lives: ``(st_dev, st_ino)`` (man 7 namespaces)."""
    status = os.fstat(netns_fd)
    return status.st_dev, status.st_ino


def named_path(name: str) -> str:
    """Where ``ip netns`` keeps the namespace of that name; UnderlayError where none can be named so."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise UnderlayError(f"{name!r} cannot be the name of a namespace")
    return os.path.join(NETNS_DIR, name)


def obstacle(name: str) -> str | None:
    """What keeps a namespace that does not exist from being made; None where nothing does."""
    path = named_path(name)
    try:
        _check_no_link(NETNS_DIR)
        if os.path.lexists(path):
            _check_no_link(path)
            if not _is_leftover(path):
                return f"{path} is no network namespace; move it away"
    except UnderlayError as error:
        return str(error)
    return None


def _check_no_link(*paths: str) -> None:
    """What is made or removed there would be so elsewhere."""
    for path in paths:
        if os.path.islink(path):
            raise UnderlayError(f"{path} is a symbolic link, which is not followed; remove it")


def create(name: str, home: int, prepared: bool = False) -> None:
    """Make a named namespace as ``ip netns add`` does (iproute2, ip/ipnetns.c); ``home`` is a descriptor of the one that this
    thread is in. ``prepared``: this process has just made another; what that finds ready need not be looked at again, which
    the kernel does by a walk over all names there are.

    A kill in the middle leaves an empty file that is no mount point: such a file counts as absent and is
    reused. Raises UnderlayError where the name is taken.
    """
    path = named_path(name)
    try:
        if not prepared:
            _check_no_link(NETNS_DIR)
            _prepare_directory()
        _make_mount_point(path, name)
        _bind_new_namespace(path, home)
    except OSError as error:
        raise UnderlayError(f"namespace {name!r} cannot be made: {error.strerror}") from error


def answer_of_creation(name: str, home: int, prepared: bool) -> UnderlayError | None:
    """``create``, with its error as the answer."""
    try:
        create(name, home, prepared)
    except UnderlayError as error:
        return error
    return None


def create_ahead(names: Sequence[str], home: int) -> Iterator[UnderlayError | None]:
    """Make namespaces in this order while the caller does something else; the answer to each, which is waited for. This process
    has just made another (``prepared``).

    By a process of its own: the kernel needs the caller's locks for little of it, while a thread would have to wait for
    Python's. It makes no more when nobody waits for its answers any more, so it ends with the caller, however that ends.
    """
    try:
        reader, writer = os.pipe()
        try:
            child = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            raise
    except OSError:  # there can be no more processes or descriptors
        yield from (answer_of_creation(name, home, prepared=True) for name in names)
        return
    if child == 0:
        os.close(reader)
        _create_and_tell(names, home, writer)
    os.close(writer)
    try:
        with open(reader, encoding="utf-8") as told:
            for name in names:
                line = told.readline()
                words = json.loads(line) if line else f"namespace {name!r} cannot be made: {_MAKER_ENDED}"
                yield UnderlayError(words) if words else None
    finally:
        os.waitpid(child, 0)


def _create_and_tell(names: Sequence[str], home: int, writer: int) -> NoReturn:
    """In the child, which takes no cleaning up of Python's with it. An answer is a line of JSON: the error's words, or null."""
    try:
        for name in names:
            answer = answer_of_creation(name, home, prepared=True)
            os.write(writer, json.dumps(answer and str(answer)).encode() + b"\n")
    finally:
        os._exit(0)


def _prepare_directory() -> None:
    """Make NETNS_DIR a shared mount point, so that a name made or removed is so in every mount namespace."""
    with suppress(OSError):  # it is one already, as it is for all but the first
        _mount("", NETNS_DIR, MS_SHARED | MS_REC)
        return
    os.makedirs(NETNS_DIR, mode=0o755, exist_ok=True)
    lock = os.open(NETNS_DIR, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # iproute2 takes it as well: two at once would mount one over the other.
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _mount("", NETNS_DIR, MS_SHARED | MS_REC)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: no mount point yet
                raise
            _mount(NETNS_DIR, NETNS_DIR, MS_BIND | MS_REC)
            _mount("", NETNS_DIR, MS_SHARED | MS_REC)
    finally:
        os.close(lock)


def _make_mount_point(path: str, name: str) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    except FileExistsError:
        _check_no_link(path)
        if not _is_leftover(path):
            raise UnderlayError(f"namespace {name!r} exists already") from None


def is_leftover(name: str) -> bool:
    """Whether of a namespace that was being made or removed only the empty file is there."""
    path = named_path(name)
    return os.path.lexists(path) and _is_leftover(path)


def _is_leftover(path: str) -> bool:
    """Whether it is an empty file and no mount point (a mounted namespace is on another device, nsfs)."""
    status = os.lstat(path)
    ours = status.st_dev == os.stat(NETNS_DIR).st_dev
    return ours and stat.S_ISREG(status.st_mode) and status.st_size == 0


def _bind_new_namespace(path: str, home: int) -> None:
    try:
        with _returning(home):
            _call("unshare", CLONE_NEWNET)
            _mount(_THIS_THREAD, path, MS_BIND)
    except OSError:
        _unmount(path)
        os.unlink(path)
        raise


def remove(name: str) -> None:
    """Take the name away, as ``ip netns delete`` does; a name that is gone already is no error.

    The namespace lives on while a process or a descriptor holds it.
    """
    path = named_path(name)
    _check_no_link(NETNS_DIR, path)
    try:
        _unmount(path)
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UnderlayError(f"namespace {name!r} cannot be removed: {error.strerror}") from error


def _unmount(path: str) -> None:
    """Undo every mount on ``path``: what was mounted twice would be busy after one."""
    while True:
        try:
            _call("umount2", os.fsencode(path), MNT_DETACH | UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.EINVAL:  # no mount point (any more)
                return
            raise


def every_namespace() -> dict[tuple[int, int], Namespace]:
    """Each network namespace that has a name or a process, by ``namespace_id``; by its name where it has one.

    A namespace that only a descriptor or a mount elsewhere keeps alive cannot be found this way.
    """
    found: dict[tuple[int, int], Namespace] = {}
    for name, path, identity in _named():
        found.setdefault(identity, Namespace(path, f"namespace {name!r}"))
    for pid, identity in _processes():
        if identity not in found:
            words = f"the namespace of process {pid} ({_process_name(pid)})"
            found[identity] = Namespace(f"/proc/{pid}/ns/net", words)
    return found


def hidden_namespaces() -> dict[tuple[int, int], Namespace]:
    """Each network namespace that has neither a name nor a process in it, but a thread, an open descriptor or a mount
    somewhere, by ``namespace_id``. One that only a socket keeps alive cannot be found."""
    known = set(every_namespace())
    device = os.stat(_THIS_THREAD).st_dev  # nsfs, which has namespaces of other kinds, too
    found: dict[tuple[int, int], Namespace] = {}
    mounts_seen: set[tuple[int, int]] = set()
    for pid, _identity in _processes():
        for path in (*_held_by(pid), *_mounted_for(pid, mounts_seen)):
            with suppress(OSError):
                status = os.stat(path)
                identity = (status.st_dev, status.st_ino)
                if status.st_dev == device and identity not in known:
                    words = f"a namespace that process {pid} ({_process_name(pid)}) holds"
                    found.setdefault(identity, Namespace(path, words))
    return found


def _held_by(pid: int) -> Iterator[str]:
    for folder, form in (("task", "/proc/{pid}/task/{entry}/ns/net"), ("fd", "/proc/{pid}/fd/{entry}")):
        with suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/{folder}"):
                path = form.format(pid=pid, entry=entry)
                with suppress(OSError):
                    # One that was opened by its name shows that name, even when it is gone.
                    if not os.readlink(path).startswith(_NEVER_A_NAMESPACE):
                        yield path


def _mounted_for(pid: int, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Where namespaces are mounted in the mount namespace of a process; of each such, once."""
    with suppress(OSError):
        status = os.stat(f"/proc/{pid}/ns/mnt")
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                # man 5 proc: fields 4 and 5 are the root in the file system and the mount point, spaces as \\040.
                root, point = line.split(" ", 5)[3:5]
                if root.startswith("net:["):
                    yield f"/proc/{pid}/root" + re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)


def occupied_namespaces() -> frozenset[int]:
    """The inodes of all namespaces that a process is in."""
    return frozenset(inode for _pid, (_device, inode) in _processes())


def _named() -> Iterator[tuple[str, str, tuple[int, int]]]:
    for name in sorted(_listed(NETNS_DIR)):
        path = os.path.join(NETNS_DIR, name)
        fd = open_if_there(path)
        if fd is not None:  # an empty file that a kill left is none
            identity = namespace_id(fd)
            os.close(fd)
            yield name, path, identity


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnderlayError(f"{folder} cannot be read: {error.strerror}") from error


def _processes() -> Iterator[tuple[int, tuple[int, int]]]:
    for entry in _listed("/proc"):
        if entry.isdigit():
            with suppress(OSError):  # ended meanwhile, or a zombie, which is in no namespace
                status = os.stat(f"/proc/{entry}/ns/net")
                yield int(entry), (status.st_dev, status.st_ino)


def _process_name(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().rstrip("\n")
    return "ended"


def process_start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot (man 5 proc, stat field 22); None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Field 2 is the name in brackets, which may hold anything; field 3 follows the last bracket.
    return int(text.rpartition(b")")[2].split()[22 - 3])


def boot_id() -> str:
    """A text that is another after each boot (man 4 random)."""
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()


def inside(netns_fd: int | None) -> AbstractContextManager[None]:
    """``entered``, or nothing to enter for None: the namespace that this thread is in."""
    return nullcontext() if netns_fd is None else entered(netns_fd)


@contextmanager
def procfs() -> Iterator[int]:
    """A descriptor of a fresh /proc that is mounted nowhere; of the host's where the kernel has none to give (before 5.8).

    Of each sysctl file that was looked up the kernel keeps an entry for each namespace, all of one name under one hash: in
    the /proc that all share, writing in a thousand namespaces walks past half a million entries. So a fresh one after each
    few namespaces.
    """
    descriptor = _fresh_procfs()
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _fresh_procfs() -> int:
    try:
        system = _system_call(_FSOPEN, b"proc", _FSOPEN_CLOEXEC)
        try:
            _system_call(_FSCONFIG, system, _FSCONFIG_CMD_CREATE, None, None, 0)
            return _system_call(_FSMOUNT, system, _FSMOUNT_CLOEXEC, 0)
        finally:
            os.close(system)
    except OSError:
        return _hosts_procfs()


def _hosts_procfs() -> int:
    try:
        return os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UnderlayError(f"/proc cannot be opened: {error.strerror}") from error


@lru_cache(maxsize=64)
def sysctl_path(name: str) -> str:
    """The file of a sysctl that each network namespace has for itself, within /proc: for
    ``net/ipv4/conf/eth0.20/forwarding``.

    `/` stands between the parts, since link names hold dots. UnderlayError for anything outside ``net/``.
    """
    if not _SYSCTL.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise UnderlayError(f"{name!r} is no sysctl of a network namespace (net/..., parts separated by /)")
    return f"sys/{name}"


def read_sysctls(netns_fd: int | None, names: Iterable[str]) -> dict[str, str]:
    """The values of sysctls of that namespace (None: this thread's); those that the kernel does not have are left out."""
    found = {}
    with inside(netns_fd):
        for name in names:
            with suppress(OSError), open(f"/proc/{sysctl_path(name)}", encoding="utf-8") as file:
                found[name] = file.read().strip()
    return found


def put_sysctl(proc: int, name: str, value: str) -> None:
    """Write one sysctl of the namespace that this thread is in, by the /proc at this descriptor."""
    try:
        file = os.open(sysctl_path(name), os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(file, value.encode())
        finally:
            os.close(file)
    except FileNotFoundError:
        raise UnderlayError(f"the kernel has no sysctl {name}") from None
    except OSError as error:
        raise UnderlayError(f"sysctl {name} cannot be set to {value!r}: {error.strerror}") from error
