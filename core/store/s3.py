"""The object store in a bucket of Amazon S3, or of another store that speaks its language.

An object is put by one request, or by parts that the last request joins, so it is always whole. With
each one its SHA-256 is stored as metadata, and every read of a whole object is checked against it.
"""

import io
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from botocore.exceptions import ClientError

from core.errors import StoreUnavailable
from core.store.base import ObjectInfo, Upload
from core.store.keys import check_key, check_prefix, file_name
from core.store.manifest import media_type
from core.store.s3_client import connect
from core.store.s3_download import Downloader
from core.store.s3_errors import code_of, named_errors, not_found
from core.store.s3_options import S3Options
from core.store.s3_reader import ResumingReader
from core.store.s3_upload import Uploader

_MAX_KEY: Final = 1024  # bytes, of S3
_BUFFER: Final = 1 << 20


class S3Store:
    """An `ObjectStore` below `options.prefix` of a bucket, which must exist.

    Several processes and threads may share it; after a fork each side has connections of its own.
    """

    def __init__(self, options: S3Options) -> None:
        self.options = options
        self.place = f"s3://{options.bucket}/{options.prefix}".removesuffix("/")
        self._folder = f"{options.prefix}/" if options.prefix else ""
        self._clients: dict[tuple[int, str | None], Any] = {}

    def put_file(
        self, key: str, source: Path, *, sha256: str | None = None, resume: bool = False
    ) -> None:
        upload = self._uploader(key)
        with source.open("rb") as file, self._named_errors("write", key):
            upload.put_file(file, sha256, resume=resume)

    def put_bytes(self, key: str, data: bytes) -> None:
        upload = self._uploader(key)
        with self._named_errors("write", key):
            upload.put(data)

    def open(self, key: str, start: int = 0) -> BinaryIO:
        if start < 0:
            raise ValueError(f"start must not be negative, got {start}")
        get = partial(self._get, self._key(key), key)
        try:
            reader = ResumingReader(key, get, start=start, resumes=self.options.attempts)
        except _BehindTheEnd:
            return io.BytesIO()
        return io.BufferedReader(reader, _BUFFER)

    def get_file(self, key: str, target: Path) -> None:
        held, get = self._head(key), partial(self._get, self._key(key), key)
        with target.open("wb") as file:
            Downloader(get, self.options, key, held).write(file)

    def read_bytes(self, key: str) -> bytes:
        with self.open(key) as reader:
            return reader.read()

    def info(self, key: str) -> ObjectInfo:
        held = self._head(key)
        return ObjectInfo(key, held["ContentLength"], held["LastModified"])

    def _head(self, key: str) -> dict[str, Any]:
        full = self._key(key)
        with self._named_errors("read", key):
            try:
                held: dict[str, Any] = self._client.head_object(
                    Bucket=self.options.bucket, Key=full
                )
            except ClientError as error:
                if code_of(error) != "404":
                    raise
                # A missing bucket has the same answer, and is no missing artifact.
                with self._named_errors("use"):
                    self._client.head_bucket(Bucket=self.options.bucket)
                raise not_found(key) from None
        return held

    def recorded(self, key: str) -> tuple[int, str | None]:
        """Size of one object, and the SHA-256 that was stored with it. Raises ArtifactNotFound."""
        held = self._head(key)
        return held["ContentLength"], held["Metadata"].get("sha256")

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._list(self._folder + check_prefix(prefix))

    def delete_prefix(self, prefix: str) -> int:
        """As promised; and uploads below it that have not ended, cannot end any more."""
        folder = self._key(prefix.removesuffix("/")) + "/"
        removed = 0
        with self._named_errors("delete from"):
            self._abort(folder, lambda _: True)
            for page in self._pages(folder):  # of 1000 keys, as many as one request deletes
                removed += self._delete([found["Key"] for found in page])
        return removed

    def prepare(self) -> None:
        bucket, region = self.options.bucket, self._client.meta.region_name
        with self._named_errors("use"):
            try:
                self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                if code_of(error) not in ("404", "NoSuchBucket"):
                    raise
            else:
                return
        # Amazon wants any region named but its first, which may not be.
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with self._named_errors("create"):
            try:
                self._client.create_bucket(
                    Bucket=bucket, **({} if region == "us-east-1" else place)
                )
            except ClientError as error:
                if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise
                # Another process was faster; where it is somebody else's, this is forbidden.
                self._client.head_bucket(Bucket=bucket)

    def check(self) -> None:
        folder, probe = f".secateur-check/{secrets.token_hex(8)}", b"secateur"
        self._hasty.put_bytes(f"{folder}/probe", probe)
        try:
            intact = self._hasty.read_bytes(f"{folder}/probe") == probe
        finally:
            self._hasty.delete_prefix(folder)
        if not intact:
            raise StoreUnavailable(
                f"cannot use {self.place}: what was written came back otherwise.",
                remedy="Use another store: this one changes objects.",
            )

    def presign(self, key: str, filename: str, seconds: int) -> str:
        """A URL that whoever has it may GET for `seconds`; a browser saves it as `filename`."""
        full = self._key(key)
        with self._named_errors("sign for", key):
            url: str = self._public_client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self.options.bucket,
                    "Key": full,
                    "ResponseContentDisposition": f"attachment; {file_name(filename)}",
                    "ResponseContentType": media_type(filename),
                },
                ExpiresIn=seconds,
            )
        return url

    def uploads(self, prefix: str) -> Iterator[Upload]:
        pages = self._client.get_paginator("list_multipart_uploads")
        start = self._folder + check_prefix(prefix)
        with self._named_errors("list"):
            for page in pages.paginate(Bucket=self.options.bucket, Prefix=start):
                for found in page.get("Uploads", ()):
                    yield Upload(found["Key"].removeprefix(self._folder), found["Initiated"])

    def abort_uploads(self, prefix: str, older_than: timedelta, now: datetime) -> int:
        """Remove what dead writers left of uploads to keys beginning with `prefix`; how many there were.

        A live upload that began more than `older_than` before `now` dies too.
        """
        start = self._folder + check_prefix(prefix)
        with self._named_errors("delete from"):
            return self._abort(start, lambda begun: now - begun > older_than)

    def _abort(self, start: str, doomed: Callable[[datetime], bool]) -> int:
        removed = 0
        pages = self._client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=self.options.bucket, Prefix=start):
            for upload in page.get("Uploads", ()):
                if doomed(upload["Initiated"]):
                    removed += self._abort_one(upload["Key"], upload["UploadId"])
        return removed

    def _abort_one(self, full: str, upload: str) -> int:
        try:
            self._client.abort_multipart_upload(
                Bucket=self.options.bucket, Key=full, UploadId=upload
            )
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":  # ended meanwhile, one way or the other
                raise
            return 0
        return 1

    def _delete(self, keys: Sequence[str]) -> int:
        doomed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer = self._client.delete_objects(Bucket=self.options.bucket, Delete=doomed)
        for failed in answer.get("Errors", ()):
            raise StoreUnavailable(
                f"cannot delete {failed.get('Key')!r} from {self.place}: {failed.get('Code')}.",
                remedy="Check that this user may delete there, and that the bucket holds no locks.",
            )
        return len(keys)

    def _list(self, start: str) -> Iterator[ObjectInfo]:
        with self._named_errors("list"):
            for page in self._pages(start):
                for found in page:
                    key = found["Key"].removeprefix(self._folder)
                    yield ObjectInfo(key, found["Size"], found["LastModified"])

    def _pages(self, start: str) -> Iterator[Sequence[dict[str, Any]]]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self.options.bucket, Prefix=start):
            if found := page.get("Contents"):  # nothing is no list that may be deleted
                yield found

    def _get(self, full: str, key: str, **part: str) -> dict[str, Any]:
        with self._named_errors("read", key):
            try:
                answer: dict[str, Any] = self._client.get_object(
                    Bucket=self.options.bucket, Key=full, **part
                )
            except ClientError as error:
                if code_of(error) in ("InvalidRange", "416"):
                    raise _BehindTheEnd from None
                raise
        return answer

    def _key(self, key: str) -> str:
        full = self._folder + check_key(key)
        if len(full.encode()) > _MAX_KEY:
            raise ValueError(f"bad object key {key!r}: too long below {self.place}")
        return full

    def _uploader(self, key: str) -> Uploader:
        return Uploader(self._client, self.options, self._key(key))

    def _named_errors(self, verb: str, key: str = "") -> AbstractContextManager[None]:
        return named_errors(verb, self.place, key)

    @property
    def _client(self) -> Any:
        return self._connected(self.options.endpoint)

    @cached_property
    def _hasty(self) -> "S3Store":
        """The same store for those who wait for an answer, without the patience of a transfer."""
        return S3Store(replace(self.options, attempts=2, timeout=min(3.0, self.options.timeout)))

    @property
    def _public_client(self) -> Any:
        return self._connected(self.options.public_endpoint or self.options.endpoint)

    def _connected(self, endpoint: str | None) -> Any:
        """This process's client: one from before a fork would share its connections."""
        mine = os.getpid(), endpoint
        if mine not in self._clients:
            with self._named_errors("use"):
                self._clients[mine] = connect(self.options, endpoint)
        return self._clients[mine]


class _BehindTheEnd(Exception):
    """A range that begins where the object has ended."""
