"""The forward processes: what they corrupt, how much of it, by what, and in which order they draw."""

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.calibration.noise import PROCESSES, Noise, ProcessName, Trajectories, draw
from core.calibration_spec import mask_rate
from tests.checkpoints import MASK_ID
from tests.noising import forward_noise

CLEAN = torch.arange(64).reshape(2, 32) % 50
VOCABULARY = 200_000
processes = st.sampled_from(sorted(PROCESSES))


def noise_of(process: ProcessName, count: int = 5, **changes: float | bool) -> Noise:
    return Noise(
        process=process,
        timesteps=tuple(range(10, 10 * count + 1, 10)),
        steps=10 * count,
        eps=1e-3,
        mask_token=MASK_ID,
        vocabulary=VOCABULARY,
        **changes,  # type: ignore[arg-type]
    )


def test_rate_runs_from_nearly_nothing_to_everything() -> None:
    assert mask_rate(0, 50, 1e-3) == pytest.approx(1e-3)
    assert mask_rate(50, 50, 1e-3) == pytest.approx(1.0)
    assert mask_rate(25, 50, 1e-3) == pytest.approx(0.5005)


def test_noise_is_drawn_sample_by_sample_then_timestep_by_timestep() -> None:
    found = forward_noise(CLEAN, (10, 50), 50, 1e-3, MASK_ID, seed=5)
    rng = torch.Generator().manual_seed(5)
    for n in range(2):
        for t, timestep in enumerate((10, 50)):
            masked = torch.rand(1, 32, generator=rng)[0] < mask_rate(timestep, 50, 1e-3)
            assert torch.equal(found.masked[n, t], masked)
            assert torch.equal(found.noised[n, t][~masked], CLEAN[n][~masked])
    assert found.masked[:, 1].all()
    assert found.noised[found.masked].eq(MASK_ID).all()


def test_the_published_draws_stay_what_they_were() -> None:
    clean = torch.randint(0, 1000, (5, 77), generator=torch.Generator().manual_seed(1))
    found = forward_noise(clean, tuple(range(5, 51, 5)), 50, 1e-3, 1000, seed=9)
    assert hashlib.sha256(found.noised.numpy().tobytes()).hexdigest() == (
        "75a0c2962e6bed42c230cd3ada4615df172596873982ee555bd90f2d1660396c"
    )


@settings(deadline=None, max_examples=30)
@given(processes, st.booleans(), st.integers(1, 5), st.integers(0, 1000))
def test_first_samples_do_not_depend_on_how_many_follow(
    process: ProcessName, stratified: bool, count: int, seed: int
) -> None:
    clean = CLEAN[:1].expand(6, -1)
    noise = noise_of(process, stratified=stratified)
    whole, part = draw(clean, noise, seed), draw(clean[:count], noise, seed)
    assert torch.equal(whole.noised[:count], part.noised)
    assert torch.equal(whole.rates[:count], part.rates)
    assert not torch.equal(whole.noised[0], whole.noised[5])


@settings(deadline=None, max_examples=30)
@given(processes, st.booleans(), st.sampled_from([1.0, 0.6, 0.3]), st.integers(0, 999))
def test_noise_grows_along_a_trajectory_and_stays_within_its_bound(
    process: ProcessName, stratified: bool, max_rate: float, seed: int
) -> None:
    kept = [t for t in noise_of(process).timesteps if mask_rate(t, 50, 1e-3) <= max_rate]
    noise = Noise(
        process, tuple(kept), 50, 1e-3, MASK_ID, VOCABULARY,
        stratified=stratified, max_rate=max_rate,
    )  # fmt: skip
    found = draw(CLEAN, noise, seed)
    assert found.rates.shape == (2, len(kept))
    assert (found.rates.diff() > 0).all()
    assert (found.rates > 0).all()
    assert (found.rates <= max_rate + 1e-6).all()
    assert found.weights.eq(1).all()


@settings(deadline=None, max_examples=30)
@given(processes, st.integers(0, 31), st.integers(0, 99))
def test_a_prefix_is_kept_and_nothing_else_changes(
    process: ProcessName, prefix: int, seed: int
) -> None:
    free = draw(CLEAN, noise_of(process), seed)
    kept = draw(CLEAN, noise_of(process, keep_prefix=prefix), seed)
    assert torch.equal(kept.noised[..., :prefix], CLEAN[:, None, :prefix].expand(-1, 5, -1))
    assert not kept.masked[..., :prefix].any()
    assert torch.equal(kept.noised[..., prefix:], free.noised[..., prefix:])
    assert torch.equal(kept.rates, free.rates)


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_the_measured_share_is_the_rate(process: ProcessName) -> None:
    clean = torch.zeros(8, 4000, dtype=torch.int64)
    found = draw(clean, noise_of(process), seed=2)
    assert (found.masked.float().mean(-1) - found.rates).abs().max() < 0.04


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999), st.integers(1, 12))
def test_dream_keeps_both_ends_and_spreads_its_rates_evenly(seed: int, count: int) -> None:
    found = draw(CLEAN, noise_of("dream", count), seed)
    assert torch.equal(found.noised[..., [0, -1]], CLEAN[:, None, [0, -1]].expand(-1, count, -1))
    p = (found.rates - 1e-3) / (1 - 1e-3)
    # Modulo the shift, which is their smallest, they are 0, 1/T, …, (T − 1)/T.
    assert torch.allclose(p - p[:, :1], torch.arange(count) / count, atol=1e-5)
    assert (p[:, 0] < 1 / count + 1e-5).all()


def test_dream_draws_one_shift_a_sample_before_its_masks() -> None:
    found = draw(CLEAN, noise_of("dream", 2), seed=4)
    rng = torch.Generator().manual_seed(4)
    for n in range(2):
        shift = float(torch.rand(1, 1, generator=rng))
        expected = sorted((1 - 1e-3) * ((shift + k / 2) % 1) + 1e-3 for k in range(2))
        assert found.rates[n].tolist() == pytest.approx(expected, abs=1e-6)
        for t in range(2):
            drawn = torch.rand(1, 32, generator=rng)[0] < found.rates[n, t]
            assert torch.equal(found.masked[n, t, 1:-1], drawn[1:-1])


@settings(deadline=None, max_examples=30)
@given(processes, st.integers(0, 999), st.integers(1, 12))
def test_stratified_rates_lie_one_in_each_stratum(
    process: ProcessName, seed: int, count: int
) -> None:
    found = draw(CLEAN, noise_of(process, count, stratified=True), seed)
    stratum = ((found.rates - 1e-3) / (1 - 1e-3) * count - 1e-4).clamp(min=0).floor()
    assert torch.equal(stratum, torch.arange(count).float().expand(2, -1))
    assert not torch.equal(found.rates[0], found.rates[1])


def test_uniform_noise_replaces_only_what_was_hit_and_keeps_the_first_position() -> None:
    clean = torch.full((4, 2000), 7)
    found = draw(clean, noise_of("uniform"), seed=3)
    assert torch.equal(found.noised[..., 0], clean[:, None, 0].expand(-1, 5))
    assert found.noised[~found.masked].eq(7).all()
    replaced = found.noised[found.masked]
    assert int(replaced.min()) < 0.01 * VOCABULARY
    assert 0.99 * VOCABULARY < int(replaced.max()) < VOCABULARY
    assert replaced.double().mean() == pytest.approx(VOCABULARY / 2, rel=0.02)
    # Where everything is hit, nothing of the text is left; it is no mask token either.
    assert found.masked[:, -1, 1:].all()


def test_uniform_noise_masks_the_positions_that_llada_would() -> None:
    one_timestep = {"process": "uniform", "timesteps": (25,), "steps": 50, "eps": 1e-3}
    uniform = draw(CLEAN[:1], Noise(**one_timestep, vocabulary=50), seed=8)  # type: ignore[arg-type]
    llada = forward_noise(CLEAN[:1], (25,), 50, 1e-3, MASK_ID, seed=8)
    assert torch.equal(uniform.masked[..., 1:], llada.masked[..., 1:])


def test_the_clean_sequence_is_a_timestep_without_noise() -> None:
    drawn = forward_noise(CLEAN, (10, 50), 50, 1e-3, MASK_ID, seed=5)
    found = drawn.with_clean()
    assert found.timesteps == (0, 10, 50)
    assert torch.equal(found.noised[:, 0], CLEAN)
    assert not found.masked[:, 0].any()
    assert found.rates[:, 0].eq(0).all()
    assert found.weights.shape == found.rates.shape == (2, 3)
    for name in ("noised", "masked", "rates", "weights"):
        assert torch.equal(getattr(found, name)[:, 1:], getattr(drawn, name))


def test_only_the_clean_sequence_is_a_trajectory_too() -> None:
    noise = Noise("llada", (), 50, 1e-3, MASK_ID)
    found = draw(CLEAN, noise, seed=0).with_clean()
    assert found.timesteps == (0,)
    assert torch.equal(found.noised, CLEAN[:, None])


def weights_of(asked: str | tuple[float, ...]) -> tuple[Trajectories, Tensor]:
    drawn = draw(CLEAN, noise_of("dream", 3), seed=1)
    return drawn, drawn.weighted(asked).weights


def test_timestep_weights() -> None:
    drawn, weights = weights_of("inverse-rate")
    assert torch.allclose(weights * drawn.rates, torch.ones(2, 3))
    assert weights_of("uniform")[1].eq(1).all()
    assert weights_of((0.0, 1.0, 2.5))[1].tolist() == [[0.0, 1.0, 2.5]] * 2
    assert weights.dtype == torch.float32


def test_a_recording_without_mask_token_is_corrupted_where_it_differs() -> None:
    clean = torch.tensor([[1, 2, 3, 4]])
    noised = torch.tensor([[[1, 2, 9, 4], [1, 3, 9, 2]]])
    found = Trajectories.recorded(clean, noised, (1, 2), None)
    assert found.masked.tolist() == [[[False, False, True, False], [False, True, True, True]]]
    assert found.rates.tolist() == [[0.25, 0.75]]
    with_mask = Trajectories.recorded(clean, noised, (1, 2), mask_id=9)
    assert with_mask.rates.tolist() == [[0.25, 0.25]]
