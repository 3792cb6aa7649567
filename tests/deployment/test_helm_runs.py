"""The pods' own commands, run as plain processes here: only addresses and folders are a test's."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import pytest

from secateur.broker import free_port
from tests.deployment.chart import MINIMAL, containers, environment, render
from tests.faults.farm import Farm, clean_environment, wait_for

RELEASE_SECONDS: Final = 120


class Pods:
    """The containers of the least release, beside the farm's broker, database and store."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self._release = render(MINIMAL)
        self.port = free_port("127.0.0.1")

    def run(self, name: str) -> "subprocess.CompletedProcess[str]":
        """A container that comes to an end."""
        command, env = self._process(name)
        return subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=RELEASE_SECONDS, check=False
        )

    @contextmanager
    def running(self, name: str) -> Iterator["subprocess.Popen[bytes]"]:
        command, env = self._process(name)
        with (self.farm.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def passes(self, container: str, probe: str) -> bool:
        """What a kubelet finds, which asks with the headers that the chart names."""
        [found] = [c for c in containers(self._release) if c["name"] == container]
        question = found[probe]["httpGet"]
        headers = {header["name"]: header["value"] for header in question["httpHeaders"]}
        try:
            url = f"http://127.0.0.1:{self.port}{question['path']}"
            return httpx.get(url, headers=headers, trust_env=False, timeout=10).is_success
        except httpx.TransportError:
            return False

    def _process(self, name: str) -> tuple[list[str], dict[str, str]]:
        [container] = [c for c in containers(self._release) if c["name"] == name]
        words: list[str] = [*container["command"], *container.get("args", [])]
        assert words[0] == "secateur"
        here = {"0.0.0.0": "127.0.0.1", "8000": str(self.port)}
        arguments = [here.get(word, word) for word in words[1:]]
        told = environment(container, self._release) | {
            "SECATEUR_DATABASE_URL": self.farm.url,
            "SECATEUR_BROKER_URL": self.farm.broker.url,
            "SECATEUR_STORE_URL": f"file://{self.farm.folder}/store",
        }
        if "SECATEUR_WORK_DIR" in told:
            told["SECATEUR_WORK_DIR"] = str(self.farm.folder)
        quiet = {"PATH": os.environ["PATH"]}
        return [
            sys.executable,
            "-m",
            "secateur.cli",
            *arguments,
        ], clean_environment() | told | quiet


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    farm = Farm(tmp_path_factory.mktemp("farm"))
    try:
        yield Pods(farm)
    finally:
        farm.close()


def test_the_job_prepares_and_the_api_serves_who_has_its_key(pods: Pods) -> None:
    first, again = pods.run("init"), pods.run("init")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    [key] = {word for word in first.stdout.split() if word.startswith("sec_")}
    assert "sec_" not in again.stdout + again.stderr
    with pods.running("api"):
        wait_for(lambda: pods.passes("api", "startupProbe"), "the API")
        assert pods.passes("api", "livenessProbe")
        assert pods.passes("api", "readinessProbe")
        jobs = f"http://127.0.0.1:{pods.port}/v1/jobs"
        assert httpx.get(jobs, trust_env=False).status_code == httpx.codes.UNAUTHORIZED
        answer = httpx.get(jobs, headers={"Authorization": f"Bearer {key}"}, trust_env=False)
        assert answer.json()["data"] == []


def test_a_worker_is_checked_before_it_starts(pods: Pods) -> None:
    assert pods.run("check").returncode == 0
    pods.farm.server.kill()
    pods.farm.server.wait()
    refused = pods.run("check")
    assert refused.returncode == 1
    assert "broken   broker" in refused.stdout
