"""`secateur push`: a result to the hub or to a bucket."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from secateur.cli import _options as o


def push(
    result: o.ResultArgument,
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DESTINATION",
            help="hf://ORG/NAME[@BRANCH] or s3://BUCKET/PREFIX[?endpoint=URL]",
            show_default=False,
        ),
    ],
    what: Annotated[
        Literal["model", "all"] | None,
        typer.Option(help="[default: model to hf://, all to s3://]", show_default=False),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="hf://: make it private; refuse a public one.")
    ] = False,
    message: Annotated[str | None, typer.Option(help="hf://: of the commit.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="s3://: overwrite files that have other bytes.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder in which a JOB's download stays, and goes on after a break."),
    ] = None,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Push a result with your own credentials: HF_TOKEN, or AWS_ACCESS_KEY_ID and its secret.

    What is there already is not sent again, and nothing there is ever deleted.
    """
    from core.destinations.places import parse_destination, what_to_send
    from core.destinations.push import Wishes
    from core.destinations.push import push as send
    from secateur.cli._board import board
    from secateur.cli._output import result as say
    from secateur.cli._output import show_json, size
    from secateur.cli._results import opened

    place = parse_destination(destination)
    wishes = Wishes(what_to_send(place, what), private, message, force)
    with opened(result, url, key_file, keep=keep) as (found, _), board(["push"]) as shown:
        pushed = send(found, place, wishes, lambda done, text: shown.update("push", done, text))
    if json:
        show_json(
            {
                "url": pushed.url,
                "revision": pushed.revision,
                "sent": list(pushed.sent),
                "kept": list(pushed.kept),
                "bytes": pushed.bytes,
            }
        )
    else:
        say(
            f"{pushed.url}: {len(pushed.sent)} files sent ({size(pushed.bytes)}), {len(pushed.kept)} there already"
        )
