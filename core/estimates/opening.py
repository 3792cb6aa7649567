"""From a source that is allowed to its files: the one place that knows every kind of source."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import TextNotFound
from core.estimates.facts import read_file_header
from core.estimates.files import Deadline, LocalFiles, ModelFiles
from core.estimates.hub_files import opened_hub
from core.hub_sources import HubSource
from core.models.headers import Header, read_header
from core.sources import (
    Allowed,
    BuiltinText,
    HubDataset,
    LocalFile,
    S3Source,
    TextSource,
    model_source,
)
from core.spec import ModelRef

TOKENS = ".safetensors"


@contextmanager
def opened_model(model: ModelRef, allowed: Allowed, deadline: Deadline) -> Iterator[ModelFiles]:
    """The files of `model`. Raises what `model_source` and the kinds of files do."""
    source = model_source(model.source, allowed, model.revision)
    if isinstance(source, Path):
        yield LocalFiles(source)
        return
    if isinstance(source, HubSource):
        with opened_hub(source, deadline) as files:
            yield files
        return
    # boto3 takes a second to load, which nobody with a local folder need wait for.
    from core.estimates.s3_files import S3Files  # noqa: PLC0415

    yield S3Files.of_model(source, deadline)


def token_header(source: TextSource, deadline: Deadline) -> Header | None:
    """The header of a token file; None where the source is text, or is known only once downloaded.

    Raises:
        TextNotFound: there is no such file or object.
        BrokenCheckpoint: it is no safetensors file.
        SourceError: whoever holds it does not answer.
    """
    match source:
        case BuiltinText() | HubDataset():
            return None
        case LocalFile(path):
            if not path.is_file():
                raise TextNotFound(f"{path} is not a file.", remedy="Check calibration.source.")
            return read_header(path, path.name) if path.suffix == TOKENS else None
        case S3Source():
            return _of_object(source, deadline) if source.key.endswith(TOKENS) else None


def _of_object(source: S3Source, deadline: Deadline) -> Header:
    from core.estimates.s3_files import S3Files  # noqa: PLC0415 - as above

    held = S3Files.of_text(source, deadline)
    (file,) = held.sizes
    return read_file_header(held, file)
