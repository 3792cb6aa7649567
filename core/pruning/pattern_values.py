"""What is removed, as values that name what they count. Free of torch."""

from dataclasses import dataclass

from core.errors import InvalidSpec
from core.spec import kept_per_group


@dataclass(frozen=True, slots=True)
class Share:
    """This share of every row (Wanda), matrix (magnitude) or block of columns (SparseGPT), rounded
    as the published code of each rounds."""

    sparsity: float


@dataclass(frozen=True, slots=True)
class Exactly:
    """So many entries of the matrix: what an allocation over blocks hands out."""

    removed: int


@dataclass(frozen=True, slots=True)
class KeepPerGroup:
    """N:M: `kept` of every `group` consecutive inputs stay, in every row."""

    kept: int
    group: int


Pattern = Share | Exactly | KeepPerGroup


def pattern_of(name: str, sparsity: float) -> Share | KeepPerGroup:
    """The pattern that a spec's `pattern` and `sparsity` describe."""
    pair = kept_per_group(name)
    return Share(sparsity) if pair is None else KeepPerGroup(*pair)


def check_width(name: str, width: int, pattern: Pattern) -> None:
    """Raise InvalidSpec where the matrix `name` has a ragged last group."""
    if isinstance(pattern, KeepPerGroup) and width % pattern.group:
        raise InvalidSpec(
            f"{name} has {width} inputs, which is no multiple of {pattern.group}.",
            remedy=f"Choose a pattern N:M whose M divides {width}.",
        )
