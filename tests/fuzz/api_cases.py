"""Schemathesis reads the API's description and sends the real server whatever it allows, and what not.

SECATEUR_FUZZ_EXAMPLES says how many requests of each kind; the few of the default belong to `make test`.
"""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from requests import Session
from schemathesis import Case as CaseOf
from schemathesis import Config

from api.described import operations
from secateur.broker import Broker
from tests.faults.farm import wait_for
from tests.fuzz.narrowed import has_a_cursor, keyless_form, narrowed, takes_a_spec
from tests.served import Served, served
from tools.api_docs import document

Case: TypeAlias = CaseOf[Any]
EXAMPLES = int(os.environ.get("SECATEUR_FUZZ_EXAMPLES", "2"))
THINNED = 1 if EXAMPLES > 2 else 8
"""A spec's fields have hundreds of edges: by default one in so many is met."""
WAIT = 0.05
BEFORE = (404, 405, 413, 415)  # refused before anybody looks at a key: no such path, no such body
METRICS = "the operator's own"
HOOK = {"url": "https://hooks.example.com/"}
API = narrowed(document())
# A field can be right where its spec is not: no schema says that owl and magnitude exclude each other.
# A query may hold any metadata.KEY, and only some texts are keys; `after` may be any text, and only what a
# page has said is a cursor.
ALSO_REFUSED = [
    operation["operationId"]
    for _, _, operation in operations(API)
    if takes_a_spec(operation) or "x-query-prefixes" in operation or has_a_cursor(operation)
]
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "412", "416", "429", "503"]


def schema(api: dict[str, Any], examples: int, *, thorough: bool) -> schemathesis.BaseSchema:
    lax = {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "400", "422"]}}
    config = Config.from_dict(
        {
            "seed": 0,
            "generation": {"deterministic": True, "max-examples": examples},
            "phases": {
                "examples": {"enabled": thorough},
                "coverage": {"enabled": thorough},
                "stateful": {
                    "enabled": False
                },  # it follows links, which the description has none of
            },
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
            "operations": [{"include-operation-id": ALSO_REFUSED, "checks": lax}],
        }
    )
    return schemathesis.openapi.from_dict(api, config=config)


every_case = schema(API, EXAMPLES, thorough=True)
some_cases = schema(API, max(1, EXAMPLES // 2), thorough=False)
keyless_cases = schema(keyless_form(API), max(1, EXAMPLES // 2), thorough=False)
at_leisure = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("broker")
    started = Broker(folder)
    process = started.start(folder / "log")
    wait_for(started.answers, "the broker")
    yield started.url
    process.terminate()
    process.wait()


def _serving(folder: Path, broker: str) -> AbstractContextManager[Served]:
    unlimited: dict[str, Any] = {"reads_per_minute": 0, "writes_per_minute": 0}
    unlimited |= {"failures_per_minute": 10**9, "metrics_token": METRICS}
    return served(folder, broker_url=broker, **unlimited)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Served]:
    with _serving(tmp_path_factory.mktemp("keyed"), broker) as server:
        server.key()  # from now on it serves nobody without
        yield server


@pytest.fixture(scope="module")
def admin(keyed: Served) -> str:
    return keyed.key("admin").text


@pytest.fixture(scope="module")
def reader(keyed: Served) -> str:
    return keyed.key("jobs:read").text


@pytest.fixture(scope="module")
def line() -> Iterator[Session]:
    """One connection for all requests to a server."""
    with Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Iterator[Served]:
    with _serving(tmp_path_factory.mktemp("keyless"), broker) as server:
        yield server


KINDS: tuple[Callable[[Served], str], ...] = (
    lambda server: server.submit(),
    lambda server: server.running(),
    lambda server: server.failed(),
    lambda server: server.succeeded({"report/report.json": b"{}"}, webhook=HOOK),
)


def chance(case: Case) -> int:
    """A number that is the same for the same request, and as good as any."""
    return zlib.crc32(repr((case.path_parameters, case.query, case.headers, case.body)).encode())


def led_somewhere(server: Served, case: Case) -> None:
    """Let half of the well-formed paths lead to something that is there; and nobody wait for long."""
    names, seed = case.path_parameters or {}, chance(case)
    if case.meta is not None and case.meta.generation.mode.is_positive and seed % 2 and names:
        if "job_id" in names:
            names["job_id"] = KINDS[seed // 2 % len(KINDS)](server)
        if "delivery_id" in names and "job_id" in names:
            names["delivery_id"] = f"msg_{names['job_id'].removeprefix('job_')}_3"
        if "sweep_id" in names:
            names["sweep_id"] = server.sweep()
        if "name" in names:
            names["name"] = "report/report.json"
        if "key_id" in names:
            names["key_id"] = server.key("jobs:read").key.id
    wait = (case.query or {}).get("wait")
    if isinstance(wait, int | float) and WAIT < wait <= 60:
        case.query["wait"] = WAIT


def bearing(case: Case, key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {METRICS if case.path == '/metrics' else key}"}


@every_case.parametrize()
@at_leisure
def test_an_administrator_meets_what_is_described(
    keyed: Served, admin: str, line: Session, case: Case
) -> None:
    if takes_a_spec(case.operation.definition.raw) and chance(case) % THINNED:
        return
    led_somewhere(keyed, case)
    case.call_and_validate(base_url=keyed.url, session=line, headers=bearing(case, admin))


@keyless_cases.parametrize()
@at_leisure
def test_so_does_whoever_comes_to_a_server_without_keys(
    keyless: Served, line: Session, case: Case
) -> None:
    led_somewhere(keyless, case)
    case.call_and_validate(base_url=keyless.url, session=line, headers=bearing(case, "none"))


@some_cases.parametrize()
@at_leisure
def test_without_a_good_key_nothing_opens(keyed: Served, line: Session, case: Case) -> None:
    given = {"Authorization": f"Bearer sec_0123456789ab_{'0' * 64}"} if chance(case) % 2 else {}
    led_somewhere(keyed, case)
    answer = case.call_and_validate(base_url=keyed.url, session=line, headers=given)
    if "security" in case.operation.definition.raw:
        assert answer.status_code in (401, *BEFORE)


@some_cases.parametrize()
@at_leisure
def test_a_reading_key_only_reads(keyed: Served, reader: str, line: Session, case: Case) -> None:
    led_somewhere(keyed, case)
    answer = case.call_and_validate(base_url=keyed.url, session=line, headers=bearing(case, reader))
    for needs in case.operation.definition.raw.get("security", ()):
        if needs["API key"] != ["jobs:read"]:
            assert answer.status_code in (401, 403, *BEFORE)
