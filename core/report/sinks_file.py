"""`sinks.safetensors`: what the plots of sinks are drawn from.

It has the first samples, as many as `kept_samples` says: statistics are over all, and in the report.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

FORMAT = {"format": "secateur-sinks-1"}  # one entry: more would be written in no fixed order


@dataclass(frozen=True, slots=True)
class SinkArrays:
    """n samples, t timesteps, L layers, S positions; centroids of c ≥ n samples, the same n first."""

    mass: NDArray[np.floating[Any]]
    """(n, t, L, S) attention received by a position, summed over heads and queries."""
    masked: NDArray[np.uint8]
    """(n, t, S) 1 where the position held the mask token."""
    timesteps: NDArray[np.int32]
    """(t,)"""
    centroid: NDArray[np.float32]
    """(c, t) mass-weighted mean position of the sink set; NaN where it is empty."""
    sink: NDArray[np.uint8]
    """(n, t, S) 1 where the position is in the sink set of the mass summed over layers."""
    persistence: NDArray[np.float32]
    """(n, S) share of the timesteps at which the position is a sink, of those at which it exists."""

    def __post_init__(self) -> None:
        n, t, _, s = self.mass.shape
        expected = {
            "masked": (n, t, s),
            "timesteps": (t,),
            "centroid": (max(n, len(self.centroid)), t),
            "sink": (n, t, s),
            "persistence": (n, s),
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} has shape {found}, {shape} expected beside the mass")

    @classmethod
    def make(
        cls,
        *,
        mass: NDArray[np.floating[Any]],
        masked: NDArray[Any],
        timesteps: Sequence[int],
        centroid: NDArray[np.floating[Any]],
        sink: NDArray[Any],
        persistence: NDArray[np.floating[Any]],
    ) -> Self:
        """The arrays in the types they are stored in.

        The mass is kept in float16, unless one value lies outside of its range: a single sink of a
        long sequence can hold more than 65504.
        """
        fits = bool(mass.max(initial=0) <= np.finfo(np.float16).max)
        return cls(
            mass=mass.astype(np.float16 if fits else np.float32),
            masked=masked.astype(np.uint8),
            timesteps=np.asarray(timesteps, dtype=np.int32),
            centroid=centroid.astype(np.float32),
            sink=sink.astype(np.uint8),
            persistence=persistence.astype(np.float32),
        )


def write(path: Path, arrays: SinkArrays) -> None:
    """Same arrays, same bytes."""
    named = {f.name: np.ascontiguousarray(getattr(arrays, f.name)) for f in fields(arrays)}
    save_file(named, path, metadata=FORMAT)


def read(path: Path) -> SinkArrays:
    """Raises ValueError for arrays whose shapes do not belong together, KeyError for a missing one."""
    found = load_file(path)
    return SinkArrays(**{f.name: found[f.name] for f in fields(SinkArrays)})
