# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Parameters become frozen, typed values; every rule that needs neither kernel nor store lives here. Pure.

None in a value means "not given": what exists stays as it is, what is made gets the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import Any, NamedTuple, TypeVar

from ansible_collections.netops.underlay.plugins.module_utils import addressing
from ansible_collections.netops.underlay.plugins.module_utils.addressing import (
    IPAddress,
    Subnet,
    shown,
    shown_number,
    slip,
)
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS
from ansible_collections.netops.underlay.plugins.module_utils.errors import ItemError, Refused
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    ANNOUNCING,
    HISTORY_DAYS,
    HOST,
    NONE,
    POOLS,
    Announcing,
    HostRoute,
    HostSetting,
    Target,
)

PRESENT, ABSENT = "present", "absent"
IFNAME_MAX = 15
NETNS_MAX = 255
OWNER_MAX = 255
PATH_MAX = 1024  # bytes; the kernel takes 4,095, with the names of the files in a folder
NAME_MAX = 255  # bytes, of each name in a path (linux/limits.h)
PID_MAX = 1 << 22  # include/linux/threads.h: PID_MAX_LIMIT
COOLDOWN_MAX = 31536000  # a year, in seconds
LOCK_TIMEOUT_MAX = 86400  # a day, in seconds
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SUB_INTERFACE = re.compile(r"(?P<base>[^.]+)\.(?P<id>[^.]+)")
# Names that mean something else under /proc/sys/net/ipv*/conf.
_IFNAMES_TAKEN = frozenset({"lo", "all", "default"})
TARGET_OPTIONS = ("netns", "netns_path", "pid", "container", "host")
# Under these names a machine finds itself (/etc/hosts); an endpoint must not take them away.
_NAMES_TAKEN = frozenset(
    {"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "ip6-allnodes", "ip6-allrouters"}
)
ALIASES_MAX = 64
LISTEN_MAX = 300
ANNOUNCE_MAX, ANNOUNCE_INTERVAL_MAX = 10, 6000
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.(conf|neigh)\.IFNAME\.([a-z0-9_]{1,64})")
# What follows from the options of the network.
_SYSCTLS_TAKEN = {"net.ipv6.conf.IFNAME.disable_ipv6": "enable_ipv6 of the network"}


class NetworkSpec(NamedTuple):
    """A network as asked for. ``settings`` are the driver options that were given, by option name. ``force`` may
    be that of the whole task; ``own_force`` is given for this very network."""

    item: str
    name: str
    state: str
    driver: str | None = None
    parent: str | None = None
    settings: Mapping[str, str] | None = None
    internal: bool | None = None
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    subnets: tuple[Subnet, ...] | None = None
    mtu: int | None = None
    labels: Mapping[str, str] | None = None
    cooldown: int | None = None
    routes: tuple[HostRoute, ...] | None = None
    vlan_protocol: str | None = None
    announce: Announcing | None = None
    conflict_check: bool | None = None
    ipv6_dad: str | None = None
    force: bool = False
    own_force: bool = False
    given_gateways: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class EndpointSpec(NamedTuple):
    """An endpoint as asked for; ``target`` is None only where the state is ``absent``. ``keep``: an absent one keeps its
    addresses."""

    item: str
    network: str
    name: str
    state: str
    target: Target | None = None
    ipv4_address: IPAddress | None = None
    ipv6_address: IPAddress | None = None
    mac_address: str | None = None
    ifname: str | None = None
    default_route: bool | None = None
    keep: bool = False
    aliases: tuple[str, ...] | None = None
    sysctls: Mapping[str, str] | None = None
    conflict_check: bool | None = None
    force: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.network, self.name

    @property
    def place(self) -> Target:
        """The target of one that is not absent."""
        if self.target is None:
            raise AssertionError(f"endpoint {self.name} is absent and has no place")
        return self.target

    def address(self, family: int) -> IPAddress | None:
        return self.ipv4_address if family == 4 else self.ipv6_address


class Expiry(NamedTuple):
    """When an allocation ends: ``at`` a time (seconds since the epoch), ``after`` seconds from when it was made, or, with
    neither, never."""

    at: int | None = None
    after: int | None = None

    def moment(self, since: int) -> int | None:
        return self.at if self.after is None else since + self.after


class AddressSpec(NamedTuple):
    """An address as asked for by an owner, or all from ``address`` to ``last``; ``address`` None takes the next free
    one."""

    item: str
    network: str
    owner: str
    family: int
    state: str
    address: IPAddress | None = None
    last: IPAddress | None = None
    description: str | None = None
    expires: Expiry | None = None


Spec = TypeVar("Spec")
Value = TypeVar("Value")


def items_of(
    params: Mapping[str, Any], plural: str, own_options: Iterable[str], key: str, shared: Sequence[str] = ()
) -> list[tuple[str, dict[str, Any]]]:
    """The items of a task as ``(label, options)``: those of the plural list, or the one that the task itself names.

    ``shared`` are own options that may stand beside the list; items that lack them get them from there.
    """
    given = [option for option in own_options if params.get(option) is not None]
    if params.get(plural) is None:
        if params.get(key) is None:
            raise Refused([f"give either '{key}' (one item) or '{plural}' (a list of items)"])
        return [(f"{key} {shown(params[key])}", {option: params.get(option) for option in own_options})]
    stray = [option for option in given if option not in shared]
    if stray:
        raise Refused(
            [f"'{stray[0]}' stands beside '{plural}': give one item by its own options, or all of them in '{plural}'"]
        )
    items = []
    beside = {name: params[name] for name in shared if params.get(name) is not None}
    for index, entry in enumerate(params[plural]):
        more = {name: value for name, value in beside.items() if entry.get(name) is None}
        options = {**entry, **more} if more else entry
        items.append((item_label(plural, index, entry.get(key)), options))
    return items


def item_label(plural: str, index: int, name: object) -> str:
    """How errors call an item of a list."""
    if name is None:
        return f"{plural}[{index}]"
    text = str(name)
    return f"{plural}[{index}] ({text if _NAME.fullmatch(text) else shown(text)})"


def collect(items: Iterable[tuple[str, dict[str, Any]]], build: Callable[[str, dict[str, Any]], Spec]) -> list[Spec]:
    """All items built; if any cannot be, an error that names every one of them."""
    built, refused = [], []
    for label, options in items:
        try:
            built.append(build(label, options))
        except ItemError as error:
            refused.append(str(error))
        except ValueError as error:
            refused.append(f"{label}: {error}")
    if refused:
        raise Refused(refused)
    return built


def unique(specs: Sequence[Any], key: Callable[[Any], Any], words: str) -> None:
    """Refuses two items for one thing: what should hold then could not be told."""
    seen: dict[Any, str] = {}
    for spec in specs:
        if key(spec) in seen:
            raise Refused([f"{spec.item}: {words} is already given by {seen[key(spec)]}"])
        seen[key(spec)] = spec.item


# --- networks -------------------------------------------------------------------------------------------------


def network_spec(item: str, options: dict[str, Any]) -> NetworkSpec:
    """One network of the task.

    :raises ValueError: with what is wrong and how to put it right
    """
    name = _named(options["name"], "a network name")
    if name == NONE:
        raise ValueError("the network name 'none' is taken by the network that has no links; choose another")
    if options.get("state") == ABSENT:
        return NetworkSpec(item, name, ABSENT, force=bool(options.get("force")))
    driver, settings = _driver_settings(options)
    parent = options.get("parent")
    warnings: list[str] = []
    subnets = _subnets(options.get("ipam_config"), warnings)
    if options.get("enable_ipv4") is False and options.get("enable_ipv6") is False:
        raise ValueError("enable_ipv4 and enable_ipv6 are both false; an endpoint would have no address")
    _enabled_families(options, subnets)
    mtu = options.get("mtu")
    if mtu is not None and mtu != 0 and not 68 <= mtu <= 65535:
        raise ValueError(f"mtu {shown_number(mtu)} is not between 68 and 65535 (0: follow the parent)")
    return NetworkSpec(
        item=item,
        name=name,
        state=PRESENT,
        driver=driver,
        parent=None if parent is None else parent_name(parent),
        settings=settings,
        internal=options.get("internal"),
        enable_ipv4=options.get("enable_ipv4"),
        enable_ipv6=options.get("enable_ipv6"),
        subnets=subnets,
        mtu=mtu,
        labels=_labels(options.get("labels")),
        vlan_protocol=options.get("vlan_protocol"),
        cooldown=_within(options.get("cooldown"), "cooldown", 0, COOLDOWN_MAX, "seconds"),
        announce=_announce(options.get("announce")),
        conflict_check=options.get("conflict_check"),
        routes=_routes(options.get("routes"), warnings),
        ipv6_dad=options.get("ipv6_dad"),
        force=bool(options.get("force")),
        given_gateways=_given_gateways(options.get("ipam_config") or ()),
        warnings=tuple(f"{item}: {warning}" for warning in warnings),
    )


def _routes(entries: Sequence[Mapping[str, Any]] | None, warnings: list[str]) -> tuple[HostRoute, ...] | None:
    if entries is None:
        return None
    routes: dict[addressing.IPNetwork, HostRoute] = {}
    for index, entry in enumerate(entries):
        try:
            subnet, had_host_bits = _of_option("subnet", partial(addressing.parse_subnet, entry["subnet"]))
            via = _of_option("via", partial(addressing.parse_address, entry["via"], subnet.version))
            if via in subnet:
                raise ValueError(f"via {via} is inside subnet {subnet}, so it could not be reached")
            if subnet in routes:
                raise ValueError(f"subnet {subnet} has a route already; give each one")
        except ValueError as error:
            raise ValueError(f"routes[{index}]: {error}") from None
        if had_host_bits:
            warnings.append(f"routes: subnet {entry['subnet']} has host bits set; the network is {subnet}")
        routes[subnet] = HostRoute(subnet, via)
    return tuple(sorted(routes.values(), key=lambda route: (route.subnet.version, route.subnet)))


def _announce(given: Mapping[str, Any] | None) -> Announcing | None:
    """Few and soon: whoever sends them is gone within a minute."""
    if given is None:
        return None
    bounds = {"count": (0, ANNOUNCE_MAX, "times"), "interval_ms": (10, ANNOUNCE_INTERVAL_MAX, "milliseconds")}
    found = ANNOUNCING._asdict()
    for name, value in given.items():
        if name not in bounds:
            raise ValueError(f"announce: {shown(str(name))} is not known; there are count and interval_ms")
        number = str(value)
        if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,9}", number):
            raise ValueError(f"announce: {name} {shown(number)} is not a whole number")
        found[name] = _within(int(number), f"announce: {name}", *bounds[name])
    return Announcing(**found)


def seconds_to_listen(params: Mapping[str, Any]) -> int:
    """How long a trunk check listens for what switches say of themselves."""
    if params["listen"] and not params["verify"]:
        raise Refused(["listen has a meaning only with verify: true"])
    try:
        return _within(params["listen"], "listen", 0, LISTEN_MAX, "seconds") or 0
    except ValueError as error:
        raise Refused([str(error)]) from None


def _driver_settings(options: Mapping[str, Any]) -> tuple[str | None, dict[str, str]]:
    given = {
        setting.option: (driver.name, options[setting.option])
        for driver in DRIVERS.values()
        for setting in driver.settings
        if options.get(setting.option) is not None
    }
    driver = options.get("driver")
    for option, (owner, _value) in given.items():
        if driver is not None and owner != driver:
            raise ValueError(f"{option} belongs to the driver {owner}, but driver is {driver}")
    return driver, {option: value for option, (_owner, value) in given.items()}


def parent_name(text: str) -> str:
    """A name that the kernel takes for a link (net/core/dev.c, ``dev_valid_name``), or an error."""
    if not text.isprintable() or text in ("", ".", "..") or re.search(r"[\s/:]", text):
        raise ValueError(f"parent {shown(text)} is not the name of a link")
    if len(text.encode()) > IFNAME_MAX:
        # Cards have long names by now, such as enp129s0f1np1.
        match = re.fullmatch(r"([^.]{1,15})\.([0-9]{1,4})", text)
        way_out = "; make it yourself under a shorter name, and name that one: ip link add link {0} name vlan{1} type vlan id {1}"
        raise ValueError(
            f"parent {shown(text)} has {len(text.encode())} bytes; the name of a link has at most {IFNAME_MAX}"
            + (way_out.format(*match.groups()) if match else "")
        )
    return text


def sub_interface(parent: str) -> tuple[str, int] | None:
    """Base and VLAN id of a ``name.vlan_id`` parent that is to be made; None if the name has no dot.

    :raises ValueError: if the name has a dot but does not say which VLAN
    """
    if "." not in parent:
        return None
    match = _SUB_INTERFACE.fullmatch(parent)
    if not match:
        raise ValueError(
            f"parent '{parent}' does not exist, and only a sub-interface with exactly one dot (eth0.20) can be made"
        )
    digits = match["id"]
    if not re.fullmatch(r"[1-9][0-9]*", digits) or not 1 <= int(digits) <= 4094:
        raise ValueError(
            f"parent '{parent}' does not exist, and cannot be made: '{digits}' is not a VLAN id (1 to 4094)"
        )
    return match["base"], int(digits)


def _subnets(entries: Sequence[Mapping[str, Any]] | None, warnings: list[str]) -> tuple[Subnet, ...] | None:
    if not entries:
        return None
    subnets: list[Subnet] = []
    for index, entry in enumerate(entries):
        try:
            subnet = _subnet(entry, warnings)
        except ValueError as error:
            raise ValueError(f"ipam_config[{index}]: {error}") from None
        for other in subnets:
            if other.network.version == subnet.network.version and other.network.overlaps(subnet.network):
                raise ValueError(f"ipam_config[{index}]: subnet {subnet.network} overlaps {other.network}")
        subnets.append(subnet)
    return tuple(subnets)


def _subnet(entry: Mapping[str, Any], warnings: list[str]) -> Subnet:
    network, had_host_bits = _of_option("subnet", lambda: addressing.parse_subnet(entry["subnet"]))
    if had_host_bits:
        warnings.append(f"subnet {entry['subnet']} has host bits set; the network is {network}")
    gateway = _gateway(entry.get("gateway"), network)
    ip_range = _range(entry.get("ip_range"), network, warnings)
    auxiliary: list[tuple[str, IPAddress]] = []
    for name, text in sorted((entry.get("aux_addresses") or {}).items()):
        _printable(name, "name in aux_addresses", 64)
        address = _of_option(f"aux_addresses: {name}", partial(addressing.parse_address, str(text)))
        reason = addressing.unusable_in(network, address)
        if reason:
            raise ValueError(f"aux_addresses: {name} {address} cannot be used: {reason}")
        if address == gateway:
            raise ValueError(f"aux_addresses: {name} {address} is the gateway")
        if address in (other for _name, other in auxiliary):
            raise ValueError(f"aux_addresses: {name} {address} is given twice")
        auxiliary.append((name, address))
    return Subnet(network, gateway, ip_range, tuple(auxiliary))


def _gateway(text: str | None, network: addressing.IPNetwork) -> IPAddress | None:
    if text is None:
        return addressing.default_gateway(network)
    if text == addressing.NO_GATEWAY:
        return None
    if not re.search("[.:]", text):
        raise ValueError(f"gateway {shown(text)} is not an IP address{slip(text)}; 'none' says that there is none")
    gateway = _of_option("gateway", lambda: addressing.parse_address(text, network.version))
    # A subnet of one address has no room for its gateway: that one is reached on the link without a subnet.
    reason = None if network.num_addresses == 1 else addressing.unusable_in(network, gateway)
    if reason:
        raise ValueError(f"gateway {gateway} cannot be used: {reason}; correct one of them, or set gateway to 'none'")
    return gateway


def _range(text: str | None, network: addressing.IPNetwork, warnings: list[str]) -> addressing.IPNetwork | None:
    if text is None:
        return None
    ip_range, had_host_bits = _of_option("ip_range", lambda: addressing.parse_subnet(text))
    if had_host_bits:
        warnings.append(f"ip_range {text} has host bits set; the range is {ip_range}")
    (first, last), (lowest, highest) = addressing.ends(ip_range), addressing.ends(network)
    if ip_range.version != network.version or not (lowest <= first and last <= highest):
        raise ValueError(f"ip_range {ip_range} is not inside subnet {network}")
    return ip_range


def _enabled_families(options: Mapping[str, Any], subnets: tuple[Subnet, ...] | None) -> None:
    for family in sorted({subnet.family for subnet in subnets or ()}):
        if options.get(f"enable_ipv{family}") is False:
            raise ValueError(f"ipam_config has an IPv{family} subnet, but enable_ipv{family} is false")


def _given_gateways(entries: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    given = (entry.get("gateway") for entry in entries)
    return tuple(text for text in given if text is not None and text != addressing.NO_GATEWAY)


def _within(value: int | None, option: str, least: int, most: int, unit: str) -> int | None:
    if value is not None and not least <= value <= most:
        raise ValueError(f"{option} {shown_number(value)} is not between {least} and {most} {unit}")
    return value


def host_settings(params: Mapping[str, Any]) -> tuple[HostSetting, ...]:
    """The settings of the whole host that stand beside the networks."""
    found = []
    if params.get(POOLS) is not None:
        pools: list[tuple[addressing.IPNetwork, int]] = []
        for index, pool in enumerate(params[POOLS]):
            try:
                base, size = addressing.parse_pool(pool["base"], pool["size"])
                for other, _size in pools:
                    if other.version == base.version and other.overlaps(base):
                        raise ValueError(f"base {base} overlaps {other}")
            except ValueError as error:
                raise Refused([f"{POOLS}[{index}]: {error}"]) from None
            pools.append((base, size))
        found.append(HostSetting(POOLS, [{"base": str(base), "size": size} for base, size in pools]))
    if params.get(HISTORY_DAYS) is not None:
        try:
            found.append(HostSetting(HISTORY_DAYS, _within(params[HISTORY_DAYS], HISTORY_DAYS, 0, 36500, "days")))
        except ValueError as error:
            raise Refused([str(error)]) from None
    return tuple(found)


def _labels(labels: Mapping[str, Any] | None) -> dict[str, str] | None:
    return None if labels is None else {str(key): str(value) for key, value in labels.items()}


# --- endpoints ------------------------------------------------------------------------------------------------


def endpoint_spec(item: str, options: dict[str, Any]) -> EndpointSpec:
    """One endpoint of the task.

    :raises ValueError: with what is wrong and how to put it right
    """
    name = _named(options["name"], "an endpoint name")
    if name.lower() in _NAMES_TAKEN:
        raise ValueError(f"the endpoint name '{name}' means the machine itself; choose another")
    network = _network_of(options)
    if network == NONE:
        _check_none(options)
    force = bool(options.get("force"))
    if options.get("state") == ABSENT:
        return EndpointSpec(item, network, name, ABSENT, keep=bool(options.get("keep")), force=force)
    return EndpointSpec(
        item=item,
        network=network,
        name=name,
        state=PRESENT,
        target=_target(options),
        ipv4_address=_asked(options, "ipv4_address", 4),
        ipv6_address=_asked(options, "ipv6_address", 6),
        mac_address=_mac(options.get("mac_address")),
        ifname=_ifname(options.get("ifname")),
        default_route=options.get("default_route"),
        aliases=_aliases(name, options.get("aliases")),
        sysctls=_sysctls(options.get("sysctls")),
        conflict_check=options.get("conflict_check"),
        force=force,
    )


def _check_none(options: Mapping[str, Any]) -> None:
    """The network without links: a namespace with its loopback and nothing else."""
    useless = (
        "ipv4_address",
        "ipv6_address",
        "mac_address",
        "ifname",
        "default_route",
        "aliases",
        "sysctls",
        "conflict_check",
    )
    given = next((option for option in useless if options.get(option)), None)
    if given:
        raise ValueError(f"{given} has no meaning on network '{NONE}', which has no links; leave it out")
    if options.get("host"):
        raise ValueError(f"host: true and network '{NONE}' contradict each other: the host keeps its links")


def _aliases(name: str, given: Sequence[Any] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    if len(given) > ALIASES_MAX:
        raise ValueError(f"aliases has {len(given)} names; an endpoint has at most {ALIASES_MAX}")
    aliases = tuple(dict.fromkeys(_named(str(alias), "a name for aliases") for alias in given))
    for alias in aliases:
        if alias.lower() in _NAMES_TAKEN:
            raise ValueError(f"aliases: '{alias}' means the machine itself; choose another")
    return tuple(alias for alias in aliases if alias != name)


def _sysctls(given: Mapping[str, Any] | None) -> dict[str, str] | None:
    if given is None:
        return None
    found = {}
    for key, value in sorted(given.items()):
        if not _SYSCTL.fullmatch(str(key)):
            raise ValueError(
                f"sysctls: {shown(str(key))} is not a setting of this endpoint's link, such as "
                "net.ipv4.conf.IFNAME.rp_filter (IFNAME stands for the link's name)"
            )
        if key in _SYSCTLS_TAKEN:
            raise ValueError(f"sysctls: {key} follows from {_SYSCTLS_TAKEN[key]}; set it there")
        number = str(int(value)) if isinstance(value, bool) else str(value)
        if not re.fullmatch(r"-?[0-9]{1,10}", number):
            raise ValueError(f"sysctls: {key} has the value {shown(number)}; it must be a whole number")
        found[str(key)] = str(int(number))
    return found


def _network_of(options: Mapping[str, Any]) -> str:
    if options.get("network") is None:
        raise ValueError("network is missing: name the network")
    return _named(options["network"], "a network name")


def _target(options: Mapping[str, Any]) -> Target:
    given = [option for option in TARGET_OPTIONS if options.get(option) is not None and options[option] is not False]
    if len(given) != 1:
        found = f"both {' and '.join(given)} are given" if given else "none is given"
        raise ValueError(f"exactly one of {', '.join(TARGET_OPTIONS)} says where the endpoint lives; {found}")
    kind, value = given[0], options[given[0]]
    if options.get("container_engine") is not None and kind != "container":
        raise ValueError(f"container_engine has a meaning with container only, not with {kind}")
    if kind == "host":
        return HOST
    if kind == "container":
        if not _CONTAINER.fullmatch(value):
            raise ValueError(f"container {shown(value)} is not the name of a container")
        return Target(kind, value, options.get("container_engine") or "auto")
    if kind == "netns":
        return Target(kind, _netns(value))
    if kind == "pid":
        if not 1 <= value <= PID_MAX:
            raise ValueError(f"pid {shown_number(value)} is not a process id")
        return Target(kind, str(value))
    if not value.startswith("/") or not value.isprintable() or len(value.encode()) > PATH_MAX:
        raise ValueError(f"netns_path {shown(value)} is not an absolute path")
    return Target(kind, value)


def _netns(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+:-]*", name) or len(name) > NETNS_MAX:
        raise ValueError(
            f"netns {shown(name)} is not the name of a namespace: letters, digits and _.@+:- (up to {NETNS_MAX}), "
            "starting with a letter, a digit or _; for a path use netns_path"
        )
    return name


def _ifname(name: str | None) -> str | None:
    if name is None:
        return None
    if len(name) > IFNAME_MAX:
        raise ValueError(
            f"ifname {shown(name)} has {len(name)} characters; the name of a link has at most {IFNAME_MAX}"
        )
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(f"ifname {shown(name)} is not a name for a link: letters, digits and _.- only")
    if name in _IFNAMES_TAKEN:
        raise ValueError(f"ifname '{name}' has a meaning of its own; choose another")
    return name


def _mac(text: str | None) -> str | None:
    if text is None:
        return None
    from netaddr import EUI, AddrFormatError, mac_unix_expanded  # slow to import, and most tasks name no MAC

    try:
        # To netaddr eleven digits are a MAC address, too. They are what YAML made of 52:54:00:12:34:56 without quotes.
        mac = None if re.fullmatch(r"[0-9]{11}", text) else EUI(text, version=48, dialect=mac_unix_expanded)
    except (AddrFormatError, ValueError, TypeError):
        mac = None
    if mac is None:
        raise ValueError(f"mac_address {shown(text)} is not a MAC address such as 02:42:c0:a8:14:0a{slip(text)}")
    if mac.words[0] & 1:
        raise ValueError(f"mac_address {mac} is a multicast address; the first octet must be even")
    if int(mac) == 0:
        raise ValueError(f"mac_address {mac} is not usable: it is all zeros")
    return str(mac)


def _asked(options: Mapping[str, Any], option: str, family: int) -> IPAddress | None:
    text = options.get(option)
    if text is None:
        return None
    return _of_option(option, lambda: addressing.parse_address(text, family))


# --- addresses ------------------------------------------------------------------------------------------------


def address_spec(item: str, options: dict[str, Any]) -> AddressSpec:
    """One address of the task.

    :raises ValueError: with what is wrong and how to put it right
    """
    owner = _printable(options["owner"], "owner", OWNER_MAX)
    text = options.get("address")
    address, last = (None, None) if text is None else _of_option("address", lambda: addressing.parse_addresses(text))
    family = {"ipv4": 4, "ipv6": 6}.get(options.get("family") or "")
    if family and address and address.version != family:
        raise ValueError(f"address {text} is not of the family {options['family']}")
    description, expires = options.get("description"), options.get("expires")
    return AddressSpec(
        item=item,
        network=_network_of(options),
        owner=owner,
        family=family or (address.version if address else 4),
        state=ABSENT if options.get("state") == ABSENT else PRESENT,
        address=address,
        last=last,
        description=None if description is None else _printable(description, "description", 1000, empty=True),
        expires=None if expires is None else _of_option("expires", lambda: expiry(expires)),
    )


def lock_timeout(seconds: int) -> int:
    """How long to wait for another run."""
    try:
        _within(seconds, "lock_timeout", 0, LOCK_TIMEOUT_MAX, "seconds")
    except ValueError as error:
        raise Refused([str(error)]) from None
    return seconds


def name_looked_for(text: str | None) -> str | None:
    """A name that is looked for; what cannot be one is the name of nothing."""
    return text if text is None or text.isprintable() else ""


def lone_address(text: str) -> IPAddress:
    """The address that is looked for."""
    try:
        return addressing.parse_address(text)
    except ValueError as error:
        raise Refused([f"address: {error}"]) from None


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LAST_MOMENT = 253402300799  # 9999-12-31T23:59:59Z


def expiry(text: str) -> Expiry:
    """A time (``2027-01-01T00:00:00Z``; without a zone it is UTC), a duration (``90s``, ``30m``, ``12h``, ``7d``, ``2w``)
    or ``never``."""
    if text == "never":
        return Expiry()
    duration = re.fullmatch(r"([1-9][0-9]{0,9})([smhdw])", text)
    if duration:
        return Expiry(after=min(int(duration[1]) * _UNITS[duration[2]], _LAST_MOMENT))
    try:
        # Before Python 3.11 it does not know the Z.
        time = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        return Expiry(at=int((time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{shown(text)} is neither a time (2027-01-01T00:00:00Z), a duration (90s, 30m, 12h, 7d, 2w) nor never"
        ) from None


def _of_option(option: str, parse: Callable[[], Value]) -> Value:
    """What ``parse`` gives; its error, with the option that it is about."""
    try:
        return parse()
    except ValueError as error:
        raise ValueError(f"{option} {error}") from None


# --- words ----------------------------------------------------------------------------------------------------


def _named(text: str, what: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{shown(text)} is not {what}: a letter or digit, then letters, digits, '_', '.', '-', up to 64 characters"
        )
    return text


def _printable(text: str, what: str, longest: int, empty: bool = False) -> str:
    if (not text and not empty) or len(text) > longest or not text.isprintable():
        raise ValueError(f"{shown(text)} is not a usable {what}: 1 to {longest} printable characters, one line")
    return text
