"""`secateur webhooks` against a real server, whose worker the test plays."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from secrets import token_bytes

import pytest

from core.jobs.courier import Courier
from core.jobs.deliveries import DeliveryStore
from core.jobs.webhook_secrets import SecretStore
from core.webhooks.allowed import Allowed
from core.webhooks.errors import DeliveryNotFound, WebhookRefused
from core.webhooks.sending import Sender
from secateur.client import Client
from tests.commands import Run
from tests.receiver import Reply, receiver
from tests.served import Served, served

HOOK = {"webhook": {"url": "https://hooks.example.com/", "events": ["succeeded"]}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server"), webhook_allow=("127.0.0.1",)) as running:
        yield running


@contextmanager
def couriers(server: Served) -> Iterator[None]:
    url = f"sqlite:///{server.folder}/jobs.db"
    courier = Courier(
        deliveries=DeliveryStore.open(url),
        secrets=SecretStore.open(url),
        sender=Sender(Allowed(("127.0.0.1",)), 5.0),
        retries=(),
        clock=lambda: datetime.now(UTC),
        chance=lambda: 0.0,
        entropy=token_bytes,
    )
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            for each in courier.due(limit=10):
                # Only tests: jobs' messages go to a host that is not to be asked for.
                if each.id.startswith("msg_test_"):
                    courier.deliver(each.id)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_secret_is_printed_alone(run: Run, server: Served) -> None:
    shown = run("webhooks", "secret", "--url", server.url)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("whsec_")
    assert run("webhooks", "secret", "--url", server.url).out == shown.out
    rotated = run("webhooks", "rotate", "--url", server.url)
    assert rotated.out != shown.out
    assert "signs as well until" in rotated.err
    told = run("webhooks", "secret", "--url", server.url, "--json").json()
    assert told["secret"] == rotated.out.strip()
    with Client(server.url) as client:
        assert client.describe_webhook_secret().fingerprint == told["fingerprint"]


def test_deliveries_are_listed_and_sent_again(run: Run, server: Served) -> None:
    job_id = server.succeeded({"report/report.json": b"{}"}, **HOOK)
    [one] = run("webhooks", "deliveries", job_id, "--url", server.url, "--json").json()["data"]
    listed = run("webhooks", "deliveries", job_id, "--url", server.url)
    assert one["id"] in listed.out
    assert "job.succeeded" in listed.out
    again = run("webhooks", "redeliver", job_id, one["id"], "--url", server.url)
    assert (again.status, again.out) == (0, f"{one['id']} pending\n")
    missing = run("webhooks", "redeliver", job_id, "msg_x", "--url", server.url)
    assert (missing.status, "no delivery" in missing.err) == (1, True)


@pytest.mark.parametrize(("answer", "status", "said"), [(204, 0, "delivered"), (500, 1, "failed")])
def test_a_test_says_how_it_went(
    run: Run, server: Served, answer: int, status: int, said: str
) -> None:
    with receiver() as far, couriers(server):
        far.reply = Reply(answer)
        sent = run("webhooks", "test", far.url, "--url", server.url)
    assert (sent.status, said in sent.out) == (status, True)
    assert len(far.heard) == 1


def test_refusals_come_as_their_own_errors(run: Run, server: Served) -> None:
    refused = run("webhooks", "test", "http://10.0.0.1/", "--url", server.url)
    assert refused.status == 2
    assert "SECATEUR_WEBHOOK_ALLOW" in refused.err
    with Client(server.url) as client:
        with pytest.raises(WebhookRefused):
            client.test_webhook("http://10.0.0.1/")
        with pytest.raises(DeliveryNotFound):
            client.delivery("msg_x")


def test_without_a_server_there_is_nobody_to_tell(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("local")
    spec = folder / "spec.json"
    spec.write_text(
        '{"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5,'
        ' "webhook": {"url": "https://hooks.example.com/"}}'
    )
    refused = run("prune", "--spec", str(spec), "--out", str(folder / "out"))
    assert (refused.status, "webhook" in refused.err) == (2, True)
    assert not (folder / "out").exists()
