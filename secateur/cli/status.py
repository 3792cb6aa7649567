"""`secateur status`: how one job stands."""

from typing import TYPE_CHECKING

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.views import Attempt


def status(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """Show how a job stands."""
    from core.jobs.plans import words
    from secateur.cli._output import result, show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = client.get(job)
    if json:
        show_json(found)
        return
    lines = {
        "job": found.id,
        "state": found.state.value,
        "model": found.spec["model"]["source"],
        "method": f"{found.spec['method']} at {found.spec['sparsity']:g}",
        "progress": f"{found.progress:.0%} {found.phase or ''}".strip(),
        "message": found.message,
    }
    if found.plan is not None:
        lines["plan"] = words(found.plan).removeprefix("planned: ")
    for attempt in found.attempts or ():
        lines[f"attempt {attempt.epoch}"] = _told(attempt)
    if found.error is not None:
        lines["error"] = f"{found.error.code}: {found.error.message} {found.error.remedy}".strip()
    for name, value in lines.items():
        result(f"{name.partition(' ')[0]:9} {value}")
    for line in found.error.log if found.error else ():
        result(f"  | {line}")


def _told(attempt: "Attempt") -> str:
    """When it began, where, and how it ended."""
    began = f"{attempt.started_at:%Y-%m-%d %H:%M:%S}"
    how = ": ".join(word for word in (attempt.outcome or "running", attempt.reason) if word)
    return f"{attempt.number} on {attempt.worker} since {began} UTC, {how}"
