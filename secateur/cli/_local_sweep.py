"""A sweep in this process, without a server: one cell after another, each into a folder of its own."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from core.comparison.compare import compare
from core.comparison.document import Comparison
from core.comparison.reading import Source
from core.errors import BadRequest, Cancelled, OutputExists, SecateurError
from core.store import manifest
from core.store.manifest import MANIFEST
from core.sweep_spec import Cell, Planned, words_of
from secateur.cli._comparing import report_in
from secateur.cli._output import note

DENSE: Final = "dense"
PAGE: Final = "comparison.html"
_WORD: Final = re.compile(r"[^\w.]+")

Run = Callable[[Cell, Path], None]
"""Carries a cell out into a new folder. Raises what `core.run.execute` does."""


class LocalSweep:
    """The cells of a sweep as folders in `out`, which may hold those of an earlier call."""

    def __init__(self, planned: Planned, out: Path) -> None:
        self._cells, self._out = planned.cells, out
        self.failed: dict[int, SecateurError] = {}
        """By number."""

    def check(self) -> None:
        """Refuse, before anything is computed, what could not be done later.

        Raises:
            BadRequest: a cell asks for what only a server's workers do.
            OutputExists: something lies where a cell would.
        """
        for cell in self._cells:
            if cell.spec.output.push is not None or cell.spec.webhook is not None:
                raise BadRequest(
                    "output.push and webhook are what a server's workers carry out, and there is none here.",
                    remedy="Leave them out of the base.",
                )
            folder = self.folder(cell)
            if folder.exists() and not is_complete(folder, cell):
                raise OutputExists(
                    f"{folder} exists, and is not what this sweep would put there.",
                    remedy="Choose another folder with --out.",
                )

    def folder(self, cell: Cell) -> Path:
        """Where its result lies: the same for the same spec, whatever else is in the grid."""
        spec = json.dumps(cell.spec.model_dump(mode="json"), sort_keys=True)
        digest = hashlib.sha256(spec.encode()).hexdigest()[:8]
        return self._out / f"{slug(cell)}-{digest}"

    def run(self, run: Run) -> None:
        """Every cell that is not there yet. One that fails does not stop the others."""
        for cell in self._cells:
            folder, about = self.folder(cell), f"{cell.number} of {len(self._cells)}"
            if is_complete(folder, cell):
                note(f"{about}: {folder.name} is there already")
                continue
            note(f"{about}: {words_of(cell.values)}")
            try:
                run(cell, folder)
            except Cancelled:
                raise
            except SecateurError as error:
                self.failed[cell.number] = error
                note(f"{about} failed: {error}")

    def comparison(self) -> Comparison:
        """All cells, those that failed with their reasons."""
        return compare([self._source(cell) for cell in self._cells])

    def _source(self, cell: Cell) -> Source:
        folder = self.folder(cell)
        if is_complete(folder, cell):
            return Source(folder.name, report_in(folder))
        error = self.failed.get(cell.number)
        why = f"failed: {error.code}" if error else "not run yet"
        return Source(folder.name, {"job": cell.spec.model_dump(mode="json")}, why)


def is_complete(folder: Path, cell: Cell) -> bool:
    """Whether the folder holds the cell's whole result: a manifest is written last."""
    try:
        found = manifest.read((folder / MANIFEST).read_bytes())
    except (OSError, SecateurError):
        return False
    return found.spec == cell.spec.model_dump(mode="json")


def slug(cell: Cell) -> str:
    """The cell's values as the beginning of a folder's name."""
    words = [_WORD.sub("-", _text(value)).strip("-.") for value in cell.values.values()]
    return "-".join(word for word in words if word)[:60].rstrip("-.") or "cell"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
