# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What this host is reached by: its default routes, and the connection that Ansible came in on.

Reads what processes were started with; the rest is pure. What would cut one is for the plans to say.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils.facts import Address, Link, Route

# include/uapi/linux/rtnetlink.h: such a route comes from a router advertisement; nobody has put it there.
_RTPROT_RA = 9
_VARIABLE = "SSH_CONNECTION"  # man 1 ssh
_ANCESTORS = 64  # more than there ever are; a pid that is given out again must not lead in a circle


class Connection(NamedTuple):
    """Where Ansible comes from, and the address of this host that it came to (``scope``: the link of a link-local one)."""

    client: str
    local: str
    scope: str = ""


class Lifeline(NamedTuple):
    """Something that the host is reached by, in words, and the index of the ``link`` that it needs; ``client``: who reaches it,
    where answers are meant."""

    link: int
    words: str
    client: str = ""


def connection() -> Connection | None:
    """The SSH connection that this process came by; None where there is none, or none can be found.

    ``sudo`` and its like take the variable out of the environment, so that of the processes above is read,
    too. What runs in the background (``async``) under another user has neither.
    """
    value = os.environ.get(_VARIABLE) or next(filter(None, map(_started_with, _ancestors())), None)
    return parsed(value) if value else None


def _started_with(pid: str) -> str | None:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as file:
        for entry in file.read().split("\0"):
            name, _equals, value = entry.partition("=")
            if name == _VARIABLE:
                return value
    return None


def _ancestors() -> Iterator[str]:
    """The process above this one, the one above that, and so on."""
    pid = "self"
    for _step in range(_ANCESTORS):
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
                pid = re.findall(r"^PPid:\s*(\d+)", file.read(), re.MULTILINE)[0]
        except (OSError, IndexError):
            return
        if pid == "0":
            return
        yield pid


def parsed(value: str) -> Connection | None:
    """Of an SSH_CONNECTION: client address, client port, server address, server port."""
    with contextlib.suppress(ValueError):
        client, _port, local, _port = value.split()
        local, _percent, scope = local.partition("%")
        client = client.partition("%")[0]
        return Connection(str(ipaddress.ip_address(client)), str(ipaddress.ip_address(local)), scope)
    return None


def found(
    links: Iterable[Link],
    addresses: Iterable[Address],
    routes: Iterable[Route],
    connected: Connection | None,
    answers_by: int | None,
) -> tuple[Lifeline, ...]:
    """The lifelines of a host; ``answers_by`` is the link by which what goes to Ansible leaves."""
    lines = [
        Lifeline(
            index, f"the host's IPv{route.family} default route" + (f" via {route.gateway}" if route.gateway else "")
        )
        for route in routes
        if route.destination == "default" and route.protocol != _RTPROT_RA
        for index in route.links
    ]
    if connected is not None:
        words = f"the connection that Ansible came in on (to {connected.local})"
        names = {link.index: link.name for link in links}
        lines += [
            Lifeline(address.index, words)
            for address in addresses
            if address.address == connected.local and connected.scope in ("", names.get(address.index))
        ]
        if answers_by is not None:
            answers = f"the connection that Ansible came in on (from {connected.client})"
            lines.append(Lifeline(answers_by, answers, connected.client))
    return tuple(lines)
