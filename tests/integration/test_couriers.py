"""Couriers between a real database and a real receiver, with a clock that the test moves."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes

import pytest
from standardwebhooks import Webhook

from core.jobs.courier import Courier
from core.jobs.deliveries import DeliveryStore
from core.jobs.delivery_views import Delivery, DeliveryState
from core.jobs.migrate import migrate
from core.jobs.store import JobStore
from core.jobs.webhook_secrets import OVERLAP, SecretStore
from core.settings import Settings
from core.spec import parse_spec
from core.webhooks.allowed import Allowed
from core.webhooks.schedule import RETRIES
from core.webhooks.sending import Answer, Sender
from tests.faults.farm import wait_for
from tests.receiver import Receiver, Reply, receiver
from workers.configuration import Places
from workers.couriers import Couriers

LEASE = timedelta(seconds=40)


class Killed(BaseException):
    """What a courier meets that dies."""


class DyingSender(Sender):
    """Dies when the receiver has answered, and before anybody else knows."""

    def post(self, *arguments: object, **more: object) -> Answer:
        super().post(*arguments, **more)  # type: ignore[arg-type]
        raise Killed


class Office:
    """A courier that starts anew for every look, as after a restart."""

    def __init__(self, url: str) -> None:
        migrate(url)
        self.url = url
        # The library verifies against the real time, so this one begins there.
        self.now = datetime.now(UTC)
        self.kind = Sender

    def courier(self) -> Courier:
        return Courier(
            deliveries=DeliveryStore.open(self.url),
            secrets=SecretStore.open(self.url),
            sender=self.kind(Allowed(("127.0.0.1",)), LEASE.total_seconds() / 4),
            retries=RETRIES,
            clock=lambda: self.now,
            chance=lambda: 0.0,
            entropy=token_bytes,
        )

    def look(self) -> int:
        """Deliver what is due; how many."""
        courier = self.courier()
        return sum(courier.deliver(each.id) for each in courier.due(limit=100))

    def until(self, moment: datetime) -> None:
        """Let time pass, and look whenever something is due."""
        while (due := self.next_at()) is not None and due <= moment:
            self.now = max(self.now, due)
            self.look()
        self.now = moment

    def next_at(self) -> datetime | None:
        times = [each.next_at for each in self.all()]
        return min((each for each in times if each is not None), default=None)

    def all(self) -> list[Delivery]:
        store = DeliveryStore.open(self.url)
        with JobStore.open(self.url) as jobs:
            ids = [job.id for job in jobs.list("default", limit=200).data]
        return [each for job_id in ids for each in store.of_job("default", job_id).data]

    def started(self, url: str, *events: str) -> str:
        """A job that has just begun to run."""
        webhook = {"url": url, "events": list(events or ("running",))}
        asked = {"model": {"source": "example:x"}, "sparsity": 0.5, "webhook": webhook}
        with JobStore.open(self.url) as jobs:
            job_id = jobs.create("default", parse_spec(asked), self.now).id
            assert jobs.claim(job_id, "worker", self.now, 60.0)
        return job_id

    def only(self) -> Delivery:
        [one] = self.all()
        return one


@pytest.fixture
def office(database_url: str) -> Office:
    return Office(database_url)


@pytest.fixture
def far() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def test_what_arrives_is_signed_and_says_what_happened(office: Office, far: Receiver) -> None:
    job_id = office.started(far.url)
    assert office.look() == 1
    [heard] = far.heard
    secret = SecretStore.open(office.url).show("default", office.now, token_bytes).secret
    body = Webhook(secret).verify(heard.body, heard.headers)
    assert (body["type"], body["data"]["id"]) == ("job.running", job_id)
    assert heard.headers["content-type"] == "application/json"
    found = office.only()
    assert (found.id, found.state, found.last_status) == (heard.id, "delivered", 204)
    assert office.look() == 0


def test_both_secrets_verify_for_a_day_after_a_rotation(office: Office, far: Receiver) -> None:
    secrets = SecretStore.open(office.url)
    old = secrets.show("default", office.now, token_bytes).secret
    new = secrets.rotate("default", office.now, token_bytes).secret
    office.started(far.url)
    office.look()
    for secret in (old, new):
        assert Webhook(secret).verify(far.heard[0].body, far.heard[0].headers)
    office.now += OVERLAP
    office.started(far.url)
    office.look()
    assert far.heard[1].headers["webhook-signature"].count("v1,") == 1


def test_a_receiver_that_is_down_for_two_days_hears_it_in_the_end(office: Office) -> None:
    with receiver() as far:
        pass
    began = office.now
    office.started(far.url)
    office.until(began + timedelta(days=2))
    found = office.only()
    assert (found.state, found.last_error) == ("pending", "it takes no connections")
    assert found.attempts == len(found.log) == 8
    waits = [b.at - a.at for a, b in zip(found.log, found.log[1:], strict=False)]
    assert waits == [timedelta(seconds=each) for each in RETRIES[:7]]
    with receiver(port=far.port) as back:
        office.until(began + timedelta(days=4))
    [heard] = back.heard
    found = office.only()
    assert (heard.id, found.state, found.attempts) == (found.id, "delivered", 9)
    assert float(heard.headers["webhook-timestamp"]) > (began + timedelta(days=2)).timestamp()


def test_who_never_takes_it_is_given_up_after_ten_tries(office: Office, far: Receiver) -> None:
    far.reply = Reply(500)
    office.started(far.url)
    office.until(office.now + timedelta(days=30))
    found = office.only()
    assert (found.state, found.attempts, found.last_status) == ("failed", 10, 500)
    assert len(set(far.ids)) == 1
    assert len({heard.body for heard in far.heard}) == 1


def test_gone_ends_it_and_the_job_s_later_messages(office: Office, far: Receiver) -> None:
    far.reply = Reply(410)
    job_id = office.started(far.url, "running", "cancelled")
    office.look()
    with JobStore.open(office.url) as jobs:
        jobs.cancel("default", job_id, office.now)
        jobs.give_back(job_id, 1, "leaving", office.now)
    office.until(office.now + timedelta(days=9))
    assert [each.state for each in office.all()] == [DeliveryState.DISABLED] * 2
    assert len(far.heard) == 1


@pytest.mark.parametrize(("asked", "seconds"), [("600", 600), ("1", 5), ("99999999", 86400)])
def test_a_busy_receiver_says_when(office: Office, far: Receiver, asked: str, seconds: int) -> None:
    far.reply = Reply(503, {"Retry-After": asked})
    office.started(far.url)
    office.look()
    assert office.only().next_at == office.now + timedelta(seconds=seconds)


def test_a_courier_that_dies_after_the_answer_is_followed_with_the_same_id(
    office: Office, far: Receiver
) -> None:
    office.started(far.url)
    office.kind = DyingSender
    with pytest.raises(Killed):
        office.look()
    office.kind = Sender
    assert office.look() == 0
    office.now += LEASE
    assert office.look() == 1
    first, second = far.heard
    assert (first.id, first.body) == (second.id, second.body)
    assert office.only().state is DeliveryState.DELIVERED


@pytest.mark.parametrize("jump", [timedelta(days=300), timedelta(days=-300)])
def test_a_clock_that_jumps_neither_loses_nor_repeats(
    office: Office, far: Receiver, jump: timedelta
) -> None:
    far.reply = Reply(500)
    office.started(far.url)
    office.look()
    office.now += jump
    far.reply = Reply(204)
    office.look()
    office.look()
    assert office.only().state is DeliveryState.DELIVERED
    assert len(far.heard) == 2


class TestThreads:
    """The couriers of a worker, in this process."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/jobs.db"

    @pytest.fixture
    def office(self, url: str, tmp_path: Path) -> Iterator[Office]:
        made, leaving = Office(url), threading.Event()
        settings = Settings(
            webhook_allow=("127.0.0.1", "localhost"), webhook_timeout_seconds=10, scan_seconds=0.1
        )
        places = Places(settings, url, "redis://127.0.0.1:1/0", tmp_path.as_uri())
        Couriers(places, leaving.is_set).start()
        yield made
        leaving.set()
        wait_for(lambda: not _threads(), "the end of the threads")

    def test_they_deliver_by_themselves(self, office: Office, far: Receiver) -> None:
        for _ in range(20):
            office.started(far.url)
        wait_for(lambda: len(far.heard) == 20, "all messages")
        wait_for(lambda: {each.state for each in office.all()} == {"delivered"}, "their reports")
        assert len(set(far.ids)) == 20

    def test_a_slow_receiver_delays_no_other(self, office: Office, far: Receiver) -> None:
        with receiver() as slow:
            slow.reply = Reply(seconds=8)
            for _ in range(12):
                # Hosts are told apart by what they are called.
                office.started(slow.url.replace("127.0.0.1", "localhost"))
            wait_for(lambda: len(slow.heard) == 2, "the slow one to be busy")
            office.started(far.url)
            wait_for(lambda: bool(far.heard), "the fast one")
            # Had it waited for the slow ones, the next of these would be under way by now.
            assert len(slow.heard) == 2

    def test_a_fork_waits_for_what_is_under_way(self, office: Office, far: Receiver) -> None:
        far.reply = Reply(seconds=1)
        office.started(far.url)
        wait_for(lambda: bool(far.heard), "the message")
        child = os.fork()
        if child == 0:
            os._exit(0)
        assert office.only().state is DeliveryState.DELIVERED
        os.waitpid(child, 0)


def _threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("courier")]
