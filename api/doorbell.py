"""Tells a worker that a job waits. The row is the truth; a ring that is lost is rung again."""

import logging
from typing import Final

import redis
from celery import Celery
from kombu import pools

from core.errors import StoreUnavailable

logger = logging.getLogger(__name__)

TASK: Final = "secateur.look_at"
QUEUE: Final = "secateur"
_SECONDS: Final = 0.5


class Doorbell:
    """A Celery producer that gives up after half a second, once."""

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url
        self._celery = Celery("secateur-api", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_ignore_result=True,
            broker_connection_timeout=_SECONDS,
            broker_transport_options={
                "socket_connect_timeout": _SECONDS,
                "socket_timeout": _SECONDS,
                "max_retries": 0,
            },
        )

        # Asked for by URL: a CELERY_BROKER_URL in the environment would overrule the setting.
        self._broker = self._celery.connection_for_write(broker_url)

    def ring(self, job_id: str) -> bool:
        """Ask some worker to look at `job_id`; never raises, and says whether the broker took it."""
        try:
            with pools.producers[self._broker].acquire(block=True, timeout=_SECONDS) as producer:
                self._celery.send_task(
                    TASK, [job_id], queue=QUEUE, producer=producer, retry=False, ignore_result=True
                )
        except Exception as error:  # noqa: BLE001 - whatever the broker does, the job is committed
            logger.warning("%s: no worker was called (%s); the reaper will call one", job_id, error)
            return False
        return True

    def check(self) -> None:
        """Raise StoreUnavailable unless the broker answers now."""
        try:
            with redis.Redis.from_url(
                self._url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS
            ) as client:
                client.ping()
        except (redis.RedisError, ValueError) as error:
            raise StoreUnavailable(
                f"the broker does not answer: {str(error).rstrip('.')}.",
                remedy="Start it, or correct its URL.",
            ) from None

    def close(self) -> None:
        pools.producers[self._broker].force_close_all()
        pools.connections[self._broker].force_close_all()
        self._celery.close()
