# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The networks and services of a Docker Compose file as networks, endpoints and addresses of this collection.

What the keys mean: compose-spec, schema/compose-spec.json. How Compose names and joins: compose-go, loader/normalize.go and
types (NetworksByPriority); docker/compose, pkg/compose/create.go. Which network carries the default route: moby,
daemon/libnetwork/sandbox.go (Endpoint.Less). The documentation for users stands beside this file.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.module_utils.addressing import default_gateway, shown
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS
from ansible_collections.netops.underlay.plugins.plugin_utils import takeover
from ansible_collections.netops.underlay.plugins.plugin_utils.takeover import (
    NO_NETWORK,
    Item,
    SubnetKeys,
    Takeover,
    Unreadable,
    given,
)

TARGETS = ("container", "netns")
DEFAULT = "default"  # the network of services that name none
BRIDGE = "bridge"  # the driver of networks that name none
DOCKERS_OWN = ("bridge", "host")
CONFIG = "`docker compose config`"  # it fills variables in and joins files
DEEPEST = 20  # of what YAML nests, far more than a Compose file has; an anchor can nest without end

MTU_OPTION = "com.docker.network.driver.mtu"
ENABLE_OPTIONS = {family: f"com.docker.network.enable_ipv{family}" for family in (4, 6)}
SYSCTLS_OPTION = "com.docker.network.endpoint.sysctls"
IFNAME_OPTION = "com.docker.network.endpoint.ifname"
SUBNET_KEYS = SubnetKeys("subnet", "gateway", "ip_range", "aux_addresses")
NETWORK_KEYS = frozenset("name driver driver_opts ipam external internal enable_ipv4 enable_ipv6 labels".split())
ATTACHMENT_KEYS = frozenset(
    "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address mac_address priority".split()
)
# They are known, so only what they say is named.
UNSUPPORTED = frozenset({"attachable", "link_local_ips"})

WORDS = {
    **dict.fromkeys(("true", "t", "1", "y", "yes", "on"), True),
    **dict.fromkeys(("false", "f", "0", "n", "no", "off"), False),
}
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")
_VARIABLE = re.compile(r"\$\$|\$\{?(?P<name>[A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Network:
    """What a key of ``networks`` stands for; ``item`` is None where the file does not make it."""

    name: str
    item: Item | None = None


@dataclass(frozen=True)
class Attachment:
    """A service on a network; ``network`` is None where that is left out."""

    key: str
    where: str
    network: Network | None
    options: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    gw_priority: int = 0


@dataclass(frozen=True)
class Reading:
    """What was asked for, and what was read so far. ``networks`` has None for those that are left out; ``names`` has the
    place of each endpoint's name, ``unnamed`` the services without a name of their own; ``unfilled`` are variables."""

    target: str
    project: str | None
    found: Takeover = field(default_factory=Takeover)
    networks: dict[str, Network | None] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unnamed: list[str] = field(default_factory=list)
    unfilled: list[str] = field(default_factory=list)

    def warn(self, where: str, text: str) -> None:
        self.found.warnings.append(f"{where}: {text}")

    def warn_of_keys(self, where: str, values: Mapping[str, Any], understood: Collection[str]) -> None:
        """Names every key that is not understood, whatever its value; a word that is mistyped says something, too."""
        for key, value in values.items():
            if key in understood or _is_extension(key) or (key in UNSUPPORTED and not value):
                continue
            self.warn(_place(where, key), f"{shown(value)} is not taken over")

    def filled(self, values: Mapping[str, Any], where: str) -> dict[str, Any] | None:
        """A copy without extensions and with ``$$`` as ``$``; None where a variable is in it, which is told at the end."""
        variables: list[str] = []
        copy = {
            key: _filled(value, _place(where, key), variables, 1)
            for key, value in values.items()
            if not _is_extension(key)
        }
        self.unfilled.extend(variables)
        return None if variables else copy


def from_compose(value: Any, target: str = "container", project: str | None = None) -> dict[str, list[Any]]:
    """The filter itself; its documentation stands in ``from_compose.yml``.

    :raises AnsibleFilterError: if the input is not a Compose file, or has variables where they matter
    """
    try:
        return _taken_over(_document(value), Reading(_target(target), _project(project)))
    except Unreadable as error:
        raise AnsibleFilterError(f"netops.underlay.from_compose: {error}") from None


def _target(target: Any) -> str:
    if target not in TARGETS:
        raise Unreadable(f"target {shown(target)} is not one of {', '.join(TARGETS)}")
    return target


def _project(project: Any) -> str | None:
    if project in (None, ""):
        return None
    if not isinstance(project, str) or not _PROJECT.fullmatch(project):
        raise Unreadable(
            f"project {shown(project)} is not the name of a Compose project: a lower-case letter or digit, then lower-case "
            "letters, digits, '_' and '-'"
        )
    return project


def _document(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise Unreadable(
                f"the input is text, but no JSON ({error}); of a Compose file give the parsed YAML (the filter from_yaml does "
                "that)"
            ) from None
    if not isinstance(value, Mapping):
        raise Unreadable(f"the input has to be a Compose file as a dictionary; it is {shown(value)}")
    if "networks" not in value and "services" not in value:
        raise Unreadable("the input has neither 'networks' nor 'services'; give a Compose file as a whole")
    return value


def _taken_over(document: Mapping[str, Any], reading: Reading) -> dict[str, list[Any]]:
    if given(document, "include") is not None:
        reading.warn("include", f"other files are not read; run {CONFIG} first, which joins them")
    for key, value in _named(document, "networks").items():
        reading.networks[key] = _take_network(reading, key, value)
    for key, value in _named(document, "services").items():
        _take_service(reading, key, value)
    if reading.unfilled:
        variables = "; ".join(dict.fromkeys(reading.unfilled))
        raise Unreadable(f"variables are not filled in: {variables}. Run {CONFIG} first, which fills them in")
    _hint_at_project(reading, given(document, "name"))
    return reading.found.result()


def _hint_at_project(reading: Reading, name: Any) -> None:
    if name is not None and reading.project is None and reading.unnamed and reading.target == "container":
        reading.warn(
            "name",
            f"the file names the project {shown(name)}, and Compose names containers after it; give it to the filter as "
            f"project, else the container of {', '.join(shown(service) for service in reading.unnamed)} is looked for "
            "under the service's name",
        )


# --- reading --------------------------------------------------------------------------------------------------


def _place(where: str, key: Any) -> str:
    return f"{where}.{key if isinstance(key, str) and _PLAIN.fullmatch(key) else shown(key)}"


def _is_extension(key: Any) -> bool:
    return isinstance(key, str) and key.startswith("x-")


def _filled(value: Any, where: str, variables: list[str], depth: int) -> Any:
    """A copy with ``$$`` as ``$``; variables are noted, each with its place."""
    if depth > DEEPEST:
        raise Unreadable(f"{where[:80]} is nested too deeply")
    if isinstance(value, str):
        names = [match["name"] for match in _VARIABLE.finditer(value) if match["name"]]
        variables.extend(f"{name} ({where})" for name in names)
        return value.replace("$$", "$")
    if isinstance(value, Mapping):
        return {key: _filled(inner, _place(where, key), variables, depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, f"{where}[{index}]", variables, depth + 1) for index, inner in enumerate(value)]
    return value


def _named(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What stands under ``networks`` or ``services``, by name."""
    named = takeover.dict_of(values.get(key), key)
    return {
        _text(name, f"{key}: the name {shown(name)}"): value for name, value in named.items() if not _is_extension(name)
    }


def _text(value: Any, where: str) -> str:
    if isinstance(value, (bool, int, float, date)):
        raise Unreadable(f"{where} has to be text, and YAML reads {shown(value)} as something else; put it in quotes")
    return takeover.text_of(value, where)


def _number(values: Mapping[str, Any], key: str, where: str) -> int | None:
    value = given(values, key)
    if value is None:
        return None
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,18}(\.0)?", text):
        raise Unreadable(f"{_place(where, key)} has to be a whole number; it is {shown(value)}")
    return int(text.partition(".")[0])


def _switch(values: Mapping[str, Any], key: str, where: str) -> bool | None:
    value = given(values, key)
    if isinstance(value, str):
        value = WORDS.get(value.lower(), value)
    if value is not None and not isinstance(value, bool):
        raise Unreadable(f"{_place(where, key)} has to be true or false; it is {shown(value)}")
    return value


def _mac(values: Mapping[str, Any], where: str) -> str | None:
    value = given(values, "mac_address")
    if value is None:
        return None
    text = _text(value, f"{where}.mac_address")
    if not _MAC.fullmatch(text):
        raise Unreadable(f"{where}.mac_address {shown(text)} is not a MAC address such as 02:42:c0:a8:14:0a")
    return text


# --- networks -------------------------------------------------------------------------------------------------


def _take_network(reading: Reading, key: str, value: Any) -> Network | None:
    where = _place("networks", key)
    whole = takeover.dict_of(value, where)
    # What is left out may have variables in it.
    head = reading.filled({name: whole[name] for name in ("driver", "external", "name") if name in whole}, where)
    if head is None:
        return None
    if _is_external(head, where):
        return _external(reading, key, whole, head, where)
    driver = BRIDGE if given(head, "driver") is None else _text(head["driver"], f"{where}.driver")
    if driver not in DRIVERS:
        reading.warn(where, f"its driver is {shown(driver)}, and only {' and '.join(DRIVERS)} are taken over")
        return None
    definition = reading.filled(whole, where)
    if definition is None:
        return None
    name = _network_name(reading, key, definition, where)
    if any(network["name"] == name for network in reading.found.networks):
        reading.warn(
            where, f"it is left out: there is a network with the name {shown(name)} already; rename one of them"
        )
        return None
    item = _network_item(reading, name, driver, definition, where)
    reading.found.networks.append(item)
    return Network(name, item)


def _network_name(reading: Reading, key: str, definition: Mapping[str, Any], where: str) -> str:
    name = given(definition, "name")
    if name is not None:
        return _text(name, f"{where}.name")
    return key if reading.project is None else f"{reading.project}_{key}"


def _is_external(head: Mapping[str, Any], where: str) -> bool:
    return isinstance(head.get("external"), Mapping) or bool(_switch(head, "external", where))


def _external(
    reading: Reading, key: str, definition: Mapping[str, Any], head: Mapping[str, Any], where: str
) -> Network | None:
    """A network that the file only names. In an old form the name stands in ``external``."""
    old_form = head["external"] if isinstance(head["external"], Mapping) else {}
    reading.warn_of_keys(f"{where}.external", old_form, {"name"})
    said = {name: value for name, value in definition.items() if value and name not in ("external", "name")}
    reading.warn_of_keys(where, said, ())
    name = given(head, "name")
    place = f"{where}.name"
    if name is None:
        name, place = given(old_form, "name"), f"{where}.external.name"
    name = key if name is None else _text(name, place)
    if name == NO_NETWORK:
        return Network(NO_NETWORK)
    if name in DOCKERS_OWN:
        reading.warn(where, f"it is Docker's own network {shown(name)}, which is not taken over")
        return None
    reading.warn(where, f"it is external: the network {shown(name)} has to exist before endpoints are attached to it")
    return Network(name)


def _network_item(reading: Reading, name: str, driver: str, definition: Mapping[str, Any], where: str) -> Item:
    options = takeover.dict_of(definition.get("driver_opts"), f"{where}.driver_opts")
    item: Item = {"name": name, "driver": driver}
    parent = given(options, "parent")
    if parent is not None:
        item["parent"] = _text(parent, f"{where}.driver_opts.parent")
    settings = [setting.option for setting in DRIVERS[driver].settings]
    for option in settings:
        item.update(takeover.settings_of(driver, {option: options.get(option)}, _place(f"{where}.driver_opts", option)))
    mtu = given(options, MTU_OPTION)
    if mtu is not None:
        item["mtu"] = takeover.mtu_of(mtu, f"{where}.driver_opts.{MTU_OPTION}")
    item["internal"] = bool(_switch(definition, "internal", where))
    for family, option in ENABLE_OPTIONS.items():
        enabled = _switch(definition, f"enable_ipv{family}", where)
        if enabled is None:
            enabled = _switch(options, option, f"{where}.driver_opts")
        if enabled is not None:
            item[f"enable_ipv{family}"] = enabled
    reading.warn_of_keys(where, definition, NETWORK_KEYS)
    understood = {"parent", MTU_OPTION, *ENABLE_OPTIONS.values(), *settings}
    reading.warn_of_keys(f"{where}.driver_opts", options, understood)
    subnets = _subnets(reading, item, definition, f"{where}.ipam")
    if subnets:
        item["ipam_config"] = subnets
    labels = _labels(definition.get("labels"), f"{where}.labels")
    if labels:
        item["labels"] = labels
    return item


def _subnets(reading: Reading, item: Item, definition: Mapping[str, Any], where: str) -> list[Item]:
    ipam = takeover.dict_of(definition.get("ipam"), where)
    if given(ipam, "driver") not in (None, DEFAULT):
        reading.warn(f"{where}.driver", f"{shown(ipam['driver'])}; here addresses are given out by this collection")
    reading.warn_of_keys(f"{where}.options", takeover.dict_of(ipam.get("options"), f"{where}.options"), ())
    reading.warn_of_keys(where, ipam, {"driver", "options", "config"})
    subnets = []
    for index, value in enumerate(takeover.list_of(ipam.get("config"), f"{where}.config")):
        place = f"{where}.config[{index}]"
        config = takeover.dict_of(value, place)
        reading.warn_of_keys(place, config, SUBNET_KEYS.all)
        if all(given(config, key) is None for key in SUBNET_KEYS.all):
            continue  # Docker chooses a subnet, and so do we
        subnet = takeover.subnet_item(config, SUBNET_KEYS, place, routed=takeover.is_routed(item))
        family = takeover.family_of(subnet)
        if family in _families(item):
            subnets.append(subnet)
        else:
            reading.warn(
                place,
                f"subnet {subnet['subnet']} is left out: enable_ipv{family} is not true, so Docker gives out no "
                f"IPv{family} addresses",
            )
    return subnets


def _families(item: Mapping[str, Any]) -> set[int]:
    """The families that Docker gives out; IPv6 only where it is asked for, even if there is a subnet."""
    return {family for family in (4, 6) if item.get(f"enable_ipv{family}", family == 4)}


def _labels(value: Any, where: str) -> dict[str, str]:
    """Labels in both forms, with the values as Compose writes them."""
    if isinstance(value, list):
        pairs = (_text(entry, f"{where}[{index}]").partition("=") for index, entry in enumerate(value))
        return {name: text for name, _equals, text in pairs}
    labels = {}
    for name, label in takeover.dict_of(value, where).items():
        labels[_text(name, f"{where}: the name {shown(name)}")] = _label(label, _place(where, name))
    return labels


def _label(value: Any, where: str) -> str:
    if value in (None, ""):
        return ""
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    return _text(value, where)


# --- services -------------------------------------------------------------------------------------------------


def _take_service(reading: Reading, key: str, value: Any) -> None:
    where = _place("services", key)
    service = takeover.dict_of(value, where)
    if given(service, "extends") is not None:
        reading.warn(f"{where}.extends", f"what it brings is not read; run {CONFIG} first, which puts it in")
    attachments = _attachments(reading, service, where)
    joined = [attachment for attachment in attachments if attachment.network is not None]
    if not joined:
        return
    deploy = takeover.dict_of(service.get("deploy"), f"{where}.deploy")
    own = {name: service[name] for name in ("container_name", "mac_address", "scale") if name in service}
    if "replicas" in deploy:
        own["deploy"] = {"replicas": deploy["replicas"]}
    filled = reading.filled(own, where)
    if filled is None or not _has_container(reading, filled, where):
        return
    name = _endpoint_name(reading, key, filled, where)
    mac_addresses = _mac_addresses(reading, attachments, filled, where)
    default_routes = _default_routes(reading, joined, where)
    for attachment in joined:
        endpoint = _endpoint(reading, key, name, attachment)
        mac = mac_addresses.get(attachment.key)
        if mac is not None:
            endpoint["mac_address"] = mac
        if attachment.key in default_routes:
            endpoint["default_route"] = default_routes[attachment.key]
        reading.found.endpoints.append(endpoint)


def _has_container(reading: Reading, service: Mapping[str, Any], where: str) -> bool:
    place, count = f"{where}.scale", _number(service, "scale", where)
    if count is None:
        place = f"{where}.deploy.replicas"
        count = _number(service.get("deploy", {}), "replicas", f"{where}.deploy")
    if count is not None and count < 1:
        reading.warn(place, f"it is {count}, so no container runs; the service gets no endpoint")
        return False
    if count is not None and count > 1:
        reading.warn(
            place,
            f"it is {count}, and the first container alone gets endpoints: containers cannot share addresses; add the "
            "others by hand",
        )
    return True


def _endpoint_name(reading: Reading, key: str, service: Mapping[str, Any], where: str) -> str:
    """The name of the container, as Compose makes it."""
    name = given(service, "container_name")
    if name is not None:
        name = _text(name, f"{where}.container_name")
    else:
        name = key if reading.project is None else f"{reading.project}-{key}-1"
        reading.unnamed.append(key)
    if name in reading.names:
        raise Unreadable(
            f"{where}: its container would have the name {shown(name)}, which {reading.names[name]} has; give one of them "
            "another container_name, or the filter the project"
        )
    reading.names[name] = where
    return name


# --- attachments ----------------------------------------------------------------------------------------------


def _attachments(reading: Reading, service: Mapping[str, Any], where: str) -> list[Attachment]:
    """The networks of a service in the order in which Compose joins them; the first is its main network."""
    networks = service.get("networks")
    mode = reading.filled({"network_mode": service.get("network_mode")}, where)
    if mode is None:
        return []
    if given(mode, "network_mode") is not None:
        if networks:
            raise Unreadable(f"{where} has both network_mode and networks; Compose takes one of them")
        return _by_mode(reading, mode["network_mode"], f"{where}.network_mode")
    attachments = [
        _attachment(reading, key, value, where if not networks else _place(f"{where}.networks", key))
        for key, value in _joined_networks(reading, networks, f"{where}.networks").items()
    ]
    return sorted(attachments, key=lambda attachment: (-attachment.priority, attachment.key))


def _by_mode(reading: Reading, mode: Any, where: str) -> list[Attachment]:
    if _text(mode, where) == NO_NETWORK:
        return [Attachment(NO_NETWORK, where, Network(NO_NETWORK))]
    reading.warn(where, f"{shown(mode)} is not taken over; the service gets no endpoint")
    return []


def _joined_networks(reading: Reading, networks: Any, where: str) -> Mapping[str, Any]:
    """Both forms as a dictionary; without any it is the network of Compose."""
    if isinstance(networks, list) and networks:
        filled = reading.filled({"networks": networks}, where.rpartition(".")[0])
        if filled is None:
            return {}
        return {_text(key, f"{where}[{index}]"): None for index, key in enumerate(filled["networks"])}
    if isinstance(networks, Mapping) and networks:
        return {_text(key, f"{where}: the name {shown(key)}"): value for key, value in networks.items()}
    if networks is None or isinstance(networks, (list, Mapping)):
        return {DEFAULT: None}
    raise Unreadable(f"{where} has to be a list or a dictionary; it is {shown(networks)}")


def _attachment(reading: Reading, key: str, value: Any, where: str) -> Attachment:
    options = takeover.dict_of(value, where)
    if key not in reading.networks and key != DEFAULT:
        raise Unreadable(
            f"{where}: 'networks' of the file has no {shown(key)}; if it stands in another file, run {CONFIG} first, which "
            "joins them"
        )
    network = reading.networks.get(key)
    if network is None:
        what = "its network" if key in reading.networks else "Compose's network 'default', a bridge,"
        reading.warn(where, f"{what} is not taken over, and the service gets no endpoint on it")
        priority = options.get("priority")
        return Attachment(key, where, None, priority=priority if isinstance(priority, int) else 0)
    filled = reading.filled(options, where)
    if filled is None:
        return Attachment(key, where, None)
    return Attachment(
        key=key,
        where=where,
        network=network,
        options=filled,
        priority=_number(filled, "priority", where) or 0,
        gw_priority=_number(filled, "gw_priority", where) or 0,
    )


def _mac_addresses(
    reading: Reading, attachments: list[Attachment], service: Mapping[str, Any], where: str
) -> dict[str, str]:
    """The MAC address of each attachment that has one. That of the service is for its main network."""
    found = {}
    of_service, main = _mac(service, where), attachments[0]
    for attachment in attachments:
        place, mac = attachment.where, _mac(attachment.options, attachment.where)
        if attachment is main and of_service is not None:
            if mac is not None and mac.lower() != of_service.lower():
                raise Unreadable(
                    f"{where}.mac_address is {of_service}, but that of its main network {shown(main.key)} is {mac}"
                )
            place, mac = where, of_service
        reason = None if mac is None else _no_mac(attachment)
        if reason is not None:
            reading.warn(f"{place}.mac_address", f"{mac} is left out: {reason}")
        elif mac is not None:
            found[attachment.key] = mac
    return found


def _no_mac(attachment: Attachment) -> str | None:
    """Why an attachment can have no MAC address of its own, or None."""
    network = attachment.network
    if network is None:
        return f"it is that of the main network {shown(attachment.key)}, which is not taken over"
    if network.name == NO_NETWORK:
        return "without a network there is no link"
    if network.item is not None and not takeover.has_own_mac(network.item):
        return f"links of {shown(network.name)} have the MAC address of their parent"
    return None


# --- default routes -------------------------------------------------------------------------------------------


def _default_routes(reading: Reading, joined: list[Attachment], where: str) -> dict[str, bool]:
    """Which attachment carries the default route, where there are several. Docker asks in this order for each family;
    ``priority`` is ours, since older versions of Docker knew no other."""
    if len(joined) < 2:
        return {}

    def rank(attachment: Attachment) -> tuple[Any, ...]:
        item, name = attachment.network.item, attachment.network.name
        internal = item is not None and item["internal"]
        # Of a network that the file does not make, one family is what it surely has.
        routes = 1 if item is None else len(_routes(attachment.network))
        return -attachment.gw_priority, -attachment.priority, internal, -routes, name

    carried: dict[int, str] = {}
    carries, missed = {}, set()
    for attachment in sorted(joined, key=rank):
        routes = _routes(attachment.network)
        carries[attachment.key] = bool(routes) and not routes & carried.keys()
        if carries[attachment.key]:
            carried.update(dict.fromkeys(routes, attachment.network.name))
        elif attachment.network.item is not None:
            missed |= routes
    for family in sorted(missed - carried.keys()):
        reading.warn(
            where,
            f"it gets no default route of IPv{family}: the networks that have one also have one of the other family, which "
            f"{shown(next(iter(carried.values())))} carries",
        )
    return carries


def _routes(network: Network) -> set[int]:
    """The families for which a network has a default route; what is not known is supposed to be there."""
    item = network.item
    if item is None:
        return set() if network.name == NO_NETWORK else {4, 6}
    if takeover.is_routed(item):
        return _families(item)
    if item["internal"] or "parent" not in item:
        return set()
    subnets = item.get("ipam_config", [])
    return {
        family
        for family in _families(item)
        if all(_has_gateway(subnet) for subnet in subnets if takeover.family_of(subnet) == family)
    }


def _has_gateway(subnet: Mapping[str, Any]) -> bool:
    return "gateway" in subnet or default_gateway(ipaddress.ip_network(subnet["subnet"])) is not None


# --- endpoints and addresses ----------------------------------------------------------------------------------


def _endpoint(reading: Reading, service: str, name: str, attachment: Attachment) -> Item:
    """The endpoint of an attachment, without what depends on the others of its service."""
    network, options, where = attachment.network, attachment.options, attachment.where
    endpoint: Item = {"name": name, "network": network.name, reading.target: name}
    if network.name == NO_NETWORK and network.item is None:
        reading.warn_of_keys(where, options, {"mac_address"})
        return endpoint
    driver_opts = takeover.dict_of(options.get("driver_opts"), f"{where}.driver_opts")
    reading.warn_of_keys(where, options, ATTACHMENT_KEYS)
    reading.warn_of_keys(f"{where}.driver_opts", driver_opts, {SYSCTLS_OPTION, IFNAME_OPTION})
    for family in (4, 6):
        address = _address(reading, network, options, family, where)
        if address is not None:
            endpoint[f"ipv{family}_address"] = address
            description = f"from compose service {service}"
            reading.found.addresses.append(
                {"network": network.name, "owner": name, "address": address, "description": description}
            )
    for values, key, place in (
        (options, "interface_name", where),
        (driver_opts, IFNAME_OPTION, f"{where}.driver_opts"),
    ):
        if given(values, key) is not None:
            endpoint.setdefault("ifname", _text(values[key], f"{place}.{key}"))
    aliases = _aliases(service, name, options, f"{where}.aliases")
    if aliases:
        endpoint["aliases"] = aliases
    sysctls = _sysctls(driver_opts, f"{where}.driver_opts.{SYSCTLS_OPTION}")
    if sysctls:
        endpoint["sysctls"] = sysctls
    return endpoint


def _address(reading: Reading, network: Network, options: Mapping[str, Any], family: int, where: str) -> str | None:
    place = f"{where}.ipv{family}_address"
    value = given(options, f"ipv{family}_address")
    if value is None:
        return None
    address = takeover.address_of(_text(value, place), place)
    if address.version != family:
        raise Unreadable(f"{place} {shown(value)} is not an IPv{family} address")
    if network.item is not None and family not in _families(network.item):
        reading.warn(place, f"{address} is left out: enable_ipv{family} of the network is not true")
        return None
    return str(address)


def _aliases(service: str, name: str, options: Mapping[str, Any], where: str) -> list[str]:
    """The names of an endpoint beside its own; that of the service is one of them, as in Compose."""
    entries = takeover.list_of(options.get("aliases"), where)
    aliases = [service, *(_text(alias, f"{where}[{index}]") for index, alias in enumerate(entries))]
    return [alias for alias in dict.fromkeys(aliases) if alias != name]


def _sysctls(driver_opts: Mapping[str, Any], where: str) -> dict[str, str]:
    """moby, daemon/libnetwork/netlabel/labels.go, ``EndpointSysctls``: ``NAME=VALUE,...`` with IFNAME in the name."""
    value = given(driver_opts, SYSCTLS_OPTION)
    if value is None:
        return {}
    found = {}
    for part in _text(value, where).split(","):
        name, equals, setting = part.partition("=")
        if not equals or not name.strip() or not setting.strip():
            raise Unreadable(f"{where}: {shown(part)} is not NAME=VALUE, such as net.ipv4.conf.IFNAME.log_martians=1")
        found[name.strip()] = setting.strip()
    return found


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"from_compose": from_compose}
