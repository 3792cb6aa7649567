"""`secateur retry`: another chance for a job that failed or was cancelled."""

from secateur.cli import _options as o


def retry(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """Queue a job again that failed or was cancelled: same id, same spec."""
    from secateur.cli._output import result, show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = client.retry(job)
    if json:
        show_json(found)
    else:
        result(f"{found.id} {found.state.value}")
