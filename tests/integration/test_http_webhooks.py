"""Webhooks over HTTP: submitting with one, deliveries, redelivery, secrets, tests; and two tenants."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core.jobs.keys import NewKey
from tests.served import Served, served

URL = "https://hooks.example.com/a"
HOOK = {"webhook": {"url": URL, "events": ["running", "succeeded"]}}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("keyed")
    (folder / "models" / "a").mkdir(parents=True)
    with served(folder, webhook_allow=("127.0.0.1", "receiver")) as running:
        running.key("jobs:read", tenant="nobody")
        yield running


def ask(keyed: Served, key: NewKey, method: str, path: str, json: object = None) -> httpx.Response:
    return keyed.http.request(
        method, path, headers={"Authorization": f"Bearer {key.text}"}, json=json
    )


def deliveries(keyed: Served, key: NewKey, job_id: str) -> list[dict[str, Any]]:
    answer = ask(keyed, key, "GET", f"/v1/jobs/{job_id}/deliveries")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


class TestSubmit:
    @pytest.mark.parametrize(
        "url", [URL, "http://127.0.0.1:9000/x", "http://receiver/", "https://8.8.8.8/"]
    )
    def test_a_job_may_have_one(self, keyed: Served, url: str) -> None:
        key = keyed.key()
        spec = keyed.spec(webhook={"url": url})
        posted = ask(keyed, key, "POST", "/v1/jobs", spec)
        assert posted.status_code == 202, posted.text
        assert posted.json()["spec"]["webhook"] == {
            "url": url, "events": ["succeeded", "failed", "cancelled"],
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("http://hooks.example.com/", "webhook-refused"),
            ("https://127.0.0.2/", "webhook-refused"),
            ("https://169.254.169.254/latest", "webhook-refused"),
            ("https://[::ffff:10.0.0.1]/", "webhook-refused"),
            ("https://localhost/", "webhook-refused"),
            ("https://user:hunter2@hooks.example.com/", "invalid-spec"),
            ("https://hooks.example.com:25/", "invalid-spec"),
            ("https://0x7f000001/", "invalid-spec"),
            ("gopher://hooks.example.com/", "invalid-spec"),
            ("https://[", "invalid-spec"),
            ("", "invalid-spec"),
        ],
    )
    def test_but_not_one_that_leads_inside(self, keyed: Served, url: str, code: str) -> None:
        job = ask(keyed, keyed.key(), "POST", "/v1/jobs", keyed.spec(webhook={"url": url}))
        trial = ask(keyed, keyed.key(), "POST", "/v1/webhooks/test", {"url": url})
        assert (job.status_code, job.json()["code"]) == (422, code)
        assert (trial.status_code, trial.json()["code"]) == (422, "webhook-refused")
        assert "hunter2" not in job.text + trial.text


class TestDeliveries:
    def test_a_job_s_deliveries_are_listed(self, keyed: Served) -> None:
        key = keyed.key()
        job_id = keyed.succeeded({"report/report.json": b"{}"}, **HOOK)
        first, second = deliveries(keyed, key, job_id)
        assert [each["event"] for each in (first, second)] == ["job.running", "job.succeeded"]
        assert (first["state"], first["attempts"], first["log"]) == ("pending", 0, [])
        assert "body" not in first
        page = ask(keyed, key, "GET", f"/v1/jobs/{job_id}/deliveries?limit=1").json()
        assert (page["data"], page["has_more"]) == ([first], True)
        rest = ask(keyed, key, "GET", f"/v1/jobs/{job_id}/deliveries?after={page['next']}").json()
        assert (rest["data"], rest["has_more"], rest["next"]) == ([second], False, None)

    def test_each_can_be_read_with_an_etag(self, keyed: Served) -> None:
        key = keyed.key()
        job_id = keyed.succeeded({"report/report.json": b"{}"}, **HOOK)
        [first, _] = deliveries(keyed, key, job_id)
        answer = ask(keyed, key, "GET", f"/v1/webhooks/deliveries/{first['id']}")
        assert answer.json() == first
        headers = {
            "Authorization": f"Bearer {key.text}", "If-None-Match": answer.headers["etag"],
        }  # fmt: skip
        again = keyed.http.get(f"/v1/webhooks/deliveries/{first['id']}", headers=headers)
        assert again.status_code == 304

    def test_redelivery_queues_it_again(self, keyed: Served) -> None:
        key = keyed.key()
        job_id = keyed.succeeded({"report/report.json": b"{}"}, **HOOK)
        [first, _] = deliveries(keyed, key, job_id)
        again = ask(keyed, key, "POST", f"/v1/jobs/{job_id}/deliveries/{first['id']}/redeliver")
        assert again.status_code == 202
        assert (again.json()["id"], again.json()["state"]) == (first["id"], "pending")

    @pytest.mark.parametrize(
        "delivery_id",
        ["msg_test_" + "0" * 24, "msg_x", "x" * 300, "msg_%00", "msg_" + "f" * 24 + "_1"],
    )
    def test_what_is_not_there_is_404(self, keyed: Served, delivery_id: str) -> None:
        key, job_id = keyed.key(), keyed.submit(**HOOK)
        for method, path in [
            ("GET", f"/v1/webhooks/deliveries/{delivery_id}"),
            ("POST", f"/v1/jobs/{job_id}/deliveries/{delivery_id}/redeliver"),
        ]:
            answer = ask(keyed, key, method, path)
            assert (answer.status_code, answer.json()["code"]) == (404, "delivery-not-found")

    def test_a_job_that_has_none_has_an_empty_list(self, keyed: Served) -> None:
        assert deliveries(keyed, keyed.key(), keyed.submit()) == []

    def test_an_odd_cursor_is_refused(self, keyed: Served) -> None:
        path = f"/v1/jobs/{keyed.submit()}/deliveries"
        for query in ("after=-1", "after=99999999999999999999", "after=x", "limit=0", "x=1"):
            assert ask(keyed, keyed.key(), "GET", f"{path}?{query}").status_code == 422


class TestTrial:
    def test_a_test_message_is_queued(self, keyed: Served) -> None:
        key = keyed.key()
        sent = ask(keyed, key, "POST", "/v1/webhooks/test", {"url": URL})
        assert sent.status_code == 202
        found = ask(keyed, key, "GET", sent.headers["location"]).json()
        assert found == sent.json()
        assert (found["job_id"], found["event"]) == (None, "webhook.test")

    @pytest.mark.parametrize(
        "body", [{}, {"url": 1}, {"url": URL, "x": 1}, {"url": None}, {"url": {"a": 1}}]
    )
    def test_a_body_that_says_something_else_is_refused(
        self, keyed: Served, body: dict[str, Any]
    ) -> None:
        answer = ask(keyed, keyed.key(), "POST", "/v1/webhooks/test", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-spec")


class TestSecret:
    def test_who_may_write_is_shown_it_and_who_may_read_knows_of_it(self, keyed: Served) -> None:
        writer, reader = (keyed.key(scope, tenant="s1") for scope in ("jobs:write", "jobs:read"))
        before = ask(keyed, reader, "GET", "/v1/webhooks/secret").json()
        assert before == {"fingerprint": None, "since": None, "previous": []}
        shown = ask(keyed, writer, "POST", "/v1/webhooks/secret")
        assert shown.headers["cache-control"] == "no-store"
        assert shown.json()["secret"].startswith("whsec_")
        assert ask(keyed, writer, "POST", "/v1/webhooks/secret").json() == shown.json()
        known = ask(keyed, reader, "GET", "/v1/webhooks/secret")
        assert known.json()["fingerprint"] == shown.json()["fingerprint"]
        assert shown.json()["secret"] not in known.text
        for path in ("/v1/webhooks/secret", "/v1/webhooks/secret/rotate"):
            assert ask(keyed, reader, "POST", path).status_code == 403

    def test_rotation_shows_the_new_one_and_names_the_old(self, keyed: Served) -> None:
        key = keyed.key(tenant="s2")
        old = ask(keyed, key, "POST", "/v1/webhooks/secret").json()
        new = ask(keyed, key, "POST", "/v1/webhooks/secret/rotate")
        assert new.headers["cache-control"] == "no-store"
        assert new.json()["secret"] != old["secret"]
        assert [each["fingerprint"] for each in new.json()["previous"]] == [old["fingerprint"]]
        assert old["secret"] not in new.text

    def test_a_fifth_rotation_in_a_day_is_a_conflict(self, keyed: Served) -> None:
        key = keyed.key(tenant="s3")
        statuses = [
            ask(keyed, key, "POST", "/v1/webhooks/secret/rotate").status_code for _ in range(6)
        ]
        assert statuses == [200] * 5 + [409]


class TestTwoTenants:
    def test_neither_finds_the_other_s(self, keyed: Served) -> None:
        mine = keyed.key(tenant="mine")
        theirs = keyed.key(tenant="theirs")
        job_id = keyed.succeeded({"report/report.json": b"{}"}, "theirs", **HOOK)
        [first, _] = deliveries(keyed, theirs, job_id)
        trial = ask(keyed, theirs, "POST", "/v1/webhooks/test", {"url": URL}).json()
        absent = "msg_test_" + "f" * 24
        missing = ask(keyed, mine, "GET", f"/v1/webhooks/deliveries/{absent}")
        for each in (first["id"], trial["id"]):
            answer = ask(keyed, mine, "GET", f"/v1/webhooks/deliveries/{each}")
            assert answer.status_code == 404
            assert answer.text.replace(each, absent) == missing.text
        own = keyed.submit("mine", **HOOK)
        stolen = f"/v1/jobs/{own}/deliveries/{first['id']}/redeliver"
        assert ask(keyed, mine, "POST", stolen).status_code == 404
        assert deliveries(keyed, theirs, job_id)[0] == first

    def test_secrets_are_each_one_s_own(self, keyed: Served) -> None:
        left, right = (keyed.key(tenant=tenant) for tenant in ("left", "right"))
        shown = [ask(keyed, key, "POST", "/v1/webhooks/secret").json() for key in (left, right)]
        assert shown[0]["secret"] != shown[1]["secret"]
        ask(keyed, left, "POST", "/v1/webhooks/secret/rotate")
        assert ask(keyed, right, "POST", "/v1/webhooks/secret").json() == shown[1]
