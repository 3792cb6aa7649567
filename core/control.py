"""A second model on the same text, to stand beside the one that is measured."""

from core.calibration_spec import Calibration
from core.models.families import Family


def for_control(calibration: Calibration, family: Family) -> Calibration:
    """What a control of `family` is watched on where the model is watched as `calibration` says.

    Each writes in its own way: what is noised text to a diffusion model are the prefixes of the same
    text to one that writes from left to right, and what generation is to one is decoding to the other.
    """
    own = {"forward-noise": "prefixes", "generation": "decoding"}
    if family.attention != "causal" or calibration.trajectory not in own:
        return calibration
    return calibration.model_copy(update={"trajectory": own[calibration.trajectory]})
