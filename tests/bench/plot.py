"""A plot of time against a count as an SVG, both axes logarithmic; readable on light and on dark ground.

Knows nothing of what the curves are about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 800, 480
LEFT, RIGHT, TOP, BOTTOM = 72, 196, 62, 56  # margins; the right one holds the names
NAME_HEIGHT = 17
UNITS = ((1.0, "s"), (0.001, "ms"))
COLOURS = 6

STYLE = """
svg { font: 13px system-ui, sans-serif; --ground: #fff; --ink: #1f2328; --soft: #59636e; --grid: #d9dee3;
  --c0: #0550ae; --c1: #59636e; --c2: #1a7f37; --c3: #bc4c00; --c4: #8250df; --c5: #bf3989; }
@media (prefers-color-scheme: dark) { svg { --ground: #0d1117; --ink: #e6edf3; --soft: #9198a1; --grid: #2d333b;
  --c0: #58a6ff; --c1: #9198a1; --c2: #3fb950; --c3: #f0883e; --c4: #bc8cff; --c5: #ff7bc0; } }
.ground { fill: var(--ground); } text { fill: var(--ink); } .soft { fill: var(--soft); } .title { font-size: 16px; }
.grid { stroke: var(--grid); } .curve { fill: none; stroke-width: 2; stroke-linejoin: round; } .first { stroke-width: 3.5; }
.reckoned { stroke-dasharray: 5 5; } .name { font-weight: 600; } .end { text-anchor: end; } .middle { text-anchor: middle; }
"""


@dataclass(frozen=True)
class Curve:
    """Points are (count, seconds). One that ends before others goes on with dashes, at the cost of its last point."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Axes:
    """From ``least`` to ``most`` across; upwards from and to 10 to the power of ``first`` and ``last``."""

    least: float
    most: float
    first: int
    last: int

    def x(self, value: float) -> float:
        part = math.log10(value / self.least) / math.log10(self.most / self.least)
        return round(LEFT + part * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        part = (math.log10(value) - self.first) / (self.last - self.first)
        return round(HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM), 1)


def svg(title: str, subtitle: str, what: str, curves: Sequence[Curve]) -> str:
    """The first curve is the one that it is all about; ``what`` is counted on the axis."""
    axes = _axes(curves)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        _text(LEFT, 26, title, "title"),
        _text(LEFT, 46, subtitle, "soft"),
        *_grid(axes, curves),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, what, "soft middle"),
        *(line for number, curve in enumerate(curves) for line in _curve(axes, number, curve)),
        *_names(axes, curves),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(curves: Sequence[Curve]) -> _Axes:
    counts = [count for curve in curves for count, _seconds in curve.points]
    most = max(counts)
    times = [seconds for curve in curves for _count, seconds in curve.points]
    times += [curve.points[-1][1] * most / curve.points[-1][0] for curve in curves]
    first, last = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    return _Axes(min(counts), most, first, last)


def _grid(axes: _Axes, curves: Sequence[Curve]) -> Iterable[str]:
    for decade in range(axes.first, axes.last + 1):
        y = axes.y(10.0**decade)
        yield f'<path class="grid" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
        yield _text(LEFT - 10, y + 4, _duration(10.0**decade), "soft end")
    for count in sorted({count for curve in curves for count, _seconds in curve.points}):
        x = axes.x(count)
        yield f'<path class="grid" d="M{x} {TOP}V{HEIGHT - BOTTOM}"/>'
        yield _text(x, HEIGHT - BOTTOM + 20, f"{count:,.0f}", "soft middle")


def _curve(axes: _Axes, number: int, curve: Curve) -> Iterable[str]:
    colour = f"var(--c{number % COLOURS})"
    kinds = "curve first" if number == 0 else "curve"
    end = _at_right(axes, curve)
    if len(curve.points) > 1:
        yield _line(axes, kinds, colour, curve.points)
    if end[0] > curve.points[-1][0]:
        yield _line(axes, f"{kinds} reckoned", colour, [curve.points[-1], end])
    for count, seconds in curve.points:
        yield f'<circle cx="{axes.x(count)}" cy="{axes.y(seconds)}" r="3.5" fill="{colour}"/>'


def _line(axes: _Axes, kinds: str, colour: str, points: Iterable[tuple[float, float]]) -> str:
    pairs = " ".join(f"{axes.x(count)},{axes.y(seconds)}" for count, seconds in points)
    return f'<polyline class="{kinds}" stroke="{colour}" points="{pairs}"/>'


def _names(axes: _Axes, curves: Sequence[Curve]) -> Iterable[str]:
    """At the right, at the height of each curve's end, and none over another."""
    ends = sorted((axes.y(_at_right(axes, curve)[1]), number) for number, curve in enumerate(curves))
    for y, (_end, number) in zip(_apart([end for end, _number in ends]), ends):
        style = f"fill: var(--c{number % COLOURS})"
        words = escape(curves[number].name)
        yield f'<text class="name" style="{style}" x="{WIDTH - RIGHT + 12}" y="{round(y + 4, 1)}">{words}</text>'


def _apart(heights: list[float]) -> list[float]:
    """The sorted heights, those that are too near moved away from each other."""
    for _turn in range(100 * len(heights)):
        for place in range(len(heights) - 1):
            lack = NAME_HEIGHT - (heights[place + 1] - heights[place])
            if lack > 0.1:
                heights[place] -= lack / 2
                heights[place + 1] += lack / 2
    return heights


def _at_right(axes: _Axes, curve: Curve) -> tuple[float, float]:
    count, seconds = curve.points[-1]
    most = axes.most
    return most, seconds * most / count


def _text(x: float, y: float, words: str, kinds: str) -> str:
    return f'<text class="{kinds}" x="{x}" y="{y}">{escape(words)}</text>'


def _duration(seconds: float) -> str:
    scale, short = next((size, name) for size, name in UNITS if seconds >= size or size == UNITS[-1][0])
    return f"{seconds / scale:,.0f} {short}"
