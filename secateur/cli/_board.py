"""Live progress of one or several runs on stderr: bars on a terminal, lines elsewhere."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

_STEP: Final = 0.1


class Board(Protocol):
    """Shows how far named runs are."""

    def update(self, name: str, fraction: float | None, text: str) -> None:
        """`fraction` None: as far as before."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def board(names: Sequence[str]) -> Board:
    """The board that suits what stderr is connected to."""
    return _Bars(names) if sys.stderr.isatty() else _Lines()


class _Bars:
    def __init__(self, names: Sequence[str]) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %", markup=False),
            TimeElapsedColumn(),
            # Messages come from a server: they are text, never markup.
            TextColumn(
                "{task.fields[text]}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=Console(stderr=True),
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {
            name: self._progress.add_task(name, total=1.0, text="", start=False) for name in names
        }

    def update(self, name: str, fraction: float | None, text: str) -> None:
        task = self._tasks[name]
        if fraction:
            self._progress.start_task(task)
        self._progress.update(task, completed=fraction, text=text)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()


class _Lines:
    """One line whenever a run enters a phase or has come a tenth further."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[float, str]] = {}

    def update(self, name: str, fraction: float | None, text: str) -> None:
        before, last_topic = self._shown.get(name, (0.0, ""))
        now, topic = before if fraction is None else fraction, text.partition(":")[0]
        if topic != last_topic or now >= before + _STEP:
            self._shown[name] = now, topic
            print(f"{name}  {now:4.0%}  {text}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass
