"""Signing in to the dashboard: the cookie, what it opens, and what other sites cannot do with it."""

import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest

from api.auth import COOKIE
from core.jobs.states import State
from tests.served import NOW, Served, served

PROXY = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("sessions")) as running:
        running.key(tenant="nobody")
        yield running


def sign_in(server: Served, key: str, **headers: str) -> httpx.Response:
    """An answer of its own; the server's own client keeps no cookie."""
    answer = httpx.post(f"{server.url}/login", json={"key": key}, headers=headers, trust_env=False)
    assert isinstance(answer, httpx.Response)
    return answer


def holding(key: str, **headers: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={key}", **headers}


def test_signing_in_gives_a_cookie_that_only_this_site_has(keyed: Served) -> None:
    key = keyed.key().text
    answer = sign_in(keyed, f" {key}\n")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["cache-control"] == "no-store"
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert cookie.value == key
    assert (cookie["httponly"], cookie["path"], cookie["secure"]) == (True, "/", "")
    assert cookie["samesite"].lower() == "strict"
    assert cookie["domain"] == cookie["max-age"] == cookie["expires"] == ""
    page = keyed.http.get("/", headers=holding(key))
    assert (page.status_code, page.headers["content-type"][:9]) == (200, "text/html")
    assert keyed.http.get("/v1/jobs", headers=holding(key)).status_code == 200


@pytest.mark.parametrize("key", ["", "sec_nothing", None, 7])
def test_a_wrong_key_gives_no_cookie(keyed: Served, key: object) -> None:
    answer = httpx.post(f"{keyed.url}/login", json={"key": key}, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["code"] in ("key-unknown", "key-missing")
    assert "set-cookie" not in answer.headers


def test_signing_out_takes_the_cookie_back(keyed: Served) -> None:
    key = keyed.key().text
    answer = keyed.http.post("/logout", headers=holding(key))
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/")


def test_the_cookie_ends_with_its_key(keyed: Served) -> None:
    new = keyed.key()
    keyed.keys.revoke(new.key.id, NOW)
    page = keyed.http.get("/jobs/job_x", headers=holding(new.text))
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/jobs/job_x")
    assert keyed.http.get("/v1/jobs", headers=holding(new.text)).json()["code"] == "key-revoked"


def test_a_session_says_whose_it_is_and_not_the_key(keyed: Served) -> None:
    new = keyed.key("jobs:read", tenant="search")
    session = keyed.http.get("/session", headers=holding(new.text))
    shown = {"tenant": "search", "name": "a test", "prefix": new.key.prefix}
    assert session.json() == {"demanded": True, "key": {**shown, "scopes": ["jobs:read"]}}
    assert session.headers["cache-control"] == "no-store"
    assert keyed.http.get("/session").json() == {"demanded": True, "key": None}


class TestOtherSites:
    """What a page elsewhere can make a signed-in browser send, and what comes of it."""

    @pytest.mark.parametrize(
        "headers",
        [
            {},  # no browser that keeps cookies is so silent
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        ],
    )
    def test_nothing_is_changed(self, keyed: Served, headers: dict[str, str]) -> None:
        key = keyed.key().text
        job_id = keyed.submit()
        answer = keyed.http.post(f"/v1/jobs/{job_id}/cancel", headers=holding(key, **headers))
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
        assert keyed.jobs.get("default", job_id).state is State.QUEUED

    @pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "{url}"}])
    def test_its_own_pages_may(self, keyed: Served, headers: dict[str, str]) -> None:
        sent = {name: value.format(url=keyed.url) for name, value in headers.items()}
        job_id = keyed.submit()
        url = f"/v1/jobs/{job_id}/cancel"
        assert keyed.http.post(url, headers=holding(keyed.key().text, **sent)).status_code == 202

    def test_a_program_need_not_say_where_it_comes_from(self, keyed: Served) -> None:
        headers = {"Authorization": f"Bearer {keyed.key().text}"}
        url = f"/v1/jobs/{keyed.submit()}/cancel"
        assert keyed.http.post(url, headers=headers).status_code == 202

    def test_the_header_counts_before_the_cookie(self, keyed: Served) -> None:
        mine, theirs = keyed.key(tenant="header").text, keyed.key(tenant="cookie").text
        headers = holding(theirs, Authorization=f"Bearer {mine}")
        assert keyed.http.get("/session", headers=headers).json()["key"]["tenant"] == "header"

    def test_nobody_is_signed_in_by_another_site(self, keyed: Served) -> None:
        answer = sign_in(keyed, keyed.key().text, Origin="https://evil.example")
        assert answer.json()["code"] == "cross-site"
        assert "set-cookie" not in answer.headers


class TestTheWayIn:
    @pytest.mark.parametrize("path", ["/", "/jobs/job_x", "/jobs/job%20x?a=1&b=2"])
    def test_pages_lead_to_it_and_it_back(self, keyed: Served, path: str) -> None:
        answer = keyed.http.get(path)
        assert answer.status_code == 303
        location = httpx.URL(answer.headers["location"])
        assert (location.path, location.host) == ("/login", "")
        assert httpx.URL(location.params["next"]).path == httpx.URL(path).path
        assert location.params["next"].startswith("/")

    def test_so_does_a_file_that_a_browser_was_sent_to(self, keyed: Served) -> None:
        url = f"/v1/jobs/{keyed.submit()}/report"
        link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        followed = keyed.http.get(url, headers={**link, "Sec-Fetch-Site": "cross-site"})
        assert followed.headers["location"] == f"/login?next={url}"
        assert keyed.http.get(url).status_code == 401
        posted = keyed.http.post(url.replace("report", "cancel"), headers=link)
        assert posted.status_code == 401
        scopeless = holding(keyed.key("jobs:write").text, **link)
        assert keyed.http.get(url, headers=scopeless).status_code == 403

    def test_the_page_itself(self, keyed: Served) -> None:
        page = keyed.http.get("/login?next=/jobs/job_x")
        assert page.status_code == 200
        assert "form-action 'none'" in page.headers["content-security-policy"]
        # Without its script the browser must not put the key into an address.
        assert '<form id="form" method="post">' in page.text
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
            assert keyed.http.get(asset).status_code == 200

    def test_there_is_none_without_keys(self, tmp_path: Path) -> None:
        with served(tmp_path) as server:
            page = server.http.get("/login")
            assert (page.status_code, page.headers["location"]) == (303, "/")
            assert server.http.get("/session").json() == {"demanded": False, "key": None}
            answer = sign_in(server, "sec_anything")
            assert answer.status_code == 204
            assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("trusted", "secure"),
    [("", False), ("127.0.0.1", True), ("10.0.0.0/8, 127.0.0.0/8", True), ("10.0.0.0/8", False)],
)
def test_behind_tls_the_cookie_is_secure_where_the_proxy_is_trusted(
    tmp_path: Path, trusted: str, secure: bool
) -> None:
    with served(tmp_path, trusted_proxies=trusted) as server:
        host = {"Host": "secateur.example.com", "Origin": "https://secateur.example.com"}
        answer = sign_in(server, server.key().text, **host, **PROXY)
        assert answer.status_code == 204
        assert bool(SimpleCookie(answer.headers["set-cookie"])[COOKIE]["secure"]) is secure
