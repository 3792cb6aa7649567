"""An estimate as clients read it. Free of torch and of the web."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PlanView(_Part):
    """How the engine would run the job. Made by the engine's own planner."""

    mode: Literal["resident"] = Field(
        "resident", description="the whole model is in memory for the whole run"
    )
    device: Literal["cpu", "cuda"] = Field(
        description="what the plan is for: SECATEUR_DEVICE, or cpu where that says `auto`"
    )
    group: int = Field(description="sequences in one forward")
    hold_inputs: bool = Field(
        description="whether one forward serves attention and input norms; else each runs its own"
    )
    peak_bytes: int = Field(
        description="memory at the peak, host's on a CPU and the device's on CUDA: the model's weights,"
        " activations and statistics from shapes, and what a worker's process held when that was"
        " measured; the run's own plan counts what its process really holds"
    )
    least_peak_bytes: int = Field(
        description="the same with one sequence at a time: less than this, and the job fails"
    )
    memory_budget: int | None = Field(
        description="SECATEUR_MEMORY_BUDGET; null where it is unset, and workers take three quarters of"
        " what is free when the job runs. `group` is then the largest that makes sense"
    )
    fits: bool | None = Field(
        description="whether the least plan keeps to the budget; null without one"
    )
    forwards: int = Field(
        description="sequences through the whole model, and through the control where there is one"
    )
    flops: float = Field(description="floating-point operations of all forwards and the solver")
    solver_flops: float = Field(description="of these, what SparseGPT takes beside the forwards")


class ModelView(_Part):
    """What config.json and the headers of the weights say; no weight was read."""

    source: str
    revision: str | None = Field(
        description="the commit on a hub, or a content hash of a small folder; null where only reading"
        " all of it would tell"
    )
    family: str
    parameters: int
    prunable_parameters: int = Field(description="in the blocks' linear layers")
    bytes: int = Field(description="of its weight files")


class SequencesView(_Part):
    """What the model would be watched and judged on, after its context and the token file."""

    samples: int
    timesteps: int
    positions: int
    evaluated: int = Field(description="forwards that dense and pruned are judged on, each")


class Estimate(_Part):
    """What a job would take, told without running it."""

    plan: PlanView
    model: ModelView
    calibration: SequencesView
    output_bytes: int = Field(
        description="what the job leaves in the store: the checkpoint to the byte but for its model card,"
        " attention mass from shapes, and an allowance for the report"
    )
    seconds: float | None = Field(
        description="`plan.flops` at the median rate of your last finished jobs, whatever they ran on;"
        " null where there is none. Short jobs are mostly start-up, which makes this too high for"
        " long ones"
    )
    warnings: list[str] = Field(description="what is assumed, or will be done otherwise than asked")
