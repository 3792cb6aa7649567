"""Comparisons at the command line: where the reports come from, and how they are shown."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from core.comparison.document import Comparison
from core.comparison.reading import Source, parsed
from core.errors import BadRequest, CorruptObject, OutputExists
from core.report.metrics import Document
from core.result import REPORT
from secateur.cli._output import note
from secateur.cli._remote import connect
from secateur.client import Client


def named_sources(places: Sequence[str], url: str, key_file: Path | None) -> list[Source]:
    """The reports of all `places`: folders, files, or jobs of the server at `url`, which is asked only
    where a job is named.

    Raises:
        BadRequest, CorruptObject: a file cannot be read, or is no JSON object.
        JobNotFound, WrongState, ArtifactsExpired, Unreachable: a job has no report.
    """
    with ExitStack() as opened:
        client: Client | None = None
        found = []
        for place in places:
            if Path(place).exists() or not place.startswith("job_"):
                found.append(Source(_short_name(Path(place)), report_in(Path(place))))
                continue
            if client is None:
                client = opened.enter_context(connect(url, key_file))
            found.append(Source(place, client.report(place)))
    return found


def report_in(place: Path) -> Document:
    """The report in a result's folder, or in the file itself. Raises BadRequest, CorruptObject."""
    file = place / REPORT if place.is_dir() else place
    try:
        report = parsed(file.read_bytes())
    except OSError as error:
        raise BadRequest(
            f"cannot read {file}: {error.strerror}.",
            remedy="Name a result's folder, its report.json, or the id of a job.",
        ) from None
    if report is None:
        raise CorruptObject(f"{file} is no JSON object.")
    return report


def _short_name(place: Path) -> str:
    """`pruned` for pruned/, pruned/report/report.json and ./pruned."""
    whole = place.absolute()
    if whole.name == "report.json":
        whole = whole.parent.parent if whole.parent.name == "report" else whole.parent
    return whole.name or str(place)


def check_page(out: Path, *, force: bool) -> None:
    """Before anything is computed for it. Raises OutputExists, BadRequest."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise BadRequest(f"{out} would be no page.", remedy="End its name in .html.")
    if out.exists() and not (force and out.is_file()):
        raise OutputExists(f"{out} exists.", remedy="Choose another file, or pass --force.")


def write_page(comparison: Comparison, out: Path, title: str) -> None:
    """The page, under its name only when complete. Raises DiskFull and the like as the system does."""
    from core.comparison.page import page

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.part")
    partial.write_text(page(comparison, title), encoding="utf-8")
    partial.replace(out)


def show_comparison(comparison: Comparison) -> None:
    """A table on stdout; what to be careful about on stderr."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from core.comparison import words

    table = Table(box=None)
    table.add_column("#", justify="right")
    table.add_column("method", no_wrap=True)
    for column in words.columns(comparison):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    for row in comparison.rows:
        # Text: what a report says is never read as markup.
        table.add_row(str(row.number), Text(row.label), *words.cells(row), Text(row.name))
    Console(width=None if sys.stdout.isatty() else 2000).print(table)
    for line in _warnings(comparison):
        note(line)


def _warnings(comparison: Comparison) -> Iterator[str]:
    from core.comparison import words

    if not comparison.comparable:
        yield "these losses may not be compared as they stand:"
    for warning in comparison.warnings:
        yield f"warning   {warning}"
    for number, label, what in words.absent(comparison.rows):
        yield f"note      {number} ({label}) {what}"
