"""From a spec's calibration section to trajectories, and to a held-out text for evaluation."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from core.calibration import text
from core.calibration.noise import Trajectories, forward_noise
from core.calibration.token_file import TokenFile, read_token_file
from core.errors import BadTokenFile, TextTooShort
from core.models.families import Dimensions
from core.spec import Calibration


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run is calibrated and judged on."""

    trajectories: Trajectories
    evaluation: Tensor
    """(samples, positions) int64."""
    evaluation_text: str
    warnings: tuple[str, ...]


def prepare(
    calibration: Calibration,
    path: Path | None,
    model_folder: Path,
    dimensions: Dimensions,
    evaluation_samples: int,
) -> Prepared:
    """Read the source (`path` for files, None for builtin texts) and draw the noise.

    Raises:
        TextNotFound, TextTooShort, BadTokenFile, DataError: the source cannot serve.
        ModelNotFound: text is given and the model has no tokenizer.
    """
    if path is not None and path.suffix == ".safetensors":
        tokens = read_token_file(path, dimensions.vocabulary)
        return _from_tokens(calibration, tokens, dimensions, evaluation_samples)
    length = min(calibration.sequence_length, dimensions.context)
    warnings = []
    if length < calibration.sequence_length:
        warnings.append(
            f"calibration.sequence_length {calibration.sequence_length} exceeds the model's context: {length} used"
        )
    tokenizer = text.load_tokenizer(model_folder)
    if path is None:
        clean, held_out, named = _from_builtin(calibration, tokenizer, length, evaluation_samples)
    else:
        clean, held_out, named = _from_file(
            calibration, path, tokenizer, length, evaluation_samples
        )
    return Prepared(_noise(calibration, clean, dimensions), held_out, named, tuple(warnings))


def _from_builtin(
    calibration: Calibration, tokenizer: text.TextTokenizer, length: int, evaluation_samples: int
) -> tuple[Tensor, Tensor, str]:
    name = calibration.source.removeprefix("builtin:")
    rows = [
        text.pack(
            tokenizer.encode(text.read_builtin(name, file)),
            tokenizer.start,
            samples,
            length,
            calibration.seed,
            f"{calibration.source} ({file})",
        )
        for file, samples in (
            (text.CALIBRATION, calibration.samples),
            (text.HELD_OUT, evaluation_samples),
        )
    ]
    return rows[0], rows[1], f"{calibration.source}, held-out part"


def _from_file(
    calibration: Calibration,
    path: Path,
    tokenizer: text.TextTokenizer,
    length: int,
    evaluation_samples: int,
) -> tuple[Tensor, Tensor, str]:
    """Calibration and evaluation windows of one text never overlap."""
    rows = text.pack(
        tokenizer.encode(text.read_documents(path)),
        tokenizer.start,
        calibration.samples + evaluation_samples,
        length,
        calibration.seed,
        path.name,
    )
    named = f"{path.name}, windows that calibration did not see"
    return rows[: calibration.samples], rows[calibration.samples :], named


def _from_tokens(
    calibration: Calibration, tokens: TokenFile, dimensions: Dimensions, evaluation_samples: int
) -> Prepared:
    rows, length = tokens.input_ids.shape
    if rows < calibration.samples:
        raise TextTooShort("token file", rows * length, calibration.samples * length)
    if length > dimensions.context:
        raise BadTokenFile(
            f"rows of {length} tokens exceed the model's context of {dimensions.context}."
        )
    used = calibration.samples
    clean, spare = tokens.input_ids[:used], tokens.input_ids[used : used + evaluation_samples]
    warnings = []
    if len(spare) < 2:
        spare, named = (
            tokens.input_ids[:evaluation_samples],
            "the calibration rows of the token file",
        )
        warnings.append("quality was measured on calibration tokens: the token file has no others")
    else:
        named = "rows of the token file that calibration did not see"
    if tokens.noised is None:
        return Prepared(_noise(calibration, clean, dimensions), spare, named, tuple(warnings))
    recorded = tokens.noised[:used]
    if recorded.shape[1] != len(calibration.timesteps):
        raise BadTokenFile(
            f"the recorded trajectory has {recorded.shape[1]} timesteps; diffusion_steps and "
            f"sample_interval ask for {len(calibration.timesteps)}."
        )
    assert dimensions.mask_token is not None
    trajectories = Trajectories.recorded(
        clean, recorded, calibration.timesteps, dimensions.mask_token
    )
    return Prepared(trajectories, spare, named, tuple(warnings))


def _noise(calibration: Calibration, clean: Tensor, dimensions: Dimensions) -> Trajectories:
    assert dimensions.mask_token is not None
    return forward_noise(
        clean,
        calibration.timesteps,
        calibration.diffusion_steps,
        calibration.noise_eps,
        dimensions.mask_token,
        calibration.seed,
    )
