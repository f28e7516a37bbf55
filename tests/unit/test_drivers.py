# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The drivers as data: the kernel's numbers, the options that follow from them."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.netops.underlay.plugins.module_utils import drivers
from ansible_collections.netops.underlay.plugins.module_utils.drivers import DRIVERS, IPVLAN, MACVLAN


@pytest.mark.parametrize(
    ("driver", "mode", "flag", "attributes"),
    [
        # include/uapi/linux/if_link.h: IPVLAN_MODE_*, IPVLAN_F_*, MACVLAN_MODE_*
        (IPVLAN, "l2", "bridge", ((1, "=H", 0), (2, "=H", 0))),
        (IPVLAN, "l3", "private", ((1, "=H", 1), (2, "=H", 1))),
        (IPVLAN, "l3s", "vepa", ((1, "=H", 2), (2, "=H", 2))),
        (MACVLAN, "private", None, ((1, "=I", 1),)),
        (MACVLAN, "vepa", None, ((1, "=I", 2),)),
        (MACVLAN, "bridge", None, ((1, "=I", 4),)),
        (MACVLAN, "passthru", None, ((1, "=I", 8),)),
    ],
)
def test_the_kernel_gets_its_own_numbers(driver, mode, flag, attributes):
    assert driver.attributes(mode, flag) == attributes


def test_without_a_word_there_is_no_attribute():
    assert IPVLAN.attributes(None, None) == ()
    assert MACVLAN.attributes("bridge", "bridge") == ((1, "=I", 4),)


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=lambda driver: driver.name)
def test_a_driver_is_whole(driver):
    assert driver.kind
    assert driver.module
    for setting in driver.settings:
        assert setting.default in setting.values
        assert len(set(setting.values.values())) == len(setting.values)
        for word, value in setting.values.items():
            assert setting.word(value) == word
            assert struct.unpack(setting.format, struct.pack(setting.format, value)) == (value,)
    words = set(driver.mode.values) if driver.mode else set()
    assert driver.lone_modes <= words
    assert driver.routed_modes <= words


def test_a_number_that_no_word_stands_for_is_shown():
    assert IPVLAN.mode.word(9) == "9"
    assert IPVLAN.mode.word(None) == "None"


def test_no_two_drivers_share_an_option_or_a_kind():
    options = [setting.option for driver in DRIVERS.values() for setting in driver.settings]
    assert len(set(options)) == len(options)
    assert len({driver.kind for driver in DRIVERS.values()}) == len(DRIVERS)


def test_a_driver_is_found_by_its_kind():
    assert drivers.by_kind("macvlan") is MACVLAN
    assert drivers.by_kind("vlan") is None
    assert drivers.by_kind(None) is None


def test_the_module_options_follow_from_the_drivers():
    assert drivers.argument_spec() == {
        "driver": {"type": "str", "choices": ["ipvlan", "macvlan"]},
        "ipvlan_mode": {"type": "str", "choices": ["l2", "l3", "l3s"]},
        "ipvlan_flag": {"type": "str", "choices": ["bridge", "private", "vepa"]},
        "macvlan_mode": {"type": "str", "choices": ["bridge", "vepa", "passthru", "private"]},
    }


def test_a_driver_without_settings_needs_no_more_than_its_names():
    plain = drivers.Driver("toy", "toy", "toy")
    assert plain.settings == ()
    assert plain.attributes(None, None) == ()
    assert set(plain._fields) >= {"name", "kind", "module"}
