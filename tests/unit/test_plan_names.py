# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names: which hosts files follow from endpoints that come, change and go."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import hosts, plan_endpoints
from ansible_collections.netops.underlay.plugins.module_utils.engines import Container
from ansible_collections.netops.underlay.plugins.module_utils.errors import Refused
from ansible_collections.netops.underlay.plugins.module_utils.hosts import HostsFile
from ansible_collections.netops.underlay.plugins.module_utils.model import HOST, OPEN_NAMES, MadeFile, Target
from ansible_collections.netops.underlay.plugins.module_utils.observe import Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import EndpointSpec
from ansible_collections.netops.underlay.plugins.module_utils.steps import (
    WHOLE_RUN,
    Drop,
    Plan,
    Put,
    PutNames,
    RemoveNames,
)

from .builders import carried_out, host, link, loopback, netns, network, replace, seen, space, vlan_link

ON = host(link(2, "eth0"), vlan_link(3, "eth0.20", 2, 20), vlan_link(4, "eth0.30", 2, 30))
NET = network("vlan20", "192.168.20.0/24", "2001:db8::/64")
OTHER = network("vlan30", "192.168.30.0/24", parent="eth0.30")
BASE = "127.0.0.1\tlocalhost\n"


def ask(name: str, net: str = "vlan20", target: Target | None = None, **fields: Any) -> EndpointSpec:
    return EndpointSpec(f"name '{name}'", net, name, "present", target or netns(name), **fields)


def gone(name: str, net: str = "vlan20") -> EndpointSpec:
    return EndpointSpec(f"name '{name}'", net, name, "absent")


class World:
    """The endpoints, and the hosts files as they are after each run."""

    def __init__(self, *networks: Any, **fields: Any) -> None:
        self.files: dict[str, str] = {}
        self.seen = replace(seen(*(networks or (NET, OTHER)), on=ON, **fields), hosts_base=BASE)

    def observed(self, *specs: EndpointSpec) -> Observed:
        """What a run of these would see."""
        rows = [self.seen.endpoints[spec.key] for spec in specs if spec.key in self.seen.endpoints]
        rows += [row for row in self.seen.endpoints.values() if row.network in self.seen.settings.get(OPEN_NAMES, ())]
        targets = {spec.target for spec in specs if spec.target} | {row.target for row in rows}
        found = {}
        for target in targets:
            container = self.seen.containers.get(target)
            path = container.hosts_path if container else hosts.path_for(target.value)
            if target.kind in ("netns", "container") and path:
                missing = () if path in self.files else ("/etc/netns", f"/etc/netns/{target.value}")
                found[target] = HostsFile(path, self.files.get(path), missing=missing)
        return replace(self.seen, hosts=found)

    def plan(self, *specs: EndpointSpec) -> Plan:
        return plan_endpoints.plan(self.observed(*specs), specs)[0]

    def run(self, *specs: EndpointSpec) -> Plan:
        """Carries it out, and checks that nothing is left to do."""
        found = self.plan(*specs)
        for step in found.kernel:
            if isinstance(step, PutNames) and step.base is not None:
                assert step.path not in self.files
                self.files[step.path] = hosts.with_block(step.base, step.block)
            elif isinstance(step, PutNames) and step.path in self.files:
                self.files[step.path] = hosts.with_block(self.files[step.path], step.block)
            elif isinstance(step, RemoveNames):
                assert hosts.digest(hosts.without_block(self.files.pop(step.path))) == step.digest
        self.seen = carried_out(self.seen, found)
        assert self.plan(*specs) == Plan()
        return found

    def names(self, name: str) -> list[str]:
        """What stands in a namespace's hosts file beside what the host has."""
        text = self.files[f"/etc/netns/{name}/hosts"]
        assert hosts.without_block(text) == BASE
        return hosts.block_in(text).splitlines()[1:-1]


def test_all_of_a_network_find_each_other_by_name_and_alias():
    world = World()
    world.run(ask("web1", aliases=("www", "shop")), ask("web2"))
    lines = [
        "192.168.20.2\tweb1 www shop",
        "2001:db8::2\tweb1 www shop",
        "192.168.20.3\tweb2",
        "2001:db8::3\tweb2",
    ]
    assert world.names("web1") == world.names("web2") == lines
    # One that comes, and one that goes, are known to all, though the task names them alone.
    world.run(ask("web3"))
    assert world.names("web1") == world.names("web3") == [*lines, "192.168.20.4\tweb3", "2001:db8::4\tweb3"]
    world.run(gone("web2"))
    assert [line.split("\t")[1] for line in world.names("web1")] == ["web1 www shop"] * 2 + ["web3"] * 2


def test_networks_do_not_see_each_other_but_who_is_in_both_sees_both():
    world = World()
    world.run(ask("web1"), ask("db1", "vlan30"), ask("web9", target=netns("both")), ask("db9", "vlan30", netns("both")))
    assert [line.split("\t")[1] for line in world.names("web1")] == ["web1", "web1", "web9", "web9"]
    assert [line.split("\t")[1] for line in world.names("db1")] == ["db1", "db9"]
    assert [line.split("\t")[1] for line in world.names("both")] == ["web1", "web1", "web9", "web9", "db1", "db9"]
    world.run(gone("db9", "vlan30"))
    assert [line.split("\t")[1] for line in world.names("both")] == ["web1", "web1", "web9", "web9"]
    assert [line.split("\t")[1] for line in world.names("db1")] == ["db1"]


def test_aliases_are_kept_changed_and_taken_away():
    world = World()
    world.run(ask("web1", aliases=("www",)))
    assert world.run(ask("web1")) == Plan()
    found = world.run(ask("web1", aliases=("shop",)))
    [action] = found.actions
    assert (action.action, action.kind) == ("change", "endpoint")
    assert action.changes == {"aliases": {"before": ["www"], "after": ["shop"]}}
    assert world.names("web1")[0] == "192.168.20.2\tweb1 shop"
    world.run(ask("web1", aliases=()))
    assert world.names("web1")[0] == "192.168.20.2\tweb1"


def test_what_was_made_goes_and_is_forgotten():
    world = World()
    found = world.run(ask("web1"))
    rows = [step.row for step in found.before if isinstance(step, Put) and isinstance(step.row, MadeFile)]
    assert rows == [
        MadeFile("/etc/netns"),
        MadeFile("/etc/netns/web1"),
        MadeFile("/etc/netns/web1/hosts", hosts.digest(BASE)),
    ]
    world.run(ask("web2"))
    found = world.run(gone("web1"))
    [step] = [step for step in found.kernel if isinstance(step, RemoveNames)]
    assert step.folders == ("/etc/netns/web1", "/etc/netns")
    assert "/etc/netns" in world.seen.made_files
    found = world.run(gone("web2"))
    assert Drop(MadeFile("/etc/netns"), WHOLE_RUN) in found.after
    assert (world.seen.made_files, world.files) == ({}, {})


def test_a_file_that_was_there_gets_our_block_and_stays():
    world = World()
    world.files["/etc/netns/web1/hosts"] = "10.0.0.1 mine"
    world.run(ask("web1"))
    assert hosts.block_in(world.files["/etc/netns/web1/hosts"])
    assert world.seen.made_files == {}
    world.run(gone("web1"))
    assert world.files == {"/etc/netns/web1/hosts": "10.0.0.1 mine"}


@pytest.mark.parametrize("damage", ["gone", "edited", "cut"])
def test_an_edited_block_is_drift(damage):
    world = World()
    world.run(ask("web1"), ask("web2"))
    path = "/etc/netns/web1/hosts"
    before = world.files[path]
    if damage == "gone":
        del world.files[path]
    else:
        world.files[path] = before.replace("192.168.20.2", "192.168.20.9") if damage == "edited" else before[:-9]
    found = world.run(ask("web1"), ask("web2"))
    assert [(action.action, action.kind, action.name) for action in found.actions] == [("repair", "names", path)]
    assert world.files[path] == before


def test_lines_of_others_in_a_file_of_ours_are_no_drift():
    world = World()
    world.run(ask("web1"))
    world.files["/etc/netns/web1/hosts"] += "10.0.0.1 mine\n"
    assert world.plan(ask("web1")) == Plan()


def test_a_file_that_cannot_be_used_is_an_error_of_its_item():
    world = World()
    observed = replace(world.observed(ask("web1")), hosts={netns("web1"): HostsFile("/x", problem="/x is a link")})
    with pytest.raises(Refused, match="name 'web1': /x is a link"):
        plan_endpoints.plan(observed, [ask("web1")])


def test_an_alias_cannot_be_the_name_of_another():
    world = World()
    world.run(ask("web1"))
    with pytest.raises(Refused, match="aliases: 'web1' is the name of another endpoint"):
        world.plan(ask("web2", aliases=("web1",)))
    with pytest.raises(Refused, match="aliases: 'web3' is the name of another endpoint"):
        world.plan(ask("web2", aliases=("web3",)), ask("web3"))
    world.plan(ask("web2", "vlan30", aliases=("web1",)))


def test_a_container_has_the_names_in_its_own_file():
    target = Target("container", "app", "docker")
    world = World(spaces={target: space(77, loopback())})
    there = Container("docker", "app", "c0ffee", 99, "running", "/var/lib/docker/c0ffee/hosts", "none")
    world.seen = replace(world.seen, containers={target: there}, engine_of={Target("container", "app", "auto"): target})
    world.files[there.hosts_path] = BASE
    spec = ask("app", target=Target("container", "app", "auto"))
    observed = replace(world.observed(spec), hosts={target: HostsFile(there.hosts_path, BASE)})
    found = plan_endpoints.plan(observed, [spec])[0]
    [step] = [step for step in found.kernel if isinstance(step, PutNames)]
    assert (step.path, step.base) == (there.hosts_path, None)
    world.seen = carried_out(observed, found)
    [row] = world.seen.endpoints.values()
    assert (row.target, row.hosts_path) == (target, there.hosts_path)
    # Another that comes is written to it too, by the path that is kept.
    world.seen = replace(world.seen, containers={}, hosts={})
    assert there.hosts_path in {step.path for step in world.plan(ask("web2")).kernel if isinstance(step, PutNames)}


def test_what_has_no_hosts_file_has_no_names_but_is_found():
    path = Target("netns_path", "/proc/7/ns/net")
    world = World(spaces={path: space(77, loopback()), HOST: ON.space})
    world.run(ask("a", target=path), ask("gate", target=HOST), ask("web1"))
    assert set(world.files) == {"/etc/netns/web1/hosts"}
    assert [line.split("\t")[1] for line in world.names("web1")] == ["a", "a", "gate", "gate", "web1", "web1"]


def test_an_address_that_changes_changes_its_line():
    world = World()
    world.run(ask("web1"), ask("web2"))
    world.run(ask("web1", ipv4_address=ip_address("192.168.20.50")))
    assert world.names("web2")[0] == "192.168.20.50\tweb1"


def test_a_run_that_is_about_another_writes_the_names_that_a_killed_one_left():
    world = World()
    world.run(ask("web1"), ask("web2"), ask("db1", "vlan30"))
    files = dict(world.files)
    killed = world.plan(ask("web3"))
    world.seen = carried_out(world.seen, Plan(before=killed.before))
    assert world.seen.settings == {OPEN_NAMES: ["vlan20"]}
    found = world.run(ask("db1", "vlan30"))
    repaired = [action.name for action in found.actions if (action.action, action.kind) == ("repair", "names")]
    assert repaired == [f"/etc/netns/{name}/hosts" for name in ("web1", "web2", "web3")]
    assert (
        world.names("web1")[-1] == "2001:db8::4\tweb3"
        and world.files["/etc/netns/db1/hosts"] == files["/etc/netns/db1/hosts"]
    )
    assert world.seen.settings == {}


def test_names_that_could_not_be_written_are_told_until_they_can_be():
    world = World()
    world.run(ask("web1"), ask("web2"))
    world.seen = carried_out(world.seen, Plan(before=world.plan(ask("web3")).before))
    broken = HostsFile("/etc/netns/web1/hosts", problem="/etc/netns/web1/hosts is a link")
    observed = world.observed(ask("web2"))
    found = plan_endpoints.plan(replace(observed, hosts={**observed.hosts, netns("web1"): broken}), [ask("web2")])[0]
    assert found.warnings == ("names could not be written: /etc/netns/web1/hosts is a link",)
    world.seen = carried_out(world.seen, found)
    assert world.seen.settings == {OPEN_NAMES: ["vlan20"]}
