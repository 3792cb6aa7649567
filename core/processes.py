"""Child processes that never outlive the one that started them."""

import ctypes
import os
import signal
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
# Loaded before any fork: between fork and exec nothing may be loaded.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_HOME = Path(__file__).resolve().parents[1]


def die_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send `how` to this process when the process `parent` ends, even by SIGKILL.

    Ends this process if that has already happened. Only Linux can do this; elsewhere a child
    has to look at its parent's id now and then.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, how)
    if os.getppid() != parent:
        os._exit(1)


def hide_from_peers() -> None:
    """Keep other processes of this user, if they are not root's, from this one's memory and environment.

    A process that was started by another one may read its parent's `/proc/PID/environ` otherwise. It
    holds for what is forked from here, and ends with `exec`.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_DUMPABLE, 0)


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` in this interpreter.

    Safe path (-P): a folder named `core` or `api` where the user happens to be is not ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """`base`, in which `python` finds our packages also when they run from a checkout."""
    if str(_HOME) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return dict(base)
    rest = base.get("PYTHONPATH")
    return {**base, "PYTHONPATH": f"{_HOME}{os.pathsep}{rest}" if rest else str(_HOME)}
