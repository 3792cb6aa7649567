"""`secateur submit`: queue a job on a server."""

from secateur.cli import _options as o


def submit(
    model: o.Model = None,
    method: o.Method = None,
    sparsity: o.Sparsity = None,
    pattern: o.Pattern = None,
    calibration: o.CalibrationSource = None,
    samples: o.Samples = None,
    sequence_length: o.SequenceLength = None,
    seed: o.Seed = None,
    spec: o.SpecFile = None,
    url: o.Url = o.URL,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Queue a job on a server and print its id. Paths are the server's."""
    from secateur.cli._output import note, result, show_json
    from secateur.cli._remote import connect
    from secateur.cli._spec import Typed, spec_data

    typed = Typed(model, method, sparsity, pattern, calibration, samples, sequence_length, seed)
    with connect(url, key_file) as client:
        job = client.submit(spec_data(typed, spec))
    if json:
        show_json(job)
    else:
        result(job.id)
        note(f"Watch it with: secateur watch {job.id}")
