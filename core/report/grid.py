"""Sparsity of every matrix as a small table: blocks down, kinds of matrix across."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

from core.report.schema import MatrixSparsity

KINDS = ("q", "k", "v", "o", "gate", "up", "down")
_KIND_OF = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "attn_out": "o",
    "gate_proj": "gate", "ff_proj": "gate", "up_proj": "up", "down_proj": "down", "ff_out": "down",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    detail: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Grid:
    """`rows` pairs a label such as `0 to 31` with one cell a column; equal neighbours share a row."""

    columns: tuple[str, ...]
    rows: list[tuple[str, list[Cell | None]]]
    merged: bool


def sparsity_grid(matrices: Mapping[str, MatrixSparsity]) -> Grid:
    places = {name: _place(name) for name in matrices}
    found = {kind for _, kind in places.values()}
    columns = tuple(k for k in KINDS if k in found) + tuple(sorted(found - set(KINDS)))
    blocks = sorted({block for block, _ in places.values()})
    cells = {places[name]: _cell(matrix) for name, matrix in matrices.items()}
    rows = [(block, [cells.get((block, kind)) for kind in columns]) for block in blocks]
    grouped = [[block for block, _ in run] for _, run in groupby(rows, key=lambda row: row[1])]
    by_block = dict(rows)
    return Grid(
        columns=columns,
        rows=[(_label(run), by_block[run[0]]) for run in grouped],
        merged=len(grouped) < len(rows),
    )


def _place(name: str) -> tuple[int, str]:
    """(block, kind) from a tensor's name; what has no number goes before the first block."""
    parts = name.removesuffix(".weight").split(".")
    numbers = [int(part) for part in parts if re.fullmatch(r"\d{1,4}", part)]
    return (numbers[0] if numbers else -1), _KIND_OF.get(parts[-1], parts[-1])


def _cell(matrix: MatrixSparsity) -> Cell:
    rows, columns = matrix.shape
    return Cell(
        text=f"{100 * matrix.fraction:.2f}",
        detail=f"{matrix.removed:,} of {rows * columns:,} weights ({rows} × {columns})",
        fraction=matrix.fraction,
    )


def _label(run: list[int]) -> str:
    first, last = run[0], run[-1]
    if first < 0:
        return "–"
    return str(first) if first == last else f"{first} to {last}"
