"""Reads what a world has left, and says what is wrong with it."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from core.errors import StoreError
from core.jobs.states import NEXT, TERMINAL, State
from core.jobs.views import Event, Job
from core.store import manifest
from core.store.base import ObjectStore
from tests.chaos.clients import Users
from tests.chaos.entry import REAL
from tests.chaos.harms import Harm
from tests.chaos.watcher import LOOK_SECONDS, Seen
from tests.chaos.world import RECOVERY_SECONDS, World

BLINDING = frozenset({"restart_database", "move_clock", "stop_worker", "fill_disk"})
"""Harms during which nobody can be expected to find a lost worker: without the database, by a
clock that is off, or by a worker that stands still itself."""

SLACK_SECONDS = 2.0
"""For a machine whose two cores run a dozen processes; the figures say what it really took."""


@dataclass
class Verdict:
    """What a run has shown. `wrong` is empty, or the service is broken."""

    wrong: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    attempts: Counter[int] = field(default_factory=Counter)
    events: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a worker's death to the end of its hold on a job."""
    blinded: int = 0
    """Deaths whose recovery overlapped with a harm in `BLINDING`."""

    @property
    def recovery(self) -> tuple[float, float] | None:
        """Median and maximum in seconds."""
        if not self.recoveries:
            return None
        return median(self.recoveries), max(self.recoveries)


def judge(world: World, users: Users, seen: Seen, harms: list[Harm]) -> Verdict:
    """Hold the rows, the events and the objects against each other and against what users saw."""
    verdict = Verdict()
    jobs = {job.id: job for job in _all_jobs(world)}
    verdict.wrong += _acceptance(users, set(jobs))
    digests: set[tuple[str, ...]] = set()
    for job in jobs.values():
        events = world.events(job.id)
        verdict.events += len(events)
        verdict.outcomes[_outcome(job)] += 1
        verdict.attempts[job.attempt] += 1
        found = [*_events(job, events), *_rows(job, seen), *_followed(events, users, job.id)]
        named = world.jobs.manifest_key("default", job.id)
        found += _objects(world.store, job, named)
        if job.metadata.get("kind") == REAL and named and not found:
            digests.add(_model_digests(world.store, named))
        verdict.wrong += [f"{job.id}: {line}" for line in found]
    if len(digests) > 1:
        verdict.wrong.append(f"one spec gave {len(digests)} different models")
    _recoveries(verdict, seen, harms)
    return verdict


def _all_jobs(world: World) -> Iterator[Job]:
    after = None
    while True:
        page = world.jobs.list("default", limit=200, after=after)
        yield from page.data
        if (after := page.next) is None:
            return


def _acceptance(users: Users, ids: set[str]) -> Iterator[str]:
    accepted = set(users.accepted.values())
    if missing := accepted - ids:
        yield f"{len(missing)} accepted jobs are not there, such as {min(missing)}"
    if surplus := ids - accepted:
        yield f"{len(surplus)} jobs were never asked for, such as {min(surplus)}"
    if users.differing:
        yield f"one idempotency key, two jobs: {users.differing[0]}"
    if users.refused:
        yield f"{len(users.refused)} posts were refused, the first with {users.refused[0]}"


def _outcome(job: Job) -> str:
    return f"failed: {job.error.code}" if job.error else job.state.value


def _events(job: Job, events: list[Event]) -> Iterator[str]:
    if [event.id for event in events] != list(range(1, len(events) + 1)):
        yield "its events have a gap"
    states = [State(event.data["state"]) for event in events if event.type == "state"]
    if states[:1] != [State.QUEUED]:
        yield "its history does not begin in the queue"
    for now, then in pairwise(states):
        if then not in NEXT[now]:
            yield f"it went from {now} to {then}"
    ends = [event for event in events if event.data.get("state") in TERMINAL]
    if ends != events[-1:] or job.state not in TERMINAL:
        yield f"it is {job.state}, and its history has {len(ends)} ends"
    elif states[-1] is not job.state:
        yield f"it is {job.state}, and its history ends with {states[-1]}"
    if (starts := states.count(State.RUNNING)) != job.epoch:
        yield f"it was started {starts} times and is at epoch {job.epoch}"


def _rows(job: Job, seen: Seen) -> Iterator[str]:
    if len(ends := seen.ends.get(job.id, [])) > 1:
        yield f"it ended as {' and '.join(ends)}"
    if len(named := seen.manifests.get(job.id, set())) > 1:
        yield f"it named the manifests {' and '.join(sorted(named))}"


def _followed(events: list[Event], users: Users, job_id: str) -> Iterator[str]:
    if job_id in users.to_follow and users.followed.get(job_id) != [event.id for event in events]:
        given = users.followed.get(job_id, [])
        yield f"its follower was given {given[-3:]} at last, and it has {len(events)} events"


def _objects(store: ObjectStore, job: Job, named: str | None) -> Iterator[str]:
    sizes = {info.key: info.bytes for info in store.list(f"jobs/{job.id}/")}
    keys = set(sizes)
    if job.state is not State.SUCCEEDED:
        if named or keys:
            yield f"it is {job.state}, and has left {len(keys)} objects"
        return
    prefix = f"jobs/{job.id}/{job.epoch}/"
    if named != f"{prefix}{manifest.MANIFEST}":
        yield f"epoch {job.epoch} has won, and the manifest is {named}"
        return
    try:
        files = manifest.read(store.read_bytes(named)).files
        if keys != {named, *(prefix + file.name for file in files)}:
            yield "the store holds other objects than the manifest names"
            return
        wrong = [f.name for f in files if sizes[prefix + f.name] != f.bytes]
        # Reading verifies the digest that the object was stored with.
        digests = {f.name: _sha256(store, prefix + f.name) for f in files}
    except StoreError as error:
        yield f"its objects cannot be read: {error}"
        return
    wrong += [file.name for file in files if digests[file.name] != file.sha256]
    if wrong:
        yield f"other bytes than the manifest names: {wrong[0]}"
    stamp = f"{prefix}epoch.txt"
    if stamp in keys and store.read_bytes(stamp) != f"{job.epoch}\n".encode():
        yield "a stale run's object stands in the winner's folder"


def _sha256(store: ObjectStore, key: str) -> str:
    return hashlib.sha256(store.read_bytes(key)).hexdigest()


def _model_digests(store: ObjectStore, named: str) -> tuple[str, ...]:
    files = manifest.read(store.read_bytes(named)).files
    return tuple(sorted(file.sha256 for file in files if file.name.startswith("model/")))


def _recoveries(verdict: Verdict, seen: Seen, harms: list[Harm]) -> None:
    blind = [(h.began, h.ended) for h in harms if h.name in BLINDING]
    for harm in harms:
        for held in harm.bereft:
            freed = seen.left.get(held)
            if freed is None or freed <= harm.began:  # it ended before it was hit
                continue
            if any(
                begin < freed and harm.began < end for begin, end in blind if begin != harm.began
            ):
                verdict.blinded += 1
                continue
            verdict.recoveries.append(freed - harm.began)
    limit = RECOVERY_SECONDS + LOOK_SECONDS + SLACK_SECONDS
    verdict.wrong += [
        f"a job was recovered after {seconds:.1f} s, later than {limit:.1f}"
        for seconds in verdict.recoveries
        if seconds > limit
    ]
