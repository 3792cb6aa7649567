"""What is refused is written into the audit log, too, and only so much of it in a minute: of keys and
scopes by address, of quotas by tenant."""

import logging
import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from fastapi import Request

from api.limiter import Limiter
from core.errors import AccessDenied, SecateurError, StoreUnavailable
from core.jobs.audit import Actor, AuditSide
from core.jobs.credentials import ApiKey, id_of
from core.jobs.keys import KeyStore
from core.key_errors import KeyMissing, KeyUnknown
from core.limit_errors import QuotaReached, TooManyFailures

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)


def actor_behind(request: Request, tenant: str | None, key: ApiKey | None) -> Actor:
    """Who is behind a request, and where it came from as far as the server can tell."""
    # Whatever gives requests an id puts it there; a client's own is good enough where nothing does.
    given = getattr(request.state, "request_id", None) or request.headers.get("x-request-id", "")
    return Actor(
        tenant=tenant,
        key_id=None if key is None else key.id,
        address=None if request.client is None else request.client.host[:64],
        request_id=given if _REQUEST_ID.fullmatch(given) else None,
    )


class Refusals:
    """Called for every AccessDenied and QuotaReached. Nothing that it meets makes a refusal an admission."""

    def __init__(
        self, limiter: Limiter, log: AuditSide, keys: KeyStore, clock: Callable[[], datetime]
    ) -> None:
        self._limiter, self._log, self._keys, self._clock = limiter, log, keys, clock

    def answer(self, request: Request, error: AccessDenied) -> SecateurError:
        """What to answer: `error`, once it is written down; TooManyFailures instead of too many.

        A request without any key tells nothing about anybody, and is neither counted nor written.
        """
        if isinstance(error, KeyMissing):
            return error
        try:
            self._limiter.failure(request.client and request.client.host)
            self._write(request, error)
        except TooManyFailures as more:
            return more
        except StoreUnavailable as away:
            logger.warning("%s was not written into the audit log: %s", error.code, away)
        return error

    def tell(self, request: Request, by: Actor, error: QuotaReached) -> None:
        """Write down that `by`'s tenant may not have more. A loop of them is answered as one is.

        The transaction that found it out is rolled back by now: this is one of its own.
        """
        if by.tenant is None or not self._limiter.tells_quota(by.tenant):
            return
        try:
            self._log.record(by, self._clock(), "access", _path(request), outcome=error.code)
        except StoreUnavailable as away:
            logger.warning("%s was not written into the audit log: %s", error.code, away)

    def _write(self, request: Request, error: AccessDenied) -> None:
        text: str | None = getattr(request.state, "presented", None)
        key = self._proven(text, error)
        actor = actor_behind(request, key.tenant if key else None, key)
        # Of a key that is none, only the id is kept, and only where it could be one.
        target = id_of(text or "") if key is None else _path(request)
        self._log.record(actor, self._clock(), "access", target, outcome=error.code)

    def _proven(self, text: str | None, error: AccessDenied) -> ApiKey | None:
        """The key that the caller has shown all of, be it expired or revoked."""
        return None if text is None or isinstance(error, KeyUnknown) else self._keys.find(text)


def _path(request: Request) -> str:
    """As it was sent, and no longer than a line of the log has room for."""
    return str(request.scope["raw_path"].decode("latin-1")[:100])
