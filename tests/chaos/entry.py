"""What the runners of a chaos run call: the stand-in for most jobs, the engine for real ones."""

from pathlib import Path
from pkgutil import resolve_name

from core.points import NO_POINTS, Points
from core.progress import Finished, Report, keep_quiet
from tests.faults import standin
from workers.protocol import Request
from workers.supervisor import DEFAULT_ENTRY

REAL = "real"


def work(
    request: Request,
    out: Path,
    report: Report,
    finished: Finished = keep_quiet,
    points: Points = NO_POINTS,
) -> None:
    real = request.spec.metadata.get("kind") == REAL
    # By name: importing the engine takes the seconds that a stand-in has not.
    entry = resolve_name(DEFAULT_ENTRY) if real else standin.work
    entry(request, out, report, finished, points)
