"""From a spec's calibration section and a source to what a run is calibrated and judged on."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file
from torch import Tensor

from core.calibration.noise import Noise, draw
from core.calibration.prepare import Prepared, prepare
from core.calibration.token_file import read_token_file, write_token_file
from core.calibration_spec import Calibration
from core.errors import BadTokenFile, HubUnavailable, InvalidSpec, SecateurError, TextTooShort
from core.examples import folder_of
from core.models.families import LLADA, Dimensions, Family
from core.sources import Allowed, text_source
from core.texts import Downloads, opened
from tests.checkpoints import CHARACTERS, MASK_ID, VOCABULARY
from tests.hub import COMMIT, FakeHub
from tests.hub_faults import Fault

VERSES = Path(__file__).parents[1] / "verses.txt"
DLM = Dimensions(
    vocabulary=VOCABULARY, width=32, blocks=2, heads=2, kv_heads=2, ffn_width=48, context=64,
    norm_eps=1e-5, rope_theta=1e4, tied=False, mask_token=MASK_ID,
)  # fmt: skip
AR = replace(DLM, mask_token=None)
CAUSAL = replace(LLADA, name="llama", attention="causal", process="uniform", shifted=True)
DREAM = replace(LLADA, name="dream", process="dream", shifted=True)
START = VOCABULARY - 3


@pytest.fixture
def calibrate(tiny_model: Path, tmp_path: Path) -> Callable[..., Prepared]:
    def calibrate(
        family: Family = LLADA, dimensions: Dimensions = DLM, model: Path = tiny_model, **asked: Any
    ) -> Prepared:
        defaults = {"source": VERSES.as_uri(), "samples": 3, "sequence_length": 16}
        calibration = Calibration(**{**defaults, **asked})
        source = text_source(calibration.source, Allowed())
        with opened(source, Downloads(tmp_path)) as text:
            return prepare(calibration, text, model, family, dimensions, 4)

    return calibrate


def tokens(path: Path, *, rows: int = 6, length: int = 16, recorded: int | None = None) -> str:
    """A token file, and with `recorded` a trajectory in which timestep t masks t positions."""
    ids = torch.arange(rows * length).reshape(rows, length) % (VOCABULARY - 4)
    tensors = {"input_ids": ids}
    if recorded is not None:
        noised = ids[:, None].repeat(1, recorded, 1)
        for t in range(recorded):
            noised[:, t, 1 : t + 2] = MASK_ID
        tensors["noised_input_ids"] = noised
    save_file(tensors, path)
    return path.as_uri()


def rows_of(text: str, length: int) -> list[list[int]]:
    ids = [CHARACTERS.index(c) for c in text]
    width = length - 1
    return [ids[i * width : (i + 1) * width] for i in range(len(ids) // width)]


def as_rows(ids: Tensor) -> list[list[int]]:
    assert ids[:, 0].eq(START).all()
    return [list(row) for row in ids[:, 1:].tolist()]


def test_windows_of_a_text_are_shared_out_and_never_overlap(
    calibrate: Callable[..., Prepared],
) -> None:
    found = calibrate()
    windows = rows_of(VERSES.read_text(), 16)
    seen = as_rows(found.trajectories.clean)
    judged = as_rows(found.evaluation)
    assert len(seen) == 3
    assert len(judged) == 4
    places = [windows.index(row) for row in seen + judged]
    assert len(set(places)) == 7
    assert found.evaluation_text == "verses.txt, windows that calibration did not see"
    assert found.source_revision is None
    again = calibrate()
    assert torch.equal(again.trajectories.noised, found.trajectories.noised)
    assert torch.equal(again.evaluation, found.evaluation)
    other = calibrate(seed=1)
    assert not torch.equal(other.trajectories.clean, found.trajectories.clean)


def test_every_format_gives_the_same_rows(
    calibrate: Callable[..., Prepared], tmp_path: Path
) -> None:
    text = VERSES.read_text()
    documents = text.splitlines(keepends=True)
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps({"text": d}) + "\n" for d in documents))
    table = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": documents}), table, row_group_size=10)
    expected = calibrate()
    for path in (lines, table):
        found = calibrate(source=path.as_uri())
        assert torch.equal(found.trajectories.noised, expected.trajectories.noised)
        assert torch.equal(found.evaluation, expected.evaluation)


def test_a_text_that_is_too_short_says_how_much_was_found(
    calibrate: Callable[..., Prepared], tmp_path: Path
) -> None:
    short = tmp_path / "a.txt"
    short.write_text("abc" * 30)
    with pytest.raises(TextTooShort, match=r"a\.txt: 90 tokens found, 105 needed"):
        calibrate(source=short.as_uri())
    short.write_text("")
    with pytest.raises(TextTooShort, match="0 tokens found"):
        calibrate(source=short.as_uri())


def test_options_reach_the_noise(calibrate: Callable[..., Prepared]) -> None:
    found = calibrate(
        include_clean=True, keep_prefix=5, max_rate=0.5, stratified=True,
        timestep_weights=[3.0, 1.0, 1.0, 1.0, 0.5],
    ).trajectories  # fmt: skip
    assert found.timesteps == (0, 5, 10, 15, 20)
    assert torch.equal(found.noised[:, 0], found.clean)
    assert not found.masked[..., :5].any()
    assert found.rates[0, 0] == 0
    assert (found.rates[:, 1:] > 0).all()
    assert (found.rates <= 0.5).all()
    assert not torch.equal(found.rates[0], found.rates[1])
    assert found.weights.tolist() == [[3.0, 1.0, 1.0, 1.0, 0.5]] * 3
    inverse = calibrate(timestep_weights="inverse-rate").trajectories
    assert torch.allclose(inverse.weights * inverse.rates, torch.ones(3, 10))


def test_a_prefix_longer_than_the_models_context_is_refused(
    calibrate: Callable[..., Prepared],
) -> None:
    with pytest.raises(InvalidSpec, match=r"keep_prefix 40 leaves nothing .* 32 positions"):
        calibrate(dimensions=replace(DLM, context=32), sequence_length=64, keep_prefix=40)
    cut = calibrate(dimensions=replace(DLM, context=32), sequence_length=64)
    assert "context: 32 used" in cut.warnings[0]


@pytest.mark.parametrize(
    ("family", "dimensions", "kept"),
    [(LLADA, DLM, []), (DREAM, DLM, [0, -1]), (CAUSAL, AR, [0])],
    ids=["llada", "dream", "autoregressive"],
)
def test_a_familys_own_process_draws_the_noise(
    calibrate: Callable[..., Prepared], family: Family, dimensions: Dimensions, kept: list[int]
) -> None:
    found = calibrate(family, dimensions).trajectories
    assert found.timesteps == Calibration().timesteps
    assert found.masked[:, -1].any()
    assert not found.masked[..., kept].any()
    masks = found.noised == MASK_ID
    # A replacement is any token, so now and then the mask token's id of another family.
    assert (
        masks.sum() < 0.1 * masks.numel() if family is CAUSAL else torch.equal(masks, found.masked)
    )


def test_builtin_text_for_an_autoregressive_model(calibrate: Callable[..., Prepared]) -> None:
    """The tokenizer is the shipped one's; the model has no mask token."""
    dimensions = replace(AR, vocabulary=67, context=256)
    found = calibrate(
        CAUSAL, dimensions, folder_of("kjv-ar"), source="builtin:plain-text", sequence_length=128
    )
    assert found.trajectories.noised.shape == (3, 10, 128)
    assert int(found.trajectories.noised.max()) < 67
    assert found.evaluation_text == "builtin:plain-text, held-out part"
    first = found.trajectories.noised[..., 0]
    assert torch.equal(first, found.trajectories.clean[:, None, 0].expand(-1, 10))


def test_noise_on_a_large_vocabulary(calibrate: Callable[..., Prepared], tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({"input_ids": torch.full((6, 16), 2**17 + 5)}, path)
    found = calibrate(CAUSAL, replace(AR, vocabulary=2**18), source=path.as_uri()).trajectories
    assert int(found.noised[found.masked].max()) > 2**17
    assert found.noised[~found.masked].eq(2**17 + 5).all()


def test_a_recording_is_used_as_it_is(calibrate: Callable[..., Prepared], tmp_path: Path) -> None:
    source = tokens(tmp_path / "t.safetensors", recorded=10)
    recorded = read_token_file(tmp_path / "t.safetensors", VOCABULARY).noised
    assert recorded is not None
    found = calibrate(source=source)
    assert torch.equal(found.trajectories.noised, recorded[:3])
    assert found.trajectories.timesteps == Calibration().timesteps
    assert found.trajectories.rates[0].tolist() == [t / 16 for t in range(1, 11)]
    assert found.warnings == ()
    assert len(found.evaluation) == 3
    weighted = calibrate(source=source, timestep_weights="inverse-rate").trajectories
    assert weighted.weights[0].tolist() == pytest.approx([16 / t for t in range(1, 11)])


def test_a_recording_of_other_timesteps_is_numbered(
    calibrate: Callable[..., Prepared], tmp_path: Path
) -> None:
    source = tokens(tmp_path / "t.safetensors", recorded=4)
    found = calibrate(source=source, timestep_weights=[1.0, 2.0, 3.0, 4.0])
    assert found.trajectories.timesteps == (1, 2, 3, 4)
    assert "4 timesteps, which are numbered 1…4" in found.warnings[0]
    assert found.trajectories.weights[2].tolist() == [1.0, 2.0, 3.0, 4.0]
    # What a stored spec says in full is no other request than what a client left out.
    stored = Calibration(**Calibration(source=source).model_dump()).model_dump()
    again = calibrate(**stored | {"samples": 3, "sequence_length": 16})
    assert again.trajectories.timesteps == (1, 2, 3, 4)
    labelled = calibrate(source=source, diffusion_steps=20).trajectories
    assert labelled.timesteps == (5, 10, 15, 20)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"diffusion_steps": 40}, BadTokenFile, "has 4 timesteps; .* ask for 8"),
        ({"sample_interval": 10}, BadTokenFile, "has 4 timesteps; .* ask for 5"),
        ({"max_rate": 0.5}, InvalidSpec, "calibration.max_rate: .* used as it is"),
        (
            {"stratified": True, "keep_prefix": 2, "include_clean": True},
            InvalidSpec,
            "calibration.stratified, calibration.keep_prefix, calibration.include_clean: ",
        ),
        ({"timestep_weights": [1.0, 2.0]}, InvalidSpec, "2 values for 4 timesteps"),
        ({"samples": 7}, TextTooShort, "96 tokens found, 112 needed"),
    ],
)
def test_what_contradicts_a_recording_is_named(
    calibrate: Callable[..., Prepared],
    tmp_path: Path,
    asked: dict[str, Any],
    error: type[SecateurError],
    message: str,
) -> None:
    source = tokens(tmp_path / "t.safetensors", recorded=4)
    with pytest.raises(error, match=message):
        calibrate(source=source, **asked)


def test_weights_of_a_token_file_without_recording_are_counted_too(
    calibrate: Callable[..., Prepared], tmp_path: Path
) -> None:
    source = tokens(tmp_path / "t.safetensors")
    with pytest.raises(InvalidSpec, match="2 values for 10 timesteps"):
        calibrate(source=source, timestep_weights=[1.0, 2.0])
    found = calibrate(source=source, include_clean=True, max_rate=0.2).trajectories
    assert found.timesteps == (0, 5)


def test_a_recorded_timestep_without_noise_has_no_inverse_rate(
    calibrate: Callable[..., Prepared], tmp_path: Path
) -> None:
    path = tmp_path / "t.safetensors"
    ids = torch.zeros(4, 16, dtype=torch.int64)
    noised = torch.full((4, 3, 16), MASK_ID)
    noised[1, 2] = ids[1]
    save_file({"input_ids": ids, "noised_input_ids": noised}, path)
    with pytest.raises(BadTokenFile, match="sample 1 corrupts nothing at recorded timestep 3"):
        calibrate(source=path.as_uri(), timestep_weights="inverse-rate")
    assert calibrate(source=path.as_uri()).trajectories.rates[1].tolist() == [1, 1, 0]


@pytest.mark.parametrize("family", [LLADA, DREAM, CAUSAL], ids=lambda f: f.process)
def test_a_drawn_trajectory_can_be_saved_and_used_again(
    calibrate: Callable[..., Prepared], tmp_path: Path, family: Family
) -> None:
    dimensions = AR if family is CAUSAL else DLM
    drawn = calibrate(family, dimensions, include_clean=True, max_rate=0.5).trajectories
    path = tmp_path / "saved.safetensors"
    write_token_file(path, drawn)
    found = calibrate(family, dimensions, source=path.as_uri()).trajectories
    assert torch.equal(found.clean, drawn.clean)
    assert torch.equal(found.noised, drawn.noised)
    # A replacement may be the token that was there: then nothing shows that it was hit.
    assert not (found.masked & ~drawn.masked).any()
    assert family is CAUSAL or torch.equal(found.masked, drawn.masked)


def test_a_trajectory_is_not_saved_under_a_name_that_would_be_read_as_text(tmp_path: Path) -> None:
    noise = Noise("llada", (5,), 10, 1e-3, MASK_ID)
    drawn = draw(torch.zeros(2, 4, dtype=torch.int64), noise, seed=0)
    with pytest.raises(BadTokenFile, match=r"must end in \.safetensors"):
        write_token_file(tmp_path / "saved.txt", drawn)


def test_a_data_set_of_the_hub_is_read_at_its_commit(
    calibrate: Callable[..., Prepared], hub: FakeHub, tmp_path: Path
) -> None:
    text = VERSES.read_text()
    half = text.index("\n", len(text) // 2) + 1
    hub.files = {
        "train-00000-of-00002.txt": text[:half].encode(),
        "train-00001-of-00002.txt": text[half:].encode(),
    }
    found = calibrate(source="hf://datasets/org/name@v1")
    expected = calibrate()
    assert torch.equal(found.trajectories.noised, expected.trajectories.noised)
    assert torch.equal(found.evaluation, expected.evaluation)
    assert found.source_revision == COMMIT
    assert found.evaluation_text == f"org/name at {COMMIT}, windows that calibration did not see"
    assert {p.name for p in tmp_path.iterdir()} == {"model"}


def test_no_more_of_a_data_set_is_downloaded_than_is_needed(
    calibrate: Callable[..., Prepared], hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.calibration.text.READ_AT_LEAST", 1)
    hub.files = {f"train-{n}.txt": VERSES.read_bytes() for n in range(4)}
    calibrate(source="hf://datasets/org/name")
    assert sum(path.startswith("GET /datasets/") for path in hub.asked) == 1
    # 4000 tokens hold 7 windows of 15 tokens 38 times: eight times is enough.
    with pytest.raises(TextTooShort, match="16000 tokens found"):
        calibrate(source="hf://datasets/org/name", samples=2000)


def test_token_files_come_from_the_hub_too(
    calibrate: Callable[..., Prepared], hub: FakeHub, tmp_path: Path
) -> None:
    tokens(tmp_path / "t.safetensors", recorded=10)
    hub.files = {"tokens/a.safetensors": (tmp_path / "t.safetensors").read_bytes()}
    found = calibrate(source="hf://datasets/org/name/tokens/a.safetensors")
    assert found.trajectories.noised.shape == (3, 10, 16)
    assert found.source_revision == COMMIT
    hub.faults["tokens/a.safetensors"] = Fault("cut", 99)
    with pytest.raises(HubUnavailable):
        calibrate(source="hf://datasets/org/name/tokens/a.safetensors")
