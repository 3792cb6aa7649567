"""What comes back from a database's JSON, and what one statement without a transaction leaves."""

from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import JSON, literal, literal_column, select, text

from core.errors import StoreUnavailable
from core.jobs.database import Database


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        ('{"a": [1, 2.5, null, true], "ü": "\\u00fc"}', {"a": [1, 2.5, None, True], "ü": "ü"}),
        ('"\\ud800 alone"', "\ud800 alone"),
        (f"[{2**70}]", [2**70]),
        ("1e400", float("inf")),
    ],
)
def test_json_is_read_as_pythons_own_reads_it(database_url: str, kept: str, read: Any) -> None:
    with closing(Database(database_url)) as database:
        cast = "" if database_url.startswith("sqlite") else "::json"
        ((value,),) = database.ask(select(literal_column(f"'{kept}'{cast}", JSON)))
    assert value == read


def test_a_single_question_begins_no_transaction_and_the_next_one_does(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        for _ in range(2):
            assert [tuple(row) for row in database.ask(select(literal(1)))] == [(1,)]
            with database.read() as session:
                session.execute(select(literal(1)))
                driver: Any = session.connection().connection.driver_connection
                assert _within(driver)
        with pytest.raises(StoreUnavailable):
            database.ask(select(text("nothing_that_there_is")))
        with database._asker.connect() as connection:
            connection.execute(select(literal(1)))
            assert not _within(connection.connection.driver_connection)


def _within(driver: Any) -> bool:
    if hasattr(driver, "in_transaction"):
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status)
