"""The outbox over every database: what each move leaves in it, and what couriers make of it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, select

from core.errors import JobNotFound
from core.jobs import moves
from core.jobs.database import Database
from core.jobs.deliveries import DeliveryStore
from core.jobs.delivery_records import AttemptRecord, DeliveryRecord
from core.jobs.delivery_views import Delivery, DeliveryState
from core.jobs.outgoing import KEPT_ATTEMPTS, Outcome, Parcel
from core.jobs.records import JobRecord
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.webhooks.errors import DeliveryNotFound
from core.webhooks.urls import parse_target
from tests.contract.jobs import LEASE, NOW, at_once, claimed, later, queued, spec

URL = "https://hooks.example.com/a?token=secret"
ALL = ["running", "succeeded", "failed", "cancelled"]
FAILURE = Failure(code="bad-data", message="No text.", remedy="Give some.")
LONGEST = timedelta(days=2)
SENDING = timedelta(seconds=60)


@pytest.fixture
def database(jobs: JobStore, database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    yield made
    made.close()


@pytest.fixture
def deliveries(database: Database) -> DeliveryStore:
    return DeliveryStore(database)


def hooked(jobs: JobStore, *events: str, url: str = URL, tenant: str = "default") -> str:
    webhook = {"url": url, "events": list(events or ALL)}
    return jobs.create(tenant, spec(webhook=webhook, metadata={"team": "a"}), NOW).id


def told(deliveries: DeliveryStore, job_id: str, tenant: str = "default") -> list[Delivery]:
    return deliveries.of_job(tenant, job_id).data


def taken(deliveries: DeliveryStore, delivery_id: str, now: datetime = NOW) -> Parcel:
    parcel = deliveries.claim(delivery_id, now, LONGEST, SENDING)
    assert parcel is not None
    return parcel


def outcome(state: DeliveryState, next_at: datetime = NOW, status: int = 500) -> Outcome:
    error = None if state is DeliveryState.DELIVERED else f"it answered {status}"
    return Outcome(state, next_at, NOW, 0.25, status, error)


def due_ids(deliveries: DeliveryStore, now: datetime = NOW, limit: int = 100) -> list[str]:
    return [each.id for each in deliveries.due(now, LONGEST, limit=limit)]


class TestTheOutbox:
    def test_each_move_that_is_asked_for_leaves_a_message(
        self, jobs: JobStore, deliveries: DeliveryStore, database: Database
    ) -> None:
        job_id = hooked(jobs)
        assert told(deliveries, job_id) == []  # to be queued is no move
        claim = claimed(jobs, job_id, later(1))
        jobs.succeed(job_id, claim.epoch, "manifest", later(5))
        first, second = told(deliveries, job_id)
        assert (first.event, second.event) == ("job.running", "job.succeeded")
        assert first.id == f"msg_{job_id.removeprefix('job_')}_2"
        assert first.state is second.state is DeliveryState.PENDING
        assert (first.created_at, second.next_at) == (later(1), later(5))
        assert (first.url, first.attempts, first.log) == (URL, 0, [])
        with database.read() as session:
            body = json.loads(session.get_one(DeliveryRecord, second.id).body)
        assert (body["type"], body["timestamp"]) == (
            "job.succeeded", later(5).isoformat().replace("+00:00", "Z"),
        )  # fmt: skip
        data = body["data"]
        assert (data["id"], data["state"], data["attempt"]) == (job_id, "succeeded", 1)
        assert (data["metadata"], data["error"]) == ({"team": "a"}, None)
        assert data["spec"]["sparsity"] == 0.5
        assert "secret" not in json.dumps(body)

    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            (ALL, ["job.running", "job.failed"]),
            (["failed"], ["job.failed"]),
            (["succeeded", "cancelled"], []),
        ],
    )
    def test_only_what_is_asked_for(
        self, jobs: JobStore, deliveries: DeliveryStore, events: list[str], expected: list[str]
    ) -> None:
        job_id = hooked(jobs, *events)
        jobs.fail(job_id, claimed(jobs, job_id).epoch, FAILURE, later(5))
        assert [each.event for each in told(deliveries, job_id)] == expected

    def test_a_failure_comes_with_its_reason(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id = hooked(jobs, "failed")
        jobs.fail(job_id, claimed(jobs, job_id).epoch, FAILURE, later(5))
        [message] = told(deliveries, job_id)
        body = json.loads(taken(deliveries, message.id, later(5)).body)
        assert body["data"]["error"] == FAILURE.model_dump(mode="json")

    def test_each_attempt_that_starts_is_told_of(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id = hooked(jobs)
        epoch = claimed(jobs, job_id).epoch
        jobs.requeue(job_id, epoch, "it died", later(1), max_attempts=3)
        claimed(jobs, job_id, later(2))
        assert [each.event for each in told(deliveries, job_id)] == ["job.running"] * 2

    def test_cancelling_is_told_of_at_its_end(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        waiting, running = hooked(jobs), hooked(jobs, "cancelled")
        jobs.cancel("default", waiting, later(1))
        assert [each.event for each in told(deliveries, waiting)] == ["job.cancelled"]
        epoch = claimed(jobs, running).epoch
        jobs.cancel("default", running, later(1))
        assert told(deliveries, running) == []
        jobs.succeed(running, epoch, "manifest", later(2))
        assert [each.event for each in told(deliveries, running)] == ["job.cancelled"]

    def test_the_reaper_s_moves_are_told_of(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id = hooked(jobs, "failed")
        claimed(jobs, job_id)
        [lease] = jobs.expired(later(2 * LEASE))
        assert jobs.take_back(lease, later(2 * LEASE), max_attempts=1) is State.FAILED
        assert [each.event for each in told(deliveries, job_id)] == ["job.failed"]

    def test_a_move_that_is_undone_leaves_no_message(
        self, jobs: JobStore, deliveries: DeliveryStore, database: Database
    ) -> None:
        """They are one transaction: neither is there without the other."""
        job_id = hooked(jobs)
        claimed(jobs, job_id)

        def dies_before_the_commit() -> None:
            with database.write() as session:
                moves.end(session, session.get_one(JobRecord, job_id), State.SUCCEEDED, later(5))
                session.flush()
                assert len(session.scalars(select(DeliveryRecord)).all()) == 2
                raise RuntimeError

        with pytest.raises(RuntimeError):
            dies_before_the_commit()
        assert jobs.get("default", job_id).state is State.RUNNING
        assert [each.event for each in told(deliveries, job_id)] == ["job.running"]

    def test_a_job_without_a_webhook_leaves_nothing(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id = queued(jobs)
        jobs.succeed(job_id, claimed(jobs, job_id).epoch, "manifest", NOW)
        assert told(deliveries, job_id) == []
        assert due_ids(deliveries) == []

    def test_a_webhook_that_this_version_cannot_read_stops_no_move(
        self, jobs: JobStore, deliveries: DeliveryStore, database: Database
    ) -> None:
        job_id = hooked(jobs)
        with database.write() as session:
            record = session.get_one(JobRecord, job_id)
            record.spec = {**record.spec, "webhook": {"url": "gopher://a", "events": ["moon"]}}
        assert jobs.claim(job_id, "worker", NOW, LEASE) is None
        assert jobs.get("default", job_id).state is State.FAILED
        assert told(deliveries, job_id) == []

    def test_who_said_gone_hears_no_more_of_the_job(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id, other = hooked(jobs), hooked(jobs)
        epoch = claimed(jobs, job_id).epoch
        [message] = told(deliveries, job_id)
        gone = outcome(DeliveryState.DISABLED, status=410)
        assert deliveries.report(taken(deliveries, message.id), gone)
        jobs.succeed(job_id, epoch, "manifest", NOW)
        claimed(jobs, other)
        states = [each.state for each in told(deliveries, job_id)]
        assert states == [DeliveryState.DISABLED] * 2
        assert due_ids(deliveries) == [told(deliveries, other)[0].id]

    def test_messages_go_with_their_job(
        self, jobs: JobStore, deliveries: DeliveryStore, database: Database
    ) -> None:
        job_id = hooked(jobs)
        claimed(jobs, job_id)
        [message] = told(deliveries, job_id)
        deliveries.report(taken(deliveries, message.id), outcome(DeliveryState.PENDING))
        with database.write() as session:
            session.execute(delete(JobRecord).where(JobRecord.id == job_id))
        with database.read() as session:
            assert session.get(DeliveryRecord, message.id) is None
            assert session.get(AttemptRecord, (message.id, 1)) is None


@dataclass(frozen=True)
class Bench:
    deliveries: DeliveryStore
    id: str


@pytest.fixture
def message(jobs: JobStore, deliveries: DeliveryStore) -> Bench:
    """One that is due at NOW."""
    job_id = hooked(jobs, "running")
    claimed(jobs, job_id)
    return Bench(deliveries, told(deliveries, job_id)[0].id)


class TestSending:
    def test_a_message_that_is_taken_is_over(self, message: Bench) -> None:
        parcel = taken(message.deliveries, message.id)
        assert (parcel.url, parcel.tenant, parcel.is_test) == (URL, "default", False)
        done = outcome(DeliveryState.DELIVERED, status=204)
        assert message.deliveries.report(parcel, done)
        found = message.deliveries.get("default", message.id)
        assert (found.state, found.delivered_at) == (DeliveryState.DELIVERED, NOW)
        assert (found.attempts, found.last_status, found.last_error) == (1, 204, None)
        assert found.next_at is None
        [attempt] = found.log
        assert (attempt.number, attempt.at, attempt.seconds, attempt.status) == (1, NOW, 0.25, 204)
        assert due_ids(message.deliveries, later(10**6)) == []

    def test_one_that_is_not_is_due_later(self, message: Bench) -> None:
        parcel = taken(message.deliveries, message.id)
        message.deliveries.report(parcel, outcome(DeliveryState.PENDING, later(300)))
        assert due_ids(message.deliveries, later(299)) == []
        assert message.deliveries.claim(message.id, later(299), LONGEST, SENDING) is None
        assert due_ids(message.deliveries, later(300)) == [message.id]
        assert taken(message.deliveries, message.id, later(300)).failures == 1

    def test_a_sender_that_dies_is_followed_when_its_lease_is_over(self, message: Bench) -> None:
        lost = taken(message.deliveries, message.id)
        assert due_ids(message.deliveries, later(59)) == []
        again = taken(message.deliveries, message.id, later(60))
        assert (again.id, again.body) == (lost.id, lost.body)
        assert not message.deliveries.report(lost, outcome(DeliveryState.FAILED))
        assert message.deliveries.report(again, outcome(DeliveryState.DELIVERED))
        found = message.deliveries.get("default", message.id)
        assert (found.state, found.attempts, len(found.log)) == (DeliveryState.DELIVERED, 1, 1)

    def test_of_many_who_want_it_one_gets_it(self, message: Bench) -> None:
        won = at_once(8, lambda _: message.deliveries.claim(message.id, NOW, LONGEST, SENDING))
        assert sum(isinstance(each, Parcel) for each in won) == 1
        assert sum(each is None for each in won) == 7

    def test_a_clock_that_was_set_back_delays_nothing_for_ever(self, message: Bench) -> None:
        parcel = taken(message.deliveries, message.id)
        ahead = timedelta(days=400)
        message.deliveries.report(parcel, outcome(DeliveryState.PENDING, NOW + ahead))
        assert due_ids(message.deliveries) == [message.id]
        assert taken(message.deliveries, message.id)

    def test_what_cannot_be_true_is_not_reported(self, message: Bench) -> None:
        parcel = taken(message.deliveries, message.id)
        assert message.deliveries.report(parcel, outcome(DeliveryState.DELIVERED))
        assert not message.deliveries.report(parcel, outcome(DeliveryState.FAILED))

    def test_the_log_keeps_the_newest(self, message: Bench) -> None:
        for number in range(KEPT_ATTEMPTS + 5):
            parcel = taken(message.deliveries, message.id)
            message.deliveries.report(parcel, outcome(DeliveryState.PENDING, status=500 + number))
        found = message.deliveries.get("default", message.id)
        assert found.attempts == KEPT_ATTEMPTS + 5
        assert [each.number for each in found.log] == list(range(6, KEPT_ATTEMPTS + 6))

    @pytest.mark.parametrize(
        "state", [DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.DISABLED]
    )
    def test_it_is_sent_again_when_asked_for(self, message: Bench, state: DeliveryState) -> None:
        store, job_id = message.deliveries, _job_of(message)
        store.report(taken(store, message.id), outcome(state))
        again = store.redeliver("default", job_id, message.id, later(50))
        assert (again.id, again.state, again.next_at) == (message.id, "pending", later(50))
        assert (again.delivered_at, again.attempts) == (None, 1)
        assert taken(store, message.id, later(50)).failures == 0

    def test_asked_for_while_it_is_under_way_it_goes_once_more(self, message: Bench) -> None:
        store = message.deliveries
        parcel = taken(store, message.id)
        store.redeliver("default", _job_of(message), message.id, later(1))
        assert not store.report(parcel, outcome(DeliveryState.DELIVERED))
        assert due_ids(store, later(1)) == [message.id]

    def test_what_is_old_and_over_is_forgotten(
        self, message: Bench, jobs: JobStore, database: Database
    ) -> None:
        store = message.deliveries
        other = hooked(jobs, "running")
        claimed(jobs, other)
        store.report(taken(store, message.id), outcome(DeliveryState.DELIVERED))
        assert store.forget(NOW) == 0
        assert store.forget(later(1)) == 1
        with pytest.raises(DeliveryNotFound):
            store.get("default", message.id)
        with database.read() as session:
            assert session.get(AttemptRecord, (message.id, 1)) is None
        assert len(told(store, other)) == 1  # pending, however old


def _job_of(message: Bench) -> str:
    found = message.deliveries.get("default", message.id).job_id
    assert found is not None
    return found


class TestTurns:
    def test_tenants_and_hosts_take_turns(self, jobs: JobStore, deliveries: DeliveryStore) -> None:
        def post(tenant: str, host: str) -> None:
            claimed(jobs, hooked(jobs, "running", url=f"https://{host}/", tenant=tenant))

        for _ in range(20):
            post("loud", "slow.example")
        post("loud", "fast.example")
        post("quiet", "slow.example")
        turns = [(each.tenant, each.host) for each in deliveries.due(NOW, LONGEST, limit=3)]
        assert sorted(turns) == [
            ("loud", "fast.example"), ("loud", "slow.example"), ("quiet", "slow.example"),
        ]  # fmt: skip
        assert len(deliveries.due(NOW, LONGEST, limit=100)) == 17  # 16 of one tenant at a look


class TestTenants:
    def test_a_test_is_a_message_without_a_job(self, deliveries: DeliveryStore) -> None:
        made = deliveries.test("default", URL, parse_target(URL), NOW, lambda n: b"\1" * n)
        assert made.id == "msg_test_" + "01" * 12
        assert (made.job_id, made.event) == (None, "webhook.test")
        assert deliveries.get("default", made.id) == made
        parcel = taken(deliveries, made.id)
        assert parcel.is_test
        assert json.loads(parcel.body)["type"] == "webhook.test"

    def test_pages_go_on_where_the_last_one_ended(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id = hooked(jobs)
        for second in range(3):
            epoch = claimed(jobs, job_id, later(second)).epoch
            jobs.give_back(job_id, epoch, "leaving", later(second))
        whole = told(deliveries, job_id)
        page = deliveries.of_job("default", job_id, limit=2)
        assert (page.data, page.has_more) == (whole[:2], True)
        rest = deliveries.of_job("default", job_id, after=int(str(page.next)), limit=2)
        assert (rest.data, rest.has_more, rest.next) == (whole[2:], False, None)

    def test_nobody_sees_or_moves_another_s(
        self, jobs: JobStore, deliveries: DeliveryStore
    ) -> None:
        job_id = hooked(jobs, tenant="theirs")
        claimed(jobs, job_id)
        [message] = told(deliveries, job_id, "theirs")
        other = hooked(jobs, tenant="mine")
        with pytest.raises(JobNotFound):
            deliveries.of_job("mine", job_id)
        with pytest.raises(DeliveryNotFound):
            deliveries.get("mine", message.id)
        with pytest.raises(JobNotFound):
            deliveries.redeliver("mine", job_id, message.id, later(9))
        with pytest.raises(DeliveryNotFound):
            deliveries.redeliver("mine", other, message.id, later(9))
        assert deliveries.get("theirs", message.id) == message
