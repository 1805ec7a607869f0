"""The files of a frontier, each written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from fedcart.shared.storage import replace_bytes
from fedcart.simulation.frontier.page import write_page
from fedcart.simulation.frontier.results import Json
from fedcart.simulation.frontier.tables_out import cells_csv, table_csv, table_tex


def write(directory: Path, document: Json) -> None:
    """frontier.json, frontier.csv, cells.csv, frontier.tex, figures/*.svg and frontier.html."""
    texts = {
        "frontier.json": json.dumps(document, indent=1, allow_nan=False) + "\n",
        "frontier.csv": table_csv(document),
        "cells.csv": cells_csv(document),
        "frontier.tex": table_tex(document),
    }
    for name, text in texts.items():
        replace_bytes(directory / name, text.encode())
    write_page(directory, document)
