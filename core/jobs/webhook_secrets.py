"""What each tenant's webhooks are signed with: one secret, and for a day the ones before it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.jobs import audit
from core.jobs.audit import Actor
from core.jobs.delivery_records import SecretRecord
from core.jobs.delivery_views import EarlierSecret, SecretInfo, ShownSecret
from core.jobs.small_stores import SmallStore
from core.webhooks.errors import RotatedTooOften
from core.webhooks.signing import Entropy, fingerprint, new_secret

OVERLAP: Final = timedelta(hours=24)
"""How long a secret that was rotated away still signs, so that receivers can be told in peace."""

_MOST_EARLIER: Final = 4  # what a receiver has to look through, and the header has to hold
_INSERT: Final[dict[str, Callable[[Any], Any]]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}


@dataclass(frozen=True, slots=True)
class _Earlier:
    secret: str
    until: datetime


class SecretStore(SmallStore):
    """One secret a tenant, and its earlier ones while they count."""

    def describe(self, tenant: str, now: datetime) -> SecretInfo:
        """All but the secret; makes none."""
        with self._database.read() as session:
            record = session.get(SecretRecord, tenant)
        if record is None:
            return SecretInfo(fingerprint=None, since=None, previous=[])
        return SecretInfo(
            fingerprint=fingerprint(record.secret),
            since=record.since,
            previous=_shown(_valid(record, now)),
        )

    def show(
        self, tenant: str, now: datetime, entropy: Entropy, *, by: Actor | None = None
    ) -> ShownSecret:
        """The tenant's secret, made now if there is none."""
        with self._database.write() as session:
            made = _add_missing(session, tenant, now, entropy)
            record = _locked(session, tenant)
            action = "secret.create" if made else "secret.show"
            audit.note(session, by, now, action, fingerprint(record.secret))
        return _reveal(record, now)

    def signing(self, tenant: str, now: datetime, entropy: Entropy) -> list[str]:
        """Everything that a message is to be signed with, the newest first; made if need be."""
        record = self._record(tenant, now, entropy)
        return [record.secret, *(each.secret for each in _valid(record, now))]

    def rotate(
        self, tenant: str, now: datetime, entropy: Entropy, *, by: Actor | None = None
    ) -> ShownSecret:
        """A new secret. The one before signs beside it for another 24 hours, and so do those
        before that one, each until its own end: an answer that was lost can be asked for again.

        Raises:
            RotatedTooOften: five are valid already.
        """
        with self._database.write() as session:
            made = _add_missing(session, tenant, now, entropy)
            record = _locked(session, tenant)
            if not made:
                _replace(record, now, entropy)
            action = "secret.create" if made else "secret.rotate"
            audit.note(session, by, now, action, fingerprint(record.secret))
        return _reveal(record, now)

    def _record(self, tenant: str, now: datetime, entropy: Entropy) -> SecretRecord:
        with self._database.read() as session:
            found = session.get(SecretRecord, tenant)
        if found is not None:
            return found
        with self._database.write() as session:
            _add_missing(session, tenant, now, entropy)
            return _locked(session, tenant)


def _add_missing(session: Session, tenant: str, now: datetime, entropy: Entropy) -> bool:
    """Make the tenant's first secret. Of several who do so at once, one does: then True."""
    insert = _INSERT[session.get_bind().dialect.name](SecretRecord)
    values = {"tenant": tenant, "secret": new_secret(entropy), "since": now, "previous": []}
    statement = insert.values(**values).on_conflict_do_nothing().returning(SecretRecord.tenant)
    return session.execute(statement).first() is not None


def _locked(session: Session, tenant: str) -> SecretRecord:
    query = select(SecretRecord).where(SecretRecord.tenant == tenant).with_for_update()
    return session.scalars(query).one()


def _replace(record: SecretRecord, now: datetime, entropy: Entropy) -> None:
    valid = _valid(record, now)
    if len(valid) >= _MOST_EARLIER:
        raise RotatedTooOften(len(valid) + 1, valid[-1].until)
    earlier = [_Earlier(record.secret, now + OVERLAP), *valid]
    record.previous = [{"secret": each.secret, "until": each.until.isoformat()} for each in earlier]
    record.secret, record.since = new_secret(entropy), now


def _valid(record: SecretRecord, now: datetime) -> list[_Earlier]:
    known = (
        _Earlier(each["secret"], datetime.fromisoformat(each["until"])) for each in record.previous
    )
    return [each for each in known if each.until > now]


def _shown(earlier: list[_Earlier]) -> list[EarlierSecret]:
    return [
        EarlierSecret(fingerprint=fingerprint(each.secret), valid_until=each.until)
        for each in earlier
    ]


def _reveal(record: SecretRecord, now: datetime) -> ShownSecret:
    return ShownSecret(
        secret=record.secret,
        fingerprint=fingerprint(record.secret),
        since=record.since,
        previous=_shown(_valid(record, now)),
    )
