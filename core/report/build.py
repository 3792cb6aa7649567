"""The report folder: report.json, a page for people, and its plots.

Same report and arrays, same bytes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.report import meanings, words
from core.report.figures import Picture, Plot, picture
from core.report.grid import sparsity_grid, unreached_rows
from core.report.knockout_plots import knockout_of
from core.report.noise_words import watched_rows
from core.report.plots import all_plots
from core.report.reading import Readable
from core.report.schema import AnyReport, Report
from core.report.sink_words import about_model, sink_rows
from core.report.sinks_file import SinkArrays

TEMPLATES = Path(__file__).parent / "templates"
INCOMPLETE: Final = "What is left of this result can be seen below."


def write(
    report: AnyReport, arrays: SinkArrays, folder: Path, control: SinkArrays | None = None
) -> None:
    """Write report.json, report.html and plots/*.png, *.svg into `folder`, which is made if missing."""
    pictures = draw(all_plots(report, arrays, control), folder)
    (folder / "report.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(report, pictures), encoding="utf-8")


def draw(plots: list[Plot], folder: Path) -> list[Picture]:
    """Draw `plots`, and put each into `folder`/plots as a picture of its own."""
    pictures = [picture(plot) for plot in plots]
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for each in pictures:
        (folder / "plots" / f"{each.name}.png").write_bytes(each.png)
        (folder / "plots" / f"{each.name}.svg").write_text(each.file, encoding="utf-8")
    return pictures


def page(
    report: AnyReport | Readable, pictures: list[Picture], missing: tuple[str, ...] = ()
) -> str:
    """One HTML page that needs nothing beside it and no network.

    Of a report of which parts are missing, `missing` says which, and the page shows the others.
    """
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
    text = environment.get_template("report.html").render(
        report=report,
        missing=missing,
        style=style,
        pictures=drawn,
        spec=json.dumps(report.job, indent=2, ensure_ascii=False),
        **_parts(report),
    )
    return text.lstrip()


def _parts(report: AnyReport | Readable) -> dict[str, Any]:
    """What the sections show, each as far as the report has what it is made of."""
    watched = report.model and report.calibration and report.sinks
    removed = report.kind == "pruning" and report.sparsity and report.recipe and report.job
    sinks: AnyReport = cast("AnyReport", report)
    pruning: Report = cast("Report", report)
    return {
        "verdict": words.verdict(sinks) if _whole(report) else INCOMPLETE,
        "tiles": words.tiles(sinks) if _whole(report) else [],
        "about": about_model(sinks) if watched else "",
        "sinks": sink_rows(sinks) if watched else [],
        "watched": watched_rows(sinks) if watched and report.job else [],
        "costs": _cost_rows(sinks) if report.plan and report.actual else [],
        "phases": _phases(sinks) if report.actual else [],
        "knockout": knockout_of(sinks),
        "grid": sparsity_grid(report.sparsity.matrices) if removed and report.sparsity else None,
        "unreached": unreached_rows(report.sparsity.unreached)
        if removed and report.sparsity
        else [],
        "recipe": meanings.recipe_rows(pruning) if removed else [],
        "loss": meanings.loss_of(pruning) if report.kind == "pruning" and report.quality else None,
    }


def _whole(report: AnyReport | Readable) -> bool:
    """Whether the parts that one sentence can be made of are there."""
    parts = [report.job, report.model, report.sinks, report.actual]
    parts += [report.sparsity, report.recipe, report.quality] if report.kind == "pruning" else []
    return all(part is not None for part in parts)


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
