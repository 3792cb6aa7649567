"""Keys, tenants and the audit log over HTTP: what an administrator may, and how far it sees."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core.jobs.keys import NewKey
from tests.served import NOW, Served, served


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose operator is tenant `ops`."""
    quotas: dict[str, Any] = {"default": {"queued_jobs": 100}}
    folder = tmp_path_factory.mktemp("admin")
    with served(folder, operator_tenant="ops", quotas=quotas) as running:
        (folder / "models" / "a").mkdir(parents=True)
        running.key(tenant="nobody")
        yield running


class Admin:
    """Requests with one key."""

    def __init__(self, server: Served, key: NewKey) -> None:
        self.server, self.key = server, key

    def __call__(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key.text}"}
        more: dict[str, Any] = {} if body is None else {"json": body}
        return self.server.http.request(method, path, headers=headers, **more)

    def told(self, query: str = "") -> list[tuple[str, str | None]]:
        page = self("GET", f"/v1/audit?limit=200{query}").json()
        return [(line["action"], line["target"]) for line in page["data"]]


def admin(server: Served, tenant: str) -> Admin:
    return Admin(server, server.key("admin", tenant=tenant))


@pytest.fixture
def ops(keyed: Served) -> Admin:
    return admin(keyed, "ops")


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


class TestKeys:
    def test_a_key_is_made_shown_once_and_opens(self, keyed: Served) -> None:
        ask = admin(keyed, "makes")
        made = ask("POST", "/v1/keys", {"name": "CI", "expires_days": 3})
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        body = made.json()
        assert (body["tenant"], body["scopes"]) == ("makes", ["jobs:read", "jobs:write"])
        found = keyed.keys.find(body["key"])
        assert found.id == body["id"]
        assert found.expires_at is not None
        listed = ask("GET", "/v1/keys")
        assert [key["id"] for key in listed.json()["data"]][:1] == [body["id"]]
        assert body["key"].rpartition("_")[2] not in listed.text
        headers = {"Authorization": f"Bearer {body['key']}"}
        assert keyed.http.get("/v1/jobs", headers=headers).status_code == 200

    def test_a_key_is_revoked_and_the_last_admin_only_by_force(self, keyed: Served) -> None:
        ask = admin(keyed, "ends")
        other = ask("POST", "/v1/keys", {"name": "n", "scopes": ["jobs:read"]}).json()["id"]
        for _ in range(2):
            gone = ask("DELETE", f"/v1/keys/{other}")
            assert (gone.status_code, gone.json()["id"]) == (200, other)
            assert gone.json()["revoked_at"] is not None
        mine = f"/v1/keys/{ask.key.key.id}"
        assert code(ask("DELETE", mine)) == (409, "last-admin-key")
        assert ask("GET", "/v1/keys").status_code == 200
        assert ask("DELETE", f"{mine}?force=true").status_code == 200
        assert keyed.keys.list("ends")[-1].revoked_at is not None

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "n\0"},
            {"name": 7},
            {"name": "n", "scopes": []},
            {"name": "n", "scopes": ["all"]},
            {"name": "n", "expires_days": 0},
            {"name": "n", "expires_days": 10**30},
            {"name": "n", "key": "sec_mine"},
        ],
    )
    def test_what_no_key_can_be_is_refused(self, keyed: Served, body: object) -> None:
        assert code(admin(keyed, "odd")("POST", "/v1/keys", body)) == (422, "invalid-spec")

    @pytest.mark.parametrize("key_id", ["key_000000000000", "x", "%00", "a%0ab", "é" * 300])
    def test_one_that_is_not_there_is_not_found(self, keyed: Served, key_id: str) -> None:
        ask = admin(keyed, "odd")
        assert code(ask("DELETE", f"/v1/keys/{key_id}")) == (404, "key-not-found")

    def test_without_keys_the_first_one_is_not_made_here(self, tmp_path: Any) -> None:
        with served(tmp_path) as server:
            made = server.http.post("/v1/keys", json={"name": "mine"})
            assert code(made) == (409, "no-keys-yet")
            assert server.http.get("/v1/keys").json() == {"data": []}
            assert server.http.get("/v1/tenants").json() == {"data": []}
            assert server.http.get("/v1/jobs").status_code == 200


class TestTheOperator:
    def test_it_makes_and_ends_keys_of_any_tenant(self, keyed: Served, ops: Admin) -> None:
        made = ops("POST", "/v1/keys", {"name": "n", "tenant": "new", "scopes": ["admin"]}).json()
        assert made["tenant"] == "new"
        assert [k["id"] for k in ops("GET", "/v1/keys?tenant=new").json()["data"]] == [made["id"]]
        assert {"new", "ops", "nobody"} <= {
            key["tenant"] for key in ops("GET", "/v1/keys").json()["data"]
        }
        assert ops("DELETE", f"/v1/keys/{made['id']}?force=true").status_code == 200

    def test_it_sets_quotas_which_count_at_once(self, keyed: Served, ops: Admin) -> None:
        ask = admin(keyed, "grows")
        assert ask("GET", "/v1/usage").json()["quota"]["queued_jobs"] == 100
        url = "/v1/tenants/grows/quota"
        given = ops("PUT", url, {"queued_jobs": 1, "stored_bytes": 5})
        assert given.json()["quota"]["queued_jobs"] == 1
        assert ask("GET", "/v1/usage").json() == given.json()
        assert ask("POST", "/v1/jobs", keyed.spec()).status_code == 202
        assert code(ask("POST", "/v1/jobs", keyed.spec())) == (429, "quota-queued-jobs")
        assert ask("GET", "/v1/usage").json()["usage"]["queued_jobs"] == 1
        assert ops("DELETE", url).json()["quota"]["queued_jobs"] == 100
        assert ask("POST", "/v1/jobs", keyed.spec()).status_code == 202
        assert ops.told("&target=grows") == [("quota.clear", "grows"), ("quota.set", "grows")]

    @pytest.mark.parametrize("body", [{"queued_jobs": -1}, {"jobs": 1}, {"job_flops": "many"}])
    def test_a_quota_that_cannot_be_meant_changes_nothing(self, ops: Admin, body: object) -> None:
        assert code(ops("PUT", "/v1/tenants/steady/quota", body)) == (422, "invalid-spec")
        assert ops.told("&target=steady") == []

    @pytest.mark.parametrize("name", ["A", "a%00", "a%20b", "-a", "a" * 65])
    def test_what_no_tenant_can_be_called_has_none(self, ops: Admin, name: str) -> None:
        assert code(ops("PUT", f"/v1/tenants/{name}/quota", {})) == (422, "invalid-spec")

    def test_it_lists_tenants_with_what_they_have(self, keyed: Served, ops: Admin) -> None:
        keyed.submit("listed")
        found = {each["tenant"]: each for each in ops("GET", "/v1/tenants").json()["data"]}
        assert found["listed"]["usage"]["queued_jobs"] == 1
        assert list(found) == sorted(found)


class TestTwoTenants:
    """An administrator of one tenant learns and changes nothing of another, nor that it exists."""

    ABSENT = "nobody-ever"

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/v1/keys?tenant={}", None),
            ("GET", "/v1/audit?tenant={}", None),
            ("POST", "/v1/keys", {"name": "n", "tenant": "{}"}),
            ("PUT", "/v1/tenants/{}/quota", {"queued_jobs": 1}),
            ("DELETE", "/v1/tenants/{}/quota", None),
            ("GET", "/v1/tenants", None),
        ],
    )
    def test_asking_for_another_is_refused_alike(
        self, keyed: Served, method: str, path: str, body: dict[str, Any] | None
    ) -> None:
        keyed.key(tenant="theirs")
        ask = admin(keyed, "ours")
        before = {key.id: key.revoked_at for key in keyed.keys.list()}

        def answer(tenant: str) -> str:
            sent = body and {k: tenant if v == "{}" else v for k, v in body.items()}
            given = ask(method, path.format(tenant), sent)
            assert code(given) == (403, "operator-only")
            return given.text

        assert answer("theirs") == answer(self.ABSENT)
        assert {key.id: key.revoked_at for key in keyed.keys.list()} == before

    def test_their_keys_are_not_found(self, keyed: Served) -> None:
        theirs = keyed.key(tenant="theirs").key
        ask = admin(keyed, "ours")
        answers = [
            ask("DELETE", f"/v1/keys/{key_id}?force=true").text.replace(key_id, "")
            for key_id in (theirs.id, "key_ffffffffffff")
        ]
        assert answers[0] == answers[1]
        listed = ask("GET", "/v1/keys").json()["data"]
        assert {key["tenant"] for key in listed} == {"ours"}
        assert theirs in keyed.keys.list("theirs")  # as it was

    def test_usage_is_ones_own(self, keyed: Served) -> None:
        keyed.submit("theirs")
        found = admin(keyed, "ours2")("GET", "/v1/usage").json()
        assert (found["tenant"], found["usage"]["queued_jobs"]) == ("ours2", 0)
        assert code(admin(keyed, "ours2")("GET", "/v1/usage?tenant=theirs"))[0] == 422

    def test_the_log_is_ones_own_and_cursors_lead_nowhere_else(
        self, keyed: Served, ops: Admin
    ) -> None:
        one, two = admin(keyed, "left"), admin(keyed, "right")
        for ask in (one, two, one, two):
            assert ask("POST", "/v1/jobs", keyed.spec()).status_code == 202
        first = one("GET", "/v1/audit?limit=1").json()
        assert first["has_more"]
        assert {line["tenant"] for line in first["data"]} == {"left"}
        rest = two("GET", f"/v1/audit?after={first['next']}").json()["data"]
        assert {line["tenant"] for line in rest} <= {"right"}
        seen = {line["tenant"] for line in ops("GET", "/v1/audit?limit=200").json()["data"]}
        assert {"left", "right"} <= seen
        assert [a for a, _ in ops.told("&tenant=left")] == ["job.submit"] * 2

    def test_a_key_for_less_reads_no_log(self, keyed: Served) -> None:
        ask = Admin(keyed, keyed.key("jobs:read", "jobs:write", tenant="ours"))
        for path in ("/v1/audit", "/v1/keys", "/v1/tenants"):
            assert code(ask("GET", path)) == (403, "scope-missing")
        assert ask("GET", "/v1/usage").status_code == 200


class TestAudit:
    def test_deeds_over_http_are_told_with_who_and_where(self, keyed: Served) -> None:
        ask = admin(keyed, "does")
        job = ask("POST", "/v1/jobs", keyed.spec()).json()["id"]
        assert ask("POST", f"/v1/jobs/{job}/cancel").status_code == 202
        key = ask("POST", "/v1/keys", {"name": "n"}).json()
        ask("DELETE", f"/v1/keys/{key['id']}")
        keyed.http.post("/login", json={"key": ask.key.text})
        page = ask("GET", "/v1/audit")
        told = [(line["action"], line["target"]) for line in reversed(page.json()["data"])]
        assert told == [
            ("job.submit", job),
            ("job.cancel", job),
            ("key.create", key["id"]),
            ("key.revoke", key["id"]),
            ("login", ask.key.key.id),
        ]
        assert {line["key_id"] for line in page.json()["data"]} == {ask.key.key.id}
        assert {line["address"] for line in page.json()["data"]} == {"127.0.0.1"}
        assert key["key"].rpartition("_")[2] not in page.text
        tag = page.headers["etag"]
        headers = {"Authorization": f"Bearer {ask.key.text}", "If-None-Match": tag}
        assert keyed.http.get("/v1/audit", headers=headers).status_code == 304

    def test_filters(self, keyed: Served) -> None:
        ask = admin(keyed, "filters")
        job = ask("POST", "/v1/jobs", keyed.spec()).json()["id"]
        ask("POST", f"/v1/jobs/{job}/cancel")
        assert ask.told("&action=job.cancel") == [("job.cancel", job)]
        assert len(ask.told(f"&target={job}&key_id={ask.key.key.id}&outcome=done")) == 2
        assert ask.told("&since=2999-01-01T00:00:00Z") == []
        assert len(ask.told("&until=2999-01-01T00:00:00%2B02:00")) == 2

    @pytest.mark.parametrize(
        "query",
        [
            "since=yesterday",
            "since=2026-01-01T00:00:00",  # of which zone?
            "since=0001-01-01T00:00:00%2B23:00",
            "until=9999-12-31T23:59:59-23:00",
            "target=%00",
            "action=%00",
            "limit=0",
            "after=x",
            "tenant=%00",
            "nonsense=1",
        ],
    )
    def test_odd_questions_are_refused(self, keyed: Served, ops: Admin, query: str) -> None:
        assert code(ops("GET", f"/v1/audit?{query}")) == (422, "invalid-spec")

    def test_times_are_when_it_was_done(self, keyed: Served, ops: Admin) -> None:
        ops("POST", "/v1/keys", {"name": "n", "tenant": "timed"})
        line = ops("GET", "/v1/audit?action=key.create&limit=1").json()["data"][0]
        assert line["at"] > f"{NOW:%Y}"
        assert line["detail"] == {"tenant": "timed", "scopes": "jobs:read jobs:write"}
