"""The mixture of experts that a config.json describes."""

from collections.abc import Mapping
from typing import Any

from core.errors import BrokenCheckpoint
from core.models.config_values import Reader, shown
from core.models.families import ExpertLayout, Experts

MOST_EXPERTS = 32_768
"""Of all blocks together, each with three matrices: twice what the largest published model has."""


def read_experts(config: Mapping[str, Any], layout: ExpertLayout, blocks: int) -> Experts:
    """Raises BrokenCheckpoint where a key has an impossible value."""
    get = Reader(config, layout.keys, {})

    def known(field: str, otherwise: int, least: int = 1) -> int:
        return get.whole(field, least=least) if field in layout.keys else otherwise

    width = get.whole("width")
    found = Experts(
        count=get.whole("count"),
        active=get.whole("active"),
        width=width,
        shared_width=width * known("shared", 0, least=0),
        dense=_dense(config, layout, blocks, known("first_dense", 0, least=0)),
        scores=layout.scores,
        normalised=layout.normalised,
        biased=layout.biased,
        groups=known("groups", 1),
        active_groups=known("active_groups", 1),
        scale=get.positive("scale") if "scale" in layout.keys else 1.0,
    )
    _check_groups(found)
    if blocks * found.count > MOST_EXPERTS:
        raise BrokenCheckpoint(
            f"config.json: {blocks} blocks of {found.count} experts are more than {MOST_EXPERTS}."
        )
    return found


def _dense(
    config: Mapping[str, Any], layout: ExpertLayout, blocks: int, first: int
) -> frozenset[int]:
    """Blocks without experts: the first few, or those with a 0 in the list of frequencies."""
    if layout.frequency is None:
        return frozenset(range(min(first, blocks)))
    listed = config.get(layout.frequency)
    if (
        not isinstance(listed, list)
        or len(listed) != blocks
        or any(type(f) is not int or f not in (0, 1) for f in listed)
    ):
        raise BrokenCheckpoint(
            f"config.json: {layout.frequency} must list 0 or 1 for each of {blocks} blocks, not {shown(listed)}."
        )
    return frozenset(i for i, frequency in enumerate(listed) if not frequency)


def _check_groups(found: Experts) -> None:
    size, ragged = divmod(found.count, found.groups)
    lonely = found.active_groups < found.groups and size < 2
    if ragged or lonely or not found.active <= size * found.active_groups <= found.count:
        raise BrokenCheckpoint(
            f"config.json: {found.active} of {found.count} experts cannot be chosen from "
            f"{found.active_groups} of {found.groups} groups."
        )
