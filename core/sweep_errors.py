"""What can be wrong with a sweep beside what can be wrong with its jobs."""

from core.errors import NotFound


class SweepNotFound(NotFound):
    code = "sweep-not-found"

    def __init__(self, sweep_id: str) -> None:
        super().__init__(f"no sweep {sweep_id!r}.", remedy="List sweeps with GET /v1/sweeps.")
