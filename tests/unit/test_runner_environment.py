"""Secrets on their way to a run: not in its environment, not in its request, and where clients look."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from core import vault
from core.spec import parse_spec
from core.store.s3_credentials import RereadingSession
from core.tracking.target import Target
from tests.buckets import credentials
from tests.faults.farm import clean_environment
from workers.environment import SECRETS, open_to_a_run, secrets_of
from workers.protocol import Request, understood, written


@pytest.fixture(autouse=True)
def empty_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "_held", {})


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES",
     "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR", "LD_LIBRARY_PATH", "PYTHONPATH",
     "SSL_CERT_FILE", "https_proxy", "HF_ENDPOINT", "HF_HUB_DISABLE_XET", "HF_TOKEN_PATH",
     "TOKENIZERS_PARALLELISM", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE",
     "AWS_ENDPOINT_URL_S3", "MLFLOW_S3_ENDPOINT_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "HSA_OVERRIDE_GFX_VERSION"],
)  # fmt: skip
def test_what_says_where_and_how_is_passed_on(name: str) -> None:
    assert open_to_a_run({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "name",
    [*sorted(SECRETS), "SECATEUR_DATABASE_URL", "SECATEUR_API_KEY", "PGPASSWORD", "DATABASE_URL", "GITHUB_TOKEN",
     "MLFLOW_NEW_TOKEN", "HF_HUB_SECRET", "OTEL_EXPORTER_OTLP_LOGS_HEADERS", "PYTHON_KEYRING_KEY",
     "NVIDIA_API_KEY", "TORCH_PASSWORD", "AWS_SOMETHING_NEW", "CELERY_BROKER_URL", "PATHS"],
)  # fmt: skip
def test_the_rest_is_not(name: str) -> None:
    assert open_to_a_run({name: "x"}) == {}


def test_an_operator_adds_names_but_no_secret_of_ours() -> None:
    environ = {"HTTP_HEADERS": "x", "HF_TOKEN": "s3cr3t", "SECATEUR_URL": "x"}
    assert open_to_a_run(environ, ["HTTP_HEADERS", "HF_TOKEN", "SECATEUR_URL", "NONE"]) == {
        "HTTP_HEADERS": "x"
    }


def request_for(folder: Path) -> Request:
    spec = parse_spec({"model": {"source": "example:x"}, "sparsity": 0.5})
    return Request(
        job_id="job_s", epoch=1, spec=spec, supervisor=1, entry="a:b", store_url="file:///store",
        scratch=folder, device="cpu", threads=None, memory_budget=None, model_roots=(),
        mlflow=Target("http://me:s3cr3t@tracker", "e"),
    )  # fmt: skip


def test_they_go_beside_the_request(tmp_path: Path) -> None:
    request = request_for(tmp_path)
    secrets = secrets_of(
        {"HF_TOKEN": "s3cr3t\nin two lines", "PATH": "x", "MLFLOW_TRACKING_TOKEN": ""}
    )
    assert understood(written(request, secrets)) == (request, secrets)
    assert understood(written(request, {})) == (request, {})
    assert understood(request.model_dump_json().encode()) == (request, {})
    assert secrets["HF_TOKEN"].get_secret_value() == "s3cr3t\nin two lines"
    assert "s3cr3t" not in repr(secrets) + repr(request) + str(request)


def test_clients_find_them_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of the environment")
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    assert vault.hub_token() == "of the environment"
    vault.hold({"HF_TOKEN": SecretStr("held")})
    assert vault.hub_token() == "held"
    vault.hold({"HF_TOKEN": SecretStr(""), "HUGGING_FACE_HUB_TOKEN": SecretStr("old name")})
    assert vault.hub_token() == "old name"
    assert "old name" not in repr(vars(vault))


class TestS3:
    @pytest.fixture(autouse=True)
    def no_credentials(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))

    def test_credentials_are_found(self) -> None:
        assert RereadingSession().get_credentials() is None
        vault.hold(
            {
                "AWS_ACCESS_KEY_ID": SecretStr("id"),
                "AWS_SECRET_ACCESS_KEY": SecretStr("key"),
                "AWS_SESSION_TOKEN": SecretStr("token"),
            }
        )
        found = RereadingSession().get_credentials()
        assert (found.access_key, found.secret_key, found.token) == ("id", "key", "token")
        assert "AWS_SECRET_ACCESS_KEY" not in os.environ

    def test_they_come_before_a_file_as_those_of_the_environment_do(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "credentials"
        file.write_text("[default]\naws_access_key_id = f\naws_secret_access_key = f\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        vault.hold({"HF_TOKEN": SecretStr("another secret")})
        assert RereadingSession().get_credentials().access_key == "f"
        with credentials():
            assert RereadingSession().get_credentials().method == "env"

    def test_a_container_asks_its_own_service(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def retrieve(_: object, url: str, headers: object = None) -> dict[str, str]:
            asked.append(url)
            return {"AccessKeyId": "id", "SecretAccessKey": "key", "Token": "t",
                    "Expiration": "2100-01-01T00:00:00Z"}  # fmt: skip

        monkeypatch.setattr(
            "botocore.credentials.ContainerMetadataFetcher.retrieve_full_uri", retrieve
        )
        vault.hold({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": SecretStr("/v2/credentials/abc")})
        found = RereadingSession().get_credentials()
        assert found.get_frozen_credentials().access_key == "id"
        assert asked == ["http://169.254.170.2/v2/credentials/abc"]


def test_the_environment_shows_them_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "before")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    vault.hold(
        {
            "MLFLOW_TRACKING_USERNAME": SecretStr("me"),
            "MLFLOW_TRACKING_PASSWORD": SecretStr("s3cr3t"),
        }
    )
    with vault.shown():
        os.environ["SET_WITHIN"] = "stays"
        assert os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "s3cr3t"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "before"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
    assert os.environ.pop("SET_WITHIN") == "stays"


def test_a_worker_hides_its_own_environment() -> None:
    check = (
        "import ctypes, sys; from core.processes import hide_from_peers as hide\n"
        "dumpable = lambda: ctypes.CDLL(None).prctl(3)\n"
        "before = dumpable(); hide(); sys.exit((before, dumpable()) != (1, 0))"
    )
    subprocess.run([sys.executable, "-c", check], env=clean_environment(), check=True)
