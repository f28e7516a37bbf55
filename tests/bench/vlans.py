"""Many VLAN networks on one trunk beside `ip -batch`, which makes the same links. For the lab, since not every kernel has VLANs.

`python vlans.py COUNT REPETITIONS FOLDER` prints the seconds of each repetition by work and way, as JSON; the store and what
`ip -batch` reads lie in ``FOLDER``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import ground
from endpoint_peers import program, spawned
from task import Request, done

WORKS = ("made", "unchanged", "removed")
FIRST_VLAN = 2


class Ours:
    def __init__(self, count: int, folder: Path) -> None:
        self._state = str(folder / "state")
        self._items = [
            {
                "name": f"vlan{number}",
                "driver": "macvlan",
                "parent": f"{ground.NIC}.{number}",
                "ipam_config": [{"subnet": f"10.{number}.0.0/24"}],
            }
            for number in vlans(count)
        ]

    def made(self) -> float:
        return self._done({}, changed=True)

    def unchanged(self) -> float:
        return self._done({}, changed=False)

    def removed(self) -> float:
        return self._done({"state": "absent"}, changed=True)

    def _done(self, values: dict[str, Any], changed: bool) -> float:
        items = [{"name": item["name"]} for item in self._items] if values else self._items
        told = done(Request("vlan_network", self._state, items, values))
        if told.changed != changed:
            raise ground.Different(f"the task says changed: {told.changed}")
        return told.seconds


class IpBatch:
    """It knows nothing of what is there: a second run is refused line by line, which changes nothing either."""

    def __init__(self, count: int, folder: Path) -> None:
        links = [(f"{ground.NIC}.{number}", number) for number in vlans(count)]
        make = "".join(f"link add link {ground.NIC} name {name} up type vlan id {vlan}\n" for name, vlan in links)
        self._make, self._remove = folder / "make", folder / "remove"
        self._make.write_text(make)
        self._remove.write_text("".join(f"link delete {name}\n" for name, _vlan in links))

    def made(self) -> float:
        return _run(self._make)

    def unchanged(self) -> float:
        return _run(self._make, "-force", fails=True)

    def removed(self) -> float:
        return _run(self._remove)


def _run(file: Path, *options: str, fails: bool = False) -> float:
    start = time.perf_counter()
    failed = spawned([program("ip"), *options, "-batch", str(file)], check=not fails)
    taken = time.perf_counter() - start
    if bool(failed) != fails:
        raise ground.Different(f"ip -batch {file} ended with {failed}")
    return taken


def vlans(count: int) -> range:
    return range(FIRST_VLAN, FIRST_VLAN + count)


def links() -> list[tuple[Any, ...]]:
    """The VLAN links as they are."""
    return sorted(
        (one["ifname"], one["link"], one["linkinfo"]["info_data"]["id"], "UP" in one["flags"], one["mtu"])
        for one in ground.ip_json("-details", "link", "show", "type", "vlan")
    )


def measured(count: int, repetitions: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    ways = {"ours": Ours(count, folder), "peer": IpBatch(count, folder)}
    taken: dict[str, dict[str, list[float]]] = {work: {way: [] for way in ways} for work in WORKS}
    wanted = [(f"{ground.NIC}.{number}", ground.NIC, number, True, 1500) for number in vlans(count)]
    for turn in range(repetitions):
        # Who comes second meets a kernel that still clears away what the first has removed: each is second as often.
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            for work in WORKS:
                taken[work][name].append(getattr(way, work)())
                if links() != ([] if work == "removed" else sorted(wanted)):
                    raise ground.Different(f"{name}, {work}: the VLANs are not as they should be")
    return taken


if __name__ == "__main__":
    ground.prepare()
    print(json.dumps(measured(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
