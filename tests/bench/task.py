"""One task of a playbook in a process of its own, as Ansible runs a module, measured from its parameters to its result.

Ansible's own part (starting Python, sending the code, checking the arguments, printing the result) is left out. Reads a
``Request`` as JSON on standard input and prints a ``Done``; ``done`` does both from another process.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

WORK = {
    "vlan_network": "networks",
    "vlan_endpoint": "endpoints",
}  # the function that does it, which is the list's name as well
LOCK_TIMEOUT = 30  # the modules' default
PLUGINS = "ansible_collections.netops.underlay.plugins"


@dataclass(frozen=True)
class Request:
    """``values`` are the task's own options without the list, ``items`` the list. ``profile``: time by phases; ``record``:
    count what is written to the kernel. Both cost a little, so their times are not for comparing."""

    module: str
    state_dir: str
    items: list[dict[str, Any]]
    values: dict[str, Any] = field(default_factory=dict)
    check: bool = False
    profile: bool = False
    record: bool = False


@dataclass(frozen=True)
class Done:
    """``before`` and ``peak`` are the highest memory use in bytes: with the parameters read in, and with the result told."""

    seconds: float
    before: int
    peak: int
    changed: bool
    writes: dict[str, int]
    phases: dict[str, float]


class Failed(Exception):
    """The module failed."""


def done(request: Request) -> Done:
    """Has a fresh process do it."""
    asked = json.dumps(asdict(request))
    process = subprocess.run([sys.executable, __file__], input=asked, capture_output=True, text=True, check=False)
    if process.returncode:
        raise Failed(f"{request.module}: {process.stderr.strip()[-3000:]}")
    return Done(**json.loads(process.stdout))


class Module:
    """What run.py knows of an AnsibleModule."""

    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params, self.check_mode, self.result = params, check_mode, {}

    def warn(self, text: str) -> None:
        raise Failed(f"a warning: {text}")

    def fail_json(self, **told: Any) -> None:
        raise Failed(f"{told['msg']}\n{told.get('exception', '')}")

    def exit_json(self, **result: Any) -> None:
        self.result = result


def carried_out(request: Request) -> Done:
    """Does it here."""
    module_file = importlib.import_module(f"{PLUGINS}.modules.{request.module}")
    run, road = (
        importlib.import_module(f"{PLUGINS}.module_utils.{name}") for name in ("run", f"run_{WORK[request.module]}")
    )
    work = WORK[request.module]
    options = {**module_file.OPTIONS, work: {"options": module_file.OPTIONS}}
    common = {"purge": False, "purge_all": False, "state_dir": request.state_dir, "lock_timeout": LOCK_TIMEOUT}
    params = {**validated(options, {**request.values, work: request.items}), **common}
    module = Module(params, request.check)
    writes: Counter[str] = Counter()
    if request.record:
        netlink = importlib.import_module(f"{PLUGINS}.module_utils.netlink")
        netlink.recorder = lambda verb, _request: writes.update([verb])
    watch = None
    if request.profile:
        from phases import watched

        watch = watched()
    before = peak_memory()
    start = time.perf_counter()
    run.run(module, lambda module: getattr(road, work)(module, module_file.OPTIONS))
    seconds = time.perf_counter() - start
    phases = watch.ended() if watch else {}
    json.dumps(module.result)
    return Done(seconds, before, peak_memory(), module.result["changed"], dict(writes), phases)


def validated(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as AnsibleModule hands them over: what is not given is None."""
    params = dict.fromkeys(options)
    for name, value in given.items():
        deeper = options[name].get("options")
        params[name] = [validated(deeper, item) for item in value] if deeper and value is not None else value
    return params


def peak_memory() -> int:
    """Not by getrusage: its maximum goes on from the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(carried_out(Request(**json.load(sys.stdin))))))
    except Failed as error:
        sys.exit(str(error))
