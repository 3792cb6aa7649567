"""What docs/kubernetes.md tells people to write is what the chart takes and makes."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

from tests.deployment.chart import MINIMAL, ROOT, named, of_kind, render

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
VALUES = [
    dedent(block)
    for block in re.findall(r"^( *```yaml\n.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("block", VALUES, ids=range(len(VALUES)))
def test_its_values_render(block: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(block.partition("\n")[2])
    assert of_kind(render(MINIMAL, file), "Deployment")


def test_there_are_values_for_each_chapter() -> None:
    assert len(VALUES) == 3


def test_its_files_exist() -> None:
    for target in re.findall(r"\]\((\.\./[^)]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"deploy/helm/\w+|docker/Dockerfile", TEXT):
        assert (ROOT / path).exists(), path


def test_a_release_named_secateur_has_the_names_it_speaks_of() -> None:
    release = render(MINIMAL, fullnameOverride="secateur")
    for kind, name in [
        ("Job", "secateur-init"),
        ("Deployment", "secateur-api"),
        ("Service", "secateur"),
        ("ServiceAccount", "secateur"),
        ("ServiceAccount", "secateur-init"),
    ]:
        assert re.search(rf"\b{name}\b", TEXT)
        assert named(release, kind, name)
