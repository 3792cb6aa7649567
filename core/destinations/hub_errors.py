"""What the hub and the way to it answer to a push, under names of ours."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from core.destinations.errors import PushError, PushRefused, PushUnavailable
from core.errors import SecateurError

_RIGHTS: Final = (
    "Set HF_TOKEN to a token that may write there (https://huggingface.co/settings/tokens)."
)
_ANSWERS: Final[dict[int, tuple[type[PushError], str, str]]] = {
    401: (PushRefused, "the hub does not know who is there", _RIGHTS),
    402: (PushError, "the hub wants payment", "Free or buy space there."),
    403: (PushRefused, "this token may not write there", _RIGHTS),
    404: (PushError, "there is no such repository, and none can be made", "Check ORG/NAME; an organisation must exist."),
    409: (PushError, "others keep committing to this branch", "Push again, or to a branch of its own."),
    412: (PushError, "others keep committing to this branch", "Push again, or to a branch of its own."),
    413: (PushError, "it is more than the hub takes", "Free space there, or raise the quota."),
    429: (PushUnavailable, "too many requests", "Try again later."),
    507: (PushError, "the hub has no room left", "Free space there, or raise the quota."),
}  # fmt: skip


@contextmanager
def named_errors(place: str) -> Iterator[None]:
    """Raise what `huggingface_hub` raises inside as PushRefused, PushUnavailable or PushError."""
    try:
        yield
    except SecateurError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _named(place, error) from error


def status_of(error: BaseException) -> int | None:
    """The status of the answer that led to `error`, if one did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            return int(cause.response.status_code)
        cause = cause.__cause__
    return None


def _named(place: str, error: Exception) -> PushError:
    line = _line(error)
    if isinstance(error, LocalTokenNotFoundError):
        return PushRefused(f"cannot push to {place}: there is no token.", remedy=_RIGHTS)
    if isinstance(error, ValueError):
        # Refused before anything was sent: metadata of the card, or a quota told file by file.
        return PushError(
            f"cannot push to {place}: {line}", remedy="The hub's words say what to do."
        )
    status = status_of(error)
    if status in _ANSWERS:
        kind, what, remedy = _ANSWERS[status]
        return kind(f"cannot push to {place}: {what} ({status}: {line}).", remedy=remedy)
    if status is not None and status < 500:
        return PushError(f"cannot push to {place}: it answers {status} ({line}).")
    return PushUnavailable(
        f"cannot push to {place}: the hub did not answer, or broke off ({line}).",
        remedy="Push again: large files that it has are not sent anew. HF_ENDPOINT says which hub is asked.",
    )


def _line(error: Exception) -> str:
    """One line, without the queries of URLs: a signed one is as good as a key."""
    text = " ".join(str(error.__cause__ or error).split())
    return re.sub(r"\?[^\s'\")]+", "?…", text)[:300].rstrip(".")
