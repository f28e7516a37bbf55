# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others have on a host: a picture of all of it, one entry for each thing, as ``ip -j`` shows it.

Taken before our modules run it is all theirs; afterwards every entry has to be there as it was, whatever came beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .conftest import command

# What changes by itself, or tells of the links that hang on this one.
_BY_ITSELF = frozenset(
    {"promiscuity", "allmulti", "valid_life_time", "preferred_life_time", "operstate", "ip6_expires"}
)
Picture = Mapping[str, Any]


def picture(netns: Iterable[str] = (), pids: Iterable[int] = (), files: Iterable[str] = ()) -> dict[str, Any]:
    """All links, addresses, routes and rules of the host, of named namespaces and of those of processes; which namespace
    has a name; the lines of files."""
    places: dict[str, tuple[str, ...]] = {"host": ()}
    places.update({name: ("ip", "netns", "exec", name) for name in netns})
    places.update({f"pid {pid}": ("nsenter", "-t", str(pid), "-n") for pid in pids})
    found: dict[str, Any] = {}
    for place, enter in places.items():
        found.update({f"{place}: {key}": value for key, value in _inside(enter).items()})
    for name in netns:
        found[f"namespace {name}"] = os.stat(f"/run/netns/{name}").st_ino
    for path in files:
        with open(path, encoding="utf-8") as file:
            found.update({f"{path}: {line.rstrip()}": None for line in file if line.strip()})
    return found


def _inside(enter: tuple[str, ...]) -> dict[str, Any]:
    def ip(*words: str) -> list[dict[str, Any]]:
        output = command(*enter, "ip", "-j", *words).stdout
        return [_steady(entry) for entry in json.loads(output) if entry] if output.strip() else []

    found: dict[str, Any] = {f"link {link['ifindex']}": link for link in ip("-d", "link")}
    for link in ip("addr"):
        infos = link.get("addr_info", ())
        found.update({f"address {link['ifindex']} {info.get('local')}/{info.get('prefixlen')}": info for info in infos})
    for family in ("-4", "-6"):
        for route in ip(family, "route", "show", "table", "all"):
            words = [str(route.get(key)) for key in ("type", "table", "dst", "dev", "gateway", "metric")]
            found[f"route {family} {' '.join(words)}"] = route
        found.update({f"rule {family} {rule['priority']}": rule for rule in ip(family, "rule")})
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key not in _BY_ITSELF and not key.endswith("_timer")}
        return {key: _steady(inner) for key, inner in kept.items()}
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


def differences(before: Picture, now: Picture) -> dict[str, tuple[Any, Any]]:
    """What was there and is not, or is otherwise."""
    return {key: (value, now.get(key, "gone")) for key, value in before.items() if now.get(key, "gone") != value}
