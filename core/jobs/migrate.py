"""Bring a database to the schema of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.errors import BadRequest
from core.jobs.database import Database


def migrate(url: str) -> None:
    """Create or upgrade the tables at `url`; only reads where they are up to date.

    Several processes may call this at once: one works, the others wait and find it done.

    Raises:
        StoreUnavailable: the database cannot be reached or written.
        BadRequest: a newer version has migrated it.
    """
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    database = Database(url, pooled=False)
    try:
        if _is_current(database, config):
            return
        with database.exclusive() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()


def _is_current(database: Database, config: Config) -> bool:
    scripts = ScriptDirectory.from_config(config)
    with database.read() as session:
        found = MigrationContext.configure(session.connection()).get_current_revision()
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise BadRequest(
            f"the database has schema {found}, which this version of Secateur does not know.",
            remedy="Run the version that migrated it, or restore the backup from before the upgrade.",
        )
    return found == scripts.get_current_head()
