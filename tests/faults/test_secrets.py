"""What a worker's environment holds, and its runner's does not."""

import pytest

from core.jobs.states import State
from tests.faults.farm import Farm, runner_of
from tests.faults.standin import SECRET
from workers.environment import SECRETS

OTHERS = ("PGPASSWORD", "REDIS_URL", "COMPANY_API_KEY", "MLFLOW_SOME_TOKEN", "GITHUB_TOKEN")


def test_a_run_has_its_credentials_and_shows_none(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SECRETS, *OTHERS):
        monkeypatch.setenv(name, f"{SECRET}-{name}")
    monkeypatch.setenv("PROXY_OF_OURS", "kept away")
    monkeypatch.setenv("PROXY_WE_NAMED", "let in")
    farm.settings["RUNNER_VARIABLES"] = "PROXY_WE_NAMED,HF_TOKEN"
    worker = farm.start_worker()
    job_id = farm.post(seconds="4", fate="secrets")
    farm.await_progress(job_id, 0.04)
    shown = runner_of(worker).environ()
    assert "HF_TOKEN" not in shown  # not even where somebody asks for it
    assert SECRET not in "".join(shown.values())
    assert not [name for name in shown if name.startswith(("SECATEUR_", "PROXY_OF"))]
    assert shown["PROXY_WE_NAMED"] == "let in"
    assert {"PATH", "HOME", "PYTHONPATH"} <= set(shown)
    job = farm.await_end(job_id)
    assert job.state is State.SUCCEEDED, job.error
    assert SECRET not in farm.tail()
