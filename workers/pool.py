"""What the pool's process has for itself. It comes by a fork, and no thread comes with it."""

from core.telemetry import fields
from core.telemetry.tracing import Tracer, Untraced, open_tracer

_CLOSE_SECONDS = 2.0


class PoolProcess:
    """Empty in the worker's main process; filled where jobs are supervised, one process after another."""

    def __init__(self) -> None:
        self.tracer: Tracer = Untraced()

    def begins(self, **_: object) -> None:
        fields.always(component="supervisor")
        self.tracer = open_tracer("secateur-worker")

    def ends(self, **_: object) -> None:
        self.tracer.close(_CLOSE_SECONDS)
