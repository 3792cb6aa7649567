"""Long polls and event streams over real sockets: told in time, cheap, and gone when they should be."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import streams
from api.waiting import Waiting
from core.errors import StoreUnavailable
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.progress import Progress
from tests.faults.farm import wait_for
from tests.integration.test_http_submit import refused
from tests.served import NOW, Served, served

STREAM = {"Accept": "text/event-stream"}
WHY = Failure(code="bad-data", message="why", remedy="do")


def room(server: Served) -> Waiting:
    waiting: Waiting = server.app.state.waiting
    return waiting


def soon(seconds: float, run: Any, *arguments: Any) -> threading.Timer:
    timer = threading.Timer(seconds, run, arguments)
    timer.start()
    return timer


def fail(server: Served, job_id: str, epoch: int = 1) -> None:
    server.jobs.fail(job_id, epoch, WHY, NOW)


def at(job_id: str) -> str:
    return f"/v1/jobs/{job_id}"


@contextmanager
def asked(server: Served, path: str, **headers: str) -> Iterator[socket.socket]:
    """A request whose answer is left to be read, or not."""
    host, port = server.url.removeprefix("http://").split(":")
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in headers.items())]
    with socket.create_connection((host, int(port))) as line:
        line.sendall("\r\n".join([*lines, "", ""]).encode())
        yield line


class TestLongPoll:
    def test_a_change_is_told_when_it_comes(self, server: Served) -> None:
        job_id = server.running()
        etag = server.http.get(at(job_id)).headers["etag"]
        timer = soon(0.5, server.jobs.progress, job_id, 1, Progress("pruning", 0.7, "x"), NOW, 1.0)
        began = time.monotonic()
        answer = server.http.get(f"{at(job_id)}?wait=20", headers={"If-None-Match": etag})
        timer.join()
        assert 0.4 < time.monotonic() - began < 15
        assert (answer.status_code, answer.json()["progress"]) == (200, 0.7)
        assert answer.headers["etag"] != etag

    def test_without_a_tag_the_end_is_waited_for(self, server: Served) -> None:
        job_id = server.running()
        timers = [
            soon(0.3, server.jobs.progress, job_id, 1, Progress("pruning", 0.7, "x"), NOW, 1.0),
            soon(0.8, fail, server, job_id),
        ]
        answer = server.http.get(f"{at(job_id)}?wait=20")
        for timer in timers:
            timer.join()
        assert answer.json()["state"] == "failed"
        assert server.http.get(f"{at(job_id)}?wait=20").elapsed.total_seconds() < 5

    def test_time_runs_out_with_what_there_is(self, server: Served) -> None:
        job_id = server.running()
        answer = server.http.get(f"{at(job_id)}?wait=0.5")
        assert (answer.status_code, answer.json()["state"]) == (200, "running")
        assert answer.elapsed.total_seconds() >= 0.5
        known = {"If-None-Match": answer.headers["etag"]}
        assert server.http.get(f"{at(job_id)}?wait=0.5", headers=known).status_code == 304
        # What the client does not know yet is not held back.
        stale = {"If-None-Match": '"1"'}
        assert server.http.get(f"{at(job_id)}?wait=20", headers=stale).status_code == 200

    def test_a_retry_and_a_deletion_are_changes(self, server: Served) -> None:
        job_id = server.failed()
        known = {"If-None-Match": server.http.get(at(job_id)).headers["etag"]}
        timer = soon(0.4, server.http.post, f"{at(job_id)}/retry")
        answer = server.http.get(f"{at(job_id)}?wait=20", headers=known)
        timer.join()
        assert answer.json()["state"] == "queued"
        server.jobs.cancel("default", job_id, NOW)
        known = {"If-None-Match": server.http.get(at(job_id)).headers["etag"]}
        timer = soon(0.4, server.http.delete, at(job_id))
        refused(server.http.get(f"{at(job_id)}?wait=20", headers=known), 404, "job-not-found")
        timer.join()

    @pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "x", "", "1&wait=2"])
    def test_a_bad_wait_is_refused(self, server: Served, wait: str) -> None:
        refused(server.http.get(f"{at(server.submit())}?wait={wait}"), 422, "invalid-spec")

    def test_two_hundred_wait_on_no_thread_and_no_connection(
        self, server: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks: list[int] = []
        real = server.app.state.waiting.watcher._look

        def look(ids: list[str]) -> object:
            looks.append(len(ids))
            return real(ids)

        monkeypatch.setattr(server.app.state.waiting.watcher, "_look", look)
        ids = [server.running() for _ in range(10)]
        with ExitStack() as stack:
            lines = [
                stack.enter_context(asked(server, f"{at(ids[n % 10])}?wait=30")) for n in range(200)
            ]
            wait_for(lambda: room(server).watcher.waiting == 200, "200 waiters")
            before = len(looks)
            began = time.monotonic()
            for _ in range(20):
                assert server.http.get("/v1/jobs?limit=1").status_code == 200
            took = time.monotonic() - began
            assert len(looks) - before <= took / 0.25 + 2
            assert set(looks[before:]) <= {10}
            for job_id in ids:
                fail(server, job_id)
            for line in lines:
                assert line.recv(15) == b"HTTP/1.1 200 OK"
        assert room(server).places.taken == 0

    def test_a_client_that_hangs_up_waits_no_more(self, server: Served) -> None:
        with asked(server, f"{at(server.running())}?wait=60"):
            wait_for(lambda: room(server).watcher.waiting == 1, "the waiter")
        # Its place is free a turn of the event loop earlier than the waiter is gone.
        wait_for(lambda: room(server).places.taken == 0, "its place", seconds=10)
        wait_for(lambda: room(server).watcher.waiting == 0, "the waiter's end", seconds=10)


def messages(answer: httpx.Response) -> Iterator[tuple[str, Any, str | None]]:
    """Event, data and id, as an EventSource would hand them out; comments as `ping`."""
    found: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line == ": ping":
            yield "ping", None, None
        elif line:
            found[name] = value
        elif "data" in found:
            yield found["event"], json.loads(found["data"]), found.get("id")
            found = {}


def streamed(server: Served, path: str, **headers: str) -> list[tuple[str, Any, str | None]]:
    with server.http.stream("GET", path, headers=STREAM | headers) as answer:
        assert answer.status_code == 200
        return list(messages(answer))


class TestStream:
    def test_events_come_as_they_happen_and_then_the_end(self, server: Served) -> None:
        job_id = server.running()
        seen: list[tuple[str, Any, str | None]] = []
        with server.http.stream("GET", f"{at(job_id)}/events", headers=STREAM) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["x-accel-buffering"] == "no"
            for message in messages(answer):
                seen.append(message)
                if message[2] == "3":
                    server.jobs.progress(job_id, 1, Progress("pruning", 0.9, "é\n🌲"), NOW, 1.0)
                if message[2] == "4":
                    fail(server, job_id)
        page = server.http.get(f"{at(job_id)}/events").json()["data"]
        assert [(e["type"], e, str(e["id"])) for e in page] == seen[:-1]
        assert seen[-1] == ("end", {"state": "failed"}, None)

    def test_it_is_taken_up_where_it_broke_off(self, server: Served) -> None:
        job_id = server.failed()
        everything = streamed(server, f"{at(job_id)}/events")
        assert [number for *_, number in everything] == ["1", "2", "3", None]
        for path, headers in [
            (f"{at(job_id)}/events?after=2", {}),
            (f"{at(job_id)}/events", {"Last-Event-ID": "2"}),
            (f"{at(job_id)}/events?after=0&limit=1", {"Last-Event-ID": "2"}),
        ]:
            assert streamed(server, path, **headers) == everything[2:]
        assert streamed(server, f"{at(job_id)}/events?limit=1") == everything
        assert streamed(server, f"{at(job_id)}/events?after=3") == everything[3:]

    def test_who_comes_back_after_the_end_is_told_to_stay_away(self, server: Served) -> None:
        job_id = server.failed()
        again = server.http.get(f"{at(job_id)}/events", headers=STREAM | {"Last-Event-ID": "3"})
        assert (again.status_code, again.content) == (204, b"")

    def test_a_history_with_an_end_in_its_middle_goes_on(self, server: Served) -> None:
        job_id = server.failed()
        server.jobs.retry("default", job_id, NOW)
        timer = soon(0.5, server.jobs.cancel, "default", job_id, NOW)
        seen = streamed(server, f"{at(job_id)}/events")
        timer.join()
        states = [data["data"]["state"] for kind, data, _ in seen if kind == "state"]
        assert states == ["queued", "running", "failed", "queued", "cancelled"]
        assert seen[-1] == ("end", {"state": "cancelled"}, None)

    def test_a_deletion_ends_it(self, server: Served) -> None:
        job_id = server.running()
        with server.http.stream("GET", f"{at(job_id)}/events", headers=STREAM) as answer:
            found = messages(answer)
            assert next(found)[0] == "state"
            server.jobs.cancel("default", job_id, NOW)
            server.jobs.give_back(job_id, 1, "asked to", NOW)
            server.jobs.bury("default", job_id, NOW)
            assert list(found)[-1][:2] in [
                ("end", {"state": "deleted"}), ("end", {"state": "cancelled"})
            ]  # fmt: skip

    @pytest.mark.parametrize("given", ["-1", "x", "", str(2**63)])
    def test_a_bad_id_is_refused(self, server: Served, given: str) -> None:
        headers = STREAM | {"Last-Event-ID": given}
        answer = server.http.get(f"{at(server.failed())}/events", headers=headers)
        problem = refused(answer, 422, "invalid-spec")
        assert [e["field"] for e in problem["errors"]] == ["last-event-id"]

    @pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream;q=0.5, */*"])
    def test_others_get_pages(self, server: Served, accept: str) -> None:
        answer = server.http.get(f"{at(server.failed())}/events", headers={"Accept": accept})
        assert len(answer.json()["data"]) == 3

    def test_silence_is_broken_by_pings(
        self, server: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "PING_SECONDS", 0.2)
        job_id = server.running()
        with server.http.stream("GET", f"{at(job_id)}/events?after=9", headers=STREAM) as answer:
            found = messages(answer)
            assert [next(found)[0] for _ in range(3)] == ["ping"] * 3

    def test_it_ends_by_itself_without_the_end(
        self, server: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "PING_SECONDS", 0.2)
        monkeypatch.setattr(streams, "LIFETIME_SECONDS", 0.5)
        seen = streamed(server, f"{at(server.running())}/events")
        assert "end" not in [kind for kind, *_ in seen]

    def test_a_database_that_is_away_for_a_while_breaks_nothing(
        self, server: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "_AWAY_SECONDS", 0.1)
        job_id = server.running()
        real, refusals = JobStore.news, [3]

        def news(*arguments: Any, **named: Any) -> Any:
            if named["after"] == 3 and refusals[0]:
                refusals[0] -= 1
                raise StoreUnavailable("away.")
            return real(*arguments, **named)

        monkeypatch.setattr(JobStore, "news", news)
        timer = soon(0.5, fail, server, job_id)
        seen = streamed(server, f"{at(job_id)}/events")
        timer.join()
        assert refusals == [0]
        assert [number for *_, number in seen if number] == ["1", "2", "3", "4"]

    def test_a_client_that_hangs_up_frees_its_place(self, server: Served) -> None:
        with asked(server, f"{at(server.running())}/events", **STREAM) as line:
            assert line.recv(15) == b"HTTP/1.1 200 OK"
            assert room(server).places.taken == 1
        wait_for(lambda: room(server).places.taken == 0, "its place", seconds=10)
        wait_for(lambda: room(server).watcher.waiting == 0, "its future", seconds=10)

    def test_a_client_that_takes_nothing_is_given_up(
        self, server: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "LIFETIME_SECONDS", 0.5)
        monkeypatch.setattr(streams, "_GRACE_SECONDS", 0.5)
        job_id = server.running()
        for _ in range(60):
            server.jobs.log(job_id, 1, "x" * 200_000, NOW)
        with asked(server, f"{at(job_id)}/events", **STREAM):
            wait_for(lambda: room(server).places.taken == 1, "the stream", seconds=10)
            wait_for(lambda: room(server).places.taken == 0, "its end", seconds=20)


def test_places_are_limited_by_tenant_and_in_all(tmp_path: Path) -> None:
    with (
        served(tmp_path, max_waiting=3, max_waiting_per_tenant=2) as server,
        ExitStack() as stack,
    ):
        keys = {name: server.key(tenant=name).text for name in "abc"}

        def ask(tenant: str, what: str) -> httpx.Response:
            headers = STREAM | {"Authorization": f"Bearer {keys[tenant]}"}
            return server.http.get(f"{at(jobs[tenant])}{what}", headers=headers)

        jobs = {tenant: server.submit(tenant) for tenant in keys}
        for tenant in "aab":
            bearer = {"Authorization": f"Bearer {keys[tenant]}"}
            path = f"{at(jobs[tenant])}/events"
            line = stack.enter_context(asked(server, path, **STREAM, **bearer))
            assert line.recv(15) == b"HTTP/1.1 200 OK"
        for what in ("/events", "?wait=5"):
            mine = ask("a", what)
            refused(mine, 429, "too-many-waiting")
            assert int(mine.headers["retry-after"]) >= 1
            refused(ask("c", what), 503, "no-place-to-wait")
        # Who does not wait needs no place.
        assert ask("a", "").status_code == 200
        stack.close()
        wait_for(lambda: room(server).places.taken == 0, "free places", seconds=10)
        assert ask("c", "?wait=0.1").status_code == 200


def test_a_revoked_key_hears_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PING_SECONDS", 0.2)
    with served(tmp_path) as server:
        key = server.key(tenant="a")
        job_id = server.submit("a")
        bearer = {"Authorization": f"Bearer {key.text}"}
        path = f"{at(job_id)}/events"
        with server.http.stream("GET", path, headers=STREAM | bearer) as answer:
            found = messages(answer)
            assert next(found)[0] == "state"
            server.keys.revoke(key.key.id, NOW)
            # It passes for as long as the process remembers it, and no longer.
            assert {kind for kind, *_ in found} <= {"ping"}


def test_the_servers_end_waits_for_nobody(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        with served(tmp_path) as server:
            job_id = server.running()
            polled = pool.submit(httpx.get, f"{server.url}{at(job_id)}?wait=60", timeout=90)
            stream = pool.submit(
                httpx.get, f"{server.url}{at(job_id)}/events", headers=STREAM, timeout=90
            )
            wait_for(lambda: room(server).watcher.waiting == 2, "both")
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert polled.result().json()["state"] == "running"
        assert "event: end" not in stream.result().text
