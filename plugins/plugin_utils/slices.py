# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several hosts, one address plan: which slice of every subnet is whose. Pure; it knows no Ansible.

Every subnet, or its range where it has one, is cut into the same number of equal slices, and a host has the slice of its number
in each. So what a host has depends on that number alone, not on how many hosts there are, and hosts need not ask each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.module_utils.addressing import NO_GATEWAY, IPNetwork, Subnet, shown

SLICES_MAX = 1 << 16
ADDRESS_OPTIONS = ("ipv4_address", "ip", "ipv6_address", "ip6")

Item = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """Of a subnet what all hosts together draw from, and what of that is one host's. ``routed``: others reach it by routes."""

    subnet: IPNetwork
    whole: IPNetwork
    mine: IPNetwork
    routed: bool


@dataclass
class AddressPlan:
    """What one host has of the plan: its number, the networks with its slices as their ranges, and why it cannot be so.

    ``shares`` are what it has, by network.
    """

    number: int | None
    networks: list[Item] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    shares: dict[str, list[Share]] = field(default_factory=dict)

    def result(self) -> dict[str, Any]:
        return {"slice": self.number, "networks": self.networks, "problems": self.problems}


def address_plan(
    networks: Sequence[Item],
    host: str,
    hosts: Sequence[str],
    slices: int,
    given: Mapping[str, Any],
    endpoints: Sequence[Item] = (),
    next_hops: Mapping[str, Mapping[str, Any]] | None = None,
) -> AddressPlan:
    """What ``host`` has of the plan.

    :param networks: items of vlan_network
    :param hosts: all that share the plan; the place is the number of those that are ``given`` none
    :param endpoints: items of vlan_endpoint, whose addresses must not lie in the slice of another host
    :param next_hops: of each host that is there, by network, the addresses by which the others reach what it has in l3
    """
    numbers, problems = numbers_of(hosts, slices, given)
    if not problems and host not in numbers:
        problems.append(
            f"{host} is not one of the hosts that share the address plan ({', '.join(hosts)}), so it has no slice. Put it at the "
            "end of vlan_map_hosts, or leave it out of this play."
        )
    if problems:
        return AddressPlan(None, [*networks], problems)
    plan = AddressPlan(numbers[host])
    for network in networks:
        plan.networks.append(_sliced(plan, network, host, slices))
    for position, network in enumerate(plan.networks):
        if _is_routed(network):
            hops = {name: _listed(found.get(network["name"], ())) for name, found in (next_hops or {}).items()}
            plan.networks[position] = _routed(plan, network, host, numbers, slices, hops)
    for endpoint in endpoints:
        plan.problems += _strays(plan, endpoint, host)
    return plan


def numbers_of(hosts: Sequence[str], slices: int, given: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """The number of each host, and what is wrong with them."""
    if slices not in (1 << bits for bits in range(SLICES_MAX.bit_length())):
        return {}, [f"vlan_map_slices is {shown(slices)}; it is a power of two, up to {SLICES_MAX}, such as 16."]
    numbers = {host: number_of(given.get(host, place)) for place, host in enumerate(hosts)}
    problems = [f"vlan_map_hosts has {host} more than once." for host in numbers if list(hosts).count(host) > 1]
    holders = defaultdict(list)
    for host, number in numbers.items():
        holders[number].append(host)
        if number is None or not 0 <= number < slices:
            source = (
                f"vlan_map_slice of {host} is {shown(given[host])}" if host in given else f"{host} is host {number}"
            )
            problems.append(
                f"{source}, and with vlan_map_slices {slices} the hosts are numbered from 0 to {slices - 1}. Give vlan_map_slice a "
                "number that no other host has, or take {host} out of vlan_map_hosts.".replace("{host}", host)
            )
    problems += [
        f"{' and '.join(found)} have the same slice, {number}"
        f" ({', '.join(_said(host, given) for host in found)}). Give one of them another vlan_map_slice."
        for number, found in holders.items()
        if len(found) > 1 and number is not None
    ]
    return {host: number for host, number in numbers.items() if number is not None}, problems


def number_of(value: Any) -> int | None:
    """A number as an inventory has it; None for what is none."""
    try:
        return None if isinstance(value, (bool, float)) else int(value)
    except (TypeError, ValueError):
        return None


def _said(host: str, given: Mapping[str, Any]) -> str:
    return f"{host} by {'its vlan_map_slice' if host in given else 'its place in vlan_map_hosts'}"


def slice_of(whole: IPNetwork, slices: int, number: int) -> IPNetwork:
    """The slice of a number, counted from 0.

    :raises ValueError: if there are fewer addresses than slices
    """
    prefixlen = whole.prefixlen + slices.bit_length() - 1
    if prefixlen > whole.max_prefixlen:
        raise ValueError(f"{whole} has fewer addresses than there are slices ({slices})")
    size = 1 << (whole.max_prefixlen - prefixlen)
    return type(whole)((int(whole.network_address) + number * size, prefixlen))


def _sliced(plan: AddressPlan, network: Item, host: str, slices: int) -> Item:
    """The network with this host's slices. One without a link to other hosts stays as it is: its addresses are its own."""
    name = network["name"]
    if _is(network.get("internal")) or not network.get("parent"):
        return network
    entries, families = [], set()
    for entry in network.get("ipam_config") or []:
        try:
            subnet = _subnet(entry)
            whole = subnet.ip_range or subnet.network
            mine = slice_of(whole, slices, plan.number or 0)
            _check_room(subnet, mine)
        except ValueError as error:
            plan.problems.append(f"Network '{name}': {host} gets no slice of {shown(entry.get('subnet'))}: {error}.")
            continue
        families.add(subnet.family)
        plan.shares.setdefault(name, []).append(Share(subnet.network, whole, mine, _is_routed(network)))
        entries.append({key: value for key, value in entry.items() if key != "iprange"} | {"ip_range": str(mine)})
    if 4 not in families and _is(network.get("enable_ipv4", True)) and not plan.problems:
        plan.problems.append(
            f"Network '{name}' has no IPv4 subnet, so each host would take the same one from its default pools. Give it a subnet, "
            "or set enable_ipv4 to false."
        )
    return {**network, "ipam_config": entries}


def _is_routed(network: Item) -> bool:
    return (
        network.get("ipvlan_mode") in ("l3", "l3s") and bool(network.get("parent")) and not _is(network.get("internal"))
    )


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _routed(
    plan: AddressPlan,
    network: Item,
    host: str,
    numbers: Mapping[str, int],
    slices: int,
    next_hops: Mapping[str, Sequence[str]],
) -> Item:
    """The network with its routes to the slices of the other hosts. Where no host has a next hop they are somebody else's."""
    name = network["name"]
    routes = [*(network.get("routes") or ())]
    if not any(next_hops.values()):
        return {**network, "routes": routes}
    for other, number in sorted(numbers.items(), key=lambda pair: pair[1]):
        if other not in next_hops:  # a place that is kept for a host that is not there
            continue
        try:
            hops = [addressing.parse_address(text) for text in next_hops[other]]
        except ValueError as error:
            plan.problems.append(f"Network '{name}': vlan_map_next_hops of {other}: {error}.")
            continue
        for whole in (share.whole for share in plan.shares.get(name, ())):
            found = [hop for hop in hops if hop.version == whole.version]
            if len(found) != 1:
                plan.problems.append(
                    f"Network '{name}': {other} has {len(found) or 'no'} IPv{whole.version} next hop{'s' * (len(found) > 1)}, and the "
                    f"others have to know one to route its slice of {whole}. Give its address on the network's parent in "
                    "vlan_map_next_hops, or take the variable from all hosts."
                )
            elif other != host:
                routes.append({"subnet": str(slice_of(whole, slices, number)), "via": str(found[0])})
    return {**network, "routes": routes}


def _is(value: Any) -> bool:
    """A truth value as a variable may hold it."""
    return str(value).lower() in ("true", "yes", "on", "1")


def _subnet(entry: Item) -> Subnet:
    """As the modules read it; what they would say of a gateway or of auxiliary addresses is left to them."""
    network, _had_host_bits = addressing.parse_subnet(entry["subnet"])
    text = entry.get("ip_range") or entry.get("iprange")
    ip_range = addressing.parse_subnet(text)[0] if text else None
    if ip_range is not None and not (
        ip_range.version == network.version and ip_range[0] in network and ip_range[-1] in network
    ):
        raise ValueError(f"its ip_range {ip_range} is not inside it")
    gateway = entry.get("gateway")
    return Subnet(
        network,
        None
        if gateway == NO_GATEWAY
        else addressing.parse_address(gateway)
        if gateway
        else addressing.default_gateway(network),
        ip_range,
        tuple((name, addressing.parse_address(text)) for name, text in (entry.get("aux_addresses") or {}).items()),
    )


def _check_room(subnet: Subnet, mine: IPNetwork) -> None:
    first, last = Subnet(subnet.network, ip_range=mine).bounds()
    if last - first + 1 <= sum(first <= number <= last for number in subnet.reserved()):
        raise ValueError(
            f"its slice {mine} has no address to give out; take a smaller vlan_map_slices before the first host has addresses, "
            "another vlan_map_slice for this host, or a larger subnet"
        )


def _strays(plan: AddressPlan, endpoint: Item, host: str) -> Iterator[str]:
    """Addresses of an endpoint that another host may give out."""
    name, network = endpoint.get("name"), endpoint.get("network")
    for option in ADDRESS_OPTIONS:
        try:
            first, last = addressing.parse_addresses(str(endpoint.get(option)))
        except ValueError:
            continue  # the module says so
        for share in plan.shares.get(str(network), ()):
            for address in filter(None, (first, last)):
                if address in share.whole and address not in share.mine:
                    yield (
                        f"{name} on network '{network}': {address} is in the slice of another host; {host} has {share.mine} of "
                        f"{share.whole}. Take an address there"
                        + (
                            "."
                            if share.routed
                            else ", or one of the subnet outside its ip_range, which no host gives out by itself."
                        )
                    )
                elif share.routed and address in share.subnet and address not in share.mine:
                    yield (
                        f"{name} on network '{network}': {address} is outside {share.mine}, which is what {host} has of "
                        f"{share.subnet}, and in l3 no other host looks for it here. Take an address there."
                    )
