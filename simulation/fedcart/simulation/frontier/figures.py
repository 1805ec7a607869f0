"""The figures of a frontier: accuracy against epsilon, what a coalition buys, accuracy against customers.

Every number drawn is one of frontier.json. Each figure comes with a sentence that says the same in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fedcart.simulation.frontier.chart import HEIGHT, MARKERS, SERIES, Level, Line, height, paint
from fedcart.simulation.frontier.grid import FLOOR
from fedcart.simulation.frontier.own import ALONE_OWN, OWN, served
from fedcart.simulation.frontier.results import ALONE_WITH_STORE, MAIN, WITH_STORE, Json
from fedcart.simulation.frontier.sentences import ceiling_of
from fedcart.simulation.frontier.table import epsilons
from fedcart.simulation.frontier.words import TRUST, method_name
from fedcart.simulation.report.figure_style import INK, QUIET, draw
from fedcart.simulation.report.figures import Drawing
from fedcart.simulation.report.formats import plain, score

FEWEST_SIZES = 2
"""Of the marketplace, below which there is no line through them."""
SHORT = {"content": "content", "recent": "recent", "recent_own": "recent + bought"}
"""Labels of what learns nothing together but popularity (`claims.SIMPLE`)."""
TWO_NOISES = (("one noise", "distributed", "o", False), ("own noise", "local", "s", True))
"""Label, trust, marker, dashed."""


def drawings(document: Json) -> Iterator[Drawing]:
    """All figures there are numbers for."""
    sizes = list(dict.fromkeys(row["size"] for row in document["table"]))
    for size in sizes:
        for trust in document["grid"]["trust"]:
            yield from accuracy(document, trust, size)
        yield from coalition(document, size)
    if len(sizes) >= FEWEST_SIZES:
        for trust in document["grid"]["trust"]:
            for epsilon in epsilons(document["table"]):
                yield from customers(document, trust, epsilon)


def accuracy(document: Json, trust: str, size: str | None) -> Iterator[Drawing]:
    """One panel: a line a learner, a band over seeds, and the methods without epsilon as levels."""
    rows = [row for row in document["table"] if row["size"] == size]
    private = [row for row in rows if row["trust"] == trust]
    if not private:
        return
    found = [against_epsilon(document, rows, trust, learner) for learner in learners(private)]
    simpler = simple(document, "epsilon", trust=trust, size=size)
    across = levels(document, size, without_content=bool(simpler))
    for learner in learners(private):
        if learner != FLOOR and any(row["learner"] == learner for row in private if row[WITH_STORE]):
            found.append(against_epsilon(document, served(rows), trust, learner + OWN))
            across += alone_with_store(document, rows, learner)
    found += simpler
    name = "-".join(["accuracy", trust, *([size] if size else [])])
    where = f" ({size})" if size else ""
    yield Drawing(
        name,
        f"NDCG@10 against ε, trust {trust}{where}: {TRUST[trust]}",
        "; ".join([*(said(line) for line in found), *(f"{level.label} {score(level.value)}" for level in across)]),
        draw(name, height(found, across), lambda axes: paint(axes, found, across, epsilons(private), "ε (log)")),
    )


def against_epsilon(document: Json, rows: Sequence[Json], trust: str, learner: str) -> Line:
    """A learner's private rows by epsilon, and beyond them the one without noise; with own co-occurrences dashed, and
    without a band, which would lie on the learner's own."""
    private = by_epsilon([row for row in rows if row["trust"] == trust], learner)
    bare = next((row[MAIN] for row in rows if row["learner"] == learner and row["epsilon"] is None), None)
    points, name = [point(row, row["epsilon"]) for row in private], learner.removesuffix(OWN)
    own = name != learner
    if own:
        points = [(x, mean, mean, mean) for x, mean, _, _ in points]
    return Line(label(learner), *look(document, name), points, dashed=own, beyond=bare)


def alone_with_store(document: Json, rows: Sequence[Json], learner: str) -> list[Level]:
    """Each store alone, the same beside it, in the learner's colour."""
    mine = [row[WITH_STORE][ALONE_WITH_STORE] for row in rows if row["learner"] == learner and row[WITH_STORE]]
    colour, _ = look(document, learner)
    return [Level(ALONE_OWN, value, colour=colour) for value in mine if value is not None][:1]


def coalition(document: Json, size: str | None) -> Iterator[Drawing]:
    """For each learner under both trusts: one shared noise beside own noise, joined where they are equally accurate.
    Popularity has no figure: under either it ranks the same but for the noise of measuring."""
    bought = [row for row in document["coalition_buys"] if row["size"] == size]
    rows = [row for row in document["table"] if row["size"] == size and row["epsilon"] is not None]
    for learner in dict.fromkeys(row["learner"] for row in bought if row["learner"] != FLOOR):
        lines = [
            Line(words, look(document, learner)[0], marker, [point(r, r["epsilon"]) for r in mine], dashed=dashed)
            for words, trust, marker, dashed in TWO_NOISES
            if (mine := by_epsilon([row for row in rows if row["trust"] == trust], learner))
        ]
        alone = [row["alone"] for row in document["table"] if (row["learner"], row["size"]) == (learner, size)]
        across = [Level("alone, no noise", value) for value in alone if value is not None][:1]
        joined = [row for row in bought if row["learner"] == learner and row["relation"] == "equal"]

        def paint_both(axes: Any, lines: Sequence[Line] = lines, across: Sequence[Level] = across,
                       joined: Sequence[Json] = joined) -> None:  # fmt: skip
            paint(axes, lines, across, epsilons(rows), "ε (log)")
            for row in joined:
                join(axes, row)

        name = "-".join(["coalition", learner, *([size] if size else [])])
        mine = [row for row in bought if row["learner"] == learner]
        yield Drawing(
            name, f"What one shared noise buys {learner}", "; ".join(buys(row) for row in mine),
            draw(name, HEIGHT, paint_both),
        )  # fmt: skip


def join(axes: Any, row: Json) -> None:
    """A line between two points of the same accuracy."""
    axes.plot([row["distributed"], row["local"]], [row[MAIN]] * 2, color=QUIET, linewidth=1.2, zorder=2)
    axes.annotate(
        plain(round(row["distributed"], 1)), (row["distributed"], row[MAIN]), xytext=(0, 5),
        textcoords="offset points", ha="center", fontsize=9, color=QUIET,
    )  # fmt: skip


def buys(row: Json) -> str:
    """One row of `coalition_buys` in words."""
    start = f"{row['learner']} with own noise at ε = {plain(row['local'])} ranks {score(row[MAIN])}; one shared noise "
    if row["relation"] == "equal":
        return start + f"ranks the same at ε = {plain(round(row['distributed'], 2))}"
    if row["relation"] == "at most":
        return start + f"ranks at least that at ε = {plain(row['distributed'])}, the smallest measured"
    return start + "does not reach that at any ε measured"


def customers(document: Json, trust: str, epsilon: float) -> Iterator[Drawing]:
    """Learners and content by number of customers, at one epsilon."""
    rows = [row for row in document["table"] if (row["trust"], row["epsilon"]) == (trust, epsilon)]
    lines = []
    for learner in learners(rows):
        mine = sorted((row for row in rows if row["learner"] == learner), key=lambda row: row["customers"])
        lines.append(Line(label(learner), *look(document, learner), [point(row, row["customers"]) for row in mine]))
    lines += simple(document, "customers", trust=trust, epsilon=epsilon)
    if not rows:
        return
    xs = sorted({row["customers"] for row in rows})
    name = f"customers-{trust}-eps{epsilon:g}"
    yield Drawing(
        name, f"NDCG@10 against customers at ε = {plain(epsilon)}, trust {trust}", "; ".join(map(said, lines)),
        draw(name, HEIGHT, lambda axes: paint(axes, lines, (), xs, "customers (log)")),
    )  # fmt: skip


def simple(document: Json, axis: str, **wanted: Any) -> list[Line]:
    """Content under the same epsilons as learners, and each other simple method that is above it somewhere.

    Args:
      axis: what x is, `epsilon` or `customers`.
      wanted: keys that rows must have.
    """
    lines, content = [], {}
    for number, (name, words) in enumerate(SHORT.items()):
        rows = [row for row in document["baselines"] if row["method"].rpartition(".")[2] == name]
        mine = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
        points = sorted(point(row, row[axis]) for row in mine)
        bare = [
            row[MAIN] for row in rows if axis == "epsilon" and (row["epsilon"], row["size"]) == (None, wanted["size"])
        ]
        if name == "content":
            content = {x: mean for x, mean, _, _ in points}
        if points and (not number or any(mean > content.get(x, mean) for x, mean, _, _ in points)):
            lines.append(Line(words, INK, "x+"[min(number, 1)], points, dashed=True, beyond=next(iter(bare), None)))
    return lines


def levels(document: Json, size: str | None, *, without_content: bool) -> list[Level]:
    """Popularity without noise, the ceiling, and content where it is no line."""
    rows = [row for row in document["baselines"] if (row["size"], row["trust"]) == (size, "none")]
    names = {"centralized.popularity": "popularity, no ε"} | ({} if without_content else {"content": "content, no ε"})
    found = [
        Level(names[row["method"]], row[MAIN], row["method"] == "content") for row in rows if row["method"] in names
    ]
    top = ceiling_of(document, size)
    return found + ([Level(f"{method_name(top['method'])}, no ε", top[MAIN])] if top else [])


def learners(rows: Sequence[Json]) -> list[str]:
    """In the table's order."""
    return list(dict.fromkeys(row["learner"] for row in rows))


def by_epsilon(rows: Sequence[Json], learner: str) -> list[Json]:
    """A learner's private rows."""
    mine = [row for row in rows if row["learner"] == learner and row["epsilon"] is not None]
    return sorted(mine, key=lambda row: row["epsilon"])


def point(row: Json, x: float) -> tuple[float, float, float, float]:
    """x, mean, and the least and greatest of the seeds."""
    return x, row[MAIN], row["least"], row["greatest"]


def look(document: Json, learner: str) -> tuple[str, str]:
    """Colour and marker; the floor is grey."""
    if learner == FLOOR:
        return "#767e86", "o"
    others = [name for name in document["grid"]["learners"] if name != FLOOR]
    index = others.index(learner)
    return SERIES[index % len(SERIES)], MARKERS[index % len(MARKERS)]


def label(learner: str) -> str:
    """At the end of a line; popularity is there twice, with and without epsilon."""
    return "popularity, ε" if learner == FLOOR else learner


def said(line: Line) -> str:
    """The line's points in words."""
    return f"{line.label}: " + ", ".join(f"{plain(x)} {score(mean)}" for x, mean, _, _ in line.points)
