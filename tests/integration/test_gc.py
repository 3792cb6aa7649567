"""`secateur gc` as a command, and what clients hear of results that went."""

import json
import signal
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import ArtifactsExpired
from core.retention import Retention, Rule
from secateur.cli import main
from secateur.client import Client
from tests.integration.test_http_submit import refused
from tests.served import NOW, Served

HOME = Path(__file__).resolve().parents[2]
DOCUMENT = HOME / "docs" / "retention.md"
FILES = {"model/config.json": b"{}", "report/report.json": b"{}", "report/report.html": b"<p>"}


@pytest.fixture
def configured(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that keep the newest result, and others for a day: jobs here ended long ago."""
    monkeypatch.setenv("SECATEUR_DATABASE_URL", f"sqlite:///{server.folder}/jobs.db")
    monkeypatch.setenv("SECATEUR_STORE_URL", (server.folder / "store").as_uri())
    rule = json.dumps({"default": {"ttl_days": 1, "keep_last": 1}})
    monkeypatch.setenv("SECATEUR_RETENTION", rule)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def finish_later(server: Served, seconds: float) -> str:
    """A job that succeeded `seconds` after the others."""
    job_id = server.submit()
    key = f"jobs/{job_id}/{server.claim(job_id)}/manifest.json"
    server.store.put_bytes(key, b"{}")
    server.jobs.succeed(job_id, 1, key, NOW + timedelta(seconds=seconds))
    return job_id


@pytest.mark.usefixtures("configured")
def test_the_command_removes_what_a_dry_run_announces(
    server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough ago for the command's clock, whatever day it is.
    monkeypatch.setattr("secateur.cli.gc._now", lambda: NOW + timedelta(days=3))
    old, newest, live = server.succeeded(FILES), finish_later(server, 5), server.running()
    server.store.put_bytes(f"jobs/job_{'0' * 24}/1/k", b"123")
    status, out, _ = ran(capsys, "gc", "--dry-run")
    assert status == 0
    assert "results expired   1" in out
    assert "would be removed  4 objects" in out
    assert "1 objects, 3 B of 1 jobs this database does not know" in out
    assert server.jobs.get("default", old).expired_at is None
    status, out, _ = ran(capsys, "gc", "--json")
    assert status == 0
    told = json.loads(out)
    assert (told["dry_run"], told["expired_jobs"], told["removed"]["objects"]) == (False, 1, 4)
    assert server.jobs.get("default", old).expired_at == NOW + timedelta(days=3)
    assert server.jobs.manifest_key("default", newest) is not None
    assert server.jobs.get("default", live).state == "running"
    status, out, _ = ran(capsys, "gc", "--unknown")
    assert (status, "1 unknown jobs" in out) == (0, False)  # stored just now


@pytest.mark.parametrize("missing", ["DATABASE_URL", "STORE_URL"])
@pytest.mark.usefixtures("configured")
def test_a_place_that_is_not_set_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.delenv(f"SECATEUR_{missing}")
    status, _, err = ran(capsys, "gc")
    assert status == 2
    assert f"SECATEUR_{missing}" in err


@pytest.mark.usefixtures("configured")
def test_a_database_that_is_away_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_DATABASE_URL", "postgresql://me:swordfish@127.0.0.1:1/db")
    status, _, err = ran(capsys, "gc")
    assert status == 1
    assert "refused" in err
    assert "swordfish" not in err


KILLED_BEFORE_THE_SWEEP = """
import os, signal
from core import cleanup
from secateur.cli import main
cleanup._sweep = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(["gc"])
"""


@pytest.mark.usefixtures("configured")
def test_a_kill_before_the_sweep_leaves_work_for_the_next(
    server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_RETENTION", '{"default": {"keep_last": 1}}')
    old = server.succeeded(FILES)
    finish_later(server, 7)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_SWEEP], cwd=HOME, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert server.jobs.get("default", old).expired_at is not None
    assert len(list(server.store.list(f"jobs/{old}/"))) == 4
    assert ran(capsys, "gc")[0] == 0
    assert list(server.store.list(f"jobs/{old}/")) == []


def test_what_expired_is_gone_for_clients_and_says_so(server: Served, tmp_path: Path) -> None:
    job_id = server.succeeded(FILES)
    at = f"/v1/jobs/{job_id}"
    known = {"If-None-Match": server.http.get(at).headers["etag"]}
    server.jobs.expire(job_id, NOW + timedelta(days=31))
    job = server.http.get(at, headers=known).json()
    assert (job["state"], job["expired_at"]) == ("succeeded", "2026-12-03T09:00:00Z")
    for path in ("artifacts", "artifacts/model/config.json", "artifacts/none", "report"):
        problem = refused(server.http.get(f"{at}/{path}"), 410, "artifacts-expired")
        assert "2026-12-03" in problem["detail"]
        assert problem["remedy"]
    with Client(server.url) as client, pytest.raises(ArtifactsExpired, match="2026-12-03"):
        client.download(job_id, tmp_path / "out")


def test_a_manifest_that_goes_while_it_is_asked_for_is_an_expiry(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = server.succeeded(FILES)
    key = server.jobs.manifest_key("default", job_id)
    keys = iter([key])
    real = type(server.jobs).manifest_key

    def overtaken(*arguments: str) -> str | None:
        return next(keys, None) or real(*arguments)  # type: ignore[arg-type]

    server.jobs.expire(job_id, NOW)
    server.store.delete_prefix(f"jobs/{job_id}")
    monkeypatch.setattr("core.jobs.store.JobStore.manifest_key", overtaken)
    refused(server.http.get(f"/v1/jobs/{job_id}/artifacts"), 410, "artifacts-expired")


def test_the_document_shows_a_retention_that_works() -> None:
    block = DOCUMENT.read_text().partition("```toml\n")[2].partition("```")[0]
    written = Retention.model_validate(tomllib.loads(block)["retention"])
    assert written.rule_for("anyone") == Rule(ttl_days=30, keep_last=10)
    assert written.rule_for("archive") == Rule()
