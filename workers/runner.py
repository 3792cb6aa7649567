"""One job in one process, which owns the device: `python -m workers.runner`.

Reads a request from stdin, works in the scratch folder it names, puts the result into the store,
and says on stdout, as JSON lines, how far it is and how it ended. SIGTERM asks it to stop. A result
that an earlier runner left complete in the scratch folder is only stored.
"""

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pkgutil import resolve_name
from threading import Event, Lock
from typing import TextIO

from pydantic import BaseModel

from core.errors import Cancelled, DiskFull, OutOfMemory, SecateurError
from core.jobs.objects import objects_of
from core.processes import die_with_parent
from core.progress import Progress, Report
from core.store.base import ObjectStore
from core.store.urls import open_store
from core.stored_points import Run, StoredPoints
from workers.protocol import (
    Done,
    Failed,
    Moved,
    Remark,
    Request,
    Result,
    Stopped,
    is_complete,
    out_of,
)
from workers.pushing import push_result
from workers.tracking import track
from workers.uploads import RUN_SHARE, Uploads

Tell = Callable[[BaseModel], None]


def main() -> int:
    """Run the request on stdin; 0 when its result is in the store."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lines = _take_stdout()
    request = Request.model_validate_json(sys.stdin.buffer.read())
    die_with_parent(request.supervisor)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

    def tell(message: BaseModel) -> None:
        lines.write(message.model_dump_json() + "\n")
        lines.flush()

    result = run(request, tell, stop)
    tell(result)
    if not isinstance(result, Done):
        logging.shutdown()
        os._exit(1)  # threads that still send are not waited for
    return 0


def run(request: Request, tell: Tell, stop: Event) -> Result:
    """Carry the request out and say how it ended; no error leaves this function."""

    def report(progress: Progress) -> None:
        if stop.is_set() or os.getppid() != request.supervisor:
            raise Cancelled("the run was asked to stop.")
        tell(Moved(phase=progress.phase, fraction=progress.fraction, message=progress.message))

    try:
        out = out_of(request.scratch)
        made = is_complete(out)  # by a runner that died on the way into the store
        prefix = objects_of(request.job_id, request.epoch)
        store, links = open_store(request.store_url), request.scratch / "finished"
        patience = request.store_patience
        turn = Lock()
        with Uploads(store, prefix, links, resume=made, patience=patience, turn=turn) as uploads:
            if not made:
                entry = resolve_name(request.entry)
                with _points(request, store, tell, turn) as points:
                    entry(request, out, _scaled(report), uploads.add, points)
            key = uploads.publish(out, report)
        push_result(request, out, report, tell, resume=made)
        track(request, out, report, tell)
        return Done(manifest_key=key)
    except Cancelled:
        return Stopped()
    except Exception as error:  # noqa: BLE001 - the boundary: what is unknown gets a name here
        traceback.print_exc()
        named = name_error(error)
        return Failed(code=named.code, message=named.message, remedy=named.remedy)


def _points(
    request: Request, store: ObjectStore, tell: Tell, turn: AbstractContextManager[object]
) -> StoredPoints:
    return StoredPoints(
        store,
        Run(request.job_id, request.epoch, f"attempt {request.attempt}"),
        request.scratch / "points",
        tell=lambda level, text, data: tell(Remark(level=level, message=text, data=data)),
        turn=turn,
    )


def name_error(error: Exception) -> SecateurError:
    """`error` under a name of ours; `internal` with one line for what we did not foresee."""
    if isinstance(error, SecateurError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" of {error.filename}" if error.filename else ""
        return DiskFull(
            f"no space left on the device{place}.",
            remedy="Free space, or set SECATEUR_WORK_DIR to a larger place.",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory(
            "memory ran out.", remedy="Lower SECATEUR_MEMORY_BUDGET or use a larger machine."
        )
    line = " ".join(str(error).split())[:500]
    return SecateurError(
        f"{type(error).__name__}: {line}".rstrip(": "),
        remedy="This is a defect: please report it with the worker's log.",
    )


def _scaled(report: Report) -> Report:
    def scaled(progress: Progress) -> None:
        report(Progress(progress.phase, progress.fraction * RUN_SHARE, progress.message))

    return scaled


def _take_stdout() -> TextIO:
    """The real stdout for our lines alone: what libraries print goes to stderr."""
    ours = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(ours, "w", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
