"""The API over PostgreSQL: one walk through everything that reaches the database."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core.progress import Progress
from core.settings import Settings
from secateur.cli._checkup import checkup
from tests.postgres import PASSWORD, PASSWORD_IN_URLS, PostgresServer
from tests.served import NOW, Served, served

LABELS = {"team": "search", "a.b": "100% 'quoted' \"twice\" \\ é 🌲", "größe": "%_"}


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("server"), database_url=database) as running:
        yield running


def listed(server: Served, **query: str | int) -> list[str]:
    answer = server.http.get("/v1/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["data"]]


def posted(server: Served, **more: Any) -> str:
    (server.folder / "models" / "a").mkdir(parents=True, exist_ok=True)
    answer = server.post(server.spec(**more))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_metadata_filters_take_every_value_as_it_is(server: Served) -> None:
    labelled, plain = posted(server, metadata=LABELS), posted(server, metadata={"team": "web"})
    for key, value in LABELS.items():
        assert listed(server, **{f"metadata.{key}": value}) == [labelled]
    everything = {f"metadata.{key}": value for key, value in LABELS.items()}
    assert listed(server, **everything) == [labelled]
    assert listed(server, **{"metadata.team": "web"}) == [plain]
    for key, value in (("team", "s%"), ("a", "100%"), ("größe", "__"), ("none", "")):
        assert listed(server, **{f"metadata.{key}": value}) == []


def test_a_value_that_no_database_could_compare_is_refused(server: Served) -> None:
    answer = server.post(server.spec(metadata={"team": "a\0b"}))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "metadata.team"


def test_filters_and_pages(server: Served) -> None:
    made = [server.submit(method=("wanda", "magnitude")[n % 2], metadata={"test": "pages"})
            for n in range(7)]  # fmt: skip
    seen: list[str] = []
    query: dict[str, str | int] = {"metadata.test": "pages", "limit": 3}
    while True:
        page = server.http.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next"]
    # All of one moment: the id decides, also across pages.
    assert seen == sorted(made, reverse=True)
    only = {"metadata.test": "pages", "method": "wanda", "state": "queued"}
    assert sorted(listed(server, **only)) == sorted(made[::2])


def test_a_job_from_its_post_to_its_files(server: Served) -> None:
    job_id = posted(server)
    at = f"/v1/jobs/{job_id}"
    known = {"If-None-Match": server.http.get(at).headers["etag"]}
    assert server.http.get(at, headers=known).status_code == 304
    epoch = server.claim(job_id)
    server.jobs.progress(job_id, epoch, Progress("analysing", 0.5, "half"), NOW, 2.5)
    job = server.http.get(at, headers=known).json()
    assert (job["state"], job["progress"], job["eta_seconds"]) == ("running", 0.5, 2.5)
    assert job["started_at"] == "2026-11-02T09:00:00Z"
    assert server.http.post(f"{at}/cancel").json()["state"] == "cancelling"
    assert server.http.post(f"{at}/cancel").status_code == 202
    events = server.http.get(f"{at}/events", params={"after": 1}).json()["data"]
    assert [event["id"] for event in events] == [2, 3, 4]
    done = server.succeeded({"model/config.json": b"{}"})
    artifact = server.http.get(f"/v1/jobs/{done}/artifacts/model/config.json")
    assert artifact.content == b"{}"


def test_readiness_and_doctor_name_the_database_without_its_password(
    server: Served, database: str
) -> None:
    def told(url: str) -> tuple[str, str]:
        finding = next(
            f for f in checkup(Settings(database_url=url), server.url) if f.name == "database"
        )
        text = finding.model_dump_json()
        assert PASSWORD not in text
        assert PASSWORD_IN_URLS not in text
        return finding.status, finding.detail

    assert server.http.get("/readyz").json()["checks"]["database"] == {"ok": True, "why": ""}
    status, detail = told(database)
    assert status == "ok"
    assert detail.startswith("postgresql+psycopg://tester:***@127.0.0.1:")
    status, detail = told(database.replace("tester:", "nobody:"))
    assert status == "broken"
    assert "password authentication failed" in detail
    name = httpx.URL(database).path.removeprefix("/")
    status, detail = told(database.replace(name, "postgres"))
    assert status == "broken"
    assert 'relation "jobs" does not exist' in detail
