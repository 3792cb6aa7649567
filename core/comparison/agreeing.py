"""Whether losses may be compared: only those of one model, on one text, with one noise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from core.calibration_spec import Calibration
from core.comparison.document import Differs
from core.comparison.reading import Source, number_at, text_at
from core.report.metrics import Document, at

UNKNOWN: Final = "unknown"
SAME: Final = 1e-3
"""Of the loss: what other machines and other sums make of the same dense model is far less."""

Read = Callable[[Document], str | None]


def _text(*paths: str) -> Read:
    return lambda report: text_at(report, *paths)


def _number(*paths: str) -> Read:
    def read(report: Document) -> str | None:
        found = (number_at(report, path) for path in paths)
        value = next((each for each in found if each is not None), None)
        return None if value is None else f"{value:.15g}"

    return read


def _asked(name: str) -> Read:
    """A field of the spec's calibration; left out, it is what the contract says."""
    default = Calibration.model_fields[name].default

    def read(report: Document) -> str | None:
        if not isinstance(at("job")(report), Mapping):
            return None
        return _number(f"job.calibration.{name}")(report) or f"{default:.15g}"

    return read


CONDITIONS: Final[tuple[tuple[str, Read], ...]] = (
    ("model revision", _text("model.revision")),
    ("evaluation text", _text("quality.nelbo.text")),
    ("evaluation samples", _number("quality.nelbo.samples")),
    ("evaluation tokens", _number("quality.nelbo.tokens")),
    ("evaluation seed", _number("seeds.evaluation", "job.evaluation.seed")),
    # Which windows of a text are held out is drawn with the seed of calibration.
    ("calibration seed", _number("seeds.calibration", "job.calibration.seed")),
    ("calibration samples", _asked("samples")),
    ("lowest noise rate", _asked("noise_eps")),
)
"""What has to be the same, in every report that has a loss."""


def judged(sources: Sequence[Source]) -> dict[int, Source]:
    """The reports that have a loss, by number; the others have nothing to compare."""
    return {
        number: source
        for number, source in enumerate(sources, 1)
        if number_at(source.report, "quality.nelbo.pruned") is not None
    }


def differences(sources: Sequence[Source]) -> Iterator[Differs]:
    """The conditions that do not hold; a report that does not say is not believed to agree."""
    with_loss = judged(sources)
    builtin = all(_is_builtin(source.report) for source in with_loss.values())
    for what, read in CONDITIONS:
        if what == "calibration samples" and builtin:
            continue  # a shipped text has a part of its own for evaluation
        found = {str(n): read(source.report) or UNKNOWN for n, source in with_loss.items()}
        if len(set(found.values())) > 1 or (UNKNOWN in found.values() and len(found) > 1):
            yield Differs(what=what, values=found)


def _is_builtin(report: Document) -> bool:
    source = text_at(report, "calibration.source", "job.calibration.source") or ""
    return source.startswith("builtin:")


def dense_losses_differ(sources: Sequence[Source]) -> bool:
    """Whether what should be one number is not, although all conditions hold."""
    found = [number_at(s.report, "quality.nelbo.dense") for s in judged(sources).values()]
    known = [loss for loss in found if loss is not None]
    return bool(known) and max(known) - min(known) > SAME * max(map(abs, known))
