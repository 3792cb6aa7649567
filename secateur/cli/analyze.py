"""`secateur analyze`: a model's attention sinks, measured here, with nothing removed."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.evaluation.in_depth import Condition
    from core.report.quality_parts import Knockout
    from core.report.schema import AnalysisReport, Mean

BARS: Final = "▁▂▃▄▅▆▇█"

Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="Folder to make, with the whole report.")
]
SaveTrajectory = Annotated[
    Path | None,
    typer.Option(
        "--save-trajectory",
        metavar="FILE.safetensors",
        help="Token file to make, with the sequences that were watched.",
    ),
]
PerHead = Annotated[
    bool, typer.Option("--per-head", help="Also tell every head's statistics, in report.json.")
]
DumpMass = Annotated[
    bool,
    typer.Option(
        "--dump-mass",
        help="Also write report/sinks-full.safetensors: every sample's mass and value norms, by"
        " block, and by head with --per-head. Needs --out.",
    ),
]
Knock = Annotated[
    bool,
    typer.Option("--knockout", help="Also measure the loss with the sinks hidden from attention."),
]


def analyze(
    model: o.Model = None,
    calibration: o.CalibrationSource = None,
    samples: o.Samples = None,
    sequence_length: o.SequenceLength = None,
    seed: o.Seed = None,
    trajectory: o.Trajectory = None,
    control: o.Control = None,
    spec: o.SpecFile = None,
    out: Out = None,
    save_trajectory: SaveTrajectory = None,
    per_head: PerHead = False,
    dump_mass: DumpMass = False,
    knockout: Knock = False,
    device: o.Device = None,
    threads: o.Threads = None,
    memory_budget: o.MemoryBudget = None,
    force: o.Force = False,
    json: o.Json = False,
) -> None:
    """Measure a model's attention sinks here; prune nothing."""
    from core.analysis_spec import parse_analysis
    from secateur.cli import _local
    from secateur.cli._signals import interruptible
    from secateur.cli._spec import Typed, spec_data

    typed = Typed(
        model,
        calibration=calibration,
        samples=samples,
        sequence_length=sequence_length,
        seed=seed,
        trajectory=trajectory,
        control=control,
    )
    asked = {"per_head": per_head, "dump": dump_mass}
    sinks = {name: True for name, flag in asked.items() if flag}
    data = spec_data(typed, spec, sinks=sinks or None, knockout=knockout or None)
    parsed = parse_analysis(data)
    if out is not None:
        _local.check_output(out, force=force)
    engine = _local.engine()
    options = _local.run_options(engine, device, threads, memory_budget, force=force)
    with interruptible():
        report: AnalysisReport = _local.with_progress(
            "analysis",
            lambda watch: engine.analyse(parsed, out, options, watch, trajectory=save_trajectory),
        )
    _tell(report, {"out": out, "trajectory": save_trajectory}, json=json)


def _tell(report: "AnalysisReport", made: dict[str, Path | None], *, json: bool) -> None:
    """What was found, and what was made: the folder `out`, the file `trajectory`."""
    from secateur.cli._output import result, show_json

    if json:
        places = {name: str(path) for name, path in made.items() if path is not None}
        show_json({**places, **report.model_dump(mode="json")})
        return
    for line in summary(report):
        result(line)
    if (out := made["out"]) is not None:
        result(f"report      {out / 'report' / 'report.html'}")
    if made["trajectory"] is not None:
        result(f"trajectory  {made['trajectory']}")


def summary(report: "AnalysisReport") -> Iterator[str]:
    """The analysis as lines for a terminal."""
    from core.report import words
    from core.report.noise_words import watched_rows
    from core.report.sink_words import sink_rows

    model = report.model
    blocks = f"{words.plural(model.blocks, 'block')} of {words.plural(model.heads, 'head')}"
    yield f"{model.source}, family {model.family} ({model.attention} attention), {blocks}"
    for name, value in watched_rows(report):
        yield f"  {name:<18}{value}"
    yield ""
    yield words.verdict(report)
    yield ""
    rows = [(name, value) for name, value, _ in sink_rows(report)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        yield f"  {name:<{width}}  {value}"
    yield ""
    yield f"By block, from 0 next to the input to {model.blocks - 1}:"
    layers = report.sinks.per_layer
    yield from _by_block("share of attention", [layer.mass_share for layer in layers], width)
    yield from _by_block("spatial variance", [layer.spatial_variance for layer in layers], width)
    if len(report.sinks.timesteps) > 1:
        drift = [layer.temporal_variance_relative for layer in layers]
        yield from _by_block("temporal variance, relative", drift, width)
    if report.knockout is not None:
        yield ""
        yield from knockout_lines(report.knockout, width)
    for warning in report.warnings:
        yield f"warning   {warning}"


HIDDEN: "Final[dict[Condition, str]]" = {
    "none": "nothing",
    "all": "all sinks",
    "random": "as many other positions",
    "stable": "stable sinks",
    "random-stable": "as many other positions",
    "transient": "transient sinks",
    "random-transient": "as many other positions",
}
"""Conditions of a knock-out in the order in which they are told, each before its control."""


def knockout_lines(knockout: "Knockout", width: int) -> Iterator[str]:
    """What each condition does to the loss, each beside its control."""
    from core.report.words import plus_minus, significant

    found = {each.name: each for each in knockout.conditions}
    yield f"Loss with keys hidden from attention, on {knockout.text}:"
    for name, words in HIDDEN.items():
        each, value = found[name], found[name].difference
        if name == "none":
            yield f"  {words:<{width}}  {significant(each.loss.mean or 0, 4)} nats per token"
        elif each.hidden and value.mean is not None:
            change = plus_minus(value.mean, value.stderr, signed=True)
            yield f"  {words:<{width}}  {change}, {significant(each.hidden)} positions a sequence"


def _by_block(name: str, means: "Sequence[Mean]", width: int) -> Iterator[str]:
    """One bar a block, the highest where the value is largest, and the range in numbers."""
    from core.report.words import significant

    known = [mean.mean for mean in means if mean.mean is not None]
    if not known:
        yield f"  {name:<{width}}  no sinks in any single block"
        return
    span = f"{significant(min(known))} to {significant(max(known))}"
    yield f"  {name:<{width}}  {sparkline([mean.mean for mean in means])}  {span}"


def sparkline(values: "Sequence[float | None]") -> str:
    """One character a value: a bar from zero to the largest; a dot where there is none."""
    largest = max((value for value in values if value is not None), default=0.0)
    steps = len(BARS) - 1
    return "".join(
        "·" if value is None else BARS[round(steps * value / largest) if largest > 0 else 0]
        for value in values
    )
