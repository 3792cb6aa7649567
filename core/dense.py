"""The dense model's judgement, made once for many runs that ask it the same.

It depends on the model, on what it is asked, and on the arithmetic, and on nothing that pruning does. A
file holds it under a name made of all that; one that is not what it says is as if it were not there.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.answers import Answers
from core.evaluation.draws import BANDS
from core.evaluation.nelbo import Judgement, NoisyTokens
from core.identity import dense_identity, identity_digest
from core.models.decoder import Decoder

logger = logging.getLogger(__name__)

Kind = tuple[torch.dtype, tuple[int, ...]]

_PARTS: Final = tuple(field.name for field in fields(Judgement))
_KEY: Final = "key"
_DIGEST: Final = "sha256"
_ORIGIN: Final = "origin"
_MOST_ORIGIN: Final = 64  # characters


class DenseAnswers:
    """What `answers` has of the model of `revision`. `scratch` is a folder for files in passing."""

    def __init__(self, answers: Answers, revision: str, scratch: Path) -> None:
        self._answers, self._revision, self._scratch = answers, revision, scratch
        self.origin: str | None = None
        """Who had made the judgement that was taken over; None where none was."""

    def of(
        self, decoder: Decoder, noisy: NoisyTokens, group: int, judge: Callable[[], Judgement]
    ) -> Judgement:
        """The dense model's answers to `noisy`, in groups of `group`: kept ones, else `judge`'s."""
        key = identity_digest(dense_identity(self._revision, noisy, decoder, group))
        name, file = f"{key}.safetensors", self._scratch / f"{key}.safetensors"
        found = None
        if self._answers.fetch(name, file):
            found = _read(file, key, noisy)
            if found is None:
                logger.warning("%s is damaged: the dense model is judged again", name)
        if found is not None:
            judgement, self.origin = found
        else:
            judgement = judge()
            if _write(file, key, judgement, self._answers.origin):
                self._answers.keep(name, file)
        file.unlink(missing_ok=True)
        return judgement


def _read(file: Path, key: str, noisy: NoisyTokens) -> tuple[Judgement, str] | None:
    """The judgement in `file`, and whose it is; None unless it is whole and answers `noisy`."""
    try:
        with safe_open(file, framework="pt") as opened:
            facts = opened.metadata() or {}
            # Copies: what is read is only mapped, and the file is about to go.
            found = {name: opened.get_tensor(name).clone() for name in _PARTS}
    except (SafetensorError, OSError):
        return None
    told = facts.get(_KEY), facts.get(_DIGEST)
    if _kinds(found) != _expected(noisy) or told != (key, _digest(found)):
        return None
    return Judgement(**found), facts.get(_ORIGIN, "")[:_MOST_ORIGIN] or "another run"


def _kinds(parts: Mapping[str, Tensor]) -> dict[str, Kind]:
    return {name: (part.dtype, tuple(part.shape)) for name, part in parts.items()}


def _expected(noisy: NoisyTokens) -> dict[str, Kind]:
    samples, draws, _ = noisy.masked.shape
    return {
        "nelbo": (torch.float64, (samples,)),
        "choices": (torch.int32, (int(noisy.masked.sum()),)),
        "losses": (torch.float64, (samples, draws)),
        "quarters": (torch.float64, (samples, draws, BANDS)),
    }


def _write(file: Path, key: str, judgement: Judgement, origin: str) -> bool:
    """Whether the disk took it."""
    tensors = {name: getattr(judgement, name) for name in _PARTS}
    digest = _digest(tensors)
    try:
        save_file(tensors, file, metadata={_KEY: key, _DIGEST: digest, _ORIGIN: origin})
    except (SafetensorError, OSError) as error:
        logger.warning("the dense model's judgement is not kept: %s", error)
        return False
    return True


def _digest(parts: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in _PARTS:
        total.update(parts[name].contiguous().numpy().tobytes())
    return total.hexdigest()
