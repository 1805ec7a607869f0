"""The figures of the report, each with the sentence that says the same for those who cannot see it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fedcart.simulation.report.figure_style import ACCENT, GREY, INK, LOSS, PAPER, QUIET, RULE, draw, label_ends, place
from fedcart.simulation.report.formats import noun, percent, score
from fedcart.simulation.report.methods import (
    METRIC,
    bars,
    best_pooled,
    name,
    result,
    short_name,
    value,
)

Json = dict[str, Any]
IDENTITIES = frozenset({"methods", "stores", "learning_curve", "long_tail"})
"""File names of all figures there can be."""
MOST_NAMED_STORES = 14
MARGIN = 148
"""Pixels for names at the left."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure: identity is its file name, `svg` a whole document, title and description its text."""

    identity: str
    title: str
    description: str
    svg: str


def drawings(run: Json) -> Iterator[Drawing]:
    """All figures this run has the numbers for."""
    for make in (_methods, _stores, _learning_curve, _long_tail):
        drawing = make(run)
        if drawing is not None:
            yield drawing


def _methods(run: Json) -> Drawing | None:
    """Bars with whiskers, one a method."""
    metrics, shown = run["metrics"], list(bars(run))
    if not shown:
        return None
    results = [result(metrics, method) or {} for method in shown]
    means = [float(r["full"][METRIC]) for r in results]
    bounds = [(r["ci95"] or {}).get(METRIC, (m, m)) for r, m in zip(results, means, strict=True)]

    def paint(axes: Any) -> None:
        rows = range(len(shown))
        place(axes, left=MARGIN, right=46, top=4, bottom=22)
        colours = [ACCENT if method == "federated" else GREY for method in shown]
        axes.barh(rows, means, height=0.58, color=colours)
        for row, mean, (low, high) in zip(rows, means, bounds, strict=True):
            axes.plot([low, high], [row, row], color=INK, linewidth=1.4, solid_capstyle="butt")
            axes.plot(
                [low, low, None, high, high],
                [row - 0.13, row + 0.13, None, row - 0.13, row + 0.13],
                color=INK,
                linewidth=1.4,
            )
            axes.annotate(
                score(mean),
                (max(mean, high), row),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                fontsize=11,
                fontweight="bold" if shown[row] == "federated" else "normal",
                color=ACCENT if shown[row] == "federated" else INK,
            )
        axes.set_yticks(rows, [short_name(run, method) for method in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        _from_zero(axes, max(high for _, high in bounds))

    words = "; ".join(
        f"{name(run, m)} {score(mean)} ({score(low)} to {score(high)})"
        for m, mean, (low, high) in zip(shown, means, bounds, strict=True)
    )
    return Drawing("methods", "NDCG@10 by method", words, draw("methods", 22 + 34 * max(len(shown), 5), paint))


def _stores(run: Json) -> Drawing | None:
    """Dumbbells alone → together, smallest store first; names while they fit."""
    stores = [s for s in run["metrics"]["stores"] if None not in (s["alone"], s["together"])]
    if not stores:
        return None
    stores = sorted(stores, key=lambda s: (s["customers"], s["store"]))
    lost = sum(s["together"] < s["alone"] for s in stores)
    words = f"{noun(len(stores), 'store')}, smallest first; {lost} rank worse together than alone. "
    if len(stores) <= MOST_NAMED_STORES:
        words += "; ".join(f"{s['store']} {score(s['alone'])} → {score(s['together'])}" for s in stores)
        svg = draw("stores", 34 + max(150.0, 24.0 * len(stores)), lambda axes: _named(axes, stores))
    else:
        svg = draw("stores", 226, lambda axes: _unnamed(axes, stores))
    return Drawing("stores", "NDCG@10 of each store, alone and together", words, svg)


def _named(axes: Any, stores: Sequence[Json]) -> None:
    place(axes, left=MARGIN, right=16, top=16, bottom=22)
    for row, s in enumerate(stores):
        colour = LOSS if s["together"] < s["alone"] else ACCENT
        axes.plot([s["alone"], s["together"]], [row, row], color=colour, linewidth=2.2, zorder=2)
        axes.plot(s["alone"], row, "o", markersize=7, markerfacecolor=PAPER, color=GREY, markeredgewidth=2, zorder=3)
        axes.plot(s["together"], row, "o", markersize=8, color=colour, zorder=4)
    axes.set_yticks(range(len(stores)), [_shortened(s["store"]) for s in stores])
    axes.set_ylim(len(stores) - 0.5, -0.5)
    for label, s in zip(axes.get_yticklabels(), stores, strict=True):
        label.set_color(LOSS if s["together"] < s["alone"] else INK)
    _from_zero(axes, max(max(s["alone"], s["together"]) for s in stores))
    _key(axes)


def _unnamed(axes: Any, stores: Sequence[Json]) -> None:
    place(axes, left=40, right=10, top=16, bottom=26)
    columns = range(len(stores))
    colours = [LOSS if s["together"] < s["alone"] else ACCENT for s in stores]
    width = max(0.4, min(2.2, 200 / len(stores)))
    axes.vlines(columns, [s["alone"] for s in stores], [s["together"] for s in stores], colors=colours, linewidth=width)
    size = max(1.5, min(7.0, 300 / len(stores)))
    axes.scatter(columns, [s["alone"] for s in stores], s=size**2, color=GREY, zorder=3, linewidth=0)
    axes.scatter(columns, [s["together"] for s in stores], s=size**2, color=colours, zorder=4, linewidth=0)
    axes.set_xticks([])
    axes.set_xlabel("stores, smallest left")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    _key(axes)


def _learning_curve(run: Json) -> Drawing | None:
    """NDCG@10 by round, where it was measured in at least two rounds."""
    points = [(h["round"], h["metric"]) for h in run["history"] if h["metric"] is not None]
    if len(points) < 2:
        return None
    lines = [("local_only", "alone"), (best_pooled(run["metrics"]) or "", "best pooled")]
    levels = [(level, label) for m, label in lines if m and (level := value(run["metrics"], m)) is not None]
    top = max([m for _, m in points] + [level for level, _ in levels] + [1e-9]) * 1.12

    def paint(axes: Any) -> None:
        place(axes, left=44, right=70, top=10, bottom=38)
        axes.plot(*zip(*points, strict=True), "-o", color=ACCENT, linewidth=2, markersize=4.5, clip_on=False, zorder=3)
        for level, _ in levels:
            axes.axhline(level, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
        label_ends(axes, [(level, label, QUIET) for level, label in levels], top)
        axes.set_xlabel("round")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, top)
        axes.grid(axis="y", color=RULE, linewidth=0.8)

    words = "; ".join(f"round {r} {score(m)}" for r, m in points[:: max(1, len(points) // 20)])
    return Drawing("learning_curve", "NDCG@10 by round", words, draw("learning_curve", 220, paint))


def _long_tail(run: Json) -> Drawing | None:
    """Grouped dots: head, middle and tail of the catalogue."""
    groups = run["long_tail"]
    if not groups:
        return None
    series = [("popularity", RULE), ("alone", GREY), ("together", ACCENT)]

    def paint(axes: Any) -> None:
        place(axes, left=MARGIN, right=50, top=20, bottom=22)
        for row, group in enumerate(groups):
            for step, (key, colour) in enumerate(series):
                found = group[METRIC][key]
                if found is not None:
                    at = row + (step - 1) * 0.25
                    axes.barh(at, found, height=0.22, color=colour)
                    axes.annotate(
                        score(found),
                        (found, at),
                        xytext=(5, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=9.5,
                        color=QUIET,
                    )
        axes.set_yticks(range(len(groups)), [f"{g['group']}, {percent(g['share_of_items'])} of items" for g in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        _from_zero(axes, max([v for g in groups for v in g[METRIC].values() if v is not None], default=0.0))
        for place_, (key, colour) in zip((0.0, 0.36, 0.6), series, strict=True):
            axes.annotate(
                "■ ",
                (place_, 1),
                xycoords="axes fraction",
                xytext=(0, 6),
                textcoords="offset points",
                color=colour,
                fontsize=11,
            )
            axes.annotate(
                key,
                (place_, 1),
                xycoords="axes fraction",
                xytext=(13, 6),
                textcoords="offset points",
                color=QUIET,
                fontsize=10,
            )

    words = "; ".join(
        f"{g['group']}: " + ", ".join(f"{key} {score(g[METRIC][key])}" for key, _ in series) for g in groups
    )
    return Drawing("long_tail", "NDCG@10 by popularity of the held-out item", words, draw("long_tail", 220, paint))


def _from_zero(axes: Any, top: float) -> None:
    """A value axis from zero with light rules behind the marks."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0, top * 1.06 if top > 0 else 1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_visible(False)


def _key(axes: Any) -> None:
    """○ alone ● together, above the axes at the left."""
    marks = [(0.0, "alone", GREY, PAPER), (60.0, "together", ACCENT, ACCENT), (140.0, "lost", LOSS, LOSS)]
    for x, label, edge, face in marks:
        axes.annotate(
            label,
            (0, 1),
            xycoords="axes fraction",
            xytext=(x + 12, 4),
            textcoords="offset points",
            fontsize=10,
            color=QUIET,
        )
        _dot(axes, x + 4, edge, face)


def _dot(axes: Any, x: float, edge: str, face: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    figure = axes.figure
    shift = ScaledTranslation(x / 72, 8 / 72, figure.dpi_scale_trans)
    axes.add_line(
        Line2D(
            [0],
            [1],
            marker="o",
            markersize=6.5,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=1.8,
            transform=axes.transAxes + shift,
            clip_on=False,
        )
    )


def _shortened(store: str) -> str:
    clean = "".join(letter if letter.isprintable() else " " for letter in store)
    return clean if len(clean) <= 20 else clean[:19] + "…"
