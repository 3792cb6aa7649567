"""Results in a real MLflow server: complete, identical, once; and jobs that do without it."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from core.errors import TrackerError
from core.result import Result
from core.spec import parse_spec
from core.tracking.entry import entry_of
from core.tracking.mlflow_run import log_result
from core.tracking.target import Target
from tests.commands import run as command
from tests.mlflow_server import mlflow_server
from tests.results import write_result
from tests.served import Served
from workers.protocol import Done, Remark, Request
from workers.runner import run

pytestmark = pytest.mark.timeout(600)
LIGHT = {
    "manifest.json", "model/README.md", "report/report.json", "report/report.html",
    "report/plots/mass.png",
}  # fmt: skip


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
            yield url


@pytest.fixture
def client(mlflow: str) -> MlflowClient:
    return MlflowClient(mlflow, mlflow)


@pytest.fixture
def result(tmp_path: Path) -> Result:
    # Weights of its own, so that no two tests have the same result.
    size = 1000 + int(hashlib.sha256(str(tmp_path).encode()).hexdigest()[:4], 16)
    return Result.open(write_result(tmp_path / "result", weights=size))


def files_of(client: MlflowClient, run: Run, below: Path) -> dict[str, bytes]:
    below = below / "downloaded"
    below.mkdir()
    folder = Path(client.download_artifacts(run.info.run_id, "", str(below)))
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def only_run(client: MlflowClient, experiment: str) -> Run:
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    (run,) = client.search_runs([found.experiment_id])
    return run


def test_a_run_has_everything_and_is_logged_once(
    client: MlflowClient, mlflow: str, result: Result, tmp_path: Path
) -> None:
    target = Target(mlflow, "everything")
    logged = log_result(result, target, "job_a")
    assert logged.created
    run = only_run(client, "everything")
    entry = entry_of(result, "job_a")
    assert run.info.run_id == logged.run_id
    assert run.info.status == "FINISHED"
    assert run.data.params == entry.params
    points = {point.name: point.value for point in entry.points}
    assert run.data.metrics == entry.metrics | points
    assert entry.tags.items() <= run.data.tags.items()
    assert run.data.tags["mlflow.note.content"] == entry.description
    steps = client.get_metric_history(logged.run_id, "block_sparsity")
    assert [(m.step, m.value) for m in sorted(steps, key=lambda m: m.step)] == [
        (p.step, p.value) for p in entry.points if p.name == "block_sparsity"
    ]
    stored = files_of(client, run, tmp_path)
    assert set(stored) == LIGHT
    assert all((result.folder / name).read_bytes() == data for name, data in stored.items())

    again = log_result(result, target, "job_a")
    assert (again.run_id, again.created) == (logged.run_id, False)
    assert only_run(client, "everything").data.metrics == run.data.metrics
    assert len(client.get_metric_history(logged.run_id, "block_sparsity")) == len(steps)
    assert len(client.get_metric_history(logged.run_id, "nelbo_delta")) == 1


def test_weights_and_a_registered_version_can_follow(
    client: MlflowClient, mlflow: str, result: Result, tmp_path: Path
) -> None:
    log_result(result, Target(mlflow, "weights"))
    target = Target(mlflow, "weights", register="pruned verses", with_weights=True)
    logged = log_result(result, target)
    assert not logged.created
    assert log_result(result, target).version == logged.version == "1"
    stored = files_of(client, only_run(client, "weights"), tmp_path)
    assert set(stored) == {"manifest.json", *(file.name for file in result.manifest.files)}
    for file in result.manifest.files:
        assert hashlib.sha256(stored[file.name]).hexdigest() == file.sha256
    version = client.get_model_version("pruned verses", "1")
    assert version.run_id == logged.run_id
    assert version.description == entry_of(result).description
    assert str(version.source).endswith("/artifacts/model")


def test_a_version_can_point_to_the_store(
    client: MlflowClient, mlflow: str, result: Result
) -> None:
    place = "s3://bucket/jobs/a/1/model"
    log_result(result, Target(mlflow, "store", register="in-s3", source=place))
    assert client.get_model_version("in-s3", "1").source == place


def test_an_interrupted_logging_goes_on(
    client: MlflowClient, mlflow: str, result: Result, tmp_path: Path
) -> None:
    page = result.folder / "report" / "report.html"
    whole = page.read_bytes()
    page.unlink()
    with pytest.raises(Exception, match=r"report\.html is missing"):
        log_result(result, Target(mlflow, "interrupted"))
    assert only_run(client, "interrupted").info.status == "RUNNING"
    page.write_bytes(whole)
    assert not log_result(result, Target(mlflow, "interrupted")).created
    run = only_run(client, "interrupted")
    assert run.info.status == "FINISHED"
    assert set(files_of(client, run, tmp_path)) == LIGHT


def test_what_a_lost_attempt_logged_is_marked(
    client: MlflowClient, mlflow: str, tmp_path: Path
) -> None:
    first = log_result(
        Result.open(write_result(tmp_path / "1", weights=11)), Target(mlflow, "lost"), "job_l"
    )
    second = log_result(
        Result.open(write_result(tmp_path / "2", weights=22)), Target(mlflow, "lost"), "job_l"
    )
    old = client.get_run(first.run_id)
    assert old.info.status == "KILLED"
    assert old.data.tags["secateur.replaced_by"] == second.run_id
    assert client.get_run(second.run_id).info.status == "FINISHED"


def test_a_deleted_experiment_is_named(client: MlflowClient, mlflow: str, result: Result) -> None:
    client.delete_experiment(client.create_experiment("deleted"))
    with pytest.raises(TrackerError, match="was deleted"):
        log_result(result, Target(mlflow, "deleted"))


def test_the_command_logs_a_folder_and_a_job(
    client: MlflowClient, mlflow: str, server: Served, result: Result,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = result.folder
    names = ["manifest.json", *(file.name for file in result.manifest.files)]
    local = command(capsys, "log", str(folder), "--mlflow", mlflow, "--experiment", "cli", "--json")
    assert local.status == 0, local.err
    told = local.json()
    assert told["created"] is True
    # `succeeded` makes a manifest of its own, so the job is another result.
    job_id = server.succeeded({n: (folder / n).read_bytes() for n in names[1:]})
    arguments = ["log", job_id, "--mlflow", mlflow, "--experiment", "cli", "--url", server.url]
    first, second = (command(capsys, *arguments, "--json").json() for _ in range(2))
    assert first["run_id"] == second["run_id"] != told["run_id"]
    assert (first["created"], second["created"]) == (True, False)
    assert client.get_run(first["run_id"]).data.tags["secateur.job"] == job_id


def request_for(folder: Path, target: Target) -> Request:
    (folder / "scratch").mkdir()
    return Request(
        job_id="job_r", epoch=1, spec=parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5}),
        supervisor=os.getppid(), entry="tests.results:work", store_url=f"file://{folder}/store",
        scratch=folder / "scratch", device="cpu", threads=None, memory_budget=None, model_roots=(),
        mlflow=target,
    )  # fmt: skip


@pytest.mark.parametrize("up", [True, False])
def test_a_worker_logs_what_it_stored_and_succeeds_either_way(
    client: MlflowClient, mlflow: str, tmp_path: Path, up: bool
) -> None:
    told: list[object] = []
    tell: Callable[[object], None] = told.append
    target = Target(mlflow if up else "http://127.0.0.1:1", "worker")
    ended = run(request_for(tmp_path, target), tell, Event())
    assert isinstance(ended, Done)
    assert ended.manifest_key == "jobs/job_r/1/manifest.json"
    (remark,) = (line for line in told if isinstance(line, Remark))
    if up:
        logged = only_run(client, "worker")
        assert remark.level == "info"
        assert logged.info.run_id in remark.message
        assert logged.data.tags["secateur.job"] == "job_r"
    else:
        assert remark.level == "warning"
        assert "127.0.0.1:1 did not take the run" in remark.message
