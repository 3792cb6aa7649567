"""A manifest verifies what it was built from, and nothing else."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CorruptObject
from core.store import manifest
from core.store.manifest import Manifest

FILES = {
    "model/model.safetensors": b"\x00\x01weights",
    "model/config.json": b"{}",
    "report/plots/mass.png": b"png",
    "report/report.html": b"",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    manifest.write(_build(tmp_path / "out"), tmp_path / "out")
    return tmp_path / "out"


def _build(folder: Path) -> Manifest:
    return manifest.build(
        folder,
        spec={"sparsity": 0.5, "model": {"source": "example:x"}},
        revision="sha256:0",
        versions={"torch": "2.13", "secateur": "0.1.0"},
        seeds={"calibration": 0},
    )


def test_names_every_file_once_sorted_and_not_itself(folder: Path) -> None:
    assert [f.name for f in manifest.verify(folder).files] == sorted(FILES)
    assert _build(folder) == manifest.verify(folder)


def test_same_files_same_bytes(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    manifest.write(_build(folder), folder)
    assert (folder / "manifest.json").read_bytes() == before
    assert manifest.read(before) == manifest.verify(folder)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found_and_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("out")
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = data.draw(st.binary(min_size=1, max_size=200))
    at = data.draw(st.integers(0, len(content) - 1))
    flip = data.draw(st.integers(1, 255))
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(content)
    manifest.write(_build(folder), folder)
    changed = bytearray(content)
    changed[at] ^= flip
    (folder / name).write_bytes(changed)
    with pytest.raises(CorruptObject, match=f"{name} differs"):
        manifest.verify(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_or_longer_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"!")
    with pytest.raises(CorruptObject, match=f"{name} has {len(FILES[name]) + 1} bytes"):
        manifest.verify(folder)
    (folder / name).unlink()
    with pytest.raises(CorruptObject, match=f"{name} is missing"):
        manifest.verify(folder)


def test_a_link_is_not_a_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(FILES["model/config.json"])
    (folder / "model/config.json").unlink()
    (folder / "model/config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptObject, match=r"model/config\.json is missing"):
        manifest.verify(folder)
    with pytest.raises(CorruptObject, match=r"model/config\.json is neither"):
        _build(folder)


def test_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(CorruptObject, match=r"manifest\.json is missing"):
        manifest.verify(tmp_path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../b", "", "manifest.json"])
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, name: str) -> None:
    document = json.loads((folder / "manifest.json").read_bytes())
    document["files"][0]["name"] = name
    with pytest.raises(CorruptObject, match="not a manifest"):
        manifest.read(json.dumps(document).encode())


def test_a_name_given_twice_is_refused(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_bytes())
    document["files"].append(document["files"][0])
    with pytest.raises(CorruptObject, match="distinct"):
        manifest.read(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"files": []}', b"\xff"])
def test_other_documents_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptObject, match="Download"):
        manifest.read(data)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("manifest.json", "application/json"),
        ("report/plots/mass.png", "image/png"),
        ("report/plots/mass.svg", "image/svg+xml"),
        ("report/report.html", "text/html; charset=utf-8"),
        ("model/README.md", "text/markdown; charset=utf-8"),
        ("model/model.safetensors", "application/octet-stream"),
        ("model/page.html", "application/octet-stream"),
        ("model/picture.SVG", "application/octet-stream"),
    ],
)
def test_only_our_own_page_is_html(name: str, expected: str) -> None:
    assert manifest.media_type(name) == expected
