"""What tasks cost through ansible-playbook with a local connection: one item, a thousand in one task, and a loop."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ground

HERE = Path(__file__).resolve().parent
FEW, MORE = 2, 12  # items of a loop; the difference tells what one costs

Task = dict[str, Any]


class PlayError(Exception):
    """ansible-playbook failed."""


@dataclass(frozen=True)
class Playbook:
    """Plays in ``folder``, where the store is as well."""

    folder: Path

    def played(self, tasks: Sequence[Task]) -> dict[str, list[float]]:
        """Runs the tasks in one play; the seconds that they took by their names."""
        self.folder.mkdir(exist_ok=True)
        play = {"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}
        book, times = self.folder / "play.yml", self.folder / "times"
        book.write_text(json.dumps([play]))
        times.write_text("")
        environment = {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_REMOTE_TEMP": str(self.folder / "ansible" / "remote"),
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_CALLBACKS_ENABLED": "task_times",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "BENCH_TASK_TIMES": str(times),
        }
        command = [Path(sys.executable).with_name("ansible-playbook"), "--inventory", "localhost,"]
        command += ["--connection", "local", "--extra-vars", f"ansible_python_interpreter={sys.executable}", book]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise PlayError(f"ansible-playbook: {(done.stdout + done.stderr)[-3000:]}")
        found: dict[str, list[float]] = {}
        for line in times.read_text().splitlines():
            name, taken = json.loads(line)
            found.setdefault(name, []).append(taken)
        return found

    def single_items(self, times: int) -> dict[str, float]:
        """Tasks about one item, by their names: medians of ``times``, without the first of its kind, which builds what
        is sent to the host."""
        tasks: list[Task] = []
        for number in range(times + 1):
            network = {
                "name": f"single{number}",
                "driver": "macvlan",
                "parent": ground.NIC,
                "ipam_config": [{"subnet": f"172.16.{number}.0/24"}],
            }
            endpoint = {"name": "one", "network": f"single{number}", "netns": f"single{number}"}
            tasks += [
                {"name": "ping", "ansible.builtin.ping": {}},
                self._task("network, made", "vlan_network", network),
                self._task("network, unchanged", "vlan_network", network),
                self._task("endpoint, attached", "vlan_endpoint", endpoint),
                self._task("endpoint, unchanged", "vlan_endpoint", endpoint),
            ]
        taken = {name: statistics.median(found[1:]) for name, found in self.played(tasks).items()}
        gone = {"networks": [], "purge": True, "purge_all": True}
        endpoints = [{"name": "one", "network": f"single{number}", "state": "absent"} for number in range(times + 1)]
        self.played(
            [
                self._task("endpoints", "vlan_endpoint", {"endpoints": endpoints}),
                self._task("networks", "vlan_network", gone),
            ]
        )
        return taken

    def thousand(self, count: int, network: dict[str, Any]) -> float:
        """One task that attaches ``count`` endpoints, whole."""
        endpoints = [{"name": name, "netns": name} for name in ground.names(count)]
        taken = self.played(
            [
                self._task("network", "vlan_network", network),
                self._task("endpoints", "vlan_endpoint", {"network": network["name"], "endpoints": endpoints}),
            ]
        )
        return taken["endpoints"][0]

    def loop(self) -> float:
        """What one more item costs in a loop whose items each make an endpoint by iproute2's commands."""
        script = (
            f"set -e; ip netns add {{{{ item.name }}}};"
            f" ip link add link {ground.NIC} name {ground.LINK} netns {{{{ item.name }}}} type macvlan mode bridge;"
            f" ip -n {{{{ item.name }}}} link set lo up; ip -n {{{{ item.name }}}} link set {ground.LINK} up;"
            f" ip -n {{{{ item.name }}}} address add {{{{ item.address }}}} broadcast + dev {ground.LINK};"
            f" ip -n {{{{ item.name }}}} route add default via {ground.GATEWAY} dev {ground.LINK}"
        )
        items = [
            {"name": name, "address": f"{ground.address(number)}/{ground.SUBNET.prefixlen}"}
            for number, name in enumerate(ground.names(FEW + MORE))
        ]
        parts = {"few": items[:FEW], "more": items[FEW:]}
        tasks = [{"name": name, "ansible.builtin.shell": script, "loop": part} for name, part in parts.items()]
        taken = self.played(tasks)
        return (taken["more"][0] - taken["few"][0]) / (MORE - FEW)

    def _task(self, name: str, module: str, options: dict[str, Any]) -> Task:
        return {"name": name, f"netops.underlay.{module}": {**options, "state_dir": str(self.folder / "state")}}
