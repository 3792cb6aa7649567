"""What an s3:// URL says: which bucket, where, and how to move bytes there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from core.errors import BadRequest
from core.store.keys import check_key

MIN_PART: Final = 5 << 20  # S3 refuses smaller parts, the last one excepted
_WITHOUT_MARKS: Final = str.maketrans("", "", "-_:/")
_FORM: Final = "s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION"


@dataclass(frozen=True, slots=True)
class S3Options:
    """One place in one bucket. Credentials are never part of it: they come from the AWS variables.

    A put holds `part_size` × (`threads` + 1) bytes in memory; 16 MiB in 8 connections keep a
    10 Gbit/s line busy and cost 144 MiB. Getting a file holds 8 MiB × (2 × `threads` + 1) at most.
    """

    bucket: str
    prefix: str = ""  # without slashes at its ends
    endpoint: str | None = None  # AWS where None
    public_endpoint: str | None = None  # host of presigned URLs, where clients know it otherwise
    region: str | None = None
    addressing: str = "auto"
    sse: str | None = None
    sse_kms_key: str | None = None  # id, alias or ARN; the account's own where None
    part_size: int = 16 << 20
    threads: int = 8
    checksums: str = "when_required"
    timeout: float = 30.0  # seconds without a byte, in either direction
    attempts: int = 5  # of one request, and resumptions of one read


def parse_s3_url(url: str) -> S3Options:
    """The options in `url`. Raises BadRequest, which names the part that is wrong."""
    try:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _refused(f"it cannot be parsed: {error}") from None
    bucket, prefix = parts.netloc, unquote(parts.path).strip("/")
    if not _is_bucket(bucket):
        raise _refused(f"{bucket.rpartition('@')[2]!r} is not the name of a bucket")
    if parts.fragment:
        raise _refused("it has a fragment; write '#' as %23")
    try:
        prefix and check_key(prefix)
    except ValueError as error:
        raise _refused(str(error)) from None
    made = S3Options(bucket=bucket, prefix=prefix, **_read_query(given))
    if made.sse_kms_key and made.sse != "aws:kms":
        raise _refused("sse_kms_key has no effect without sse=aws:kms")
    return made


def _is_bucket(name: str) -> bool:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789.-_")
    return 3 <= len(name) <= 63 and set(name) <= allowed and name[0].isalnum()


def _read_query(given: list[tuple[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in given:
        if name not in _QUERY:
            raise _refused(f"{name!r} is unknown; there are {', '.join(_QUERY)}")
        if name in found:
            raise _refused(f"{name} is given twice")
        try:
            found[name] = _QUERY[name](text)
        except ValueError as error:
            raise _refused(f"{name}={text.rpartition('@')[2]!r}: {error}") from None
    return found


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return text

    return parse


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    bare = not (parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT, without credentials")
    _ = parts.port  # raises ValueError where it is no number
    return text.rstrip("/")


def _kms_key(text: str) -> str:
    if not (text.isascii() and text.translate(_WITHOUT_MARKS).isalnum()):
        raise ValueError("must be the id, the alias/NAME or the ARN of a key")
    return text


def _word(text: str) -> str:
    if not text or not text.replace("-", "").isalnum():
        raise ValueError("must be a name such as eu-central-1")
    return text


_QUERY: Final[dict[str, Callable[[str], Any]]] = {
    "endpoint": _http_url,
    "public_endpoint": _http_url,
    "region": _word,
    "addressing": _one_of("auto", "path", "virtual"),
    "sse": _one_of("AES256", "aws:kms"),
    "sse_kms_key": _kms_key,
    "part_size": _number(MIN_PART, 5 << 30),
    "threads": _number(1, 64),
    "checksums": _one_of("when_required", "when_supported"),
    "timeout": _number(1, 3600),
    "attempts": _number(1, 20),
}


def _refused(why: str) -> BadRequest:
    # Never the URL itself: somebody may have put a secret into it.
    return BadRequest(
        f"the s3:// store URL does not work: {why}.",
        remedy=f"Write SECATEUR_STORE_URL={_FORM}, and credentials into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    )
