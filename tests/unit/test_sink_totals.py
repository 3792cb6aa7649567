"""Statistics of samples that are not kept: the same numbers, and memory that does not grow."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from core.calibration.noise import Trajectories
from core.models.families import Dimensions
from core.report.facts import sink_facts
from core.sinks.full_file import FullFile, full_file
from core.sinks.moments import Moments
from core.sinks.statistics import STATISTICS, summarise
from core.sinks.totals import PARTS, Received, SinkTotals
from core.sinks.watch import SinkWatch, full_shapes
from core.spec import Sinks
from tests import sink_oracle

STEPS, POSITIONS = 3, 16
SHAPE = Dimensions(
    vocabulary=9, width=8, blocks=2, heads=4, kv_heads=2, ffn_width=8, context=POSITIONS,
    norm_eps=1e-5, rope_theta=1e4, tied=False, mask_token=8,
)  # fmt: skip
HEADS = Sinks(per_head=True, threshold_std=1.5)
CPU = torch.device("cpu")


def trajectories(samples: int, *, growing: bool = False) -> Trajectories:
    rng = torch.Generator().manual_seed(1)
    clean = torch.randint(8, (samples, POSITIONS), generator=rng)
    noised = torch.randint(9, (samples, STEPS, POSITIONS), generator=rng)
    found = Trajectories.recorded(clean, noised, tuple(range(1, STEPS + 1)), 8)
    lengths = 8 + torch.randint(2, (samples, STEPS, 1), generator=rng).cumsum(1)
    return replace(found, present=torch.arange(POSITIONS) < lengths) if growing else found


def received(samples: int) -> Received:
    """As the sequences of so many samples would show, with a few positions that stand out."""
    rng = np.random.default_rng(7)
    shape = (samples * STEPS, SHAPE.blocks, SHAPE.heads, POSITIONS)
    by_head = torch.from_numpy(rng.gamma(0.4, size=shape).astype(np.float32))
    norms = torch.from_numpy(rng.gamma(4, size=shape).astype(np.float32))[:, :, : SHAPE.kv_heads]
    mass = by_head.sum(2)
    return Received(mass.sum(1), mass, norms.mean(2), by_head, norms)


def watched(
    samples: int, cuts: list[int], full: FullFile | None = None, *, growing: bool = False
) -> SinkWatch:
    """After all sequences, which came in groups of these sizes, over and over."""
    seen, watch = received(samples), None
    watch = SinkWatch(trajectories(samples, growing=growing), HEADS, SHAPE, CPU, full)
    begin, turn = 0, 0
    while begin < len(seen):
        size = cuts[turn % len(cuts)]
        watch.add(seen[begin : begin + size])
        begin, turn = begin + size, turn + 1
    return watch


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


numbers = st.lists(st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)), min_size=0, max_size=12)


def moments(values: list[float]) -> Moments:
    total = Moments.empty(())
    for value in values:
        total = total.merge(Moments.of(torch.tensor(value, dtype=torch.float64)))
    return total


@given(numbers, numbers)
def test_merged_moments_are_those_of_all_numbers(one: list[float], other: list[float]) -> None:
    merged, whole = moments(one).merge(moments(other)), moments(one + other)
    scale = max([1.0, *(abs(x) for x in one + other if x == x)])
    assert merged.count == whole.count
    assert_close(merged.mean, whole.mean, rtol=1e-12, atol=1e-12 * scale)
    assert_close(merged.squares, whole.squares, rtol=1e-12, atol=1e-12 * scale**2)
    known = torch.tensor(one + other, dtype=torch.float64)
    mean, error = summarise(known)
    for found, expected, size in (
        (whole.means(), mean, scale),
        (whole.standard_errors(), error, scale),
    ):
        if expected is None:
            assert found.isnan()
        else:
            assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12 * size)


def test_equal_numbers_have_no_spread() -> None:
    assert moments([0.1] * 9).squares == 0
    assert moments([0.1] * 9).mean == 0.1


@settings(max_examples=12)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.booleans())
def test_groups_do_not_show_in_a_single_bit(cuts: list[int], growing: bool) -> None:
    """Whether they cut a sample or hold several."""
    one, other = (watched(4, c, growing=growing) for c in (cuts, [4 * STEPS]))
    assert_same_bits(one.sums(), other.sums())
    assert_same_bits(one.rows(0, 4 * STEPS), other.rows(0, 4 * STEPS))


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_merged_totals_are_those_of_all_samples(cut: int) -> None:
    seen, masked = received(5), trajectories(5).masked
    each = [SinkTotals.of(seen[n * STEPS : (n + 1) * STEPS], masked[n], HEADS) for n in range(5)]
    empty = SinkTotals.empty(STEPS, SHAPE.blocks, SHAPE.heads)
    parts = []
    for some in (each[:cut], each[cut:]):
        total = empty
        for one in some:
            total = total.merge(one)
        parts.append(total)
    merged, whole = parts[0].merge(parts[1]).tensors(), watched(5, [STEPS]).totals.tensors()
    for name, values in whole.items():
        assert_close(merged[name], values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("growing", [False, True])
def test_every_mean_and_error_is_that_of_plain_loops(growing: bool) -> None:
    """Over all blocks, for each block, and for each head, whose values two heads share."""
    samples, seen = 6, received(6)
    text = trajectories(samples, growing=growing)
    facts = sink_facts(
        watched(samples, [4], growing=growing).totals, text.timesteps, POSITIONS, HEADS
    )
    shared = SHAPE.heads // SHAPE.kv_heads
    assert seen.head_mass is not None
    assert seen.head_value_norm is not None
    units = [(facts.model_dump(), seen.total, seen.value_norm.double().mean(1))]
    units += [
        (layer.model_dump(), seen.mass[:, layer.layer], seen.value_norm[:, layer.layer])
        for layer in facts.per_layer
    ]
    assert facts.per_head is not None
    assert [(h.layer, h.head) for h in facts.per_head] == [(i // 4, i % 4) for i in range(8)]
    for head in facts.per_head:
        at = head.layer, head.head
        norms = seen.head_value_norm[:, head.layer, head.head // shared]
        units.append((head.model_dump(), seen.head_mass[:, at[0], at[1]], norms))
    for told, mass, norms in units:
        expected = []
        for n in range(samples):
            rows = slice(n * STEPS, (n + 1) * STEPS)
            present = None if text.present is None else text.present[n].numpy()
            expected.append(
                sink_oracle.statistics(
                    mass[rows].double().numpy(), norms[rows].double().numpy(),
                    text.masked[n].numpy(), present, kappa=1.5,
                )
            )  # fmt: skip
        for name in set(STATISTICS) & told.keys():
            mean, error = summarise(torch.tensor([e[name] for e in expected], dtype=torch.float64))
            assert told[name]["mean"] == pytest.approx(mean, rel=1e-6), name
            assert told[name]["stderr"] == pytest.approx(error, rel=1e-6), name


def test_the_histogram_counts_every_position_that_is_ever_a_sink() -> None:
    watch = watched(6, [5])
    facts = sink_facts(watch.totals, (1, 2, 3), POSITIONS, HEADS)
    assert [bar.share for bar in facts.persistence_histogram] == pytest.approx([1 / 3, 2 / 3, 1])
    mass = watch.mass.double().view(6, STEPS, POSITIONS).numpy()
    there = np.ones((STEPS, POSITIONS), dtype=bool)
    counts = np.zeros(STEPS)
    for sample in mass:
        sets = sink_oracle.sink_sets(sample, there, 1.5)
        for i in set().union(*sets):
            counts[sum(i in found for found in sets) - 1] += 1 / 6
    assert [bar.positions for bar in facts.persistence_histogram] == pytest.approx(counts)
    assert facts.timesteps_without_sink == sum(
        not found for sample in mass for found in sink_oracle.sink_sets(sample, there, 1.5)
    )


def held_bytes(watch: SinkWatch) -> int:
    """Of all but the mass summed over blocks, which discounts need."""
    tensors = [watch.kept, *watch.sums().values()]
    return sum(t.untyped_storage().nbytes() for t in tensors)


def test_what_is_held_does_not_grow_with_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2 * STEPS * SHAPE.blocks * POSITIONS
    monkeypatch.setattr("core.sinks.kept.KEPT_BYTES", 2 * each + 1)
    few, many = (watched(samples, [4]) for samples in (6, 20))
    assert few.kept.shape == many.kept.shape == (2 * STEPS, SHAPE.blocks, POSITIONS)
    assert held_bytes(few) == held_bytes(many)
    # Nor does a part of a sample keep the whole group it came with.
    waiting = SinkWatch(trajectories(40), HEADS, SHAPE, CPU)
    waiting.add(received(40)[: 30 * STEPS + 1])
    alone = SinkWatch(trajectories(40), HEADS, SHAPE, CPU)
    alone.add(received(40)[:1].each(torch.clone))
    assert held_bytes(waiting) == held_bytes(alone)


def test_a_single_sample_is_kept_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.sinks.kept.KEPT_BYTES", 1)
    assert torch.equal(watched(2, [4]).kept, received(2).mass[:STEPS])


@pytest.mark.parametrize("growing", [False, True])
def test_the_full_file_has_every_number(tmp_path: Path, growing: bool) -> None:
    text, path = trajectories(4, growing=growing), tmp_path / "full"
    with full_file(path, full_shapes(text, SHAPE, HEADS)) as file:
        watched(4, [5, 1], file, growing=growing)
    found, seen = load_file(path), received(4)
    for name, values in seen.named().items():
        if name != "total":
            assert torch.equal(found.pop(name).flatten(0, 1), values)
    assert torch.equal(found.pop("masked").bool(), text.masked)
    assert found.pop("timesteps").tolist() == [1, 2, 3]
    if text.present is not None:
        assert torch.equal(found.pop("present").bool(), text.present)
    assert not found


def test_totals_come_back_from_their_tensors() -> None:
    totals = watched(3, [2]).totals
    again = SinkTotals.empty(STEPS, SHAPE.blocks, SHAPE.heads).from_tensors(
        totals.tensors().__getitem__
    )
    assert_same_bits(again.tensors(), totals.tensors())
    assert len(totals.tensors()) == 2 + 2 * len(PARTS)
