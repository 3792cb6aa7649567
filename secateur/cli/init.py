"""`secateur init`: what has to be done once before a deployment serves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o

if TYPE_CHECKING:
    from core.jobs.keys import NewKey


def init(
    first_key_file: Annotated[
        Path | None,
        typer.Option(
            "--first-key-file", help="A new file for the first key, in place of stdout; mode 0600."
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for database and store.")
    ] = 60.0,
    url: o.Url = o.URL,
    json: o.Json = False,
) -> None:
    """Prepare database and object store, and make a first API key if there has never been one.

    Does no harm when it is run again, or by several at once: there will be one first key.
    """
    from secateur.cli._output import note, result, show_json
    from secateur.cli._settings import load_settings, required
    from secateur.deployment import first_key, prepare

    settings = load_settings()
    database = required("SECATEUR_DATABASE_URL", settings.database_url)
    prepare(database, required("SECATEUR_STORE_URL", settings.store_url), timeout, note)
    new = first_key(database, first_key_file)
    if json:
        show_json({"first_key": None if new is None else _facts(new, first_key_file)})
        return
    result("The database has its tables, and the store takes objects.")
    if new is None:
        result("There are API keys, or were, so none was made: `secateur keys create` does.")
    elif first_key_file is not None:
        result(f"The first API key, for everything in tenant default, is in {first_key_file}.")
    else:
        result(_framed(new.text, url))


def _facts(new: "NewKey", file: Path | None) -> dict[str, object]:
    where = {"key": new.text} if file is None else {"file": str(file)}
    return {**new.key.model_dump(mode="json"), **where}


def _framed(key: str, url: str) -> str:
    line = "─" * (len(key) + 4)
    return f"""
The first API key, for everything in tenant default. It is shown only now:

{line}
  {key}
{line}

  export SECATEUR_API_KEY={key}
  curl -sS {url}/v1/jobs -H "Authorization: Bearer $SECATEUR_API_KEY"
"""
