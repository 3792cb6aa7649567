"""One result as one run of MLflow, logged once however often it is asked for.

The run is found again by the SHA-256 of the result's manifest, which is one of its tags.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from core.errors import SecateurError, TrackerError
from core.result import MODEL, Result
from core.store.manifest import MANIFEST
from core.tracking.entry import Entry, entry_of
from core.tracking.target import Target, bare, check_target

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")

CARD: Final = "model/README.md"
LOGGED: Final = "secateur.logged"
"""Tag written last: which files are in the run, complete."""
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A run must not wait for minutes on a tracker that is away: by default 7 tries of 120 s.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_A_BATCH: Final = 100  # params or tags; of metrics 1000 would go, too


@dataclass(frozen=True, slots=True)
class Logged:
    run_id: str
    url: str
    created: bool
    """False: the run was there before."""
    version: str | None
    """Of the registered model."""


def log_result(result: Result, target: Target, job_id: str | None = None) -> Logged:
    """Log `result`, or find the run in which it was logged and add what is missing.

    Raises:
        TrackerError: MLflow is not installed, or the server does not take it.
        BadRequest: the target makes no sense.
        CorruptObject: a file of the result is damaged.
    """
    entry = entry_of(result, job_id)
    with _named_errors(check_target(target)):
        client = _client(target.uri)
        run, created = _run(client, target.experiment, entry)
        _retire_others(client, run, entry)
        _log_numbers(client, run, entry)
        _log_files(client, run, result, with_weights=target.with_weights)
        version = _register(client, run, target, entry) if target.register else None
        if run.info.status != "FINISHED":
            client.set_terminated(run.info.run_id)
    place = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return Logged(run.info.run_id, f"{bare(target.uri)}/{place}", created, version)


def _client(uri: str) -> "MlflowClient":
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds, and need not be there
    except ImportError:
        raise TrackerError(
            "MLflow is not installed.", remedy="Install it: pip install 'secateur[mlflow]'."
        ) from None
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _run(client: "MlflowClient", experiment: str, entry: Entry) -> "tuple[Run, bool]":
    """The run of this result, made where there is none; and whether it was made."""
    place = _experiment(client, experiment)
    found = _tagged(client, place, "secateur.result", entry.tags["secateur.result"])
    if found:
        return found[0], False
    about = {"mlflow.note.content": entry.description, "mlflow.source.name": "secateur"}
    return client.create_run(place, run_name=entry.name, tags={**entry.tags, **about}), True


def _experiment(client: "MlflowClient", name: str) -> str:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # somebody else may have been faster
            if found is None:
                raise error from None
    if found.lifecycle_stage != "active":
        raise TrackerError(
            f"the experiment {name!r} was deleted.", remedy="Restore it, or name another one."
        )
    return str(found.experiment_id)


def _tagged(client: "MlflowClient", experiment: str, tag: str, value: str) -> "list[Run]":
    """Runs with the tag, the oldest first. `value` is a digest or an id: nothing to escape."""
    where = f"tags.`{tag}` = '{value}'"
    return list(client.search_runs([experiment], where, order_by=["attributes.start_time ASC"]))


def _retire_others(client: "MlflowClient", run: "Run", entry: Entry) -> None:
    """Mark what an earlier attempt at the same job logged before its worker was lost."""
    job = entry.tags.get("secateur.job")
    if job is None or not re.fullmatch(r"[\w-]+", job):
        return
    for other in _tagged(client, run.info.experiment_id, "secateur.job", job):
        stale = other.data.tags.get("secateur.result") != entry.tags["secateur.result"]
        if stale and other.info.status != "KILLED":
            client.set_tag(other.info.run_id, "secateur.replaced_by", run.info.run_id)
            client.set_terminated(other.info.run_id, status="KILLED")


def _log_numbers(client: "MlflowClient", run: "Run", entry: Entry) -> None:
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

    # The run's own time: what was logged before is the same row then, and no second one.
    when = run.info.start_time
    metrics = [Metric(name, value, when, 0) for name, value in entry.metrics.items()]
    metrics += [Metric(point.name, point.value, when, point.step) for point in entry.points]
    params = [Param(name, value) for name, value in entry.params.items()]
    tags = [RunTag(name, value) for name, value in entry.tags.items()]
    run_id = run.info.run_id
    for few_params in _chunks(params):
        client.log_batch(run_id, params=few_params)
    for few_metrics in _chunks(metrics):
        client.log_batch(run_id, metrics=few_metrics)
    for few_tags in _chunks(tags):
        client.log_batch(run_id, tags=few_tags)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _A_BATCH] for start in range(0, len(items), _A_BATCH))


def _log_files(client: "MlflowClient", run: "Run", result: Result, *, with_weights: bool) -> None:
    """Manifest, report and model card, and the rest of the model where it is asked for."""
    what = f"{result.digest}{' with weights' if with_weights else ''}"
    if run.data.tags.get(LOGGED, "").startswith(what):
        return
    if urlsplit(run.info.artifact_uri).scheme in ("", "file"):
        raise TrackerError(
            f"the experiment keeps its files in {run.info.artifact_uri}, a folder of the server's machine.",
            remedy="Use an experiment whose artifacts go through the server (mlflow-artifacts:) or to S3.",
        )
    run_id = run.info.run_id
    client.log_artifact(run_id, str(result.folder / MANIFEST))
    for file in result.below("" if with_weights else "report/"):
        _log_file(client, run_id, result, file.name)
    if not with_weights and any(file.name == CARD for file in result.manifest.files):
        _log_file(client, run_id, result, CARD)
    client.set_tag(run_id, LOGGED, what)


def _log_file(client: "MlflowClient", run_id: str, result: Result, name: str) -> None:
    folder = name.rpartition("/")[0]
    client.log_artifact(run_id, str(result.path(result.file(name))), folder or None)


def _register(client: "MlflowClient", run: "Run", target: Target, entry: Entry) -> str:
    """The version of the registered model that stands for this run."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    name, run_id = str(target.register), run.info.run_id
    for version in client.search_model_versions(f"name='{name}'"):
        if version.run_id == run_id:
            return str(version.version)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        source=target.source or f"{run.info.artifact_uri}/{MODEL.rstrip('/')}",
        run_id=run_id,
        tags=entry.tags,
        description=entry.description,
        await_creation_for=0,
    )
    return str(made.version)


@contextmanager
def _named_errors(target: Target) -> Iterator[None]:
    """What MLflow raises, under a name of ours and without the credentials that a URI may hold."""
    try:
        yield
    except SecateurError:
        raise
    except Exception as error:
        line = " ".join(str(error).split())[:400].replace(target.uri, bare(target.uri))
        raise TrackerError(
            f"MLflow at {bare(target.uri)} did not take the run: {line.rstrip('.')}.",
            remedy="Check that it runs, and MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            " or MLFLOW_TRACKING_TOKEN where it asks who is there.",
        ) from error
