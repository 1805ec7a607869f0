"""frontier.html says what it must, in words that are there without asking, and needs no network."""

from __future__ import annotations

import copy
import html
import re
from itertools import pairwise
from typing import Any

import pytest

from fedcart.simulation.frontier.chart import LABEL_PIXELS, spread
from fedcart.simulation.frontier.claims import SIMPLE, simple_better
from fedcart.simulation.frontier.figures import drawings
from fedcart.simulation.frontier.page import render
from fedcart.simulation.frontier.sentences import headline


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
    assert "recent + own: 4 0.4000" in panel.description
    assert "recent: 4" not in panel.description


def test_labels_keep_their_distance_and_their_order() -> None:
    found = spread([(50.0, "b", ""), (50.0, "a", ""), (49.0, "c", ""), (99.0, "d", "")], 100.0)
    places = [place for place, _, _ in found]
    assert [label for _, label, _ in found] == ["c", "a", "b", "d"]
    assert all(after - before >= LABEL_PIXELS - 1e-9 for before, after in pairwise(places))
    assert max(places) <= 100
