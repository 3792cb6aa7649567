"""Plain functions from calls that are written as coroutines, without an event loop.

What runs over a `BlockingLine` is never suspended: its first step is its last one.
"""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from types import GenericAlias
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def now(steps: Coroutine[Any, Any, T]) -> T:
    """What `steps` returns."""
    try:
        steps.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    steps.close()
    raise RuntimeError(f"{steps} waits for an event loop, which a blocking line never does")


def each_now(items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """What `items` yields; with the generator they are closed, too."""

    async def following() -> T:
        return await anext(items)

    try:
        while True:
            try:
                item = now(following())
            except StopAsyncIteration:
                return
            yield item
    finally:
        now(items.aclose())


def blocking(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """`method` of `_calls` as one of the class that holds these."""

    @functools.wraps(method)
    def wrapped(self: Any, /, *given: P.args, **named: P.kwargs) -> T:
        return now(method(self._calls, *given, **named))

    return wrapped


def blocking_each(
    method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Any, P], Generator[T, None, None]]:
    """The same for one that yields."""

    @functools.wraps(method)
    def wrapped(self: Any, /, *given: P.args, **named: P.kwargs) -> Generator[T, None, None]:
        return each_now(method(self._calls, *given, **named))

    seen = inspect.signature(method)
    [item, *_] = seen.return_annotation.__args__
    wrapped.__signature__ = seen.replace(  # type: ignore[attr-defined]
        return_annotation=GenericAlias(Iterator, (item,))
    )
    return wrapped
