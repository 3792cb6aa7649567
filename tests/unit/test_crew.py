"""Work that several threads do: all of it, or none after the first error."""

import threading
import time

import pytest

from core.crew import Tell, work_off
from core.errors import Cancelled


def test_every_task_is_done_once_and_told() -> None:
    done: list[int] = []
    told: list[int] = []

    def work(task: int, tell: Tell) -> None:
        done.append(task)
        assert tell(task)

    work_off(range(100), work, 4, told.append)
    assert sorted(done) == list(range(100))
    assert sum(told) == sum(range(100))
    work_off([], work, 4, told.append)


def test_the_first_error_is_raised_and_the_rest_is_left() -> None:
    begun: list[int] = []

    def work(task: int, tell: Tell) -> None:
        begun.append(task)
        if task == 3:
            raise KeyError(task)

    with pytest.raises(KeyError):
        work_off(range(1000), work, 1, lambda _: None)
    time.sleep(0.05)
    assert begun == [0, 1, 2, 3]


def test_whoever_watches_may_end_it_though_nothing_moves() -> None:
    stuck = threading.Event()
    went_on: list[bool] = []

    def work(_: int, tell: Tell) -> None:
        stuck.wait(30)
        went_on.append(tell(1))

    def stop(_: int) -> None:
        raise Cancelled("enough")

    began = time.monotonic()
    with pytest.raises(Cancelled):
        work_off(range(4), work, 2, stop)
    assert time.monotonic() - began < 5
    stuck.set()
    deadline = time.monotonic() + 5
    while len(went_on) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert went_on == [False, False]
