"""What is reported of sinks, against full attention matrices of transformers' own eager attention."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from core.calibration.noise import Noise, Trajectories, draw
from core.examples import SHIPPED
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.observe import Observation, observe
from core.recipes import METHODS
from core.report.facts import sink_facts
from core.sinks.full_file import full_file
from core.sinks.statistics import STATISTICS, summarise
from core.sinks.watch import full_shapes
from core.spec import Sinks
from tests import sink_oracle
from tests.engine_runs import EngineRun, ignore
from tests.family_checkpoints import KV_HEADS, tiny

SAMPLES, STEPS = 2, (10, 30)
HEADS = Sinks(per_head=True)


def read(folder: Path) -> Decoder:
    return load(Checkpoint(take_in(folder)), torch.device("cpu"))


def some_trajectories(decoder: Decoder, positions: int) -> Trajectories:
    shape = decoder.dimensions
    rng = torch.Generator().manual_seed(2)
    clean = torch.randint(shape.vocabulary - 4, (SAMPLES, positions), generator=rng)
    noise = Noise(
        process=decoder.family.process, vocabulary=shape.vocabulary, timesteps=STEPS, steps=50,
        eps=1e-3, mask_token=shape.mask_token,
    )  # fmt: skip
    return draw(clean, noise, seed=0)


class Eager:
    """Every attention matrix and value of a model, as transformers' eager attention has them."""

    def __init__(self, folder: Path) -> None:
        decoder = read(folder)
        self.model: Any = decoder._model
        self._run: Callable[[Tensor], object] = decoder.run_blocks
        if decoder.family.span is None:
            # Bidirectional, which transformers has no class for: ours, with its attention.
            self.model.config._attn_implementation = "eager"
        else:
            self.model = AutoModelForCausalLM.from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32
            )
            self._run = self.model

    @torch.inference_mode()
    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Mass (sequences, blocks, heads, positions) and ‖v_j‖ (…, key-value heads, …), float64."""
        mass: list[Tensor] = []
        norms: list[Tensor] = []

        def see(_module: object, _arguments: object, output: tuple[Tensor, Tensor]) -> None:
            mass.append(output[1].double().sum(2))

        def see_value(_module: object, _arguments: object, output: Tensor) -> None:
            heads = output.double().view(*output.shape[:2], -1, self.model.config.head_dim)
            norms.append(heads.square().sum(-1).sqrt().mT)

        layers = self.model.model.layers
        hooks = [layer.self_attn.register_forward_hook(see) for layer in layers]
        hooks += [layer.self_attn.v_proj.register_forward_hook(see_value) for layer in layers]
        self._run(ids)
        for hook in hooks:
            hook.remove()
        return torch.stack(mass, 1), torch.stack(norms, 1)


@pytest.mark.parametrize(
    ("kind", "positions"),
    [("kjv-dlm", 70), ("kjv-ar", 70), ("dream", 40), ("llama", 40), ("qwen3", 40)],
)
def test_every_head_is_that_of_eager_attention(tmp_path: Path, kind: str, positions: int) -> None:
    folder = SHIPPED / kind if kind.startswith("kjv") else tiny(tmp_path / "model", kind)
    decoder = read(folder)
    text, shape = some_trajectories(decoder, positions), decoder.dimensions
    assert kind.startswith("kjv") or shape.heads > shape.kv_heads == KV_HEADS
    with full_file(tmp_path / "full", full_shapes(text, shape, HEADS)) as full:
        seen = observe(decoder, text, HEADS, held_for=None, group=3, watch=ignore, full=full)
    mass, norms = Eager(folder)(text.noised.flatten(0, 1))
    found = load_file(tmp_path / "full")
    for name, ours, theirs in (
        ("head_mass", found["head_mass"], mass), ("head_value_norm", found["head_value_norm"], norms),
        ("mass", found["mass"], mass.sum(2)), ("value_norm", found["value_norm"], norms.mean(2)),
        ("total", seen.mass, mass.sum((1, 2))), ("kept", seen.kept, mass.sum(2)),
    ):  # fmt: skip
        given = ours.flatten(0, 1).double()
        np.testing.assert_allclose(given, theirs, rtol=1e-5, atol=1e-5, err_msg=name)
    assert_all_told(seen, text, mass, norms)


def assert_all_told(seen: Observation, text: Trajectories, mass: Tensor, norms: Tensor) -> None:
    facts = sink_facts(seen.totals, text.timesteps, text.clean.shape[1], HEADS)
    assert facts.per_head is not None
    _, blocks, heads, _ = mass.shape
    assert len(facts.per_head) == blocks * heads
    values = norms.repeat_interleave(heads // norms.shape[2], 2)
    assert_told(facts.model_dump(), text, mass.sum((1, 2)), norms.mean((1, 2)))
    for layer in facts.per_layer:
        b = layer.layer
        assert_told(layer.model_dump(), text, mass[:, b].sum(1), norms[:, b].mean(1))
    for head in facts.per_head:
        b, h = head.layer, head.head
        assert_told(head.model_dump(), text, mass[:, b, h], values[:, b, h])


def assert_told(told: dict[str, Any], text: Trajectories, mass: Tensor, norms: Tensor) -> None:
    """Mass and norms (sequences, positions) of what `told` is about."""
    samples = mass.view(text.noised.shape), norms.view(text.noised.shape)
    each = [
        sink_oracle.statistics(m.numpy(), v.numpy(), hit.numpy())
        for m, v, hit in zip(*samples, text.masked, strict=True)
    ]
    for name in set(STATISTICS) & told.keys():
        mean, error = summarise(torch.tensor([one[name] for one in each], dtype=torch.float64))
        where = (name, told.get("layer"), told.get("head"))
        # An error is a difference of two samples here, which has fewer digits than they.
        for part, expected, rel in (("mean", mean, 1e-5), ("stderr", error, 1e-4)):
            # Of no sample that defines it, or of one alone, there is none.
            near = None if expected is None else pytest.approx(expected, rel=rel, abs=1e-5)
            assert told[name][part] == near, (where, part)


def test_asking_for_heads_changes_nothing_else(tmp_path: Path) -> None:
    """Not a bit: masks depend on it."""
    decoder = read(tiny(tmp_path, "dream"))
    text = some_trajectories(decoder, 24)
    one, other = (
        EngineRun(decoder, text, METHODS["sink-wanda"], Sinks(per_head=asked)).observe()
        for asked in (False, True)
    )
    assert torch.equal(one.mass, other.mass)
    assert torch.equal(one.kept, other.kept)
    assert one.totals.heads is None
    blocks = {n: v for n, v in other.totals.tensors().items() if not n.startswith("heads")}
    for name, values in one.totals.tensors().items():
        assert torch.equal(values, blocks[name]), name
    for source, statistic in one.statistics.items():
        assert torch.equal(statistic.total, other.statistics[source].total)
