"""CPU and CUDA agree: what is measured, and what is removed. Needs a CUDA device."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.progress import ignore
from core.pruning.pattern_values import KeepPerGroup, Pattern, Share
from core.recipes import METHODS, Method, Recipe, cells
from core.report.schema import Report
from core.run import execute
from core.spec import Sinks, parse_spec
from core.stages import RunOptions
from tests.checkpoints import MASK_ID
from tests.engine_runs import EngineRun
from tests.family_checkpoints import tiny
from tests.noising import forward_noise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

FAMILIES = ["llada", "dream", "llama", "qwen3", "llada_moe", "llada2_moe"]
FLIPS = 0.002
"""Share of entries whose scores float32 may order otherwise on another device."""


def on(device: str, folder: Path) -> Decoder:
    return load(Checkpoint(take_in(folder)), torch.device(device))


def sequences() -> Trajectories:
    clean = torch.randint(60, (4, 24), generator=torch.Generator().manual_seed(0))
    return forward_noise(clean, (10, 20, 30, 40, 50), 50, 1e-3, MASK_ID, seed=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_mass(tmp_path: Path, family: str) -> None:
    folder = tiny(tmp_path, family)
    heads = Sinks(per_head=True)
    cpu, cuda = (
        EngineRun(on(device, folder), sequences(), METHODS["wanda"], heads).observe()
        for device in ("cpu", "cuda")
    )
    assert_close(cuda.mass, cpu.mass, rtol=1e-4, atol=1e-4)
    assert_close(cuda.kept, cpu.kept, rtol=1e-4, atol=1e-4)
    there, here = (seen.totals.tensors() for seen in (cuda, cpu))
    for name, values in here.items():
        assert_close(there[name], values, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("recipe", [c for c in cells() if c.all_blocks_at_once], ids=str)
def test_statistics(tmp_path: Path, recipe: Recipe) -> None:
    folder = tiny(tmp_path, "llada")
    cpu, cuda = (
        EngineRun(on(device, folder), sequences(), recipe).statistics()
        for device in ("cpu", "cuda")
    )
    assert cpu.keys() == cuda.keys()
    for source, found in cpu.items():
        assert_close(cuda[source].total.cpu(), found.total, rtol=1e-4, atol=1e-6)


def removed(folder: Path, device: str, recipe: Recipe, pattern: Pattern) -> Tensor:
    pruned = EngineRun(on(device, folder), sequences(), recipe).prune(pattern)
    return torch.cat([(p.matrix.linear.weight == 0).flatten().cpu() for p in pruned])


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("pattern", [Share(0.5), KeepPerGroup(2, 4)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_masks(tmp_path: Path, method: Method, pattern: Pattern, family: str) -> None:
    # One-shot, so that one flipped entry does not change what all later blocks see.
    recipe = METHODS[method]
    if recipe.order is not None:
        recipe = replace(recipe, order="one-shot")
    folder = tiny(tmp_path, family)
    cpu, cuda = (removed(folder, device, recipe, pattern) for device in ("cpu", "cuda"))
    assert int(cpu.sum()) == int(cuda.sum())
    assert (cpu != cuda).float().mean() <= FLIPS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["sink-wanda", "sink-sparsegpt"])
def test_a_whole_run(tmp_path: Path, dtype: torch.dtype, method: Method) -> None:
    model = tiny(tmp_path / "model", "llada", dtype=lambda _: dtype)
    text = Path(__file__).parents[1] / "verses.txt"
    spec = parse_spec(
        {
            "model": {"source": model.as_uri()}, "method": method, "sparsity": 0.5,
            "calibration": {"source": text.as_uri(), "samples": 4, "sequence_length": 32},
            "evaluation": {"samples": 4},
        }
    )  # fmt: skip
    execute(spec, tmp_path / "out", RunOptions(device="cuda"), ignore)
    report = Report.model_validate_json((tmp_path / "out/report/report.json").read_bytes())
    assert report.sparsity.overall == pytest.approx(0.5, abs=0.01)
    assert report.quality.nelbo is not None
    assert report.actual.peak_bytes is not None
