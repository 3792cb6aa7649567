"""Bring a database to the schema of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from core.jobs.database import Database


def migrate(url: str) -> None:
    """Create or upgrade the tables at `url`. Does nothing where they are up to date.

    Several processes may call this at once: one works, the others wait and find it done.

    Raises:
        StoreUnavailable: the database cannot be reached or written.
    """
    database = Database(url, pooled=False)
    try:
        with database.exclusive() as connection:
            config = Config()
            config.set_main_option(
                "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
            )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
