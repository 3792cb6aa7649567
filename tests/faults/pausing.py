"""The engine's own entry, with runs that stand still where a test wants to kill them."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from core.points import NO_POINTS, Level, Points, Saved
from core.progress import Finished, Report, keep_quiet
from tests.faults import plotless
from workers.protocol import Request


def execute(
    request: Request,
    out: Path,
    report: Report,
    finished: Finished = keep_quiet,
    points: Points = NO_POINTS,
) -> None:
    """`pause-EPOCH` in the job's metadata: behind how many blocks that run waits for its end."""
    blocks = request.spec.metadata.get(f"pause-{request.epoch}")
    if blocks is not None:
        points = Pausing(points, int(blocks))
    plotless.execute(request, out, report, finished, points)


class Pausing:
    """`Points` behind one of which nothing happens any more."""

    def __init__(self, points: Points, blocks: int) -> None:
        self.points, self.left = points, blocks

    def open(self, run: Mapping[str, str], look: Callable[[int, int], None]) -> list[Saved]:
        found = self.points.open(run, look)
        self.left -= sum(saved.kind == "block" for saved in found)
        return found

    def save(self, number: int, kind: str, write: Callable[[Path], object]) -> None:
        self.points.save(number, kind, write)
        self.left -= kind == "block"
        if not self.left:
            time.sleep(600)

    def tell(
        self, message: str, *, level: Level = "info", data: Mapping[str, str] | None = None
    ) -> None:
        self.points.tell(message, level=level, data=data)
