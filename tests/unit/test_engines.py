# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Container engines: what they print becomes containers, starts, and texts for the user. With commands that only pretend."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import engines
from ansible_collections.netops.underlay.plugins.module_utils.engines import Container, inspect

ID = "0123456789abcdef" * 4
OTHER_ID = "fedcba9876543210" * 4
ONLY_HOST_ROOT = "macvlan and ipvlan need the host's root; run the container with the rootful engine"


class Engines:
    """A PATH with nothing but engines that say what they are told to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def install(self, name: str, *answers: tuple[Any, str, int], script: str | None = None) -> None:
        """A command that gives ``(output, errors, exit code)``, one for each time; the last again and again."""
        place = self.directory / f"{name}.answers"
        place.mkdir(exist_ok=True)
        for number, (output, errors, code) in enumerate(answers):
            text = output if isinstance(output, str) else json.dumps(output)
            (place / f"{number}.out").write_text(text)
            (place / f"{number}.err").write_text(errors)
            (place / f"{number}.code").write_text(f"{code}\n")
        (place / "calls").write_text("")
        command = self.directory / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(script or _SCRIPT.format(place=place, last=len(answers) - 1))
        command.chmod(0o755)

    def calls(self, name: str) -> list[list[str]]:
        text = (self.directory / f"{name}.answers" / "calls").read_text()
        return [line.split(" ") for line in text.splitlines()]

    def names(self, name: str) -> list[list[str]]:
        """What each call asked for."""
        calls = self.calls(name)
        assert all(call[:3] == ["container", "inspect", "--"] for call in calls)
        return [call[3:] for call in calls]


_SCRIPT = """#!/bin/sh
number=0
while read -r _; do number=$((number + 1)); done <{place}/calls
echo "$*" >>{place}/calls
[ $number -le {last} ] || number={last}
/bin/cat {place}/$number.out
/bin/cat {place}/$number.err >&2
read -r code <{place}/$number.code
exit $code
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engines:
    """A host without any engine, and without users that are logged in."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(engines, "_MORE_PATH", ())
    monkeypatch.setattr(engines, "_RUN_USER", str(tmp_path / "run-user"))
    return Engines(tmp_path)


def docker_entry(name: str = "web", pid: int = 812, **more: Any) -> dict[str, Any]:
    """As Docker 20.10 has it, less what nobody here reads."""
    status = "running" if pid else "exited"
    return {
        "Id": ID,
        "Name": f"/{name}",
        "State": {"Status": status, "Running": bool(pid), "Pid": pid},
        "HostsPath": f"/var/lib/docker/containers/{ID}/hosts",
        "HostConfig": {"NetworkMode": "none"},
        "Mounts": [],
        **more,
    }


def podman_entry(name: str = "web", pid: int = 913, **more: Any) -> dict[str, Any]:
    return {**docker_entry(pid=pid), "Id": OTHER_ID, "Name": name, "HostsPath": "/run/containers/hosts", **more}


NO_SUCH = "Error response from daemon: No such container: {}\n"
NO_SUCH_PODMAN = "Error: inspecting object: no such container {}\n"
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"


def one(engine: str, name: str) -> Container | str:
    [(key, value)] = inspect([(engine, name)]).items()
    assert key == (engine, name)
    return value


# --- containers -----------------------------------------------------------------------------------------------


def test_a_container_of_docker(host):
    host.install("docker", ([docker_entry()], "", 0))
    assert one("docker", "web") == Container(
        "docker", "web", ID, 812, "running", f"/var/lib/docker/containers/{ID}/hosts", "none"
    )


def test_a_container_of_podman(host):
    host.install("podman", ([podman_entry()], "", 0))
    assert one("podman", "web") == Container("podman", "web", OTHER_ID, 913, "running", "/run/containers/hosts", "none")
    assert engines.words(one("podman", "web")) == "podman container 'web'"


def test_all_names_in_one_process_for_each_engine(host):
    host.install("docker", ([docker_entry("a"), docker_entry("b")], NO_SUCH.format("c"), 1))
    host.install("podman", ([podman_entry("c"), podman_entry("d")], "", 0))
    found = inspect([("docker", "a"), ("docker", "b"), ("auto", "c"), ("podman", "d")])
    assert [(key, value.engine, value.name) for key, value in found.items()] == [
        (("docker", "a"), "docker", "a"),
        (("docker", "b"), "docker", "b"),
        (("auto", "c"), "podman", "c"),
        (("podman", "d"), "podman", "d"),
    ]
    assert host.names("docker") == [["a", "b", "c"]]
    assert host.names("podman") == [["c", "d"]]


def test_no_names_start_nothing(host):
    host.install("docker", ([], "", 0))
    assert inspect([]) == {}
    assert host.calls("docker") == []


def test_a_long_list_takes_several_commands(host, monkeypatch):
    monkeypatch.setattr(engines, "_AT_ONCE", 2)
    host.install(
        "docker",
        ([docker_entry("a"), docker_entry("b")], "", 0),
        ([docker_entry("c")], NO_SUCH.format("d"), 1),
        ([docker_entry("e")], "", 0),
    )
    found = inspect([("docker", name) for name in "abcde"])
    assert host.names("docker") == [["a", "b"], ["c", "d"], ["e"]]
    assert [name for (_engine, name), value in found.items() if isinstance(value, Container)] == ["a", "b", "c", "e"]


def test_a_full_command_stays_below_the_limits_of_the_kernel(host):
    longest = engines._AT_ONCE * (len("x" * 255) + 1)
    assert longest < 128 * 1024  # what POSIX systems allow at least is 4 kB, Linux 2 MB
    assert engines.NAME.fullmatch("x" * 255)
    assert not engines.NAME.fullmatch("x" * 256)


@pytest.mark.parametrize(
    ("status", "pid", "seen"),
    [
        ("running", 5, 5),
        ("paused", 5, 5),
        ("exited", 0, 0),
        ("created", 0, 0),
        ("initialized", 5, 0),  # Podman: made, but nothing of it runs
        ("exited", 5, 0),  # an id that may be somebody else's by now
        ("running", "5", 0),
        ("running", None, 0),
        ("running", -1, 0),
    ],
)
def test_the_pid_is_that_of_a_container_that_runs(host, status, pid, seen):
    host.install("docker", ([docker_entry(State={"Status": status, "Pid": pid})], "", 0))
    found = one("docker", "web")
    assert (found.state, found.pid) == (status, seen)


@pytest.mark.parametrize(
    "more",
    [
        {"HostsPath": ""},
        {"HostsPath": None},
        {"HostsPath": "relative"},
        # Docker shows the host's own file then, Podman one that nobody has mounted.
        {"HostsPath": "/etc/hosts", "Mounts": [{"Source": "/etc/hosts", "Destination": "/etc/hosts"}]},
    ],
)
def test_no_hosts_file_where_the_engine_manages_none(host, more):
    host.install("docker", ([docker_entry(**more)], "", 0))
    assert one("docker", "web").hosts_path is None


def test_other_mounts_leave_the_hosts_file(host):
    mounts = [{"Destination": "/data"}, {"Destination": "/etc/hosts.d"}, None]
    host.install("docker", ([docker_entry(Mounts=mounts)], "", 0))
    assert one("docker", "web").hosts_path == f"/var/lib/docker/containers/{ID}/hosts"


@pytest.mark.parametrize("part", ["State", "HostConfig", "Mounts", "HostsPath"])
@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_what_an_engine_leaves_out_or_has_in_another_form(host, part, value):
    host.install("docker", ([docker_entry(**{part: value})], "", 0))
    assert one("docker", "web").name == "web"


@pytest.mark.parametrize(
    "output", ["", "nonsense", "{}", "[null]", "[[]]", '[{"Name": "web"}]', '[{"Id": 5, "Name": "web"}]', '"web"']
)
def test_what_is_no_container_is_none(host, output):
    host.install("docker", (output, "", 0))
    assert one("docker", "web").startswith("container 'web': docker has none of this name")


def test_bytes_that_are_no_text_are_survived(host):
    place = host.directory / "odd"
    place.write_bytes(b"\xff\xfe[")
    host.install("docker", script=f"#!/bin/sh\n/bin/cat {place}\n/bin/cat {place} >&2\nexit 1\n")
    assert "docker does not answer (" in one("docker", "web")


# --- names ----------------------------------------------------------------------------------------------------


def test_an_id_is_a_name_from_12_digits_on(host):
    host.install("docker", ([docker_entry()], "", 0))
    assert one("docker", ID).name == "web"
    assert one("docker", ID[:12]).name == "web"
    assert one("docker", ID[:11]) == (
        f"container '{ID[:11]}': docker has none of this name; create it first or correct the name"
    )


def test_the_beginning_of_a_name_is_no_name(host):
    host.install("docker", ([docker_entry("web-1")], "", 0))
    assert "docker has none of this name" in one("docker", "web")


def test_a_name_wins_over_an_id(host):
    entries = [docker_entry(), docker_entry(OTHER_ID[:12], Id=OTHER_ID)]
    host.install("docker", (entries, "", 0))
    assert one("docker", OTHER_ID[:12]).id == OTHER_ID
    host.install("docker", ([docker_entry(ID[:12], Id=OTHER_ID)], "", 0))
    assert one("docker", ID[:12]).id == OTHER_ID


@pytest.mark.parametrize("name", ["", "-f", "--format=x", "a b", "../x", "x/y", "a\nb", "x" * 256, "é"])
def test_what_cannot_be_a_name_reaches_no_engine(host, name):
    host.install("docker", ([docker_entry(name)], "", 0))
    assert one("auto", name) == (f"{name!r} cannot be a container: a name has letters, digits, '_', '.' and '-'")
    assert host.calls("docker") == []


# --- the texts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "docker", "podman"])
def test_no_engine_at_all(host, engine):
    assert one(engine, "web") == (
        "container 'web': neither docker nor podman is installed on this host; install what is to run it"
    )


def test_another_engine_than_the_one_that_is_asked_for(host):
    host.install("podman", ([podman_entry()], "", 0))
    assert one("docker", "web") == (
        "container 'web': docker is not installed on this host, but podman is;"
        " install docker or set container_engine to podman"
    )
    assert host.calls("podman") == []


@pytest.mark.parametrize("engine", ["auto", "docker"])
def test_no_daemon(host, engine):
    host.install("docker", ("[]\n", NO_DAEMON, 1))
    assert one(engine, "web") == (
        "container 'web': docker does not answer (Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
        " Is the docker daemon running?); make 'docker ps' work"
    )


def test_last_words_are_one_printable_line_of_bounded_length(host):
    host.install("docker", ("[]", "first\n\x1b[31mlast\tword " + "x" * 500 + "\n\n", 1))
    text = one("docker", "web")
    assert text.isprintable()
    [words] = [part for part in text.split("(") if part.startswith("[31mlast")]
    assert len(words.split(")")[0]) == 200


def test_an_engine_without_words(host):
    host.install("podman", ("", "", 125))
    assert one("podman", "web") == (
        "container 'web': podman does not answer (its command ended with 125); make 'podman ps' work"
    )


def test_an_engine_that_cannot_be_executed(host):
    host.install("docker", script="#!/nowhere/sh\n")
    assert one("docker", "web") == (
        f"container 'web': docker does not answer ({host.directory}/bin/docker: No such file or directory);"
        " make 'docker ps' work"
    )


def test_an_engine_that_hangs(host, monkeypatch):
    monkeypatch.setattr(engines, "_TIMEOUT", 0.05)
    host.install("docker", script="#!/bin/sh\nexec /bin/sleep 60\n")
    assert one("docker", "web") == (
        "container 'web': docker does not answer (it gave no answer within 0.05 seconds); make 'docker ps' work"
    )


def test_an_engine_that_does_not_answer_is_not_asked_for_the_rest(host, monkeypatch):
    monkeypatch.setattr(engines, "_AT_ONCE", 1)
    host.install("docker", ("[]", NO_DAEMON, 1))
    found = inspect([("docker", name) for name in "abc"])
    assert all("docker does not answer" in text for text in found.values())
    assert host.names("docker") == [["a"], ["a"]]


@pytest.mark.parametrize(
    "line",
    [
        "Error response from daemon: No such container: web",
        "Error: inspecting object: no such container web",  # Podman 4.3
        'Error: no such container "web"',  # Podman 5
        'Error: error inspecting object: no container with name or ID "web" found: no such container',  # Podman 3
        "Error: No such object: web",
        # A name that is how several ids begin.
        "Error response from daemon: Multiple IDs found with provided prefix: web",
        "Error: more than one result for container name or ID web: container already exists",
    ],
)
def test_no_such_container(host, line):
    host.install("docker", ("[]\n", f"{line}\n", 1))
    assert one("docker", "web") == (
        "container 'web': docker has none of this name; create it first or correct the name"
    )
    assert len(host.calls("docker")) == 1


def test_no_such_container_in_either(host):
    host.install("docker", ("[]", NO_SUCH.format("web"), 1))
    host.install("podman", ("[]", NO_SUCH_PODMAN.format("web"), 125))
    assert one("auto", "web") == (
        "container 'web': docker and podman have none of this name; create it first or correct the name"
    )


def test_one_has_none_and_the_other_does_not_answer(host):
    host.install("docker", ("[]", NO_DAEMON, 1))
    host.install("podman", ("[]", NO_SUCH_PODMAN.format("web"), 125))
    text = one("auto", "web")
    assert text.startswith("container 'web': podman has none of this name and docker does not answer (Cannot connect")
    assert text.endswith("running?); create it first or correct the name, or make 'docker ps' work")


def test_one_does_not_answer_and_the_other_has_it(host):
    host.install("docker", ("[]", NO_DAEMON, 1))
    host.install("podman", ([podman_entry()], "", 0))
    assert one("auto", "web").engine == "podman"


def test_both_have_it(host):
    host.install("docker", ([docker_entry()], "", 0))
    host.install("podman", ([podman_entry()], "", 0))
    assert one("auto", "web") == (
        "container 'web': docker and podman both have one; say which is meant with container_engine"
    )
    assert one("docker", "web").engine == "docker"
    assert one("podman", "web").engine == "podman"


def test_neither_answers(host):
    host.install("docker", ("[]", "broken\n", 1))
    host.install("podman", ("", "out of order\n", 125))
    assert one("auto", "web") == (
        "container 'web': docker does not answer (broken) and podman does not answer (out of order);"
        " make 'docker ps' and 'podman ps' work"
    )


def test_what_an_engine_did_not_speak_of_is_asked_for_once_more(host):
    """Podman ends at the first container that vanishes while it looks."""
    host.install(
        "podman",
        ([podman_entry("a")], NO_SUCH_PODMAN.format("b") + "Error: locking container: gone\n", 125),
        ([podman_entry("c")], NO_SUCH_PODMAN.format("d"), 125),
    )
    found = inspect([("podman", name) for name in "abcd"])
    assert host.names("podman") == [["a", "b", "c", "d"], ["c", "d"]]
    assert [getattr(value, "name", None) for value in found.values()] == ["a", None, "c", None]
    assert all("podman has none of this name" in value for value in found.values() if isinstance(value, str))


def test_an_engine_that_speaks_of_others_only(host):
    """'web' is not 'web2', of which it says that there is none."""
    host.install("podman", ("[]", "Error: broken\n" + NO_SUCH_PODMAN.format("web2"), 125))
    found = inspect([("podman", "web"), ("podman", "web2")])
    assert found["podman", "web"] == ("container 'web': podman does not answer (Error: broken); make 'podman ps' work")
    assert found["podman", "web2"].startswith("container 'web2': podman")


def test_warnings_beside_an_answer_do_not_matter(host):
    host.install("podman", ([podman_entry()], 'time="..." level=warning msg="no such container elsewhere"\n', 0))
    assert one("podman", "web").name == "web"


# --- the other engines of a host ------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", ["docker.sock", "podman/podman.sock", "libpod"])
def test_a_user_has_an_engine_of_his_own(host, trace):
    host.install("docker", ("[]", NO_SUCH.format("web"), 1))
    for user in (1001, 1000):
        path = host.directory / "run-user" / str(user) / trace
        path.parent.mkdir(parents=True)
        path.touch()
    assert one("docker", "web") == (
        "container 'web': docker has none of this name; create it first or correct the name."
        f" Containers of a rootless engine (users 1000, 1001) cannot be used: {ONLY_HOST_ROOT}"
    )


def test_what_root_has_there_is_no_rootless_engine(host):
    host.install("docker", ("[]", NO_SUCH.format("web"), 1))
    (host.directory / "run-user" / "0" / "libpod").mkdir(parents=True)
    (host.directory / "run-user" / "1000" / "bus").mkdir(parents=True)
    assert "rootless" not in one("docker", "web")


def test_the_refusal_of_a_rootless_container():
    assert engines.rootless_refusal("web", 1000) == (
        f"container 'web' runs in a rootless engine (user 1000): {ONLY_HOST_ROOT}"
    )


def test_the_network_of_this_process_is_the_host_roots():
    assert engines.rootless(os.getpid()) is None


def test_a_process_that_is_gone_is_nobodys():
    assert engines.rootless(2**22 + 1) is None


STAND_IN = """#!/bin/sh
[ -e /etc/containers/nodocker ] || echo "Emulate Docker CLI using podman." >&2
exec {podman} "$@"
"""


@pytest.mark.parametrize("engine", ["auto", "docker", "podman"])
@pytest.mark.parametrize("way", ["script", "link"])
def test_podman_that_stands_in_for_docker(host, engine, way):
    """The package podman-docker: one engine with two commands."""
    host.install("podman", ([podman_entry()], "", 0))
    podman = host.directory / "bin" / "podman"
    if way == "script":
        host.install("docker", script=STAND_IN.format(podman=podman))
    else:
        (host.directory / "bin" / "docker").symlink_to(podman)
    assert one(engine, "web") == Container("podman", "web", OTHER_ID, 913, "running", "/run/containers/hosts", "none")
    assert len(host.calls("podman")) == 1


def test_a_command_is_found_where_the_path_of_ansible_does_not_lead(host, monkeypatch):
    host.install("docker", ([docker_entry()], "", 0))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(engines, "_MORE_PATH", (str(host.directory / "bin"),))
    assert one("auto", "web").name == "web"


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ({}, {}),
        ({"DOCKER_HOST": "tcp://far:2375", "CONTAINER_HOST": "ssh://far", "CONTAINER_CONNECTION": "far"}, {}),
        ({"DOCKER_HOST": "unix:///run/other.sock"}, {"DOCKER_HOST": "unix:///run/other.sock"}),
        ({"DOCKER_CONTEXT": "far"}, {}),
    ],
)
def test_only_the_engine_of_this_host_is_asked(monkeypatch, given, passed):
    names = ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "CONTAINER_CONNECTION")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = engines._environment()
    assert {name: found[name] for name in names if name in found} == {"DOCKER_CONTEXT": "default", **passed}


# --- listening ------------------------------------------------------------------------------------------------


def docker_event(name: str, **more: Any) -> str:
    return json.dumps({"Action": "start", "Actor": {"ID": ID, "Attributes": {"name": name, "image": "x"}}, **more})


def podman_event(name: str) -> str:
    return json.dumps({"ID": OTHER_ID, "Image": "x", "Name": name, "Status": "start", "Type": "container"})


# Prints each line that somebody writes into its pipe, until they close it; then it ends.
_EVENTS_SCRIPT = """#!/bin/sh
echo "$*" >>{place}.answers/calls
echo $$ >{place}.pid
exec /bin/cat {place}.events
"""


class Streams:
    """Engines whose events the test writes."""

    def __init__(self, host: Engines) -> None:
        self.host = host
        self.writers: dict[str, Any] = {}

    def install(self, name: str) -> None:
        place = self.host.directory / name
        self.host.install(name, script=_EVENTS_SCRIPT.format(place=place))
        os.mkfifo(f"{place}.events")

    def write(self, name: str, text: str) -> None:
        self.writers[name].write(text)
        self.writers[name].flush()

    def close(self, name: str) -> None:
        """Until its reader is through: one that still reads would take the next writer for the same."""
        pid = self.pid(name)
        self.writers.pop(name).close()
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.001)

    def opened(self, name: str, text: str = "") -> Callable[[], None]:
        """Opens its pipe, and writes, as soon as the command reads: beside the test, which waits in the listener meanwhile."""

        def open_it() -> None:
            self.writers[name] = (self.host.directory / f"{name}.events").open("w", encoding="utf-8")
            self.write(name, text)

        thread = threading.Thread(target=open_it)
        thread.start()
        return thread.join

    def pid(self, name: str) -> int:
        return int((self.host.directory / f"{name}.pid").read_text())


@pytest.fixture
def streams(host: Engines, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    monkeypatch.setattr(engines, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(engines, "_LONGEST_WAIT", 0.02)
    monkeypatch.setattr(engines, "_SETTLE", 0.02)
    monkeypatch.setattr(engines, "_LOOK_AGAIN", 0.01)
    found = Streams(host)
    yield found
    for writer in found.writers.values():
        writer.close()


def test_starts_are_reported_after_a_call_for_a_pass(streams):
    streams.install("docker")
    streams.install("podman")
    listener = engines.started()
    joins = [streams.opened("docker"), streams.opened("podman")]
    assert {next(listener), next(listener)} == {("docker", None, None), ("podman", None, None)}
    for join in joins:
        join()
    streams.write("docker", docker_event("web") + "\n")
    assert next(listener) == ("docker", "web", ID)
    streams.write("podman", podman_event("db") + "\n" + podman_event("cache") + "\n")
    assert [next(listener), next(listener)] == [("podman", "db", OTHER_ID), ("podman", "cache", OTHER_ID)]
    listener.close()


def test_the_commands_ask_for_starts_since_they_began(streams):
    streams.install("docker")
    streams.install("podman")
    listener = engines.started()
    joins = [streams.opened("docker"), streams.opened("podman")]
    next(listener), next(listener)
    for join in joins:
        join()
    listener.close()
    for name, command in engines._EVENTS.items():
        [[verb, option, since, *rest]] = streams.host.calls(name)
        assert (verb, option) == ("events", "--since")
        assert since[10] == "T"
        assert since[-1] == "Z"
        assert rest == " ".join(command).split(" ")


def test_a_start_that_comes_before_the_stream_counts_as_working(streams, monkeypatch):
    """The pass comes first, at once, and the start is not lost."""
    monkeypatch.setattr(engines, "_SETTLE", 3600)
    streams.install("docker")
    listener = engines.started(["docker"])
    join = streams.opened("docker", docker_event("a") + "\n")
    assert [next(listener), next(listener)] == [("docker", None, None), ("docker", "a", ID)]
    join()
    listener.close()


def test_lines_come_in_pieces_and_with_nonsense_between(streams):
    streams.install("docker")
    listener = engines.started(["docker"])
    join = streams.opened("docker")
    next(listener)
    join()
    text = docker_event("web")
    for piece in (
        "warning: something\n\n",
        "[]\n7\nnull\n{}\n",
        '{"Actor": 5}\n',
        text[:20],
        text[20:],
        "\n" + text[:5],
    ):
        streams.write("docker", piece)
    assert next(listener) == ("docker", "web", ID)
    streams.write("docker", text[5:] + "\n")
    assert next(listener) == ("docker", "web", ID)
    listener.close()


def test_a_stream_that_ends_is_begun_again_with_a_call_for_a_pass(streams):
    streams.install("docker")
    troubles: list[str] = []
    listener = engines.started(["docker"], trouble=troubles.append)
    for name in ("a", "b", "c"):
        join = streams.opened("docker")
        assert next(listener) == ("docker", None, None)
        join()
        streams.write("docker", docker_event(name) + "\n")
        assert next(listener) == ("docker", name, ID)
        streams.write("docker", "unexpected EOF\n")
        streams.close("docker")
    join = streams.opened("docker")
    assert next(listener) == ("docker", None, None)
    join()
    assert troubles == ["docker cannot be listened to (unexpected EOF); it is tried again"] * 3
    assert len(streams.host.calls("docker")) == 4
    listener.close()


def test_an_engine_that_does_not_answer_calls_for_no_pass_and_is_told_once(streams, monkeypatch):
    monkeypatch.setattr(engines, "_SETTLE", 3600)
    streams.host.install("docker", ("", NO_DAEMON, 1))
    streams.install("podman")
    troubles: list[str] = []
    listener = engines.started(trouble=troubles.append)
    join = streams.opened("podman", podman_event("db") + "\n")
    assert [next(listener), next(listener)] == [("podman", None, None), ("podman", "db", OTHER_ID)]
    join()
    while len(streams.host.calls("docker")) < 4:
        streams.write("podman", podman_event("db") + "\n")
        assert next(listener) == ("podman", "db", OTHER_ID)
    assert troubles == [
        "docker cannot be listened to (Cannot connect to the Docker daemon at unix:///var/run/docker.sock."
        " Is the docker daemon running?); it is tried again"
    ]
    listener.close()


def test_the_wait_doubles_up_to_a_limit_and_begins_anew_after_a_good_stream(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(engines.time, "monotonic", lambda: now[0])
    stream = engines._Stream("docker", begun=100.0)
    waits = []
    for _again in range(7):
        engines._ended(stream, None)
        waits.append(stream.due - now[0])
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    now[0] += engines._LASTED
    engines._ended(stream, None)
    assert stream.due - now[0] == 1


def test_an_engine_that_is_installed_later_is_found(streams):
    listener = engines.started(
        ["podman"], ready=lambda: streams.install("podman") or joins.append(streams.opened("podman"))
    )
    joins: list[Callable[[], None]] = []
    assert next(listener) == ("podman", None, None)
    joins[0]()
    listener.close()


def test_ready_comes_once_after_all_first_passes(streams):
    streams.install("docker")
    streams.install("podman")
    seen: list[Any] = []
    listener = engines.started(ready=lambda: seen.append("ready"))
    joins = [streams.opened("docker"), streams.opened("podman")]
    seen += [next(listener)[0], next(listener)[0]]
    for join in joins:
        join()
    for _again in range(2):
        streams.write("docker", docker_event("web") + "\n")
        seen.append(next(listener)[1])
    assert sorted(seen[:2]) == ["docker", "podman"]
    assert seen[2:] == ["ready", "web", "web"]
    listener.close()


def test_closing_ends_the_processes(streams):
    streams.install("docker")
    listener = engines.started(["docker"])
    join = streams.opened("docker")
    next(listener)
    join()
    pid = streams.pid("docker")
    assert stat.S_ISDIR(os.stat(f"/proc/{pid}").st_mode)
    listener.close()
    assert not os.path.exists(f"/proc/{pid}")


def test_an_exception_while_it_waits_ends_the_processes(streams, monkeypatch):
    streams.install("docker")
    listener = engines.started(["docker"])
    join = streams.opened("docker")
    next(listener)
    join()
    pid = streams.pid("docker")

    def interrupt(_streams: Any) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "_pause", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(listener)
    assert not os.path.exists(f"/proc/{pid}")


def test_podman_that_stands_in_for_docker_is_listened_to_once(streams):
    streams.install("podman")
    (streams.host.directory / "bin" / "docker").symlink_to(streams.host.directory / "bin" / "podman")
    seen: list[Any] = []
    listener = engines.started(ready=lambda: seen.append("ready"))
    join = streams.opened("podman")
    assert next(listener) == ("podman", None, None)
    join()
    streams.write("podman", podman_event("web") + "\n")
    assert next(listener) == ("podman", "web", OTHER_ID)
    assert len(streams.host.calls("podman")) == 1
    listener.close()
