"""`secateur watch`: follow a job until it ends."""

from secateur.cli import _options as o


def watch(
    job: o.JobId, url: o.Url = o.URL, key_file: o.KeyFile = None, json: o.Json = False
) -> None:
    """Follow a job until it ends. With --json: each event on a line, then the job on the last.

    Fails as the job fails. Ctrl-C ends the watching, not the job.
    """
    from secateur.cli._board import board
    from secateur.cli._output import result
    from secateur.cli._remote import connect, raise_unless_succeeded, show

    with connect(url, key_file) as client:
        found = client.get(job)
        name = str(found.spec["method"])
        with board([name]) as shown:
            for event in client.events(job):
                show(shown, name, event)
                if json:
                    print(event.model_dump_json(), flush=True)
        found = client.get(job)
    if json:
        print(found.model_dump_json(), flush=True)
    else:
        result(f"{found.id} {found.state.value}")
    raise_unless_succeeded(found)
