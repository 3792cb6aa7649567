"""What a run would find out about a model before it reads a weight. Free of torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.crew import Tell, work_off
from core.errors import BrokenCheckpoint, ModelNotFound
from core.estimates.files import Deadline, ModelFiles
from core.models.config import CONFIG, MAX_CONFIG_BYTES, parse_config
from core.models.families import Dimensions, Family
from core.models.footprint import compute_dtype, parameters, prunable_parameters, weight_bytes
from core.models.headers import LENGTH_BYTES, Header, header_length, parse_header
from core.models.intake import INDEX, MAX_FILES, MAX_INDEX_BYTES, chosen
from core.models.places import ELEMENT_BYTES, gathered, require
from core.models.shapes import tensor_shapes

FIRST_READ: Final = 1 << 16
"""Bytes of a shard that are asked for at once: more than most headers have."""
READERS: Final = 8
TOKENIZER: Final = Path("tokenizer.json")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What plans and answers are made from."""

    family: Family
    dimensions: Dimensions
    parameters: int
    prunable_parameters: int
    weight_bytes: int
    """Of all parameters as a run holds them."""
    element_bytes: int
    """Of an activation."""
    file_bytes: int
    """Of the shards."""
    copied_bytes: int
    """Of all files that the pruned checkpoint will have."""
    has_tokenizer: bool
    revision: str | None


def read_facts(files: ModelFiles, deadline: Deadline) -> ModelFacts:
    """Config, index and headers of `files`, checked as a run checks them.

    Raises:
        ModelNotFound, UnsafeModel, UnsupportedModel, BrokenCheckpoint: as a run would.
        SourceTooSlow: the deadline has passed.
    """
    if len(files.sizes) > MAX_FILES:
        raise BrokenCheckpoint(f"{files.named} holds more than {MAX_FILES} files.")
    weights, auxiliary, _ = chosen(sorted(files.sizes), _index(files), files.named)
    family, dimensions = parse_config(_config(files))
    places = gathered(zip(weights, _headers(files, weights, deadline), strict=True))
    require(places, tensor_shapes(family, dimensions), family.tolerated(dimensions))
    return ModelFacts(
        family=family,
        dimensions=dimensions,
        parameters=parameters(family, dimensions),
        prunable_parameters=prunable_parameters(family, dimensions),
        weight_bytes=weight_bytes(places, family, dimensions),
        element_bytes=ELEMENT_BYTES[compute_dtype(places, family, dimensions)],
        file_bytes=sum(files.sizes[file] for file in weights),
        copied_bytes=sum(files.sizes[file] for file in (*weights, *auxiliary)),
        has_tokenizer=TOKENIZER in files.sizes,
        revision=files.revision(),
    )


def read_file_header(files: ModelFiles, file: Path) -> Header:
    """The header of one safetensors file, in one request where it is as short as most are."""
    size, named = files.sizes[file], file.as_posix()
    first = files.read(file, 0, min(FIRST_READ, size))
    length = header_length(first[:LENGTH_BYTES], size, named)
    data = first[LENGTH_BYTES : LENGTH_BYTES + length]
    if len(data) < length:
        data += files.read(file, LENGTH_BYTES + len(data), LENGTH_BYTES + length)
    return parse_header(data, size, named)


def _headers(files: ModelFiles, shards: Sequence[Path], deadline: Deadline) -> list[Header]:
    found: dict[Path, Header] = {}

    def read(shard: Path, _: Tell) -> None:
        found[shard] = read_file_header(files, shard)
        deadline.left()

    def look_at_the_clock(_: int) -> None:
        deadline.left()

    # Whoever hangs is left behind: the crew's threads hold nobody up.
    work_off(shards, read, READERS, look_at_the_clock)
    return [found[shard] for shard in shards]


def _index(files: ModelFiles) -> bytes | None:
    size = files.sizes.get(Path(INDEX))
    return None if size is None else files.read(Path(INDEX), 0, min(size, MAX_INDEX_BYTES + 1))


def _config(files: ModelFiles) -> bytes:
    size = files.sizes.get(Path(CONFIG))
    if size is None:
        raise ModelNotFound(
            f"{files.named} has no {CONFIG}.", remedy="Name a model in Hugging Face layout."
        )
    return files.read(Path(CONFIG), 0, min(size, MAX_CONFIG_BYTES + 1))
