"""Talk to a Secateur server from Python.

    with Client() as client:
        job = client.submit({"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5})
        job = client.wait(job.id)
        client.download(job.id, Path("pruned"))

What the server refuses is raised as the class of `core.errors` that the server raised. With an event
loop: `secateur.async_client`. What each call asks and understands is written once, for both, in
`Calls`.
"""

from types import TracebackType
from typing import Any, Final, Self

import httpx

from core.errors import BadRequest
from secateur.admin_calls import AdminCalls
from secateur.artifact_calls import ArtifactCalls
from secateur.bearer import BearerKey
from secateur.blocking import blocking, blocking_each
from secateur.job_calls import JobCalls
from secateur.line import BlockingLine
from secateur.sweep_calls import SweepCalls
from secateur.webhook_calls import WebhookCalls

DEFAULT_URL: Final = "http://127.0.0.1:8000"


class Calls(JobCalls, ArtifactCalls, SweepCalls, WebhookCalls, AdminCalls):
    """Everything that can be asked of one server."""


class Client:
    """One server. Not safe to share between threads.

    `api_key` is sent to this server only, and not to where it sends for a download.
    """

    def __init__(
        self, url: str = DEFAULT_URL, *, api_key: str | None = None, timeout: float = 30.0
    ) -> None:
        self._http = httpx.Client(**options_of(url, api_key, timeout))
        self._calls = Calls(BlockingLine(self._http), self._http.base_url, timeout)

    submit = blocking(Calls.submit)
    estimate = blocking(Calls.estimate)
    get = blocking(Calls.get)
    list = blocking_each(Calls.list)
    changed = blocking(Calls.changed)
    wait = blocking(Calls.wait)
    events = blocking_each(Calls.events)
    cancel = blocking(Calls.cancel)
    retry = blocking(Calls.retry)
    delete = blocking(Calls.delete)
    workers = blocking(Calls.workers)

    artifacts = blocking(Calls.artifacts)
    report = blocking(Calls.report)
    download = blocking(Calls.download)

    submit_sweep = blocking(Calls.submit_sweep)
    estimate_sweep = blocking(Calls.estimate_sweep)
    sweep = blocking(Calls.sweep)
    sweeps = blocking_each(Calls.sweeps)
    wait_sweep = blocking(Calls.wait_sweep)
    cancel_sweep = blocking(Calls.cancel_sweep)
    delete_sweep = blocking(Calls.delete_sweep)
    compare_sweep = blocking(Calls.compare_sweep)
    compare = blocking(Calls.compare)

    deliveries = blocking_each(Calls.deliveries)
    delivery = blocking(Calls.delivery)
    redeliver = blocking(Calls.redeliver)
    test_webhook = blocking(Calls.test_webhook)
    describe_webhook_secret = blocking(Calls.describe_webhook_secret)
    webhook_secret = blocking(Calls.webhook_secret)
    rotate_webhook_secret = blocking(Calls.rotate_webhook_secret)

    usage = blocking(Calls.usage)
    api_keys = blocking(Calls.api_keys)
    create_key = blocking(Calls.create_key)
    revoke_key = blocking(Calls.revoke_key)
    tenants = blocking(Calls.tenants)
    set_quota = blocking(Calls.set_quota)
    clear_quota = blocking(Calls.clear_quota)
    audit = blocking_each(Calls.audit)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def options_of(url: str, api_key: str | None, timeout: float) -> dict[str, Any]:
    """What a client of httpx is made with, for the server at `url`.

    Raises:
        BadRequest: that is no URL, or no key.
    """
    try:
        base = httpx.URL(url)
        return {
            "base_url": base,
            "timeout": timeout,
            # A proxy from the environment cannot reach this machine's own loopback interface.
            "trust_env": base.host not in ("localhost", "127.0.0.1", "::1"),
            "auth": None if api_key is None else BearerKey(api_key, base),
        }
    except (httpx.InvalidURL, UnicodeError) as error:
        raise BadRequest(
            f"{url!r} is not a URL: {error}.", remedy="Write http://HOST:PORT."
        ) from None
