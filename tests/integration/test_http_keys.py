"""API keys over HTTP: which routes want one, what each refusal says, and whose jobs a key opens."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from api.app import ROUTERS
from api.auth import Needs
from core.jobs.credentials import SCOPES, Scope
from core.jobs.keys import NewKey
from core.jobs.states import State
from tests.served import NOW, Served, served

OPEN = {
    *("/healthz", "/readyz", "/docs", "/openapi.json", "/static/style.css"),
    *("/login", "/logout", "/session"),
}
ROUTES = [
    (method, route.path, route)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]
METRICS = "/metrics"  # has a token of its own: tests/integration/test_http_metrics.py
CLOSED = [each for each in ROUTES if each[1] not in OPEN | {METRICS}]
OF_A_JOB = [(method, path) for method, path, _ in CLOSED if path.startswith("/v1/jobs/{job_id}")]


ADMINISTRATION = ("/v1/keys", "/v1/tenants", "/v1/audit")


def scope_for(method: str, path: str) -> str:
    if path.startswith(ADMINISTRATION):
        return "admin"
    return "jobs:read" if method in ("GET", "HEAD") else "jobs:write"


def scopes_of(route: APIRoute) -> set[Scope]:
    calls = [dependant.call for dependant in route.dependant.dependencies]
    return {call.scope for call in calls if isinstance(call, Needs)}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that has had a key; tests use ones of their own."""
    # Every test of this file is refused from one address, mostly within one minute.
    with served(tmp_path_factory.mktemp("keyed"), failures_per_minute=100_000) as running:
        running.key("jobs:read", tenant="nobody")
        yield running


def ask(
    keyed: Served, method: str, path: str, key: NewKey | None = None, **headers: str
) -> httpx.Response:
    sent = {"Authorization": f"Bearer {key.text}"} if key else {}
    return keyed.http.request(method, path, headers={**sent, **headers})


def filled(path: str, job_id: str = "job_0123456789abcdef01234567") -> str:
    # Of a job with a webhook the third event is its end.
    delivery_id = f"msg_{job_id.removeprefix('job_')}_3"
    path = path.replace("{job_id}", job_id).replace("{delivery_id}", delivery_id)
    path = path.replace("{sweep_id}", "swp_0123456789abcdef01234567")
    path = path.replace("{key_id}", "key_000000000000").replace("{tenant}", "somebody")
    return path.replace("{name:path}", "report/report.json")


@pytest.mark.parametrize(("method", "path", "route"), ROUTES, ids=lambda v: str(v)[:60])
def test_every_route_of_v1_declares_one_scope(method: str, path: str, route: APIRoute) -> None:
    if path.startswith("/v1"):
        (scope,) = scopes_of(route)
        assert scope == scope_for(method, path)


def test_there_are_routes_to_walk() -> None:
    assert len(CLOSED) >= 14
    assert len(OF_A_JOB) >= 7


@pytest.mark.parametrize(("method", "path", "route"), CLOSED, ids=lambda v: str(v)[:60])
def test_no_closed_route_answers_without_a_key_or_its_scope(
    keyed: Served, method: str, path: str, route: APIRoute
) -> None:
    url, (scope, *_) = filled(path), (*scopes_of(route), None)
    answer = ask(keyed, method, url)
    if not path.startswith("/v1"):
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/login?next={url}"
        return
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="secateur"'
    others = [other for other in SCOPES if other not in (scope, "admin")]
    refused = ask(keyed, method, url, keyed.key(*others))
    assert refused.status_code == 403
    challenge = refused.headers["www-authenticate"]
    assert challenge == f'Bearer realm="secateur", error="insufficient_scope", scope="{scope}"'
    if method != "HEAD":
        assert (answer.json()["code"], refused.json()["code"]) == ("key-missing", "scope-missing")
        assert "SECATEUR_API_KEY" in answer.json()["remedy"]
        assert scope in refused.json()["remedy"]


@pytest.mark.parametrize("path", sorted(OPEN - {"/logout"}))
def test_open_paths_are_open(keyed: Served, path: str) -> None:
    assert ask(keyed, "GET", path).status_code in (200, 503)  # no broker: not ready


def test_the_scope_is_looked_at_before_the_body(keyed: Served) -> None:
    reader = keyed.key("jobs:read").text
    for headers, status in [({}, 401), ({"Authorization": f"Bearer {reader}"}, 403)]:
        assert keyed.post(b"{", **headers).status_code == status


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/methods", "/v1/jobs/job_x/artifacts"])
def test_who_asks_is_looked_at_before_what_they_ask(keyed: Served, path: str) -> None:
    assert ask(keyed, "GET", f"{path}?nonsense=1").status_code == 401
    assert ask(keyed, "GET", f"{path}?nonsense=1", keyed.key()).status_code in (404, 422)


@pytest.mark.parametrize(("method", "path", "route"), CLOSED, ids=lambda v: str(v)[:60])
def test_a_scope_is_looked_at_before_the_query(
    keyed: Served, method: str, path: str, route: APIRoute
) -> None:
    """Nobody learns the parameters of what they may not ask for, or is spared from being counted."""
    for scope in scopes_of(route):
        others = [other for other in SCOPES if other not in (scope, "admin")]
        refused = ask(keyed, method, f"{filled(path)}?nonsense=1", keyed.key(*others))
        assert refused.status_code == 403
        counted = ask(keyed, method, f"{filled(path)}?nonsense=1", keyed.key(scope))
        assert counted.status_code in (404, 422)
        assert "ratelimit" in counted.headers


def test_admin_may_do_everything_in_its_tenant(keyed: Served) -> None:
    admin = {"Authorization": f"Bearer {keyed.key('admin', tenant='ours').text}"}
    (keyed.folder / "models" / "a").mkdir(parents=True, exist_ok=True)
    posted = keyed.post(keyed.spec(), **admin)
    assert posted.status_code == 202
    job_id = posted.json()["id"]
    assert keyed.jobs.get("ours", job_id).id == job_id
    assert keyed.http.post(f"/v1/jobs/{job_id}/cancel", headers=admin).status_code == 202


class TestTwoTenants:
    @pytest.mark.parametrize(("method", "path"), OF_A_JOB)
    def test_each_finds_the_others_jobs_absent(self, keyed: Served, method: str, path: str) -> None:
        files = {"report/report.json": b'{"secret": 1}', "model/config.json": b"{}"}
        mine = keyed.key(tenant="mine")
        hook = {"url": "https://hooks.example.com/"}
        done = keyed.succeeded(files, "theirs", webhook=hook)
        waiting = keyed.submit("theirs")
        absent = "job_ffffffffffffffffffffffff"
        answers = {
            job_id: ask(keyed, method, filled(path, job_id), mine)
            for job_id in (done, waiting, absent)
        }
        for job_id, answer in answers.items():
            assert answer.status_code == 404
            # Nothing tells a job of somebody else from one that never was.
            digits, none = job_id.removeprefix("job_"), absent.removeprefix("job_")
            assert answer.text.replace(digits, none) == answers[absent].text
        assert keyed.jobs.get("theirs", waiting).state is State.QUEUED

    def test_each_lists_its_own(self, keyed: Served) -> None:
        ids = {tenant: keyed.submit(tenant) for tenant in ("left", "right")}
        for tenant, job_id in ids.items():
            listed = ask(keyed, "GET", "/v1/jobs?limit=200", keyed.key(tenant=tenant)).json()
            assert [job["id"] for job in listed["data"]] == [job_id]

    def test_a_cursor_of_the_other_leads_to_nothing(self, keyed: Served) -> None:
        for _ in range(2):
            keyed.submit("long")
        page = ask(keyed, "GET", "/v1/jobs?limit=1", keyed.key(tenant="long")).json()
        url = f"/v1/jobs?after={page['next']}"
        assert ask(keyed, "GET", url, keyed.key(tenant="short")).json()["data"] == []

    @pytest.mark.parametrize(("method", "path"), OF_A_JOB)
    def test_the_owner_finds_it(self, keyed: Served, method: str, path: str) -> None:
        owner = keyed.key(tenant="owner")
        hook = {"url": "https://hooks.example.com/"}
        job_id = keyed.succeeded({"report/report.json": b"{}"}, "owner", webhook=hook)
        status = ask(keyed, method, filled(path, job_id), owner).status_code
        assert status in (200, 202, 204, 409)  # it has ended: too late to cancel


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Bearer sec_", "key-unknown"),
        ("Bearer", "key-unknown"),
        ("bearer  nonsense", "key-unknown"),
        ("Bearer {id}_{zeros}", "key-unknown"),
        ("Bearer {key}0", "key-unknown"),
        ("Bearer {key}, Bearer {key}", "key-unknown"),
        ("Basic {key}", "key-missing"),
        ("{key}", "key-missing"),
        ("Bearer {expired}", "key-expired"),
        ("Bearer {revoked}", "key-revoked"),
    ],
)
def test_each_refusal_has_its_code(keyed: Served, header: str, code: str) -> None:
    key, revoked = keyed.key(), keyed.key()
    keyed.keys.revoke(revoked.key.id, NOW)
    expired = keyed.key(expires_at=NOW + timedelta(seconds=1))
    sent = header.format(
        key=key.text, id=key.key.prefix, zeros="0" * 64, expired=expired.text, revoked=revoked.text
    )
    answer = keyed.http.get("/v1/jobs", headers={"Authorization": sent})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    error = ', error="invalid_token"' if code != "key-missing" else ""
    assert answer.headers["www-authenticate"] == f'Bearer realm="secateur"{error}'
    assert not any(each.text.rpartition("_")[2] in answer.text for each in (key, revoked, expired))


def test_the_scheme_has_no_case(keyed: Served) -> None:
    headers = {"Authorization": f"bEARER   {keyed.key().text}"}
    assert keyed.http.get("/v1/jobs", headers=headers).status_code == 200


def test_use_is_noted(keyed: Served) -> None:
    new = keyed.key()
    for _ in range(3):
        assert ask(keyed, "GET", "/v1/jobs", new).status_code == 200
    used = next(key.last_used_at for key in keyed.keys.list() if key.id == new.key.id)
    assert used is not None


def test_a_server_without_keys_serves_everybody_until_there_is_one(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        job_id = server.submit()
        assert server.http.get(f"/v1/jobs/{job_id}").status_code == 200
        assert server.http.get("/").status_code == 200
        stray = {"Authorization": "Bearer sec_of_another_server"}
        assert server.http.get("/v1/jobs", headers=stray).status_code == 200
        new = server.key()
        assert server.http.get(f"/v1/jobs/{job_id}").status_code == 401
        assert server.http.get("/v1/methods").status_code == 401
        server.keys.revoke(new.key.id, NOW)
        assert server.http.get(f"/v1/jobs/{job_id}").status_code == 401
    with served(tmp_path) as server:
        assert server.http.get(f"/v1/jobs/{job_id}").status_code == 401


def test_a_server_that_others_can_reach_serves_nobody_while_it_has_no_key(tmp_path: Path) -> None:
    with served(tmp_path, loopback=False) as server:
        assert server.http.get("/v1/jobs").status_code == 401
        assert server.http.get("/v1/jobs", headers={"Host": "example.com"}).status_code == 401
        key = server.key()
        assert ask(server, "GET", "/v1/jobs", key, Host="example.com").status_code == 200


def test_without_a_database_nobody_gets_in(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        (tmp_path / "jobs.db").unlink()
        for path in ("/v1/methods", "/v1/jobs", "/"):
            assert server.http.get(path).status_code == 503
        assert server.http.get("/healthz").status_code == 200


class TestHosts:
    def test_with_keys_any_name_will_do(self, keyed: Served) -> None:
        answer = ask(keyed, "GET", "/v1/jobs", keyed.key(), Host="secateur.example.com:443")
        assert answer.status_code == 200

    def test_unless_names_are_listed(self, tmp_path: Path) -> None:
        with served(tmp_path, allowed_hosts="secateur.example.com, Other.example") as server:
            refused = ask(server, "GET", "/v1/methods", Host="secateur.example.com")
            assert refused.json()["code"] == "wrong-host"  # still without keys: loopback only
            key = server.key()
            for host, status in [
                ("secateur.example.com", 200),
                ("SECATEUR.example.com:8443", 200),
                ("other.example", 200),
                ("127.0.0.1:8000", 200),
                ("evil.example", 421),
                ("secateur.example.com.evil.example", 421),
            ]:
                assert ask(server, "GET", "/v1/jobs", key, Host=host).status_code == status, host
            refused = ask(server, "GET", "/v1/jobs", key, Host="evil.example")
            assert "SECATEUR_ALLOWED_HOSTS" in refused.json()["remedy"]
            # A probe addresses a container by its number.
            assert ask(server, "GET", "/healthz", Host="10.1.2.3:8000").status_code == 200


def test_the_document_names_the_scheme_and_each_scope(keyed: Served) -> None:
    document: dict[str, Any] = keyed.http.get("/openapi.json").json()
    (name, scheme), *rest = document["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"], rest) == ("http", "bearer", [])
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            if path.startswith("/v1"):
                scope = scope_for(verb.upper(), path)
                assert operation["security"] == [{name: [scope]}]
                assert {"401", "403"} <= set(operation["responses"])
                said = operation["responses"]["403"]["content"]["application/problem+json"]
                assert "scope-missing" in said["examples"]
            else:
                assert "security" not in operation
