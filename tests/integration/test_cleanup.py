"""What `secateur gc` removes and what it must not, on every database and every store."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from core.cleanup import Cleaned, Tally, Unknown, abort_uploads, clean, sweep
from core.jobs.migrate import migrate
from core.jobs.objects import objects_of, resume_of
from core.jobs.reaping import Ended
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.retention import Retention, Rule
from core.spec import parse_spec
from core.store.base import ObjectStore
from core.store.local import LocalStore
from core.store.s3 import S3Store
from core.sweep_spec import parse_sweep, planned
from tests.buckets import new_bucket

NOW = datetime.now(UTC).replace(microsecond=0)
SPEC = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
STRANGER = "job_" + "0" * 24
MONTH = Retention({"default": Rule(ttl_days=30)})
NEVER = Retention({})


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@dataclass
class Bench:
    jobs: JobStore
    store: ObjectStore

    def queued(self, tenant: str = "default") -> str:
        return self.jobs.create(tenant, SPEC, days_ago(100)).id

    def claimed(self, job_id: str) -> int:
        """The epoch of a run that has stored something."""
        claim = self.jobs.claim(job_id, "worker", days_ago(100), 60)
        assert claim is not None
        for name in ("model/weights", "manifest.json"):
            self.store.put_bytes(f"{objects_of(job_id, claim.epoch)}/{name}", b"12345")
        return claim.epoch

    def succeeded(self, days: float, tenant: str = "default") -> str:
        job_id = self.queued(tenant)
        key = f"{objects_of(job_id, self.claimed(job_id))}/manifest.json"
        self.jobs.succeed(job_id, 1, key, days_ago(days))
        self.jobs.swept(Ended(job_id, 1, key))
        return job_id

    def keys(self, job_id: str) -> list[str]:
        return [info.key for info in self.store.list(f"jobs/{job_id}/")]

    def clean(
        self,
        retention: Retention,
        *,
        unknown: bool = False,
        dry_run: bool = False,
        days: float = 0,
    ) -> Cleaned:
        now = NOW + timedelta(days=days)
        return clean(self.jobs, self.store, retention, now, unknown=unknown, dry_run=dry_run)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    return S3Store(replace(new_bucket(request.getfixturevalue("s3")), prefix="some/where"))


@pytest.fixture
def bench(database_url: str, store: ObjectStore) -> Iterator[Bench]:
    migrate(database_url)
    with JobStore.open(database_url) as jobs:
        yield Bench(jobs, store)


def swept(bench: Bench) -> tuple[str, str]:
    """A sweep of one job with a result of 31 days ago, and what it keeps for its jobs."""
    data = {"base": SPEC.model_dump(mode="json"), "grid": {"sparsity": [0.5]}}
    made = bench.jobs.create_sweep("default", planned(parse_sweep(data)), days_ago(100)).sweep
    assert made.cells is not None
    job_id = made.cells[0].job or ""
    key = f"{objects_of(job_id, bench.claimed(job_id))}/manifest.json"
    bench.store.put_bytes(f"sweeps/{made.id}/dense/a.safetensors", b"1234567")
    assert bench.clean(NEVER).removed == Tally()  # its job runs
    bench.jobs.succeed(job_id, 1, key, days_ago(31))
    bench.jobs.swept(Ended(job_id, 1, key))
    return made.id, job_id


def test_what_a_sweep_keeps_goes_with_the_last_result(bench: Bench) -> None:
    sweep_id, _ = swept(bench)
    assert bench.clean(NEVER).removed == Tally()
    would = bench.clean(MONTH, dry_run=True)
    assert would.removed == Tally(objects=3, bytes=17)
    assert [info.key for info in bench.store.list("sweeps/")] == [
        f"sweeps/{sweep_id}/dense/a.safetensors"
    ]
    assert bench.clean(MONTH).removed == would.removed
    assert list(bench.store.list("sweeps/")) == []
    assert bench.jobs.sweep("default", sweep_id).state == "succeeded"


def test_a_deleted_sweep_is_finished_off_and_an_unknown_one_waits_a_day(bench: Bench) -> None:
    sweep_id, _ = swept(bench)
    bench.jobs.bury_sweep("default", sweep_id, NOW)
    bench.clean(NEVER)
    assert list(bench.store.list("")) == []
    assert (bench.jobs.buried_sweeps(), bench.jobs.buried()) == ([], [])
    bench.store.put_bytes(f"sweeps/swp_{'0' * 24}/dense/a", b"12345")
    for days, unknown, count in ((2, False, 1), (0, True, 1), (2, True, 0)):
        bench.clean(NEVER, unknown=unknown, days=days)
        assert len(list(bench.store.list("sweeps/"))) == count, (days, unknown)


def test_old_results_go_with_all_their_objects(bench: Bench) -> None:
    old, young = bench.succeeded(31), bench.succeeded(29)
    before = bench.jobs.get("default", old)
    done = bench.clean(MONTH)
    assert (done.expired_jobs, done.removed) == (1, Tally(objects=2, bytes=10))
    assert bench.keys(old) == []
    assert len(bench.keys(young)) == 2
    job = bench.jobs.get("default", old)
    assert (job.state, job.expired_at) == ("succeeded", NOW)
    assert job.version == before.version + 1
    last = bench.jobs.events("default", old).data[-1]
    assert (last.type, last.message, last.created_at) == ("log", "artifacts expired", NOW)
    assert bench.clean(MONTH) == Cleaned(dry_run=False)


def test_every_tenant_has_its_own_rule(bench: Bench) -> None:
    rules = Retention({"default": Rule(ttl_days=30), "b": Rule(keep_last=2), "c": Rule()})
    kept = [bench.succeeded(n, "b") for n in (40, 50)]
    gone = [bench.succeeded(n, "b") for n in (60, 70)]
    kept += [bench.succeeded(99, "c"), bench.succeeded(3, "other")]
    gone += [bench.succeeded(31, "other")]
    assert bench.clean(rules).expired_jobs == 3
    assert [len(bench.keys(job_id)) for job_id in kept] == [2] * 4
    assert [bench.keys(job_id) for job_id in gone] == [[]] * 3


def test_a_dry_run_changes_nothing_and_says_what_would_go(bench: Bench) -> None:
    old, unswept = bench.succeeded(31), bench.queued()
    bench.jobs.fail(unswept, bench.claimed(unswept), Failure(code="bad-data", message=""), NOW)
    bench.store.put_bytes(f"jobs/{STRANGER}/1/k", b"123")
    everything = list(bench.store.list(""))
    before = [bench.jobs.get("default", job_id) for job_id in (old, unswept)]
    told = bench.clean(MONTH, unknown=True, dry_run=True, days=2)
    assert list(bench.store.list("")) == everything
    assert [bench.jobs.get("default", job_id) for job_id in (old, unswept)] == before
    assert (told.expired_jobs, told.removed) == (1, Tally(objects=4, bytes=20))
    done = bench.clean(MONTH, unknown=True, days=2)
    assert done == told.model_copy(update={"dry_run": False})
    assert list(bench.store.list("")) == []


def test_live_jobs_are_never_touched(bench: Bench) -> None:
    running, cancelling, again = bench.queued(), bench.queued(), bench.queued()
    for job_id in (running, cancelling, again):
        bench.claimed(job_id)
    bench.jobs.cancel("default", cancelling, NOW)
    bench.jobs.requeue(again, 1, "died", NOW, max_attempts=3)
    everything = list(bench.store.list(""))
    harsh = Retention({"default": Rule(ttl_days=0.001)})
    assert bench.clean(harsh, unknown=True, days=99) == Cleaned(dry_run=False)
    assert list(bench.store.list("")) == everything
    for job_id in (running, cancelling, again, bench.queued()):
        assert not bench.jobs.expire(job_id, NOW)


def test_what_a_job_could_be_resumed_from_lives_as_long_as_the_job(bench: Bench) -> None:
    job_id = bench.queued()
    bench.claimed(job_id)
    bench.store.put_bytes(f"{resume_of(job_id, 1)}/index.json", b"{}")
    bench.jobs.requeue(job_id, 1, "died", NOW, max_attempts=3)
    epoch = bench.claimed(job_id)
    bench.store.put_bytes(f"{resume_of(job_id, epoch)}/00000-plan.safetensors", b"123")
    sweep(bench.jobs, bench.store)
    bench.clean(NEVER, unknown=True, days=9)
    assert len(bench.keys(job_id)) == 6
    key = f"{objects_of(job_id, epoch)}/manifest.json"
    bench.jobs.succeed(job_id, epoch, key, NOW)
    assert bench.clean(NEVER, dry_run=True).removed == Tally(objects=4, bytes=15)
    sweep(bench.jobs, bench.store)
    assert bench.keys(job_id) == [key, f"{objects_of(job_id, epoch)}/model/weights"]


def test_a_death_between_expiry_and_sweep_loses_nothing(bench: Bench) -> None:
    """Whoever sweeps next, a worker or another `gc`, finds what is left to do."""
    first, second = bench.succeeded(31), bench.succeeded(31)
    for job_id in (first, second):
        assert bench.jobs.expire(job_id, NOW)
        assert not bench.jobs.expire(job_id, NOW)
    bench.store.delete_prefix(objects_of(first, 1))  # died before it could say so
    sweep(bench.jobs, bench.store)
    assert bench.keys(second) == []
    assert bench.jobs.unswept() == []


def test_a_sweep_that_was_overtaken_by_an_expiry_is_done_again(bench: Bench) -> None:
    """A sweeper read the job while its result counted, and tells of its sweep after the expiry."""
    job_id = bench.queued()
    key = f"{objects_of(job_id, bench.claimed(job_id))}/manifest.json"
    bench.jobs.succeed(job_id, 1, key, days_ago(31))
    (seen,) = bench.jobs.unswept()
    assert bench.jobs.expire(job_id, NOW)
    bench.jobs.swept(seen)
    assert bench.jobs.unswept() == [Ended(job_id, 1, None)]
    bench.clean(NEVER)
    assert bench.keys(job_id) == []


def test_gc_races_with_runs_that_end_and_begin_again(bench: Bench) -> None:
    """Many cleanings while jobs die, are run again and succeed: every result is whole at its end."""
    ids = [bench.queued() for _ in range(6)]
    over = threading.Event()
    errors: list[BaseException] = []

    def keep_cleaning() -> None:
        while not over.is_set():
            try:
                bench.clean(MONTH, unknown=True, days=0)
            except BaseException as error:  # noqa: BLE001 - told by the assertion below
                errors.append(error)

    cleaner = threading.Thread(target=keep_cleaning)
    cleaner.start()
    try:
        for job_id in ids:
            bench.claimed(job_id)
            bench.jobs.requeue(job_id, 1, "died", NOW, max_attempts=3)
            epoch = bench.claimed(job_id)
            key = f"{objects_of(job_id, epoch)}/manifest.json"
            bench.jobs.succeed(job_id, epoch, key, NOW)
    finally:
        over.set()
        cleaner.join()
    assert errors == []
    bench.clean(MONTH)
    for job_id in ids:
        assert bench.keys(job_id) == [
            f"{objects_of(job_id, 2)}/manifest.json", f"{objects_of(job_id, 2)}/model/weights"
        ]  # fmt: skip


def test_what_unknown_left_goes_only_if_asked_for_and_old(bench: Bench) -> None:
    for name in ("1/model/weights", "1/manifest.json"):
        bench.store.put_bytes(f"jobs/{STRANGER}/{name}", b"123")
    others = ["elsewhere/k", "jobs/a-file", "jobs/notes/1/k"]
    for key in others:
        bench.store.put_bytes(key, b"not ours")
    found = Unknown(jobs=1, objects=2, bytes=6)
    assert bench.clean(NEVER, days=9).unknown_left == found
    young = bench.clean(NEVER, unknown=True, days=0.5)
    assert (young.unknown_left, young.unknown_removed) == (found, Unknown())
    assert len(bench.keys(STRANGER)) == 2
    old = bench.clean(NEVER, unknown=True, days=1.5)
    assert (old.unknown_left, old.unknown_removed) == (Unknown(), found)
    assert [info.key for info in bench.store.list("")] == others


def begin_upload(store: ObjectStore, key: str) -> None:
    """As a writer leaves it that dies at once."""
    if isinstance(store, S3Store):
        place = {"Bucket": store.options.bucket, "Key": store._key(key)}
        store._client.create_multipart_upload(**place)
        return
    assert isinstance(store, LocalStore)
    store._prepare()
    (store._incoming / f"{quote(key, safe='')}.12345678").write_bytes(b"half of")


def test_uploads_of_runs_that_are_over_are_aborted_and_no_others(bench: Bench) -> None:
    live, again, done = bench.queued(), bench.queued(), bench.succeeded(1)
    bench.claimed(live)
    for _ in range(2):
        bench.claimed(again)
        bench.jobs.requeue(again, _epoch(bench, again), "died", NOW, max_attempts=9)
    bench.claimed(again)
    going = [f"{objects_of(again, 1)}/k", f"{objects_of(again, 2)}/k", f"{objects_of(done, 1)}/k"]
    staying = [
        f"{objects_of(live, 1)}/k",  # a living worker's
        f"{objects_of(again, 3)}/k",
        f"{objects_of(live, 2)}/k",  # of a future that the database has not seen
        f"jobs/{STRANGER}/1/k",
        "jobs/notes/1/k",
    ]
    for key in (*going, *staying):
        begin_upload(bench.store, key)
    soon = NOW + timedelta(minutes=1)
    assert abort_uploads(bench.jobs, bench.store, soon, dry_run=True) == 3
    assert len(list(bench.store.uploads(""))) == 8
    assert bench.clean(NEVER, days=0.1).removed == Tally(uploads=3)
    assert {upload.key for upload in bench.store.uploads("")} == set(staying)
    told = bench.clean(NEVER, unknown=True, days=2)
    assert told.unknown_removed == Unknown(jobs=1, uploads=1)
    assert len(list(bench.store.uploads(""))) == 4


def _epoch(bench: Bench, job_id: str) -> int:
    return bench.jobs.get("default", job_id).epoch
