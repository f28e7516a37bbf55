# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trunks, sub-interfaces, networks and endpoints as a drawing in the words of Mermaid or Graphviz. The documentation for users
stands beside this file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.module_utils.addressing import shown
from ansible_collections.netops.underlay.plugins.plugin_utils import topology as drawing

FORMATS = {"mermaid": drawing.mermaid, "graphviz": drawing.graphviz}


def topology(value: Any, format: str = "mermaid") -> str:
    """The filter itself; its documentation stands in ``topology.yml``.

    :raises AnsibleFilterError: if the input is no result of our modules
    """
    if format not in FORMATS:
        raise AnsibleFilterError(f"netops.underlay.topology: format {shown(format)} is not one of {', '.join(FORMATS)}")
    try:
        return FORMATS[format](drawing.read(value))
    except drawing.Unreadable as error:
        raise AnsibleFilterError(f"netops.underlay.topology: {error}") from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"topology": topology}
