# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The networks of a host for people: a table for a terminal, and a page for a browser.

Pure; it knows no Ansible. The page is one file that asks for nothing else and has no script; ``picture.py`` has its drawing.
"""

from __future__ import annotations

import csv
import io
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import PurePath
from typing import Any

from ansible_collections.netops.underlay.plugins.plugin_utils.picture import (
    STYLE,
    grouped,
    number,
    overview,
    picture,
    use_bar,
)
from ansible_collections.netops.underlay.plugins.plugin_utils.topology import (
    HINT,
    PROBLEM,
    Endpoint,
    Finding,
    Network,
    Parent,
    Subnet,
    Topology,
    clean,
)

# Longer lists are folded on the page; a click opens them, and so does printing.
OPEN_UP_TO = 100
EMPTY = Subnet("", "", "", None)


def rows(topology: Topology) -> Iterator[tuple[Parent, Network, Subnet, bool]]:
    """A row for each subnet, and one for a network without; the last says whether its network comes for the first time."""
    for parent in topology.parents:
        for network in parent.networks:
            for index, subnet in enumerate(network.subnets or (EMPTY,)):
                yield parent, network, subnet, index == 0


def findings(topology: Topology) -> list[tuple[Network, Finding]]:
    """The problems first, in the order of the networks."""
    every = [(network, finding) for network in topology.networks for finding in network.findings]
    return sorted(every, key=lambda pair: (PROBLEM, HINT).index(pair[1].severity))


def counted(many: int, word: str) -> str:
    return f"{grouped(many)} {word}" if many == 1 else f"{grouped(many)} {word}s"


def endpoint_words(endpoints: Sequence[Endpoint]) -> str:
    waiting = sum(one.state == "waiting" for one in endpoints)
    return f"{len(endpoints)} ({waiting} waiting)" if waiting else str(len(endpoints))


def finding_words(found: Sequence[Finding], verified: bool) -> str:
    """How many of each kind; ``verified``: whether there was a look at all."""
    numbers = [(sum(one.severity == kind for one in found), kind) for kind in (PROBLEM, HINT)]
    return ", ".join(counted(many, kind) for many, kind in numbers if many) or ("ok" if verified else "")


def plain(many: int) -> str:
    """A number of addresses without signs that a terminal may lack."""
    return number(many).replace("\u202f", "")


# --- for a terminal -------------------------------------------------------------------------------------------

HEADING = ("VLAN", "SUB-INTERFACE", "NETWORK", "SUBNET", "GATEWAY", "ENDPOINTS", "USED", "FREE", "FINDINGS")
TO_THE_RIGHT = frozenset({"VLAN", "USED", "FREE"})


def table(topology: Topology) -> str:
    """A line for each subnet, the findings in words, and a sum."""
    lines: list[Sequence[str]] = [HEADING]
    for parent, network, subnet, first in rows(topology):
        use = subnet.use
        numbers = ("", "") if use is None else (plain(use.used), plain(use.free))
        name = (str(parent.vlan_id or ""), parent.name, network.name) if first else ("", "", "")
        last = (
            (endpoint_words(network.endpoints), finding_words(network.findings, network.verified))
            if first
            else ("", "")
        )
        lines.append((*name, subnet.subnet, subnet.gateway, last[0], *numbers, last[1]))
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = [
        "  ".join(
            cell.rjust(width) if title in TO_THE_RIGHT else cell.ljust(width)
            for title, cell, width in zip(HEADING, line, widths)
        ).rstrip()
        for line in lines
    ]
    for network, finding in findings(topology):
        # The words of the check name the VLAN; two networks can be on it.
        texts.append(f"{finding.severity}: {finding.words} ({network.name})")
    texts += [f"{trunk.name}: {trunk.switch}" for trunk in topology.trunks if trunk.switch]
    return "\n".join([*texts, f"{', '.join(_sums(topology))}."])


def _sums(topology: Topology) -> list[str]:
    waiting = sum(one.state == "waiting" for one in topology.endpoints)
    found = [finding for _network, finding in findings(topology)]
    verified = any(network.verified for network in topology.networks)
    return [
        counted(len(topology.networks), "network"),
        counted(len(topology.endpoints), "endpoint") + (f" ({waiting} waiting)" if waiting else ""),
        {"": "trunk not checked", "ok": "no findings"}.get(words, words)
        if (words := finding_words(found, verified)) in ("", "ok")
        else words,
    ]


# --- for a browser --------------------------------------------------------------------------------------------


def page(topology: Topology, host: str, time: str) -> str:
    """The whole page. ``host`` and ``time`` say of which host and when."""
    host = clean(host)
    title = f"VLANs of {host}" if host else "VLANs"
    subtitle = ", ".join(filter(None, (f"as of {clean(time)}" if time else "", "made by netops.underlay")))
    parts = [
        f'<header><h1>{escape(title)}</h1><p class="muted">{escape(subtitle)}</p></header>',
        _tiles(topology),
        "<main>",
        _section("findings", "Findings of the trunk check", _findings(topology)),
        _section("topology", "Topology", overview(topology) + picture(topology)),
        _section("addresses", "Addresses", _addresses(topology)),
        _section("endpoints", "Endpoints", _endpoints(topology)),
        _section("map", "The map as CSV", _csv(topology, host)),
        "</main>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # Nothing may be asked for, even if a name got past the escaping.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        # A browser asks for an icon if it is not told that there is none.
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _section(name: str, heading: str, text: str) -> str:
    return f'<section aria-labelledby="h-{name}">\n<h2 id="h-{name}">{heading}</h2>\n{text}\n</section>'


def _tile(many: int, word: str, more: str = "") -> tuple[str, str, str, str]:
    return word if many == 1 else f"{word}s", grouped(many), more, ""


def _tiles(topology: Topology) -> str:
    """The numbers that come first."""
    vlans = {(parent.name, parent.vlan_id) for parent in topology.parents if parent.vlan_id}
    waiting = sum(one.state == "waiting" for one in topology.endpoints)
    uses = [subnet.use for network in topology.networks for subnet in network.subnets if subnet.use]
    found = [finding for _network, finding in findings(topology)]
    worst = min((finding.severity for finding in found), key=(PROBLEM, HINT).index, default="")
    verified = any(network.verified for network in topology.networks)
    words = finding_words(found, verified)
    first, _comma, more = words.partition(", ")
    tiles = [
        _tile(len(vlans), "VLAN"),
        _tile(len(topology.networks), "network"),
        _tile(len(topology.endpoints), "endpoint", f"{grouped(waiting)} waiting" if waiting else ""),
        ("addresses used", number(sum(use.used for use in uses)) if uses else "\u2013", "", ""),
        ("trunk check", first or "not run", more, worst or ("ok" if words else "")),
    ]
    return (
        '<ul class="tiles">'
        + "".join(
            f'<li class="{kind}"><span class="value">{escape(value)}</span> <span class="label">{label}</span>'
            + (f' <span class="label">\u00b7 {escape(more)}</span>' if more else "")
            + "</li>"
            for label, value, more, kind in tiles
        )
        + "</ul>"
    )


def _findings(topology: Topology) -> str:
    verified = [network for network in topology.networks if network.verified]
    found = findings(topology)
    if not verified and not found:
        return '<p class="muted">The trunk check was not run.</p>'
    if not found:
        return f'<p class="finding ok"><strong>\u2713 ok</strong> {counted(len(verified), "network")} checked, nothing found.</p>'
    marks = {PROBLEM: "\u2715 problem", HINT: "! hint"}
    places = {network.name: index for index, parent in enumerate(topology.parents) for network in parent.networks}
    items = "".join(
        f'<li class="finding {finding.severity}"><strong>{marks[finding.severity]}</strong> '
        f'<span>{escape(finding.words)}</span> <a href="#p{places[network.name]}">{escape(network.name)}</a></li>'
        for network, finding in found
    )
    return _folded(len(found), "finding", f'<ul class="findings">{items}</ul>')


def _cells(kind: str, cells: Iterable[tuple[str, str]]) -> str:
    return "<tr>" + "".join(f'<{kind} class="{style}">{cell}</{kind}>' for style, cell in cells) + "</tr>"


def _table(caption: str, heading: Sequence[tuple[str, str]], lines: Iterable[Sequence[str]]) -> str:
    """``heading`` is the style and the title of each column; the cells are HTML."""
    titles = "".join(f'<th scope="col" class="{style}">{title}</th>' for style, title in heading)
    body = "\n".join(_cells("td", zip((style for style, _title in heading), line)) for line in lines)
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{titles}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _folded(many: int, word: str, text: str) -> str:
    """As it is, or where it is long, behind a line that opens it."""
    return text if many <= OPEN_UP_TO else f"<details><summary>{counted(many, word)}</summary>\n{text}\n</details>"


def _gateway(network: Network, subnet: Subnet) -> str:
    """The gateway, and what the trunk check heard of it."""
    lines = [escape(subnet.gateway)]
    for heard in network.gateways:
        if clean(heard.get("address")) != subnet.gateway:
            continue
        if not heard.get("mac_address"):
            lines.append('<span class="small problem">silent</span>')
        else:
            time = heard.get("rtt_ms")
            words = clean(heard["mac_address"]) + ("" if time is None else f", {clean(time)} ms")
            lines.append(f'<span class="small muted">{escape(words)}</span>')
    return "<br>".join(lines)


def _addresses(topology: Topology) -> str:
    heading = [
        ("number", "VLAN"),
        ("", "Network"),
        ("mono", "Subnet"),
        ("mono", "Gateway"),
        ("", "In use"),
        ("number", "Held"),
        ("number", "Reserved"),
        ("number", "Cooling"),
        ("number", "Free"),
    ]
    lines = []
    for parent, network, subnet, _first in rows(topology):
        use = subnet.use
        numbers = (
            ("", "", "", "", "")
            if use is None
            else (
                use_bar(use),
                *(escape(number(many)) for many in (use.held, use.reserved, use.cooling, use.free)),
            )
        )
        ip_range = f'<br><span class="small muted">range {escape(subnet.ip_range)}</span>' if subnet.ip_range else ""
        lines.append(
            (
                str(parent.vlan_id or ""),
                escape(network.name),
                escape(subnet.subnet) + ip_range,
                _gateway(network, subnet),
                *numbers,
            )
        )
    key = (
        '<span class="key held"></span>held by endpoints <span class="key reserved"></span>reserved '
        '<span class="key cooling"></span>cooling after release'
    )
    caption = (
        " \u00b7 of a subnet with a range the numbers are those of the range"
        if any("range" in line[2] for line in lines)
        else ""
    )
    return _folded(len(lines), "subnet", _table(key + caption, heading, lines))


def _endpoints(topology: Topology) -> str:
    heading = [
        ("", "Endpoint"),
        ("number", "VLAN"),
        ("", "Network"),
        ("mono", "Address"),
        ("", "Target"),
        ("mono", "Link"),
        ("", "State"),
    ]
    lines = [
        (
            escape(one.name),
            str(parent.vlan_id or ""),
            escape(network.name),
            "<br>".join(map(escape, one.addresses)),
            escape(one.target),
            escape(one.ifname),
            escape(one.state) if one.state != "waiting" else '<strong class="hint">waiting</strong>',
        )
        for parent in topology.parents
        for network in parent.networks
        for one in network.endpoints
    ]
    if not lines:
        return '<p class="muted">None.</p>'
    caption = (
        "A waiting endpoint has its address, and no link yet." if any("waiting" in line[-1] for line in lines) else ""
    )
    return _folded(len(lines), "endpoint", _table(caption, heading, lines))


CSV_HEADING = ("vlan", "sub_interface", "network", "driver", "mode", "subnet", "gateway", "ip_range")


def as_csv(topology: Topology) -> str:
    """The map, a line for each subnet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow(CSV_HEADING)
    for parent, network, subnet, _first in rows(topology):
        cells: list[Any] = [parent.vlan_id or "", parent.name, network.name, network.driver, network.mode]
        cells += [subnet.subnet, subnet.gateway, subnet.ip_range]
        # A spreadsheet takes a cell that begins so for a formula.
        writer.writerow([f"'{cell}" if str(cell)[:1] in tuple("=+-@") else cell for cell in cells])
    return text.getvalue()


def _csv(topology: Topology, host: str) -> str:
    text = as_csv(topology)
    name = PurePath(host or "host").name
    link = f"data:text/csv;charset=utf-8,{urllib.parse.quote(text)}"
    return (
        f'<p class="screen"><a class="button" download="{escape(name)}-vlans.csv" href="{escape(link)}">Save as a file</a></p>\n'
        + _folded(text.count("\n"), "line", f"<pre>{escape(text)}</pre>")
    )
