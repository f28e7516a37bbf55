# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Another Python of this host that has pyroute2 and netaddr, where the one that Ansible chose lacks them.

The only file that knows Ansible's respawning. Knows nothing of networks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

# The role's virtual environment is there only where the distribution's packages would not do, so it comes first.
# Enterprise Linux 8 keeps its own Python under the last name.
CANDIDATES = ("/opt/netops-underlay/venv/bin/python", "/usr/bin/python3", "/usr/libexec/platform-python")

# Only looked for, not imported: importing takes longer than all the rest. What is broken there, the module will say.
_PROBE = """
import sys
from importlib.util import find_spec
sys.exit(sys.version_info < (3, 9) or not (find_spec("pyroute2") and find_spec("netaddr")))
"""


def moved() -> bool:
    """Whether this is the second start, under the Python that was found."""
    # As Ansible's has_respawned has it; to import that takes longer than a small run.
    return hasattr(sys.modules["__main__"], "_respawned")


def move() -> None:
    """Runs the module anew under another Python that has the libraries, and ends this process with it. Returns where
    there is none."""
    python = None if moved() else find()
    if python is not None:
        _respawn(python)


def find() -> str | None:
    return next((python for python in CANDIDATES if python != sys.executable and _has_libraries(python)), None)


def _has_libraries(python: str) -> bool:
    with suppress(OSError):
        done = subprocess.run([python, "-c", _PROBE], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode == 0
    return False


def _respawn(python: str) -> None:
    """Ansible's ``respawn_module`` writes all parameters into a pipe before anybody reads from it. A pipe holds 64 KiB,
    so with a long list it would wait for ever (ansible-core 2.17 to 2.21). A file in memory holds any list."""
    from ansible.module_utils.common.respawn import respawn_module

    pipe = os.pipe

    def in_memory() -> tuple[int, int]:
        os.pipe = pipe  # the first only
        writer = os.memfd_create("parameters")
        return os.open(f"/proc/self/fd/{writer}", os.O_RDONLY), writer

    os.pipe = in_memory
    respawn_module(python)
