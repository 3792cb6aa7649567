"""The Helm chart, rendered by a real helm."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "secateur"
MINIMAL: Final = CHART / "ci" / "minimal-values.yaml"
EXAMPLES: Final = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE: Final = "r1"
Manifest = dict[str, Any]


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """What helm makes of `arguments`; it knows no cluster and no configuration of this machine."""
    path, why = _found()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    env = {"PATH": os.defpath, "HOME": "/nonexistent", "KUBECONFIG": os.devnull}
    return subprocess.run(
        [path, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
    )


@cache
def _found() -> tuple[str | None, str]:
    """A helm, or why there is none: asked for once, since fetching it in vain takes its time."""
    done = subprocess.run(
        [ROOT / "tools" / "helm.sh"], capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode:
        return None, f"the chart cannot be rendered: {done.stderr.strip()[-500:]}"
    return done.stdout.strip(), ""


def template(*values: Path, **changes: Any) -> "subprocess.CompletedProcess[str]":
    """`helm template` with files of values and, over them, `changes`."""
    files = [f"--values={file}" for file in values]
    sets = [f"--set-json={name}={json.dumps(value)}" for name, value in changes.items()]
    return helm("template", RELEASE, str(CHART), "--namespace=ns", *files, *sets)


def render(*values: Path, **changes: Any) -> list[Manifest]:
    """The manifests of a release."""
    done = template(*values or (MINIMAL,), **changes)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def refusal(**changes: Any) -> str:
    """What helm says instead of rendering the least values with `changes`."""
    done = template(MINIMAL, **changes)
    assert done.returncode != 0, "it was rendered"
    return done.stderr


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    [found] = [m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name]
    return found


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """The templates of all pods: `metadata` and `spec`."""
    return [m["spec"]["template"] for m in of_kind(manifests, "Deployment", "Job")]


def containers(manifests: list[Manifest]) -> Iterator[Manifest]:
    """All containers, those that run before others too."""
    for pod in pods(manifests):
        yield from pod["spec"].get("initContainers", [])
        yield from pod["spec"]["containers"]


def component(pod: Manifest) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def selects(selector: dict[str, Any], pod: Manifest) -> bool:
    """Whether the `matchLabels` of a selector are among a pod's labels."""
    assert set(selector) == {"matchLabels"}
    return bool(selector["matchLabels"].items() <= pod["metadata"]["labels"].items())


def environment(container: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """What a container finds in its environment, its own variables over those of maps."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {variable["name"]: variable["value"] for variable in container["env"]}
