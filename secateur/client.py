"""Talk to a Secateur server from Python.

    with Client() as client:
        job = client.submit({"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5})
        job = client.wait(job.id)
        client.download(job.id, Path("pruned"))

What the server refuses is raised as the class of `core.errors` that the server raised.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from core.errors import BadRequest
from core.estimates.views import Estimate
from core.jobs.presence import Worker
from core.jobs.states import TERMINAL, State
from core.jobs.views import Event, EventPage, Job, JobPage
from core.spec import JobSpec
from secateur.bearer import BearerKey
from secateur.download import Artifact, fetch, local_path
from secateur.following import PASSING, PAUSE, Message, Parser, Patience
from secateur.problems import (
    BrokenOff,
    NotASecateurServer,
    Unreachable,
    WaitedTooLong,
    error_of,
)
from secateur.webhook_calls import WebhookCalls

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_LONG_POLL: Final = 20.0  # seconds that one request waits
_SILENCE: Final = 45.0  # a stream gives a sign of life every 15 seconds
_Answer = TypeVar("_Answer", bound=BaseModel)


class _ArtifactList(BaseModel):
    data: list[Artifact]


class _WorkerList(BaseModel):
    data: list[Worker]


class Client(WebhookCalls):
    """One server. Not safe to share between threads.

    `api_key` is sent to this server only, and not to where it sends for a download.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 30.0
    ) -> None:
        try:
            base = httpx.URL(url)
            # A proxy from the environment cannot reach this machine's own loopback interface.
            direct = base.host in ("localhost", "127.0.0.1", "::1")
            auth = None if api_key is None else BearerKey(api_key, base)
            self._timeout = timeout
            self._http = httpx.Client(
                base_url=base, timeout=timeout, trust_env=not direct, auth=auth
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise BadRequest(
                f"{url!r} is not a URL: {error}.", remedy="Write http://HOST:PORT."
            ) from None

    def submit(
        self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Queue a job, once, even where the connection breaks and the request is sent again.

        Whoever may be killed and start over gives an `idempotency_key` of their own: within a day
        the same spec under the same key is the same job.

        Raises:
            InvalidSpec, with `fields`; NotAvailable; IdempotencyKeyReused, for another spec.
        """
        body = spec.model_dump(mode="json") if isinstance(spec, JobSpec) else dict(spec)
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        patience = Patience()
        while True:
            try:
                return self._parsed(Job, self._send("POST", "/v1/jobs", json=body, headers=headers))
            except PASSING as error:
                patience.bear(error)

    def estimate(self, spec: JobSpec | Mapping[str, Any]) -> Estimate:
        """What a job of `spec` would take; nothing is queued. Raises what would keep it from running."""
        body = spec.model_dump(mode="json") if isinstance(spec, JobSpec) else dict(spec)
        return self._parsed(Estimate, self._send("POST", "/v1/estimate", json=body))

    def get(self, job_id: str) -> Job:
        """The job as it stands. Raises JobNotFound."""
        return self._parsed(Job, self._send("GET", _job(job_id)))

    def list(
        self,
        *,
        state: State | None = None,
        method: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        page_size: int = 50,
    ) -> Iterator[Job]:
        """Every job that matches all that is given, newest first, page by page."""
        given = {"state": state, "method": method, "model": model, "limit": page_size}
        query = {name: value for name, value in given.items() if value is not None}
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        while True:
            page = self._parsed(JobPage, self._send("GET", "/v1/jobs", params=query))
            yield from page.data
            if page.next is None:
                return
            query["after"] = page.next

    def cancel(self, job_id: str) -> Job:
        """Ask for the job's end. Raises WrongState when it has ended already."""
        return self._parsed(Job, self._send("POST", f"{_job(job_id)}/cancel"))

    def retry(self, job_id: str) -> Job:
        """Queue a job again that failed or was cancelled. Raises WrongState for any other."""
        return self._parsed(Job, self._send("POST", f"{_job(job_id)}/retry"))

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with all it left. Raises WrongState before its end."""
        self._send("DELETE", _job(job_id))

    def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job once it has ended, in whatever state; over a server's restart, too.

        Raises:
            WaitedTooLong: it goes on after `timeout` seconds; the job is left alone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = Patience()
        while True:
            left = _LONG_POLL if deadline is None else deadline - time.monotonic()
            try:
                job = self._awaited(job_id, min(_LONG_POLL, max(0.0, left)))
                patience.answered()
                if job.state in TERMINAL:
                    return job
            except PASSING as error:
                patience.bear(error)
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitedTooLong(f"job {job_id} has not ended after {timeout:g} seconds.")

    def _awaited(self, job_id: str, seconds: float) -> Job:
        answer = self._send(
            "GET", _job(job_id), params={"wait": seconds}, timeout=self._timeout + seconds
        )
        return self._parsed(Job, answer)

    def events(self, job_id: str, *, after: int = 0, follow: bool = True) -> Iterator[Event]:
        """The job's events above number `after`; with `follow`, as they come, until it has ended."""
        if not follow:
            yield from self._pages_of_events(job_id, after)
            return
        patience = Patience()
        while True:
            try:
                with self._stream(f"{_job(job_id)}/events", after) as messages:
                    patience.answered()
                    for message in messages:
                        if message.event == "end":
                            return
                        event = self._event(message)
                        after = event.id
                        yield event
            except PASSING as error:
                patience.bear(error)
            else:
                time.sleep(PAUSE)  # cut off, as happens at a server's end

    def _pages_of_events(self, job_id: str, after: int) -> Iterator[Event]:
        while True:
            query = {"after": after, "limit": 200}
            page = self._parsed(
                EventPage, self._send("GET", f"{_job(job_id)}/events", params=query)
            )
            yield from page.data
            if not page.has_more:
                return
            after = page.data[-1].id

    def artifacts(self, job_id: str) -> tuple[Artifact, ...]:
        """What the job left; nothing before it has succeeded."""
        answer = self._send("GET", f"{_job(job_id)}/artifacts")
        return tuple(self._parsed(_ArtifactList, answer).data)

    def report(self, job_id: str) -> dict[str, Any]:
        """`report.json`. Raises WrongState before the job has succeeded."""
        accept = {"Accept": "application/json"}
        answer = self._send("GET", f"{_job(job_id)}/report", headers=accept)
        document: dict[str, Any] = answer.json()
        return document

    def download(
        self, job_id: str, folder: Path, *, only: Callable[[str], bool] | None = None
    ) -> Path:
        """Put every artifact of the job below `folder`, each one whole and verified, or not at all.

        With `only`, just those for whose names it is true.
        Interrupted downloads go on where they stopped; files that are there already are kept.

        Raises:
            WrongState: the job has left nothing to download.
            CorruptObject: what arrived is not what the manifest names.
        """
        found = self.artifacts(job_id)
        if not found:
            self.report(job_id)  # says why there is nothing
        for artifact in found:
            if only is None or only(artifact.name):
                fetch(self._http, artifact, local_path(folder, artifact.name))
        return folder

    def workers(self) -> tuple[Worker, ...]:
        """Who carries jobs out, and which of yours."""
        return tuple(self._parsed(_WorkerList, self._send("GET", "/v1/workers")).data)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _stream(self, path: str, after: int) -> Iterator[Iterator[Message]]:
        """Server-sent events, for as long as the line holds. Raises as `_send`."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        timeout = httpx.Timeout(self._timeout, read=_SILENCE)
        with (
            self._named_errors(),
            self._http.stream("GET", path, headers=headers, timeout=timeout) as response,
        ):
            if response.status_code == httpx.codes.NO_CONTENT:
                yield iter([Message("end", "")])
                return
            if not response.is_success:
                response.read()
                raise error_of(response)
            parser = Parser()
            found = (parser.feed(line) for line in response.iter_lines())
            yield (message for message in found if message)

    @staticmethod
    def _event(message: Message) -> Event:
        try:
            return Event.model_validate_json(message.data)
        except ValidationError:
            raise NotASecateurServer(
                "something else than events came.", remedy="Check the server's URL and version."
            ) from None

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.UnsupportedProtocol as error:
            raise BadRequest(f"{error}", remedy="Write http://HOST:PORT.") from None
        except httpx.TransportError as error:
            never_there = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise (Unreachable if never_there else BrokenOff)(
                f"no answer from {self._http.base_url}: {error or type(error).__name__}.",
                remedy="Start one with `secateur serve`, or set --url or SECATEUR_URL.",
            ) from None

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._named_errors():
            response = self._once_more(method, path, options)
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        raise error_of(response)

    def _once_more(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        """Reads are repeated once where the server had just closed the idle connection."""
        try:
            return self._http.request(method, path, **options)
        except httpx.RemoteProtocolError:
            if method != "GET":
                raise
            return self._http.request(method, path, **options)

    @staticmethod
    def _parsed(kind: type[_Answer], response: httpx.Response) -> _Answer:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise NotASecateurServer(
                f"{response.url} answered with something else than a {kind.__name__.strip('_')}.",
                remedy="Check the server's URL and its version.",
            ) from None


def _job(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"
