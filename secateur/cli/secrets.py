"""`secateur secrets`: the files that a deployment in containers reads its secrets from."""

from pathlib import Path
from typing import Annotated

import typer


def secrets(
    folder: Annotated[Path, typer.Argument(help="Where they lie, or are to lie.")],
) -> None:
    """Make the passwords and keys that are missing in a folder; those that are there stay."""
    from secateur.secret_files import ensure

    written = ensure(folder)
    for name in written:
        print(f"wrote {folder / name}")
    if not written:
        print(f"{folder} has every secret already")
