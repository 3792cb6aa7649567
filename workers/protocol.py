"""What supervisor and runner say to each other: one request in, JSON lines out."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.progress import Phase
from core.spec import JobSpec


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Request(_Message):
    """All a runner knows. It gets neither the database nor the broker."""

    job_id: str
    epoch: int
    spec: JobSpec
    supervisor: int
    """Process id of the parent: without it, the run has no one to work for."""
    entry: str
    """`module:function` that is called with (request, out, report)."""
    store_url: str
    scratch: Path
    device: str
    threads: int | None
    memory_budget: int | None
    model_roots: tuple[Path, ...]
    source_buckets: tuple[str, ...] = ()
    hub_cache: Path | None = None


class Moved(_Message):
    kind: Literal["progress"] = "progress"
    phase: Phase
    fraction: float
    message: str


class Done(_Message):
    """Everything is in the store, the manifest last."""

    kind: Literal["done"] = "done"
    manifest_key: str


class Failed(_Message):
    kind: Literal["failed"] = "failed"
    code: str
    message: str
    remedy: str


class Stopped(_Message):
    """The run ended because it was asked to."""

    kind: Literal["stopped"] = "stopped"


Result = Done | Failed | Stopped
Line = Annotated[Moved | Done | Failed | Stopped, Field(discriminator="kind")]
LINE: TypeAdapter[Moved | Done | Failed | Stopped] = TypeAdapter(Line)


def objects_of(job_id: str, epoch: int) -> str:
    """The folder of one run's objects in the store."""
    return f"jobs/{job_id}/{epoch}"
