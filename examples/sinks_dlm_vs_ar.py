"""Do attention sinks move? A diffusion language model beside its autoregressive twin, on the same text.

    python examples/sinks_dlm_vs_ar.py [--samples 128] [--dlm example:kjv-dlm] [--ar example:kjv-ar]

Each model is watched on every trajectory that its kind has, and its sinks' temporal variance printed with a
95 % confidence interval over samples (mean ± 1.96 standard errors). `--write` keeps the figures as the
reference points of the report's scatter plot.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.analysis_spec import parse_analysis
from core.progress import Progress
from core.report.schema import AnalysisReport, Mean
from core.report.variance_plot import REFERENCES, Spot, spot
from core.run import analyse
from core.stages import RunOptions

NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Watched:
    """One model on one trajectory."""

    label: str
    source: str
    trajectory: str


def plan(dlm: str, ar: str) -> list[Watched]:
    """What is watched. The first of the diffusion model and the first of the other are compared."""
    return [
        Watched("diffusion, noised text", dlm, "forward-noise"),
        Watched("diffusion, as it writes", dlm, "generation"),
        Watched("autoregressive, prefixes of the text", ar, "prefixes"),
        Watched("autoregressive, as it writes", ar, "decoding"),
        Watched("autoregressive, noised text", ar, "forward-noise"),
    ]


def measure(watched: Watched, samples: int, length: int, options: RunOptions) -> AnalysisReport:
    def tell(progress: Progress) -> None:
        print(f"\r{watched.label}: {progress.fraction:4.0%}", end="", file=sys.stderr, flush=True)

    spec = parse_analysis(
        {
            "model": {"source": watched.source},
            "calibration": {
                "samples": samples,
                "sequence_length": length,
                "trajectory": watched.trajectory,
            },
        }
    )
    report = analyse(spec, None, options, tell)
    print(file=sys.stderr)
    return report


def interval(mean: Mean) -> str:
    """`0.0279 [0.0271, 0.0287]`"""
    if mean.mean is None:
        return "no sink"
    half = NORMAL_95 * (mean.stderr or 0.0)
    return f"{mean.mean:.4g} [{mean.mean - half:.4g}, {mean.mean + half:.4g}]"


def row(watched: Watched, report: AnalysisReport) -> str:
    sinks = report.sinks
    transient = sinks.transient_share.mean
    cells = [
        watched.label,
        watched.source,
        interval(sinks.temporal_variance_relative),
        interval(sinks.temporal_variance),
        "–" if transient is None else f"{transient:.1%}",
        "–" if sinks.jaccard.mean is None else f"{sinks.jaccard.mean:.2f}",
        "–" if sinks.mass_share.mean is None else f"{sinks.mass_share.mean:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def ratio(one: Mean, other: Mean) -> str:
    if not one.mean or other.mean is None:
        return "no ratio: one of the two has no sink"
    if other.mean == 0:
        return "the autoregressive model's sinks do not move at all: no finite ratio"
    relative = ((one.stderr or 0) / one.mean) ** 2 + ((other.stderr or 0) / other.mean) ** 2
    found = one.mean / other.mean
    half = NORMAL_95 * found * relative**0.5
    return f"{found:.3g} times the autoregressive model's (95 %: {found - half:.3g} to {found + half:.3g})"


def spots(found: list[tuple[Watched, AnalysisReport]]) -> list[dict[str, Any]]:
    """The reference points, with as many digits as their errors leave."""
    made: list[Spot | None] = [
        spot(f"{w.source.rpartition(':')[2]}, {w.trajectory}", r.model, r.sinks, own=False)
        for w, r in found
    ]
    return [
        {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in asdict(each).items()}
        for each in made
        if each is not None
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dlm", default="example:kjv-dlm")
    parser.add_argument("--ar", default="example:kjv-ar")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--roots", type=Path, nargs="*", default=[], help="of file:/// models")
    parser.add_argument("--write", action="store_true", help=f"keep them in {REFERENCES.name}")
    wanted = parser.parse_args()
    options = RunOptions(device=wanted.device, model_roots=tuple(wanted.roots) or None)
    found = [
        (watched, measure(watched, wanted.samples, wanted.length, options))
        for watched in plan(wanted.dlm, wanted.ar)
    ]
    print(
        "| | model | temporal variance, length = 1 | in positions² | transient | Jaccard | mass share |"
    )
    print("|---" * 7 + "|")
    for watched, report in found:
        print(row(watched, report))
    one, other = found[0][1].sinks, found[2][1].sinks
    compared = ratio(one.temporal_variance_relative, other.temporal_variance_relative)
    print(f"\nThe diffusion model's temporal variance is {compared}.")
    if wanted.write:
        REFERENCES.write_text(json.dumps(spots(found), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
