"""The client against a real server, and against connections that break."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from core.all_errors import tree
from core.errors import (
    BadRequest,
    CorruptObject,
    InvalidSpec,
    JobNotFound,
    NotAvailable,
    NotFound,
    TextTooShort,
    WrongState,
)
from core.jobs.states import State
from core.spec import parse_spec
from secateur import Client
from secateur.download import Artifact, local_path
from secateur.problems import (
    NotASecateurServer,
    Unreachable,
    WaitedTooLong,
    failure_of,
    rebuilt,
)
from tests.clients import Connect, fetch
from tests.served import NOW, Served

FILES = {
    "model/config.json": b"{}",
    "model/w.safetensors": bytes(range(256)) * 64,
    "report/report.json": b'{"a": 1}',
}


def test_submit_get_cancel(server: Served, client: Client) -> None:
    job = client.submit(server.spec(metadata={"a": "b"}))
    assert client.get(job.id) == job
    assert client.submit(parse_spec(server.spec())).spec == job.spec | {"metadata": {}}
    assert client.cancel(job.id).state is State.CANCELLED
    with pytest.raises(WrongState):
        client.cancel(job.id)


def test_refusals_are_raised_as_what_they_are(server: Served, client: Client) -> None:
    with pytest.raises(InvalidSpec) as invalid:
        client.submit(server.spec(sparsity=2))
    assert [f["field"] for f in invalid.value.fields] == ["sparsity"]
    with pytest.raises(NotAvailable, match="structured:ffn"):
        client.submit(server.spec(pattern="structured:ffn"))
    for strange in ("job_x", "../healthz", "a?b=c"):
        with pytest.raises(NotFound):
            client.get(strange)
    with pytest.raises(JobNotFound):
        client.get("job_0123456789abcdef01234567")


def test_every_error_of_ours_can_be_raised_again() -> None:
    for code, kind in tree().items():
        error = rebuilt(code, "what", "do this")
        assert type(error) is kind
        assert str(error) == "what do this"
    assert type(rebuilt("of-a-newer-server", "what", "")).code == "internal"
    assert isinstance(rebuilt("invalid-spec", "what", "", ["odd", 3]), InvalidSpec)


def test_lists_run_over_all_pages(server: Served, client: Client) -> None:
    mark = {"test": type(client).__name__}
    made = {server.submit(metadata=mark) for _ in range(5)}
    listed = client.list(metadata=mark, state=State.QUEUED, page_size=2)
    assert {job.id for job in listed} == made


def end_as_cancelled(server: Served, job_id: str, epoch: int) -> None:
    """What a worker does with a run that was asked to stop."""
    server.jobs.cancel("default", job_id, NOW)
    server.jobs.give_back(job_id, epoch, "asked to stop", NOW)


def test_waiting_ends_with_the_job(server: Served, client: Client) -> None:
    job_id = server.submit()
    epoch = server.claim(job_id)
    finish = threading.Timer(0.7, end_as_cancelled, [server, job_id, epoch])
    with pytest.raises(WaitedTooLong):
        client.wait(job_id, timeout=0)
    finish.start()
    assert client.wait(job_id, timeout=60).state is State.CANCELLED
    finish.join()


def test_events_are_followed_to_the_last(server: Served, client: Client) -> None:
    job_id = server.running()
    epoch = server.jobs.get("default", job_id).epoch
    cancel = threading.Timer(0.7, end_as_cancelled, [server, job_id, epoch])
    cancel.start()
    seen = [event.id for event in client.events(job_id)]
    cancel.join()
    last = server.jobs.events("default", job_id, limit=1000).data[-1]
    assert seen == list(range(1, last.id + 1))
    assert last.data["state"] == "cancelled"
    assert [e.id for e in client.events(job_id, after=2, follow=False)] == seen[2:]


def test_a_failed_job_carries_its_error(server: Served, client: Client) -> None:
    failure = failure_of(client.get(server.failed()))
    assert isinstance(failure, TextTooShort)
    assert failure.exit_status == 3
    assert failure_of(client.get(server.submit())) is None


def test_a_download_is_every_artifact_verified(
    server: Served, client: Client, tmp_path: Path
) -> None:
    job_id = server.succeeded(FILES)
    assert client.report(job_id) == {"a": 1}
    client.download(job_id, tmp_path / "out")
    found = {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file()
    }
    assert {name: data for name, data in found.items() if name != "manifest.json"} == FILES
    inode = (tmp_path / "out" / "model" / "config.json").stat().st_ino
    (tmp_path / "out" / "model" / "w.safetensors").write_bytes(b"damaged")
    client.download(job_id, tmp_path / "out")
    assert (tmp_path / "out" / "model" / "w.safetensors").read_bytes() == FILES[
        "model/w.safetensors"
    ]
    assert (tmp_path / "out" / "model" / "config.json").stat().st_ino == inode


def test_nothing_to_download_says_why(server: Served, client: Client, tmp_path: Path) -> None:
    with pytest.raises(WrongState, match="queued"):
        client.download(server.submit(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_servers_and_none_are_told_apart(connect: Connect, tmp_path: Path) -> None:
    with connect("http://127.0.0.1:1") as nobody, pytest.raises(Unreachable, match="serve"):
        nobody.get("job_x")
    with pytest.raises(BadRequest):
        connect("http://127.0.0.1:port")
    with connect("ftp://127.0.0.1") as odd, pytest.raises(BadRequest):
        odd.get("job_x")
    greeting = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with (
        scripted([greeting]) as (url, _),
        connect(url) as stranger,
        pytest.raises(NotASecateurServer),
    ):
        stranger.get("job_x")


def test_a_question_is_asked_again_where_the_connection_had_just_gone(
    connect: Connect, server: Served
) -> None:
    body = server.http.get(f"/v1/jobs/{server.submit()}").content
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with scripted([b"", answer]) as (url, _), connect(url) as client:
        assert client.get("job_x").state is State.QUEUED


DATA = bytes(range(256)) * 100
ETAG = hashlib.sha256(DATA).hexdigest()


def artifact(sha256: str = ETAG, name: str = "w.bin") -> Artifact:
    return Artifact(name=name, bytes=len(DATA), sha256=sha256, media_type="x/y", url="/w.bin")


@contextmanager
def scripted(answers: list[bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server that sends one answer a connection and hangs up; and the requests it got."""
    requests: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            for answer in answers:
                try:
                    connection, _ = listener.accept()
                except OSError:  # the test is over
                    return
                with connection:
                    requests.append(connection.recv(65536).decode())
                    connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()
        assert len(requests) == len(answers), "the client asked less often than the script says"


def whole(sent: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode() + sent


def partial(start: int, sent: bytes) -> bytes:
    span = f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}"
    length = f"Content-Length: {len(DATA) - start}"
    return f"HTTP/1.1 206 Partial Content\r\n{span}\r\n{length}\r\n\r\n".encode() + sent


def test_a_cut_download_goes_on_where_it_stopped(connect: Connect, tmp_path: Path) -> None:
    script = [whole(DATA[:1000]), partial(1000, DATA[1000:5000]), b"", partial(5000, DATA[5000:])]
    with scripted(script) as (url, requests), connect(url) as client:
        fetch(client, artifact(), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA
    assert [p.name for p in tmp_path.iterdir()] == ["w.bin"]
    assert "range:" not in requests[0].lower()
    for request, start in zip(requests[1:], (1000, 5000, 5000), strict=True):
        assert f"range: bytes={start}-" in request.lower()
        assert f'if-range: "{ETAG}"' in request.lower()


def test_a_server_that_starts_over_is_believed(connect: Connect, tmp_path: Path) -> None:
    with (
        scripted([whole(DATA[:1000]), whole(DATA)]) as (url, _),
        connect(url) as client,
    ):
        fetch(client, artifact(), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA


def test_an_interrupted_process_leaves_no_target_and_the_next_goes_on(
    connect: Connect, tmp_path: Path
) -> None:
    with (
        scripted([whole(DATA[:1000]), *[b""] * 5]) as (url, _),
        connect(url) as client,
        pytest.raises(Unreachable, match="1000 of 25600"),
    ):
        fetch(client, artifact(), tmp_path / "w.bin")
    assert not (tmp_path / "w.bin").exists()
    with scripted([partial(1000, DATA[1000:])]) as (url, _), connect(url) as client:
        fetch(client, artifact(), tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == DATA


@pytest.mark.parametrize("sent", [bytes(len(DATA)), DATA + b"more"], ids=["other", "longer"])
def test_other_bytes_are_thrown_away(connect: Connect, tmp_path: Path, sent: bytes) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent
    with (
        scripted([answer]) as (url, _),
        connect(url) as client,
        pytest.raises(CorruptObject),
    ):
        fetch(client, artifact(), tmp_path / "w.bin")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a//b", "", "a\nb", "link/x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    with pytest.raises(CorruptObject):
        local_path(tmp_path / "out", name)
    assert local_path(tmp_path / "out", "a/b") == tmp_path / "out" / "a" / "b"
