"""One question for all who wait, and nobody who waits in vain."""

import asyncio
import threading
from collections.abc import Collection, Mapping

import pytest

from api.places import Places
from api.watcher import Watcher
from core.errors import StoreUnavailable
from core.waiting_errors import NoPlaceToWait, TooManyWaiting


class Versions:
    """A database of versions that counts how often it is asked, and on which threads."""

    def __init__(self, **versions: int) -> None:
        self.versions = versions
        self.asked: list[set[str]] = []
        self.threads: set[int] = set()
        self.away = False

    def look(self, ids: Collection[str]) -> Mapping[str, int]:
        self.asked.append(set(ids))
        self.threads.add(threading.get_ident())
        if self.away:
            raise StoreUnavailable("away.")
        return {name: version for name, version in self.versions.items() if name in ids}


def test_many_wait_and_one_question_is_asked_for_all_of_them() -> None:
    database = Versions(a=1, b=1)

    async def scene() -> list[bool]:
        watcher = Watcher(database.look, pause=0.02)
        waiting = [asyncio.ensure_future(watcher.moved("ab"[n % 2], 1, 9)) for n in range(500)]
        await asyncio.sleep(0.1)
        assert watcher.waiting == 500
        assert not any(task.done() for task in waiting)
        threads = threading.active_count()
        database.versions["a"] = 2
        moved = await asyncio.gather(*waiting[::2])
        assert watcher.waiting == 250
        assert all(not task.done() for task in waiting[1::2])
        assert threading.active_count() <= threads
        del database.versions["b"]  # deleted
        return moved + await asyncio.gather(*waiting[1::2])

    assert asyncio.run(scene()) == [True] * 500
    assert len(database.threads) == 1
    assert len(database.asked) < 30
    assert database.asked[0] == {"a", "b"}
    assert database.asked[-1] == {"b"}


def test_a_change_from_before_the_waiting_is_told() -> None:
    async def scene() -> bool:
        return await Watcher(Versions(a=7).look, pause=0.01).moved("a", 6, 9)

    assert asyncio.run(scene())


def test_time_runs_out_and_then_nobody_asks_any_more() -> None:
    database = Versions(a=1)

    async def scene() -> int:
        watcher = Watcher(database.look, pause=0.01)
        assert not await watcher.moved("a", 1, 0.05)
        assert watcher.waiting == 0
        await asyncio.sleep(0.05)
        asked = len(database.asked)
        await asyncio.sleep(0.05)
        assert len(database.asked) == asked
        # And somebody who comes later is served again.
        database.versions["a"] = 2
        assert await watcher.moved("a", 1, 9)
        return asked

    assert asyncio.run(scene()) >= 1


def test_who_is_cancelled_leaves_nothing_behind() -> None:
    async def scene() -> int:
        watcher = Watcher(Versions(a=1).look, pause=0.01)
        waiting = asyncio.ensure_future(watcher.moved("a", 1, 9))
        await asyncio.sleep(0.03)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return watcher.waiting

    assert asyncio.run(scene()) == 0


def test_a_database_that_is_away_is_asked_again() -> None:
    database = Versions(a=1)
    database.away = True

    async def scene() -> bool:
        watcher = Watcher(database.look, pause=0.01)
        waiting = asyncio.ensure_future(watcher.moved("a", 0, 9))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        database.away = False
        return await waiting

    assert asyncio.run(scene())
    assert len(database.asked) > 2


def test_the_end_sends_everybody_away_and_lets_nobody_in() -> None:
    async def scene() -> list[bool]:
        watcher = Watcher(Versions(a=1).look, pause=0.01)
        waiting = [asyncio.ensure_future(watcher.moved("a", 1, 60)) for _ in range(3)]
        await asyncio.sleep(0.03)
        watcher.close()
        return [*await asyncio.gather(*waiting), await watcher.moved("a", 0, 60)]

    assert asyncio.run(scene()) == [False] * 4


def test_places_are_limited_and_given_back() -> None:
    places = Places(3, 2)
    with places.one("a"), places.one("a"):
        with pytest.raises(TooManyWaiting, match="2 requests"), places.one("a"):
            pass
        with places.one("b"), pytest.raises(NoPlaceToWait), places.one("c"):
            pass
        with pytest.raises(ValueError, match="broke"), places.one("b"):
            raise ValueError("broke")
        assert places.taken == 2
        with places.one("c"):
            pass
    assert places.taken == 0
    assert places._taken == {}
