"""Trajectories that were recorded elsewhere: used as they are, with no noise drawn."""

from typing import Any

from core.calibration.noise import Trajectories
from core.calibration.token_file import TokenFile
from core.calibration_spec import Calibration
from core.errors import BadTokenFile, InvalidSpec
from core.models.families import Family

DRAWING = ("trajectory", "stratified", "keep_prefix", "max_rate", "include_clean")
"""Options that say how a trajectory is made, and so contradict a recording."""
SCHEDULE = ("diffusion_steps", "sample_interval")
"""Options that say which timesteps there are."""


def from_recorded(
    tokens: TokenFile, calibration: Calibration, family: Family, mask_token: int | None
) -> tuple[Trajectories, tuple[str, ...]]:
    """The trajectory that `tokens` records with the spec's weights, and warnings.

    Raises:
        InvalidSpec: the spec says how to make a trajectory, or its weights are too many or too few.
        BadTokenFile: the spec's timesteps are not the recorded ones, a timestep that `inverse-rate`
            weighs corrupts nothing, or positions are said not to exist that the model sees.
    """
    assert tokens.noised is not None
    given = [f"calibration.{name}" for name in DRAWING if _is_given(calibration, name)]
    if given:
        raise InvalidSpec(
            f"{', '.join(given)}: the token file holds a recorded trajectory, which is used as it is.",
            remedy="Leave them out, or give a token file without noised_input_ids.",
        )
    timesteps, warnings = _labels(calibration, tokens)
    _check_lengths(tokens, family)
    found = Trajectories.recorded(
        tokens.input_ids, tokens.noised, timesteps, mask_token, tokens.lengths
    )
    return weighted(found, calibration), warnings


def _check_lengths(tokens: TokenFile, family: Family) -> None:
    """Whoever sees all positions sees those too that are said not to exist yet."""
    if tokens.lengths is None:
        return
    positions, span = tokens.input_ids.shape[1], family.span
    cut = tokens.lengths[tokens.lengths < positions]
    if len(cut) and (span is None or bool((cut % span != 0).any())):
        reach = "all positions" if span is None else f"blocks of {span}"
        raise BadTokenFile(
            f"lengths end where {family.name} sees further: each position sees {reach}.",
            remedy="Leave lengths out, or record them with a model of this family.",
        )


def _is_given(calibration: Calibration, name: str) -> bool:
    """Whether the spec says something else than its default. Which fields a client wrote is no
    help: it is lost as soon as a spec is stored."""
    default: Any = Calibration.model_fields[name].default
    return bool(getattr(calibration, name) != default)


def _labels(calibration: Calibration, tokens: TokenFile) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The timesteps' names: the file's; without any the spec's, or 1…T where it does not say which
    they are."""
    assert tokens.noised is not None
    asked, recorded = calibration.timesteps, tokens.noised.shape[1]
    says = any(_is_given(calibration, name) for name in SCHEDULE)
    if tokens.timesteps is not None:
        if says and asked != tokens.timesteps:
            raise BadTokenFile(
                f"the recorded timesteps are {', '.join(map(str, tokens.timesteps[:20]))}; "
                f"diffusion_steps and sample_interval ask for others.",
                remedy="Leave both out.",
            )
        return tokens.timesteps, ()
    if recorded == len(asked):
        return asked, ()
    if says:
        raise BadTokenFile(
            f"the recorded trajectory has {recorded} timesteps; diffusion_steps and "
            f"sample_interval ask for {len(asked)}.",
            remedy="Leave both out to number the recorded timesteps from 1.",
        )
    warning = (
        f"the recorded trajectory has {recorded} timesteps, which are numbered 1…{recorded}: "
        "what they were is not recorded"
    )
    return tuple(range(1, recorded + 1)), (warning,)


def weighted(trajectories: Trajectories, calibration: Calibration) -> Trajectories:
    """`trajectories` under the spec's timestep weights.

    Raises:
        InvalidSpec: a list of weights that is not as long as there are timesteps.
        BadTokenFile: `inverse-rate`, and a recorded timestep corrupts nothing.
    """
    asked, count = calibration.timestep_weights, len(trajectories.timesteps)
    if isinstance(asked, tuple) and len(asked) != count:
        raise InvalidSpec(
            f"calibration.timestep_weights has {len(asked)} values for {count} timesteps.",
            remedy="Give one for each timestep of the trajectory.",
        )
    if asked == "inverse-rate" and not bool(trajectories.rates.all()):
        sample, timestep = (trajectories.rates == 0).nonzero()[0].tolist()
        raise BadTokenFile(
            f"sample {sample} corrupts nothing at recorded timestep {timestep + 1}, which "
            "inverse-rate weights cannot weigh.",
            remedy="Give calibration.timestep_weights as a list, or leave it out.",
        )
    return trajectories.weighted(asked)
