"""Settings from variables, files and both; passwords that come apart from their URLs."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from core.errors import BadRequest
from core.passwords import with_password
from core.settings import Settings
from secateur.embedded import _child_environment

AWKWARD = "p@ss:w/o?r#d%"
QUOTED = "p%40ss%3Aw%2Fo%3Fr%23d%25"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SECATEUR_{name.upper()}", raising=False)
        monkeypatch.delenv(f"SECATEUR_{name.upper()}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str | bytes) -> str:
    path = tmp_path / "secret"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_field_can_come_from_a_file(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_DATABASE_URL_FILE", write(tmp_path, f"sqlite:////a b{end}"))
    assert Settings().database_url == "sqlite:////a b"


def test_only_one_newline_is_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_BROKER_PASSWORD_FILE", write(tmp_path, " a \n\n"))
    assert Settings().broker_password == SecretStr(" a \n")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("lease_seconds", "12.5\n", 12.5),
        ("model_roots", "/a:/b\n", (Path("/a"), Path("/b"))),
        ("max_attempts", "7\n", 7),
    ],
)
def test_every_kind_of_field_can(
    field: str, text: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SECATEUR_{field.upper()}_FILE", write(tmp_path, text))
    assert getattr(Settings(), field) == value


def test_a_file_wins_over_the_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secateur.toml").write_text('device = "cuda"\nmax_attempts = 5\n')
    monkeypatch.setenv("SECATEUR_DEVICE_FILE", write(tmp_path, "cpu"))
    settings = Settings()
    assert (settings.device, settings.max_attempts) == ("cpu", 5)


def test_a_variable_and_a_file_are_one_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_DEVICE", "cuda")
    monkeypatch.setenv("SECATEUR_DEVICE_FILE", write(tmp_path, "cpu"))
    with pytest.raises(BadRequest, match="SECATEUR_DEVICE and SECATEUR_DEVICE_FILE"):
        Settings()


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_DEVICE", "")
    monkeypatch.setenv("SECATEUR_DEVICE_FILE", write(tmp_path, "cpu"))
    monkeypatch.setenv("SECATEUR_LOG_LEVEL_FILE", "")
    assert (Settings().device, Settings().log_level) == ("cpu", "INFO")


@pytest.mark.parametrize("kind", ["absent", "folder", "not text"])
def test_a_file_that_cannot_be_read_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = {
        "absent": str(tmp_path / "absent"),
        "folder": str(tmp_path),
        "not text": write(tmp_path, b"\xff\xfesecret"),
    }[kind]
    monkeypatch.setenv("SECATEUR_BROKER_PASSWORD_FILE", path)
    with pytest.raises(BadRequest) as raised:
        Settings()
    assert "SECATEUR_BROKER_PASSWORD_FILE" in str(raised.value)
    assert path in str(raised.value)
    assert "secret" not in str(raised.value).replace(path, "")


@pytest.mark.parametrize(
    ("url", "joined"),
    [
        ("redis://h:6379/0", f"redis://:{QUOTED}@h:6379/0"),
        ("rediss://me@h/0?x=1", f"rediss://me:{QUOTED}@h/0?x=1"),
        ("postgresql://me@h:5432/db", f"postgresql://me:{QUOTED}@h:5432/db"),
        ("postgresql://me@[::1]:5432/db", f"postgresql://me:{QUOTED}@[::1]:5432/db"),
    ],
)
def test_a_password_goes_into_its_url(url: str, joined: str) -> None:
    assert with_password(url, SecretStr(AWKWARD), "DATABASE") == joined


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://me:other@h/db", "holds one too"),
        ("redis://:@h/0", "holds one too"),
        ("sqlite:////file.db", "names no host"),
        ("redis://[::1/0", "cannot be parsed"),
    ],
)
def test_a_password_without_a_place_is_refused(url: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why) as raised:
        with_password(url, SecretStr(AWKWARD), "DATABASE")
    assert AWKWARD not in str(raised.value)
    assert "other" not in str(raised.value)
    assert "SECATEUR_DATABASE_PASSWORD" in str(raised.value)


def test_passwords_end_up_in_the_urls_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_DATABASE_URL", "postgresql://me@h/db")
    monkeypatch.setenv("SECATEUR_DATABASE_PASSWORD_FILE", write(tmp_path, AWKWARD + "\n"))
    monkeypatch.setenv("SECATEUR_BROKER_URL", "redis://h/0")
    monkeypatch.setenv("SECATEUR_BROKER_PASSWORD", AWKWARD)
    settings = Settings()
    assert settings.database_url == f"postgresql://me:{QUOTED}@h/db"
    assert settings.broker_url == f"redis://:{QUOTED}@h/0"
    assert (settings.database_password, settings.broker_password) == (None, None)
    for text in (repr(settings), str(settings)):
        assert AWKWARD not in text
        assert QUOTED not in text


def test_children_of_serve_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_BROKER_URL", "redis://h/0")
    monkeypatch.setenv("SECATEUR_BROKER_PASSWORD_FILE", write(tmp_path, AWKWARD))
    monkeypatch.setenv("SECATEUR_METRICS_TOKEN", "a-token")
    told = _child_environment(Settings())
    assert told["SECATEUR_METRICS_TOKEN"] == "a-token"
    assert told["SECATEUR_BROKER_URL"] == f"redis://:{QUOTED}@h/0"
    assert not [name for name in told if "PASSWORD" in name]
