"""What a sweep would take, before it is submitted."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from api.estimates import Maker
from core.estimates.views import Estimate
from core.sweep_spec import Cell


class CellEstimate(BaseModel):
    """Of one job."""

    number: int
    values: dict[str, Any]
    flops: float
    seconds: float | None
    output_bytes: int
    peak_bytes: int
    fits: bool | None


class SweepEstimate(BaseModel):
    """Of all jobs, one after another, as if none shared with another what it finds out."""

    children: int = Field(description="how many jobs it would make")
    flops: float
    seconds: float | None = Field(description="null where the time of some is not known")
    output_bytes: int = Field(description="of all results")
    peak_bytes: int = Field(description="memory at the peak of the largest job")
    fits: bool | None = Field(description="whether the least plan of every job keeps to the budget")
    warnings: list[str]
    cells: list[CellEstimate]


def estimated(cells: tuple[Cell, ...], estimates: Maker) -> SweepEstimate:
    """Raises what an estimate of any of the jobs raises."""
    made = [(cell, estimates(cell.spec)) for cell in cells]
    found = [_cell(cell, estimate) for cell, estimate in made]
    seconds = [each.seconds for each in found if each.seconds is not None]
    fits = {each.fits for each in found}
    return SweepEstimate(
        children=len(found),
        flops=sum(each.flops for each in found),
        seconds=sum(seconds) if len(seconds) == len(found) else None,
        output_bytes=sum(each.output_bytes for each in found),
        peak_bytes=max(each.peak_bytes for each in found),
        fits=False if False in fits else None if None in fits else True,
        warnings=list(dict.fromkeys(_warnings(made))),
        cells=found,
    )


def _cell(cell: Cell, estimate: Estimate) -> CellEstimate:
    return CellEstimate(
        number=cell.number,
        values=cell.values,
        flops=estimate.plan.flops,
        seconds=estimate.seconds,
        output_bytes=estimate.output_bytes,
        peak_bytes=estimate.plan.peak_bytes,
        fits=estimate.plan.fits,
    )


def _warnings(made: list[tuple[Cell, Estimate]]) -> Iterator[str]:
    for _, estimate in made:
        yield from estimate.warnings
