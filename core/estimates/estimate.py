"""From a spec and what is known of its model to an estimate. Pure, and free of torch."""

import sys
from dataclasses import dataclass, replace
from typing import Final, Literal

from core.calibration.continuation import Written
from core.control import for_control
from core.errors import ModelNotFound, OutOfMemory
from core.estimates.facts import ModelFacts
from core.estimates.sequences import Sequences, sequences_of
from core.estimates.views import Estimate, ModelView, PlanView, SequencesView
from core.evaluation.draws import draws_of
from core.evaluation.in_depth import sequences_by_look
from core.evaluation.prompts import texts_of
from core.models.headers import Header
from core.pruning import allocation
from core.pruning.plan import PROCESS_BYTES, Plan, Workload, least_plan, make_plan
from core.pruning.workload import block_sizes, check_fit, probe_sequences, widest_inputs
from core.recipes import METHODS
from core.sinks.kept import PATHS, kept_samples
from core.spec import Evaluation, JobSpec, RecipeSpec, Sinks

REPORT_BYTES: Final = 1_700_000
"""Of page, plots, tables and model card, as measured on the examples."""

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What is known of where jobs run."""

    device: Device = "cpu"
    certain: bool = False
    """Whether the device is configured, and not found out by each worker."""
    memory_budget: int | None = None

    @classmethod
    def configured(cls, device: str, memory_budget: int | None) -> "Machine":
        """From the settings of these names."""
        kind: Device = "cuda" if device.startswith("cuda") else "cpu"
        return cls(kind, device != "auto", memory_budget)


def estimate_of(
    spec: JobSpec,
    facts: ModelFacts,
    tokens: Header | None,
    machine: Machine,
    flops_per_second: float | None = None,
    control: ModelFacts | None = None,
) -> Estimate:
    """What `spec` would take; `control` is what is known of the model that it names to stand beside.

    Raises:
        InvalidSpec: the spec does not fit the model: a width that N:M does not divide, a list of
            another length than there are blocks.
        ModelNotFound: text is given and the model has no tokenizer.
        BadTokenFile, TextTooShort: the token file cannot serve.
    """
    _check(spec, facts, tokens)
    sequences = sequences_of(spec, facts.family, facts.dimensions, tokens)
    work = workload(spec, facts, sequences)
    plan, least, fits = _plans(spec, work, machine)
    if control is not None:
        beside, least_beside, beside_fits = _plans(*_watched(spec, control), machine)
        plan = _one_after_the_other(beside, plan)
        least = _one_after_the_other(least_beside, least)
        fits = fits and beside_fits
    return Estimate(
        plan=PlanView(
            device=machine.device,
            group=plan.group,
            hold_inputs=plan.hold_inputs,
            peak_bytes=plan.peak_bytes,
            least_peak_bytes=least.peak_bytes,
            memory_budget=machine.memory_budget,
            fits=fits,
            forwards=plan.forwards,
            flops=plan.flops,
            solver_flops=plan.solver_flops,
        ),
        model=_model_view(spec, facts),
        calibration=SequencesView(
            samples=work.samples,
            timesteps=work.timesteps,
            positions=work.positions,
            evaluated=work.evaluation_sequences,
        ),
        output_bytes=facts.copied_bytes + sink_bytes(facts, sequences, spec.sinks) + REPORT_BYTES,
        seconds=None if flops_per_second is None else plan.flops / flops_per_second,
        warnings=[*sequences.warnings, *_warnings(spec, machine, fits=fits)],
    )


def _watched(spec: JobSpec, facts: ModelFacts) -> tuple[JobSpec, Workload]:
    """The control as a job of its own: watched as the model is, on text, and neither pruned nor judged."""
    unjudged = Evaluation(
        nelbo=False,
        agreement=False,
        speed=False,
        reconstruction=False,
        sinks_after=False,
        knockout=spec.evaluation.knockout,
        texts=0,
        samples=spec.evaluation.samples,
    )
    alone = spec.model_copy(
        update={
            "method": "magnitude",
            "recipe": RecipeSpec(),
            "calibration": for_control(spec.calibration, facts.family),
            "sinks": spec.sinks.model_copy(update={"per_head": False, "dump": False}),
            "evaluation": unjudged,
        }
    )
    if not facts.has_tokenizer:
        raise ModelNotFound(
            "the control has no tokenizer.json.", remedy="Name another, or leave it out."
        )
    sequences = sequences_of(alone, facts.family, facts.dimensions, None)
    return alone, workload(alone, facts, sequences)


def _one_after_the_other(first: Plan, then: Plan) -> Plan:
    """Two models of which one is gone when the other comes: the larger peak, and all that both compute."""
    return replace(
        then,
        peak_bytes=max(first.peak_bytes, then.peak_bytes),
        forwards=first.forwards + then.forwards,
        flops=first.flops + then.flops,
    )


def workload(spec: JobSpec, facts: ModelFacts, sequences: Sequences) -> Workload:
    """What the planner of a run would be given."""
    asked = spec.evaluation.nelbo or spec.evaluation.agreement
    readable = facts.has_tokenizer and sequences.positions > 1
    texts = min(spec.evaluation.texts, sequences.evaluated) if readable else 0
    looks = sequences_by_look(
        spec.evaluation,
        facts.family,
        evaluated=sequences.evaluated,
        samples=sequences.samples,
        timesteps=sequences.timesteps,
    )
    baseline = spec.evaluation.baseline
    return Workload(
        dimensions=facts.dimensions,
        weight_bytes=facts.weight_bytes,
        element_bytes=facts.element_bytes,
        samples=sequences.samples,
        timesteps=sequences.timesteps,
        positions=sequences.positions,
        evaluation_sequences=sequences.evaluated * draws_of(facts.family) if asked else 0,
        probe_sequences=probe_sequences(spec.recipe.allocation, sequences.samples),
        depth_sequences=sum(looks.values()),
        baseline=None if baseline is None else METHODS[baseline],
        inputs=widest_inputs(facts.family, facts.dimensions),
        written=(
            *(Written(sequences.samples, each.cost) for each in sequences.writing),
            *texts_of(facts.family, sequences.positions, texts),
        ),
        remembers=any(each.sampler == "decoding" for each in sequences.writing),
        per_head=spec.sinks.per_head,
    )


def sink_bytes(facts: ModelFacts, sequences: Sequences, sinks: Sinks) -> int:
    """Of `sinks.safetensors`: of the samples that are kept, mass in two bytes, two flags a position, and
    little beside. And of the full resolution, where it is asked for."""
    n, t, s, d = sequences.samples, sequences.timesteps, sequences.positions, facts.dimensions
    kept = kept_samples(n, t, d.blocks, s)
    found = kept * t * s * (2 * d.blocks + 2) + 4 * (kept * s + min(n, max(kept, PATHS)) * t)
    if sinks.dump:
        heads = d.heads + d.kv_heads if sinks.per_head else 0
        found += n * t * s * (4 * d.blocks * (2 + heads) + 1)
    return found


def _check(spec: JobSpec, facts: ModelFacts, tokens: Header | None) -> None:
    """What the run would refuse once it has seen the model."""
    if tokens is None and not spec.calibration.source.endswith(".safetensors"):
        _check_tokenizer(facts)
    check_fit(facts.family, facts.dimensions, spec.pattern, spec.sparsity)
    shares = spec.recipe.allocation
    if isinstance(shares, tuple):
        sizes = block_sizes(facts.family, facts.dimensions)
        allocation.check_list(shares, sizes, spec.sparsity)


def _check_tokenizer(facts: ModelFacts) -> None:
    if not facts.has_tokenizer:
        raise ModelNotFound(
            "the model has no tokenizer.json.",
            remedy="Give a token file (.safetensors with input_ids) as calibration.source.",
        )


def _plans(spec: JobSpec, work: Workload, machine: Machine) -> tuple[Plan, Plan, bool | None]:
    """The plan, the one that takes the least, and whether that fits."""
    recipe, baseline = spec.resolved_recipe, PROCESS_BYTES[machine.device]
    least = least_plan(work, recipe, baseline_bytes=baseline)
    try:
        plan = make_plan(
            work,
            recipe,
            device=machine.device,
            baseline_bytes=baseline,
            budget=machine.memory_budget or sys.maxsize,
        )
    except OutOfMemory:
        return least, least, False
    return plan, least, True if machine.memory_budget else None


def _model_view(spec: JobSpec, facts: ModelFacts) -> ModelView:
    return ModelView(
        source=spec.model.source,
        revision=facts.revision,
        family=facts.family.name,
        parameters=facts.parameters,
        prunable_parameters=facts.prunable_parameters,
        bytes=facts.file_bytes,
    )


def _warnings(spec: JobSpec, machine: Machine, *, fits: bool | None) -> list[str]:
    found = []
    if fits is False:
        found.append("the job does not fit the memory budget and would fail")
    if machine.memory_budget is None:
        found.append("no memory budget is configured: workers plan for what is free then")
    if not machine.certain:
        found.append("planned for a CPU; a worker with CUDA takes larger groups")
    if not spec.calibration.source.startswith("builtin:"):
        found.append("whether the text is long enough shows only when it is read")
    return found
