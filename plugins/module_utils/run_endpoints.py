# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vlan_endpoint and vlan_endpoint_info: from their parameters to their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import (
    conflicts,
    observe,
    plan_endpoints,
    result,
    run,
    spec,
)
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.model import ENDPOINT, NONE, Allocation, Endpoint, Outcome
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.run import Result
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.store import Store


def endpoints(module: Any, own_options: Iterable[str]) -> Result:
    """vlan_endpoint."""
    params = module.params
    purge = run.check_purge(params, "endpoints", scope=params.get("network"))
    items = spec.items_of(params, "endpoints", own_options, key="name", shared=("state", "network", "keep"))
    specs = spec.collect(items, spec.endpoint_spec)
    spec.unique(specs, lambda item: item.key, "an endpoint of this name in this network")
    with run.opened(module, "vlan_endpoint") as kept:
        scope = _purge_scope(kept, params, specs) if purge else set()
        seen = observe.for_endpoints(kept, specs, scope)
        plan, outcomes = plan_endpoints.plan(seen, specs, scope)
        asked: set[tuple[str, Any]] = set()
        while True:
            fresh = {place for place in conflicts.to_ask(seen, outcomes, specs) if place not in asked}
            asked |= fresh
            taken = conflicts.taken(seen, fresh)
            if not taken:
                break
            # Others may be taken in their place, which are then to be asked about in turn.
            seen = observe.for_endpoints(kept, specs, scope, conflicts={**seen.conflicts, **taken})
            plan, outcomes = plan_endpoints.plan(seen, specs, scope)
        before = _present(seen, seen.endpoints, outcomes)
        after = _predicted(seen, outcomes)
        final = after
        if not module.check_mode:
            written = apply(plan, kept, seen.host.boot_id, seen.spaces)
            # Where nothing was to be written, what was seen is what there is.
            final = before
            if plan.writes:
                final = _read_back(replace(seen, spaces={**seen.spaces, **written}), outcomes)
            run.verify(after, final, "endpoint")
    return {
        **result.of_plan(plan),
        "endpoints": [final.get(item.key) or _absent_endpoint(item.network, item.name) for item in specs],
        "diff": result.diff(_labelled(before), _labelled(after)),
        "warnings": [*plan.warnings, *conflicts.unasked(seen, asked)],
    }


def _purge_scope(kept: Store, params: Mapping[str, Any], specs: Sequence[EndpointSpec]) -> set[str]:
    if params.get("purge_all"):
        return {*kept.networks(), NONE}
    return {item.network for item in specs} | ({params["network"]} if params.get("network") else set())


def _present(
    seen: Observed, rows: Mapping[Any, Endpoint], keys: Iterable[Any], addresses: Iterable[Allocation] | None = None
) -> dict[Any, Result]:
    """Endpoints as the kernel shows them in what was seen."""
    held: dict[Any, dict[int, Allocation]] = {}
    for allocation in seen.allocations if addresses is None else addresses:
        if allocation.kind == ENDPOINT and not allocation.cooling:
            held.setdefault((allocation.network, allocation.owner), {}).setdefault(allocation.family, allocation)
    return {
        key: result.endpoint(
            rows[key],
            seen.networks.get(key[0]),
            held.get(key, {}),
            seen.host,
            seen.space_of(rows[key].target),
            seen.hosts_path(rows[key]),
        )
        for key in keys
        if key in rows
    }


def _predicted(seen: Observed, outcomes: Mapping[Any, Outcome]) -> dict[Any, Result]:
    return {
        key: result.endpoint(
            outcome.row,
            seen.networks.get(key[0]),
            outcome.addresses,
            seen.host,
            seen.space_of(outcome.row.target),
            seen.hosts_path(outcome.row),
            outcome,
        )
        for key, outcome in outcomes.items()
        if outcome.row is not None
    }


def _read_back(now: Observed, outcomes: Mapping[Any, Outcome]) -> dict[Any, Result]:
    """The endpoints as they now are; namespaces that were written to were read again."""
    rows = {key: outcome.row for key, outcome in outcomes.items() if outcome.row is not None}
    addresses = [row for outcome in outcomes.values() for row in outcome.addresses.values()]
    return _present(now, rows, rows, addresses)


def _labelled(items: Mapping[Any, Result]) -> dict[str, Result]:
    return {f"{network}/{name}": item for (network, name), item in items.items()}


def _absent_endpoint(network: str, name: str) -> Result:
    return result.absent(_ENDPOINT_KEYS, network=network, name=name)


_ENDPOINT_KEYS = dict.fromkeys(
    [
        "network",
        "name",
        "driver",
        "target",
        "ifname",
        "mac_address",
        "mtu",
        "ipv4",
        "ipv6",
        "routes",
        "default_route",
        "aliases",
        "sysctls",
        "hosts_file",
        "state",
    ]
)


def endpoints_info(module: Any) -> Result:
    """vlan_endpoint_info."""
    network, name = (spec.name_looked_for(module.params[option]) for option in ("network", "name"))
    with run.opened(module) as kept:
        seen = observe.everything(kept)
        held = kept.allocations(network=network, owner=name)
    rows = {
        key: row for key, row in sorted(seen.endpoints.items()) if network in (None, key[0]) and name in (None, key[1])
    }
    seen = observe.spaces_of(seen, {row.target for row in rows.values()})
    shown = _present(seen, rows, rows, held)
    found = [result.others(rows[key], entry, seen.space_of(rows[key].target)) for key, entry in shown.items()]
    return {"changed": False, "endpoints": list(shown.values()), "others": [item for item in found if item]}
