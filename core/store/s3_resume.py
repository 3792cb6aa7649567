"""What an earlier process left behind of an upload to the same key, and whether it can be used."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload that has neither ended nor been aborted, with the parts that it has."""

    upload: str
    parts: dict[int, dict[str, Any]]
    """Part number → size, ETag and perhaps checksum, as the store tells them."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A file as it is before it is sent."""

    sha256: str
    bytes: int
    usable: frozenset[str]
    """Of the unfinished uploads that were asked about, those whose every part is a part of the file."""


def unfinished(client: Any, bucket: str, key: str) -> list[Unfinished]:
    """Uploads to exactly `key`, those with the most parts first."""
    found = []
    for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key):
        for upload in page.get("Uploads", ()):
            if upload["Key"] == key:
                parts = _parts(client, bucket, key, upload["UploadId"])
                found.append(Unfinished(upload["UploadId"], parts))
    return sorted(found, key=lambda each: -len(each.parts))


def survey(file: BufferedReader, pieces: Iterator[bytes], left: Sequence[Unfinished]) -> Survey:
    """Read the whole file once, and compare its `pieces` with the parts of each upload in `left`.

    A part is the file's where size and MD5 agree, and the SHA-256 if the store tells one. An ETag
    that is no MD5, as under KMS, agrees with nothing: such parts are sent anew.
    """
    if not left:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Survey(digest, file.tell(), frozenset())
    whole, size = hashlib.sha256(), 0
    agreeing = {each.upload: 0 for each in left}
    for number, data in enumerate(pieces, 1):
        whole.update(data)
        size += len(data)
        for each in left:
            part = each.parts.get(number)
            agreeing[each.upload] += part is not None and _is(part, data)
    usable = (each.upload for each in left if 0 < len(each.parts) == agreeing[each.upload])
    return Survey(whole.hexdigest(), size, frozenset(usable))


def _parts(client: Any, bucket: str, key: str, upload: str) -> dict[int, dict[str, Any]]:
    pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
    return {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}


def _is(part: dict[str, Any], data: bytes) -> bool:
    if part["Size"] != len(data):
        return False
    checksum = part.get("ChecksumSHA256")
    if checksum and base64.b64decode(checksum) != hashlib.sha256(data).digest():
        return False
    return str(part["ETag"]).strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()
