"""The route, the client and the command for workers; what each tenant's key shows."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from core.jobs.credentials import Scope
from core.jobs.presence import Gpu, Presence
from secateur.client import Client
from tests.commands import Run
from tests.integration.test_http_submit import refused
from tests.served import LEASE, NOW, Served, served


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("keyed")) as running:
        yield running


def present(server: Served, name: str) -> None:
    worker = Presence(
        id=name,
        host="gpu-3",
        device="cuda",
        gpus=(Gpu(name="[bold]L4", memory_bytes=24 * 10**9),),
        versions={"secateur": "0.1.0"},
        started_at=NOW,
    )
    server.jobs.present(worker, datetime.now(UTC), 15.0)


def test_workers_are_listed(server: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    present(server, "gpu-3:1")
    job_id = server.submit()
    assert server.jobs.claim(job_id, "gpu-3:1", NOW, LEASE)
    with Client(server.url) as client:
        (found,) = client.workers()
    assert (found.id, found.state, found.busy, found.job) == ("gpu-3:1", "online", True, job_id)
    monkeypatch.setenv("SECATEUR_URL", server.url)
    out = run("workers").out
    assert job_id in out
    assert "[bold]L4 24 GB" in out
    assert run("workers", "--json").json()["data"][0]["job"] == job_id
    refused(server.http.get("/v1/workers?job=1"), 422, "invalid-spec")


def test_a_key_shows_its_own_tenant_s_jobs_alone(keyed: Served) -> None:
    """Also one that may do everything: `admin` ends at the tenant."""
    present(keyed, "gpu-3:1")
    job_id = keyed.submit("theirs")
    assert keyed.jobs.claim(job_id, "gpu-3:1", NOW, LEASE)
    rows: list[tuple[str, Scope, str | None]] = [
        ("theirs", "jobs:read", job_id),
        ("mine", "jobs:read", None),
        ("mine", "admin", None),
    ]
    for tenant, scope, shown in rows:
        key = keyed.key(scope, tenant=tenant)
        with Client(keyed.url, api_key=key.text) as client:
            (found,) = client.workers()
        assert (found.busy, found.job) == (True, shown)
