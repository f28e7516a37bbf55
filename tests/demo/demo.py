"""Shows what the role vlan_map makes of a VLAN map, and checks every line that it shows.

Runs inside the lab, as tests/demo/run starts it: it makes links in the host's own namespace. What it says of
links, addresses and routes it has from `ip -j`, not from Ansible. Exits with 1 if anything is not as it should be.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
PLAY = HERE / "play.yml"
LOG = HERE.parents[1] / ".work/demo/ansible.log"
TERMINAL = sys.stdout.isatty()
COLOUR = TERMINAL and not os.environ.get("NO_COLOR")
SECONDS_FOR_A_REPLY = 5
SECONDS_OF_QUIET = 0.5  # after which a capture is complete

ROLE = yaml.safe_load(PLAY.read_text())[0]["roles"][0]
TRUNK = ROLE["vlan_map_trunk"]
VLANS = {entry["vlan"]: entry for entry in ROLE["vlan_map_vlans"]}
ENDPOINTS = {vlan: [entry["netns"] for entry in ROLE["vlan_map_endpoints"] if entry["vlan"] == vlan] for vlan in VLANS}
SUBNETS = {vlan: ipaddress.ip_network(entry["subnet"], strict=False) for vlan, entry in VLANS.items()}


class Broken(Exception):
    """The demo cannot go on; the text says why."""


# --- what is printed ------------------------------------------------------------------------------------------


class Report:
    """Numbered steps and checked lines."""

    def __init__(self) -> None:
        self.steps = self.checks = self.failures = 0

    def step(self, title: str, note: str = "") -> None:
        self.steps += 1
        say(f"\n{bold(f'{self.steps}  {title}')}{dim(f'  {note}') if note else ''}")

    def mark(self, good: bool) -> str:
        """The sign for a check, which is counted."""
        self.checks += 1
        self.failures += not good
        return green("✓") if good else red("✗")

    def line(self, good: bool, words: str, otherwise: str = "") -> None:
        """One check: what holds, or what is the case instead."""
        sign = self.mark(good)
        say(f"   {sign} {words if good else otherwise or words}")

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], wrong: Sequence[str]) -> None:
        """Aligned columns, each row a check; ``wrong`` says of each row what is wrong with it, '' if nothing."""
        widths = [max(map(len, column)) for column in zip(heads, *rows)]
        say("     " + dim("  ".join(text.ljust(width) for text, width in zip(heads, widths)).rstrip()))
        for row, fault in zip(rows, wrong):
            text = "  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip()
            say(f"   {self.mark(not fault)} {text}{red(f'  {fault}') if fault else ''}")


def say(text: str) -> None:
    print(text, flush=True)


def _coloured(code: int) -> Callable[[str], str]:
    return lambda text: f"\033[{code}m{text}\033[0m" if COLOUR else text


bold, dim, red, green, yellow = map(_coloured, (1, 2, 31, 32, 33))


# --- commands -------------------------------------------------------------------------------------------------


def command(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def ip(*words: str, netns: str | None = None) -> Any:
    """What `ip -j` says."""
    return json.loads(command("ip", *(("-n", netns) if netns else ()), "-j", *words) or "[]")


def batch(lines: str, *options: str, program: str = "ip") -> None:
    command(program, *options, "-batch", "-", text=lines)


# --- the trunk, the switch and the router ---------------------------------------------------------------------


def build() -> None:
    """Like a host in a rack: eth0 into a VLAN-aware switch, whose other port leads to the router of all VLANs."""
    batch(
        "netns add switch\nnetns add router\n"
        f"link add {TRUNK} type veth peer name port1 netns switch\n"
        "link add uplink netns router type veth peer name port2 netns switch\n"
        f"link set {TRUNK} up\n"
    )
    batch(
        "link add br0 type bridge vlan_filtering 1\n"
        + "".join(f"link set {port} master br0 up\n" for port in ("port1", "port2"))
        + "link set br0 up\n",
        *("-n", "switch"),
    )
    batch(
        "".join(f"vlan add dev {port} vid {vlan}\n" for port in ("port1", "port2") for vlan in VLANS),
        *("-n", "switch"),
        program="bridge",
    )
    lines = "link set lo up\nlink set uplink up\n"
    for vlan, entry in VLANS.items():
        lines += f"link add link uplink name uplink.{vlan} type vlan id {vlan}\nlink set uplink.{vlan} up\n"
        lines += f"addr add {entry['gateway']}/{SUBNETS[vlan].prefixlen} dev uplink.{vlan}\n"
    batch(lines, *("-n", "router"))
    router_forwards(False)


def router_forwards(on: bool) -> None:
    command("ip", "netns", "exec", "router", "sh", "-c", f"echo {int(on)} >/proc/sys/net/ipv4/ip_forward")


def picture() -> dict[str, Any]:
    """The host's links, addresses, routes and namespaces, without what changes by itself."""
    passing = {"tentative", "valid_life_time", "preferred_life_time"}
    links = ip("address")
    for link in links:
        link["addr_info"] = [{k: v for k, v in info.items() if k not in passing} for info in link["addr_info"]]
    return {
        "links": {link["ifname"]: link for link in links},
        "routes": ip("-4", "route") + ip("-6", "route"),
        "namespaces": sorted(os.listdir("/run/netns")),
    }


# --- Ansible --------------------------------------------------------------------------------------------------


def playbook(*options: str) -> tuple[dict[str, int], list[str], float]:
    """Runs the playbook: the numbers of its recap, its warnings, and the seconds that it took."""
    words = ["ansible-playbook", str(PLAY), *options]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "ANSIBLE_COLLECTIONS_PATH": os.environ["ANSIBLE_COLLECTIONS_PATH"],
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        "COLUMNS": "200",  # a warning on one line
    }
    started = time.monotonic()
    output = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with LOG.open("a") as log, subprocess.Popen(words, env=environment, **pipes) as process:
        log.write(f"$ {' '.join(words)}\n")
        for line in process.stdout:
            output.append(re.sub(r" \*{3,}$", "", line.rstrip()))
            log.write(output[-1] + "\n")
            if TERMINAL and output[-1].startswith("TASK ["):
                task = output[-1][6:-1].rpartition(" : ")[2]
                print(f"\r     {dim(task[:80])}\033[K", end="", flush=True)
    if TERMINAL:
        print("\r\033[K", end="", flush=True)
    text = "\n".join(output)
    recap = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", text.rpartition("PLAY RECAP")[2])}
    if process.returncode or not recap:
        raise Broken(
            "ansible-playbook failed; the end of its output:\n" + "\n".join(f"     {line}" for line in output[-15:])
        )
    warnings = re.findall(r"\[WARNING\]: (.*)", text)
    return recap, warnings, time.monotonic() - started


def _by_name(warning: str | None) -> str:
    """A warning with the item's name in the place of its label: `networks[1] (vlan20): ...`."""
    return re.sub(r"^\S+ \((\S+)\): ", r"\1: ", warning or "")


def recap_line(recap: dict[str, int], seconds: float) -> str:
    numbers = "  ".join(f"{name}={recap[name]}" for name in ("ok", "changed", "unreachable", "failed"))
    return f"{numbers}  {dim(f'{seconds:.0f} s')}"


# --- what the kernel has --------------------------------------------------------------------------------------


def endpoints_seen() -> dict[str, dict[str, Any]]:
    """Of each endpoint's namespace: its one link, its IPv4 address, its default routes, and the parent on this host."""
    parents = {link["ifindex"]: link for link in ip("-d", "link")}
    seen = {}
    for netns in (netns for names in ENDPOINTS.values() for netns in names):
        links = [link for link in ip("-d", "address", netns=netns) if link["ifname"] != "lo"]
        if len(links) != 1:
            raise Broken(f"namespace {netns} has {len(links)} links beside lo, and should have one")
        addresses = [info for info in links[0]["addr_info"] if info["family"] == "inet"]
        seen[netns] = {
            "link": links[0],
            "mark": links[0].get("ifalias", "").split()[-1],
            "address": ipaddress.ip_interface(f"{addresses[0]['local']}/{addresses[0]['prefixlen']}"),
            "addresses": len(addresses),
            "routes": ip("-4", "route", "show", "default", netns=netns),
            "parent": parents.get(links[0].get("link_index"), {}),
        }
    return seen


def vlan_of(parent: dict[str, Any]) -> tuple[str | None, str | None, int | None]:
    """The link below a VLAN link, its protocol and id, as the kernel has them."""
    info = parent.get("linkinfo", {})
    data = info.get("info_data", {}) if info.get("info_kind") == "vlan" else {}
    return parent.get("link"), data.get("protocol"), data.get("id")


def gateways(endpoint: dict[str, Any]) -> list[str | None]:
    return [route.get("gateway") for route in endpoint["routes"]]


def show_networks(report: Report, seen: dict[str, dict[str, Any]]) -> None:
    rows, wrong = [], []
    for vlan, names in ENDPOINTS.items():
        first = seen[names[0]]
        base, protocol, number = vlan_of(first["parent"])
        info = first["link"]["linkinfo"]
        flags = [name for name, value in info["info_data"].items() if value is True]
        kind = [info["info_kind"], info["info_data"].get("mode", ""), *flags]
        name = first["mark"].partition("/")[0]
        subnet, gateway = first["address"].network, ", ".join(map(str, gateways(first)))
        rows.append(
            [name, first["parent"].get("ifname", "?"), f"{protocol} {number}", str(subnet), gateway, " ".join(kind)]
        )
        faults = {
            f"not VLAN {vlan} of {TRUNK}": (base, protocol, number) != (TRUNK, "802.1Q", vlan),
            "down": "UP" not in first["parent"].get("flags", []),
            f"not {SUBNETS[vlan]}": subnet != SUBNETS[vlan],
            f"gateway not {VLANS[vlan]['gateway']}": gateways(first) != [VLANS[vlan]["gateway"]],
        }
        wrong.append(", ".join(words for words, holds in faults.items() if holds))
    report.table(["NETWORK", "PARENT", "VLAN", "SUBNET", "GATEWAY", "ENDPOINTS ARE"], rows, wrong)


def show_endpoints(report: Report, seen: dict[str, dict[str, Any]]) -> None:
    rows, wrong = [], []
    held = [endpoint["address"] for endpoint in seen.values()]
    for vlan, names in ENDPOINTS.items():
        for netns in names:
            link, address, parent = (seen[netns][key] for key in ("link", "address", "parent"))
            name, via = seen[netns]["mark"].partition("/")[2], ", ".join(map(str, gateways(seen[netns])))
            where = f"{link['ifname']} on {parent.get('ifname', '?')}"
            rows.append([name, netns, where, str(address), f"via {via}", str(link["mtu"])])
            faults = {
                f"not on VLAN {vlan}": vlan_of(parent) != (TRUNK, "802.1Q", vlan),
                "down": "UP" not in link["flags"],
                f"address not in {SUBNETS[vlan]}": address.network != SUBNETS[vlan],
                "more than one address": seen[netns]["addresses"] != 1,
                "address not its own": held.count(address) > 1 or str(address.ip) == VLANS[vlan]["gateway"],
                f"default route not by {VLANS[vlan]['gateway']}": gateways(seen[netns]) != [VLANS[vlan]["gateway"]],
            }
            wrong.append(", ".join(words for words, holds in faults.items() if holds))
    report.table(["ENDPOINT", "NAMESPACE", "LINK", "ADDRESS", "DEFAULT ROUTE", "MTU"], rows, wrong)


# --- who reaches whom -----------------------------------------------------------------------------------------


def replies(pairs: Sequence[tuple[str, str]], expected: bool = True) -> list[bool]:
    """Of each (namespace, address), all at once, whether the address answers a ping from there."""
    # A reply ends the waiting at once; for silence two requests are enough, since the control shows that they arrive.
    options = ("-c1", f"-w{SECONDS_FOR_A_REPLY}") if expected else ("-c2", "-i0.2", "-W1")
    running = [
        subprocess.Popen(
            ("ip", "netns", "exec", netns, "ping", "-q", *options, address),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for netns, address in pairs
    ]
    return [process.wait() == 0 for process in running]


def pairs_of(pick: Callable[[int], list[tuple[str, str]]]) -> dict[int, list[tuple[str, str]]]:
    return {vlan: pick(vlan) for vlan in VLANS}


def show_reach(report: Report, words: str, pairs: dict[int, list[tuple[str, str]]], expected: bool = True) -> None:
    """One line: for each VLAN whether all its pings got what is expected."""
    flat = [pair for group in pairs.values() for pair in group]
    answered = dict(zip(flat, replies(flat, expected)))
    cells = []
    for group in pairs.values():
        got = [answered[pair] for pair in group]
        good = all(reply is expected for reply in got)
        cells.append(f"{report.mark(good)} {('reply' if good is expected else 'no reply').ljust(12)}")
    say(f"     {words.ljust(38)}{''.join(cells).rstrip()}")


@contextmanager
def capture() -> Iterator[list[str]]:
    """What passes the switch's port of the trunk meanwhile, as tcpdump puts it; filled in at the end."""
    lines: list[str] = []
    words = "ip netns exec switch tcpdump -nn -e -t -l --immediate-mode -i port1 icmp or (vlan and icmp)".split()
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            if not any("listening on" in line for line in process.stderr):
                raise Broken("tcpdump ended before it listened")
            yield lines
            output = ""
            while select.select([process.stdout], [], [], SECONDS_OF_QUIET)[0]:
                output += os.read(process.stdout.fileno(), 65536).decode()
            lines += output.splitlines()
        finally:
            process.terminate()


def show_tags(report: Report, seen: dict[str, dict[str, Any]], lines: Sequence[str]) -> None:
    frames = [
        re.search(r"vlan (\d+),.* ([\d.]+) > ([\d.]+): (ICMP echo re\w+)", line) or re.search("()()()()", line)
        for line in lines
    ]
    for vlan, names in ENDPOINTS.items():
        source, gateway = str(seen[names[0]]["address"].ip), VLANS[vlan]["gateway"]
        for pair, what in (((source, gateway), "ICMP echo request"), ((gateway, source), "ICMP echo reply")):
            found = any(frame.groups() == (str(vlan), *pair, what) for frame in frames)
            text = f"802.1Q vlan {vlan}  {pair[0].rjust(12)} > {pair[1].ljust(12)}  {what}"
            report.line(found, text, f"not seen: {text}")
    strays = [line for line, frame in zip(lines, frames) if not _rightly_tagged(*frame.groups())]
    report.line(
        not strays,
        f"none of the {len(lines)} frames without a tag, or with another VLAN's",
        f"stray frame: {strays[:1]}",
    )


def _rightly_tagged(tag: str, source: str, target: str, _what: str) -> bool:
    vlan = SUBNETS.get(int(tag or 0))
    return vlan is not None and all(ipaddress.ip_address(address) in vlan for address in (source, target))


# --- the demo -------------------------------------------------------------------------------------------------


def demo(report: Report) -> None:
    if [link["ifname"] for link in ip("link") if link["ifname"] != "lo"] or os.geteuid() != 0:
        raise Broken("this changes the network of the host that it runs on; start it with tests/demo/run")
    LOG.write_text("")

    report.step("A host with a trunk", "a switch and a router in namespaces stand in for the rack")
    build()
    before = picture()
    say(f"     host ── {TRUNK} ══ 802.1Q trunk ══ port1 ┤switch├ port2 ══ uplink ── router (VLAN 10, 20, 30)")

    report.step("What NetOps says, as a playbook", "tests/demo/play.yml")
    for line in PLAY.read_text().splitlines()[1:]:
        say(f"     {line}")

    report.step("The first run", "ansible-playbook play.yml")
    recap, warnings, seconds = playbook()
    report.line(recap["changed"] > 0, recap_line(recap, seconds))
    for vlan, entry in VLANS.items():
        if entry["subnet"] != str(SUBNETS[vlan]):
            hint = next((text for text in warnings if entry["subnet"] in text), None)
            report.line(
                hint is not None,
                yellow(f"warned: {_by_name(hint)}"),
                f"no warning that {entry['subnet']} has host bits",
            )

    report.step("What there is now", "as the kernel shows it (ip -j)")
    seen = endpoints_seen()
    show_networks(report, seen)
    say("")
    show_endpoints(report, seen)

    report.step("Who reaches whom", "ping from each endpoint")
    address = {netns: str(endpoint["address"].ip) for netns, endpoint in seen.items()}
    following = dict(zip(VLANS, [*list(VLANS)[1:], *list(VLANS)[:1]]))
    across = pairs_of(lambda vlan: [(a, address[b]) for a in ENDPOINTS[vlan] for b in ENDPOINTS[following[vlan]]])
    say("     " + dim(" " * 38 + "".join(f"VLAN {vlan}".ljust(14) for vlan in VLANS).rstrip()))
    show_reach(
        report,
        "the other endpoint of its VLAN",
        pairs_of(lambda vlan: [(a, address[b]) for a in ENDPOINTS[vlan] for b in ENDPOINTS[vlan] if a != b]),
    )
    with capture() as frames:
        show_reach(report, "the gateway", pairs_of(lambda vlan: [(a, VLANS[vlan]["gateway"]) for a in ENDPOINTS[vlan]]))
    show_reach(report, "the next VLAN, router not routing", across, expected=False)
    router_forwards(True)
    show_reach(report, "the next VLAN, router routing", across)

    report.step("The pings to the gateways on the trunk", "tcpdump at the switch's port")
    show_tags(report, seen, frames)

    report.step("The second run", "the same, and nothing changes")
    recap, _warnings, seconds = playbook()
    report.line(recap["changed"] == 0, recap_line(recap, seconds))

    report.step("Removal", "the same playbook with vlan_map_state=absent")
    recap, _warnings, seconds = playbook("-e", "vlan_map_state=absent")
    report.line(recap["changed"] > 0, recap_line(recap, seconds))
    after = picture()
    for what, things in before.items():
        report.line(after[what] == things, f"{what} as before", f"{what} were {things}, and are {after[what]}")


def main() -> int:
    report = Report()
    say(bold("netops.underlay") + dim(f"  VLANs for network namespaces, on kernel {os.uname().release}"))
    try:
        demo(report)
    except Broken as error:
        report.line(False, str(error))
    seconds = time.time() - float(os.environ.get("DEMO_STARTED") or time.time())
    if report.failures:
        say(
            f"\n{red('✗')} {report.failures} of {report.checks} checks failed, {seconds:.0f} s. Ansible's output: {LOG}"
        )
        return 1
    say(f"\n{green('✓')} {bold(f'All {report.checks} checks passed')} in {seconds:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
