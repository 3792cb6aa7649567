"""Where runs on one model keep what they found out about it for each other. Free of torch and of stores."""

import shutil
import tempfile
from pathlib import Path
from typing import Protocol


class Answers(Protocol):
    """Files under names that say all that their bytes depend on. Nothing that fails here is an error of
    a run: what is not kept is found out again."""

    def fetch(self, name: str, target: Path) -> bool:
        """Write the file called `name`, if there is one, to `target`; whether there was."""

    def keep(self, name: str, source: Path) -> None:
        """Keep the file `source` as `name`, whole or not at all. Two may at once: they have the same."""

    @property
    def origin(self) -> str:
        """Who keeps what is kept here from now on, in words: `job_0123…`."""


class NoAnswers:
    """`Answers` of a run that stands alone."""

    origin = ""

    def fetch(self, name: str, target: Path) -> bool:  # noqa: ARG002 - the protocol's signature
        return False

    def keep(self, name: str, source: Path) -> None:
        """Nobody will ask."""


NO_ANSWERS = NoAnswers()


class FolderAnswers:
    """`Answers` in a folder of this machine."""

    def __init__(self, folder: Path, origin: str) -> None:
        self._folder, self._origin = folder, origin

    @property
    def origin(self) -> str:
        return self._origin

    def fetch(self, name: str, target: Path) -> bool:
        try:
            shutil.copyfile(self._folder / name, target)
        except OSError:
            return False
        return True

    def keep(self, name: str, source: Path) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".part-", dir=self._folder) as part:
                shutil.copyfile(source, Path(part) / name).replace(self._folder / name)
        except OSError:
            return
