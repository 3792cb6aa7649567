"""The report folder: report.json, a page for people, and its plots.

Same report and arrays, same bytes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from core.report import words
from core.report.figures import Picture, picture
from core.report.grid import sparsity_grid
from core.report.plots import all_plots
from core.report.schema import Mean, Report
from core.report.sinks_file import SinkArrays

TEMPLATES = Path(__file__).parent / "templates"

MEANINGS = {
    "inputs": {
        "clean": "the layers were watched on clean text",
        "noised": "the layers were watched on the noised text that the model denoises",
    },
    "order": {
        "sequential": "each block saw the outputs of the blocks already pruned",
        "one-shot": "every block was measured in the dense model",
    },
    "sinks": {
        "keep": "every position counted fully, sinks too",
        "discount-all": "positions counted the less the more they act as sinks",
        "discount-transient": "only sinks that come and go were discounted",
    },
    "allocation": {"uniform": "the same share was removed from every matrix"},
}


def write(report: Report, arrays: SinkArrays, folder: Path) -> None:
    """Write report.json, report.html and plots/*.png into `folder`, which is made if missing."""
    pictures = [picture(plot) for plot in all_plots(report, arrays)]
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    for each in pictures:
        (folder / "plots" / f"{each.name}.png").write_bytes(each.png)
    (folder / "report.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(report, pictures), encoding="utf-8")


def page(report: Report, pictures: list[Picture]) -> str:
    """One HTML page that needs nothing beside it and no network."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["words"] = words
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
        grid=sparsity_grid(report.sparsity.matrices),
        sinks=_sink_rows(report),
        recipe=_recipe_rows(report),
        costs=_cost_rows(report),
        phases=_phases(report),
        spec=json.dumps(report.job, indent=2, ensure_ascii=False),
    )


def _recipe_rows(report: Report) -> list[tuple[str, str, str]]:
    """(setting, value, what it means); settings that the method does not have are left out."""
    return [
        (name, value, MEANINGS.get(name, {}).get(value, ""))
        for name, value in report.recipe.items()
        if value is not None
    ]


def _cost_rows(report: Report) -> list[tuple[str, str, str]]:
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


def _phases(report: Report) -> list[tuple[str, str, float]]:
    """(phase, seconds in words, percent of the whole)"""
    by_phase = report.actual.seconds_by_phase
    whole = sum(by_phase.values()) or 1.0
    return [(name, words.duration(s), 100 * s / whole) for name, s in by_phase.items()]


def _sink_rows(report: Report) -> list[tuple[str, str, str]]:
    """(statistic, mean ± standard error, what it means)"""
    sinks = report.sinks

    def share(mean: Mean) -> str:
        return words.mean_text(mean, 100, "%")

    return [
        (
            "sinks at a timestep",
            words.mean_text(sinks.sinks_per_step),
            f"positions that receive more than the mean + {sinks.threshold_std:g} σ",
        ),
        (
            "share of attention",
            share(sinks.mass_share),
            "what these few positions take of all attention",
        ),
        (
            "overlap from step to step",
            words.mean_text(sinks.jaccard),
            "Jaccard index of the sink sets of neighbouring timesteps: 1 if the same, 0 if all new",
        ),
        (
            "transient",
            share(sinks.transient_share),
            "of the positions that are ever a sink, those that come and go",
        ),
        ("stable", share(sinks.stable_share), "those that remain one at nearly every timestep"),
        ("on mask tokens", share(sinks.masked_share), "sinks whose token was still to be written"),
        (
            "spatial variance",
            words.mean_text(sinks.spatial_variance),
            "over positions, of the share of attention: how concentrated it is",
        ),
        (
            "temporal variance",
            words.mean_text(sinks.temporal_variance),
            "over timesteps, of the sinks' centroid, in positions²: how far they drift",
        ),
        (
            "temporal variance, relative",
            words.mean_text(sinks.temporal_variance_relative),
            "the same with the length as 1, for comparison between models and lengths",
        ),
        (
            "timesteps without a sink",
            f"{sinks.timesteps_without_sink} of {sinks.samples * len(sinks.timesteps)}",
            "over all samples; they are left out of the drift",
        ),
    ]
