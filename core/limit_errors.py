"""What a tenant has too much of, each with the seconds after which it makes sense to ask again.

LimitReached (SecateurError)
├── QuotaReached         a tenant has what it may have
│   ├── QueueFull
│   ├── StorageFull
│   └── JobTooLarge      one job alone is more than the tenant may ask for
├── RateLimited          a tenant asks too often
└── TooManyFailures      an address presents too many keys that are none
"""

from typing import Final

from core.errors import AccessDenied, Conflict, SecateurError
from core.key_errors import ScopeMissing

_QUEUE_SECONDS: Final = 30
"""A queue moves when a job ends, which nobody can foretell; this asks twice a minute."""
_STORAGE_SECONDS: Final = 3600
"""Results go when somebody deletes them, or retention does, which looks once an hour."""


class LimitReached(SecateurError):
    code = "limit-reached"
    retry_after: int

    def __init__(self, message: str, *, remedy: str, retry_after: int) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = max(1, retry_after)


class QuotaReached(LimitReached):
    code = "quota-reached"


class QueueFull(QuotaReached):
    code = "quota-queued-jobs"

    def __init__(self, tenant: str, used: int, limit: int, more: int = 1) -> None:
        wanted = f"; {more} more were asked for at once" if more > 1 else ""
        super().__init__(
            f"tenant {tenant} has {used} queued jobs, and may have {limit}{wanted}.",
            remedy="Wait until some have started, or cancel some.",
            retry_after=_QUEUE_SECONDS,
        )


class StorageFull(QuotaReached):
    code = "quota-stored-bytes"

    def __init__(self, tenant: str, used: int, limit: int) -> None:
        super().__init__(
            f"the results of tenant {tenant} take {used} bytes, and may take {limit}.",
            remedy="Delete jobs whose results are no longer needed, or ask for a larger quota.",
            retry_after=_STORAGE_SECONDS,
        )


class JobTooLarge(QuotaReached):
    code = "quota-job-size"

    def __init__(self, field: str, needed: float, limit: float) -> None:
        super().__init__(
            f"the job would take {needed:.4g} {field}, and one job may take {limit:.4g}.",
            remedy="Lower calibration.samples or calibration.sequence_length, or ask for a larger"
            " quota: as it is, the job is refused at any time.",
            retry_after=_STORAGE_SECONDS,
        )


class RateLimited(LimitReached):
    code = "rate-limited"

    def __init__(self, kind: str, limit: int, retry_after: int) -> None:
        super().__init__(
            f"more than {limit} {kind} a minute came from this tenant.",
            remedy=f"Ask again in {max(1, retry_after)} s; poll with `wait` or `If-None-Match`, and less often.",
            retry_after=retry_after,
        )


class TooManyFailures(LimitReached):
    code = "too-many-failures"

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(
            f"more than {limit} refused keys a minute came from this address.",
            remedy="Correct the key. A good one is served at any time.",
            retry_after=retry_after,
        )


class OperatorOnly(ScopeMissing):
    """The same for every tenant that is asked about, whether or not there is one."""

    code = "operator-only"

    def __init__(self) -> None:
        AccessDenied.__init__(
            self,
            "only the operator's tenant may look beyond its own.",
            remedy="Use a key with the scope admin of the tenant in SECATEUR_OPERATOR_TENANT.",
        )
        self.scope = "admin"


class NoKeysYet(Conflict):
    code = "no-keys-yet"

    def __init__(self) -> None:
        super().__init__(
            "this server has no keys, and the first one would lock everybody else out.",
            remedy="Make it with `secateur keys create --name NAME --scope admin`, beside the server.",
        )


class LastAdminKey(Conflict):
    code = "last-admin-key"

    def __init__(self, key_id: str, tenant: str) -> None:
        super().__init__(
            f"{key_id} is the last key of tenant {tenant} with the scope admin.",
            remedy="Make another one first, or add ?force=true; `secateur keys create` always works.",
        )
