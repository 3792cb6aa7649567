"""What supervisor and runner say to each other: one request in, JSON lines out.

A second line on the way in holds secrets. They are no part of the request, so that nothing which is
shown, logged or handed to a run's entry can hold one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter

from core.progress import Forecast, Phase
from core.spec import JobSpec
from core.store.manifest import MANIFEST
from core.tracking.target import Target


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(_Message):
    """All a runner knows. It gets neither the database nor the broker."""

    job_id: str
    epoch: int
    attempt: int = 1
    spec: JobSpec
    supervisor: int
    """Process id of the parent: without it, the run has no one to work for."""
    entry: str
    """`module:function` that is called with (request, out, report, finished, points)."""
    store_url: str
    scratch: Path
    device: str
    threads: int | None
    memory_budget: int | None
    model_roots: tuple[Path, ...]
    source_buckets: tuple[str, ...] = ()
    hub_models: tuple[str, ...] = ()
    max_model_bytes: int | None = None
    push_destinations: tuple[str, ...] = ()
    hub_cache: Path | None = None
    store_patience: float = 0.0
    """Seconds for which a store that is away is asked again when the result is there."""
    mlflow: Target | None = None
    """Where to log the result, once it is in the store."""
    log_level: str = "INFO"
    traceparent: str | None = None
    """The trace that the run belongs to."""
    sweep_id: str | None = None
    """The sweep whose jobs share what they find out about the dense model."""


_SECRETS: TypeAdapter[dict[str, SecretStr]] = TypeAdapter(dict[str, SecretStr])


def written(request: Request, secrets: Mapping[str, SecretStr]) -> bytes:
    """What a runner reads on its standard input."""
    shown = {name: value.get_secret_value() for name, value in secrets.items()}
    return b"\n".join((request.model_dump_json().encode(), json.dumps(shown).encode()))


def understood(data: bytes) -> tuple[Request, dict[str, SecretStr]]:
    """What `written` wrote; without a second line there are no secrets."""
    request, _, secrets = data.partition(b"\n")
    return Request.model_validate_json(request), _SECRETS.validate_json(secrets or b"{}")


class Moved(_Message):
    kind: Literal["progress"] = "progress"
    phase: Phase
    fraction: float
    message: str


class Planned(_Message):
    """What the run will take; said once, when it knows."""

    kind: Literal["planned"] = "planned"
    forecast: Forecast


class Remark(_Message):
    """A line for the job's history, and what a program may want to know of it."""

    kind: Literal["remark"] = "remark"
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, str | None] = Field(default_factory=dict)


class Measured(_Message):
    """What the run's process holds and has moved so far: for metrics, and for nobody's decision."""

    kind: Literal["measured"] = "measured"
    host_peak_bytes: int
    sent_bytes: int = 0
    """Put into the store, also what was put twice."""
    result_bytes: int | None = None
    """What the published files take, once they are."""
    gpu_bytes: int | None = None
    gpu_peak_bytes: int | None = None
    gpu_used_bytes: int | None = None
    """By all processes on the device."""
    gpu_total_bytes: int | None = None


class Done(_Message):
    """Everything is in the store, the manifest last."""

    kind: Literal["done"] = "done"
    manifest_key: str
    stored_bytes: int = 0
    """Of all its files."""


class Failed(_Message):
    kind: Literal["failed"] = "failed"
    code: str
    message: str
    remedy: str


class Stopped(_Message):
    """The run ended because it was asked to."""

    kind: Literal["stopped"] = "stopped"


Result = Done | Failed | Stopped
Said = Moved | Planned | Remark | Measured | Result
Line = Annotated[
    Moved | Planned | Remark | Measured | Done | Failed | Stopped, Field(discriminator="kind")
]
LINE: TypeAdapter[Said] = TypeAdapter(Line)


def out_of(scratch: Path) -> Path:
    """The folder of a run's result within its scratch folder."""
    return scratch / "out"


def is_complete(out: Path) -> bool:
    """Whether the run is done, and all that remains is to store what it made."""
    return (out / MANIFEST).is_file()
