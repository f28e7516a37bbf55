# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drivers, each described once, as data. A further driver is a further entry here and nothing else.

The module options, their choices and defaults, the rules of what may share a parent, and the bytes that the
kernel gets all follow from these descriptions. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """One option of a driver, and the attribute in ``IFLA_INFO_DATA`` that carries it to the kernel.

    ``format`` is a ``struct`` format, ``values`` maps the option's choices to the kernel's numbers.
    """

    option: str
    attribute: int
    format: str
    values: Mapping[str, int]
    default: str

    def word(self, number: int | None) -> str:
        """The choice that stands for the kernel's ``number``; an unknown number is shown as it is."""
        return next((word for word, value in self.values.items() if value == number), str(number))


class Driver(NamedTuple):
    """What the rest of the code has to know of a kind of link.

    * ``kind``: the kernel's name of the link kind; ``module``: the kernel module that has it.
    * ``one_setting_per_parent``: the kernel keeps one mode and flag for all links of a parent, and gives all
      of them those of the newest (ipvlan: drivers/net/ipvlan/ipvlan_main.c, ``ipvlan_link_new``).
    * ``own_mac``: each link has a MAC address of its own, else it has the parent's.
    * ``lone_modes``: the link has the parent for itself, and the parent's MAC; cannot be entered or left in place.
    * ``routed_modes``: no broadcast passes, so a gateway means nothing and the default route is the device.
    """

    name: str
    kind: str
    module: str
    mode: Setting | None = None
    flag: Setting | None = None
    own_mac: bool = False
    one_setting_per_parent: bool = False
    lone_modes: frozenset[str] = frozenset()
    routed_modes: frozenset[str] = frozenset()

    @property
    def settings(self) -> tuple[Setting, ...]:
        return tuple(setting for setting in (self.mode, self.flag) if setting is not None)

    def attributes(self, mode: str | None, flag: str | None) -> tuple[tuple[int, str, int], ...]:
        """The link attributes for a mode and a flag, as ``(number, struct format, value)``."""
        chosen = ((self.mode, mode), (self.flag, flag))
        return tuple(
            (setting.attribute, setting.format, setting.values[word])
            for setting, word in chosen
            if setting is not None and word is not None
        )


IPVLAN = Driver(
    name="ipvlan",
    kind="ipvlan",
    module="ipvlan",
    # include/uapi/linux/if_link.h: IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS
    mode=Setting("ipvlan_mode", 1, "=H", {"l2": 0, "l3": 1, "l3s": 2}, "l2"),
    flag=Setting("ipvlan_flag", 2, "=H", {"bridge": 0, "private": 1, "vepa": 2}, "bridge"),
    one_setting_per_parent=True,
    routed_modes=frozenset({"l3", "l3s"}),
)

MACVLAN = Driver(
    name="macvlan",
    kind="macvlan",
    module="macvlan",
    # include/uapi/linux/if_link.h: IFLA_MACVLAN_MODE
    mode=Setting("macvlan_mode", 1, "=I", {"bridge": 4, "vepa": 2, "passthru": 8, "private": 1}, "bridge"),
    own_mac=True,
    lone_modes=frozenset({"passthru"}),
)

DRIVERS: Mapping[str, Driver] = {driver.name: driver for driver in (IPVLAN, MACVLAN)}
DEFAULT = IPVLAN


def by_kind(kind: str | None) -> Driver | None:
    """The driver whose links are of this kernel kind, if it is one of ours."""
    return next((driver for driver in DRIVERS.values() if driver.kind == kind), None)


def argument_spec() -> dict[str, dict[str, Any]]:
    """The module options of all drivers, for ``argument_spec``; left out means "as it is", or the default for a
    network that is made."""
    options: dict[str, dict[str, Any]] = {"driver": {"type": "str", "choices": list(DRIVERS)}}
    for driver in DRIVERS.values():
        for setting in driver.settings:
            options[setting.option] = {"type": "str", "choices": list(setting.values)}
    return options
