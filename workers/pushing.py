"""The worker's way to other places: the runner pushes what it has stored, and no job fails by it."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from core.destinations.allowed import Allowed, permitted
from core.destinations.outgoing import Pushed
from core.destinations.places import Bucket, HubModel
from core.errors import Cancelled, SecateurError
from core.progress import Progress, Report
from workers.protocol import Remark, Request

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.1  # how long a wish to stop may stay unseen


def push_result(
    request: Request,
    out: Path,
    report: Report,
    tell: Callable[[BaseModel], None],
    *,
    resume: bool,
) -> None:
    """Push the result in `out` to where its spec wants it, and say in the job's history that it is
    there, or why not. `resume`: an earlier runner may have begun to.

    Raises:
        Cancelled: from `report`, soon, whatever is being sent.
    """
    destination = request.spec.output.push
    if destination is None:
        return
    try:
        allowed = Allowed(request.push_destinations, request.store_url)
        pushed = _push(out, permitted(destination, allowed), report, resume=resume)
    except Cancelled:
        raise
    except SecateurError as error:
        tell(_failure(request.job_id, destination, error.code, str(error)))
    except Exception as error:  # whatever it is, the result is in the store
        # Its text is for the log alone: it may hold a signed URL.
        logger.exception("cannot push to %s", destination)
        why = f"{type(error).__name__}; the worker's log has more."
        tell(_failure(request.job_id, destination, SecateurError.code, why))
    else:
        tell(_success(destination, pushed))


def _push(out: Path, place: HubModel | Bucket, report: Report, *, resume: bool) -> Pushed:
    """Push in a thread, which is left behind where `report` raises: sending has no other end."""
    from core.destinations.push import Wishes, push  # noqa: PLC0415 - only where one is wanted
    from core.result import Result  # noqa: PLC0415

    told = f"pushing to {place}"

    def hear(_: float, text: str) -> None:
        nonlocal told
        told = f"pushing to {place}: {text}"

    report(Progress("publishing", 1.0, told))
    pool = ThreadPoolExecutor(1, thread_name_prefix="push")
    try:
        end = pool.submit(push, Result.open(out), place, Wishes(resume=resume), hear)
        while wait([end], _LOOK_SECONDS).not_done:
            report(Progress("publishing", 1.0, told))
        return end.result()
    finally:
        pool.shutdown(wait=False)


def _success(destination: str, pushed: Pushed) -> Remark:
    files = f"{len(pushed.sent)} files sent, {len(pushed.kept)} there already"
    data = {"push": destination, "url": pushed.url, "revision": pushed.revision}
    return Remark(level="info", message=f"pushed to {pushed.url}: {files}", data=data)


def _failure(job_id: str, destination: str, code: str, why: str) -> Remark:
    again = f"the result is in the store; repeat it with: secateur push {job_id} {destination}"
    if destination.startswith("s3://"):
        again += " (and ?endpoint=URL, where the bucket is not Amazon's)"
    message = f"not pushed to {destination}: {why} {again}"
    return Remark(level="error", message=message, data={"push": destination, "code": code})
