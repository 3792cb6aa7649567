"""`secateur log`: a result as a run of MLflow."""

from typing import Annotated

import typer

from secateur.cli import _options as o


def log(
    result: o.ResultArgument,
    mlflow: Annotated[
        str,
        typer.Option(
            metavar="URI", envvar="MLFLOW_TRACKING_URI", help="http://HOST:PORT of the server."
        ),
    ],
    experiment: Annotated[str, typer.Option(help="Which gets the run.")] = "secateur",
    register: Annotated[
        str | None, typer.Option(metavar="NAME", help="Registered model that gets a version.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="URI", help="With --register: where the checkpoint lies, as s3://…"),
    ] = None,
    with_weights: Annotated[
        bool, typer.Option("--with-weights", help="Log the checkpoint too.")
    ] = False,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Log a result to MLflow: parameters, metrics, report, and a registered model if asked.

    The same result is logged once, however often this is run.
    """
    from core.tracking.mlflow_run import log_result
    from core.tracking.target import Target, check_target
    from secateur.cli._output import result as say
    from secateur.cli._output import show_json
    from secateur.cli._results import opened

    target = check_target(Target(mlflow, experiment, register, with_weights, source))
    with opened(result, url, key_file, light=not with_weights) as (found, job_id):
        logged = log_result(found, target, job_id)
    if json:
        show_json(
            {
                "run_id": logged.run_id,
                "url": logged.url,
                "created": logged.created,
                "version": logged.version,
            }
        )
    else:
        say(logged.url)
        if logged.version is not None:
            say(f"{register} version {logged.version}")
