"""The operator's list of places that jobs may push to, and what a job's destination means there.

Nothing is opened or asked, so that the API can refuse a destination before a worker sees it.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from core.destinations.errors import DestinationRefused
from core.destinations.places import Bucket, HubModel, parse_destination
from core.errors import BadRequest
from core.source_buckets import check_each
from core.sources import PLAIN, bucket_and_key, narrowest
from core.store.keys import check_key
from core.store.s3_options import S3Options, parse_s3_url

SETTING: Final = "SECATEUR_PUSH_DESTINATIONS"
_HUB_PLACE: Final = re.compile(
    r"hf://[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?/?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What an operator lets jobs do, whose author is a stranger to the worker's credentials."""

    places: tuple[str, ...]
    """Such as hf://org, hf://org/name or s3://bucket/prefix?endpoint=…, which also says how its
    bucket is reached: whoever names a destination never can."""
    store_url: str
    """Where results lie: no destination, since only jobs' own files may be there."""


def permitted(destination: str, allowed: Allowed) -> HubModel | Bucket:
    """The place that a job's `output.push` names.

    Raises:
        DestinationRefused: it lies in none of the allowed places, or says more than a place.
    """
    if destination.startswith("s3://"):
        return _bucket(destination, allowed)
    try:
        place = parse_destination(destination)
    except BadRequest:
        place = None
    if not isinstance(place, HubModel):
        raise DestinationRefused(
            "output.push is not a plain hf://org/name or hf://org/name@branch.",
            remedy="Leave out whatever else it says.",
        )
    hubs = [each.removeprefix("hf://").strip("/") for each in allowed.places if _is_hub(each)]
    if not {place.name, place.name.partition("/")[0]} & set(hubs):
        raise _outside(destination, allowed)
    return place


def _bucket(destination: str, allowed: Allowed) -> Bucket:
    found = bucket_and_key(destination)
    if found is None or not _is_key(found[1]):
        raise DestinationRefused("output.push is not a plain s3://bucket/prefix.", remedy=PLAIN)
    bucket, prefix = found
    place = narrowest(bucket, prefix, (each for each in allowed.places if not _is_hub(each)))
    if place is None:
        raise _outside(destination, allowed)
    options = replace(parse_s3_url(place), prefix=prefix)
    if _meets(options, allowed.store_url):
        raise DestinationRefused(
            f"{destination} is where this server keeps the results of all jobs, or around it.",
            remedy="Name a prefix beside it, or another bucket.",
        )
    return Bucket(options)


def check_places(places: tuple[str, ...]) -> tuple[str, ...]:
    """`places`, each of which can be meant. Raises ValueError, which says which one cannot."""
    return check_each(places, _check)


def _check(place: str) -> None:
    if place.startswith("s3://"):
        if parse_s3_url(place).public_endpoint is not None:
            raise BadRequest("'public_endpoint' has no meaning for a push.")
    elif not _HUB_PLACE.fullmatch(place) or ".." in place:
        raise BadRequest("it is none of hf://ORG, hf://ORG/NAME and s3://BUCKET/PREFIX.")


def _is_hub(place: str) -> bool:
    return place.startswith("hf://")


def _is_key(prefix: str) -> bool:
    try:
        return not prefix or bool(check_key(prefix))
    except ValueError:
        return False


def _meets(options: S3Options, store_url: str) -> bool:
    """Whether one of the two places lies within the other, as far as their URLs tell."""
    if not store_url.startswith("s3://"):
        return False
    store = parse_s3_url(store_url)
    # Without an endpoint it is what the environment says, and may be the other's.
    named = {options.endpoint, store.endpoint} - {None}
    one, other = (f"{each.prefix}/".lstrip("/") for each in (options, store))
    within = one.startswith(other) or other.startswith(one)
    return options.bucket == store.bucket and len(named) < 2 and within


def _outside(destination: str, allowed: Allowed) -> DestinationRefused:
    if not allowed.places:
        why = "results are pushed nowhere here: no place is allowed."
    else:
        why = f"{destination} lies outside the places that results may be pushed to here."
    return DestinationRefused(
        why,
        remedy=f"Ask the server's operator to add it to {SETTING}, or push the result yourself.",
    )
