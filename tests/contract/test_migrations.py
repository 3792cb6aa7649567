"""Databases that another version has written."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from core.errors import BadRequest
from core.jobs import migrations
from core.jobs.audit import Actor, AuditFilter
from core.jobs.database import Database
from core.jobs.migrate import migrate
from core.jobs.store import JobStore
from core.quotas import NO_QUOTAS, Quota
from tests.contract.jobs import NOW, get, spec


def take_back(database_url: str, revision: str) -> None:
    """Leave the database as a version of ours with the schema `revision` would."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    database = Database(database_url, pooled=False)
    with database.exclusive() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    database.close()


def test_jobs_of_the_first_schema_live_on(database_url: str) -> None:
    migrate(database_url)
    with JobStore.open(database_url) as store:
        job = store.create("default", spec(metadata={"team": "a"}), NOW)
    take_back(database_url, "0001")
    migrate(database_url)
    with JobStore.open(database_url) as store:
        assert get(store, job.id) == job


def test_quotas_and_the_audit_log_come_and_go_and_no_job_with_them(database_url: str) -> None:
    migrate(database_url)
    by = Actor("default", "key_0123456789ab")
    with JobStore.open(database_url) as store:
        job = store.create("default", spec(), NOW, by=by)
        store.claim(job.id, "w", NOW, 60)
        store.succeed(job.id, 1, "key", NOW, stored_bytes=5)
        store.set_quota("default", Quota(queued_jobs=1), NOW, by=by)
        job, events = get(store, job.id), store.events("default", job.id)
    take_back(database_url, "0003")
    migrate(database_url)
    with JobStore.open(database_url) as store:
        assert get(store, job.id) == job
        assert store.events("default", job.id) == events
        found = store.usage("default", NO_QUOTAS)
        assert (found.usage.stored_bytes, found.quota) == (0, Quota())
        assert store.audit(AuditFilter()).data == []


def test_a_schema_from_the_future_is_refused_and_left_alone(database_url: str) -> None:
    migrate(database_url)
    database = Database(database_url)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadRequest, match=r"schema 9999, .* restore the backup"):
        migrate(database_url)
    with database.read() as session:
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "9999"
    database.close()
