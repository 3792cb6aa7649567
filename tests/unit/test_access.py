"""When keys are demanded, what a request costs the database, and how soon a revoked key is out."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from api import access as module
from api.access import REMEMBERED, Access
from core.errors import StoreUnavailable
from core.jobs.credentials import ApiKey, Scope
from core.jobs.database import Database
from core.jobs.keys import KeyStore, NewKey
from core.jobs.migrate import migrate
from core.key_errors import KeyExpired, KeyMissing, KeyRevoked, KeyUnknown, ScopeMissing

START = datetime(2026, 1, 1, tzinfo=UTC)


class CountedKeys(KeyStore):
    """A key store that counts what it is asked, and can lose its database."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.reads, self.writes, self.takes_writes = 0, 0, True

    def ever_had_any(self) -> bool:
        self.reads += 1
        return super().ever_had_any()

    def find(self, text: str) -> ApiKey:
        self.reads += 1
        return super().find(text)

    def note_use(self, key_id: str, now: datetime) -> None:
        self.writes += 1
        if not self.takes_writes:
            raise StoreUnavailable("it is read-only.")
        super().note_use(key_id, now)


class Door:
    """An `Access` on a database of its own, with a clock that the test sets."""

    def __init__(self, keys: CountedKeys) -> None:
        self.keys, self.now = keys, START
        self.access = Access(keys, lambda: self.now)

    def key(self, *scopes: Scope, seed: int = 1, expires_at: datetime | None = None) -> NewKey:
        wanted = scopes or ("jobs:read",)
        entropy: Callable[[int], bytes] = Random(seed).randbytes
        return self.keys.create("t", "n", wanted, START, entropy, expires_at=expires_at)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    url = f"sqlite:///{tmp_path}/jobs.db"
    migrate(url)
    with CountedKeys.open(url) as keys:
        yield Door(keys)


def test_without_keys_everybody_is_the_default_tenant(door: Door) -> None:
    for text in (None, "sec_x", ""):
        caller = door.access.caller(text)
        assert (caller.tenant, caller.key) == ("default", None)
        caller.require("admin")
    assert door.keys.writes == 0


def test_the_first_key_closes_the_door_at_once_and_for_good(door: Door) -> None:
    assert not door.access.demanded()
    new = door.key()
    with pytest.raises(KeyMissing):
        door.access.caller(None)
    door.keys.revoke(new.key.id, START)
    for access in (door.access, Access(door.keys, lambda: door.now)):
        assert access.demanded()
        with pytest.raises(KeyMissing):
            access.caller(None)


def test_a_door_that_others_can_reach_was_never_open(door: Door) -> None:
    access = Access(door.keys, lambda: door.now, always=True)
    with pytest.raises(KeyMissing):
        access.caller(None)
    with pytest.raises(KeyUnknown):
        access.caller("sec_x")


def test_a_key_brings_its_tenant_and_scopes(door: Door) -> None:
    caller = door.access.caller(door.key("jobs:write").text)
    assert caller.tenant == "t"
    caller.require("jobs:write")
    with pytest.raises(ScopeMissing, match="jobs:read"):
        caller.require("jobs:read")


def test_a_request_costs_a_read_at_most_and_a_write_a_minute(door: Door) -> None:
    text = door.key().text
    door.access.caller(text)
    door.keys.reads, door.keys.writes = 0, 0
    for _ in range(600):  # requests in two minutes
        door.wait(0.2)
        before = door.keys.reads
        door.access.caller(text)
        assert door.keys.reads <= before + 1
    assert door.keys.reads == 120 / REMEMBERED.total_seconds()
    assert door.keys.writes == 2


def test_a_revoked_key_is_out_within_seconds(door: Door) -> None:
    new = door.key()
    door.access.caller(new.text)
    door.keys.revoke(new.key.id, START)
    door.wait(REMEMBERED.total_seconds())
    with pytest.raises(KeyRevoked):
        door.access.caller(new.text)


def test_a_key_expires_also_while_it_is_remembered(door: Door) -> None:
    text = door.key(expires_at=START + timedelta(seconds=2)).text
    door.access.caller(text)
    door.wait(1.9)
    door.access.caller(text)
    door.wait(0.1)
    with pytest.raises(KeyExpired):
        door.access.caller(text)


def test_a_clock_set_back_makes_nothing_remembered_longer(door: Door) -> None:
    new = door.key()
    door.access.caller(new.text)
    door.keys.revoke(new.key.id, START)
    door.wait(-3600)
    with pytest.raises(KeyRevoked):
        door.access.caller(new.text)


def test_only_good_keys_are_remembered_and_not_without_end(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 3)
    texts = [door.key(seed=seed).text for seed in range(8)]
    for text in texts:
        door.access.caller(text)
        with pytest.raises(KeyUnknown):
            door.access.caller(text[:-1] + ("0" if text[-1] != "0" else "1"))
    assert len(door.access._seen) <= 3
    assert not {text for text in texts if text in repr(door.access._seen)}


def test_a_database_that_takes_no_writes_still_lets_keys_in(door: Door) -> None:
    text = door.key().text
    door.keys.takes_writes = False
    assert door.access.caller(text).tenant == "t"
    assert door.keys.writes == 1
