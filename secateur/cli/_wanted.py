"""The options that make up a job's spec, once for all verbs that take them."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final

from secateur.cli import _options as o
from secateur.cli._spec import Typed, spec_data

_OPTIONS: Final[dict[str, Any]] = {
    "model": o.Model,
    "method": o.Method,
    "sparsity": o.Sparsity,
    "pattern": o.Pattern,
    "calibration": o.CalibrationSource,
    "samples": o.Samples,
    "sequence_length": o.SequenceLength,
    "seed": o.Seed,
    "trajectory": o.Trajectory,
    "control": o.Control,
    "spec": o.SpecFile,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed of a spec."""

    typed: Typed
    file: Path | None

    def data(self) -> dict[str, Any]:
        """The spec as JSON would have it. Raises BadRequest and InvalidSpec as `spec_data`."""
        return spec_data(self.typed, self.file)


def takes_spec(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with a spec's options where it has the parameter `wanted`.

    Typer makes options of a signature, so the verb gets one in which they are written out. All
    parameters of `command` are keyword-only.
    """

    @wraps(command)
    def run(**given: Any) -> None:
        file = given.pop("spec")
        typed = Typed(**{name: given.pop(name) for name in _OPTIONS if name != "spec"})
        command(wanted=Wanted(typed, file), **given)

    signature = inspect.signature(command)
    parameters = [
        shown
        for parameter in signature.parameters.values()
        for shown in (_written_out() if parameter.name == "wanted" else [parameter])
    ]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # inspect reads it
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _written_out() -> list[inspect.Parameter]:
    kind = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(name, kind, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]
