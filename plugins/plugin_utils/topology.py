# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hangs on what: trunks, sub-interfaces, networks and endpoints, read from the results of our modules, and the same
as text for Mermaid and Graphviz.

Pure; it knows no Ansible. Every text that others chose goes through ``clean`` here, and is escaped where it is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.netops.underlay.plugins.plugin_utils.takeover import Unreadable, dict_of, list_of, text_of

# What hangs on a link: VLANs of it or the link as it is; on a VLAN link whose name does not say of which link it is; on a
# dummy; on nothing that is known here (endpoints without their network).
TRUNK, NAMED, ISOLATED, UNKNOWN = "trunk", "named", "isolated", "unknown"
PROBLEM, HINT = "problem", "hint"


@dataclass(frozen=True)
class Endpoint:
    name: str
    addresses: tuple[str, ...]
    target: str
    ifname: str
    state: str


@dataclass(frozen=True)
class Use:
    """How full a subnet is, or its range where it has one: numbers of addresses."""

    size: int
    held: int
    reserved: int
    cooling: int
    free: int

    @property
    def used(self) -> int:
        return self.size - self.free


@dataclass(frozen=True)
class Subnet:
    subnet: str
    gateway: str
    ip_range: str
    use: Use | None


@dataclass(frozen=True)
class Finding:
    """What the trunk check found; ``severity`` is PROBLEM or HINT."""

    severity: str
    words: str


@dataclass(frozen=True)
class Network:
    """``verified``: whether the trunk check looked at it. ``gateways``: what it heard of them, as its result has it;
    ``switch``: what the switch says of itself, in words, if somebody listened."""

    name: str
    driver: str
    mode: str
    subnets: tuple[Subnet, ...]
    endpoints: tuple[Endpoint, ...]
    verified: bool
    findings: tuple[Finding, ...]
    gateways: tuple[Mapping[str, Any], ...]
    switch: str = ""

    @property
    def kind(self) -> str:
        """Driver and mode in words."""
        return " ".join(filter(None, (self.driver, self.mode)))

    @property
    def severity(self) -> str:
        """The worst of its findings; empty without any."""
        return min((finding.severity for finding in self.findings), key=(PROBLEM, HINT).index, default="")


@dataclass(frozen=True)
class Parent:
    """The link that networks hang on; ``tag`` says in words what is on the wire."""

    name: str
    vlan_id: int | None
    tag: str
    networks: tuple[Network, ...]

    @property
    def severity(self) -> str:
        found = [network.severity for network in self.networks]
        return PROBLEM if PROBLEM in found else HINT if HINT in found else ""


@dataclass(frozen=True)
class Trunk:
    """``kind`` is one of the four above; only a TRUNK has a name."""

    kind: str
    name: str
    parents: tuple[Parent, ...]

    @property
    def switch(self) -> str:
        """What the switch at its other end says of itself; empty if nobody heard it."""
        heard = (network.switch for parent in self.parents for network in parent.networks)
        return next(filter(None, heard), "") if self.kind == TRUNK else ""


@dataclass(frozen=True)
class Topology:
    trunks: tuple[Trunk, ...]

    @property
    def parents(self) -> list[Parent]:
        return [parent for trunk in self.trunks for parent in trunk.parents]

    @property
    def networks(self) -> list[Network]:
        return [network for parent in self.parents for network in parent.networks]

    @property
    def endpoints(self) -> list[Endpoint]:
        return [endpoint for network in self.networks for endpoint in network.endpoints]


def clean(value: Any) -> str:
    """A text without what would break a line or turn its direction; None is empty."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(one if one.isprintable() else "\ufffd" for one in text)


# --- reading --------------------------------------------------------------------------------------------------


def read(value: Any) -> Topology:
    """The topology in the results of the modules: one result, or a list of them, of which the items are put together.

    :raises Unreadable: if that is not what it is
    """
    results = [dict_of(entry, f"result [{index}]") for index, entry in enumerate(_results(value))]
    if not any("networks" in result for result in results):
        raise Unreadable(
            "the input has no 'networks'; give the result of vlan_network_info, or a list of it and the results of "
            "vlan_endpoint_info and vlan_ipam_info"
        )
    endpoints = defaultdict(list)
    for where, item in _items(results, "endpoints"):
        endpoints[text_of(item.get("network"), f"{where}: network")].append(_endpoint(where, item))
    uses = {
        tuple(clean(item.get(key)) for key in ("network", "subnet", "ip_range")): _use(where, item)
        for where, item in _items(results, "subnets")
    }
    places: dict[tuple[str, str], dict[tuple[str, int | None, str], list[Network]]] = {}
    for where, item in _items(results, "networks"):
        name = text_of(item.get("name"), f"{where}: name")
        trunk, parent = _place(item)
        here = places.setdefault(trunk, {}).setdefault(parent, [])
        here.append(_network(where, item, endpoints.pop(name, []), uses))
    if endpoints:
        lost = places.setdefault((UNKNOWN, ""), {}).setdefault(("", None, ""), [])
        lost.extend(Network(clean(name), "", "", (), tuple(found), False, (), ()) for name, found in endpoints.items())
    kinds = (TRUNK, NAMED, ISOLATED, UNKNOWN)
    return Topology(
        tuple(
            Trunk(kind, clean(name), tuple(Parent(*place, tuple(found)) for place, found in _in_order(parents)))
            for (kind, name), parents in sorted(places.items(), key=lambda place: kinds.index(place[0][0]))
        )
    )


def _results(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list):
        raise Unreadable("the input has to be the result of a module, or a list of such results")
    return value


def _items(results: Iterable[Mapping[str, Any]], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The items of all results that are there, each with its place in words."""
    for result in results:
        for index, value in enumerate(list_of(result.get(key), key)):
            item = dict_of(value, f"{key}[{index}]")
            if item.get("state") != "absent":
                yield f"{key}[{index}]", item


def _in_order(parents: Mapping[tuple[str, int | None, str], list[Network]]) -> Any:
    """By VLAN id; what has none comes first."""
    return sorted(parents.items(), key=lambda place: (place[0][1] or 0, place[0][0]))


def _place(item: Mapping[str, Any]) -> tuple[tuple[str, str], tuple[str, int | None, str]]:
    """Trunk and parent of a network. Results do not say of which link a VLAN is: the name of the sub-interface does."""
    parent, vlan_id = clean(item.get("parent")), item.get("vlan_id")
    if isinstance(vlan_id, int):
        base, _dot, ending = parent.rpartition(".")
        protocol = "" if item.get("vlan_protocol") in (None, "802.1q") else f" {clean(item['vlan_protocol'])}"
        trunk = (TRUNK, base) if base and ending == str(vlan_id) else (NAMED, "")
        return trunk, (parent, vlan_id, f"VLAN {vlan_id}{protocol}")
    if item.get("internal") or item.get("parent_created"):
        return (ISOLATED, ""), (parent, None, "isolated")
    return (TRUNK, parent), (parent, None, "untagged")


def _network(
    where: str, item: Mapping[str, Any], endpoints: Iterable[Endpoint], uses: Mapping[tuple[str, ...], Use]
) -> Network:
    subnets = []
    for index, value in enumerate(list_of(item.get("ipam_config"), f"{where}: ipam_config")):
        entry = dict_of(value, f"{where}: ipam_config[{index}]")
        subnet, gateway, ip_range = (clean(entry.get(key)) for key in ("subnet", "gateway", "ip_range"))
        subnets.append(Subnet(subnet, gateway, ip_range, uses.get((clean(item["name"]), subnet, ip_range))))
    findings = [
        _finding(f"{where}: findings[{index}]", value)
        for index, value in enumerate(list_of(item.get("findings"), f"{where}: findings"))
    ]
    wire = dict_of(item.get("wire"), f"{where}: wire")
    gateways = list_of(wire.get("gateways"), f"{where}: wire.gateways")
    return Network(
        clean(item["name"]),
        clean(item.get("driver")),
        clean(item.get("mode")),
        tuple(subnets),
        tuple(endpoints),
        bool(wire),
        tuple(findings),
        tuple(dict_of(gateway, f"{where}: wire.gateways") for gateway in gateways),
        _switch(dict_of(wire.get("switch"), f"{where}: wire.switch"), f"{where}: wire.switch"),
    )


def _switch(item: Mapping[str, Any], where: str) -> str:
    """What a switch says of itself: name and port, and the VLANs of the port if it tells them."""
    words = [f"{word} {clean(item[key])}" for key, word in (("system", "switch"), ("port", "port")) if item.get(key)]
    vlans = list_of(item.get("vlans"), f"{where}: vlans")
    if not all(isinstance(vlan, int) for vlan in vlans):
        raise Unreadable(f"{where} is not what vlan_network_info returns: vlans are numbers")
    if vlans:
        words.append(f"carries VLAN{'s' * (len(vlans) > 1)} {ranges(vlans)}")
    return ", ".join(words)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as switches write them: 10, 20-22."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and parts[-1][-1] == number - 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(map(str, part)) for part in parts)


def _finding(where: str, value: Any) -> Finding:
    item = dict_of(value, where)
    severity = PROBLEM if item.get("severity") == PROBLEM else HINT
    return Finding(severity, clean(text_of(item.get("words"), f"{where}: words")))


def _endpoint(where: str, item: Mapping[str, Any]) -> Endpoint:
    target = dict_of(item.get("target"), f"{where}: target")
    families = [dict_of(item.get(family), f"{where}: {family}") for family in ("ipv4", "ipv6")]
    return Endpoint(
        clean(text_of(item.get("name"), f"{where}: name")),
        tuple(clean(family["address"]) for family in families if family.get("address")),
        clean(" ".join(str(target[key]) for key in ("kind", "value") if target.get(key))),
        clean(item.get("ifname")),
        clean(item.get("state")),
    )


def _use(where: str, item: Mapping[str, Any]) -> Use:
    numbers = [item.get(key) for key in ("size", "held", "reserved", "cooling", "free")]
    if not all(isinstance(number, int) for number in numbers):
        raise Unreadable(
            f"{where} is not what vlan_ipam_info returns: size, held, reserved, cooling and free are numbers"
        )
    return Use(*numbers)


# --- text -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A box of the drawing; ``above`` is the id of the box that it hangs on, if there is one."""

    id: str
    kind: str
    lines: tuple[str, ...]
    severity: str
    above: str


def trunk_words(trunk: Trunk) -> tuple[str, str]:
    """How a drawing names a trunk."""
    return {
        TRUNK: (trunk.name, "trunk"),
        NAMED: ("VLAN links", "by names of their own"),
        ISOLATED: ("isolated", "on no link of the host"),
        UNKNOWN: ("other endpoints", "on no network of this list"),
    }[trunk.kind]


def nodes(topology: Topology) -> Iterator[Node]:
    for t, trunk in enumerate(topology.trunks):
        yield Node(f"t{t}", "trunk", tuple(filter(None, (*trunk_words(trunk), trunk.switch))), "", "")
        for p, parent in enumerate(trunk.parents):
            above, at = f"t{t}", f"t{t}p{p}"
            if parent.name and parent.name != trunk.name:
                yield Node(at, "parent", (parent.name, parent.tag), parent.severity, above)
                above = at
            for n, network in enumerate(parent.networks):
                lines = [network.name, network.kind]
                for subnet in network.subnets:
                    lines += [subnet.subnet, subnet.gateway and f"gateway {subnet.gateway}"]
                yield Node(f"{at}n{n}", "network", tuple(filter(None, lines)), network.severity, above)
                for e, endpoint in enumerate(network.endpoints):
                    state = "" if endpoint.state in ("", "attached") else endpoint.state
                    lines = [endpoint.name, *endpoint.addresses, endpoint.target, state]
                    yield Node(f"{at}n{n}e{e}", "endpoint", tuple(filter(None, lines)), "", f"{at}n{n}")


# The words of a box stand between these; mermaid.js.org, flowchart syntax.
_SHAPES = {"trunk": ("[[", "]]"), "parent": ("([", "])"), "network": ("[", "]"), "endpoint": ("(", ")")}
_PLAIN = frozenset(" .,:/_")


def _mermaid_text(text: str) -> str:
    """Only letters, digits and a few signs as they are: the rest may be syntax, markup or a directive somewhere."""
    return "".join(one if one.isalnum() or one in _PLAIN else f"#{ord(one)};" for one in text)


def mermaid(topology: Topology) -> str:
    lines = ["flowchart LR"]
    for node in nodes(topology):
        opening, closing = _SHAPES[node.kind]
        lines.append(f'  {node.id}{opening}"{"<br/>".join(map(_mermaid_text, node.lines))}"{closing}')
        if node.severity:
            lines.append(f"  class {node.id} {node.severity}")
        if node.above:
            lines.append(f"  {node.above} --- {node.id}")
    lines += [
        f"  classDef {PROBLEM} stroke:#c62828,stroke-width:3px",
        f"  classDef {HINT} stroke:#b26a00,stroke-width:3px",
    ]
    return "\n".join(lines) + "\n"


_STYLES = {
    "trunk": "shape=box, style=bold",
    "parent": "shape=box, style=rounded",
    "network": "shape=box",
    "endpoint": "shape=plain",
    PROBLEM: 'color="#c62828", penwidth=3',
    HINT: 'color="#b26a00", penwidth=3',
}


def _graphviz_text(text: str) -> str:
    """graphviz.org, doc/info/lang and attribute types: the backslash leads escapes, and the ampersand entities."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def graphviz(topology: Topology) -> str:
    lines = ["graph topology {", "  rankdir=LR", '  node [fontname="sans-serif", fontsize=11]']
    for node in nodes(topology):
        styles = [_STYLES[node.kind], *([_STYLES[node.severity]] if node.severity else [])]
        label = "\\n".join(map(_graphviz_text, node.lines))
        lines.append(f'  {node.id} [label="{label}", {", ".join(styles)}]')
        if node.above:
            lines.append(f"  {node.above} -- {node.id}")
    return "\n".join([*lines, "}"]) + "\n"
