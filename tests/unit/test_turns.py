"""Turns at the database: as many at once as it lets in, in order, and none waited for without end."""

import asyncio
import threading

import pytest

from api.turns import Turns
from core.errors import StoreUnavailable


def test_one_after_the_other_in_the_order_in_which_they_came() -> None:
    inside, most, order = 0, 0, list[int]()

    def work(number: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        order.append(number)
        threading.Event().wait(0.005)
        inside -= 1
        return number

    async def scene() -> list[int]:
        turns = Turns(1, "writing into")
        asked = [asyncio.ensure_future(turns.run(lambda n=n: work(n))) for n in range(20)]  # type: ignore[misc]
        return await asyncio.gather(*asked)

    assert asyncio.run(scene()) == [*range(20)] == order
    assert most == 1


def test_who_gets_no_turn_is_told_has_done_nothing_and_may_come_again() -> None:
    over, done = threading.Event(), list[str]()

    async def scene() -> None:
        turns = Turns(1, "writing into", patience=0.05)
        slow = asyncio.ensure_future(turns.run(lambda: over.wait(9)))
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match=r"writing into the job database for 0\.05 s"):
            await turns.run(lambda: done.append("early"))
        over.set()
        assert await slow
        await turns.run(lambda: done.append("late"))

    asyncio.run(scene())
    assert done == ["late"]


def test_work_that_fails_gives_its_turn_back() -> None:
    def fail() -> None:
        raise StoreUnavailable("away.")

    async def scene() -> int:
        turns = Turns(1, "writing into", patience=1)
        with pytest.raises(StoreUnavailable, match="away"):
            await turns.run(fail)
        return await turns.run(lambda: 1)

    assert asyncio.run(scene()) == 1
