"""Grids that have a name: rows of a table. Free of torch."""

from collections.abc import Mapping
from typing import Any, Final, Literal

Preset = Literal["ablation"]

PRESETS: Final[Mapping[Preset, Mapping[str, tuple[Any, ...]]]] = {
    # What attention sinks really contribute: of a score, every recipe there is.
    "ablation": {
        "recipe.inputs": ("clean", "noised"),
        "recipe.order": ("sequential", "one-shot"),
        "recipe.sinks": ("keep", "discount-all", "discount-transient"),
        "sparsity": (0.5, 0.75),
    },
}
"""Paths and their values, of which the last varies fastest."""

DEFAULTS: Final[Mapping[Preset, Mapping[str, Any]]] = {"ablation": {"method": "wanda"}}
"""What a base gets that says nothing of it."""
