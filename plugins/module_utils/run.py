# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The road from a module's parameters to its result: spec, observe, plan, apply, result. One function per module.

The module object is passed in; this file knows of it only ``params``, ``check_mode``, ``warn``, ``log``, ``exit_json``
and ``fail_json``.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import (
    audit,
    conflicts,
    install,
    lldp,
    netlink,
    observe,
    plan_addresses,
    plan_endpoints,
    plan_networks,
    pythons,
    result,
    spec,
    store,
    trunk,
    wire,
)
from ansible_collections.netops.underlay.plugins.module_utils.addressing import shown
from ansible_collections.netops.underlay.plugins.module_utils.apply import apply
from ansible_collections.netops.underlay.plugins.module_utils.errors import (
    Refused,
    StoreError,
    UnderlayError,
    Unfinished,
    similar,
    ways_to_install,
)
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    DEFAULT_HISTORY_DAYS,
    ENDPOINT,
    GATEWAY_MACS,
    HISTORY_DAYS,
    NONE,
    POOLS,
    RESERVED,
    Allocation,
    Endpoint,
    Held,
    HostSetting,
    Network,
    Outcome,
    Target,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Host, Observed, Space
from ansible_collections.netops.underlay.plugins.module_utils.spec import ABSENT, EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import ChangeParent, Plan, Put
from ansible_collections.netops.underlay.plugins.module_utils.store import Store

DEFAULT_STATE_DIR = "/var/lib/netops-underlay"

# What all managing modules take; the _info modules take ``state_dir`` alone.
STATE_DIR_OPTION = {"state_dir": {"type": "path", "default": DEFAULT_STATE_DIR}}
COMMON_OPTIONS = {**STATE_DIR_OPTION, "lock_timeout": {"type": "int", "default": 30}}

# What a check wants to keep is not worth a longer wait for another run.
_LOCK_TIMEOUT_OF_CHECKS = 5
_UNKNOWN_OPTIONS = re.compile(
    r"Unsupported parameters for .*? module: (?P<wrong>.*?)\. Supported parameters include: (?P<known>.*)"
)

Result = dict[str, Any]


def run(module: Any, work: Callable[[Any], Result]) -> None:
    """Runs one module; whatever goes wrong becomes an error that a user can act on."""
    told = {"interpreter": sys.executable} if pythons.moved() else {}
    try:
        _check_ground()
        with without_collector():
            outcome = work(module)
    except Unfinished as error:
        module.fail_json(
            msg=f"{error}\nWhat could be done is done (see 'done'); run the task again when the cause is mended",
            done=list(error.done),
            **told,
        )
    except UnderlayError as error:
        module.fail_json(msg=str(error), **told)
    except Exception as error:  # pylint: disable=broad-except
        module.fail_json(
            msg=f"netops.underlay met something that it does not know how to handle ({type(error).__name__}: {error}); "
            "this is a bug of ours, please report it with the output of -vvv",
            exception=traceback.format_exc(),
            **told,
        )
    else:
        for warning in outcome.pop("warnings", ()):
            module.warn(warning)
        module.exit_json(**outcome, **told)


def with_hints(kind: Any) -> Any:
    """AnsibleModule, or what stands for it, whose error about an option that does not exist says which may be meant."""

    def fail_json(self: Any, msg: str, **more: Any) -> None:
        kind.fail_json(self, msg=_hinted(msg), **more)

    return type(kind.__name__, (kind,), {"fail_json": fail_json})


def _hinted(message: str) -> str:
    """Ansible's error (ansible/module_utils/common/arg_spec.py) with a hint for each option that does not exist."""
    found = _UNKNOWN_OPTIONS.match(message)
    if not found:
        return message
    known = re.findall(r"[a-z0-9_]+", found["known"])
    hints = [f"{wrong}{similar(wrong.rpartition('.')[2], known)}" for wrong in found["wrong"].split(", ")]
    return "\n".join([message, *(hint for hint in hints if hint.endswith("?"))])


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Python's collector of cycles rests: a run makes tens of thousands of small things and next to no cycles, and walking
    them all again and again took as long as the planning itself."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check_ground() -> None:
    """Libraries and rights, before anything is read."""
    try:
        _check_libraries()
    except UnderlayError:
        pythons.move()
        raise
    if os.geteuid() != 0:
        raise UnderlayError("networks can be seen and changed by root only; set become to true for this task")


def _check_libraries() -> None:
    netlink.require()
    if not spec.NETADDR:
        raise UnderlayError(f"netaddr is missing for {sys.executable}. {ways_to_install('netaddr')}")


@contextlib.contextmanager
def _opened(module: Any, who: str = "") -> Iterator[Store]:
    """The store of this run; ``who`` it is hear those that wait for it. One that is new on a host that carries links of ours
    was lost: what they show is taken back."""
    params = module.params
    read_only = module.check_mode or "lock_timeout" not in params
    folder = _state_dir(params)
    timeout = spec.lock_timeout(params.get("lock_timeout", 0))
    with store.reading(folder) if read_only else store.writing(folder, timeout, who, _waiting(module)) as kept:
        if kept.fresh:
            plan = audit.take_back(observe.for_audit(kept))
            if plan.changed:
                apply(plan, kept, "")
                _warn_of_loss(module, folder, plan)
        yield kept


def _waiting(module: Any) -> Callable[[str], None]:
    """Says for whom a run waits: in the system's log at once, since a module can say nothing else until it ends, and in its
    warnings."""

    def told(holder: str) -> None:
        module.log(f"waits for {holder}, which works with the same state_dir")
        module.warn(f"this task waited for {holder}, which worked with the same state_dir")

    return told


def _warn_of_loss(module: Any, folder: str, plan: Plan) -> None:
    taken = sum(action.kind == "endpoint" for action in plan.actions)
    module.warn(
        f"{folder} had no store, but this host carries links of netops.underlay: {taken} endpoints were taken back from the "
        "kernel with their addresses; addresses that were held by vlan_ipam cannot be seen there, so run those tasks again"
    )
    for warning in plan.warnings:
        module.warn(warning)


def _state_dir(params: Mapping[str, Any]) -> str:
    folder: str = params["state_dir"]
    too_long = len(folder.encode(errors="replace")) > spec.PATH_MAX or any(
        len(name.encode(errors="replace")) > spec.NAME_MAX for name in folder.split("/")
    )
    if not os.path.isabs(folder) or not folder.isprintable() or too_long:
        raise UnderlayError(
            f"state_dir {shown(folder)} is not an absolute path of printable characters, up to {spec.PATH_MAX} bytes and "
            f"{spec.NAME_MAX} in each name"
        )
    return folder


def _state_dir_of_unit(params: Mapping[str, Any]) -> str:
    """The folder as it can stand in a unit of systemd, where some characters mean something (man 5 systemd.service)."""
    folder = _state_dir(params)
    if not re.fullmatch(r"[A-Za-z0-9/_.:@+,=-]+", folder):
        raise UnderlayError(
            f"state_dir {shown(folder)} cannot be that of the service: letters, digits and /_.:@+,=- can stand in its unit"
        )
    return folder


def _check_purge(params: Mapping[str, Any], plural: str, scope: object = None) -> bool:
    """Whether to purge; refuses to take everything away by an empty list alone."""
    purge = bool(params.get("purge"))
    if params.get("purge_all") and not purge:
        raise Refused(["purge_all has a meaning only with purge: true"])
    if purge and params.get(plural) is None:
        raise Refused([f"purge goes with the list '{plural}': what is not in it is removed"])
    if purge and not params[plural] and scope is None and not params.get("purge_all"):
        raise Refused(
            [
                f"'{plural}' is empty and purge is true: this would remove everything; set purge_all to true if that is meant"
            ]
        )
    return purge


# --- networks -------------------------------------------------------------------------------------------------


def networks(module: Any, own_options: Iterable[str]) -> Result:
    """vlan_network."""
    params = module.params
    purge = _check_purge(params, "networks")
    settings = spec.host_settings(params)
    # A task may carry nothing but settings of the host.
    alone = bool(settings) and params.get("name") is None and params.get("networks") is None
    items = [] if alone else spec.items_of(params, "networks", own_options, key="name", shared=("state", "force"))
    # What cuts the host off has to be asked for of the very network: a word beside the list, for all of it, is not enough.
    forced = {entry["name"] for entry in params.get("networks") or [params] if entry.get("force")}
    specs = [replace(item, own_force=item.name in forced) for item in spec.collect(items, spec.network_spec)]
    spec.unique(specs, lambda item: item.name, "a network of this name")
    with _opened(module, "vlan_network") as kept:
        seen = observe.for_networks(kept, specs, purge)
        change = plan_networks.plan(seen, specs, purge, bool(params.get("force")), settings)
        follow, spaces, seen = _endpoints_of(kept, seen, change, forced)
        plan = Plan(
            change.plan.actions + follow.actions,
            change.plan.before + follow.before,
            follow.kernel + change.plan.kernel,  # a parent goes after the links on it
            follow.after + change.plan.after,
            change.plan.warnings,
        )
        before = {name: result.network(item, seen.host, seen.parents) for name, item in seen.networks.items()}
        host = _foreseen(seen.host, change.plan)
        after = {name: result.network(item, host, change.parents) for name, item in change.networks.items()}
        final = after
        if not module.check_mode:
            apply(plan, kept, seen.host.boot_id, spaces)
            if plan.changed:
                with _all_done():
                    now = observe.everything(kept)
                final = {name: result.network(item, now.host, now.parents) for name, item in now.networks.items()}
                _verify(after, final, "network")
    return {
        **result.of_plan(plan),
        "networks": [final.get(item.name) or _absent_network(item.name) for item in specs],
        "diff": result.diff(before, after),
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
        "state",
    ]
)


def _endpoints_of(
    kept: Store, seen: Observed, change: plan_networks.Change, forced: Iterable[str]
) -> tuple[Plan, Mapping[Target, Space | None], Observed]:
    """What follows for the endpoints of networks that change or go, and the namespaces that they are in."""
    rows = [row for row in seen.endpoints.values() if row.network in change.touched | change.removed]
    if not rows:
        return Plan(), {}, seen
    moving = plan_endpoints.as_specs((row for row in rows if row.network in change.touched), forced)
    leaving = plan_endpoints.as_specs((row for row in rows if row.network in change.removed), forced, ABSENT)
    more = observe.for_endpoints(kept, [*moving, *leaving], base=seen, networks=change.networks)
    more = replace(
        more,
        host=_foreseen(seen.host, change.plan),
        allocations=tuple(_on_its_parent(row, change.networks) for row in more.allocations),
    )
    # An endpoint whose process is gone waits, with its address held, until it is given another target.
    there = [item for item in moving if plan_endpoints.leads_on(more, more.endpoints[item.key])]
    plan, _outcomes = plan_endpoints.plan(
        more, [*leaving, *there], networks=change.networks, parents_to_come=change.parents_to_come, verb="change"
    )
    return plan, more.spaces, more


def _foreseen(host: Host, plan: Plan) -> Host:
    """The host with its parents as the plan will have changed them."""
    links = dict(host.links)
    for step in plan.kernel:
        if isinstance(step, ChangeParent) and step.name in links:
            link = links.pop(step.name)
            name = step.new_name or link.name
            links[name] = replace(link, name=name, mtu=link.mtu if step.mtu is None else step.mtu)
    return replace(host, links=links)


def _on_its_parent(row: Allocation, networks: Mapping[str, Network]) -> Allocation:
    """The allocation as the plan of networks has moved it."""
    return row._replace(segment=networks[row.network].parent) if row.network in networks else row


@contextlib.contextmanager
def _all_done() -> Iterator[None]:
    try:
        yield
    except UnderlayError as error:
        raise UnderlayError(f"all was done, but it could not be looked at afterwards: {error}") from error


def _verify(expected: Mapping[Any, Result], found: Mapping[Any, Result], kind: str) -> None:
    """What was read back is what was planned; a field that could not be predicted is None there."""
    wrong = [
        f"{kind} {name}: {field} is {found.get(name, {}).get(field)!r} after the change, and should be {value!r}"
        for name, item in expected.items()
        for field, value in item.items()
        if value is not None and found.get(name, {}).get(field) != value
    ]
    if wrong:
        raise UnderlayError(
            "\n".join([*wrong, "Something else on this host changes the same links; find it, then run again"])
        )


# --- endpoints ------------------------------------------------------------------------------------------------


def endpoints(module: Any, own_options: Iterable[str]) -> Result:
    """vlan_endpoint."""
    params = module.params
    purge = _check_purge(params, "endpoints", scope=params.get("network"))
    items = spec.items_of(params, "endpoints", own_options, key="name", shared=("state", "network", "keep"))
    specs = spec.collect(items, spec.endpoint_spec)
    spec.unique(specs, lambda item: item.key, "an endpoint of this name in this network")
    with _opened(module, "vlan_endpoint") as kept:
        scope = _purge_scope(kept, params, specs) if purge else set()
        seen = observe.for_endpoints(kept, specs, scope)
        plan, outcomes = plan_endpoints.plan(seen, specs, scope)
        asked: set[tuple[str, Any]] = set()
        while True:
            fresh = {place for place in conflicts.to_ask(seen, outcomes) if place not in asked}
            asked |= fresh
            taken = _taken_by_others(seen, fresh)
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
            _verify(after, final, "endpoint")
    return {
        **result.of_plan(plan),
        "endpoints": [final.get(item.key) or _absent_endpoint(item.network, item.name) for item in specs],
        "diff": result.diff(_labelled(before), _labelled(after)),
        "warnings": [*plan.warnings, *conflicts.unasked(seen, asked)],
    }


def _taken_by_others(seen: Observed, places: Iterable[tuple[str, Any]]) -> dict[tuple[str, Any], str]:
    """Those of these addresses (by parent) that another station has, with its MAC; all are asked about at once."""
    talks = conflicts.talks(seen, places)
    wire.talk(talks)
    return {(parent, address): mac for parent, each in talks.items() for address, mac in each.found.items()}


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


# --- addresses ------------------------------------------------------------------------------------------------


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
    with _opened(module, "vlan_ipam") as kept:
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
    with _opened(module, "vlan_ipam") as kept:
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
    folder = _state_dir(params)
    timeout = spec.lock_timeout(params["lock_timeout"])
    with store.rebuilding(folder, timeout, module.check_mode, "vlan_ipam", _waiting(module)) as rebuilt:
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


# --- the service ----------------------------------------------------------------------------------------------


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


# --- reading only ---------------------------------------------------------------------------------------------


def networks_info(module: Any) -> Result:
    """vlan_network_info."""
    name = spec.name_looked_for(module.params["name"])
    verify, seconds = module.params["verify"], spec.seconds_to_listen(module.params)
    with _opened(module) as kept:
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
    with store.writing(_state_dir(module.params), _LOCK_TIMEOUT_OF_CHECKS, "vlan_network_info") as kept:
        former = kept.settings().get(GATEWAY_MACS, {})
        there = {name: former.get(name, {}) for name in kept.networks()}
        macs = {name: {**before, **seen.get(name, {})} for name, before in there.items()}
        apply(Plan(after=(Put(HostSetting(GATEWAY_MACS, macs)),)), kept, "")


def endpoints_info(module: Any) -> Result:
    """vlan_endpoint_info."""
    network, name = (spec.name_looked_for(module.params[option]) for option in ("network", "name"))
    with _opened(module) as kept:
        seen = observe.everything(kept)
        held = kept.allocations(network=network, owner=name)
    rows = {
        key: row for key, row in sorted(seen.endpoints.items()) if network in (None, key[0]) and name in (None, key[1])
    }
    seen = observe.spaces_of(seen, {row.target for row in rows.values()})
    shown = _present(seen, rows, rows, held)
    found = [result.others(rows[key], entry, seen.space_of(rows[key].target)) for key, entry in shown.items()]
    return {"changed": False, "endpoints": list(shown.values()), "others": [item for item in found if item]}


def addresses_info(module: Any) -> Result:
    """vlan_ipam_info."""
    params = module.params
    network, owner = (spec.name_looked_for(params[option]) for option in ("network", "owner"))
    wanted = None if params["address"] is None else spec.lone_address(params["address"])
    with _opened(module) as kept:
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
