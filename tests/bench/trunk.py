"""The trunk check of 250 networks at once, against its bound: healthy, half of the gateways silent, and no large frame passing.

On this machine's own kernel, in namespaces of its own. Parents are sub-interfaces of one trunk where the kernel has VLANs, else a
veth each; frames and waiting are the same. Where it has none, real VLANs are measured beside, in the lab, whose guest is several
times slower, so without a bound. `make bench-trunk` calls it; exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ground
from ansible_collections.netops.underlay.plugins.module_utils import run, run_networks_info
from report import Row, as_json, machine, table, verdict
from task import Module, Request, carried_out

COUNT, REPETITIONS, BOUND = 250, 5, 5.0
IN_LAB = "--in-lab"
FIRST_VLAN = 2
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / ".work" / "bench"


def has_vlans() -> bool:
    words = ["ip", "link", "add", "link", ground.NIC, "name", "probe", "type", "vlan", "id", "1"]
    made = subprocess.run(words, capture_output=True, check=False).returncode == 0
    if made:
        ground.ip("link", "delete", "probe")
    return made


def parent(number: int, vlans: bool) -> str:
    """A name with a dot would promise a VLAN."""
    return f"{ground.NIC}.{number}" if vlans else f"near{number}"


def build(vlans: bool) -> None:
    """A router with the gateway 10.N.0.1 of each network."""
    ground.ip("netns", "add", "router")
    lines = f"link set port0 netns router\nlink set {ground.NIC} mtu 1500\n"
    inside = "link set port0 up\n" if vlans else ""
    for number in range(FIRST_VLAN, FIRST_VLAN + COUNT):
        near, far = parent(number, vlans), f"port0.{number}"
        if vlans:
            inside += f"link add link port0 name {far} type vlan id {number}\n"
        else:
            lines += f"link add {near} up type veth peer name {far} netns router\n"
        inside += f"link set {far} up\naddr add 10.{number}.0.1/24 dev {far}\n"
    ground.run("ip", "-batch", "-", given=lines)
    ground.run("ip", "-n", "router", "-batch", "-", given=inside)


def checked(state: str) -> tuple[float, list[dict[str, Any]]]:
    module = Module({"name": None, "verify": True, "listen": 0, "state_dir": state}, False)
    start = time.perf_counter()
    run.run(module, run_networks_info.networks_info)
    return time.perf_counter() - start, module.result["networks"]


def until_settled() -> None:
    """Link-local addresses are tentative for a moment."""
    while ground.run("ip", "-6", "address", "show", "tentative").strip():
        time.sleep(0.1)


def measured(work: str, state: str, codes: dict[str, int]) -> tuple[str, list[float]]:
    """The seconds of each turn. ``codes``: how many findings of each kind there have to be."""
    taken = []
    for _turn in range(REPETITIONS):
        seconds, networks = checked(state)
        found = [finding["code"] for network in networks for finding in network["findings"]]
        if {code: found.count(code) for code in found} != codes:
            raise ground.Different(f"{work}: {[(code, found.count(code)) for code in set(found)]}")
        taken.append(seconds)
    return work, taken


def all_measured(vlans: bool) -> list[tuple[str, list[float]]]:
    build(vlans)
    with tempfile.TemporaryDirectory(prefix="trunk-") as folder:
        state = f"{folder}/state"
        items = [
            {
                "name": f"n{number}",
                "driver": "macvlan",
                "parent": parent(number, vlans),
                "ipam_config": [{"subnet": f"10.{number}.0.0/24"}],
            }
            for number in range(FIRST_VLAN, FIRST_VLAN + COUNT)
        ]
        carried_out(Request("vlan_network", state, items))
        until_settled()
        found = [measured("all gateways answer", state, {})]
        ends = range(FIRST_VLAN, FIRST_VLAN + COUNT, 2)
        ground.run("ip", "-n", "router", "-batch", "-", given="".join(f"addr flush dev port0.{n}\n" for n in ends))
        # Link-local addresses went as well, so nobody answers there at all.
        found.append(measured("half of them silent", state, {"not_carried": len(ends)}))
        lower = "".join(f"link set port0.{n} mtu 1280\n" for n in range(FIRST_VLAN + 1, FIRST_VLAN + COUNT, 2))
        if not vlans:
            ground.run("ip", "-n", "router", "-batch", "-", given=lower)
            found.append(
                measured("the others with an MTU of 1280", state, {"not_carried": len(ends), "mtu": len(ends)})
            )
    return found


def of_lab() -> list[Row]:
    """The same on real VLANs, in the guest of the lab."""
    command = [ROOT / "tests/lab/run", sys.executable, __file__, IN_LAB]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if told.returncode:
        raise ground.Different(f"the lab ended with {told.returncode}")
    group = f"{COUNT} VLANs of one trunk, in the lab"
    return [Row(group, work, "s", statistics.median(taken)) for work, taken in json.loads(told.stdout)]


def main() -> None:
    ground.enter()
    ground.prepare()
    vlans = has_vlans()
    group, bound = f"{COUNT} networks", f"within {BOUND:.0f} s"
    rows = [
        Row(group, work, "s", statistics.median(taken), bound=bound, holds=max(taken) < BOUND)
        for work, taken in all_measured(vlans)
    ]
    rows += [] if vlans else of_lab()
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = machine(RESULTS)
    print(f"The trunk check, {about['date']}, Linux {about['kernel']}, {about['cpu']}, load {about['load']:.1f}")
    print(f"Parents: {'VLANs of one trunk' if vlans else 'a veth each, since this kernel has no VLANs'}\n")
    print(table(rows, ""))
    (RESULTS / "trunk.json").write_text(json.dumps({"machine": about, "rows": as_json(rows)}, indent=2) + "\n")
    broken = verdict(rows)
    print("\n" + (broken or "All bounds hold."))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    if IN_LAB in sys.argv:
        ground.prepare()
        print(json.dumps(all_measured(vlans=True)))
    else:
        main()
