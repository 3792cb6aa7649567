"""What the engine tells of models whose sinks, and whose values at sinks, are planted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.models.decoder import Decoder
from core.report.facts import sink_facts
from core.report.schema import LayerSinks, SinkFacts
from core.spec import Sinks
from tests.planted import SINK_TOKEN
from tests.unit.test_transient_sinks import (
    POSITIONS,
    SAMPLES,
    TIMESTEPS,
    planted,
    run,
    standing,
    walking,
)

HEADS = Sinks(per_head=True)


@torch.inference_mode()
def plant_values(decoder: Decoder, length: float) -> None:
    """Make the sink token's values so long, and all others' 1, in every head and block.

    The first feature is that of the sink token, which no other has: made so large that nothing else is
    left of it by the norm.
    """
    decoder.embedding[SINK_TOKEN, 0] = 1e5
    width, head = decoder.dimensions.width, decoder.dimensions.head_dim
    for block, layer in enumerate(decoder.blocks):
        value = decoder.matrices(block)[2].linear
        value.weight.zero_()
        value.bias.zero_()
        value.bias.view(-1, head)[:, 0] = 1
        norm = layer.get_submodule("input_layernorm").get_parameter("weight")
        scale = float(norm[0]) * width**0.5
        value.weight.view(-1, head, width)[:, 0, 0] = (length - 1) / scale


def told(decoder: Decoder, text: Trajectories) -> SinkFacts:
    seen = replace(run(decoder, text, "keep"), sinks=HEADS, hold=False).observe()
    return sink_facts(seen.totals, text.timesteps, POSITIONS, HEADS)


def everywhere(facts: SinkFacts) -> list[SinkFacts | LayerSinks]:
    assert facts.per_head is not None
    return [facts, *facts.per_layer, *facts.per_head]


def assert_everywhere(facts: SinkFacts, **expected: Any) -> None:
    """Of all blocks together, of each, and of each head: every query of each looks at the sink."""
    for part in everywhere(facts):
        for name, value in expected.items():
            mean = getattr(part, name).mean
            assert mean == pytest.approx(value, rel=1e-4, abs=1e-9), (name, part)


def test_a_sink_that_stands(tmp_path: Path) -> None:
    decoder = planted(tmp_path, "qwen2")
    plant_values(decoder, 0.25)
    facts = told(decoder, standing())
    assert_everywhere(
        facts, temporal_variance=0, temporal_variance_relative=0, jaccard=1, transient_share=0,
        sinks_per_step=1, ends_share=1, masked_share=0, value_norm_ratio=0.25,
    )  # fmt: skip
    assert facts.stable_share.mean == 1
    assert [bar.positions for bar in facts.persistence_histogram] == [0, 0, 0, 0, 1]


def test_a_sink_that_walks(tmp_path: Path) -> None:
    """Four positions a step from the third on."""
    decoder = planted(tmp_path, "dream")
    plant_values(decoder, 3.0)
    facts = told(decoder, walking())
    walked = 16 * (TIMESTEPS**2 - 1) / 12
    assert_everywhere(
        facts, temporal_variance=walked, temporal_variance_relative=walked / POSITIONS**2,
        jaccard=0, transient_share=1, sinks_per_step=1, ends_share=0, value_norm_ratio=3,
    )  # fmt: skip
    assert [bar.positions for bar in facts.persistence_histogram] == [TIMESTEPS, 0, 0, 0, 0]
    assert facts.mass_share.mean is not None
    assert facts.mass_share.mean > 0.9


def growing(text: Trajectories) -> Trajectories:
    """The same, of which more and more exists."""
    lengths = torch.tensor([8, 12, 16, 20, 24])[:, None]
    present = torch.arange(POSITIONS) < lengths
    return replace(text, present=present.expand(SAMPLES, -1, -1).clone())


def test_a_growing_text_is_what_it_would_be_alone(tmp_path: Path) -> None:
    """What comes later neither looks nor is looked at, and counts for nothing in a statistic."""
    decoder, text = planted(tmp_path, "qwen2"), growing(standing())
    plant_values(decoder, 0.25)
    counted = replace(run(decoder, text, "discount-all"), group=4)
    seen = counted.observe()
    assert text.present is not None
    for t, length in enumerate([8, 12, 16, 20, 24]):
        cut = Trajectories.recorded(
            text.clean[:, :length], text.noised[:, t : t + 1, :length], (1,), None
        )
        alone = run(decoder, cut, "discount-all")
        expected = alone.observe()
        assert_close(seen.mass[:, t, :length], expected.mass[:, 0], rtol=1e-5, atol=1e-5)
        assert_close(seen.kept[:, t, :, :length], expected.kept[:, 0], rtol=1e-5, atol=1e-5)
        weight = counted.watched(seen).weight.view(text.noised.shape)[:, t]
        assert_close(weight[:, :length], alone.watched(expected).weight, rtol=1e-4, atol=1e-5)
        assert weight[:, length:].abs().sum() == 0
        assert seen.mass[:, t, length:].abs().sum() == 0
    assert_everywhere(
        told(decoder, text), temporal_variance=0, jaccard=1, transient_share=0, ends_share=1,
        value_norm_ratio=0.25,
    )  # fmt: skip
