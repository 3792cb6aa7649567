"""Points in a folder, written at once, so that a test can say how many an earlier run had made."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from core.points import Level, Saved


class Died(Exception):
    """As a run ends that is killed: nothing of it happens after this."""


class FolderPoints:
    """`Points` of which `earlier` were kept before; the run dies once it has kept `dies_with`."""

    def __init__(self, folder: Path, *, earlier: int = 0, dies_with: int | None = None) -> None:
        self.folder, self.earlier, self.dies_with = folder, earlier, dies_with
        self.told: list[str] = []
        self.run: dict[str, str] = {}
        self.kept: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, run: Mapping[str, str], look: Callable[[int, int], None]) -> list[Saved]:
        self.run = dict(run)
        taken = self.folder / "taken"
        shutil.rmtree(taken, ignore_errors=True)
        taken.mkdir()
        found = []
        for number, path in enumerate(sorted(self.folder.glob("*-*"))[: self.earlier]):
            look(number, self.earlier)
            shutil.copy(path, taken)
            found.append(Saved(path.name.partition("-")[2], "attempt 1", taken / path.name))
        return found

    def save(self, number: int, kind: str, write: Callable[[Path], object]) -> None:
        write(self.folder / f"{number:05}-{kind}")
        self.kept.append(kind)
        if number + 1 == self.dies_with:
            raise Died

    def tell(
        self, message: str, *, level: Level = "info", data: Mapping[str, str] | None = None
    ) -> None:
        self.told.append(message)
