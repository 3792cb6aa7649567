"""What a worker says of itself while it lives: where it runs, on what, and in which versions.

Read without torch: the main process must not touch the device that its runs will own.
"""

import logging
import os
import platform
import socket
import subprocess
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from core.errors import SecateurError
from core.jobs.presence import Gpu, Presence
from core.jobs.store import JobStore
from core.settings import Settings

logger = logging.getLogger(__name__)

NVIDIA_SMI: Final = "nvidia-smi"
_PACKAGES: Final = ("secateur", "torch", "transformers")
_DRIVER_SECONDS: Final = 20.0  # a driver that wakes up takes several


def worker_id(pid: int) -> str:
    """The name of the worker whose main process is `pid`, on this machine."""
    return f"{socket.gethostname()}:{pid}"


def presence(settings: Settings, started_at: datetime, variables: Mapping[str, str]) -> Presence:
    """This process's. Asks the driver, which can take seconds."""
    on_cpu = settings.device == "cpu"
    return Presence(
        id=worker_id(os.getpid()),
        host=socket.gethostname(),
        device=settings.device,
        gpus=() if on_cpu else gpus(variables.get("CUDA_VISIBLE_DEVICES")),
        versions=_versions(),
        started_at=started_at,
    )


def tell(jobs: JobStore, worker: Presence, now: datetime, again_in: float) -> None:
    """Note in the database that the worker lives; one that cannot be told now is told later."""
    try:
        jobs.present(worker, now, again_in)
    except SecateurError as error:
        logger.warning("%s", error)


def gpus(visible: str | None = None, program: str = NVIDIA_SMI) -> tuple[Gpu, ...]:
    """The GPUs that the driver shows, less those that `visible` (CUDA_VISIBLE_DEVICES) hides.

    Where there is no driver, or it cannot say, there are none.
    """
    if visible == "":
        return ()
    chosen = ["-i", visible] if visible else []
    asked = [program, "--query-gpu=memory.total,name", "--format=csv,noheader,nounits", *chosen]
    try:
        done = subprocess.run(
            asked, capture_output=True, text=True, check=True, timeout=_DRIVER_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("no GPUs are known: %s", error)
        return ()
    return tuple(found for line in done.stdout.splitlines() if (found := _gpu(line)))


def _gpu(line: str) -> Gpu | None:
    memory, comma, name = line.partition(",")
    if not comma or not memory.strip().isdigit():  # of some devices it says [N/A]
        return None
    return Gpu(name=name.strip(), memory_bytes=int(memory) << 20)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # a checkout that was never installed, or a worker for stand-ins
    return found
