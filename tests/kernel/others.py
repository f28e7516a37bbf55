# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What others have on a host: a picture of all of it, one entry for each thing, as ``ip -j`` shows it.

Taken before our modules run it is all theirs; afterwards every entry has to be there as it was, whatever came beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from .conftest import inside, several_looks

# What changes by itself, or tells of the links that hang on this one.
_BY_ITSELF = frozenset(
    {"promiscuity", "allmulti", "valid_life_time", "preferred_life_time", "operstate", "ip6_expires"}
)
Picture = Mapping[str, Any]


def picture(netns: Iterable[str] = (), pids: Iterable[int] = (), files: Iterable[str] = ()) -> dict[str, Any]:
    """All links, addresses, routes and rules of the host, of named namespaces and of those of processes; which namespace
    has a name; the lines of files."""
    places = {"host": "/proc/self/ns/net"}
    places.update({name: f"/run/netns/{name}" for name in netns})
    places.update({f"pid {pid}": f"/proc/{pid}/ns/net" for pid in pids})
    found: dict[str, Any] = {}
    for place, path in places.items():
        with inside(path):
            found.update({f"{place}: {key}": value for key, value in _here().items()})
    for name in netns:
        found[f"namespace {name}"] = os.stat(f"/run/netns/{name}").st_ino
    for path in files:
        with open(path, encoding="utf-8") as file:
            found.update({f"{path}: {line.rstrip()}": None for line in file if line.strip()})
    return found


def _here() -> dict[str, Any]:
    links, addresses = _steady(several_looks("link\naddr\n"))
    found: dict[str, Any] = {f"link {link['ifindex']}": link for link in links}
    for link in addresses:
        infos = link.get("addr_info", ())
        found.update({f"address {link['ifindex']} {info.get('local')}/{info.get('prefixlen')}": info for info in infos})
    for family in ("-4", "-6"):
        routes, rules = _steady(several_looks("route show table all\nrule\n", family))
        for route in routes:
            words = [str(route.get(key)) for key in ("type", "table", "dst", "dev", "gateway", "metric")]
            found[f"route {family} {' '.join(words)}"] = route
        found.update({f"rule {family} {rule['priority']}": rule for rule in rules})
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if key not in _BY_ITSELF and not key.endswith("_timer")}
        return {key: _steady(inner) for key, inner in kept.items()}
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


def differences(before: Picture, now: Picture) -> dict[str, tuple[Any, Any]]:
    """What was there and is not, or is otherwise."""
    return {key: (value, now.get(key, "gone")) for key, value in before.items() if now.get(key, "gone") != value}
