"""Connections and transactions. The only place that knows which database it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from core.errors import BadRequest, StoreUnavailable

BUSY_SECONDS = 30  # how long a SQLite writer waits for another one
_WRITES = "secateur_writes"


class Database:
    """Read and write transactions on one database.

    `pooled=False` keeps no connection open between transactions, for processes that fork:
    SQLite must not be carried across a fork.
    """

    def __init__(self, url: str, *, pooled: bool = True) -> None:
        self._engine = _engine(url, pooled=pooled)
        self._writer = self._engine.execution_options(**{_WRITES: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database. Raises StoreUnavailable."""
        with _named_errors(), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits at the end of the block. Raises StoreUnavailable.

        On SQLite it is the only writer from its first statement on (BEGIN IMMEDIATE), so it
        never fails half-way because another one was faster.
        """
        sessions = sessionmaker(self._writer, expire_on_commit=False)
        with _named_errors(), sessions.begin() as session:
            yield session

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """A write transaction that only one process at a time can be in, for migrations."""
        with _named_errors():
            if self._engine.dialect.name == "sqlite":
                _switch_to_wal(self._engine)
            with self._writer.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(7365636174657572)"))
                yield connection

    def close(self) -> None:
        self._engine.dispose()


def _engine(url: str, *, pooled: bool) -> Engine:
    try:
        sqlite = make_url(url).get_backend_name() == "sqlite"
        options: dict[str, Any] = {} if pooled else {"poolclass": NullPool}
        if sqlite:
            # No implicit BEGIN by the driver: ours says whether it will write.
            options["connect_args"] = {"timeout": BUSY_SECONDS, "isolation_level": None}
        else:
            options["pool_pre_ping"] = pooled
        engine = create_engine(url, **options)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise BadRequest(
            f"the database URL cannot be used: {error}.",
            remedy="Write SECATEUR_DATABASE_URL=sqlite:////absolute/file.db or a PostgreSQL URL.",
        ) from None
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    # An accepted job survives a power cut; WAL's default would lose the last transactions.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _switch_to_wal(engine: Engine) -> None:
    """Readers do not wait for the writer. The file remembers it."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()
    finally:
        connection.close()


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        raise StoreUnavailable(
            f"the job database cannot be used: {reason}.",
            remedy="Check SECATEUR_DATABASE_URL and that the database is up and migrated.",
        ) from error
