"""The API key in requests: to the server it is for, and to no other."""

from collections.abc import Generator

import httpx

from core.errors import BadRequest
from core.jobs.credentials import id_of


class BearerKey(httpx.Auth):
    """Adds `Authorization: Bearer …` to requests for the origin of `url`.

    Addresses in a server's answers may lead elsewhere, and so may redirects, from which httpx takes
    the header when they leave the origin.
    """

    def __init__(self, key: str, url: httpx.URL) -> None:
        """Raises BadRequest for what cannot be a key; white space around it is none of it."""
        self._key, self._origin = key.strip(), _origin(url)
        if id_of(self._key) is None:
            raise BadRequest(  # which is not shown: it may be another secret
                "what was given as API key is none.",
                remedy="A key is sec_, 12 digits, _ and 64 more; see SECATEUR_API_KEY and --api-key-file.",
            )

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if _origin(request.url) == self._origin:
            request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    ports = {"http": 80, "https": 443}
    return url.scheme, url.host, url.port or ports.get(url.scheme)
