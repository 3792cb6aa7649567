"""What a process of the API holds open, as its settings want it."""

from datetime import UTC, datetime
from secrets import token_bytes
from typing import Final

from api.dependencies import Resources
from api.doorbell import Doorbell
from api.turns import Turns
from core.destinations.allowed import Allowed as Destinations
from core.errors import BadRequest
from core.estimates.estimate import Machine
from core.estimates.estimator import Estimator
from core.jobs.database import Database
from core.jobs.deliveries import DeliveryStore
from core.jobs.keys import KeyStore
from core.jobs.rates import Rates
from core.jobs.store import JobStore
from core.jobs.webhook_secrets import SecretStore
from core.jobs.webhooks import Webhooks
from core.settings import Settings
from core.sources import Allowed
from core.store.urls import open_store
from core.webhooks.allowed import Allowed as Listeners

# Of the 15 connections that a pool holds.
READERS: Final = 4
WRITERS: Final = 2


def open_resources(settings: Settings) -> Resources:
    """Nothing is connected until it is used.

    Raises:
        BadRequest: the database, the broker or the object store is not configured.
    """
    database = Database(configured("SECATEUR_DATABASE_URL", settings.database_url))
    store_url = configured("SECATEUR_STORE_URL", settings.store_url)
    job_store, store = JobStore(database), open_store(store_url)
    allowed = Allowed(settings.model_roots, settings.source_buckets, settings.hub_models)
    machine = Machine.configured(settings.device, settings.memory_budget)
    return Resources(
        jobs=job_store,
        store=store,
        doorbell=Doorbell(configured("SECATEUR_BROKER_URL", settings.broker_url)),
        clock=lambda: datetime.now(UTC),
        allowed=allowed,
        destinations=Destinations(settings.push_destinations, store_url),
        keys=KeyStore(database),
        quotas=settings.quotas,
        operator_tenant=settings.operator_tenant,
        webhooks=Webhooks(
            DeliveryStore(database),
            SecretStore(database),
            Listeners(settings.webhook_allow),
            token_bytes,
        ),
        estimator=Estimator(allowed, machine),
        rates=Rates(job_store, store),
        readers=Turns(READERS, "reading"),
        writers=Turns(1 if database.one_writer else WRITERS, "writing into"),
    )


def configured(name: str, value: str | None) -> str:
    """`value`, which the setting `name` must have. Raises BadRequest."""
    if not value:
        raise BadRequest(
            f"{name} is not set.",
            remedy="Set it, or use `secateur serve`, which needs no configuration.",
        )
    return value
