"""Numbers and findings in words. Pure functions from the report's values to short texts."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from core.report.meanings import loss_of, method_of
from core.report.schema import AnyReport, Mean, Nelbo, Report, SinkFacts

NOISE = 2.0  # standard errors: a difference smaller than that is what chance gives
STILL = 0.02  # share of the length; below it a drift is not worth the name
UNIFORM_DRIFT = 1 / math.sqrt(12)  # of a point thrown anew at random onto the unit interval

_METRIC = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
NNBSP = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits, without an exponent where that stays short."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_sign(mantissa)}·10{_superscript(int(exponent))}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return _sign(f"{value:.{decimals}f}")


def plus_minus(value: float, error: float | None, *, signed: bool = False) -> str:
    """`0.1234 ± 0.0042`: the error with two significant digits, the value with as many decimals."""
    sign = "+" if signed and value > 0 else ""
    if not error or not math.isfinite(error):
        return sign + significant(value)
    largest = max(abs(value), error)
    if not 1e-3 <= largest < 1e6:
        exponent = math.floor(math.log10(largest))
        scaled = plus_minus(value / 10.0**exponent, error / 10.0**exponent, signed=signed)
        return f"({scaled})·10{_superscript(exponent)}"
    decimals = 1 - math.floor(math.log10(error))
    shown, off = round(value, decimals), round(error, decimals)
    places = max(0, decimals)
    return f"{sign}{_sign(f'{shown:,.{places}f}')} ± {off:,.{places}f}"


def percent(fraction: float, decimals: int = 1) -> str:
    return _sign(f"{100 * fraction:.{decimals}f}") + f"{NNBSP}%"


def mean_text(mean: Mean, scale: float = 1.0, unit: str = "") -> str:
    """`mean ± standard error`, or an en dash where no sample defines it."""
    if mean.mean is None:
        return "–"
    error = None if mean.stderr is None else mean.stderr * scale
    return plus_minus(mean.mean * scale, error) + (f"{NNBSP}{unit}" if unit else "")


def count(value: float, unit: str = "") -> str:
    """`2.71 M`, with a metric prefix."""
    for size, prefix in _METRIC:
        if value >= size:
            return f"{value / size:.3g}{NNBSP}{prefix}{unit}"
    return f"{value:.0f}" + (f"{NNBSP}{unit}" if unit else "")


def data_size(value: float) -> str:
    return count(value, "B")


def duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.3g}{NNBSP}ms"
    if seconds < 120:
        return f"{seconds:.3g}{NNBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{NNBSP}h {minutes:02d}{NNBSP}min"
    return f"{minutes}{NNBSP}min {rest:02d}{NNBSP}s"


def plural(number: int, noun: str, several: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def _sign(text: str) -> str:
    return text.replace("-", MINUS)


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the summary strip."""

    label: str
    value: str
    note: str


def verdict(report: AnyReport) -> str:
    """What was done, what it cost and how the sinks behave, in one sentence."""
    if report.kind == "analysis":
        text, share = sinks_text(report), share_text(report.sinks)
        return f"{text[0].upper()}{text[1:]}{f'; {share}' if share else ''}."
    method = method_of(report)
    removed = percent(report.sparsity.overall)
    nelbo = report.quality.nelbo
    if nelbo is None:
        cost = (
            f"{removed} of the block weights were removed with {method}; the cost was not measured"
        )
    else:
        cost = f"Removing {removed} of the block weights with {method} {cost_text(nelbo)}"
    return f"{cost}; {sinks_text(report)}."


def sinks_text(report: AnyReport) -> str:
    """How the sinks behave, beside a control's where there is one, and what follows for recipes."""
    beside, kind = control_text(report), transient_text(report)
    moved = f"{drift_text(report.sinks)}{f', {beside}' if beside else ''}"
    return f"{moved}; {kind}" if kind else moved


def share_text(sinks: SinkFacts) -> str:
    """What sinks take of all attention; empty where there are none."""
    count, share = sinks.sinks_per_step.mean, sinks.mass_share.mean
    if not count or share is None:
        return ""
    of = f"{significant(count, 2)} of {sinks.positions:,}"
    return f"at a timestep, {of} positions take {percent(share)} of all attention"


def cost_text(nelbo: Nelbo) -> str:
    if within_noise(nelbo):
        change = plus_minus(nelbo.difference, nelbo.stderr, signed=True)
        return f"changes the loss by {change} nats per token, which is within noise"
    verb = "costs" if nelbo.difference > 0 else "even lowers the loss by"
    size = plus_minus(abs(nelbo.difference), nelbo.stderr)
    return f"{verb} {size} nats per token ({errors_text(nelbo)})"


def within_noise(nelbo: Nelbo) -> bool:
    return abs(nelbo.difference) <= NOISE * nelbo.stderr


def errors_text(nelbo: Nelbo) -> str:
    """How sure the difference is."""
    if nelbo.difference == 0:
        return "no difference at all"
    if nelbo.stderr == 0:
        return "the same in every sample"
    ratio = abs(nelbo.difference) / nelbo.stderr
    shown = f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"
    where = "within noise" if within_noise(nelbo) else "beyond noise"
    return f"{shown} standard errors, {where}"


def drift(sinks: SinkFacts) -> float | None:
    """Standard deviation of the sink centroid over the timesteps, as a share of the length."""
    if len(sinks.timesteps) < 2:
        return None
    relative = sinks.temporal_variance_relative.mean
    return None if relative is None else math.sqrt(max(relative, 0.0))


def drift_of(sinks: SinkFacts) -> str:
    """How far the sinks move, in a few words for a plot's title."""
    share = drift(sinks)
    if share is None:
        return "no sinks"
    return "sinks stay" if share == 0 else f"sinks drift by ±{NNBSP}{percent(share)}"


def control_text(report: AnyReport) -> str:
    """The temporal variance beside the control's; empty where none was watched."""
    control = report.control
    own = report.sinks.temporal_variance_relative.mean
    if control is None or own is None:
        return ""
    other = control.sinks.temporal_variance_relative.mean
    kind = "autoregressive control" if control.model.attention == "causal" else "control"
    if other is None:
        return f"the {kind} has no sinks"
    if other == 0:
        return f"those of the {kind} do not move at all"
    return f"temporal variance {significant(own / other, 2)}× that of the {kind}"


def transient_text(report: AnyReport) -> str:
    """What the sinks are, and so which recipe is made for them; empty where nothing is known."""
    transient = report.sinks.transient_share.mean
    if transient is None or len(report.sinks.timesteps) < 2:
        return ""
    use = (
        "the premise of sink-aware discounting holds"
        if transient > 0.5 and (drift(report.sinks) or 0.0) >= STILL
        else "the premise of sink-aware discounting does not hold"
    )
    return f"{percent(transient, 0)} of them are transient; {use}"


def drift_text(sinks: SinkFacts) -> str:
    share = drift(sinks)
    if len(sinks.timesteps) < 2 and sinks.sinks_per_step.mean:
        return "with a single timestep nothing can be said of how the model's attention sinks drift"
    if share is None:
        return "no attention sink stood out"
    far = f"{significant(share * sinks.positions, 2)} positions ({percent(share)} of the length)"
    if share == 0:
        return "the model's attention sinks never move"
    if share < STILL:
        return f"the model's attention sinks stay put, within ±{NNBSP}{far}"
    return f"the model's attention sinks drift by ±{NNBSP}{far}"


def tiles(report: AnyReport) -> list[Tile]:
    """The summary strip; what was not measured is left out."""
    if report.kind == "analysis":
        own = _sink_tiles(report.sinks)
        return [*own, _drift_tile(report.sinks), *_time_tiles(report)]
    return [*_pruning_tiles(report), _drift_tile(report.sinks), *_time_tiles(report)]


def _pruning_tiles(report: Report) -> Iterable[Tile]:
    removed = sum(m.removed for m in report.sparsity.matrices.values())
    yield Tile("weights removed", percent(report.sparsity.overall), f"{count(removed)} set to zero")
    nelbo = report.quality.nelbo
    if nelbo is not None:
        value, _, error = plus_minus(nelbo.difference, nelbo.stderr, signed=True).partition(" ± ")
        note = f"± {error} nats per token" if error else "nats per token"
        yield Tile("cost", value, f"{note}: {errors_text(nelbo)}")
    agreement = report.quality.agreement
    if agreement is not None:
        places = f"{count(agreement.positions)} {loss_of(report).positions}"
        note = f"same first choice as the dense model at {places}"
        yield Tile("agreement", percent(agreement.top1), note)


def _sink_tiles(sinks: SinkFacts) -> Iterable[Tile]:
    if sinks.sinks_per_step.mean is not None:
        shown = significant(sinks.sinks_per_step.mean, 2)
        yield Tile("sinks at a timestep", shown, f"of {sinks.positions:,} positions")
    if sinks.mass_share.mean is not None:
        yield Tile("share of attention", percent(sinks.mass_share.mean), "taken by these few")
    if sinks.stable_share.mean is not None and len(sinks.timesteps) > 1:
        note = "of the positions that ever are a sink; the others come and go"
        yield Tile("stable sinks", percent(sinks.stable_share.mean, 0), note)


def _drift_tile(sinks: SinkFacts) -> Tile:
    share = drift(sinks)
    if share is None:
        found = "no sink found" if len(sinks.timesteps) > 1 else "needs two timesteps"
        return Tile("sink drift", "–", found)
    note = f"of the length; random places would give {percent(UNIFORM_DRIFT, 0)}"
    return Tile("sink drift", f"±{NNBSP}{percent(share)}", note)


def _time_tiles(report: AnyReport) -> Iterable[Tile]:
    if report.actual.seconds is not None:
        peak = report.actual.peak_bytes
        note = (
            "peak memory not measured" if peak is None else f"{data_size(peak)} of memory at peak"
        )
        yield Tile("run time", duration(report.actual.seconds), note)
