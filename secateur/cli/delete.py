"""`secateur delete`: remove a job and all it left."""

from secateur.cli import _options as o


def delete(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """Remove a job that has ended, with its artifacts and its history. There is no way back."""
    from secateur.cli._output import result, show_json
    from secateur.cli._remote import connect

    with connect(url, key_file) as client:
        client.delete(job)
    if json:
        show_json({"id": job, "deleted": True})
    else:
        result(f"{job} deleted")
