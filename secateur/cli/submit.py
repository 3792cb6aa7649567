"""`secateur submit`: queue a job on a server, and if asked wait for it and judge what it found."""

from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.estimates.views import Estimate


def submit(
    model: o.Model = None,
    method: o.Method = None,
    sparsity: o.Sparsity = None,
    pattern: o.Pattern = None,
    calibration: o.CalibrationSource = None,
    samples: o.Samples = None,
    sequence_length: o.SequenceLength = None,
    seed: o.Seed = None,
    spec: o.SpecFile = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the job would take, and queue nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until the job has ended; fails as the job fails.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0, help="With --wait: seconds after which to exit with 124. The job goes on."
        ),
    ] = None,
    fail_if: o.FailIf = None,
    github: o.Github = False,
    list_metrics: o.ListMetrics = False,  # noqa: ARG001 - ends the command before it gets here
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Queue a job on a server and print its id. Paths are the server's.

    With --wait: progress on stderr, and how it ended on stdout. Ctrl-C ends the waiting, not the job.
    """
    from core.errors import BadRequest
    from core.report.conditions import check_measurable, parse_condition
    from secateur.cli._output import note, result, show_json
    from secateur.cli._remote import connect
    from secateur.cli._spec import Typed, spec_data
    from secateur.cli._tell import tell
    from secateur.cli._waiting import conclude

    if dry_run and wait:
        raise BadRequest("--dry-run leaves nothing to wait for.", remedy="Leave --wait out.")
    if not wait and (fail_if or github or timeout is not None):
        raise BadRequest("--fail-if, --github and --timeout need --wait.", remedy="Add --wait.")
    conditions = [parse_condition(text) for text in fail_if or ()]
    typed = Typed(model, method, sparsity, pattern, calibration, samples, sequence_length, seed)
    data = spec_data(typed, spec)
    check_measurable(conditions, data)
    with connect(url, key_file) as client:
        if dry_run:
            _show_dry(client.estimate(data), json=json)
            return
        job = client.submit(data)
        if wait:
            note(f"{job.id} is queued")
            conclusion = conclude(client, job, conditions, url, timeout=timeout)
            tell(conclusion, json=json, github=github)
            conclusion.raise_unless_passed()
        elif json:
            show_json(job)
        else:
            result(job.id)
            note(f"Watch it with: secateur watch {job.id}")


def _show_dry(found: "Estimate", *, json: bool) -> None:
    from secateur.cli._output import show_json
    from secateur.cli.estimate import show_estimate

    if json:
        show_json(found)
    else:
        show_estimate(found)
