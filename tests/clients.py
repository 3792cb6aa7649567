"""Both clients behind one face, so that one test holds for either."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

from secateur import AsyncClient, Client, download
from secateur.blocking import now
from secateur.download import Artifact

T = TypeVar("T")
Connect = Callable[..., Client]
"""Takes what `Client` takes."""


class Driven:
    """An AsyncClient whose calls are waited for, each on the same event loop."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self.client = AsyncClient(*given, **named)
        self.runner = asyncio.Runner()
        self.run = self.runner.run

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        def call(*given: Any, **named: Any) -> Any:
            coming = method(*given, **named)
            return self._each(coming) if isinstance(coming, AsyncGenerator) else self.run(coming)

        return call

    def _each(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        async def following() -> T:
            return await anext(items)

        try:
            while True:
                try:
                    item = self.run(following())
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.run(items.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.client.aclose())
        self.runner.close()


def driven(*given: Any, **named: Any) -> Client:
    """Whatever is called is the AsyncClient's."""
    return cast("Client", Driven(*given, **named))


KINDS: Final[dict[str, Connect]] = {"Client": Client, "AsyncClient": driven}


def fetch(client: Client, artifact: Artifact, target: Path) -> None:
    """`secateur.download.fetch` over the client's line."""
    if isinstance(client, Driven):
        client.run(download.fetch(client.client._line, artifact, target))
    else:
        now(download.fetch(client._calls._line, artifact, target))
