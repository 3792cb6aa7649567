"""The threads in a worker's main process, on a real database."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.jobs.migrate import migrate
from core.jobs.states import State
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.settings import Settings
from core.spec import parse_spec
from core.store.base import ObjectInfo
from core.store.local import LocalStore
from tests.unit.test_jobs_reaper import CountingBell
from workers import app
from workers.configuration import Places
from workers.gauges import Gauges
from workers.tasks import Leaving


class HangingStore(LocalStore):
    """Gives no answer until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked, self.let_go = threading.Event(), threading.Event()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self.asked.set()
        self.let_go.wait()
        return super().list(prefix)

    def delete_prefix(self, prefix: str) -> int:
        self.asked.set()
        self.let_go.wait()
        return super().delete_prefix(prefix)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_store_that_hangs_delays_no_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    migrate(url)
    jobs, store = JobStore.open(url), HangingStore(tmp_path / "store")
    spec = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
    now = datetime.now(UTC)
    over, lost = (jobs.create("default", spec, now).id for _ in range(2))
    assert jobs.claim(over, "worker", now, 60)
    jobs.fail(over, 1, Failure(code="internal", message="", remedy=""), now)  # leaves rubbish
    settings = Settings(lease_seconds=1, heartbeat_seconds=0.05, scan_seconds=0.05, device="cpu")
    places = Places(settings, url, "redis://127.0.0.1:1/0", store_url=tmp_path.as_uri())
    monkeypatch.setattr(app, "open_store", lambda _: store)
    leaving = Leaving()
    app.Beside(places, CountingBell(), leaving, Gauges()).start()
    try:
        assert store.asked.wait(20)
        assert jobs.claim(lost, "worker", datetime.now(UTC), 0.1)
        until(lambda: jobs.get("default", lost).state is State.QUEUED)
        assert not store.let_go.is_set()
    finally:
        leaving.set()
        store.let_go.set()
        jobs.close()
