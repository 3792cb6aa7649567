"""Objects below a source on S3: listed, looked at and read in ranges, and never another version.

Every request names the ETag that was listed, so that an object which is replaced meanwhile is an
error and not a mixture.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import RawIOBase
from typing import Any, Final

from botocore.exceptions import ClientError

from core.crew import Watch, work_off
from core.errors import (
    ModelNotFound,
    SecateurError,
    SourceChanged,
    SourceRefused,
    SourceUnavailable,
    StoreError,
    TextNotFound,
)
from core.source_buckets import reached
from core.sources import S3Source
from core.store.s3_client import connect
from core.store.s3_errors import code_of, named_errors
from core.store.s3_options import S3Options
from core.store.s3_reader import ResumingReader

Missing = type[ModelNotFound] | type[TextNotFound]

_MISSING: Final = ("NoSuchKey", "NoSuchBucket", "404")
_DENIED: Final = ("AccessDenied", "AllAccessDisabled", "403")
_REPLACED: Final = ("PreconditionFailed", "412")
_SHA256: Final = 64


@dataclass(frozen=True, slots=True)
class Listed:
    """One version of one object, as the store announces it."""

    key: str
    size: int
    etag: str
    version: str | None = None
    sha256: str | None = None
    """As it was stored with the object by whoever put it there; known after a look."""


class Objects:
    """What lies below `source`. `missing` is the name of the error when it is not there.

    Safe to use from several threads.
    """

    def __init__(self, source: S3Source, missing: Missing) -> None:
        self.source, self._missing = source, missing
        self.options: S3Options = reached(source.place, _usual_endpoint())
        with self._named():
            self._client: Any = connect(self.options, self.options.endpoint)

    def list(self, prefix: str) -> Iterator[Listed]:
        """All objects whose keys begin with `prefix`, in the order of their keys."""
        pages = self._client.get_paginator("list_objects_v2")
        with self._named():
            for page in pages.paginate(Bucket=self.options.bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield Listed(found["Key"], found["Size"], found["ETag"])

    def look(self, key: str, known: Listed | None = None) -> Listed:
        """What the store says of `key`, of the version `known` where that is given."""
        condition = {"IfMatch": known.etag} if known else {}
        with self._named(key):
            held = self._client.head_object(Bucket=self.options.bucket, Key=key, **condition)
        found = Listed(
            key,
            held["ContentLength"],
            held["ETag"],
            held.get("VersionId"),
            _sha256(held.get("Metadata", {})),
        )
        if known and (found.size, found.etag) != (known.size, known.etag):
            raise _changed(self._place(key))
        return found

    def look_at_all(self, listed: Sequence[Listed], watch: Watch) -> dict[str, Listed]:
        """`look` at each of them, several at once; by key."""
        found: dict[str, Listed] = {}
        total = max(1, sum(known.size for known in listed))

        def look(known: Listed) -> None:
            found[known.key] = self.look(known.key, known)

        work_off(
            listed,
            lambda known, _: look(known),
            self.options.threads,
            lambda _: watch(0, total),  # so that somebody who wants to stop is heard
        )
        return found

    @contextmanager
    def open(self, held: Listed, begin: int, end: int) -> Iterator[RawIOBase]:
        """A reader of the bytes [begin, end), which resumes where the line breaks."""

        def get(Range: str = "bytes=0-", IfMatch: str = "") -> dict[str, Any]:  # noqa: ARG001, N803
            answer: dict[str, Any] = self._client.get_object(
                Bucket=self.options.bucket,
                Key=held.key,
                Range=f"{Range}{end - 1}",
                IfMatch=held.etag,
            )
            # The SHA-256 is of the whole object, and what is read here a part.
            return {**answer, "Metadata": {}}

        with (
            self._named(held.key),
            ResumingReader(held.key, get, start=begin, resumes=self.options.attempts) as reader,
        ):
            yield reader

    def _place(self, key: str | None) -> str:
        return str(self.source) if key is None else f"s3://{self.options.bucket}/{key}"

    @contextmanager
    def _named(self, key: str | None = None) -> Iterator[None]:
        """Raise what boto3 raises inside under names that are those of a source."""
        place = self._place(key)
        try:
            with named_errors("read", place):
                try:
                    yield
                except ClientError as error:
                    if (named := self._answer(error, place)) is not None:
                        raise named from error
                    raise
        except StoreError as error:
            # The same options, in another setting.
            remedy = error.remedy.replace("SECATEUR_STORE_URL", "SECATEUR_SOURCE_BUCKETS")
            raise SourceUnavailable(error.message, remedy=remedy) from error

    def _answer(self, error: ClientError, place: str) -> SecateurError | None:
        code = code_of(error)
        if code in _MISSING:
            what = "bucket" if code == "NoSuchBucket" else "object"
            return self._missing(
                f"{place}: there is no such {what}.",
                remedy="Check the source, and the endpoint in SECATEUR_SOURCE_BUCKETS.",
            )
        if code in _DENIED:
            return SourceRefused(
                f"{place}: the store denies access ({code}).",
                remedy="Check that the AWS_* credentials where the run happens are valid, and give them"
                " s3:ListBucket and s3:GetObject there.",
            )
        if code in _REPLACED:
            return _changed(place)
        return None


def _changed(place: str) -> SourceChanged:
    return SourceChanged(
        f"{place} was replaced while it was being read.",
        remedy="Run it again, on objects that stay as they are.",
    )


def _usual_endpoint() -> str | None:
    """Where boto3 would look. Asked for here because a proxy must not stand before loopback."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _sha256(metadata: dict[str, str]) -> str | None:
    found = metadata.get("sha256", "").lower()
    return found if len(found) == _SHA256 and set(found) <= set("0123456789abcdef") else None
