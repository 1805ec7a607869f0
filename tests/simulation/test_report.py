"""report.html: self-contained, escaped, the same bytes every time, and nothing on it that run.json does not say."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fedcart.shared.errors import DataError, InputError
from fedcart.simulation.report import facts, figures, headline, tables, write_report
from fedcart.simulation.report import page as page_module
from fedcart.simulation.report.figure_style import LABEL_PIXELS
from fedcart.simulation.report.methods import short_name

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ["run", "run_no_privacy", "run_interrupted"]
Json = dict[str, Any]
HOSTILE = "<script>alert(1)</script>\"'&$x_2$"
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and visible text; raises on badly nested tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def load(name: str) -> Json:
    found: Json = json.loads((FIXTURES / f"{name}.json").read_text())
    return found


def report(run: Json, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    return write_report(folder).read_text()


@functools.cache
def whole(name: str) -> str:
    """The page of a fixture with its figures; drawn once."""
    run = load(name)
    return page_module.render(run, figures.drawings(run))


def html(run: Json) -> str:
    """The page without its figures: for what its words say."""
    return page_module.render(run, [])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_run_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    report(load(name), tmp_path / "a")
    report(load(name), tmp_path / "b")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert Path("report.html") in files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_needs_no_network_and_no_script(name: str) -> None:
    page = Page(whole(name))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            if key in ("src", "href", "xlink:href", "action"):
                assert (value or "").startswith("#"), (tag, value)
    css = (Path(page_module.__file__).parent / "page.css").read_text()
    assert "@import" not in css
    assert "url(" not in css


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_references_lead_somewhere(name: str) -> None:
    text = whole(name)
    page = Page(text)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {w for _, a in page.tags for w in (a.get("aria-labelledby") or "").split()}
    wanted |= {(a.get("xlink:href") or "")[1:] for _, a in page.tags if "xlink:href" in a}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert wanted <= set(ids)


def test_the_first_screen_is_in_order() -> None:
    text = html(load("run"))
    wanted = [
        "<h1",
        'class="first"',
        'id="h-methods"',
        'id="h-stores"',
        'id="h-strip"',
        'id="h-left"',
        'id="h-people"',
        'id="h-all"',
    ]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)


def test_figures_have_a_title_and_a_description_with_their_numbers(tmp_path: Path) -> None:
    text = report(load("run"), tmp_path)
    for identity in ("methods", "stores", "learning_curve", "long_tail"):
        assert re.search(rf'<title id="{identity}-title">[^<]+</title><desc id="{identity}-desc">[^<]*\d', text)
        ElementTree.parse(tmp_path / "figures" / f"{identity}.svg")
    assert text.count('role="img"') == 4


def test_labels_of_a_learning_curve_keep_their_distance_where_levels_are_equal() -> None:
    run = load("run")
    best = run["metrics"]["centralized"]["ease"]["full"]["ndcg@10"]
    run["metrics"]["local_only"]["full"]["ndcg@10"] = best
    (curve,) = (one for one in figures.drawings(run) if one.identity == "learning_curve")
    found = re.findall(r"y=\"([\d.]+)\"[^>]*>(alone|best pooled)<", curve.svg)
    assert {name for _, name in found} == {"alone", "best pooled"}
    assert abs(float(found[0][0]) - float(found[1][0])) >= LABEL_PIXELS - 1


def test_every_table_has_headings_with_a_scope() -> None:
    page = Page(html(load("run")))
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_hostile_text_is_shown_and_never_run(tmp_path: Path) -> None:
    run = load("run")
    run.update(command=HOSTILE, note=HOSTILE)
    run["data"].update(name=HOSTILE, currency=HOSTILE, dropped={HOSTILE: 3})
    run["learner"]["name"] = HOSTILE
    run["config"] = {HOSTILE: "</pre><script>"}
    run["privacy"].update(accountant=HOSTILE, uncovered=[HOSTILE])
    run["privacy"]["releases"][0]["name"] = HOSTILE
    run["versions"] = {HOSTILE: HOSTILE}
    run["split"]["rule"] = HOSTILE
    run["metrics"]["stores"][0]["store"] = HOSTILE
    run["metrics"]["stores"][4]["store"] = "</desc></svg>" + HOSTILE
    person = run["examples"][0]
    person["title"] = HOSTILE
    for key in ("history", "alone", "together"):
        person[key][0].update(title=HOSTILE, category=HOSTILE)
    text = report(run, tmp_path)
    assert "<script" not in text
    page = Page(text)
    assert not any(tag == "script" for tag, _ in page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 12


def test_the_template_holds_no_number_typed_by_hand() -> None:
    template = (Path(page_module.__file__).parent / "page.html.j2").read_text()
    shown = re.sub(r"<style>.*?</style>|\{[%{].*?[%}]\}|<[^>]*>", " ", template, flags=re.S)
    shown = shown.replace("NDCG@10", "").replace("95 %", "")
    assert re.findall(r"\d+", shown) == []


def test_the_page_shows_the_numbers_of_run_json_and_follows_them() -> None:
    run = load("run")
    before = Page(html(run)).text
    assert re.sub(r"\s+", " ", headline(run).finding) in before
    assert "0.0634" in before
    run["metrics"]["federated"]["full"]["ndcg@10"] = 0.0787
    run["cost"]["peak_rss_bytes"] = 77_700_000
    run["metrics"]["random"]["full"]["hr@10"] = 0.0777
    after = Page(html(run)).text
    assert "0.0787" in after
    assert "77.7" in after
    assert "0.0777" in after
    assert "0.0777" not in before


def test_null_models_stand_in_the_table() -> None:
    text = Page(html(load("run"))).text
    assert "Null models" in text
    assert "memoriser" in text
    assert "random order" in text


def test_losing_stores_are_named_at_the_top_and_in_the_table() -> None:
    text = html(load("run"))
    assert "The Copper Kettle" in text[text.index("<h1") : text.index('class="first"')]
    assert "The Copper Kettle (lost)" in text


def test_no_privacy_is_marked_in_the_strip_and_below() -> None:
    text = Page(html(load("run_no_privacy"))).text
    assert "no guarantee" in text
    assert "This run has no ε" in text


def test_a_derived_item_list_is_said_to_be_uncovered() -> None:
    run = load("run")
    assert "Item list derived" not in html(run)
    run["data"]["catalogue"] = "derived"
    assert "Item list derived from interactions: not covered by ε" in html(run)


def test_people_are_shown_only_when_the_run_offers_them() -> None:
    run = load("run")
    assert 'class="person"' in html(run)
    del run["examples"]
    text = html(run)
    assert 'class="person"' not in text
    assert "only synthetic or made-up people" in text


def test_a_long_list_of_releases_stands_in_full_below() -> None:
    run = load("run")
    one = run["privacy"]["releases"][0]
    run["privacy"]["releases"] = [{**one, "name": f"band {i}"} for i in range(40)]
    text = html(run)
    first, below = text.split('class="more"')
    assert "34 more, listed below" in first
    assert "band 39" not in first
    assert "band 39" in below


def test_the_page_says_who_measured() -> None:
    run = load("run")
    assert "Measured with all data in hand" in html(run)
    for key in ("federated", "local_only", "no_noise"):
        run["metrics"][key]["measured"] = "federated"
    assert "Measured by the stores on their own held-out interactions" in html(run)


def test_a_rehearsal_and_sums_in_the_clear_are_said_at_the_top_and_in_the_strip() -> None:
    run = load("run")
    run["privacy"]["aggregation"] = "plain"
    text = Page(html(run)).text
    top = text[: text.index("Ranking quality")]
    assert "Rehearsal: this run shows what ε costs and protected nobody:" in top
    assert "whoever knows the seed can take its noise off again" in top
    assert "each sum was seen with only a share of the noise on it" in top
    assert "rehearsed, not kept" in text
    run.update(rehearsal=False)
    run["privacy"]["trust"] = "local"
    assert "Rehearsal:" not in Page(html(run)).text
    assert "rehearsed" not in Page(html(run)).text


def test_the_total_epsilon_is_an_upper_bound_and_each_release_has_its_own() -> None:
    run = load("run")
    run["privacy"]["releases"][0]["epsilon"] = 1.25
    rows, total = facts.releases(run)
    assert (rows[0]["epsilon"], total["epsilon"]) == ("1.25", "4.00")
    assert "in all, at most" in Page(html(run)).text
    assert "at most" not in Page(html(load("run_no_privacy"))).text


def test_all_items_are_shown_where_there_are_repeats() -> None:
    run = load("run")
    run["split"]["repeats"] = 5
    assert "repeat purchases counted" in html(run)
    run["split"]["repeats"] = 0
    assert "repeat purchases counted" not in html(run)


def test_the_table_of_methods_says_where_settings_come_from() -> None:
    run = load("run")
    run["settings"] = {
        "centralized.ease": {"source": "published", "words": "published: lambda 1000 (Steck)", "given": []},
        "centralized.itemknn": {"source": "default", "words": "the method's defaults, not tuned", "given": []},
        "random": {"source": "none", "words": "has no settings", "given": []},
    }
    text = Page(html(run)).text
    assert "EASE published: lambda 1000 (Steck)" in text
    assert "item-kNN the method's defaults, not tuned" in text
    assert "has no settings" not in text


def test_features_of_a_derived_item_list_are_not_called_public() -> None:
    run = load("run")
    assert "public; content uses them" in Page(html(run)).text
    run["data"].update(catalogue="derived", public_features=False, derived_features=True)
    text = Page(html(run)).text
    assert "derived from the interactions; content uses them" in text
    assert "public; content" not in text
    assert "nothing learned together" not in text


def test_charts_of_new_items_are_not_said_to_be_of_all_items() -> None:
    first = html(load("run")).split('class="more"')[0]
    assert "NDCG@10, full ranking, new items" in first
    assert "all items" not in first


def test_every_label_of_the_bars_fits_its_margin() -> None:
    """20 letters of 11 px are about 130 px of the 148."""
    run = load("run")
    methods = [f"centralized.{key}" for key in run["metrics"]["centralized"]]
    for method in ["federated", "no_noise", "local_only", "content", *methods]:
        assert len(short_name(run, method)) <= 20, method


def test_missed_rounds_sittings_and_differences_on_all_items_are_told() -> None:
    run = load("run")
    run["cost"].update(sittings=3, stores_answered={"least": 5, "mean": 6.75})
    run["split"]["repeats"] = 12
    against = {"method": "federated", "against": "local_only", "metric": "ndcg@10", "n": 900}
    run["metrics_all_items"]["paired"] = [{**against, "difference": -0.0053, "low": -0.0081, "high": -0.0024}]
    text = Page(html(run)).text
    assert "time, 3 sittings" in text
    assert "6.75 of 8 on average, at least 5" in text
    assert "NDCG@10 all items −0.0053 −0.0081 to −0.0024 900 worse" in text
    assert "23,180, 12 repeats" in text


def test_an_item_without_title_is_named_by_its_category() -> None:
    run = load("run")
    run["examples"][0]["history"][0].update(title=None, category="Toys")
    assert "untitled toys" in html(run)


@pytest.mark.parametrize("stores", [1, 14, 15, 2500])
def test_any_number_of_stores_is_drawn(stores: int, tmp_path: Path) -> None:
    run = load("run")
    one = run["metrics"]["stores"][0]
    run["data"]["stores"] = stores
    run["metrics"]["stores"] = [{**one, "store": f"shop {i}", "customers": i} for i in range(stores)]
    text = report(run, tmp_path)
    assert 'id="stores-title"' in text
    assert ("larger stores not listed" in text) == (stores == 2500)
    assert len(text) < 1_500_000


def test_a_run_with_nothing_measured_still_has_a_page(tmp_path: Path) -> None:
    run = load("run_interrupted")
    for key in ("local_only", "content", "random"):
        run["metrics"][key] = None
    run["metrics"].update(centralized=dict.fromkeys(run["metrics"]["centralized"]), stores=[])
    run["privacy"]["releases"] = []
    text = report(run, tmp_path)
    assert "No method was measured to the end." in text
    assert "Nothing left a store." in text


def test_zeros_everywhere_can_be_drawn(tmp_path: Path) -> None:
    run = load("run")
    for key in ("federated", "local_only", "content", "no_noise"):
        run["metrics"][key]["full"]["ndcg@10"] = 0.0
        run["metrics"][key]["ci95"] = None
    run["metrics"]["centralized"] = dict.fromkeys(run["metrics"]["centralized"])
    run["metrics"]["stores"] = [{**s, "alone": 0.0, "together": 0.0} for s in run["metrics"]["stores"]]
    run["history"] = [{**h, "metric": 0.0} for h in run["history"]]
    for group in run["long_tail"]:
        group["ndcg@10"] = dict.fromkeys(group["ndcg@10"], 0.0)
    assert "0.0000" in report(run, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "not found"),
        ("{", "not JSON"),
        ("[]", "schema None"),
        ('{"schema": 2}', "schema 2, this version reads 1"),
        ('{"schema": 1}', "no status"),
        ('{"schema": NaN}', "NaN is not a JSON number"),
    ],
)
def test_refuses_what_is_not_a_run(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        write_report(tmp_path)
    assert "no report was written" in caught.value.message
    assert sorted(p.name for p in tmp_path.iterdir()) == (["run.json"] if text is not None else [])


def test_a_run_without_a_key_is_refused_by_its_name(tmp_path: Path) -> None:
    run = load("run")
    del run["privacy"]["trust"]
    with pytest.raises(DataError, match=r"\[privacy\]: no trust"):
        report(run, tmp_path)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = report(load("run"), tmp_path)

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match="No space left on device; no report was written"):
        report(load("run_no_privacy"), tmp_path)
    assert (tmp_path / "report.html").read_text() == old
    assert list(tmp_path.rglob("*.part")) == []


def test_figures_of_an_earlier_report_do_not_outlive_it(tmp_path: Path) -> None:
    report(load("run"), tmp_path)
    report(load("run_interrupted"), tmp_path)
    assert sorted(p.name for p in (tmp_path / "figures").iterdir()) == ["methods.svg"]


def test_loading_the_report_loads_no_drawing_library() -> None:
    code = (
        "import sys, fedcart.simulation.report; print({'matplotlib', 'jinja2', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_screen(width: int, tmp_path: Path) -> None:
    """The page is framed at the width and a probe reports its scroll width and where the first screen ends."""
    text = report(load("run"), tmp_path).replace("default-src 'none'", "script-src 'unsafe-inline'")
    probe = (
        "<script>const first = document.querySelector('.first').getBoundingClientRect();"
        "document.title = document.documentElement.scrollWidth + ' ' + Math.ceil(first.bottom)</script>"
    )
    (tmp_path / "probe.html").write_text(text.replace("</body>", probe + "</body>"))
    (tmp_path / "frame.html").write_text(
        f'<body><iframe src="probe.html" width="{width}" height="800" style="border:0"></iframe><p id="found"></p>'
        "<script>onload=()=>found.textContent='found '+frames[0].document.title</script></body>"
    )
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --allow-file-access-from-files "
        "--virtual-time-budget=3000 --window-size=1400,900"
    )
    command = [
        "chromium",
        *flags.split(),
        f"--user-data-dir={tmp_path}/profile",
        "--dump-dom",
        f"file://{tmp_path}/frame.html",
    ]
    out = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    found = re.search(r"found (\d+) (\d+)", out)
    assert found is not None, out[-300:]
    assert int(found[1]) <= width
    if width == 1280:
        assert int(found[2]) <= 800


def test_columns_of_sampled_candidates_stand_only_where_some_were_measured() -> None:
    run = load("run")
    assert "sampled candidates" in tables.method_columns(run)
    metrics = run["metrics"]
    for found in (*metrics.values(), *metrics["centralized"].values()):
        if isinstance(found, dict) and "sampled" in found:
            found["sampled"] = None
    columns = tables.method_columns(run)
    assert list(columns) == ["full ranking", "beyond accuracy", "measured"]
    width = sum(len(group) for group in columns.values())
    cells = [row["cells"] for block in tables.methods(run, metrics) for row in block["rows"] if row["cells"]]
    assert cells
    assert {len(row) for row in cells} == {width}
