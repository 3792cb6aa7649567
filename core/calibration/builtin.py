"""The texts that came with the package. Free of torch."""

from pathlib import Path

from core.errors import TextNotFound

BUILTIN = Path(__file__).parent / "data"
HELD_OUT = "heldout.txt"
CALIBRATION = "calibration.txt"


def builtin_names() -> list[str]:
    return sorted(p.name for p in BUILTIN.iterdir() if p.is_dir())


def read_builtin(name: str, file: str) -> list[str]:
    """The documents of a shipped text; `file` is CALIBRATION or HELD_OUT.

    Raises:
        TextNotFound: there is no such text.
    """
    check_builtin(name)
    return [(BUILTIN / name / file).read_text(encoding="utf-8")]


def check_builtin(name: str) -> None:
    """Raise TextNotFound where there is no builtin text of this name."""
    if name not in builtin_names():
        raise TextNotFound(
            f"no builtin text {name[:100]!r}.", remedy=f"There are: {', '.join(builtin_names())}."
        )
