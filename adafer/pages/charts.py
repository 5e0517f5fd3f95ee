"""Charts as SVG, for pages in light and dark: their colours are the page's."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Point", "bars", "curves", "scatter"]

N_COLOURS = 8  # of classes, that report.css names
_FONT = 13


@dataclass(frozen=True)
class Point:
    """One point of a map.

    Attributes
    ----------
    x, y : float
    group : int
        Class, gives colour and shape.
    tip : str
        What is shown when it is pointed at; lines end in a newline.
    hollow : bool
        Drawn as an outline.
    face : str
        A picture as ``data:`` address, or empty.
    """

    x: float
    y: float
    group: int
    tip: str
    hollow: bool = False
    face: str = ""


def bars(values: Mapping[str, float], label: str, *, texts: Sequence[str] | None = None) -> str:
    """Draw horizontal bars.

    Parameters
    ----------
    values : dict of str -> float
        Not negative, by the name at the left.
    label : str
        What the chart shows, for those who do not see it.
    texts : sequence of str, optional
        What is written beside the bars; by default the values.

    Returns
    -------
    svg : str
    """
    names = list(values)
    texts = [f"{value:g}" for value in values.values()] if texts is None else texts
    left = min(8 + max((_width(name) for name in names), default=0), 260)
    width, row = left + 340, 24
    longest = max(values.values(), default=0) or 1
    parts = []
    for number, (name, value, text) in enumerate(zip(names, values.values(), texts, strict=True)):
        y = number * row
        length = 260 * value / longest
        parts.append(
            f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{_short(name, 36)}</text>'
            f'<rect class="bar" x="{left}" y="{y + 3}" width="{length:.1f}" height="{row - 6}"/>'
            f'<text x="{left + length + 6:.1f}" y="{y + 16}">{html.escape(text)}</text>'
        )
    return _svg(width, row * len(names), label, "".join(parts))


def curves(
    series: Mapping[str, NDArray[np.float64]], stages: Sequence[str], label: str, name: str
) -> str:
    """Draw lines over the epochs that have values, parted where another stage begins.

    Parameters
    ----------
    series : dict of str -> ndarray of float64 of shape (n_epochs,)
        NaN where there is no value; all on one scale.
    stages : sequence of str of length n_epochs
    label : str
        What the chart shows, for those who do not see it.
    name : str
        Written above.

    Returns
    -------
    svg : str
    """
    width, height, left, right, top, bottom = 400, 240, 52, 12, 30, 40
    first = min(int(np.isfinite(values).argmax()) for values in series.values())
    series = {line: values[first:] for line, values in series.items()}
    stages = stages[first:]
    n = len(stages)
    known = np.concatenate([values[np.isfinite(values)] for values in series.values()])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    low = min(low, 0.0) if low < 0.3 * high else low
    high = high if high > low else low + 1
    plot_width, plot_height = width - left - right, height - top - bottom

    def x(epoch: float) -> float:
        return left + plot_width * ((epoch + 0.5) / n)

    def y(value: float) -> float:
        return top + plot_height * (1 - (value - low) / (high - low))

    parts = [f'<text class="name" x="{left}" y="18">{html.escape(name)}</text>']
    for tick in _ticks(low, high):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" '
            f'y2="{y(tick):.1f}"/><text class="quiet" x="{left - 6}" y="{y(tick) + 4:.1f}" '
            f'text-anchor="end">{tick:g}</text>'
        )
    starts = [0, *(i for i in range(1, n) if stages[i] != stages[i - 1]), n]
    for start, end in pairwise(starts):
        if start:
            at = left + plot_width * start / n
            parts.append(
                f'<line class="border" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" '
                f'y2="{top + plot_height}"/>'
            )
        middle = left + plot_width * (start + end) / 2 / n
        parts.append(
            f'<text class="quiet" x="{middle:.1f}" y="{height - 8}" text-anchor="middle">'
            f"{_short(stages[start], 14)}</text>"
        )
    step = max(1, math.ceil(n / 8))
    for epoch in range(0, n, step):
        parts.append(
            f'<text class="quiet" x="{x(epoch):.1f}" y="{height - 24}" text-anchor="middle">'
            f"{first + epoch + 1}</text>"
        )
    for number, (line, values) in enumerate(series.items()):
        shown = [(x(i), y(value), i, value) for i, value in enumerate(values) if np.isfinite(value)]
        group = number % N_COLOURS
        for start, end in pairwise(starts):
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b, i, _ in shown if start <= i < end)
            parts.append(f'<polyline class="line s{group}" points="{path}"/>')
        parts += [
            f'<circle class="dot f{group}" cx="{a:.1f}" cy="{b:.1f}" r="3.5" '
            f"{_tip(f'{line} {value:.4g}{chr(10)}epoch {first + i + 1}, {stages[i]}')}/>"
            for a, b, i, value in shown
        ]
    return _svg(width, height, label, "".join(parts), hover=True)


def scatter(points: Sequence[Point], groups: Sequence[str], label: str) -> str:
    """Draw a map of points with a legend of their groups.

    Parameters
    ----------
    points : sequence of Point
    groups : sequence of str
        Their names.
    label : str
        What the chart shows, for those who do not see it.

    Returns
    -------
    svg : str
    """
    width, height, margin = 720, 520, 16
    places = np.array([[point.x, point.y] for point in points])
    low, spread = places.min(axis=0), np.ptp(places, axis=0)
    scaled = (places - low) / np.where(spread > 0, spread, 1)
    scaled = margin + scaled * [width - 2 * margin, height - 2 * margin]
    marks = []
    for point, (x, y) in zip(points, scaled.tolist(), strict=True):
        face = f' data-face="{html.escape(point.face)}"' if point.face else ""
        marks.append(
            f'<path class="dot {_colour(point.group, hollow=point.hollow)}"{face} '
            f'{_tip(point.tip)} d="{_shape(point.group, x, y, 5)}"/>'
        )
    legend = "".join(
        f'<li><svg viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">'
        f'<path class="{_colour(number)}" d="{_shape(number, 7, 7, 5)}"/></svg> '
        f"{html.escape(name)}</li>"
        for number, name in enumerate(groups)
    )
    frame = f'<rect class="frame" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6"/>'
    return (
        f'<ul class="legend">{legend}</ul>'
        f"{_svg(width, height, label, frame + ''.join(marks), hover=True)}"
    )


def _svg(width: float, height: float, label: str, content: str, *, hover: bool = False) -> str:
    # those that can be hovered are walked through by the arrow keys, too
    keys = ' tabindex="0" data-hover=""' if hover else ""
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width:g}px"{keys}>{content}</svg>'
    )


def _tip(text: str) -> str:
    return f'data-tip="{html.escape(text)}"'


def _width(name: str) -> float:
    return 0.6 * _FONT * min(len(name), 36)


def _short(name: str, limit: int) -> str:
    return html.escape(name if len(name) <= limit else name[: limit - 1] + "…")


def _colour(group: int, *, hollow: bool = False) -> str:
    return f"{'s' if hollow else 'f'}{group % N_COLOURS}"


def _shape(group: int, x: float, y: float, r: float) -> str:
    """Outline of the group's mark: circle, square or a triangle, so that colour is not all."""
    corners = (0, 4, 3, -3)[(group + group // N_COLOURS) % 4]
    if corners == 0:
        return f"M{x - r:.1f},{y:.1f}a{r},{r} 0 1 0 {2 * r},0a{r},{r} 0 1 0 {-2 * r},0z"
    turn = math.pi / 4 if corners == 4 else (-math.pi / 2 if corners != -3 else math.pi / 2)
    r *= 1.2
    angles = [turn + 2 * math.pi * i / abs(corners) for i in range(abs(corners))]
    places = [f"{x + r * math.cos(a):.1f},{y + r * math.sin(a):.1f}" for a in angles]
    return f"M{'L'.join(places)}z"


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two."""
    rough = (high - low) / 4
    step = 10 ** math.floor(math.log10(rough))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if factor * step >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]
