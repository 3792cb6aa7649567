"""Waiting for a job as a pipeline has to: with a deadline, and through a server's restart."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from core.errors import StoreUnavailable
from core.jobs.states import TERMINAL, State
from core.jobs.views import Event, Job
from core.report.conditions import Condition
from core.waiting_errors import NoPlaceToWait, TooManyWaiting
from secateur.cli._board import board
from secateur.cli._gate import Conclusion
from secateur.cli._output import note
from secateur.cli._remote import show
from secateur.client import Client
from secateur.job_calls import LONG_POLL
from secateur.problems import Unreachable, WaitedTooLong

PATIENCE: Final = 120.0
"""Seconds without an answer after which a server is given up; a restart takes fewer."""
_PAUSE: Final = 1.0


def wait(
    client: Client,
    job_id: str,
    show: Callable[[Event], None],
    *,
    timeout: float | None = None,
    patience: float = PATIENCE,
) -> Job:
    """The job once it has ended, in whatever state; every event has gone through `show`.

    Raises:
        WaitedTooLong: it goes on after `timeout` seconds; the job is left alone.
        Unreachable, StoreUnavailable: no answer for `patience` seconds.
    """
    began = answered = time.monotonic()
    seen = 0
    job: Job | None = None
    while True:
        try:
            job = client.get(job_id) if job is None else _next(client, job, began, timeout)
            # The state was read first: no event follows the one that ends a job.
            for event in client.events(job_id, after=seen, follow=False):
                seen = event.id
                show(event)
            answered = time.monotonic()
            if job.state in TERMINAL:
                return job
        except (Unreachable, StoreUnavailable) as error:
            if time.monotonic() - answered > patience:
                raise
            note(f"waiting for the server: {error.message}")
            job = None
        if timeout is not None and time.monotonic() - began > timeout:
            raise WaitedTooLong(
                f"job {job_id} has not ended after {timeout:g} seconds.",
                remedy=f"It goes on: secateur watch {job_id}, or secateur cancel {job_id}.",
            )
        # News may come several times a second, which is more often than anybody reads.
        time.sleep(_PAUSE if timeout is None else min(_PAUSE, timeout / 10))


def _next(client: Client, job: Job, began: float, timeout: float | None) -> Job:
    """The job once something has happened to it, or as it is after some seconds."""
    left = LONG_POLL if timeout is None else began + timeout - time.monotonic()
    try:
        return client.changed(job, seconds=max(0.0, min(LONG_POLL, left)))
    except (TooManyWaiting, NoPlaceToWait):
        return client.get(job.id)


def conclude(
    client: Client,
    job: Job,
    conditions: Sequence[Condition],
    url: str,
    *,
    timeout: float | None = None,
) -> Conclusion:
    """Wait for `job` with its progress on stderr, then hold its report against `conditions`."""
    name = str(job.spec["method"])
    try:
        with board([name]) as shown:
            ended = wait(client, job.id, partial(show, shown, name), timeout=timeout)
    except WaitedTooLong as error:
        return Conclusion("timed-out", job=client.get(job.id), url=url, waited=error)
    if ended.state is State.FAILED:
        return Conclusion("job-failed", job=ended, url=url)
    if ended.state is State.CANCELLED:
        return Conclusion("job-cancelled", job=ended, url=url)
    return Conclusion.of_report(client.report(job.id), conditions, ended, url)
