# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Container engines: which container has a name, and which has just started. The only file that runs an engine's command.

Works with the rootful engine of this host alone. Reads, and never changes anything. Knows nothing of networks,
of the store or of Ansible.
"""

from __future__ import annotations

import fcntl
import glob
import json
import math
import os
import re
import selectors
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

ENGINES = ("docker", "podman")
AUTO = "auto"  # whichever engine has one of that name

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")  # both engines' rule; so no name is an option
_WORD = re.compile(r"[a-zA-Z0-9_.-]+")
_ID = re.compile(r"[0-9a-f]{12,64}")  # both show the first 12 digits of an id in their lists

# A login has these, but what Ansible runs may not.
_MORE_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin", "/snap/bin")
_RUN_USER = "/run/user"
_TIMEOUT = 30  # seconds for an answer
_AT_ONCE = 400  # names in one command: 100 kB of arguments; the kernel allows 2 MB

_MISSING = re.compile(
    "no such (container|object)|no container with name or id|"
    # A name that begins several ids, and is nobody's name.
    "multiple ids found|more than one (result|container)",
    re.IGNORECASE,
)
_ONLY_HOST_ROOT = "macvlan and ipvlan need the host's root; run the container with the rootful engine"

NS_GET_USERNS, NS_GET_OWNER_UID = 0xB701, 0xB704  # linux/nsfs.h


class Container(NamedTuple):
    """A container as its engine tells of it.

    :ivar engine: ``docker`` or ``podman``; the latter also where ``docker`` is Podman's stand-in for it
    :ivar name: without Docker's leading slash
    :ivar id: the engine's full id: the same after a restart, another after a re-creation
    :ivar pid: its first process, seen from this host; 0 if it is not running
    :ivar state: the engine's word: ``running``, ``paused``, ``exited``, ``created`` ...
    :ivar hosts_path: the file that is mounted as its ``/etc/hosts``; None where the engine manages none: never started,
        made without, or the user has mounted one
    :ivar network_mode: ``none``, ``host``, ``bridge``, ``container:ID`` ...
    """

    engine: str
    name: str
    id: str
    pid: int
    state: str
    hosts_path: str | None
    network_mode: str


# A start: engine, name, id. Two Nones: the engine is listened to from now on, so look at all its containers. Three: what
# is listened to beside the engines has something to tell.
Started = tuple[Optional[str], Optional[str], Optional[str]]


def words(container: Container) -> str:
    """The container in a message."""
    return f"{container.engine} container '{container.name}'"


# --- looking --------------------------------------------------------------------------------------------------


class _Engine(NamedTuple):
    """An engine's command; ``name`` is what stands behind it, which for the command ``docker`` may be Podman."""

    name: str
    path: str


@dataclass
class _Answer:
    """What an engine said of names: those that it has, and why it did not answer for the others."""

    found: dict[str, Container] = field(default_factory=dict)
    silence: str = ""


def inspect(names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Container | str]:
    """Containers by ``(engine, name)``; the engine ``auto`` is whichever has one of this name.

    A name is a container's whole name, or 12 digits or more of its id. Where there is none, or not exactly one, the value
    is a text for the user. One that does not run is found, too: its pid is 0. Runs each engine's command once for 400
    names, and once more where it did not answer for all.
    """
    installed = _installed()
    answers = {}
    for command, engine in installed.items():
        wanted = {name for asked, name in names if NAME.fullmatch(name) and command in _meant(asked, installed)}
        if wanted:
            answers[command] = _ask(engine, sorted(wanted))
    return {(engine, name): _verdict(engine, name, installed, answers) for engine, name in names}


def _installed() -> dict[str, _Engine]:
    """The engines whose command is here, by that command."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), *_MORE_PATH))
    found = {}
    for name in ENGINES:
        path = shutil.which(name, path=places)
        if path:
            found[name] = _Engine("podman" if _is_podman(path) else name, path)
    return found


def _is_podman(path: str) -> bool:
    """Whether a command is Podman, also by the name ``docker``: a link to it, or the script of the package podman-docker."""
    if os.path.basename(os.path.realpath(path)) == "podman":
        return True
    with suppress(OSError), open(path, "rb") as file:
        head = file.read(4096)
        return os.path.basename(path) == "docker" and head.startswith(b"#!") and b"podman" in head
    return False


def _meant(asked: str, installed: Mapping[str, _Engine]) -> list[str]:
    """The commands that a choice of the user means; of two that are the same engine, one."""
    if asked != AUTO:
        return [asked]
    return [command for command, engine in installed.items() if command == engine.name or engine.name not in installed]


def _ask(engine: _Engine, names: list[str]) -> _Answer:
    answer = _Answer()
    for start in range(0, len(names), _AT_ONCE):
        _inspect(engine, names[start : start + _AT_ONCE], answer)
        if answer.silence:
            break  # another 30 seconds would be no better
    return answer


def _inspect(engine: _Engine, names: list[str], answer: _Answer) -> None:
    """Adds what the engine says of the names to the answer."""
    # Podman gives up where a container vanishes while it looks: once more for those that it said nothing of.
    for _try in range(2):
        try:
            done = subprocess.run(
                (engine.path, "container", "inspect", "--", *names),
                stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, env=_environment(), cwd="/",
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            answer.silence = f"it gave no answer within {_TIMEOUT} seconds"
            return
        except OSError as error:
            answer.silence = f"{engine.path}: {error.strerror}"
            return
        containers = _containers(engine, done.stdout)
        answer.found.update(_by_name(names, containers))
        complaints = done.stderr.decode(errors="replace").splitlines()
        missing = {word for line in complaints if _MISSING.search(line) for word in _WORD.findall(line)}
        names = [name for name in names if name not in answer.found and name not in missing]
        if not names or done.returncode == 0:
            return
    others = [line for line in complaints if not _MISSING.search(line)]
    answer.silence = _last_words(others) or f"its command ended with {done.returncode}"


def _environment() -> dict[str, str]:
    """Ours, less what would lead to the engine of another host, whose process ids mean nothing here."""
    kept = dict(os.environ)
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        if not kept.get(name, "").startswith("unix:"):
            kept.pop(name, None)
    kept.pop("CONTAINER_CONNECTION", None)
    kept["DOCKER_CONTEXT"] = "default"
    return kept


def _last_words(lines: Iterable[str]) -> str:
    """The last line that says something, fit for a message."""
    said = [line for line in ("".join(c if c.isprintable() else " " for c in line).strip() for line in lines) if line]
    return said[-1][:200].rstrip(" .") if said else ""


def _containers(engine: _Engine, output: bytes) -> list[Container]:
    """What ``inspect`` printed; what is not of its form is left out."""
    with suppress(ValueError):
        entries = json.loads(output)
        if isinstance(entries, list):
            found = (_container(engine, entry) for entry in entries if isinstance(entry, dict))
            return [container for container in found if container.id and container.name]
    return []


def _container(engine: _Engine, entry: Mapping[str, Any]) -> Container:
    state = _text(_part(entry, "State"), "Status")
    pid = _part(entry, "State").get("Pid")
    return Container(
        engine=engine.name,
        name=_text(entry, "Name").lstrip("/"),
        id=_text(entry, "Id"),
        pid=pid if state in ("running", "paused") and isinstance(pid, int) and pid > 0 else 0,
        state=state,
        hosts_path=_hosts_path(entry),
        network_mode=_text(_part(entry, "HostConfig"), "NetworkMode"),
    )


def _hosts_path(entry: Mapping[str, Any]) -> str | None:
    mounts = entry.get("Mounts")
    if isinstance(mounts, list) and any(isinstance(m, dict) and m.get("Destination") == "/etc/hosts" for m in mounts):
        return None
    path = _text(entry, "HostsPath")
    return path if path.startswith("/") else None


def _part(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _by_name(names: Iterable[str], containers: Iterable[Container]) -> dict[str, Container]:
    """Which container each name means; an engine takes the beginning of an id for a name, too, however short."""
    named = {container.name: container for container in containers}
    found = {}
    for name in names:
        by_id = [c for c in named.values() if c.id.startswith(name)] if _ID.fullmatch(name) else []
        for container in [named[name]] if name in named else by_id:
            found[name] = container
    return found


# --- the texts ------------------------------------------------------------------------------------------------


def _verdict(
    asked: str, name: str, installed: Mapping[str, _Engine], answers: Mapping[str, _Answer]
) -> Container | str:
    if not NAME.fullmatch(name):
        return f"{name!r} cannot be a container: a name has letters, digits, '_', '.' and '-'"
    if not installed:
        return f"container '{name}': neither docker nor podman is installed on this host; install what is to run it"
    meant = _meant(asked, installed)
    if asked != AUTO and asked not in installed:
        others = " and ".join(installed)
        return (
            f"container '{name}': {asked} is not installed on this host, but {others} is;"
            f" install {asked} or set container_engine to {others}"
        )
    found = [answers[command].found[name] for command in meant if name in answers[command].found]
    if len(found) == 1:
        return found[0]
    if found:
        return f"container '{name}': docker and podman both have one; say which is meant with container_engine"
    return _nobody_has(name, meant, answers)


def _nobody_has(name: str, meant: Iterable[str], answers: Mapping[str, _Answer]) -> str:
    silent = {command: answers[command].silence for command in meant if answers[command].silence}
    lack = [command for command in meant if command not in silent]
    said = []
    if lack:
        said.append(f"{' and '.join(lack)} {'has' if len(lack) == 1 else 'have'} none of this name")
    said += [f"{command} does not answer ({why})" for command, why in silent.items()]
    ways = ["create it first or correct the name"] if lack else []
    ways += ["make " + " and ".join(f"'{command} ps'" for command in silent) + " work"] if silent else []
    users = _rootless_users() if lack else set()
    hint = f". Containers of a rootless engine ({_users(users)}) cannot be used: {_ONLY_HOST_ROOT}" if users else ""
    return f"container '{name}': {' and '.join(said)}; {', or '.join(ways)}{hint}"


def _users(users: Collection[int]) -> str:
    return f"{'user' if len(users) == 1 else 'users'} {', '.join(map(str, sorted(users)))}"


def rootless_refusal(name: str, user: int) -> str:
    """Why a container of a user's own engine cannot be used."""
    return f"container '{name}' runs in a rootless engine (user {user}): {_ONLY_HOST_ROOT}"


def _rootless_users() -> set[int]:
    """The users that have run an engine of their own since they logged in."""
    traces = ("docker.sock", "podman/podman.sock", "libpod")
    paths = [path for trace in traces for path in glob.glob(f"{glob.escape(_RUN_USER)}/[1-9]*/{trace}")]
    owners = (os.path.relpath(path, _RUN_USER).split(os.sep)[0] for path in paths)
    return {int(owner) for owner in owners if owner.isdigit()}


# --- rootless -------------------------------------------------------------------------------------------------


def rootless(pid: int) -> int | None:
    """The user (not 0) in whose user namespace a process has its network namespace; None where it is the host's root.

    So also for Docker's ``userns-remap`` and Podman's ``--userns``, which the host's root has made, and for a process
    that is gone. man 2 ioctl_ns; the number is as this process's user namespace maps it.
    """
    try:
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        owner = fcntl.ioctl(network, NS_GET_USERNS)
        try:
            uid = bytearray(4)
            fcntl.ioctl(owner, NS_GET_OWNER_UID, uid)
            return struct.unpack("I", uid)[0] or None
        finally:
            os.close(owner)
    except OSError:  # it belongs to a user namespace above ours
        return None
    finally:
        os.close(network)


# --- listening ------------------------------------------------------------------------------------------------

_LOOK_AGAIN = 60.0  # seconds until an engine that is not installed is looked for again
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 30.0  # seconds until a stream that ended is begun anew; doubling
_SETTLE = 2.0  # seconds after which a stream that lives counts as working; nothing else tells that it is
_LASTED = 60.0  # seconds after which a stream that ends has been a good one

# Both report a start of every kind so: by hand, by a restart, by a policy.
_EVENTS = {
    "docker": ("--filter", "type=container", "--filter", "event=start", "--format", "{{json .}}"),
    "podman": ("--stream", "--filter", "type=container", "--filter", "event=start", "--format", "json"),
}


@dataclass
class _Stream:
    """The events of one engine. ``due`` is when something has to be done: begin, or count it as working."""

    command: str
    due: float = 0.0
    failures: int = 0  # since it last was a good one
    engine: str = ""
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0
    working: bool = False
    tried: bool = False
    rest: bytes = b""  # of a line that is not whole yet
    said: str = ""  # the last line that was no event
    trouble: str = ""  # what was told last


def started(
    engines: Collection[str] = ENGINES,
    ready: Callable[[], None] | None = None,
    trouble: Callable[[str], None] | None = None,
    beside: int | None = None,
) -> Iterator[Started]:
    """Every start of a container from now on, as ``(engine, name, id)``; waits for the next one without end.

    ``(engine, None, None)`` each time that an engine's events begin, or begin again: a pass over all its containers is
    due. Whatever starts after that is reported, so nothing is missed; a start may be reported that the pass has seen.
    An engine that does not answer is tried again, at first after one second, then after up to 30; one that is not
    installed is looked for every minute. Ends its processes when it is closed.

    :param ready: called once, as soon as every engine that answers has been begun with, and the caller is through with it
    :param trouble: called with a text when an engine cannot be listened to, and again when the reason changes
    :param beside: a descriptor to listen to as well; whoever is told that it can be read reads it
    """
    streams = [_Stream(command) for command in engines]
    with selectors.DefaultSelector() as selector:
        if beside is not None:
            selector.register(beside, selectors.EVENT_READ)
        try:
            while True:
                for stream in streams:
                    if stream.due <= time.monotonic():
                        if stream.process is None:
                            _begin(stream, engines, selector, trouble)
                        else:
                            yield _works(stream)
                if ready is not None and all(stream.tried for stream in streams):
                    ready()
                    ready = None
                for key, _mask in selector.select(_pause(streams)):
                    if key.data is None:
                        yield None, None, None
                        continue
                    data = os.read(key.fd, 65536)
                    for event in _events(key.data, data):
                        if not key.data.working:
                            yield _works(key.data)
                        yield event
                    if not data:
                        selector.unregister(key.fileobj)
                        _ended(key.data, trouble)
        finally:
            for stream in streams:
                _stop(stream)


def _pause(streams: Iterable[_Stream]) -> float | None:
    """The seconds until something has to be done; None for never."""
    due = min((stream.due for stream in streams), default=math.inf)
    return None if due == math.inf else max(due - time.monotonic(), 0)


def _begin(
    stream: _Stream, engines: Collection[str], selector: selectors.BaseSelector, trouble: Callable[[str], None] | None
) -> None:
    """Start the engine's command, if it is installed."""
    installed = {command: engine for command, engine in _installed().items() if command in engines}
    stream.begun = time.monotonic()
    if stream.command not in _meant(AUTO, installed):
        stream.tried = True
        stream.due = stream.begun + _LOOK_AGAIN
        return
    engine = installed[stream.command]
    # From before the process begins, since nothing tells when it has subscribed.
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    stream.engine, stream.working, stream.rest, stream.said = engine.name, False, b"", ""
    stream.due = stream.begun + _SETTLE
    try:
        stream.process = subprocess.Popen(
            (engine.path, "events", "--since", since, *_EVENTS[engine.name]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment(), cwd="/",
        )  # fmt: skip
    except OSError as error:
        stream.said = f"{engine.path}: {error.strerror}"
        _ended(stream, trouble)
    else:
        if stream.process.stdout is None:
            raise AssertionError("the output of an engine is a pipe")
        selector.register(stream.process.stdout, selectors.EVENT_READ, stream)


def _works(stream: _Stream) -> Started:
    stream.working = stream.tried = True
    stream.due = math.inf
    stream.trouble = ""
    return stream.engine, None, None


def _events(stream: _Stream, data: bytes) -> Iterator[Started]:
    """The starts that the stream's next bytes tell of; '' is its end."""
    *lines, stream.rest = ((stream.rest + data) if data else stream.rest + b"\n").split(b"\n")
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            stream.said = _last_words((line.decode(errors="replace"),)) or stream.said
            continue
        if isinstance(event, dict):
            # Docker has an actor with attributes, Podman fields of its own.
            actor = _part(event, "Actor")
            name = _text(_part(actor, "Attributes"), "name") or _text(event, "Name")
            identity = _text(actor, "ID") or _text(event, "ID")
            if name and identity:
                yield stream.engine, name, identity


def _ended(stream: _Stream, trouble: Callable[[str], None] | None) -> None:
    """The stream is over: tell why, if that is news, and set when to try again."""
    _stop(stream)
    stream.tried = True
    now = time.monotonic()
    if now - stream.begun >= _LASTED:
        stream.failures = 0
    stream.due = now + min(_FIRST_WAIT * 2**stream.failures, _LONGEST_WAIT)
    stream.failures += 1
    text = f"{stream.engine} cannot be listened to ({stream.said or 'its events ended'}); it is tried again"
    if trouble is not None and text != stream.trouble:
        trouble(text)
    stream.trouble = text


def _stop(stream: _Stream) -> None:
    """End the stream's process, also one that only closed its output."""
    if stream.process is not None:
        stream.process.kill()  # it only reads, and one that is stopped heeds nothing else
        stream.process.wait()
        if stream.process.stdout is not None:
            stream.process.stdout.close()
        stream.process = None
