"""Doorbells: messages that call a worker to a job. They may come twice, late, or never."""

import logging
from typing import Final

import redis
from celery import Celery

logger = logging.getLogger(__name__)

TASK: Final = "secateur.look_at"
QUEUE: Final = "secateur"
_SECONDS: Final = 2.0


class Bell:
    """Rings through the app's broker, and knows how many rings nobody has answered."""

    def __init__(self, app: Celery, broker_url: str) -> None:
        self._app, self._url = app, broker_url

    def ring(self, job_id: str) -> None:
        """Call some worker to `job_id`; a ring that fails is repeated by the reaper."""
        try:
            self._app.send_task(TASK, [job_id], queue=QUEUE, retry=False, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - whatever the broker does, the row is right
            logger.warning("%s: no worker was called: %s", job_id, error)

    def waiting(self) -> int | None:
        """Messages that no worker has taken; None while the broker does not answer."""
        try:
            with redis.Redis.from_url(
                self._url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS
            ) as client:
                return int(client.llen(QUEUE))
        except redis.RedisError as error:
            logger.warning("the broker does not answer: %s", error)
            return None
