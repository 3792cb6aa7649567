"""What only a client on an event loop has to get right: cancellation, several things at once."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from core.errors import CorruptObject
from core.jobs.states import State
from secateur import AsyncClient, Client
from secateur.client import Calls
from secateur.line import AsyncioLine
from tests.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.integration.test_client_lines import found, until
from tests.served import NOW, Served

T = TypeVar("T")
DATA = bytes(range(256)) * 12000
FILES = {f"model/{number}.bin": DATA + bytes([number]) for number in range(6)}


def running(server: Served, test: Callable[[AsyncClient], Awaitable[T]], **options: Any) -> T:
    """What `test` returns, on an event loop of its own."""

    async def run() -> T:
        async with AsyncClient(server.url, **options) as client:
            return await test(client)

    return asyncio.run(run())


async def cancel_when(task: asyncio.Task[Any], holds: Callable[[], bool]) -> None:
    """Cancels `task` as soon as it `holds`, which it has to before the task is done."""
    while not holds():
        assert not task.done()
        await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert calls(Client) - {"close"} == calls(AsyncClient) - {"aclose"} == calls(Calls)
    for name in calls(Calls):
        blocking, shared = getattr(Client, name), getattr(Calls, name)
        assert inspect.getdoc(blocking) == inspect.getdoc(shared), name
        parameters = inspect.signature(shared).parameters
        assert inspect.signature(blocking).parameters == parameters, name
        assert not inspect.iscoroutinefunction(blocking), name


def test_many_jobs_are_waited_for_at_once(server: Served) -> None:
    jobs = [server.submit() for _ in range(5)]

    def cancel() -> None:
        for job_id in jobs:
            server.jobs.cancel("default", job_id, NOW)

    async def test(client: AsyncClient) -> list[State]:
        timer = threading.Timer(0.5, cancel)
        timer.start()
        ended = await asyncio.gather(*(client.wait(job_id) for job_id in jobs))
        timer.join()
        return [job.state for job in ended]

    assert running(server, test) == [State.CANCELLED] * 5


class TestCancellation:
    @pytest.mark.parametrize("following", ["wait", "events"])
    def test_who_waits_leaves_its_place(self, server: Served, following: str) -> None:
        places = server.app.state.waiting.places
        job_id = server.running()

        async def listen(client: AsyncClient) -> None:
            async for _ in client.events(job_id):
                pass

        async def test(client: AsyncClient) -> int:
            coming = client.wait(job_id) if following == "wait" else listen(client)
            task = asyncio.ensure_future(coming)
            await cancel_when(task, lambda: places.taken == 1)
            # The client is still open, and its connection of before is not.
            await asyncio.to_thread(until, lambda: places.taken == 0)
            return (await client.get(job_id)).version

        assert running(server, test) > 0

    def test_time_limits_of_asyncio_hold(self, server: Served) -> None:
        async def test(client: AsyncClient) -> None:
            async with asyncio.timeout(0.3):
                await client.wait(server.running())

        with pytest.raises(TimeoutError):
            running(server, test)

    def test_a_stream_can_be_left(self, server: Served) -> None:
        places = server.app.state.waiting.places

        async def test(client: AsyncClient) -> None:
            async with aclosing(client.events(server.running())) as events:
                assert (await anext(events)).id == 1
                assert places.taken == 1
            await asyncio.to_thread(until, lambda: places.taken == 0)

        running(server, test)

    def test_a_download_leaves_parts_which_the_next_continues(
        self, server: Served, tmp_path: Path
    ) -> None:
        job_id = server.succeeded(FILES)
        out = tmp_path / "out"

        async def test(client: AsyncClient, proxy: FaultyProxy) -> None:
            proxy.fault = Fault("stall", f"GET /v1/jobs/{job_id}/artifacts/", 2_000_000, times=99)
            task = asyncio.ensure_future(client.download(job_id, out))
            await cancel_when(task, lambda: size(out) > 3_000_000)
            assert all(name.endswith(".part") for name in found(out))
            held, proxy.fault, proxy.passed = size(out), None, 0
            await client.download(job_id, out)
            assert proxy.passed < sum(map(len, FILES.values())) - held + 100_000

        with faulty_proxy(server.url) as proxy:

            async def run() -> None:
                async with AsyncClient(proxy.url) as client:
                    await test(client, proxy)

            asyncio.run(run())
        assert {name: data for name, data in found(out).items() if name in FILES} == FILES
        assert not [name for name in found(out) if name.endswith(".part")]

    def test_a_thread_ends_before_who_was_cancelled_goes_on(self) -> None:
        done: list[str] = []

        def write() -> None:
            time.sleep(0.3)
            done.append("written")

        async def save(line: AsyncioLine) -> None:
            try:
                await line.disk(write)
            finally:
                done.append("closed")

        async def test() -> None:
            async with AsyncClient() as client:
                assert isinstance(client._line, AsyncioLine)
                task = asyncio.ensure_future(save(client._line))
                for _ in range(2):
                    await asyncio.sleep(0.05)
                    task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(test())
        assert done == ["written", "closed"]


def size(folder: Path) -> int:
    return sum(map(len, found(folder).values()))


class TestDownload:
    @pytest.mark.parametrize("at_once", [1, 3])
    def test_only_so_many_files_come_at_once(
        self, server: Served, tmp_path: Path, at_once: int
    ) -> None:
        job_id = server.succeeded(FILES)

        async def run(url: str, proxy: FaultyProxy) -> int:
            async with AsyncClient(url, downloads=at_once) as client:
                task = asyncio.ensure_future(client.download(job_id, tmp_path / "out"))
                await asyncio.sleep(1.0)
                begun = sum("/artifacts/" in line for line in proxy.seen)
                await cancel_when(task, lambda: True)
                return begun

        with faulty_proxy(server.url) as proxy:
            proxy.fault = Fault("hold", f"GET /v1/jobs/{job_id}/artifacts/", times=99)
            assert asyncio.run(run(proxy.url, proxy)) == at_once

    def test_the_first_failure_is_the_downloads(self, server: Served, tmp_path: Path) -> None:
        job_id = server.succeeded(FILES)
        with faulty_proxy(server.url) as proxy:
            proxy.fault = Fault("flip", f"GET /v1/jobs/{job_id}/artifacts/model/3", at=7)

            async def run() -> None:
                async with AsyncClient(proxy.url) as client:
                    await client.download(job_id, tmp_path / "out")

            with pytest.raises(CorruptObject, match="model/3"):
                asyncio.run(run())
        whole = {n: d for n, d in found(tmp_path / "out").items() if not n.endswith(".part")}
        assert whole.items() <= (FILES | {"manifest.json": whole.get("manifest.json")}).items()

    def test_the_loop_goes_on_meanwhile(
        self, server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With a disk that takes a tenth of a second for each piece."""
        job_id = server.succeeded({"model/a.bin": DATA})
        at_work: list[int] = []
        disk = AsyncioLine.disk

        async def slow(line: AsyncioLine, work: Callable[..., Any], *given: Any) -> Any:
            def slowly() -> Any:
                at_work.append(threading.get_ident())
                time.sleep(0.1)
                return work(*given)

            return await disk(line, slowly)

        monkeypatch.setattr(AsyncioLine, "disk", slow)

        async def test(client: AsyncClient) -> float:
            task = asyncio.ensure_future(client.download(job_id, tmp_path / "out"))
            longest, last = 0.0, time.monotonic()
            while not task.done():
                await asyncio.sleep(0.005)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            await task
            return longest

        assert running(server, test) < 0.09
        assert len(at_work) > 4
        assert threading.get_ident() not in at_work


def test_the_blocking_client_works_inside_a_running_loop(server: Served, tmp_path: Path) -> None:
    """As in a notebook. It blocks the loop, as said, and does not need it."""
    job_id = server.succeeded(FILES)

    async def run() -> None:
        with Client(server.url) as client:
            client.download(job_id, tmp_path / "out")
            assert len(list(client.events(job_id))) > 1
            events = client.events(server.running())
            assert next(events).id == 1
            events.close()
            until(lambda: server.app.state.waiting.places.taken == 0)

    asyncio.run(run())
    assert found(tmp_path / "out").items() >= FILES.items()
