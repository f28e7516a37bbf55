# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Option sets that nobody should write, made from the modules' own argument specs, and what an answer to them may be.

Each has a number, from which alone it follows (with the seed): one that fails can be made again by itself.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

SEED = int(os.environ.get("HOSTILE_SEED", "20261126"))
PLUGINS = "ansible_collections.netops.underlay.plugins"
MODULES = {  # how often each, in a hundred
    "vlan_network": 33,
    "vlan_endpoint": 35,
    "vlan_ipam": 20,
    "vlan_network_info": 3,
    "vlan_endpoint_info": 3,
    "vlan_ipam_info": 5,
    "vlan_service": 1,
}
PLURALS = ("networks", "endpoints", "addresses")

Options = Mapping[str, Mapping[str, Any]]
Work = Callable[[Any], Any]


@cache
def called(module: str) -> tuple[Options, Work]:
    """The argument spec of a module and what it has done with the parameters, as its ``main`` says."""
    file = importlib.import_module(f"{PLUGINS}.modules.{module}")
    found: list[Any] = []

    class Constructed:
        def __init__(self, **given: Any) -> None:
            assert given["supports_check_mode"], "check mode would skip it"
            found.append(given["argument_spec"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "AnsibleModule", Constructed)
        patch.setattr(file.run, "run", lambda _module, work: found.append(work))
        file.main()
    options, work = found
    return options, work


@cache
def validator(module: str) -> ArgumentSpecValidator:
    return ArgumentSpecValidator(called(module)[0])


# --- values ---------------------------------------------------------------------------------------------------

# What makes sense on the host of the tests, now and then together.
SENSIBLE: dict[str, tuple[Any, ...]] = {
    "name": ("web", "l3net", "mac", "iso", "alone", "new1", "new2", "web1", "db1", "e1", "e2", "gate", "lost", "box"),
    "network": ("web", "web", "l3net", "mac", "mac", "iso", "alone", "none", "new1"),
    "netns": ("web1", "db1", "e1", "e2", "gone", "foreign"),
    "netns_path": ("/run/netns/web1", "/run/netns/foreign", "/proc/1/ns/net", "/dev/null", "/run/netns/absent"),
    "pid": (1, 4242, 99999999),
    "container": ("box", "stopped", "nobody"),
    "parent": (
        "eth0.20",
        "eth0.30",
        "eth0.40",
        "eth0",
        "eth1",
        "nic1",
        "port",
        "br0",
        "lo",
        "eth9",
        "eth9.4",
        "eth0.1.2",
    ),
    "via": ("192.168.20.1", "10.3.0.1", "192.168.1.77", "2001:db8:30::1"),
    "subnet": ("192.168.20.0/24", "10.3.0.0/24", "10.1.100.0/24", "10.77.0.0/16", "10.77.1.0/24", "2001:db8:30::/64"),
    "gateway": ("none", "192.168.20.1", "10.77.0.1", "10.77.1.254", "2001:db8:30::1"),
    "ip_range": ("192.168.20.128/25", "10.77.1.0/25", "10.77.0.0/30"),
    "aux_addresses": ({"printer": "10.77.1.9"}, {"a": "192.168.20.5", "b": "192.168.20.6"}, {}),
    "ipv4_address": ("192.168.20.10", "192.168.20.2", "10.3.0.7", "10.1.100.9", "172.18.0.9", "192.168.20.1"),
    "ipv6_address": ("2001:db8:30::9", "2001:db8:30::2", "2001:db8:30::"),
    "mac_address": ("02:42:c0:a8:14:0a", "0242.c0a8.140a", "02-42-c0-a8-14-0b"),
    "ifname": ("eth0", "eth1", "lan0", "eth0.20"),
    "aliases": (["www"], ["www", "ftp"], ["web1"], []),
    "sysctls": ({"net.ipv4.conf.IFNAME.rp_filter": 2}, {"net.ipv6.conf.IFNAME.accept_ra": "0"}, {}),
    "owner": ("vm-1", "vm-2", "vip", "web1", "gateway"),
    "address": ("192.168.20.50", "192.168.20.60-192.168.20.62", "10.3.0.64/30", "2001:db8:30::50"),
    "description": ("build VM", ""),
    "expires": ("never", "7d", "2027-01-01T00:00:00Z", "2020-01-01", "1s"),
    "mtu": (0, 68, 1280, 1400, 1500, 9000),
    "cooldown": (0, 60, 31536000),
    "listen": (0, 0, 31),
    "history_days": (0, 30),
    "announce": ({"count": 0}, {"count": 2, "interval_ms": 100}, {}),
    "labels": ({"team": "netops"}, {}),
    "base": ("10.200.0.0/16", "172.18.0.0/16", "fd00::/40"),
    "size": (16, 20, 24, 64),
    "lock_timeout": (0, 30),
}
TARGETS = ("netns", "netns_path", "pid", "container", "host")
FITTING = {  # addresses of a network
    "web": ("192.168.20.10", "192.168.20.2", "192.168.20.9"),
    "l3net": ("10.3.0.7", "10.3.0.2"),
    "mac": ("10.1.100.2", "10.1.100.9"),
    "iso": ("172.18.0.2", "172.18.7.7"),
}
TEXTS: tuple[str, ...] = (
    *("", " ", ".", "..", "-", "--", "-rf", "/", "//", "~", "$HOME", "${IFS}", "`id`", "$(id)", "%s%n", "{0}", "{{ 7*7 }}"),
    *("../../etc/passwd", "/etc/passwd", "a/b", "a\nb", "\n", "web1\n", "a\tb", "a\rb", "\x1b[31m", "a\0b", "\0", "a b"),
    *("'; DROP TABLE networks; --", '"', "'", "\\", "\\n", "lo", "all", "default", "none", "None", "null", "localhost"),
    *("A" * 64, "a" * 65, "a" * 255, "a" * 256, "x" * 10000, "é" * 14, "日本", "ß", "İ", "\u202ereversed", "שלום", "\u200b"),
    *("\ud800", "a\udcffb", "\ufeff", "\U0001f600", "e\u0301", "\u0661\u0662", "²", "0x10", "1e3", "-1", "0", "00"),
    *("010", "\u0661.\u0662.\u0663.\u0664"),
    *("0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1"),
    *("0.0.0.0/0", "::/0", "10.0.0.0/0", "10.0.0.1/32", "10.0.0.0/31", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/255.255.0.0"),
    *("::ffff:0:0/96", "ff00::/8", "fe80::/10", "2001:db8::/127", "2001:db8::/128", "fe80::%eth0/64", "10.0.0.0/", "/24"),
    *("10.0.0.9-10.0.0.1", "10.0.0.1-::1", "0.0.0.0-255.255.255.255", "::-ffff::", "10.0.0.0/8", "10.1", "1.2.3.4.5", "0/0"),
    *("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "02:42", "1", "9" * 30, "99999999999w", "9999999999w"),
    *("0001-01-01", "9999-12-31T23:59:59-23:59", "2027-13-45", "-7d", "7dd", "\u0667d", "eth0.0", "eth0.4095", "eth0.", ".20"),
    *("eth0.20.30", "eth0:1", "eth0/20", "net.ipv4.ip_forward", "net.ipv4.conf.IFNAME.../../../x", "/dev/zero", "/proc/self"),
)  # fmt: skip
NUMBERS: tuple[int, ...] = (
    *(-1, 0, 1, 2, 67, 65535, 65536, 1 << 31, -(1 << 31), 1 << 32, 1 << 63, 1 << 64),
    10**30,
    -(10**30),
    10**1200,
)
ODD: tuple[Any, ...] = (*(None, True, False, [], {}, [[]], [None], {"": ""}, 1.5, "yes", "no", "maybe"), -(10**30))
FOLDERS = (*("/", "/etc", "/proc", "/dev/null", "/etc/passwd", "relative", "", "~nobody/x", "/tmp/a\0b", "/tmp/a\nb"),
           *("/tmp/\ud800", "/tmp/" + "x" * 300, "/tmp/" + "y/" * 3000, "/nonexistent/deep/er", "/tmp/a b", "/tmp/a%b"))  # fmt: skip


def copied(value: Any) -> Any:
    """A deep copy of what JSON can carry, faster than that of everything."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


class Maker:
    """Makes one option set."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        # Some are all but right, so that they get far; some are wrong everywhere.
        self.hostility = rng.choice((0.0, 0.02, 0.02, 0.1, 0.1, 0.4, 0.9))

    def option_set(self, options: Options) -> dict[str, Any]:
        made = self._chosen(options)
        plural = next((name for name in PLURALS if name in options), None)
        if plural and self.rng.random() > 0.1 * self.hostility:  # one form of the two
            own = set(options[plural]["options"])
            one = self.rng.random() < 0.5
            key = "owner" if plural == "addresses" else "name"
            if one:
                made.pop(plural, None)
                made.setdefault(key, self._value(key, options[key]))
            else:
                made = {name: value for name, value in made.items() if name not in own - {"state", "network"}}
                made.setdefault(plural, self._value(plural, options[plural]))
        return made

    def _chosen(self, options: Options) -> dict[str, Any]:
        share = self.rng.choice((0.15, 0.3, 0.6))
        made = {}
        for name, about in options.items():
            if about.get("required") or self.rng.random() < share:
                spelt = name
                if about.get("aliases") and self.rng.random() < 0.2:
                    spelt = self.rng.choice(about["aliases"])
                made[spelt] = self._value(name, about)
        if self.rng.random() < 0.02 * self.hostility:
            made[self.rng.choice(TEXTS)] = self.rng.choice(TEXTS)  # an option that does not exist
        for name, most in (("state_dir", 0.1), ("purge", 0.3), ("purge_all", 0.2), ("lock_timeout", 0.3)):
            if name in made and self.rng.random() > most:
                del made[name]
        if self.rng.random() > self.hostility:
            self._mend(made, options)
        return made

    def _mend(self, made: dict[str, Any], options: Options) -> None:
        """Takes out what contradicts itself at once, so that the rest is looked at."""
        if "network" in options:
            made.setdefault("network", self._value("network", options["network"]))
        if "netns" in options:
            chosen = self.rng.choice((*TARGETS, "netns", "netns"))
            for name in (*TARGETS, *(() if chosen == "container" else ("container_engine",))):
                made.pop(name, None)
            made[chosen] = True if chosen == "host" else self._value(chosen, options[chosen])
            fitting = FITTING.get(str(made["network"]), ())
            for name in ("ipv4_address", "ipv6_address", "mac_address", "ip", "ip6"):
                if name in made and self.rng.random() > 0.1:
                    del made[name]
            if fitting and self.rng.random() < 0.3:
                made["ipv4_address"] = self.rng.choice(fitting)
        if "driver" in options and "driver" in made:
            other = "macvlan" if made["driver"] == "ipvlan" else "ipvlan"
            for name in [name for name in made if name.startswith(f"{other}_")]:
                del made[name]
        if made.get("ipvlan_mode") not in ("l3", "l3s") and self.rng.random() > 0.1:
            made.pop("routes", None)
        if "base" not in options and self.rng.random() > 0.1:
            made.pop("default_address_pools", None)
        if "purge" not in made:
            made.pop("purge_all", None)

    def _value(self, name: str, about: Mapping[str, Any]) -> Any:
        rng, kind = self.rng, about["type"]
        hostile = rng.random() < self.hostility
        if hostile and rng.random() < 0.1:
            return copied(rng.choice(ODD))
        if name == "state_dir":
            return rng.choice(FOLDERS)
        if kind == "list":
            return self._list(name, about)
        if kind == "dict":
            return self._dict(name, hostile)
        if kind == "bool":
            return rng.choice((True, False))
        if kind == "int":
            return rng.choice(NUMBERS) if hostile else rng.choice(SENSIBLE[name])
        if "choices" in about:
            return self._text() if hostile else rng.choice(about["choices"])
        return self._text() if hostile else rng.choice(SENSIBLE[name])

    def _list(self, name: str, about: Mapping[str, Any]) -> list[Any]:
        rng = self.rng
        if about["elements"] != "dict":
            made = list(rng.choice(SENSIBLE[name]))
            return (
                made
                if rng.random() >= self.hostility
                else [*made, *(self._text() for _one in range(rng.choice((1, 2, 70))))]
            )
        made = [self._chosen(about["options"]) for _one in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 6)))]
        if made and rng.random() < self.hostility:
            made += [copied(rng.choice(made)) for _one in range(rng.choice((1, 1, 2, 9)))]
        return made

    def _dict(self, name: str, hostile: bool) -> dict[str, Any]:
        made = dict(self.rng.choice(SENSIBLE[name]))
        if hostile:
            made[self._text()] = self.rng.choice((self._text(), self.rng.choice(NUMBERS), True, None, [self._text()]))
        return made

    def _text(self) -> str:
        rng = self.rng
        text = rng.choice(TEXTS)
        if rng.random() < 0.3:
            text = rng.choice((text + rng.choice(TEXTS), rng.choice(("web", "eth0", "10.0.0.1", "/run/netns/")) + text))
        if rng.random() < 0.1:
            text = "".join(
                map(chr, (rng.choice((rng.randrange(128), rng.randrange(0x3000))) for _one in range(rng.randrange(9))))
            )
        return text


def option_set(number: int, seed: int = SEED) -> tuple[str, dict[str, Any]]:
    """A module's name and parameters for it."""
    rng = random.Random(f"{seed}/{number}")
    module = rng.choices(list(MODULES), list(MODULES.values()))[0]
    return module, Maker(rng).option_set(called(module)[0])


WORDS = ("planned", "nothing", "refused", "unfit")  # what ``tried`` may say

# --- answers --------------------------------------------------------------------------------------------------

_LINE_MOST = 1000  # characters; a value of 10,000 is not repeated whole
_ITEM = re.compile(rf"(?:{'|'.join(PLURALS)})\[\d+\]|(?:name|owner) '|(?:endpoint|network) '|^/|^cannot \w+ /")


def wrong_in_message(module: str, message: str) -> str | None:
    """What an error of ours must not be; None where it is as it should be: readable, not endless, about an item, an
    option or a file."""
    if "bug of ours" in message or "Traceback" in message:
        return "it is an error that nobody thought of"
    names = _names_of(module)
    # What the kernel refused ends with a way out for all.
    for line in message.partition("\nWhat could be done is done")[0].split("\n"):
        if not line.isprintable():
            return "it holds characters that cannot be printed"
        if len(line) > _LINE_MOST:
            return f"a line of it has {len(line)} characters"
        if not (_ITEM.search(line) or names.search(line)):
            return f"it names neither item nor option nor file: {line}"
    return None


@cache
def _names_of(module: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(sorted(_option_names(called(module)[0])))})\b")


def _option_names(options: Options) -> set[str]:
    return {*options, *(name for about in options.values() for name in _option_names(about.get("options", {})))}


class Module:
    """What run.py knows of an AnsibleModule."""

    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
        self.failed: dict[str, Any] | None = None
        self.result: dict[str, Any] | None = None
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, **told: Any) -> None:
        self.failed = told

    def exit_json(self, **result: Any) -> None:
        self.result = result


def tried(module: str, params: dict[str, Any], check: bool, state_dir: str) -> tuple[str, Module | None]:
    """What became of an option set, in a word: ``unfit`` (the argument spec says no), ``refused``, ``planned`` or ``nothing`` to do.

    :raises AssertionError: if the answer is not one that a user should get
    """
    _options, work = called(module)
    params = {"state_dir": state_dir, **params}
    checked = validator(module).validate(params)
    if checked.error_messages:
        return "unfit", None
    ours = Module(checked.validated_parameters, check)
    importlib.import_module(f"{PLUGINS}.module_utils.run").run(ours, work)
    if ours.failed is not None:
        problem = wrong_in_message(module, ours.failed["msg"])
        trace = ours.failed.get("exception", "")
        assert problem is None and not trace, f"{problem}: {ours.failed['msg'][:3000]}\n{trace}"
        return "refused", ours
    assert ours.result is not None, "no answer"
    json.dumps(ours.result)
    for warning in ours.warnings:
        assert warning.isprintable() and len(warning) <= _LINE_MOST, f"a warning: {warning[:3000]}"
    return ("planned" if ours.result["changed"] else "nothing"), ours


# --- what is written ------------------------------------------------------------------------------------------

_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"}
_WRITES |= {
    "os.chown",
    "os.mkfifo",
    "os.mknod",
    "os.setxattr",
    "os.utime",
    "subprocess.Popen",
    "os.exec",
    "socket.sendto",
}
_WRITES |= {"shutil.rmtree", "os.kill", "os.system", "os.posix_spawn"}


class Guard:
    """Lets nothing be written but where it is allowed, from now on and for good: for processes that end.

    Hears what Python does, so not of SQLite's writes, whose file it knows, and not of mounts.
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = allowed
        self.stray: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in _WRITES
        if event == "open":
            writes = isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        elif event == "sqlite3.connect":
            writes = os.fsdecode(arguments[0]) != ":memory:"  # bytes in Python 3.9
        if writes and not self._is_allowed(arguments[0]):
            self.stray.append(f"{event} {arguments}")
            raise PermissionError(1, f"{event} {arguments}")

    def _is_allowed(self, path: object) -> bool:
        if isinstance(path, int):  # a descriptor, which was opened by its path before
            return True
        return os.path.realpath(os.fsdecode(path)).startswith(self._allowed)  # type: ignore[arg-type]
