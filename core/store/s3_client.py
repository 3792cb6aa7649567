"""The boto3 client that an `S3Store` talks through."""

import base64
import hashlib
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from boto3.session import Session
from botocore.config import Config
from botocore.loaders import Loader, create_loader

from core.store.s3_credentials import RereadingSession
from core.store.s3_options import S3Options

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_REGION: Final = "us-east-1"  # what stores that know no regions expect in a signature


def connect(options: S3Options, endpoint: str | None) -> Any:
    """A client, safe to share between threads but not across a fork; nothing is sent yet.

    `standard` retries refused connections, timeouts, 500s and SlowDown with growing random pauses.
    """
    host = urlsplit(endpoint).hostname if endpoint else None
    config = Config(
        signature_version="s3v4",
        connect_timeout=min(10.0, options.timeout),
        read_timeout=options.timeout,
        retries={"mode": "standard", "total_max_attempts": options.attempts},
        max_pool_connections=options.threads + 2,
        request_checksum_calculation=options.checksums,
        response_checksum_validation=options.checksums,
        # A proxy from the environment cannot reach this machine's own loopback interface.
        proxies={} if host in _LOOPBACK else None,
        s3={
            "addressing_style": options.addressing,
            # Signing the body makes the store refuse one that was damaged on its way.
            "payload_signing_enabled": True,
        },
    )
    session = _session()
    region = options.region or session.region_name or _REGION
    client = session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
    client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    return client


def _session() -> Session:
    core = RereadingSession()
    # Most of the time a client takes to make goes into reading the description of S3: once is enough.
    core.register_component("data_loader", _loader())
    return Session(botocore_session=core)


@cache
def _loader() -> Loader:
    return create_loader()


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    """Stores older than 2025 demand Content-MD5 here, and do not know the CRC32 that boto3 sends."""
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()
