"""What a store says of an object, held against what was put there."""

import base64
from typing import Any

from core.errors import CorruptObject, StoreUnavailable
from core.store.s3_options import S3Options


def check_bytes(key: str, held: dict[str, Any], sha256: str, size: int, *, in_parts: bool) -> None:
    """Raise CorruptObject unless `held`, an answer to HEAD, tells of these bytes."""
    found = {
        "size": (held["ContentLength"], size),
        "metadata": (held["Metadata"].get("sha256"), sha256),
    }
    checksum = held.get("ChecksumSHA256")
    if checksum and not in_parts:  # else it is a checksum of the parts' checksums
        found["checksum"] = (base64.b64decode(checksum).hex(), sha256)
    wrong = [f"{name} {a!r} instead of {b!r}" for name, (a, b) in found.items() if a != b]
    if wrong:
        raise CorruptObject(
            f"the store holds {key!r} with {', '.join(wrong)}.",
            remedy="Store it again; if that fails too, the store is damaged or drops metadata.",
        )


def check_encryption(key: str, held: dict[str, Any], options: S3Options) -> None:
    """Raise StoreUnavailable where encryption was asked for and the store tells of another, or none."""
    sse, kms_key = options.sse, options.sse_kms_key
    found, found_key = held.get("ServerSideEncryption"), held.get("SSEKMSKeyId", "")
    if sse and found != sse:
        told = f"sse={found}" if found else "no encryption"
        raise StoreUnavailable(
            f"the store holds {key!r} with {told}, and sse={sse} was asked for.",
            remedy="Set up encryption in the store, or leave `sse` out of SECATEUR_STORE_URL.",
        )
    # An alias is reported as the key it stands for, and an id as the ARN that ends in it.
    if kms_key and "alias/" not in kms_key and _last(found_key) != _last(kms_key):
        raise StoreUnavailable(
            f"the store holds {key!r} under the key {found_key!r} instead of {kms_key!r}.",
            remedy="Look up the key, and correct `sse_kms_key` in SECATEUR_STORE_URL.",
        )


def _last(kms_key: str) -> str:
    return kms_key.rpartition("/")[2]
