"""Secrets of a deployment: made once, understood by every program that reads them."""

import configparser
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadRequest
from secateur.secret_files import SECRETS, ensure

DERIVED = {"broker/valkey.conf", "store/credentials", "store/seaweedfs.json"}


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_everything_is_made_once(tmp_path: Path) -> None:
    assert set(ensure(tmp_path)) == set(SECRETS) | DERIVED
    before = contents(tmp_path)
    assert set(before) == set(SECRETS) | DERIVED
    assert ensure(tmp_path) == []
    assert contents(tmp_path) == before


def test_no_two_deployments_share_a_secret(tmp_path: Path) -> None:
    ensure(tmp_path / "a")
    ensure(tmp_path / "b")
    for name in SECRETS:
        secret = (tmp_path / "a" / name).read_text()
        assert len(secret) >= 20
        assert secret != (tmp_path / "b" / name).read_text()


def test_they_are_for_the_owner_and_the_group(tmp_path: Path) -> None:
    ensure(tmp_path)
    for name in set(SECRETS) | DERIVED:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o440


def test_what_was_given_stays_and_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/access_key").write_text("AKIAMINE\n")
    written = ensure(tmp_path)
    assert "store/access_key" not in written
    assert (tmp_path / "store/access_key").read_text() == "AKIAMINE\n"
    parser = configparser.RawConfigParser()
    parser.read(tmp_path / "store/credentials")
    assert parser["default"]["aws_access_key_id"] == "AKIAMINE"


def test_a_changed_secret_is_passed_on(tmp_path: Path) -> None:
    ensure(tmp_path)
    (tmp_path / "broker/password").unlink()
    (tmp_path / "broker/password").write_text("another")
    assert ensure(tmp_path) == ["broker/valkey.conf"]
    assert (tmp_path / "broker/valkey.conf").read_text() == "requirepass another\n"


@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_every_reader_gets_the_same_secret(
    secret: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "store").mkdir()
    (folder / "store/secret_key").write_text(secret)
    if set(secret) & set("\"'`\\"):
        with pytest.raises(BadRequest):
            ensure(folder)
        return
    ensure(folder)
    parser = configparser.RawConfigParser()
    parser.read(folder / "store/credentials")
    assert parser["default"]["aws_secret_access_key"] == secret
    identity = json.loads((folder / "store/seaweedfs.json").read_text())["identities"][0]
    assert identity["credentials"][0]["secretKey"] == secret


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines\n", "wörter", 'a"b', "a\\b"])
def test_what_some_reader_would_misread_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker/password").write_text(text)
    with pytest.raises(BadRequest, match=r"broker/password holds no usable secret"):
        ensure(tmp_path)
    assert not (tmp_path / "broker/valkey.conf").exists()


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "database").write_text("a file where a folder should be")
    with pytest.raises(BadRequest, match=r"database.* cannot be used"):
        ensure(tmp_path)
