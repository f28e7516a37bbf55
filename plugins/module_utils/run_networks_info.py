# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vlan_network_info: from its parameters to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import (
    lldp,
    observe,
    result,
    run,
    spec,
    store,
    trunk,
    wire,
)
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import StoreError
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    DEFAULT_HISTORY_DAYS,
    GATEWAY_MACS,
    HISTORY_DAYS,
    POOLS,
    HostSetting,
    Network,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host
from ansible_collections.netops.underlay.plugins.module_utils.run import Result
from ansible_collections.netops.underlay.plugins.module_utils.steps import Plan, Put

# What a check wants to keep is not worth a longer wait for another run.
_LOCK_TIMEOUT_OF_CHECKS = 5


def networks_info(module: Any) -> Result:
    """vlan_network_info."""
    name = spec.name_looked_for(module.params["name"])
    verify, seconds = module.params["verify"], spec.seconds_to_listen(module.params)
    with run.opened(module) as kept:
        seen = observe.for_wire(kept) if verify else observe.everything(kept)
        settings = kept.settings()
    found = sorted((item for item in seen.networks.values() if name in (None, item.name)), key=lambda item: item.name)
    shown = [result.network(item, seen.host, seen.parents) for item in found]
    warnings = _verify_on_wire(module, seen.host, found, shown, settings, seconds) if verify else []
    return {
        "changed": False,
        "warnings": warnings,
        "networks": shown,
        "settings": {
            POOLS: settings.get(POOLS, []),
            HISTORY_DAYS: settings.get(HISTORY_DAYS, DEFAULT_HISTORY_DAYS),
        },
    }


def _verify_on_wire(
    module: Any,
    host: Host,
    networks: Sequence[Network],
    shown: Sequence[Result],
    settings: Mapping[str, Any],
    seconds: int,
) -> list[str]:
    """The trunk check of all networks at once, put into what is shown of them; what to warn of."""
    talks = {parent: trunk.Conversation(question) for parent, question in trunk.questions(host, networks).items()}
    wire.talk(talks)
    answers = {parent: each.answer() for parent, each in talks.items()}
    switches = _switches(host, networks, seconds)
    known = settings.get(GATEWAY_MACS, {})
    for item, into in zip(networks, shown):
        answer, switch = answers.get(item.parent), switches.get(item.parent)
        told = trunk.findings(item, host, answer, known.get(item.name, {})) + trunk.not_listed(item, host, switch)
        into.update(result.on_wire(trunk.wire_of(item, host, answer, switch), told))
    try:
        _keep_macs(module, known, trunk.macs_seen(networks, answers))
    except StoreError as error:
        return [f"the gateways' MAC addresses could not be kept for the next check: {error}"]
    return []


def _switches(host: Host, networks: Sequence[Network], seconds: int) -> dict[str, lldp.Neighbour]:
    """What the switches say of themselves, by parent; all are listened to at once."""
    if not seconds:
        return {}
    places = trunk.listening_places(host, networks)
    ears = {name: lldp.Listening(seconds) for names in places.values() for name in names}
    wire.talk(ears, wire.SWITCHES)
    heard = {parent: [ears[name].found for name in names] for parent, names in places.items()}
    return {parent: found for parent, all_found in heard.items() for found in all_found[::-1] if found is not None}


def _keep_macs(module: Any, known: Mapping[str, Any], seen: Mapping[str, Mapping[str, str]]) -> None:
    """Keeps which MAC each gateway has, so that the next check can tell another one. Nothing else of it is written."""
    if module.check_mode or all(known.get(name, {}).items() >= macs.items() for name, macs in seen.items()):
        return
    with store.writing(run.state_dir(module.params), _LOCK_TIMEOUT_OF_CHECKS, "vlan_network_info") as kept:
        former = kept.settings().get(GATEWAY_MACS, {})
        there = {name: former.get(name, {}) for name in kept.networks()}
        macs = {name: {**before, **seen.get(name, {})} for name, before in there.items()}
        apply(Plan(after=(Put(HostSetting(GATEWAY_MACS, macs)),)), kept, "")
