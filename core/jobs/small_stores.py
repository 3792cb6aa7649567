"""What the stores beside the jobs' have in common: keys, webhook secrets, deliveries."""

from typing import Self

from core.jobs.database import Database


class SmallStore:
    """A part of a database that `core.jobs.migrate` has prepared. Safe to share between threads.

    Every method raises StoreUnavailable where the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> Self:
        """A store on the database at `url`, which keeps no connection open between transactions.

        Raises:
            BadRequest: `url` is not a database URL.
        """
        return cls(Database(url, pooled=False))
