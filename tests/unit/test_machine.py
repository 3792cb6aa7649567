"""How much memory a run may take for itself."""

from pathlib import Path

import pytest
import torch

from core import machine

CPU = torch.device("cpu")
GIB = 1 << 30


def cgroup(folder: Path, *, limit: str, used: int, inactive: int = 0) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\nactive_file 7\n")
    return folder


def test_a_limit_leaves_what_is_not_used(tmp_path: Path) -> None:
    found = machine.left_to_container(cgroup(tmp_path, limit=str(8 * GIB), used=3 * GIB))
    assert found == 5 * GIB


def test_cached_files_count_as_free(tmp_path: Path) -> None:
    limited = cgroup(tmp_path, limit=str(8 * GIB), used=6 * GIB, inactive=2 * GIB)
    assert machine.left_to_container(limited) == 4 * GIB


def test_a_full_container_has_nothing_left(tmp_path: Path) -> None:
    assert machine.left_to_container(cgroup(tmp_path, limit="100", used=200)) == 0


def test_no_limit_is_no_number(tmp_path: Path) -> None:
    assert machine.left_to_container(tmp_path / "absent") is None
    assert machine.left_to_container(cgroup(tmp_path, limit="max", used=GIB)) is None


def test_the_budget_keeps_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", cgroup(tmp_path, limit="4000", used=0))
    monkeypatch.setattr(machine, "held_bytes", lambda _: 10)
    assert machine.default_budget(CPU) == 3010
    cgroup(tmp_path, limit="max", used=0)
    assert machine.default_budget(CPU) > 3010
