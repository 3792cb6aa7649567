"""What supervisor and runner say to each other: one request in, JSON lines out."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.progress import Phase
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
    push_destinations: tuple[str, ...] = ()
    hub_cache: Path | None = None
    store_patience: float = 0.0
    """Seconds for which a store that is away is asked again when the result is there."""
    mlflow: Target | None = None
    """Where to log the result, once it is in the store."""


class Moved(_Message):
    kind: Literal["progress"] = "progress"
    phase: Phase
    fraction: float
    message: str


class Remark(_Message):
    """A line for the job's history, and what a program may want to know of it."""

    kind: Literal["remark"] = "remark"
    level: Literal["info", "warning", "error"]
    message: str
    data: dict[str, str | None] = Field(default_factory=dict)


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
Said = Moved | Remark | Result
Line = Annotated[Moved | Remark | Done | Failed | Stopped, Field(discriminator="kind")]
LINE: TypeAdapter[Said] = TypeAdapter(Line)


def out_of(scratch: Path) -> Path:
    """The folder of a run's result within its scratch folder."""
    return scratch / "out"


def is_complete(out: Path) -> bool:
    """Whether the run is done, and all that remains is to store what it made."""
    return (out / MANIFEST).is_file()
