"""Writes how long each task of a play took, from its start to its result, to the file in BENCH_TASK_TIMES."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_times
type: aggregate
short_description: how long each task took
description: For the benchmark.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_times"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._begun = 0.0

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._begun = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        taken = time.monotonic() - self._begun
        task = result.task if hasattr(result, "task") else result._task  # the second before ansible-core 2.19
        with open(os.environ["BENCH_TASK_TIMES"], "a", encoding="utf-8") as file:
            file.write(json.dumps([task.get_name(), taken]) + "\n")
