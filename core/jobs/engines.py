"""Engines on SQLite and PostgreSQL: how a URL is read, and what each database is told at first."""

import json
import sqlite3
from time import monotonic
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from core.errors import BadRequest

BUSY_SECONDS: Final = 30  # how long a SQLite writer waits for another one
POOL_SIZE: Final = 15  # connections of a process to PostgreSQL, at most
POOL_SECONDS: Final = 10  # how long a thread waits for a connection that others use
TRUSTED_SECONDS: Final = 0.2  # less than any server takes to stop and start
_WRITES: Final = "secateur_writes"
_SINGLE: Final = "secateur_single"

_DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",  # as many hosts of databases write it
}
_SECRETS: Final = ("password", "sslpassword")

# For libpq. A URL's own parameters win.
_CLIENT: Final = {
    "application_name": "secateur",
    "connect_timeout": "5",
    # A server whose machine is gone is given up after a minute, not after the kernel's two hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
# For the server. A worker that is stopped within a transaction holds its job's row: others give
# up waiting, and the server ends it. SQLite, which has one lock for all, knows no such remedy.
_SESSION: Final = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
}


def open_engine(url: str, *, pooled: bool) -> Engine:
    """An engine on the database at `url`, which is not asked yet.

    Raises:
        BadRequest: `url` is neither SQLite's nor PostgreSQL's; the message has no part of it,
            since any part may be the password.
    """
    place = _parse(url)
    options: dict[str, Any] = {"json_deserializer": _from_json}
    if not pooled:
        options["poolclass"] = NullPool
    if place.get_backend_name() == "postgresql":
        if not pooled:
            return create_engine(_with_defaults(place), **options)
        # All are kept: making one takes longer than most questions, and just when there are too many of
        # those. The last one used comes first, so that few are used at all.
        options |= {"pool_size": POOL_SIZE, "max_overflow": 0, "pool_timeout": POOL_SECONDS}
        engine = create_engine(_with_defaults(place), pool_use_lifo=True, **options)
        _ask_those_that_rested(engine)
        return engine
    # No implicit BEGIN by the driver: ours says whether it will write.
    options["connect_args"] = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(place, **options)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _ask_those_that_rested(engine: Engine) -> None:
    """Connections do not outlive a restart of the server, so they are asked before they are used again,
    as `pool_pre_ping` would; but not those that answered a moment ago, which is most of them under load."""

    def checkin(_: object, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = monotonic()

    def checkout(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        rested = monotonic() - record.info.get("rests_since", float("inf"))
        if rested < TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the others will have been lost with it

    event.listen(engine, "checkin", checkin)
    event.listen(engine, "checkout", checkout)


def for_reading(engine: Engine) -> Engine:
    """The same pool, for transactions that see one state of the database."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def for_one_statement(engine: Engine) -> Engine:
    """The same pool, for single statements that read: nothing is sent but they."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_SINGLE: True})
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def for_writing(engine: Engine) -> Engine:
    """The same pool, for transactions that write.

    A statement sees what was committed when it began, and looks again at a row it had to wait
    for. Our moves are single statements with a WHERE clause, so nothing has to be tried twice.
    """
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**{_WRITES: True})
    return engine.execution_options(isolation_level="READ COMMITTED")


def shown(url: str) -> str:
    """`url` for people to read: without its passwords. Raises BadRequest as `open_engine`."""
    place = _parse(url)
    hidden = {name: "hidden" for name in _SECRETS if name in place.query}
    return place.update_query_dict(hidden).render_as_string()


def _from_json(text: str | bytes) -> Any:
    """`json.loads`, nearly three times as fast: lists spend most of their time on the specs of their jobs."""
    try:
        return from_json(text, cache_strings="all")
    except ValueError:  # half of a surrogate pair, which only that one takes
        return json.loads(text)


def _parse(url: str) -> URL:
    try:
        place = make_url(url)
    except (ArgumentError, ValueError):
        raise _refusal("it is no URL of a database") from None
    driver = _DRIVERS.get(place.drivername)
    if driver is None:
        raise _refusal("it names neither SQLite nor PostgreSQL with psycopg")
    if driver != "sqlite" and "@" in f"{place.host}{place.database}":
        raise _refusal("it has two '@'; write the one in the password as %40")
    return place.set(drivername=driver)


def _refusal(why: str) -> BadRequest:
    return BadRequest(
        f"the database URL cannot be used: {why}.",
        remedy="Write SECATEUR_DATABASE_URL=sqlite:////absolute/file.db or"
        " postgresql://user:password@host/database.",
    )


def _with_defaults(place: URL) -> URL:
    ours = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    given = place.query.get("options", "")
    # Of a setting named twice the last one counts.
    options = " ".join([ours, *([given] if isinstance(given, str) else given)]).strip()
    missing = {name: value for name, value in _CLIENT.items() if name not in place.query}
    return place.update_query_dict({**missing, "options": options})


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    # An accepted job survives a power cut; WAL's default would lose the last transactions.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_SINGLE):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get(_WRITES) else "BEGIN")
