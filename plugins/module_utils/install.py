# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the service needs on a host: this code, a command and a unit of systemd, as files; and bringing them there.

The code is the very one that runs here, so the service never differs from the modules that installed it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils import restore
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError

LIBRARY = "/usr/local/lib/netops-underlay"
UNITS = "/etc/systemd/system"
UNIT = "netops-underlay.service"
DIGESTS = "SHA256SUMS"

_PACKAGE, _dot, _FIRST = restore.__name__.rpartition(".")
_IMPORTED = re.compile(rf"^\s*from {re.escape(_PACKAGE)}(?:\.(\w+))? import (\([^)]*\)|[^\n]*)", re.MULTILINE)

_COMMAND = """\
#!{python}
# Part of netops.underlay; written by its module vlan_service.
import sys

sys.path.insert(0, {library!r})
from {package}.restore import main

sys.exit(main(sys.argv[1:]))
"""

# Ordered after what configures the network, and waits for none of it: a link that comes later is heard of. Started once all
# that can be is put back, so what is ordered after it finds its namespaces.
_SERVICE = """\
# Part of netops.underlay; written by its module vlan_service.
[Unit]
Description=Networks and endpoints on VLANs
After=network.target
RequiresMountsFor={library} {state_dir}

[Service]
Type=notify
ExecStart={library}/netops-underlay --state-dir {state_dir} watch
TimeoutStartSec=300
Restart=always
RestartSec=2
# Without its libraries it would fail again.
RestartPreventExitStatus=78

[Install]
WantedBy=multi-user.target
"""


class File(NamedTuple):
    """A file that has to be there."""

    path: str
    content: str
    mode: int = 0o644


def files(python: str, state_dir: str) -> list[File]:
    """All files of the service, for this Python."""
    folder = os.path.join(LIBRARY, *_PACKAGE.split("."))
    found = [File(f"{folder}/{name}.py", source) for name, source in sorted(_sources().items())]
    command = _COMMAND.format(python=python, library=LIBRARY, package=_PACKAGE)
    found.append(File(f"{LIBRARY}/netops-underlay", command, 0o755))
    found.append(File(f"{UNITS}/{UNIT}", _SERVICE.format(library=LIBRARY, state_dir=state_dir)))
    return [*found, File(f"{LIBRARY}/{DIGESTS}", "".join(f"{_digest(file.content)}  {file.path}\n" for file in found))]


def digest(wanted: list[File]) -> str:
    """One number for all files: the same where they are the same."""
    return _digest(next(file.content for file in wanted if os.path.basename(file.path) == DIGESTS))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sources() -> dict[str, str]:
    """The source of restore.py and of all that it imports from this package, by name."""
    found: dict[str, str] = {}
    ahead = [_FIRST]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        module = importlib.import_module(f"{_PACKAGE}.{name}")  # some are imported only where they are needed
        # Not from a file: what Ansible sends to a host is a zip archive.
        loader: Any = module.__loader__
        source: str | None = loader.get_source(module.__name__)
        if source is None:
            raise UnderlayError(f"the source of {name} cannot be read, so it cannot be installed")
        found[name] = source
        ahead += _imported(source)
    return found


def _imported(source: str) -> Iterator[str]:
    for module, names in _IMPORTED.findall(source):
        if module:
            yield module
        else:
            yield from re.findall(r"\w+", re.sub(r"#.*", "", names))


def differing(wanted: list[File]) -> list[File]:
    """Those that are not there, or otherwise.

    :raises UnderlayError: where a link would lead what is written elsewhere
    """
    _check_no_link(place for file in wanted for place in _places(file.path))
    return [file for file in wanted if not _is_there(file)]


def _places(path: str) -> list[str]:
    """A file of ours and the folders of ours that it lies in."""
    found = [path]
    while found[-1].startswith(LIBRARY + "/"):
        found.append(os.path.dirname(found[-1]))
    return found


def _check_no_link(places: Iterable[str]) -> None:
    for place in dict.fromkeys(places):
        if os.path.islink(place):
            raise UnderlayError(f"{place} is a symbolic link, which is not followed; remove it")


def _is_there(file: File) -> bool:
    try:
        if stat.S_IMODE(os.lstat(file.path).st_mode) != file.mode or os.path.islink(file.path):
            return False
        with open(file.path, encoding="utf-8") as found:
            return found.read() == file.content
    except (OSError, ValueError):
        return False


def strays(wanted: list[File]) -> list[str]:
    """What lies in our own folder beside those files: of another version."""
    keep = {file.path for file in wanted}
    found = [os.path.join(folder, name) for folder, _folders, names in os.walk(LIBRARY) for name in names]
    return sorted(path for path in found if path not in keep and not path.endswith(".pyc"))


def put_files(changed: list[File], leaving: list[str]) -> None:
    """Bring the files there, each whole at once, and take those away that have to leave.

    :raises UnderlayError: where one cannot be written
    """
    try:
        for file in changed:
            _put(file)
        for path in leaving:
            _remove(path)
    except OSError as error:
        raise UnderlayError(f"{error.filename} cannot be written: {error.strerror}") from error


def _put(file: File) -> None:
    beside = _beside(file.path)
    os.makedirs(os.path.dirname(beside), mode=0o755, exist_ok=True)
    _remove(beside)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.write(file.content)
            os.fchmod(new.fileno(), file.mode)
        os.rename(beside, file.path)
    except BaseException:
        os.unlink(beside)
        raise


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):  # what a kill left beside a file takes its place when that is written again
        os.unlink(path)


def _beside(path: str) -> str:
    """Where a file is written before it gets its name."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.netops-underlay")


def there() -> list[str]:
    """What of it is on this host.

    :raises UnderlayError: where a link stands in its place
    """
    unit = f"{UNITS}/{UNIT}"
    _check_no_link((LIBRARY, unit))
    return [path for path in (LIBRARY, unit, _beside(unit)) if os.path.lexists(path)]


def remove_all() -> None:
    """Take all of it away.

    :raises UnderlayError: where that cannot be done
    """
    try:
        for path in there():
            (shutil.rmtree if path == LIBRARY else os.unlink)(path)
    except OSError as error:
        raise UnderlayError(f"{error.filename} cannot be removed: {error.strerror}") from error
