"""Commands run in the test's own process, as `secateur` would run them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from secateur.cli import main


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


Run = Callable[..., Ran]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    code = ended.value.code
    return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with the arguments it is given."""
    return partial(run, capsys)
