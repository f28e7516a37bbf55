"""Where a task's time goes: stop watches around the functions of each phase, put there from outside.

Each moment counts for the innermost phase alone, so the phases add up to the whole.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

UTILS = "ansible_collections.netops.underlay.plugins.module_utils"
REST = "the rest"
STORE = "store"


class Watch:
    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.taken: dict[str, float] = {}
        self._open = [REST]
        self._since = time.perf_counter()

    def _count(self) -> None:
        now = time.perf_counter()
        self.taken[self._open[-1]] = self.taken.get(self._open[-1], 0.0) + now - self._since
        self._since = now

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._count()
        self._open.append(name)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def around(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(work)
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.phase(name):
                return work(*arguments, **named)

        return timed

    def ended(self) -> dict[str, float]:
        """Seconds by phase."""
        self._count()
        return self.taken


def watched() -> Watch:
    """Puts the watches in place; they run from now on."""
    watch = Watch()
    files = {
        name: importlib.import_module(f"{UTILS}.{name}")
        for name in (
            "run_endpoints",
            "run_networks",
            "spec",
            "observe",
            "plan_networks",
            "plan_endpoints",
            "apply",
            "store",
            "result",
        )
    }

    def put(owner: Any, name: str, phase: str) -> None:
        setattr(owner, name, watch.around(phase, getattr(owner, name)))

    for name in ("items_of", "collect", "unique"):
        put(files["spec"], name, "parameters")
    for name in ("for_networks", "for_endpoints", "everything"):
        put(files["observe"], name, "observe")
    put(files["observe"], "spaces_of", "read back")
    for name in ("plan_networks", "plan_endpoints"):
        put(files[name], "plan", "plan")
    for name in ("endpoint", "network", "networks", "diff", "of_plan"):
        put(files["result"], name, "result and diff")
    for name in ("run_endpoints", "run_networks"):
        put(files[name], "apply", "apply: the rest")
    # By the kind of step; links are made in new namespaces, and set up, by one of them.
    handlers = files["apply"]._HANDLERS
    for kind, handler in handlers.items():
        handlers[kind] = watch.around(f"apply: {kind.__name__}", handler)
    put(files["apply"], "_make_links", "apply: MakeLink")
    put(files["apply"], "_set_up_room", "apply: SetUp")
    put(files["apply"], "_announce", "apply: Announce")
    for name, method in vars(files["store"].Store).items():
        if callable(method) and not name.startswith("_"):
            put(files["store"].Store, name, STORE)
    for name in ("reading", "writing"):
        opened = getattr(files["store"], name)
        setattr(files["store"], name, functools.partial(_Ends, watch, opened))
    watch.begin()
    return watch


class _Ends:
    """A context manager whose opening and closing count for the store, and what happens in between for others."""

    def __init__(self, watch: Watch, opened: Callable[..., Any], *arguments: Any) -> None:
        self._watch, self._manager = watch, opened(*arguments)

    def __enter__(self) -> Any:
        with self._watch.phase(STORE):
            return self._manager.__enter__()

    def __exit__(self, *error: Any) -> Any:
        with self._watch.phase(STORE):
            return self._manager.__exit__(*error)
