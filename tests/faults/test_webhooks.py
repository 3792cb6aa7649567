"""Workers that are killed around a webhook: what a job's end has promised arrives all the same."""

from collections.abc import Iterator

import pytest

from core.jobs.deliveries import DeliveryStore
from core.jobs.delivery_views import Delivery, DeliveryState
from core.jobs.states import State
from tests.faults.farm import Farm, await_gone, family, stop, wait_for
from tests.receiver import Receiver, Reply, receiver


@pytest.fixture
def far() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def told(farm: Farm) -> Farm:
    """A farm that may tell this machine, and takes a courier for dead after six seconds."""
    farm.settings |= {
        "WEBHOOK_ALLOW": "127.0.0.1",
        "WEBHOOK_TIMEOUT_SECONDS": "1.5",
        "WEBHOOK_RETRY_SECONDS": "0.5,0.5,0.5,60",
    }
    return farm


def post(farm: Farm, far: Receiver) -> str:
    hook = {"url": far.url, "events": ["succeeded"]}
    return farm.post_spec({"model": {"source": "example:x"}, "sparsity": 0.5, "webhook": hook})


def only(farm: Farm, job_id: str) -> Delivery:
    [one] = DeliveryStore.open(farm.url).of_job("default", job_id).data
    return one


def await_delivered(farm: Farm, job_id: str) -> Delivery:
    farm.await_end(job_id)
    wait_for(lambda: only(farm, job_id).state is DeliveryState.DELIVERED, "the delivery", farm.tail)
    return only(farm, job_id)


def test_a_worker_killed_between_the_post_and_its_report(told: Farm, far: Receiver) -> None:
    worker = told.start_worker()
    processes = family(worker.pid)
    # The receiver has the message, and the worker dies before it hears so.
    far.reply = Reply(before=worker.kill)
    job_id = post(told, far)
    wait_for(lambda: bool(far.heard), "the message", told.tail)
    worker.wait()
    await_gone(processes)
    assert told.get(job_id).state is State.SUCCEEDED
    assert only(told, job_id).state is DeliveryState.PENDING
    far.reply = Reply()
    told.start_worker()
    found = await_delivered(told, job_id)
    assert far.ids == [found.id, found.id]
    assert far.heard[0].body == far.heard[1].body


def test_a_receiver_that_is_down_while_the_worker_is_replaced(told: Farm) -> None:
    with receiver() as gone:
        pass
    worker = told.start_worker()
    job_id = post(told, gone)
    told.await_end(job_id)
    wait_for(lambda: only(told, job_id).attempts >= 1, "a try in vain", told.tail)
    assert stop(worker) == 0
    with receiver(port=gone.port) as back:
        told.start_worker()
        found = await_delivered(told, job_id)
    assert back.ids == [found.id]
    assert [each.error for each in found.log][:1] == ["it takes no connections"]


def test_several_workers_deliver_each_message_once(told: Farm, far: Receiver) -> None:
    for _ in range(3):
        told.start_worker()
    ids = [post(told, far) for _ in range(6)]
    found = {await_delivered(told, job_id).id for job_id in ids}
    assert sorted(far.ids) == sorted(found)


def test_a_supervisor_that_dies_during_a_sending_is_replaced(told: Farm, far: Receiver) -> None:
    """Celery forks while a courier is at work: the new process must find no lock held."""
    told.settings |= {"WEBHOOK_TIMEOUT_SECONDS": "5"}
    worker = told.start_worker()
    far.reply = Reply(seconds=2)
    first = post(told, far)
    wait_for(lambda: bool(far.heard), "the message", told.tail)
    _, supervisor = family(worker.pid)
    supervisor.kill()
    far.reply = Reply()
    second = post(told, far)
    await_delivered(told, first)
    await_delivered(told, second)
    assert worker.poll() is None
    assert len(far.heard) == 2
