"""Run a command on a kernel that has the link drivers which this collection is about.

    tests/lab/run [--] COMMAND [ARG...]
    tests/lab/run                           a shell in the lab, on a terminal

The lab has a network of its own: in fresh namespaces on this kernel where it has every driver ("native"),
else in a User-Mode Linux guest ("uml"). In both the command sees this machine's files through an overlay in
memory: what it writes is gone when it ends. Exit codes, arguments, working directory, environment, output
and Ctrl-C pass as if the command ran here. Standard input is /dev/null.

    LAB_SHARE    directories (`:` between them) that are this machine's own, for what must come out or last
    LAB_WAY      `native` or `uml`, instead of the first that works
    LAB_DRIVERS  the link kinds that are needed, instead of "vlan macvlan ipvlan dummy veth bridge"
    LAB_MEM      memory of the guest (512M, 4G), instead of 2G

Exits with the command's code; 127 command not found, 69 no way to run the lab here (it says what is missing).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import tty
from pathlib import Path

DRIVERS = "vlan macvlan ipvlan dummy veth bridge"
UML_MODULES = Path("/usr/lib/uml/modules")
XSTATE_SOURCE = Path(__file__).resolve().with_name("xstate.c")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MEMORY_SIZE = r"[1-9][0-9]*[MG]"
PR_SET_CHILD_SUBREAPER = 36
GRACE = 5  # seconds that a command gets to end by itself after Ctrl-C

# One throwaway namespace, one link of each kind: what /proc and modinfo promise is not what a kernel can do.
PROBE = """
modprobe -qa "$@" 8021q 2>/dev/null
ip link add parent type veth peer name peer 2>/dev/null || ip link add parent type dummy 2>/dev/null
for kind do
    case $kind in
        vlan) set -- link parent name probe type vlan id 20 ;;
        macvlan | ipvlan) set -- link parent name probe type "$kind" ;;
        veth) set -- name probe type veth peer name probe-peer ;;
        *) set -- name probe type "$kind" ;;
    esac
    ip link add "$@" 2>/dev/null && ip link delete probe || echo "$kind"
done
"""


class Ended(Exception):
    """A signal asked the lab to end."""


def main(command: list[str]) -> int:
    if command[:1] == ["--"]:
        command = command[1:]
    interactive = not command and sys.stdin.isatty()
    if command[:1] in (["-h"], ["--help"]) or not (command or interactive):
        print(__doc__.strip(), file=sys.stdout if command else sys.stderr)
        return 0 if command else 64
    # sbin is where ip and modprobe live, and it is not on every user's PATH.
    path = os.environ.get("PATH", os.defpath).split(":")
    os.environ["PATH"] = ":".join(path + [sbin for sbin in ("/usr/sbin", "/sbin") if sbin not in path])
    command = command or [os.environ.get("SHELL") or "/bin/sh"]
    if not shutil.which(command[0]):
        print(f"tests/lab/run: {command[0]}: command not found", file=sys.stderr)
        return 127
    way, missing = choose_way(os.environ.get("LAB_DRIVERS", DRIVERS).split())
    if not way:
        print("tests/lab/run: the lab cannot run here.", *missing, sep="\n  ", file=sys.stderr)
        return 69

    for number in ENDING:
        signal.signal(number, end)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        # No space in its name: it stands in the guest's kernel command line.
        with tempfile.TemporaryDirectory(prefix="netops-lab.", dir=memory_directory()) as name:
            directory = Path(name)
            write_job(directory, way, command, interactive)
            return (run_in_guest if way == "uml" else run_natively)(directory, interactive)
    except Ended as ended:
        return 128 + ended.args[0]
    except BrokenPipeError:
        return 128 + signal.SIGPIPE


def end(number: int, _frame: object) -> None:
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)  # a second Ctrl-C must not stop the cleaning up
    raise Ended(number)


def choose_way(drivers: list[str]) -> tuple[str | None, list[str]]:
    """The way to run the lab (`native`, `uml`, None) and, where there is none, why not."""
    if os.geteuid() != 0:
        return None, ["It needs root (namespaces, links, mounts)."]
    wanted = os.environ.get("LAB_WAY")
    missing = []
    for way, lacks in (("native", native_lacks), ("uml", uml_lacks)):
        if wanted in (None, "", way):
            lack = lacks(drivers)
            if not lack:
                return way, []
            missing.append(lack)
    return None, missing or [f"LAB_WAY is '{wanted}'; it can be 'native' or 'uml'."]


def native_lacks(drivers: list[str]) -> str:
    tools = [tool for tool in ("ip", "unshare", "setpriv", "pivot_root") if not shutil.which(tool)]
    if tools:
        return f"Natively: no {', '.join(tools)} (packages iproute2, util-linux)."
    probe = subprocess.run(
        ["unshare", "--net", "sh", "-c", PROBE, "sh", *drivers], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        return f"Natively: no new network namespace can be made ({probe.stderr.strip()})."
    if probe.stdout:
        kinds = ", ".join(probe.stdout.split())
        return f"Natively: kernel {platform.release()} cannot make these links: {kinds}."
    return ""


def uml_lacks(_drivers: list[str]) -> str:
    tools = [tool for tool in ("linux.uml", "modprobe", "ip", "unshare", "setpriv") if not shutil.which(tool)]
    if not UML_MODULES.is_dir():
        tools.append(str(UML_MODULES))
    if tools:
        return (
            f"User-Mode Linux: no {', '.join(tools)}. On Debian and Ubuntu:"
            " apt-get install user-mode-linux kmod iproute2 util-linux"
        )
    if has_amx() and not shutil.which("gcc"):
        return (
            "User-Mode Linux: on a processor with AMX it needs gcc. On Debian and Ubuntu: apt-get install gcc libc6-dev"
        )
    return ""


def has_amx() -> bool:
    """Whether this processor has more state than User-Mode Linux knows of, so that it needs xstate.c."""
    return re.search(r"^flags\b.*\bamx_tile\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE) is not None


def guest_environment(directory: Path) -> dict[str, str]:
    environment = {**os.environ, "TMPDIR": str(directory)}
    if has_amx():
        library = directory / "xstate.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(XSTATE_SOURCE)], check=True)
        environment["LD_PRELOAD"] = str(library)
    return environment


def memory_size() -> str:
    size = os.environ.get("LAB_MEM") or "2G"
    if not re.fullmatch(MEMORY_SIZE, size):
        raise SystemExit(f"tests/lab/run: LAB_MEM is '{size}'; it can be such as 512M or 2G")
    return size


def memory_directory() -> str:
    """Where the guest's memory can lie as a file: in memory if there is room and it may be executed."""
    size = memory_size()
    need = int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]
    for name in ("/dev/shm", "/tmp"):
        if os.path.isdir(name):
            stat = os.statvfs(name)
            if stat.f_bavail * stat.f_frsize >= need and not stat.f_flag & os.ST_NOEXEC:
                return name
    return "/var/tmp"


def write_job(directory: Path, way: str, command: list[str], interactive: bool) -> None:
    """What tests/lab/init reads: a few variables, and the command with its place and environment."""
    shares = [os.path.realpath(share) for share in os.environ.get("LAB_SHARE", "").split(":") if share]
    for share in shares:
        if not os.path.isdir(share):
            raise SystemExit(f"tests/lab/run: LAB_SHARE: {share} is not a directory")
    size = shutil.get_terminal_size()
    environment = [f"{name}={value}" for name, value in os.environ.items()]
    job = [
        f"way={way}",
        f"interactive={'yes' if interactive else ''}",
        # Programs colour their output for a terminal: the guest's pipes are terminals exactly where ours are.
        f"terminals='{' '.join(str(fd) for fd in (1, 2) if os.isatty(fd))}'",
        f"rows={size.lines} columns={size.columns}",
        f"shares=({shlex.join(shares)})",
        "run_command() {",
        f"  cd {shlex.quote(os.getcwd())} && exec env -i {shlex.join(environment)} \\",
        # Through sh, since env takes a command with `=` in it for a variable.
        f"    sh -c 'exec \"$@\"' sh {shlex.join(command)}",
        "}",
    ]
    (directory / "job").write_bytes(os.fsencode("\n".join(job) + "\n"))
    (directory / "top").mkdir()
    # The kernel starts init by a path without spaces, wherever the repository lies.
    (directory / "init").symlink_to(Path(__file__).resolve().with_name("init"))
    # `modprobe -d` looks under lib/modules or usr/lib/modules, as it was built.
    (directory / "usr/lib").mkdir(parents=True)
    (directory / "lib").symlink_to("usr/lib")
    (directory / "usr/lib/modules").symlink_to(UML_MODULES)


def contained(*command: str) -> list[str]:
    """The command in a process namespace that ends with us, however we end."""
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", *command]


def run_natively(directory: Path, interactive: bool) -> int:
    process = subprocess.Popen(
        contained("--net", "--mount", "--uts", "--ipc", "--", str(directory / "init")),
        stdin=None if interactive else subprocess.DEVNULL,
        start_new_session=not interactive,
    )
    if interactive:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the shell, which gets it from the terminal
    try:
        return process.wait()
    except Ended as ended:
        if ended.args[0] == signal.SIGINT:
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        raise
    finally:
        kill(process)


def run_in_guest(directory: Path, interactive: bool) -> int:
    """Boot a guest whose consoles are our pipes; carry bytes until init says how the command ended."""
    keyboard, keys = os.pipe()
    pipes = [os.pipe() for _pipe in range(3)]
    (out, out_end), (err, err_end), (status, status_end) = pipes
    saved = termios.tcgetattr(0) if interactive else None
    with open(directory / "boot.log", "wb") as log:
        guest = subprocess.Popen(
            contained(
                # Under a shell: a panic ends in SIGABRT, which the first process of a namespace never gets.
                "--", "sh", "-c", '"$@"; :', "sh",
                "linux.uml", f"mem={memory_size()}", f"uml_dir={directory}", "umid=lab",
                "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={directory}/init",
                # 0.9 s of measuring how fast the guest could do RAID 6.
                "initcall_blacklist=raid6_select_algo,calibrate_xor_blocks",
                "devtmpfs.mount=0", "panic=-1", "con=null", "con0=null,fd:1",
                f"con1={f'fd:{keyboard}' if interactive else 'null'},fd:{out_end}", f"con2=null,fd:{err_end}",
                f"con3={'null' if interactive else f'fd:{keyboard}'},fd:{status_end}",
            ),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            pass_fds=(keyboard, out_end, err_end, status_end), env=guest_environment(directory),
        )  # fmt: skip
    for fd in (keyboard, out_end, err_end, status_end):
        os.close(fd)
    targets = {out: 1, err: 2, **({0: keys} if interactive else {})}
    try:
        if interactive:
            tty.setraw(0)
        try:
            code = carry(targets, status)
        except Ended as ended:
            if ended.args[0] == signal.SIGINT:
                os.write(keys, b"\x03")
                carry(targets, status, GRACE)
            raise
        if code is None:
            sys.stderr.write((directory / "boot.log").read_text(errors="replace")[-4000:])
            raise SystemExit("tests/lab/run: the guest ended before the command did; see above")
        return code
    finally:
        kill(guest)
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def carry(targets: dict[int, int], status: int, seconds: float | None = None) -> int | None:
    """Copy each source to its target until the exit code comes; None if the guest or the time ends first."""
    limit = time.monotonic() + seconds if seconds else None
    said = b""
    with selectors.DefaultSelector() as selector:
        for source in (*targets, status):
            selector.register(source, selectors.EVENT_READ)
        while not limit or time.monotonic() < limit:
            # The code comes after the last output was handed over: empty the pipes, and end.
            ended = said.endswith(b"\n")
            ready = [key.fd for key, _events in selector.select(0 if ended else 0.5)]
            if ended and not set(ready) - {status, 0}:
                return int(said)
            for source in ready:
                data = os.read(source, 65536)
                if not data:
                    selector.unregister(source)
                    if source == status:
                        return None
                elif source == status:
                    said += data
                else:
                    write_all(targets[source], data)
    return None


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def kill(process: subprocess.Popen) -> None:
    """End a contained process, and return when the last process in it is gone."""
    process.kill()
    process.wait()
    with contextlib.suppress(ChildProcessError):
        os.wait()  # the first process of its process namespace, ours since PR_SET_CHILD_SUBREAPER


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
