"""When a worker is taken for deaf."""

from workers.hearing import DEAF_SECONDS, Hearing


def test_messages_that_wait_long_for_an_idle_worker() -> None:
    hearing, step = Hearing(), DEAF_SECONDS / 10
    told = [hearing.lost(idle=True, waiting=1, now=100 + i * step) for i in range(11)]
    assert told == [False] * 10 + [True]


def test_a_worker_that_is_busy_once_or_a_queue_that_is_empty_once() -> None:
    for idle, waiting in ((False, 1), (True, 0), (True, None)):
        hearing = Hearing()
        for i in range(9):
            assert not hearing.lost(idle=True, waiting=1, now=i * DEAF_SECONDS / 10)
        assert not hearing.lost(idle=idle, waiting=waiting, now=DEAF_SECONDS)
        for i in range(10):
            now = DEAF_SECONDS * (1.1 + i / 10)
            assert not hearing.lost(idle=True, waiting=1, now=now)
        assert hearing.lost(idle=True, waiting=1, now=2.2 * DEAF_SECONDS)


def test_a_worker_that_was_stopped_looks_again_before_it_leaves() -> None:
    hearing = Hearing()
    assert not hearing.lost(idle=True, waiting=1, now=0)
    told = [hearing.lost(idle=True, waiting=1, now=3600 + i) for i in range(3)]
    assert told == [False, False, True]
