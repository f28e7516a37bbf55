# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every error that a user can meet, worded for the person who reads it.

Raised once, where the fact is known; the module that ran shows the text as it is.
This file knows nothing of Ansible, the kernel or the store.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import cache

# Among so many a similar word is looked for: comparing each of thousands with each of thousands would take minutes.
_CANDIDATES = 200
_LIKE = 0.75  # eth9 is like eth0, vlan99 is not like vlan20


class UnderlayError(Exception):
    """Something that the user has to know; its text names the item, the cause and the way out."""


class ItemError(UnderlayError):
    """An error of one item of a list.

    ``item`` is the item's label as a user finds it in the task, for example ``endpoints[2] (web3)``.
    """

    def __init__(self, item: str, message: str) -> None:
        super().__init__(f"{item}: {message}")
        self.item = item


class Refused(UnderlayError):
    """One or more items cannot be done; nothing was changed.

    ``messages`` holds one text per item, in input order.
    """

    def __init__(self, messages: Iterable[str]) -> None:
        self.messages = tuple(messages)
        super().__init__("\n".join(self.messages))


class StoreError(UnderlayError):
    """The store cannot be used: its folder, its file, its version or its lock."""


class OtherVersion(StoreError):
    """The store was written by another version of the collection."""


class Unfinished(UnderlayError):
    """The kernel refused a part of the work; ``done`` tells in words what was done all the same."""

    def __init__(self, message: str, done: Iterable[str]) -> None:
        super().__init__(message)
        self.done = tuple(done)


# --- ways out, for several errors ----------------------------------------------------------------------------------------


def similar(word: str, known: Sequence[str], ending: str = "") -> str:
    """The known word that may be meant, with ``ending`` behind it, as the end of an error; empty where none is like it."""
    found = _nearest(word, tuple(known[:_CANDIDATES]))
    return f"; did you mean '{found}{ending}'?" if found else ""


@cache
def _nearest(word: str, known: tuple[str, ...]) -> str | None:
    from difflib import get_close_matches  # seldom needed, and slow to import

    return next(iter(get_close_matches(word, known, 1, cutoff=_LIKE)), None)


def ways_to_install(name: str, requirement: str = "") -> str:
    """How a user gets a library for the Python that this runs under."""
    return (
        f"Install it with `apt install python3-{name}` (Debian and Ubuntu) or `dnf install python3-{name}` (Fedora) for the "
        f"system's Python, with `{sys.executable} -m pip install {requirement or name}` for another one, or let the role "
        "netops.underlay.vlan_map do it."
    )
