# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The output of ``docker network inspect`` as networks, endpoints and addresses of this collection.

What the keys mean: moby, api/types/network and libnetwork/drivers/{ipvlan,macvlan}. The documentation for users stands
beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.module_utils.addressing import shown
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS
from ansible_collections.netops.underlay.plugins.plugin_utils import takeover
from ansible_collections.netops.underlay.plugins.plugin_utils.takeover import (
    Item,
    SubnetKeys,
    Takeover,
    Unreadable,
)

TARGETS = ("netns", "container")
MTU_OPTION = "com.docker.network.driver.mtu"
SUBNET_KEYS = SubnetKeys("Subnet", "Gateway", "IPRange", "AuxiliaryAddresses")

# Read below, or without a meaning outside of Docker. Scope: what is to be known of a swarm's network stands in ConfigFrom.
UNDERSTOOD = frozenset(
    "Name Id Created Scope Driver EnableIPv4 EnableIPv6 IPAM Internal ConfigFrom Containers Options Labels Status".split()
)


def from_docker_network_inspect(value: Any, target: str | None = None) -> dict[str, list[Any]]:
    """The filter itself; its documentation stands in ``from_docker_network_inspect.yml``.

    :raises AnsibleFilterError: if the input is not what ``docker network inspect`` prints
    """
    try:
        return _taken_over(_entries(value), _target(target))
    except Unreadable as error:
        raise AnsibleFilterError(f"netops.underlay.from_docker_network_inspect: {error}") from None


def _target(target: Any) -> str | None:
    if target is not None and target not in TARGETS:
        raise Unreadable(
            f"target {shown(target)} is not one of {', '.join(TARGETS)}; leave it out for endpoints without one"
        )
    return target


def _entries(value: Any) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise Unreadable(
                f"the input is no JSON ({error}); give what `docker network inspect NAME` prints on its standard output"
            ) from None
    if not isinstance(value, list):
        raise Unreadable(
            f"the input has to be the list that `docker network inspect NAME` prints, as a whole; it is {shown(value)}"
        )
    return value


def _taken_over(entries: list[Any], target: str | None) -> dict[str, list[Any]]:
    found = Takeover()
    seen: dict[str, str] = {}
    for index, value in enumerate(entries):
        entry = takeover.dict_of(value, f"item [{index}]")
        missing = next((key for key in ("Name", "Driver", "IPAM") if key not in entry), None)
        if missing:
            raise Unreadable(
                f"item [{index}] has no {missing!r}; give what `docker network inspect NAME` prints (neither the output of "
                "`docker network ls` nor that of podman is read)"
            )
        name = takeover.text_of(entry["Name"], f"item [{index}]: Name")
        item = f"item [{index}] ({name})"
        driver = takeover.text_of(entry["Driver"], f"{item}: Driver")
        if driver not in DRIVERS:
            found.warn(name, f"its driver is {shown(driver)}, and only {' and '.join(DRIVERS)} are taken over")
        elif name in seen:
            found.warn(name, f"{item} has the name of {seen[name]}; it is left out, rename one of them")
        else:
            seen[name] = item
            _take_network(found, item, entry)
            _take_containers(found, item, entry, target)
    return found.result()


# --- networks -------------------------------------------------------------------------------------------------


def _take_network(found: Takeover, item: str, entry: Mapping[str, Any]) -> None:
    name, driver = entry["Name"], entry["Driver"]
    options = takeover.dict_of(entry.get("Options"), f"{item}: Options")
    network: Item = {"name": name, "driver": driver}
    parent = options.get("parent")
    # A parent of this name is the dummy link that Docker makes where none is given.
    if parent and parent not in (f"{prefix}-{str(entry.get('Id'))[:12]}" for prefix in ("dm", "di")):
        network["parent"] = takeover.text_of(parent, f"{item}: Options.parent")
    network.update(takeover.settings_of(driver, options, f"{item}: Options"))
    if options.get(MTU_OPTION):
        network["mtu"] = takeover.mtu_of(options[MTU_OPTION], f"{item}: Options.{MTU_OPTION}")
    network["internal"] = bool(entry.get("Internal"))
    for family in (4, 6):
        if entry.get(f"EnableIPv{family}") is not None:
            network[f"enable_ipv{family}"] = bool(entry[f"EnableIPv{family}"])
    subnets = _subnets(found, item, entry, network)
    if subnets:
        network["ipam_config"] = subnets
    labels = takeover.dict_of(entry.get("Labels"), f"{item}: Labels")
    if labels:
        network["labels"] = dict(labels)
    found.networks.append(network)

    settings = {setting.option for setting in DRIVERS[driver].settings}
    found.warn_of_keys(name, "option ", options, {"parent", MTU_OPTION, *settings})
    found.warn_of_keys(name, "", entry, UNDERSTOOD)
    source = takeover.dict_of(entry.get("ConfigFrom"), f"{item}: ConfigFrom").get("Network")
    if source:
        found.warn(
            name,
            f"ConfigFrom: it was made from the configuration {shown(source)}; what of it shows in this network is taken "
            "over, so look whether parent and subnets are there",
        )


def _subnets(found: Takeover, item: str, entry: Mapping[str, Any], network: Mapping[str, Any]) -> list[Item]:
    name = network["name"]
    ipam = takeover.dict_of(entry["IPAM"], f"{item}: IPAM")
    if ipam.get("Driver") not in (None, "", "default"):
        found.warn(name, f"IPAM.Driver is {shown(ipam['Driver'])}; here addresses are given out by this collection")
    options = takeover.dict_of(ipam.get("Options"), f"{item}: IPAM.Options")
    found.warn_of_keys(name, "IPAM.Options: ", options, ())
    found.warn_of_keys(name, "IPAM.", ipam, {"Driver", "Options", "Config"})
    subnets = []
    for index, value in enumerate(takeover.list_of(ipam.get("Config"), f"{item}: IPAM.Config")):
        where = f"{item}: IPAM.Config[{index}]"
        config = takeover.dict_of(value, where)
        subnet = takeover.subnet_item(config, SUBNET_KEYS, where, routed=takeover.is_routed(network))
        found.warn_of_keys(name, f"IPAM.Config[{index}].", config, SUBNET_KEYS.all)
        family = takeover.family_of(subnet)
        # Docker keeps such a subnet and gives out nothing of it.
        if network.get(f"enable_ipv{family}") is False:
            found.warn(name, f"subnet {subnet['subnet']} is left out: IPv{family} is not enabled")
        else:
            subnets.append(subnet)
    return subnets


# --- endpoints and addresses ----------------------------------------------------------------------------------


def _take_containers(found: Takeover, item: str, entry: Mapping[str, Any], target: str | None) -> None:
    network = found.networks[-1]
    containers = takeover.dict_of(entry.get("Containers"), f"{item}: Containers")
    rows = []
    for key, value in containers.items():
        where = f"{item}: Containers: {key[:12]}"
        container = takeover.dict_of(value, where)
        rows.append((takeover.text_of(container.get("Name"), f"{where}: Name"), key, container, where))
    for name, key, container, where in sorted(rows, key=lambda row: row[:2]):
        addresses = {
            f"ipv{family}_address": str(
                takeover.address_of(container[f"IPv{family}Address"], f"{where}: IPv{family}Address")
            )
            for family in (4, 6)
            if container.get(f"IPv{family}Address")
        }
        found.addresses.extend(
            {
                "network": network["name"],
                "owner": name,
                "address": address,
                "description": f"from docker network {network['name']}",
            }
            for address in addresses.values()
        )
        # moby, daemon: what has no container any more is listed under the id of its endpoint.
        if key.startswith("ep-"):
            found.warn(network["name"], f"{shown(name)} has an address but no container any more; it gets no endpoint")
            continue
        endpoint = {"name": name, "network": network["name"], **addresses}
        mac = container.get("MacAddress")
        if mac and takeover.has_own_mac(network):
            endpoint["mac_address"] = takeover.text_of(mac, f"{where}: MacAddress")
        if target:
            endpoint[target] = name
        found.endpoints.append(endpoint)
        found.warn_of_keys(
            network["name"],
            f"container {name}: ",
            container,
            {"Name", "EndpointID", "MacAddress", "IPv4Address", "IPv6Address"},
        )


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"from_docker_network_inspect": from_docker_network_inspect}
