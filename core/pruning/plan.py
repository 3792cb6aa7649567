"""What a run will take, from shapes alone. Pure: the same arguments give the same plan."""

from dataclasses import dataclass, replace

from core.calibration.continuation import Written
from core.errors import OutOfMemory
from core.models.families import Dimensions
from core.recipes import Recipe
from core.sinks.kept import kept_samples

FLOAT16, FLOAT32, FLOAT64 = 2, 4, 8
GROUP_TOKENS = {"cpu": 4096, "cuda": 16384}
"""Tokens in one forward: enough to fill the device, few enough to stay near its caches."""

RUNTIME_BYTES = 128 << 20
"""What torch's kernels and the report's plots take beside their data, measured on the examples."""


PROCESS_BYTES = {"cpu": 576 << 20, "cuda": 0}
"""What a worker's process holds beside the model when its plan is made, for those who plan before
there is a process. On CUDA only the device's memory counts."""


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
    probe_sequences: int = 0
    """Sequences that an allocation rule sends through the dense model."""
    depth_sequences: int = 0
    """Sequences that other looks at quality send through one of the two models."""
    baseline: Recipe | None = None
    """What the model is pruned by once more, to be compared."""
    inputs: tuple[tuple[int, int], ...] = ()
    """(in, rows of all matrices that read it) of each distinct input of the largest block."""
    written: tuple[Written, ...] = ()
    """Sequences that a model writes: to be calibrated on, or to be read beside another's."""
    remembers: bool = False
    """Whether keys and values of whole sequences are kept while they are written."""
    per_head: bool = False
    """Whether attention is watched head by head."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the engine runs and what that takes. Bytes are of the whole process at its peak."""

    group: int
    """Sequences in one forward."""
    hold_inputs: bool
    """Whether one forward per (sample, timestep) serves mass and norms; else others follow."""
    peak_bytes: int
    flops: float
    forwards: int
    """Sequences through the whole model, passes block by block included."""
    solver_flops: float = 0.0
    """The part of `flops` that is no forward: SparseGPT's Hessians and what it does with them."""
    least_bytes: int = 0
    """What the smallest plan would take: one sequence at a time, nothing held."""
    written_forwards: int = 0
    """The part of `forwards` that writes sequences, and may be shorter than others."""
    written_flops: float = 0.0
    """The part of `flops` that these take."""
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
    wanted = max(1, GROUP_TOKENS[device] // work.positions)
    wanted = min(wanted, work.samples * work.timesteps)
    for hold in (True, False) if recipe.norms_with_mass else (False,):
        # Held inputs wait for their discount, and that of transient sinks for whole samples.
        unit = work.timesteps if hold and recipe.sinks == "discount-transient" else 1
        fixed = _fixed_bytes(work, recipe, baseline_bytes)
        room = (budget - fixed) // _sequence_bytes(work, hold=hold)
        group = min(max(wanted, unit), room) // unit * unit
        if group >= 1:
            return _plan(work, recipe, baseline_bytes, group, hold=hold)
    least = least_plan(work, recipe, baseline_bytes=baseline_bytes).peak_bytes
    raise OutOfMemory(
        f"the smallest plan needs {least / 1e9:.2f} GB; the budget is {budget / 1e9:.2f} GB.",
        remedy="Raise the memory budget, or lower calibration.samples or sequence_length.",
    )


def least_plan(work: Workload, recipe: Recipe, *, baseline_bytes: int) -> Plan:
    """The plan that takes the least memory: one sequence at a time, and nothing held."""
    return _plan(work, recipe, baseline_bytes, 1, hold=False)


def _plan(work: Workload, recipe: Recipe, baseline_bytes: int, group: int, *, hold: bool) -> Plan:
    forwards, solver = _forwards(work, recipe, hold=hold), _solver_flops(work, recipe)
    writing = sum(each.sequences * each.cost.forwards for each in work.written)
    written = sum(_written_flops(work.dimensions, each) for each in work.written)
    if work.baseline is not None:
        solver += _solver_flops(work, work.baseline)
    fixed = _fixed_bytes(work, recipe, baseline_bytes)
    peak = fixed + group * _sequence_bytes(work, hold=hold)
    least = fixed + _sequence_bytes(work, hold=False)
    flops = forwards * forward_flops(work.dimensions, work.positions) + solver + written
    return Plan(group, hold, peak, flops, forwards + writing, solver, least, writing, written)


def _written_flops(dimensions: Dimensions, written: Written) -> float:
    each = (count * forward_flops(dimensions, length) for count, length in written.cost.lengths)
    return written.sequences * sum(each)


def _fixed_bytes(work: Workload, recipe: Recipe, baseline_bytes: int) -> int:
    """What does not grow with the group."""
    # A baseline comes when what the recipe kept is gone.
    kept = max(_kept_bytes(work, each) for each in (recipe, work.baseline) if each is not None)
    return baseline_bytes + RUNTIME_BYTES + work.weight_bytes + kept


def forward_flops(dimensions: Dimensions, positions: int) -> float:
    """Of one sequence through all blocks: matrices, attention, and its column sums."""
    d = dimensions
    attention = 3 * positions * d.heads * d.head_dim
    weights = sum(_weights_per_token(d, block) + attention for block in range(d.blocks))
    return 2.0 * positions * weights


def _weights_per_token(dimensions: Dimensions, block: int) -> int:
    """Weights that each token is multiplied with: of experts, those of the active ones."""
    d = dimensions
    heads = sum(
        d.width * d.head_dim * count for count in (d.heads, d.heads, d.kv_heads, d.kv_heads)
    )
    return heads + 3 * d.width * sum(_ffn_widths(d, block))


def _ffn_widths(dimensions: Dimensions, block: int) -> tuple[int, ...]:
    """Inner width of each feed-forward part that a token goes through."""
    d = dimensions
    if d.experts is None or not d.routed(block):
        return (d.ffn_width,)
    return (d.experts.width,) * d.experts.active + (d.experts.shared_width,)


def _kept_bytes(work: Workload, recipe: Recipe) -> int:
    """What lives through the run beside the weights: attention mass, hidden states where they are
    carried from block to block, one matrix's scores, and one block's Hessians with the factor of
    the widest."""
    d = work.dimensions
    mass = work.samples * work.timesteps * work.positions * FLOAT32
    hidden = _carried(work, recipe) * work.positions * d.width * work.element_bytes
    # Discounts are computed from all of it at once, a few arrays at a time.
    kept = 3 * mass + _sink_bytes(work) + (hidden if recipe.block_by_block else 0)
    # Scores of matrices that share an input, the copy that selection orders, and masks.
    kept += 3 * FLOAT32 * max((w * r for w, r in work.inputs), default=0)
    if recipe.score == "sparsegpt":
        hessians = sum(width**2 for width, _ in work.inputs) * FLOAT64
        solving = max((3 * w**2 * FLOAT64 + 4 * w * r * FLOAT32 for w, r in work.inputs), default=0)
        kept += hessians + solving
    return kept


def _sink_bytes(work: Workload) -> int:
    """Of what is known of sinks beside their mass: that by block of the first samples, once more in
    float16 where it is written; and one sample, whose statistics are taken in float64, a few arrays at
    a time, of all blocks together or of all heads of one block."""
    d, steps = work.dimensions, work.timesteps * work.positions
    kept = kept_samples(work.samples, work.timesteps, d.blocks, work.positions)
    plots = kept * steps * d.blocks * (FLOAT32 + FLOAT16)
    rows = d.blocks * _seen_by_block(work) * FLOAT32
    taken = 6 * FLOAT64 * max(1 + d.blocks, d.heads if work.per_head else 0)
    return plots + steps * (rows + taken)


def _seen_by_block(work: Workload) -> int:
    """Numbers for one position of one block: mass and length of values, and those of each head."""
    return 2 + (work.dimensions.heads + work.dimensions.kv_heads if work.per_head else 0)


def _carried(work: Workload, recipe: Recipe) -> int:
    """Sequences that the recipe's statistics are taken of."""
    return work.samples * (work.timesteps if recipe.inputs == "noised" else 1)


def _solver_flops(work: Workload, recipe: Recipe) -> float:
    """Of SparseGPT: Hessians, their factors, and the errors that each column hands on."""
    if recipe.score != "sparsegpt":
        return 0.0
    tokens = _carried(work, recipe) * work.positions
    per_block = sum(2.0 * w**2 * tokens + 2.0 * w**3 / 3 + 1.0 * r * w**2 for w, r in work.inputs)
    return work.dimensions.blocks * per_block


def _sequence_bytes(work: Workload, *, hold: bool) -> int:
    """Held inputs of every block, the widest moment inside one block, and squares in float32."""
    d = work.dimensions
    inputs = [_input_widths(d, block) for block in range(d.blocks)]
    held = sum(sum(widths) for widths in inputs)
    widest = max(sum(widths) for widths in inputs)
    # Beside its inputs a block holds what it makes of them: twice as much again, as measured.
    inside = 3 * widest * work.element_bytes
    squares = max(max(widths) for widths in inputs) * 2 * FLOAT32
    remembered = 2 * d.blocks * d.kv_heads * d.head_dim if work.remembers else 0
    kept = max(held if hold else 0, remembered)
    # By block, and once more where the blocks are put together.
    seen = 2 * d.blocks * _seen_by_block(work) * FLOAT32
    return work.positions * (kept * work.element_bytes + inside + squares + seen)


def _input_widths(dimensions: Dimensions, block: int) -> list[int]:
    """Widths of what the matrices of a block read, for one token: an expert reads its own copy."""
    d = dimensions
    routed = d.experts.active * d.width if d.experts is not None and d.routed(block) else 0
    return [d.width, d.heads * d.head_dim, d.width, routed, *_ffn_widths(d, block)]


def _forwards(work: Workload, recipe: Recipe, *, hold: bool) -> int:
    observed = work.samples * work.timesteps
    measured = 0 if hold else _measured(work, recipe)
    if work.baseline is not None:
        measured += _measured(work, work.baseline)
    judged = 2 * work.evaluation_sequences + work.depth_sequences
    return observed + measured + work.probe_sequences + judged


def _measured(work: Workload, recipe: Recipe) -> int:
    """Sequences for statistics that are not taken while the dense model is watched."""
    if recipe.score == "magnitude":
        return 0
    # A sequential recipe runs each block twice: to measure it, and for what it yields pruned.
    return _carried(work, recipe) * (2 if recipe.order == "sequential" else 1)
