"""How long each phase of a run may take, in an operator's words."""

from typing import Annotated

from pydantic import ConfigDict, Field, RootModel

from core.progress import Phase


class PhaseLimits(RootModel[dict[Phase, Annotated[float, Field(gt=0, allow_inf_nan=False)]]]):
    """Seconds by phase; a phase that is not named may take as long as it likes."""

    model_config = ConfigDict(frozen=True)
