"""What S3 and the way to it answer when something is wrong, under names of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from core.errors import ArtifactNotFound, CorruptObject, DiskFull, SecateurError, StoreUnavailable

_CREDENTIALS: Final = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SESSION_TOKEN too, where they are temporary)"
_LATER: Final = "Try again later; where it happens often, lower `threads` in SECATEUR_STORE_URL."
_AGAIN: Final = "Try it again; if it happens often, something on the way to the store is broken."
_ROOM: Final = "let old results go: SECATEUR_RETENTION and `secateur gc`"

_NOT_FOUND: Final = ("NoSuchKey", "404", "NoSuchVersion")
# Answers to HEAD have no body, so their code is the bare status.
_ANSWERS: Final[dict[str, tuple[type[SecateurError], str]]] = {
    "NoSuchBucket": (StoreUnavailable, "Create the bucket, or correct SECATEUR_STORE_URL."),
    "AccessDenied": (StoreUnavailable, f"{_CREDENTIALS} of a user who may read and write there."),
    "403": (StoreUnavailable, f"{_CREDENTIALS} of a user who may read and write there."),
    "InvalidAccessKeyId": (StoreUnavailable, f"{_CREDENTIALS} to ones that the store knows."),
    "SignatureDoesNotMatch": (StoreUnavailable, f"{_CREDENTIALS}; the secret is not this key's."),
    "ExpiredToken": (StoreUnavailable, f"{_CREDENTIALS} anew: they have expired."),
    "InvalidToken": (StoreUnavailable, f"{_CREDENTIALS} anew."),
    "TokenRefreshRequired": (StoreUnavailable, f"{_CREDENTIALS} anew."),
    # An expired token is refused so where the answer has no body.
    "400": (StoreUnavailable, f"{_CREDENTIALS} anew, where they may have expired."),
    "RequestTimeTooSkewed": (StoreUnavailable, "Set this machine's clock."),
    "PermanentRedirect": (StoreUnavailable, "Give the bucket's region in SECATEUR_STORE_URL."),
    "301": (StoreUnavailable, "Give the bucket's region in SECATEUR_STORE_URL."),
    "AuthorizationHeaderMalformed": (
        StoreUnavailable,
        "Give the bucket's region in SECATEUR_STORE_URL.",
    ),
    "SlowDown": (StoreUnavailable, _LATER),
    "503": (StoreUnavailable, _LATER),
    "InternalError": (StoreUnavailable, _LATER),
    "500": (StoreUnavailable, _LATER),
    "ServiceUnavailable": (StoreUnavailable, _LATER),
    "NoSuchUpload": (
        StoreUnavailable,
        "Its job was deleted, or began anew: nothing is to be done.",
    ),
    "PreconditionFailed": (
        StoreUnavailable,
        "It was replaced while it was being read: read again.",
    ),
    "412": (StoreUnavailable, "It was replaced while it was being read: read again."),
    "BadDigest": (CorruptObject, _AGAIN),
    "InvalidDigest": (CorruptObject, _AGAIN),
    "XAmzContentSHA256Mismatch": (CorruptObject, _AGAIN),
    "XAmzContentChecksumMismatch": (CorruptObject, _AGAIN),
    "InsufficientStorage": (DiskFull, f"Enlarge the store, or {_ROOM}."),
    "507": (DiskFull, f"Enlarge the store, or {_ROOM}."),
    "XMinioStorageFull": (DiskFull, f"Enlarge the store, or {_ROOM}."),
    "QuotaExceeded": (DiskFull, f"Raise the bucket's quota, or {_ROOM}."),
}
_NO_CREDENTIALS: Final = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)


@contextmanager
def named_errors(verb: str, place: str, key: str = "") -> Iterator[None]:
    """Raise what boto3 raises inside as StoreUnavailable, ArtifactNotFound, DiskFull or CorruptObject.

    `place` and `key` are for the message: "cannot read s3://bucket/prefix: …".
    """
    try:
        yield
    except ClientError as error:
        raise _named(error, verb, place, key) from error
    except FlexibleChecksumError as error:
        raise CorruptObject(f"{key!r} in {place} arrived damaged.", remedy=_AGAIN) from error
    except _NO_CREDENTIALS as error:
        raise StoreUnavailable(
            f"cannot {verb} {place}: {_line(error)}.", remedy=f"{_CREDENTIALS}."
        ) from error
    except BotoCoreError as error:
        raise StoreUnavailable(
            f"cannot {verb} {place}: {_line(error)}.",
            remedy="Check that the store runs and that `endpoint` in SECATEUR_STORE_URL leads to it.",
        ) from error


def code_of(error: ClientError) -> str:
    """The store's own name for what went wrong, or the status where it gave none."""
    return str(error.response.get("Error", {}).get("Code", ""))


def not_found(key: str) -> ArtifactNotFound:
    return ArtifactNotFound(
        f"no object {key!r} in the store.", remedy="List the job's artifacts for what there is."
    )


def _named(error: ClientError, verb: str, place: str, key: str) -> SecateurError:
    code = code_of(error)
    if code in _NOT_FOUND:
        if key:
            return not_found(key)
        code = "NoSuchBucket"
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    unknown = (StoreUnavailable, "Look for this answer in the store's documentation.")
    by_status = None if status == "400" else _ANSWERS.get(status)  # too many things are a 400
    kind, remedy = _ANSWERS.get(code) or by_status or unknown
    said = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:300]
    return kind(f"cannot {verb} {place}: it answers {code} ({said or status}).", remedy=remedy)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
