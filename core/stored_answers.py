"""`Answers` in the object store, for the jobs of one sweep: `sweeps/{id}/dense/NAME`."""

import logging
from pathlib import Path
from typing import Final

from core.errors import ArtifactNotFound, CorruptObject, DiskFull, StoreError
from core.jobs.objects import dense_of
from core.store.base import ObjectStore

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 1 << 30
"""Of one file: tokens of many long sequences take less."""


class StoredAnswers:
    """What the job `job_id` finds of the others, and keeps for them."""

    def __init__(self, store: ObjectStore, sweep_id: str, job_id: str) -> None:
        self._store, self._sweep_id, self._job_id = store, sweep_id, job_id

    @property
    def origin(self) -> str:
        return self._job_id

    def fetch(self, name: str, target: Path) -> bool:
        key = self._key(name)
        try:
            if self._store.info(key).bytes > MOST_BYTES:
                raise CorruptObject(f"{key} is larger than {MOST_BYTES} bytes.")
            self._store.get_file(key, target)
        except ArtifactNotFound:
            return False
        except (StoreError, DiskFull, OSError) as error:
            logger.warning("%s is found out again: %s", key, error)
            return False
        return True

    def keep(self, name: str, source: Path) -> None:
        key = self._key(name)
        try:
            self._store.put_file(key, source)
        except (StoreError, DiskFull, OSError) as error:
            logger.warning("%s is not kept for others: %s", key, error)

    def _key(self, name: str) -> str:
        return f"{dense_of(self._sweep_id)}/{name}"
