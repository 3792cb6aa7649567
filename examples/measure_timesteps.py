"""What the choice of timesteps does to a pruned model, beside what sinks do.

    python examples/measure_timesteps.py [--sparsity 0.75]

Prunes the shipped diffusion model with Wanda's score on one-shot inputs, once for each choice of
timesteps and each treatment of sinks, and prints a table of how far the loss on held-out text lies
above the dense model's. Same calibration windows, same evaluation masks everywhere.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from core.evaluation.nelbo import Estimate
from core.examples import folder_of
from core.models.config import read_config
from core.progress import ignore
from core.report.schema import Report
from core.run import execute
from core.spec import parse_spec
from core.stages import RunOptions

CHOICES: dict[str, dict[str, Any]] = {
    "published, all alike": {},
    "published, weighted by 1/p": {"timestep_weights": "inverse-rate"},
    "all but the last (p < 1)": {"max_rate": 0.99},
    "stratified": {"stratified": True},
    "rates ≤ 0.3": {"max_rate": 0.3},
    "published and the clean sequence": {"include_clean": True},
    "the clean sequence alone": {"include_clean": True, "max_rate": 0.05},
}
SINKS = ("keep", "discount-all", "discount-transient")
SAMPLES = 32


def above_dense(sparsity: float, choice: dict[str, Any], sinks: str, out: Path) -> Estimate:
    _, dimensions = read_config(folder_of("kjv-dlm"))
    spec = {
        "model": {"source": "example:kjv-dlm"},
        "sparsity": sparsity,
        "recipe": {"sinks": sinks},
        "calibration": {"samples": SAMPLES, "sequence_length": dimensions.context} | choice,
        "evaluation": {"samples": SAMPLES, "speed": False, "agreement": False},
    }
    execute(parse_spec(spec), out, RunOptions(), ignore)
    report = Report.model_validate_json((out / "report/report.json").read_bytes())
    assert report.quality.nelbo is not None
    return Estimate(report.quality.nelbo.difference, report.quality.nelbo.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sparsity", type=float, default=0.75)
    sparsity = parser.parse_args().sparsity
    print(f"| timesteps | {' | '.join(SINKS)} |")
    print(f"|---|{'---|' * len(SINKS)}")
    for name, choice in CHOICES.items():
        cells = []
        for sinks in SINKS:
            if sinks == "discount-transient" and choice.get("max_rate") == 0.05:
                cells.append("–")  # one timestep: every sink is stable
                continue
            with tempfile.TemporaryDirectory() as scratch:
                found = above_dense(sparsity, choice, sinks, Path(scratch) / "out")
            cells.append(f"+{found.mean:.3f} ± {found.stderr:.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
