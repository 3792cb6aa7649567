"""Whole runs on a tiny model: what they leave, that they repeat, and that failures leave nothing."""

import errno
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import (
    BrokenCheckpoint,
    Cancelled,
    DiskFull,
    InvalidSpec,
    ModelNotFound,
    OutOfMemory,
    OutputExists,
    SecateurError,
    SourceRefused,
    TextTooShort,
    UnsafeModel,
)
from core.models.checkpoint import Checkpoint
from core.models.decoder import load
from core.models.intake import take_in
from core.progress import PHASES, Progress, ignore
from core.report import sinks_file
from core.report.schema import Report
from core.run import execute
from core.spec import JobSpec, parse_spec
from core.stages import RunOptions
from core.store import manifest
from tests.checkpoints import VOCABULARY, tiny_llada

MEASURED = ("nelbo", "agreement", "speed", "reconstruction", "sinks_after")
METHODS = ["magnitude", "wanda", "sink-wanda"]
# The builtin text takes longer to encode than such runs take in all.
SMALL = {
    "source": (Path(__file__).parents[1] / "verses.txt").as_uri(),
    "samples": 4,
    "sequence_length": 32,
    "sample_interval": 10,
}


def make_spec(model: Path | str, method: str = "sink-wanda", **changes: Any) -> JobSpec:
    return parse_spec(
        {
            "model": {"source": model.as_uri() if isinstance(model, Path) else model},
            "method": method,
            "sparsity": 0.5,
            "calibration": SMALL,
            "evaluation": {"samples": 4, "speed": False, "texts": 0},
        }
        | changes
    )


def run(spec: JobSpec, out: Path, **options: Any) -> Report:
    execute(spec, out, RunOptions(device="cpu", threads=1, **options), ignore)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def digests(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_a_drop_in_checkpoint(tmp_path: Path, method: str) -> None:
    source = tiny_llada(tmp_path / "source", shards=2)
    (source / "LICENSE").write_text("as it came")
    (source / "README.md").write_text("the model's own card")
    out = tmp_path / "out"
    report = run(make_spec(source, method), out)

    before, after = Checkpoint(take_in(source)), Checkpoint(take_in(out / "model"))
    assert {n: (p.shard, p.dtype, p.shape) for n, p in before.places.items()} == {
        n: (p.shard, p.dtype, p.shape) for n, p in after.places.items()
    }
    matrices = {m.name for m in load(after, torch.device("cpu")).all_matrices()}
    assert set(report.sparsity.matrices) == matrices
    for name in before.places:
        dense, pruned = before.read(name), after.read(name)
        if name not in matrices:
            assert torch.equal(dense, pruned), name
            continue
        zero = pruned == 0
        # Only SparseGPT moves the weights it keeps.
        assert "sparsegpt" in method or torch.equal(dense[~zero], pruned[~zero])
        assert int(zero.sum()) == report.sparsity.matrices[name].removed
        if "wanda" in method:
            assert zero.sum(1).tolist() == [dense.shape[1] // 2] * dense.shape[0]
        else:
            assert int(zero.sum()) == dense.numel() // 2 + 1
    ours = digests(out / "model")
    for name, digest in digests(source).items():
        kept = "README.original.md" if name == "README.md" else name
        assert name.endswith(".safetensors") or ours[kept] == digest, name


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", ["2:4", "1:8"])
def test_every_group_of_the_checkpoint_keeps_n(
    tiny_model: Path, tmp_path: Path, method: str, pattern: str
) -> None:
    kept, group = (int(part) for part in pattern.split(":"))
    spec = make_spec(tiny_model, method, pattern=pattern, sparsity=1 - kept / group)
    report = run(spec, tmp_path / "out")
    pruned = load_file(tmp_path / "out/model/model.safetensors")
    for name, matrix in report.sparsity.matrices.items():
        nonzero = (pruned[name] != 0).view(matrix.shape[0], -1, group).sum(-1)
        assert nonzero.eq(kept).all(), name
        assert matrix.fraction == 1 - kept / group


def test_a_ragged_last_group_is_refused_before_anything_is_pruned(
    tiny_model: Path, tmp_path: Path
) -> None:
    error = refusal(make_spec(tiny_model, pattern="1:5", sparsity=0.8), tmp_path / "r" / "out")
    assert isinstance(error, InvalidSpec)
    assert "blocks.0.q_proj.weight has 32 inputs" in error.message


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("allocation", ["owl", "early-sparser", "sensitivity", [0.65, 0.35]])
def test_an_allocation_meets_the_whole_exactly(
    tiny_model: Path, tmp_path: Path, method: str, allocation: Any
) -> None:
    if (method, allocation) == ("magnitude", "owl"):
        pytest.skip("refused with the spec: magnitude has no scores to count outliers of")
    report = run(make_spec(tiny_model, method, recipe={"allocation": allocation}), tmp_path / "out")
    total = sum(m.shape[0] * m.shape[1] for m in report.sparsity.matrices.values())
    pruned = load_file(tmp_path / "out/model/model.safetensors")
    zeros = sum(int((pruned[name] == 0).sum()) for name in report.sparsity.matrices)
    assert zeros == total // 2
    assert report.sparsity.overall == zeros / total
    assert report.sparsity.blocks is not None
    assert report.sparsity.blocks[0] > report.sparsity.blocks[1] or allocation in (
        "owl",
        "sensitivity",
    )
    named = "explicit" if isinstance(allocation, list) else allocation
    assert report.recipe["allocation"] == named


@pytest.mark.plots
def test_the_report_and_the_manifest_tell_the_run(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = make_spec(tiny_model, evaluation={"samples": 4})
    report = run(spec, out)
    assert JobSpec.model_validate(report.job) == spec
    assert report.recipe == {
        "score": "wanda", "inputs": "noised", "order": "one-shot",
        "sinks": "discount-all", "allocation": "uniform",
    }  # fmt: skip
    assert report.quality.nelbo is not None
    assert report.quality.nelbo.difference == pytest.approx(
        report.quality.nelbo.pruned - report.quality.nelbo.dense
    )
    assert report.quality.agreement is not None
    assert 0 < report.quality.agreement.top1 < 1
    assert report.speed is not None
    assert report.sinks.timesteps == [10, 20, 30, 40, 50]
    assert len(report.sinks.per_layer) == 2
    assert set(report.actual.seconds_by_phase) <= set(PHASES)
    arrays = sinks_file.read(out / "report" / "sinks.safetensors")
    assert arrays.mass.shape == (4, 5, 2, 32)
    # Every query of every head gives out one: the mean over positions is the number of heads.
    assert arrays.mass.astype("float64").mean(-1) == pytest.approx(2.0, rel=1e-3)
    listed = manifest.verify(out)
    assert {f.name for f in listed.files} == set(digests(out)) - {"manifest.json"}
    assert listed.spec == report.job
    assert listed.seeds == {"calibration": 0, "evaluation": 1}
    page = (out / "report" / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_one_forward_per_sample_and_timestep(tiny_model: Path, tmp_path: Path) -> None:
    spec = make_spec(tiny_model, evaluation=dict.fromkeys(MEASURED, False) | {"texts": 0})
    report = run(spec, tmp_path / "out")
    probe = 2 * 20
    assert report.plan.forwards == 4 * 5
    assert report.actual.forwards == 4 * 5 + probe
    assert report.quality.nelbo is None


@pytest.mark.parametrize("method", METHODS)
def test_the_same_spec_gives_the_same_bytes(tmp_path: Path, method: str) -> None:
    source = tiny_llada(tmp_path / "source")
    first, second = tmp_path / "first", tmp_path / "second"
    reports = [run(make_spec(source, method), out) for out in (first, second)]
    assert digests(first / "model") == digests(second / "model")
    name = "sinks.safetensors"
    assert digests(first / "report")[name] == digests(second / "report")[name]
    told = [r.model_dump(exclude={"actual", "plan", "speed"}) for r in reports]
    assert told[0] == told[1]


def test_group_size_does_not_change_the_masks(tiny_model: Path, tmp_path: Path) -> None:
    wide = run(make_spec(tiny_model), tmp_path / "wide")
    assert wide.plan.peak_bytes is not None
    spec = make_spec(tiny_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.pruning.plan.GROUP_TOKENS", {"cpu": 1})
        run(spec, tmp_path / "narrow")
    one, other = (load_file(tmp_path / d / "model/model.safetensors") for d in ("wide", "narrow"))
    changed = sum(int((one[n] != other[n]).sum()) for n in one)
    assert changed <= 4, "more than rounding at the threshold"


def test_progress_only_grows_and_passes_every_phase(tiny_model: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    execute(make_spec(tiny_model), tmp_path / "out", RunOptions(device="cpu"), seen.append)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert list(dict.fromkeys(p.phase for p in seen)) == list(PHASES)


@pytest.mark.parametrize("phase", PHASES)
def test_a_run_that_is_told_to_stop_leaves_nothing(
    tiny_model: Path, tmp_path: Path, phase: str
) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == phase:
            raise Cancelled("enough.")

    folder = tmp_path / "results"
    with pytest.raises(Cancelled):
        execute(make_spec(tiny_model), folder / "out", RunOptions(device="cpu"), stop)
    assert list(folder.iterdir()) == []


def test_token_files_with_a_recorded_trajectory_are_used_as_they_are(
    tiny_model: Path, tmp_path: Path
) -> None:
    rng = torch.Generator().manual_seed(0)
    clean = torch.randint(60, (6, 24), generator=rng)
    noised = clean[:, None].expand(-1, 5, -1).clone()
    noised[:, :, ::3] = VOCABULARY - 1
    path = tmp_path / "tokens.safetensors"
    save_file({"input_ids": clean, "noised_input_ids": noised}, path)
    (tiny_model / "tokenizer.json").unlink()
    calibration = {"source": path.as_uri(), "samples": 4, "sample_interval": 10}
    report = run(make_spec(tiny_model, calibration=calibration), tmp_path / "out")
    arrays = sinks_file.read(tmp_path / "out/report/sinks.safetensors")
    assert arrays.masked[:, :, ::3].all()
    assert not arrays.masked[:, :, 1::3].any()
    assert report.warnings == []
    calibration |= {"samples": 6}
    report = run(make_spec(tiny_model, calibration=calibration), tmp_path / "all")
    assert "calibration tokens" in report.warnings[0]


def test_text_files_serve(tiny_model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text(
        "".join(json.dumps({"text": f"line {i} of a text. "}) + "\n" for i in range(99))
    )
    calibration = {"source": text.as_uri(), "samples": 8, "sequence_length": 32}
    report = run(make_spec(tiny_model, calibration=calibration), tmp_path / "out")
    assert report.quality.nelbo is not None
    assert "did not see" in report.quality.nelbo.text


def test_sequences_are_cut_to_the_models_context_and_the_report_says_so(
    tiny_model: Path, tmp_path: Path
) -> None:
    calibration = {"source": SMALL["source"], "samples": 2, "sample_interval": 50}
    report = run(make_spec(tiny_model, calibration=calibration), tmp_path / "out")
    assert report.sinks.positions == 64
    assert "64 used" in report.warnings[0]


def refusal(spec: JobSpec, out: Path, **options: Any) -> SecateurError:
    with pytest.raises(SecateurError) as caught:
        run(spec, out, **options)
    assert not out.exists()
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    return caught.value


def test_bad_input_is_named_and_leaves_nothing(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "out"
    assert isinstance(refusal(make_spec(tmp_path / "none"), out), ModelNotFound)
    example = make_spec("example:nothing")
    assert isinstance(refusal(example, out), ModelNotFound)
    short = tmp_path / "short.txt"
    short.write_text("too little")
    calibration = {"source": short.as_uri(), "samples": 4, "sequence_length": 32}
    error = refusal(make_spec(tiny_model, calibration=calibration), out)
    assert isinstance(error, TextTooShort)
    assert "10 tokens found" in error.message
    assert isinstance(refusal(make_spec(tiny_model), out, model_roots=()), SourceRefused)
    assert isinstance(
        refusal(make_spec(tiny_model), out, model_roots=(tmp_path / "a",)), SourceRefused
    )
    assert isinstance(refusal(make_spec(tiny_model), out, memory_budget=1000), OutOfMemory)
    with pytest.raises(InvalidSpec, match="device"):
        execute(make_spec(tiny_model), out, RunOptions(device="abacus"), ignore)
    (tiny_model / "model.safetensors").rename(tiny_model / "model.bin")
    assert isinstance(refusal(make_spec(tiny_model), out), UnsafeModel)


def test_a_link_cannot_lead_out_of_the_roots(tiny_model: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "model").symlink_to(tiny_model)
    with pytest.raises(SourceRefused, match="outside"):
        run(make_spec(root / "model"), tmp_path / "out", model_roots=(root,))


def test_an_existing_folder_gives_way_only_when_told_and_only_to_a_finished_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results" / "out"
    out.mkdir(parents=True)
    (out / "old").write_text("kept")
    with pytest.raises(OutputExists, match="--force"):
        run(make_spec(tiny_model), out)
    with pytest.raises(ModelNotFound):
        run(make_spec(tmp_path / "none"), out, replace=True)
    assert (out / "old").read_text() == "kept"
    run(make_spec(tiny_model), out, replace=True)
    assert sorted(p.name for p in out.iterdir()) == ["manifest.json", "model", "report"]
    assert [p.name for p in out.parent.iterdir()] == ["out"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_and_nothing_half_written_stays(
    tiny_model: Path, small_disk: Path
) -> None:
    with pytest.raises(DiskFull, match=r"no space left .* SECATEUR_WORK_DIR"):
        run(make_spec(tiny_model), small_disk / "out")
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_late_is_named_too(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.outcome.build.write", full)
    with pytest.raises(DiskFull):
        run(make_spec(tiny_model), tmp_path / "results" / "out")
    assert list((tmp_path / "results").iterdir()) == []


def test_the_source_is_never_written(tiny_model: Path, tmp_path: Path) -> None:
    before = digests(tiny_model)
    run(make_spec(tiny_model), tmp_path / "out")
    assert digests(tiny_model) == before
    tensors = load_file(tiny_model / "model.safetensors")
    tensors["model.transformer.wte.weight"][0, 0] = float("inf")
    save_file(tensors, tiny_model / "model.safetensors")
    with pytest.raises(BrokenCheckpoint, match="infinite"):
        run(make_spec(tiny_model), tmp_path / "other")
    shutil.rmtree(tiny_model)
