"""docs/webhooks.md: its receiver runs as it stands, its commands parse, its routes and fields exist."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_bytes
from typing import get_args

from fastapi.routing import APIRoute

from api.app import ROUTERS
from core.jobs.notices import JobEvent, JobNotice
from core.settings import Settings
from core.spec import parse_spec
from core.webhooks.allowed import Allowed
from core.webhooks.schedule import RETRIES
from core.webhooks.sending import Answer, Sender
from core.webhooks.signing import new_secret, signed_headers
from secateur.broker import free_port
from tests.deployment.compose import ROOT
from tests.deployment.test_docs import CALL, CODE, parse
from tests.faults.farm import wait_for

TEXT = (ROOT / "docs" / "webhooks.md").read_text()


@contextmanager
def running(folder: Path, secret: str) -> Iterator[tuple[int, Path]]:
    """The guide's receiver, in a process of its own: its port, and what it prints."""
    [code] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (folder / "receiver.py").write_text(code)
    port, out = free_port("127.0.0.1"), folder / "out"
    with out.open("w") as log, (folder / "err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "receiver.py", secret, str(port)],
            cwd=folder,
            stdout=log,
            stderr=errors,
        )
        try:
            yield port, out
        finally:
            process.kill()
            process.wait()


def test_the_receiver_takes_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    secret, body = new_secret(token_bytes), '{"type": "job.failed", "data": {"id": "job_1"}}'
    sender = Sender(Allowed(("127.0.0.1",)), 5.0)
    with running(tmp_path, secret) as (port, out):

        def post(signed_by: str) -> Answer:
            headers = signed_headers("msg_1", body, [signed_by], datetime.now(UTC))
            return sender.post(f"http://127.0.0.1:{port}/", body.encode(), headers)

        wait_for(lambda: post(secret).taken, "the receiver")
        assert post(secret).taken
        assert post(new_secret(token_bytes)).status == 401
        assert out.read_text() == "job.failed job_1\n"


def test_commands_parse() -> None:
    calls = {m[1].strip(" '\"") for m in CALL.finditer("\n".join(CODE.findall(TEXT)))}
    assert {call.split()[0] for call in calls} == {"webhooks", "serve"}
    for call in calls:
        parse(call)


def test_the_spec_is_one() -> None:
    [example] = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert parse_spec(json.loads(example)).webhook


def test_routes_exist() -> None:
    there = {
        f"{method} {route.path}"
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    told = set(re.findall(r"`((?:GET|POST) /v1/[^`]*)`", TEXT))
    assert len(told) >= 7
    assert told <= there


def test_fields_settings_and_waits_are_the_program_s() -> None:
    fields = set(re.findall(r"`data\.(\w+)`", TEXT))
    assert fields == JobNotice.model_fields.keys()
    types = set(re.findall(r"`(job\.\w+)`", TEXT))
    assert types == set(get_args(JobEvent))
    named = set(re.findall(r"SECATEUR_(\w+)", TEXT))
    assert {name.lower() for name in named} <= Settings.model_fields.keys()
    assert [each / 3600 for each in RETRIES[3:]] == [2, 5, 10, 14, 20, 24]
    assert "2, 5, 10, 14, 20 and 24\nhours" in TEXT
