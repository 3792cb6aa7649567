"""Polls that are answered before their route is: by the same rules as the whole answer."""

from collections.abc import Iterator

import httpx
import pytest

from core.jobs.credentials import Scope
from core.progress import Progress
from tests.served import NOW, Served, served


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        pytest.MonkeyPatch.context() as patched,
        served(tmp_path_factory.mktemp("keyed"), reads_per_minute=1000) as running,
    ):
        # No minute ends while requests are counted.
        patched.setattr(running.app.state.limiter.pace, "_clock", lambda: NOW)
        (running.folder / "models" / "a").mkdir(parents=True)
        running.key()
        yield running


def poll(
    server: Served, job_id: str, etag: str, *scopes: Scope, tenant: str = "default", query: str = ""
) -> httpx.Response:
    key = server.key(*scopes, tenant=tenant).text
    headers = {"Authorization": f"Bearer {key}", "If-None-Match": etag}
    return server.http.get(f"/v1/jobs/{job_id}{query}", headers=headers)


def tag(server: Served, job_id: str) -> str:
    return f'"{server.jobs.get("default", job_id).version}"'


def test_a_key_that_may_not_read_is_told_nothing(keyed: Served) -> None:
    job_id = keyed.submit()
    etag = tag(keyed, job_id)
    assert poll(keyed, job_id, etag, "jobs:read").status_code == 304
    refused = poll(keyed, job_id, etag, "jobs:write")
    assert (refused.status_code, refused.json()["code"]) == (403, "scope-missing")
    nobody = keyed.http.get(f"/v1/jobs/{job_id}", headers={"If-None-Match": etag})
    assert nobody.status_code == 401


def test_another_tenant_cannot_tell_it_from_none(keyed: Served) -> None:
    job_id = keyed.submit()
    etag = tag(keyed, job_id)
    answers = [
        poll(keyed, each, etag, tenant="other")
        for each in (job_id, "job_0123456789abcdef01234567", "job_1", "x")
    ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "job-not-found")] * 4


def test_each_is_counted_once_whatever_it_is_answered(keyed: Served) -> None:
    job_id = keyed.submit("counted")
    keyed.jobs.claim(job_id, "worker", NOW, 60)
    headers = {"Authorization": f"Bearer {keyed.key(tenant='counted').text}"}
    etag, left = "", list[int]()
    for moved in (True, False, True, False, False):
        if moved:
            keyed.jobs.progress(job_id, 1, Progress("pruning", 0.1 * len(left), "on"), NOW, None)
        answer = keyed.http.get(f"/v1/jobs/{job_id}", headers=headers | {"If-None-Match": etag})
        assert answer.status_code == (200 if moved else 304)
        etag = answer.headers["etag"]
        left.append(int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0]))
    assert left == [*range(left[0], left[0] - 5, -1)]


def test_a_parameter_that_nobody_knows_is_refused_still(keyed: Served) -> None:
    job_id = keyed.submit()
    answer = poll(keyed, job_id, tag(keyed, job_id), query="?wiat=3")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-spec")
