"""From the configured URL to a store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import BadRequest
from core.store.base import ObjectStore
from core.store.local import LocalStore


def open_store(url: str) -> ObjectStore:
    """The store at `url`; nothing is touched until it is used.

    Raises:
        BadRequest: neither `file:///absolute/folder` nor a well-formed `s3://bucket/prefix?…`.
    """
    if url.startswith("s3://"):
        # boto3 takes a second to load, which nobody with a local folder need wait for.
        from core.store.s3 import S3Store  # noqa: PLC0415
        from core.store.s3_options import parse_s3_url  # noqa: PLC0415

        return S3Store(parse_s3_url(url))
    parts = urlsplit(url)
    path = unquote(parts.path)
    if (
        parts.scheme != "file"
        or parts.netloc not in ("", "localhost")
        or parts.query
        or parts.fragment
        or not path.startswith("/")
        or "\0" in path
    ):
        raise BadRequest(
            f"store URL {url!r} names neither a local folder nor a bucket.",
            remedy="Write SECATEUR_STORE_URL=file:///absolute/folder,"
            " with '?', '#' and '%' written as %3F, %23 and %25, or s3://bucket/prefix.",
        )
    return LocalStore(Path(path))
