"""What a call to the server is before and after the wire: one request, and how its answer is read.

Nothing here sends anything. `Asking` does, over a `Line`, which there is of two kinds.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from core.errors import BadRequest
from secateur.line import Line
from secateur.problems import BrokenOff, NotASecateurServer, Unreachable, error_of

T = TypeVar("T")
_Item_co = TypeVar("_Item_co", covariant=True)
_Answer = TypeVar("_Answer", bound=BaseModel)
_DOCUMENT: Final = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and what its answer means."""

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    """Of an answer that is no refusal."""
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    silence: float = 0.0
    """Seconds that the server was asked to wait for news before it answers."""

    @property
    def repeatable(self) -> bool:
        """Whether to send it twice does what to send it once does."""
        return self.method == "GET" or "Idempotency-Key" in self.headers

    def options(self, timeout: float) -> dict[str, Any]:
        """The arguments httpx takes beside method and path."""
        return {
            "params": self.query,
            "headers": self.headers,
            "json": self.body,
            "timeout": timeout + self.silence,
        }

    def answered(self, response: httpx.Response) -> T:
        """What `response` says. Raises the refusal that it is, as the server's own class."""
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return self.read(response)
        raise error_of(response)


class Page(Protocol[_Item_co]):
    """A piece of a list; `next` is the `after` of the following one."""

    @property
    def data(self) -> Sequence[_Item_co]: ...
    @property
    def next(self) -> str | None: ...


class Asking:
    """Sends calls over a line and waits for their answers. Raises named errors only."""

    def __init__(self, line: Line, url: httpx.URL, timeout: float) -> None:
        self._line, self._url, self._timeout = line, url, timeout

    async def _ask(self, call: Call[T]) -> T:
        with named_errors(self._url):
            response = await self._sent(call)
        return call.answered(response)

    async def _paged(
        self, path: str, read: Callable[[httpx.Response], Page[T]], query: Mapping[str, Any]
    ) -> AsyncGenerator[T, None]:
        """The items of all pages from the one that `query` names."""
        after: Mapping[str, Any] = {}
        while True:
            page = await self._ask(Call("GET", path, read, {**query, **after}))
            for item in page.data:
                yield item
            if page.next is None:
                return
            after = {"after": page.next}

    async def _sent(self, call: Call[Any]) -> httpx.Response:
        options = call.options(self._timeout)
        try:
            return await self._line.request(call.method, call.path, **options)
        except httpx.RemoteProtocolError:
            if not call.repeatable:
                raise
            # The server had just closed the idle connection.
            return await self._line.request(call.method, call.path, **options)


@contextmanager
def named_errors(url: httpx.URL) -> Iterator[None]:
    """Whatever keeps an answer of the server at `url` from coming is raised under a name of ours."""
    try:
        yield
    except httpx.UnsupportedProtocol as error:
        raise BadRequest(f"{error}", remedy="Write http://HOST:PORT.") from None
    except httpx.TransportError as error:
        never_there = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        raise (Unreachable if never_there else BrokenOff)(
            f"no answer from {url}: {error or type(error).__name__}.",
            remedy="Start one with `secateur serve`, or set --url or SECATEUR_URL.",
        ) from None


def of(kind: type[_Answer]) -> Callable[[httpx.Response], _Answer]:
    """Reads an answer that holds a `kind`. Raises NotASecateurServer for anything else."""

    def read(response: httpx.Response) -> _Answer:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise _strange(response, f"a {kind.__name__.strip('_')}") from None

    return read


def document(response: httpx.Response) -> dict[str, Any]:
    """Reads an answer that holds any JSON object."""
    try:
        return _DOCUMENT.validate_json(response.content)
    except ValidationError:
        raise _strange(response, "a JSON object") from None


def nothing(_: httpx.Response) -> None:
    """Reads an answer that says by its status that it is done."""


def job_path(job_id: str) -> str:
    return f"/v1/jobs/{segment(job_id)}"


def segment(text: str) -> str:
    """`text` as one part of a path, whatever is in it."""
    return quote(text, safe="")


def _strange(response: httpx.Response, expected: str) -> NotASecateurServer:
    return NotASecateurServer(
        f"{response.url} answered with something else than {expected}.",
        remedy="Check the server's URL and its version.",
    )
