"""The lab keeps its promises. Runs on the real machine, as root: the lab is what is under test here."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

RUN = str(Path(__file__).with_name("run"))
# What the native way needs is narrowed to what every kernel has, so that it is tested beside User-Mode Linux.
WAYS = {
    "native": {"LAB_WAY": "native", "LAB_DRIVERS": "veth bridge macvlan"},
    "uml": {"LAB_WAY": "uml"},
}


class Lab:
    """Starts the lab, with a token in the environment by which all that it leaves behind is found."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.token = f"lab-test-{uuid.uuid4()}"
        self.environment = {**os.environ, **settings, "LAB_TEST_TOKEN": self.token}

    def start(self, *command: str, cwd: Path | None = None, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [RUN, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**self.environment, **environment},
        )

    def run(self, *command: str, **settings) -> subprocess.CompletedProcess:
        process = self.start(*command, **settings)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.terminate()
        return subprocess.CompletedProcess(command, process.returncode, out.decode(), err.decode())

    def left_behind(self) -> list[str]:
        processes = [path for path in Path("/proc").glob("[0-9]*/environ") if self.token in text(path)]
        places = [Path("/dev/shm"), Path("/tmp"), Path("/var/tmp")]
        jobs = [path for place in places for path in place.glob("netops-lab.*/job") if self.token in text(path)]
        mounts = [line for line in text(Path("/proc/mounts")).splitlines() if "netops-lab." in line]
        return [str(found) for found in (*processes, *jobs, *mounts)]


def text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""  # a process that ended meanwhile


@pytest.fixture(params=WAYS)
def lab(request):
    if request.param == "uml" and not shutil.which("linux.uml"):
        pytest.skip("User-Mode Linux is not installed: this machine's own kernel has the drivers")
    lab = Lab(WAYS[request.param])
    yield lab
    assert lab.left_behind() == []


@pytest.fixture
def chosen():
    """The lab in the way that it chooses by itself, with every driver."""
    lab = Lab({})
    yield lab
    assert lab.left_behind() == []


def test_a_command_runs_as_if_it_ran_here(lab, tmp_path):
    script = (
        "import json, os, sys\n"
        "print(json.dumps([sys.argv[1:], os.getcwd(), os.environ['ODD'], os.environ['PATH'].split(':'),"
        " sys.stdin.read(), [os.isatty(fd) for fd in (0, 1, 2)]]))\n"
        "sys.stderr.write('to stderr\\n')\n"
        "sys.exit(7)\n"
    )
    arguments = ["a b", "", "it's", '"', "new\nline", "*", "$HOME", "--", "-h", "ünï", "back\\slash"]
    directory = tmp_path / "with space"
    directory.mkdir()
    odd = "two words\n'and' a \"line\" = $x"
    result = lab.run("--", sys.executable, "-c", script, *arguments, cwd=directory, ODD=odd)
    got_arguments, got_directory, got_odd, path, stdin, terminals = json.loads(result.stdout)
    assert got_arguments == arguments
    assert got_directory == str(directory)
    assert got_odd == odd
    assert {"/usr/sbin", "/sbin"} <= set(path)
    assert stdin == ""
    assert terminals == [False, False, False]
    assert result.stderr == "to stderr\n"
    assert result.returncode == 7


def test_a_signal_that_ends_the_command_shows_as_in_a_shell(lab):
    assert lab.run("sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL


def test_output_comes_as_it_is_made(lab):
    process = lab.start("sh", "-c", "echo one; sleep 2; echo two")
    assert process.stdout.readline() == b"one\n"
    first = time.monotonic()
    assert process.stdout.readline() == b"two\n"
    assert time.monotonic() - first > 1.5
    process.communicate(timeout=60)


def test_much_output_comes_whole(lab):
    script = "import os; data = os.urandom(1 << 20); [os.write(1, data) for _ in range(8)]; os.write(2, data)"
    process = lab.start(sys.executable, "-c", script)
    out, err = process.communicate(timeout=60)
    assert len(err) == 1 << 20
    assert hashlib.sha256(out).digest() == hashlib.sha256(err * 8).digest()


def test_what_the_command_leaves_running_ends_with_it(lab):
    result = lab.run("sh", "-c", "sleep 600 & setsid sleep 600 & echo done")
    assert (result.returncode, result.stdout) == (0, "done\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_it(lab, number):
    # sigwait, and not sleep and KeyboardInterrupt: Python misses a signal that comes just before it falls asleep.
    script = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        "print('started', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\n"
        "print('interrupted', flush=True)\n"
    )
    process = lab.start(sys.executable, "-c", script)
    assert process.stdout.readline() == b"started\n"
    process.send_signal(number)
    out, _errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    # Ctrl-C reaches the command, which can tidy up and speak; the others end all at once.
    assert out == (b"interrupted\n" if number == signal.SIGINT else b"")


def test_ctrl_c_ends_a_command_that_ignores_it(lab):
    process = lab.start("sh", "-c", "trap '' INT; echo started; sleep 600")
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT


def test_killing_the_wrapper_ends_the_rest(lab):
    process = lab.start("sh", "-c", "echo started; sleep 600")
    assert process.stdout.readline() == b"started\n"
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while (left := lab.left_behind()) and not all(name.endswith("/job") for name in left):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    for job in left:  # what nothing can do after SIGKILL is to remove a directory
        shutil.rmtree(Path(job).parent)


def test_writes_stay_inside_except_in_shares(lab, tmp_path):
    shared, private = tmp_path / "shared dir", tmp_path / "private"
    shared.mkdir()
    private.mkdir()
    (private / "old").write_text("old")
    etc = Path(f"/etc/{lab.token}")
    script = 'set -e; echo x >"$1"; echo x >"$2/new"; echo x >"$2/old"; mv "$2" "$2-moved"; echo x >"$3/new"; cat "$1"'
    arguments = [str(etc), str(private), str(shared)]
    result = lab.run("sh", "-c", script, "sh", *arguments, LAB_SHARE=f"/usr/share:{shared}")
    assert (result.returncode, result.stdout) == (0, "x\n"), result.stderr
    assert not etc.exists()
    assert {path.name: path.read_text() for path in private.iterdir()} == {"old": "old"}
    assert (shared / "new").read_text() == "x\n"


def test_the_world_inside(lab):
    script = r"""
set -eu
ip link add name left type veth peer name right
ip netns add one && ip netns add two
ip link add link left name child netns one type macvlan mode bridge
ip link add link left name child netns two type macvlan mode bridge
ip link set left up && ip link set right up
ip -n one addr add 10.9.0.1/24 dev child && ip -n one link set child up
ip -n two addr add 10.9.0.2/24 dev child && ip -n two link set child up
ip netns exec one ping -c 1 -W 5 10.9.0.2 >/dev/null && echo ping
ip netns exec one ls /sys/class/net
ping -c 1 -W 5 127.0.0.1 >/dev/null && echo loopback
ls /sys/class/net /run/netns
hostname
[ -w /dev/shm ] && [ -c /dev/ptmx ] && echo dev
"$1" -c 'import sqlite3
store = sqlite3.connect("/run/store.db")
print(*store.execute("pragma journal_mode=wal").fetchone())
store.execute("create table t (a)")
store.commit()'
"""
    result = lab.run("sh", "-c", script, "sh", sys.executable)
    assert result.returncode == 0, result.stderr
    words = "ping child lo loopback /run/netns: one two /sys/class/net: left lo right lab dev wal"
    assert " ".join(result.stdout.split()) == words


def test_every_kind_of_link_can_be_made(chosen):
    script = r"""
set -e
ip link add name eth0 type veth peer name switch
ip link add link eth0 name eth0.20 type vlan id 20
ip link add link eth0.20 name child type macvlan mode bridge
ip link add link eth0 name child2 type ipvlan mode l3s private
ip link add name parent type dummy
ip link add name tor type bridge
ip -d -j link
"""
    result = chosen.run("sh", "-c", script)
    assert result.returncode == 0, result.stderr
    kinds = {link["ifname"]: link.get("linkinfo", {}).get("info_kind") for link in json.loads(result.stdout)}
    assert {name: kind for name, kind in kinds.items() if kind} == {
        "eth0": "veth", "switch": "veth", "eth0.20": "vlan", "child": "macvlan", "child2": "ipvlan",
        "parent": "dummy", "tor": "bridge",
    }  # fmt: skip


def test_no_program_is_started_for_each_link(chosen):
    """What the guest's kernel starts by itself would count for whatever runs then."""
    result = chosen.run("sh", "-c", "cat /proc/sys/kernel/hotplug /sys/kernel/uevent_helper 2>/dev/null")
    assert result.stdout.split() == []


def test_time_to_the_first_command(lab, capsys):
    started = time.monotonic()
    lab.run("true")
    with capsys.disabled():
        print(f" [{time.monotonic() - started:.1f} s there and back]", end="")


def test_a_shell_on_a_terminal(lab):
    process, terminal = pty.fork()
    if process == 0:
        os.execve(RUN, [RUN], {**lab.environment, "SHELL": "/bin/sh", "PS1": "lab> "})
    seen = b""

    def until(wanted: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 30
        while wanted not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.2)[0]:
                seen += os.read(terminal, 4096)

    until(b"lab> ")
    os.write(terminal, b"test -t 0 && echo terminal-$((6 * 7))\n")
    until(b"terminal-42")
    os.write(terminal, b"sleep 600\n")
    time.sleep(0.5)
    os.write(terminal, b"\x03")
    os.write(terminal, b"echo back-$((6 * 7)); exit 5\n")
    until(b"back-42")
    while True:  # to the end: the terminal is not to be full
        try:
            if not os.read(terminal, 4096):
                break
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 5


def test_a_guest_that_dies_is_an_error():
    if not shutil.which("linux.uml"):
        pytest.skip("User-Mode Linux is not installed")
    lab = Lab(WAYS["uml"])
    result = lab.run("sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60")
    assert result.returncode == 1
    assert "Kernel panic" in result.stderr
    assert "the guest ended before the command did" in result.stderr
    assert lab.left_behind() == []


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        ({"PATH": "/usr/sbin"}, 69, "User-Mode Linux: no linux.uml"),
        ({"PATH": "/usr/sbin"}, 69, "apt-get install user-mode-linux"),
        ({"LAB_WAY": "native", "LAB_DRIVERS": "veth nosuchkind"}, 69, "cannot make these links: nosuchkind."),
        ({"LAB_WAY": "qemu"}, 69, "LAB_WAY is 'qemu'"),
        ({"LAB_MEM": "much"}, 1, "LAB_MEM is 'much'"),
        ({"LAB_SHARE": "/nowhere"}, 1, "/nowhere is not a directory"),
    ],
)
def test_what_is_missing_is_said(settings, code, message):
    lab = Lab({"LAB_DRIVERS": "nosuchkind", **settings})
    result = lab.run("/bin/true")
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert lab.left_behind() == []


def test_a_command_that_does_not_exist():
    result = Lab({}).run("no-such-command")
    assert result.returncode == 127
    assert "no-such-command: command not found" in result.stderr


def test_no_command_without_a_terminal():
    result = Lab({}).run()
    assert result.returncode == 64
    assert "tests/lab/run [--] COMMAND" in result.stderr
