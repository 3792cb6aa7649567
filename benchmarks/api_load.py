"""How long an API on one core takes to answer while many poll it and jobs are submitted.

    python benchmarks/api_load.py [--database sqlite|postgres] [--jobs 10000] [--seconds 30]

The API is one process on one core of its own; who asks is on the others, and so are the databases. 200 pollers ask
throughout each round, each once a second: first for `/healthz`,
which does nothing and so is the floor that machine, Python and HTTP set; then with `If-None-Match` for a
job each, while 20 jobs a second are submitted and as many change; then likewise, while 10 lists with
filters a second are read. `stolen` is the share of the API's core that the host gave to other guests during the
round, as the kernel counts it: where it is not near zero, the figures are theirs as well.
The database holds `--jobs` jobs of two tenants before the first round.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from statistics import quantiles
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil

from core.jobs.keys import KeyStore
from core.jobs.migrate import migrate
from core.jobs.store import JobStore
from core.progress import Progress
from core.spec import parse_spec
from secateur.broker import Broker, free_port
from tests.faults.farm import clean_environment, wait_for
from tests.postgres import running_postgres

POLLERS = 200
SUBMITS_A_SECOND = 20
LISTS_A_SECOND = 10
TENANTS = ("a", "b")
MODELS = ("example:kjv-dlm", "file:///models/one", "file:///models/two")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Round:
    """One round's answers."""

    name: str
    seconds: list[float] = field(default_factory=list)
    stolen: float = 0.0
    """The share of the API's core that other guests of the same host had meanwhile."""
    statuses: dict[int, int] = field(default_factory=dict)

    def add(self, answer: "Answer", seconds: float) -> None:
        self.seconds.append(seconds)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    etag: str


class Line:
    """One connection that stays open between questions.

    Written out by hand: a client library takes longer for a question than the server for its answer, and
    what is timed with one is the client.
    """

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._always = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, path: str, *, etag: str | None = None, body: dict[str, Any] | None = None
    ) -> Answer:
        """GET, or POST where there is a body."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\n{self._always}"
        if etag is not None:
            head += f"If-None-Match: {etag}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        async with self._turn:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(f"{head}\r\n".encode() + content)
            told = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            headers = dict(line.split(": ", 1) for line in told.split("\r\n")[1:] if line)
            await reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(told.split(" ", 2)[1]), headers.get("etag", ""))

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


@dataclass(frozen=True)
class Api:
    """A server on one core, and what is needed to ask and to change it."""

    url: str
    keys: dict[str, str]
    jobs: JobStore
    ids: list[str]
    """Jobs of the first tenant that run."""
    core: int
    """What the API has to itself."""


def spec(number: int) -> dict[str, Any]:
    return {
        "model": {"source": MODELS[number % len(MODELS)]},
        "method": ("wanda", "sink-wanda", "sparsegpt")[number % 3],
        "sparsity": 0.5,
        "metadata": {"team": f"team-{number % 7}", "run": str(number)},
    }


def fill(jobs: JobStore, count: int) -> list[str]:
    """`count` jobs in many states; the ids of 200 that run and belong to the first tenant."""
    running: list[str] = []
    for number in range(count):
        now = NOW + timedelta(seconds=number)
        job_id = jobs.create(TENANTS[number % 5 == 0], parse_spec(spec(number)), now).id
        if number % 5 == 1 and len(running) < POLLERS:
            jobs.claim(job_id, "worker", now, 1e8)
            running.append(job_id)
        elif number % 3:
            jobs.cancel(TENANTS[number % 5 == 0], job_id, now)
    return running


@contextmanager
def serving(database: str, count: int) -> Iterator[Api]:
    """The API by its own command, on the first core this process may use."""
    cores = os.sched_getaffinity(0)
    first = {min(cores)}
    others = cores - first or cores
    os.sched_setaffinity(0, others)  # which the databases inherit
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secateur-load-")))
        url = f"sqlite:///{folder}/jobs.db"
        if database == "postgres":
            url = stack.enter_context(running_postgres()).new_database()
        migrate(url)
        jobs, keys = stack.enter_context(JobStore.open(url)), KeyStore.open(url)
        made = {
            t: keys.create(t, "load", ("jobs:read", "jobs:write"), NOW, token_bytes)
            for t in TENANTS
        }
        print(f"filling {database} with {count} jobs", file=sys.stderr)
        ids = fill(jobs, count)
        (folder / "broker").mkdir()
        broker = Broker(folder / "broker")
        stack.callback(broker.start(folder / "broker.log").kill)
        wait_for(broker.answers, "the broker")
        port = free_port("127.0.0.1")
        settings = {"DATABASE_URL": url, "BROKER_URL": broker.url, "STORE_URL": f"file://{folder}/s",
                    "MODEL_ROOTS": "/models"}  # fmt: skip
        os.sched_setaffinity(0, first)  # which the API inherits
        with (folder / "api.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "secateur.cli", "api", "--port", str(port)],
                env=clean_environment() | {f"SECATEUR_{k}": v for k, v in settings.items()},
                stdout=log,
                stderr=log,
            )
        os.sched_setaffinity(0, others)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        base = f"http://127.0.0.1:{port}"
        wait_for(lambda: _serves(base), "the API", (folder / "api.log").read_text)
        yield Api(base, {t: key.text for t, key in made.items()}, jobs, ids, min(first))


def _serves(base: str) -> bool:
    try:
        return httpx.get(f"{base}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


Ask = Callable[[Line, int], Awaitable[Answer]]


Clients = Sequence[Line]
"""One for each poller."""


async def poll(clients: Clients, found: Round, ask: Ask, seconds: float) -> None:
    """Every poller asks once a second, each at a moment of its own, until the time is over."""
    end = perf_counter() + seconds

    async def one(number: int) -> None:
        await asyncio.sleep(number / POLLERS)
        while (began := perf_counter()) < end:
            response = await ask(clients[number], number)
            took = perf_counter() - began
            found.add(response, took)
            await asyncio.sleep(max(1 - took, 0))

    await asyncio.gather(*(one(number) for number in range(POLLERS)))


async def steadily(clients: Clients, found: Round, ask: Ask, pace: int, seconds: float) -> None:
    """`pace` questions a second, whether or not earlier ones have been answered."""

    async def one(number: int) -> None:
        began = perf_counter()
        response = await ask(clients[number % len(clients)], number)
        found.add(response, perf_counter() - began)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(seconds * pace)):
            tasks.create_task(one(number))
            await asyncio.sleep(1 / pace)


async def change(api: Api, seconds: float) -> None:
    """What workers write meanwhile: progress of the jobs that are polled."""

    def write(step: int) -> None:
        job_id = api.ids[step % len(api.ids)]
        api.jobs.progress(job_id, 1, Progress("pruning", 0.5, f"step {step}"), NOW, None)

    began = perf_counter()
    for step in range(int(seconds * SUBMITS_A_SECOND)):
        await asyncio.to_thread(write, step)
        await asyncio.sleep(began + (step + 1) / SUBMITS_A_SECOND - perf_counter())


def floor() -> Ask:
    async def ask(line: Line, _: int) -> Answer:
        return await line.ask("/healthz")

    return ask


def jobs_by_etag(api: Api) -> Ask:
    etags: dict[int, str] = {}

    async def ask(line: Line, number: int) -> Answer:
        path = f"/v1/jobs/{api.ids[number % len(api.ids)]}"
        answer = await line.ask(path, etag=etags.get(number, '""'))
        etags[number] = answer.etag
        return answer

    return ask


def posts() -> Ask:
    async def ask(line: Line, number: int) -> Answer:
        return await line.ask("/v1/jobs", body=spec(number))

    return ask


def lists() -> Ask:
    chance = random.Random(0)  # noqa: S311 - the same questions every time

    async def ask(line: Line, _: int) -> Answer:
        query: dict[str, str | int] = chance.choice(
            [
                {"state": "queued", "limit": 20},
                {"state": "cancelled", "method": "wanda", "limit": 20},
                {"model": MODELS[1], "limit": 20},
                {"metadata.team": f"team-{chance.randrange(7)}", "limit": 20},
                {"metadata.run": str(chance.randrange(10_000)), "limit": 20},
                {"limit": 50},
            ]
        )
        return await line.ask(f"/v1/jobs?{urlencode(query)}")

    return ask


@contextmanager
def measured(api: Api, *found: Round) -> Iterator[None]:
    """Note what was stolen from the API's core during a round."""
    before, began = psutil.cpu_times(percpu=True)[api.core].steal, perf_counter()
    yield
    stolen = psutil.cpu_times(percpu=True)[api.core].steal - before
    for each in found:
        each.stolen = stolen / (perf_counter() - began)


async def rounds(api: Api, seconds: float) -> list[Round]:
    floor_ = Round("/healthz, the floor")
    with ExitStack() as stack:
        port, key = int(api.url.rpartition(":")[2]), api.keys["a"]
        clients, posters, listers = [
            [Line(port, key) for _ in range(count)]
            for count in (POLLERS, SUBMITS_A_SECOND, LISTS_A_SECOND)
        ]
        for line in (*clients, *posters, *listers):
            stack.callback(line.close)
        polls = jobs_by_etag(api)
        warm = Round("opens connections, learns the first ETags")
        await asyncio.gather(
            poll(clients, warm, polls, 3), steadily(posters, warm, posts(), SUBMITS_A_SECOND, 3)
        )
        with measured(api, floor_):
            await poll(clients, floor_, floor(), seconds)
        found = [floor_]
        for beside in ("", ", beside lists"):
            polled, posted = Round(f"a job, by its ETag{beside}"), Round(f"POST /v1/jobs{beside}")
            listed = Round("lists with filters")
            with measured(api, polled, posted, listed):
                await asyncio.gather(
                    poll(clients, polled, polls, seconds),
                    steadily(posters, posted, posts(), SUBMITS_A_SECOND, seconds),
                    change(api, seconds),
                    steadily(listers, listed, lists(), LISTS_A_SECOND if beside else 0, seconds),
                )
            found += [polled, posted] + [listed] * bool(beside)
    return found


def table(found: list[Round]) -> str:
    lines = [
        "| what | answers | p50 ms | p99 ms | longest ms | p99 over the floor's | stolen |",
        "|---" * 7 + "|",
    ]
    base = _percentile(found[0], 99)
    for each in found:
        told = ", ".join(f"{count} × {status}" for status, count in sorted(each.statuses.items()))
        p50, p99 = _percentile(each, 50), _percentile(each, 99)
        lines.append(
            f"| {each.name} | {told} | {p50:.1f} | {p99:.1f} | {1e3 * max(each.seconds):.1f}"
            f" | {p99 - base:+.1f} ms | {each.stolen:.0%} |"
        )
    return "\n".join(lines)


def _percentile(found: Round, percent: int) -> float:
    return 1e3 * quantiles(found.seconds, n=100)[percent - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="postgres")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    wanted = parser.parse_args()
    with serving(wanted.database, wanted.jobs) as api:
        found = asyncio.run(rounds(api, wanted.seconds))
    cpus = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(table(found))
    print(f"\n{wanted.database}, {wanted.jobs} jobs, {json.dumps(cpus)}")


if __name__ == "__main__":
    main()
