# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vlan_ipam and vlan_ipam_info: from their parameters to their results."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import (
    audit,
    observe,
    plan_addresses,
    result,
    run,
    spec,
    store,
)
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import RESERVED, Allocation, Held
from ansible_collections.netops.underlay.plugins.module_utils.run import Result


def addresses(module: Any, own_options: Iterable[str]) -> Result:
    """vlan_ipam."""
    whole = {"reconciled": _reconciled, "recovered": _recovered}.get(module.params["state"] or "")
    if whole:
        stray = [name for name in own_options if name not in ("state", "network") and module.params[name] is not None]
        stray += ["addresses"] if module.params["addresses"] is not None else []
        if stray:
            raise Refused(
                [f"'{stray[0]}' has no meaning with state: {module.params['state']}, which is about the whole store"]
            )
        return whole(module)
    items = spec.items_of(module.params, "addresses", own_options, key="owner", shared=("state", "network"))
    specs = spec.collect(items, spec.address_spec)
    spec.unique(
        specs, lambda item: (item.network, item.owner, item.family), "an address of this owner, network and family"
    )
    with run.opened(module, "vlan_ipam") as kept:
        seen = observe.for_addresses(kept, specs)
        plan, outcomes = plan_addresses.plan(seen, specs)
        if not module.check_mode:
            apply(plan, kept, seen.host.boot_id)
    after = {_address_label(row): result.address(row) for row in outcomes if row is not None}
    concerned = {(item.network, item.owner, item.family) for item in specs}
    before = {
        _address_label(row): result.address(row)
        for row in seen.allocations
        if row.kind == RESERVED and not row.cooling and (row.network, row.owner, row.family) in concerned
    }
    return {
        **result.of_plan(plan),
        "warnings": plan.warnings,
        "addresses": [result.address(row) if row else _absent_address(item) for item, row in zip(specs, outcomes)],
        "diff": result.diff(before, after),
    }


# Between the two looks that have to agree before anything is released.
_LOOK_AGAIN_S = 1.0


def _reconciled(module: Any) -> Result:
    """Releases what endpoints hold whose namespaces are proven to be no more."""
    network = spec.name_looked_for(module.params["network"])
    with run.opened(module, "vlan_ipam") as kept:
        first = observe.for_audit(kept)
        plan, released = audit.reconcile(first, first, network)
        if plan.changed or plan.after:
            time.sleep(_LOOK_AGAIN_S)
            plan, released = audit.reconcile(first, observe.for_audit(kept), network)
        if not module.check_mode:
            apply(plan, kept, first.host.boot_id)
    return {
        **result.of_plan(plan),
        "addresses": [{**result.address(row), "state": "absent"} for row in released],
        "diff": result.diff({_address_label(row): result.address(row) for row in released}, {}),
    }


def _recovered(module: Any) -> Result:
    """Puts a new store in the place of a damaged one."""
    params = module.params
    if params["network"] is not None:
        raise Refused(["'network' has no meaning with state: recovered, which is about the whole store"])
    folder = run.state_dir(params)
    timeout = spec.lock_timeout(params["lock_timeout"])
    with store.rebuilding(folder, timeout, module.check_mode, "vlan_ipam", run.waiting(module)) as rebuilt:
        if rebuilt is None:
            return {"changed": False, "actions": [], "addresses": [], "diff": result.diff({}, {})}
        plan = audit.take_back(observe.for_audit(rebuilt.store), rebuilt.rows)
        apply(plan, rebuilt.store, "")
        found = rebuilt.store.allocations()
    return {
        **result.of_plan(plan),
        "changed": True,
        "addresses": [result.address(row) for row in found],
        "diff": result.diff({}, {_address_label(row): result.address(row) for row in found}),
        "warnings": [f"the store was damaged; it is kept as {rebuilt.aside}", *plan.warnings],
    }


def _address_label(row: Allocation) -> str:
    return f"{row.network}/{row.owner}/ipv{row.family}"


def _absent_address(item: Any) -> Result:
    keys = dict.fromkeys(["network", "owner", "address", "family", "kind", "description", "expires", "state"])
    return result.absent(keys, network=item.network, owner=item.owner, family=f"ipv{item.family}")


def addresses_info(module: Any) -> Result:
    """vlan_ipam_info."""
    params = module.params
    network, owner = (spec.name_looked_for(params[option]) for option in ("network", "owner"))
    wanted = None if params["address"] is None else spec.lone_address(params["address"])
    with run.opened(module) as kept:
        known = kept.networks()
        scope = [item for name, item in sorted(known.items()) if network in (None, name)]
        on_parents: dict[tuple[str, int], list[Allocation]] = {}
        for row in kept.on_segments(item.parent for item in scope):
            on_parents.setdefault((row.segment, row.family), []).append(row)
        held = kept.allocations(network=network, owner=owner)
        past = kept.history(network, owner, wanted) if params["history"] else []
        found = audit.findings(observe.for_audit(kept), network) if params["audit"] else []
    held = [row for row in held if wanted is None or row.holds(wanted)]
    aside = [
        row
        for item in scope
        for row in result.set_aside(item)
        if owner in (None, row["owner"]) and (wanted is None or row["address"] == str(wanted))
    ]
    past += [Held(row, None) for row in held if not row.cooling] if params["history"] else []
    past.sort(key=lambda line: (line.row.network, line.row.family, line.row.bounds, line.row.since))
    return {
        "changed": False,
        "addresses": aside + [result.address(row) for row in held],
        "subnets": [use for item in scope for use in result.usages(item, known.values(), on_parents)],
        "history": [result.past(line) for line in past],
        "findings": [result.finding(item) for item in found],
    }
