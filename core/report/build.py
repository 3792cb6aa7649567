"""The report folder: report.json, a page for people, and its plots.

Same report and arrays, same bytes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.report import meanings, words
from core.report.figures import Picture, picture
from core.report.grid import sparsity_grid, unreached_rows
from core.report.noise_words import watched_rows
from core.report.plots import all_plots
from core.report.schema import AnyReport
from core.report.sink_words import about_model, sink_rows
from core.report.sinks_file import SinkArrays

TEMPLATES = Path(__file__).parent / "templates"


def write(report: AnyReport, arrays: SinkArrays, folder: Path) -> None:
    """Write report.json, report.html and plots/*.png into `folder`, which is made if missing."""
    pictures = [picture(plot) for plot in all_plots(report, arrays)]
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for each in pictures:
        (folder / "plots" / f"{each.name}.png").write_bytes(each.png)
    (folder / "report.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(report, pictures), encoding="utf-8")


def page(report: AnyReport, pictures: list[Picture]) -> str:
    """One HTML page that needs nothing beside it and no network."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {"words": words, "meanings": meanings}
    # Our own style sheet and drawings; everything that came with the job stays escaped.
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704
    drawn = {
        each.name: (
            each,
            Markup(each.svg),  # noqa: S704
            None if each.narrow_svg is None else Markup(each.narrow_svg),  # noqa: S704
        )
        for each in pictures
    }
    return environment.get_template("report.html").render(
        report=report,
        style=style,
        pictures=drawn,
        verdict=words.verdict(report),
        tiles=words.tiles(report),
        about=about_model(report),
        sinks=sink_rows(report),
        watched=watched_rows(report),
        costs=_cost_rows(report),
        phases=_phases(report),
        spec=json.dumps(report.job, indent=2, ensure_ascii=False),
        **_pruning_parts(report),
    )


def _pruning_parts(report: AnyReport) -> dict[str, Any]:
    """What the sections on pruning show, which an analysis does not have."""
    if report.kind == "analysis":
        return {}
    return {
        "grid": sparsity_grid(report.sparsity.matrices),
        "unreached": unreached_rows(report.sparsity.unreached),
        "recipe": meanings.recipe_rows(report),
        "loss": meanings.loss_of(report),
    }


def _cost_rows(report: AnyReport) -> list[tuple[str, str, str]]:
    """(quantity, planned, taken)"""

    def pair(name: str, show: Callable[[Any], str]) -> tuple[str, str]:
        values = (getattr(report.plan, name), getattr(report.actual, name))
        planned, taken = ("–" if value is None else show(value) for value in values)
        return planned, taken

    return [
        ("time", *pair("seconds", words.duration)),
        ("memory at peak", *pair("peak_bytes", words.data_size)),
        ("arithmetic", *pair("flops", lambda v: words.count(v, "FLOP"))),
        ("sequences through the model", *pair("forwards", lambda v: f"{v:,}")),
    ]


def _phases(report: AnyReport) -> list[tuple[str, str, float]]:
    """(phase, seconds in words, percent of the whole)"""
    by_phase = report.actual.seconds_by_phase
    whole = sum(by_phase.values()) or 1.0
    return [(name, words.duration(s), 100 * s / whole) for name, s in by_phase.items()]
