"""One look for all who poll at once, and to everybody the truth of after they asked."""

import asyncio
import threading
from collections.abc import Collection, Mapping

import pytest

from api.versions import Versions
from core.errors import JobNotFound, StoreUnavailable

Pairs = Collection[tuple[str, str]]


class Database:
    """Versions by tenant and job, which are read when the test opens the gate."""

    def __init__(self) -> None:
        self.rows = {("a", "one"): 1, ("a", "two"): 5, ("b", "three"): 7}
        self.looks: list[set[tuple[str, str]]] = []
        self.gate = threading.Event()
        self.began = threading.Semaphore(0)
        self.away = False

    def look(self, asked: Pairs) -> Mapping[tuple[str, str], int]:
        self.looks.append(set(asked))
        found = {pair: version for pair, version in self.rows.items() if pair in asked}
        self.began.release()
        assert self.gate.wait(9)
        if self.away:
            raise StoreUnavailable("away.")
        return found


@pytest.fixture
def database() -> Database:
    return Database()


async def has_begun(database: Database) -> None:
    assert await asyncio.to_thread(database.began.acquire, timeout=9)


def test_who_asks_at_once_is_answered_by_one_look(database: Database) -> None:
    database.gate.set()

    async def scene() -> list[int]:
        versions = Versions(database.look)
        return await asyncio.gather(
            *(versions.of("a", "one") for _ in range(100)),
            *(versions.of("a", "two") for _ in range(100)),
        )

    assert asyncio.run(scene()) == [1] * 100 + [5] * 100
    assert database.looks == [{("a", "one"), ("a", "two")}]


def test_an_answer_is_never_older_than_its_question(database: Database) -> None:
    """A look may have read the row before the change that the next client already knows of."""

    async def scene() -> tuple[int, int]:
        versions = Versions(database.look)
        first = asyncio.ensure_future(versions.of("a", "one"))
        await has_begun(database)
        database.rows["a", "one"] = 2
        second = asyncio.ensure_future(versions.of("a", "one"))
        await asyncio.sleep(0)
        database.gate.set()
        return await first, await second

    assert asyncio.run(scene()) == (1, 2)
    assert len(database.looks) == 2


def test_other_tenants_jobs_are_none(database: Database) -> None:
    database.gate.set()

    async def scene() -> list[int | BaseException]:
        versions = Versions(database.look)
        asked = [("a", "one"), ("b", "one"), ("b", "three"), ("a", "nowhere")]
        return await asyncio.gather(*(versions.of(*each) for each in asked), return_exceptions=True)

    one, foreign, three, nowhere = asyncio.run(scene())
    assert (one, three) == (1, 7)
    assert isinstance(foreign, JobNotFound)
    assert isinstance(nowhere, JobNotFound)


def test_who_hangs_up_takes_the_answer_from_nobody(database: Database) -> None:
    async def scene() -> int:
        versions = Versions(database.look)
        gone, stays = (asyncio.ensure_future(versions.of("a", "one")) for _ in range(2))
        await has_begun(database)
        gone.cancel()
        await asyncio.sleep(0)
        database.gate.set()
        return await stays

    assert asyncio.run(scene()) == 1


def test_a_database_that_is_away_is_told_to_all_who_asked_and_asked_again(
    database: Database,
) -> None:
    database.gate.set()
    database.away = True

    async def scene() -> int:
        versions = Versions(database.look)
        found = await asyncio.gather(
            versions.of("a", "one"), versions.of("b", "three"), return_exceptions=True
        )
        assert [type(each) for each in found] == [StoreUnavailable] * 2
        database.away = False
        return await versions.of("a", "one")

    assert asyncio.run(scene()) == 1
