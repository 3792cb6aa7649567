"""Putting one file or one piece of bytes into a bucket, whole or not at all."""

import base64
import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import CorruptObject, StoreError
from core.store.s3_errors import code_of
from core.store.s3_options import S3Options
from core.store.s3_resume import Survey, Unfinished, survey, unfinished
from core.store.s3_verify import check_bytes, check_encryption

logger = logging.getLogger(__name__)

_MAX_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Uploader:
    """Puts into the object `key` of the options' bucket. Raises what boto3 raises."""

    client: Any
    options: S3Options
    key: str

    def put(self, data: bytes) -> None:
        """Store `data` in one request."""
        digest = hashlib.sha256(data)
        answer = self.client.put_object(
            **self._target,
            **self._about(digest.hexdigest()),
            **self._checksum(data),
            Body=data,
        )
        self._verify(digest.hexdigest(), len(data), answer["ETag"], in_parts=False)

    def put_file(self, file: BufferedReader, sha256: str | None, *, resume: bool) -> None:
        """Store the file, in parts where it has a part's size or more.

        Raises:
            CorruptObject: the file changed meanwhile, or never had this SHA-256; nothing is stored.
        """
        left = unfinished(self.client, self.options.bucket, self.key) if resume else []
        size = os.fstat(file.fileno()).st_size
        if sha256 and not left:
            found = Survey(sha256, size, frozenset())
        else:
            found = survey(file, self._pieces(file, size), left)
        stored = resume and self._is_stored(found)
        own = None if stored else next((u for u in left if u.upload in found.usable), None)
        for each in left:
            if each is not own:
                self._abort(each.upload)
        if not stored and not (own and self._carried_on(file, found, own)):
            self._put_anew(file, found)

    def _put_anew(self, file: BufferedReader, found: Survey) -> None:
        if found.bytes < self.options.part_size:
            file.seek(0)
            data = file.read(found.bytes + 1)
            self._check_unchanged(hashlib.sha256(data).hexdigest(), found, file)
            self.put(data)
            return
        about = self._about(found.sha256)
        if self._checks:
            about["ChecksumAlgorithm"] = "SHA256"
        upload = self.client.create_multipart_upload(**self._target, **about)["UploadId"]
        self._put_parts(file, found, Unfinished(upload, {}))

    def _carried_on(self, file: BufferedReader, found: Survey, own: Unfinished) -> bool:
        """Whether the upload `own` has become the file; if not, it is gone."""
        try:
            self._put_parts(file, found, own)
        except (ClientError, StoreError) as error:
            # Its metadata, which cannot be listed, may be another file's.
            logger.warning("%s: an unfinished upload is of no use: %s", self.key, error)
            return False
        logger.info("%s: went on with %d parts that were there", self.key, len(own.parts))
        return True

    def _put_parts(self, file: BufferedReader, found: Survey, upload: Unfinished) -> None:
        try:
            parts = self._send_parts(file, found, upload)
            etag = self._complete(upload.upload, parts, found.sha256)
        except BaseException:
            # Best effort: what made the upload fail may well make this fail too, and then
            # deleting the prefix or `abort_uploads` removes the parts.
            self._abort(upload.upload)
            raise
        self._verify(found.sha256, found.bytes, etag, in_parts=True)

    def _send_parts(
        self, file: BufferedReader, found: Survey, upload: Unfinished
    ) -> list[dict[str, Any]]:
        """Send every part that is not there; at most `threads` + 1 of them are in memory."""
        seen = hashlib.sha256()
        pool = ThreadPoolExecutor(self.options.threads)
        pending: deque[Future[dict[str, Any]]] = deque()
        parts: list[dict[str, Any]] = []
        try:
            for number, data in enumerate(self._pieces(file, found.bytes), 1):
                pending.append(pool.submit(self._send, upload, number, data))
                seen.update(data)  # while it is being sent
                if len(pending) > self.options.threads:
                    parts.append(pending.popleft().result())
            parts += [future.result() for future in pending]
        finally:
            pool.shutdown(cancel_futures=True)
        self._check_unchanged(seen.hexdigest(), found, file)
        return parts

    def _check_unchanged(self, seen: str, found: Survey, file: BufferedReader) -> None:
        if seen != found.sha256:
            raise CorruptObject(
                f"{file.name} changed before or while it was being stored.", remedy="Run it again."
            )

    def _pieces(self, file: BufferedReader, size: int) -> Iterator[bytes]:
        length = max(self.options.part_size, -(-size // _MAX_PARTS))
        file.seek(0)
        while data := file.read(length):
            yield data

    def _send(self, upload: Unfinished, number: int, data: bytes) -> dict[str, Any]:
        """One part, unless it is there; what completing the upload has to say of it."""
        checksum = self._checksum(data)
        answer = upload.parts.get(number) or self.client.upload_part(
            **self._target, UploadId=upload.upload, PartNumber=number, Body=data, **checksum
        )
        return {"PartNumber": number, "ETag": answer["ETag"], **checksum}

    def _complete(self, upload: str, parts: list[dict[str, Any]], digest: str) -> str:
        """Join the parts; the new object's ETag."""
        try:
            answer = self.client.complete_multipart_upload(
                **self._target, UploadId=upload, MultipartUpload={"Parts": parts}
            )
        except ClientError as error:
            # Where the answer to a first try was lost, this is what the second one is told.
            held = self._held() if code_of(error) == "NoSuchUpload" else None
            if held is None or held["Metadata"].get("sha256") != digest:
                raise
            answer = held
        return str(answer["ETag"])

    def _abort(self, upload: str) -> None:
        with suppress(BotoCoreError, ClientError):
            self.client.abort_multipart_upload(**self._target, UploadId=upload)

    def _is_stored(self, found: Survey) -> bool:
        """Whether the store holds these very bytes, as far as it can be asked."""
        held = self._held()
        try:
            if held is not None:
                in_parts = found.bytes >= self.options.part_size
                self._check(held, found.sha256, found.bytes, in_parts=in_parts)
        except StoreError:
            return False
        return held is not None

    def _verify(self, digest: str, size: int, etag: str, *, in_parts: bool) -> None:
        """Compare what the store holds now. Raises StoreError."""
        held = self._held()
        if held is not None and held["ETag"] == etag:  # else somebody deleted or replaced it
            self._check(held, digest, size, in_parts=in_parts)

    def _check(self, held: dict[str, Any], digest: str, size: int, *, in_parts: bool) -> None:
        check_bytes(self.key, held, digest, size, in_parts=in_parts)
        check_encryption(self.key, held, self.options)

    def _held(self) -> dict[str, Any] | None:
        """What the store says of the object; None where there is none."""
        try:
            held: dict[str, Any] = self.client.head_object(**self._target, ChecksumMode="ENABLED")
        except ClientError as error:
            if code_of(error) not in ("404", "NoSuchKey"):
                raise
            return None
        return held

    @property
    def _target(self) -> dict[str, str]:
        return {"Bucket": self.options.bucket, "Key": self.key}

    @property
    def _checks(self) -> bool:
        return self.options.checksums == "when_supported"

    def _about(self, digest: str) -> dict[str, Any]:
        sse = {
            "ServerSideEncryption": self.options.sse,
            "SSEKMSKeyId": self.options.sse_kms_key,
        }
        return {"Metadata": {"sha256": digest}} | {k: v for k, v in sse.items() if v}

    def _checksum(self, data: bytes) -> dict[str, str]:
        """What makes a store that knows checksums refuse and remember; older ones would refuse it."""
        if not self._checks:
            return {}
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode()}
