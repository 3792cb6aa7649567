"""What of a run's many reports is written down."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest

from core.errors import LeaseLost
from core.jobs.leases import Claim
from core.jobs.migrate import migrate
from core.jobs.states import State
from core.jobs.store import JobStore
from core.progress import PHASES
from core.settings import Settings
from core.spec import parse_spec
from workers.child import Child
from workers.protocol import Done, Moved, Remark, Result, Said
from workers.watch import PROGRESS_SECONDS, Watch


class ScriptedChild(Child):
    """Says its lines in bursts and then ends; hears what it is told."""

    def __init__(self, bursts: list[list[Said]]) -> None:
        self.bursts = bursts
        self.heard: list[str] = []
        self.patient = False

    @property
    def status(self) -> int | None:
        over = "kill" in self.heard if self.patient else not self.bursts
        return 0 if over else None

    def read(self, timeout: float) -> list[Said]:
        return self.bursts.pop(0) if self.bursts else []

    def held(self) -> None:
        return None

    def drain(self) -> list[Said]:
        return []

    def terminate(self) -> None:
        self.heard.append("terminate")

    def kill(self) -> None:
        self.heard.append("kill")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobStore]:
    url = f"sqlite:///{tmp_path}/jobs.db"
    migrate(url)
    with JobStore.open(url) as store:
        yield store


def now() -> datetime:
    return datetime.now(UTC)


def claim_of(jobs: JobStore) -> Claim:
    spec = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
    job = jobs.create("default", spec, now())
    claim = jobs.claim(job.id, "worker", now(), 60)
    assert claim
    return claim


def watch(jobs: JobStore, claim: Claim, child: Child, *, leaving: bool = False) -> Result | None:
    settings = Settings(heartbeat_seconds=0.01, cancel_grace_seconds=0.05)
    return Watch(claim, child, jobs, settings, now, lambda: leaving).until_end()


def burst(phase: int, count: int = 100) -> list[Said]:
    return [
        Moved(phase=PHASES[phase], fraction=(phase + n / count) / 5, message=f"{phase}.{n}")
        for n in range(count)
    ]


def test_events_are_few_but_every_phase_has_its_first_and_last(jobs: JobStore) -> None:
    claim = claim_of(jobs)
    done = Done(manifest_key="key")
    began = monotonic()
    child = ScriptedChild([burst(0) + burst(1), burst(2), burst(3), [*burst(4), done]])
    assert watch(jobs, claim, child) == done
    most = 2 * len(PHASES) + (monotonic() - began) / PROGRESS_SECONDS
    events = [
        e for e in jobs.events("default", claim.job_id, limit=999).data if e.type == "progress"
    ]
    assert len(events) <= most
    messages = [event.message for event in events]
    assert {f"{phase}.0" for phase in range(5)} <= set(messages)
    assert {f"{phase}.99" for phase in range(4)} <= set(messages)
    fractions = [event.data["progress"] for event in events]
    assert fractions == sorted(fractions)


def test_a_remark_becomes_a_line_of_the_history(jobs: JobStore) -> None:
    claim, done = claim_of(jobs), Done(manifest_key="key")
    remark = Remark(level="error", message="not pushed", data={"code": "push-refused"})
    assert watch(jobs, claim, ScriptedChild([[*burst(4, 1), remark], [done]])) == done
    (found,) = (e for e in jobs.events("default", claim.job_id, limit=99).data if e.type == "log")
    assert (found.level, found.message, found.data) == (
        "error", "not pushed", {"code": "push-refused"},
    )  # fmt: skip


def test_the_time_that_is_left_is_not_guessed_from_another_attempt_s_work(jobs: JobStore) -> None:
    claim, done = claim_of(jobs), Done(manifest_key="key")
    reading = [Moved(phase="fetching", fraction=f / 100, message=f"{f}") for f in (0, 1)]
    remark = Remark(level="info", message="continued", data={"continued": "block 3 of 4"})
    first = Moved(phase="pruning", fraction=0.6, message="block 3")
    last = Moved(phase="evaluating", fraction=0.8, message="judging")
    child = ScriptedChild([[*reading, remark], [first], [last], [done]])
    began = monotonic()
    assert watch(jobs, claim, child) == done
    events = jobs.events("default", claim.job_id, limit=99).data[2:]
    assert [event.message for event in events] == ["0", "1", "continued", "block 3", "judging"]
    before, after = (event.data["eta_seconds"] for event in events[-2:])
    assert before is None
    assert after <= monotonic() - began + 0.1  # half of what it had to do is done


def test_a_cancelled_job_s_child_is_asked_and_then_killed(jobs: JobStore) -> None:
    claim = claim_of(jobs)
    jobs.cancel("default", claim.job_id, now())
    child = ScriptedChild([])
    child.patient = True
    assert watch(jobs, claim, child) is None
    assert child.heard[:2] == ["terminate", "kill"]
    assert jobs.held_state(claim.job_id, claim.epoch) is State.CANCELLING


def test_a_leaving_worker_s_child_is_asked_and_then_killed(jobs: JobStore) -> None:
    child = ScriptedChild([])
    child.patient = True
    assert watch(jobs, claim_of(jobs), child, leaving=True) is None
    assert child.heard[:2] == ["terminate", "kill"]


def test_a_lost_lease_ends_the_watch(jobs: JobStore) -> None:
    claim = claim_of(jobs)
    jobs.give_back(claim.job_id, claim.epoch, "taken", now())
    with pytest.raises(LeaseLost):
        watch(jobs, claim, ScriptedChild([burst(0)]))


def test_a_database_that_is_away_ends_nothing(jobs: JobStore, tmp_path: Path) -> None:
    claim = claim_of(jobs)
    away = JobStore.open(f"sqlite:///{tmp_path}/not-migrated.db")
    done = Done(manifest_key="key")
    remark = Remark(level="info", message="logged")
    assert watch(away, claim, ScriptedChild([burst(0), burst(1), [remark, done]])) == done
    away.close()
