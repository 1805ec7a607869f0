"""One self-contained page from run.json: no script, no network, same run same bytes, written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedcart.shared.errors import InputError
from fedcart.simulation.report import facts, figures, tables
from fedcart.simulation.report.figure_style import inline
from fedcart.simulation.report.formats import noun
from fedcart.simulation.report.methods import best_pooled, name
from fedcart.simulation.report.run_file import read_run
from fedcart.simulation.report.sentences import headline

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]
FOLDER = Path(__file__).parent


def write_report(run_dir: Path) -> Path:
    """Write report.html and figures/*.svg beside run.json and return the page's path.

    Reads run.json and nothing else. Raises DataError for a run.json a report cannot be drawn from, InputError
    when the folder cannot be written; what stood there before then still stands.
    """
    run = read_run(run_dir)
    drawn = list(figures.drawings(run))
    page = render(run, drawn)
    try:
        for stale in figures.IDENTITIES - {drawing.identity for drawing in drawn}:
            (run_dir / "figures" / f"{stale}.svg").unlink(missing_ok=True)
        for drawing in drawn:
            _write(run_dir / "figures" / f"{drawing.identity}.svg", drawing.svg)
        return _write(run_dir / "report.html", page)
    except OSError as error:
        raise InputError(
            f"{error.filename or run_dir}: {error.strerror}; no report was written",
            "free space or allow writing there",
        ) from None


def render(run: Json, drawn: Iterable[figures.Drawing]) -> str:
    """The page as text; everything that comes from run.json is escaped."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    svgs = {d.identity: Markup(inline(d.svg, d.identity, d.title, d.description)) for d in drawn}  # noqa: S704 - escaped in inline
    css = Markup((FOLDER / "page.css").read_text(encoding="utf-8"))  # noqa: S704 - our own file
    return environment.get_template("page.html.j2").render(**_context(run), figures=svgs, css=css) + "\n"


def _context(run: Json) -> dict[str, Any]:
    """All that the template says, already in words."""
    left, left_total = facts.releases(run)
    store_rows, stores_left_out = tables.stores(run)
    best = best_pooled(run["metrics"])
    return {
        "run": run,
        "headline": headline(run),
        "rehearsed": facts.rehearsed(run),
        "stores_and_customers": f"{noun(run['data']['stores'], 'store')}, {noun(run['data']['customers'], 'customer')}",
        "strip": facts.strip(run),
        "releases": left,
        "released": left_total,
        "most_releases": facts.MOST_RELEASES,
        "measured": facts.measured(run),
        "examples": facts.examples(run),
        "columns": tables.method_columns(run),
        "new_items": tables.methods(run, run["metrics"]),
        "all_items": tables.methods(run, run["metrics_all_items"]) if _has_repeats(run) else None,
        "best": None if best is None else name(run, best),
        "paired": tables.paired(run),
        "stores": store_rows,
        "stores_left_out": stores_left_out,
        "long_tail": tables.long_tail(run),
        "cost": facts.cost(run),
        "data": facts.data(run),
        "uncovered": facts.uncovered(run),
        "config": json.dumps(run["config"], indent=2, ensure_ascii=False, sort_keys=True),
    }


def _has_repeats(run: Json) -> bool:
    """Whether all items were measured and differ from new ones in more than what is masked."""
    return bool(run["metrics_all_items"]) and run["split"].get("repeats", 1) > 0


def _write(path: Path, text: str) -> Path:
    """Replace a file in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
        Path(part).chmod(0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path
