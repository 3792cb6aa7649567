"""Every route that changes something leaves a line in the audit log; a new one without a rule fails here."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from core.jobs.audit import AuditFilter
from core.jobs.audit_views import AuditEntry
from tests.integration.test_http_keys import ROUTES
from tests.served import NOW, Served, served

HOOK = {"url": "https://hooks.example.com/t0ken"}
TENANT = "deeds"


class Deed(NamedTuple):
    """What a route writes, and how to have it succeed: the values of its path, and a body."""

    action: str
    path: Callable[[Served], dict[str, str]] = lambda _: {}
    body: Callable[[Served], object] = lambda _: None


def of_job(state: str) -> Callable[[Served], dict[str, str]]:
    def made(server: Served) -> dict[str, str]:
        job_id = server.submit(TENANT)
        if state == "cancelled":
            server.jobs.cancel(TENANT, job_id, server.jobs.get(TENANT, job_id).created_at)
        return {"job_id": job_id}

    return made


def of_sweep(state: str) -> Callable[[Served], dict[str, str]]:
    def made(server: Served) -> dict[str, str]:
        sweep_id = server.sweep(TENANT)
        if state == "cancelled":
            server.jobs.cancel_sweep(TENANT, sweep_id, NOW)
        return {"sweep_id": sweep_id}

    return made


def of_delivery(server: Served) -> dict[str, str]:
    job_id = server.succeeded({"a": b"b"}, TENANT, webhook=HOOK)
    return {"job_id": job_id, "delivery_id": f"msg_{job_id.removeprefix('job_')}_3"}


def of_key(server: Served) -> dict[str, str]:
    return {"key_id": server.key(tenant=TENANT).key.id}


def of_tenant(_: Served) -> dict[str, str]:
    return {"tenant": "somebody"}


DEEDS = {
    "POST /v1/jobs": Deed("job.submit", body=lambda server: server.spec()),
    "POST /v1/jobs/{job_id}/cancel": Deed("job.cancel", of_job("queued")),
    "POST /v1/jobs/{job_id}/retry": Deed("job.retry", of_job("cancelled")),
    "DELETE /v1/jobs/{job_id}": Deed("job.delete", of_job("cancelled")),
    "POST /v1/jobs/{job_id}/deliveries/{delivery_id}/redeliver": Deed(
        "webhook.redeliver", of_delivery
    ),
    "POST /v1/sweeps": Deed(
        "sweep.submit", body=lambda server: {"base": server.spec(), "grid": {"sparsity": [0.5]}}
    ),
    "POST /v1/sweeps/{sweep_id}/cancel": Deed("sweep.cancel", of_sweep("queued")),
    "DELETE /v1/sweeps/{sweep_id}": Deed("sweep.delete", of_sweep("cancelled")),
    "POST /v1/webhooks/test": Deed("webhook.test", body=lambda _: {"url": HOOK["url"]}),
    "POST /v1/webhooks/secret": Deed("secret.show"),
    "POST /v1/webhooks/secret/rotate": Deed("secret.rotate"),
    "POST /v1/keys": Deed("key.create", body=lambda _: {"name": "CI"}),
    "DELETE /v1/keys/{key_id}": Deed("key.revoke", of_key),
    "PUT /v1/tenants/{tenant}/quota": Deed("quota.set", of_tenant, lambda _: {"queued_jobs": 3}),
    "DELETE /v1/tenants/{tenant}/quota": Deed("quota.clear", of_tenant),
    "POST /login": Deed("login", body=lambda server: {"key": server.key(tenant=TENANT).text}),
}
# Why these leave none.
SILENT = {
    "POST /v1/estimate": "reads, and takes a body because a spec is too long for a query",
    "POST /logout": "the browser forgets its cookie; the server knows of no session",
}


def names() -> list[str]:
    return [f"{method} {path}" for method, path, _ in ROUTES if method not in ("GET", "HEAD")]


def deed_of(name: str) -> Deed | None:
    if name not in DEEDS and name not in SILENT:
        pytest.fail(f"{name} has no entry: say above what it writes into the audit log, or why not")
    return DEEDS.get(name)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("audited")
    (folder / "models" / "a").mkdir(parents=True)
    with served(folder, operator_tenant=TENANT) as running:
        running.key(tenant=TENANT)
        yield running


def lines(server: Served) -> list[AuditEntry]:
    return server.jobs.audit(AuditFilter(), limit=200).data


def test_every_entry_is_of_a_route_there_is() -> None:
    assert {*DEEDS, *SILENT} == set(names())
    assert not DEEDS.keys() & SILENT.keys()


def test_a_route_without_an_entry_is_noticed() -> None:
    with pytest.raises(pytest.fail.Exception, match="has no entry"):
        deed_of("POST /v1/jobs/{job_id}/pause")


@pytest.mark.parametrize("name", names())
def test_what_succeeds_is_written_down_once(keyed: Served, name: str) -> None:
    deed, key = deed_of(name), keyed.key(tenant=TENANT)
    headers = {"Authorization": f"Bearer {key.text}", "X-Request-ID": "r-1"}
    keyed.http.post("/v1/webhooks/secret", headers=headers)  # whoever is first makes it
    method, path = name.split()
    given = keyed.spec() if deed is None else deed.body(keyed)
    more: dict[str, Any] = {} if given is None else {"json": given}
    filled = path.format(**deed.path(keyed)) if deed else path
    before = {line.id for line in lines(keyed)}
    answer = keyed.http.request(method, filled, headers=headers, **more)
    keyed.http.cookies.clear()
    new = [line for line in lines(keyed) if line.id not in before]
    if deed is None:
        assert new == []
        return
    assert answer.is_success, answer.text
    assert [(line.action, line.outcome, line.request_id) for line in new] == [
        (deed.action, "done", "r-1")
    ]
    assert new[0].tenant == TENANT
    assert new[0].target
    assert key.text not in str(new)
    assert "t0ken" not in str(new)
