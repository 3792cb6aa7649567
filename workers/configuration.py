"""What a worker must be told before it can start."""

from dataclasses import dataclass

from core.errors import BadRequest
from core.settings import Settings
from workers.tracking import target_for


@dataclass(frozen=True, slots=True)
class Places:
    """The settings, and the three addresses in them that a worker cannot do without."""

    settings: Settings
    database_url: str
    broker_url: str
    store_url: str

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        """Raises BadRequest, naming the first address that is missing, or that cannot be meant."""
        if settings.store_url:
            target_for(settings, settings.store_url, "jobs")
        return cls(
            settings,
            _given("SECATEUR_DATABASE_URL", settings.database_url),
            _given("SECATEUR_BROKER_URL", settings.broker_url),
            _given("SECATEUR_STORE_URL", settings.store_url),
        )


def _given(name: str, value: str | None) -> str:
    if not value:
        raise BadRequest(
            f"{name} is not set.", remedy="Set it, or use `secateur serve`, which needs none."
        )
    return value
