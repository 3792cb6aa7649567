"""Models of a hub: how a source names one, and the operator's list of those that may be read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from core.errors import BadRequest, SourceRefused

SETTING: Final = "SECATEUR_HUB_MODELS"
DEFAULT_REVISION: Final = "main"

_NAME: Final = r"[A-Za-z0-9][\w.-]{0,95}"
_SOURCE: Final = re.compile(rf"hf://(?P<name>{_NAME}/{_NAME})(@(?P<revision>[^@]*))?/?", re.ASCII)
_REVISION: Final = re.compile(r"[\w][\w./-]{0,199}", re.ASCII)
_PLACE: Final = re.compile(rf"hf://(\*|{_NAME}(/{_NAME})?)/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubSource:
    """A model of the hub, as org/name, at a branch, a tag or a commit."""

    name: str
    revision: str

    def __str__(self) -> str:
        return f"hf://{self.name}@{self.revision}"


def hub_source(source: str, revision: str = DEFAULT_REVISION) -> HubSource:
    """What `hf://org/name` or `hf://org/name@revision` names, at `revision` where it says none.

    Raises:
        SourceRefused: it is no such name, or names another revision than `revision`.
    """
    found = _SOURCE.fullmatch(source)
    name, written = found.group("name", "revision") if found else ("..", None)
    # A repository's name has no two dots in a row, and data sets have a scheme of their own.
    if ".." in name or name.startswith(("datasets/", "spaces/", "models/")):
        raise SourceRefused(
            f"{source} does not name a model of the hub.",
            remedy="Write hf://org/name or hf://org/name@revision.",
        )
    if written is not None and revision not in (DEFAULT_REVISION, written):
        raise SourceRefused(
            f"{source} names one revision, and model.revision another: {revision}.",
            remedy="Give one of them.",
        )
    return HubSource(name, _checked(revision if written is None else written))


def _checked(revision: str) -> str:
    """`revision`, if git would take it for the name of a branch, a tag or a commit."""
    parts = revision.split("/")
    odd = any(not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts)
    if odd or ".." in revision or not _REVISION.fullmatch(revision):
        raise SourceRefused(
            f"{revision[:200]!r} is no revision.",
            remedy="Give a branch, a tag or a commit: letters, digits and '._/-'.",
        )
    return revision


def is_allowed(source: HubSource, places: Iterable[str]) -> bool:
    """Whether one of `places`, such as hf://org, hf://org/name or hf://*, is the model's.

    Letter case does not count: hubs ignore it, too.
    """
    name = source.name.lower()
    mine = {"*", name, name.partition("/")[0]}
    return any(place.removeprefix("hf://").strip("/").lower() in mine for place in places)


def check_hub(place: str) -> None:
    """Raise BadRequest for what an operator cannot mean as one of the places."""
    if not _PLACE.fullmatch(place) or ".." in place:
        raise BadRequest("it is none of hf://ORG, hf://ORG/NAME and hf://*.")
