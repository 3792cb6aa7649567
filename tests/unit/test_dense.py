"""A file with the dense model's judgement is believed when it answers the question, and is whole."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core.answers import NO_ANSWERS, FolderAnswers
from core.dense import DenseAnswers
from core.evaluation.draws import BANDS, DRAWS
from core.evaluation.nelbo import Judgement, NoisyTokens, draw_masks
from core.models.checkpoint import Checkpoint
from core.models.decoder import Decoder, load
from core.models.intake import take_in
from tests.checkpoints import tiny_llada

CLEAN = torch.arange(40).view(2, 20)
NOISY = draw_masks(CLEAN, 1e-3, 1)


def judgement() -> Judgement:
    count = int(NOISY.masked.sum())
    return Judgement(
        torch.tensor([1.25, 2.5], dtype=torch.float64),
        torch.arange(count).int(),
        torch.full((2, DRAWS), 0.5, dtype=torch.float64),
        torch.full((2, DRAWS, BANDS), 0.25, dtype=torch.float64),
    )


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    folder = tiny_llada(tmp_path_factory.mktemp("model") / "model")
    return load(Checkpoint(take_in(folder)), torch.device("cpu"))


class Asked:
    """Asks in the name of a run, and counts how often the model had to be judged."""

    def __init__(self, folder: Path, decoder: Decoder) -> None:
        self.folder, self.decoder, self.judged = folder, decoder, 0
        (folder / "scratch").mkdir()

    def __call__(
        self, name: str, noisy: NoisyTokens = NOISY, group: int = 4, revision: str = "r"
    ) -> tuple[Judgement, str | None]:
        def judge() -> Judgement:
            self.judged += 1
            return judgement()

        kept = FolderAnswers(self.folder / "dense", name)
        answers = DenseAnswers(kept, revision, self.folder / "scratch")
        found = answers.of(self.decoder, noisy, group, judge)
        assert list((self.folder / "scratch").iterdir()) == []
        return found, answers.origin

    def files(self) -> list[Path]:
        return list((self.folder / "dense").iterdir())


@pytest.fixture
def ask(tmp_path: Path, decoder: Decoder) -> Asked:
    return Asked(tmp_path, decoder)


def equal(one: Judgement, other: Judgement) -> bool:
    return torch.equal(one.nelbo, other.nelbo) and torch.equal(one.choices, other.choices)


def test_what_one_found_out_another_takes_over(ask: Asked) -> None:
    first, origin = ask("a")
    second, theirs = ask("b")
    assert (origin, theirs, ask.judged) == (None, "a", 1)
    assert equal(first, judgement())
    assert equal(second, judgement())
    assert (second.nelbo.dtype, second.choices.dtype) == (torch.float64, torch.int32)


@pytest.mark.parametrize(
    "other",
    [
        lambda ask: ask("b", group=5),
        lambda ask: ask("b", revision="other"),
        lambda ask: ask("b", replace(NOISY, clean=NOISY.clean + 1)),
        lambda ask: ask("b", replace(NOISY, rate=NOISY.rate + 1e-6)),
        lambda ask: ask("b", replace(NOISY, masked=NOISY.masked.flip(0))),
    ],
)
def test_another_question_is_another_file(ask: Asked, other: Callable[[Asked], object]) -> None:
    ask("a")
    other(ask)
    assert (ask.judged, len(ask.files())) == (2, 2)


def harm(path: Path, how: str) -> None:
    with safe_open(path, framework="pt") as opened:
        facts = dict(opened.metadata())
    # What is only mapped would go with the file.
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    data = bytearray(path.read_bytes())
    match how:
        case "cut":
            path.write_bytes(data[:-3])
        case "bit":
            data[-1] ^= 1
            path.write_bytes(data)
        case "empty":
            path.write_bytes(b"")
        case "shape":
            save_file(
                tensors | {"nelbo": torch.zeros(9, dtype=torch.float64)}, path, metadata=facts
            )
        case "type":
            save_file(tensors | {"nelbo": tensors["nelbo"].float()}, path, metadata=facts)
        case "key":
            save_file(tensors, path, metadata=facts | {"key": "0" * 64})
        case "name":
            save_file({"nelbo": tensors["nelbo"]}, path, metadata=facts)
        case "facts":
            save_file(tensors, path)


@pytest.mark.parametrize("how", ["cut", "bit", "empty", "shape", "type", "key", "name", "facts"])
def test_what_is_damaged_is_found_out_again_and_mended(ask: Asked, how: str) -> None:
    ask("a")
    (file,) = ask.files()
    harm(file, how)
    again, origin = ask("b")
    assert (origin, ask.judged) == (None, 2)
    assert equal(again, judgement())
    mended, theirs = ask("c")
    assert (theirs, ask.judged) == ("b", 2)
    assert equal(mended, judgement())


def test_a_disk_that_takes_nothing_costs_nothing(decoder: Decoder, tmp_path: Path) -> None:
    (tmp_path / "dense").touch()  # no folder can be made there
    for answers, scratch in (
        (FolderAnswers(tmp_path / "dense", "a"), tmp_path),
        (NO_ANSWERS, tmp_path),
        (FolderAnswers(tmp_path / "there", "a"), tmp_path / "missing"),
    ):
        kept = DenseAnswers(answers, "r", scratch)
        assert equal(kept.of(decoder, NOISY, 4, judgement), judgement())
        assert kept.origin is None
