"""The command line run in this process: its exit status, stdout and stderr."""

import json
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
        """The one document on stdout."""
        return json.loads(self.out)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    code = ended.value.code
    return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)
