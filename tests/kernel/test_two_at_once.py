# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several runs on one host at the same time, in processes of their own: one after the other, or beside each other, but never
mixed up, and never waiting for ever."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import restore, run_networks, store

from . import looks
from .conftest import Failed, Host, command, ip

NETWORK, ENDPOINT, IPAM = "vlan_network", "vlan_endpoint", "vlan_ipam"
AT_ONCE = 8
LIMIT = 240  # seconds until what has not ended counts as deadlocked; they take a few
Work = Callable[[], Any]
Tell = Callable[[str, int], None]


class Span(NamedTuple):
    """When a run asked for the lock, had it, and let it go, in nanoseconds."""

    asked: int
    had: int
    left: int


@pytest.fixture
def host(shared_trunk: None, tmp_path: Path) -> Iterator[Host]:
    yield Host(tmp_path / "state")
    looks.tidy()


# --- processes ------------------------------------------------------------------------------------------------


def forked(work: Work, *others: int) -> tuple[int, int]:
    """A process that does ``work`` and says what came of it as JSON; its id, and where to read. It closes ``others``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for descriptor in (reader, *others):
                os.close(descriptor)
            try:
                told = {"result": work()}
            except Failed as error:
                told = {"failed": str(error)}
            except BaseException as error:
                told = {"broken": f"{type(error).__name__}: {error}"}
            with os.fdopen(writer, "w") as file:
                json.dump(told, file)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    return child, reader


def outcome(child: int, reader: int) -> dict[str, Any]:
    """What a process came to; one that does not end is killed."""
    text, limit = b"", time.monotonic() + LIMIT
    while select.select([reader], [], [], max(0, limit - time.monotonic()))[0]:
        piece = os.read(reader, 1 << 20)
        text += piece
        if not piece:
            os.close(reader)
            os.waitpid(child, 0)
            return json.loads(text)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"a run has not ended after {LIMIT} s")


def at_once(works: list[Work]) -> list[dict[str, Any]]:
    """All of them, begun at one moment in a process each."""
    held, gate = os.pipe()

    def waiting(work: Work) -> Work:
        def begin() -> Any:
            os.read(held, 1)  # until the gate is closed by all
            return work()

        return begin

    started = [forked(waiting(work), gate) for work in works]
    os.close(gate)
    found = [outcome(*process) for process in started]
    os.close(held)
    return found


@contextmanager
def timed() -> Iterator[list[Span]]:
    """When the runs of this process had the lock."""
    spans: list[Span] = []
    real = store._locked

    @contextmanager
    def locked(*arguments: Any) -> Iterator[None]:
        asked = time.monotonic_ns()
        with real(*arguments):
            had = time.monotonic_ns()
            try:
                yield
            finally:
                spans.append(Span(asked, had, time.monotonic_ns()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_locked", locked)
        yield spans


def seen_by(work: Work) -> Work:
    """The work, with when it had the lock."""

    def do() -> Any:
        with timed() as spans:
            result = work()
        return {"result": result, "spans": spans}

    return do


def all_went_well(works: list[Work], tell: Tell) -> list[Any]:
    """What several runs at once came to: none failed, and no two had the lock at one moment."""
    found = at_once([seen_by(work) for work in works])
    assert [entry for entry in found if "result" not in entry] == []
    spans = sorted((Span(*span) for entry in found for span in entry["result"]["spans"]), key=lambda span: span.had)
    assert len(spans) >= len(works)
    pairs = list(zip(spans, spans[1:]))
    assert all(one.left <= other.had for one, other in pairs), "two at one moment"
    tell("runs at once", len(spans))
    tell("of them waited for another", sum(other.asked < one.left for one, other in pairs))
    return [entry["result"]["result"] for entry in found]


def unchanged(host: Host, module: str, **params: Any) -> dict[str, Any]:
    result = host.run(module, **params)
    assert (result["changed"], result["actions"]) == (False, []), "the runs left something to do"
    return result


def no_findings(host: Host) -> None:
    assert host.run("vlan_ipam_info", audit=True)["findings"] == []


def net(number: int) -> dict[str, Any]:
    return {
        "name": f"n{number}",
        "parent": f"eth0.{100 + number}",
        "ipam_config": [{"subnet": f"10.{number}.0.0/24"}],
    }


SHARED: dict[str, Any] = {
    "name": "shared",
    "parent": "eth0.20",
    "ipam_config": [{"subnet": "172.16.48.0/22", "gateway": "172.16.50.1"}],
}


# --- at the same time -----------------------------------------------------------------------------------------


def test_runs_on_different_networks(host: Host, tell: Tell) -> None:
    def work(number: int) -> Work:
        def do() -> None:
            host.run(NETWORK, networks=[net(number)])
            host.run(ENDPOINT, network=f"n{number}", endpoints=[{"name": f"e{number}", "netns": f"e{number}"}])

        return do

    all_went_well([work(number) for number in range(AT_ONCE)], tell)
    links = host.links()
    for number in range(AT_ONCE):
        assert links[f"eth0.{100 + number}"]["linkinfo"]["info_data"]["id"] == 100 + number
        assert host.addresses("eth0", f"e{number}") == [f"10.{number}.0.2/24"]
    unchanged(host, NETWORK, networks=[net(number) for number in range(AT_ONCE)])
    pairs = [{"name": f"e{n}", "network": f"n{n}", "netns": f"e{n}"} for n in range(AT_ONCE)]
    unchanged(host, ENDPOINT, endpoints=pairs)
    no_findings(host)


def test_runs_of_the_very_same_task(host: Host, tell: Tell) -> None:
    pairs = [{"name": name, "netns": name} for name in ("a", "b", "c")]

    def work() -> Any:
        network = host.run(NETWORK, networks=[SHARED])
        endpoints = host.run(ENDPOINT, network="shared", endpoints=pairs)
        return network["actions"], endpoints["actions"], endpoints["endpoints"]

    found = all_went_well([work] * AT_ONCE, tell)
    for number in range(2):  # one did it all, the others found it done
        assert len([entry[number] for entry in found if entry[number]]) == 1
    assert all(entry[2] == found[0][2] for entry in found)
    assert host.pings("a", "172.16.50.1")
    no_findings(host)


def test_runs_on_one_network_beside_the_restore_command(host: Host, tell: Tell) -> None:
    """Endpoints and reservations of one subnet, and meanwhile what the service does at boot, lists and check mode."""
    host.run(NETWORK, networks=[SHARED])
    there = [{"name": f"old{n}", "netns": f"old{n}"} for n in range(3)]
    host.run(ENDPOINT, network="shared", endpoints=there)
    looks.command("ip", "netns", "del", "old1")

    def attach(number: int) -> Work:
        pairs = [{"name": f"e{number}-{n}", "netns": f"e{number}-{n}"} for n in range(2)]
        return lambda: host.run(ENDPOINT, network="shared", endpoints=pairs)["endpoints"]

    def reserve(number: int) -> Work:
        return lambda: host.run(IPAM, network="shared", owner=f"vm{number}")["addresses"]

    def put_back() -> list[str]:
        said: list[str] = []
        restore.put_back(str(host.state_dir), said.append)
        return said

    def look() -> None:
        for _time in range(3):
            host.run(ENDPOINT, check=True, network="shared", endpoints=there)
            host.run("vlan_endpoint_info")
            host.run("vlan_ipam_info")

    works = [attach(n) for n in range(4)] + [reserve(n) for n in range(3)] + [put_back, put_back]
    found = at_once([*works, look])
    assert [entry for entry in found if "result" not in entry] == []
    addresses = [e["ipv4"]["address"] for entry in found[:4] for e in entry["result"]]
    addresses += [e["address"] for entry in found[4:7] for e in entry["result"]]
    assert len(addresses) == len(set(addresses)) == 11
    # The namespace that was gone came back, by one of the two.
    assert host.addresses("eth0", "old1") == ["172.16.48.2/22"]
    for number in range(4):
        assert host.pings(f"e{number}-1", "172.16.50.1")
    unchanged(host, ENDPOINT, network="shared", endpoints=there)
    no_findings(host)
    tell("runs at once", len(found))


def test_runs_that_want_the_contrary(host: Host, tell: Tell) -> None:
    host.run(NETWORK, networks=[SHARED])
    pairs = [{"name": name, "netns": name} for name in ("a", "b")]

    def again(state: str) -> Work:
        def do() -> None:
            for _time in range(3):
                host.run(ENDPOINT, network="shared", endpoints=pairs if state == "present" else [
                    {"name": entry["name"]} for entry in pairs], state=state)  # fmt: skip

        return do

    all_went_well([again("present"), again("absent"), again("present"), again("absent")], tell)
    # Whichever came last: the store and the kernel agree, and each way leads on from here.
    rows = {entry["name"] for entry in host.run("vlan_endpoint_info")["endpoints"]}
    assert rows == host.namespaces() - {"switch", "router"}
    no_findings(host)
    host.run(ENDPOINT, network="shared", endpoints=pairs)
    assert host.pings("b", "172.16.50.1")
    unchanged(host, ENDPOINT, network="shared", endpoints=pairs)


# --- waiting --------------------------------------------------------------------------------------------------


@contextmanager
def a_run_that_stays(host: Host) -> Iterator[tuple[int, Callable[[], None]]]:
    """A task in a process of its own that has planned and not yet written; its pid, and what lets it go on."""
    began, say = os.pipe()
    stay, go_on = os.pipe()

    def work() -> Any:
        real = run_networks.apply

        def wait(*arguments: Any) -> Any:
            os.write(say, b"x")
            os.read(stay, 1)
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_networks, "apply", wait)
            return host.run(NETWORK, networks=[SHARED])["actions"]

    child, reader = forked(work, go_on, began)
    os.close(say)  # so that a child that ends without a word is heard of
    assert os.read(began, 1) == b"x"
    released = False

    def release() -> None:
        nonlocal released
        if not released:
            released = True
            os.close(go_on)

    try:
        yield child, release
    finally:
        release()
        assert outcome(child, reader)["result"]
        for descriptor in (began, stay):
            os.close(descriptor)


def test_a_run_that_cannot_wait_any_longer_names_the_holder(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    with a_run_that_stays(host) as (holder, _release):
        for module, params in ((NETWORK, {"name": "n1"}), (ENDPOINT, {"name": "a", "network": "n1", "netns": "a"}),
                               (IPAM, {"network": "n1", "owner": "vm"})):  # fmt: skip
            with pytest.raises(Failed) as failure:
                host.run(module, lock_timeout=0, **params)
            words = f"process {holder} (vlan_network of alice, since "
            assert str(failure.value).startswith(words) and "wait for it to end, or raise lock_timeout" in str(
                failure.value
            )
        # What only looks does not wait.
        assert host.run("vlan_network_info")["networks"] == []
    assert "eth0.20" in {link["ifname"] for link in ip("link")}


def test_the_service_waits_for_a_run_however_long_that_takes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.network("front", parent="eth0.30")
    command("ip", "link", "del", "eth0.30")
    real, later, said = time.monotonic, [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: real() + later[0])
    with a_run_that_stays(host) as (holder, release):

        def say(text: str) -> None:
            said.append(text)
            if text.startswith(f"waiting for process {holder}"):
                later[0] = 86400.0
                release()

        restore.put_back(str(host.state_dir), say)
    assert said[0].startswith("waiting for") and "eth0.30" in {link["ifname"] for link in ip("link")}


def test_a_run_that_waits_says_for_whom(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    with a_run_that_stays(host) as (holder, release):

        def log(_module: object, text: str, **_options: object) -> None:
            if text.startswith("waits for"):
                logged.append(text)
                release()

        monkeypatch.setattr(AnsibleModule, "log", log)
        result = host.run(NETWORK, networks=[SHARED])
    assert not result["changed"]
    assert [text for text in logged if not text.startswith(f"waits for process {holder} (vlan_network")] == []
    assert len(logged) == 1
    assert [w for w in result["warnings"] if w.startswith(f"this task waited for process {holder} (vlan_network")]


# --- as users start them --------------------------------------------------------------------------------------


def playbook(host: Host, numbers: list[int], tasks: list[dict[str, Any]]) -> subprocess.Popen[str]:
    """ansible-playbook with a fork for each of some inventory hosts, which are all this host."""
    common = {"state_dir": str(host.state_dir), "lock_timeout": LIMIT}
    play = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/netops.underlay.underlay": common}}
    place = host.state_dir.parent / f"play{numbers[0]}"
    place.with_suffix(".json").write_text(json.dumps([{**play, "tasks": tasks}]))
    # Not in a home folder: who writes there and who reads need not mean the same one.
    inventory = {f"host{number}": {"number": number, "ansible_connection": "local",
                                   "ansible_async_dir": f"{place}.async",
                                   "ansible_python_interpreter": sys.executable} for number in numbers}  # fmt: skip
    place.with_suffix(".yml").write_text(json.dumps({"all": {"hosts": inventory}}))
    return subprocess.Popen(
        ("ansible-playbook", "-f", str(len(numbers)), "-i", f"{place}.yml", f"{place}.json"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "ANSIBLE_NOCOLOR": "true"},
    )  # fmt: skip


def service(host: Host, what: str) -> subprocess.Popen[str]:
    """The command of the service, on a host without container engines."""
    module = "ansible_collections.netops.underlay.plugins.module_utils.restore"
    code = f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        (sys.executable, "-c", code, "--state-dir", str(host.state_dir), what),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": ""},
    )  # fmt: skip


@contextmanager
def system_log() -> Iterator[Callable[[], str]]:
    """What arrives there, one line after the other; the lab has no other."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind("/dev/log")
        log.settimeout(LIMIT)
        try:
            yield lambda: log.recv(1 << 16).decode()
        finally:
            os.unlink("/dev/log")


def test_playbooks_with_forks_and_async_beside_the_restore_command_and_the_service(host: Host, tell: Tell) -> None:
    host.run(NETWORK, networks=[net(9)])
    old = [{"name": "old", "netns": "old", "network": "n9"}]
    host.run(ENDPOINT, endpoints=old)
    looks.command("ip", "netns", "del", "old")
    own = {"name": "n{{ number }}", "parent": "eth0.{{ 100 + number }}",
           "ipam_config": [{"subnet": "10.{{ number }}.0.0/24"}]}  # fmt: skip
    both = {"netops.underlay.vlan_network": {"networks": [SHARED, own]}}
    attach = {"netops.underlay.vlan_endpoint": {"endpoints": [
        {"name": f"{kind}{{{{ number }}}}", "network": network, "netns": f"{kind}{{{{ number }}}}"}
        for kind, network in (("a", "shared"), ("e", "n{{ number }}"))
    ]}}  # fmt: skip
    in_background = {**attach, "async": LIMIT, "poll": 0, "register": "job"}
    its_end = {
        "ansible.builtin.async_status": {"jid": "{{ job.ansible_job_id }}"},
        "register": "ended",
        "until": "ended is finished",
        "retries": LIMIT,
        "delay": 3,
    }
    with a_run_that_stays(host) as (holder, release), system_log() as log:
        named = f"process {holder} (vlan_network"
        in_vain = {
            "netops.underlay.vlan_ipam": {"network": "shared", "owner": "vm", "lock_timeout": 0},
            "run_once": True,
            "register": "gave_up",
            "failed_when": f"not gave_up.msg.startswith('{named}')",
        }
        plays = [playbook(host, [1, 2], [in_vain, both, in_background, its_end]), playbook(host, [3], [both, attach])]
        waiting = 0
        while waiting < 3:  # those of the networks, on each of the inventory's hosts
            waiting += f"waits for {named}" in log()
        services = [service(host, "watch"), service(host, "restore")]
        for process in services:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"waiting for {named}")
        release()
    for process in plays:
        output, _errors = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, output
        assert f"this task waited for {named}" in " ".join(output.split()), output
    watch, restored = services
    said = restored.communicate(timeout=LIMIT)[0]
    assert restored.returncode == 0, said
    assert watch.poll() is None, watch.communicate()
    watch.terminate()
    said += watch.communicate(timeout=LIMIT)[0]
    # Of what was gone alone, by one of the two: what a playbook has just begun is nothing to mend.
    assert [line for line in said.splitlines() if line.startswith("repair")] == ["repair endpoint n9/old"], said
    assert host.addresses("eth0", "old") == ["10.9.0.2/24"]
    numbers = (1, 2, 3)
    assert {a for n in numbers for a in host.addresses("eth0", f"a{n}")} == {f"172.16.48.{n}/22" for n in numbers}
    for number in numbers:
        assert host.addresses("eth0", f"e{number}") == [f"10.{number}.0.2/24"]
        assert host.pings(f"a{number}", "172.16.50.1")
    unchanged(host, NETWORK, networks=[SHARED, *(net(number) for number in (1, 2, 3, 9))])
    pairs = [{"name": f"{kind}{n}", "network": network.format(n), "netns": f"{kind}{n}"}
             for n in numbers for kind, network in (("a", "shared"), ("e", "n{}"))]  # fmt: skip
    unchanged(host, ENDPOINT, endpoints=[*old, *pairs])
    no_findings(host)
    tell("runs at once", 3 * 2 + 2)
