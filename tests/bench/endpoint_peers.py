"""Others that make the same endpoints, driven as quickly as they can be: `ip -batch` and CNI's macvlan with host-local.

Each returns the seconds that it took; what is written for it beforehand is not counted.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import ground
from peers import PLUGINS, PeerError


def spawned(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdin: Path | None = None,
    check: bool = True,
) -> int:
    """Runs a program by Python's quickest way and waits for it; how it ended. With ``check`` it must go well, else its
    errors are not shown."""
    actions = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    if stdin:
        actions.append((os.POSIX_SPAWN_OPEN, 0, str(stdin), os.O_RDONLY, 0))
    if not check:
        actions.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
    process = os.posix_spawn(arguments[0], arguments, environment or os.environ, file_actions=actions)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if check and code:
        raise PeerError(f"{' '.join(arguments)} ended with {code}")
    return code


def program(name: str) -> str:
    """Its path."""
    found = shutil.which(name)
    if not found:
        raise PeerError(f"{name} is missing")
    return found


@dataclass(frozen=True)
class IpBatch:
    """iproute2: one process for all namespaces, one for all links, and one in each namespace for the rest.

    That one is started by nsenter: `ip -netns` copies all mounts first, which with 4,000 namespaces takes 20 ms each time.
    """

    folder: Path

    def attach(self, count: int) -> float:
        self.folder.mkdir(exist_ok=True)
        spaces = self._file("spaces", [f"netns add {name}" for name in ground.names(count)])
        links = self._file(
            "links",
            [
                f"link add link {ground.NIC} name {ground.LINK} netns {name} address {ground.mac(number)} up"
                " type macvlan mode bridge"
                for number, name in enumerate(ground.names(count))
            ],
        )
        inside = [
            self._file(
                name,
                [
                    "link set lo up",
                    f"address add {ground.address(number)}/{ground.SUBNET.prefixlen} broadcast + dev {ground.LINK}",
                    f"route add default via {ground.GATEWAY} dev {ground.LINK}",
                ],
            )
            for number, name in enumerate(ground.names(count))
        ]
        ip, nsenter = program("ip"), program("nsenter")
        start = time.perf_counter()
        spawned([ip, "-batch", spaces])
        spawned([ip, "-batch", links])
        for name, file in zip(ground.names(count), inside):
            spawned([nsenter, f"--net={ground.NETNS}/{name}", ip, "-batch", file])
        return time.perf_counter() - start

    def detach(self, count: int) -> float:
        """Namespaces with all that is in them, until the kernel has nothing of it."""
        gone = self._file("gone", [f"netns delete {name}" for name in ground.names(count)])
        start = time.perf_counter()
        spawned([program("ip"), "-batch", gone])
        while ground.children():
            time.sleep(0.01)
        return time.perf_counter() - start

    def _file(self, name: str, lines: Sequence[str]) -> str:
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return str(path)


@dataclass(frozen=True)
class Cni:
    """CNI's macvlan, which calls host-local: one process of each for an endpoint, as a container runtime starts them. The
    namespaces come from `ip -batch`."""

    folder: Path

    def attach(self, count: int) -> float:
        self.folder.mkdir(exist_ok=True)
        ipam = {
            "type": "host-local",
            "dataDir": str(self.folder / "data"),
            "ranges": [[{"subnet": str(ground.SUBNET), "gateway": str(ground.GATEWAY)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        network = {"type": "macvlan", "master": ground.NIC, "mode": "bridge", "ipam": ipam}
        self._config.write_text(json.dumps({"cniVersion": "1.0.0", "name": "net", **network}))
        spaces = self.folder / "spaces"
        spaces.write_text("".join(f"netns add {name}\n" for name in ground.names(count)))
        start = time.perf_counter()
        spawned([program("ip"), "-batch", str(spaces)])
        self._all("ADD", ground.names(count))
        return time.perf_counter() - start

    def detach(self, count: int, part: int) -> float:
        """The links and addresses; the namespaces stay. Only ``part`` of them are removed, and the time is reckoned from
        that."""
        start = time.perf_counter()
        self._all("DEL", ground.names(part))
        taken = time.perf_counter() - start
        if ground.children() != count - part:
            raise PeerError(f"CNI left {ground.children()} links of {count - part}")
        return taken * count / part

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    def _all(self, command: str, names: Sequence[str]) -> None:
        plugin = str(PLUGINS / "macvlan")
        for name in names:
            variables = {
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": name,
                "CNI_NETNS": f"{ground.NETNS}/{name}",
                "CNI_IFNAME": ground.LINK,
                "CNI_PATH": str(PLUGINS),
            }
            spawned([plugin], variables, self._config)
