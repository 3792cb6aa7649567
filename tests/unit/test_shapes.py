"""Shapes told from the config alone, held against the decoders that run; and what that may load."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.models.architectures import empty
from core.models.config import read_config
from core.models.headers import read_header
from core.models.shapes import parameter_shapes, tensor_shapes
from tests.family_checkpoints import KINDS, tiny

TORCH_FREE = [
    "core.models.headers", "core.models.places", "core.models.shapes", "core.models.config",
    "core.models.intake", "core.calibration.token_shapes", "core.pruning.plan",
    "core.pruning.pattern_values", "core.pruning.workload", "core.evaluation.draws",
    "core.estimates.estimator", "core.estimates.s3_files", "core.estimates.hub_files",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_those_of_the_decoder_that_runs(tmp_path: Path, kind: str) -> None:
    family, dimensions = read_config(tiny(tmp_path / "model", kind))
    built = empty(family, dimensions).named_parameters()
    expected = {name: tuple(parameter.shape) for name, parameter in built}
    assert parameter_shapes(family, dimensions) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_those_of_the_file(tmp_path: Path, kind: str) -> None:
    folder = tiny(tmp_path / "model", kind)
    held = read_header(folder / "model.safetensors", "model.safetensors")
    assert tensor_shapes(*read_config(folder)) == {name: e.shape for name, e in held.items()}


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_the_api_reads_models_with_loads_no_torch(module: str) -> None:
    unwanted = ["torch", "transformers", "numpy", "safetensors", "huggingface_hub", "fastapi"]
    code = f"import sys, {module}; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
