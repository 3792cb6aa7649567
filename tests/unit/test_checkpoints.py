"""Model folders: what is read, what is refused and why, and what comes out byte for byte."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import (
    BrokenCheckpoint,
    ModelNotFound,
    SecateurError,
    UnsafeModel,
    UnsupportedModel,
)
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.decoder import load
from core.models.intake import content_revision, take_in
from tests.checkpoints import tiny_llada

CPU = torch.device("cpu")
Q = "model.transformer.blocks.0.q_proj.weight"


def read(folder: Path) -> Any:
    return load(Checkpoint(take_in(folder)), CPU)


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v != "DROP"}))


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def set_nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors[Q][3, 4] = float("nan")


Damage = Callable[[Path], object]

DAMAGES: dict[str, tuple[Damage, type[SecateurError], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), ModelNotFound, "config.json"),
    "config is no JSON": (
        lambda f: (f / "config.json").write_text("{"),
        BrokenCheckpoint,
        "not JSON",
    ),
    "config is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        BrokenCheckpoint,
        "not a JSON object",
    ),
    "unknown key": (
        lambda f: edit_config(f, sliding_window=512),
        UnsupportedModel,
        "sliding_window",
    ),
    "underscore key": (
        lambda f: edit_config(f, _attn_implementation_internal="evil/repo"),
        UnsupportedModel,
        "_attn_implementation_internal",
    ),
    "other family": (lambda f: edit_config(f, model_type="gpt2"), UnsupportedModel, "gpt2"),
    "mixture of experts under the same type": (
        lambda f: edit_config(f, architectures=["LLaDAMoEModelLM"]),
        UnsupportedModel,
        "family llada_moe: .*alibi",
    ),
    "unknown architecture under the same type": (
        lambda f: edit_config(f, architectures=["LLaDAVModelLM"]),
        UnsupportedModel,
        "LLaDAVModelLM",
    ),
    "known architecture under another type": (
        lambda f: edit_config(f, model_type="llama"),
        UnsupportedModel,
        "LLaDAModelLM",
    ),
    "numerics we do not run": (lambda f: edit_config(f, alibi=True), UnsupportedModel, "alibi"),
    "truthy is not true": (
        lambda f: edit_config(f, rope_full_precision=1),
        UnsupportedModel,
        "rope_full_precision",
    ),
    "width as text": (lambda f: edit_config(f, d_model="32"), BrokenCheckpoint, "d_model"),
    "heads do not divide": (lambda f: edit_config(f, n_heads=5), BrokenCheckpoint, "divide"),
    "mask outside vocabulary": (
        lambda f: edit_config(f, mask_token_id=10**6),
        BrokenCheckpoint,
        "mask token",
    ),
    "no mask token": (
        lambda f: edit_config(f, mask_token_id="DROP"),
        BrokenCheckpoint,
        "mask_token_id",
    ),
    "missing tensor": (
        lambda f: edit_tensors(f, lambda t: t.pop(Q)),
        BrokenCheckpoint,
        f"first is {Q}",
    ),
    "surplus tensor": (
        lambda f: edit_tensors(f, lambda t: t.update(extra=torch.ones(1))),
        BrokenCheckpoint,
        "extra",
    ),
    "wrong shape": (
        lambda f: edit_tensors(f, lambda t: t.update({Q: torch.ones(3, 32)})),
        BrokenCheckpoint,
        r"shape \[3, 32\]",
    ),
    "quantised": (
        lambda f: edit_tensors(f, lambda t: t.update({Q: t[Q].to(torch.int8)})),
        BrokenCheckpoint,
        "I8",
    ),
    "NaN": (lambda f: edit_tensors(f, set_nan), BrokenCheckpoint, "1 values that are NaN"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ModelNotFound, "no .safetensors"),
    "pickle only": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        UnsafeModel,
        "pytorch_model.bin",
    ),
    "truncated": (
        lambda f: os.truncate(f / "model.safetensors", 5000),
        BrokenCheckpoint,
        "not a valid safetensors",
    ),
    "not safetensors": (
        lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04pickled" * 100),
        BrokenCheckpoint,
        "not a valid safetensors",
    ),
    "link out of the folder": (
        lambda f: (f / "notes.txt").symlink_to("/etc/hostname"),
        UnsafeModel,
        "links out",
    ),
    "linked folder": (lambda f: (f / "sub").symlink_to("/etc"), UnsafeModel, "links out"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), UnsafeModel, "not a regular file"),
    "index names a missing shard": (
        lambda f: (f / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "model-00001-of-00001.safetensors"}}'
        ),
        BrokenCheckpoint,
        "not there",
    ),
    "index climbs out": (
        lambda f: (f / "model.safetensors.index.json").write_text(
            '{"weight_map": {"a": "../model.safetensors"}}'
        ),
        UnsafeModel,
        "not a shard",
    ),
    "index is broken": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": []}'),
        BrokenCheckpoint,
        "weight_map",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_by_name(tiny_model: Path, damage: str) -> None:
    act, error, message = DAMAGES[damage]
    act(tiny_model)
    with pytest.raises(error, match=message):
        read(tiny_model)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="not a folder"):
        read(tmp_path / "none")


def test_remote_code_named_in_the_config_is_carried_along_and_never_run(tiny_model: Path) -> None:
    edit_config(tiny_model, auto_map={"AutoModel": "modeling.Evil"})
    (tiny_model / "modeling.py").write_text("raise SystemExit('executed')")
    assert read(tiny_model).parameters > 0
    assert Path("modeling.py") in take_in(tiny_model).auxiliary


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_only_replaced_bytes_differ(tmp_path: Path, shards: int, dtype: torch.dtype) -> None:
    source = tiny_llada(tmp_path / "in", shards=shards, dtype=dtype)
    (source / "sub").mkdir()
    (source / "sub" / "notes.txt").write_text("kept")
    checkpoint = Checkpoint(take_in(source))
    out = tmp_path / "out"
    out.mkdir()
    writer = CheckpointWriter(checkpoint, out)
    new = torch.full((32, 32), 0.5, dtype=dtype)
    writer.replace(Q, new)
    files = {p.relative_to(source) for p in source.rglob("*") if p.is_file()}
    assert files == {p.relative_to(out) for p in out.rglob("*") if p.is_file()}
    place = checkpoint.places[Q]
    for file in files:
        before, after = (source / file).read_bytes(), bytearray((out / file).read_bytes())
        if file == place.shard:
            after[place.begin : place.end] = before[place.begin : place.end]
        assert bytes(after) == before, file
    again = Checkpoint(take_in(out))
    assert torch.equal(again.read(Q), new)
    assert {n: (p.dtype, p.shape) for n, p in again.places.items()} == {
        n: (p.dtype, p.shape) for n, p in checkpoint.places.items()
    }
    assert load(again, CPU).parameters == load(checkpoint, CPU).parameters


def test_a_shard_is_finished_with_the_last_tensor_it_awaits(tmp_path: Path) -> None:
    checkpoint = Checkpoint(take_in(tiny_llada(tmp_path / "in", shards=3)))
    shards = [shard.as_posix() for shard in checkpoint.intake.weights]
    of_shard = {s: [n for n, p in checkpoint.places.items() if p.shard == Path(s)] for s in shards}
    first, second = of_shard[shards[0]][:2], of_shard[shards[2]][:1]
    told: list[tuple[str, bytes]] = []
    (out := tmp_path / "model").mkdir()
    writer = CheckpointWriter(
        checkpoint,
        out,
        [*first, *second],
        lambda name, path: told.append((name, path.read_bytes())),
    )
    assert [name for name, _ in told] == [f"model/{shards[1]}"]
    for name in [first[0], *second, first[1]]:
        writer.replace(name, torch.zeros(checkpoint.places[name].shape))
    assert [name for name, _ in told[1:]] == [f"model/{shards[2]}", f"model/{shards[0]}"]
    assert all(data == (tmp_path / name).read_bytes() for name, data in told)
    with pytest.raises(ValueError, match="was said to be finished"):
        writer.replace(first[0], torch.ones(checkpoint.places[first[0]].shape))


def test_rows_of_one_tensor_are_awaited_one_by_one(tiny_model: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(take_in(tiny_model))
    told: list[str] = []
    (out := tmp_path / "out").mkdir()
    writer = CheckpointWriter(checkpoint, out, [Q, Q], lambda name, _: told.append(name))
    half = torch.zeros(16, 32)
    writer.replace(Q, half, (0, 16))
    assert told == []
    writer.replace(Q, half, (16, 32))
    assert told == ["out/model.safetensors"]


def test_pruning_in_place_leaves_the_source_file_alone(tiny_model: Path) -> None:
    before = (tiny_model / "model.safetensors").read_bytes()
    decoder = read(tiny_model)
    for matrix in decoder.all_matrices():
        matrix.linear.weight.zero_()
    assert (tiny_model / "model.safetensors").read_bytes() == before


def test_other_copies_of_the_dense_weights_stay_behind(tiny_model: Path) -> None:
    (tiny_model / "pytorch_model.bin").write_bytes(b"dense")
    (tiny_model / "consolidated.safetensors").write_bytes(b"dense")
    intake = take_in(tiny_model)
    assert set(intake.left_out) == {Path("pytorch_model.bin"), Path("consolidated.safetensors")}


def test_the_revision_follows_the_content(tiny_model: Path, tmp_path: Path) -> None:
    first = content_revision(take_in(tiny_model))
    assert first == content_revision(take_in(tiny_llada(tmp_path / "again")))
    edit_tensors(tiny_model, lambda t: t[Q].mul_(2))
    assert content_revision(take_in(tiny_model)) != first


def test_tied_embeddings_serve_as_the_head(tiny_model: Path) -> None:
    edit_config(tiny_model, weight_tying=True)
    edit_tensors(tiny_model, lambda t: t.pop("model.transformer.ff_out.weight"))
    decoder = read(tiny_model)
    ids = torch.arange(8)[None]
    wte = load_file(tiny_model / "model.safetensors")["model.transformer.wte.weight"]
    with torch.inference_mode():
        features = decoder.features(ids)
        assert torch.allclose(decoder.head(features), features @ wte.T, atol=1e-5)
