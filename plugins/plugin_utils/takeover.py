# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the filters that take over from other tools share: reading what those tools wrote, and the one form of the result.

Pure; it knows neither Ansible nor any of those tools. What our modules would refuse is told by their own rules in ``spec.py``.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.netops.underlay.plugins.module_utils import spec
from ansible_collections.netops.underlay.plugins.module_utils.addressing import (
    NO_GATEWAY,
    IPAddress,
    IPNetwork,
    default_gateway,
    shown,
)
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS
from ansible_collections.netops.underlay.plugins.module_utils.errors import UnderlayError

# Stands in for what is not to be judged: a network name that was judged once, a target that is still to be chosen.
_ANY = "any"
# The network without links has rules of its own for its endpoints.
NO_NETWORK = "none"

Item = dict[str, Any]


class Unreadable(ValueError):
    """The input is not what the filter reads; the text says which part, what is wrong, and what to give instead."""


@dataclass(frozen=True)
class SubnetKeys:
    """What a tool calls the parts of a subnet."""

    subnet: str
    gateway: str
    ip_range: str
    auxiliary: str

    @property
    def all(self) -> frozenset[str]:
        return frozenset({self.subnet, self.gateway, self.ip_range, self.auxiliary})


@dataclass(frozen=True)
class Takeover:
    """What was found so far: items as the modules take them, and what a person has to know of them."""

    networks: list[Item] = field(default_factory=list)
    endpoints: list[Item] = field(default_factory=list)
    addresses: list[Item] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def warn(self, network: str, text: str) -> None:
        self.warnings.append(f"network {shown(network)}: {text}")

    def warn_of_keys(self, network: str, where: str, given: Mapping[str, Any], understood: Iterable[str]) -> None:
        """Names every key that says something and is not understood. What is empty or false says nothing."""
        for key, value in given.items():
            if value and key not in understood:
                self.warn(network, f"{where}{key} ({shown(value)}) is not taken over")

    def result(self) -> dict[str, list[Any]]:
        """The finished result, with what only shows when everything is there."""
        _free_held_gateways(self)
        _tell_refusals(self)
        return {
            "networks": self.networks,
            "endpoints": self.endpoints,
            "addresses": self.addresses,
            "warnings": self.warnings,
        }


# --- reading --------------------------------------------------------------------------------------------------


def text_of(value: Any, where: str) -> str:
    if value in (None, ""):
        raise Unreadable(f"{where} is missing")
    if not isinstance(value, str):
        raise Unreadable(f"{where} has to be text; it is {shown(value)}")
    return value


def dict_of(value: Any, where: str) -> Mapping[str, Any]:
    """A dictionary; None is an empty one, as in the JSON of Go programs."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Unreadable(f"{where} has to be a dictionary; it is {shown(value)}")
    return value


def list_of(value: Any, where: str) -> list[Any]:
    """A list; None is an empty one, as in the JSON of Go programs."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(f"{where} has to be a list; it is {shown(value)}")
    return value


def given(values: Mapping[str, Any], key: str) -> Any:
    """The value, or None where there is none or an empty text."""
    value = values.get(key)
    return None if value in (None, "") else value


def mtu_of(value: Any, where: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{where} has to be a number; it is {shown(value)}") from None


def subnet_of(value: Any, where: str) -> IPNetwork:
    text = text_of(value, where)
    try:
        if "/" not in text:
            raise ValueError
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Unreadable(f"{where} {shown(text)} is not a subnet such as 192.168.20.0/24") from None


def address_of(value: Any, where: str) -> IPAddress:
    """An address; a prefix length behind it is left out."""
    text = text_of(value, where)
    try:
        return ipaddress.ip_interface(text).ip
    except ValueError:
        raise Unreadable(f"{where} {shown(text)} is not an IP address") from None


def settings_of(driver: str, options: Mapping[str, Any], where: str) -> Item:
    """The driver's settings among ``options``, by option name. What is empty is the default, here as there."""
    settings = {}
    for setting in DRIVERS[driver].settings:
        value = given(options, setting.option)
        if value is None:
            continue
        if text_of(value, where) not in setting.values:
            raise Unreadable(f"{where}: {shown(value)} is not one of {', '.join(setting.values)}")
        settings[setting.option] = value
    return settings


def subnet_item(config: Mapping[str, Any], keys: SubnetKeys, where: str, routed: bool) -> Item:
    """A subnet as ``ipam_config`` takes it; ``routed``: a gateway means nothing, and is left out."""
    subnet: Item = {"subnet": str(subnet_of(config.get(keys.subnet), f"{where}.{keys.subnet}"))}
    gateway = given(config, keys.gateway)
    if gateway is not None:
        address = address_of(gateway, f"{where}.{keys.gateway}")
        if not routed:
            subnet["gateway"] = str(address)
    ip_range = given(config, keys.ip_range)
    if ip_range is not None:
        subnet["ip_range"] = str(subnet_of(ip_range, f"{where}.{keys.ip_range}"))
    auxiliary = dict_of(config.get(keys.auxiliary), f"{where}.{keys.auxiliary}")
    if auxiliary:
        subnet["aux_addresses"] = {
            str(name): str(address_of(address, f"{where}.{keys.auxiliary}: {name}"))
            for name, address in auxiliary.items()
        }
    return subnet


def family_of(subnet: Mapping[str, Any]) -> int:
    """The family of a subnet of ``ipam_config``."""
    return 6 if ":" in subnet["subnet"] else 4


def is_routed(network: Mapping[str, Any]) -> bool:
    """Whether a gateway means nothing in this network (l3, l3s)."""
    driver = DRIVERS[network["driver"]]
    return driver.mode is not None and network.get(driver.mode.option) in driver.routed_modes


def has_own_mac(network: Mapping[str, Any]) -> bool:
    """Whether an endpoint of this network can have a MAC address of its own (not with ipvlan and passthru)."""
    driver = DRIVERS[network["driver"]]
    return driver.own_mac and (driver.mode is None or network.get(driver.mode.option) not in driver.lone_modes)


# --- finishing ------------------------------------------------------------------------------------------------


def _free_held_gateways(found: Takeover) -> None:
    """Where no gateway is named, the first usable address becomes it, and could not be held any more. Other tools give
    that address away in modes that need no gateway."""
    held = {(row["network"], row["address"]): row["owner"] for row in found.addresses}
    for network in found.networks:
        for entry in network.get("ipam_config", ()):
            gateway = str(default_gateway(ipaddress.ip_network(entry["subnet"])))
            owner = held.get((network["name"], gateway))
            if "gateway" not in entry and owner is not None:
                entry["gateway"] = NO_GATEWAY
                found.warn(
                    network["name"],
                    f"{shown(owner)} has {gateway}, which would be the gateway of {entry['subnet']} if none is named; "
                    "so this subnet gets no gateway",
                )


def _tell_refusals(found: Takeover) -> None:
    """Says which items the modules will refuse as they are. A network's name is judged once, not with each of its items;
    so is that of a network that only addresses name."""
    networks = {row["network"]: {"name": row["network"], "state": spec.ABSENT} for row in found.addresses}
    networks.update({network["name"]: {**network, "state": spec.PRESENT} for network in found.networks})
    for name, options in networks.items():
        reason = _refusal(spec.network_spec, options)
        if reason:
            found.warn(name, f"vlan_network will refuse it: {reason}. It is left as it is; change it before use")
    for row in found.endpoints:
        reason = _refusal(spec.endpoint_spec, _judged(row, networks))
        if reason:
            found.warn(
                row["network"],
                f"vlan_endpoint will refuse an endpoint: {reason}. {shown(row['name'])} is left as it is",
            )
    for row in found.addresses:
        reason = _refusal(spec.address_spec, {**row, "network": _ANY, "state": spec.PRESENT})
        if reason:
            found.warn(row["network"], f"vlan_ipam will refuse {row['address']}: {reason}. It is left as it is")


def _judged(row: Mapping[str, Any], networks: Container[str]) -> Item:
    """An endpoint with what can be judged here. A MAC address needs a library that the controller may lack."""
    options = {key: value for key, value in row.items() if key != "mac_address"}
    options["state"] = spec.PRESENT
    if row["network"] != NO_NETWORK or row["network"] in networks:
        options["network"] = _ANY
    if not any(target in row for target in spec.TARGET_OPTIONS):
        options["netns"] = _ANY
    return options


def _refusal(build: Callable[[str, Item], Any], options: Item) -> str | None:
    try:
        build("", defaultdict(lambda: None, options))  # what is left out is None, as in a module
    except (ValueError, UnderlayError) as error:
        return str(error)
    return None
