"""Fuzzers over what a model folder holds: whatever comes, it is read or refused by a name of ours."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from core.calibration.token_file import read_token_file
from core.errors import BadTokenFile, BrokenCheckpoint, ModelError, ModelNotFound
from core.estimates.estimate import Machine, estimate_of
from core.estimates.facts import read_facts
from core.estimates.files import Deadline, LocalFiles
from core.models.config import parse_config
from core.models.headers import BITS, MAX_HEADER_BYTES, header_length, parse_header
from core.models.intake import shards_of
from core.models.shapes import tensor_shapes
from core.spec import parse_spec
from tests.checkpoints import llada_config
from tests.family_checkpoints import MAKERS, mmada_config, tiny
from tests.fuzz.documents import ANYTHING, NUMBERS, as_json, changed, damaged, is_brief
from tests.fuzz.settings import FUZZ, PATIENCE

pytestmark = PATIENCE

FILE = save(
    {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.uint8), "none": torch.zeros(0, 2)},
    metadata={"format": "pt"},
)
LENGTH = int.from_bytes(FILE[:8], "little")
HEADER, DATA = json.loads(FILE[8 : 8 + LENGTH]), FILE[8 + LENGTH :]

CONFIGS = [llada_config(layers=2), mmada_config(), *(config() for config, _ in MAKERS.values())]
INDEX: dict[str, Any] = {
    "metadata": {"total_size": 100},
    "weight_map": {
        "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors",
    },
}
SHARDS = [Path(name) for name in INDEX["weight_map"].values()]


def framed(header: bytes, data: bytes = DATA) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*BITS, "F33", "", "f32"]),
        "shape": st.lists(st.integers(0, 5) | NUMBERS, max_size=4),
        "data_offsets": st.lists(st.integers(0, 40) | NUMBERS, min_size=1, max_size=3),
    }
)
FILES = st.one_of(
    damaged(FILE),
    st.builds(lambda header: framed(as_json(header)), changed(HEADER)),
    st.builds(framed, damaged(FILE[8 : 8 + LENGTH]), st.binary(max_size=40)),
    st.builds(
        lambda header, data: framed(as_json(header), data),
        st.dictionaries(st.text(max_size=4) | st.just("__metadata__"), ENTRIES | ANYTHING, max_size=4),
        st.binary(max_size=40),
    ),
    st.binary(max_size=100),
)  # fmt: skip


@FUZZ
@given(FILES)
def test_a_header_is_believed_only_where_the_library_believes_it(
    tmp_path: Path, content: bytes
) -> None:
    try:
        length = header_length(content[:8], len(content), "fuzzed")
        found = parse_header(content[8 : 8 + length], len(content), "fuzzed")
    except BrokenCheckpoint as error:
        is_brief(error)
        return
    path = tmp_path / "fuzzed.safetensors"
    path.write_bytes(content)
    with safe_open(path, framework="np") as library:
        assert set(library.keys()) == set(found)
        for name, entry in found.items():
            assert tuple(library.get_slice(name).get_shape()) == entry.shape
    assert sum(entry.end - entry.begin for entry in found.values()) == len(content) - 8 - length
    assert length <= MAX_HEADER_BYTES


@FUZZ
@given(FILES | st.builds(
    lambda shape, dtype: save({"input_ids": torch.zeros(shape, dtype=dtype)}),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([torch.int64, torch.int32, torch.float32]),
))  # fmt: skip
def test_a_token_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.safetensors"
    path.write_bytes(content)
    try:
        found = read_token_file(path, 100)
    except BadTokenFile:
        return
    assert found.input_ids.ndim == 2


@FUZZ
@given(st.sampled_from(CONFIGS).flatmap(changed).map(as_json) | st.binary(max_size=100)
       | st.sampled_from(CONFIGS).map(as_json).flatmap(damaged))  # fmt: skip
def test_a_config_is_read_or_refused(data: bytes) -> None:
    try:
        family, dimensions = parse_config(data)
    except ModelError as error:
        is_brief(error)
        return
    # What was accepted can be worked with: names and shapes of all tensors are made from it.
    assert all(min(shape) > 0 for shape in tensor_shapes(family, dimensions).values())


ABSURD = [
    0,
    -1,
    10**6,
    10**9,
    2**40,
    10**30,
    1.5,
    4.0,
    float("nan"),
    float("inf"),
    "8",
    True,
    [8],
    {},
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: str(c["architectures"][0]))
def test_absurd_numbers_are_refused_before_anything_is_made_of_them(config: dict[str, Any]) -> None:
    numbers = [key for key, value in config.items() if type(value) is int]
    accepted = []
    for key in numbers:
        for absurd in ABSURD:
            try:
                family, dimensions = parse_config(as_json(config | {key: absurd}))
            except ModelError:
                continue
            accepted.append(key)
            assert len(tensor_shapes(family, dimensions)) < 100_000
    structural = {"hidden_size", "d_model", "num_hidden_layers", "n_layers", "num_experts",
                  "num_attention_heads", "n_heads", "intermediate_size"}  # fmt: skip
    assert not structural & set(accepted) - {"intermediate_size"}


@FUZZ
@given(changed(INDEX).map(as_json) | damaged(as_json(INDEX)) | st.binary(max_size=100))
def test_an_index_names_shards_of_its_folder_or_is_refused(data: bytes) -> None:
    try:
        assert shards_of(data, SHARDS) <= set(SHARDS)
    except ModelError as error:
        is_brief(error)


FOLDER_PARTS = ("config.json", "model.safetensors", "tokenizer.json")


@FUZZ
@given(st.data())
def test_an_estimate_of_a_damaged_folder_ends_by_name(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = _folder(tmp_path_factory)
    part = data.draw(st.sampled_from(FOLDER_PARTS))
    whole = (folder / part).read_bytes()
    (folder / part).write_bytes(data.draw(damaged(whole[:3000])) + whole[3000:])
    spec = parse_spec({"model": {"source": folder.as_uri()}, "sparsity": 0.5})
    try:
        facts = read_facts(LocalFiles(folder), Deadline("fuzzed", 60))
        assert estimate_of(spec, facts, None, Machine()).plan.peak_bytes > 0
    except (ModelError, ModelNotFound):
        pass
    finally:
        (folder / part).write_bytes(whole)


def _folder(factory: pytest.TempPathFactory) -> Path:
    """One model for all examples; each puts back what it damages."""
    folder = factory.getbasetemp() / "fuzzed-model"
    return folder if folder.is_dir() else tiny(folder, "llada")
