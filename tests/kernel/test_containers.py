# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real containers of Docker and Podman on VLANs: attached, found by name, restarted, put back without Ansible, removed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.netops.underlay.plugins.filter.from_docker_network_inspect import from_docker_network_inspect

from . import looks, others
from .conftest import Host, batch, ip
from .engines import Engine
from .test_pages import WITH_CONTAINERS
from .test_pages import run as run_page

NET = {"parent": "eth0.20", "ipam_config": [{"subnet": "172.16.50.0/22", "gateway": "172.16.50.1"}]}
ON20 = {"network": "net"}
LIMIT = 60  # seconds; an event takes one or two


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    before = looks.everything(Host(tmp_path / "state"))
    yield (found := Host(tmp_path / "state"))
    if found.run("vlan_network_info")["networks"]:
        found.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
        found.run("vlan_network", networks=[], purge=True, purge_all=True, force=True)
    assert looks.everything(found) == before
    assert not os.path.exists("/etc/netns")
    looks.tidy()


def pings(engine: Engine, name: str, address: str) -> bool:
    """One reply, from inside a container."""
    return any(engine.exec(name, "ping", "-c1", "-W1", address, check=False).returncode == 0 for _try in range(3))


def addresses(engine: Engine, name: str) -> list[str]:
    """Of eth0 inside the container, seen with ``ip`` and not by the engine."""
    path = f"/proc/{engine.pid(name)}/ns/net"
    with looks.inside(path):
        found = [entry for entry in ip("addr") if entry["ifname"] == "eth0"]
    return [info["local"] for entry in found for info in entry["addr_info"] if info["scope"] == "global"]


def until(true: Any) -> None:
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.1)


def test_two_containers_and_a_namespace_on_one_vlan(host: Host, docker: Engine, podman: Engine) -> None:
    docker.run("app")
    podman.run("db")
    hosts = docker.hosts("app"), podman.hosts("db")
    host.network("net", **NET)
    endpoints = [
        {"name": "app", "container": "app", "aliases": ["www"]},
        {"name": "db", "container": "db", "container_engine": "podman"},
        {"name": "web1", "netns": "web1"},
    ]
    result = host.run("vlan_endpoint", network="net", endpoints=endpoints)
    assert [item["target"] for item in result["endpoints"]] == [
        {"kind": "container", "value": "app", "engine": "docker"},
        {"kind": "container", "value": "db", "engine": "podman"},
        {"kind": "netns", "value": "web1"},
    ]
    assert (addresses(docker, "app"), addresses(podman, "db")) == (["172.16.48.1"], ["172.16.48.2"])
    # By name and by address, all three, and the router on the VLAN.
    assert pings(docker, "app", "db") and pings(docker, "app", "web1") and pings(docker, "app", "172.16.50.1")
    assert pings(podman, "db", "www") and pings(podman, "db", "web1")
    assert host.pings("web1", "www") and host.pings("web1", "db")
    assert not host.run("vlan_endpoint", network="net", endpoints=endpoints)["changed"]
    assert host.run("vlan_endpoint_info")["endpoints"] == result["endpoints"]

    # Restarted by its engine, the link is gone; the next run puts it back with the same address and its names.
    docker.restart("app")
    podman.restart("db")
    assert (addresses(docker, "app"), addresses(podman, "db")) == ([], [])
    states = {item["name"]: item["state"] for item in host.run("vlan_endpoint_info")["endpoints"]}
    assert states == {"app": "waiting", "db": "waiting", "web1": "attached"}
    result = host.run("vlan_endpoint", network="net", endpoints=endpoints)
    repaired = [(a["action"], a["kind"], a["name"]) for a in result["actions"] if a["kind"] == "endpoint"]
    assert repaired == [("repair", "endpoint", "net/app"), ("repair", "endpoint", "net/db")]
    assert (addresses(docker, "app"), addresses(podman, "db")) == (["172.16.48.1"], ["172.16.48.2"])
    assert pings(docker, "app", "db") and pings(podman, "db", "www")

    # Made anew under the same name: another container, the same endpoint.
    podman.remove("db")
    podman.run("db")
    hosts = hosts[0], podman.hosts("db")
    host.run("vlan_endpoint", network="net", endpoints=endpoints)
    assert pings(podman, "db", "www") and addresses(podman, "db") == ["172.16.48.2"]

    host.run("vlan_endpoint", network="net", endpoints=endpoints, state="absent")
    assert (docker.hosts("app"), podman.hosts("db")) == hosts
    assert (addresses(docker, "app"), addresses(podman, "db")) == ([], [])
    docker.remove("app")
    podman.remove("db")


def test_the_tasks_of_the_page_about_containers(host: Host, docker: Engine, podman: Engine) -> None:
    docker.run("app")
    podman.run("db")
    page = (Path(__file__).parents[2] / "docs" / "containers.md").read_text()
    for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL):
        for task in yaml.safe_load(block):
            (action,) = [key for key in task if key.startswith("netops.underlay.")]
            module, params = action.rpartition(".")[2], task[action] or {}
            (host.run if module == "vlan_service" else partial(looks.done, host))(module, **params)
    assert pings(docker, "app", "gate") and pings(podman, "db", "www")
    assert subprocess.run(("ping", "-c1", "-W5", "172.16.48.1"), capture_output=True, check=False).returncode == 0
    host.run("vlan_service", state="absent")
    docker.remove("app")
    podman.remove("db")


def test_what_cannot_be_attached_is_said(host: Host, docker: Engine, podman: Engine) -> None:
    host.network("net", **NET)
    docker.create("cold")
    docker.run("twin")
    podman.run("twin")
    docker.run("mine", network="host")

    def refusal(**options: Any) -> str:
        return looks.refused(host, "vlan_endpoint", name="x", network="net", **options)

    assert "docker container 'cold' is not running (created); start it, then run again" in refusal(container="cold")
    assert "docker and podman have none of this name" in refusal(container="nobody")
    assert "docker and podman both have one" in refusal(container="twin")
    assert "is the host's own network namespace" in refusal(container="mine")
    host.endpoint("x", "net", container="twin", container_engine="podman")
    assert addresses(podman, "twin") and not addresses(docker, "twin")
    # A container that is stopped can be detached, and one that is gone, too; what it held is free.
    podman.stop("twin")
    host.endpoint("x", "net", state="absent")
    assert host.run("vlan_ipam_info", network="net")["subnets"][0]["held"] == 0
    docker.remove("cold", "twin", "mine")
    podman.remove("twin")


@pytest.mark.parametrize("which", ["docker", "podman"])
def test_none_leaves_a_container_its_loopback(host: Host, which: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(which)
    engine.run("vault")
    host.endpoint("vault", "none", container="vault")
    with looks.inside(f"/proc/{engine.pid('vault')}/ns/net"):
        (lo,) = ip("addr")
    assert [(i["local"], i["prefixlen"]) for i in lo["addr_info"]] == [("127.0.0.1", 8)]
    assert not host.endpoint("vault", "none", container="vault")["changed"]
    host.endpoint("vault", "none", state="absent")
    engine.remove("vault")


@pytest.fixture
def service(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The installed service, started as its unit starts it; where its words go to."""
    result = host.run("vlan_service")
    assert result["unit"] == "netops-underlay.service"
    assert not host.run("vlan_service")["changed"]
    unit = Path("/etc/systemd/system", result["unit"]).read_text()
    (command,) = [line.removeprefix("ExecStart=") for line in unit.splitlines() if line.startswith("ExecStart=")]
    # Away from this repository: what was installed stands alone, but for the libraries.
    libraries = os.pathsep.join(path for path in sys.path if "site-packages" in path)
    words = tmp_path / "words"
    with words.open("w") as said:
        running = subprocess.Popen(command.split(), stderr=said, cwd="/", env={**os.environ, "PYTHONPATH": libraries})
    try:
        until(lambda: "listening" in words.read_text() or running.poll() is not None)
        assert running.poll() is None, words.read_text()
        yield words
    finally:
        running.terminate()
        assert running.wait() == 0, words.read_text()
    assert sorted(host.run("vlan_service", state="absent")["files"])[0] == f"/etc/systemd/system/{result['unit']}"
    assert not os.path.exists("/usr/local/lib/netops-underlay")


@pytest.mark.parametrize("which", ["docker", "podman"])
def test_a_container_that_restarts_gets_its_endpoints_back_by_itself(
    host: Host, service: Path, which: str, request: pytest.FixtureRequest
) -> None:
    engine: Engine = request.getfixturevalue(which)
    engine.run("app")
    host.network("net", **NET)
    host.run(
        "vlan_endpoint", network="net", endpoints=[{"name": "app", "container": "app"}, {"name": "w", "netns": "w"}]
    )
    before = addresses(engine, "app")
    began = time.monotonic()
    engine.restart("app")
    restarted = time.monotonic()
    until(lambda: addresses(engine, "app") == before)
    print(f"{which}: restart {restarted - began:.1f} s, endpoint back {time.monotonic() - restarted:.1f} s later")
    until(lambda: "web" in engine.hosts("app") or "\tw\n" in engine.hosts("app"))
    assert pings(engine, "app", "w") and host.pings("w", "app")
    assert "repair endpoint net/app" in service.read_text()
    assert not host.endpoint("app", "net", container="app")["changed"]
    # One that is none of ours is left alone.
    engine.run("other")
    engine.restart("app")
    until(lambda: addresses(engine, "app") == before)
    assert addresses(engine, "other") == []
    host.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
    engine.remove("app", "other")


def test_what_the_real_docker_shows_of_its_networks_becomes_ours(host: Host, docker: Engine) -> None:
    opts = ("-o", "parent=eth0.30", "-o", "ipvlan_mode=l2")
    docker(
        *"network create -d ipvlan --subnet 10.1.0.0/16 --gateway 10.1.100.1 --aux-address a=10.1.0.9".split(),
        *opts,
        "old30",
    )
    docker.run("moving", "--ip", "10.1.0.50", network="old30")
    found = from_docker_network_inspect(json.loads(docker("network", "inspect", "old30").stdout), target="netns")
    docker.remove("moving")
    docker("network", "rm", "old30")
    assert found["warnings"] == []
    host.run("vlan_network", networks=found["networks"])
    host.run("vlan_endpoint", endpoints=found["endpoints"])
    assert host.addresses("eth0", "moving") == ["10.1.0.50/16"]
    assert host.default_route("moving") == [("10.1.100.1", "eth0")]
    assert host.pings("moving", "10.1.100.1")


def test_the_containers_of_a_docker_network_on_our_parents(
    host: Host, docker: Engine, tell: Callable[[str, int], None]
) -> None:
    """Docker's own ipvlan network on a sub-interface that we use as well: its links sit where the host's lists do not show
    them."""
    batch("link add link eth0 name eth0.30 type vlan id 30\nlink set eth0.30 up\n")
    subnet = "10.1.0.0/16 --gateway 10.1.100.1 --ip-range 10.1.7.0/24"
    docker(*f"network create -d ipvlan --subnet {subnet} -o parent=eth0.30 -o ipvlan_mode=l2 theirs".split())
    docker.run("one", network="theirs")
    docker.run("two", network="theirs")
    pids = [docker.pid(name) for name in ("one", "two")]
    before = others.picture((), pids, ("/etc/hosts",))

    def as_it_was() -> None:
        assert others.differences(before, others.picture((), pids, ("/etc/hosts",))) == {}

    ours = {
        "parent": "eth0.30",
        "ipam_config": [{"subnet": "10.1.0.0/16", "gateway": "10.1.100.1", "ip_range": "10.1.8.0/24"}],
    }
    host.network("net", **ours)
    host.endpoint("web1", "net")
    as_it_was()
    assert pings(docker, "one", "10.1.100.1") and host.pings("web1", "10.1.100.1")
    for change in ({"ipvlan_mode": "l3"}, {"ipvlan_flag": "private"}, {"driver": "macvlan", "force": True}):
        looks.refused(host, "vlan_network", "(ipvlan) in the namespace of process", "not ours", name="net", **change)
    as_it_was()
    host.endpoint("web1", "net", state="absent")
    host.run("vlan_network", networks=[], purge=True, purge_all=True)
    as_it_was()
    assert pings(docker, "two", "10.1.100.1")
    tell("lookalikes left alone", len(before))
    docker.remove("one", "two")
    docker("network", "rm", "theirs")
    batch("link del eth0.30\n")


def test_the_tasks_of_the_pages_run(host: Host, docker: Engine, podman: Engine) -> None:
    """As tests/kernel/test_pages.py does it for the pages without containers."""
    about_containers, moving_in = WITH_CONTAINERS
    docker.run("app")
    podman.run("db")
    docker.run("shop-web-1")
    try:
        assert run_page(host, about_containers) >= 5
        assert pings(docker, "app", addresses(podman, "db")[0])
        assert pings(podman, "db", "www")
        host.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
        host.run("vlan_network", networks=[], purge=True, purge_all=True)
        assert run_page(host, moving_in) >= 5
        assert addresses(docker, "shop-web-1") == ["192.168.30.10"]
        assert host.addresses("eth0", "app") == ["192.168.20.9/24"]
    finally:
        host.run("vlan_service", state="absent")
        host.run("vlan_endpoint", endpoints=[], purge=True, purge_all=True)
        docker.remove("app", "shop-web-1")
        podman.remove("db")
