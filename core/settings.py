"""All configuration: `SECATEUR_*` environment variables over `secateur.toml` over defaults.

Any of the variables may be left to a file: `SECATEUR_DATABASE_PASSWORD_FILE` names the one that
holds the password of the database.
"""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.destinations.allowed import check_places as check_destinations
from core.hub_sources import check_hub
from core.passwords import with_password
from core.phase_limits import PhaseLimits
from core.quotas import NO_QUOTAS, Quotas
from core.retention import Retention
from core.settings_sources import FilesSource
from core.source_buckets import check_each, check_places, split_places
from core.telemetry.logs import LogFormat
from core.webhooks.allowed import check_entries
from core.webhooks.schedule import RETRIES


def _split_paths(value: object) -> object:
    return [part for part in value.split(":") if part] if isinstance(value, str) else value


def _split_names(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


def _check_addresses(names: tuple[str, ...]) -> tuple[str, ...]:
    # uvicorn would take a mistyped one for the name of a socket, and believe nobody.
    for name in names:
        if name != "*":
            ip_network(name)
    return names


def _check_hubs(places: tuple[str, ...]) -> tuple[str, ...]:
    return check_each(places, check_hub)


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_names)]
Addresses = Annotated[Names, AfterValidator(_check_addresses)]
Roots = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split_paths)]
Buckets = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(split_places), AfterValidator(check_places)
]
Hubs = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(split_places), AfterValidator(_check_hubs)
]
Destinations = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(split_places), AfterValidator(check_destinations)
]
Listeners = Annotated[Names, AfterValidator(check_entries)]
Waits = Annotated[
    tuple[Annotated[float, Field(gt=0, le=30 * 86400)], ...],
    NoDecode,
    BeforeValidator(_split_names),
    Field(max_length=20),
]


class Settings(BaseSettings):
    """Every field has a working default or is filled in by `secateur serve`."""

    model_config = SettingsConfigDict(
        env_prefix="SECATEUR_", toml_file="secateur.toml", extra="forbid", env_ignore_empty=True
    )

    database_url: str | None = Field(
        None, repr=False, description="SQLAlchemy URL of the job database"
    )
    database_password: SecretStr | None = Field(
        None, description="its password, where `database_url` has none"
    )
    broker_url: str | None = Field(
        None, repr=False, description="redis:// or rediss:// URL for Celery"
    )
    broker_password: SecretStr | None = Field(
        None, description="its password, where `broker_url` has none"
    )
    store_url: str | None = Field(
        None,
        description="file:///folder of the object store, or s3://bucket/prefix?endpoint=http://host:port"
        " with credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or in a file that"
        " AWS_SHARED_CREDENTIALS_FILE names",
    )
    model_roots: Roots = Field(
        (), description="folders below which file:// models and texts may be read, joined by ':'"
    )
    allowed_hosts: Names = Field(
        (),
        description="names the API answers for once keys are demanded, joined by ','; any if unset."
        " Without keys it answers for loopback names only",
    )
    trusted_proxies: Addresses = Field(
        (),
        description="addresses or networks, joined by ',', of proxies whose X-Forwarded-Proto and"
        " X-Forwarded-For are believed; '*' for any",
    )
    source_buckets: Buckets = Field(
        (),
        description="places below which s3:// models and texts may be read, such as"
        " s3://bucket/prefix?endpoint=http://host:port&region=eu-central-1, with whitespace or commas"
        " between them; credentials from the AWS_* variables",
    )
    hub_models: Hubs = Field(
        (),
        description="whose hf:// models may be read: hf://org, hf://org/name, or hf://* for all, with"
        " whitespace or commas between them; credentials from HF_TOKEN, or the file HF_TOKEN_PATH names",
    )
    max_model_bytes: int = Field(
        500_000_000_000,
        ge=1,
        description="bytes that the files of a model may have that is read from a hub or from S3",
    )
    push_destinations: Destinations = Field(
        (),
        description="places below which jobs may push their results: hf://org, hf://org/name or"
        " s3://bucket/prefix?endpoint=http://host:port, with whitespace or commas between them;"
        " credentials from HF_TOKEN, or the file HF_TOKEN_PATH names, and from the AWS_* variables",
    )
    webhook_allow: Listeners = Field(
        (),
        description="names and networks, joined by ',', that webhooks may also go to although they are not"
        " public, there over http:// too: 127.0.0.1 for trying out, or 10.1.0.0/16",
    )
    webhook_timeout_seconds: float = Field(
        15.0, gt=0, le=300, description="how long a webhook's receiver may take to answer"
    )
    webhook_retry_seconds: Waits = Field(
        RETRIES,
        description="seconds from each try of a webhook to the next, joined by ','; unset: 5 s, 5 and 30"
        " minutes, 2, 5, 10, 14, 20 and 24 hours",
    )
    webhook_keep_days: float = Field(
        30.0,
        gt=0,
        description="how long the log of webhooks that were delivered or given up is kept",
    )
    device: str = Field("auto", description="cpu, cuda, cuda:N, or auto: CUDA where present")
    threads: int | None = Field(None, ge=1, description="CPU threads of a run; all cores if unset")
    memory_budget: int | None = Field(
        None, ge=1, description="bytes a run may use; three quarters of what is free if unset"
    )
    work_dir: Path | None = Field(
        None, description="folder for a run's scratch files; the system's temporary one if unset"
    )
    hub_cache: Path | None = Field(
        None,
        description="folder that keeps downloaded data sets and models of the hub for later runs; unset,"
        " they go with the run",
    )
    runner_variables: Names = Field(
        (),
        description="names, joined by ',', of further environment variables that the process of a run"
        " gets; others than the usual ones are kept from it",
    )
    lease_seconds: float = Field(
        60.0, gt=0, description="a worker unheard of this long lost its job"
    )
    heartbeat_seconds: float = Field(15.0, gt=0, description="how often a worker renews its lease")
    scan_seconds: float = Field(15.0, gt=0, description="how often the reaper looks for lost jobs")
    cancel_grace_seconds: float = Field(
        30.0, ge=0, description="from SIGTERM to SIGKILL when a running job is cancelled"
    )
    phase_timeouts: PhaseLimits = Field(
        PhaseLimits({}),
        description="seconds that a phase of a run may take: a table [phase_timeouts], or JSON, with"
        " fetching, analysing, pruning, evaluating and publishing; unset, none is limited",
    )
    stall_seconds: float = Field(
        3600.0, gt=0, description="a run that says nothing for so long is ended, as if it had died"
    )
    store_patience_seconds: float = Field(
        600.0,
        ge=0,
        description="how long a finished run waits for an object store that is away",
    )
    retention: Retention = Field(
        Retention({}),
        description="how long artifacts are kept: tables [retention.TENANT], or JSON, with ttl_days and"
        " keep_last; [retention.default] is for tenants without one; unset, they are kept for ever",
    )
    gc_seconds: float = Field(
        3600.0, gt=0, description="how often a worker enforces the retention, where there is one"
    )
    quotas: Quotas = Field(
        NO_QUOTAS,
        description="what tenants may have at once: tables [quotas.TENANT], or JSON, with queued_jobs,"
        " running_jobs, stored_bytes, job_bytes, job_flops and job_seconds; [quotas.default] is for"
        " tenants without one; a quota set over HTTP replaces a tenant's; unset, nothing is limited",
    )
    reads_per_minute: int = Field(
        18000, ge=0, description="requests a minute with which a tenant may read; 0: any number"
    )
    writes_per_minute: int = Field(
        1800,
        ge=0,
        description="requests a minute with which a tenant may change things; 0: any number",
    )
    failures_per_minute: int = Field(
        60,
        ge=1,
        description="refused requests a minute and address that are answered by name and written into"
        " the audit log; of those refused by a quota, how many a minute and tenant are written",
    )
    operator_tenant: str = Field(
        "default",
        description="tenant whose admin keys administer the server: every tenant's keys, quotas and"
        " audit log",
    )
    audit_days: float = Field(
        365.0, gt=0, le=36500, description="days for which the audit log is kept"
    )
    max_attempts: int = Field(3, ge=1, description="runs a job gets when its workers keep dying")
    max_waiting: int = Field(
        500, ge=1, description="event streams and long polls that one API process holds open"
    )
    max_waiting_per_tenant: int = Field(250, ge=1, description="the same, of one tenant")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: LogFormat = Field("text", description="text for people, json for programs")
    metrics_token: SecretStr | None = Field(
        None,
        description="what Prometheus sends as `Authorization: Bearer …` for the API's /metrics, once keys are"
        " demanded",
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port on which a worker serves its metrics; none if unset"
    )
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="address on which a worker serves its metrics"
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        description="http://host:port of the MLflow server that every finished job is logged to",
    )
    mlflow_experiment: str = Field(
        "secateur", min_length=1, description="MLflow experiment that gets the runs"
    )
    mlflow_register: str | None = Field(
        None,
        description="registered MLflow model that gets a version for every job; needs an s3:// store",
    )
    alive_path: Path | None = Field(
        None, description="file that a worker touches after each scan, for health checks to look at"
    )

    @model_validator(mode="after")
    def _join_passwords(self) -> Self:
        """Put each password into its URL, where every library looks for it, and only there."""
        if self.database_url and self.database_password:
            self.database_url = with_password(self.database_url, self.database_password, "DATABASE")
            self.database_password = None
        if self.broker_url and self.broker_password:
            self.broker_url = with_password(self.broker_url, self.broker_password, "BROKER")
            self.broker_password = None
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files, toml = FilesSource(settings_cls), TomlConfigSettingsSource(settings_cls)
        return init_settings, files, env_settings, toml
