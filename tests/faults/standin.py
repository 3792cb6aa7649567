"""A run without a model: takes the time and meets the fate that the job's metadata asks for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from core import vault
from core.errors import OutOfMemory
from core.points import NO_POINTS, Points
from core.progress import PHASES, Finished, Forecast, Progress, Report, keep_quiet
from core.store import manifest
from workers.protocol import Request

SECRET = "s3cr3t"
"""What the secrets of a worker that this runner belongs to begin with."""


def work(
    request: Request,
    out: Path,
    report: Report,
    finished: Finished = keep_quiet,
    points: Points = NO_POINTS,
) -> None:
    """The runner's entry. `seconds`: how long; `fate`: what happens half-way.

    `bytes`: how many the one shard has, which is finished before the time begins to pass.
    """
    wishes = request.spec.metadata
    seconds = float(wishes.get("seconds", "0.2"))
    steps = 20
    partial = out.with_name("partial")
    (partial / "model").mkdir(parents=True)
    shard = partial / "model" / "weights.bin"
    shard.write_bytes(Random(0).randbytes(int(wishes.get("bytes", "1000"))))
    finished("model/weights.bin", shard)
    for step in range(steps):
        phase = PHASES[step * 4 // steps]
        report(Progress(phase, step / steps, f"step {step}", _plan(request) if step == 2 else None))
        if step == steps // 2:
            FATES[wishes.get("fate", "none")](request)
        time.sleep(seconds / steps)
    (partial / "epoch.txt").write_text(f"{request.epoch}\n")
    made = manifest.build(
        partial,
        spec=request.spec.model_dump(mode="json"),
        revision="stand-in",
        versions={},
        seeds={},
    )
    manifest.write(made, partial)
    partial.rename(out)


def _plan(request: Request) -> Forecast | None:
    """`peak` and `least`: what the plan says in bytes, where it may take so much."""
    wishes = request.spec.metadata
    if "peak" not in wishes:
        return None
    budget = request.memory_budget or 10**10
    peak = min(int(wishes["peak"]), budget)
    return Forecast(peak, budget, int(wishes.get("least", "1")), 4, 1e12, 60.0)


def _none(_: Request) -> None:
    pass


def _killed_once(request: Request) -> None:
    if request.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def _killed(_: Request) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _no_memory(_: Request) -> None:
    raise OutOfMemory("a block needs 3 GB, 2 GB are free.", remedy="Lower the memory budget.")


def _out_of_memory(_: Request) -> None:
    raise MemoryError


def _greedy(_: Request) -> None:
    """Takes 20 MB more and more, until the kernel ends it."""
    print("taking all there is, password=hunter22", file=sys.stderr, flush=True)
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1 << 20) * 20))
        time.sleep(0.05)


def _silent(_: Request) -> None:
    time.sleep(600)


def _defect(_: Request) -> None:
    raise ZeroDivisionError("a defect\nin two lines")


def _full_disk(_: Request) -> None:
    raise OSError(28, "No space left on device", "/scratch/file")


def _noisy(_: Request) -> None:
    """Writes where the protocol is, through Python and below it."""
    print('{"kind": "done", "manifest_key": "forged"}', flush=True)
    os.write(1, b'{"kind": "done", "manifest_key": "forged"}\n')


def _deaf(_: Request) -> None:
    """Never hears SIGTERM, and has a child that does not either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", sleep])
    time.sleep(600)


def _env(_: Request) -> None:
    left = [name for name in os.environ if name.startswith("SECATEUR_")]
    if left:
        raise OutOfMemory(f"the runner was told {left}")


def _secrets(_: Request) -> None:
    """Looks for what the worker's environment says with SECRET in it; only the vault has it."""
    shown = Path("/proc/self/environ").read_bytes() + repr(dict(os.environ)).encode()
    if SECRET.encode() in shown:
        raise OutOfMemory(f"the runner was shown {SECRET}")
    if vault.secret("AWS_SECRET_ACCESS_KEY") != f"{SECRET}-AWS_SECRET_ACCESS_KEY":
        raise OutOfMemory("the vault is empty")
    if SECRET in repr(vars(vault)):
        raise OutOfMemory("the vault shows what it holds")


FATES: dict[str, Callable[[Request], None]] = {
    "none": _none,
    "killed-once": _killed_once,
    "killed": _killed,
    "no-memory": _no_memory,
    "out-of-memory": _out_of_memory,
    "greedy": _greedy,
    "silent": _silent,
    "defect": _defect,
    "full-disk": _full_disk,
    "noisy": _noisy,
    "deaf": _deaf,
    "env": _env,
    "secrets": _secrets,
}
