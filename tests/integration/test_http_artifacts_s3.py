"""Downloads where the objects lie in S3: big files come from there, conditions are judged here."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from core.store.s3 import S3Store
from secateur.blocking import now
from secateur.download import Artifact, fetch, part_of
from secateur.line import BlockingLine
from tests.buckets import new_bucket
from tests.integration.test_http_submit import refused
from tests.served import Served, served

DATA = bytes(range(256)) * 900
PAGE = b"<!doctype html><p>report</p>"
WEIGHTS = "model/weights é 'x'.safetensors"
FILES = {
    WEIGHTS: DATA,
    "model/page.html": PAGE,
    "report/report.json": b'{"schema_version": 1}',
    "report/report.html": PAGE,
    "report/plots/mass.png": b"png",
}
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def server(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    url = f"s3://{new_bucket(s3).bucket}/all%20jobs?endpoint={s3}"
    with served(tmp_path_factory.mktemp("server"), store_url=url) as running:
        yield running


@pytest.fixture(scope="module")
def job(server: Served) -> str:
    return server.succeeded(FILES)


def get(server: Served, job: str, name: str, **headers: str) -> httpx.Response:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return server.http.get(f"/v1/jobs/{job}/artifacts/{quote(name)}", headers=named)


def test_a_file_is_sent_to_the_store(server: Served, job: str, s3: str) -> None:
    answer = get(server, job, WEIGHTS)
    assert answer.status_code == 307
    assert answer.headers["etag"] == f'"{SHA}"'
    assert answer.headers["cache-control"] == "no-store"
    link = answer.headers["location"]
    assert link.startswith(f"{s3}/")
    assert "X-Amz-Expires=900" in link
    # Without any header of ours, as another program would get it.
    found = httpx.get(link, trust_env=False)
    assert found.content == DATA
    disposition = found.headers["content-disposition"]
    assert disposition.startswith("attachment;")
    assert quote("weights é 'x'.safetensors") in disposition
    part = httpx.get(link, headers={"Range": "bytes=1-2"}, trust_env=False)
    assert (part.status_code, part.content) == (206, DATA[1:3])


def test_a_strangers_page_is_never_html(server: Served, job: str) -> None:
    link = get(server, job, "model/page.html").headers["location"]
    found = httpx.get(link, trust_env=False)
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["content-disposition"].startswith("attachment;")


def test_every_listed_file_can_be_fetched(server: Served, job: str, tmp_path: Path) -> None:
    listed = server.http.get(f"/v1/jobs/{job}/artifacts").json()["data"]
    assert {artifact["name"] for artifact in listed} == {*FILES, "manifest.json"}
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        for artifact in map(Artifact.model_validate, listed):
            target = tmp_path / artifact.name
            # A part that is there already is continued.
            target.parent.mkdir(parents=True, exist_ok=True)
            if artifact.name == WEIGHTS:
                part_of(target, artifact).write_bytes(DATA[:1000])
            now(fetch(BlockingLine(http), artifact, target))
            assert hashlib.sha256(target.read_bytes()).hexdigest() == artifact.sha256


def test_conditions_are_judged_here(server: Served, job: str) -> None:
    for condition in ({"If_Match": f'"{SHA}"'}, {"If_Range": f'"{SHA}"'}):
        part = get(server, job, WEIGHTS, Range="bytes=1-2", **condition)
        assert (part.status_code, part.content) == (206, DATA[1:3])
    refused(get(server, job, WEIGHTS, If_Match='"other"'), 412, "precondition-failed")
    assert get(server, job, WEIGHTS, If_None_Match=f'"{SHA}"').status_code == 304
    beyond = get(server, job, WEIGHTS, Range=f"bytes={len(DATA)}-")
    refused(beyond, 416, "range-not-satisfiable")
    assert get(server, job, WEIGHTS, Range="bytes=1-2").status_code == 307


def test_head_is_answered_here(server: Served, job: str) -> None:
    head = server.http.head(f"/v1/jobs/{job}/artifacts/{quote(WEIGHTS)}")
    assert head.status_code == 200
    assert head.headers["content-length"] == str(len(DATA))
    assert head.headers["etag"] == f'"{SHA}"'


@pytest.mark.parametrize("name", ["report/report.html", "report/plots/mass.png"])
def test_what_a_page_is_made_of_comes_from_here(server: Served, job: str, name: str) -> None:
    answer = get(server, job, name)
    assert (answer.status_code, answer.content) == (200, FILES[name])
    assert "sandbox" in answer.headers["content-security-policy"]


def test_the_report_comes_from_here(server: Served, job: str) -> None:
    answer = server.http.get(f"/v1/jobs/{job}/report", headers={"Accept": "application/json"})
    assert answer.json() == {"schema_version": 1}


def test_a_damaged_store_is_never_linked_to(server: Served) -> None:
    job_id = server.succeeded({"a.txt": b"12345"})
    folder = f"jobs/{job_id}/{server.jobs.get('default', job_id).epoch}"
    server.store.put_bytes(f"{folder}/a.txt", b"123")
    refused(get(server, job_id, "a.txt"), 500, "corrupt-object")


def test_readiness_looks_at_the_bucket(server: Served) -> None:
    checks = server.http.get("/readyz").json()["checks"]
    assert checks["store"]["ok"]


def test_a_link_names_the_host_that_clients_know(s3: str) -> None:
    store = new_bucket(s3, public_endpoint="https://files.example", addressing="path")
    link = S3Store(store).presign("a/b", "b", 60)
    assert urlsplit(link)[:3] == ("https", "files.example", f"/{store.bucket}/a/b")
