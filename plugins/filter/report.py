# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The networks of a host as a page for a browser, or as a table for a terminal. The documentation for users stands beside this
file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.module_utils.addressing import shown
from ansible_collections.netops.underlay.plugins.plugin_utils import report as made
from ansible_collections.netops.underlay.plugins.plugin_utils.topology import Unreadable, read

FORMATS = ("html", "table")


def report(value: Any, format: str = "html", host: str = "", time: str = "") -> str:
    """The filter itself; its documentation stands in ``report.yml``.

    :raises AnsibleFilterError: if the input is no result of our modules
    """
    if format not in FORMATS:
        raise AnsibleFilterError(f"netops.underlay.report: format {shown(format)} is not one of {', '.join(FORMATS)}")
    try:
        topology = read(value)
    except Unreadable as error:
        raise AnsibleFilterError(f"netops.underlay.report: {error}") from None
    return made.table(topology) if format == "table" else made.page(topology, host, time)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"report": report}
