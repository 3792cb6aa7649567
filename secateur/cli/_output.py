"""What is printed where: results on stdout, everything meant for eyes only on stderr."""

import json
import sys
from typing import Any

from pydantic import BaseModel


def result(text: str) -> None:
    print(text)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show_json(value: BaseModel | dict[str, Any]) -> None:
    if isinstance(value, BaseModel):
        print(value.model_dump_json(indent=2), flush=True)
    else:
        print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)


def size(count: float) -> str:
    """`count` bytes for reading: three digits and a decimal unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
