"""The API keys of a database: made, listed, revoked, and found by who presents one."""

import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Self

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from core.errors import InvalidSpec
from core.jobs import audit, credentials
from core.jobs.admission import hold
from core.jobs.audit import Actor
from core.jobs.credentials import SCOPES, ApiKey, Entropy, Scope
from core.jobs.records import KeyRecord
from core.jobs.small_stores import SmallStore
from core.key_errors import KeyNotFound, KeyUnknown
from core.limit_errors import LastAdminKey

USE_NOTED_EVERY: Final = timedelta(minutes=1)
_EVERYTHING: Final[tuple[Scope, ...]] = ("admin",)
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


class NewKey(NamedTuple):
    key: ApiKey
    text: str
    """What its owner sends. Known here and now, and never again."""


class KeyStore(SmallStore):
    """Every tenant's keys, by what of them may be kept."""

    def create(
        self,
        tenant: str,
        name: str,
        scopes: Collection[Scope],
        now: datetime,
        entropy: Entropy,
        *,
        expires_at: datetime | None = None,
        by: Actor | None = None,
    ) -> NewKey:
        """Make a key. From the first one on, the server serves nobody without.

        Raises:
            InvalidSpec: the tenant, the name, the scopes or the expiry cannot be.
        """
        _check(tenant, name, scopes, now, expires_at)
        record, text = _new_record(tenant, name, scopes, now, entropy, expires_at)
        with self._database.write() as session:
            session.add(record)
            _note_created(session, record, by)
        return NewKey(_view(record), text)

    def create_first(
        self,
        tenant: str,
        name: str,
        now: datetime,
        entropy: Entropy,
        *,
        deliver: Callable[[str], None] = lambda _: None,
        by: Actor | None = None,
    ) -> NewKey | None:
        """Make a key for everything, unless there has ever been one: then None.

        Of several processes that do this at once, one makes a key. `deliver` gets its text before
        anything is committed: if it raises, there is no key that nobody has.
        """
        record, text = _new_record(tenant, name, _EVERYTHING, now, entropy, None)
        with self._database.exclusive() as connection, Session(connection) as session:
            if _any_key(session):
                return None
            session.add(record)
            _note_created(session, record, by)
            session.flush()
            made = NewKey(_view(record), text)
            deliver(text)
        return made

    def ever_had_any(self) -> bool:
        """Whether there is a key or was one: revoked and expired ones count."""
        with self._database.read() as session:
            return _any_key(session)

    def list(self, tenant: str | None = None) -> list[ApiKey]:
        """All keys, or all of a tenant's, newest first."""
        query = select(KeyRecord).order_by(KeyRecord.created_at.desc(), KeyRecord.id)
        if tenant is not None:
            query = query.where(KeyRecord.tenant == tenant)
        with self._database.read() as session:
            return [_view(record) for record in session.scalars(query)]

    def revoke(
        self,
        key_id: str,
        now: datetime,
        *,
        within: str | None = None,
        spare_last_admin: bool = False,
        by: Actor | None = None,
    ) -> ApiKey:
        """End a key for good; one that is revoked already stays as it was.

        Raises:
            KeyNotFound: there is none, or it is not of the tenant `within`.
            LastAdminKey: with `spare_last_admin`, no other key could administer its tenant.
        """
        with self._database.write() as session:
            tenant = session.scalar(select(KeyRecord.tenant).where(KeyRecord.id == key_id))
            if tenant is None or within not in (None, tenant):
                raise KeyNotFound(key_id[:100])
            hold(session, tenant)  # two admins that revoke each other's key leave one
            record = session.get_one(KeyRecord, key_id, with_for_update=True)
            if spare_last_admin and _is_last_admin(session, record, now):
                raise LastAdminKey(key_id, tenant)
            record.revoked_at = record.revoked_at or now
            audit.note(session, by, now, "key.revoke", key_id, tenant=tenant)
        return _view(record)

    def find(self, text: str) -> ApiKey:
        """The key with this text, whether or not it may still be used.

        Raises:
            KeyUnknown: there is none; nothing tells how close `text` came.
        """
        key_id = credentials.id_of(text)
        if key_id is None:
            raise KeyUnknown
        with self._database.read() as session:
            record = session.get(KeyRecord, key_id)
        if record is None or not credentials.proves(text, record.sha256):
            raise KeyUnknown
        return _view(record)

    def note_use(self, key_id: str, now: datetime) -> None:
        """Remember that the key was used, unless another process has done so within a minute."""
        long_ago = or_(
            KeyRecord.last_used_at.is_(None), KeyRecord.last_used_at <= now - USE_NOTED_EVERY
        )
        with self._database.write() as session:
            session.execute(
                update(KeyRecord).where(KeyRecord.id == key_id, long_ago).values(last_used_at=now)
            )

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _is_last_admin(session: Session, record: KeyRecord, now: datetime) -> bool:
    """Whether the key may administer its tenant now, and no other one may."""
    good = (
        KeyRecord.tenant == record.tenant,
        KeyRecord.revoked_at.is_(None),
        or_(KeyRecord.expires_at.is_(None), KeyRecord.expires_at > now),
    )
    found = session.scalars(select(KeyRecord).where(*good)).all()
    return [key.id for key in found if "admin" in key.scopes] == [record.id]


def _note_created(session: Session, record: KeyRecord, by: Actor | None) -> None:
    scopes = " ".join(record.scopes)
    audit.note(
        session, by, record.created_at, "key.create", record.id, tenant=record.tenant, scopes=scopes
    )


def _any_key(session: Session) -> bool:
    return session.scalars(select(KeyRecord.id).limit(1)).first() is not None


def _new_record(
    tenant: str,
    name: str,
    scopes: Collection[Scope],
    now: datetime,
    entropy: Entropy,
    expires_at: datetime | None,
) -> tuple[KeyRecord, str]:
    text = credentials.new_text(entropy)
    record = KeyRecord(
        id=credentials.id_of(text),
        tenant=tenant,
        name=name,
        prefix=credentials.prefix_of(text),
        sha256=credentials.digest(text),
        scopes=[scope for scope in SCOPES if scope in scopes],
        created_at=now,
        expires_at=expires_at,
    )
    return record, text


def _view(record: KeyRecord) -> ApiKey:
    return ApiKey.model_validate(record, from_attributes=True)


def _check(
    tenant: str,
    name: str,
    scopes: Collection[Scope],
    now: datetime,
    expires_at: datetime | None,
) -> None:
    fields = []
    if not _TENANT.fullmatch(tenant):
        rule = "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
        fields.append({"field": "tenant", "message": rule})
    if not _NAME.fullmatch(name):
        fields.append({"field": "name", "message": "1 to 100 characters on one line"})
    if not scopes or not set(scopes) <= set(SCOPES):
        fields.append({"field": "scopes", "message": f"one or more of {', '.join(SCOPES)}"})
    if expires_at is not None and expires_at <= now:
        fields.append({"field": "expires_at", "message": "lies in the past"})
    if fields:
        raise InvalidSpec("The key is not valid.", fields=fields)
