# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The road from a module's parameters to its result: spec, observe, plan, apply, result. One function per module.

The module object is passed in; this file knows of it only ``params``, ``check_mode``, ``warn``, ``log``, ``exit_json``
and ``fail_json``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import (  # noqa: F401 - importing comes first # pylint: disable=unused-import
    importing,
    netlink,
    observe,
    pythons,
    spec,
    store,
)
from ansible_collections.netops.underlay.plugins.module_utils.addressing import shown
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import (
    Refused,
    UnderlayError,
    Unfinished,
    similar,
    ways_to_install,
)
from ansible_collections.netops.underlay.plugins.module_utils.steps import Plan
from ansible_collections.netops.underlay.plugins.module_utils.store import Store

DEFAULT_STATE_DIR = "/var/lib/netops-underlay"

# What all managing modules take; the _info modules take ``state_dir`` alone.
STATE_DIR_OPTION = {"state_dir": {"type": "path", "default": DEFAULT_STATE_DIR}}
COMMON_OPTIONS = {**STATE_DIR_OPTION, "lock_timeout": {"type": "int", "default": 30}}

_UNKNOWN_OPTIONS = re.compile(
    r"(?:Unsupported parameters for .*? module: )?(?P<wrong>.*?)\. Supported parameters include: (?P<known>.*)"
)
_ITEMS_TOLD = 10

Result = dict[str, Any]


def run(module: Any, work: Callable[[Any], Result]) -> None:
    """Runs one module; whatever goes wrong becomes an error that a user can act on."""
    # The result is told within it as well, or the collector would begin with all that the run has made.
    with without_collector():
        _run(module, work)


def _run(module: Any, work: Callable[[Any], Result]) -> None:
    told = {"interpreter": sys.executable} if pythons.moved() else {}
    try:
        _check_ground()
        outcome = work(module)
    except Unfinished as error:
        module.fail_json(
            msg=f"{error}\nWhat could be done is done (see 'done'); run the task again when the cause is mended",
            done=list(error.done),
            **told,
        )
    except UnderlayError as error:
        module.fail_json(msg=str(error), **told)
    except Exception as error:  # pylint: disable=broad-except
        module.fail_json(
            msg=f"netops.underlay met something that it does not know how to handle ({type(error).__name__}: {error}); "
            "this is a bug of ours, please report it with the output of -vvv",
            exception=traceback.format_exc(),
            **told,
        )
    else:
        for warning in outcome.pop("warnings", ()):
            module.warn(warning)
        module.exit_json(**outcome, **told)


def with_hints(kind: Any) -> Any:
    """AnsibleModule, or what stands for it, whose errors about the form of a task say which item of a list is meant, and which
    option by one that does not exist."""

    def load_params(self: Any) -> None:
        kind._load_params(self)
        self.as_given = dict(self.params)  # Ansible checks, and changes, a copy

    def fail_json(self: Any, msg: str, **more: Any) -> None:
        checked = getattr(self, "validation_result", None)
        kind.fail_json(self, msg=_hinted(self, msg) if checked and checked.error_messages else msg, **more)

    return type(kind.__name__, (kind,), {"_load_params": load_params, "fail_json": fail_json})


def _hinted(module: Any, message: str) -> str:
    """Ansible's error (ansible/module_utils/common/arg_spec.py), which names the list alone where it means an item of it."""
    hints = [hint for hint in _unknown(message, 0) if hint.endswith("?")]
    unfit = list(_unfit_items(module))
    lines = [f"{label}: {text}" for label, _errors, texts in unfit for text in texts]
    if len(lines) > _ITEMS_TOLD:
        lines[_ITEMS_TOLD:] = [f"and {len(lines) - _ITEMS_TOLD} more"]
    again = any(message in errors for _label, errors, _texts in unfit)
    return "\n".join([*([] if again else [message]), *hints, *lines])


def _unfit_items(module: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """The items of lists that Ansible's check refuses, each checked by itself, why, and the same in plain words."""
    for option, about in module.argument_spec.items():
        entries = getattr(module, "as_given", {}).get(option)  # set by a method that Ansible calls its own
        if about.get("elements") != "dict" or not isinstance(entries, list):
            continue
        check = type(module.validator)({option: about})
        needed, *_others = (name for name, own in about["options"].items() if own.get("required"))
        for index, entry in enumerate(entries):
            errors = check.validate({option: [entry]}).error_messages
            if errors and isinstance(entry, dict):
                texts = [text for error in errors for text in _unknown(error, 1) or [error]]
                yield spec.item_label(option, index, entry.get("name", entry.get("owner"))), errors, texts
            elif errors:
                yield spec.item_label(option, index, entry), errors, [f"it has to be a dictionary: {{{needed}: ...}}"]


def _unknown(message: str, depth: int) -> list[str]:
    """The options that do not exist, where Ansible's error is about such: those in items of a list (``depth`` 1), or others,
    with what may be meant."""
    found = _UNKNOWN_OPTIONS.match(message)
    if not found:
        return []
    known = re.findall(r"[a-z0-9_]+", found["known"])
    paths = [path.split(".", depth)[-1] for path in found["wrong"].split(", ") if depth or "." not in path]
    words = "there is no option " if depth else ""
    return [f"{words}{path}{similar(path.rpartition('.')[2], known)}" for path in paths]


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Python's collector of cycles rests: a run makes tens of thousands of small things and next to no cycles, and walking
    them all again and again took as long as the planning itself."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_ground() -> None:
    """Libraries and rights, before anything is read."""
    try:
        _check_libraries()
    except UnderlayError:
        pythons.move()
        raise
    if os.geteuid() != 0:
        raise UnderlayError("networks can be seen and changed by root only; set become to true for this task")


def _check_libraries() -> None:
    netlink.require()
    if not _can_be_found("netaddr"):
        raise UnderlayError(f"netaddr is missing for {sys.executable}. {ways_to_install('netaddr')}")


def _can_be_found(library: str) -> bool:
    """Without importing it, which takes its time."""
    try:
        return find_spec(library) is not None
    except ImportError:
        return False


@contextlib.contextmanager
def opened(module: Any, who: str = "") -> Iterator[Store]:
    """The store of this run; ``who`` it is hear those that wait for it. One that is new on a host that carries links of ours
    was lost: what they show is taken back."""
    params = module.params
    read_only = module.check_mode or "lock_timeout" not in params
    folder = state_dir(params)
    timeout = spec.lock_timeout(params.get("lock_timeout", 0))
    with store.reading(folder) if read_only else store.writing(folder, timeout, who, waiting(module)) as kept:
        if kept.fresh:
            # Seldom needed, and takes its time.
            from ansible_collections.netops.underlay.plugins.module_utils import audit

            plan = audit.take_back(observe.for_audit(kept))
            if plan.changed:
                apply(plan, kept, "")
                _warn_of_loss(module, folder, plan)
        yield kept


def waiting(module: Any) -> Callable[[str], None]:
    """Says for whom a run waits: in the system's log at once, since a module can say nothing else until it ends, and in its
    warnings."""

    def told(holder: str) -> None:
        module.log(f"waits for {holder}, which works with the same state_dir")
        module.warn(f"this task waited for {holder}, which worked with the same state_dir")

    return told


def _warn_of_loss(module: Any, folder: str, plan: Plan) -> None:
    taken = sum(action.kind == "endpoint" for action in plan.actions)
    module.warn(
        f"{folder} had no store, but this host carries links of netops.underlay: {taken} endpoints were taken back from the "
        "kernel with their addresses; addresses that were held by vlan_ipam cannot be seen there, so run those tasks again"
    )
    for warning in plan.warnings:
        module.warn(warning)


def state_dir(params: Mapping[str, Any]) -> str:
    folder: str = params["state_dir"]
    too_long = len(folder.encode(errors="replace")) > spec.PATH_MAX or any(
        len(name.encode(errors="replace")) > spec.NAME_MAX for name in folder.split("/")
    )
    if not os.path.isabs(folder) or not folder.isprintable() or too_long:
        raise UnderlayError(
            f"state_dir {shown(folder)} is not an absolute path of printable characters, up to {spec.PATH_MAX} bytes and "
            f"{spec.NAME_MAX} in each name"
        )
    return folder


def check_purge(params: Mapping[str, Any], plural: str, scope: object = None) -> bool:
    """Whether to purge; refuses to take everything away by an empty list alone."""
    purge = bool(params.get("purge"))
    if params.get("purge_all") and not purge:
        raise Refused(["purge_all has a meaning only with purge: true"])
    if purge and params.get(plural) is None:
        raise Refused([f"purge goes with the list '{plural}': what is not in it is removed"])
    if purge and not params[plural] and scope is None and not params.get("purge_all"):
        raise Refused(
            [
                f"'{plural}' is empty and purge is true: this would remove everything; set purge_all to true if that is meant"
            ]
        )
    return purge


@contextlib.contextmanager
def all_done() -> Iterator[None]:
    try:
        yield
    except UnderlayError as error:
        raise UnderlayError(f"all was done, but it could not be looked at afterwards: {error}") from error


def verify(expected: Mapping[Any, Result], found: Mapping[Any, Result], kind: str) -> None:
    """What was read back is what was planned; a field that could not be predicted is None there."""
    wrong = [
        f"{kind} {name}: {field} is {found.get(name, {}).get(field)!r} after the change, and should be {value!r}"
        for name, item in expected.items()
        if item != found.get(name)
        for field, value in item.items()
        if value is not None and found.get(name, {}).get(field) != value
    ]
    if wrong:
        raise UnderlayError(
            "\n".join([*wrong, "Something else on this host changes the same links; find it, then run again"])
        )
