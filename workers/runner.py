"""One job in one process, which owns the device: `python -m workers.runner`.

Reads a request from stdin, works in the scratch folder it names, puts the result into the store,
and says on stdout, as JSON lines, how far it is and how it ended. SIGTERM asks it to stop. A result
that an earlier runner left complete in the scratch folder is only stored.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from threading import Event, Lock
from typing import TextIO

from pydantic import BaseModel

from core import vault
from core.errors import Cancelled, SecateurError
from core.exhaustion import named_exhaustion
from core.jobs.objects import objects_of
from core.processes import die_with_parent
from core.progress import Progress, Report
from core.store.base import ObjectStore
from core.store.manifest import MANIFEST, read
from core.store.urls import open_store
from core.stored_points import Run, StoredPoints
from core.telemetry import relayed
from workers.measuring import measured
from workers.memory import be_taken_first
from workers.protocol import (
    Done,
    Failed,
    Moved,
    Planned,
    Remark,
    Request,
    Result,
    Stopped,
    is_complete,
    out_of,
    understood,
)
from workers.pushing import push_result
from workers.tracking import track
from workers.uploads import RUN_SHARE, Uploads

logger = logging.getLogger(__name__)

Tell = Callable[[BaseModel], None]


def main() -> int:
    """Run the request on stdin; 0 when its result is in the store."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lines = _take_stdout()
    request, secrets = understood(sys.stdin.buffer.read())
    vault.hold(secrets)
    die_with_parent(request.supervisor)
    be_taken_first()
    relayed.configure_sender(request.log_level)
    # It tells of every request with its whole URL, and a signed one is as good as a key.
    logging.getLogger("httpx").setLevel(logging.WARNING)

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

    phase = ""

    def report(progress: Progress) -> None:
        nonlocal phase
        if stop.is_set() or os.getppid() != request.supervisor:
            raise Cancelled("the run was asked to stop.")
        if progress.forecast is not None:
            tell(Planned(forecast=progress.forecast))
        if progress.phase != phase:
            phase = progress.phase
            tell(measured())
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
        tell(measured(uploads.sent_bytes, uploads.result_bytes))
        return Done(manifest_key=key, stored_bytes=_stored_bytes(out))
    except Cancelled:
        return Stopped()
    except Exception as error:
        logger.exception("the run failed")
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
    if exhausted := named_exhaustion(error):
        return exhausted
    line = " ".join(str(error).split())[:500]
    return SecateurError(
        f"{type(error).__name__}: {line}".rstrip(": "),
        remedy="This is a defect: please report it with the worker's log.",
    )


def _stored_bytes(out: Path) -> int:
    """What the result takes in the store: every file, the manifest included."""
    data = (out / MANIFEST).read_bytes()
    return len(data) + sum(file.bytes for file in read(data).files)


def _scaled(report: Report) -> Report:
    def scaled(progress: Progress) -> None:
        report(replace(progress, fraction=progress.fraction * RUN_SHARE))

    return scaled


def _take_stdout() -> TextIO:
    """The real stdout for our lines alone: what libraries print goes to stderr."""
    ours = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return os.fdopen(ours, "w", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
