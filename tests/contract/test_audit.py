"""What every database must do for the audit log: a line for every deed, and none for what was not done."""

from collections.abc import Iterator
from functools import partial
from random import Random

import pytest

from core.errors import InvalidSpec, JobNotFound, WrongState
from core.jobs.audit import Actor, AuditFilter
from core.jobs.audit_views import AuditEntry
from core.jobs.credentials import ApiKey
from core.jobs.cursors import cursor_of
from core.jobs.keys import KeyStore
from core.jobs.store import JobStore
from core.limit_errors import LastAdminKey, QueueFull
from core.quotas import Quota, Quotas
from tests.contract.jobs import NOW, at_once, later, spec

BY = Actor("a", "key_0123456789ab", "192.0.2.7", "req-1")
EVERYTHING = AuditFilter()


@pytest.fixture
def keys(database_url: str, jobs: JobStore) -> Iterator[KeyStore]:
    with KeyStore.open(database_url) as store:
        yield store


def lines(jobs: JobStore, wanted: AuditFilter = EVERYTHING) -> list[AuditEntry]:
    return jobs.audit(wanted, limit=200).data


def told(jobs: JobStore) -> list[tuple[str, str | None]]:
    return [(entry.action, entry.target) for entry in reversed(lines(jobs))]


def test_every_deed_has_its_line(jobs: JobStore, keys: KeyStore) -> None:
    job = jobs.create("a", spec(), NOW, by=BY).id
    jobs.cancel("a", job, later(1), by=BY)
    new = keys.create("b", "CI", ["admin"], later(2), Random(1).randbytes, by=BY)
    keys.revoke(new.key.id, later(3), by=BY)
    jobs.set_quota("b", Quota(queued_jobs=3), later(4), by=BY)
    jobs.clear_quota("b", later(5), by=BY)
    jobs.record(BY, later(6), "login", BY.key_id)
    assert told(jobs) == [
        ("job.submit", job),
        ("job.cancel", job),
        ("key.create", new.key.id),
        ("key.revoke", new.key.id),
        ("quota.set", "b"),
        ("quota.clear", "b"),
        ("login", BY.key_id),
    ]
    first = lines(jobs)[-1]
    assert (first.tenant, first.key_id, first.address, first.request_id) == (
        "a", "key_0123456789ab", "192.0.2.7", "req-1",
    )  # fmt: skip
    assert (first.at, first.outcome) == (NOW, "done")
    assert lines(jobs, AuditFilter(action="key.create"))[0].detail == {
        "tenant": "b",
        "scopes": "admin",
    }
    assert lines(jobs, AuditFilter(action="quota.set"))[0].detail["quota"]["queued_jobs"] == 3
    assert new.text not in str(lines(jobs))


def test_what_was_not_done_was_not_done_by_anybody(jobs: JobStore, keys: KeyStore) -> None:
    only = keys.create("a", "n", ["admin"], NOW, Random(1).randbytes)
    done = jobs.create("a", spec(), NOW).id
    jobs.cancel("a", done, NOW)
    with pytest.raises(QueueFull):
        jobs.create("a", spec(), NOW, quotas=Quotas({"a": Quota(queued_jobs=0)}), by=BY)
    with pytest.raises(WrongState):
        jobs.cancel("a", done, NOW, by=BY)
    with pytest.raises(JobNotFound):
        jobs.cancel("b", done, NOW, by=BY)
    with pytest.raises(LastAdminKey):
        keys.revoke(only.key.id, NOW, spare_last_admin=True, by=BY)
    assert lines(jobs) == []


def test_pages_follow_each_other_whatever_happens_between(jobs: JobStore) -> None:
    for n in range(7):
        jobs.record(BY, later(n // 2), "login", str(n))  # two of each moment
    whole = lines(jobs)
    found: list[AuditEntry] = []
    after: str | None = None
    while True:
        page = jobs.audit(EVERYTHING, limit=2, after=after)
        found += page.data
        jobs.record(BY, later(99), "login", "new")
        after = page.next
        assert page.has_more is (after is not None)
        if after is None:
            break
    assert found == whole


@pytest.mark.parametrize(
    "cursor",
    ["x", "é", "bnVsbA", "W10", cursor_of(NOW, "a\0"), cursor_of(NOW, "é"), "WyI5OTk5LTAxIiwieCJd"],
)
def test_what_is_no_cursor_is_refused(jobs: JobStore, cursor: str) -> None:
    with pytest.raises(InvalidSpec, match="is not a cursor"):
        jobs.audit(EVERYTHING, after=cursor)


def test_filters_hold_all_together(jobs: JobStore) -> None:
    other = Actor("b", None, "198.51.100.1")
    jobs.record(BY, later(0), "login", "x")
    jobs.record(other, later(10), "login", "y")
    jobs.record(other, later(20), "access", "y", outcome="key-unknown")
    for wanted, count in [
        (AuditFilter(tenant="b"), 2),
        (AuditFilter(tenant="b", action="login"), 1),
        (AuditFilter(key_id=BY.key_id), 1),
        (AuditFilter(target="y"), 2),
        (AuditFilter(outcome="key-unknown"), 1),
        (AuditFilter(since=later(10)), 2),
        (AuditFilter(until=later(10)), 1),
        (AuditFilter(since=later(10), until=later(20), tenant="a"), 0),
    ]:
        assert len(lines(jobs, wanted)) == count, wanted


def test_what_is_old_is_forgotten(jobs: JobStore) -> None:
    for n in range(5):
        jobs.record(BY, later(n), "login", str(n))
    assert jobs.forget_audit(later(3)) == 3
    assert jobs.forget_audit(later(3)) == 0
    assert [entry.target for entry in lines(jobs)] == ["4", "3"]


def _revoke(keys: KeyStore, pair: list[str], number: int) -> ApiKey:
    return keys.revoke(pair[number], NOW, spare_last_admin=True)


class TestTheLastAdminKey:
    def test_two_that_revoke_each_other_leave_one(self, jobs: JobStore, keys: KeyStore) -> None:
        for round_ in range(5):
            tenant = f"t{round_}"
            pair = [
                keys.create(tenant, "n", ["admin"], NOW, Random(2 * round_ + n).randbytes).key.id
                for n in range(2)
            ]
            ended = at_once(2, partial(_revoke, keys, pair))
            assert sorted(type(each).__name__ for each in ended) == ["ApiKey", "LastAdminKey"]
            assert sum(key.revoked_at is None for key in keys.list(tenant)) == 1

    def test_one_that_expired_or_is_for_less_does_not_count(
        self, jobs: JobStore, keys: KeyStore
    ) -> None:
        def key(seed: int, *scopes: str, tenant: str = "a", days: float | None = None) -> str:
            expires = None if days is None else later(days)
            made = keys.create(tenant, "n", scopes, NOW, Random(seed).randbytes, expires_at=expires)  # type: ignore[arg-type]
            return made.key.id

        last = key(1, "admin")
        key(2, "jobs:write")
        key(3, "admin", days=5)
        key(4, "admin", tenant="b")
        with pytest.raises(LastAdminKey, match="force=true"):
            keys.revoke(last, later(5), spare_last_admin=True)
        revoked = keys.revoke(last, later(4), spare_last_admin=True)
        assert revoked.revoked_at == later(4)
        # Again, as it stays revoked whoever asks.
        assert keys.revoke(last, later(9), spare_last_admin=True) == revoked
