# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts endpoints back as the store has them, without Ansible: what the service on the host runs (see install.py).

Goes the same road as the modules, from the rows of the store instead of parameters.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

from ansible_collections.netops.underlay.plugins.module_utils import engines, netlink, observe, plan_endpoints, store
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError
from ansible_collections.netops.underlay.plugins.module_utils.model import Action, Endpoint
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.store import Store

DEFAULT_STATE_DIR = "/var/lib/netops-underlay"
# A start of a container is followed by another look only if its engine says so: nobody waits for the lock but us.
_LOCK_TIMEOUT_S = 60.0

Say = Callable[[str], None]


def containers(state_dir: str, say: Say, engine: str | None = None, name: str | None = None) -> None:
    """Puts the endpoints of running containers back: of all, of those of an engine, or of one container.

    What cannot be put back does not keep the others from it; ``say`` hears what was done and what was not.
    """

    def concerned(row: Endpoint) -> bool:
        target = row.target
        return target.kind == "container" and engine in (None, target.engine) and name in (None, target.value)

    # Most containers that start are none of ours: for those nothing is locked, and no engine asked.
    with store.reading(state_dir) as kept:
        if not any(map(concerned, kept.endpoints().values())):
            return
    with store.writing(state_dir, _LOCK_TIMEOUT_S) as kept:
        specs = plan_endpoints.as_specs(row for row in kept.endpoints().values() if concerned(row))
        if not _put_back(kept, specs, say) and len(specs) > 1:
            for spec in specs:
                _put_back(kept, [spec], say)


def _put_back(kept: Store, specs: Sequence[EndpointSpec], say: Say) -> bool:
    """Brings endpoints to what their rows say; whether that could be planned for all of them."""
    seen = observe.for_endpoints(kept, specs)
    there = [spec for spec in specs if spec.target is not None and seen.space_of(spec.target) is not None]
    try:
        plan, _outcomes = plan_endpoints.plan(seen, there)
        apply(plan, kept, seen.host.boot_id, seen.spaces)
    except UnderlayError as error:
        if len(specs) == 1:
            say(str(error))
        return False
    for action in plan.actions:
        say(_words(action))
    return True


def _words(action: Action) -> str:
    changes = ", ".join(f"{field}: {change['before']} -> {change['after']}" for field, change in action.changes.items())
    return f"{action.action} {action.kind} {action.name}" + (f" ({changes})" if changes else "")


def watch(state_dir: str, say: Say, ready: Callable[[], None] | None = None) -> NoReturn:
    """Puts the endpoints of each container back as soon as it starts, for ever."""
    for engine, name, _identity in engines.started(ready=ready, trouble=say):
        try:
            containers(state_dir, say, engine, name)
        except UnderlayError as error:
            say(f"{name or engine}: {error}")
    raise AssertionError("the events of engines have no end")


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)  # so that what is begun is closed


def main(arguments: Iterable[str]) -> int:
    """The command ``netops-underlay``."""
    parser = argparse.ArgumentParser("netops-underlay", description="Puts endpoints on VLANs back.")
    parser.add_argument("--state-dir", default=DEFAULT_STATE_DIR, help="where their store is (%(default)s)")
    parser.add_argument(
        "what", choices=["containers", "watch"], help="those of all running containers; of each that starts"
    )
    options = parser.parse_args(list(arguments))

    def say(text: str) -> None:
        sys.stderr.writelines([text, "\n"])
        sys.stderr.flush()

    signal.signal(signal.SIGTERM, _stop)
    try:
        netlink.require()
        if options.what == "watch":
            watch(options.state_dir, say, ready=lambda: say("listening to the container engines"))
        containers(options.state_dir, say)
    except UnderlayError as error:
        say(str(error))
        return 1
    return 0
