"""Every schema there has been: forward and back, on databases with data in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, insert, inspect, select, text

from core.errors import BadRequest
from core.jobs import migrations
from core.jobs.audit import Actor, AuditFilter
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.records import Base
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Event, Job
from core.quotas import NO_QUOTAS, Quota
from core.sweep_spec import parse_sweep, planned
from tests.contract.jobs import NOW, claimed, get, later, queued, spec

SCRIPTS: Final = str(Path(migrations.__file__).parent)


def revisions() -> list[str]:
    """Oldest first."""
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    found = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in found][::-1]


@contextmanager
def opened(database_url: str) -> Iterator[Database]:
    database = Database(database_url, pooled=False)
    try:
        yield database
    finally:
        database.close()


def move(database_url: str, revision: str, *, up: bool = False) -> None:
    """Leave the database as a version of ours with the schema `revision` would."""
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    with opened(database_url) as database, database.exclusive() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if up else command.downgrade)(config, revision)


def schema(database_url: str) -> dict[str, Any]:
    """Tables, their columns and their indexes."""
    with opened(database_url) as database, database.read() as session:
        found = inspect(session.connection())
        return {
            table: (
                sorted(
                    (c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)
                ),
                sorted((i["name"] or "", i["column_names"]) for i in found.get_indexes(table)),
                found.get_pk_constraint(table)["constrained_columns"],
                sorted(str(key["referred_table"]) for key in found.get_foreign_keys(table)),
            )
            for table in found.get_table_names()
        }


def filled(database_url: str) -> dict[str, tuple[Job, list[Event]]]:
    """A job in each state, with a history; as they are read."""
    with JobStore.open(database_url) as jobs:
        waiting, running, done, cancelled, failed = (
            queued(jobs, metadata={"team": "a"}, priority=n) for n in range(5)
        )
        for job_id in (running, done, failed):
            claimed(jobs, job_id)
            jobs.log(job_id, 1, "a \0 line 🌲", later(1), level="warning", data={"a": [1]})
        jobs.succeed(done, 1, f"jobs/{done}/1/manifest.json", later(2))
        jobs.requeue(failed, 1, "died", later(2), max_attempts=1)
        jobs.cancel("default", cancelled, later(3))
        made = read(jobs, [waiting, running, done, cancelled, failed])
    states = {job.state for job, _ in made.values()}
    assert states == set(State) - {State.CANCELLING}
    return made


def read(jobs: JobStore, ids: list[str]) -> dict[str, tuple[Job, list[Event]]]:
    """Each job, but for its runs, which the first schemas did not keep, and its history."""
    found: dict[str, tuple[Job, list[Event]]] = {}
    for job_id in ids:
        job = get(jobs, job_id).model_copy(update={"attempts": None, "plan": None})
        found[job_id] = job, jobs.events("default", job_id).data
    return found


@pytest.mark.parametrize("revision", revisions())
def test_jobs_and_their_histories_outlive_the_way_back_and_forth(
    database_url: str, revision: str
) -> None:
    migrate(database_url)
    before = filled(database_url)
    newest = schema(database_url)
    move(database_url, revision)
    with opened(database_url) as database, database.read() as session:
        tables = {name: len(session.execute(text(f"SELECT * FROM {name}")).all())
                  for name in ("jobs", "events")}  # fmt: skip
    assert tables == {"jobs": 5, "events": sum(len(events) for _, events in before.values())}
    migrate(database_url)
    assert schema(database_url) == newest
    with JobStore.open(database_url) as jobs:
        assert read(jobs, list(before)) == before
        assert jobs.manifest_key("default", list(before)[2])
        assert {job.id for job in jobs.list("default", metadata={"team": "a"}).data} == set(before)


@pytest.mark.parametrize("revision", revisions())
def test_what_a_version_of_that_schema_wrote_is_read_by_this_one(
    database_url: str, revision: str
) -> None:
    """The rows go in as they were then, without a model of today's."""
    move(database_url, revision, up=True)
    with opened(database_url) as database, database.write() as session:
        then = MetaData()
        then.reflect(session.connection(), only=["jobs", "events"])
        jobs_then, events_then = then.tables["jobs"], then.tables["events"]
        # SQLite's times are without a zone, and kept in UTC.
        moment = NOW.replace(tzinfo=None) if database_url.startswith("sqlite") else NOW
        session.execute(insert(jobs_then), job_row(moment))
        session.execute(
            insert(events_then),
            {"job_id": JOB, "number": 1, "created_at": moment, "level": "info", "type": "state",
             "message": "queued", "data": {"state": "queued"}},
        )  # fmt: skip
    migrate(database_url)
    with JobStore.open(database_url) as jobs:
        job = get(jobs, JOB)
        assert (job.state, job.created_at, job.metadata) == (State.FAILED, NOW, {"team": "a"})
        assert job.error is not None
        assert [event.message for event in jobs.events("default", JOB).data] == ["queued"]
        assert jobs.retry("default", JOB, NOW).state is State.QUEUED
    with opened(database_url) as database, database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []


JOB: Final = "job_0123456789abcdef01234567"


def job_row(moment: Any) -> dict[str, Any]:
    """A failed job as the first schema had it; later ones only add what may be missing."""
    return {
        "id": JOB, "tenant": "default", "state": "failed", "phase": "pruning", "progress": 0.5,
        "message": "why", "error": {"code": "bad-data", "message": "why", "remedy": ""},
        "attempt": 3, "epoch": 3, "swept": True, "version": 9, "last_event": 1,
        "created_at": moment, "queued_at": moment, "started_at": moment, "finished_at": moment,
        "spec": {"model": {"source": "example:x"}, "sparsity": 0.5}, "method": "wanda",
        "model": "example:x", "labels": {"team": "a"}, "priority": 0,
    }  # fmt: skip


def test_each_way_back_ends_where_the_way_there_was(database_url: str) -> None:
    seen: dict[str, dict[str, Any]] = {}
    for revision in revisions():
        move(database_url, revision, up=True)
        seen[revision] = schema(database_url)
    for revision in revisions()[-2::-1]:
        move(database_url, revision)
        assert schema(database_url) == seen[revision]
    move(database_url, "base")
    assert set(schema(database_url)) == {"alembic_version"}


def test_a_deleted_job_does_not_come_back_on_the_way_down(database_url: str) -> None:
    migrate(database_url)
    with JobStore.open(database_url) as jobs:
        kept, deleted = queued(jobs), queued(jobs)
        jobs.cancel("default", deleted, NOW)
        jobs.bury("default", deleted, NOW)
    move(database_url, "0003")
    with opened(database_url) as database, database.read() as session:
        assert session.scalars(text("SELECT id FROM jobs")).all() == [kept]
        assert set(session.scalars(text("SELECT job_id FROM events"))) == {kept}


def test_quotas_and_the_audit_log_come_and_go_and_no_job_with_them(database_url: str) -> None:
    migrate(database_url)
    by = Actor("default", "key_0123456789ab")
    with JobStore.open(database_url) as store:
        job = store.create("default", spec(), NOW, by=by)
        store.claim(job.id, "w", NOW, 60)
        store.succeed(job.id, 1, "key", NOW, stored_bytes=5)
        store.set_quota("default", Quota(queued_jobs=1), NOW, by=by)
        before = read(store, [job.id])
    move(database_url, "0003")
    migrate(database_url)
    with JobStore.open(database_url) as store:
        assert read(store, [job.id]) == before
        found = store.usage("default", NO_QUOTAS)
        assert (found.usage.stored_bytes, found.quota) == (0, Quota())
        assert store.audit(AuditFilter()).data == []


def test_the_jobs_of_a_sweep_outlive_it_on_the_way_down(database_url: str) -> None:
    migrate(database_url)
    asked = {"base": spec().model_dump(mode="json"), "grid": {"sparsity": [0.25, 0.5]}}
    with JobStore.open(database_url) as store:
        store.create_sweep("default", planned(parse_sweep(asked)), NOW)
        before = [job.id for job in store.list("default").data]
    move(database_url, "0008")
    migrate(database_url)
    with JobStore.open(database_url) as store:
        left = store.list("default").data
        assert [job.id for job in left] == before
        assert [job.sweep_id for job in left] == [None, None]
        assert store.sweeps("default").data == []
        # And they are jobs like others.
        assert claimed(store, before[0]).sweep_id is None


def test_a_schema_from_the_future_is_refused_and_left_alone(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadRequest, match=r"schema 9999, .* restore the backup"):
        migrate(database_url)
    with database.read() as session:
        assert session.scalar(select(text("version_num FROM alembic_version"))) == "9999"
    database.close()
