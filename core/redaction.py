"""Log lines that may be shown to whoever posted a job: short, printable, and without secrets."""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import unquote

MOST_LINES: Final = 20
MOST_BYTES: Final = 4096
HIDDEN: Final = "***"

_LONGEST_LINE: Final = 500
_SHORTEST_SECRET: Final = 6  # replacing "a" everywhere would hide nothing and destroy all
_NAMES: Final = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(?:^|_)(?:API_?|ACCESS_|PRIVATE_)?KEY(?:_|$)",
    re.IGNORECASE,
)
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_USERINFO: Final = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)(?=@)")
# What looks like a secret wherever it comes from: the first group stays.
_PATTERNS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"((?<=://)[^\s/@:]*:)[^\s/@]+(?=@)",
        r"((?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)[^&\s\"']+",
        r"(\bAuthorization\W{1,4}(?:Bearer|Basic|AWS4-HMAC-SHA256)\s+)[^\"'\r\n]+",
        r"(\b(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\"']?\s*[=:]\s*[\"']?)[^\s\"',;&]{6,}",
        r"(\b(?:sec|hf|whsec|ghp|sk)_)[A-Za-z0-9_/+=-]{8,}",
        r"(\bA(?:KIA|SIA))[A-Z0-9]{12,}",
    )
)


def secrets_of(variables: Mapping[str, str], urls: Iterable[str | None] = ()) -> tuple[str, ...]:
    """Values that must not be shown: of variables with telling names, and the passwords in any URL.

    Longest first, so that one that holds another is replaced as a whole.
    """
    telling = [value for name, value in variables.items() if _NAMES.search(name)]
    found = {line.strip() for value in telling for line in value.splitlines()}
    for text in (*variables.values(), *(url for url in urls if url)):
        for match in _USERINFO.finditer(text):
            found |= {match[2], unquote(match[2])}
    # A variable that names a file, as FOO_TOKEN_FILE does, holds no secret.
    kept = {
        value for value in found if len(value) >= _SHORTEST_SECRET and not value.startswith("/")
    }
    return tuple(sorted(kept, key=lambda value: (-len(value), value)))


def shown(lines: Iterable[str], secrets: Iterable[str] = ()) -> tuple[str, ...]:
    """The last of `lines`, as they may be shown: at most 20 of them and 4 KB."""
    hidden, size = tuple(secrets), 0
    kept: list[str] = []
    for line in reversed([clean for each in lines if (clean := _clean(each, hidden))]):
        size += len(line.encode()) + 1
        if len(kept) == MOST_LINES or size > MOST_BYTES:
            break
        kept.append(line)
    return tuple(reversed(kept))


def _clean(line: str, secrets: tuple[str, ...]) -> str:
    text = _ESCAPES.sub("", line)
    # A progress bar rewrites its line: what was written last is what one would see.
    text = text.rstrip("\r\n").rpartition("\r")[2].replace("\t", "    ")
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text[:_LONGEST_LINE].rstrip()
