"""What becomes of a job when its run has ended without a result. Pure: no process, no database.

| the run                                   | the job                                              |
|-------------------------------------------|------------------------------------------------------|
| said why it failed                        | fails: the same spec would fail again                |
| was ended at the limit of a phase         | fails with `phase-timeout`: it would again           |
| ran out of memory, and has a smaller plan | next attempt, with a smaller budget                  |
| ran out of memory with its smallest plan  | fails with `out-of-memory`                           |
| was killed for memory before it had a plan| next attempt: others may have held the memory        |
| said nothing for too long, or died        | next attempt                                         |
"""

from dataclasses import dataclass, replace
from typing import Final

from core.errors import OutOfMemory, WorkerLost
from core.jobs.moves import LOOK
from core.jobs.plans import gigabytes, memory
from core.jobs.views import Failure, Outcome
from core.progress import Forecast, Progress
from core.run_errors import PhaseTimeout
from workers.limits import Overrun
from workers.memory import Held
from workers.protocol import Failed, Result

SLACK: Final = 1.05  # above the smallest plan: two processes never hold the same before they plan
_REMEDY: Final = "Lower SECATEUR_MEMORY_BUDGET, lower calibration.samples or sequence_length, or use a larger machine."


@dataclass(frozen=True, slots=True)
class Ending:
    """How one runner ended, and what is known about it."""

    result: Result | None
    """Its last word, if it had one."""
    death: str = ""
    """How its process ended, in words."""
    log: tuple[str, ...] = ()
    forecast: Forecast | None = None
    reached: Progress | None = None
    overrun: Overrun | None = None
    """The limit at which it was asked to stop."""
    killed_for_memory: bool = False
    held: Held | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """The job is to be tried again; or, after its last attempt, to fail with this."""

    reason: str
    outcome: Outcome = "died"
    code: str = WorkerLost.code
    remedy: str = LOOK
    log: tuple[str, ...] = ()
    memory_budget: int | None = None


def judge(ending: Ending) -> Failure | Again:
    """What becomes of the job of a run that ended without a result."""
    if isinstance(ending.result, Failed):
        return _failed(ending, ending.result)
    if ending.overrun is not None:
        return _too_long(ending, ending.overrun)
    if ending.killed_for_memory:
        return _killed_for_memory(ending)
    return Again(ending.death, log=ending.log)


def smaller_budget(forecast: Forecast) -> int | None:
    """What to allow the next run: half of what this one planned, but never less than is possible.

    None where this was the smallest plan already.
    """
    least = int(forecast.least_bytes * SLACK)
    budget = max(forecast.peak_bytes // 2, least)
    return budget if budget < forecast.peak_bytes else None


def _failed(ending: Ending, result: Failed) -> Failure | Again:
    failure = Failure(
        code=result.code, message=result.message, remedy=result.remedy, log=ending.log
    )
    # Without a plan, memory ran out while the model was read, or no plan fits: it would again.
    if result.code != OutOfMemory.code or ending.forecast is None:
        return failure
    return _out_of_memory(failure, ending.forecast)


def _killed_for_memory(ending: Ending) -> Failure | Again:
    held = "" if ending.held is None else f"; it had held {gigabytes(ending.held.peak)} or more"
    if ending.held is not None and ending.held.available is not None:
        held += f", {gigabytes(ending.held.available)} were free shortly before"
    failure = Failure(
        code=OutOfMemory.code,
        message=f"the kernel killed the run because memory ran out{held}.",
        remedy=_REMEDY,
        log=ending.log,
    )
    if ending.forecast is not None:
        return _out_of_memory(failure, ending.forecast)
    reason = f"{failure.message.removesuffix('.')}, before it had a plan."
    return Again(reason, "out-of-memory", failure.code, failure.remedy, failure.log)


def _out_of_memory(failure: Failure, forecast: Forecast) -> Failure | Again:
    """With a plan it is known what the run thought it would need, and whether it can do with less."""
    planned = f"{failure.message.removesuffix('.')}; the plan had predicted {memory(forecast)}"
    budget = smaller_budget(forecast)
    if budget is None:
        told = f"{planned}, and there is no smaller one."
        return failure.model_copy(update={"message": told})
    reason = f"{planned}; the next run gets {gigabytes(budget)}."
    again = Again(reason, "out-of-memory", failure.code, failure.remedy, failure.log)
    return replace(again, memory_budget=budget)


def _too_long(ending: Ending, over: Overrun) -> Failure | Again:
    came = _came(ending.reached)
    if over.kind == "silence":
        reason = f"the run said nothing for {over.limit:g} s and was ended{came}"
        return Again(reason, "stalled", log=ending.log)
    forecast = ending.forecast
    expected = (
        ""
        if forecast is None or forecast.seconds is None
        else f" The plan had predicted {forecast.seconds:.0f} s for the whole run."
    )
    return Failure(
        code=PhaseTimeout.code,
        message=f"{over.phase} took longer than {over.limit:g} s, its limit{came}.{expected}",
        remedy=f"Raise `{over.phase}` in SECATEUR_PHASE_TIMEOUTS, use a faster machine, or ask for"
        " less: fewer calibration.samples, a smaller model. It is not tried again, since it would"
        " take as long.",
        log=ending.log,
    )


def _came(reached: Progress | None) -> str:
    """How far it came, as the tail of a sentence."""
    if reached is None:
        return ", before it had begun"
    return f", at {reached.fraction:.0%} of the job: {reached.message}"
