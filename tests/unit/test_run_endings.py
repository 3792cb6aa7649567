"""What becomes of a job when its run ended without a result, and what of it is told."""

import pytest

from core.errors import OutOfMemory
from core.jobs.views import Failure
from core.progress import Forecast, Phase, Progress
from workers.endings import SLACK, Again, Ending, judge, smaller_budget
from workers.limits import MOST_SECONDS, Limits, Overrun
from workers.memory import Held
from workers.protocol import Failed, Stopped

GB = 10**9
LARGE = Forecast(
    peak_bytes=8 * GB, budget_bytes=10 * GB, least_bytes=3 * GB, group=16, flops=1e15, seconds=1800
)
SMALLEST = Forecast(
    peak_bytes=3 * GB, budget_bytes=10 * GB, least_bytes=3 * GB, group=1, flops=1e15, seconds=None
)
NO_MEMORY = Failed(code=OutOfMemory.code, message="memory ran out: of CUDA.", remedy="Buy more.")
REACHED = Progress("pruning", 0.62, "block 20/32")


def failure(ending: Ending) -> Failure:
    verdict = judge(ending)
    assert isinstance(verdict, Failure)
    return verdict


def again(ending: Ending) -> Again:
    verdict = judge(ending)
    assert isinstance(verdict, Again)
    return verdict


def test_what_a_run_says_is_final() -> None:
    said = Failed(code="bad-data", message="why.", remedy="do")
    found = failure(Ending(said, log=("a line",), forecast=LARGE))
    assert found == Failure(code="bad-data", message="why.", remedy="do", log=("a line",))


def test_memory_that_runs_out_gets_a_smaller_budget() -> None:
    found = again(Ending(NO_MEMORY, forecast=LARGE))
    assert (found.outcome, found.code, found.memory_budget) == (
        "out-of-memory", "out-of-memory", 4 * GB,
    )  # fmt: skip
    assert "of CUDA; the plan had predicted 8.00 GB at its peak, of a budget of 10.00 GB" in (
        found.reason
    )
    assert "4.00 GB" in found.reason


def test_the_smallest_plan_is_not_tried_again() -> None:
    for ending in (
        Ending(NO_MEMORY, forecast=SMALLEST),
        Ending(None, killed_for_memory=True, forecast=SMALLEST),
    ):
        found = failure(ending)
        assert found.code == "out-of-memory"
        assert "3.00 GB" in found.message
        assert "no smaller one" in found.message
        assert found.remedy


def test_memory_that_runs_out_without_a_plan() -> None:
    """Said by the run it is the model's size, and final; from the kernel it may be somebody else's."""
    assert failure(Ending(NO_MEMORY)).message == NO_MEMORY.message
    found = again(Ending(None, killed_for_memory=True, held=Held(5 * GB, GB)))
    assert (found.code, found.outcome, found.memory_budget) == (
        "out-of-memory", "out-of-memory", None,
    )  # fmt: skip
    assert "had held 5.00 GB or more, 1.00 GB were free" in found.reason


@pytest.mark.parametrize(
    ("least", "budget"), [(1 * GB, 4 * GB), (6 * GB, int(6 * GB * SLACK)), (8 * GB, None)]
)
def test_a_smaller_budget_is_half_but_never_too_little(least: int, budget: int | None) -> None:
    forecast = Forecast(8 * GB, 10 * GB, least, 4, 1.0, None)
    assert smaller_budget(forecast) == budget


def test_a_phase_that_takes_too_long_fails_the_job() -> None:
    over = Overrun("phase", "pruning", 600.0)
    found = failure(Ending(Stopped(), reached=REACHED, overrun=over, forecast=LARGE, log=("last",)))
    assert found.code == "phase-timeout"
    for words in ("pruning", "600 s", "62%", "block 20/32", "1800 s"):
        assert words in found.message
    assert "SECATEUR_PHASE_TIMEOUTS" in found.remedy
    assert found.log == ("last",)


def test_a_silent_run_is_tried_again() -> None:
    found = again(Ending(None, overrun=Overrun("silence", None, 3600.0)))
    assert (found.outcome, found.code) == ("stalled", "worker-lost")
    assert "nothing for 3600 s and was ended, before it had begun" in found.reason


def test_a_death_is_tried_again_in_its_own_words() -> None:
    found = again(Ending(None, "the run's process was killed by SIGKILL", log=("x",)))
    assert found == Again("the run's process was killed by SIGKILL", log=("x",))


def limits(by_phase: dict[Phase, float] | None = None) -> Limits:
    return Limits(by_phase or {}, 10.0, 100.0)


def test_only_the_phase_that_has_a_limit_is_ended() -> None:
    found = limits({"pruning": 3.0})
    found.heard("fetching")
    assert found.look(104.0) is None
    found.heard("pruning")
    assert found.look(106.9) is None
    found.heard("pruning")
    assert found.look(107.0) == Overrun("phase", "pruning", 3.0)


def test_a_new_phase_has_all_of_its_time() -> None:
    found = limits({"pruning": 3.0, "evaluating": 3.0})
    found.heard("pruning")
    assert found.look(102.0) is None
    found.heard("evaluating")
    assert found.look(104.0) is None
    assert found.look(105.0) == Overrun("phase", "evaluating", 3.0)


def test_any_word_breaks_the_silence() -> None:
    found = limits()
    for second in (104.0, 108.0):
        assert found.look(second) is None
    found.heard()
    for second in (112.0, 116.0):
        assert found.look(second) is None
    assert found.look(118.0) == Overrun("silence", None, 10.0)


def test_time_in_which_nobody_could_look_is_not_the_run_s() -> None:
    """The worker was stopped, the machine slept: on waking up, hours have passed on every clock."""
    found = limits({"pruning": 2 * MOST_SECONDS})
    found.heard("pruning")
    assert found.look(100_000.0) is None
    assert found.look(100_000.0 + MOST_SECONDS) == Overrun("phase", "pruning", 2 * MOST_SECONDS)
    assert found.look(99_000.0) is not None  # a clock that goes back takes nothing away
