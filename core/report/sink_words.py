"""The sink statistics as rows of a table: for the page, and for a terminal."""

from core.report import words
from core.report.noise_words import corrupted, corrupts
from core.report.schema import AnyReport, Mean

NONE = "–"


def sink_rows(report: AnyReport) -> list[tuple[str, str, str]]:
    """(statistic, mean ± standard error, what it means)"""
    sinks, facts = report.sinks, report.calibration
    several = len(sinks.timesteps) > 1
    word = corrupted(facts)

    def share(mean: Mean) -> str:
        return words.mean_text(mean, 100, "%")

    def over_time(value: str) -> str:
        return value if several else NONE

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
            over_time(share(sinks.transient_share)),
            "of the positions that are ever a sink, those that come and go",
        ),
        (
            "stable",
            over_time(share(sinks.stable_share)),
            "those that remain one at nearly every timestep",
        ),
        (
            f"on {word} positions",
            share(sinks.masked_share) if corrupts(facts) else NONE,
            "sinks whose token was still to be written"
            if word == "masked"
            else "sinks whose token noise had put there",
        ),
        (
            "spatial variance",
            words.mean_text(sinks.spatial_variance),
            "over positions, of the share of attention: how concentrated it is",
        ),
        (
            "temporal variance",
            over_time(words.mean_text(sinks.temporal_variance)),
            "over timesteps, of the sinks' centroid, in positions²: how far they drift",
        ),
        (
            "temporal variance, relative",
            over_time(words.mean_text(sinks.temporal_variance_relative)),
            "the same with the length as 1, for comparison between models and lengths",
        ),
        (
            "timesteps without a sink",
            f"{sinks.timesteps_without_sink} of {sinks.samples * len(sinks.timesteps)}",
            "over all samples; they are left out of the drift",
        ),
    ]


def about_model(report: AnyReport) -> str:
    """Which kind of model this is, and what its timesteps are."""
    if report.model.attention != "causal":
        return ""
    noised = (
        "it never writes over noise, and its text was noised only so that the same statistics can be"
        " taken of both kinds"
    )
    if not corrupts(report.calibration):
        noised = "its text was not noised"
    return f"This model writes from left to right: {noised}."
