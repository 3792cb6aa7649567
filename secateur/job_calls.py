"""What a client does with jobs: submit, read, wait, follow, end, delete."""

import builtins
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import httpx
from pydantic import BaseModel, ValidationError

from core.estimates.views import Estimate
from core.jobs.presence import Worker
from core.jobs.states import TERMINAL, State
from core.jobs.views import Event, EventPage, Job, JobPage
from core.spec import JobSpec
from secateur.calls import Asking, Call, job_path, named_errors, nothing, of
from secateur.following import PASSING, PAUSE, WAITING, Message, Parser, Patience
from secateur.problems import NotASecateurServer, WaitedTooLong, error_of

LONG_POLL: Final = 20.0
"""Seconds that one request waits."""
_SILENCE: Final = 45.0  # a stream gives a sign of life every 15 seconds


class _WorkerList(BaseModel):
    data: builtins.list[Worker]


class JobCalls(Asking):
    """Part of both clients."""

    async def submit(
        self, spec: JobSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Job:
        """Queue a job, once, even where the connection breaks and the request is sent again.

        Whoever may be killed and start over gives an `idempotency_key` of their own: within a day
        the same spec under the same key is the same job.

        Raises:
            InvalidSpec, with `fields`; NotAvailable; IdempotencyKeyReused, for another spec.
        """
        body = _posted(spec)
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        call = Call("POST", "/v1/jobs", of(Job), headers=headers, body=body)
        patience = Patience()
        while True:
            try:
                return await self._ask(call)
            except PASSING as error:
                await self._line.pause(patience.bear(error))

    async def estimate(self, spec: JobSpec | Mapping[str, Any]) -> Estimate:
        """What a job of `spec` would take; nothing is queued. Raises what would keep it from running."""
        return await self._ask(Call("POST", "/v1/estimate", of(Estimate), body=_posted(spec)))

    async def get(self, job_id: str) -> Job:
        """The job as it stands. Raises JobNotFound."""
        return await self._ask(Call("GET", job_path(job_id), of(Job)))

    def list(
        self,
        *,
        state: State | None = None,
        method: str | None = None,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        sweep: str | None = None,
        page_size: int = 50,
    ) -> AsyncGenerator[Job, None]:
        """Every job that matches all that is given, newest first, page by page."""
        given = {
            "state": state,
            "method": method,
            "model": model,
            "sweep": sweep,
            "limit": page_size,
        }
        query = {name: value for name, value in given.items() if value is not None}
        query |= {f"metadata.{key}": value for key, value in (metadata or {}).items()}
        return self._paged("/v1/jobs", of(JobPage), query)

    async def cancel(self, job_id: str) -> Job:
        """Ask for the job's end. Raises WrongState when it has ended already."""
        return await self._ask(Call("POST", f"{job_path(job_id)}/cancel", of(Job)))

    async def retry(self, job_id: str) -> Job:
        """Queue a job again that failed or was cancelled. Raises WrongState for any other."""
        return await self._ask(Call("POST", f"{job_path(job_id)}/retry", of(Job)))

    async def delete(self, job_id: str) -> None:
        """Remove a job that has ended, with all it left. Raises WrongState before its end."""
        await self._ask(Call("DELETE", job_path(job_id), nothing))

    async def changed(self, job: Job, *, seconds: float = LONG_POLL) -> Job:
        """The job as soon as it is another than `job`, or `job` itself after `seconds`.

        One request, which the server answers when there is news, and which is not repeated.
        """

        def read(response: httpx.Response) -> Job:
            return job if response.status_code == httpx.codes.NOT_MODIFIED else of(Job)(response)

        known = {"If-None-Match": f'"{job.version}"'}
        query = {"wait": seconds}
        return await self._ask(Call("GET", job_path(job.id), read, query, known, silence=seconds))

    async def wait(self, job_id: str, *, timeout: float | None = None) -> Job:
        """The job once it has ended, in whatever state; over a server's restart, too.

        Raises:
            WaitedTooLong: it goes on after `timeout` seconds; the job is left alone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = Patience()

        def left(most: float) -> float:
            return most if deadline is None else max(0.0, min(most, deadline - time.monotonic()))

        while True:
            try:
                job = await self._ended(job_id, left(LONG_POLL))
                patience.answered()
                if job.state in TERMINAL:
                    return job
            except WAITING as error:
                await self._line.pause(left(patience.bear(error)))
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitedTooLong(f"job {job_id} has not ended after {timeout:g} seconds.")

    async def _ended(self, job_id: str, seconds: float) -> Job:
        """The job at its end, or after `seconds`."""
        query = {"wait": seconds}
        return await self._ask(Call("GET", job_path(job_id), of(Job), query, silence=seconds))

    def events(
        self, job_id: str, *, after: int = 0, follow: bool = True
    ) -> AsyncGenerator[Event, None]:
        """The job's events above number `after`; with `follow`, as they come, until it has ended."""
        return (self._followed if follow else self._recorded)(job_id, after)

    async def _followed(self, job_id: str, after: int) -> AsyncGenerator[Event, None]:
        patience = Patience()
        while True:
            try:
                async with self._streamed(f"{job_path(job_id)}/events", after) as messages:
                    patience.answered()
                    async for message in messages:
                        if message.event == "end":
                            return
                        event = _event_in(message)
                        after = event.id
                        yield event
            except WAITING as error:
                pause = patience.bear(error)
            else:
                pause = PAUSE  # cut off, as happens at a server's end
            await self._line.pause(pause)

    @asynccontextmanager
    async def _streamed(
        self, path: str, after: int
    ) -> AsyncIterator[AsyncGenerator[Message, None]]:
        """Server-sent events, for as long as the line holds. Raises as `_ask`."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        timeout = httpx.Timeout(self._timeout, read=_SILENCE)
        with named_errors(self._url):
            async with self._line.stream(path, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    await self._line.rest(response)
                    raise error_of(response)
                async with aclosing(self._messages(response)) as messages:
                    yield messages

    async def _messages(self, response: httpx.Response) -> AsyncGenerator[Message, None]:
        if response.status_code == httpx.codes.NO_CONTENT:
            yield Message("end", "")
            return
        parser = Parser()
        async with aclosing(self._line.lines(response)) as lines:
            async for line in lines:
                if message := parser.feed(line):
                    yield message

    def _recorded(self, job_id: str, after: int) -> AsyncGenerator[Event, None]:
        query = {"after": after, "limit": 200}
        return self._paged(f"{job_path(job_id)}/events", of(EventPage), query)

    async def workers(self) -> tuple[Worker, ...]:
        """Who carries jobs out, and which of yours."""
        return tuple((await self._ask(Call("GET", "/v1/workers", of(_WorkerList)))).data)


def _event_in(message: Message) -> Event:
    try:
        return Event.model_validate_json(message.data)
    except ValidationError:
        raise NotASecateurServer(
            "something else than events came.", remedy="Check the server's URL and version."
        ) from None


def _posted(spec: JobSpec | Mapping[str, Any]) -> dict[str, Any]:
    return spec.model_dump(mode="json") if isinstance(spec, JobSpec) else dict(spec)
