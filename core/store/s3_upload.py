"""Putting one file or one piece of bytes into a bucket, whole or not at all."""

import base64
import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import CorruptObject, StoreUnavailable
from core.store.s3_errors import code_of
from core.store.s3_options import S3Options

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

    def put_parts(self, file: BufferedReader) -> None:
        """Store the file in parts, several at a time; it has a part's size or more.

        Raises:
            CorruptObject: the file changed meanwhile; nothing is stored.
        """
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        about = self._about(digest)
        if self._checks:
            about["ChecksumAlgorithm"] = "SHA256"
        upload = self.client.create_multipart_upload(**self._target, **about)["UploadId"]
        try:
            parts = self._send_parts(file, size, upload, digest)
            etag = self._complete(upload, parts, digest)
        except BaseException:
            # Best effort: what made the upload fail may well make this fail too, and then
            # deleting the prefix or `abort_uploads` removes the parts.
            with suppress(BotoCoreError, ClientError):
                self.client.abort_multipart_upload(**self._target, UploadId=upload)
            raise
        self._verify(digest, size, etag, in_parts=True)

    def _send_parts(
        self, file: BufferedReader, size: int, upload: str, digest: str
    ) -> list[dict[str, Any]]:
        """Send every part; at most `threads` + 1 of them are in memory."""
        seen = hashlib.sha256()
        pool = ThreadPoolExecutor(self.options.threads)
        pending: deque[Future[dict[str, Any]]] = deque()
        parts: list[dict[str, Any]] = []
        try:
            for number, data in enumerate(self._pieces(file, size), 1):
                seen.update(data)
                pending.append(pool.submit(self._send, upload, number, data))
                if len(pending) > self.options.threads:
                    parts.append(pending.popleft().result())
            parts += [future.result() for future in pending]
        finally:
            pool.shutdown(cancel_futures=True)
        if seen.hexdigest() != digest:
            raise CorruptObject(
                f"{file.name} changed while it was being stored.", remedy="Run it again."
            )
        return parts

    def _pieces(self, file: BufferedReader, size: int) -> Iterator[bytes]:
        length = max(self.options.part_size, -(-size // _MAX_PARTS))
        file.seek(0)
        while data := file.read(length):
            yield data

    def _send(self, upload: str, number: int, data: bytes) -> dict[str, Any]:
        """One part; what completing the upload has to say of it."""
        checksum = self._checksum(data)
        answer = self.client.upload_part(
            **self._target, UploadId=upload, PartNumber=number, Body=data, **checksum
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

    def _verify(self, digest: str, size: int, etag: str, *, in_parts: bool) -> None:
        """Compare what the store holds now. Raises CorruptObject."""
        held = self._held()
        if held is None or held["ETag"] != etag:
            return  # stored, and already deleted or replaced by somebody else
        found = {
            "size": (held["ContentLength"], size),
            "metadata": (held["Metadata"].get("sha256"), digest),
        }
        checksum = held.get("ChecksumSHA256")
        if checksum and not in_parts:  # else it is a checksum of the parts' checksums
            found["checksum"] = (base64.b64decode(checksum).hex(), digest)
        self._verify_encryption(held)
        wrong = [f"{name} {a!r} instead of {b!r}" for name, (a, b) in found.items() if a != b]
        if wrong:
            raise CorruptObject(
                f"the store holds {self.key!r} with {', '.join(wrong)}.",
                remedy="Store it again; if that fails too, the store is damaged or drops metadata.",
            )

    def _verify_encryption(self, held: dict[str, Any]) -> None:
        """Raise StoreUnavailable where encryption was asked for and the store tells of none."""
        sse, key = self.options.sse, self.options.sse_kms_key
        found, found_key = held.get("ServerSideEncryption"), held.get("SSEKMSKeyId", "")
        if sse and found != sse:
            told = f"sse={found}" if found else "no encryption"
            raise StoreUnavailable(
                f"the store holds {self.key!r} with {told}, and sse={sse} was asked for.",
                remedy="Set up encryption in the store, or leave `sse` out of SECATEUR_STORE_URL.",
            )
        # An alias is reported as the key it stands for, and an id as the ARN that ends in it.
        if key and "alias/" not in key and found_key.rpartition("/")[2] != key.rpartition("/")[2]:
            raise StoreUnavailable(
                f"the store holds {self.key!r} under the key {found_key!r} instead of {key!r}.",
                remedy="Look up the key, and correct `sse_kms_key` in SECATEUR_STORE_URL.",
            )

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
