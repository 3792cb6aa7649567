"""`secateur doctor`: what is configured, reachable and missing."""

import typer

from secateur.cli import _options as o


def doctor(url: o.Url = o.URL, json: o.Json = False) -> None:
    """Look at this installation. Fails if something is configured and does not work."""
    from secateur.cli._checkup import checkup
    from secateur.cli._output import result, show_json
    from secateur.cli._settings import load_settings

    findings = checkup(load_settings(), url)
    if json:
        show_json({"data": [finding.model_dump() for finding in findings]})
    else:
        for finding in findings:
            remedy = f"\n{'':23}{finding.remedy}" if finding.remedy else ""
            result(f"{finding.status:8} {finding.name:13} {finding.detail}{remedy}")
    if any(finding.status == "broken" for finding in findings):
        raise typer.Exit(1)
