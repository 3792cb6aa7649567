"""What is to be known of a worker. Plain values: no session, no database."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class Gpu(BaseModel):
    name: str
    memory_bytes: int


class Presence(BaseModel):
    """What a worker says of itself."""

    id: str
    """Host and process, as in a job's history."""
    host: str
    device: str
    """The setting: cpu, cuda, cuda:N or auto."""
    gpus: tuple[Gpu, ...] = ()
    """Those that its driver shows; none where there is no driver."""
    versions: dict[str, str]
    started_at: datetime


class Worker(Presence):
    """A worker as one tenant sees it."""

    last_seen: datetime
    state: Literal["online", "stale"]
    busy: bool
    job: str | None
    """The id of the job it carries out, where that is the reader's own."""
