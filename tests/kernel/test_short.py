# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A system that has run short of descriptors or threads: an error that says so, or the work is done all the same; and nothing
that could not be looked at counts as gone."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import netlink

from . import looks
from .conftest import Failed, Host

NET = {"parent": "eth0.20", "ipam_config": [{"subnet": "192.168.20.0/24"}]}
NAMES = [f"web{number}" for number in range(6)]
PRESENT = {"network": "net", "endpoints": [{"name": name, "netns": name} for name in NAMES]}
ABSENT = {"network": "net", "endpoints": [{"name": name, "state": "absent"} for name in NAMES]}
CAUSES = (os.strerror(errno.EMFILE), "unable to open database file")


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


def with_descriptors(more: int, host: Host, module: str, params: dict[str, Any]) -> str:
    """The error of a module that may open so many descriptors beside those that are open; '' where it gets by with them."""

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1 + more, hard))
    try:
        host.run(module, **params)
    except Failed as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return ""


TASKS = [
    ("vlan_network", {"name": "net", **NET}),
    ("vlan_endpoint", PRESENT),
    ("vlan_ipam_info", {"audit": True}),
    ("vlan_ipam", {"state": "reconciled"}),
    ("vlan_endpoint_info", {}),
    ("vlan_endpoint", ABSENT),
    ("vlan_network", {"name": "net", "state": "absent"}),
]


def test_with_too_few_descriptors_the_error_says_so_and_nothing_is_taken_for_gone(
    host: Host, tell: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink, "_WORTH_A_PROCESS", 4)
    errors = []
    for more in range(1, 11):
        for module, params in TASKS:
            error = with_descriptors(more, host, module, params)
            if error:
                errors.append(error)
                assert any(cause in error for cause in CAUSES) and "bug of ours" not in error, error
            if module == "vlan_ipam":
                held = host.run("vlan_ipam_info", network="net")["addresses"]
                assert {row["owner"] for row in held if row["kind"] == "endpoint"} == set(NAMES), "all live"
            host.run(module, **params)
    assert len(errors) > len(TASKS)
    tell("tasks with too few descriptors", len(errors))
    assert set(host.links()) == {"lo", "eth0"}


def test_a_namespace_that_cannot_be_opened_for_a_moment_is_not_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.network("net", **NET)
    for name in ("web1", "web2"):
        host.endpoint(name, "net")
    before = looks.everything(host)
    real = os.open
    full = OSError(errno.ENFILE, os.strerror(errno.ENFILE))  # of all processes

    def opening(path: Any, *more: Any, **named: Any) -> int:
        if path == "/run/netns/web1":
            raise full
        return real(path, *more, **named)

    for module, params in (
        ("vlan_ipam_info", {"audit": True}),
        ("vlan_ipam", {"state": "reconciled"}),
        ("vlan_endpoint", {"name": "web1", "network": "net", "netns": "web1"}),
        ("vlan_endpoint", {"name": "web1", "network": "net", "state": "absent"}),
        ("vlan_network", {"name": "other", "parent": "eth0.20", "ipvlan_mode": "l3"}),
    ):
        with monkeypatch.context() as patch, pytest.raises(Failed, match=os.strerror(errno.ENFILE)) as failure:
            patch.setattr(os, "open", opening)
            host.run(module, **params)
        assert "move it away" not in str(failure.value)
        assert looks.everything(host) == before, (module, params)
    host.endpoint("web1", "net", state="absent")
    assert "web1" not in host.namespaces()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_links_go_however_few_threads_there_can_be(host: Host, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host.network("net", **NET)
    host.run("vlan_endpoint", **PRESENT)
    started = []
    start = threading.Thread.start
    refused = threading.Event()  # until then those that there are go on being busy, so that another one is wanted

    def starting(thread: threading.Thread) -> None:
        if len(started) == threads:
            refused.set()
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    sent = []
    send = netlink.Channel.send

    def sending(channel: netlink.Channel, requests: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert refused.wait(60)
        sent.extend(requests)
        return send(channel, requests)

    monkeypatch.setattr(netlink.Channel, "send", sending)
    monkeypatch.setattr(threading.Thread, "start", starting)
    result = host.run("vlan_endpoint", **ABSENT)
    monkeypatch.undo()
    assert result["changed"] and len(started) == threads
    assert sum(isinstance(request, netlink.DeleteLink) for request in sent) == len(NAMES), "each is asked for once"
    assert not set(NAMES) & host.namespaces()
