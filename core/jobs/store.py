"""The job store: one database, seen from all its sides."""

from typing import Self

from sqlalchemy import select

from core.jobs.audit import AuditSide
from core.jobs.clients import ClientSide
from core.jobs.database import Database
from core.jobs.expiry import ExpirySide
from core.jobs.figures import FigureSide
from core.jobs.fleet import FleetSide
from core.jobs.idempotency import IdempotencySide
from core.jobs.leases import WorkerSide
from core.jobs.reading import ReadSide
from core.jobs.reaping import ReaperSide
from core.jobs.records import JobRecord
from core.jobs.removal import RemovalSide
from core.jobs.retrying import RetrySide
from core.jobs.sweep_keeping import SweepKeepingSide
from core.jobs.sweeps import SweepSide
from core.jobs.tallies import TallySide
from core.jobs.tenants import TenantSide
from core.jobs.watching import WatchSide


class JobStore(
    ClientSide,
    ReadSide,
    IdempotencySide,
    RetrySide,
    RemovalSide,
    WatchSide,
    WorkerSide,
    ReaperSide,
    ExpirySide,
    FleetSide,
    TenantSide,
    AuditSide,
    TallySide,
    FigureSide,
    SweepSide,
    SweepKeepingSide,
):
    """Jobs in a database that `core.jobs.migrate` has prepared. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # The one side that holds something beside the database.
        IdempotencySide.__init__(self, database)

    @classmethod
    def open(cls, url: str, *, pooled: bool = True) -> Self:
        """A store on the database at `url`; nothing is connected until it is used.

        Raises:
            BadRequest: `url` is not a database URL.
        """
        return cls(Database(url, pooled=pooled))

    def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers and has its tables."""
        with self._database.read() as session:
            session.execute(select(JobRecord.id).limit(1))

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
