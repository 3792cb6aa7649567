"""`secateur report`: a result's page made anew, or results side by side."""

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
    """Make a result's page anew, whatever is left of it; or compare results with --compare."""
    if not compare:
        _rebuild(places, out or Path("report.html"), force=force, json=json)
        return
    from core.comparison.compare import compare as compared
    from secateur.cli._comparing import check_page, named_sources, show_comparison, write_page
    from secateur.cli._output import note, show_json

    _check(places)
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


def _rebuild(places: list[str], out: Path, *, force: bool, json: bool) -> None:
    """The page of one result on this machine, and its plots in a folder beside it."""
    from core.errors import BadRequest
    from secateur.cli import _local
    from secateur.cli._comparing import check_page
    from secateur.cli._output import note, result, show_json

    if len(places) != 1:
        raise BadRequest(
            f"{len(places)} results were named, and a page is of one.",
            remedy="Add --compare to see them side by side.",
        )
    check_page(out, force=force)
    _local.engine()  # says what to install where plots cannot be drawn
    from core.report.rebuild import rebuild

    found = rebuild(Path(places[0]), out.parent)
    out.write_text(found.html, encoding="utf-8")
    if json:
        show_json({"page": str(out), "missing": list(found.missing)})
        return
    for what in found.missing:
        note(f"missing: {what}")
    result(f"page  {out}")


def _check(places: list[str]) -> None:
    from core.comparison.compare import MOST
    from core.errors import BadRequest

    if not 2 <= len(places) <= MOST:
        raise BadRequest(
            f"{len(places)} results were named; 2 to {MOST} can be compared.",
            remedy="`secateur sweep` compares more, in groups.",
        )
    if len(set(places)) < len(places):
        raise BadRequest("a result was named twice.", remedy="Name each once.")
