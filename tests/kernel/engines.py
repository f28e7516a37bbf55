# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real container engines for the kernel tests: the fixtures ``docker`` and ``podman``, and what they give.

Both are the host's rootful engines, as the plain commands ``docker`` and ``podman`` find them: so only for the lab, where
whatever they write, and whatever is left running, is gone when it ends.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

RUN = Path("/run/engines")
DOCKER_SOCKET = "/run/docker.sock"
IMAGE = "localhost/lab:latest"
APPLETS = "sh sleep cat ls ip ping".split()
LIMIT = 120  # seconds for Docker's daemon, which needs 3 in the guest

# No systemd, no journal, no overlay on an overlay; everything in memory.
STORAGE_CONF = f"""
[storage]
driver = "vfs"
graphroot = "{RUN}/podman/storage"
runroot = "{RUN}/podman/run"
"""
CONTAINERS_CONF = """
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""


class Engine:
    """An engine that runs, with an image of busybox. Takes and gives names of containers."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Its command."""
        done = subprocess.run(
            (self.name, *words), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{self.name} {' '.join(words)}: {done.stderr or done.stdout}")
        return done

    def create(self, name: str, *options: str, network: str = "none") -> None:
        """A container that sleeps as soon as it is started."""
        self._make("create", name, network, options)

    def run(self, name: str, *options: str, network: str = "none") -> None:
        """A container that sleeps; `kill` is all that ends it."""
        self._make("run", name, network, ("--detach", *options))

    def _make(self, verb: str, name: str, network: str, options: tuple[str, ...]) -> None:
        # Podman does not let ping send, Docker does. A sleep that is process 1 heeds only SIGKILL.
        always = ("--cap-add", "NET_RAW", "--stop-signal", "KILL")
        self(verb, "--name", name, "--network", network, *always, *options, IMAGE, "sleep", "1000000")

    def start(self, name: str) -> None:
        self("start", name)

    def stop(self, name: str) -> None:
        self("stop", name)

    def restart(self, name: str) -> None:
        self("restart", name)

    def remove(self, *names: str) -> None:
        self("rm", "--force", *names)

    def exec(self, name: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self("exec", name, *words, check=check)

    def pid(self, name: str) -> int:
        """Its first process; 0 if it does not run."""
        return int(self("container", "inspect", "--format", "{{.State.Pid}}", name).stdout)

    def hosts(self, name: str) -> str:
        """The file /etc/hosts inside."""
        return Path(f"/proc/{self.pid(name)}/root/etc/hosts").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Docker's daemon with an image, for as long as the tests take. It changes nothing of the host's network."""
    assert not os.path.exists(DOCKER_SOCKET), "Docker runs here already: these tests are for the lab"
    mount_cgroups()
    place = RUN / "docker"
    place.mkdir(parents=True)
    with (place / "log").open("w+", encoding="utf-8") as log:
        daemon = subprocess.Popen(
            (
                *("dockerd", "--host", f"unix://{DOCKER_SOCKET}"),
                *("--data-root", str(place / "data"), "--exec-root", str(place / "exec")),
                *("--pidfile", str(place / "pid"), "--storage-driver", "vfs"),
                *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
                # A second less for each start than runc, in the guest.
                *("--add-runtime", f"crun={shutil.which('crun')}", "--default-runtime", "crun"),
            ),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            await_docker(daemon, place / "log")
            engine = Engine("docker")
            engine("import", str(image(tmp_path_factory)), IMAGE)
            yield engine
        finally:
            daemon.terminate()
            daemon.wait()


def await_docker(daemon: subprocess.Popen[bytes], log: Path) -> None:
    """Until the daemon answers: it listens before it is ready, and answers then."""
    end = time.monotonic() + LIMIT
    while daemon.poll() is None and time.monotonic() < end:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(LIMIT)
                client.connect(DOCKER_SOCKET)
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                if b" 200 " in client.recv(4096):
                    return
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.05)
    raise AssertionError(f"dockerd does not answer: {log.read_text(encoding='utf-8')[-4000:]}")


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Podman with an image. The host's configuration of containers is the lab's from now on."""
    mount_cgroups()
    for name, text in (("storage.conf", STORAGE_CONF), ("containers.conf", CONTAINERS_CONF)):
        path = Path("/etc/containers", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    engine = Engine("podman")
    engine("import", str(image(tmp_path_factory)), IMAGE)
    return engine


def mount_cgroups() -> None:
    """Natively the lab has an empty folder there."""
    if not os.path.ismount("/sys/fs/cgroup"):
        subprocess.run(("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"), check=True)


def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system of busybox, as a tar file. Where busybox is not static it takes its libraries along."""
    path = tmp_path_factory.mktemp("image") / "image.tar"
    busybox = shutil.which("busybox")
    assert busybox, "busybox is missing; tests/setup installs it"
    with tarfile.open(path, "w") as tar:
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for library in libraries(busybox):
            tar.add(os.path.realpath(library), library)
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        passwd = b"root:x:0:0::/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        tar.addfile(entry, io.BytesIO(passwd))
    return path


def libraries(program: str) -> list[str]:
    """What a program needs to run; nothing where it is static."""
    with open(program, "rb") as file:
        if b"/ld-" not in file.read(4096):  # the loader, which a dynamic one names at its beginning
            return []
    listed = subprocess.run(("ldd", program), capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", listed)
