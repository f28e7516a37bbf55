# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The plan of addresses: the owner is the key, all of a task is one transaction."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import plan_addresses
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import Action, Allocation, moment
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import AddressSpec, Expiry
from ansible_collections.netops.underlay.plugins.module_utils.steps import Drop, Plan, Put
from hypothesis import given
from hypothesis import strategies as st

from .builders import carried_out, held, network, replace, reserved, seen, subnet

NET = network("vlan20", subnet("192.168.20.0/29"), "2001:db8::/64")


def ask(owner: str, address: str | None = None, family: int = 4, **fields: Any) -> AddressSpec:
    values = {"network": "vlan20", "state": "present", "description": None, **fields}
    parsed = None if address is None else ip_address(address)
    return AddressSpec(
        f"owner '{owner}'", owner=owner, address=parsed, family=parsed.version if parsed else family, **values
    )


def gone(owner: str, address: str | None = None, **fields: Any) -> AddressSpec:
    return ask(owner, address, state="absent", **fields)


def plan(observed: Observed, *specs: AddressSpec) -> tuple[Plan, list[str | None]]:
    before = repr((observed, specs))
    found, outcomes = plan_addresses.plan(observed, specs)
    assert plan_addresses.plan(observed, specs) == (found, outcomes)
    assert repr((observed, specs)) == before
    assert (found.kernel, found.after) == ((), ())
    return found, [row and str(row.address) for row in outcomes]


def refusal(observed: Observed, *specs: AddressSpec) -> str:
    with pytest.raises(Refused) as error:
        plan_addresses.plan(observed, specs)
    return str(error.value)


def after(observed: Observed, *specs: AddressSpec) -> Observed:
    return carried_out(observed, plan(observed, *specs)[0])


def owner_change(before: str | None, owner: str | None) -> dict[str, Any]:
    return {"owner": {"before": before, "after": owner}}


def test_the_next_free_address_for_an_owner():
    found, outcomes = plan(seen(NET), ask("vm", description="build VM"))
    row = Allocation("eth0.20", "vlan20", "reserved", "vm", ip_address("192.168.20.2"), "build VM")
    assert outcomes == ["192.168.20.2"]
    assert found == Plan(
        actions=(Action("allocate", "address", "192.168.20.2", owner_change(None, "vm")),), before=(Put(row),)
    )


def test_the_same_owner_has_the_same_address():
    observed = after(seen(NET), ask("x"), ask("vm"))
    assert plan(observed, ask("vm")) == (Plan(), ["192.168.20.3"])
    assert plan(after(observed, gone("x")), ask("vm")) == (Plan(), ["192.168.20.3"])


def test_an_owner_has_one_of_each_family():
    observed = after(seen(NET), ask("vm"), ask("vm", family=6))
    assert plan(observed, ask("vm"), ask("vm", family=6)) == (Plan(), ["192.168.20.2", "2001:db8::2"])


def test_asked_for_addresses_come_first_and_the_results_in_input_order():
    assert plan(seen(NET), ask("a"), ask("b", "192.168.20.2"), ask("c"))[1] == [
        "192.168.20.3",
        "192.168.20.2",
        "192.168.20.4",
    ]


def test_another_address_for_an_owner_releases_the_old_one():
    observed = after(seen(NET), ask("vm"))
    found, outcomes = plan(observed, ask("vm", "192.168.20.6"))
    assert outcomes == ["192.168.20.6"]
    assert found.actions == (
        Action("release", "address", "192.168.20.2", owner_change("vm", None)),
        Action("allocate", "address", "192.168.20.6", owner_change(None, "vm")),
    )
    assert [str(row.address) for row in carried_out(observed, found).allocations] == ["192.168.20.6"]


def test_a_description_is_changed_in_place_and_kept_where_left_out():
    observed = after(seen(NET), ask("vm", description="one"))
    assert plan(observed, ask("vm"))[0] == Plan()
    found, _outcomes = plan(observed, ask("vm", description="two"))
    change = {"description": {"before": "one", "after": "two"}}
    assert found.actions == (Action("change", "address", "192.168.20.2", change),)
    assert [row.description for row in carried_out(observed, found).allocations] == ["two"]
    assert [row.description for row in after(observed, ask("vm", description="")).allocations] == [""]


def test_what_one_releases_another_can_have_in_one_transaction():
    observed = after(seen(NET), ask("old", "192.168.20.5"))
    for specs in ([gone("old"), ask("new", "192.168.20.5")], [ask("new", "192.168.20.5"), gone("old")]):
        found, _outcomes = plan(observed, *specs)
        assert [(type(step), step.row.owner) for step in found.before] == [(Drop, "old"), (Put, "new")]
        assert [row.owner for row in carried_out(observed, found).allocations] == ["new"]


def test_release_of_what_is_not_held_is_nothing():
    assert plan(seen(NET), gone("vm")) == (Plan(), [None])
    assert plan(seen(NET), gone("vm", network="no")) == (Plan(), [None])


def test_only_the_address_that_is_held_is_released():
    observed = after(seen(NET), ask("vm"))
    assert refusal(observed, gone("vm", "192.168.20.6")) == (
        "owner 'vm': owner 'vm' holds 192.168.20.2 in network 'vlan20', not 192.168.20.6; leave address out to release "
        "what it holds"
    )
    assert after(observed, gone("vm", "192.168.20.2")).allocations == ()


def test_an_endpoint_of_the_same_name_is_another_owner():
    observed = seen(NET, allocations=held(NET, "vm", "192.168.20.2"))
    assert plan(observed, ask("vm"))[1] == ["192.168.20.3"]
    assert plan(observed, gone("vm"))[0] == Plan()


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (ask("vm", network="no"), "network 'no' does not exist; make it with vlan_network first"),
        (
            ask("vm", "192.168.20.4"),
            "address 192.168.20.4 cannot be used in network 'vlan20': it is held by endpoint 'web1' of network 'vlan20'",
        ),
        (
            ask("vm", "192.168.20.5"),
            "address 192.168.20.5 cannot be used in network 'vlan20': it is held by owner 'x' of network 'vlan20'",
        ),
        (
            ask("vm", "192.168.20.1"),
            "address 192.168.20.1 cannot be used in network 'vlan20': it is the gateway of network 'vlan20'",
        ),
        (
            ask("vm", "192.168.20.7"),
            "address 192.168.20.7 cannot be used in network 'vlan20': it is the broadcast address of 192.168.20.0/29",
        ),
        (
            ask("vm", "10.0.0.1"),
            "address 10.0.0.1 cannot be used in network 'vlan20': it is outside its subnets (192.168.20.0/29, "
            "2001:db8::/64)",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(spec, text):
    rows = held(NET, "web1", "192.168.20.4") + reserved(NET, "x", "192.168.20.5")
    assert refusal(seen(NET, allocations=rows), spec) == f"owner 'vm': {text}"


def test_every_failing_item_is_named_in_input_order():
    text = refusal(seen(NET), ask("a", network="no"), ask("b"), ask("c", "10.0.0.1"), ask("d", network="no"))
    assert [line.split(":")[0] for line in text.splitlines()] == ["owner 'a'", "owner 'c'", "owner 'd'"]


def test_a_full_network_is_told():
    text = refusal(seen(NET), *(ask(f"o{number}") for number in range(6)))
    assert text.startswith(
        "owner 'o5': network 'vlan20' has no free IPv4 address left in 192.168.20.0/29; release some"
    )


addresses = st.sampled_from([None, None, "192.168.20.2", "192.168.20.4", "192.168.20.6", "2001:db8::9"])
items = st.tuples(st.sampled_from("abcd"), st.booleans(), addresses, st.sampled_from([4, 4, 6]))


@given(st.lists(st.lists(items, max_size=3, unique_by=lambda item: item[0]), max_size=6))
def test_any_run_is_refused_or_leaves_nothing_for_the_next(runs):
    observed = seen(NET)
    for run in runs:
        specs = [
            ask(owner, text, family) if present else gone(owner, None, family=family)
            for owner, present, text, family in run
        ]
        try:
            found, outcomes = plan(observed, *specs)
        except Refused:
            continue
        observed = carried_out(observed, found)
        assert plan(observed, *specs) == (Plan(), outcomes)
        keys = [(row.owner, row.family) for row in observed.allocations]
        assert len(set(keys)) == len(keys)


# --- ranges, swaps, time --------------------------------------------------------------------------------------


def block(owner: str, first: str, last: str, **fields: Any) -> AddressSpec:
    return replace(ask(owner, first, **fields), last=ip_address(last))


def words(found: Plan) -> list[tuple[str, str]]:
    return [(action.action, action.name) for action in found.actions]


WIDE = network("vlan20", "192.168.20.0/24")


@pytest.mark.parametrize("cooldown", [0, 60])
def test_a_range_is_one_allocation_and_can_change(cooldown):
    observed = after(seen(replace(WIDE, cooldown=cooldown)), block("x", "192.168.20.10", "192.168.20.19"))
    assert [row.text for row in observed.allocations] == ["192.168.20.10-192.168.20.19"]
    assert plan(observed, block("x", "192.168.20.10", "192.168.20.19"))[0] == Plan()
    assert plan(observed, ask("x"))[0] == Plan(), "left out, it is what the owner has"
    wider = block("x", "192.168.20.10", "192.168.20.29")
    found, _outcomes = plan(observed, wider)
    assert words(found) == [
        ("release", "192.168.20.10-192.168.20.19"),
        ("allocate", "192.168.20.10-192.168.20.29"),
    ]
    changed = carried_out(observed, found)
    assert [row.text for row in changed.allocations] == ["192.168.20.10-192.168.20.29"]
    assert plan(changed, wider)[0] == Plan()
    found, outcomes = plan(changed, replace(ask("y")))
    assert outcomes == ["192.168.20.2"]


def test_a_range_that_is_held_otherwise_is_not_released():
    observed = after(seen(WIDE), block("x", "192.168.20.10", "192.168.20.19"))
    assert refusal(observed, gone("x", "192.168.20.10")) == (
        "owner 'x': owner 'x' holds 192.168.20.10-192.168.20.19 in network 'vlan20', not 192.168.20.10; leave address "
        "out to release what it holds"
    )
    assert words(plan(observed, gone("x"))[0]) == [("release", "192.168.20.10-192.168.20.19")]


def test_two_owners_change_places_in_one_task():
    observed = after(seen(WIDE), ask("x", "192.168.20.5"), ask("y", "192.168.20.6"))
    for specs in (
        [ask("x", "192.168.20.6"), ask("y", "192.168.20.5")],
        [ask("y", "192.168.20.5"), ask("x", "192.168.20.6")],
    ):
        changed = after(observed, *specs)
        assert {row.owner: str(row.address) for row in changed.allocations} == {
            "x": "192.168.20.6",
            "y": "192.168.20.5",
        }
    rests = replace(observed, networks={"vlan20": replace(WIDE, cooldown=60)})
    assert "it is cooling until" in refusal(rests, ask("x", "192.168.20.6"), ask("y", "192.168.20.5"))


def test_what_is_released_cools_where_the_network_says_so():
    observed = replace(after(seen(replace(WIDE, cooldown=60)), ask("x")), now=1000)
    found, _outcomes = plan(observed, gone("x"))
    [row] = observed.allocations
    assert found.before == (Drop(row), Put(row._replace(cooling=True, expires=1060)))
    cooled = carried_out(observed, found)
    assert plan(cooled, gone("x"))[0] == Plan()
    assert plan(cooled, ask("y"))[1] == ["192.168.20.3"]
    found, outcomes = plan(cooled, ask("x"))
    assert (words(found), outcomes) == ([("allocate", "192.168.20.2")], ["192.168.20.2"])
    assert [item.cooling for item in carried_out(cooled, found).allocations] == [False]


def test_an_end_is_kept_changed_and_taken_away():
    start = replace(seen(WIDE), now=1000)
    observed = after(start, ask("x", expires=Expiry(after=100)))
    assert [(row.since, row.expires) for row in observed.allocations] == [(1000, 1100)]
    later = replace(observed, now=1050)
    assert plan(later, ask("x", expires=Expiry(after=100)))[0] == Plan()
    assert plan(later, ask("x"))[0] == Plan()
    for expires, end in ((Expiry(after=200), 1200), (Expiry(at=5000), 5000), (Expiry(), None)):
        found, _outcomes = plan(later, ask("x", expires=expires))
        change = {"expires": {"before": "1970-01-01T00:18:20Z", "after": moment(end)}}
        assert [(action.action, action.changes) for action in found.actions] == [("change", change)]
        assert [row.expires for row in carried_out(later, found).allocations] == [end]


def test_an_end_that_has_passed_holds_nothing_and_says_so():
    now = replace(seen(WIDE), now=1000)
    found, outcomes = plan(now, ask("x", expires=Expiry(at=1000)))
    assert (found.actions, found.before, outcomes) == ((), (), [None])
    assert found.warnings == ("owner 'x': expires 1970-01-01T00:16:40Z has passed, so nothing is held for this owner",)
    observed = after(now, ask("x"))
    found, outcomes = plan(observed, ask("x", expires=Expiry(at=999)))
    assert (words(found), outcomes) == ([("release", "192.168.20.2")], [None])
