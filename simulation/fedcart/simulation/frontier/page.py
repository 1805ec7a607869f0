"""frontier.html and figures/*.svg from frontier.json: self-contained, no script, no network."""

from __future__ import annotations

from pathlib import Path

from fedcart.shared.storage import named_failures, replace_bytes
from fedcart.simulation.frontier import facts, figures
from fedcart.simulation.frontier.buys import ALONE
from fedcart.simulation.frontier.chart import SERIES
from fedcart.simulation.frontier.claims import simple_better
from fedcart.simulation.frontier.results import Json
from fedcart.simulation.frontier.sentences import headline
from fedcart.simulation.report.figure_style import inline
from fedcart.simulation.report.figures import Drawing
from fedcart.simulation.report.page import FOLDER as REPORT

FOLDER = Path(__file__).parent


def write_page(directory: Path, document: Json) -> Path:
    """Write the page and its figures; figures of an earlier grid go."""
    drawn = list(figures.drawings(document))
    folder = directory / "figures"
    with named_failures(folder, "write"):
        folder.mkdir(exist_ok=True)
        for stale in {path.stem for path in folder.glob("*.svg")} - {one.identity for one in drawn}:
            (folder / f"{stale}.svg").unlink()
    for one in drawn:
        replace_bytes(folder / f"{one.identity}.svg", one.svg.encode())
    path = directory / "frontier.html"
    replace_bytes(path, render(document, drawn).encode())
    return path


def render(document: Json, drawn: list[Drawing]) -> str:
    """The page as text; everything from frontier.json is escaped."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = "".join((folder / "page.css").read_text(encoding="utf-8") for folder in (REPORT, FOLDER))
    return (
        environment.get_template("page.html.j2").render(
            doc=document,
            css=Markup(css),  # noqa: S704 - our own files
            said=headline(document),
            figures=[{"title": one.title, "svg": Markup(coloured(one)), "kind": kind(one)} for one in drawn],  # noqa: S704 - escaped in inline
            strip=facts.strip(document),
            simple_better=simple_better(document),
            table=facts.table(document),
            differences=facts.differences(document),
            bought=facts.bought(document),
            alone=ALONE,
            own=any(row["with_store"] for row in document["table"]),
            runs=facts.runs(document),
            data=facts.data(document),
            failed=sum(row["status"] != "complete" for row in document["cells"]),
        )
        + "\n"
    )


def coloured(one: Drawing) -> str:
    """The drawing for the page: learners' colours are variables, as all others."""
    svg = inline(one.svg, one.identity, one.title, one.description)
    for number, colour in enumerate(SERIES):
        svg = svg.replace(colour, f"var(--series-{number})")
    return svg


def kind(one: Drawing) -> str:
    """Which section a figure belongs to."""
    return one.identity.split("-")[0]
