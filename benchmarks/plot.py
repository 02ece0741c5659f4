"""Curves over two logarithmic axes, as SVG that stands on its own in light and dark pages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 300, 260
LEFT, RIGHT, TOP, BOTTOM = 44, 20, 40, 42
COLOURS = ("#c0392b", "#d68910", "#1e8449", "#2471a3")
FONT = "font-family='system-ui, sans-serif' font-size='11'"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y), both above 0, in order of x."""

    label: str
    colour: int
    dashed: bool
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes."""

    title: str
    x_title: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """From whole powers of ten to pixels."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[int]:
        return list(range(self.low, self.high + 1))


def draw(panels: Sequence[Panel], legend: Sequence[Curve]) -> str:
    """The panels side by side, the legend below. legend: curves whose points are not looked at."""
    width, height = WIDTH * len(panels), HEIGHT + 28
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' {FONT}>",
        f"<rect width='{width}' height='{height}' fill='#ffffff'/>",
    ]
    for place, panel in enumerate(panels):
        parts += [f"<g transform='translate({place * WIDTH} 0)'>", *_panel(panel), "</g>"]
    parts += _legend(legend, HEIGHT + 14)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel) -> list[str]:
    xs = [x for curve in panel.curves for x, _ in curve.points]
    ys = [y for curve in panel.curves for _, y in curve.points]
    x_axis = _axis(xs, LEFT, WIDTH - RIGHT)
    y_axis = _axis(ys, HEIGHT - BOTTOM, TOP)
    parts = [_text(LEFT, 20, panel.title, "start", "bold"), _text(WIDTH - RIGHT, HEIGHT - 8, panel.x_title, "end")]
    for power in x_axis.ticks:
        x = x_axis.at(10**power)
        parts.append(_line(x, TOP, x, HEIGHT - BOTTOM))
        parts.append(_text(x, HEIGHT - BOTTOM + 15, _number(power), "middle"))
    for power in y_axis.ticks:
        y = y_axis.at(10**power)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y))
        parts.append(_text(LEFT - 5, y + 4, _number(power), "end"))
    for curve in panel.curves:
        points = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in curve.points)
        parts.append(f"<polyline points='{points}' {_stroke(curve)}><title>{escape(curve.label)}</title></polyline>")
    return parts


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return _Axis(low, max(high, low + 1), start, end)


def _legend(curves: Sequence[Curve], y: float) -> list[str]:
    parts = []
    x = float(LEFT)
    for curve in curves:
        parts.append(f"<polyline points='{x:.0f},{y - 4} {x + 24:.0f},{y - 4}' {_stroke(curve)}/>")
        parts.append(_text(x + 30, y, curve.label, "start"))
        x += 50 + 7 * len(curve.label)
    return parts


def _stroke(curve: Curve) -> str:
    dashes = " stroke-dasharray='5 4'" if curve.dashed else ""
    return f"fill='none' stroke='{COLOURS[curve.colour % len(COLOURS)]}' stroke-width='1.8'{dashes}"


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='#dddddd'/>"


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-weight='{weight}'"
    return f"<text {place} fill='#222222'>{escape(text)}</text>"


def _number(power: int) -> str:
    for letter, places in (("M", 6), ("k", 3)):
        if power >= places:
            return f"{10 ** (power - places)}{letter}"
    return f"{10.0**power:g}"
