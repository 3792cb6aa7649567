"""What comes back loads where the input loaded: in transformers' own classes, with the same answers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.progress import ignore
from core.report.schema import Report
from core.run import execute
from core.spec import parse_spec
from core.stages import RunOptions
from tests.checkpoints import VOCABULARY, write_tokenizer

CLASSES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}


def saved(folder: Path, name: str, *, tied: bool) -> Path:
    """A random model as transformers writes it."""
    config_class, model_class = CLASSES[name]
    torch.manual_seed(0)
    config = config_class(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        tie_word_embeddings=tied, initializer_range=0.2,
    )  # fmt: skip
    model_class(config).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
@pytest.mark.parametrize("name", list(CLASSES))
def test_transformers_loads_what_comes_back(
    tmp_path: Path, name: str, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.report.build.all_plots", lambda *_: [])
    source, out = saved(tmp_path / "model", name, tied=tied), tmp_path / "out"
    text = Path(__file__).parents[1] / "verses.txt"
    spec = parse_spec(
        {
            "model": {"source": source.as_uri()}, "method": "sparsegpt",
            "pattern": "2:4", "sparsity": 0.5,
            "calibration": {"source": text.as_uri(), "samples": 4, "sequence_length": 32},
            "evaluation": {"samples": 4, "speed": False},
        }
    )  # fmt: skip
    execute(spec, out, RunOptions(device="cpu", threads=1), ignore)
    report = Report.model_validate_json((out / "report/report.json").read_bytes())
    theirs = CLASSES[name][1].from_pretrained(
        out / "model", attn_implementation="eager", local_files_only=True
    ).eval()  # fmt: skip
    for tensor, matrix in report.sparsity.matrices.items():
        zeros = int((theirs.get_parameter(tensor) == 0).sum())
        assert zeros == matrix.removed, tensor
    ids = torch.randint(60, (2, 24), generator=torch.Generator().manual_seed(1))
    ours = load(Checkpoint(take_in(out / "model")), torch.device("cpu"))
    with torch.inference_mode():
        assert_close(ours.head(ours.features(ids)), theirs(ids).logits, rtol=1e-4, atol=1e-4)
