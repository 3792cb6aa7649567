"""One chaos run, from the first job to the verdict."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.jobs.reaping import Ended
from tests.chaos.clients import Users, at_work
from tests.chaos.harms import Harm, in_turns, possible, strike
from tests.chaos.history import Verdict, judge
from tests.chaos.watcher import LOOK_SECONDS, Seen, watching
from tests.chaos.world import Plan, World, world

Tell = Callable[[str], None]
"""Is told how far a run is, in a line."""

_BREATH_SECONDS = 60.0  # at most between two harms
_FOLLOWERS_SECONDS = 60.0  # at most, to read the last events after the last end
_SWEEP_SECONDS = 60.0  # at most, for the workers to remove what losing runs left


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened, for people to read."""

    plan: Plan
    seconds: float
    harms: Counter[str]
    users: Users
    verdict: Verdict


def run(folder: Path, plan: Plan, tell: Tell = lambda _: None) -> Figures:
    """Let users post `plan`'s jobs into a world of its own below `folder`, harm it in every way it can
    be harmed until all jobs have ended, and judge what is left."""
    began = time.monotonic()
    with world(folder, plan) as made, watching(made.url) as seen:
        with at_work(made, seen) as (users, posted):

            def over() -> bool:
                return posted.is_set() and seen.ended >= len(users.accepted)

            harms: list[Harm] = []
            for harm in in_turns(made):
                _breathe(made, seen, over)
                if over() and len(harms) >= len(possible(made)):
                    break
                harms.append(strike(made, harm))
                tell(
                    f"{seen.ended} of {plan.jobs} jobs ended,"
                    f" {len(harms)} harms, the last {harms[-1].name}"
                )
            _read_on(users)
        left = _left_unswept(made)
        verdict = judge(made, users, seen, harms)
        if left:
            verdict.wrong.append(f"the workers swept nothing after {len(left)} ended jobs")
    counted = Counter(harm.name for harm in harms)
    return Figures(plan, time.monotonic() - began, counted, users, verdict)


def _breathe(made: World, seen: Seen, over: Callable[[], bool]) -> None:
    """Until some jobs have ended, and a little more: a service that is harmed faster than its
    processes start shows nothing."""
    enough, deadline = seen.ended + made.plan.jobs_a_harm, time.monotonic() + _BREATH_SECONDS
    while seen.ended < enough and not over() and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    time.sleep(made.random.uniform(0, 2))


def _read_on(users: Users) -> None:
    """Until followers have read to the end; one who has not by then was not given it."""
    deadline = time.monotonic() + _FOLLOWERS_SECONDS
    while users.followed_to_the_end < set(users.to_follow) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _left_unswept(made: World) -> list[Ended]:
    """What the workers' reapers have left after many of their looks."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while (left := made.jobs.unswept()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return left
