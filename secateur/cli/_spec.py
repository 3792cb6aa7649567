"""A job spec from what was typed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import BadRequest, InvalidSpec


@dataclass(frozen=True, slots=True)
class Typed:
    """The options of `prune` and `submit` that make up a spec; None where left out."""

    model: str | None = None
    method: str | None = None
    sparsity: float | None = None
    pattern: str | None = None
    calibration: str | None = None
    samples: int | None = None
    sequence_length: int | None = None
    seed: int | None = None
    trajectory: str | None = None
    control: str | None = None


def spec_data(typed: Typed, file: Path | None, **more: object) -> dict[str, Any]:
    """The spec as JSON would have it; checked later, where it is used. `more` are sections that only
    one verb has, None where left out.

    Raises:
        BadRequest: neither a model nor a file, or both.
        InvalidSpec: the file is not a JSON object.
    """
    given = [name for name in Typed.__dataclass_fields__ if getattr(typed, name) is not None]
    for name, value in more.items():
        if isinstance(value, Mapping):
            given += [f"{name}.{key}" for key in value]
        elif value is not None:
            given.append(name)
    if file is not None:
        if given:
            raise BadRequest(
                f"--spec already says everything, and {', '.join(given)} was given too.",
                remedy="Write it into the file.",
            )
        return _from_file(file)
    if typed.model is None:
        raise BadRequest("no model was given.", remedy="Name one, such as example:kjv-dlm.")
    calibration = {
        "source": None if typed.calibration is None else as_source(typed.calibration),
        "samples": typed.samples,
        "sequence_length": typed.sequence_length,
        "seed": typed.seed,
        "trajectory": typed.trajectory,
    }
    data = {
        "model": {"source": as_source(typed.model)},
        "method": typed.method,
        "sparsity": typed.sparsity,
        "pattern": typed.pattern,
        "control": None if typed.control is None else {"source": as_source(typed.control)},
        "calibration": {k: v for k, v in calibration.items() if v is not None} or None,
        **more,
    }
    return {name: value for name, value in data.items() if value is not None}


def as_source(typed: str) -> str:
    """A source as the contract writes it: a plain path becomes file:///…, the rest stays."""
    scheme, colon, _ = typed.partition(":")
    if colon and scheme.isalnum() and not Path(typed).exists():
        return typed
    return Path(typed).expanduser().absolute().as_uri()


def _from_file(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(
            f"cannot read {file}: {error.strerror}.", remedy="Check the path."
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{file} is not JSON: {error}.") from None
    if not isinstance(data, dict):
        raise InvalidSpec(f"{file} does not hold a JSON object.")
    return data
