"""What in a calibration section would have no effect, given which trajectory it asks for. Free of torch."""

from collections.abc import Iterator
from typing import Any, Final

from core.calibration_spec import Calibration, Generation

OF_NOISE: Final = ("stratified", "keep_prefix", "max_rate")
"""Options that say how noise is drawn."""
UNWRITTEN: Final = ("forward-noise", "prefixes")
"""Trajectories that no model has to write."""
OF_DECODING: Final = ("prompt_length", "temperature")
"""What there is to say of writing from left to right."""
OF_DREAM: Final = ("algorithm", "algorithm_temperature", "top_p", "top_k")
OF_LLADA: Final = ("block_length", "remasking", "guidance")


def given(generation: Generation, names: tuple[str, ...]) -> list[str]:
    """Those of the options `names` that are not at their defaults. Which a client wrote is no help: it
    is lost as soon as a spec is stored."""
    fields: Any = Generation.model_fields
    return [name for name in names if getattr(generation, name) != fields[name].default]


def trajectory_objections(calibration: Calibration) -> Iterator[tuple[str, str]]:
    """(field, why) of each option that contradicts the trajectory or means nothing under it."""
    asked, generation = calibration.trajectory, calibration.generation
    every = tuple(Generation.model_fields)
    if asked in UNWRITTEN:
        for name in given(generation, every):
            yield f"calibration.generation.{name}", f"nothing is written: the trajectory is {asked}"
    if asked == "forward-noise":
        return
    defaults: Any = Calibration.model_fields
    for name in OF_NOISE:
        if getattr(calibration, name) != defaults[name].default:
            yield f"calibration.{name}", f"no noise is drawn: the trajectory is {asked}"
    if asked == "prefixes":
        yield from _without_masks(calibration)
        return
    prompt, length = generation.prompt_length, calibration.sequence_length
    if prompt is not None and prompt >= length:
        why = f"{prompt} leaves nothing to write in sequences of {length}"
        yield "calibration.generation.prompt_length", why
    if asked == "decoding":
        yield from _of_decoding(calibration, every)
    else:
        yield from _of_generation(generation)


def _of_decoding(calibration: Calibration, every: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    unknown = tuple(name for name in every if name not in OF_DECODING)
    for name in given(calibration.generation, unknown):
        yield f"calibration.generation.{name}", "writing from left to right has no such choice"
    yield from _without_masks(calibration)


def _without_masks(calibration: Calibration) -> Iterator[tuple[str, str]]:
    if calibration.timestep_weights == "inverse-rate":
        yield (
            "calibration.timestep_weights",
            f"inverse-rate weighs by what is masked, and {calibration.trajectory} masks nothing",
        )


def _of_generation(generation: Generation) -> Iterator[tuple[str, str]]:
    at = "calibration.generation"
    dreams, llada = given(generation, OF_DREAM), given(generation, OF_LLADA)
    if dreams and llada:
        theirs = ", ".join(llada)
        for name in dreams:
            yield (
                f"{at}.{name}",
                f"belongs to Dream's sampler, and {theirs} to LLaDA's: no model has both",
            )
    if generation.algorithm != "origin":
        return
    if generation.algorithm_temperature:
        why = "algorithm origin writes at positions that chance alone picks"
        yield f"{at}.algorithm_temperature", why
    if not generation.temperature:
        for name in given(generation, ("top_p", "top_k")):
            yield (
                f"{at}.{name}",
                "algorithm origin at temperature 0 takes the likeliest token anyway",
            )
