"""Which models of a hub may be named, and which of them an operator lets a server read."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.errors import InvalidSpec, SourceRefused
from core.hub_sources import HubSource
from core.settings import Settings
from core.sources import Allowed, ModelSource, model_source
from core.spec import parse_spec
from secateur.embedded import _child_environment
from tests.faults.farm import clean_environment

SERVER = Allowed(roots=(), hubs=("hf://GSAI-ML", "hf://org/name"))


@pytest.mark.parametrize(
    ("source", "given", "expected"),
    [
        ("hf://org/name", "main", HubSource("org/name", "main")),
        ("hf://org/name/", "v1", HubSource("org/name", "v1")),
        ("hf://org/name@v1.0", "main", HubSource("org/name", "v1.0")),
        ("hf://org/name@v1", "v1", HubSource("org/name", "v1")),
        ("hf://org/name@refs/pr/3", "main", HubSource("org/name", "refs/pr/3")),
        ("hf://GSAI-ML/LLaDA-8B-Base", "a" * 40, HubSource("GSAI-ML/LLaDA-8B-Base", "a" * 40)),
    ],
)
def test_sources_name_a_model_at_a_revision(source: str, given: str, expected: HubSource) -> None:
    assert model_source(source, SERVER, given) == expected
    assert model_source(source, Allowed(), given) == expected


@pytest.mark.parametrize(
    "source",
    [
        "hf://name", "hf://", "hf://org/", "hf:///name", "hf://../name", "hf://org/..", "hf://a..b/c",
        "hf://org/name/file", "hf://org/na me", "hf://org/name?x=1", "hf://org/name#x", "hf://.org/name",
        "hf://org/name%2f..", "hf://user:key@org/name", "hf://org\n/name", "hf://datasets/org/name",
        "hf://models/name", "hf://ｏrg/name", "hf://org/" + "n" * 97,
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused_everywhere(source: str) -> None:
    for allowed in (SERVER, Allowed(), Allowed(roots=(), hubs=("hf://*",))):
        with pytest.raises(SourceRefused, match="does not name a model"):
            model_source(source, allowed)


def posted(revision: str) -> ModelSource:
    """As the API takes it in."""
    model = {"source": "hf://org/name", "revision": revision}
    spec = parse_spec({"model": model, "sparsity": 0.5})
    return model_source(spec.model.source, SERVER, spec.model.revision)


@pytest.mark.parametrize(
    "revision",
    ["", "..", "a..b", "/a", "a/", "a//b", ".a", "a/.b", "a.", "a.lock", "-a", "a b", "a%2f", "a\n",
     "ä", "a" * 201],
)  # fmt: skip
def test_what_is_no_revision_is_refused(revision: str) -> None:
    with pytest.raises(SourceRefused, match="no revision"):
        model_source(f"hf://org/name@{revision}", SERVER)
    with pytest.raises((SourceRefused, InvalidSpec)):
        posted(revision)


def test_two_revisions_are_one_too_many() -> None:
    with pytest.raises(SourceRefused, match=r"names one revision.*another: v2"):
        model_source("hf://org/name@v1", SERVER, "v2")


def test_a_server_reads_what_its_operator_names() -> None:
    for source in ("hf://GSAI-ML/any", "hf://gsai-ml/any@v1", "hf://org/name", "hf://ORG/Name"):
        model_source(source, SERVER)
        model_source(source, Allowed(roots=(), hubs=("hf://*",)))
    for source in ("hf://GSAI/any", "hf://org/other", "hf://org/name-2", "hf://GSAI-ML-2/any"):
        with pytest.raises(SourceRefused, match=f"{source} is none of the hub's models") as caught:
            model_source(source, SERVER)
        assert "SECATEUR_HUB_MODELS" in caught.value.remedy
        model_source(source, Allowed())  # at a shell
        with pytest.raises(SourceRefused):
            model_source(source, Allowed(roots=()))


def test_a_spec_takes_revisions_of_a_hub_only() -> None:
    model: dict[str, Any] = {"source": "hf://org/name", "revision": "refs/pr/1"}
    assert parse_spec({"model": model, "sparsity": 0.5}).model.revision == "refs/pr/1"


class TestSettings:
    @pytest.mark.parametrize("between", [" ", ",", ", ", "\n  "])
    def test_places_are_a_list(self, monkeypatch: pytest.MonkeyPatch, between: str) -> None:
        monkeypatch.setenv("SECATEUR_HUB_MODELS", between.join(SERVER.hubs))
        assert Settings().hub_models == SERVER.hubs

    @pytest.mark.parametrize(
        "place", ["org", "hf://", "hf://a/b/c", "hf://a/*", "hf://a@v1", "hf://a..b", "s3://a", "hf://k:v@a"]
    )  # fmt: skip
    def test_what_is_no_place_is_named_by_its_number(self, place: str) -> None:
        with pytest.raises(ValidationError, match="place 2 of 2: it is none of") as caught:
            Settings.model_validate({"hub_models": f"hf://org {place}"})
        assert "k:v" not in caught.value.errors()[0]["msg"]

    def test_serve_hands_them_to_its_children(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        settings = Settings(hub_models=SERVER.hubs, runner_variables=("A", "B"), max_model_bytes=7)
        env = _child_environment(settings)
        for name in ("HUB_MODELS", "RUNNER_VARIABLES", "MAX_MODEL_BYTES"):
            monkeypatch.setenv(f"SECATEUR_{name}", env[f"SECATEUR_{name}"])
        assert Settings().hub_models == settings.hub_models
        assert Settings().runner_variables == settings.runner_variables
        assert Settings().max_model_bytes == 7


def test_the_api_needs_no_hub_library() -> None:
    check = (
        "import sys, api.app, core.sources;"
        "sys.exit(any(name in sys.modules for name in ('huggingface_hub', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", check], env=clean_environment(), check=True)
