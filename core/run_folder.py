"""The folder that a run writes into: its name appears only when it is complete."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core import machine
from core.errors import OutputExists
from core.exhaustion import named_exhaustion


@contextmanager
def new_folder(out: Path, *, replace: bool) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when everything within has succeeded."""
    out = out.absolute()
    if out.exists() and not replace:
        raise OutputExists(f"{out} exists.", remedy="Choose another folder or pass --force.")
    with exhaustion_named(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
        try:
            partial.chmod(0o755)
            yield partial
            _put_in_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def scratch_folder(within: Path | None) -> Iterator[Path]:
    """A folder for what is downloaded, on the disk of the result where there is to be one, but not in
    it: a manifest names whatever lies there."""
    with tempfile.TemporaryDirectory(prefix=".secateur-", dir=within) as scratch:
        yield Path(scratch)


@contextmanager
def exhaustion_named(out: Path) -> Iterator[None]:
    """Full disks and memories under names of ours, whatever library met them first."""
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        named = named_exhaustion(error, out, machine.memory_words)
        if named is None:
            raise
        raise named from error


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder to its name; a replaced one is gone only after that."""
    if not out.exists():
        partial.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}.old-", dir=out.parent))
    out.rename(old / "replaced")
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
