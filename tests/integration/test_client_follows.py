"""The client over lines that break: jobs posted once, followed without a gap, retried and deleted."""

import json
import threading
import time
from pathlib import Path

import pytest

from core.errors import JobNotFound, NotFound, WrongState
from core.idempotency_errors import IdempotencyKeyReused
from core.jobs.states import State
from core.jobs.views import Failure
from core.limit_errors import RateLimited
from core.progress import Progress
from secateur import Client
from secateur.following import Message, Parser, Patience
from secateur.problems import BrokenOff, NotASecateurServer, Unreachable, WaitedTooLong
from tests.clients import Connect
from tests.faulty_proxy import faulty_proxy
from tests.integration.test_client_http import scripted
from tests.served import NOW, Served, served


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.following.PAUSE", 0.05)
    monkeypatch.setattr("secateur.job_calls.PAUSE", 0.05)


def answer(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def problem(status: str, code: str) -> bytes:
    return answer(status, json.dumps({"code": code, "detail": "why."}).encode())


def job_json(server: Served) -> bytes:
    return server.http.get(f"/v1/jobs/{server.submit()}").content


def header(request: str, name: str) -> str:
    lines = [line.partition(": ") for line in request.split("\r\n")]
    return next(value for key, _, value in lines if key.lower() == name)


class TestSubmit:
    def test_a_request_whose_line_broke_is_sent_again_under_its_key(
        self, connect: Connect, server: Served
    ) -> None:
        made = job_json(server)
        busy = problem("409 Conflict", "idempotency-key-in-flight")
        away = problem("503 Unavailable", "store-unavailable")
        script = [b"", b"HTTP/1.1 202 Acc", busy, away, answer("202 Accepted", made)]
        with scripted(script) as (url, requests), connect(url) as client:
            assert client.submit(server.spec()).model_dump_json().encode() == made
        keys = {header(request, "idempotency-key") for request in requests}
        assert len(keys) == 1
        assert len(keys.pop()) == 32
        assert all(request.startswith("POST /v1/jobs ") for request in requests)

    def test_each_job_has_a_key_of_its_own(self, server: Served, client: Client) -> None:
        assert client.submit(server.spec()).id != client.submit(server.spec()).id

    def test_a_given_key_is_the_callers_to_repeat(self, server: Served, client: Client) -> None:
        first = client.submit(server.spec(), idempotency_key="nightly-7")
        assert client.submit(server.spec(), idempotency_key="nightly-7") == first
        with pytest.raises(IdempotencyKeyReused):
            client.submit(server.spec(priority=1), idempotency_key="nightly-7")

    def test_a_refusal_is_final_and_nobody_is_not_waited_for(
        self, connect: Connect, server: Served
    ) -> None:
        script = [problem("422 No", "invalid-spec")]
        with (
            scripted(script) as (url, _),
            connect(url) as client,
            pytest.raises(Exception, match="why"),
        ):
            client.submit(server.spec())
        began = time.monotonic()
        with connect("http://127.0.0.1:1") as nobody, pytest.raises(Unreachable) as refusal:
            nobody.submit(server.spec())
        assert type(refusal.value) is Unreachable
        assert time.monotonic() - began < 5


def test_retry_and_delete(server: Served, client: Client) -> None:
    job_id = server.failed()
    assert client.retry(job_id).state is State.QUEUED
    for refused in (client.retry, client.delete):
        with pytest.raises(WrongState):
            refused(job_id)
    client.cancel(job_id)
    client.delete(job_id)
    for refused in (client.get, client.retry, client.delete):
        with pytest.raises(JobNotFound):
            refused(job_id)


def test_waiting_takes_one_request_and_not_many(connect: Connect, server: Served) -> None:
    job_id = server.running()
    timer = threading.Timer(
        1.0, server.jobs.fail, [job_id, 1, Failure(code="bad-data", message="why"), NOW]
    )
    timer.start()
    with faulty_proxy(server.url) as proxy, connect(proxy.url) as client:
        assert client.wait(job_id).state is State.FAILED
        timer.join()
        assert len(proxy.seen) == 1
        with pytest.raises(WaitedTooLong, match=r"after 0\.3 seconds"):
            client.wait(server.running(), timeout=0.3)
        assert len(proxy.seen) <= 3


def test_who_waits_comes_back_when_the_server_says(connect: Connect, server: Served) -> None:
    ended = server.http.get(f"/v1/jobs/{server.failed()}").content
    busy = problem("429 Many\r\nRetry-After: 1", "rate-limited")
    began = time.monotonic()
    with scripted([busy, answer("200 OK", ended)]) as (url, _), connect(url) as client:
        assert client.wait("job_x").state is State.FAILED
    assert time.monotonic() - began >= 1
    began = time.monotonic()
    with scripted([busy]) as (url, _), connect(url) as client, pytest.raises(WaitedTooLong):
        client.wait("job_x", timeout=0.2)
    assert time.monotonic() - began < 1
    with (
        scripted([busy]) as (url, _),
        connect(url) as client,
        pytest.raises(RateLimited) as refused,
    ):
        client.submit(server.spec())
    assert refused.value.retry_after == 1


def test_a_servers_restart_is_waited_out(connect: Connect, tmp_path: Path) -> None:
    """It is gone in the middle of a stream and of a long poll, and comes back on the same port."""
    with served(tmp_path) as first:
        job_id = first.running()
        port = int(first.url.rpartition(":")[2])
        seen: list[int] = []
        ended: list[State] = []

        def follow() -> None:
            with connect(first.url) as client:
                seen.extend(event.id for event in client.events(job_id))

        def wait() -> None:
            with connect(first.url) as client:
                ended.append(client.wait(job_id, timeout=60).state)

        threads = [threading.Thread(target=run) for run in (follow, wait)]
        for thread in threads:
            thread.start()
        while len(seen) < 3 or first.app.state.waiting.places.taken < 2:
            time.sleep(0.02)
    with served(tmp_path, port=port) as second:
        second.jobs.progress(job_id, 1, Progress("pruning", 0.9, "on"), NOW, None)
        second.jobs.cancel("default", job_id, NOW)
        second.jobs.give_back(job_id, 1, "asked to", NOW)
        for thread in threads:
            thread.join(60)
        last = second.jobs.get("default", job_id)
    assert seen == list(range(1, 7))
    assert ended == [last.state] == [State.CANCELLED]


def event(number: int) -> str:
    data = {
        "id": number, "created_at": "2026-01-01T00:00:00Z", "level": "info", "type": "log",
        "message": "é", "data": {},
    }  # fmt: skip
    return f"event: log\ndata: {json.dumps(data)}\nid: {number}\n\n"


def sse(text: str) -> bytes:
    """As much of a stream as arrives before the line is cut."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    body = text.encode()
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n"


END = 'event: end\ndata: {"state": "succeeded"}\n\n'


def test_a_broken_stream_goes_on_where_it_broke(connect: Connect, server: Served) -> None:
    script = [
        sse("retry: 2000\n\n" + event(1) + event(2) + "event: log\ndata: {half"),
        b"",
        sse(": ping\n\n"),
        problem("429 Many", "too-many-waiting"),
        sse(event(3) + END) + b"0\r\n\r\n",
    ]
    with scripted(script) as (url, requests), connect(url) as client:
        assert [each.id for each in client.events("job_x")] == [1, 2, 3]
    assert [header(r, "last-event-id") for r in requests] == ["0", "2", "2", "2", "2"]
    assert {header(r, "accept") for r in requests} == {"text/event-stream"}


def test_a_stream_of_an_ended_job_that_was_read_ends_at_once(connect: Connect) -> None:
    gone = b"HTTP/1.1 204 No Content\r\n\r\n"
    with scripted([gone]) as (url, _), connect(url) as client:
        assert list(client.events("job_x", after=3)) == []


def test_what_a_stream_must_not_be(connect: Connect) -> None:
    strange = sse("event: log\ndata: [1]\n\n")
    with scripted([strange]) as (url, _), connect(url) as client, pytest.raises(NotASecateurServer):
        list(client.events("job_x"))
    absent = problem("404 No", "job-not-found")
    with scripted([absent]) as (url, _), connect(url) as client, pytest.raises(NotFound):
        list(client.events("job_x"))


def test_patience_has_an_end() -> None:
    ticks = iter([0.0, 10.0, 29.0, 31.0, 100.0, 100.0, 131.0])
    patience, broken = Patience(lambda: next(ticks)), BrokenOff("broke.")
    for _ in range(3):
        patience.bear(broken)
    with pytest.raises(BrokenOff):
        patience.bear(broken)
    patience.answered()
    patience.bear(Unreachable("restarting."))
    patience.bear(Unreachable("restarting."))
    with pytest.raises(Unreachable):
        patience.bear(Unreachable("gone."))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("event: a\ndata: 1\n\n", [Message("a", "1")]),
        ("data:1\n\n", [Message("message", "1")]),
        ("data: 1\ndata: 2\n\n", [Message("message", "1\n2")]),
        (": ping\n\nretry: 5\n\nid: 3\n\n", []),
        ("event: a\n\ndata: 1\n\n", [Message("message", "1")]),
        ("data: 1\n", []),
    ],
)
def test_the_format(text: str, found: list[Message]) -> None:
    parser = Parser()
    lines = text.split("\n")[:-1]
    assert [message for line in lines if (message := parser.feed(line))] == found
