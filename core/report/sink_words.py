"""The sink statistics as rows of a table: for the page, and for a terminal."""

from dataclasses import dataclass

from core.report import words
from core.report.noise_words import corrupted, corrupts, grows
from core.report.schema import AnyReport, Mean

NONE = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One statistic: how it is called, which field of the report it is, and what it means."""

    name: str
    field: str
    meaning: str
    percent: bool = False
    over_time: bool = False
    """Whether it says nothing of a single timestep."""


ROWS = (
    Row(
        "sinks at a timestep",
        "sinks_per_step",
        "positions that receive more than the mean + {threshold:g} σ",
    ),
    Row(
        "share of attention",
        "mass_share",
        "what these few positions take of all attention",
        percent=True,
    ),
    Row(
        "overlap from step to step",
        "jaccard",
        "Jaccard index of the sink sets of neighbouring timesteps: 1 if the same, 0 if all new",
    ),
    Row(
        "transient",
        "transient_share",
        "of the positions that are ever a sink, those that come and go",
        percent=True,
        over_time=True,
    ),
    Row(
        "stable",
        "stable_share",
        "those that remain one at nearly every timestep",
        percent=True,
        over_time=True,
    ),
    Row("on {word} positions", "masked_share", "sinks whose token {fate}", percent=True),
    Row(
        "at the ends",
        "ends_share",
        "sinks that are the first or the last position",
        percent=True,
    ),
    Row(
        "length of values",
        "value_norm_ratio",
        "at sinks, over that at the other positions: far below 1, what draws attention says little",
    ),
    Row(
        "spatial variance",
        "spatial_variance",
        "over positions, of the share of attention: how concentrated it is",
    ),
    Row(
        "temporal variance",
        "temporal_variance",
        "over timesteps, of the sinks' centroid, in positions²: how far they drift",
        over_time=True,
    ),
    Row(
        "temporal variance, relative",
        "temporal_variance_relative",
        "the same with the length as 1, for comparison between models and lengths",
        over_time=True,
    ),
)


def sink_rows(report: AnyReport) -> list[tuple[str, str, str]]:
    """(statistic, mean ± standard error, what it means)"""
    sinks, word = report.sinks, corrupted(report.calibration)
    facts = {
        "threshold": sinks.threshold_std,
        "word": word,
        "fate": "was still to be written" if word == "masked" else "noise had put there",
    }
    rows = [
        (row.name.format(**facts), _value(row, report), row.meaning.format(**facts)) for row in ROWS
    ]
    without = f"{sinks.timesteps_without_sink} of {sinks.samples * len(sinks.timesteps)}"
    return [
        *rows,
        (
            "timesteps without a sink",
            without,
            "over all samples; they are left out of the drift",
        ),
    ]


def _value(row: Row, report: AnyReport) -> str:
    """As text; a dash for what the run could not tell."""
    alone = row.over_time and len(report.sinks.timesteps) < 2
    if alone or (row.field == "masked_share" and not corrupts(report.calibration)):
        return NONE
    mean: Mean = getattr(report.sinks, row.field)
    return words.mean_text(mean, 100, "%") if row.percent else words.mean_text(mean)


def about_model(report: AnyReport) -> str:
    """Which kind of model this is, and what its timesteps are."""
    if report.model.attention != "causal":
        return ""
    noised = (
        "it never writes over noise, and its text was noised only so that the same statistics can be"
        " taken of both kinds"
    )
    if grows(report.calibration):
        noised = "it was watched at that, on beginnings that grow; what it had not written yet counts nowhere"
    elif not corrupts(report.calibration):
        noised = "its text was not noised"
    return f"This model writes from left to right: {noised}."
