"""What the model was watched on, in words: text, noise, timesteps."""

from core.report.schema import AnyReport, CalibrationFacts
from core.report.words import percent, plural, significant

PROCESSES = {
    "llada": "each position was masked with the timestep's probability (LLaDA's forward process)",
    "dream": (
        "positions were masked, all but the first and the last, with probabilities drawn for each"
        " sample (Dream's forward process)"
    ),
    "uniform": (
        "the model has no mask token: each position but the first was replaced by a random token"
        " with the timestep's probability (a uniform process)"
    ),
    "recorded": "a recorded trajectory, used as it is; no noise was drawn",
}
MANY = 12
"""Timesteps up to which all are named."""


def corrupted(facts: CalibrationFacts) -> str:
    """What became of a corrupted position."""
    return "replaced" if facts.replaces else "masked"


def corrupts(facts: CalibrationFacts) -> bool:
    """Whether any position was corrupted at all."""
    return any(facts.corrupted)


def watched_rows(report: AnyReport) -> list[tuple[str, str]]:
    """(setting, what it was); options that were left at their defaults are not listed."""
    facts, sinks = report.calibration, report.sinks
    rows = [("text", facts.source)]
    if facts.revision is not None:
        rows.append(("its revision", facts.revision))
    rows += [
        ("watched", f"{plural(sinks.samples, 'sample')} of {plural(sinks.positions, 'position')}"),
        ("noise", noise_text(facts)),
        ("timesteps", timesteps_text(facts)),
    ]
    return rows + _options(report)


def noise_text(facts: CalibrationFacts) -> str:
    if not corrupts(facts):
        return "none: the clean text alone was watched"
    return PROCESSES[facts.process]


def timesteps_text(facts: CalibrationFacts) -> str:
    """Which there are, and how much was corrupted at the first and the last."""
    steps = [str(t) for t in facts.timesteps]
    if len(steps) > MANY:
        steps = [*steps[:3], "…", steps[-1]]
    first, last = facts.corrupted[0], facts.corrupted[-1]
    span = percent(first) if len(facts.corrupted) == 1 else f"{percent(first)} to {percent(last)}"
    return f"{', '.join(steps)}: {span} of the positions {corrupted(facts)}"


def _options(report: AnyReport) -> list[tuple[str, str]]:
    asked = report.job.get("calibration")
    given = asked if isinstance(asked, dict) else {}
    rows = []
    if given.get("stratified"):
        rows.append(
            ("stratified", "each sample's noise levels were drawn, one in each of equal strata")
        )
    if given.get("keep_prefix"):
        count = plural(given["keep_prefix"], "position")
        rows.append(("keep prefix", f"the first {count} never corrupted"))
    if given.get("max_rate", 1) < 1:
        most = percent(given["max_rate"])
        rows.append(("max rate", f"no timestep corrupts more than {most} of the positions"))
    if given.get("include_clean"):
        rows.append(("include clean", "the clean text is a timestep too, t = 0"))
    if given.get("timestep_weights", "uniform") != "uniform":
        rows.append(("timestep weights", _weights_text(report)))
    return rows


def _weights_text(report: AnyReport) -> str:
    weights = report.calibration.weights
    shown = [significant(w) for w in weights]
    listed = ", ".join(shown if len(shown) <= MANY else [*shown[:3], "…", shown[-1]])
    asked = report.job["calibration"]["timestep_weights"]
    rule = (
        "one over the noise level, as the NELBO weighs it" if asked == "inverse-rate" else "given"
    )
    scope = "sink statistics count all timesteps alike"
    return f"{listed} ({rule}; {scope})"
