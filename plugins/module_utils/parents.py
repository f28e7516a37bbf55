# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules about parents: which link can be one, which has to be made, and what hangs on one. Pure.

Errors are ``ValueError`` with a text for the user, without the item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Optional

from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS, Driver, by_kind
from ansible_collections.netops.underlay.plugins.module_utils.errors import similar
from ansible_collections.netops.underlay.plugins.module_utils.facts import Link, attribute
from ansible_collections.netops.underlay.plugins.module_utils.model import (
    DEFAULT_VLAN_PROTOCOL,
    MAKING_GROUPS,
    VLAN_PROTOCOLS,
    WORKING_PREFIX,
    Network,
    Parent,
    WireFinding,
    endpoint_mark,
    endpoint_of_mark,
    making_group,
    parent_mark,
    parent_of_mark,
    working_name,
)
from ansible_collections.netops.underlay.plugins.module_utils.observe import Child, Host, Observed
from ansible_collections.netops.underlay.plugins.module_utils.spec import sub_interface

# include/uapi/linux/if_link.h
IFLA_VLAN_ID, IFLA_VLAN_PROTOCOL = 1, 5
VLAN_HLEN = 4  # include/linux/if_vlan.h
Vlan = tuple[Optional[int], Optional[int], Optional[str]]  # index of the base, id, protocol
_PROTOCOL_WORDS = {number: word for word, number in VLAN_PROTOCOLS.items()}

# Ports of these have a receive handler, and the kernel allows one on a link.
_PORTS = {"bridge": "bridge", "bond": "bond", "team": "team", "openvswitch": "Open vSwitch bridge"}
# Kinds that use the same receive handler as one of our drivers'.
_RELATED = {"macvtap": "macvlan", "ipvtap": "ipvlan"}
_ETHERNET_MAC = len("02:00:00:00:00:01")


def vlan_of(link: Link) -> Vlan:
    """Index of the base, VLAN id and protocol (``802.1q``) of a VLAN link; all None for another kind."""
    if link.kind != "vlan":
        return None, None, None
    protocol = attribute(link, IFLA_VLAN_PROTOCOL, ">H") or VLAN_PROTOCOLS[DEFAULT_VLAN_PROTOCOL]
    return link.parent_index, attribute(link, IFLA_VLAN_ID, "=H"), _PROTOCOL_WORDS.get(protocol, hex(protocol))


def mtu_over(base: Link) -> int:
    """The largest MTU of a sub-interface. On MACsec the tag takes its bytes from it (include/linux/netdevice.h,
    ``netif_reduces_vlan_mtu``)."""
    return base.mtu - VLAN_HLEN if base.kind == "macsec" else base.mtu


def half_made(link: Link, mark: str) -> bool:
    """Whether it is what a run that was killed left of the link that was to get this mark."""
    return _in_the_making(link) and (link.group == making_group(mark) or link.name == working_name(mark))


def _in_the_making(link: Link) -> bool:
    return not link.alias and (link.group in MAKING_GROUPS or link.name.startswith(WORKING_PREFIX))


def made_by_us(link: Link) -> bool:
    """Whether a link of the host is the parent of its name that we made, or began to make."""
    mark = parent_mark(link.name)
    return link.alias == mark or half_made(link, mark)


def check_usable(host: Host, name: str) -> None:
    """Refuses a link that cannot be a parent."""
    link = host.links[name]
    if link.loopback:
        raise ValueError(f"parent '{name}' is the loopback; name a network card, a bond, a bridge or a sub-interface")
    driver = by_kind(_RELATED.get(link.kind or "", link.kind))
    article = "an" if str(link.kind)[0] in "aeiou" else "a"
    if driver:
        raise ValueError(
            f"parent '{name}' is itself {article} {link.kind} link, and the kernel would use its parent instead; name that one"
        )
    if not _is_ethernet(link):
        raise ValueError(
            f"parent '{name}' is no Ethernet link, and the kernel makes no {' or '.join(DRIVERS)} links on it; name another one"
        )
    if link.port_kind in _PORTS and link.master is not None:
        master = next((other.name for other in host.links.values() if other.index == link.master), "?")
        raise ValueError(
            f"parent '{name}' is a port of the {_PORTS[link.port_kind]} '{master}'; name '{master}' as parent"
        )


def _is_ethernet(link: Link) -> bool:
    """Tunnels have no MAC address, or one of another length (drivers/net/ipvlan/ipvlan_main.c, ``ipvlan_port_create``)."""
    return len(link.mac) == _ETHERNET_MAC


def carriers(host: Host) -> dict[Vlan, str]:
    """The links that carry VLANs, by what ``vlan_of`` says of them."""
    return {vlan_of(link): link.name for link in reversed(tuple(host.links.values()))}


def to_make(
    host: Host,
    name: str,
    protocol: str,
    there: Mapping[Vlan, str],
    to_come: Mapping[tuple[str | None, int | None, str], str],
    goes_before: Callable[[str], bool],
) -> Parent:
    """The sub-interface that a parent which does not exist stands for.

    :param there: what ``carriers`` says
    :param to_come: the parents that are ours or to be made, by the VLAN that each carries
    :param goes_before: whether a link will be gone by then
    """
    if name in host.other_names:
        raise ValueError(f"parent '{name}' is another name of '{host.other_names[name]}'; name that one")
    found = sub_interface(name)
    if found is None:
        raise ValueError(f"parent '{name}' does not exist on this host {_links_here(host, name)}")
    base, vlan_id = found
    if base in host.other_names:
        known = host.other_names[base]
        raise ValueError(
            f"parent '{name}' cannot be made: '{base}' is another name of '{known}'; name '{known}.{vlan_id}' as parent"
        )
    if base not in host.links:
        raise ValueError(
            f"parent '{name}' cannot be made: its base link '{base}' does not exist on this host "
            f"{_links_here(host, base, f'.{vlan_id}')}"
        )
    link = host.links[base]
    if link.loopback or by_kind(link.kind) or link.kind == "vrf" or not _is_ethernet(link):
        raise ValueError(f"parent '{name}' cannot be made: '{base}' cannot carry VLANs")
    taken = there.get((link.index, vlan_id, protocol))
    if taken and not goes_before(taken):
        raise ValueError(
            f"parent '{name}' cannot be made: link '{taken}' already carries VLAN {vlan_id} of '{base}'; name it as parent"
        )
    other = to_come.get((base, vlan_id, protocol), name)
    if other != name:
        raise ValueError(f"parent '{name}' cannot be made: '{other}' is to carry VLAN {vlan_id} of '{base}'")
    return Parent(name, base, vlan_id, protocol)


def _links_here(host: Host, wrong: str, ending: str = "") -> str:
    """What could be a parent, and which of them may have been meant."""
    names = sorted(name for name, link in host.links.items() if not link.loopback)
    some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "none but lo"
    return f"(links here: {some}){similar(wrong, names, ending)}"


def misnamed(host: Host, name: str) -> str | None:
    """A warning where a link's name promises another VLAN than it carries."""
    base, _dot, digits = name.rpartition(".")
    link = host.links[name]
    if not base or not digits.isdigit():
        return None
    index, vlan_id, _protocol = vlan_of(link)
    carrier = host.links.get(base)
    if vlan_id == int(digits) and (carrier is None or carrier.index == index):
        return None
    what = "no VLAN link" if vlan_id is None else f"VLAN {vlan_id} of {_name_of(host, index)}"
    return f"parent '{name}' exists and is used as it is, but it is {what}, not VLAN {digits} of '{base}'"


def _name_of(host: Host, index: int | None) -> str:
    return next((f"'{link.name}'" for link in host.links.values() if link.index == index), "another link")


# --- children -------------------------------------------------------------------------------------------------


def foreign_child(seen: Observed, index: int, network: Network) -> str | None:
    """Why a link of ``network`` on the parent with this index would harm links that are not ours, or None.

    The kernel allows one driver on a parent, gives all ipvlans of a parent the mode and flag of the newest, and wants
    passthru alone. So links of others stay unharmed only if they are of the same driver and, for ipvlan, the same settings.
    """
    for child in _foreign(seen, index):
        reason = _harm(child.link, network)
        if reason:
            return (
                f"parent '{network.parent}' has the link '{child.link.name}' ({child.link.kind}) in {child.words}, "
                f"which is not ours: {reason}"
            )
    return None


def _harm(link: Link, network: Network) -> str | None:
    driver = by_kind(_RELATED.get(link.kind or "", link.kind))
    if driver is None:
        return None
    if driver is not network.driver:
        return f"a parent cannot carry {driver.name} and {network.driver_name} at once; use another parent"
    theirs = settings_of(driver, link)
    ours = (network.mode, network.flag)
    if driver.one_setting_per_parent and theirs != ours:
        return f"it would be turned from {_slash(theirs)} to {_slash(ours)}; use its mode and flag, or another parent"
    if network.lone or theirs[0] in driver.lone_modes:
        return f"{network.driver_name} {next(iter(driver.lone_modes))} wants the parent for itself; use another parent"
    return None


def settings_of(driver: Driver, link: Link) -> tuple[str | None, ...]:
    """Mode and flag of a link, as words."""
    return tuple(
        None if setting is None else setting.word(attribute(link, setting.attribute, setting.format))
        for setting in (driver.mode, driver.flag)
    )


def _slash(words: Iterable[str | None]) -> str:
    return "/".join(word for word in words if word)


def lost_with(seen: Observed, link: Link) -> str | None:
    """What that is not ours would go with a parent link if it were removed, or None."""
    child = next(iter(_foreign(seen, link.index)), None)
    if child:
        return f"the link '{child.link.name}' ({child.link.kind}) in {child.words}"
    if link.master is not None:
        return f"its place as a port of {_name_of(seen.host, link.master)}"
    return None


def cut_with(host: Host, index: int) -> str | None:
    """What the host is reached by, and would lose with a link; None where nothing."""
    return host.lifeline_over.get(index)


def cut_by_passthru(host: Host, index: int) -> str | None:
    """The same where a passthru link takes all that comes in on its parent. What is tagged goes on to sub-interfaces."""
    return next((line.words for line in host.lifelines if line.link == index), None)


def cut_by_vlan(host: Host, parent: Parent) -> str | None:
    """The same where a new sub-interface takes the frames of its VLAN from the bridge or bond that its base is a port of."""
    place = host.links[parent.base] if parent.base else None
    while place is not None and place.master is not None:
        place = next((link for link in host.space.links if place and link.index == place.master), None)
        for link in host.space.links:
            if place and vlan_of(link) == (place.index, parent.vlan_id, parent.protocol):
                cut = cut_with(host, link.index)
                if cut:
                    return cut
    return None


def _foreign(seen: Observed, index: int) -> list[Child]:
    """The children of a parent that are neither endpoints nor parents of ours."""
    return [child for child in (seen.children or {}).get(index, ()) if not _is_ours(seen, child.link)]


def _is_ours(seen: Observed, link: Link) -> bool:
    if link.alias:
        return endpoint_of_mark(link.alias) in seen.endpoints or parent_of_mark(link.alias) in seen.parents
    if not _in_the_making(link):
        return False
    marks = [*(endpoint_mark(*key) for key in seen.endpoints), *map(parent_mark, seen.parents)]
    return any(half_made(link, mark) for mark in marks)


def obstacle(host: Host, parent: str) -> WireFinding | None:
    """Why no frame can be sent on a parent."""
    link = host.links.get(parent)
    if link is None:
        return WireFinding("problem", "parent_missing", f"{parent} is not there; run the vlan_network task again")
    base = base_of(host, link)
    for each in [base, link] if base else [link]:
        if not each.up:
            return WireFinding("problem", "parent_down", f"{each.name} is down")
    for each in [base, link] if base else [link]:
        if not each.carrier:
            return WireFinding(
                "problem", "no_carrier", f"{each.name} has no carrier: no cable, or its switch port is shut"
            )
    return None


def base_of(host: Host, link: Link) -> Link | None:
    """The link that carries a VLAN link."""
    index, _vlan_id, _protocol = vlan_of(link)
    if index is None or link.parent_nsid is not None:
        return None
    likely = host.links.get(link.name.rpartition(".")[0])
    if likely and likely.index == index:
        return likely
    return next((other for other in host.links.values() if other.index == index), None)
