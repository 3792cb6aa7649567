"""Whole runs on every family and in every dtype: what comes back is the input, pruned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from core.errors import InvalidSpec
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.progress import ignore
from core.recipes import METHODS, Method
from core.report.schema import Report
from core.run import execute
from core.spec import parse_spec
from core.stages import RunOptions
from tests.checkpoints import write_tokenizer
from tests.family_checkpoints import KINDS, tiny

CALIBRATION = {
    "source": (Path(__file__).parents[1] / "verses.txt").as_uri(),
    "samples": 4,
    "sequence_length": 32,
    "sample_interval": 10,
}
Dtype = Callable[[str], torch.dtype]


def run(source: Path, out: Path, method: Method, **changes: Any) -> Report:
    if not (source / "tokenizer.json").is_file():
        write_tokenizer(source)
    spec = parse_spec(
        {
            "model": {"source": source.as_uri()}, "method": method, "sparsity": 0.5,
            "calibration": CALIBRATION, "evaluation": {"samples": 4, "speed": False},
        }
        | changes
    )  # fmt: skip
    told: dict[str, bytes] = {}

    def finished(name: str, path: Path) -> None:
        assert name not in told
        told[name] = path.read_bytes()

    execute(spec, out, RunOptions(device="cpu", threads=1, finished=finished), ignore)
    # Whoever stores shards early must have stored what a manifest will name.
    assert told == {f"model/{p.name}": p.read_bytes() for p in out.glob("model/*.safetensors")}
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def check_drop_in(source: Path, out: Path, report: Report) -> None:
    """Same tensors in the same places; what may not be pruned unchanged; zeros as reported."""
    before, after = Checkpoint(take_in(source)), Checkpoint(take_in(out / "model"))
    assert before.places == after.places
    matrices = {m.name for m in load(after, torch.device("cpu")).all_matrices()}
    assert set(report.sparsity.matrices) == matrices
    for name in before.places:
        dense, pruned = before.read(name), after.read(name)
        if name not in matrices:
            assert torch.equal(dense, pruned), name
            continue
        told = report.sparsity.matrices[name]
        assert told.shape == tuple(dense.shape)
        new = int((pruned == 0).sum()) - int((dense == 0).sum())
        # Of weights that were zero before, or round to zero, there are a few in narrow dtypes.
        assert told.removed - told.removed // 50 <= new <= told.removed + told.removed // 50


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("method", "pattern"),
    [("sink-wanda", "unstructured"), ("sparsegpt", "2:4"), ("sink-sparsegpt", "unstructured")],
)
def test_every_family(tmp_path: Path, kind: str, method: Method, pattern: str) -> None:
    source, out = tiny(tmp_path / "model", kind, shards=2), tmp_path / "out"
    report = run(source, out, method, pattern=pattern)
    check_drop_in(source, out, report)
    assert report.sparsity.overall == pytest.approx(0.5, abs=0.03)
    assert report.quality.nelbo is not None
    assert report.quality.nelbo.difference != 0
    assert report.quality.agreement is not None
    assert report.sinks.sinks_per_step.mean is not None


MIXES: dict[str, Dtype] = {
    "bfloat16": lambda _: torch.bfloat16,
    "float16": lambda _: torch.float16,
    "wide norms": lambda name: torch.float32 if "norm" in name else torch.bfloat16,
    "every third": lambda name: (torch.float32, torch.bfloat16, torch.float16)[
        sum(name.encode()) % 3
    ],
}


@pytest.mark.parametrize("mix", list(MIXES))
@pytest.mark.parametrize("method", list(METHODS))
def test_every_dtype(tmp_path: Path, method: Method, mix: str) -> None:
    source, out = tiny(tmp_path / "model", "llada", dtype=MIXES[mix]), tmp_path / "out"
    report = run(source, out, method)
    check_drop_in(source, out, report)
    for name, told in report.sparsity.matrices.items():
        rows, width = told.shape
        exact = rows * (width // 2) if "wanda" in method else rows * width // 2 + 1
        assert told.removed == exact, name


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize("method", list(METHODS))
def test_counts_hold_where_magnitudes_are_equal(
    tmp_path: Path, method: Method, pattern: str
) -> None:
    """In bfloat16 many weights share a threshold; here nearly all weights are equal."""
    source, out = tiny(tmp_path / "model", "llada"), tmp_path / "out"
    rewrite(
        source,
        lambda name: "proj" in name or ("blocks" in name and "_out" in name),
        lambda tensor: tensor.mul(2).round().clamp(1, 2),
    )
    report = run(source, out, method, pattern=pattern)
    for name, told in report.sparsity.matrices.items():
        rows, width = told.shape
        ranked = pattern == "unstructured" and "wanda" not in method
        assert told.removed == rows * width // 2 + ranked, name


@pytest.mark.parametrize("method", ["sink-wanda", "sparsegpt"])
def test_experts_that_no_token_reached_are_told(tmp_path: Path, method: Method) -> None:
    source, out = tiny(tmp_path / "model", "llada_moe"), tmp_path / "out"
    # A router without preferences sends every token to the same few experts.
    rewrite(source, lambda name: name.endswith("mlp.gate.weight"), torch.zeros_like)
    report = run(source, out, method)
    experts, active = report.model.experts, report.model.active_experts
    assert len(report.sparsity.unreached) == 2 * 3 * (experts - active)
    assert any("reached by no calibration token" in warning for warning in report.warnings)
    pruned = Checkpoint(take_in(out / "model"))
    for name in report.sparsity.unreached:
        assert 0.45 < (pruned.read(name) == 0).float().mean() < 0.55, name


def rewrite(
    source: Path, chosen: Callable[[str], bool], change: Callable[[Tensor], Tensor]
) -> None:
    """Put other numbers into the chosen tensors of a float32 checkpoint in one file."""
    before = Checkpoint(take_in(source))
    shard = source / before.intake.weights[0]
    raw = bytearray(shard.read_bytes())
    for name, place in before.places.items():
        if chosen(name):
            raw[place.begin : place.end] = change(before.read(name)).numpy().tobytes()
    shard.write_bytes(raw)


def test_a_list_that_does_not_fit_the_model_is_a_bad_request(tmp_path: Path) -> None:
    source = tiny(tmp_path / "model", "llada2_moe")
    with pytest.raises(InvalidSpec, match="3 shares and the model has 2 blocks"):
        run(source, tmp_path / "out", "sink-wanda", recipe={"allocation": [0.4, 0.5, 0.6]})
    # Blocks with experts are larger, so the plain mean is not the whole's.
    with pytest.raises(InvalidSpec, match="Ask for sparsity"):
        run(source, tmp_path / "out", "sink-wanda", recipe={"allocation": [0.2, 0.8]})
    assert not (tmp_path / "out").exists()


def test_a_recorded_trajectory_of_one_step_has_no_transient_sinks(tmp_path: Path) -> None:
    source = tiny(tmp_path / "model", "llada")
    clean = torch.randint(60, (4, 16), generator=torch.Generator().manual_seed(0))
    tokens = tmp_path / "tokens.safetensors"
    save_file({"input_ids": clean, "noised_input_ids": clean[:, None].clone()}, tokens)
    calibration = {"source": tokens.as_uri(), "samples": 4}
    with pytest.raises(InvalidSpec, match="the recorded trajectory has one"):
        run(
            source, tmp_path / "out", "sink-wanda",
            calibration=calibration, recipe={"sinks": "discount-transient"},
        )  # fmt: skip
