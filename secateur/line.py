"""The wire, the clock and the disk as calls need them: one protocol, with and without an event loop.

Calls are written once, as coroutines over a `Line`. `AsyncioLine` gives way to the event loop wherever
it waits. `BlockingLine` waits on the spot, so that a coroutine over it ends without ever having been
suspended; `secateur.blocking` makes plain functions of them.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, ParamSpec, Protocol, TypeVar

import httpx

P = ParamSpec("P")
T = TypeVar("T")


class Line(Protocol):
    """To one server. Raises the errors of httpx."""

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """The whole answer."""
        ...

    def stream(self, url: str, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        """The head of an answer to GET; the connection is closed with the context."""
        ...

    async def rest(self, response: httpx.Response) -> None:
        """Read the body of a streamed answer, to be found in it from then on."""
        ...

    def lines(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        """The body of a streamed answer, line by line."""
        ...

    def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        """The body of a streamed answer in the pieces in which it comes, not decoded."""
        ...

    async def pause(self, seconds: float) -> None: ...

    async def disk(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `work`, which may have to wait for a disk, returns."""
        ...

    async def each(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Carry out every one of `works`, or raise what the first that fails raises."""
        ...


class BlockingLine:
    """Each method waits for what it does. None is ever suspended."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._http.request(method, url, **options)

    @asynccontextmanager
    async def stream(self, url: str, **options: Any) -> AsyncIterator[httpx.Response]:
        with self._http.stream("GET", url, **options) as response:
            yield response

    async def rest(self, response: httpx.Response) -> None:
        response.read()

    async def lines(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        for line in response.iter_lines():
            yield line

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        for piece in response.iter_raw():
            yield piece

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    async def disk(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        return work(*given, **named)

    async def each(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        for work in works:
            await work()


class AsyncioLine:
    """Gives way to the loop of asyncio. At most `at_once` of `each`'s works are under way together."""

    def __init__(self, http: httpx.AsyncClient, at_once: int) -> None:
        self._http, self._places = http, asyncio.Semaphore(at_once)

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return await self._http.request(method, url, **options)

    def stream(self, url: str, **options: Any) -> AbstractAsyncContextManager[httpx.Response]:
        return self._http.stream("GET", url, **options)

    async def rest(self, response: httpx.Response) -> None:
        await response.aread()

    async def lines(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        async for line in response.aiter_lines():
            yield line

    async def pieces(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        async for piece in response.aiter_raw():
            yield piece

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def disk(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """In a thread. Who is cancelled meanwhile goes on only when the thread is done.

        Else it would close a file into which the thread still writes.
        """
        thread = asyncio.ensure_future(asyncio.to_thread(work, *given, **named))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            while not thread.done():
                with suppress(asyncio.CancelledError):  # once more
                    await asyncio.wait([thread])
            if not thread.cancelled():
                thread.exception()  # nobody else will ask for it
            raise

    async def each(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        async def one(work: Callable[[], Awaitable[None]]) -> None:
            async with self._places:
                await work()

        try:
            async with asyncio.TaskGroup() as group:
                for work in works:
                    group.create_task(one(work))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
