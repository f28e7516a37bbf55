"""What we are measured against, driven as a container runtime drives it: one process for each operation.

Each method checks that the peer really did it, and raises ``PeerError`` where it did not.
"""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PLUGINS = Path("/usr/lib/cni")
PACKAGE = "containernetworking-plugins"
NETWORK = "web"
IFNAME = "eth0"


class PeerError(Exception):
    """The peer is not there, or did not do what it was asked."""


@dataclass(frozen=True)
class HostLocal:
    """CNI's host-local with its data in ``folder``: one file for each address, and nothing is brought to the disk."""

    folder: Path
    subnet: str

    @classmethod
    def made(cls, folder: Path, subnet: str, held: Mapping[str, str]) -> HostLocal:
        """One that holds these owners by their addresses: its files are written for it, as it writes them itself."""
        peer = cls(folder, subnet)
        peer._data.mkdir(parents=True)
        ipam = {"type": "host-local", "dataDir": str(folder / "data"), "ranges": [[{"subnet": subnet}]]}
        peer._config.write_text(json.dumps({"cniVersion": "1.0.0", "name": NETWORK, "ipam": ipam}))
        peer._check_format()
        for address, owner in held.items():
            (peer._data / address).write_text(_content(owner))
            last = address
        if held:
            (peer._data / "last_reserved_ip.0").write_text(last)
        return peer

    @property
    def _data(self) -> Path:
        return self.folder / "data" / NETWORK

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    def allocate(self, owner: str) -> str:
        """ADD; the address."""
        text = json.loads(self._run("ADD", owner))["ips"][0]["address"]
        address = str(ipaddress.ip_interface(text).ip)
        if not (self._data / address).is_file():
            raise PeerError(f"host-local gave out {address} and did not keep it")
        return address

    def look_up(self, owner: str, address: str) -> None:
        """CHECK: an error unless the owner holds an address."""
        self._run("CHECK", owner)

    def release(self, owner: str, address: str) -> None:
        """DEL."""
        self._run("DEL", owner)
        if (self._data / address).exists():
            raise PeerError(f"host-local did not release {address}")

    def held(self) -> dict[str, str]:
        """The owners by their addresses, read from its files."""
        files = (path for path in self._data.iterdir() if path.name not in ("lock", "last_reserved_ip.0"))
        return {path.name: path.read_bytes().decode().partition("\r\n")[0] for path in files}

    def _run(self, command: str, owner: str) -> bytes:
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": owner,
            "CNI_NETNS": "/proc/self/ns/net",
            "CNI_IFNAME": IFNAME,
            "CNI_PATH": str(PLUGINS),
        }
        with self._config.open("rb") as config:
            done = subprocess.run(
                [str(PLUGINS / "host-local")],
                stdin=config,
                stdout=subprocess.PIPE,
                env=variables,
                close_fds=False,  # lets Python start it by posix_spawn, its quickest way
                check=False,
            )
        if done.returncode:
            raise PeerError(f"host-local {command} for {owner}: {done.stdout.decode()}")
        return done.stdout

    def _check_format(self) -> None:
        """That what is written for it is what it writes."""
        address = self.allocate("first")
        found = (self._data / address).read_bytes().decode(), (self._data / "last_reserved_ip.0").read_text()
        if found != (_content("first"), address):
            raise PeerError(f"host-local keeps its addresses in another form than this benchmark: {found}")
        self.release("first", address)
        (self._data / "last_reserved_ip.0").unlink()


def _content(owner: str) -> str:
    return f"{owner}\r\n{IFNAME}"


def version() -> str:
    """The version of Debian's package; Debian's plugins do not know their own.

    :raises PeerError: if it is not installed
    """
    plugin = PLUGINS / "host-local"
    if not os.access(plugin, os.X_OK):
        raise PeerError(f"{plugin} is missing; install it: apt-get install {PACKAGE}")
    try:
        asked = ["dpkg-query", "--show", "--showformat=${Version}", PACKAGE]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "of unknown version"
