"""What a database URL is taken for, and that its password is never shown."""

from itertools import product

import pytest
from sqlalchemy.engine import make_url

from core.errors import BadRequest, StoreUnavailable
from core.jobs.engines import open_engine, shown
from core.jobs.store import JobStore

SECRET = "swordfish"


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_every_way_to_write_postgresql_goes_to_psycopg_3(scheme: str) -> None:
    engine = open_engine(f"{scheme}://me:{SECRET}@db.example:5433/jobs", pooled=True)
    assert engine.driver == "psycopg"
    assert (engine.url.host, engine.url.port, engine.url.database) == ("db.example", 5433, "jobs")
    assert engine.url.password == SECRET


def test_parameters_of_the_url_win_over_ours() -> None:
    given = "application_name=mine&connect_timeout=1&options=-c%20lock_timeout%3D1s"
    query = open_engine(f"postgresql://h/db?{given}&sslmode=require", pooled=True).url.query
    assert (query["application_name"], query["connect_timeout"]) == ("mine", "1")
    assert (query["sslmode"], query["keepalives_idle"]) == ("require", "30")
    options = str(query["options"])
    # The server takes the last one.
    assert options.index("lock_timeout=10s") < options.index("lock_timeout=1s")


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"mysql://me:{SECRET}@h/db",
        f"postgresql+asyncpg://me:{SECRET}@h/db",
        f"postgresql:/me:{SECRET}@h/db",
        f"postgresql://me:pass@{SECRET}@h/db",
        f"postgresql://me:1@2/{SECRET}@h/db",
        f"postgresql://me@h:{SECRET}/db",
        f"sqlite+{SECRET}:///file.db",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str) -> None:
    for ask in (shown, JobStore.open):
        with pytest.raises(BadRequest) as refusal:
            ask(url)
        assert SECRET not in str(refusal.value)
        assert "SECATEUR_DATABASE_URL" in refusal.value.remedy


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////data/jobs.db", "sqlite:////data/jobs.db"),
        ("postgresql://me@h/db", "postgresql+psycopg://me@h/db"),
        (f"postgresql://me:{SECRET}@h:5433/db", "postgresql+psycopg://me:***@h:5433/db"),
        (f"postgres://h/db?password={SECRET}", "postgresql+psycopg://h/db?password=hidden"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, expected: str) -> None:
    assert shown(url) == expected


def test_a_server_that_is_away_is_named_in_one_line_and_its_password_is_not() -> None:
    for user, query in product(("me:" + SECRET, "me"), ("", f"?password={SECRET}")):
        url = f"postgresql://{user}@127.0.0.1:1/db{query}"
        with JobStore.open(url) as jobs, pytest.raises(StoreUnavailable) as refusal:
            jobs.ping()
        said = str(refusal.value)
        assert "refused" in said
        assert SECRET not in said
        assert "\n" not in said


def test_defaults_are_written_where_libpq_reads_them() -> None:
    url = open_engine("postgresql://h/db", pooled=False).url
    assert make_url(url.render_as_string(hide_password=False)) == url
    assert url.query["connect_timeout"] == "5"
