"""What the pods are told: settings that exist, commands that exist, and no secret anywhere."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
import yaml
from packaging.version import Version

import secateur.cli
from core.settings import Settings
from tests.deployment.chart import (
    CHART,
    EXAMPLES,
    MINIMAL,
    ROOT,
    Manifest,
    containers,
    environment,
    named,
    of_kind,
    pods,
    render,
)

OTHERS: Final = {"HOME", "HF_ENDPOINT", "HF_TOKEN_PATH", "AWS_SHARED_CREDENTIALS_FILE"}
GPU: Final = CHART / "ci" / "gpu-values.yaml"
EVERYTHING: Final = CHART / "ci" / "everything-values.yaml"


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda file: file.stem)
def release(request: pytest.FixtureRequest) -> list[Manifest]:
    file: Path = request.param
    return render(file)


def test_every_variable_is_one_that_somebody_reads(release: list[Manifest]) -> None:
    fields = {f"SECATEUR_{field.upper()}" for field in Settings.model_fields}
    known = fields | {f"{name}_FILE" for name in fields} | OTHERS
    for container in containers(release):
        assert environment(container, release).keys() - known == set()


def test_every_setting_in_the_values_exists() -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    assert schema["properties"]["settings"]["properties"].keys() - Settings.model_fields == set()


def test_the_settings_are_understood(
    release: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    for container in containers(release):
        with monkeypatch.context() as patched:
            for name, value in environment(container, release).items():
                if not name.endswith("_FILE"):  # the files exist in the cluster only
                    patched.setenv(name, value)
            settings = Settings()
        assert settings.database_url
        assert settings.broker_url
        assert settings.store_url


def test_commands_are_verbs_with_their_options(release: list[Manifest]) -> None:
    verbs = typer.main.get_command(secateur.cli.app).commands  # type: ignore[attr-defined]  # a click group's
    seen = set()
    for container in containers(release):
        program, verb = container["command"]
        assert program == "secateur"
        arguments = container.get("args", [])
        verbs[verb].make_context(verb, list(arguments))  # raises for what it does not know
        seen.add(verb)
    assert seen == {"api", "worker", "init", "doctor"}


def test_secrets_come_as_files_that_are_mounted(release: list[Manifest]) -> None:
    for pod in pods(release):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for container in pod["spec"]["containers"]:
            files = set()
            if "secrets" in volumes:
                [mount] = [m for m in container["volumeMounts"] if m["name"] == "secrets"]
                files = {
                    f"{mount['mountPath']}/{item['path']}"
                    for source in volumes["secrets"]["projected"]["sources"]
                    for item in source["secret"]["items"]
                }
            told = environment(container, release)
            named_files = {v for k, v in told.items() if k.endswith(("_FILE", "_TOKEN_PATH"))}
            assert named_files == files


def test_nothing_secret_is_in_any_manifest(release: list[Manifest]) -> None:
    assert not of_kind(release, "Secret")
    for container in containers(release):
        for name, value in environment(container, release).items():
            assert name.endswith(("_FILE", "_PATH")) or not re.search(
                "PASSWORD|SECRET|TOKEN|KEY", name
            )
            assert not re.search(r"//[^/@]*:[^/@]*@", value), f"{name} has a password in its URL"
        assert all("valueFrom" not in variable for variable in container["env"])


def test_hub_tokens_are_for_workers_alone() -> None:
    for container in containers(render(EVERYTHING)):
        told = environment(container, render(EVERYTHING))
        assert ("HF_TOKEN_PATH" in told) == (container["name"] in ("worker", "check"))


def test_the_token_of_metrics_is_for_the_api_alone() -> None:
    release = render(EVERYTHING)
    holders = {
        container["name"]
        for container in containers(release)
        if "SECATEUR_METRICS_TOKEN_FILE" in environment(container, release)
    }
    assert holders == {"api"}


def test_an_image_version_is_the_packages_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    [version] = re.findall(
        r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert chart["appVersion"] == version
    assert Version(chart["version"])


def test_settings_are_written_as_their_variables_want_them() -> None:
    told = named(render(EVERYTHING), "ConfigMap", "pruning-service")["data"]
    assert told["SECATEUR_ALLOWED_HOSTS"] == "secateur.example.com,secateur"
    assert told["SECATEUR_CANCEL_GRACE_SECONDS"] == "0.5"
    assert told["SECATEUR_LOG_LEVEL"] == "DEBUG"
    assert json.loads(told["SECATEUR_RETENTION"]) == {
        "default": {"ttl_days": 90},
        "search": {"ttl_days": 30, "keep_last": 5},
    }


def told_to_worker(release: list[Manifest], name: str) -> tuple[dict[str, str], Manifest]:
    deployment = named(release, "Deployment", f"r1-secateur-worker-{name}")
    spec = deployment["spec"]["template"]["spec"]
    return environment(spec["containers"][0], release), spec


def test_classes_of_workers_differ_where_they_should() -> None:
    release = render(GPU)
    cpu, cpu_pod = told_to_worker(release, "cpu")
    gpu, gpu_pod = told_to_worker(release, "h100")
    part, part_pod = told_to_worker(release, "slice")
    devices = [told["SECATEUR_DEVICE"] for told in (cpu, gpu, part)]
    assert devices == ["cpu", "cuda", "cuda:0"]
    # Three quarters of 32 GiB; whatever the device has free; as given.
    budgets = [told.get("SECATEUR_MEMORY_BUDGET") for told in (cpu, gpu, part)]
    assert budgets == [str(24 << 30), None, str(30 << 30)]
    assert [told["SECATEUR_THREADS"] for told in (cpu, gpu, part)] == ["7", "16", "8"]
    limits = [pod["containers"][0]["resources"]["limits"] for pod in (cpu_pod, gpu_pod, part_pod)]
    assert [set(limit) - {"cpu", "memory"} for limit in limits] == [
        set(), {"nvidia.com/gpu"}, {"nvidia.com/mig-3g.40gb"},
    ]  # fmt: skip
    assert "runtimeClassName" not in cpu_pod
    assert gpu_pod["runtimeClassName"] == "nvidia"
    assert gpu_pod["containers"][0]["image"] == "registry.example.com/secateur-worker:1.0-cuda"
    assert part_pod["containers"][0]["image"] == "secateur-worker:0.1.0-cuda"
    assert cpu_pod["containers"][0]["image"] == "secateur-worker:0.1.0-cpu"


@pytest.mark.parametrize(
    ("memory", "budget"),
    [("4G", 3 * 10**9), ("4Gi", 3 << 30), ("512Mi", 384 << 20), ("8000", 6000)],
)
def test_a_budget_follows_from_the_limit(memory: str, budget: int) -> None:
    workers = [{"name": "a", "resources": {"limits": {"memory": memory}}}]
    told, _ = told_to_worker(render(MINIMAL, workers=workers), "a")
    assert told["SECATEUR_MEMORY_BUDGET"] == str(budget)
    assert "SECATEUR_THREADS" not in told


@pytest.mark.parametrize(("cpus", "threads"), [("500m", "1"), ("3900m", "3"), ("2.5", "2")])
def test_threads_follow_from_the_limit(cpus: str, threads: str) -> None:
    workers = [{"name": "a", "resources": {"limits": {"memory": "1Gi", "cpu": cpus}}}]
    told, _ = told_to_worker(render(MINIMAL, workers=workers), "a")
    assert told["SECATEUR_THREADS"] == threads


@pytest.mark.parametrize(
    ("changes", "ports"),
    [
        ({}, {5432, 6379, 7070}),
        ({"databaseUrl": "postgresql://a@b/c", "brokerUrl": "redis://b"}, {5432, 6379, 7070}),
        ({"databaseUrl": "postgresql://a@b:1/c", "brokerUrl": "rediss://b:2/0"}, {1, 2, 7070}),
        ({"storeUrl": "s3://bucket/prefix?region=eu-west-1"}, {5432, 6379, 443}),
        ({"storeUrl": "s3://bucket?threads=4&endpoint=http://s3"}, {5432, 6379, 80}),
        ({"storeUrl": "s3://bucket?public_endpoint=http://p:9&endpoint=https://s3"}, {5432, 6379, 443}),
        ({"storeUrl": "s3://bucket?endpoint=https%3A%2F%2Fs3%3A9000"}, {5432, 6379, 9000}),
    ],
)  # fmt: skip
def test_pods_may_connect_to_the_ports_of_the_urls(
    changes: dict[str, Any], ports: set[int]
) -> None:
    policy = named(render(MINIMAL, **changes), "NetworkPolicy", "r1-secateur-api")
    found = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert found == ports | {53}


def test_a_changed_setting_starts_new_pods() -> None:
    def checksums(**changes: Any) -> set[str]:
        templates = [d["spec"]["template"] for d in of_kind(render(**changes), "Deployment")]
        return {template["metadata"]["annotations"]["checksum/config"] for template in templates}

    before, same, after = checksums(), checksums(), checksums(**{"settings.log_level": "DEBUG"})
    assert before == same
    assert len(before) == len(after) == 1
    assert before != after
