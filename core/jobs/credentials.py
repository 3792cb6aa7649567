"""What an API key is: its text, what is kept of it, what it opens and until when. No database.

    sec_0123456789ab_<64 hexadecimal digits>
        the id       256 random bits

The id finds the row; the SHA-256 of the whole text, in the row, proves the key. A plain fast hash is
right here: slow ones make guessing passwords dear, and 256 random bits cannot be guessed at any
speed. It also costs a request microseconds where a slow one would be an invitation to overload.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal, get_args

from pydantic import BaseModel, Field

from core.key_errors import KeyExpired, KeyRevoked

Scope = Literal["jobs:read", "jobs:write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

Entropy = Callable[[int], bytes]
"""So many random bytes, fit for secrets; `secrets.token_bytes`, except in tests."""

_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_TEXT: Final = re.compile(r"sec_([0-9a-f]{12})_[0-9a-f]{64}")


class ApiKey(BaseModel):
    """One key as operators see it: everything but the secret."""

    id: str
    tenant: str
    name: str
    prefix: str
    """How its text begins, for telling keys apart."""
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """Up to a minute behind; None where it was never used."""

    def opens(self, scope: Scope) -> bool:
        """Whether it may do what `scope` names; `admin` may do everything within its tenant."""
        return scope in self.scopes or "admin" in self.scopes


class CreatedKey(ApiKey):
    key: str = Field(description="what its owner sends; shown this once")


def new_text(entropy: Entropy) -> str:
    """The text of a key that has never been before."""
    return f"sec_{entropy(_ID_BYTES).hex()}_{entropy(_SECRET_BYTES).hex()}"


def id_of(text: str) -> str | None:
    """The id of the key that `text` claims to be; None if it cannot be any."""
    found = _TEXT.fullmatch(text)
    return f"key_{found[1]}" if found else None


def prefix_of(text: str) -> str:
    return text[: text.rindex("_")]


def digest(text: str) -> str:
    """The SHA-256 of a key, which is all that is kept of it."""
    return hashlib.sha256(text.encode()).hexdigest()


def proves(text: str, sha256: str) -> bool:
    """Whether `text` is the key of which `sha256` was kept; takes as long for a near miss."""
    return hmac.compare_digest(digest(text), sha256)


def check_usable(key: ApiKey, now: datetime) -> None:
    """Raise KeyRevoked or KeyExpired.

    Only for callers who have shown the whole key: to nobody else is it said that it ever was one.
    """
    if key.revoked_at is not None:
        raise KeyRevoked(key.prefix)
    if key.expires_at is not None and key.expires_at <= now:
        raise KeyExpired(key.prefix)
