"""The worker's hook into MLflow: the runner logs what it has stored, and no job fails by it."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from core import vault
from core.errors import SecateurError
from core.progress import Progress, Report
from core.settings import Settings
from core.tracking.target import Target, check_target
from workers.protocol import Remark, Request


def target_for(settings: Settings, store_url: str, objects: str) -> Target | None:
    """Where a run whose objects lie below `objects` is logged; None where nothing is configured.

    Raises:
        BadRequest: what is configured cannot be meant.
    """
    if settings.mlflow_tracking_uri is None:
        return None
    place = store_url.partition("?")[0].rstrip("/")
    return check_target(
        Target(
            uri=settings.mlflow_tracking_uri,
            experiment=settings.mlflow_experiment,
            register=settings.mlflow_register,
            source=f"{place}/{objects}/model",
        )
    )


def track(request: Request, out: Path, report: Report, tell: Callable[[BaseModel], None]) -> None:
    """Log the result in `out`, and say in the job's history that it was, or why not.

    Raises:
        Cancelled: from `report`, before anything is logged.
    """
    if request.mlflow is None:
        return
    report(Progress("publishing", 1.0, "logging to MLflow"))
    from core.result import Result  # noqa: PLC0415 - only where there is a tracker
    from core.tracking.mlflow_run import log_result  # noqa: PLC0415

    try:
        # MLflow, and what it uploads with, read their credentials nowhere else. The model was parsed.
        with vault.shown():
            logged = log_result(Result.open(out), request.mlflow, request.job_id)
    except SecateurError as error:
        tell(Remark(level="warning", message=f"not logged to MLflow: {error}"))
    except Exception as error:  # noqa: BLE001 - whatever it is, the result is in the store
        tell(
            Remark(
                level="warning", message=f"not logged to MLflow: {type(error).__name__}: {error}"
            )
        )
    else:
        tell(Remark(level="info", message=f"logged to MLflow: {logged.url}"))
