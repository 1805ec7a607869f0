"""Pieces of a frontier's figures: a log axis of epsilons, lines with bands, levels, and labels that do not collide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedcart.simulation.report.figure_style import LABEL_PIXELS, QUIET, RULE, label_ends, place
from fedcart.simulation.report.formats import plain

SERIES = ("#0b6b63", "#96580a", "#5b3f9e", "#1f5fa8", "#a3306b", "#5c6b1f")
"""Colours of learners, in the order of the grid; in the page each is a variable, so that dark mode has its own."""
MARKERS = ("o", "s", "D", "^", "v", "P")
HEIGHT = 264.0
"""The least; more labels than fit make a figure taller (`height`)."""
TOP, BOTTOM, LEFT, RIGHT = 12, 36, 42, 104
BEYOND = 2.2
"""Times the last epsilon: where `without noise` stands on the axis."""


@dataclass(frozen=True)
class Line:
    """One learner: points (x, mean, least, greatest), and what stands beside the last one."""

    label: str
    colour: str
    marker: str
    points: list[tuple[float, float, float, float]]
    dashed: bool = False
    beyond: float | None = None


@dataclass(frozen=True)
class Level:
    """A method without epsilon: a line across."""

    label: str
    value: float
    strong: bool = False
    colour: str = QUIET


def height(lines: Sequence[Line], levels: Sequence[Level]) -> float:
    """Pixels, so that every label has room."""
    return max(HEIGHT, TOP + BOTTOM + LABEL_PIXELS * (len(lines) + len(levels)))


def paint(axes: Any, lines: Sequence[Line], levels: Sequence[Level], xs: Sequence[float], xlabel: str) -> None:
    """Draw all of it; `xs` are the ticks."""
    place(axes, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM)
    axes.set_xscale("log")
    beyond = [line.beyond for line in lines if line.beyond is not None]
    last = xs[-1] * BEYOND if beyond else xs[-1]
    for level in levels:
        style = (0, (5, 2)) if level.strong else (0, (2, 2))
        axes.axhline(level.value, color=level.colour, linewidth=1.3 if level.strong else 1.0, linestyle=style, zorder=1)
    for line in lines:
        x, mean, low, high = zip(*line.points, strict=True)
        if low != high:
            axes.fill_between(x, low, high, color=line.colour, alpha=0.16, linewidth=0, zorder=2)
        look: dict[str, Any] = {"linestyle": (0, (3, 2)), "markerfacecolor": "none"} if line.dashed else {}
        axes.plot(x, mean, color=line.colour, marker=line.marker, markersize=6, linewidth=2, zorder=3, **look)
        if line.beyond is not None:
            axes.plot(last, line.beyond, color=line.colour, marker=line.marker, markersize=6, zorder=3, **look)
    top = max([p[3] for line in lines for p in line.points] + [level.value for level in levels] + beyond + [1e-9])
    axes.set_ylim(0, top * 1.08)
    axes.set_xlim(xs[0] / 1.25, last * 1.25)
    ticks = [*xs, last] if beyond else list(xs)
    axes.set_xticks(ticks, [*(plain(x) for x in xs), "∞"] if beyond else [plain(x) for x in xs])
    axes.minorticks_off()
    axes.yaxis.get_major_locator().set_params(nbins=6)
    axes.set_xlabel(xlabel)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    ends = [(line.beyond if line.beyond is not None else line.points[-1][1], line.label, line.colour) for line in lines]
    label_ends(axes, [*ends, *((level.value, level.label, level.colour) for level in levels)], top * 1.08)
