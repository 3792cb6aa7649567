"""What users do to a world: post jobs, again where no answer came, cancel some, follow others."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from core.jobs.states import TERMINAL
from tests.chaos.entry import REAL
from tests.chaos.watcher import Seen
from tests.chaos.world import World

FATES: Final = ("none",) * 20 + ("killed-once", "killed-once", "noisy", "no-memory", "defect")
_PAUSE: Final = 0.2
_LOST: Final = 0.2
_REAL_SPEC: Final = {
    "model": {"source": "example:kjv-dlm"},
    "method": "sink-wanda",
    "sparsity": 0.5,
    "calibration": {"samples": 2, "sequence_length": 64, "diffusion_steps": 10},
    "evaluation": {"nelbo": True, "agreement": False, "speed": False, "samples": 2},
    "metadata": {"kind": REAL},
    "priority": 1,
}


@dataclass
class Users:
    """What they were told, for the history to be held against."""

    accepted: dict[str, str] = field(default_factory=dict)
    """Idempotency key → the job that it made."""
    differing: list[str] = field(default_factory=list)
    """Keys that were answered with two jobs."""
    refused: list[str] = field(default_factory=list)
    """Answers that no user should get."""
    repeated: int = 0
    """Posts sent again because no answer had come."""
    lost: int = 0
    """Answers that were thrown away, as a line does that breaks, and asked for again."""
    cancelled: set[str] = field(default_factory=set)
    """Jobs whose cancellation was accepted."""
    followed: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of the events that a follower was given, in the order in which they came."""
    followed_to_the_end: set[str] = field(default_factory=set)

    @property
    def to_follow(self) -> list[str]:
        """Of those accepted early, so that each is followed to its end."""
        return list(self.accepted.values())[::7]


def specs(world: World) -> Iterator[dict[str, Any]]:
    """The jobs of the plan: real ones spread among stand-ins of many fates."""
    plan, chance = world.plan, world.random
    every = max(plan.jobs // plan.real, 1) if plan.real else plan.jobs + 1
    for number in range(plan.jobs):
        if number % every == 0 and number // every < plan.real:
            yield _REAL_SPEC
            continue
        wishes = {"seconds": f"{chance.uniform(0.05, 1):.2f}", "fate": chance.choice(FATES)}
        yield {
            "model": {"source": "example:kjv-dlm"},
            "sparsity": 0.5,
            "metadata": wishes,
            "priority": chance.choice([0, 0, 0, 1]),
        }


@contextmanager
def at_work(world: World, seen: Seen, posters: int = 2) -> Iterator[tuple[Users, threading.Event]]:
    """Users who act while the block runs; the event is set when they have posted all jobs.

    They keep the queue filled without ever holding everything: harms meet jobs in each state.
    """
    users, done, over = Users(), threading.Event(), threading.Event()
    waiting = 12 * world.plan.workers

    def keep_pace() -> None:
        while len(users.accepted) - seen.ended > waiting and not over.is_set():
            time.sleep(_PAUSE)

    tasks = list(enumerate(specs(world)))
    threads = [
        threading.Thread(target=_post_all, args=(world, users, tasks[i::posters], over, keep_pace))
        for i in range(posters)
    ]
    follower = threading.Thread(target=_follow, args=(world, users, over))
    for thread in (*threads, follower):
        thread.start()

    def wait() -> None:
        for thread in threads:
            thread.join()
        done.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    try:
        yield users, done
    finally:
        over.set()
        for thread in (waiter, follower):
            thread.join()


def _post_all(
    world: World,
    users: Users,
    tasks: list[tuple[int, dict[str, Any]]],
    over: threading.Event,
    keep_pace: Callable[[], None],
) -> None:
    chance = random.Random(tasks[0][0] if tasks else 0)
    for number, spec in tasks:
        lost = chance.random() < _LOST
        job_id = _post(world, users, f"chaos-{world.plan.seed}-{number}", spec, over, lost=lost)
        if job_id and spec["metadata"].get("kind") != REAL and chance.random() < 0.08:
            time.sleep(chance.uniform(0, 1))
            _cancel(world, users, job_id, over)
        keep_pace()


def _post(
    world: World,
    users: Users,
    key: str,
    spec: dict[str, Any],
    over: threading.Event,
    *,
    lost: bool,
) -> str | None:
    """The job that `key` made, asked until there is an answer; once more if the first one is `lost`.

    An API that is killed hardly ever dies between a job's commit and its answer.
    """
    while not over.is_set():
        response = _send(world, "POST", "/v1/jobs", json=spec, headers={"Idempotency-Key": key})
        if response is None or response.status_code in (409, 503):
            users.repeated += 1
            time.sleep(_PAUSE)
        elif response.status_code == 202:
            job_id = str(response.json()["id"])
            if users.accepted.setdefault(key, job_id) != job_id:
                users.differing.append(key)
            if not lost:
                return job_id
            lost = False
            users.lost += 1
        else:
            users.refused.append(f"{response.status_code} {response.text[:300]}")
            return None
    return None


def _cancel(world: World, users: Users, job_id: str, over: threading.Event) -> None:
    while not over.is_set():
        response = _send(world, "POST", f"/v1/jobs/{job_id}/cancel")
        if response is not None and response.status_code in (202, 409):
            if response.status_code == 202:
                users.cancelled.add(job_id)
            return
        time.sleep(_PAUSE)


def _follow(world: World, users: Users, over: threading.Event) -> None:
    """Read the events of some jobs as they come, from the last number on that was read."""
    while not over.wait(_PAUSE):
        for job_id in users.to_follow:
            if job_id in users.followed_to_the_end:
                continue
            seen = users.followed.setdefault(job_id, [])
            after = seen[-1] if seen else 0
            page = _send(world, "GET", f"/v1/jobs/{job_id}/events?after={after}")
            if page is None or page.status_code != 200:
                continue
            for event in page.json()["data"]:
                seen.append(event["id"])
                if event["data"].get("state") in TERMINAL:
                    users.followed_to_the_end.add(job_id)


def _send(world: World, method: str, path: str, **options: Any) -> httpx.Response | None:
    """The answer; None where there is none, as when the API is killed meanwhile."""
    with suppress(httpx.TransportError):
        return httpx.request(method, world.api_url + path, trust_env=False, timeout=10, **options)
    return None
