"""Talk to a Secateur server from a program that runs on asyncio.

    async with AsyncClient() as client:
        job = await client.submit({"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5})
        job = await client.wait(job.id)
        await client.download(job.id, Path("pruned"))

Its calls are those of `secateur.client`, under the same names and with the same errors.
"""

from types import TracebackType
from typing import Final, Self

import httpx

from secateur.client import DEFAULT_URL, Calls, options_of
from secateur.line import AsyncioLine

DOWNLOADS: Final = 4


class AsyncClient(Calls):
    """One server. Tasks may share it, as long as they run on one event loop.

    `api_key` is sent to this server only, and not to where it sends for a download. At most `downloads`
    files come at the same time. A call that is cancelled leaves nothing unfinished under a final name;
    what a download has is continued by the next one.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        downloads: int = DOWNLOADS,
    ) -> None:
        self._http = httpx.AsyncClient(**options_of(url, api_key, timeout))
        super().__init__(AsyncioLine(self._http, downloads), self._http.base_url, timeout)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
