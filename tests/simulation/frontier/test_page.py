"""frontier.html says what it must, in words that are there without asking, and needs no network."""

from __future__ import annotations

import copy
import html
import re
from itertools import pairwise
from typing import Any

import pytest

from fedcart.simulation.frontier.chart import BOTTOM, HEIGHT, SERIES, TOP, Level, Line, height
from fedcart.simulation.frontier.claims import SIMPLE, simple_better
from fedcart.simulation.frontier.figures import drawings
from fedcart.simulation.frontier.page import render
from fedcart.simulation.frontier.sentences import headline
from fedcart.simulation.report.figure_style import LABEL_PIXELS, spread
from fedcart.simulation.report.formats import signed


@pytest.fixture(scope="module")
def page(made: Any) -> str:
    found: str = (made.directory / "frontier.html").read_text()
    return found


def words(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S)))


@pytest.mark.parametrize(
    "word",
    [
        "zCDP of the discrete Gaussian",
        "10⁻⁴",
        "add or remove one",
        "trust distributed",
        "trust local",
        "item features",
        "item list derived",
        "not accounted",
        "rehearsal",
        "Measured with all data in hand",
        "colluders up to 1",
        "SA1 (distributed) and plain (local)",
        "What ε does not cover",
        "which stay in the store and which no ε covers, NDCG@10 changes: gram",
        "dashed, + own",
        "a customer's list then rests on what others there had",
        "without noise only",
    ],
)
def test_the_page_says(word: str, page: str) -> None:
    assert word in words(page)


def test_the_page_needs_no_network_and_no_script(page: str) -> None:
    assert not re.search(r"<(script|link|img|iframe|object)\b", page)
    assert not re.search(r"(src|href)=\"(https?:)?//", page)
    assert "default-src 'none'" in page


def test_every_figure_stands_in_the_page_and_in_its_file(made: Any, page: str) -> None:
    names = {path.stem for path in (made.directory / "figures").glob("*.svg")}
    assert names == {"accuracy-distributed", "accuracy-local", "coalition-gram"}
    assert all(f'id="{name}-title"' in page for name in names)


def test_every_number_of_the_table_is_in_the_page(made: Any, page: str) -> None:
    assert all(f"{row['ndcg@10']:.4f}" in page for row in made.document["table"] + made.document["baselines"])


def changed(made: Any, verdict: int, verdicts_of: tuple[str, ...] = tuple(SIMPLE)) -> dict[str, Any]:
    """The document with the verdict beside simple methods set on every private row."""
    document = copy.deepcopy(made.document)
    for row in document["table"]:
        for one in row["paired"]:
            if one["against"] in verdicts_of and row["epsilon"] is not None:
                one["verdict"] = verdict
    found: dict[str, Any] = document
    return found


@pytest.mark.parametrize(
    ("verdict", "side", "word"),
    [
        (1, "gain", "ranks better than popularity and item data alone at ε = 4"),
        (0, "none", "No measurable gain over what learns nothing together but popularity"),
        (-1, "loss", "What learns nothing together but popularity ranks better than every private learner at ε = 4"),
    ],
)
def test_the_sentence_follows_the_interval(made: Any, verdict: int, side: str, word: str) -> None:
    document = changed(made, verdict)
    said = headline(document)
    assert said.verdict == side
    assert word in said.finding
    assert bool(simple_better(document)) == (verdict < 0)
    shown = words(render(document, []))
    line = "Content is measurably better than gram under trust distributed at ε = 4; under trust local at ε = 4."
    assert (line in shown) == (verdict < 0)


def test_one_simple_method_that_is_not_beaten_takes_the_gain_away(made: Any) -> None:
    document = changed(made, 1)
    assert headline(document).verdict == "gain"
    tied = copy.deepcopy(document)
    for row in tied["table"]:
        for one in row["paired"]:
            if one["against"] == "recent_own":
                one["verdict"] = 0
    said = headline(tied)
    assert said.verdict == "none"
    assert "of recent popularity with own purchases" in said.finding


def test_a_document_without_private_cells_claims_nothing(made: Any) -> None:
    said = headline(made.sittings[0].document)
    assert (said.verdict, said.rest) == ("none", [])
    assert "No private cell" in said.finding


def test_a_failed_cell_stands_on_the_page_with_its_reason(made: Any) -> None:
    document = made.sittings[1].document
    shown = words(render(document, list(drawings(document))))
    assert "Missing cells: 1 of 7" in shown
    assert "no such luck; nothing was released" in shown


def test_what_comes_from_the_file_is_escaped(made: Any) -> None:
    document = copy.deepcopy(made.document) | {"title": "<script>x</script>"}
    assert "<script>x" not in render(document, [])


def test_accuracy_against_customers_is_drawn_from_two_sizes_on(made: Any) -> None:
    document = copy.deepcopy(made.document)
    assert not any(one.identity.startswith("customers") for one in drawings(document))
    for table in ("table", "baselines"):
        larger = copy.deepcopy(document[table])
        for row in larger:
            row.update(size="default", customers=600)
        document[table] += larger
    names = {one.identity for one in drawings(document)}
    assert {"customers-distributed-eps4", "customers-local-eps4", "accuracy-local-default"} <= names


def test_a_simple_method_above_content_is_drawn_beside_it(made: Any) -> None:
    document = copy.deepcopy(made.document)
    for row in document["baselines"]:
        if row["epsilon"] is not None:
            row["ndcg@10"] = {"content": 0.3, "centralized.recent": 0.2, "centralized.recent_own": 0.4}[row["method"]]
    (panel,) = (one for one in drawings(document) if one.identity == "accuracy-local")
    assert "content: 4 0.3000" in panel.description
    assert "recent + bought: 4 0.4000" in panel.description
    assert "recent: 4" not in panel.description


def beside_alone(made: Any, verdict: int, stores_by: str | None) -> dict[str, Any]:
    """The document with the verdict of each row, own co-occurrences beside both, over each store alone."""
    document = copy.deepcopy(made.document)
    for row in document["table"]:
        for one in row["with_store"]["paired"]:
            if one["against"] == "alone_with_store":
                one["verdict"] = verdict
    for one in document["data"]:
        one["stores_by"] = stores_by
    return document


@pytest.mark.parametrize(
    ("verdict", "stores_by", "who"),
    [
        (0, "random", "Stores drawn at random"),
        (-1, "dirichlet:0.5", "Stores drawn at random"),
        (0, "column", "These stores"),
        (0, None, "These stores"),
        (1, "random", None),
    ],
)
def test_that_stores_gain_nothing_over_alone_with_own_follows_the_interval(
    made: Any, verdict: int, stores_by: str | None, who: str | None
) -> None:
    said = " ".join(headline(beside_alone(made, verdict, stores_by)).rest)
    words_ = "gain nothing measurable by learning together over alone + own"
    assert (words_ in said) == (who is not None)
    assert who is None or f"{who} {words_}" in said
    side = {1: "better", 0: "not measurably different", -1: "worse"}[verdict]
    assert f"with the same beside it, gram + own is {side} at ε = 4." in said


def test_what_own_co_occurrences_are_worth_is_said_with_the_interval(made: Any) -> None:
    row = next(r for r in made.document["table"] if (r["learner"], r["trust"]) == ("gram", "distributed"))
    own = row["with_store"]
    one = next(p for p in own["paired"] if (p["against"], p["metric"]) == ("together", "ndcg@10"))
    said = " ".join(headline(made.document).rest)
    assert f"gram {row['ndcg@10']:.4f} → {own['ndcg@10']:.4f} at ε = 4, {signed(one['low'])} to" in said
    older = copy.deepcopy(made.document)
    for each in older["table"]:
        each["with_store"] = None
    assert "own co-occurrences" not in " ".join(headline(older).rest)
    shown = words(render(older, list(drawings(older))))
    assert not re.search(r"(gram|alone|,) \+ own", shown)


def test_own_co_occurrences_are_dashed_in_the_learners_colour_beside_alone_with_the_same(made: Any) -> None:
    for panel in (one for one in drawings(made.document) if one.identity.startswith("accuracy")):
        (row,) = (r for r in made.document["table"] if r["learner"] == "gram" and panel.identity.endswith(r["trust"]))
        assert f"gram + own: 4 {row['with_store']['ndcg@10']:.4f}" in panel.description
        bare = made.run("gram-epsinf-none-seed0")["metrics"]["alone_with_store"]["full"]["ndcg@10"]
        assert f"alone + own {bare:.4f}" in panel.description
        texts = re.findall(r"<text style=\"([^\"]*)\"[^>]*>(gram|gram \+ own|alone \+ own)</text>", panel.svg)
        assert len({style for style, _ in texts if SERIES[0] in style}) == 1
        assert {name for _, name in texts} == {"gram", "gram + own", "alone + own"}
        for dashes in ("6,4", "2,2"):  # of a line, of a level
            assert len(re.findall(rf"stroke-dasharray: {dashes}; [^\"]*stroke: {SERIES[0]}", panel.svg)) == 1


def test_a_figure_grows_with_its_labels() -> None:
    few = [Line(str(n), "", "o", []) for n in range(3)]
    assert height(few, []) == HEIGHT
    assert height(few * 10, [Level("x", 0.1)]) >= 31 * LABEL_PIXELS + TOP + BOTTOM


def test_labels_keep_their_distance_and_their_order() -> None:
    found = spread([(50.0, "b", ""), (50.0, "a", ""), (49.0, "c", ""), (99.0, "d", "")], 100.0)
    places = [place for place, _, _ in found]
    assert [label for _, label, _ in found] == ["c", "a", "b", "d"]
    assert all(after - before >= LABEL_PIXELS - 1e-9 for before, after in pairwise(places))
    assert max(places) <= 100
