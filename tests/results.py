"""A finished result without a model: a real report, and a few bytes where the weights would be."""

from pathlib import Path
from typing import Any

from core.points import NO_POINTS, Points
from core.progress import Finished, keep_quiet
from core.progress import Report as Tell
from core.report.card import model_card
from core.store import manifest
from tests.report_inputs import report_for, sink_arrays
from workers.protocol import Request

ARRAYS = sink_arrays("drifting", samples=2, timesteps=4, layers=3, positions=64)


def write_result(
    folder: Path, weights: int = 1000, without: tuple[str, ...] = (), **changes: Any
) -> Path:
    """The layout that a run leaves; `changes` replace parts of the report.

    Files whose names begin as one of `without` are left out.
    """
    report = report_for(ARRAYS, **changes)
    files = {
        "model/config.json": b'{"model_type": "llada"}\n',
        "model/README.md": model_card(report).encode(),
        "model/model-00001-of-00002.safetensors": bytes(range(256)) * (weights // 256 + 1),
        "model/model-00002-of-00002.safetensors": b"\x01" * weights,
        "report/report.json": (report.model_dump_json(indent=1) + "\n").encode(),
        "report/report.html": b"<!doctype html><title>a report</title>\n",
        "report/plots/mass.png": b"\x89PNG\r\n",
    }
    for name, data in files.items():
        if name.startswith(without):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    made = manifest.build(
        folder,
        spec=report.job,
        revision=report.model.revision,
        versions=report.versions,
        seeds=report.seeds,
    )
    manifest.write(made, folder)
    return folder


def work(
    request: Request,
    out: Path,
    report: Tell,
    finished: Finished = keep_quiet,
    points: Points = NO_POINTS,
) -> None:
    """A runner's entry that leaves such a result."""
    write_result(out)
