"""Data sets of the hub: resolved to a commit, checked, and downloaded file by file.

Speaks through `huggingface_hub`, so that its environment variables hold: HF_ENDPOINT for another
hub, HF_TOKEN for private and gated data sets, HF_HUB_DOWNLOAD_TIMEOUT for a slow line.
"""

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils.tqdm import tqdm

from core.errors import DataError, HubUnavailable, SecateurError, TextNotFound
from core.sources import HubDataset, is_plain
from core.vault import hub_token

MAX_FILE_BYTES = 4 << 30
"""Of one file; data sets are published in shards of some hundred megabytes."""
MAX_BYTES = 16 << 30
"""Of all files of one data set that a run downloads."""
ANSWER_SECONDS = 20.0
"""How long the hub may take to say what a data set holds."""

KINDS = (".parquet", ".jsonl", ".txt")
"""Of a data set in several formats the first is read: a .txt may be a licence."""
TOKENS = ".safetensors"

SPLIT = re.compile(
    r"(?:^|[/._-])(train|training|test|testing|valid|validation|val|dev|eval)(?=[/._-]|\d|$)"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Hub:
    """Where downloads go: below `kept`, which other runs share, else below `scratch` for one use."""

    scratch: Path
    kept: Path | None = None

    @contextmanager
    def snapshot(self, dataset: HubDataset) -> Iterator["Snapshot"]:
        """The files of `dataset` that hold calibration text, at the commit its revision has now.

        Raises:
            TextNotFound: no such data set, revision or file, or none that may be read.
            HubUnavailable: the hub does not answer, or not as a hub does.
        """
        api = HfApi(os.environ.get("HF_ENDPOINT") or None, token=hub_token())
        commit, names = _look_up(api, dataset)
        files = text_files(dataset, names)
        if self.kept is not None:
            yield Snapshot(api, dataset, commit, files, self.kept)
            return
        with tempfile.TemporaryDirectory(prefix="dataset-", dir=self.scratch) as folder:
            yield Snapshot(api, dataset, commit, files, Path(folder))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of a data set, and which of its files are read, in which order."""

    api: HfApi
    dataset: HubDataset
    commit: str
    files: tuple[str, ...]
    folder: Path

    def paths(self) -> Iterator[Path]:
        """The files, each downloaded when it is asked for.

        Raises:
            DataError: a file, or all together, are too large, or the bytes are not those published.
            HubUnavailable: a download failed.
        """
        total = 0
        for file in self.files:
            total += self._checked_size(file)
            if total > MAX_BYTES:
                raise DataError(
                    f"{self.dataset.name}: more than {MAX_BYTES} bytes would be downloaded.",
                    remedy="Lower calibration.samples, or name a file that holds more text.",
                )
            yield self._download(file)

    def _checked_size(self, file: str) -> int:
        with _named(self.dataset, file):
            found = self.api.hf_hub_download(
                self.dataset.name, file, revision=self.commit, dry_run=True, **self._common()
            )
        size = found.file_size
        if size is None:
            raise HubUnavailable(f"the hub does not say how large {file} is.")
        if size > MAX_FILE_BYTES:
            raise DataError(
                f"{self.dataset.name}: {file} has {size} bytes, more than {MAX_FILE_BYTES}.",
                remedy="Name a smaller file.",
            )
        return size

    def _download(self, file: str) -> Path:
        with _named(self.dataset, file):
            path = self.api.hf_hub_download(
                self.dataset.name, file, revision=self.commit, tqdm_class=_Meter, **self._common()
            )
        return _verified(Path(path), file)

    def _common(self) -> dict[str, Any]:
        return {"repo_type": "dataset", "cache_dir": self.folder}


class _Meter(tqdm):
    """Shows nothing, and ends a download that never ends: the library begins anew each time a body
    is cut short, for as long as bytes come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs | {"disable": True})  # type: ignore[no-untyped-call]
        self.received, self.expected = 0.0, kwargs.get("total")

    def update(self, n: float | None = 1) -> None:
        self.received += max(n or 0, 0)
        if self.received > 2 * (self.expected or MAX_FILE_BYTES):
            raise HubUnavailable("the hub sends twice the bytes that it announced.")
        super().update(n)


def _look_up(api: HfApi, dataset: HubDataset) -> tuple[str, list[str]]:
    """The commit of the data set's revision, and the names of all its files."""
    with _named(dataset, None):
        info = api.dataset_info(dataset.name, revision=dataset.revision, timeout=ANSWER_SECONDS)
        names = [sibling.rfilename for sibling in info.siblings or ()]
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise HubUnavailable(f"the hub names no commit for {dataset.name}.")
    odd = [name for name in names if not is_plain(name)]
    if odd:
        raise DataError(f"{dataset.name} holds {odd[0]!r}, which is no plain file name.")
    return info.sha, names


def text_files(dataset: HubDataset, names: Sequence[str]) -> tuple[str, ...]:
    """Which of the files `names` hold the text to calibrate on, in the order they are read.

    The file that the source names, whichever it is. Else, below the folder it names or all of the
    data set: of the first kind there is of .parquet, .jsonl, .txt, those whose name says `train`,
    or, if none does, those whose name says no split, in name order. They must lie in one folder,
    since several are usually several data sets.

    Raises:
        TextNotFound: there is none, or the choice is not clear; the message lists what there is.
    """
    if dataset.path in names:
        return (_known(dataset, dataset.path),)
    prefix = f"{dataset.path}/" if dataset.path else ""
    below = sorted(name.removeprefix(prefix) for name in names if name.startswith(prefix))
    kind = next((k for k in KINDS if any(name.endswith(k) for name in below)), None)
    found = [name for name in below if kind and name.endswith(kind)]
    unnamed = [name for name in found if not SPLIT.search(name)]
    chosen = [name for name in found if _is_train(name)] or unnamed
    if not chosen:
        place = f"{dataset.name}/{dataset.path}" if dataset.path else dataset.name
        raise TextNotFound(
            f"{place} at {dataset.revision} has no train split in {', '.join(KINDS)}.",
            remedy=f"It holds: {_listed(below)}.",
        )
    folders = sorted({PurePosixPath(name).parent.as_posix() for name in chosen})
    if len(folders) > 1:
        raise TextNotFound(
            f"{dataset.name} has text in several folders: {_listed(folders)}.",
            remedy="Name one in calibration.source: hf://datasets/org/name/folder.",
        )
    return tuple(prefix + name for name in chosen)


def _is_train(name: str) -> bool:
    return any(split.startswith("train") for split in SPLIT.findall(name))


def _known(dataset: HubDataset, path: str | None) -> str:
    if path is None or not path.endswith((*KINDS, TOKENS)):
        raise TextNotFound(f"{dataset.name}: {path} is not one of {', '.join((*KINDS, TOKENS))}.")
    return path


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return (", ".join(names[:10]) or "nothing") + more


def _verified(path: Path, file: str) -> Path:
    """`path`, if its bytes are those the hub names. It gives large files' SHA-256 as their ETag,
    after which the library names the blob that `path` links to."""
    blob = path.resolve()
    if not SHA256.fullmatch(blob.name):
        return path
    with blob.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != blob.name:
        blob.unlink()
        raise DataError(
            f"{file}: the bytes received are not those published (SHA-256 {digest}).",
            remedy="Run the job again.",
        )
    return path


@contextmanager
def _named(dataset: HubDataset, file: str | None) -> Iterator[None]:
    """What the library raises, under names of ours."""
    what = f"{dataset.name} at {dataset.revision}" + (f", {file}" if file else "")
    try:
        yield
    except SecateurError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _name(what, error) from error


def _name(what: str, error: Exception) -> DataError:
    told = next((e for e in (error, error.__cause__) if isinstance(e, HfHubHTTPError)), None)
    status = told.response.status_code if told else None
    if status in (401, 403):
        return TextNotFound(
            f"{what}: the hub refuses access ({status}); it is private, gated, or not there.",
            remedy="Accept its terms on the hub, and set HF_TOKEN where the worker runs.",
        )
    if status == 404 or isinstance(told, EntryNotFoundError):
        return TextNotFound(f"{what}: not on the hub.", remedy="Check calibration.source.")
    line = " ".join(str(error.__cause__ or error).split())[:200]
    return HubUnavailable(
        f"{what}: the hub did not deliver it ({type(error).__name__}: {line}).",
        remedy="Try again later; HF_ENDPOINT says which hub is asked.",
    )
