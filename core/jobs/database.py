"""Transactions, and the names of what can go wrong in them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from core.errors import StoreUnavailable
from core.jobs.engines import (
    POOL_SECONDS,
    for_one_statement,
    for_reading,
    for_writing,
    open_engine,
)


class Database:
    """Read and write transactions on one database.

    `pooled=False` keeps no connection open between transactions, for processes that fork:
    no connection may be carried across a fork.
    """

    def __init__(self, url: str, *, pooled: bool = True) -> None:
        self._engine = open_engine(url, pooled=pooled)
        self._reader, self._writer = for_reading(self._engine), for_writing(self._engine)
        self._asker = for_one_statement(self._engine)
        self._writing = sessionmaker(self._writer, expire_on_commit=False)

    @property
    def one_writer(self) -> bool:
        """Whether a transaction that writes waits for every other one to end."""
        return self._engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database. Raises StoreUnavailable."""
        with _named_errors(), Session(self._reader) as session:
            yield session

    def ask(
        self, question: Select[*tuple[Any, ...]], values: Mapping[str, Any] | None = None
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        """The rows of one statement, which sees one state of the database by itself: no transaction
        is begun and ended around it, as questions that come all the time would. Raises
        StoreUnavailable.
        """
        with _named_errors(), self._asker.connect() as connection:
            return connection.execute(question, values).all()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits at the end of the block. Raises StoreUnavailable.

        On SQLite it is the only writer from its first statement on (BEGIN IMMEDIATE), so it
        never fails half-way because another one was faster.
        """
        with _named_errors(), self._writing.begin() as session:
            yield session

    @contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """A write transaction that only one process at a time can be in, for migrations."""
        with _named_errors():
            if self._engine.dialect.name == "sqlite":
                _switch_to_wal(self._engine)
            with self._writer.begin() as connection:
                if connection.dialect.name == "postgresql":
                    _wait_for_turn(connection)
                yield connection

    def close(self) -> None:
        self._engine.dispose()


def _wait_for_turn(connection: Connection) -> None:
    """Hold the lock of migrations; others' may take their time, and so may ours."""
    for setting in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET LOCAL {setting} = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(7365636174657572)"))
    # But a table that somebody keeps would stop everybody who comes after us.
    connection.execute(text("SET LOCAL lock_timeout = '30s'"))


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
    except DBAPIError as error:
        # Drivers go on for lines about hosts they tried and where in a statement they were.
        raise _unavailable(str(error.orig).strip().partition("\n")[0]) from error
    except PoolTimeout as error:
        raise _unavailable(f"all connections were in use for {POOL_SECONDS} s") from error


def _unavailable(reason: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"the job database cannot be used: {reason.removesuffix('.')}.",
        remedy="Check SECATEUR_DATABASE_URL and that the database is up and migrated.",
    )
