"""`secateur status`: how one job stands."""

from secateur.cli import _options as o


def status(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """Show how a job stands."""
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
    if found.error is not None:
        lines["error"] = f"{found.error.code}: {found.error.message} {found.error.remedy}".strip()
    for name, value in lines.items():
        result(f"{name:9} {value}")
