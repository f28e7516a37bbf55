# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What CNI's host-local keeps, and CNI configurations, as networks and addresses of this collection.

What is read: containernetworking/plugins, plugins/ipam/host-local/backend/{disk,allocator} and plugins/main/{ipvlan,macvlan}.
The documentation for users stands beside this file.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.module_utils.addressing import (
    IPAddress,
    IPNetwork,
    address_of,
    shown,
    usable,
)
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS
from ansible_collections.netops.underlay.plugins.plugin_utils import takeover
from ansible_collections.netops.underlay.plugins.plugin_utils.takeover import Item, Takeover, Unreadable

COMMAND = "grep -rH '' /var/lib/cni/networks"
DESCRIPTION = "from CNI host-local"
# Files beside those of the addresses: the last address of each range (without a number in old versions), and the lock.
BESIDE = ("last_reserved_ip", "lock")
LIST_KEYS = frozenset({"name", "plugins"})
PLUGIN_KEYS = frozenset({"name", "type", "master", "mode", "mtu", "ipam"})
# They say how CNI itself is to be spoken to.
PROTOCOL_KEYS = frozenset({"cniVersion", "cniVersions", "disableCheck", "disableGC"})
RANGE_KEYS = frozenset({"subnet", "rangeStart", "rangeEnd", "gateway"})
IPAM_KEYS = frozenset({"type", "ranges", "routes", "dataDir"}) | RANGE_KEYS
DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Kept:
    """One address file."""

    network: str
    address: IPAddress
    owner: str

    @property
    def order(self) -> tuple[str, int, int]:
        return self.network, self.address.version, int(self.address)


@dataclass(frozen=True)
class Range:
    """One range of host-local."""

    subnet: IPNetwork
    start: IPAddress
    end: IPAddress
    gateway: IPAddress | None

    def block(self) -> IPNetwork | None:
        """The CIDR block that gives out the very same addresses; the subnet itself if that is all of it.

        The first and last address of a subnet are never given out, so it does not matter whether the range has them.
        """
        first, last = (address_of(number, self.subnet.version) for number in usable(self.subnet))
        low = self.subnet.network_address if self.start == first else self.start
        high = self.subnet.broadcast_address if self.end == last else self.end
        for lowest, highest in product((low, self.start), (high, self.end)):
            blocks = ipaddress.summarize_address_range(lowest, highest)
            block = next(blocks)
            if next(blocks, None) is None:
                return block
        return None


def from_cni_host_local(value: Any, configs: Any = None) -> dict[str, list[Any]]:
    """The filter itself; its documentation stands in ``from_cni_host_local.yml``.

    :raises AnsibleFilterError: if the input is not what it reads
    """
    try:
        found = Takeover()
        kept = _kept(found, value)
        if configs is not None:
            _take_networks(found, configs, kept)
            kept = _of_taken_networks(found, kept)
        _take_addresses(found, kept)
        return found.result()
    except Unreadable as error:
        raise AnsibleFilterError(f"netops.underlay.from_cni_host_local: {error}") from None


# --- allocations ----------------------------------------------------------------------------------------------


def _kept(found: Takeover, lines: Any) -> list[Kept]:
    """The address files, each once, in the order of network and address, which is the same on every run."""
    if not isinstance(lines, list):
        raise Unreadable(f"the input has to be a list, the lines (stdout_lines) of `{COMMAND}`; it is {shown(lines)}")
    contents: dict[tuple[str, IPAddress], tuple[str, list[str]]] = {}
    strange: dict[str, tuple[str, str]] = {}
    for index, line in enumerate(lines):
        directory, network, rest = _parts(line, index)
        if rest.startswith(BESIDE):
            continue
        address, content = _address_and_content(rest)
        if address is None:
            strange[f"{directory}/{rest.partition(':')[0]}"] = (network, "its name is no address")
            continue
        source, words = contents.setdefault((network, address), (directory, []))
        if source == directory:
            words.append(content.strip())
        else:
            strange[f"{directory}/{address}"] = (network, f"the same address was read from {source}")
    for path, (network, reason) in strange.items():
        found.warn(network, f"file {path} is left out: {reason}")
    return sorted(_owned(found, contents), key=lambda kept: kept.order)


def _parts(line: Any, index: int) -> tuple[str, str, str]:
    """Directory, name of the network, and ``FILE:CONTENT`` of a line. Neither an id nor an interface has a slash."""
    directory, slash, rest = line.rpartition("/") if isinstance(line, str) else ("", "", "")
    network = directory.rpartition("/")[2]
    if not slash or ":" not in rest or network in ("", ".", ".."):
        raise Unreadable(
            f"line [{index}] {shown(line)} is not DIRECTORY/NETWORK/ADDRESS:CONTENT; give the lines that `{COMMAND}` prints"
        )
    return directory, network, rest


def _address_and_content(rest: str) -> tuple[IPAddress | None, str]:
    """An IPv6 address has colons and may go on with what looks like one more group, so the longest address is taken:
    an id has no colon (CNI's SPEC.md, CNI_CONTAINERID), nor has an interface. Where a file system does not take colons,
    host-local writes ``_``."""
    for position in range(len(rest) - 1, 0, -1):
        if rest[position] == ":":
            try:
                return ipaddress.ip_address(rest[:position].replace("_", ":")), rest[position + 1 :]
            except ValueError:
                continue
    return None, ""


def _owned(found: Takeover, contents: Mapping[tuple[str, IPAddress], tuple[str, list[str]]]) -> Iterator[Kept]:
    for (network, address), (directory, words) in contents.items():
        if len(words) > 2:
            raise Unreadable(
                f"file {directory}/{address} has {len(words)} lines; host-local writes two, the id of the container and "
                "its interface. Is a line given more than once?"
            )
        if words[0]:
            yield Kept(network, address, "/".join(word for word in words if word))
        else:
            found.warn(network, f"file {directory}/{address} names no container; its address is left out")


def _of_taken_networks(found: Takeover, kept: list[Kept]) -> list[Kept]:
    """Those that can be held: of networks that are taken over, in one of their subnets."""
    subnets = {
        network["name"]: [ipaddress.ip_network(entry["subnet"]) for entry in network["ipam_config"]]
        for network in found.networks
    }
    without = Counter(row.network for row in kept if row.network not in subnets)
    for network, count in sorted(without.items()):
        found.warn(network, f"its addresses ({count}) are left out, since no configuration of it is taken over")
    holdable = []
    for row in kept:
        if any(row.address in subnet for subnet in subnets.get(row.network, ())):
            holdable.append(row)
        elif row.network in subnets:
            found.warn(row.network, f"{row.address} of {shown(row.owner)} is left out: it is in none of its subnets")
    return holdable


def _take_addresses(found: Takeover, kept: list[Kept]) -> None:
    times: Counter[tuple[str, str, int]] = Counter()
    for row in kept:
        key = (row.network, row.owner, row.address.version)
        times[key] += 1
        # An owner of vlan_ipam holds one address of each family.
        owner = row.owner if times[key] == 1 else f"{row.owner}#{times[key]}"
        found.addresses.append(
            {"network": row.network, "owner": owner, "address": str(row.address), "description": DESCRIPTION}
        )


# --- networks -------------------------------------------------------------------------------------------------


def _take_networks(found: Takeover, configs: Any, kept: list[Kept]) -> None:
    if not isinstance(configs, list):
        raise Unreadable(f"configs has to be a list of CNI network configurations; it is {shown(configs)}")
    seen: dict[str, str] = {}
    for index, value in enumerate(configs):
        if isinstance(value, str):
            raise Unreadable(f"configs[{index}] is text; give it as parsed JSON (the filter from_json does that)")
        config = takeover.dict_of(value, f"configs[{index}]")
        name = takeover.text_of(config.get("name"), f"configs[{index}]: name")
        item = f"configs[{index}] ({name})"
        if name in seen:  # CNI takes the first, too
            found.warn(name, f"{item} is left out: {seen[name]} has the same name")
            continue
        seen[name] = item
        plugin, where = _plugin(found, item, config)
        if plugin is not None:
            _take_network(found, name, plugin, where, {row.network for row in kept})


def _plugin(found: Takeover, item: str, config: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """The plugin of a configuration that makes the links, if it is one of ours, and where it stands."""
    name = config["name"]
    chain = [(config, item)]
    if "plugins" in config:
        found.warn_of_keys(name, "key ", config, LIST_KEYS | PROTOCOL_KEYS)
        plugins = takeover.list_of(config["plugins"], f"{item}: plugins")
        places = [f"{item}: plugins[{index}]" for index in range(len(plugins))]
        chain = [(takeover.dict_of(plugin, where), where) for plugin, where in zip(plugins, places)]
    types = [takeover.text_of(plugin.get("type"), f"{where}: type") for plugin, where in chain]
    place = next((index for index, kind in enumerate(types) if kind in DRIVERS), None)
    if place is None:
        kinds = ", ".join(types) or "not said"
        found.warn(name, f"its type is {kinds}, and only {' and '.join(DRIVERS)} are taken over")
        return None, item
    for kind in (*types[:place], *types[place + 1 :]):
        found.warn(name, f"what the plugin {shown(kind)} does is not taken over")
    return chain[place]


def _take_network(found: Takeover, name: str, plugin: Mapping[str, Any], where: str, in_use: set[str]) -> None:
    ipam = takeover.dict_of(plugin.get("ipam"), f"{where}: ipam")
    if ipam.get("type") != "host-local":
        found.warn(name, f"ipam is of type {shown(ipam.get('type'))}, and only host-local is taken over")
        return
    driver = plugin["type"]
    network: Item = {"name": name, "driver": driver}
    if plugin.get("master"):
        network["parent"] = takeover.text_of(plugin["master"], f"{where}: master")
    else:
        found.warn(
            name,
            "it has no master, so CNI uses the link of the host's default route; set parent to that link, else the network "
            "is isolated",
        )
    mode = DRIVERS[driver].mode
    network.update(takeover.settings_of(driver, {mode.option: plugin.get("mode")}, f"{where}: mode"))
    if plugin.get("mtu"):
        network["mtu"] = takeover.mtu_of(plugin["mtu"], f"{where}: mtu")
    network["ipam_config"] = _subnets(found, name, ipam, f"{where}: ipam", takeover.is_routed(network))
    found.networks.append(network)

    found.warn_of_keys(name, "key ", plugin, PLUGIN_KEYS | PROTOCOL_KEYS)
    found.warn_of_keys(name, "key ipam.", ipam, IPAM_KEYS)
    _warn_of_routes(found, name, ipam, f"{where}: ipam", network["ipam_config"])
    if ipam.get("dataDir") and name not in in_use:
        found.warn(
            name, f"no address of it was read; its addresses are kept in {shown(ipam['dataDir'])} (ipam.dataDir)"
        )


def _subnets(found: Takeover, name: str, ipam: Mapping[str, Any], where: str, routed: bool) -> list[Item]:
    by_subnet: dict[IPNetwork, list[Range]] = {}
    families: Counter[int] = Counter()
    for ranges in _range_sets(found, name, ipam, where):
        families.update({entry.subnet.version for entry in ranges})
        for entry in ranges:
            by_subnet.setdefault(entry.subnet, []).append(entry)
    for family in sorted(family for family, count in families.items() if count > 1):
        found.warn(
            name,
            f"ipam gives {families[family]} IPv{family} addresses to each container; here an endpoint has one of each family",
        )
    return [_subnet(found, name, ranges, routed) for ranges in by_subnet.values()]


def _range_sets(found: Takeover, name: str, ipam: Mapping[str, Any], where: str) -> list[list[Range]]:
    """The sets of ranges, from each of which a container gets one address. The old form, one range without a list, comes
    first, as in host-local."""
    sets = [[_range(ipam, where)]] if ipam.get("subnet") else []
    for index, values in enumerate(takeover.list_of(ipam.get("ranges"), f"{where}.ranges")):
        place = f"{where}.ranges[{index}]"
        ranges = []
        for number, value in enumerate(takeover.list_of(values, place)):
            entry = takeover.dict_of(value, f"{place}[{number}]")
            ranges.append(_range(entry, f"{place}[{number}]"))
            found.warn_of_keys(name, f"key ipam.ranges[{index}][{number}].", entry, RANGE_KEYS)
        sets.append(ranges)
    if not any(sets):
        raise Unreadable(f"{where} has no subnet: host-local needs 'ranges', or 'subnet' in the old form")
    return sets


def _range(entry: Mapping[str, Any], where: str) -> Range:
    subnet = takeover.subnet_of(entry.get("subnet"), f"{where}.subnet")
    inside: dict[str, IPAddress] = {}
    for key in ("rangeStart", "rangeEnd", "gateway"):
        if entry.get(key):
            inside[key] = takeover.address_of(entry[key], f"{where}.{key}")
            if inside[key] not in subnet:
                raise Unreadable(f"{where}.{key} {inside[key]} is not in subnet {subnet}")
    first, last = (address_of(number, subnet.version) for number in usable(subnet))
    start, end = inside.get("rangeStart", first), inside.get("rangeEnd", last)
    if start > end:
        raise Unreadable(f"{where}: the range begins at {start}, above its end {end}")
    return Range(subnet, start, end, inside.get("gateway"))


def _subnet(found: Takeover, name: str, ranges: list[Range], routed: bool) -> Item:
    """One subnet with all its ranges. A subnet of ours has one range, which is a CIDR block."""
    network = ranges[0].subnet
    subnet: Item = {"subnet": str(network)}
    gateways = list(dict.fromkeys(entry.gateway for entry in ranges if entry.gateway is not None))
    if gateways and not routed:
        subnet["gateway"] = str(gateways[0])
        for gateway in gateways[1:]:
            found.warn(name, f"gateway {gateway} of {network} is left out; a subnet has one, here {gateways[0]}")
    block = ranges[0].block() if len(ranges) == 1 else None
    if block is None:
        words = ", ".join(f"{entry.start} to {entry.end}" for entry in ranges)
        found.warn(
            name,
            f"the range {words} of {network} is left out, since it is not one CIDR block: the whole subnet is given out. "
            "Hold with vlan_ipam what has to stay free, or set ip_range",
        )
    elif block != network:
        subnet["ip_range"] = str(block)
    return subnet


def _warn_of_routes(found: Takeover, name: str, ipam: Mapping[str, Any], where: str, subnets: list[Item]) -> None:
    """Of the routes, a default route by the gateway is what endpoints get anyway."""
    gateways = {subnet.get("gateway") for subnet in subnets}
    for index, value in enumerate(takeover.list_of(ipam.get("routes"), f"{where}.routes")):
        route = takeover.dict_of(value, f"{where}.routes[{index}]")
        if route.get("dst") not in DEFAULT_ROUTES or route.get("gw") not in (None, "", *gateways):
            by = f" by {route['gw']}" if route.get("gw") else ""
            found.warn(name, f"the route to {route.get('dst')}{by} (ipam.routes) is not taken over")


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"from_cni_host_local": from_cni_host_local}
