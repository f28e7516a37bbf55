# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Frames sent from links in namespaces, again and again for a few seconds, by a process that nobody waits for.

Knows neither networks nor store. Its one product is frames on the wire; on this host nothing changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from ansible_collections.netops.underlay.plugins.module_utils.addressing import IPAddress
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError
from ansible_collections.netops.underlay.plugins.module_utils.namespaces import (
    entered,
    name_process,
    namespace_id,
    open_namespace,
)
from ansible_collections.netops.underlay.plugins.module_utils.wire import announcements

PROCESS_NAME = b"netops-announce"
# How long a link may take to get carrier (a switch port that is just coming up), and how often it is looked.
CARRIER_WITHIN_S = 5.0
_LOOK_AGAIN_S = 0.1
# With each packet socket that is closed the kernel waits for its readers, so they are closed side by side.
_SIDE_BY_SIDE = 32

_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40  # linux/sockios.h, linux/if.h


class Speaker(NamedTuple):
    """A link that tells, ``count`` times, which addresses it has. ``identity`` is that of the namespace which ``path`` opens."""

    path: str
    identity: tuple[int, int]
    ifname: str
    mac: str
    addresses: tuple[IPAddress, ...]
    count: int  # type: ignore[assignment]
    interval_s: float


def send_announcements(speakers: Sequence[Speaker]) -> None:
    """Has one process send them all; returns at once. That process holds nothing of this one and ends by itself.

    If there can be no more processes, nothing is sent: neighbours find out by themselves, later.
    """
    if not speakers:
        return
    with contextlib.suppress(OSError):
        child = os.fork()
        if child == 0:
            _leave_home(speakers)
        os.waitpid(child, 0)


def _leave_home(speakers: Sequence[Speaker]) -> NoReturn:
    """In the child: its own child, which is nobody's any more, does the work. It takes no cleaning up of Python's with it."""
    try:
        os.setsid()
        name_process(PROCESS_NAME)
        if os.fork() == 0:
            _let_go()
            speak(speakers)
    finally:
        os._exit(0)


def _let_go() -> None:
    """Holds no descriptor or folder of the process that it was: Ansible waits for the end of its output."""
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.close(int(name))


def speak(speakers: Sequence[Speaker]) -> None:
    """Sends what each has to say. Namespaces are entered by other threads than this one, so that nobody takes this process for
    one that lives in them, and are held for no longer than sending takes, so that they can go meanwhile."""
    from concurrent.futures import ThreadPoolExecutor  # slow to import, and seldom needed

    start = time.monotonic()
    waiting = [(start, speaker, speaker.count) for speaker in speakers]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        while waiting:
            now = time.monotonic()
            due = [entry for entry in waiting if entry[0] <= now]
            waiting = [entry for entry in waiting if entry[0] > now]
            for (when, speaker, left), sent in zip(due, pool.map(_say, [speaker for _when, speaker, _left in due])):
                if sent and left > 1:
                    waiting.append((when + speaker.interval_s, speaker, left - 1))
                elif sent is False and now < start + speaker.count * speaker.interval_s + CARRIER_WITHIN_S:
                    waiting.append((now + _LOOK_AGAIN_S, speaker, left))
            if waiting:
                time.sleep(max(min(when for when, _speaker, _left in waiting) - time.monotonic(), 0.0))


def _say(speaker: Speaker) -> bool | None:
    """Whether it could be sent; False: the link has no carrier; None: it is not there any more."""
    try:
        with _inside(speaker), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link:
            request = struct.pack("16sH14x", os.fsencode(speaker.ifname), 0)
            (flags,) = struct.unpack_from("H", fcntl.ioctl(link, _SIOCGIFFLAGS, request), 16)
            if not flags & _IFF_RUNNING:
                return False
            link.bind((speaker.ifname, 0))
            for frame in announcements(speaker.mac, speaker.addresses):
                link.send(frame)
    except (OSError, UnderlayError):
        return None
    return True


@contextlib.contextmanager
def _inside(speaker: Speaker) -> Iterator[None]:
    descriptor = open_namespace(speaker.path)
    try:
        if namespace_id(descriptor) != speaker.identity:
            raise UnderlayError("another namespace by now")
        with entered(descriptor):
            yield
    finally:
        os.close(descriptor)
