"""The real API on a real socket, with a real database and store, for tests that speak HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import Any

import httpx
from fastapi import FastAPI

from api.app import create_app
from api.serving import Server
from core.jobs.credentials import SCOPES, Scope
from core.jobs.keys import KeyStore, NewKey
from core.jobs.store import JobStore
from core.jobs.views import Failure
from core.progress import Progress
from core.settings import Settings
from core.spec import parse_spec
from core.store import manifest
from core.store.base import ObjectStore
from core.store.urls import open_store
from core.sweep_spec import parse_sweep, planned

NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
LEASE = 60.0
NO_BROKER = "redis://127.0.0.1:1/0"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server, and the store's other sides to play the worker with."""

    url: str
    folder: Path
    jobs: JobStore
    store: ObjectStore
    keys: KeyStore
    http: httpx.Client
    app: FastAPI

    def spec(self, **more: Any) -> dict[str, Any]:
        return {"model": {"source": f"file://{self.folder}/models/a"}, "sparsity": 0.5, **more}

    def submit(self, tenant: str = "default", /, **more: Any) -> str:
        """A queued job, straight into the database."""
        return self.jobs.create(tenant, parse_spec(self.spec(**more)), NOW).id

    def sweep(self, tenant: str = "default", /, **more: Any) -> str:
        """A sweep of two queued jobs, straight into the database."""
        data = {"base": self.spec(), "grid": {"sparsity": [0.25, 0.5]}, **more}
        return self.jobs.create_sweep(tenant, planned(parse_sweep(data)), NOW).sweep.id

    def claim(self, job_id: str) -> int:
        """The epoch under which the job now runs."""
        claim = self.jobs.claim(job_id, "w", NOW, LEASE)
        assert claim is not None
        return claim.epoch

    def running(self, **more: Any) -> str:
        job_id = self.submit(**more)
        epoch = self.claim(job_id)
        self.jobs.progress(job_id, epoch, Progress("analysing", 0.4, "sample 4 of 10"), NOW, 6.0)
        return job_id

    def failed(self, **more: Any) -> str:
        job_id = self.submit(**more)
        failure = Failure(code="text-too-short", message="Too short.", remedy="Give more text.")
        self.jobs.fail(job_id, self.claim(job_id), failure, NOW)
        return job_id

    def succeeded(self, files: dict[str, bytes], tenant: str = "default", /, **more: Any) -> str:
        """A job that has left `files`, published as a worker would."""
        job_id = self.submit(tenant, **more)
        self.finish(job_id, files)
        return job_id

    def finish(self, job_id: str, files: dict[str, bytes]) -> None:
        """Let a queued job succeed with `files`."""
        epoch = self.claim(job_id)
        folder = self.folder / "made" / job_id
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        folder.mkdir(parents=True, exist_ok=True)
        built = manifest.build(folder, spec={}, revision="sha256:0", versions={}, seeds={})
        manifest.write(built, folder)
        prefix = f"jobs/{job_id}/{epoch}"
        for name in [*files, manifest.MANIFEST]:
            self.store.put_file(f"{prefix}/{name}", folder / name)
        self.jobs.succeed(job_id, epoch, f"{prefix}/{manifest.MANIFEST}", NOW)

    def key(
        self, *scopes: Scope, tenant: str = "default", expires_at: datetime | None = None
    ) -> NewKey:
        """A new API key. From the first one on, the server serves nobody without."""
        return self.keys.create(
            tenant, "a test", scopes or SCOPES, NOW, token_bytes, expires_at=expires_at
        )

    def post(self, body: object, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **headers}
        return self.http.post("/v1/jobs", content=content, headers=sent)


@contextmanager
def served(
    folder: Path,
    *,
    broker_url: str = NO_BROKER,
    store_url: str | None = None,
    database_url: str | None = None,
    loopback: bool = True,
    port: int = 0,
    **more: Any,
) -> Iterator[Served]:
    """A server whose state lies in `folder`, but for what one of the URLs puts elsewhere.

    file:// models may lie in its `models`. With `loopback=False` it believes that others can reach
    it, too. `more` are further settings.
    """
    database = database_url or f"sqlite:///{folder}/jobs.db"
    objects = store_url or (folder / "store").as_uri()
    settings = Settings(
        database_url=database,
        store_url=objects,
        broker_url=broker_url,
        model_roots=(folder / "models",),
        **more,
    )
    app = create_app(settings, loopback=loopback)
    with (
        _listening(app, settings, port) as url,
        JobStore.open(database) as jobs,
        KeyStore.open(database) as keys,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as http,
    ):
        yield Served(url, folder, jobs, open_store(objects), keys, http, app)


@contextmanager
def _listening(app: FastAPI, settings: Settings, port: int) -> Iterator[str]:
    server = Server(app, settings, host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.02)
        taken = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{taken}"
    finally:
        server.should_exit = True
        thread.join()
