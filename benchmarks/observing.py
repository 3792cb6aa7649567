"""What it costs to look on: microseconds of CPU a request, milliseconds for the figures of many jobs.

    python benchmarks/observing.py [--requests 3000] [--rounds 7] [--jobs 100000]

One asynchronous route of a FastAPI is called without a socket: bare, observed without log lines, and with a
JSON line for each request. They take turns, and the median round counts. The figures are read from SQLite,
with so many jobs that have ended and a hundredth of them that have not.
"""

import argparse
import asyncio
import io
import logging
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import process_time

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from sqlalchemy import insert
from starlette.types import ASGIApp, Message

from api import observed
from api.metrics import HttpMetrics
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.records import JobRecord, TallyRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from core.telemetry import logs
from core.telemetry.tracing import Untraced

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/empty",
    "raw_path": b"/empty",
    "query_string": b"",
    "headers": [(b"host", b"127.0.0.1")],
    "http_version": "1.1",
    "scheme": "http",
}


def app(*, watched: bool) -> ASGIApp:
    made = FastAPI()

    @made.get("/empty")
    async def empty() -> dict[str, str]:
        return {}

    if watched:
        numbers = iter(range(10**9))
        http = HttpMetrics(CollectorRegistry())
        observed.install(made, http, Untraced(), lambda: f"{next(numbers):032x}")
    return made


async def _ask(asked: ASGIApp, requests: int) -> float:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    began = process_time()
    for _ in range(requests):
        await asked({**SCOPE, "state": {}}, receive, send)
    return (process_time() - began) / requests * 1e6


def requests(count: int, rounds: int) -> dict[str, float]:
    bare, watched = app(watched=False), app(watched=True)

    def lines(level: str) -> Callable[[], None]:
        return lambda: logs.configure("json", level, "api", io.StringIO())

    kinds: dict[str, tuple[ASGIApp, Callable[[], None]]] = {
        "bare": (bare, lines("WARNING")),
        "observed, no lines": (watched, lines("WARNING")),
        "observed, JSON lines": (watched, lines("INFO")),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds + 1):  # the first one warms up
        for name, (asked, prepare) in kinds.items():
            prepare()
            found[name].append(asyncio.run(_ask(asked, count)))
    logging.disable()
    return {name: median(times[1:]) for name, times in found.items()}


def figures(jobs: int, folder: Path) -> float:
    url = f"sqlite:///{folder}/jobs.db"
    migrate(url)
    database, now = Database(url), datetime.now(UTC)
    with database.write() as session:
        for start in range(0, jobs, 5000):
            session.execute(insert(JobRecord), [_row(n, now) for n in range(start, start + 5000)])
        counts = [{"name": "jobs_accepted", "label": "", "bucket": "", "value": 1.0}] * 500
        session.execute(insert(TallyRecord), counts)
    database.close()
    with JobStore.open(url) as store:
        took = []
        for _ in range(10):
            began = process_time()
            store.figures()
            took.append(process_time() - began)
    return median(took) * 1e3


def _row(number: int, now: datetime) -> dict[str, object]:
    waits = number % 100 == 0
    at = now + timedelta(seconds=number)
    return {
        "id": f"job_{number:024x}", "tenant": "t", "progress": 0.0, "message": "", "attempt": 1,
        "state": State.QUEUED if waits else State.SUCCEEDED, "epoch": 1, "swept": True,
        "version": 1, "last_event": 1, "created_at": at, "queued_at": at, "method": "wanda",
        "spec": {"model": {"source": "x" * 500}}, "model": "m", "labels": {}, "priority": 0,
        "manifest_key": None if waits else "k", "result_bytes": None if waits else 10**9,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=100_000)
    wanted = parser.parse_args()
    for name, microseconds in requests(wanted.requests, wanted.rounds).items():
        print(f"{name:24} {microseconds:7.1f} us a request")
    with tempfile.TemporaryDirectory() as folder:
        print(f"figures of {wanted.jobs} jobs   {figures(wanted.jobs, Path(folder)):7.1f} ms")


if __name__ == "__main__":
    main()
