# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What real container engines say of real containers, and when they say that one has started."""

from __future__ import annotations

import calendar
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import engines
from ansible_collections.netops.underlay.plugins.module_utils.engines import Container

from .engines import Engine

SOON = 60  # seconds until a start must have been heard of; it takes one


@pytest.fixture(scope="module", params=engines.ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine with the container ``web`` that runs, and ``made`` in the host's network, which never did."""
    found = request.getfixturevalue(request.param)
    found.run("web")
    found.create("made", network="host")
    yield found
    found.remove("web", "made")


def looked_up(engine: Engine, *names: str) -> list[Container]:
    found = list(engines.inspect([(engine.name, name) for name in names]).values())
    assert all(isinstance(container, Container) for container in found), found
    return found


def network_of(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def test_containers_that_run_that_never_did_and_that_are_not_there(engine):
    found = engines.inspect([(choice, name) for choice in ("auto", engine.name) for name in ("web", "nobody", "made")])
    web, made = found[engine.name, "web"], found[engine.name, "made"]
    assert found["auto", "web"] == web
    assert found["auto", "made"] == made
    assert (web.engine, web.name, web.state, web.network_mode) == (engine.name, "web", "running", "none")
    assert web.pid == engine.pid("web")
    assert network_of(web.pid) != network_of(os.getpid())
    assert engines.rootless(web.pid) is None
    assert (made.engine, made.name, made.pid, made.state) == (engine.name, "made", 0, "created")
    assert (made.network_mode, made.hosts_path) == ("host", None)
    assert found[engine.name, "nobody"] == (
        f"container 'nobody': {engine.name} has none of this name; create it first or correct the name"
    )
    assert found["auto", "nobody"].startswith("container 'nobody': ")


def test_an_id_is_found_and_a_shorter_one_is_not(engine):
    [web] = looked_up(engine, "web")
    found = engines.inspect([(engine.name, web.id[:length]) for length in (64, 12, 11)])
    assert list(found.values())[:2] == [web, web]
    assert "has none of this name" in found[engine.name, web.id[:11]]


def test_what_is_written_into_the_hosts_file_is_in_the_container(engine):
    [web] = looked_up(engine, "web")
    with open(web.hosts_path, "a", encoding="utf-8") as file:
        file.write("127.0.0.9\tsome.where\n")
    assert engine.hosts("web").endswith("127.0.0.9\tsome.where\n")
    assert "(127.0.0.9)" in engine.exec("web", "ping", "-c1", "some.where").stdout


@pytest.mark.parametrize(("user", "seen"), [(1000, 1000), (0, None)])
def test_the_network_of_a_user_namespace_is_that_of_its_maker(user, seen):
    """As a rootless engine makes it, and as Docker's userns-remap does."""
    process = subprocess.Popen(("unshare", "--user", "--net", "sleep", "1000"), user=user, cwd="/")
    try:
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert process.poll() is None
        assert network_of(process.pid) != network_of(os.getpid())
        assert engines.rootless(process.pid) == seen
    finally:
        process.kill()
        process.wait()


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def give_up(_number: int, _frame: object) -> None:
        raise AssertionError(f"nothing was heard within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def start_time(engine: Engine, name: str) -> float:
    """When the engine had started it, in seconds since the epoch."""
    text = json.loads(engine("container", "inspect", "--format", "{{json .State.StartedAt}}", name).stdout)
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + float(f"0{text[19:].rstrip('Z')}")


def test_starts_are_heard_of_and_a_container_stays_the_same(engine, monkeypatch, capsys):
    """Also one that happens before the engine's command has subscribed, here stopped so that it cannot."""
    [before] = looked_up(engine, "web")
    engine.stop("web")
    [stopped] = looked_up(engine, "web")
    assert (stopped.id, stopped.pid, stopped.state) == (before.id, 0, "exited")

    held: list[int] = []
    real = subprocess.Popen

    def popen(words: Any, *args: Any, **keywords: Any) -> Any:
        process = real(words, *args, **keywords)
        if "events" in words:
            os.kill(process.pid, signal.SIGSTOP)
            held.append(process.pid)
        return process

    monkeypatch.setattr(engines.subprocess, "Popen", popen)
    monkeypatch.setattr(engines, "_SETTLE", 0)
    listener = engines.started([engine.name])
    with within(SOON):
        assert next(listener) == (engine.name, None, None)
        engine.start("web")
        os.kill(held[0], signal.SIGCONT)
        assert next(listener) == (engine.name, "web", before.id)
        [again] = looked_up(engine, "web")
        assert (again.id, again.state) == (before.id, "running")
        assert again.pid not in (0, before.pid)

        restart = subprocess.Popen((engine.name, "restart", "web"), stdout=subprocess.DEVNULL)
        assert next(listener) == (engine.name, "web", before.id)
        heard = time.time()
        assert restart.wait() == 0
    listener.close()
    [last] = looked_up(engine, "web")
    assert (last.id, last.state) == (before.id, "running")
    assert last.pid not in (0, again.pid)
    with capsys.disabled():
        print(f"\n{engine.name}: a start is heard of after {heard - start_time(engine, 'web'):.3f} s")


def test_the_same_name_in_both(docker, podman):
    docker.create("twin")
    podman.create("twin")
    found = engines.inspect([(choice, "twin") for choice in ("auto", "docker", "podman")])
    assert found["auto", "twin"] == (
        "container 'twin': docker and podman both have one; say which is meant with container_engine"
    )
    assert found["docker", "twin"].engine == "docker"
    assert found["podman", "twin"].engine == "podman"
    assert found["docker", "twin"].id != found["podman", "twin"].id
    docker.remove("twin")
    podman.remove("twin")
