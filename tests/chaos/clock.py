"""A worker whose wall clock a test can set: `python -m tests.chaos.clock FILE` is a worker.

FILE holds the seconds by which its clock is off, read anew at every look at the clock.
"""

import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import workers.app
import workers.tasks
from core.settings import Settings


def wrong_by(file: Path) -> type[datetime]:
    """`datetime` as it is on a machine whose clock is off by what `file` says."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            right = datetime.now(tz)  # and no Wrong, which no database driver knows
            try:
                return right + timedelta(seconds=float(file.read_text()))
            except (OSError, ValueError):  # nobody has set it, or is setting it now
                return right

    return Wrong


def main(file: Path) -> int:
    """Work as `secateur worker` does, by that clock."""
    clock = wrong_by(file)
    # Both modules read the clock by this name; the pool's process inherits it by the fork.
    for module in (workers.app, workers.tasks):
        setattr(module, "datetime", clock)  # noqa: B010 - mypy knows it for a class
    return workers.app.main(Settings())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
