"""How models write: as plain loops over the published rules do, whatever lies beside a sequence."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from core.calibration.continuation import (
    Continuation,
    continuing,
    dream_counts,
    own_spans,
    shared_out,
)
from core.calibration.samplers import SAMPLERS, dream, generators, llada
from core.calibration.samplers.predictions import gumbel, most_confident
from core.calibration_spec import Generation
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from tests import naive_samplers as naive
from tests.checkpoints import MASK_ID, VOCABULARY
from tests.family_checkpoints import tiny

Models = Callable[[str], Decoder]
PROMPTS = torch.randint(MASK_ID, (3, 7), generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """By kind, each read once."""
    found: dict[str, Decoder] = {}

    def read(kind: str) -> Decoder:
        if kind not in found:
            folder = tiny(tmp_path_factory.mktemp("models") / "m", kind)
            found[kind] = load(Checkpoint(take_in(folder)), torch.device("cpu"))
        return found[kind]

    return read


def wanted(
    decoder: Decoder,
    steps: int,
    *,
    positions: int = 25,
    prompt: int = 7,
    block: int | None = None,
    **options: Any,
) -> Continuation:
    spans = own_spans(decoder.family, prompt, positions)
    if block is not None:
        spans = tuple((b, b + block) for b in range(prompt, positions, block))
    given_options = Generation(**options)
    return continuing(decoder.family, prompt, positions, steps, given_options, 1e-3, spans)


def states(
    decoder: Decoder, asked: Continuation, prompts: Tensor = PROMPTS, seed: int = 0
) -> Tensor:
    """(steps + 1, samples, positions)."""
    rngs = generators(seed, range(len(prompts)))
    return torch.stack(list(SAMPLERS[asked.sampler](decoder, prompts, asked, rngs)))


@pytest.mark.parametrize(
    ("kind", "steps", "block", "guidance"),
    [
        ("llada", 5, None, 0.0),
        ("llada", 18, None, 0.0),
        ("llada", 6, 6, 0.0),
        ("llada", 4, 9, 0.0),
        ("llada", 5, None, 1.5),
        ("llada", 9, 6, 0.5),
        ("llada_moe", 5, None, 0.0),
    ],
)
def test_llada_writes_as_published(
    models: Models, kind: str, steps: int, block: int | None, guidance: float
) -> None:
    decoder = models(kind)
    asked = wanted(decoder, steps, block=block, guidance=guidance)
    found = states(decoder, asked)
    blocks = [(b, b + (block or 18)) for b in range(7, 25, block or 18)]
    for sample, prompt in enumerate(PROMPTS.tolist()):
        told = naive.llada(decoder, prompt, 18, steps, blocks, guidance)
        assert found[:, sample].tolist() == told


def test_block_diffusion_writes_block_by_block(models: Models) -> None:
    """Blocks of 32 from the sequence's beginning, the first of which the prompt has begun."""
    decoder = models("llada2_moe")
    prompts = torch.randint(MASK_ID, (2, 40), generator=torch.Generator().manual_seed(3))
    asked = wanted(decoder, 6, positions=80, prompt=40)
    assert asked.spans == ((40, 64), (64, 80))
    found = states(decoder, asked, prompts)
    for sample, prompt in enumerate(prompts.tolist()):
        told = naive.llada(decoder, prompt, 40, 6, [(40, 64), (64, 80)])
        assert found[:, sample].tolist() == told
    assert [asked.reach(left) for left in (6, 4, 3, 1, 0)] == [64, 64, 80, 80, 80]


@pytest.mark.parametrize("algorithm", ["maskgit-plus", "topk-margin", "entropy"])
@pytest.mark.parametrize("options", [{}, {"top_p": 0.6}, {"top_k": 4}, {"top_p": 0.9, "top_k": 3}])
def test_dream_writes_as_published(models: Models, algorithm: str, options: dict[str, Any]) -> None:
    decoder = models("dream")
    found = states(decoder, wanted(decoder, 7, algorithm=algorithm, **options))
    for sample, prompt in enumerate(PROMPTS.tolist()):
        told = naive.dream(decoder, prompt, 18, 7, 1e-3, algorithm, **options)
        assert found[:, sample].tolist() == told


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_decoding_is_one_forward_of_the_whole_text_a_token(models: Models, kind: str) -> None:
    decoder = models(kind)
    found = states(decoder, wanted(decoder, 4))
    for sample, prompt in enumerate(PROMPTS.tolist()):
        assert found[-1, sample].tolist() == naive.decode(decoder, prompt, 18)


WAYS: list[tuple[str, dict[str, Any]]] = [
    ("llada", {}),
    ("llada", {"temperature": 0.7, "block": 6}),
    ("llada", {"remasking": "random", "guidance": 1.0}),
    ("dream", {}),
    ("dream", {"algorithm": "origin", "temperature": 0.5, "top_k": 5}),
    ("dream", {"algorithm": "maskgit-plus", "algorithm_temperature": 0.3, "temperature": 1.0}),
    ("llama", {}),
    ("llama", {"temperature": 1.0}),
]


@pytest.mark.parametrize(("kind", "options"), WAYS)
def test_no_sample_depends_on_the_others(
    models: Models, kind: str, options: dict[str, Any]
) -> None:
    decoder = models(kind)
    asked = wanted(decoder, 6, **options)
    together = states(decoder, asked)
    for sample in range(3):
        rngs = generators(0, range(sample, sample + 1))
        prompt = PROMPTS[sample : sample + 1]
        alone = list(SAMPLERS[asked.sampler](decoder, prompt, asked, rngs))
        assert torch.equal(torch.cat(alone), together[:, sample])


@pytest.mark.parametrize(("kind", "options"), WAYS)
def test_states_keep_the_prompt_and_what_is_written(
    models: Models, kind: str, options: dict[str, Any]
) -> None:
    """Each state has exactly the masks it should, and no token is ever taken back."""
    decoder = models(kind)
    asked = wanted(decoder, 6, **options)
    found = states(decoder, asked)
    assert len(found) == 7
    assert torch.equal(found[..., :7], PROMPTS.expand(7, -1, -1))
    if kind == "llama":
        return
    masks = (found == MASK_ID).sum(-1)
    assert masks[0].tolist() == [18] * 3
    assert not masks[-1].any()
    if asked.counts is not None:
        left = 18 - torch.tensor([0, *asked.counts]).cumsum(0)
        assert torch.equal(masks, left[:, None].expand(-1, 3))
    for before, after in pairwise(found):
        kept = before != MASK_ID
        assert torch.equal(after[kept], before[kept])


def test_later_blocks_wait(models: Models) -> None:
    found = states(models("llada"), wanted(models("llada"), 6, block=6, remasking="random"))
    for step, state in enumerate(found):
        begun = 7 + 6 * ((step + 1) // 2)
        assert bool((state[:, begun:] == MASK_ID).all())


@pytest.mark.parametrize(("kind", "options"), [w for w in WAYS if w[1].get("temperature")])
def test_chance_follows_the_seed(models: Models, kind: str, options: dict[str, Any]) -> None:
    decoder = models(kind)
    asked = wanted(decoder, 6, **options)
    assert torch.equal(states(decoder, asked, seed=1), states(decoder, asked, seed=1))
    assert not torch.equal(states(decoder, asked, seed=1), states(decoder, asked, seed=2))


@pytest.mark.parametrize(("kind", "options"), [WAYS[0], WAYS[2], WAYS[3], WAYS[6]])
def test_a_plan_counts_the_forwards(models: Models, kind: str, options: dict[str, Any]) -> None:
    decoder = models(kind)
    asked = wanted(decoder, 6, **options)
    before = decoder.block_sequences
    states(decoder, asked)
    assert decoder.block_sequences - before == 3 * asked.cost.forwards * len(decoder.blocks)


@given(st.integers(1, 500), st.integers(1, 300), st.floats(1e-4, 0.5))
def test_steps_write_everything(masks: int, steps: int, eps: float) -> None:
    assert sum(shared_out(masks, steps)) == masks
    assert max(shared_out(masks, steps)) - min(shared_out(masks, steps)) <= 1
    counts = dream_counts(masks, steps, eps)
    assert (len(counts), sum(counts), min(counts) >= 0) == (steps, masks, True)


def test_counts_by_hand() -> None:
    assert shared_out(7, 3) == [3, 2, 2]
    # Times 1, 0.7, 0.4, 0.1: shares 0.3, 3/7, and all that is left.
    assert dream_counts(11, 3, 0.1) == (3, 3, 5)


def test_noise_makes_the_largest_logit_a_sample() -> None:
    logits = torch.tensor([1.0, 0.0, 2.0, -1.0]).double()
    noise = gumbel([0] * 4000, 4, generators(5, range(1)))
    heat = 0.8
    drawn, sure = llada.choose(logits.expand(4000, -1), noise, temperature=heat)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert_close(shares.double(), (logits / heat).softmax(-1), atol=0.03, rtol=0)
    assert_close(sure, logits.softmax(-1)[drawn])
    options = Generation(temperature=heat, algorithm="origin")
    drawn, _ = dream.choose(logits.expand(4000, -1), noise, options=options)
    shares = torch.bincount(drawn, minlength=4) / 4000
    assert_close(shares.double(), (logits / heat).softmax(-1), atol=0.03, rtol=0)


def test_candidates_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.2, 0.25, 0.05]]).double().log()
    kept = dream.candidates(logits, 0.6, None).isfinite()
    assert kept.tolist() == [[True, False, True, False]]
    kept = dream.candidates(logits, None, 3).isfinite()
    assert kept.tolist() == [[True, True, True, False]]
    # Of the nucleus {0, 1, 2}, the two likeliest.
    assert dream.candidates(logits, 0.8, 2).isfinite().tolist() == [[True, False, True, False]]


def test_of_equal_confidences_the_first_go() -> None:
    confidence = torch.tensor([[-torch.inf, 0.5, 0.7, 0.5, 0.5]]).double()
    assert most_confident(confidence, 3).tolist() == [[False, True, True, True, False]]


def test_the_mask_token_is_never_written(models: Models) -> None:
    decoder = models("llada")
    head = decoder._model.lm_head.weight
    dense = head.detach().clone()
    try:
        with torch.no_grad():
            head[MASK_ID] += 50 * dense[0]
        found = states(decoder, wanted(decoder, 3))
    finally:
        with torch.no_grad():
            head.copy_(dense)
    assert not bool((found[-1] == MASK_ID).any())
    assert int(found.max()) < VOCABULARY


def test_reading_on_from_the_past_stays_within_its_block(models: Models, tmp_path: Path) -> None:
    """A forward between two tokens sees nothing of what is being written."""
    decoder = models("llama")
    asked = wanted(decoder, 18)
    written = SAMPLERS["decoding"](decoder, PROMPTS, asked, generators(0, range(3)))
    before = decoder.run_blocks(PROMPTS)
    for state in written:
        assert torch.equal(decoder.run_blocks(PROMPTS), before)
        last = state
    assert torch.equal(last, states(decoder, asked)[-1])
