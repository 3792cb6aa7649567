"""`secateur report`: results side by side."""

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli import _options as o


def report(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULT…",
            help="Results' folders, report.json files, or ids of a server's jobs.",
            show_default=False,
        ),
    ],
    compare: Annotated[
        bool, typer.Option("--compare", help="Two to eight results, in one table and one plot.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE.html", help="Page to write, with the plot."),
    ] = None,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    force: o.Force = False,
    json: o.Json = False,
) -> None:
    """Compare results: what was removed, what it cost, how sure that is."""
    from core.comparison.compare import compare as compared
    from secateur.cli._comparing import check_page, named_sources, show_comparison, write_page
    from secateur.cli._output import note, show_json

    _check(places, compare=compare)
    if out is not None:
        check_page(out, force=force)
    comparison = compared(named_sources(places, url, key_file))
    if out is not None:
        write_page(comparison, out, "Comparison")
    if json:
        show_json(comparison)
        return
    show_comparison(comparison)
    if out is not None:
        note(f"page: {out}")


def _check(places: list[str], *, compare: bool) -> None:
    from core.comparison.compare import MOST
    from core.errors import BadRequest

    if not compare:
        raise BadRequest(
            "--compare is missing: all that this command does is to compare.",
            remedy="Write: secateur report --compare A B",
        )
    if not 2 <= len(places) <= MOST:
        raise BadRequest(
            f"{len(places)} results were named; 2 to {MOST} can be compared.",
            remedy="`secateur sweep` compares more, in groups.",
        )
    if len(set(places)) < len(places):
        raise BadRequest("a result was named twice.", remedy="Name each once.")
