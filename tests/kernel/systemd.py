# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real systemd for the kernel tests, with next to nothing to start, in a process namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .engines import mount_cgroups

LIMIT = 120
Run = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def booted(place: Path) -> Iterator[Run]:
    """Starts it, and what it is to start; gives a function that runs a command on that system. Its namespaces are seen from
    outside, too, where /run/netns is one mount for all before."""
    mount_cgroups()
    # Without the units of the machine, which would mount and clean folders that are in use here.
    units = place / "units"
    units.mkdir()
    for name in ("sysinit", "basic", "shutdown", "network", "multi-user"):
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nAllowIsolate=yes\n")
    path = os.pathsep.join((os.path.dirname(sys.executable), os.environ["PATH"]))
    first = ("/lib/systemd/systemd", "--system", "--unit=multi-user.target", "--log-target=console", "--show-status=no")
    with (place / "systemd").open("w+") as log:
        unshare = subprocess.Popen(
            ("unshare", "--pid", "--fork", "--mount-proc", "--propagation", "unchanged", "env", "-i", "container=lab",
             "LANG=C.UTF-8", f"PATH={path}", f"SYSTEMD_UNIT_PATH=/etc/systemd/system:{units}", *first),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            pid = until(lambda: _child(unshare.pid))

            def run(*words: str, check: bool = True, **options: str) -> subprocess.CompletedProcess[str]:
                done = subprocess.run(
                    ("nsenter", "-t", pid, "-p", "-m", *words),
                    capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, env={**os.environ, **options},
                )  # fmt: skip
                assert not check or done.returncode == 0, f"{words}: {done.stdout}\n{done.stderr}\n{log.read()}"
                return done

            until(lambda: run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded"))
            yield run
        finally:
            subprocess.run(("pkill", "-KILL", "-P", str(unshare.pid)), check=False)
            unshare.wait()


def _child(pid: int) -> str:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()


def until(found: Callable[[], object]) -> str:
    """What it returns as soon as that is something."""
    end = time.monotonic() + LIMIT
    while not (value := found()):
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.1)
    return str(value)
