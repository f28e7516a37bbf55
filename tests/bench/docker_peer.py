"""Docker Engine's macvlan driver: a daemon of our own, and running containers that are connected to a network.

What `docker network connect` does is measured, through the engine's socket: the address, the link, the route. Containers and
their namespaces are there before and not counted.
"""

from __future__ import annotations

import contextlib
import glob
import http.client
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ground

PLACE = f"{ground.RUN}/bench-docker"
SOCKET = f"{PLACE}/socket"
GROUP = "netops-bench"  # of processes (cgroup)
READY_SECONDS = 30
COUNT = 10
SECOND_LINK = "eth1"  # the first is on another network, since a container without one cannot be connected


class NoDocker(Exception):
    """It cannot run here."""


@dataclass(frozen=True)
class Measured:
    version: str
    attach: float
    detach: float


def measured() -> Measured:
    """Seconds for one endpoint, medians of ``COUNT``.

    :raises NoDocker: with the reason
    """
    with daemon() as version:
        post("/images/create?fromSrc=-&repo=bench", image())
        make_network("idle", "port0", "172.31.0.0/16", None)
        make_network("net", ground.NIC, str(ground.SUBNET), str(ground.GATEWAY))
        containers = [started() for _number in range(COUNT)]
        attach = each("/networks/net/connect", containers)
        for number, container in enumerate(containers):
            pid = get(f"/containers/{container}/json")["State"]["Pid"]
            found = ground.look(f"../../proc/{pid}/ns/net", SECOND_LINK)
            if found != ground.expected(number):
                raise ground.Different(f"Docker: endpoint {number} is {found}")
        detach = each("/networks/net/disconnect", containers)
        if ground.children():
            raise ground.Different("Docker left links behind")
        return Measured(version, attach, detach)


def each(path: str, containers: list[str]) -> float:
    taken = []
    for container in containers:
        start = time.perf_counter()
        post(path, {"Container": container})
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


@contextlib.contextmanager
def daemon() -> Iterator[str]:
    """A daemon that leaves alone what is not its own; its version."""
    program = shutil.which("dockerd")
    if not program:
        raise NoDocker("dockerd is not installed")
    os.makedirs(PLACE)
    command = [program, "--host", f"unix://{SOCKET}", "--data-root", f"{PLACE}/data", "--exec-root", f"{PLACE}/exec"]
    command += ["--pidfile", f"{PLACE}/pid", "--storage-driver", "vfs", "--cgroup-parent", f"/{GROUP}", "--bridge=none"]
    command += ["--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    with open(f"{PLACE}/log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            await_ready(process)
            yield get("/version")["Version"]
        except NoDocker as error:
            log.seek(0)
            raise NoDocker(f"{error}: {log.read()[-1000:].strip()}") from None
        finally:
            process.terminate()
            process.wait()
            for pattern in (f"/sys/fs/cgroup/{GROUP}", f"/sys/fs/cgroup/*/{GROUP}"):
                for folder in glob.glob(pattern):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)


def await_ready(process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            get("/_ping")
            return
        time.sleep(0.05)
    raise NoDocker("dockerd does not start here")


def make_network(name: str, parent: str, subnet: str, gateway: str | None) -> None:
    pool = {"Subnet": subnet, **({"Gateway": gateway} if gateway else {})}
    options = {"Driver": "macvlan", "Internal": gateway is None, "Options": {"parent": parent}}
    post("/networks/create", {"Name": name, "IPAM": {"Config": [pool]}, **options})


def started() -> str:
    """The id of a container that sleeps."""
    made = post(
        "/containers/create",
        {"Image": "bench", "Cmd": ["sleep", "1000000"], "StopSignal": "KILL", "HostConfig": {"NetworkMode": "idle"}},
    )
    post(f"/containers/{made['Id']}/start", None)
    return made["Id"]


def image() -> bytes:
    """A root file system with nothing but a busybox, which has to be static."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise NoDocker("busybox, for its image, is not installed")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(os.path.realpath(busybox), "bin/busybox")
        link = tarfile.TarInfo("bin/sleep")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        tar.addfile(link)
    return packed.getvalue()


class Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)


def get(path: str) -> Any:
    return asked("GET", path, None)


def post(path: str, body: Any) -> Any:
    return asked("POST", path, body)


def asked(method: str, path: str, body: Any) -> Any:
    raw = isinstance(body, bytes)
    kind = "application/x-tar" if raw else "application/json"
    connection = Connection("docker")
    try:
        connection.request(method, path, body if raw or body is None else json.dumps(body), {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status >= 400:
        raise NoDocker(f"{method} {path}: {text.strip()}")
    return json.loads(text) if text.startswith(("{", "[")) and not raw else text
