"""When a message is sent again: laws of the waits, and what a receiver may ask for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.courier import verdict
from core.jobs.delivery_views import DeliveryState
from core.jobs.outgoing import Due, Parcel
from core.webhooks import schedule
from core.webhooks.sending import Answer
from workers.couriers import PER_HOST, PER_TENANT, THREADS, chosen

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NONE = timedelta()


def parcel(failures: int = 0, *, is_test: bool = False) -> Parcel:
    return Parcel("msg_1", 1, "default", is_test, "https://a.example", "{}", failures)


@given(chance=st.floats(0, 1), failures=st.integers(1, 9))
def test_a_wait_is_what_the_table_says_and_up_to_a_fifth_more(chance: float, failures: int) -> None:
    wait = schedule.wait(schedule.RETRIES, failures, lambda: chance)
    assert wait is not None
    least = timedelta(seconds=schedule.RETRIES[failures - 1])
    assert least <= wait <= 1.2 * least
    assert wait <= schedule.longest(schedule.RETRIES)


def test_after_the_last_wait_nothing_is_tried() -> None:
    assert schedule.wait(schedule.RETRIES, 10, lambda: 0.0) is None
    assert schedule.wait((), 1, lambda: 0.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0),
        ("Fri, 02 Jan 2026 03:05:05 -0000", 60),
        ("86401", 86400),
        ("9" * 5000, 86400),
        ("Fri, 02 Jan 2099 03:05:05 GMT", 86400),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("", None),
        ("Fri, 99 Jan 2026 03:05:05 GMT", None),
    ],
)
def test_what_a_receiver_asks_for_is_read_within_bounds(header: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert schedule.asked_for(header, NOW) == expected


@given(st.text(max_size=100))
def test_no_header_is_too_odd(header: str) -> None:
    asked = schedule.asked_for(header, NOW)
    assert asked is None or NONE <= asked <= schedule.LONGEST_ASKED


@pytest.mark.parametrize(
    ("answer", "state", "seconds"),
    [
        (Answer(200, None), "delivered", 0),
        (Answer(299, None), "delivered", 0),
        (Answer(410, "it answered 410"), "disabled", 0),
        (Answer(301, "it answered 301"), "pending", 5),
        (Answer(400, "it answered 400"), "pending", 5),
        (Answer(500, "it answered 500"), "pending", 5),
        (Answer(None, "it takes no connections"), "pending", 5),
        (Answer(429, "it answered 429", "60"), "pending", 60),
        (Answer(503, "it answered 503", "60"), "pending", 60),
        (Answer(503, "it answered 503", "1"), "pending", 5),
        (Answer(503, "it answered 503", "nonsense"), "pending", 5),
        (Answer(500, "it answered 500", "60"), "pending", 5),
    ],
)
def test_each_answer_has_its_verdict(answer: Answer, state: str, seconds: int) -> None:
    found = verdict(parcel(), answer, schedule.RETRIES, NOW, lambda: 0.0)
    assert found == (DeliveryState(state), timedelta(seconds=seconds))


def test_the_tenth_try_is_the_last_and_a_test_s_first_is() -> None:
    failed = Answer(500, "it answered 500", None)
    tries = [verdict(parcel(n), failed, schedule.RETRIES, NOW, lambda: 0.0)[0] for n in range(10)]
    assert tries == [DeliveryState.PENDING] * 9 + [DeliveryState.FAILED]
    assert verdict(parcel(is_test=True), failed, schedule.RETRIES, NOW, lambda: 0.0) == (
        DeliveryState.FAILED,
        NONE,
    )


class TestFairness:
    @given(
        due=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=60),
        busy=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=16),
    )
    def test_nobody_holds_more_than_a_share(
        self, due: list[tuple[int, int]], busy: list[tuple[int, int]]
    ) -> None:
        waiting = [Due(f"w{n}", str(t), str(h)) for n, (t, h) in enumerate(due)]
        # What is under way was chosen in the same way.
        running = chosen([Due(f"b{n}", str(t), str(h)) for n, (t, h) in enumerate(busy)], [], 16)
        room = THREADS - len(running)
        taken = chosen(waiting, running, room)
        assert len(taken) <= room
        assert taken == [each for each in waiting if each in taken]
        both = running + taken
        for each in both:
            assert sum(e.tenant == each.tenant for e in both) <= PER_TENANT
            here = [e for e in both if (e.tenant, e.host) == (each.tenant, each.host)]
            assert len(here) <= PER_HOST

    def test_a_slow_receiver_leaves_room_for_the_others(self) -> None:
        slow = [Due(f"s{n}", "a", "slow") for n in range(50)]
        assert len(chosen(slow, [], THREADS)) == PER_HOST
        other = Due("o", "a", "fast")
        assert chosen([*slow, other], slow[:PER_HOST], THREADS - PER_HOST) == [other]
        stranger = Due("x", "b", "slow")
        assert chosen([*slow, stranger], slow[:PER_HOST], 1) == [stranger]
