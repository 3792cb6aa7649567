"""What the verbs share that run the engine in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from core.answers import Answers
    from core.progress import Progress

T = TypeVar("T")


def check_output(out: Path, *, force: bool) -> None:
    """Raise OutputExists if `out` is there, unless it may be replaced and is one of ours."""
    from core.errors import OutputExists
    from core.store.manifest import MANIFEST

    if not out.exists() and not out.is_symlink():
        return
    if not force:
        raise OutputExists(f"{out} exists.", remedy="Choose another folder, or pass --force.")
    ours = out.is_dir() and ((out / MANIFEST).is_file() or not any(out.iterdir()))
    if not ours:
        raise OutputExists(
            f"{out} is no output of `secateur prune` or `analyze`, and --force would delete it.",
            remedy="Choose another folder.",
        )


def byte_count(text: str) -> int:
    """`text` in bytes: a number, or one with kB, MB, GB, TB, KiB, MiB, GiB or TiB."""
    import re

    from core.errors import BadRequest

    units = {"": 1} | {f"{p}B": 1000**i for i, p in enumerate("KMGT", 1)}
    units |= {f"{p}IB": 1024**i for i, p in enumerate("KMGT", 1)}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Z]*)", text.strip().upper())
    if not found or found[2] not in units or float(found[1]) <= 0:
        raise BadRequest(f"{text!r} is not an amount of memory.", remedy="Write 8GB or 512MiB.")
    return int(float(found[1]) * units[found[2]])


def engine() -> Any:
    """`core.run`, or the way to install what it needs."""
    from core.errors import BadRequest

    try:
        import core.run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "core":
            raise
        raise BadRequest(
            f"running a model on this machine needs {error.name}, which is not installed.",
            remedy='Run: pip install "secateur[worker]"',
        ) from None
    return core.run


def run_options(
    engine: Any,
    device: str | None,
    threads: int | None,
    memory_budget: str | None,
    *,
    force: bool,
    answers: "Answers | None" = None,
) -> Any:
    """`RunOptions` of what was typed, over the settings."""
    from core.answers import NO_ANSWERS
    from secateur.cli._settings import load_settings

    settings = load_settings()
    return engine.RunOptions(
        device=device or settings.device,
        threads=threads or settings.threads,
        memory_budget=settings.memory_budget
        if memory_budget is None
        else byte_count(memory_budget),
        source_buckets=settings.source_buckets,
        max_model_bytes=settings.max_model_bytes,
        hub_cache=settings.hub_cache,
        replace=force,
        answers=answers or NO_ANSWERS,
    )


def with_progress(name: str, run: Callable[[Callable[["Progress"], None]], T]) -> T:
    """What `run` returns, with its progress shown under `name`."""
    from secateur.cli._board import board

    with board([name]) as shown:
        return run(lambda p: shown.update(name, p.fraction, f"{p.phase}: {p.message}"))
