"""How every figure is drawn: one palette, one size of type, and SVG text that is the same bytes on every machine.

Figures are drawn in the light palette. In the page the colours become CSS variables, so one drawing serves light
and dark; ids get the figure's name in front, so several drawings can share a page.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

PAPER, INK, QUIET, RULE, GREY, ACCENT, LOSS = (
    "#fcfcfa",
    "#1d2126",
    "#5c646d",
    "#d9dcda",
    "#9aa3ab",
    "#0b6b63",
    "#b4451f",
)
VARIABLES = {
    PAPER: "--paper",
    INK: "--ink",
    QUIET: "--quiet",
    RULE: "--rule",
    GREY: "--grey",
    ACCENT: "--accent",
    LOSS: "--loss",
}
WIDTH = 396
"""Of a figure in CSS pixels: a third of the desktop page and all of a phone's, so type is the same size on both."""
LABEL_PIXELS = 13.0
"""Between two labels at the ends of lines."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 11.0,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 1.0,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 11.0,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "text.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


def draw(identity: str, height: float, paint: Callable[[Any], None]) -> str:
    """An SVG document, WIDTH x height; `paint` gets the axes. Same run, same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {**dict(mpl.rcParamsDefault), **STYLE, "svg.hashsalt": f"fedcart-{identity}"}
    with mpl.rc_context(settings):
        figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        paint(axes)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def place(axes: Any, *, left: float, right: float, top: float, bottom: float) -> None:
    """Margins in CSS pixels."""
    width, height = (side * 72 for side in axes.figure.get_size_inches())
    axes.set_position((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))


def label_ends(axes: Any, ends: Sequence[tuple[float, str, str]], top: float) -> None:
    """Labels at the right, each beside the end of its line as far as the others leave room.

    Args:
      ends: value, label, colour; the axis goes from 0 to `top`, and the axes have their place.
    """
    inside = axes.get_position().height * axes.figure.get_size_inches()[1] * 72
    for at, label, colour in spread([(value / top * inside, label, colour) for value, label, colour in ends], inside):
        axes.annotate(
            label, (1, at / inside), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points",
            va="center", color=colour, fontsize=10,
        )  # fmt: skip


def spread(wanted: Sequence[tuple[float, str, str]], room: float) -> list[tuple[float, str, str]]:
    """Move labels apart: at least LABEL_PIXELS between two, none above `room`, order kept."""
    found: list[tuple[float, str, str]] = []
    for at, label, colour in sorted(wanted):
        least = found[-1][0] + LABEL_PIXELS if found else 0.0
        found.append((max(at, least), label, colour))
    above = room
    for index in range(len(found) - 1, -1, -1):
        at, label, colour = found[index]
        found[index] = (min(at, above), label, colour)
        above = found[index][0] - LABEL_PIXELS
    return found


def inline(svg: str, identity: str, title: str, description: str) -> str:
    """The drawing as an element of the page: named for screen readers, coloured by the page, ids its own."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'\bid="', f'id="{identity}-', body)
    body = re.sub(r'(href="#|url\(#)', rf"\g<1>{identity}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    size = re.search(r'viewBox="[^"]*"', body)
    names = f'aria-labelledby="{identity}-title {identity}-desc"'
    head = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" class="figure" '
        f'{size.group() if size else ""} role="img" {names}>'
        f'<title id="{identity}-title">{escape(title)}</title><desc id="{identity}-desc">{escape(description)}</desc>'
    )
    return head + body[body.index(">") + 1 :]
