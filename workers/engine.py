"""The runner's default entry. Importing this loads torch, so only the runner's child does."""

from pathlib import Path

from core.answers import NO_ANSWERS, Answers
from core.points import NO_POINTS, Points
from core.progress import Finished, Report, keep_quiet
from core.run import execute as execute_spec
from core.stages import RunOptions
from core.store.urls import open_store
from core.stored_answers import StoredAnswers
from workers.protocol import Request


def execute(
    request: Request,
    out: Path,
    report: Report,
    finished: Finished = keep_quiet,
    points: Points = NO_POINTS,
) -> None:
    """Carry out the request's spec into the new folder `out`."""
    options = RunOptions(
        device=request.device,
        threads=request.threads,
        memory_budget=request.memory_budget,
        model_roots=request.model_roots,
        source_buckets=request.source_buckets,
        hub_models=request.hub_models,
        max_model_bytes=request.max_model_bytes,
        hub_cache=request.hub_cache,
        finished=finished,
        points=points,
        answers=_answers(request),
    )
    execute_spec(request.spec, out, options, report)


def _answers(request: Request) -> Answers:
    """What the jobs of a sweep know of the dense model; a job that stands alone asks nobody."""
    if request.sweep_id is None:
        return NO_ANSWERS
    return StoredAnswers(open_store(request.store_url), request.sweep_id, request.job_id)
