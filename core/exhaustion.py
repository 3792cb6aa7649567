"""Full disks and memories under names of ours, whatever library met them first. No torch here."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Final

from core.errors import DiskFull, OutOfMemory, ResourceError

_SIGNS: Final = (
    "out of memory",  # CUDA's, where it is no OutOfMemoryError
    "allocate memory",  # torch's allocator on the CPU
    "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def named_exhaustion(
    error: BaseException, place: Path | None = None, facts: Callable[[], str] | None = None
) -> ResourceError | None:
    """DiskFull or OutOfMemory, where that is what `error` means.

    `place` is where was written, unless the error knows. `facts` says what of the memory is used
    and free: asked only where it ran out.
    """
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        known = error.filename or place
        return DiskFull(
            f"no space left on the device{f' of {known}' if known else ''}.",
            remedy="Free space, or work elsewhere: SECATEUR_WORK_DIR of a worker, --out of a command.",
        )
    if not _is_of_memory(error):
        return None
    told = [" ".join(str(error).split())[:300].rstrip("."), facts() if facts else ""]
    why = "; ".join(part for part in told if part)
    return OutOfMemory(
        f"memory ran out: {why}." if why else "memory ran out.",
        remedy="Lower SECATEUR_MEMORY_BUDGET, so that groups shrink, or use a larger machine.",
    )


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch has OutOfMemoryError, which those must recognise who do not load torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
