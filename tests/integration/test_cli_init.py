"""`secateur init`: a deployment that starts by itself, however often and by however many."""

import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from core.jobs.credentials import id_of
from core.jobs.keys import KeyStore
from tests.commands import Run
from tests.faults.farm import clean_environment
from tests.served import served


def test_from_nothing_to_a_key_that_opens_the_server(run: Run, deployment: Path) -> None:
    first = run("init", "--url", "http://secateur.example")
    (text,) = {word for word in first.out.split() if id_of(word)}
    assert first.status == 0
    assert first.err == ""
    assert 'curl -sS http://secateur.example/v1/jobs -H "Authorization: Bearer' in first.out
    assert (deployment / "new" / "store" / "objects").is_dir()
    with served(deployment) as server:
        headers = {"Authorization": f"Bearer {text}"}
        assert server.http.get("/v1/jobs").status_code == 401
        assert server.http.get("/v1/jobs", headers=headers).status_code == 200


def test_again_it_prints_none(run: Run, deployment: Path) -> None:
    first = run("init", "--json").json()["first_key"]
    assert (first["tenant"], first["scopes"]) == ("default", ["admin"])
    again = run("init")
    assert again.status == 0
    assert "sec_" not in again.out + again.err
    assert "secateur keys create" in again.out
    assert run("keys", "revoke", first["id"]).status == 0
    assert run("init", "--json").json() == {"first_key": None}


def test_the_key_can_go_into_a_file(run: Run, deployment: Path, keys: KeyStore) -> None:
    file = deployment / "first.key"
    ran = run("init", "--first-key-file", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keys.find(file.read_text().removesuffix("\n")).scopes == ("admin",)
    assert "sec_" not in ran.out + ran.err
    assert str(file) in ran.out
    before = file.read_bytes()
    assert run("init", "--first-key-file", str(file)).status == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize(("name", "said"), [("taken", "exists"), ("no/folder", "cannot hold")])
def test_a_file_that_cannot_be_written_costs_no_key(
    run: Run, deployment: Path, keys: KeyStore, name: str, said: str
) -> None:
    (deployment / "taken").write_text("precious")
    ran = run("init", "--first-key-file", str(deployment / name))
    assert ran.status == 2
    assert said in ran.err
    assert (deployment / "taken").read_text() == "precious"
    assert not keys.ever_had_any()


def test_of_processes_at_once_one_has_the_key(deployment: Path) -> None:
    file = deployment / "first.key"
    command = [sys.executable, "-m", "secateur.cli", "init", "--json", "--first-key-file"]
    environment = clean_environment() | {
        name: os.environ[name] for name in ("SECATEUR_DATABASE_URL", "SECATEUR_STORE_URL")
    }
    started = [
        subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    (told,) = [answer["first_key"] for answer in answers if answer["first_key"]]
    with KeyStore.open(os.environ["SECATEUR_DATABASE_URL"]) as keys:
        (key,) = keys.list()
        assert keys.find(file.read_text().strip()) == key
    assert (told["id"], told["file"]) == (key.id, str(file))
    assert "key" not in told


def test_it_waits_for_what_is_not_up_yet(
    run: Run, deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = deployment / "late"
    monkeypatch.setenv("SECATEUR_DATABASE_URL", f"sqlite:///{late}/jobs.db")
    timer = threading.Timer(1.0, late.mkdir)
    timer.start()
    ran = run("init", "--json")
    timer.join()
    assert ran.status == 0
    assert ran.err.count("waiting: ") == 1
    assert ran.json()["first_key"]["id"]


@pytest.mark.parametrize("missing", ["SECATEUR_DATABASE_URL", "SECATEUR_STORE_URL"])
def test_it_does_not_wait_for_ever(
    run: Run, deployment: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (deployment / "a file").touch()
    scheme = "sqlite" if missing == "SECATEUR_DATABASE_URL" else "file"
    monkeypatch.setenv(missing, f"{scheme}:///{deployment}/a file/x")
    began = time.monotonic()
    ran = run("init", "--timeout", "1")
    assert time.monotonic() - began < 30
    assert (ran.status, ran.out) == (1, "")
    assert "waiting: " in ran.err
    assert ran.err.splitlines()[-1].startswith("error: ")


def test_it_makes_the_bucket(
    run: Run, deployment: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"s3://made-by-init-{os.getpid()}/prefix?endpoint={s3}"
    monkeypatch.setenv("SECATEUR_STORE_URL", bucket)
    for _ in range(2):
        assert run("init", "--json", "--timeout", "10").status == 0
