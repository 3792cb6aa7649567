"""The `secateur` command. One file a verb; heavy imports wait until a verb needs them."""

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from core.errors import SecateurError
from secateur.cli import (
    analyze,
    api,
    audit,
    cancel,
    check,
    delete,
    demo,
    doctor,
    download,
    estimate,
    gc,
    init,
    keys,
    list_jobs,
    log,
    prune,
    push,
    report,
    retry,
    secrets,
    serve,
    status,
    submit,
    sweep,
    watch,
    webhooks,
    worker,
    workers,
)

app = typer.Typer(
    name="secateur",
    help="Prune diffusion language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("prune")(prune.prune)
app.command("estimate")(estimate.estimate)
app.command("analyze")(analyze.analyze)
app.command("submit")(submit.submit)
app.command("sweep")(sweep.sweep)
app.command("list")(list_jobs.list_jobs)
app.command("status")(status.status)
app.command("check")(check.check)
app.command("watch")(watch.watch)
app.command("cancel")(cancel.cancel)
app.command("retry")(retry.retry)
app.command("delete")(delete.delete)
app.command("download")(download.download)
app.command("report")(report.report)
app.command("log")(log.log)
app.command("push")(push.push)
app.command("doctor")(doctor.doctor)
app.command("gc")(gc.gc)
app.command("api")(api.api)
app.command("worker")(worker.worker)
app.command("workers")(workers.workers)
app.command("secrets")(secrets.secrets)
app.command("init")(init.init)
app.command("audit")(audit.audit)
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0, the error's own status, 2 for bad usage, 130 on Ctrl-C."""
    try:
        app(args=arguments)
    except SecateurError as error:
        _complain(error)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - a person at a terminal gets a line, not a traceback
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        if os.environ.get("SECATEUR_LOG_LEVEL") == "DEBUG":
            traceback.print_exc()
        else:
            print("SECATEUR_LOG_LEVEL=DEBUG shows where it came from.", file=sys.stderr)
        sys.exit(1)


def _complain(error: SecateurError) -> None:
    fields: list[dict[str, str]] = getattr(error, "fields", [])
    print(f"error: {error}", file=sys.stderr)
    for field in fields:
        print(f"  {field.get('field')}: {field.get('message')}", file=sys.stderr)
