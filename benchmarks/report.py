"""report.html: one page with everything in it, that opens without a connection."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING

from benchmarks.plots import is_wide, styles

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Results

REPORT = "report.html"
TEMPLATE = "report.html"
PLACE = "/*RESULTS*/"


def write(made: Results, folder: Path) -> Path:
    """Write the report of some results beside them."""
    path = folder / REPORT
    path.write_text(page(made), encoding="utf-8")
    return path


def page(made: Results) -> str:
    """The page: the template with the results in it. No text of the data can end the script it stands in."""
    every = [made, *made.parts.values()]
    style = styles({name for part in every for name in part.routers})
    beside = {
        "styles": {name: asdict(each) for name, each in style.items()},
        "wide": {part.title: is_wide(part) for part in every},
    }
    encoded = f'{{"results":{made.model_dump_json()},"drawing":{json.dumps(beside)}}}'
    template = (files("benchmarks") / "templates" / TEMPLATE).read_text(encoding="utf-8")
    return template.replace(PLACE, encoded.replace("<", "\\u003c"))
