"""Addresses of a hub and of where it sends for a file, judged by what they say."""

from ipaddress import ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from core.errors import SourceRefused, SourceUnavailable


def checked(endpoint: str) -> SplitResult:
    """What HF_ENDPOINT says. Raises SourceUnavailable."""
    try:
        found = urlsplit(endpoint)
        plain = found.scheme in ("http", "https") and found.hostname and (found.port or True)
    except ValueError:
        plain = False
    if not plain or found.query or found.fragment or found.username or found.password:
        raise SourceUnavailable(
            "HF_ENDPOINT is no plain http:// or https:// URL.", remedy="Correct it, or unset it."
        )
    return found


def followed(url: str, location: str) -> SplitResult:
    """Where `location` leads from `url`, whoever sends us. Raises SourceRefused."""
    try:
        following = urljoin(url, location)
        place = urlsplit(following)
        port = place.port  # noqa: F841 - raises for what is no number
    except ValueError:
        raise misled(location, "no URL") from None
    if place.scheme not in ("http", "https") or not place.hostname:
        raise misled(following, "neither http:// nor https://")
    if urlsplit(url).scheme == "https" and place.scheme != "https":
        raise misled(following, "a line without TLS")
    if place.username is not None or place.password is not None:
        raise misled(following, "an address with a password in it")
    return place


def origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what has to be the same for a hub to be itself."""
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def is_open(host: str) -> bool:
    """Whether `host`, where it is an address and no name, is one of the open internet."""
    try:
        return ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def misled(url: str, what: str) -> SourceRefused:
    """That a hub sends us to `url`; of its query nothing is told."""
    return SourceRefused(
        f"the hub sends us to {url.partition('?')[0][:200]!r}, {what}.",
        remedy="Check that HF_ENDPOINT names a hub that can be trusted.",
    )
