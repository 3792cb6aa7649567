"""The chart lints, and every manifest it can render is valid for Kubernetes, strictly."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it comes with kubernetes-validate, without stubs
import kubernetes_validate
import pytest

from tests.deployment.chart import CHART, EXAMPLES, MINIMAL, Manifest, helm, named, render, template

CUSTOM: Final = json.loads((Path(__file__).parent / "custom_resources.json").read_text())
OLDEST, NEWEST = "1.30", "1.37"

OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "no init": {"init.enabled": False},
    "no policies": {"networkPolicy.enabled": False},
    "no ingress peers": {"networkPolicy.ingressFrom": []},
    "no hub": {"networkPolicy.hub.enabled": False},
    "another's account": {"serviceAccount": {"create": False, "name": "other"}},
    "database secret": {"databaseSecret.name": "a"},
    "broker secret": {"brokerSecret.name": "a"},
    "store secret": {"storeSecret.name": "a"},
    "hub secret": {"hubSecret.name": "a"},
    "metrics secret": {"metricsSecret.name": "a"},
    "models": {"models": [{"claim": "m", "path": "/m"}, {"claim": "n", "path": "/n"}]},
    "key in a claim": {"init.firstKey.claim": "keys"},
    "keda": {"workerDefaults.keda.enabled": True},
    "gpu": {"workerDefaults.gpus": 1, "workerDefaults.runtimeClassName": "nvidia"},
    "own volume": {"workerDefaults.work.storageClassName": "fast"},
    "ingress": {"ingress.enabled": True, "ingress.host": "a.example.com"},
    "route": {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}},
    "no workers": {"workers": []},
}


def grid() -> list[Any]:
    """Every option alone, and all the others without it."""
    found = []
    for name, changes in OPTIONS.items():
        others = [OPTIONS[other] for other in OPTIONS if other != name]
        rest = {key: value for other in others for key, value in other.items()}
        found += [pytest.param(changes, id=name), pytest.param(rest, id=f"all but {name}")]
    return found


def validate(manifest: Manifest) -> None:
    """Raise for a manifest that a cluster would refuse, or whose fields it would ignore."""
    _validate(json.dumps(manifest, sort_keys=True))


@cache
def _validate(text: str) -> None:
    manifest = json.loads(text)
    if manifest["kind"] in CUSTOM["$defs"]:
        schema = {"$ref": f"#/$defs/{manifest['kind']}", "$defs": CUSTOM["$defs"]}
        jsonschema.Draft202012Validator(schema).validate(manifest)
        return
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_the_example_lints(values: Path) -> None:
    done = helm("lint", "--strict", str(CHART), f"--values={values}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_the_example_is_valid(values: Path) -> None:
    manifests = render(values)
    assert len(manifests) > 10
    for manifest in manifests:
        validate(manifest)


@pytest.mark.parametrize("changes", grid())
def test_options_are_valid_together(changes: dict[str, Any]) -> None:
    manifests = render(MINIMAL, **changes)
    for manifest in manifests:
        validate(manifest)
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda file: file.stem)
def test_rendering_is_deterministic(values: Path) -> None:
    assert template(values).stdout == template(values).stdout


def test_a_wrong_manifest_would_be_noticed() -> None:
    """The validators, validated."""
    budget = named(render(MINIMAL), "PodDisruptionBudget", "r1-secateur-worker-cpu")
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(budget | {"surprise": 1})
    scaled = next(m for m in render(MINIMAL, **OPTIONS["keda"]) if m["kind"] == "ScaledObject")
    wrongs: list[dict[str, Any]] = [
        {"minReplicas": 0},
        {"maxReplicaCount": "4"},
        {"triggers": []},
    ]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            validate(scaled | {"spec": scaled["spec"] | wrong})
