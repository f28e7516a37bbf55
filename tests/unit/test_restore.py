# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the service decides without looking: what waits, what comes back, what keeps nothing else from it."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import (
    engines,
    netlink,
    plan_endpoints,
    plan_networks,
    restore,
)
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused, Unfinished
from ansible_collections.netops.underlay.plugins.module_utils.model import HOST, Endpoint, Parent, Target, parent_mark

from .builders import BOOT, host, link, network, replace, seen, space, vlan_link

NET, HAND = network("front"), network("hand", parent="eth1.7")
MADE = Parent("eth0.20", "eth0", 20)
BOTH = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20))


@pytest.mark.parametrize(
    ("on", "made", "net", "missing"),
    [
        (host(link(2, "eth0")), [MADE], NET, None),
        (host(link(2, "eth9")), [MADE], NET, "eth0"),
        (BOTH, [MADE], NET, None),
        (host(link(2, "eth0")), [], NET, "eth0.20"),  # somebody else's: not made in its owner's place
        (BOTH, [], NET, None),
        (host(), [Parent(network("dummy", parent=None).parent)], network("dummy", parent=None), None),
    ],
)
def test_a_network_waits_for_the_link_that_others_have_to_bring(on, made, net, missing):
    assert plan_networks.awaited(seen(net, on=on, made=made), net) == missing


def test_networks_are_asked_for_as_they_are():
    inner = replace(network("inner", parent="eth0.9"), internal=True)
    specs = plan_networks.as_specs([NET, inner])
    assert [(spec.name, spec.parent) for spec in specs] == [("front", "eth0.20"), ("inner", None)]
    ours = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20, alias=parent_mark("eth0.20")))
    observed = seen(NET, on=ours, made=[MADE])
    assert not plan_networks.plan(observed, specs[:1]).plan.writes


def row(target: Target, **fields: Any) -> Endpoint:
    return Endpoint("front", "x", target, "eth0", None, (), **{"boot_id": BOOT, "cookie": 77, **fields})


PID, PATH, PROC = Target("pid", "7"), Target("netns_path", "/run/x"), Target("netns_path", "/proc/7/ns/net")
THERE = space(77)


@pytest.mark.parametrize(
    ("kept", "found", "leads"),
    [
        (row(Target("netns", "web")), None, True),  # it can be made
        (row(HOST), THERE, True),
        (row(PID, start_time=5), None, False),
        (row(PID, start_time=5), replace(THERE, start_time=5), True),
        (row(PID, start_time=5), replace(THERE, start_time=6), False),
        (row(PID, start_time=5, boot_id="before"), replace(THERE, start_time=5), False),
        (row(PID, start_time=5, boot_id="", cookie=None), replace(THERE, start_time=5), True),  # a run broke off
        (row(PATH, boot_id="before"), THERE, True),  # it is a name
        (row(PATH), None, False),
        (row(PROC), THERE, True),
        (row(PROC), space(78), False),
        (row(PROC, boot_id="before"), THERE, False),
        (row(Target("container", "app", "docker"), boot_id="before"), space(5), True),
        (row(Target("container", "app", "docker")), None, False),
    ],
)
def test_what_the_target_of_a_row_still_leads_to(kept, found, leads):
    assert plan_endpoints.leads_on(seen(NET, endpoints=[kept], spaces={kept.target: found}), kept) is leads


def test_only_what_hangs_on_something_else_than_before_is_put_back():
    hand = replace(HAND, parent="eth1")
    observed = seen(NET, hand, on=host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20), link(4, "eth1")), made=[MADE])
    now = restore.ground(observed)
    assert now == {"front": (3, 2), "hand": (4, None)}
    assert restore.shaken(observed, now, set()) == set()
    assert restore.shaken(observed, now, {"eth7"}) == set()
    assert restore.shaken(observed, now, {"eth0"}) == {"front"}  # it went, and is there again under its number
    assert restore.shaken(observed, now, {"eth0.20"}) == {"front"}
    assert restore.shaken(observed, {**now, "hand": (None, None)}, set()) == {"hand"}
    assert restore.shaken(observed, {}, set()) == set()  # made by a run since
    assert restore.shaken(observed, {}, None) == {"front", "hand"}  # some events were lost


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_what_is_refused_keeps_nothing_else_from_being_put_back(count):
    bad = {3, 4, 39}
    said: list[str] = []
    done: list[int] = []
    tries = []

    def attempt(some: Any) -> None:
        tries.append(some)
        if bad & set(some):
            raise Refused(f"{number} is bad" for number in some if number in bad)
        done.extend(some)

    kept = restore._Pass(None, said.append).in_halves(range(count), attempt)
    assert kept == done == [number for number in range(count) if number not in bad]
    assert said == [f"{number} is bad" for number in range(count) if number in bad]
    assert len(tries) <= 1 + 2 * 6 * len(said)


def test_what_the_kernel_refuses_is_said_and_not_tried_again():
    said: list[str] = []
    tries = []

    def attempt(some: Any) -> None:
        tries.append(some)
        raise Unfinished("one: busy", ["two"])

    assert restore._Pass(None, said.append).in_halves([1, 2], attempt) == [1, 2]
    assert (said, tries) == (["one: busy"], [[1, 2]])


def test_another_descriptor_is_listened_to_beside_the_engines(monkeypatch):
    monkeypatch.setattr(engines, "_installed", dict)
    reader, writer = os.pipe()
    listener = engines.started(beside=reader)
    os.write(writer, b"x")
    assert next(listener) == (None, None, None)
    assert os.read(reader, 9) == b"x"
    os.write(writer, b"y")
    assert next(listener) == (None, None, None)
    listener.close()
    os.close(reader)
    os.close(writer)


def test_who_takes_away_again_and_again_what_is_put_back_is_not_raced():
    waits = [restore.patience(times) for times in range(100)]
    assert waits[:11] == [0.3] * 11  # a card that goes and returns is put back two or three times
    assert waits == sorted(waits) and waits[-1] == 10


@pytest.mark.parametrize("address", ["/{}/notify", "@{}"])
def test_systemd_hears_that_it_is_ready(address, tmp_path, monkeypatch):
    place = address.format(str(tmp_path).strip("/"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(place.replace("@", "\0"))
        monkeypatch.setenv("NOTIFY_SOCKET", place)
        restore._tell_systemd("READY=1")
        assert listening.recv(99) == b"READY=1"
    restore._tell_systemd("READY=1")  # nobody listens any more
    monkeypatch.delenv("NOTIFY_SOCKET")
    restore._tell_systemd("READY=1")


def test_without_its_libraries_it_says_so_and_is_not_started_again(monkeypatch, capsys):
    def missing() -> None:
        raise netlink.MissingLibrary("pyroute2 is missing")

    monkeypatch.setattr(netlink, "require", missing)
    monkeypatch.setattr(restore.signal, "signal", lambda *_: None)
    assert restore.main(["watch"]) == 78
    assert capsys.readouterr().err == "pyroute2 is missing\n"


def test_ctrl_c_ends_the_command_without_a_traceback(monkeypatch):
    def interrupted(*_given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(restore, "put_back", interrupted)
    monkeypatch.setattr(restore.signal, "signal", lambda *_given: None)
    assert restore.main(["restore"]) == 130
