"""From a source in a spec to a path on this machine, within what the operator allows."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from core.errors import NotAvailable, SourceRefused
from core.examples import folder_of

Roots = tuple[Path, ...] | None
"""Folders below which files may be read; None allows any path its user can read."""


def local_path(source: str, roots: Roots) -> Path:
    """The path of a `file:///…` source, links resolved.

    Raises:
        SourceRefused: the path lies outside the roots, or is not a plain absolute path.
    """
    parts = urlsplit(source)
    if parts.netloc or parts.query or parts.fragment or "\0" in unquote(parts.path):
        raise SourceRefused(f"{source} is not a plain file:///absolute/path.")
    path = Path(unquote(parts.path)).resolve()
    if roots is not None and not any(path.is_relative_to(root.resolve()) for root in roots):
        raise SourceRefused(
            f"{source} lies outside the folders this server may read.",
            remedy="Ask its operator to add the folder to SECATEUR_MODEL_ROOTS.",
        )
    return path


def model_folder(source: str, roots: Roots) -> Path:
    """The folder of a model source. Raises SourceRefused, ModelNotFound, NotAvailable."""
    if source.startswith("example:"):
        return folder_of(source.removeprefix("example:"))
    if source.startswith("file://"):
        return local_path(source, roots)
    raise NotAvailable(f"model source {source}")


def text_path(source: str, roots: Roots) -> Path | None:
    """The file of a calibration source; None for a builtin text. Raises as `model_folder`."""
    if source.startswith("builtin:"):
        return None
    if source.startswith("file://"):
        return local_path(source, roots)
    raise NotAvailable(f"calibration source {source}")
