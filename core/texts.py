"""From a text source to files that can be read, wherever they lie."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.calibration.prepare import Files
from core.crew import Watch, nobody
from core.hub import Hub
from core.sources import BuiltinText, HubDataset, LocalFile, S3Source, TextSource


@dataclass(frozen=True, slots=True)
class Downloads:
    """Where downloads go, and who is told how far they are."""

    scratch: Path
    """For one use."""
    hub_cache: Path | None = None
    """Where data sets of the hub are kept for other runs; None keeps them no longer than used."""
    watch: Watch = nobody


@contextmanager
def opened(source: TextSource, downloads: Downloads) -> Iterator[BuiltinText | Files]:
    """What `core.calibration.prepare` reads, within the block.

    Raises:
        TextNotFound: there is no such object or data set, or nothing in it that may be read.
        HubUnavailable, SourceError: whoever holds it does not answer, or refuses.
    """
    if isinstance(source, BuiltinText):
        yield source
    elif isinstance(source, LocalFile):
        yield Files(source.path.name, None, source.path.suffix, iter([source.path]))
    elif isinstance(source, HubDataset):
        with Hub(downloads.scratch, downloads.hub_cache).snapshot(source) as snapshot:
            name = f"{source.name} at {snapshot.commit}"
            suffix = Path(snapshot.files[0]).suffix
            yield Files(name, snapshot.commit, suffix, snapshot.paths())
    else:
        with _object(source, downloads) as files:
            yield files


@contextmanager
def _object(source: S3Source, downloads: Downloads) -> Iterator[Files]:
    # boto3 takes a second to load, which nobody who reads elsewhere need wait for.
    from core.s3_text import snapshot  # noqa: PLC0415

    with snapshot(source, downloads.scratch, downloads.watch) as found:
        yield Files(str(source), found.revision, Path(source.key).suffix, found.paths())
