"""What is known of the work at hand, for whoever writes about it: job, tenant, request, trace.

A block of work `bind`s its fields, and every line logged within it carries them, also from libraries and
from threads that were started with a copy of the context. `note` adds what is found out on the way, such
as who sent a request, for all who share the block. `always` is for what holds as long as the process does.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_ALWAYS: dict[str, str | int] = {}
# The dictionary is shared by copies of the context: what a thread notes, the request's other
# threads know too.
_BOUND: ContextVar[dict[str, str | int] | None] = ContextVar("secateur_fields", default=None)


@contextmanager
def bind(**fields: str | int | None) -> Iterator[None]:
    """Within the block, lines carry `fields` beside what was bound around it; None is left out."""
    token = _BOUND.set({**(_BOUND.get() or {}), **_present(fields)})
    try:
        yield
    finally:
        _BOUND.reset(token)


def note(**fields: str | int | None) -> None:
    """Add to the block at hand. Outside of any, nothing happens: there is nobody to tell."""
    bound = _BOUND.get()
    if bound is not None:
        bound.update(_present(fields))


def always(**fields: str | int | None) -> None:
    """Every line of this process carries `fields` from now on."""
    _ALWAYS.update(_present(fields))


def current() -> Mapping[str, str | int]:
    """All that is known here and now."""
    return {**_ALWAYS, **(_BOUND.get() or {})}


def _present(fields: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in fields.items() if value is not None}
