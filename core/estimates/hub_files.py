"""A model's files on a hub, over plain HTTP: its listing, and ranges of its files.

The listing names a commit, and every range is asked for at that commit. Free of huggingface_hub, so
that the API, which does without it, can look at a model.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from core.errors import HubUnavailable, ModelNotFound, UnsafeModel
from core.estimates.errors import SourceTooSlow
from core.estimates.files import Deadline
from core.hub_sources import HubSource
from core.models.intake import MAX_FILES
from core.sources import is_plain
from core.strict_json import Bounds, NotStrictJson, parse_strictly

USUAL_HUB: Final = "https://huggingface.co"
MAX_LISTING_BYTES: Final = 8_000_000
MAX_SIZE: Final = 1 << 44
MAX_HOPS: Final = 5
ANSWER_SECONDS: Final = 5.0
"""How long one answer, or the next piece of it, may take."""

_BOUNDS: Final = Bounds(MAX_LISTING_BYTES, values=400_000)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/")


class HubFiles:
    """The files of `model` at the commit that its revision has now.

    Raises:
        ModelNotFound: no such model or revision, or not for us.
        UnsafeModel: names that are no plain file names, or too many.
        HubUnavailable, SourceTooSlow: the hub does not answer, not as a hub does, or too late.
    """

    def __init__(self, model: HubSource, deadline: Deadline) -> None:
        self._model, self._deadline = model, deadline
        self._hub = (os.environ.get("HF_ENDPOINT") or USUAL_HUB).rstrip("/")
        self._http = _client(self._hub)
        self.commit, self.sizes = self._look_up()
        self.named = f"hf://{model.name} at {self.commit[:12]}"

    @property
    def version(self) -> str:
        return self.commit

    def revision(self) -> str | None:
        return self.commit

    def close(self) -> None:
        self._http.close()

    def read(self, file: Path, begin: int, end: int) -> bytes:
        if begin == end:
            return b""
        name = quote(file.as_posix())
        url = f"{self._hub}/{self._model.name}/resolve/{self.commit}/{name}"
        found = self._get(url, end - begin, {"Range": f"bytes={begin}-{end - 1}"}, skip=begin)
        if len(found) != end - begin:
            raise self._unavailable(f"sends {len(found)} bytes of {end - begin} of {file}")
        return found

    def _look_up(self) -> tuple[str, Mapping[Path, int]]:
        where = f"{self._model.name}/revision/{quote(self._model.revision, safe='')}"
        data = self._get(f"{self._hub}/api/models/{where}?blobs=true", MAX_LISTING_BYTES + 1, {})
        try:
            document = parse_strictly(data, _BOUNDS)
        except NotStrictJson as error:
            raise self._unavailable(f"lists its files in what {error}") from None
        commit = document.get("sha") if isinstance(document, dict) else None
        siblings = document.get("siblings") if isinstance(document, dict) else None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise self._unavailable("names no commit")
        if not isinstance(siblings, list) or len(siblings) > MAX_FILES:
            raise UnsafeModel(f"{self._model.name} lists no files, or more than {MAX_FILES}.")
        return commit, dict(self._sibling(each) for each in siblings)

    def _sibling(self, entry: Any) -> tuple[Path, int]:
        name = entry.get("rfilename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not is_plain(name):
            raise UnsafeModel(
                f"{self._model.name} holds {str(name)[:200]!r}, which is no plain file name."
            )
        size = entry.get("size")
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            raise self._unavailable(f"does not say how large {name[:200]} is")
        return Path(name), size

    def _get(self, url: str, most: int, headers: Mapping[str, str], skip: int = 0) -> bytes:
        """The first `most` bytes of what the hub, or where it sends for it, answers; where it does
        not know ranges, those after `skip`."""
        with self._named():
            for _ in range(MAX_HOPS):
                with self._http.stream("GET", url, headers=dict(headers)) as answer:
                    if answer.is_redirect:
                        url = self._next(answer)
                        continue
                    self._check_status(answer)
                    return self._body(answer, most, skip)
        raise self._unavailable("sends from one place to the next without end")

    def _next(self, answer: httpx.Response) -> str:
        request = answer.next_request
        # The hub's own storage is elsewhere; what is read must still come over TLS where the hub does.
        if request is None or request.url.scheme not in {"https", httpx.URL(self._hub).scheme}:
            raise self._unavailable("sends to where nothing is read from")
        return str(request.url)

    def _body(self, answer: httpx.Response, most: int, skip: int) -> bytes:
        if answer.status_code == httpx.codes.PARTIAL_CONTENT:
            span = _RANGE.match(answer.headers.get("content-range", ""))
            if span is None or int(span[1]) != skip:
                raise self._unavailable("sends another part than was asked for")
            skip = 0
        elif skip > most:
            raise self._unavailable("does not know ranges")
        found = bytearray()
        for piece in answer.iter_bytes():
            found += piece
            self._deadline.left()
            if len(found) >= skip + most:
                break
        return bytes(found[skip : skip + most])

    def _check_status(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status in (401, 403):
            raise ModelNotFound(
                f"hf://{self._model.name}: the hub refuses access ({status}); it is private, gated,"
                " or not there.",
                remedy="Accept its terms on the hub, and set HF_TOKEN where the server runs.",
            )
        if status == 404:
            raise ModelNotFound(
                f"hf://{self._model.name} at {self._model.revision}: not on the hub.",
                remedy="Check model.source and model.revision.",
            )
        if status not in (200, 206):
            raise self._unavailable(f"answers with status {status}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        self._http.timeout = min(ANSWER_SECONDS, self._deadline.left())
        try:
            yield
        except httpx.TimeoutException:
            raise SourceTooSlow(f"hf://{self._model.name}", self._deadline.seconds) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unavailable(f"cannot be read ({type(error).__name__})") from error

    def _unavailable(self, what: str) -> HubUnavailable:
        return HubUnavailable(
            f"hf://{self._model.name}: the hub {what}.",
            remedy="Try again later; HF_ENDPOINT says which hub is asked.",
        )


def _client(hub: str) -> httpx.Client:
    """Sends the token of the environment to the hub alone, and never to where that sends for a file."""
    token = os.environ.get("HF_TOKEN")
    home = httpx.URL(hub)

    def sign(request: httpx.Request) -> None:
        if token and (request.url.scheme, request.url.netloc) == (home.scheme, home.netloc):
            request.headers["Authorization"] = f"Bearer {token}"

    local = home.host in ("localhost", "127.0.0.1", "::1")
    return httpx.Client(
        event_hooks={"request": [sign]},
        headers={"Accept-Encoding": "identity", "User-Agent": "secateur"},
        follow_redirects=False,
        trust_env=not local,
    )


@contextmanager
def opened_hub(model: HubSource, deadline: Deadline) -> Iterator[HubFiles]:
    """The files of `model`, for as long as the block runs. Raises as `HubFiles`."""
    files = HubFiles(model, deadline)
    try:
        yield files
    finally:
        files.close()
