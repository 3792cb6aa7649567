"""From a spec's calibration section to trajectories, and to a held-out text for evaluation."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import Tensor

from core.calibration import builtin, text
from core.calibration.continuation import Continuation, continuation
from core.calibration.documents import read_documents
from core.calibration.noise import Noise, Trajectories, draw
from core.calibration.prefixes import growing_prefixes
from core.calibration.recorded import from_recorded, weighted
from core.calibration.samplers.decoding import NOT_YET
from core.calibration.token_file import read_token_file
from core.calibration.writing import to_write
from core.calibration_spec import Calibration
from core.errors import BadTokenFile, InvalidSpec, ModelError, TextTooShort
from core.models.families import Dimensions, Family
from core.sources import BuiltinText
from core.spec import Evaluation


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run is calibrated and judged on."""

    trajectories: Trajectories
    evaluation: Tensor
    """(samples, positions) int64."""
    evaluation_text: str
    warnings: tuple[str, ...]
    source_revision: str | None = None
    """What names the bytes that were read; None where the source has no revisions."""
    recorded: bool = False
    """Whether the trajectory is a recorded one, for which no noise was drawn."""
    writing: Continuation | None = None
    """What the model is to write, or has written, of the trajectory; None where it does not."""
    tokenizer: text.TextTokenizer | None = None
    """What makes text of tokens; None where the model has none, or nothing is to be read."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What `prepare` was asked, as its parts need it."""

    calibration: Calibration
    model_folder: Path
    family: Family
    dimensions: Dimensions
    evaluation_samples: int
    """Sequences that models are judged on; 0 where none is judged."""


@dataclass(frozen=True, slots=True)
class Files:
    """A source as files, each fetched when it is asked for."""

    name: str
    revision: str | None
    suffix: str
    paths: Iterator[Path]


def prepare(
    calibration: Calibration,
    source: BuiltinText | Files,
    model_folder: Path,
    family: Family,
    dimensions: Dimensions,
    evaluation_samples: int,
) -> Prepared:
    """Read the source and draw the noise.

    Raises:
        TextNotFound, TextTooShort, BadTokenFile, DataError: the source cannot serve.
        HubUnavailable, SourceError: it could not be fetched.
        ModelNotFound: text is given and the model has no tokenizer.
        InvalidSpec: an option contradicts what the source turned out to be.
    """
    asked = Asked(calibration, model_folder, family, dimensions, evaluation_samples)
    if isinstance(source, BuiltinText):
        return _from_builtin(asked, source.name)
    if source.suffix == ".safetensors":
        return _from_tokens(asked, source)
    return _from_text(asked, source)


def _from_builtin(asked: Asked, name: str) -> Prepared:
    """Calibration and evaluation have a file each."""
    calibration = asked.calibration
    length, warnings = _length(asked)
    tokenizer = text.load_tokenizer(asked.model_folder)
    rows = [
        text.pack(
            tokenizer.encode(builtin.read_builtin(name, file)),
            tokenizer.start,
            samples,
            length,
            calibration.seed,
            f"{calibration.source} ({file})",
        )
        for file, samples in (
            (builtin.CALIBRATION, calibration.samples),
            (builtin.HELD_OUT, asked.evaluation_samples),
        )
    ]
    trajectories, writing = _begun(rows[0], asked)
    return Prepared(
        trajectories=trajectories,
        evaluation=rows[1],
        evaluation_text=f"{calibration.source}, held-out part",
        warnings=warnings + (writing.warnings if writing else ()),
        writing=writing,
        tokenizer=tokenizer,
    )


def _from_text(asked: Asked, files: Files) -> Prepared:
    """Calibration and evaluation windows of one text never overlap."""
    calibration = asked.calibration
    length, warnings = _length(asked)
    tokenizer = text.load_tokenizer(asked.model_folder)
    windows = calibration.samples + asked.evaluation_samples
    # What is drawn depends on how much is read, and must be the same where nothing is judged.
    usual = calibration.samples + (asked.evaluation_samples or Evaluation().samples)
    enough = text.tokens_to_read(usual, length - len(tokenizer.start))
    tokens = tokenizer.encode_up_to(
        enough, chain.from_iterable(read_documents(path) for path in files.paths)
    )
    rows = text.pack(tokens, tokenizer.start, windows, length, calibration.seed, files.name)
    clean, held_out = rows[: calibration.samples], rows[calibration.samples :]
    trajectories, writing = _begun(clean, asked)
    return Prepared(
        trajectories=trajectories,
        evaluation=held_out,
        evaluation_text=f"{files.name}, windows that calibration did not see",
        warnings=warnings + (writing.warnings if writing else ()),
        source_revision=files.revision,
        writing=writing,
        tokenizer=tokenizer,
    )


def _from_tokens(asked: Asked, files: Files) -> Prepared:
    calibration, dimensions = asked.calibration, asked.dimensions
    tokens = read_token_file(next(files.paths), dimensions.vocabulary)
    rows, length = tokens.input_ids.shape
    if rows < calibration.samples:
        raise TextTooShort("token file", rows * length, calibration.samples * length)
    if length > dimensions.context:
        raise BadTokenFile(
            f"rows of {length} tokens exceed the model's context of {dimensions.context}."
        )
    used = calibration.samples
    clean, spare = tokens.input_ids[:used], tokens.input_ids[used : used + asked.evaluation_samples]
    named = "rows of the token file that calibration did not see"
    warnings: tuple[str, ...] = ()
    if len(spare) < min(2, asked.evaluation_samples):
        spare = tokens.input_ids[: asked.evaluation_samples]
        named = "the calibration rows of the token file"
        warnings = ("quality was measured on calibration tokens: the token file has no others",)
    writing = None
    if tokens.noised is None:
        trajectories, writing = _begun(clean, asked)
        warnings += writing.warnings if writing else ()
    else:
        trajectories, labels = from_recorded(
            tokens.first(used), calibration, asked.family, dimensions.mask_token
        )
        warnings += labels
    return Prepared(
        trajectories=trajectories,
        evaluation=spare,
        evaluation_text=named,
        warnings=warnings,
        source_revision=files.revision,
        recorded=tokens.noised is not None,
        writing=writing,
        tokenizer=_tokenizer_if_any(asked),
    )


def _tokenizer_if_any(asked: Asked) -> text.TextTokenizer | None:
    """Token files serve models without one."""
    if not asked.evaluation_samples:
        return None
    try:
        return text.load_tokenizer(asked.model_folder)
    except ModelError:
        return None


def _begun(clean: Tensor, asked: Asked) -> tuple[Trajectories, Continuation | None]:
    """The trajectories of `clean` (samples, positions), or where the model has yet to write them, what
    is there before it does, and what it is to write."""
    calibration, dimensions = asked.calibration, asked.dimensions
    writing = continuation(calibration, asked.family, clean.shape[1])
    if writing is None:
        return noised(clean, calibration, asked.family, dimensions), None
    blank = NOT_YET if dimensions.mask_token is None else dimensions.mask_token
    return to_write(clean, writing, calibration, blank), writing


def _length(asked: Asked) -> tuple[int, tuple[str, ...]]:
    """Positions of a sequence, and a warning if they are fewer than asked for."""
    wanted, context = asked.calibration.sequence_length, asked.dimensions.context
    if wanted <= context:
        return wanted, ()
    warning = f"calibration.sequence_length {wanted} exceeds the model's context: {context} used"
    return context, (warning,)


def noised(
    clean: Tensor, calibration: Calibration, family: Family, dimensions: Dimensions
) -> Trajectories:
    """`clean` (samples, positions) under the family's forward process, as the spec asks for it.

    Raises:
        InvalidSpec: an option does not fit the sequences, which may be shorter than the spec's.
    """
    if calibration.trajectory == "prefixes":
        if family.attention != "causal":
            raise InvalidSpec(
                f"calibration.trajectory: {family.name} sees its whole text at every step, so a prefix of"
                " it is another text.",
                remedy="Ask for forward-noise, or for generation.",
            )
        steps = calibration.diffusion_steps
        return weighted(growing_prefixes(clean, calibration.timesteps, steps), calibration)
    if calibration.keep_prefix >= clean.shape[1]:
        raise InvalidSpec(
            f"calibration.keep_prefix {calibration.keep_prefix} leaves nothing to corrupt in "
            f"sequences of {clean.shape[1]} positions.",
            remedy="Lower it.",
        )
    noise = Noise(
        process=family.process,
        timesteps=calibration.noisy_timesteps,
        steps=calibration.diffusion_steps,
        eps=calibration.noise_eps,
        mask_token=dimensions.mask_token,
        vocabulary=dimensions.vocabulary,
        stratified=calibration.stratified,
        keep_prefix=calibration.keep_prefix,
        max_rate=calibration.max_rate,
    )
    drawn = draw(clean, noise, calibration.seed)
    found = drawn.with_clean() if calibration.include_clean else drawn
    return weighted(found, calibration)
