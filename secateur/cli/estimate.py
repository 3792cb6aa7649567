"""`secateur estimate`: what a job would take, told here or by a server, without running it."""

from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli import _options as o
from secateur.cli._wanted import Wanted, takes_spec

if TYPE_CHECKING:
    from core.estimates.views import Estimate
    from core.spec import JobSpec


@takes_spec
def estimate(
    *,
    wanted: Wanted,
    device: o.Device = None,
    memory_budget: o.MemoryBudget = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Ask this server; paths are then its own.", show_default=False),
    ] = None,
    key_file: o.KeyFile = None,
    json: o.Json = False,
) -> None:
    """Say what memory, work and space a job would take. Reads a model's headers, not its weights.

    Without --url it is told here, for any model that `prune` would read here.
    """
    from core.errors import BadRequest
    from core.spec import parse_spec
    from secateur.cli._output import show_json

    data = wanted.data()
    if url is None:
        found = _told_here(parse_spec(data), device, memory_budget)
    elif device is not None or memory_budget is not None:
        raise BadRequest(
            "a server plans for its own device and memory budget.",
            remedy="Leave --device and --memory-budget out, or --url.",
        )
    else:
        from secateur.cli._remote import connect

        with connect(url, key_file) as client:
            found = client.estimate(data)
    if json:
        show_json(found)
    else:
        show_estimate(found)


def _told_here(spec: "JobSpec", device: str | None, memory_budget: str | None) -> "Estimate":
    from core.estimates.estimate import Machine
    from core.estimates.estimator import Estimator
    from core.sources import Allowed
    from secateur.cli._local import byte_count
    from secateur.cli._settings import load_settings

    settings = load_settings()
    budget = settings.memory_budget if memory_budget is None else byte_count(memory_budget)
    machine = Machine.configured(device or settings.device, budget)
    # A person at a shell may wait, and look at whatever the machine lets them.
    return Estimator(Allowed(None, settings.source_buckets), machine, seconds=120).estimate(spec)


def show_estimate(found: "Estimate") -> None:
    """For people."""
    from secateur.cli._output import result, size

    plan, model, watched = found.plan, found.model, found.calibration
    prunable = model.prunable_parameters / model.parameters
    result(
        f"model     {model.family}, {_count(model.parameters)} parameters, {prunable:.0%} prunable"
    )
    result(
        f"watched   {watched.samples} samples × {watched.timesteps} timesteps of"
        f" {watched.positions} tokens"
    )
    result(
        f"memory    {size(plan.peak_bytes)} at peak on {plan.device} in groups of {plan.group},"
        f" {size(plan.least_peak_bytes)} at least"
    )
    result(f"work      {plan.forwards} forwards, {plan.flops:.3g} floating-point operations")
    if found.seconds is not None:
        result(f"time      about {found.seconds:.0f} s, as fast as the last jobs were")
    result(f"output    {size(found.output_bytes)}")
    for warning in found.warnings:
        result(f"warning   {warning}")


def _count(number: float) -> str:
    for unit in ("", " thousand", " million"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} billion"
