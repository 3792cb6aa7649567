"""The command line as a program: what is on stdout, what on stderr, and the exit status."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.jobs.views import Failure
from core.progress import Forecast, Progress
from core.store import manifest
from tests.checkpoints import tiny_llada
from tests.commands import Run, runner
from tests.served import NOW, Served

HOME = Path(__file__).resolve().parents[2]
TEXT = HOME / "tests" / "verses.txt"


@pytest.fixture
def run(server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, against the test's server."""
    monkeypatch.setenv("SECATEUR_URL", server.url)
    return runner(capsys)


def test_status_tells_attempts_and_last_lines(server: Served, run: Run) -> None:
    job_id = server.submit()
    epoch = server.claim(job_id)
    server.jobs.planned(job_id, epoch, Forecast(2 * 10**9, 4 * 10**9, 10**9, 8, 1e12, 90.0), NOW)
    server.jobs.requeue(job_id, epoch, "killed by SIGKILL", NOW, max_attempts=3)
    server.claim(job_id)
    failure = Failure(code="internal", message="why.", remedy="do", log=("first", "last line"))
    server.jobs.fail(job_id, 2, failure, NOW)
    lines = run("status", job_id).out.splitlines()
    assert any(line.startswith("attempt   1 on w since 20") for line in lines)
    assert any("died: killed by SIGKILL" in line for line in lines)
    assert any("attempt   2 on w" in line and "failed: why." in line for line in lines)
    assert lines[-2:] == ["  | first", "  | last line"]
    shown = run("status", job_id, "--json").json()
    assert [each["outcome"] for each in shown["attempts"]] == ["died", "failed"]
    assert shown["error"]["log"] == ["first", "last line"]


def test_status_tells_the_plan(server: Served, run: Run) -> None:
    job_id = server.submit()
    epoch = server.claim(job_id)
    server.jobs.planned(job_id, epoch, Forecast(2 * 10**9, 4 * 10**9, 10**9, 8, 1e12, 90.0), NOW)
    assert "plan      2.00 GB at its peak, of a budget of 4.00 GB, groups of 8" in (
        run("status", job_id).out
    )
    server.jobs.cancel("default", job_id, NOW)


def test_submit_status_list_cancel(server: Served, run: Run) -> None:
    model = str(server.folder / "models" / "a")
    submitted = run("submit", model, "--sparsity", "0.5", "--method", "wanda", "--json")
    job = submitted.json()
    assert submitted.status == 0
    assert job["spec"]["model"]["source"] == f"file://{model}"
    assert run("status", job["id"], "--json").json()["state"] == "queued"
    assert "queued" in run("status", job["id"]).out
    listed = run("list", "--method", "wanda", "--state", "queued", "--json").json()["data"]
    assert job["id"] in [each["id"] for each in listed]
    assert job["id"] in run("list").out
    assert run("cancel", job["id"], "--json").json()["state"] == "cancelled"
    again = run("cancel", job["id"])
    assert again.status == 1
    assert again.out == ""
    assert again.err.startswith("error: job ")


def test_retry_and_delete(server: Served, run: Run) -> None:
    job_id = server.failed()
    assert run("retry", job_id).out == f"{job_id} queued\n"
    again = run("retry", job_id)
    assert (again.status, again.out) == (1, "")
    assert "cannot be retried" in again.err
    assert "Cancel it" in run("delete", job_id).err
    run("cancel", job_id)
    assert run("retry", job_id, "--json").json()["state"] == "queued"
    run("cancel", job_id)
    assert run("delete", job_id, "--json").json() == {"id": job_id, "deleted": True}
    assert run("delete", job_id).status == 1
    other = server.failed()
    assert run("delete", other).out == f"{other} deleted\n"


def test_submit_prints_the_id_alone(server: Served, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(server.spec()))
    ran = run("submit", "--spec", str(file))
    assert ran.status == 0
    assert ran.out.strip().startswith("job_")
    assert len(ran.out.split()) == 1
    assert ran.out.strip() in ran.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["submit", "example:kjv-dlm", "--sparsity", "2"], 2, "sparsity: "),
        (["submit", "example:kjv-dlm", "--sparsity", "0.5", "--pattern", "structured:ffn"], 2, "structured:ffn"),
        (["submit", "example:other", "--sparsity", "0.5"], 3, "kjv-dlm"),
        (["submit"], 2, "no model"),
        (["status", "job_x"], 1, "no job 'job_x'"),
        (["status", "job_x", "--url", "http://127.0.0.1:1"], 1, "secateur serve"),
        (["list", "--state", "done"], 2, "done"),
        (["list", "--metadata", "x"], 2, "KEY=VALUE"),
        (["status"], 2, "JOB"),
        (["nonsense"], 2, "nonsense"),
        (["api", "--host", "0.0.0.0"], 2, "SECATEUR_DATABASE_URL"),
        (["prune", "example:kjv-dlm", "--sparsity", "1", "--out", "x"], 2, "sparsity: "),
        (["prune", "--out", "x", "--sparsity", "0.5", "/nowhere"], 3, "/nowhere"),
        (["prune", "--out", "x", "--spec", "pushes.json"], 2, "secateur push x s3://bucket/prefix"),
        (["submit", "--spec", "pushes.json"], 2, "SECATEUR_PUSH_DESTINATIONS"),
    ],
)  # fmt: skip
def test_refusals_have_a_status_and_a_line(
    run: Run,
    arguments: list[str],
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5}
    pushes = {**spec, "output": {"push": "s3://bucket/prefix"}}
    (tmp_path / "pushes.json").write_text(json.dumps(pushes))
    ran = run(*arguments)
    assert ran.status == status, ran.err
    assert said in ran.err
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert not (tmp_path / "x").exists()


def test_watch_follows_a_job_to_its_end(server: Served, run: Run) -> None:
    job_id = server.submit()

    def work() -> None:
        epoch = server.claim(job_id)
        server.jobs.progress(job_id, epoch, Progress("analysing", 0.4, "half"), NOW, None)
        server.jobs.succeed(job_id, epoch, "jobs/x/manifest.json", NOW)

    worker = threading.Timer(0.5, work)
    worker.start()
    ran = run("watch", job_id, "--json")
    worker.join()
    assert ran.status == 0
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["id"] for line in lines[:-1]] == list(range(1, len(lines)))
    assert lines[-1]["state"] == "succeeded"
    assert "analysing: half" in ran.err
    assert run("watch", server.failed()).status == 3


def test_download_verifies(server: Served, run: Run, tmp_path: Path) -> None:
    job_id = server.succeeded({"model/config.json": b"{}", "report/report.json": b"{}"})
    ran = run("download", job_id, "--out", str(tmp_path / "d"), "--json")
    assert ran.json() == {"folder": str(tmp_path / "d"), "files": 2, "bytes": 4}
    manifest.verify(tmp_path / "d")
    assert run("download", server.submit(), "--out", str(tmp_path / "e")).status == 1
    assert not (tmp_path / "e").exists()


def test_doctor_speaks_json(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run("doctor", "--json")
    names = [finding["name"] for finding in ran.json()["data"]]
    assert {"python", "torch", "database", "broker", "store", "server"} <= set(names)
    assert ran.status == 0
    monkeypatch.setenv("SECATEUR_BROKER_URL", "redis://127.0.0.1:1")
    assert run("doctor").status == 1
    monkeypatch.setenv("SECATEUR_THREADS", "many")
    wrong = run("doctor")
    assert wrong.status == 2
    assert "SECATEUR_THREADS" in wrong.err


def test_prune_writes_a_folder_and_tells_in_json(run: Run, tmp_path: Path) -> None:
    tiny_llada(tmp_path / "model")
    out = tmp_path / "out"
    arguments = ["prune", str(tmp_path / "model"), "--sparsity", "0.5", "--method", "magnitude",
                 "--calibration", str(TEXT), "--samples", "2", "--sequence-length", "32",
                 "--threads", "1", "--memory-budget", "2GB", "--out", str(out)]  # fmt: skip
    ran = run(*arguments, "--json")
    assert ran.status == 0, ran.err
    told = ran.json()
    assert told["out"] == str(out)
    assert told["sparsity"]["overall"] == pytest.approx(0.5, abs=0.01)
    manifest.verify(out)
    existing = run(*arguments)
    assert existing.status == 2
    assert "--force" in existing.err
    made = (out / "manifest.json").stat().st_ino
    forced = run(*arguments, "--force")
    assert forced.status == 0, forced.err
    assert str(out / "report" / "report.html") in forced.out
    assert (out / "manifest.json").stat().st_ino != made
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "out"]


def secateur(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "secateur.cli", *arguments],
        cwd=HOME,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_watching_with_130(server: Served) -> None:
    watching = secateur("watch", server.running(), SECATEUR_URL=server.url)
    assert watching.stderr is not None
    watching.stderr.readline()  # it has begun
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert "Traceback" not in err


def alive(mark: str) -> list[str]:
    """Command lines of the processes that carry `mark` in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            environment = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes()
        except OSError:  # it ended, or is nobody's business
            continue
        if mark.encode() in environment and command:
            found.append(command.replace(b"\0", b" ").decode())
    return found


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("starting a server", signal.SIGINT),
        ("ready: ", signal.SIGTERM),
        ("attempt 1 started", signal.SIGINT),
        ("attempt 1 started", signal.SIGKILL),
    ],
)
def test_a_demo_that_is_stopped_leaves_no_process(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    mark = f"{os.getpid()}-{number}-{tmp_path.name}"
    demo = secateur("demo", "--data", str(tmp_path / "demo"), SECATEUR_TEST_MARK=mark)
    assert demo.stderr is not None
    for line in demo.stderr:
        if moment in line:
            break
    assert len(alive(mark)) >= 1
    demo.send_signal(number)
    _, err = demo.communicate(timeout=120)
    assert demo.returncode == (-9 if number == signal.SIGKILL else 130), err
    deadline = time.monotonic() + 30
    while alive(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(mark) == []


def test_a_server_that_cannot_start_is_reported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_LEASE_SECONDS", "-1")
    ran = run("demo", "--data", str(tmp_path / "demo"))
    assert ran.status == 1
    assert "LEASE_SECONDS" in ran.err
