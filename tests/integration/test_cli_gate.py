"""`secateur submit --wait --fail-if` and `secateur check`, as a pipeline sees them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.errors import OutOfMemory
from core.jobs.views import Failure, Job
from core.progress import Progress
from core.waiting_errors import TooManyWaiting
from secateur.cli._waiting import wait
from secateur.client import Client
from secateur.problems import Unreachable, WaitedTooLong
from tests.commands import Ran, run
from tests.faulty_proxy import faulty_proxy
from tests.report_inputs import report_for, sink_arrays
from tests.served import NOW, Served

REPORT = report_for(sink_arrays("drifting")).model_dump_json().encode()
FILES = {"report/report.json": REPORT}
Command = Callable[..., Ran]


@pytest.fixture
def submit(
    server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.setenv("SECATEUR_URL", server.url)

    def command(*arguments: str) -> Ran:
        model = str(server.folder / "models" / "a")
        return run(capsys, "submit", model, "--sparsity", "0.5", *arguments)

    return command


@contextmanager
def worker(server: Served, end: Callable[[str], object]) -> Iterator[None]:
    """Takes the one job that the test submits to its `end`."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            for job_id in server.jobs.queued_ids(limit=1):
                end(job_id)
                return
            time.sleep(0.02)

    for left in server.jobs.queued_ids(limit=100):
        server.jobs.cancel("default", left, NOW)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_an_open_gate(server: Served, submit: Command) -> None:
    with worker(server, lambda job_id: server.finish(job_id, FILES)):
        ran = submit("--wait", "--json", "--fail-if", "nelbo_delta>0.2", "--fail-if", "sparsity<.4")
    assert ran.status == 0, ran.err
    told = ran.json()
    assert told["verdict"] == "passed"
    assert told["job"]["state"] == "succeeded"
    assert [each["met"] for each in told["conditions"]] == [False, False]
    assert told["metrics"]["nelbo_delta"] == 0.1234
    listed = server.http.get(told["artifacts_url"]).json()["data"]
    assert {file["name"] for file in listed} == {"report/report.json", "manifest.json"}
    assert "queued" in ran.err


def test_a_closed_gate_ends_with_its_own_status(server: Served, submit: Command) -> None:
    with worker(server, lambda job_id: server.finish(job_id, FILES)):
        ran = submit("--wait", "--json", "--fail-if", "nelbo_delta > 0.05")
    assert ran.status == 6
    assert ran.json()["conditions"] == [
        {"condition": "nelbo_delta>0.05", "metric": "nelbo_delta", "threshold": 0.05,
         "value": 0.1234, "met": True}
    ]  # fmt: skip
    assert "nelbo_delta>0.05" in ran.err
    with worker(server, lambda job_id: server.finish(job_id, FILES)):
        plain = submit("--wait", "--fail-if", "nelbo_delta > 0.05")
    assert plain.status == 6
    assert plain.out.splitlines()[0] == "nelbo_delta>0.05: FAILED (0.1234)"


def test_what_the_report_lacks_never_passes(server: Served, submit: Command) -> None:
    without = json.loads(REPORT) | {"speed": None}
    files = {"report/report.json": json.dumps(without).encode()}
    with worker(server, lambda job_id: server.finish(job_id, files)):
        ran = submit("--wait", "--json", "--fail-if", "speedup<0.9")
    assert ran.status == 2
    assert ran.json()["verdict"] == "unjudged"
    assert "speedup" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--wait", "--fail-if", "loss>1"), "no metric is called 'loss'"),
        (("--wait", "--fail-if", "nelbo_delta"), "no condition"),
        (("--fail-if", "nelbo_delta>1"), "--wait"),
        (("--timeout", "5"), "--wait"),
        (("--github",), "--wait"),
    ],
)
def test_a_gate_that_cannot_work_submits_nothing(
    server: Served, submit: Command, arguments: tuple[str, ...], said: str
) -> None:
    before = [job.id for job in Client(server.url).list()]
    ran = submit(*arguments)
    assert ran.status == 2
    assert said in ran.err
    assert ran.out == ""
    assert [job.id for job in Client(server.url).list()] == before


def test_a_job_that_fails_ends_the_command_as_it_failed(server: Served, submit: Command) -> None:
    def fail(job_id: str) -> None:
        epoch = server.claim(job_id)
        server.jobs.progress(job_id, epoch, Progress("pruning", 0.5, "block 3"), NOW, None)
        failure = Failure(code=OutOfMemory.code, message="memory ran out.", remedy="Buy more.")
        server.jobs.fail(job_id, epoch, failure, NOW)

    with worker(server, fail):
        ran = submit("--wait", "--json", "--fail-if", "nelbo_delta>0.05")
    assert ran.status == OutOfMemory.exit_status
    assert ran.json()["verdict"] == "job-failed"
    assert ran.json()["artifacts_url"] is None
    assert "pruning: block 3" in ran.err
    assert "Buy more." in ran.err


def test_a_cancelled_job_ends_the_command(server: Served, submit: Command) -> None:
    with worker(server, lambda job_id: server.jobs.cancel("default", job_id, NOW)):
        ran = submit("--wait", "--json")
    assert ran.status == 130
    assert ran.json()["verdict"] == "job-cancelled"


def test_a_timeout_has_its_own_status_and_leaves_the_job(server: Served, submit: Command) -> None:
    ran = submit("--wait", "--timeout", "0.3", "--json")
    assert ran.status == 124
    told = ran.json()
    assert told["verdict"] == "timed-out"
    assert server.jobs.get("default", told["job"]["id"]).state == "queued"
    assert told["job"]["id"] in ran.err


def test_github_files(
    server: Served, submit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, output = tmp_path / "summary.md", tmp_path / "output"
    step.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    with worker(server, lambda job_id: server.finish(job_id, FILES)):
        ran = submit("--wait", "--github", "--json", "--fail-if", "nelbo_delta>0.05")
    assert ran.status == 6
    assert step.read_text().startswith("before\n### Pruning gate failed")
    pairs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    assert pairs["verdict"] == "failed"
    assert pairs["job"] == ran.json()["job"]["id"]
    assert pairs["artifacts-url"] == ran.json()["artifacts_url"]
    assert json.loads(pairs["metrics"])["agreement"] == ran.json()["metrics"]["agreement"]


class Restarting(Client):
    """A server that is away for the first few questions."""

    def __init__(self, url: str, away: int) -> None:
        super().__init__(url)
        self.away = away

    def get(self, job_id: str) -> Job:
        self.away -= 1
        if self.away >= 0:
            raise Unreachable("no answer.")
        return super().get(job_id)


def test_waiting_outlasts_a_restart_but_not_for_ever(server: Served) -> None:
    job_id = server.succeeded(FILES)
    told: list[str] = []
    with Restarting(server.url, away=1) as client:
        job = wait(client, job_id, lambda event: told.append(event.message))
    assert job.state == "succeeded"
    assert told == ["queued", "attempt 1 started", "succeeded"]
    with Restarting(server.url, away=9) as client, pytest.raises(Unreachable):
        wait(client, job_id, lambda _: None, patience=0)


class Crowded(Client):
    """No place to wait at its server."""

    def changed(self, job: Job, *, seconds: float = 20.0) -> Job:
        raise TooManyWaiting(most=1)


def test_waiting_asks_when_there_is_news(server: Served) -> None:
    def end(job_id: str) -> threading.Timer:
        failure = Failure(code="bad-data", message="why")
        timer = threading.Timer(3.0, server.jobs.fail, [job_id, 1, failure, NOW])
        timer.start()
        return timer

    job_id = server.running()
    with faulty_proxy(server.url) as proxy, Client(proxy.url) as client:
        timer = end(job_id)
        assert wait(client, job_id, lambda _: None).state == "failed"
        assert len(proxy.seen) <= 5, "once a second it would be eight"
        timer.join()
    job_id = server.running()
    with Crowded(server.url) as client:
        timer = end(job_id)
        assert wait(client, job_id, lambda _: None, timeout=60).state == "failed"
        timer.join()
    with Client(server.url) as client, pytest.raises(WaitedTooLong):
        wait(client, server.running(), lambda _: None, timeout=0.3)


def test_a_part_of_a_job_can_be_downloaded(server: Served, tmp_path: Path) -> None:
    job_id = server.succeeded({**FILES, "model/weights.bin": b"large"})
    with Client(server.url) as client:
        client.download(job_id, tmp_path, only=lambda name: name.startswith("report/"))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["report.json"]


def test_check_judges_a_folder_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report" / "report.json"
    file.parent.mkdir()
    file.write_bytes(REPORT)
    assert run(capsys, "check", str(tmp_path), "--fail-if", "nelbo_delta>0.2").status == 0
    failed = run(capsys, "check", str(file), "--fail-if", "nelbo_delta>0.1", "--json")
    assert failed.status == 6
    assert failed.json()["verdict"] == "failed"
    assert "job" not in failed.json()
    assert "sparsity" in run(capsys, "check", str(file)).out
    assert run(capsys, "check", str(tmp_path / "none")).status == 2
    file.write_text("{}")
    assert run(capsys, "check", str(file)).status == 1
    assert "nelbo_delta" in run(capsys, "check", "--list-metrics").out
