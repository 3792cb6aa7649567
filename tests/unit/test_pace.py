"""Counting requests by the minute: in Redis for all processes, and alone while it is away."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from api.limiter import _network, headers_of
from api.pace import Pace, Standing
from secateur.broker import Broker
from tests.contract.jobs import at_once
from tests.faults.farm import wait_for

START = datetime(2026, 1, 1, 12, 0, 50, tzinfo=UTC)
NOWHERE = "redis://127.0.0.1:1/0"


class Clock:
    """Both clocks of a `Pace`, which the test sets."""

    def __init__(self) -> None:
        self.now, self.ticks = START, 0.0

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds

    def pace(self, url: str) -> Pace:
        return Pace(url, lambda: self.now, lambda: self.ticks)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A Redis that runs for the test."""
    made = Broker(tmp_path)
    process = made.start(tmp_path / "log")
    wait_for(made.answers, "the broker")
    yield made
    process.kill()
    process.wait()


def used(pace: Pace, count: int, what: str = "x") -> list[int]:
    return [pace.count(what, 3).used for _ in range(count)]


@pytest.mark.parametrize("url", [NOWHERE, "memory://", "redis://[", "http://x"])
def test_without_redis_a_process_counts_for_itself(clock: Clock, url: str) -> None:
    first, second = clock.pace(url), clock.pace(url)
    assert used(first, 4) == [1, 2, 3, 4]
    assert used(first, 1, "y") == [1]
    assert used(second, 1) == [1]


def test_processes_count_together_in_redis(clock: Clock, broker: Broker) -> None:
    first, second = clock.pace(broker.url), clock.pace(broker.url)
    assert used(first, 2) == [1, 2]
    assert used(second, 2) == [3, 4]
    standing = first.count("x", 3)
    assert (standing.used, standing.remaining, standing.reset) == (5, 0, 10)
    assert standing.over
    clock.wait(10)
    assert first.count("x", 3) == Standing(3, 1, 60)


def test_a_minute_is_over_for_a_process_alone_too(clock: Clock) -> None:
    pace = clock.pace(NOWHERE)
    assert used(pace, 5)[-1] == 5
    clock.wait(9)
    assert pace.count("x", 3).reset == 1
    clock.wait(1)
    assert not pace.count("x", 3).over


def test_redis_that_comes_back_is_used_and_each_change_is_told_once(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "api.pace")
    broker = Broker(tmp_path)
    pace = clock.pace(broker.url)
    used(pace, 20)
    clock.ticks += 6
    used(pace, 20)
    assert len(caplog.records) == 1
    process = broker.start(tmp_path / "log")
    try:
        wait_for(broker.answers, "the broker")
        assert used(pace, 1) == [41]  # it is not asked yet
        clock.ticks += 3
        assert used(pace, 2) == [42, 43]
        clock.ticks += 3
        assert used(pace, 2) == [44, 45]
        assert used(clock.pace(broker.url), 1) == [3]  # Redis knows of what it was told
        assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    finally:
        process.kill()
        process.wait()
    assert used(pace, 2) == [46, 47]


def test_redis_that_hangs_stalls_nobody(clock: Clock) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)
        pace = clock.pace(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")
        began = time.monotonic()
        threads = [threading.Thread(target=used, args=(pace, 50)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # One timeout for each thread that asked before the first one had learned, and no more.
        assert time.monotonic() - began < 2
        assert pace.count("x", 3).used == 401


def test_large_limits_are_told_in_steps_and_nothing_is_lost(clock: Clock, broker: Broker) -> None:
    first, second = clock.pace(broker.url), clock.pace(broker.url)
    assert [first.count("x", 5000).used for _ in range(14)] == list(range(1, 15))
    assert [second.count("x", 5000).used for _ in range(6)] == [1, 2, 3, 4, 15, 16]
    assert first.count("x", 5000).used == 20  # its own five and ten, and five of the other


@pytest.mark.parametrize("limit", [3, 7000])
def test_threads_count_each_of_their_requests(clock: Clock, broker: Broker, limit: int) -> None:
    pace = clock.pace(broker.url)
    seen: list[int] = []

    def ask(_: int) -> None:
        seen.extend(pace.count("x", limit).used for _ in range(50))

    assert at_once(8, ask) == [None] * 8
    assert max(seen) == 400
    assert pace.count("x", limit).used == 401


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("testclient", "unknown"),
        (None, "unknown"),
    ],
)
def test_addresses_are_counted_as_they_are_given_out(address: str | None, counted: str) -> None:
    assert _network(address) == counted


def test_headers_say_what_is_left() -> None:
    assert headers_of("reads", Standing(100, 58, 17)) == {
        "RateLimit-Policy": '"reads";q=100;w=60',
        "RateLimit": '"reads";r=42;t=17',
    }
