"""What importing may load, and which status an error has."""

import subprocess
import sys
from pathlib import Path

import pytest

from api.app import create_app
from api.catalog import SUMMARIES
from api.guards import is_loopback
from api.problems import STATUS, problem_of, status_of
from core.all_errors import tree
from core.errors import BadRequest
from core.recipes import METHODS
from core.settings import Settings
from secateur.problems import rebuilt

ABSENT_WITHOUT_THE_WORKER_EXTRA = [
    "torch",
    "transformers",
    "numpy",
    "safetensors",
    "tokenizers",
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
            [*ABSENT_WITHOUT_THE_WORKER_EXTRA, "fastapi", "celery", "sqlalchemy", "jinja2"],
        ),
        (
            "secateur.cli",
            [*ABSENT_WITHOUT_THE_WORKER_EXTRA, "fastapi", "celery", "httpx", "jinja2"],
        ),
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


def test_what_is_not_configured_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="SECATEUR_BROKER_URL"):
        create_app(Settings(database_url=f"sqlite:///{tmp_path}/a.db", store_url=tmp_path.as_uri()))


def test_every_method_is_described() -> None:
    assert set(SUMMARIES) == set(METHODS)
