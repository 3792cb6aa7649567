"""What importing may load, which status an error has, and what the OpenAPI document says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.catalog import SUMMARIES
from api.guards import is_loopback
from api.problems import MEDIA_TYPE, STATUS, problem_of, status_of
from core.errors import BadRequest, tree
from core.recipes import METHODS
from core.settings import Settings
from secateur.problems import rebuilt

ABSENT_WITHOUT_THE_WORKER_EXTRA = [
    "torch",
    "transformers",
    "numpy",
    "safetensors",
    "tokenizers",
    "jinja2",
    "matplotlib",
    # psutil is not in this list: OpenTelemetry, which redis-py loads where it is there, brings it.
    "pyarrow",
    "huggingface_hub",
]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("api.app", [*ABSENT_WITHOUT_THE_WORKER_EXTRA, "workers", "secateur"]),
        (
            "secateur.async_client",
            [*ABSENT_WITHOUT_THE_WORKER_EXTRA, "fastapi", "celery", "sqlalchemy"],
        ),
        ("secateur.cli", [*ABSENT_WITHOUT_THE_WORKER_EXTRA, "fastapi", "celery", "httpx"]),
    ],
)
def test_importing_stays_light(module: str, unwanted: list[str]) -> None:
    # The mlflow extra brings OpenTelemetry's SDK, which redis loads where it is, and psutil with it.
    code = (
        f"import sys; sys.modules['opentelemetry.sdk'] = None; import {module};"
        f"print([m for m in {unwanted} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_has_a_status_and_a_problem() -> None:
    for kind in tree().values():
        problem = problem_of(rebuilt(kind.code, "what", "do this"))
        assert problem.status == status_of(kind)
        assert 400 <= problem.status < 600
        assert problem.type.endswith(kind.code)
    assert all(
        400 <= status < 500 for kind, status in STATUS.items() if issubclass(kind, BadRequest)
    )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"]
)
def test_loopback_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "2130706433",
        "evil.com",
    ],
)
def test_other_names_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("openapi")
    settings = Settings(
        database_url=f"sqlite:///{folder}/a.db",
        store_url=folder.as_uri(),
        broker_url="redis://127.0.0.1:1",
    )
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield f"{verb} {path}", operation


def test_every_operation_is_described_with_its_problems(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags, name
        problems = [
            r for r in operation["responses"].values() if MEDIA_TYPE in r.get("content", {})
        ]
        assert problems, name
        for problem in problems:
            schema = problem["content"][MEDIA_TYPE]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, name
        success = next(r for status, r in operation["responses"].items() if status.startswith("2"))
        kinds = success.get("content", {})
        assert "example" in kinds.get("application/json", {"example": 1}), name


def test_every_reference_in_the_document_resolves(document: dict[str, Any]) -> None:
    references = {
        part.split('"')[0]
        for part in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    }
    assert {"JobSpec", "Problem", "Job"} <= references
    assert references <= set(document["components"]["schemas"])


def test_what_is_not_configured_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="SECATEUR_BROKER_URL"):
        create_app(Settings(database_url=f"sqlite:///{tmp_path}/a.db", store_url=tmp_path.as_uri()))


def test_every_method_is_described() -> None:
    assert set(SUMMARIES) == set(METHODS)
