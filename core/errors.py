"""Every error Secateur raises on purpose. Those of one part of it lie in a module of that part, in brackets.

SecateurError
├── BadRequest               the request cannot be carried out as posed          exit 2
│   ├── InvalidSpec          a field is missing, unknown or out of bounds
│   ├── NotAvailable         a valid request for something this version lacks
│   ├── SourceRefused        a model or text source outside the allowed places
│   ├── DestinationRefused   [core.destinations.errors]
│   ├── KeysNeeded           [core.key_errors]
│   ├── IdempotencyKeyReused [core.idempotency_errors]
│   └── WebhookRefused       [core.webhooks.errors]
├── AccessDenied             who asks may not have it                            exit 5
│   ├── KeyMissing, KeyUnknown, KeyExpired, KeyRevoked  [core.key_errors]
│   └── ScopeMissing         [core.key_errors]
│       └── OperatorOnly     [core.limit_errors]
├── NotFound
│   ├── JobNotFound
│   ├── ArtifactNotFound
│   ├── KeyNotFound          [core.key_errors]
│   ├── SweepNotFound        [core.sweep_errors]
│   ├── ArtifactsExpired     they were there, and retention has removed them
│   └── DeliveryNotFound     [core.webhooks.errors]
├── Conflict
│   ├── WrongState           the job's state does not allow the move
│   ├── LeaseLost            another worker owns the job now
│   ├── OutputExists         refusing to overwrite
│   ├── IdempotencyKeyInFlight  [core.idempotency_errors]
│   ├── NoKeysYet, LastAdminKey [core.limit_errors]
│   └── RotatedTooOften      [core.webhooks.errors]
├── ModelError               the checkpoint cannot be used                       exit 3
│   ├── ModelNotFound
│   ├── UnsafeModel          pickle, remote code, links that leave the folder
│   ├── UnsupportedModel     a family or config key we do not know
│   ├── BrokenCheckpoint     missing tensors, wrong shapes, NaN
│   └── ModelTooLarge        [core.intake_errors]
├── PruningError             the numbers do not allow it                         exit 3
│   └── SingularHessian
├── DataError                the calibration text cannot be used                 exit 3
│   ├── TextNotFound
│   ├── TextTooShort
│   ├── BadTokenFile
│   └── HubUnavailable       the hub of a data set does not answer, or not with what it announced
├── SourceError              what a source names cannot be read now          exit 3
│   ├── SourceUnavailable    its store does not answer, or not with what it announced
│   ├── SourceChanged        an object was replaced while it was being read
│   └── SourceTooSlow        [core.estimates.errors]
├── ResourceError            the machine is too small                            exit 4
│   ├── OutOfMemory
│   └── DiskFull
├── StoreError
│   ├── StoreUnavailable
│   └── CorruptObject        bytes differ from their SHA-256
├── LimitReached             a tenant has, or asks for, as much as it may  [core.limit_errors]
│   ├── QuotaReached         QueueFull, StorageFull, JobTooLarge
│   ├── RateLimited
│   └── TooManyFailures
├── TooManyWaiting, NoPlaceToWait   streams and long polls           [core.waiting_errors]
├── EstimatesBusy            [core.estimates.errors]
├── PhaseTimeout             a run took longer than its phase may     [core.run_errors]
├── GateFailed               a condition on the report is met                    exit 6
├── MetricMissing            a condition names what the report does not have     exit 2
├── TrackerError             MLflow does not take the run
├── PushError                the destination does not take the result  [core.destinations.errors]
│   └── PushRefused, PushUnavailable
├── Cancelled                the caller asked the run to stop                    exit 130
└── WorkerLost               the process that ran the job died
"""

from datetime import datetime
from typing import ClassVar


class SecateurError(Exception):
    """Base of the tree. `code` is stable and part of the HTTP contract."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class BadRequest(SecateurError):
    code = "bad-request"
    exit_status = 2


class InvalidSpec(BadRequest):
    code = "invalid-spec"

    def __init__(
        self, message: str, *, remedy: str = "", fields: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.fields = fields or []


class NotAvailable(BadRequest):
    """Raised for what the contract names and this version does not have yet."""

    code = "not-available"

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(f"not available in this version: {what}.", remedy=remedy)


class SourceRefused(BadRequest):
    code = "source-refused"


class AccessDenied(SecateurError):
    code = "access-denied"
    exit_status = 5


class NotFound(SecateurError):
    code = "not-found"


class JobNotFound(NotFound):
    code = "job-not-found"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job {job_id!r}.", remedy="List jobs with GET /v1/jobs.")


class ArtifactNotFound(NotFound):
    code = "artifact-not-found"


class ArtifactsExpired(NotFound):
    code = "artifacts-expired"

    def __init__(self, job_id: str, when: datetime) -> None:
        super().__init__(
            f"the artifacts of job {job_id} were removed on {when:%Y-%m-%d}: none are kept longer.",
            remedy="Post the job's spec again for new ones, and download them sooner.",
        )


class Conflict(SecateurError):
    code = "conflict"


class WrongState(Conflict):
    code = "wrong-state"


class LeaseLost(Conflict):
    code = "lease-lost"


class OutputExists(Conflict):
    code = "output-exists"
    exit_status = 2


class ModelError(SecateurError):
    code = "bad-model"
    exit_status = 3


class ModelNotFound(ModelError):
    code = "model-not-found"


class UnsafeModel(ModelError):
    code = "unsafe-model"


class UnsupportedModel(ModelError):
    code = "unsupported-model"


class BrokenCheckpoint(ModelError):
    code = "broken-checkpoint"


class PruningError(SecateurError):
    code = "pruning"
    exit_status = 3


class SingularHessian(PruningError):
    code = "singular-hessian"

    def __init__(self, matrix: str, damping: float) -> None:
        super().__init__(
            f"{matrix}: the Hessian of its inputs is singular at damping {damping:g}.",
            remedy="Raise recipe.damping, or give more calibration samples.",
        )


class DataError(SecateurError):
    code = "bad-data"
    exit_status = 3


class TextNotFound(DataError):
    code = "text-not-found"


class TextTooShort(DataError):
    code = "text-too-short"

    def __init__(self, source: str, found: int, needed: int) -> None:
        super().__init__(
            f"{source}: {found} tokens found, {needed} needed.",
            remedy="Give more text, or lower `calibration.samples` or `calibration.sequence_length`.",
        )


class BadTokenFile(DataError):
    code = "bad-token-file"


class HubUnavailable(DataError):
    code = "hub-unavailable"


class SourceError(SecateurError):
    code = "source"
    exit_status = 3


class SourceUnavailable(SourceError):
    code = "source-unavailable"


class SourceChanged(SourceError):
    code = "source-changed"


class ResourceError(SecateurError):
    code = "resources"
    exit_status = 4


class OutOfMemory(ResourceError):
    code = "out-of-memory"


class DiskFull(ResourceError):
    code = "disk-full"


class StoreError(SecateurError):
    code = "store"


class StoreUnavailable(StoreError):
    code = "store-unavailable"


class CorruptObject(StoreError):
    code = "corrupt-object"


class GateFailed(SecateurError):
    code = "gate-failed"
    exit_status = 6


class MetricMissing(SecateurError):
    code = "metric-missing"
    exit_status = 2


class TrackerError(SecateurError):
    code = "tracker"


class Cancelled(SecateurError):
    code = "cancelled"
    exit_status = 130


class WorkerLost(SecateurError):
    code = "worker-lost"
