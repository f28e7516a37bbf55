# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vlan_service: from its parameters to its result."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import install, result, run
from ansible_collections.netops.underlay.plugins.module_utils.addressing import shown
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError
from ansible_collections.netops.underlay.plugins.module_utils.run import Result
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT


def _state_dir_of_unit(params: Mapping[str, Any]) -> str:
    """The folder as it can stand in a unit of systemd, where some characters mean something (man 5 systemd.service)."""
    folder = run.state_dir(params)
    if not re.fullmatch(r"[A-Za-z0-9/_.:@+,=-]+", folder):
        raise UnderlayError(
            f"state_dir {shown(folder)} cannot be that of the service: letters, digits and /_.:@+,=- can stand in its unit"
        )
    return folder


def service(module: Any) -> Result:
    """vlan_service."""
    params = module.params
    if params["state"] == ABSENT:
        leaving = install.there()
        if not module.check_mode:
            install.remove_all()
        return _service_result(dict.fromkeys(leaving, "present"), {}, leaving)
    wanted = install.files(sys.executable, _state_dir_of_unit(params))
    changed, strays = install.differing(wanted), install.strays(wanted)
    if not module.check_mode:
        install.put_files(changed, strays)
    before = dict.fromkeys(strays, "of another version")
    after = dict.fromkeys((file.path for file in changed), "of this version")
    return {**_service_result(before, after, [*after, *strays]), "digest": install.digest(wanted)}


def _service_result(before: Result, after: Result, files: list[str]) -> Result:
    return {
        "changed": bool(files),
        "files": files,
        "unit": install.UNIT,
        "diff": result.diff(before, after),
    }
