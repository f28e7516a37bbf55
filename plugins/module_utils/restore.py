# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Puts networks and endpoints back as the store has them, without Ansible: what the service on the host runs (see
install.py), at boot, when a parent is there again, and when a container starts.

Goes the same road as the modules, from the rows of the store instead of parameters.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any, NoReturn, Optional

from ansible_collections.netops.underlay.plugins.module_utils import (
    conflicts,
    engines,
    netlink,
    observe,
    plan_endpoints,
    plan_networks,
    store,
)
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import (
    OtherVersion,
    Refused,
    UnderlayError,
    Unfinished,
)
from ansible_collections.netops.underlay.plugins.module_utils.model import Action, Endpoint, Network, Outcome
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec, NetworkSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import Plan, StoreStep
from ansible_collections.netops.underlay.plugins.module_utils.store import Store

DEFAULT_STATE_DIR = "/var/lib/netops-underlay"
# When the links have been quiet for so long it is looked what their changes mean; at the latest after the second.
_QUIET_S, _LONGEST_BURST_S = 0.3, 10.0
_CALM, _LONGEST_QUIET_S = 10, 10.0  # so often within a minute it is still calm
_TOLD_SINGLY = 50  # of what is done; more is counted
_EX_CONFIG = 78  # sysexits.h; the unit has it, too: to be started again would not help

Say = Callable[[str], None]
# What each network hangs on: the number of its parent, and of the link that we made this on; None where it is not there.
Ground = Mapping[str, tuple[Optional[int], Optional[int]]]


# --- networks and their endpoints -----------------------------------------------------------------------------


def put_back(state_dir: str, say: Say, only: Collection[str] | None = None, with_containers: bool = True) -> Ground:
    """Brings networks (all, or ``only`` some) and their endpoints to what the store says; what the networks hung on before.

    What is not there yet, and what cannot be put back, does not keep the others from it; ``say`` hears of it, and of what
    was done.

    :param with_containers: also their endpoints, for which the engines are asked
    """
    with store.reading(state_dir) as kept:
        if not kept.networks() and not kept.endpoints():
            return {}
    with _alone(state_dir, say) as kept:
        seen = observe.everything(kept)
        chosen = [row for row in seen.networks.values() if only is None or row.name in only]
        ready = []
        for row in chosen:
            missing = plan_networks.awaited(seen, row)
            if missing:
                say(f"network '{row.name}' waits for the link '{missing}', which is not there")
            else:
                ready.append(row)
        pass_ = _Pass(kept, say, tell_waiting=only is None)
        names = {spec.name for spec in pass_.in_halves(plan_networks.as_specs(ready), pass_.networks)}
        # The endpoints of the network without links are in none that is kept.
        rows = [
            row
            for row in seen.endpoints.values()
            if row.network in names or (only is None and row.network not in seen.networks)
        ]
        # Those of containers last: an engine that does not answer keeps the others from nothing.
        for some in (
            [row for row in rows if row.target.kind != "container"],
            [row for row in rows if row.target.kind == "container" and with_containers],
        ):
            pass_.in_halves(plan_endpoints.as_specs(some), pass_.endpoints)
        pass_.close()
    return ground(seen)


def ground(seen: Observed) -> Ground:
    """What each network hangs on."""
    numbers = {name: link.index for name, link in seen.host.links.items()}
    return {row.name: (numbers.get(row.parent), numbers.get(_base(seen, row.parent))) for row in seen.networks.values()}


def shaken(seen: Observed, before: Ground, gone: Collection[str] | None) -> set[str]:
    """The networks that hang on something else than before; one that was not there before is somebody else's work.

    :param gone: links that went meanwhile, and may be there again under the same number; None: nobody knows which
    """
    if gone is None:
        return set(seen.networks)
    lost = {row.name for row in seen.networks.values() if {row.parent, _base(seen, row.parent)} & set(gone)}
    return lost | {name for name, place in ground(seen).items() if before.get(name, place) != place}


def _base(seen: Observed, parent: str) -> str:
    made = seen.parents.get(parent)
    return (made.base if made else None) or ""


def _alone(state_dir: str, say: Say) -> AbstractContextManager[Store]:
    """The store for changing things; another run that has it is waited for, however long it takes: what the service gave up
    would be put back by nobody."""
    return store.writing(
        state_dir,
        math.inf,
        waiting=lambda holder: say(f"waiting for {holder}, which is at work on the networks of this host"),
    )


class _Pass:
    """One look and what follows from it, with the store open."""

    def __init__(self, kept: Store, say: Say, tell_waiting: bool = False) -> None:
        self._kept = kept
        self._say = say
        self._tell_waiting = tell_waiting
        self._children: Any = None
        self._changed: list[StoreStep] = []
        self._endpoints_follow = True

    def in_halves(self, specs: Sequence[Any], attempt: Callable[[Sequence[Any]], None]) -> list[Any]:
        """Attempts all at once; where one is refused, each half alone, down to that one. Those that were not refused."""
        if not specs:
            return []
        try:
            attempt(specs)
        except Unfinished as error:  # what could be done is done
            self._endpoints_follow &= attempt != self.endpoints
            self._say(str(error))
        except Refused as error:
            if len(specs) == 1:
                self._endpoints_follow &= attempt != self.endpoints
                self._say(str(error))
                return []
            middle = len(specs) // 2
            return [*self.in_halves(specs[:middle], attempt), *self.in_halves(specs[middle:], attempt)]
        return list(specs)

    def networks(self, specs: Sequence[NetworkSpec]) -> None:
        """Brings the parents of networks to what they should be."""
        seen = observe.for_networks(self._kept, specs, purge=False)
        self._children = seen.children
        plan = plan_networks.plan(seen, specs).plan
        # A network is marked as being changed until its endpoints have followed.
        changed = [step for step in plan.after if isinstance(step.row, Network)]
        plan = replace(plan, after=tuple(step for step in plan.after if step not in changed))
        apply(plan, self._kept, seen.host.boot_id)
        self._changed += changed
        self._tell(plan.actions)

    def endpoints(self, specs: Sequence[EndpointSpec]) -> None:
        """Brings endpoints to what they should be, wherever their targets still lead."""
        base = replace(observe.everything(self._kept, addresses=True), children=self._children)
        seen = observe.for_endpoints(self._kept, specs, base=base)
        there = [spec for spec in specs if plan_endpoints.leads_on(seen, seen.endpoints[spec.key])]
        plan, outcomes = plan_endpoints.plan(seen, there)
        places = conflicts.to_ask(seen, outcomes, there)
        taken = conflicts.taken(seen, places)
        if taken:
            free = [spec for spec in there if not self._conflict(seen, spec, outcomes[spec.key], taken)]
            plan, _outcomes = plan_endpoints.plan(seen, free)
            self._endpoints_follow = False
        for words in conflicts.unasked(seen, places):
            self._say(words)
        apply(plan, self._kept, seen.host.boot_id, seen.spaces)
        self._tell(plan.actions)
        for spec in specs:
            if self._tell_waiting and spec not in there:
                self._say(f"{spec.item} waits for {spec.target}, which is not there; its address is held")

    def close(self) -> None:
        """Takes the mark from networks whose endpoints have followed; of others the next run finds it."""
        if self._changed and self._endpoints_follow:
            apply(Plan(after=tuple(self._changed)), self._kept, "")

    def _conflict(self, seen: Observed, spec: EndpointSpec, outcome: Outcome, taken: Mapping[Any, str]) -> bool:
        """Whether another station has an address of an endpoint by now. Two that use it would both be cut off, now and then;
        so the one that came first keeps it."""
        parent = seen.networks[spec.network].parent if spec.network in seen.networks else ""
        for row in outcome.addresses.values():
            mac = taken.get((parent, row.address))
            if mac:
                self._say(
                    f"{spec.item} is not put back: {mac} on {parent} has {row.address}, which stays held for it; free it "
                    "there, then run the task or `netops-underlay restore`"
                )
                return True
        return False

    def _tell(self, actions: Sequence[Action]) -> None:
        if len(actions) <= _TOLD_SINGLY:
            for action in actions:
                self._say(_words(action))
        else:
            for (verb, kind), count in sorted(Counter((item.action, item.kind) for item in actions).items()):
                self._say(f"{verb} {kind}: {count}")


def _words(action: Action) -> str:
    changes = ", ".join(f"{field}: {change['before']} -> {change['after']}" for field, change in action.changes.items())
    return f"{action.action} {action.kind} {action.name}" + (f" ({changes})" if changes else "")


# --- containers -----------------------------------------------------------------------------------------------


def containers(state_dir: str, say: Say, engine: str | None = None, name: str | None = None) -> None:
    """Puts the endpoints of running containers back: of all, of those of an engine, or of one container."""

    def concerned(row: Endpoint) -> bool:
        target = row.target
        return target.kind == "container" and engine in (None, target.engine) and name in (None, target.value)

    # Most containers that start are none of ours: for those nothing is locked, and no engine asked.
    with store.reading(state_dir) as kept:
        if not any(map(concerned, kept.endpoints().values())):
            return
    with _alone(state_dir, say) as kept:
        pass_ = _Pass(kept, say)
        rows = [row for row in kept.endpoints().values() if concerned(row)]
        pass_.in_halves(plan_endpoints.as_specs(rows), pass_.endpoints)


# --- the service ----------------------------------------------------------------------------------------------


def watch(state_dir: str, say: Say, ready: Callable[[], None]) -> NoReturn:
    """Puts everything back, then what hangs on a link as soon as that is there again, and what is of a container as soon
    as it starts, for ever. ``ready`` is called after the first."""
    before: Ground | None = None  # until everything was looked at once
    lately: list[float] = []  # when something was put back
    last = ""

    def complain(text: str) -> None:
        nonlocal last
        if text != last:  # links of others come and go all the time
            say(text)
        last = text

    with netlink.LinkEvents() as events:  # from before the first look, so that nothing is missed after it
        with _told(complain):
            before = put_back(state_dir, say, with_containers=False)
        ready()
        for engine, name, _identity in engines.started(trouble=say, beside=events.fileno()):
            with _told(complain):
                if engine is not None:
                    containers(state_dir, say, engine, name)
                    continue
                now = time.monotonic()
                lately = [moment for moment in lately if moment > now - 60]
                gone = events.gone(patience(len(lately)), _LONGEST_BURST_S)
                if before is None:
                    before = put_back(state_dir, say)
                    continue
                with store.reading(state_dir) as kept:
                    seen = observe.everything(kept)
                networks = shaken(seen, before, gone)
                # What is put back was looked at once more; of the others a change meanwhile is still to be heard of.
                later = put_back(state_dir, say, networks) if networks else {}
                lately += [now] if networks else []
                before = {
                    name: later.get(name, place) if name in networks else place for name, place in ground(seen).items()
                }
                last = ""
    raise AssertionError("the events of engines have no end")


def patience(times: int) -> float:
    """Seconds of quiet among the links before it is looked what changed, by how often something was put back within a
    minute: something else on the host may take it away each time."""
    return min(_QUIET_S * 2.0 ** max(0, times - _CALM), _LONGEST_QUIET_S)


@contextmanager
def _told(say: Say) -> Iterator[None]:
    """What goes wrong is said, and does not end the service."""
    try:
        yield
    except OtherVersion as error:
        say(f"{error}. Nothing is put back: run the role or vlan_service again, which brings this service up to date")
    except UnderlayError as error:
        say(str(error))


def _tell_systemd(text: str) -> None:
    """What sd_notify(3) does."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.sendto(text.encode(), "\0" + address[1:] if address[0] == "@" else address)


def _stop(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)  # so that what is begun is closed


def main(arguments: Iterable[str]) -> int:
    """The command ``netops-underlay``."""
    parser = argparse.ArgumentParser("netops-underlay", description="Puts networks and endpoints on VLANs back.")
    parser.add_argument("--state-dir", default=DEFAULT_STATE_DIR, help="where their store is (%(default)s)")
    parser.add_argument(
        "what",
        choices=["restore", "watch"],
        help="restore: all of them, once; watch: the same, then again whenever a link that they hang on is there anew or "
        "a container starts",
    )
    options = parser.parse_args(list(arguments))

    def say(text: str) -> None:
        sys.stderr.writelines([text, "\n"])
        sys.stderr.flush()

    def ready() -> None:
        say("all that could be is put back; listening to links and container engines")
        _tell_systemd("READY=1")

    signal.signal(signal.SIGTERM, _stop)
    try:
        netlink.require()
    except UnderlayError as error:
        say(str(error))
        return _EX_CONFIG
    failed: list[str] = []

    def note(text: str) -> None:
        failed.append(text)
        say(text)

    with suppress(KeyboardInterrupt):
        if options.what == "watch":
            watch(options.state_dir, say, ready)
        with _told(note):
            put_back(options.state_dir, say)
        return 1 if failed else 0
    return 128 + signal.SIGINT
