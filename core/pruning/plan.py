"""What a run will take, from shapes alone. Pure: the same arguments give the same plan."""

from dataclasses import dataclass, replace

from core.errors import OutOfMemory
from core.models.families import Dimensions
from core.pruning.recipes import Recipe

FLOAT32 = 4
GROUP_TOKENS = {"cpu": 4096, "cuda": 16384}
"""Tokens in one forward: enough to fill the device, few enough to stay near its caches."""

RUNTIME_BYTES = 128 << 20
"""What torch's kernels and the report's plots take beside their data, measured on the examples."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The shapes a plan is made from."""

    dimensions: Dimensions
    weight_bytes: int
    element_bytes: int
    """Of an activation, in the model's dtype."""
    samples: int
    timesteps: int
    positions: int
    evaluation_sequences: int
    """Sequences that dense and pruned are each judged on; 0 without evaluation."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the engine runs and what that takes. Bytes are of the whole process at its peak."""

    group: int
    """Sequences in one forward."""
    hold_inputs: bool
    """Whether one forward per (sample, timestep) serves mass and norms; else a second follows."""
    peak_bytes: int
    flops: float
    forwards: int
    """Sequences through the whole model, the sequential pass over blocks included."""
    seconds: float | None = None
    """Predicted from a timed forward, once the model is loaded."""

    def timed(self, seconds_per_flop: float) -> "Plan":
        return replace(self, seconds=self.flops * seconds_per_flop)


def make_plan(
    work: Workload, recipe: Recipe, *, device: str, baseline_bytes: int, budget: int
) -> Plan:
    """The fastest way to run `work` within `budget` bytes.

    `baseline_bytes` is what the process holds beside the model when the plan is made.

    Raises:
        OutOfMemory: even one sequence at a time does not fit; says what would.
    """
    fixed = baseline_bytes + RUNTIME_BYTES + work.weight_bytes + _kept_bytes(work, recipe)
    wanted = max(1, GROUP_TOKENS[device] // work.positions)
    wanted = min(wanted, work.samples * work.timesteps)
    for hold in (True, False) if recipe.one_shot else (False,):
        per_sequence = _sequence_bytes(work, hold=hold)
        group = min(wanted, (budget - fixed) // per_sequence)
        if group >= 1:
            forwards = _forwards(work, recipe, hold=hold)
            flops = forwards * forward_flops(work.dimensions, work.positions)
            peak = fixed + group * per_sequence
            return Plan(group, hold or not recipe.one_shot, peak, flops, forwards)
    need = fixed + _sequence_bytes(work, hold=False)
    raise OutOfMemory(
        f"the smallest plan needs {need / 1e9:.2f} GB; the budget is {budget / 1e9:.2f} GB.",
        remedy="Raise the memory budget, or lower calibration.samples or sequence_length.",
    )


def forward_flops(dimensions: Dimensions, positions: int) -> float:
    """Of one sequence through all blocks: matrices, attention, and its column sums."""
    d = dimensions
    kv_width = d.width // d.heads * d.kv_heads
    matrices = 2 * d.width * d.width + 2 * d.width * kv_width + 3 * d.width * d.ffn_width
    return 2.0 * d.blocks * positions * (matrices + 3 * positions * d.width)


def _kept_bytes(work: Workload, recipe: Recipe) -> int:
    """What lives through the run beside the weights: attention mass, and hidden states of a
    sequential recipe."""
    d = work.dimensions
    mass = work.samples * work.timesteps * d.blocks * work.positions * FLOAT32
    hidden = work.samples * work.positions * d.width * work.element_bytes
    # Statistics of the sinks are taken in float64, a few arrays at a time.
    return 3 * mass + (hidden if recipe.order == "sequential" else 0)


def _sequence_bytes(work: Workload, *, hold: bool) -> int:
    """Held inputs of every block, the widest moment inside one block, and squares in float32."""
    d = work.dimensions
    inputs = work.positions * (3 * d.width + d.ffn_width) * work.element_bytes
    inside = work.positions * (6 * d.width + 3 * d.ffn_width) * work.element_bytes
    squares = work.positions * d.ffn_width * 2 * FLOAT32
    return (d.blocks * inputs if hold else 0) + inside + squares


def _forwards(work: Workload, recipe: Recipe, *, hold: bool) -> int:
    passes = 2 if recipe.one_shot and not hold else 1
    observed = work.samples * work.timesteps * passes
    sequential = 2 * work.samples if recipe.order == "sequential" else 0
    return observed + sequential + 2 * work.evaluation_sequences
