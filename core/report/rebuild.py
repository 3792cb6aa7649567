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


def rebuild(source: Path, plots: Path) -> Rebuilt:
    """The page of the result in the folder `source`, its plots below the folder `plots`.

    Raises:
        BadRequest: neither of the two files that a page is made of is there.
    """
    folder = source / "report" if (source / "report").is_dir() else source
    document, lost = _document(folder / "report.json")
    report = read(document) if not lost else Readable("pruning", read({}).parts)
    arrays, unread = _arrays(folder / "sinks.safetensors", report)
    missing = (*lost, *report.missing, *unread)
    if lost and arrays is None:
        raise BadRequest(
            f"{folder} holds no report: {'; '.join(missing)}.",
            remedy="Name a folder that `secateur prune`, `analyze` or `download` wrote.",
        )
    drawn = build.draw(all_plots(report, arrays), plots)
    return Rebuilt(build.page(report, drawn, missing), missing)


def _document(path: Path) -> tuple[Any, tuple[str, ...]]:
    try:
        return json.loads(path.read_bytes()), ()
    except OSError as error:
        return None, (f"{path.name}: {error.strerror}",)
    except (ValueError, RecursionError) as error:
        return None, (f"{path.name} is not JSON: {error}",)


def _arrays(path: Path, report: Readable) -> tuple[SinkArrays | None, tuple[str, ...]]:
    """The attention behind the plots, if it belongs to `report`."""
    try:
        arrays = sinks_file.read(path)
    except OSError as error:
        return None, (f"{path.name}: {error.strerror or error}; plots of attention are left out",)
    except (SafetensorError, ValueError, KeyError) as error:
        return None, (f"{path.name} cannot be read: {error}; plots of attention are left out",)
    timesteps = report.calibration.timesteps if report.calibration else None
    if timesteps is not None and timesteps != arrays.timesteps.tolist():
        why = f"{path.name} has other timesteps than report.json; plots of attention are left out"
        return None, (why,)
    return arrays, ()
