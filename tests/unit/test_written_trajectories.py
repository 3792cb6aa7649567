"""Trajectories that a model writes: which states are kept, what exists at them, and that what does not
exist yet counts nowhere."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from core.calibration.continuation import Continuation, continuation
from core.calibration.noise import Trajectories
from core.calibration.recorded import from_recorded
from core.calibration.samplers import SAMPLERS, generators
from core.calibration.token_file import TokenFile, read_token_file, write_token_file
from core.calibration.writing import to_write, write
from core.calibration_spec import Calibration
from core.errors import BadTokenFile, InvalidSpec
from core.models import attention
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from core.pruning.pattern_values import Share
from core.recipes import METHODS, Recipe, cells
from core.sinks.scores import discount, persistence, sink_set, soft_sink
from core.spec import Sinks
from tests.checkpoints import MASK_ID, VOCABULARY
from tests.engine_runs import EngineRun, ignore
from tests.family_checkpoints import tiny

ROWS = torch.randint(MASK_ID, (3, 20), generator=torch.Generator().manual_seed(4))
STEPS = {"diffusion_steps": 6, "sample_interval": 2}


def asked(trajectory: str, **changes: Any) -> Calibration:
    return Calibration.model_validate({**STEPS, "trajectory": trajectory, **changes})


def read(folder: Path, kind: str) -> Decoder:
    return load(Checkpoint(take_in(tiny(folder, kind))), torch.device("cpu"))


def written(
    decoder: Decoder, calibration: Calibration, rows: Tensor = ROWS, group: int = 2
) -> tuple[Trajectories, Continuation]:
    wanted = continuation(calibration, decoder.family, rows.shape[1])
    assert wanted is not None
    made = write(decoder, rows, wanted, calibration, group=group, watch=ignore)
    return made, wanted


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    return read(tmp_path_factory.mktemp("model") / "m", "llama")


@pytest.fixture(scope="module")
def llada(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    return read(tmp_path_factory.mktemp("model") / "m", "llada")


@pytest.mark.parametrize("kind", ["llada", "dream"])
def test_a_timestep_is_the_steps_that_are_left(tmp_path: Path, kind: str) -> None:
    decoder = read(tmp_path / "m", kind)
    found, wanted = written(decoder, asked("generation", include_clean=True, seed=3))
    states = list(SAMPLERS[wanted.sampler](decoder, ROWS[:, :5], wanted, generators(3, range(3))))
    assert found.timesteps == (0, 2, 4, 6)
    for index, left in enumerate(found.timesteps):
        assert torch.equal(found.noised[:, index], states[6 - left])
    assert torch.equal(found.clean, states[-1])
    assert torch.equal(found.masked, found.noised == MASK_ID)
    assert found.rates[:, 0].tolist() == [0.0] * 3
    assert found.rates[:, 3].tolist() == [0.75] * 3
    assert found.rates.diff(dim=1).ge(0).all()
    assert found.present is None


def test_decoding_is_one_text_and_how_much_of_it_is_there(llama: Decoder) -> None:
    found, _ = written(llama, asked("decoding", include_clean=True))
    assert torch.equal(found.noised, found.clean[:, None].expand(-1, 4, -1))
    assert torch.equal(found.clean[:, :5], ROWS[:, :5])
    # 15 tokens in 6 steps are 3, 3, 3, 2, 2, 2.
    assert found.lengths is not None
    assert found.lengths.tolist() == [[20, 16, 11, 5]] * 3
    assert found.present is not None
    assert torch.equal(found.present.long().argmin(-1)[:, 1:], found.lengths[:, 1:])
    assert not found.masked.any()


def test_blocks_that_are_not_begun_do_not_exist(tmp_path: Path) -> None:
    decoder = read(tmp_path / "m", "llada2_moe")
    rows = torch.randint(MASK_ID, (2, 80), generator=torch.Generator().manual_seed(4))
    found, _ = written(decoder, asked("generation", generation={"prompt_length": 40}), rows)
    assert found.lengths is not None
    assert found.lengths.tolist() == [[80, 64, 64]] * 2
    assert found.noised[:, 2, 40:].eq(MASK_ID).all()


@pytest.mark.parametrize("trajectory", ["generation", "decoding"])
def test_what_is_begun_has_the_shapes_of_what_will_be(
    llada: Decoder, llama: Decoder, trajectory: str
) -> None:
    decoder = llada if trajectory == "generation" else llama
    calibration = asked(trajectory)
    made, wanted = written(decoder, calibration)
    begun = to_write(ROWS, wanted, calibration, MASK_ID)
    assert begun.noised.shape == made.noised.shape
    assert begun.timesteps == made.timesteps
    assert torch.equal(begun.clean, ROWS)
    assert (begun.present is None) == (made.present is None)
    assert torch.equal(begun.noised[:, -1, :5], made.noised[:, -1, :5])


def test_groups_do_not_show(llada: Decoder) -> None:
    calibration = asked("generation", generation={"temperature": 0.8})
    one, all_at_once = (written(llada, calibration, group=g)[0] for g in (1, 3))
    assert torch.equal(one.noised, all_at_once.noised)
    assert torch.equal(one.clean, all_at_once.clean)


def test_mass_of_a_beginning_is_that_of_the_beginning_alone(llama: Decoder) -> None:
    found, _ = written(llama, asked("decoding"))
    seen = EngineRun(llama, found, METHODS["sink-wanda"], group=4).observe()
    assert found.lengths is not None
    for sample in range(3):
        for index, length in enumerate(found.lengths[sample].tolist()):
            alone: dict[int, Tensor] = {}
            with attention.watching(alone.__setitem__), torch.inference_mode():
                llama.run_blocks(found.clean[sample : sample + 1, :length])
            mass = torch.cat([alone[b] for b in range(len(llama.blocks))])
            assert_close(seen.kept[sample, index, :, :length], mass, atol=1e-5, rtol=1e-5)
            assert not seen.kept[sample, index, :, length:].any()


NOISED = [each for each in cells() if (each.inputs, each.order) == ("noised", "one-shot")]


@pytest.mark.parametrize("recipe", [METHODS["sink-sparsegpt"], *NOISED], ids=str)
def test_what_is_not_written_yet_counts_nowhere(tmp_path: Path, recipe: Recipe) -> None:
    """Noised sequences that differ only behind their ends prune the same."""
    source = tiny(tmp_path / "m", "llama")
    decoders = [load(Checkpoint(take_in(source)), torch.device("cpu")) for _ in range(2)]
    found, _ = written(decoders[0], asked("decoding"))
    assert found.present is not None
    other = found.noised.masked_fill(~found.present, 3)
    assert not torch.equal(other, found.noised)
    kept = []
    for decoder, noised in zip(decoders, (found.noised, other), strict=True):
        EngineRun(decoder, replace(found, noised=noised), recipe, group=6).prune(Share(0.5))
        kept.append([m.linear.weight.detach() == 0 for m in decoder.all_matrices()])
    assert all(torch.equal(one, two) for one, two in zip(*kept, strict=True))


def test_sinks_are_found_among_what_exists() -> None:
    mass = torch.tensor([[[9.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [4.0, 1.0, 1.0, 0.0, 0, 0, 0]]])
    present = torch.arange(7) < torch.tensor([[5, 3]])[..., None]
    for step, length in enumerate((5, 3)):
        beginning = mass[:, step, :length]
        assert torch.equal(sink_set(mass, 1.2, present)[:, step, :length], sink_set(beginning, 1.2))
        soft = soft_sink(mass, 1.2, 2.0, present)[:, step, :length]
        assert_close(soft, soft_sink(beginning, 1.2, 2.0))
    assert not discount(mass, "keep", Sinks(), present)[~present].any()
    assert not sink_set(mass, 0.0, present)[~present].any()
    # Position 3 is there at one of two timesteps, and a sink whenever it is.
    sinks = torch.zeros(1, 2, 7, dtype=torch.bool)
    sinks[0, :, 0] = sinks[0, 0, 3] = sinks[0, 0, 1] = True
    assert persistence(sinks, present)[0].tolist() == [1, 0.5, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "trajectory"),
    [("llada", "generation"), ("dream", "generation"), ("llama", "decoding")],
)
def test_a_saved_one_is_the_same_again(tmp_path: Path, kind: str, trajectory: str) -> None:
    decoder = read(tmp_path / "m", kind)
    made, _ = written(decoder, asked(trajectory, include_clean=True))
    write_token_file(tmp_path / "t.safetensors", made)
    tokens = read_token_file(tmp_path / "t.safetensors", VOCABULARY)
    mask = decoder.dimensions.mask_token
    again, warnings = from_recorded(tokens, Calibration(), decoder.family, mask)
    assert warnings == ()
    assert again.timesteps == made.timesteps == (0, 2, 4, 6)
    for name in ("clean", "noised", "masked", "rates", "weights"):
        assert torch.equal(getattr(again, name), getattr(made, name))
    assert (again.present is None) == (made.present is None)
    if made.present is not None and again.present is not None:
        assert torch.equal(again.present, made.present)


IDS = torch.zeros(2, 8, dtype=torch.int64)
RECORDED = {"input_ids": IDS, "noised_input_ids": IDS[:, None].repeat(1, 3, 1)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"lengths": torch.full((2, 3), 9)}, "lengths has values outside 1…8"),
        ({"lengths": torch.zeros(2, 3, dtype=torch.int64)}, "lengths has values outside 1…8"),
        ({"lengths": torch.full((2, 4), 8)}, r"does not match lengths \[2, 4\]"),
        ({"lengths": torch.full((2, 3), 8.0)}, r"lengths must be int64 \(I64\) with 2"),
        ({"timesteps": torch.tensor([1, 2])}, r"does not match timesteps \[2\]"),
        ({"timesteps": torch.tensor([[1, 2, 3]])}, "timesteps must be int64"),
        ({"timesteps": torch.tensor([3, 2, 1])}, "numbers that grow"),
        ({"timesteps": torch.tensor([-1, 2, 3])}, "numbers that grow"),
        ({"timesteps": torch.tensor([1, 2, 2**31])}, "numbers that grow"),
        ({"present": torch.ones(2, 3)}, "holds input_ids, noised_input_ids, present"),
    ],
)
def test_token_files_that_contradict_themselves(
    tmp_path: Path, tensors: dict[str, Tensor], message: str
) -> None:
    save_file(RECORDED | tensors, tmp_path / "t.safetensors")
    with pytest.raises(BadTokenFile, match=message):
        read_token_file(tmp_path / "t.safetensors", VOCABULARY)


@pytest.mark.parametrize("name", ["lengths", "timesteps"])
def test_nothing_is_said_of_a_trajectory_that_is_not_there(tmp_path: Path, name: str) -> None:
    save_file({"input_ids": IDS, name: torch.ones(2, 3).long()}, tmp_path / "t.safetensors")
    with pytest.raises(BadTokenFile, match="may hold noised_input_ids"):
        read_token_file(tmp_path / "t.safetensors", VOCABULARY)


def test_who_sees_all_cannot_be_told_that_some_does_not_exist(
    llada: Decoder, llama: Decoder, tmp_path: Path
) -> None:
    save_file(RECORDED | {"lengths": torch.full((2, 3), 5)}, tmp_path / "t.safetensors")
    tokens = read_token_file(tmp_path / "t.safetensors", VOCABULARY)
    with pytest.raises(BadTokenFile, match="llada sees further: each position sees all positions"):
        from_recorded(tokens, Calibration(), llada.family, MASK_ID)
    found, _ = from_recorded(tokens, Calibration(), llama.family, None)
    assert found.lengths is not None
    whole = replace(tokens, lengths=torch.full((2, 3), 8))
    assert from_recorded(whole, Calibration(), llada.family, MASK_ID)[0].present is None


def test_recorded_timesteps_contradict_others(llama: Decoder) -> None:
    with pytest.raises(BadTokenFile, match="recorded timesteps are 7, 8, 9"):
        _timesteps_of(llama, (7, 8, 9), sample_interval=10)
    assert _timesteps_of(llama, (7, 8, 9)) == (7, 8, 9)
    assert _timesteps_of(llama, (20, 40), sample_interval=20) == (20, 40)


def _timesteps_of(decoder: Decoder, timesteps: tuple[int, ...], **changes: Any) -> tuple[int, ...]:
    noised = IDS[:, None].repeat(1, len(timesteps), 1)
    tokens = TokenFile(IDS, noised, None, timesteps)
    return from_recorded(tokens, Calibration(**changes), decoder.family, None)[0].timesteps


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llada", {"trajectory": "decoding"}, "llada writes by denoising: no decoding can"),
        (
            "llama",
            {"trajectory": "generation"},
            "llama writes from left to right: no generation can",
        ),
        ("dream", {"generation": {"guidance": 1.0}}, "the sampler of dream has no guidance"),
        ("llada", {"generation": {"top_k": 3}}, "the sampler of llada has no top_k"),
        ("llada", {"generation": {"prompt_length": 20}}, "20 leaves nothing to write"),
        ("llada", {"generation": {"block_length": 4}}, "the 15 positions to write are no multiple"),
        ("llada", {"generation": {"block_length": 3}}, "6 steps cannot be shared .* by 5 blocks"),
        (
            "llada",
            {"diffusion_steps": 20, "timestep_weights": "inverse-rate"},
            "with 2 steps left nothing is masked",
        ),
    ],
)
def test_what_the_model_cannot_do_is_named(
    llada: Decoder, llama: Decoder, kind: str, changes: dict[str, Any], message: str
) -> None:
    families = {"llada": llada.family, "llama": llama.family}
    families["dream"] = replace(llada.family, name="dream", sampler="dream")
    calibration = asked(**{"trajectory": "generation", **changes})
    with pytest.raises(InvalidSpec, match=message) as caught:
        continuation(calibration, families[kind], 20)
    assert caught.value.remedy
    assert caught.value.fields[0]["field"].startswith("calibration.")


def test_idle_steps_are_told_of(llada: Decoder) -> None:
    found = continuation(asked("generation", diffusion_steps=16), llada.family, 20)
    assert found is not None
    (warning,) = found.warnings
    assert "diffusion_steps 16 are more than the 15 positions to write" in warning
