# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several hosts, one address plan: the slice of every subnet that one of them has. The documentation for users stands beside this
file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.plugin_utils import slices as arithmetic


def address_plan(
    networks: Sequence[dict[str, Any]],
    host: str,
    hosts: Sequence[str],
    slices: Any = 16,
    given: Mapping[str, Any] | None = None,
    endpoints: Sequence[dict[str, Any]] = (),
    next_hops: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The filter itself; its documentation stands in ``address_plan.yml``.

    :raises AnsibleFilterError: if a list is none
    """
    for name, value in (("networks", networks), ("hosts", hosts), ("endpoints", endpoints)):
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise AnsibleFilterError(f"netops.underlay.address_plan: {name} is no list")
    count = arithmetic.number_of(slices)
    slices = 0 if count is None else count
    return arithmetic.address_plan(networks, host, hosts, slices, given or {}, endpoints, next_hops).result()


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"address_plan": address_plan}
