"""A report page from the files of a result, however few of them are left."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from core.errors import BadRequest
from core.report import build, sinks_file
from core.report.plots import all_plots
from core.report.reading import Readable, read
from core.report.sinks_file import SinkArrays


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A page that was made anew, and what it could not show."""

    html: str
    missing: tuple[str, ...]


def rebuild(source: Path, folder: Path) -> Rebuilt:
    """The page of the result in the folder `source`, to stand in `folder`, which gets plots/.

    Where that is not where the result's report lies, the page does not name the files beside it.

    Raises:
        BadRequest: neither of the two files that a page is made of is there.
    """
    found = source / "report" if (source / "report").is_dir() else source
    document, lost = _document(found / "report.json")
    report = read(document) if not lost else Readable("pruning", read({}).parts)
    timesteps = report.calibration.timesteps if report.calibration else None
    arrays, unread = _arrays(found / "sinks.safetensors", timesteps)
    control = None
    if report.control is not None:
        steps = report.control.calibration.timesteps
        control, more = _arrays(found / "control.safetensors", steps)
        unread = (*unread, *more)
    missing = (*lost, *report.missing, *unread)
    if lost and arrays is None:
        raise BadRequest(
            f"{found} holds no report: {'; '.join(missing)}.",
            remedy="Name a folder that `secateur prune`, `analyze` or `download` wrote.",
        )
    drawn = build.draw(all_plots(report, arrays, control), folder)
    beside = folder.resolve() == found.resolve()
    return Rebuilt(build.page(report, drawn, missing, files=beside), missing)


def _document(path: Path) -> tuple[Any, tuple[str, ...]]:
    try:
        return json.loads(path.read_bytes()), ()
    except OSError as error:
        return None, (f"{path.name}: {error.strerror}",)
    except (ValueError, RecursionError) as error:
        return None, (f"{path.name} is not JSON: {error}",)


def _arrays(path: Path, timesteps: list[int] | None) -> tuple[SinkArrays | None, tuple[str, ...]]:
    """The attention behind the plots, if it is of the `timesteps` that the report tells of."""
    try:
        arrays = sinks_file.read(path)
    except OSError as error:
        return None, (f"{path.name}: {error.strerror or error}; plots of attention are left out",)
    except (SafetensorError, ValueError, KeyError) as error:
        return None, (f"{path.name} cannot be read: {error}; plots of attention are left out",)
    if timesteps is not None and timesteps != arrays.timesteps.tolist():
        why = f"{path.name} has other timesteps than report.json; plots of attention are left out"
        return None, (why,)
    return arrays, ()
