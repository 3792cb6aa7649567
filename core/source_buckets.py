"""The operator's list of places on S3 from which models and texts may be read."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from core.errors import BadRequest
from core.store.s3_options import S3Options, parse_s3_url

READING: Final = (
    "endpoint", "region", "addressing", "checksums", "timeout", "attempts", "threads",
)  # fmt: skip
"""What a place may say after '?', each as in SECATEUR_STORE_URL."""


def parse_place(place: str) -> S3Options:
    """How the bucket of `s3://bucket/prefix?endpoint=…&region=…` is reached.

    Raises:
        BadRequest: no such URL, or an option that has no meaning where nothing is written.
    """
    if not place.startswith("s3://"):
        raise BadRequest("a place does not begin with s3://.")
    options = parse_s3_url(place)
    for name, _ in parse_qsl(urlsplit(place).query):
        if name not in READING:
            raise BadRequest(
                f"{name!r} has no meaning for reading; there are {', '.join(READING)}."
            )
    return options


def split_places(value: object) -> object:
    """The places in a setting: a list, or one string with whitespace or commas between them."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def check_places(places: tuple[str, ...]) -> tuple[str, ...]:
    """`places`, each of which can be parsed. Raises ValueError, which says which one cannot."""
    return check_each(places, parse_place)


def check_each(places: tuple[str, ...], check: Callable[[str], object]) -> tuple[str, ...]:
    """`places`, for each of which `check` raises no BadRequest; else ValueError with its number."""
    for number, place in enumerate(places, 1):
        try:
            check(place)
        except BadRequest as error:
            # Not the place itself: somebody may have put a secret into it.
            raise ValueError(f"place {number} of {len(places)}: {error.message}") from None
    return places


def reached(place: str, endpoint: str | None) -> S3Options:
    """The options of `place`, with `endpoint` where it names none."""
    options = parse_place(place)
    return options if options.endpoint else replace(options, endpoint=endpoint)
