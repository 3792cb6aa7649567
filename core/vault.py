"""Secret variables of a process whose environment does not show them.

A runner parses what strangers wrote. Its environment, which every library reads, every child
inherits and every dump prints, holds no secret: those come on its standard input and lie here, where
the clients that need them ask by name. Any other process has nothing here, and asks its environment.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pydantic import SecretStr

_held: dict[str, SecretStr] = {}


def hold(secrets: Mapping[str, SecretStr]) -> None:
    """Have these variables here, for the rest of the process's life."""
    _held.update(secrets)


def secret(name: str) -> str | None:
    """The value of the variable `name`, held here or in the environment; None where it is empty."""
    held = _held.get(name)
    return (os.environ.get(name) if held is None else held.get_secret_value()) or None


def variables() -> dict[str, str]:
    """The environment, with what is held here."""
    return {**os.environ, **{name: value.get_secret_value() for name, value in _held.items()}}


def is_empty() -> bool:
    """Whether nothing is held, and the environment says it all."""
    return not _held


def hub_token() -> str | None:
    """The token for a hub, where a variable has it and not a file."""
    return secret("HF_TOKEN") or secret("HUGGING_FACE_HUB_TOKEN")


@contextmanager
def shown() -> Iterator[None]:
    """The environment shows what is held, within the block: for a library that looks nowhere else.

    Only where nothing of a stranger is parsed any more.
    """
    before = dict(os.environ)
    os.environ.update({name: value.get_secret_value() for name, value in _held.items()})
    try:
        yield
    finally:
        for name in _held:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
