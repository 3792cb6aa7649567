"""What every database must do for the key store."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text as sql

from core.errors import InvalidSpec
from core.jobs.credentials import SCOPES, Entropy, Scope, check_usable, digest, id_of, new_text
from core.jobs.database import Database
from core.jobs.keys import KeyStore, NewKey
from core.jobs.migrate import migrate
from core.key_errors import KeyExpired, KeyNotFound, KeyRevoked, KeyUnknown

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def entropy(seed: int) -> Entropy:
    return Random(seed).randbytes


@pytest.fixture
def keys(database_url: str) -> Iterator[KeyStore]:
    migrate(database_url)
    with KeyStore.open(database_url) as store:
        yield store


def made(keys: KeyStore, seed: int = 1, *scopes: Scope, now: datetime = NOW) -> NewKey:
    return keys.create("search", "a laptop", scopes or ("jobs:read",), now, entropy(seed))


def test_a_key_is_found_by_its_text_alone(keys: KeyStore) -> None:
    expires = later(60)
    new = keys.create("search", "CI", ["admin", "jobs:read"], NOW, entropy(1), expires_at=expires)
    found = keys.find(new.text)
    assert found == new.key
    assert (found.tenant, found.name, found.scopes) == ("search", "CI", ("jobs:read", "admin"))
    assert (found.created_at, found.expires_at) == (NOW, expires)
    assert found.revoked_at is found.last_used_at is None
    assert new.text.startswith(f"{found.prefix}_")
    assert found.id == id_of(new.text)


def test_the_database_never_holds_the_key(
    keys: KeyStore, database_url: str, tmp_path: Path
) -> None:
    new = made(keys)
    secret = new.text.rpartition("_")[2]
    database = Database(database_url)
    with database.read() as session:
        row = session.execute(sql("SELECT * FROM api_keys")).mappings().one()
    database.close()
    assert secret not in str(dict(row))
    assert row["sha256"] == digest(new.text)
    assert secret not in new.key.model_dump_json()


@given(seed=st.integers(), at=st.integers(0, 80), by=st.sampled_from("0f_gA \n"))
def test_another_text_is_another_key_or_none(seed: int, at: int, by: str) -> None:
    text = new_text(entropy(seed))
    assert len(text) == 81
    changed = text[:at] + by + text[at + 1 :]
    if changed != text:
        assert digest(changed) != digest(text)
        assert id_of(changed) is None or set(changed[4:16]) <= set("0123456789abcdef")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "sec_",
        lambda text: text[:-1],
        lambda text: f"{text}0",
        lambda text: f"{text}\n",
        lambda text: text.upper(),
        lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),  # right id, wrong secret
        lambda text: new_text(entropy(99)),
        lambda text: "é" * 81,
    ],
)
def test_what_is_no_key_is_unknown_and_nothing_more(keys: KeyStore, change: object) -> None:
    text = made(keys).text
    assert callable(change)
    with pytest.raises(KeyUnknown) as refused:
        keys.find(change(text))
    assert str(refused.value) == str(KeyUnknown())


def test_a_revoked_key_stays_revoked_and_counts(keys: KeyStore) -> None:
    assert not keys.ever_had_any()
    new = made(keys)
    assert keys.ever_had_any()
    check_usable(keys.find(new.text), NOW)
    revoked = keys.revoke(new.key.id, later(1))
    assert revoked.revoked_at == later(1)
    assert keys.revoke(new.key.id, later(2)) == revoked
    with pytest.raises(KeyRevoked, match=new.key.prefix):
        check_usable(keys.find(new.text), later(3))
    assert keys.ever_had_any()
    with pytest.raises(KeyNotFound, match="key_x"):
        keys.revoke("key_x", NOW)


def test_a_key_expires_at_its_moment_and_not_before(keys: KeyStore) -> None:
    new = keys.create("a", "b", SCOPES, NOW, entropy(1), expires_at=later(10))
    check_usable(keys.find(new.text), later(9.999))
    with pytest.raises(KeyExpired):
        check_usable(keys.find(new.text), later(10))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_opens_itself_and_admin_opens_all(keys: KeyStore, scope: Scope) -> None:
    key = made(keys, 1, scope).key
    assert {each for each in SCOPES if key.opens(each)} == (
        set(SCOPES) if scope == "admin" else {scope}
    )


@pytest.mark.parametrize(
    ("field", "tenant", "name", "scopes", "expires"),
    [
        ("tenant", "", "n", SCOPES, None),
        ("tenant", "Search", "n", SCOPES, None),
        ("tenant", "a" * 65, "n", SCOPES, None),
        ("tenant", "a\n", "n", SCOPES, None),
        ("name", "a", "", SCOPES, None),
        ("name", "a", "two\nlines", SCOPES, None),
        ("name", "a", "n" * 101, SCOPES, None),
        ("scopes", "a", "n", (), None),
        ("scopes", "a", "n", ("jobs:delete",), None),
        ("expires_at", "a", "n", SCOPES, NOW),
    ],
)
def test_what_no_key_can_be_is_refused_by_field(
    keys: KeyStore,
    field: str,
    tenant: str,
    name: str,
    scopes: tuple[Scope, ...],
    expires: datetime | None,
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        keys.create(tenant, name, scopes, NOW, entropy(1), expires_at=expires)
    assert [each["field"] for each in refused.value.fields] == [field]
    assert not keys.ever_had_any()


def test_keys_are_listed_newest_first(keys: KeyStore) -> None:
    first, second = made(keys, 1), made(keys, 2, now=later(1))
    assert keys.list() == [second.key, first.key]


def test_use_is_noted_once_a_minute(keys: KeyStore) -> None:
    key_id, other = made(keys, 1).key.id, made(keys, 2).key.id

    def last() -> datetime | None:
        return next(key.last_used_at for key in keys.list() if key.id == key_id)

    for moment, noted in [(0, 0), (59.9, 0), (60, 60), (61, 60), (500, 500)]:
        keys.note_use(key_id, later(moment))
        assert last() == later(noted)
    assert {key.id for key in keys.list() if key.last_used_at is None} == {other}


def test_the_first_key_is_made_once(keys: KeyStore) -> None:
    first = keys.create_first("default", "first", NOW, entropy(1))
    assert first is not None
    assert keys.find(first.text).scopes == ("admin",)
    assert keys.create_first("default", "first", NOW, entropy(2)) is None
    keys.revoke(first.key.id, NOW)
    assert keys.create_first("default", "first", NOW, entropy(3)) is None
    assert len(keys.list()) == 1


def test_a_first_key_that_cannot_be_delivered_is_not_made(keys: KeyStore) -> None:
    def fail(_: str) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        keys.create_first("default", "first", NOW, entropy(1), deliver=fail)
    assert not keys.ever_had_any()


def test_of_many_first_keys_at_once_there_is_one(keys: KeyStore, database_url: str) -> None:
    count = 8
    ready, delivered, returned = threading.Barrier(count), list[str](), list[NewKey | None]()

    def create(seed: int) -> None:
        with KeyStore.open(database_url) as mine:
            ready.wait()
            returned.append(
                mine.create_first("default", "f", NOW, entropy(seed), deliver=delivered.append)
            )

    threads = [threading.Thread(target=create, args=(seed,)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(returned) == count
    (key,) = keys.list()
    new = [each for each in returned if each is not None]
    assert [each.key for each in new] == [key]
    assert delivered == [new[0].text]
    assert keys.find(delivered[0]) == key
