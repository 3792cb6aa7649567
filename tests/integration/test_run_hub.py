"""Whole runs on a model of the hub: the bytes of the folder, and no code that comes with it."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from core.errors import ModelError, SourceRefused
from core.intake_errors import ModelTooLarge
from core.stages import RunOptions
from core.store import manifest
from secateur.cli import main
from tests.hub import COMMIT, FakeHub
from tests.hub_faults import Fault
from tests.s3_folders import VERSES, look, prune

TEXT = VERSES.as_uri()
SHELL = RunOptions(device="cpu", threads=1)


def digests(model: Path) -> dict[str, str]:
    """All but the card, which names the source."""
    files = [p for p in model.rglob("*") if p.is_file() and p.name != "README.md"]
    return {str(p.relative_to(model)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_pruned_model_is_that_of_the_folder(
    model_hub: FakeHub, tiny_model: Path, tmp_path: Path
) -> None:
    far = prune("hf://org/name@v1", TEXT, tmp_path / "far", SHELL)
    prune(tiny_model.as_uri(), TEXT, tmp_path / "near", SHELL)
    assert digests(tmp_path / "far/model") == digests(tmp_path / "near/model")
    assert far.model.revision == COMMIT
    assert far.model.source == "hf://org/name@v1"
    assert json.loads((tmp_path / "far/manifest.json").read_text())["revision"] == COMMIT
    assert 'base_model: "org/name"' in (tmp_path / "far/model/README.md").read_text()
    manifest.verify(tmp_path / "far")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["far", "model", "near"]


def test_an_analysis_fetches_all_but_the_head(model_hub: FakeHub) -> None:
    found = look("hf://org/name", TEXT, SHELL)
    assert found.model.revision == COMMIT
    assert model_hub.sent < sum(map(len, model_hub.files.values()))


def test_code_that_comes_with_a_model_is_copied_and_never_run(
    model_hub: FakeHub, tmp_path: Path
) -> None:
    config = json.loads(model_hub.files["config.json"])
    config["auto_map"] = {"AutoModel": "modeling_llada.LLaDAModelLM"}
    names = ("modeling_llada.py", "__init__.py", "sitecustomize.py", "torch.py")
    imported = tmp_path / "imported"
    code = f"import pathlib; pathlib.Path({str(imported)!r}).touch(); raise SystemExit(1)"
    model_hub.files |= dict.fromkeys(names, code.encode())
    model_hub.files["config.json"] = json.dumps(config).encode()
    prune("hf://org/name", TEXT, tmp_path / "out", SHELL)
    for name in (*names, "config.json"):
        assert (tmp_path / "out/model" / name).read_bytes() == model_hub.files[name]
    assert not imported.exists()
    assert not any("modeling_llada" in name for name in sys.modules)


@pytest.mark.parametrize("key", ["_attn_implementation_internal", "trust_remote_code"])
def test_a_config_that_asks_for_code_is_refused(
    model_hub: FakeHub, tmp_path: Path, key: str
) -> None:
    config = json.loads(model_hub.files["config.json"]) | {key: "org/kernel"}
    model_hub.files["config.json"] = json.dumps(config).encode()
    with pytest.raises(ModelError, match=key):
        prune("hf://org/name", TEXT, tmp_path / "out", SHELL)


def test_limits_of_the_operator_hold_in_the_run(model_hub: FakeHub, tmp_path: Path) -> None:
    server = RunOptions(device="cpu", threads=1, model_roots=(), hub_models=("hf://other",))
    with pytest.raises(SourceRefused, match="SECATEUR_HUB_MODELS"):
        prune("hf://org/name", "builtin:plain-text", tmp_path / "out", server)
    assert model_hub.asked == []
    small = RunOptions(device="cpu", threads=1, max_model_bytes=1000)
    with pytest.raises(ModelTooLarge):
        prune("hf://org/name", TEXT, tmp_path / "out", small)


class TestCommandLine:
    def run(self, *arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--samples", "2", "--sequence-length", "32", "--device", "cpu"])
        return int(ended.value.code or 0)

    def test_reads_any_model(
        self, model_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        where = ("--out", "pruned", "--calibration", str(VERSES))
        assert self.run("prune", "hf://org/name@v1", "--sparsity", "0.5", *where) == 0
        assert json.loads(Path("pruned/manifest.json").read_text())["revision"] == COMMIT

    @pytest.mark.parametrize(
        ("fault", "status"),
        [(Fault("refused", 9, status=401), 3), (Fault("refused", 9), 3), (Fault("moved", 9, location="file:///etc/passwd"), 2)],
    )  # fmt: skip
    def test_ends_with_the_status_of_what_was_wrong(
        self, model_hub: FakeHub, tmp_path: Path, fault: Fault, status: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)
        model_hub.faults["config.json"] = fault
        assert self.run("prune", "hf://org/name", "--sparsity", "0.5", "--out", "x") == status
        assert not Path("x").exists()
