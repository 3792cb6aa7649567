"""The images' recipes: linted, and as small and unprivileged as they claim to be."""

import subprocess
from pathlib import Path

import pytest

from tests.deployment.compose import DOCKERFILE, ROOT, SCRIPTS
from tests.deployment.dockerfile import Stage, stages

DOCKERFILES = sorted(ROOT.glob("docker/**/*Dockerfile*"))


@pytest.fixture(scope="module")
def built() -> dict[str, Stage]:
    return stages(DOCKERFILE)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run(
        [SCRIPTS / "hadolint", "--no-color", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hadolint ignore" not in path.read_text()


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN pip install torch\n")
    done = subprocess.run([SCRIPTS / "hadolint", bad], capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("name", ["api", "worker"])
def test_an_image_runs_secateur_as_nobody_special(name: str, built: dict[str, Stage]) -> None:
    stage = built[name]
    assert stage.user == "10001:10001"
    assert stage.entrypoint == ["secateur"]
    assert stage.command[0] == name
    assert stage.healthcheck[0] == "python"
    assert stage.environment["PYTHONDONTWRITEBYTECODE"] == "1"


def test_only_the_worker_is_built_with_torch() -> None:
    parts = DOCKERFILE.read_text().split("\nFROM ")[1:]
    sections = {part.split()[2]: part for part in parts}
    torch = {name for name, part in sections.items() if "torch" in part.lower()}
    assert torch == {"worker-dependencies", "worker"}
    assert "--from=api-environment" in sections["api"]
    assert sections["api-environment"].startswith("dependencies ")


def test_libraries_write_to_the_volume_only(built: dict[str, Stage]) -> None:
    for name, value in built["worker"].environment.items():
        if name.endswith(("_DIR", "_HOME", "CONFIGDIR")):
            assert value.startswith("/var/lib/secateur/work"), name


def test_the_base_is_pinned_and_labels_are_complete() -> None:
    text = DOCKERFILE.read_text()
    assert "ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm\n" in text
    for word in ("title", "description", "licenses", "version", "revision", "created", "source"):
        assert text.count(f"org.opencontainers.image.{word}=") == 2, word


def test_the_version_is_ours() -> None:
    # Written in three places, since neither Compose nor a Dockerfile can read the other two.
    project = (ROOT / "pyproject.toml").read_text()
    version = project.split('version = "')[1].split('"')[0]
    assert f"ARG VERSION={version}\n" in DOCKERFILE.read_text()
    assert f"${{SECATEUR_VERSION:-{version}}}" in (ROOT / "docker-compose.yml").read_text()


def test_the_context_holds_what_is_copied_and_little_more() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied = {
        source
        for line in DOCKERFILE.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert copied == allowed
