"""Values that mean nothing are refused, by the name of what is wrong."""

import json
from typing import Any, Final

import pytest
import yaml

from tests.deployment.chart import CHART, refusal

RESOURCES: Final = {"limits": {"memory": "1Gi"}}


def worker(**more: Any) -> dict[str, Any]:
    return {"workers": [{"name": "a", "resources": RESOURCES, **more}]}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"replicas": 3}, "replicas"),
        ({"api.replica": 3}, "replica"),
        ({"api.replicas": "3"}, "/api/replicas"),
        ({"settings.log_levle": "DEBUG"}, "log_levle"),
        ({"settings.database_password": "hunter2"}, "database_password"),
        ({"settings.max_attempts": 0}, "/settings/max_attempts"),
        ({"settings.scan_seconds": 300}, "/settings/scan_seconds"),
        ({"databaseUrl": "postgresql://me:hunter2@db/jobs"}, "/databaseUrl"),
        ({"databaseUrl": "postgresql://me@db/jobs?password=hunter2"}, "/databaseUrl"),
        ({"databaseUrl": "sqlite:////jobs.db"}, "/databaseUrl"),
        ({"brokerUrl": "redis://:hunter2@redis/0"}, "/brokerUrl"),
        ({"brokerUrl": "redis://redis/0?password=hunter2"}, "/brokerUrl"),
        ({"brokerUrl": "amqp://rabbit"}, "/brokerUrl"),
        ({"storeUrl": "file:///objects"}, "/storeUrl"),
        ({"storeUrl": "s3://key:secret@bucket"}, "/storeUrl"),
        ({"storeUrl": None}, "storeUrl"),
        ({"databaseSecret.password": "hunter2"}, "password"),
        ({"images.api.digest": "sha256:12"}, "/images/api/digest"),
        ({"models": [{"claim": "a", "path": "models"}]}, "/models/0/path"),
        ({"ingress.enabled": True}, "/ingress/host"),
        ({"httpRoute.enabled": True}, "/httpRoute/parentRefs"),
        ({"networkPolicy.database.to": ["10.0.0.1"]}, "/networkPolicy/database/to/0"),
        ({"networkPolicy.database.to": [{"cidr": "10.0.0.1/32"}]}, "cidr"),
        ({"networkPolicy.hub.ports": []}, "/networkPolicy/hub/ports"),
        ({"workers": [{"resources": RESOURCES}]}, "name"),
        (worker(name="A B"), "/workers/0/name"),
        (worker(devices="cpu"), "devices"),
        (worker(device="tpu"), "/workers/0/device"),
        (worker(gpus=2), "/workers/0/gpus"),
        (worker(resources={"limits": {"cpu": "1"}}), "memory"),
        (worker(resources={"limits": {"memory": "much"}}), "/workers/0/resources/limits/memory"),
        (worker(memoryBudget="much"), "/workers/0/memoryBudget"),
        (worker(maxUnavailable=0), "/workers/0/maxUnavailable"),
        (worker(keda={"scaleDown": "soon"}), "/workers/0/keda/scaleDown"),
    ],
)
def test_the_schema_refuses(changes: dict[str, Any], place: str) -> None:
    said = refusal(**changes)
    assert "don't meet the specifications of the schema" in said
    assert place in said


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (worker(device="cuda"), "a: device cuda and gpus: 0 do not go together"),
        (worker(device="cpu", gpus=1), "a: device cpu and gpus: 1 do not go together"),
        ({"workers": worker()["workers"] * 2}, "there are two named a"),
        ({"workers": [{"name": "a"}]}, "a: resources are missing"),
        (worker(keda={"enabled": True, "minReplicas": 1}), "must be 0 with scaleDown: idle"),
        (
            worker(keda={"enabled": True, "scaleDown": "gradual", "minReplicas": 5}),
            "must not be above keda.maxReplicas",
        ),
        (
            worker(keda={"enabled": True}) | {"brokerUrl": "redis://me@redis"},
            "brokerSecret.usernameKey",
        ),
    ],
)
def test_the_templates_refuse(changes: dict[str, Any], why: str) -> None:
    assert why in refusal(**changes)


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    """An object of the schema without a default, or the reverse, is a typing error in one of them."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(path: str, described: dict[str, Any], given: dict[str, Any]) -> None:
        while "$ref" in described:
            described = schema["definitions"][described["$ref"].rpartition("/")[2]]
        if "properties" not in described or path == ".settings":
            return
        extra = NO_DEFAULT.get(path, set())
        assert described["properties"].keys() - extra == given.keys(), path or "values.yaml"
        for name, value in given.items():
            if isinstance(value, dict):
                compare(f"{path}.{name}", described["properties"][name], value)

    compare("", schema, values)


NO_DEFAULT: Final = {
    "": {"databaseUrl", "brokerUrl", "storeUrl", "global"},
    ".workerDefaults": {"name", "resources"},
    ".workerDefaults.image": {"repository", "tag", "digest"},
    **{
        f".{of}.resources.{kind}": {"ephemeral-storage"}
        for of in ("api", "init")
        for kind in ("requests", "limits")
    },
}
