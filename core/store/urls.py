"""From the configured URL to a store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import BadRequest, NotAvailable
from core.store.base import ObjectStore
from core.store.local import LocalStore


def open_store(url: str) -> ObjectStore:
    """The store at `url`; nothing is touched until it is used.

    Raises:
        NotAvailable: an s3:// URL.
        BadRequest: any other URL than `file:///absolute/folder`.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        raise NotAvailable("s3:// object stores", remedy="Use a file:///folder URL.")
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
            f"store URL {url!r} does not name a local folder.",
            remedy="Write SECATEUR_STORE_URL=file:///absolute/folder,"
            " with '?', '#' and '%' written as %3F, %23 and %25.",
        )
    return LocalStore(Path(path))
