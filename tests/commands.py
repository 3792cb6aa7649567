"""Commands run in the test's own process, as `secateur` would run them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from secateur.cli import main


@dataclass(frozen=True, slots=True)
class Ran:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with the arguments it is given."""

    def command(*arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return command
