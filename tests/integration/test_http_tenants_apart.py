"""Every route has a rule that keeps tenants apart; a new one without a rule fails here.

What belongs to somebody else is answered as what was never there: the same status, the same bytes, the same
headers, the same questions to the database. Only ids and clocks may differ.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, event

from core.jobs.keys import NewKey
from tests.integration.test_http_keys import CLOSED, METRICS, OPEN, ROUTES, ask
from tests.served import NOW, Served, served

HOOK = {"url": "https://hooks.example.com/"}
DIGITS = "f" * 24

# Of something that has an owner: what is in the path, of theirs and of nobody.
OWNED = {
    "{job_id}": "job_{digits}",
    "{delivery_id}": "msg_{digits}_3",
    "{sweep_id}": "swp_{digits}",
    "{name:path}": "report/report.json",
    "{key_id}": "{key}",
}
# Lists and what they may hold: only one's own.
LISTS = {"GET /v1/jobs", "GET /v1/sweeps", "GET /v1/keys", "GET /v1/audit", "GET /v1/workers"}
# About the tenant of the key itself, which nothing in the request can name otherwise.
OWN = {
    *("POST /v1/jobs", "POST /v1/sweeps", "GET /v1/usage", "POST /v1/keys", "POST /v1/estimate"),
    *("POST /v1/webhooks/test", "POST /v1/webhooks/secret/rotate"),
    *("GET /v1/webhooks/secret", "POST /v1/webhooks/secret"),
}
# The same for everybody.
SHARED = {
    "GET /v1/methods",
    "GET /v1/families",
    "GET /v1/examples",
    "GET /v1/schemas/report",
}
# Names what has an owner in its query instead of its path.
NAMING = {"GET /v1/compare"}
# Refused to whoever is not the operator, whatever they ask about.
OPERATORS = {
    "GET /v1/tenants",
    "PUT /v1/tenants/{tenant}/quota",
    "DELETE /v1/tenants/{tenant}/quota",
}
# Pages are fixed files; what they show comes from the routes above.
PAGES = {
    "GET /",
    "GET /jobs/{job_id}",
    "GET /sweeps",
    "GET /sweeps/{sweep_id}",
    "GET /compare",
    "GET /docs",
}


def rule_of(method: str, path: str) -> str:
    name = f"{method} {path}"
    for rule, names in (
        ("list", LISTS),
        ("own", OWN),
        ("shared", SHARED),
        ("naming", NAMING),
        ("operator", OPERATORS),
        ("page", PAGES),
    ):
        if name in names:
            return rule
    if path in OPEN | {METRICS}:
        return "open"
    names_in_path = re.findall(r"\{[^}]*\}", path)
    if path.startswith("/v1/") and names_in_path and set(names_in_path) <= set(OWNED):
        return "owned"
    pytest.fail(f"{name} has no rule: say above what keeps tenants apart there")


NAMES = [(method, path) for method, path, _ in ROUTES]
OWNED_ROUTES = [(m, p) for m, p in NAMES if rule_of(m, p) == "owned"] if NAMES else []


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("apart"), operator_tenant="operator") as running:
        running.key(tenant="nobody")
        yield running


@pytest.mark.parametrize(("method", "path"), NAMES)
def test_every_route_has_a_rule(method: str, path: str) -> None:
    assert rule_of(method, path)


def test_a_route_without_a_rule_is_noticed() -> None:
    with pytest.raises(pytest.fail.Exception, match="has no rule"):
        rule_of("GET", "/v1/secrets")
    with pytest.raises(pytest.fail.Exception, match="has no rule"):
        rule_of("GET", "/v1/jobs/{job_id}/notes/{note_id}")


def test_rules_are_about_routes_there_are() -> None:
    assert {rule_of(method, path) for method, path in NAMES} >= {"list", "own", "owned", "operator"}
    assert len(OWNED_ROUTES) >= 12
    assert {path for _, path, _ in CLOSED} >= {path for _, path in OWNED_ROUTES}


def pointed(path: str, digits: str, key_id: str) -> str:
    for part, filling in OWNED.items():
        path = path.replace(part, filling.format(digits=digits, key=key_id))
    return path


def said(answer: httpx.Response, digits: str, key_id: str) -> tuple[int, str, dict[str, str]]:
    """Status, body and headers, without what names the request or the thing."""
    text = answer.text.replace(digits, DIGITS).replace(key_id, "key_" + DIGITS)
    apart = {"x-request-id", "date", "ratelimit"}
    headers = {name: value for name, value in answer.headers.items() if name not in apart}
    # Bodies are as long as the ids in them.
    headers["content-length"] = str(len(text)) if text else headers.get("content-length", "0")
    return answer.status_code, text, headers


@contextmanager
def questions() -> Iterator[list[str]]:
    """The statements that databases are asked meanwhile, without their values."""
    asked: list[str] = []

    def note(*given: Any) -> None:
        asked.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def theirs(server: Served) -> list[tuple[str, str]]:
    """Digits of jobs, and a key, of another tenant, in whatever state."""
    key_id = server.key(tenant="theirs").key.id
    done = server.succeeded({"report/report.json": b'{"secret": 1}'}, "theirs", webhook=HOOK)
    running = server.submit("theirs")
    server.claim(running)
    swept = server.sweep("theirs")
    owned = [done, running, server.submit("theirs"), swept]
    return [(each[4:], key_id) for each in owned]


@pytest.mark.parametrize(("method", "path"), OWNED_ROUTES)
def test_what_is_theirs_is_as_absent_as_what_never_was(
    keyed: Served, method: str, path: str
) -> None:
    mine = keyed.key(tenant="mine")
    heard = []
    for digits, key_id in [*theirs(keyed), (DIGITS, "key_000000000000")]:
        ask(
            keyed, "GET", "/v1/usage", mine
        )  # from here on the server remembers the key for seconds
        with questions() as asked:
            answer = ask(keyed, method, pointed(path, digits, key_id), mine)
        assert answer.status_code == 404
        heard.append((*said(answer, digits, key_id), asked))
        assert asked
    assert all(each == heard[-1] for each in heard)


def test_what_is_named_in_a_query_is_as_absent_if_it_is_theirs(keyed: Served) -> None:
    mine, own = keyed.key(tenant="mine"), keyed.succeeded({"report/report.json": b"{}"}, "mine")
    heard = []
    for digits, key_id in [*theirs(keyed), (DIGITS, "key_000000000000")]:
        path = f"/v1/compare?job={own}&job=job_{digits}"
        ask(keyed, "GET", "/v1/usage", mine)
        with questions() as asked:
            answer = ask(keyed, "GET", path, mine)
        assert answer.status_code == 404
        heard.append((*said(answer, digits, key_id), asked))
    assert all(each == heard[-1] for each in heard)


@pytest.mark.parametrize("name", sorted(LISTS))
def test_lists_hold_ones_own(keyed: Served, name: str) -> None:
    for digits, key_id in theirs(keyed):
        found = ask(keyed, "GET", name.removeprefix("GET "), keyed.key(tenant="mine"))
        assert found.status_code == 200
        assert digits not in found.text
        assert key_id not in found.text
        assert "theirs" not in found.text


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_is_shared_is_the_same_for_all(keyed: Served, name: str) -> None:
    answers = {
        ask(keyed, "GET", name.removeprefix("GET "), keyed.key(tenant=tenant)).text
        for tenant in ("mine", "theirs")
    }
    assert len(answers) == 1


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_the_operators_routes_say_nothing_of_who_there_is(keyed: Served, name: str) -> None:
    method, path = name.split()
    keyed.submit("theirs")
    mine: NewKey = keyed.key(tenant="mine")
    answers = [
        ask(keyed, method, path.replace("{tenant}", tenant), mine)
        for tenant in ("theirs", "somebody")
    ]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].text.replace("theirs", "somebody") == answers[1].text


def test_counts_are_ones_own(keyed: Served) -> None:
    keyed.submit("theirs")
    usage = ask(keyed, "GET", "/v1/usage", keyed.key(tenant="unused")).json()["usage"]
    assert usage == {"queued_jobs": 0, "running_jobs": 0, "stored_bytes": 0}


def test_the_time_of_a_deletion_tells_nothing_later(keyed: Served) -> None:
    """What was theirs and is deleted is as absent as before."""
    mine, job_id = keyed.key(tenant="mine"), keyed.succeeded({"a": b"b"}, "theirs")
    before = ask(keyed, "GET", f"/v1/jobs/{job_id}", mine)
    keyed.jobs.bury("theirs", job_id, NOW)
    assert ask(keyed, "GET", f"/v1/jobs/{job_id}", mine).text == before.text
