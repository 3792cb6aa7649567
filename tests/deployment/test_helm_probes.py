"""The worker's probes, asked of a real worker: the commands are the chart's, the places a test's."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment.chart import MINIMAL, named, render
from tests.faults.farm import Farm, wait_for

MINUTES = 60.0


class Probed:
    """A worker of a farm, and the chart's questions to it."""

    def __init__(self, farm: Farm) -> None:
        self.alive = farm.folder / "alive"
        farm.settings["ALIVE_PATH"] = str(self.alive)
        self.worker = farm.start_worker()
        deployment = named(render(MINIMAL), "Deployment", "r1-secateur-worker-cpu")
        [self._container] = deployment["spec"]["template"]["spec"]["containers"]

    def passes(self, probe: str, pid: int | None = None) -> bool:
        shell, option, text = self._container[probe]["exec"]["command"]
        here = text.replace("/tmp/alive", str(self.alive))
        here = here.replace("/proc/1/", f"/proc/{pid or self.worker.pid}/")
        assert here.count(str(self.alive)) == 1
        assert "/proc/1/" not in here
        done = subprocess.run([shell, option, here], capture_output=True, check=False)
        return done.returncode == 0

    def look_away(self, minutes: float) -> None:
        """As if the worker's last look around were so long ago."""
        then = time.time() - minutes * MINUTES
        os.utime(self.alive, (then, then))


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probed]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    try:
        found = Probed(farm)
        assert not found.passes("startupProbe")
        wait_for(lambda: found.passes("startupProbe"), "the worker's first look", farm.tail)
        yield found
    finally:
        farm.close()


def test_a_worker_at_work_passes(probed: Probed) -> None:
    assert probed.passes("readinessProbe")
    assert probed.passes("livenessProbe")


def test_a_process_that_has_none_for_jobs_fails(probed: Probed, tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as childless:
        try:
            assert not probed.passes("livenessProbe", childless.pid)
        finally:
            childless.kill()


def test_a_worker_that_no_longer_looks_around_fails_in_time(probed: Probed) -> None:
    probed.worker.send_signal(signal.SIGSTOP)
    try:
        probed.look_away(10)
        assert not probed.passes("readinessProbe")
        assert probed.passes("livenessProbe")
        probed.look_away(40)
        assert not probed.passes("livenessProbe")
    finally:
        probed.worker.send_signal(signal.SIGCONT)
    wait_for(lambda: probed.passes("readinessProbe"), "the worker to look around again")
