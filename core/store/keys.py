"""Which names an object may have. One rule for every store and for the files of a manifest."""

import unicodedata
from urllib.parse import quote

MAX_KEY_BYTES = 1024
MAX_PART_BYTES = 255  # the longest file name that common file systems accept


def check_key(key: str) -> str:
    """`key` itself, when it is a relative POSIX path that stays where it is put.

    Raises:
        ValueError: empty, absolute, too long, or with an empty, `.` or `..` part, a backslash or a
            control character; the message names the key.
    """
    problem = _problem(key)
    if problem:
        raise ValueError(f"bad object key {key!r}: {problem}")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix` itself: empty, or a key that may end in one slash. Raises ValueError as `check_key`."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


def file_name(name: str) -> str:
    """`name` as the parameter of a Content-Disposition header (RFC 6266)."""
    if name.isascii() and name.isprintable() and not set(name) & {'"', "\\"}:
        return f'filename="{name}"'
    return f"filename*=UTF-8''{quote(name, safe='')}"


def _problem(key: str) -> str | None:
    if not key:
        return "it is empty"
    # The two noncharacters are what XML, in which S3 is asked to delete, cannot hold; the backslash
    # is a slash to SeaweedFS and to Windows.
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in "\\\ufffe\uffff" for c in key):
        return "it holds a backslash, a control character, a lone surrogate, U+FFFE or U+FFFF"
    if len(key.encode()) > MAX_KEY_BYTES:
        return f"it is longer than {MAX_KEY_BYTES} bytes"
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "it must be relative, without empty, '.' or '..' parts"
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        return f"a part is longer than {MAX_PART_BYTES} bytes"
    return None
