"""`secateur keys`, and keys at the command line of those who were given one."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.jobs.credentials import id_of
from core.jobs.keys import KeyStore
from tests.commands import Run
from tests.served import Served, served


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("keyed")) as running:
        running.key(tenant="nobody")
        yield running


class TestKeys:
    def test_a_key_is_printed_alone_and_once(self, run: Run, keys: KeyStore) -> None:
        made = run("keys", "create", "--name", "Anna's laptop")
        text = made.out.strip()
        key = keys.find(text)
        assert (made.status, made.out) == (0, f"{text}\n")
        assert (key.tenant, key.scopes, key.expires_at) == (
            "default",
            ("jobs:read", "jobs:write"),
            None,
        )
        assert key.id in made.err
        assert text not in made.err
        for listed in (run("keys", "list"), run("keys", "list", "--json")):
            assert key.id in listed.out
            assert "Anna's laptop" in listed.out
            assert text.rpartition("_")[2] not in listed.out

    def test_what_is_asked_for_is_in_the_key(self, run: Run, keys: KeyStore) -> None:
        options = "--tenant search --name CI --scope jobs:write --scope admin --expires-days 30"
        made = run("keys", "create", *options.split(), "--json").json()
        key = keys.find(made["key"])
        assert made["id"] == key.id == id_of(made["key"])
        assert (key.tenant, key.name, key.scopes) == ("search", "CI", ("jobs:write", "admin"))
        assert key.expires_at is not None
        days = key.expires_at - datetime.now(UTC)
        assert timedelta(days=29.9) < days <= timedelta(days=30)

    def test_a_revoked_key_stays_in_the_list(self, run: Run, keys: KeyStore) -> None:
        made = run("keys", "create", "--name", "n", "--json").json()
        assert run("keys", "revoke", made["id"]).out.startswith(f"{made['id']} revoked 20")
        assert run("keys", "revoke", made["id"], "--json").json()["revoked_at"] is not None
        assert "revoked" in run("keys", "list").out

    @pytest.mark.parametrize(
        ("arguments", "status", "said"),
        [
            (["keys", "create"], 2, "--name"),
            (["keys", "create", "--name", "n", "--tenant", "A B"], 2, "tenant: "),
            (["keys", "create", "--name", ""], 2, "name: "),
            (["keys", "create", "--name", "n", "--scope", "all"], 2, "jobs:read"),
            (["keys", "create", "--name", "n", "--expires-days", "0"], 2, "expires-days"),
            (["keys", "revoke", "key_x"], 1, "secateur keys list"),
            (["keys"], 2, ""),
        ],
    )
    def test_refusals(
        self, run: Run, keys: KeyStore, arguments: list[str], status: int, said: str
    ) -> None:
        ran = run(*arguments)
        assert ran.status == status
        assert said in ran.err
        assert not keys.ever_had_any()

    @pytest.mark.parametrize("verb", [["keys", "list"], ["init"]])
    def test_without_a_database_the_setting_is_named(
        self, run: Run, verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        ran = run(*verb)
        assert ran.status == 2
        assert "SECATEUR_DATABASE_URL is not set" in ran.err


class TestClients:
    @pytest.fixture(autouse=True)
    def environment(self, keyed: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECATEUR_URL", keyed.url)
        monkeypatch.delenv("SECATEUR_API_KEY", raising=False)

    def test_every_verb_has_the_key_from_the_environment(
        self, run: Run, keyed: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = str(keyed.folder / "models" / "a")
        (keyed.folder / "models" / "a").mkdir(parents=True, exist_ok=True)
        job_id = keyed.succeeded({"report/report.json": b"{}"})
        verbs = [
            ("submit", model, "--sparsity", "0.5"),
            ("list",),
            ("status", job_id),
            ("watch", job_id),
            ("download", job_id, "--out", str(tmp_path / "out")),
        ]
        for verb in verbs:
            refused = run(*verb)
            assert refused.status == 5, verb
            assert "SECATEUR_API_KEY" in refused.err
        monkeypatch.setenv("SECATEUR_API_KEY", keyed.key().text)
        for verb in verbs:
            assert run(*verb).status == 0, verb
        assert run("cancel", job_id).status == 1  # it has ended, and the key was good

    def test_or_from_a_file_which_counts_more(
        self, run: Run, keyed: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "key"
        file.write_text(keyed.key().text + "\n")
        monkeypatch.setenv("SECATEUR_API_KEY", "sec_of_another")
        assert run("list", "--api-key-file", str(file)).status == 0
        monkeypatch.setenv("SECATEUR_API_KEY_FILE", str(file))
        assert run("list").status == 0

    @pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a password"])
    def test_a_file_without_a_key_is_named_or_told_off(
        self, run: Run, tmp_path: Path, content: bytes | None
    ) -> None:
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)
        ran = run("list", "--api-key-file", str(file))
        assert ran.status == 2
        assert "SECATEUR_API_KEY" in ran.err
        assert "a password" not in ran.err

    def test_a_scope_that_lacks_is_said(
        self, run: Run, keyed: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SECATEUR_API_KEY", keyed.key("jobs:read").text)
        ran = run("cancel", keyed.submit())
        assert ran.status == 5
        assert "--scope jobs:write" in ran.err


class TestLeavingLoopback:
    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
    def test_not_without_a_key(
        self, run: Run, deployment: Path, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        monkeypatch.setenv("SECATEUR_BROKER_URL", "redis://127.0.0.1:1/0")
        data = str(deployment / "data")
        for verb in (["api"], ["serve", "--data", data]):
            ran = run(*verb, "--host", host, "--port", "0")
            assert (ran.status, ran.out) == (2, "")
            assert "secateur keys create" in ran.err
            assert host in ran.err
