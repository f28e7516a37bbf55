# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts files: our block of names in them, reading and writing them. The only file that touches any.

A file is changed in place: whoever has it open or mounted, as every container and ``ip netns exec`` has, sees the
change. Outside of our block nothing is ever changed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError

HOSTS = "/etc/hosts"
NETNS_ETC = "/etc/netns"  # iproute2 mounts what lies in NETNS_ETC/NAME over /etc (man 8 ip-netns)

_BEGIN = "# BEGIN netops.underlay: names of endpoints, written anew with every change"
# Where the line before had no end it got one, which goes with the block.
_JOINED = "\n" + _BEGIN + " (joined)"
_END = "# END netops.underlay"
_OURS = r"# BEGIN netops\.underlay[^\n]*"
# What stands between begin and end is ours. Of a block without its end, which a power cut may leave, what we write
# ourselves: an address, a tab, names; and of the last line as much as there is.
_LINE = r"[0-9a-f.:]+\t[A-Za-z0-9_. -]*"
_BLOCK = re.compile(
    rf"(?:^|\n(?={_OURS}\(joined\)\n)){_OURS}"
    rf"(?:\n(?:(?!{_OURS})[^\n]*\n)*?{_END}(?:\n|\Z)|(?:\n{_LINE}(?=\n|\Z))*(?:\n(?:[0-9a-f.:]+|#(?: (?:E[^\n]*)?)?)?\Z|\n|\Z))",
    re.MULTILINE,
)
_MOST_BYTES = 1 << 26
_CHUNK = 4096

# Called before every write with a word for it; tests count and break the run with it.
recorder: Callable[[str, object], None] | None = None


class HostsFile(NamedTuple):
    """A hosts file as seen: ``text`` None where there is none, then with the ``missing`` folders on the way to it;
    ``problem`` why it cannot be used; ``leftover``: a run that was killed while it made it left another file beside."""

    path: str
    text: str | None = None
    problem: str | None = None
    missing: tuple[str, ...] = ()
    leftover: bool = False

    @property
    def block(self) -> str:
        """Our lines in it."""
        return block_in(self.text or "")


def path_for(netns: str) -> str:
    """The hosts file of a named namespace."""
    return f"{NETNS_ETC}/{netns}/hosts"


def netns_of(path: str) -> str | None:
    """The namespace whose hosts file this is; None if it is none's."""
    folder, name = os.path.split(path)
    return os.path.basename(folder) if name == "hosts" and os.path.dirname(folder) == NETNS_ETC else None


def folders_of(path: str) -> tuple[str, ...]:
    """The folders on the way to a namespace's hosts file, which may be ours; none for an engine's."""
    folder = os.path.dirname(path)
    return (NETNS_ETC, folder) if os.path.dirname(folder) == NETNS_ETC else ()


# --- the block ------------------------------------------------------------------------------------------------


def block_of(lines: Iterable[str]) -> str:
    """The block with these lines; '' for none."""
    body = "".join(f"{line}\n" for line in lines)
    return f"{_BEGIN}\n{body}{_END}\n" if body else ""


# The files of a thousand endpoints are alike, and long.
_found_once = lru_cache(maxsize=16)


@_found_once
def block_in(text: str) -> str:
    """The block that a text has, as ``block_of`` makes it; anything else if it is not whole or there are several."""
    found = [match[0].replace(_JOINED, _BEGIN) for match in _BLOCK.finditer(text)]
    return "".join(found)


@_found_once
def without_block(text: str) -> str:
    return _BLOCK.sub("", text)


@_found_once
def with_block(text: str, block: str) -> str:
    """The text with ``block`` in the place of ours, at its end where there was none."""
    found = _BLOCK.search(text)
    if found is None:
        if block and text and not text.endswith("\n"):
            return text + block.replace(_BEGIN, _JOINED, 1)
        return text + block
    joined = block and found[0].startswith("\n")
    kept = block.replace(_BEGIN, _JOINED, 1) if joined else block
    return text[: found.start()] + kept + without_block(text[found.end() :])


def digest(text: str) -> str:
    """What tells whether a file still holds what it began with."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


# --- files ----------------------------------------------------------------------------------------------------


def read_all(paths: Iterable[str]) -> dict[str, HostsFile]:
    """The files as they are, by their paths. The many that are alike share their text: those of a thousand endpoints have
    a thousand lines each."""
    texts: dict[str, str] = {}
    found = {}
    for path in paths:
        file = read(path)
        found[path] = file if file.text is None else file._replace(text=texts.setdefault(file.text, file.text))
    return found


def read(path: str) -> HostsFile:
    """The file as it is; what cannot be used as a hosts file has a ``problem``."""
    try:
        missing = tuple(folder for folder in folders_of(path) if not _is_there(folder))
        if missing:
            return HostsFile(path, missing=missing)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return HostsFile(path)
    except OSError as error:
        return HostsFile(path, problem=_why(path, error))
    except UnderlayError as error:
        return HostsFile(path, problem=str(error))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MOST_BYTES:
            return HostsFile(path, problem=f"{path} is not a hosts file; move it away")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return HostsFile(path, _text(file.read()), leftover=os.path.lexists(_beside(path)))
    finally:
        os.close(descriptor)


def _beside(path: str) -> str:
    """Where a file is written before it gets its name."""
    return os.path.join(os.path.dirname(path), ".hosts.netops-underlay")


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _is_there(folder: str) -> bool:
    """Below ``/etc/netns`` no link may lead elsewhere; an engine's own folders are its business."""
    try:
        status = os.lstat(folder)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise UnderlayError(f"{folder} is a symbolic link, which is not followed; put a folder in its place")
    return True


def _why(path: str, error: OSError) -> str:
    if os.path.islink(path):
        return f"{path} is a symbolic link, which is not followed; put a file in its place"
    return f"{path} cannot be used: {error.strerror}"


def put_block(path: str, block: str) -> None:
    """Bring the block in the file at ``path`` to ``block``. A file that is not there (any more) is no error: it went with
    its container.

    :raises UnderlayError: where it cannot be read or written
    """
    file = read(path)
    if file.problem:
        raise UnderlayError(file.problem)
    if file.text is None:
        return
    if file.leftover:
        _record("remove_hosts", _beside(path))
        _unlink(_beside(path))
    text = with_block(file.text, block)
    if text != file.text:
        _record("write_hosts", (path, block))
        _overwrite(path, file.text, text)


def _overwrite(path: str, before: str, after: str) -> None:
    """What a kill leaves in the middle is put right by the next run: of a block that is cut off we know what was ours. Where
    others have lines after our block, a file that gets shorter ends with empty lines for a moment."""
    old, new = (text.encode(errors="surrogateescape") for text in (before, after))
    length = len(new)
    block_is_last = any(match.end() == len(before) for match in _BLOCK.finditer(before))
    if not block_is_last:
        new = new.ljust(len(old), b"\n")
    same = next((at for at in range(0, len(new), _CHUNK) if old[at : at + _CHUNK] != new[at : at + _CHUNK]), len(new))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if block_is_last and length < len(old):
                os.ftruncate(descriptor, length)
            _write(descriptor, new, same)
            os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnderlayError(_why(path, error)) from error


def _write(descriptor: int, data: bytes, place: int = 0) -> None:
    while place < len(data):
        place += os.pwrite(descriptor, data[place:], place)


def make_file(path: str, text: str) -> None:
    """Make the file with its folders; whole at once, since a kill may come at any time.

    :raises UnderlayError: where it is there already or cannot be made
    """
    _record("make_hosts", path)
    beside = _beside(path)
    try:
        fresh = False
        for folder in folders_of(path):
            fresh = _is_made(folder)
        if not fresh:
            _unlink(beside)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(descriptor, 0o644)
            _write(descriptor, text.encode(errors="surrogateescape"))
            os.link(beside, path)
        finally:
            os.close(descriptor)
            os.unlink(beside)
    except OSError as error:
        raise UnderlayError(f"{path} cannot be made: {error.strerror}") from error


def _is_made(folder: str) -> bool:
    """Whether it was not there and is made now."""
    try:
        os.mkdir(folder, 0o755)
    except FileExistsError:
        _is_there(folder)
        return False
    return True


def remove_file(path: str, made: str, folders: Iterable[str]) -> None:
    """Take away a file that we made, if it holds nothing but what it began with (digest ``made``) and our names, else only
    our names; then those of ``folders`` that are empty."""
    file = read(path)
    if file.problem:
        raise UnderlayError(file.problem)
    if file.text is not None and digest(without_block(file.text)) != made:
        put_block(path, "")
        return
    _record("remove_hosts", path)
    try:
        _unlink(path)
        _unlink(_beside(path))
    except OSError as error:
        raise UnderlayError(f"{path} cannot be removed: {error.strerror}") from error
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # somebody else keeps something there
                return
            if error.errno != errno.ENOENT:
                raise UnderlayError(f"{folder} cannot be removed: {error.strerror}") from error


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _record(verb: str, request: object) -> None:
    if recorder is not None:
        recorder(verb, request)
