"""Where a result is pushed to, read from what was typed. Nothing is asked or opened."""

import re
from dataclasses import dataclass
from typing import Literal

from core.errors import BadRequest
from core.store.s3_options import S3Options, parse_s3_url

What = Literal["model", "all"]

_HUB = re.compile(
    r"hf://(?P<name>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<branch>[\w][\w./-]{0,199}))?/?",
    re.ASCII,
)
FORMS = "hf://ORG/NAME, hf://ORG/NAME@BRANCH or s3://BUCKET/PREFIX?endpoint=http://HOST:PORT"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A branch of a model repository. It gets `model/` as its root, since loaders look there."""

    name: str
    branch: str = "main"

    def __str__(self) -> str:
        return f"hf://{self.name}" + ("" if self.branch == "main" else f"@{self.branch}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A place in a bucket. It gets the whole layout, which `manifest.json` then proves."""

    options: S3Options

    def __str__(self) -> str:
        return f"s3://{self.options.bucket}/{self.options.prefix}".rstrip("/")


def parse_destination(text: str) -> HubModel | Bucket:
    """The place that `text` names. Raises BadRequest."""
    if text.startswith("s3://"):
        try:
            return Bucket(parse_s3_url(text))
        except BadRequest as error:
            raise BadRequest(error.message, remedy=f"Write {FORMS}.") from None
    found = _HUB.fullmatch(text)
    name, branch = found.group("name", "branch") if found else ("..", None)
    # Neither a repository's name nor a branch has two dots in a row.
    if ".." in f"{name}{branch or ''}" or (branch or "").endswith(("/", ".", ".lock")):
        raise BadRequest(
            f"{text.partition('?')[0]!r} is no place to push to.", remedy=f"Write {FORMS}."
        )
    return HubModel(name, branch or "main")


def what_to_send(place: HubModel | Bucket, asked: What | None) -> What:
    """What is sent where nothing was asked for. Raises BadRequest for what a place cannot hold."""
    if isinstance(place, Bucket):
        return asked or "all"
    if asked == "all":
        raise BadRequest(
            "a repository of models holds the model alone.",
            remedy="Push the whole result to s3://, or leave --what out: the card has the numbers.",
        )
    return "model"
