"""Which tracker is told of results, and what it is given. Free of MLflow."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from core.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log, and what beside numbers and report."""

    uri: str = field(repr=False)
    """May hold a password."""
    experiment: str
    register: str | None = None
    """Name of the registered model that gets a version."""
    with_weights: bool = False
    source: str | None = None
    """Where the checkpoint lies, for the registered version; None: among the run's artifacts."""


def check_target(target: Target) -> Target:
    """`target` itself. Raises BadRequest, saying what in it cannot be meant."""
    parts = urlsplit(target.uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadRequest(
            "the MLflow URI is not that of a tracking server.", remedy="Write http://HOST:PORT."
        )
    if target.register is None:
        return target
    if not re.fullmatch(r"[\w. -]{1,128}", target.register):
        raise BadRequest(
            f"{target.register!r} is no name of a registered model.",
            remedy="Use letters, digits, blanks, '.', '_' and '-'.",
        )
    local = target.source is not None and urlsplit(target.source).scheme in ("", "file")
    if local or (target.source is None and not target.with_weights):
        raise BadRequest(
            "a registered model must point to a checkpoint that others can read.",
            remedy="Log the weights too, or give the s3:// place of the checkpoint.",
        )
    return target


def bare(uri: str) -> str:
    """`uri` without user, password and query."""
    parts = urlsplit(uri)
    port = f":{parts.port}" if parts.port else ""
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
