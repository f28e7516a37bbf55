# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A kernel that lacks a driver. None of its links may be there, so this host has nothing but its trunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import netlink

from . import looks
from .conftest import Host, command

NET = {"ipam_config": [{"subnet": "10.99.0.0/24"}]}
DRIVERS = {
    "ipvlan": {"parent": "eth0.10"},
    "macvlan": {"parent": "eth0.10", "driver": "macvlan"},
    "dummy": {},
    "8021q": {"parent": "eth0.10"},
}


def test_a_kernel_without_the_driver(host: Host) -> None:
    command("ip", "netns", "del", "router")
    with pytest.MonkeyPatch.context() as patch:
        for driver, params in DRIVERS.items():
            with _without(driver, patch):
                words = ("name 'x'", f"module '{driver}'", f"modprobe {driver}")
                looks.refused(host, "vlan_network", *words, name="x", **NET, **params)
            patch.undo()
    for driver, params in DRIVERS.items():
        host.network(f"with-{driver}", **{**params, "parent": f"eth0.{len(driver)}"} if params else {})


@contextmanager
def _without(driver: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel that has not the driver and cannot load it; on a machine's own kernel drivers are not ours to unload."""
    if "User Mode Linux" not in Path("/proc/cpuinfo").read_text():
        kind = {"8021q": "vlan"}.get(driver, driver)
        knows = netlink.Channel.knows
        patch.setattr(netlink.Channel, "knows", lambda self, asked: asked != kind and knows(self, asked))
        yield
        return
    loader = Path("/proc/sys/kernel/modprobe")
    before = loader.read_text()
    looks.until(lambda: command("rmmod", driver, check=False).returncode == 0, f"nobody uses {driver}")
    loader.write_text("/bin/false\n")
    try:
        yield
    finally:
        loader.write_text(before)
        command("modprobe", driver)
