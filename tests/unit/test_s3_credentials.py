"""Credentials in a file may be replaced while a process runs."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import CredentialRetrievalError

from core.store import s3_credentials
from core.store.s3_credentials import RereadingSession
from tests.buckets import credentials


def write(file: Path, number: int) -> None:
    lines = [
        "[default]",
        f"aws_access_key_id = key-{number}",
        f"aws_secret_access_key = secret-{number}",
        f"aws_session_token = token-{number}",
    ]
    file.write_text("\n".join(lines))


def held(number: int) -> tuple[str, str, str]:
    return f"key-{number}", f"secret-{number}", f"token-{number}"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "credentials"
    with credentials(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(made))
        patch.setattr(s3_credentials, "REREAD_SECONDS", 0.05)
        yield made


def frozen(session: RereadingSession) -> tuple[str, str, str]:
    found: Any = session.get_credentials().get_frozen_credentials()
    return found.access_key, found.secret_key, found.token


def test_new_ones_are_found(file: Path) -> None:
    write(file, 1)
    session = RereadingSession()
    assert frozen(session) == held(1)
    write(file, 2)
    time.sleep(0.1)
    assert frozen(session) == held(2)


def test_a_file_that_is_being_written_changes_nothing_for_a_while(file: Path) -> None:
    write(file, 1)
    session = RereadingSession()
    assert frozen(session) == held(1)
    file.write_text("[default]\naws_access_key_id = key-2\n")
    time.sleep(0.1)
    assert frozen(session) == held(1)
    write(file, 2)
    assert frozen(session) == held(2)


def test_a_file_that_stays_away_is_an_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_credentials, "_TOLERATED_SECONDS", 0)
    write(file, 1)
    session = RereadingSession()
    assert frozen(session) == held(1)
    file.unlink()
    time.sleep(0.1)
    with pytest.raises(CredentialRetrievalError, match="names none any more"):
        frozen(session)


def test_those_of_the_environment_stay() -> None:
    with credentials():
        assert RereadingSession().get_credentials().method == "env"
