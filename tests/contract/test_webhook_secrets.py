"""The secrets of webhooks over every database: made once, rotated with an overlap, kept apart."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count

import pytest

from core.jobs.audit import Actor, AuditFilter, AuditSide
from core.jobs.database import Database
from core.jobs.delivery_views import ShownSecret
from core.jobs.migrate import migrate
from core.jobs.webhook_secrets import OVERLAP, SecretStore
from core.webhooks.errors import RotatedTooOften
from core.webhooks.signing import fingerprint
from tests.contract.jobs import NOW, at_once, later

AFTER = OVERLAP.total_seconds()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    migrate(database_url)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def secrets(database: Database) -> SecretStore:
    return SecretStore(database)


def numbered() -> Callable[[int], bytes]:
    """Other bytes each time."""
    numbers = count()
    return lambda size: next(numbers).to_bytes(size, "big")


def test_the_first_use_makes_it_and_it_stays(secrets: SecretStore) -> None:
    entropy = numbered()
    nothing = secrets.describe("a", NOW)
    assert (nothing.fingerprint, nothing.since, nothing.previous) == (None, None, [])
    [made] = secrets.signing("a", NOW, entropy)
    assert made.startswith("whsec_")
    assert secrets.signing("a", later(10), entropy) == [made]
    shown = secrets.show("a", later(20), entropy)
    assert (shown.secret, shown.since) == (made, NOW)
    assert secrets.describe("a", later(20)).fingerprint == fingerprint(made)
    assert "secret" not in secrets.describe("a", NOW).model_dump()


def test_each_tenant_has_its_own(secrets: SecretStore) -> None:
    entropy = numbered()
    assert secrets.show("a", NOW, entropy).secret != secrets.show("b", NOW, entropy).secret
    secrets.rotate("a", NOW, entropy)
    assert secrets.describe("b", NOW).previous == []


def test_both_sign_for_a_day_after_a_rotation(secrets: SecretStore) -> None:
    entropy = numbered()
    old = secrets.show("a", NOW, entropy).secret
    new = secrets.rotate("a", later(10), entropy)
    assert new.secret != old
    [earlier] = new.previous
    assert (earlier.fingerprint, earlier.valid_until) == (fingerprint(old), later(10 + AFTER))
    assert secrets.signing("a", later(9 + AFTER), entropy) == [new.secret, old]
    assert secrets.signing("a", later(10 + AFTER), entropy) == [new.secret]
    assert secrets.describe("a", later(10 + AFTER)).previous == []


def test_a_rotation_that_is_asked_for_twice_locks_nobody_out(secrets: SecretStore) -> None:
    entropy = numbered()
    first = secrets.show("a", NOW, entropy).secret
    second = secrets.rotate("a", later(1), entropy).secret
    third = secrets.rotate("a", later(2), entropy).secret
    assert secrets.signing("a", later(3), entropy) == [third, second, first]


def test_there_is_an_end_to_what_signs(secrets: SecretStore) -> None:
    entropy = numbered()
    secrets.show("a", NOW, entropy)
    for _ in range(4):
        secrets.rotate("a", later(1), entropy)
    before = secrets.signing("a", later(2), entropy)
    with pytest.raises(RotatedTooOften, match="5 secrets are valid already"):
        secrets.rotate("a", later(2), entropy)
    assert secrets.signing("a", later(2), entropy) == before
    assert secrets.rotate("a", NOW + OVERLAP + timedelta(seconds=2), entropy).previous


def test_a_rotation_without_a_secret_makes_one(secrets: SecretStore) -> None:
    made = secrets.rotate("a", NOW, numbered())
    assert made.previous == []
    assert secrets.show("a", NOW, numbered()).secret == made.secret


def test_of_many_who_come_first_all_get_the_same(secrets: SecretStore) -> None:
    entropy = numbered()
    found = at_once(8, lambda _: tuple(secrets.signing("a", NOW, entropy)))
    assert len(set(found)) == 1
    assert found[0] == tuple(secrets.signing("a", NOW, entropy))


def test_rotations_at_once_are_one_after_the_other(secrets: SecretStore) -> None:
    entropy = numbered()
    first = secrets.show("a", NOW, entropy).secret
    found = at_once(4, lambda _: secrets.rotate("a", NOW, entropy))
    assert all(isinstance(each, ShownSecret) for each in found), found
    signing = secrets.signing("a", NOW, entropy)
    assert len(set(signing)) == 5
    assert signing[-1] == first


def test_who_saw_or_changed_it_is_written_down_and_never_what(
    secrets: SecretStore, database: Database
) -> None:
    entropy, by = numbered(), Actor("a", "key_0123456789ab")
    first = secrets.show("a", NOW, entropy, by=by)
    secrets.show("a", later(1), entropy, by=by)
    second = secrets.rotate("a", later(2), entropy, by=by)
    for n in range(3):
        secrets.rotate("a", later(3 + n), entropy)
    with pytest.raises(RotatedTooOften):
        secrets.rotate("a", later(9), entropy, by=by)
    secrets.signing("a", later(10), entropy)
    lines = AuditSide(database).audit(AuditFilter()).data
    assert [(line.action, line.target, line.at) for line in reversed(lines)] == [
        ("secret.create", first.fingerprint, NOW),
        ("secret.show", first.fingerprint, later(1)),
        ("secret.rotate", second.fingerprint, later(2)),
    ]
    assert {(line.tenant, line.key_id) for line in lines} == {("a", "key_0123456789ab")}
    assert not any(each.secret in str(lines) for each in (first, second))
