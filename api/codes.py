"""What every `code` of a problem means, with one such problem as a client would get it.

A class that may reach a client has a row here; the OpenAPI document and docs/api.md are made of them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from api.metrics import MetricsTokenNeeded
from api.openapi import JOB_ID
from api.problems import (
    BodyTooLarge,
    CrossSite,
    MalformedBody,
    MethodNotAllowed,
    NotAcceptable,
    PreconditionFailed,
    RangeNotSatisfiable,
    UnsupportedMediaType,
    WrongHost,
)
from api.run_codes import RUNS
from core.destinations.errors import DestinationRefused
from core.errors import (
    AccessDenied,
    ArtifactNotFound,
    ArtifactsExpired,
    BadRequest,
    Conflict,
    CorruptObject,
    InvalidSpec,
    JobNotFound,
    NotAvailable,
    NotFound,
    SecateurError,
    SourceRefused,
    StoreError,
    StoreUnavailable,
    WrongState,
)
from core.estimates.errors import EstimatesBusy, SourceTooSlow
from core.idempotency_errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from core.key_errors import (
    KeyExpired,
    KeyMissing,
    KeyNotFound,
    KeyRevoked,
    KeyUnknown,
    ScopeMissing,
)
from core.limit_errors import (
    JobTooLarge,
    LastAdminKey,
    LimitReached,
    NoKeysYet,
    OperatorOnly,
    QueueFull,
    QuotaReached,
    RateLimited,
    StorageFull,
    TooManyFailures,
)
from core.sweep_errors import SweepNotFound
from core.waiting_errors import NoPlaceToWait, TooManyWaiting
from core.webhooks.errors import DeliveryNotFound, RotatedTooOften, WebhookRefused


class Row(NamedTuple):
    meaning: str
    sample: SecateurError


_WHEN: Final = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
_KEY: Final = "sec_0123456789ab"

PROBLEMS: Final[Mapping[type[SecateurError], Row]] = {type(row.sample): row for row in (
    # What was sent
    Row("The request cannot be carried out as it was posed.",
        BadRequest("the request cannot be carried out.", remedy="The API is described at /docs.")),
    Row("The body is not one JSON object in UTF-8, or holds what JSON does not have.",
        MalformedBody("not JSON: Expecting value at line 1, column 14.", remedy="Send one JSON object in UTF-8.")),
    Row("The body is larger than any that makes sense.",
        BodyTooLarge("the body is larger than 1000000 bytes.", remedy="A job spec is far smaller.")),
    Row("The body does not say that it is JSON.",
        UnsupportedMediaType("the body's content type is text/plain.", remedy="Send JSON with Content-Type: application/json.")),
    Row("A field or a query parameter is missing, unknown, given twice or out of bounds; `errors` names each.",
        InvalidSpec("The request is not valid.", remedy="Correct the fields named in `errors`.",
                    fields=[{"field": "sparsity", "message": "Input should be less than 1"}])),
    Row("What is asked for belongs to the contract, and this version does not have it.",
        NotAvailable("calibration source builtin:nothing")),
    Row("The model or the calibration text lies outside what the server may read.",
        SourceRefused("file:///etc/model lies outside the folders this server may read.",
                      remedy="Ask its operator to add the folder to SECATEUR_MODEL_ROOTS.")),
    Row("The server pushes no results to that place.",
        DestinationRefused("hf://acme/pruned lies outside what this server may push to.",
                           remedy="Ask its operator to add it to SECATEUR_PUSH_DESTINATIONS.")),
    Row("The server sends no messages to that address.",
        WebhookRefused("the webhook's URL does not begin with https://.", remedy="Write https://HOST/PATH.")),
    Row("The Idempotency-Key was sent before, with another body.", IdempotencyKeyReused()),
    Row("A request with the same Idempotency-Key is not answered yet.", IdempotencyKeyInFlight()),
    Row("The client takes none of the types in which there is an answer.",
        NotAcceptable("the report comes as application/json or text/html.",
                      remedy="Send one of them in Accept, or leave it out.")),
    Row("The path has no such method; `Allow` lists those it has.",
        MethodNotAllowed("PATCH is not possible at /v1/jobs.", remedy="Allowed here: GET, POST.")),
    Row("The `Host` header names a machine that this server is not.",
        WrongHost("this server does not answer for host 'evil.example'.",
                  remedy="Use http://127.0.0.1 or http://localhost with the server's port.")),
    Row("A page of another site sent the request from a visitor's browser.",
        CrossSite("the request comes from a page of another site.",
                  remedy="Call the API from a program, or from the server's own dashboard.")),
    Row("No byte of the range exists.", RangeNotSatisfiable(1290)),
    Row("The file is another than `If-Match` names.",
        PreconditionFailed("model/config.json is not what If-Match names.", remedy="Start the download anew.")),
    # Who asked
    Row("Who asks may not have it.", AccessDenied("this is not for everybody.", remedy="Use another key.")),
    Row("The server demands an API key, and the request has none.", KeyMissing()),
    Row("The server does not know the key.", KeyUnknown()),
    Row("The key's time is over.", KeyExpired(_KEY)),
    Row("The key was revoked.", KeyRevoked(_KEY)),
    Row("The key is good, and made for other things.", ScopeMissing("jobs:write")),
    Row("The operation is for the operator's tenant.", OperatorOnly()),
    Row("Metrics are the operator's, and the request does not have the token for them.",
        MetricsTokenNeeded("metrics are about all tenants, and the request does not have the token for them.",
                           remedy="Send the server's SECATEUR_METRICS_TOKEN as `Authorization: Bearer …`.")),
    # How much, and how often
    Row("A limit is reached; `Retry-After` says when to ask again.",
        LimitReached("there are too many.", remedy="Wait, and ask again.", retry_after=30)),
    Row("The tenant has what it may have.",
        QuotaReached("the tenant has what it may have.", remedy="Delete some, or ask for a larger quota.", retry_after=30)),
    Row("The tenant has as many queued jobs as it may have.", QueueFull("search", 100, 100)),
    Row("The tenant's results take as many bytes as they may.", StorageFull("search", 500_100_000_000, 500_000_000_000)),
    Row("The job is larger than one of the tenant's jobs may be. Waiting does not help.",
        JobTooLarge("seconds", 172_800, 86_400)),
    Row("The tenant sent more requests in this minute than it may.", RateLimited("reads", 600, 21)),
    Row("The address sent more refused keys in this minute than any may.", TooManyFailures(30, 21)),
    Row("The tenant has as many event streams and long polls open as it may.", TooManyWaiting(50)),
    Row("As many event streams and long polls are open as the server allows.", NoPlaceToWait()),
    Row("As many estimates are being made as the server makes at once.", EstimatesBusy()),
    Row("The model could not be looked at within the time of a request.", SourceTooSlow("hf://acme/model", 10)),
    # What is there
    Row("There is nothing at this path.",
        NotFound("there is nothing at /v1/job.", remedy="The API is described at /docs.")),
    Row("The tenant has no such job. Another tenant's is told in the same words.", JobNotFound(JOB_ID)),
    Row("The tenant has no such sweep. Another tenant's is told in the same words.",
        SweepNotFound("swp_0123456789abcdefghjkmnpq")),
    Row("The job left no such file.",
        ArtifactNotFound(f"job {JOB_ID} has no artifact 'model/weights'.",
                         remedy=f"GET /v1/jobs/{JOB_ID}/artifacts lists what there is.")),
    Row("The job's files were there, and retention has removed them.", ArtifactsExpired(JOB_ID, _WHEN)),
    Row("There is no such API key within reach.", KeyNotFound("key_0123456789ab")),
    Row("The tenant has no such webhook delivery.", DeliveryNotFound("msg_test_0123456789abcdef01234567")),
    # How it stands
    Row("It does not go together with how things stand.", Conflict("it is in use.", remedy="Look again.")),
    Row("The job's state does not allow it.",
        WrongState(f"job {JOB_ID} is succeeded and cannot become cancelled.",
                   remedy="Read the job again for its present state.")),
    Row("The server has no keys, and the first is not made over HTTP.", NoKeysYet()),
    Row("Without this key nobody could administer the tenant.", LastAdminKey("key_0123456789ab", "search")),
    Row("As many webhook secrets are valid as a receiver may be sent signatures of.", RotatedTooOften(4, _WHEN)),
    # The server's own
    Row("The server failed in a way it did not foresee; `instance` names the lines of its log.",
        SecateurError("The server failed in a way it did not foresee.",
                      remedy="Search the server's log for the id in `instance`.")),
    Row("The database or the object store failed.", StoreError("the object store failed.", remedy="Search the server's log.")),
    Row("The database or the object store does not answer. It passes, and repeating is right.",
        StoreUnavailable("the database does not answer.", remedy="Try again in a moment.")),
    Row("A stored file differs from what the manifest says.",
        CorruptObject("model/config.json differs in size from its manifest.", remedy="Run it again.")),
)}  # fmt: skip

CODES: Final[Mapping[type[SecateurError], Row]] = {
    **PROBLEMS,
    **{kind: Row(*row) for kind, row in RUNS.items()},
}
"""All that a client may meet, in an answer or as the `error` of a job that failed."""
