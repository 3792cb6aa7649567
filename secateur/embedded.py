"""`secateur serve`: broker, API and worker on this machine, started, watched and stopped together."""

import errno
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
from pydantic import BaseModel, SecretStr
from sqlalchemy.engine import make_url

from api.serving import demands_keys
from core.errors import BadRequest, StoreUnavailable
from core.examples import EXAMPLES
from core.processes import environment, python
from core.settings import Settings
from secateur.broker import Broker
from secateur.children import Family, start

READY_SECONDS = 120.0
STOP_SECONDS = 10.0  # a worker gives its job back within five, and Celery takes its time to end
_PAUSE_SECONDS = 0.1

Asked = Callable[[], bool]


def run(data: Path, host: str, port: int, settings: Settings) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; 0 after a clean stop.

    What `settings` names (database, broker, store) is used; the rest lies in the folder `data`.
    Prints `ready http://…` once jobs can be posted.

    Raises:
        KeysNeeded: others can reach `host`, and the database has no API key.
        BadRequest: the port is taken, or `data` cannot be used or is in use.
        SecateurError: a part did not start, or keeps dying; the message has its last words.
    """
    with ExitStack() as stack:
        asked_to_stop = stack.enter_context(_signals())
        folder = _private_folder(data)
        stack.enter_context(_only_server_of(folder))
        settings = _completed(settings, folder)
        assert settings.database_url
        keyed = demands_keys(host, settings.database_url)
        port = _usable(host, port)
        family = Family(folder / "logs", time.monotonic)
        stack.callback(family.stop, STOP_SECONDS)
        url = _url(host, port)
        if settings.broker_url is None:
            broker = _add_broker(family, folder / "broker")
            settings = settings.model_copy(update={"broker_url": broker.url})
            if not _tend(family, asked_to_stop, broker.answers):
                return 0
        _add_worker_and_api(family, host, port, settings)
        deadline = time.monotonic() + READY_SECONDS
        if _tend(family, asked_to_stop, lambda: _ready(url, deadline)):
            _announce(url, keyed)
            _tend(family, asked_to_stop, lambda: False)
    return 0


def _url(host: str, port: int) -> str:
    """Where this machine finds a server that listens on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - told from others
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _completed(settings: Settings, folder: Path) -> Settings:
    """`settings` with places in `folder` for what they leave open; the broker has to be started."""
    return settings.model_copy(
        update={
            "database_url": settings.database_url or _sqlite(folder / "secateur.db"),
            "store_url": settings.store_url or f"file://{quote(str(folder / 'store'))}",
            "work_dir": settings.work_dir or folder / "work",
        }
    )


def _add_broker(family: Family, folder: Path) -> Broker:
    folder.mkdir(exist_ok=True)
    broker = Broker(folder)
    family.add("broker", broker.start)
    return broker


def _add_worker_and_api(family: Family, host: str, port: int, settings: Settings) -> None:
    env = _child_environment(settings)
    worker = python("secateur.cli", "worker")
    api = python("secateur.cli", "api", "--host", host, "--port", str(port))
    family.add("worker", lambda log: start(worker, log=log, env=env))
    family.add("api", lambda log: start(api, log=log, env=env))


def _tend(family: Family, asked_to_stop: Asked, done: Callable[[], bool]) -> bool:
    """Keep the children alive until `done`; False if the end was asked for first."""
    while not asked_to_stop():
        family.tend()
        if done():
            return True
        time.sleep(_PAUSE_SECONDS)
    return False


def _ready(url: str, deadline: float) -> bool:
    try:
        # Asked directly: a proxy in the environment has no part in this.
        answer = httpx.get(f"{url}/readyz", timeout=5.0, trust_env=False)
    except httpx.HTTPError as error:
        why = f"{type(error).__name__}: {error}"
    else:
        if answer.status_code == httpx.codes.OK:
            return True
        why = answer.text[:500]
    if time.monotonic() > deadline:
        raise StoreUnavailable(
            f"the server was not ready after {READY_SECONDS:g} s: {why}",
            remedy="See the logs in the data folder.",
        )
    return False


def _announce(url: str, keyed: bool) -> None:
    spec = {
        "model": {"source": EXAMPLES[0].source},
        "sparsity": 0.5,
        "calibration": {"samples": 64, "sequence_length": 256},
    }
    print(f"ready {url}", flush=True)
    print(f"dashboard: {url}/")
    post = f"curl -sS {url}/v1/jobs -H 'Content-Type: application/json'"
    if keyed:
        post += ' -H "Authorization: Bearer $SECATEUR_API_KEY"'
    print(f"{post} -d '{json.dumps(spec)}'", flush=True)


def _child_environment(settings: Settings) -> dict[str, str]:
    """The environment that says all of `settings`, and no other broker to Celery."""
    # What came from a file is said in its variable now, and may not be said twice.
    files = {f"SECATEUR_{name}_FILE".upper() for name in Settings.model_fields}
    env = {
        k: v for k, v in os.environ.items() if not k.startswith("CELERY_BROKER") and k not in files
    }
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, tuple):
            # As Settings takes them apart: folders are joined otherwise than names.
            between = ":" if all(isinstance(part, Path) for part in value) else ","
            value = between.join(str(part) for part in value)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, BaseModel):
            value = value.model_dump_json()
        if value is not None:
            env[f"SECATEUR_{name.upper()}"] = str(value)
    return environment(env)


@contextmanager
def _signals() -> Iterator[Asked]:
    """Whether the end was asked for, from now to the end of the block."""
    asked: list[int] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # it is under nohup
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, lambda got, _: asked.append(got)) for number in numbers]
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _private_folder(data: Path) -> Path:
    folder = data.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise BadRequest(
            f"{folder} cannot be used: {error.strerror}.", remedy="Choose another with --data."
        ) from None
    return folder


@contextmanager
def _only_server_of(folder: Path) -> Iterator[None]:
    with (folder / "serve.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BadRequest(
                f"another `secateur serve` (process {lock.read().strip()}) uses {folder}.",
                remedy="Stop it, or choose another folder with --data.",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _usable(host: str, port: int) -> int:
    """`port`, when nobody has it; a free one for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"fails: {error.strerror}"
            raise BadRequest(
                f"port {port} of {host} {reason}.",
                remedy="Choose another with --port, 0 taking any free one, or another --host.",
            ) from None
        return int(probe.getsockname()[1])


def _sqlite(file: Path) -> str:
    url = f"sqlite:///{file}"
    if make_url(url).database != str(file):
        raise BadRequest(
            f"{file.parent} cannot hold the database: its name means something in a URL.",
            remedy="Choose a folder without '?' with --data.",
        )
    return url
