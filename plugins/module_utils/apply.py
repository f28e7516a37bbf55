# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Carries a plan out: the only place that writes. The intent goes to the store first, then the kernel is changed, then
the store hears what is done; so a run that is broken off anywhere is finished by the next one.

An item that the kernel refuses does not keep the others from being done; the error names each that failed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ansible_collections.netops.underlay.plugins.module_utils import hosts, netlink
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError, Unfinished
from ansible_collections.netops.underlay.plugins.module_utils.facts import Link
from ansible_collections.netops.underlay.plugins.module_utils.links import has_sysctl
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    HOST,
    ROUTE_PROTOCOL,
    VLAN_PROTOCOLS,
    Endpoint,
    MadeNamespace,
    Target,
    making_group,
    parent_mark,
    sysctl_at,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Space, living, path_of, read_space
from ansible_collections.netops.underlay.plugins.module_utils.parents import IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL, half_made
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    PHASES,
    WHOLE_RUN,
    AddRoutes,
    Announce,
    ChangeParent,
    CheckGone,
    KernelStep,
    MakeLink,
    MakeNamespace,
    MakeParent,
    Plan,
    Put,
    PutNames,
    RemoveLink,
    RemoveNames,
    RemoveNamespace,
    RemoveRoutes,
    RouteSpec,
    Settle,
    SetUp,
    StepAside,
    StoreStep,
)
from ansible_collections.netops.underlay.plugins.module_utils.store import Store

# Well under the 1,024 descriptors that a process may have by default: one for each.
_CHANNELS_AT_ONCE = 500
_OF_THE_HOST_AT_ONCE = 64
_SPACES_AT_ONCE = 64  # with more of them a fresh /proc gets slow (namespaces.py, procfs), with fewer it does not pay
_CLEARED_WITHIN_S, _LOOK_EVERY_S = 2.0, 0.02
_LOOPBACK_INDEX = 1  # include/net/net_namespace.h: LOOPBACK_IFINDEX
_DEFAULT_DESTINATION = "default"
_ANOTHER = "it is another link than a moment ago; run the task again"


def apply(
    plan: Plan, store: Store, boot_id: str, spaces: Mapping[Target, Space | None] = MappingProxyType({})
) -> Mapping[Target, Space]:
    """Does all that the plan says; the namespaces in which it set up links, as they are now.

    :param spaces: the namespaces that it was made for
    :raises Unfinished: if the kernel refused something; what could be done is done, and told
    """
    store.write(plan.before)
    run = _Run(boot_id, spaces)
    of_phase: dict[type, list[KernelStep]] = {}
    for step in plan.kernel:
        # These are done in some namespaces after the other.
        kind = MakeNamespace if isinstance(step, (MakeLink, SetUp)) else type(step)
        of_phase.setdefault(kind, []).append(step)
    for phase in PHASES:
        steps = [step for step in of_phase.get(phase, ()) if step.item not in run.failed]
        if steps and phase is not Announce:
            try:
                _HANDLERS[phase](run, steps)
            except UnderlayError as error:  # what all of them need: a socket, or a list of what there is
                for step in steps:
                    run.note(step.item, error, _WORDS[type(step)])
    undone = {*run.failed, WHOLE_RUN} if run.failed else set()
    store.write([_settled(run, step) for step in plan.after if step.item not in undone])
    # When all is kept: another process tells it, and both would slow each other down.
    _announce(run, [step for step in plan.kernel if isinstance(step, Announce) and step.item not in run.failed])
    if run.failed:
        raise Unfinished("\n".join(f"{item}: {reason}" for item, reason in run.failed.items()), run.done)
    return run.after


class _Run:
    """What is known while a plan is carried out: which items failed and why, what was done, which namespaces are which."""

    def __init__(self, boot_id: str, spaces: Mapping[Target, Space | None]) -> None:
        self.boot_id = boot_id
        self.spaces = spaces
        self.failed: dict[str, str] = {}
        self.done: list[str] = []
        self.after: dict[Target, Space] = {}
        self.emptied: set[Target] = set()
        self.patience = _CLEARED_WITHIN_S

    def path(self, target: Target) -> str:
        space = self.spaces.get(target)
        return space.path if space else path_of(target)

    def note(self, item: str, error: UnderlayError | None, words: str) -> bool:
        """Keeps what became of a part of an item; whether it went well."""
        if error is None:
            self.done.append(words)
            return True
        self.failed.setdefault(item, f"{words}: {error}")
        return False


def _settled(run: _Run, step: StoreStep) -> StoreStep:
    if not isinstance(step, Settle):
        return step
    row = step.row
    if isinstance(row, (MadeNamespace, Endpoint)):
        space = run.after.get(Target("netns", row.name) if isinstance(row, MadeNamespace) else row.target)
        row = row._replace(cookie=space.cookie if space else row.cookie, boot_id=run.boot_id)
    return Put(row, step.item)


# --- namespaces -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(run: _Run, target: Target) -> Iterator[int]:
    space = run.spaces.get(target)
    descriptor = netlink.open_namespace(run.path(target))
    try:
        if space and space.identity != netlink.namespace_id(descriptor):
            raise netlink.MissingNamespace(f"{target} was another namespace a moment ago; run the task again")
        yield descriptor
    finally:
        os.close(descriptor)


def _by_space(steps: Iterable[Any]) -> dict[Target | None, list[Any]]:
    grouped: dict[Target | None, list[Any]] = {}
    for step in steps:
        grouped.setdefault(step.space, []).append(step)
    return grouped


def _remove_namespaces(run: _Run, steps: Sequence[RemoveNamespace]) -> None:
    occupied = netlink.occupied_namespaces()
    for step in steps:
        words = f"remove namespace '{step.target.value}'"
        try:
            if run.spaces.get(step.target) is None:
                netlink.remove_leftover(step.target.value)
                continue
            with _opened(run, step.target) as descriptor:
                # Somebody may have moved in since it was looked at.
                inode = netlink.namespace_id(descriptor)[1]
                lived_in = inode in occupied or _has_links(run, step.target, descriptor)
            if not lived_in:
                netlink.remove_namespace(step.target.value)
                run.note(step.item, None, words)
        except netlink.MissingNamespace:
            continue
        except UnderlayError as error:
            run.note(step.item, error, words)


def _has_links(run: _Run, target: Target, descriptor: int) -> bool:
    if target in run.emptied:  # a moment ago
        return False
    with netlink.Channel(descriptor) as channel:
        return any(not link.loopback for link in channel.links())


def _check_gone(run: _Run, steps: Sequence[CheckGone]) -> None:
    there = living()
    for step in steps:
        back = UnderlayError("it is there after all, so nothing of it was released") if step.cookie in there else None
        run.note(step.item, back, "look once more for its namespace")


# --- links that go --------------------------------------------------------------------------------------------


def _remove_links(run: _Run, steps: Sequence[RemoveLink]) -> None:
    """Those of many namespaces at a time, and many of the host's: with each the kernel waits until all its readers have let
    go, and meanwhile the next namespace is opened, where it is looked once more whose the links are."""
    # What is made on a link goes before the link.
    groups = sorted(_by_space(steps).items(), key=lambda pair: pair[0] is None)
    ways = _ways(sum(step.space is None for step in steps))
    under_way: deque[_Removal] = deque()
    with netlink.side_by_side(len(groups) - 1 + ways) as send:
        for target, group in groups:
            while under_way and (target is None or len(under_way) >= _CHANNELS_AT_ONCE):
                _note_removed(run, under_way.popleft())
            try:
                with _opened(run, target or HOST) as descriptor:
                    channel = netlink.Channel(descriptor)
            except netlink.MissingNamespace:
                continue  # and its links with it
            except UnderlayError as error:
                _note_all(run, group, error)
                continue
            try:
                links = {link.name: link for link in channel.links()}
            except UnderlayError as error:
                channel.close()
                _note_all(run, group, error)
                continue
            certain = [step for step in group if _is_still(links.get(step.name), step)]
            empties = target is not None and {step.name for step in certain} >= _but_loopback(links.values())
            parts = [certain] if target else [certain[first::ways] for first in range(ways)]
            for number, part in enumerate(parts):
                try:
                    by = netlink.Channel() if number else channel
                except UnderlayError as error:
                    _note_all(run, part, error)
                    continue
                answers = send(by, [netlink.DeleteLink(step.index) for step in part])
                under_way.append(_Removal(by, part, answers, target if empties else None))
        while under_way:
            _note_removed(run, under_way.popleft())


def _ways(count: int) -> int:
    """In how many parts that many links of the host are removed side by side. One processor has no readers to wait for
    (kernel/rcu/tree.c, ``rcu_blocking_is_gp``)."""
    return 1 if os.cpu_count() == 1 else max(1, min(count, _OF_THE_HOST_AT_ONCE))


class _Removal(NamedTuple):
    """Links on their way out of a namespace; ``empties`` is that namespace, if nothing but its loopback stays."""

    channel: netlink.Channel
    steps: Sequence[RemoveLink]
    answers: netlink.Answers
    empties: Target | None


def _note_removed(run: _Run, removal: _Removal) -> None:
    with removal.channel:
        for step, answer in zip(removal.steps, removal.answers()):
            gone = answer is not None and answer.errno == errno.ENODEV
            run.note(step.item, None if gone else answer, f"remove link '{step.name}' ({step.space or 'host'})")
    if removal.empties and not any(step.item in run.failed for step in removal.steps):
        run.emptied.add(removal.empties)


def _note_all(run: _Run, steps: Iterable[RemoveLink], error: UnderlayError) -> None:
    for step in steps:
        run.note(step.item, error, f"remove link '{step.name}'")


def _but_loopback(links: Iterable[Link]) -> set[str]:
    return {link.name for link in links if not link.loopback}


def _is_still(link: Link | None, step: RemoveLink) -> bool:
    """Whether the link is the very one that was planned on: an index or a name alone may by now be another's."""
    if link is None or link.index != step.index:
        return False
    return link.alias == step.mark or half_made(link, step.mark)


# --- parents --------------------------------------------------------------------------------------------------


def _make_parents(run: _Run, steps: Sequence[MakeParent]) -> None:
    with netlink.Channel() as channel:
        indexes = {link.name: link.index for link in channel.links()}
        requests = [_new_parent(step, indexes) for step in steps]
        answers = channel.send(requests)
        made = [
            step
            for step, answer in zip(steps, answers)
            if run.note(step.item, _explained(answer, step.parent.kind), f"make parent '{step.parent.name}'")
        ]
        links = {link.name: link for link in channel.links()}
        marked: list[tuple[MakeParent, netlink.Request]] = []
        for step in made:
            mark = parent_mark(step.parent.name)
            link = links.get(step.parent.name)
            if link is None or not half_made(link, mark):
                run.note(step.item, UnderlayError("it is gone again"), f"mark and raise parent '{step.parent.name}'")
                continue
            marked.append((step, netlink.ChangeLink(link.index, alias=mark, up=True if step.up else None, group=0)))
        for (step, _change), answer in zip(marked, channel.send([change for _step, change in marked])):
            run.note(step.item, answer, f"mark and raise parent '{step.parent.name}'")


def _new_parent(step: MakeParent, indexes: dict[str, int]) -> netlink.CreateLink:
    parent = step.parent
    group = making_group(parent_mark(parent.name))
    if parent.base is None:
        return netlink.CreateLink(parent.name, parent.kind, mtu=step.mtu, group=group)
    attributes = (
        (IFLA_VLAN_ID, "=H", parent.vlan_id),
        (IFLA_VLAN_PROTOCOL, ">H", VLAN_PROTOCOLS[parent.protocol]),
    )
    index = indexes.get(parent.base)
    return netlink.CreateLink(
        parent.name, parent.kind, parent_index=index, mtu=step.mtu, attributes=attributes, group=group
    )


def _change_parents(run: _Run, steps: Sequence[ChangeParent]) -> None:
    steps = [step for step in steps if step.space is None or _came_back(run, step, step.space)]
    with netlink.Channel() as channel:
        links = {link.name: link for link in channel.links()}
        indexes = {name: link.index for name, link in links.items()}
        steps = [step for step in steps if step.mark is None or _is_to_be_marked(run, step, links.get(step.name))]
        renamed = [step for step in steps if step.new_name and step.new_name != step.name]
        # A link that is up keeps its name on kernels before 6.3 (net/core/dev.c, dev_change_name).
        downs = [netlink.ChangeLink(indexes.get(step.name, 0), up=False) for step in renamed]
        for step, answer in zip(renamed, channel.send(downs)):
            run.note(step.item, answer, f"set parent '{step.name}' down")
        requests = [
            netlink.ChangeLink(
                indexes.get(step.name, 0),
                name=step.new_name,
                alias=step.mark,
                up=step.up,
                mtu=step.mtu,
                group=0 if step.mark else None,
            )
            for step in steps
        ]
        for step, answer in zip(steps, channel.send(requests)):
            run.note(step.item, answer, f"change parent '{step.name}'")


def _is_to_be_marked(run: _Run, step: ChangeParent, link: Link | None) -> bool:
    if step.mark and link and half_made(link, step.mark):
        return True
    return run.note(step.item, UnderlayError(_ANOTHER), f"mark parent '{step.name}'")


def _came_back(run: _Run, step: ChangeParent, place: Target) -> bool:
    """Brings a parent under its name from the namespace that somebody moved it to; the kernel sets it down."""
    answer: UnderlayError | None
    own = netlink.current_namespace()
    try:
        with _opened(run, place) as descriptor, netlink.Channel(descriptor) as channel:
            mark = parent_mark(step.name)
            link = next((link for link in channel.links() if link.alias == mark), None)
            if link is None:
                raise UnderlayError("it was there a moment ago; run the task again")
            [answer] = channel.send([netlink.ChangeLink(link.index, name=step.name, netns_fd=own)])
    except UnderlayError as error:
        answer = error
    finally:
        os.close(own)
    return run.note(step.item, answer, f"bring parent '{step.name}' back from {place}")


# --- routes of the host ---------------------------------------------------------------------------------------


def _remove_routes(run: _Run, steps: Sequence[RemoveRoutes]) -> None:
    _send_routes(run, steps, netlink.DeleteRoute, "take away", (errno.ESRCH, errno.ENODEV))


def _add_routes(run: _Run, steps: Sequence[AddRoutes]) -> None:
    _send_routes(run, steps, netlink.AddRoute, "set", (errno.EEXIST,))


def _send_routes(
    run: _Run, steps: Sequence[Any], kind: Callable[..., Any], verb: str, as_wanted: tuple[int, ...]
) -> None:
    """``onlink``: at boot they come before the address of the parent may be there."""
    with netlink.Channel() as channel:
        indexes = {link.name: link.index for link in channel.links()}
        pairs = [(step, route) for step in steps for route in step.routes]
        answers = channel.send(
            [
                kind(
                    route.subnet.version,
                    str(route.subnet),
                    indexes.get(step.parent, 0),
                    gateway=str(route.via),
                    onlink=True,
                    protocol=ROUTE_PROTOCOL,
                )
                for step, route in pairs
            ]
        )
    for (step, route), answer in zip(pairs, answers):
        error = None if answer is not None and answer.errno in as_wanted else answer
        run.note(step.item, error, f"{verb} the route to {route} by link '{step.parent}'")


# --- endpoints' links -----------------------------------------------------------------------------------------


class _Room(NamedTuple):
    """A namespace with its descriptor, and what is to be done in it."""

    target: Target
    descriptor: int
    steps: Sequence[MakeLink | SetUp]


def _make_and_set_up(run: _Run, steps: Sequence[MakeNamespace | MakeLink | SetUp]) -> None:
    """Some namespaces at a time, each of which is opened once: links are made in all of them in one go from the host's side,
    where each appears in its namespace at once, and are then set up from inside. Meanwhile the next namespaces are made."""
    grouped: dict[Target, list[MakeLink | SetUp]] = {}
    new: dict[Target, MakeNamespace] = {}
    for step in steps:
        if isinstance(step, MakeNamespace):
            new[step.target] = step
            grouped.setdefault(step.target, [])
        else:
            grouped.setdefault(step.space, []).append(step)
    targets = [*new, *(target for target in grouped if target not in new)]
    made = netlink.create_namespaces(target.value for target in new)
    with contextlib.closing(made) as answers, netlink.Channel() as channel, netlink.at_home() as home:
        links = channel.links() if any(isinstance(step, MakeLink) for step in steps) else ()
        indexes = {link.name: link.index for link in links}
        for start in range(0, len(targets), _SPACES_AT_ONCE):
            some = targets[start : start + _SPACES_AT_ONCE]
            _await_namespaces(run, [new[target] for target in some if target in new], answers)
            with netlink.procfs() as proc, contextlib.ExitStack() as stack:
                rooms = list(_opened_rooms(run, stack, {target: grouped[target] for target in some}))
                _make_links(run, channel, indexes, rooms)
                for room in rooms:
                    _set_up_room(run, proc, home, room)


def _await_namespaces(run: _Run, steps: Sequence[MakeNamespace], answers: Iterator[UnderlayError | None]) -> None:
    for step in steps:
        run.note(step.item, next(answers), f"make namespace '{step.target.value}'")


def _opened_rooms(
    run: _Run, stack: contextlib.ExitStack, groups: Mapping[Target, Iterable[MakeLink | SetUp]]
) -> Iterator[_Room]:
    for target, group in groups.items():
        steps = [step for step in group if step.item not in run.failed]
        if not steps:
            continue
        try:
            yield _Room(target, stack.enter_context(_opened(run, target)), steps)
        except UnderlayError as error:
            for step in steps:
                run.note(step.item, error, _words_of_step(step))


def _words_of_step(step: MakeLink | SetUp) -> str:
    if isinstance(step, MakeLink):
        return f"make a {step.kind} link on '{step.parent}' in {step.space}"
    return f"set up link '{step.name}' in {step.space}"


def _make_links(run: _Run, channel: netlink.Channel, indexes: Mapping[str, int], rooms: Iterable[_Room]) -> None:
    ready: list[tuple[MakeLink, netlink.Request]] = []
    for room in rooms:
        for step in room.steps:
            if not isinstance(step, MakeLink):
                continue
            if step.parent not in indexes:
                gone = UnderlayError(f"parent '{step.parent}' is not there (any more)")
                run.note(step.item, gone, _words_of_step(step))
                continue
            request = netlink.CreateLink(
                step.name,
                step.kind,
                parent_index=indexes[step.parent],
                netns_fd=room.descriptor,
                mtu=step.mtu,
                mac=step.mac_address,
                attributes=step.attributes,
                group=step.group,
            )
            ready.append((step, request))
    answers = channel.send([request for _step, request in ready])
    for (step, _request), answer in zip(ready, answers):
        run.note(step.item, _explained(answer, step.kind), _words_of_step(step))


def _explained(error: netlink.NetlinkError | None, kind: str) -> UnderlayError | None:
    """The kernel's error with what it means for the user, where that is known."""
    if error is None:
        return None
    meaning = {
        errno.EOPNOTSUPP: f"the link below takes no '{kind}' links, or this kernel has none; name another parent",
        errno.EEXIST: "another link has taken its name or its VLAN meanwhile; run the task again",
        errno.EBUSY: "the parent is used by a bridge, a bond or another driver; use another parent",
    }
    if error.errno not in meaning:
        return error
    return UnderlayError(f"{error}: {meaning[error.errno]}")


def _step_aside(run: _Run, steps: Sequence[StepAside]) -> None:
    for step in steps:
        try:
            with _opened(run, step.space) as descriptor, netlink.Channel(descriptor) as channel:
                link = channel.link(step.first.link)
                if link is None:
                    raise UnderlayError(f"link '{step.first.link}' is not there (any more)")
                refused = _refused(run, channel, _requests(step.first, link))
        except UnderlayError as error:
            run.note(step.item, error, _WORDS[StepAside])
            continue
        for request, answer in refused:
            run.note(step.item, answer, _words(request, step.first))


def _set_up_room(run: _Run, proc: int, home: int, room: _Room) -> None:
    steps = [step for step in room.steps if isinstance(step, SetUp) and step.item not in run.failed]
    if not steps:
        return
    try:
        with netlink.entered(room.descriptor, home), netlink.Channel() as channel:
            for step in steps:
                _set_up_one(run, channel, proc, step)
            run.after[room.target] = read_space(channel, netlink.namespace_id(room.descriptor), run.path(room.target))
    except UnderlayError as error:
        for step in steps:
            run.note(step.item, error, _words_of_step(step))


def _set_up_one(run: _Run, channel: netlink.Channel, proc: int, step: SetUp) -> None:
    """In the namespace that this thread is in."""
    link = channel.link(step.link)
    if link is None:
        raise UnderlayError(f"link '{step.link}' is not there (any more)")
    if step.made and not half_made(link, step.mark or ""):
        raise UnderlayError(_ANOTHER)
    sysctls = {
        sysctl_at(key, step.link): value for key, value in step.sysctls.items() if not has_sysctl(link, key, value)
    }
    if sysctls:
        netlink.write_sysctl(proc, None, sysctls)
    requests = _requests(step, link)
    for request, error in _refused(run, channel, requests):
        run.note(step.item, error, _words(request, step))
    if step.item not in run.failed:
        run.done.append(f"set up link '{step.name}' in {step.space}")


def _refused(
    run: _Run, channel: netlink.Channel, requests: list[netlink.Request]
) -> list[tuple[netlink.Request, netlink.NetlinkError]]:
    """Sends them; those that were refused. What a namespace had that was removed a moment ago is still in use until the
    kernel has cleared it away (net/core/net_namespace.c, cleanup_net): an address of an ipvlan, the MAC of a macvlan."""
    while True:
        refused = [
            (request, answer)
            for request, answer in zip(requests, channel.send(requests))
            if answer is not None and not _as_wanted(request, answer)
        ]
        if run.patience <= 0 or all(error.errno != errno.EADDRINUSE for _request, error in refused):
            return refused
        time.sleep(_LOOK_EVERY_S)
        run.patience -= _LOOK_EVERY_S
        requests = [request for request, _error in refused]


def _requests(step: SetUp, link: Link) -> list[netlink.Request]:
    requests: list[netlink.Request] = []
    if step.loopback_up:
        requests.append(netlink.ChangeLink(_LOOPBACK_INDEX, up=True))
    requests += [_route(netlink.DeleteRoute, link.index, route) for route in step.routes_off]
    requests += [netlink.DeleteAddress(link.index, str(address), plen) for address, plen in step.addresses_off]
    if step.rename and link.up:
        requests.append(netlink.ChangeLink(link.index, up=False))
    change = netlink.ChangeLink(
        link.index,
        name=step.name if step.rename else None,
        alias=step.mark,
        up=True if step.up else None,
        mtu=step.mtu,
        mac=step.mac_address,
        kind=step.kind,
        attributes=step.attributes,
        group=0 if step.made else None,
    )
    if step.made or change != netlink.ChangeLink(link.index):
        requests.append(change)
    requests += [
        netlink.AddAddress(link.index, str(address), plen, optimistic=step.optimistic)
        for address, plen in step.addresses
    ]
    requests += [_route(netlink.AddRoute, link.index, route) for route in step.routes]
    return requests


def _route(request: Callable[..., Any], index: int, route: RouteSpec) -> Any:
    gateway = None if route.gateway is None else str(route.gateway)
    if route.destination is None:
        return request(route.family, _DEFAULT_DESTINATION, index, gateway=gateway, onlink=route.onlink)
    destination = f"{route.destination}/{route.destination.max_prefixlen}"
    return request(route.family, destination, index, protocol=ROUTE_PROTOCOL)


def _as_wanted(request: netlink.Request, error: netlink.NetlinkError) -> bool:
    """Whether the refusal says that things are as they should be: what should come is there, what should go is gone."""
    if isinstance(request, (netlink.DeleteAddress, netlink.DeleteRoute)):
        return error.errno in (errno.EADDRNOTAVAIL, errno.ESRCH)
    return isinstance(request, (netlink.AddAddress, netlink.AddRoute)) and error.errno == errno.EEXIST


def _words(request: netlink.Request, step: SetUp) -> str:
    where = f"in {step.space}"
    if isinstance(request, netlink.AddAddress):
        return f"give {request.address}/{request.prefixlen} to link '{step.name}' {where}"
    if isinstance(request, netlink.AddRoute) and request.destination != _DEFAULT_DESTINATION:
        return f"set the route to {request.destination} by link '{step.name}' {where}"
    if isinstance(request, netlink.AddRoute):
        return (
            f"set the default route {'via ' + request.gateway if request.gateway else ''} by link '{step.name}' {where}"
        )
    return f"set up link '{step.name}' {where}"


def _announce(run: _Run, steps: Sequence[Announce]) -> None:
    """What is told of each link is what was read back of it."""
    if not steps:
        return
    # Only where it is needed, since it takes its time.
    from ansible_collections.netops.underlay.plugins.module_utils.announce import Speaker, send_announcements

    speakers = []
    for step in steps:
        space = run.after.get(step.space)
        link = space.marked(step.mark) if space else None
        if space and link:
            told = step.addresses, step.count, step.interval_ms / 1000
            speakers.append(Speaker(space.path, space.identity, link.name, link.mac, *told))
    send_announcements(speakers)


# --- names ----------------------------------------------------------------------------------------------------


def _put_names(run: _Run, steps: Sequence[PutNames]) -> None:
    for step in steps:
        try:
            if step.base is not None:
                hosts.make_file(step.path, hosts.with_block(step.base, step.block))
            else:
                hosts.put_block(step.path, step.block)
        except UnderlayError as error:
            run.note(step.item, error, f"write names to {step.path}")


def _remove_names(run: _Run, steps: Sequence[RemoveNames]) -> None:
    for step in steps:
        try:
            hosts.remove_file(step.path, step.digest, step.folders)
        except UnderlayError as error:
            run.note(step.item, error, f"take names away from {step.path}")


_HANDLERS: dict[type, Callable[[_Run, Any], None]] = {
    CheckGone: _check_gone,
    RemoveRoutes: _remove_routes,
    RemoveLink: _remove_links,
    StepAside: _step_aside,
    RemoveNamespace: _remove_namespaces,
    MakeParent: _make_parents,
    ChangeParent: _change_parents,
    AddRoutes: _add_routes,
    MakeNamespace: _make_and_set_up,
    PutNames: _put_names,
    RemoveNames: _remove_names,
}

# What an item hears if all of a phase fail alike.
_WORDS = {
    CheckGone: "look once more for its namespace",
    RemoveRoutes: "take its routes away",
    RemoveLink: "remove its link",
    StepAside: "let its link give up what another one takes",
    RemoveNamespace: "remove its namespace",
    MakeParent: "make its parent",
    ChangeParent: "change its parent",
    AddRoutes: "set its routes",
    MakeNamespace: "make its namespace",
    MakeLink: "make its link",
    SetUp: "set up its link",
    PutNames: "write its names",
    RemoveNames: "take its names away",
}
