"""`secateur submit`: queue a job on a server, and if asked wait for it and judge what it found."""

from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o
from secateur.cli._wanted import Wanted, takes_spec

if TYPE_CHECKING:
    from core.estimates.views import Estimate
    from core.jobs.views import Job


@takes_spec
def submit(
    *,
    wanted: Wanted,
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
    from core.report.conditions import check_measurable, parse_condition
    from secateur.cli._output import note
    from secateur.cli._remote import connect
    from secateur.cli._tell import tell
    from secateur.cli._waiting import conclude

    of_waiting = bool(fail_if or github or timeout is not None)
    _refuse_senseless(dry_run=dry_run, wait=wait, of_waiting=of_waiting)
    conditions = [parse_condition(text) for text in fail_if or ()]
    data = wanted.data()
    check_measurable(conditions, data)
    with connect(url, key_file) as client:
        if dry_run:
            _show_dry(client.estimate(data), json=json)
            return
        job = client.submit(data)
        if not wait:
            _show_queued(job, json=json)
            return
        note(f"{job.id} is queued")
        conclusion = conclude(client, job, conditions, url, timeout=timeout)
        tell(conclusion, json=json, github=github)
        conclusion.raise_unless_passed()


def _refuse_senseless(*, dry_run: bool, wait: bool, of_waiting: bool) -> None:
    from core.errors import BadRequest

    if dry_run and wait:
        raise BadRequest("--dry-run leaves nothing to wait for.", remedy="Leave --wait out.")
    if of_waiting and not wait:
        raise BadRequest("--fail-if, --github and --timeout need --wait.", remedy="Add --wait.")


def _show_dry(found: "Estimate", *, json: bool) -> None:
    from secateur.cli._output import show_json
    from secateur.cli.estimate import show_estimate

    if json:
        show_json(found)
    else:
        show_estimate(found)


def _show_queued(job: "Job", *, json: bool) -> None:
    from secateur.cli._output import note, result, show_json

    if json:
        show_json(job)
    else:
        result(job.id)
        note(f"Watch it with: secateur watch {job.id}")
