# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vlan_network: from its parameters to its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import (
    observe,
    plan_networks,
    result,
    run,
    spec,
)
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.model import Allocation, Network, Target
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host, Observed, Space
from ansible_collections.netops.underlay.plugins.module_utils.run import Result
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT
from ansible_collections.netops.underlay.plugins.module_utils.steps import ChangeParent, Plan, handed_over
from ansible_collections.netops.underlay.plugins.module_utils.store import Store


def networks(module: Any, own_options: Iterable[str]) -> Result:
    """vlan_network."""
    params = module.params
    purge = run.check_purge(params, "networks")
    settings = spec.host_settings(params)
    # A task may carry nothing but settings of the host.
    alone = bool(settings) and params.get("name") is None and params.get("networks") is None
    items = [] if alone else spec.items_of(params, "networks", own_options, key="name", shared=("state", "force"))
    # What cuts the host off has to be asked for of the very network: a word beside the list, for all of it, is not enough.
    forced = {entry["name"] for entry in params.get("networks") or [params] if entry.get("force")}
    specs = [
        item._replace(own_force=True) if item.name in forced else item
        for item in spec.collect(items, spec.network_spec)
    ]
    spec.unique(specs, lambda item: item.name, "a network of this name")
    with run.opened(module, "vlan_network") as kept:
        seen = observe.for_networks(kept, specs, purge)
        change = plan_networks.plan(seen, specs, purge, bool(params.get("force")), settings)
        follow, spaces, seen = _endpoints_of(kept, seen, change, forced)
        before_kernel, after_kernel = handed_over(change.plan.before + follow.before, follow.after + change.plan.after)
        plan = Plan(
            change.plan.actions + follow.actions,
            before_kernel,
            follow.kernel + change.plan.kernel,  # a parent goes after the links on it
            after_kernel,
            change.plan.warnings,
        )
        before = after = result.networks(seen.networks, seen.host, seen.parents)
        if plan.writes:
            after = result.networks(change.networks, _foreseen(seen, change.plan), change.parents, before)
        final = after
        if not module.check_mode:
            apply(plan, kept, seen.host.boot_id, spaces)
            if plan.changed:
                with run.all_done():
                    now = observe.everything(kept)
                final = result.networks(now.networks, now.host, now.parents, after)
                run.verify(after.told, final.told, "network")
    return {
        **result.of_plan(plan),
        "networks": [final.told.get(item.name) or _absent_network(item.name) for item in specs],
        "diff": result.diff(before.told, after.told),
        "warnings": plan.warnings,
    }


def _absent_network(name: str) -> Result:
    return result.absent(_NETWORK_KEYS, name=name)


_NETWORK_KEYS = dict.fromkeys(
    [
        "name",
        "driver",
        "parent",
        "parent_created",
        "vlan_id",
        "vlan_protocol",
        "mode",
        "flag",
        "mtu",
        "internal",
        "enable_ipv4",
        "enable_ipv6",
        "ipam_config",
        "labels",
        "cooldown",
        "announce",
        "conflict_check",
        "routes",
        "ipv6_dad",
        "state",
    ]
)


def _endpoints_of(
    kept: Store, seen: Observed, change: plan_networks.Change, forced: Iterable[str]
) -> tuple[Plan, Mapping[Target, Space | None], Observed]:
    """What follows for the endpoints of networks that change or go, and the namespaces that they are in."""
    concerned = change.touched | change.removed
    rows = [row for row in seen.endpoints.values() if row.network in concerned]
    if not rows and not observe.left_behind(kept, seen):
        return Plan(), {}, seen
    # Seldom needed, and takes its time.
    from ansible_collections.netops.underlay.plugins.module_utils import plan_endpoints

    moving = plan_endpoints.as_specs((row for row in rows if row.network in change.touched), forced)
    leaving = plan_endpoints.as_specs((row for row in rows if row.network in change.removed), forced, ABSENT)
    more = observe.for_endpoints(kept, [*moving, *leaving], base=seen, networks=change.networks)
    more = replace(
        more,
        host=_foreseen(seen, change.plan),
        allocations=tuple(_on_its_parent(row, change.networks) for row in more.allocations),
    )
    # An endpoint whose process is gone waits, with its address held, until it is given another target.
    there = [item for item in moving if plan_endpoints.leads_on(more, more.endpoints[item.key])]
    plan, _outcomes = plan_endpoints.plan(
        more, [*leaving, *there], networks=change.networks, parents_to_come=change.parents_to_come, verb="change"
    )
    return plan, more.spaces, more


def _foreseen(seen: Observed, plan: Plan) -> Host:
    """The host with its parents as the plan will have changed them."""
    links = dict(seen.host.links)
    for step in plan.kernel:
        if isinstance(step, ChangeParent) and (step.space or step.name in links):
            link = seen.moved[step.name][1]._replace(name=step.name) if step.space else links.pop(step.name)
            name = step.new_name or link.name
            mtu = link.mtu if step.mtu is None else step.mtu
            links[name] = link._replace(name=name, mtu=mtu, alias=step.mark or link.alias)
    return replace(seen.host, links=links)


def _on_its_parent(row: Allocation, networks: Mapping[str, Network]) -> Allocation:
    """The allocation as the plan of networks has moved it."""
    network = networks.get(row.network)
    return row._replace(segment=network.parent) if network and plan_networks.fits(row, network) else row
