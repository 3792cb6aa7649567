"""The report folder: report.json, a page for people, and its plots.

Same report and arrays, same bytes.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, UndefinedError
from markupsafe import Markup

from core.report import meanings, words
from core.report.figures import Picture, Plot, picture
from core.report.grid import sparsity_grid, unreached_rows
from core.report.knockout_plots import knocked_out, knockout_of
from core.report.noise_words import watched_rows
from core.report.plots import all_plots
from core.report.reading import Readable
from core.report.schema import AnyReport
from core.report.sink_words import about_model, sink_rows
from core.report.sinks_file import SinkArrays

TEMPLATES = Path(__file__).parent / "templates"


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
    report: AnyReport | Readable,
    pictures: list[Picture],
    missing: tuple[str, ...] = (),
    *,
    files: bool = True,
) -> str:
    """One HTML page that needs nothing beside it and no network.

    Of a report of which parts are missing, `missing` says which, and the page shows the others. `files`
    says whether it lies among the result's files, which it then names.
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
    drawn = {
        each.name: (
            each,
            Markup(each.svg),  # noqa: S704
            None if each.narrow_svg is None else Markup(each.narrow_svg),  # noqa: S704
        )
        for each in pictures
    }
    shared = {"report": report, "pictures": drawn, "pruned": report.kind == "pruning"}
    render = partial(_section, environment, cast("AnyReport", report), shared)
    return environment.get_template("report.html").render(
        **shared,
        missing=missing,
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        head=render(HEAD),
        sections=[render(section) for section in [*sections_of(report), *[FILES] * files]],
    )


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its template, what that is given, and what is said where it cannot be."""

    template: str
    facts: Callable[[Any], dict[str, Any]]
    title: str = ""
    what: str = ""


HEAD: Final = Section(
    "head.html",
    lambda report: {"verdict": words.verdict(report), "tiles": words.tiles(report)},
    "What is left of this result can be seen below.",
)
SINKS: Final = Section(
    "sinks.html",
    lambda report: {"about": about_model(report), "sinks": sink_rows(report)},
    "The sinks",
    "what was measured of attention sinks",
)
KNOCKOUT: Final = Section(
    "knockout.html",
    lambda report: {"knocked_out": list(knocked_out(report))},
    "What the sinks are worth to the model",
    "its loss with sinks hidden",
)
REMOVED: Final = Section(
    "removed.html",
    lambda report: {
        "grid": sparsity_grid(report.sparsity.matrices),
        "unreached": unreached_rows(report.sparsity.unreached),
    },
    "What was removed",
    "what was removed from which matrix",
)
QUALITY: Final = Section(
    "quality.html",
    lambda report: {"loss": meanings.loss_of(report)},
    "What it cost in quality",
    "the loss of both models",
)
COST: Final = Section(
    "cost.html",
    lambda report: {"costs": _cost_rows(report), "phases": _phases(report)},
    "What it took",
    "what the run was planned to take, and took,",
)
MADE: Final = Section(
    "made.html",
    lambda report: {
        "recipe": meanings.recipe_rows(report) if report.kind == "pruning" else [],
        "watched": watched_rows(report),
        "spec": json.dumps(report.job, indent=2, ensure_ascii=False),
    },
    "How it was made",
    "model, request or recipe",
)
FILES: Final = Section("files.html", lambda _: {}, "Files beside this page", "the request")


def sections_of(report: AnyReport | Readable) -> list[Section]:
    """In the page's order; what nobody asked for is left out."""
    found = [SINKS] + [KNOCKOUT] * (knockout_of(report) is not None)
    found += [REMOVED, QUALITY] * (report.kind == "pruning")
    return [*found, COST, MADE]


DAMAGE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    UndefinedError,
    ValueError,
)
"""What comes of looking for what is not there."""


def _section(
    environment: Environment, report: AnyReport, shared: dict[str, Any], section: Section
) -> Markup:
    """The section, or of a report that is not whole, that it cannot be shown. The sections escape what
    came with the job."""
    template = environment.get_template(section.template)
    try:
        return Markup(template.render(**shared, **section.facts(report)))  # noqa: S704
    except DAMAGE:
        if not isinstance(report, Readable):
            raise
    return Markup(environment.get_template("lost.html").render(section=section))  # noqa: S704


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
