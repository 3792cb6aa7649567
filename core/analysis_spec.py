"""What `secateur analyze` may be asked for: a model to watch, and nothing to remove. Free of torch."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from pydantic import ValidationError

from core.calibration_spec import Calibration, Strict
from core.errors import InvalidSpec
from core.spec import ModelRef, Sinks, control_objections, field_errors, refuse_sources
from core.trajectory_objections import trajectory_objections


class AnalysisSpec(Strict):
    """One look at a model's attention sinks. Its sections are those of a `JobSpec`."""

    model: ModelRef
    calibration: Calibration = Calibration()
    sinks: Sinks = Sinks()
    control: ModelRef | None = None
    """Another model, watched on the same text in its own way, to stand beside."""
    knockout: bool = False
    """Whether to measure the loss with sinks hidden from attention, as `evaluation.knockout` does."""


def parse_analysis(data: Mapping[str, Any]) -> AnalysisSpec:
    """The spec in `data`.

    Raises:
        InvalidSpec: a field is missing, unknown or out of bounds; `fields` names each.
        NotAvailable: the spec is valid, and this version cannot carry it out.
    """
    try:
        spec = AnalysisSpec.model_validate(data)
    except ValidationError as error:
        raise InvalidSpec("The analysis spec is not valid.", fields=field_errors(error)) from None
    found = chain(trajectory_objections(spec.calibration), control_objections(spec))
    against = [{"field": field, "message": why} for field, why in found]
    if against:
        raise InvalidSpec("The analysis spec makes no sense.", fields=against)
    refuse_sources(spec.model)
    if spec.control is not None:
        refuse_sources(spec.control)
    return spec
