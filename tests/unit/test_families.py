"""Every family computes what an independent implementation of it computes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from core.examples import SHIPPED
from core.models import attention
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.families import FAMILIES
from core.models.intake import take_in
from tests.checkpoints import VOCABULARY
from tests.family_checkpoints import KINDS, tiny
from tests.oracle_families import FamilyOracle

AUTOREGRESSIVE = ("llama", "llama with biases", "qwen2", "qwen3", "mistral")
IDS = torch.randint(VOCABULARY, (2, 70), generator=torch.Generator().manual_seed(5))


def read(folder: Path) -> Decoder:
    return load(Checkpoint(take_in(folder)), torch.device("cpu"))


@torch.inference_mode()
def logits(decoder: Decoder, ids: Tensor) -> Tensor:
    return decoder.head(decoder.features(ids))


@torch.inference_mode()
def watched_mass(decoder: Decoder, ids: Tensor) -> Tensor:
    """(batch, blocks, positions)."""
    seen: dict[int, Tensor] = {}
    with attention.watching(seen.__setitem__):
        decoder.run_blocks(ids)
    return torch.stack([seen[b] for b in range(len(decoder.blocks))], 1)


@pytest.mark.parametrize("kind", AUTOREGRESSIVE)
@pytest.mark.parametrize("spelling", ["transformers 4", "transformers 5"])
def test_autoregressive_families_are_transformers_own(
    tmp_path: Path, kind: str, spelling: str
) -> None:
    folder = tiny(tmp_path / "published", kind)
    theirs = AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    if spelling == "transformers 5":
        folder = tmp_path / "saved"
        theirs.save_pretrained(folder)
        assert "rope_parameters" in json.loads((folder / "config.json").read_text())
    decoder = read(folder)
    assert decoder.family.name == kind.split(maxsplit=1)[0]
    with torch.inference_mode():
        expected = theirs(IDS, output_attentions=True)
    assert_close(logits(decoder, IDS), expected.logits, rtol=1e-4, atol=1e-4)
    mass = torch.stack([layer.sum((1, 2)) for layer in expected.attentions], 1)
    assert_close(watched_mass(decoder, IDS), mass, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["dream", "llada_moe", "llada2_moe"])
def test_diffusion_families_are_the_float64_oracles(tmp_path: Path, kind: str) -> None:
    folder = tiny(tmp_path, kind)
    decoder = read(folder)
    config = json.loads((folder / "config.json").read_text())
    truth = FamilyOracle(config, load_file(folder / "model.safetensors"))
    ours, mass = logits(decoder, IDS), watched_mass(decoder, IDS)
    for n, ids in enumerate(IDS):
        expected = truth.run(ids.numpy())
        np.testing.assert_allclose(ours[n].numpy(), expected.logits, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(mass[n].numpy(), expected.mass, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_and_query_gives_out_exactly_one(tmp_path: Path, kind: str) -> None:
    decoder = read(tiny(tmp_path, kind))
    mass = watched_mass(decoder, IDS[:, :40])
    heads = torch.full(mass.shape[:2], float(decoder.dimensions.heads))
    assert_close(mass.mean(-1), heads, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_who_sees_whom(tmp_path: Path, kind: str) -> None:
    decoder = read(tiny(tmp_path, kind))
    changed = IDS[:1].clone()
    changed[0, 40] = (changed[0, 40] + 1) % VOCABULARY
    moved = (logits(decoder, changed) - logits(decoder, IDS[:1])).abs().amax(-1)[0]
    span = decoder.family.span
    first = 0 if span is None else 40 // span * span
    # An expert's batch differs where a later token went elsewhere, and with it the rounding.
    assert bool((moved[:first] < 1e-5).all())
    assert bool((moved[first:] > 1e-4).all())


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_come_in_order_under_their_own_names(tmp_path: Path, kind: str) -> None:
    folder = tiny(tmp_path, kind)
    decoder, stored = read(folder), load_file(folder / "model.safetensors")
    for block in range(len(decoder.blocks)):
        matrices = decoder.matrices(block)
        assert [m.role for m in matrices[:4]] == ["q", "k", "v", "o"]
        assert [m.role for m in matrices[4:7]] == ["gate", "up", "down"]
        for m in matrices:
            expected = stored[m.name] if m.rows is None else stored[m.name][slice(*m.rows)]
            assert torch.equal(m.linear.weight, expected), m.name
    names = [(m.name, m.rows) for m in decoder.all_matrices()]
    assert len(names) == len(set(names))
    pruned = sum(m.linear.weight.numel() for m in decoder.all_matrices())
    others = {n: t for n, t in stored.items() if n not in {m.name for m in decoder.all_matrices()}}
    assert decoder.parameters == pruned + sum(t.numel() for t in others.values())
    assert not any(n.endswith("_proj.weight") for n in others)


def test_the_shipped_autoregressive_model_loads() -> None:
    decoder = read(SHIPPED / "kjv-ar")
    assert (decoder.family.name, decoder.dimensions.mask_token) == ("llama", None)
    assert decoder.family.objective == "likelihood"


def test_dream_attends_like_the_published_code(reference_vectors: Path) -> None:
    decoder = read(reference_vectors / "dream_tiny")
    case = reference_vectors / "dream_tiny" / "sink_u50"
    noised = load_file(case / "tokens.safetensors")["noised_input_ids"]
    expected = load_file(case / "expected.safetensors")["mass_per_layer"]
    mass = watched_mass(decoder, noised.flatten(0, 1))
    assert_close(mass.view_as(expected), expected, rtol=1e-5, atol=1e-5)


def test_dreams_first_inputs_are_the_published_ones(reference_vectors: Path) -> None:
    decoder = read(reference_vectors / "dream_tiny")
    case = reference_vectors / "dream_tiny" / "wanda_u50"
    clean = load_file(case / "tokens.safetensors")["input_ids"]
    expected = load_file(case / "expected.safetensors")
    seen: dict[str, Tensor] = {}
    for m in decoder.matrices(0):
        m.linear.register_forward_pre_hook(
            lambda _, given, name=m.name: seen.__setitem__(name, given[0])
        )
    with torch.inference_mode():
        decoder.run_block(0, decoder.embed(clean))
    assert len(seen) == 7
    for name, inputs in seen.items():
        square = inputs.double().square().sum(1).mean(0).float()
        assert_close(square, expected[f"norm/{name}"], rtol=1e-6, atol=0)


def test_every_family_has_a_checkpoint_here(tmp_path: Path) -> None:
    found = {read(tiny(tmp_path / kind, kind)).family.name for kind in KINDS}
    assert found == {family.name for family in FAMILIES}
