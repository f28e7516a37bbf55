# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The topology as a drawing in a page: SVG, its colours, and the style of the page around it. Pure.

From left to right: the trunk as a bar, its sub-interfaces, their networks, their endpoints. Each sub-interface is a drawing
of its own, as high as it needs. Put one under the other they are one, which can be cut between any two when it is printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import count

from ansible_collections.netops.underlay.plugins.plugin_utils.topology import (
    HINT,
    PROBLEM,
    TRUNK,
    Endpoint,
    Network,
    Parent,
    Subnet,
    Topology,
    Trunk,
    Use,
    trunk_words,
)

# Light and dark. Text has a contrast of at least 4.5 on its ground, lines that mean something of 3 (WCAG 2.1, 1.4.3, 1.4.11).
COLOURS = {
    "ground": ("#f5f6f8", "#0e1218"),
    "card": ("#ffffff", "#181d26"),
    "ink": ("#1a1f26", "#e8ebf0"),
    "muted": ("#57606a", "#9da7b5"),
    "line": ("#d3d9e0", "#333c49"),
    "wire": ("#818b98", "#6c7786"),
    "accent": ("#2356c2", "#8ab0ff"),
    "on-accent": ("#ffffff", "#0e1218"),
    "problem": ("#b3261e", "#ff9088"),
    "problem-ground": ("#fdecea", "#3a1a1a"),
    "hint": ("#855400", "#f2bf63"),
    "hint-ground": ("#fff3d6", "#33260c"),
    "ok": ("#176c33", "#6fd497"),
    "ok-ground": ("#e6f5ea", "#12291b"),
    "reserved": ("#7d57c2", "#b79cf0"),
    "cooling": ("#6b7785", "#8793a3"),
}


def _variables(which: int) -> str:
    return "".join(f"--{name}:{pair[which]};" for name, pair in COLOURS.items())


STYLE = (
    f":root{{color-scheme:light dark;{_variables(0)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(1)}}}}}\n"
    """*{box-sizing:border-box}
html{scroll-behavior:smooth}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0 auto;padding:2rem 1.5rem 4rem;max-width:78rem;background:var(--ground);color:var(--ink);
  font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.75rem;line-height:1.2;margin:0}
h2{font-size:1.15rem;margin:0 0 .75rem}
header p{margin:.25rem 0 0}
section{margin-top:2.25rem}
.muted{color:var(--muted)}
.small{font-size:.85em}
.mono,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.9em}
strong.hint,.small.hint{color:var(--hint)}
strong.problem,.small.problem{color:var(--problem)}
ul{list-style:none;margin:0;padding:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.75rem;margin-top:1.5rem}
.tiles li{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
.tiles .value{display:block;font-size:1.5rem;font-weight:650;line-height:1.25}
.tiles .label{color:var(--muted)}
.tiles .problem .value{color:var(--problem)}
.tiles .hint .value{color:var(--hint)}
.tiles .ok .value{color:var(--ok)}
.findings{display:grid;gap:.5rem}
.finding{margin:0;padding:.6rem .9rem;border-radius:.5rem;border-left:4px solid;display:flex;gap:.9rem;align-items:baseline;
  break-inside:avoid}
.finding strong{flex:none;min-width:5.6rem}
.finding a{margin-left:auto;color:inherit}
.finding.problem{background:var(--problem-ground);border-color:var(--problem)}
.finding.hint{background:var(--hint-ground);border-color:var(--hint)}
.finding.ok{background:var(--ok-ground);border-color:var(--ok)}
.finding.problem strong{color:var(--problem)}
.finding.hint strong{color:var(--hint)}
.finding.ok strong{color:var(--ok)}
.overview p{margin:0 0 .35rem;font-weight:600}
.overview div{display:flex;flex-wrap:wrap;gap:.3rem;margin-bottom:1.25rem}
.overview a{min-width:3.4rem;padding:.15rem .4rem;text-align:center;border-radius:.35rem;border:1px solid var(--line);
  background:var(--card);color:var(--ink);text-decoration:none;font-variant-numeric:tabular-nums;font-size:.85rem}
.overview a:hover,.overview a:focus-visible{outline:2px solid var(--accent)}
.overview .problem{background:var(--problem-ground);border-color:var(--problem);color:var(--problem);font-weight:650}
.overview .hint{background:var(--hint-ground);border-color:var(--hint);color:var(--hint);font-weight:650}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}
.drawing{padding:1rem}
.drawing+.drawing{margin-top:1rem}
.drawing li{break-inside:avoid;scroll-margin-top:1rem}
.drawing li:target{outline:2px solid var(--accent);outline-offset:2px;border-radius:.4rem}
.drawing svg{display:block;width:100%;min-width:56rem;height:auto;overflow:visible}
svg text{fill:var(--ink);font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
svg .name{font-weight:700;font-size:14px}
svg .soft{fill:var(--muted);font-size:12px}
svg .big{font-weight:700;font-size:17px}
svg .box{fill:var(--card);stroke:var(--wire)}
svg .chip{fill:var(--ground);stroke:var(--line)}
svg .waiting{stroke:var(--hint);stroke-dasharray:4 3}
svg .bar{fill:var(--accent)}
svg .on{fill:var(--on-accent);font-weight:700;font-size:15px;text-anchor:middle}
svg .tiny{fill:var(--on-accent);font-size:9px;letter-spacing:.08em;text-anchor:middle}
svg .wire{fill:none;stroke:var(--wire);stroke-width:1.5}
svg .wire.problem{stroke:var(--problem);stroke-dasharray:5 4;stroke-width:2}
svg .wire.hint{stroke:var(--hint)}
svg .box.problem{stroke:var(--problem);stroke-width:2}
svg .box.hint{stroke:var(--hint);stroke-width:2}
svg text.problem{fill:var(--problem)}
svg text.hint{fill:var(--hint)}
svg text.ok{fill:var(--ok)}
h3{margin:0}
svg .rest{fill:var(--line)}
svg .held{fill:var(--accent)}
svg .reserved{fill:var(--reserved)}
svg .cooling{fill:var(--cooling)}
.key{display:inline-block;width:.7rem;height:.7rem;border-radius:.15rem;margin:0 .35rem 0 .9rem;print-color-adjust:exact}
.key:first-child{margin-left:0}
.key.held{background:var(--accent)}
.key.reserved{background:var(--reserved)}
.key.cooling{background:var(--cooling)}
table{border-collapse:collapse;width:100%}
caption{text-align:left;color:var(--muted);padding:.6rem .9rem;font-size:.9em}
caption:empty{display:none}
th,td{text-align:left;padding:.4rem .9rem;border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
th,th.mono{font-weight:600;color:var(--muted);font-family:inherit;font-size:.9em;white-space:nowrap}
tr{break-inside:avoid}
tbody tr:hover{background:var(--ground)}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td svg{display:block;width:8rem;height:.75rem;margin-top:.4rem}
summary{cursor:pointer;color:var(--muted);margin-bottom:.5rem}
pre{margin:0;padding:.9rem;overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}
a{color:var(--accent)}
.button{display:inline-block;padding:.35rem .9rem;border-radius:.45rem;background:var(--accent);color:var(--on-accent);
  text-decoration:none}
p{margin:0 0 .75rem}
@media print{
  @page{size:A4 landscape;margin:12mm}
  body{background:none;padding:0;max-width:none;font-size:11px}
  .screen,.overview,summary{display:none}
  .wide{overflow:visible;border:none}
  .drawing svg{min-width:0}
  details::details-content{content-visibility:visible;block-size:auto}
  .finding,.tiles li{print-color-adjust:exact}
  thead{display:table-header-group}
}
"""
)

# Where the columns of the drawing begin and how wide they are, in its own unit, which is a pixel where there is room.
WIDTH = 1180
BAR, BAR_WIDTH = 10, 8
PARENT, PARENT_WIDTH, PARENT_HEIGHT, BADGE = 50, 196, 44, 54
NETWORK, NETWORK_WIDTH, USE_WIDTH = 288, 372, 130
ENDPOINT, ENDPOINT_WIDTH, PER_LINE = 700, 235, 2
GAP = 10  # between boxes
APART = 16  # between sub-interfaces
LINE = 17  # of text
# The sizes of letters, as the style has them, and how much of it one is wide (DejaVu Sans Mono; less in others).
TEXT, NAME, SOFT, BIG = 13, 14, 12, 17
LETTER = 0.602
SHOWN = 12  # endpoints of a network; the list has them all
LARGE = 24  # sub-interfaces, from which on an overview comes first


def grouped(many: int) -> str:
    """A number with thin spaces between thousands."""
    return f"{many:,}".replace(",", "\u202f")


def number(many: int) -> str:
    """A number of addresses; what IPv6 has of them is rounded."""
    return grouped(many) if many < 10**7 else f"{many:.1e}".replace("e+", "e")


def fitting(text: str, width: float, size: int = TEXT) -> str:
    """As much of a text as has room."""
    room = int(width / (size * LETTER))
    return text if len(text) <= room else text[: max(room - 1, 0)] + "\u2026"


def _text(x: float, y: float, text: str, style: str = "", width: float = 0, size: int = TEXT) -> str:
    short = fitting(text, width, size) if width else text
    full = f"<title>{escape(text)}</title>" if short != text else ""
    return f'<text x="{x:g}" y="{y:g}"' + (f' class="{style}"' if style else "") + f">{full}{escape(short)}</text>"


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" class="{style}"/>'


def _wire(x: float, y: float, to_x: float, to_y: float, style: str = "") -> str:
    middle = (x + to_x) / 2
    return f'<path class="wire {style}" d="M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"/>'


def use_parts(use: Use, width: float) -> Iterator[tuple[str, float, float]]:
    """What of a bar is held, reserved and cooling: kind, place and width. What there is at all can be seen."""
    at = 0.0
    for kind, many in (("held", use.held), ("reserved", use.reserved), ("cooling", use.cooling)):
        if many:
            part = min(max(many / use.size * width, 1.5), width - at)
            yield kind, at, part
            at += part


def use_bar(use: Use) -> str:
    parts = "".join(
        f'<rect class="{kind}" x="{at:.1f}" width="{part:.1f}" height="12"/>' for kind, at, part in use_parts(use, 128)
    )
    words = f"{number(use.used)} of {number(use.size)} in use"
    return (
        f'<svg viewBox="0 0 128 12" preserveAspectRatio="none" role="img" aria-label="{words}">'
        f'<rect class="rest" width="128" height="12"/>{parts}</svg>'
    )


# --- the drawing ----------------------------------------------------------------------------------------------


def overview(topology: Topology) -> str:
    """Where there are many sub-interfaces: each by its VLAN id, as a link to its drawing."""
    if len(topology.parents) < LARGE:
        return ""
    marks = {PROBLEM: "\u2715\u00a0", HINT: "!\u00a0", "": ""}
    numbers = count()
    return (
        '<nav class="overview" aria-label="Sub-interfaces">'
        + "".join(
            f"<p>{escape(', '.join(trunk_words(trunk)))}</p><div>"
            + "".join(
                f'<a href="#p{next(numbers)}" class="{parent.severity}" title="{escape(parent.name)}">'
                f"{marks[parent.severity]}{escape(str(parent.vlan_id or parent.name or 'endpoints'))}</a>"
                for parent in trunk.parents
            )
            + "</div>"
            for trunk in topology.trunks
        )
        + "</nav>\n"
    )


def picture(topology: Topology) -> str:
    numbers = count()
    return "\n".join(
        f'<div class="wide drawing">{_heading(trunk)}\n<ul>\n'
        + "\n".join(
            f'<li id="p{(index := next(numbers))}">{_row(parent, f"p{index}", trunk, parent is trunk.parents[-1])}</li>'
            for parent in trunk.parents
        )
        + "\n</ul></div>"
        for trunk in topology.trunks
    )


def _heading(trunk: Trunk) -> str:
    """The top of the bar, with the name of the trunk."""
    name, words = trunk_words(trunk)
    vlans = sum(parent.vlan_id is not None for parent in trunk.parents)
    if trunk.kind == TRUNK and vlans:
        words += f", {vlans} VLAN" + ("s" if vlans != 1 else "")
    if trunk.switch:
        words += f"; {trunk.switch}"
    top = f'<rect class="bar" x="{BAR}" y="6" width="{BAR_WIDTH}" height="36" rx="3"/>' if trunk.kind == TRUNK else ""
    start = BAR + BAR_WIDTH + 14 if top else BAR
    after = start + (len(name) * BIG + SOFT) * LETTER
    return (
        f'<h3><svg viewBox="0 0 {WIDTH} 36" role="img" aria-label="{escape(name)}, {escape(words)}">{top}'
        f"{_text(start, 23, name, 'big')}{_text(after, 23, words, 'soft', WIDTH - after, SOFT)}</svg></h3>"
    )


def _row(parent: Parent, name: str, trunk: Trunk, last: bool) -> str:
    """One sub-interface and all that hangs on it."""
    parts = []
    at: float = APART / 2
    places = []
    for network in parent.networks:
        drawn, height = _network(network, at)
        parts.append(drawn)
        places.append((network, at + height / 2))
        at += height + GAP
    height = at - GAP + APART / 2
    middle = (places[0][1] + places[-1][1]) / 2
    wires = []
    start = BAR + BAR_WIDTH
    if parent.name:
        for network, y in places:
            wires.append(_wire(PARENT + PARENT_WIDTH, middle, NETWORK, y, network.severity))
        if trunk.kind == TRUNK:
            wires.append(_wire(start, middle, PARENT, middle, parent.severity))
        parts.append(_parent(parent, middle - PARENT_HEIGHT / 2))
    if trunk.kind == TRUNK:
        # The pieces of the bar overlap, so that no gap shows where they meet.
        wires.append(
            f'<rect class="bar" x="{BAR}" y="-1" width="{BAR_WIDTH}" height="{(middle + 5 if last else height + 2):g}" rx="1"/>'
        )
    title = f"{parent.name}, {parent.tag}" if parent.name else "endpoints"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="{name}-t" aria-describedby="{name}-d"><title id="{name}-t">'
        f'{escape(title)}</title><desc id="{name}-d">{escape(_description(parent))}</desc>{"".join(wires)}{"".join(parts)}</svg>'
    )


def _description(parent: Parent) -> str:
    """What is drawn, for those who do not see it."""
    words = []
    for network in parent.networks:
        subnets = [f"{one.subnet} with gateway {one.gateway}" if one.gateway else one.subnet for one in network.subnets]
        words.append(
            f"Network {', '.join([network.name, network.kind, *subnets])}: {len(network.endpoints)} endpoints."
        )
        words += [f"{finding.severity}: {finding.words}." for finding in network.findings]
    return " ".join(words)


def _parent(parent: Parent, y: float) -> str:
    """A sub-interface: what is on the wire on a dark ground, its name beside it."""
    x = PARENT + 12
    parts = [_box(PARENT, y, PARENT_WIDTH, PARENT_HEIGHT, f"box {parent.severity}")]
    words = parent.tag
    if parent.vlan_id is not None:
        middle = PARENT + 4 + BADGE / 2
        parts.append(
            f'<rect class="bar" x="{PARENT + 4}" y="{y + 4:g}" width="{BADGE}" height="{PARENT_HEIGHT - 8}" rx="4"/>'
        )
        parts.append(_text(middle, y + 15, "VLAN", "tiny") + _text(middle, y + 32, str(parent.vlan_id), "on"))
        x += BADGE
        words = parent.tag.partition(f"VLAN {parent.vlan_id} ")[2]
    room = PARENT + PARENT_WIDTH - 8 - x
    parts.append(_text(x, y + (19 if words else 27), parent.name, "name", room, NAME))
    if words:
        parts.append(_text(x, y + 35, words, "soft", room, SOFT))
    return "".join(parts)


def _network(network: Network, y: float) -> tuple[str, float]:
    """A network with its endpoints, and the height of both."""
    marks = {PROBLEM: "\u2715", HINT: "!", "": "\u2713" if network.verified else ""}
    subnets = [_subnet(subnet, NETWORK_WIDTH - 24) for subnet in network.subnets]
    card = 34 + sum(height for _drawn, height in subnets)
    drawn, height = _endpoint_list(network.endpoints)
    whole = max(card, height, PARENT_HEIGHT)
    top = y + (whole - card) / 2
    inside = NETWORK_WIDTH - 24
    parts = [_box(NETWORK, top, NETWORK_WIDTH, card, f"box {network.severity}")]
    room = inside - 30 - (len(network.kind) + 1) * SOFT * LETTER
    end = NETWORK + 12 + len(fitting(network.name, room, NAME)) * NAME * LETTER
    parts.append(_text(NETWORK + 12, top + 20, network.name, "name", room, NAME))
    parts.append(_text(end + 10, top + 20, network.kind, "soft"))
    mark = marks[network.severity]
    if mark:
        parts.append(_text(NETWORK + NETWORK_WIDTH - 20, top + 20, mark, f"name {network.severity or 'ok'}"))
    place = top + 26
    for subnet, subnet_height in subnets:
        parts.append(f'<g transform="translate({NETWORK + 12} {place:g})">{subnet}</g>')
        place += subnet_height
    if drawn:
        start = y + (whole - height) / 2
        parts.append(f'<path class="wire" d="M{NETWORK + NETWORK_WIDTH} {y + whole / 2:g}H{ENDPOINT - 10}"/>')
        parts.append(f'<rect class="rest" x="{ENDPOINT - 11}" y="{start:g}" width="3" height="{height:g}" rx="1.5"/>')
        parts.append(f'<g transform="translate(0 {start:g})">{drawn}</g>')
    return "".join(parts), whole


def _subnet(subnet: Subnet, width: float) -> tuple[str, float]:
    """Subnet and gateway, beside each other if there is room, and under them how full it is; from 0 on, and the height."""
    gateway = f"gw {subnet.gateway}" if subnet.gateway else "no gateway"
    both = f"{subnet.subnet} \u00b7 {gateway}"
    lines = [both] if fitting(both, width) == both else [subnet.subnet, gateway]
    if subnet.ip_range:
        lines.append(f"range {subnet.ip_range}")
    parts = [_text(0, 12 + LINE * index, line, "soft" if index else "", width) for index, line in enumerate(lines)]
    y = LINE * len(lines)
    if subnet.use:
        parts.append(f'<rect class="rest" x="0" y="{y + 2}" width="{USE_WIDTH}" height="7" rx="1"/>')
        parts += [
            f'<rect class="{kind}" x="{at:.1f}" y="{y + 2}" width="{part:.1f}" height="7" rx="1"/>'
            for kind, at, part in use_parts(subnet.use, USE_WIDTH)
        ]
        words = f"{number(subnet.use.used)} used, {number(subnet.use.free)} free"
        parts.append(_text(USE_WIDTH + 10, y + 10, words, "soft", width - USE_WIDTH - 10, SOFT))
        y += LINE - 4
    return "".join(parts), y + 2


def _endpoint_list(endpoints: Sequence[Endpoint]) -> tuple[str, float]:
    """The boxes of a network's endpoints from y=0 on, and their height."""
    shown = endpoints[:SHOWN]
    if not shown:
        return "", 0
    lines = max([1, *(len(one.addresses) for one in shown)])
    high = 26 + LINE * lines
    parts = []
    for index, one in enumerate(shown):
        x = ENDPOINT + (index % PER_LINE) * (ENDPOINT_WIDTH + GAP)
        y = (index // PER_LINE) * (high + GAP)
        parts.append(_endpoint(one, x, y, high))
    height = (-(-len(shown) // PER_LINE)) * (high + GAP) - GAP
    if len(endpoints) > SHOWN:
        words = f"and {len(endpoints) - SHOWN} more, listed under Endpoints"
        parts.append(_text(ENDPOINT + 4, height + 18, words, "soft"))
        height += 26
    return "".join(parts), height


def _endpoint(one: Endpoint, x: float, y: float, high: float) -> str:
    inside = ENDPOINT_WIDTH - 20
    waiting = one.state == "waiting"
    name = fitting(one.name, inside * 0.6, NAME)
    at = (len(name) * NAME + SOFT) * LETTER
    words = "waiting" if waiting else one.target
    return (
        f"<g><title>{escape(', '.join(filter(None, (one.name, *one.addresses, one.target, one.state))))}</title>"
        + _box(x, y, ENDPOINT_WIDTH, high, "chip waiting" if waiting else "chip")
        + _text(x + 10, y + 18, name, "name")
        + _text(x + 10 + at, y + 18, fitting(words, inside - at, SOFT), "soft hint" if waiting else "soft")
        + "".join(
            _text(x + 10, y + 18 + LINE * (index + 1), fitting(address, inside))
            for index, address in enumerate(one.addresses)
        )
        + "</g>"
    )
