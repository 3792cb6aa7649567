"""`secateur cancel`: ask for a job's end."""

from secateur.cli import _options as o


def cancel(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """Cancel a job: at once where it waits, soon where it runs."""
    from secateur.cli._output import result, show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        found = client.cancel(job)
    if json:
        show_json(found)
    else:
        result(f"{found.id} {found.state.value}")
