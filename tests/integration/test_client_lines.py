"""Both clients against the real server over lines that break, and each refusal under its name."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import ArtifactNotFound, CorruptObject, JobNotFound, WrongState
from core.jobs.states import State
from core.jobs.views import Failure
from core.key_errors import KeyMissing, KeyNotFound, KeyUnknown, ScopeMissing
from core.limit_errors import LastAdminKey, NoKeysYet, OperatorOnly, QueueFull
from core.quotas import Quota
from core.webhooks.errors import DeliveryNotFound
from secateur import Client
from secateur.download import Artifact
from secateur.problems import Unreachable
from tests.clients import Connect, fetch
from tests.faulty_proxy import Fault, faulty_proxy
from tests.served import NOW, Served, served

DATA = bytes(range(256)) * 12000  # three pieces as they are written
FILES = {"model/a.bin": DATA, "model/b.bin": DATA, "report/report.json": b"{}", "empty": b""}


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.following.PAUSE", 0.05)
    monkeypatch.setattr("secateur.job_calls.PAUSE", 0.05)


def found(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class TestSubmit:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault("reset", "POST", at=0, times=2),
            Fault("end", "POST", at=100, times=2),
            Fault("cut-request", "POST", at=250, times=2),
        ],
        ids=["no answer", "half an answer", "half a request"],
    )
    def test_a_line_cut_after_the_request_makes_no_second_job(
        self, connect: Connect, tmp_path: Path, fault: Fault
    ) -> None:
        fault.times = 2  # parameters are shared between the clients
        with served(tmp_path) as server, faulty_proxy(server.url) as proxy:
            proxy.fault = fault
            with connect(proxy.url) as client:
                job = client.submit(server.spec())
                assert fault.times == 0
                assert [each.id for each in client.list()] == [job.id]

    def test_what_cannot_be_repeated_is_not(self, connect: Connect, server: Served) -> None:
        job_id = server.submit()
        with faulty_proxy(server.url) as proxy, connect(proxy.url) as client:
            proxy.fault = Fault("end", "POST", at=10, times=9)
            with pytest.raises(Unreachable):
                client.cancel(job_id)
            assert len(proxy.seen) == 1
            assert client.get(job_id).state is State.CANCELLED


class TestFollowing:
    def test_a_stream_that_breaks_again_and_again_has_no_gap(
        self, connect: Connect, server: Served
    ) -> None:
        job_id = server.failed()
        events = server.jobs.events("default", job_id, limit=100).data
        with faulty_proxy(server.url) as proxy, connect(proxy.url) as client:
            proxy.fault = Fault("reset", at=20, then=Fault("end", at=200, times=2))
            assert list(client.events(job_id)) == events
            assert len(proxy.seen) == 4

    def test_who_stops_listening_gives_the_place_back(
        self, connect: Connect, server: Served
    ) -> None:
        places = server.app.state.waiting.places
        with connect(server.url) as client:
            for event in client.events(server.running()):
                assert event.id == 1
                assert places.taken == 1
                break
            del event
            until(lambda: places.taken == 0)

    def test_a_change_is_told_once_it_is_there(self, connect: Connect, server: Served) -> None:
        job_id = server.running()
        with connect(server.url) as client:
            job = client.get(job_id)
            assert client.changed(job, seconds=0.2) is job
            failure = Failure(code="bad-data", message="why")
            timer = threading.Timer(0.3, server.jobs.fail, [job_id, 1, failure, NOW])
            timer.start()
            began = time.monotonic()
            changed = client.changed(job)
            timer.join()
        assert changed.version > job.version
        assert time.monotonic() - began < 10


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestDownload:
    def test_a_download_survives_broken_lines(
        self, connect: Connect, server: Served, tmp_path: Path
    ) -> None:
        job_id = server.succeeded(FILES)
        with faulty_proxy(server.url) as proxy, connect(proxy.url) as client:
            proxy.fault = Fault(
                "reset",
                f"GET /v1/jobs/{job_id}/artifacts/model",
                at=1_500_000,
                times=2,
                then=Fault("end", f"GET /v1/jobs/{job_id}/artifacts/model", at=1_000_000, times=2),
            )
            client.download(job_id, tmp_path / "out")
            assert proxy.passed < 1.5 * 2 * len(DATA), "what was there already came once more"
        assert {k: v for k, v in found(tmp_path / "out").items() if k != "manifest.json"} == FILES

    def test_wrong_bytes_are_refused_and_good_ones_kept(
        self, connect: Connect, server: Served, tmp_path: Path
    ) -> None:
        job_id = server.succeeded(FILES)
        with faulty_proxy(server.url) as proxy, connect(proxy.url) as client:
            proxy.fault = Fault("flip", f"GET /v1/jobs/{job_id}/artifacts/model/b", at=2_000_000)
            with pytest.raises(CorruptObject, match="model/b"):
                client.download(job_id, tmp_path / "out")
            assert "model/b.bin" not in found(tmp_path / "out")
            client.download(job_id, tmp_path / "out")
        assert found(tmp_path / "out")["model/b.bin"] == DATA

    def test_a_file_that_is_not_there_says_so(
        self, connect: Connect, server: Served, tmp_path: Path
    ) -> None:
        url = f"/v1/jobs/{server.succeeded(FILES)}/artifacts/none"
        absent = Artifact(name="none", bytes=3, sha256="0" * 64, media_type="x/y", url=url)
        with connect(server.url) as client, pytest.raises(ArtifactNotFound):
            fetch(client, absent, tmp_path / "none")


def test_refusals_have_names(connect: Connect, tmp_path: Path) -> None:
    limits = {"search": Quota(queued_jobs=0)}
    with served(tmp_path, quotas=limits, operator_tenant="default") as server:
        with connect(server.url) as client, pytest.raises(NoKeysYet):
            client.create_key("first")
        keys = {
            "reader": server.key("jobs:read").text,
            "admin": server.key("admin").text,
            "other": server.key(tenant="search").text,
        }
        job_id = server.failed()
        refusals: list[tuple[str | None, type[Exception], Callable[[Client], Any]]] = [
            (None, KeyMissing, lambda client: client.usage()),
            (keys["admin"][:-6] + "000000", KeyUnknown, lambda client: client.get(job_id)),
            (keys["reader"], ScopeMissing, lambda client: client.cancel(job_id)),
            (keys["reader"], ScopeMissing, lambda client: client.api_keys()),
            (keys["other"], JobNotFound, lambda client: client.get(job_id)),
            (keys["other"], JobNotFound, lambda client: list(client.events(job_id))),
            (keys["other"], OperatorOnly, lambda client: client.tenants()),
            (keys["other"], QueueFull, lambda client: client.submit(server.spec())),
            (keys["admin"], WrongState, lambda client: client.cancel(job_id)),
            (keys["admin"], KeyNotFound, lambda client: client.revoke_key("key_0")),
            (keys["admin"], DeliveryNotFound, lambda client: client.delivery("msg_test_0")),
            (keys["admin"], LastAdminKey, lambda client: client.revoke_key(admin_of(client))),
        ]
        for key, kind, ask in refusals:
            with connect(server.url, api_key=key) as client, pytest.raises(kind) as refused:
                ask(client)
            assert refused.type is kind


def admin_of(client: Client) -> str:
    return next(key.id for key in client.api_keys() if key.scopes == ("admin",))


def test_administrators(connect: Connect, tmp_path: Path) -> None:
    with (
        served(tmp_path, operator_tenant="default") as server,
        connect(server.url, api_key=server.key().text) as client,
    ):
        made = client.create_key("CI", scopes=["jobs:write"], tenant="search", expires_days=9)
        assert made.key.startswith(made.prefix)
        assert [key.id for key in client.api_keys(tenant="search")] == [made.id]
        with connect(server.url, api_key=made.key) as other:
            job = other.submit(server.spec())
        assert client.revoke_key(made.id).revoked_at is not None
        quota = client.set_quota("search", Quota(queued_jobs=7))
        assert quota.quota == Quota(queued_jobs=7)
        assert [each for each in client.tenants() if each.tenant == "search"] == [quota]
        assert client.clear_quota("search").quota.queued_jobs != 7
        assert client.usage().usage.queued_jobs == 0
        deeds = list(client.audit(target=job.id, page_size=1, since=NOW))
        assert [(deed.action, deed.key_id) for deed in deeds] == [("job.submit", made.id)]
        assert len(list(client.audit(page_size=2))) > 4
