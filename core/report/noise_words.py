"""What the model was watched on, in words: text, noise, timesteps."""

from core import trajectory_objections
from core.calibration_spec import Generation
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
    "generation": "none: the model wrote over masks by its own sampler, and was watched at it",
    "decoding": "none: the model wrote from left to right, and was watched at it",
    "prefixes": "none: the model read the text from left to right, and was watched at it",
}
MANY = 12
"""Timesteps up to which all are named."""


def corrupted(facts: CalibrationFacts) -> str:
    """What became of a corrupted position."""
    return "replaced" if facts.replaces else "masked"


def written(facts: CalibrationFacts) -> bool:
    """Whether the model itself wrote what it was watched on, or read it as if it did."""
    return facts.process in ("generation", "decoding", "prefixes")


def grows(facts: CalibrationFacts) -> bool:
    """Whether later positions of a text come to exist from timestep to timestep."""
    return facts.process in ("decoding", "prefixes")


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
    if facts.prompt_length is not None:
        rows.append(
            ("given", f"the first {plural(facts.prompt_length, 'position')} of each sample")
        )
    return rows + _options(report)


def noise_text(facts: CalibrationFacts) -> str:
    if not corrupts(facts) and not written(facts):
        return "none: the clean text alone was watched"
    return PROCESSES[facts.process]


def timesteps_text(facts: CalibrationFacts) -> str:
    """Which there are, and how much was corrupted at the first and the last."""
    steps = [str(t) for t in facts.timesteps]
    if len(steps) > MANY:
        steps = [*steps[:3], "…", steps[-1]]
    named = ", ".join(steps) + (" steps left" if written(facts) else "")
    parts = []
    if facts.unwritten is None or corrupts(facts):
        parts.append(f"{_span(facts.corrupted)} of the positions {corrupted(facts)}")
    if facts.unwritten is not None:
        parts.append(f"{_span(facts.unwritten)} not yet written")
    return f"{named}: {', '.join(parts)}"


def _span(shares: list[float]) -> str:
    first, last = shares[0], shares[-1]
    return percent(first) if len(shares) == 1 else f"{percent(first)} to {percent(last)}"


def _writing(asked: object, facts: CalibrationFacts) -> list[tuple[str, str]]:
    """How the model wrote: what differs from its sampler's defaults."""
    generation = Generation.model_validate(asked or {})
    names = tuple(name for name in Generation.model_fields if name != "prompt_length")
    changed = [
        f"{name.replace('_', ' ')} {getattr(generation, name)}"
        for name in trajectory_objections.given(generation, names)
    ]
    sampler = "one token after the other" if facts.process == "decoding" else "the family's own"
    return [("sampler", ", ".join([sampler, *changed]))]


def _options(report: AnyReport) -> list[tuple[str, str]]:
    facts, asked = report.calibration, report.job.get("calibration")
    given = asked if isinstance(asked, dict) else {}
    rows = _writing(given.get("generation"), facts) if written(facts) else []
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
        text = "finished" if written(facts) else "clean"
        rows.append(("include clean", f"the {text} text is a timestep too, t = 0"))
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
