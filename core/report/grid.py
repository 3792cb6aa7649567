"""Sparsity of every matrix as a small table: blocks down, kinds of matrix across."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from core.report.schema import MatrixSparsity

KINDS = ("q", "k", "v", "qkv", "o", "gate", "up", "down")
_KIND_OF = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "o_proj": "o", "attn_out": "o",
    "query_key_value": "qkv", "dense": "o",
    "gate_proj": "gate", "ff_proj": "gate", "up_proj": "up", "down_proj": "down", "ff_out": "down",
}  # fmt: skip
_WITHIN = {"shared_experts": "shared expert", "experts": "experts"}
"""Parts of a tensor's name that tell experts from an ordinary feed-forward part → their heading."""
GROUPS = ("", *_WITHIN.values())

Column = tuple[str, str]
"""(heading, kind); the heading is empty outside of experts."""


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    detail: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Grid:
    """`rows` pairs a label such as `0 to 31` with one cell a column; equal neighbours share a row."""

    columns: tuple[Column, ...]
    rows: list[tuple[str, list[Cell | None]]]
    merged: bool

    @property
    def headings(self) -> list[tuple[str, int]]:
        """(heading, columns below it), and nothing where no column has one."""
        runs = [(h, len(list(run))) for h, run in groupby(self.columns, key=lambda c: c[0])]
        return runs if any(heading for heading, _ in runs) else []


def sparsity_grid(matrices: Mapping[str, MatrixSparsity]) -> Grid:
    """All experts of a block share one cell a kind, with the least and the most that one lost."""
    gathered: dict[tuple[int, Column], list[MatrixSparsity]] = {}
    for name, matrix in matrices.items():
        gathered.setdefault(_place(name), []).append(matrix)
    columns = tuple(sorted({column for _, column in gathered}, key=_column_order))
    blocks = sorted({block for block, _ in gathered})
    cells = {place: _cell(same) for place, same in gathered.items()}
    rows = [(block, [cells.get((block, column)) for column in columns]) for block in blocks]
    grouped = [[block for block, _ in run] for _, run in groupby(rows, key=lambda row: row[1])]
    by_block = dict(rows)
    return Grid(
        columns=columns,
        rows=[(_label(run), by_block[run[0]]) for run in grouped],
        merged=len(grouped) < len(rows),
    )


def unreached_rows(names: Iterable[str]) -> list[tuple[str, str]]:
    """(block, its experts that no calibration token reached), from tensor names."""
    experts: dict[int, set[int]] = {}
    for name in names:
        block, *rest = _numbers(name)
        experts.setdefault(block, set()).update(rest[:1])
    return [
        (_label([block]), ", ".join(map(_label, _runs(found))) or "–")
        for block, found in sorted(experts.items())
    ]


def _runs(numbers: Iterable[int]) -> list[list[int]]:
    """Consecutive numbers together, in ascending order."""
    places = enumerate(sorted(numbers))
    return [[n for _, n in run] for _, run in groupby(places, key=lambda pair: pair[1] - pair[0])]


def _column_order(column: Column) -> tuple[int, int, str]:
    """As in a block; kinds that we do not know come after those that we do."""
    heading, kind = column
    return GROUPS.index(heading), KINDS.index(kind) if kind in KINDS else len(KINDS), kind


def _place(name: str) -> tuple[int, Column]:
    """(block, column) from a tensor's name; what has no number goes before the first block."""
    parts = name.removesuffix(".weight").split(".")
    within = next((_WITHIN[part] for part in parts if part in _WITHIN), "")
    return _numbers(name)[0], (within, _KIND_OF.get(parts[-1], parts[-1]))


def _numbers(name: str) -> list[int]:
    """The block, and the expert within it, that a tensor's name tells; −1 where it tells none."""
    return [int(part) for part in name.split(".") if re.fullmatch(r"\d{1,4}", part)] or [-1]


def _cell(same: list[MatrixSparsity]) -> Cell:
    rows, columns = same[0].shape
    entries = sum(matrix.shape[0] * matrix.shape[1] for matrix in same)
    removed = sum(matrix.removed for matrix in same)
    least, most = (f"{100 * f(m.fraction for m in same):.2f}" for f in (min, max))
    each = f"{len(same)} matrices, each " if len(same) > 1 else ""
    return Cell(
        text=least if least == most else f"{least} to {most}",
        detail=f"{removed:,} of {entries:,} weights ({each}{rows} × {columns})",
        fraction=removed / entries,
    )


def _label(run: list[int]) -> str:
    first, last = run[0], run[-1]
    if first < 0:
        return "–"
    return str(first) if first == last else f"{first} to {last}"
