"""A finished result on this machine: the folder that `prune` made or `download` fetched."""

import json
from pathlib import Path
from typing import Any

from core.errors import BadRequest, CorruptObject

REPORT = "report/report.json"


def read_report(place: Path) -> dict[str, Any]:
    """The report in a result's folder, or in the file itself.

    Raises:
        BadRequest: there is none.
        CorruptObject: it is no report.
    """
    file = place / REPORT if place.is_dir() else place
    try:
        report = json.loads(file.read_bytes())
    except OSError as error:
        raise BadRequest(
            f"cannot read {file}: {error.strerror}.",
            remedy="Name a folder that `secateur prune` or `secateur download` wrote, or its report.json.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise CorruptObject(f"{file} is not JSON: {error}.") from None
    if not isinstance(report, dict) or "kind" not in report or "sinks" not in report:
        raise CorruptObject(f"{file} is not a report of Secateur.")
    return report
