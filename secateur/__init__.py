"""Secateur: pruning as a service for diffusion language models."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from secateur.async_client import AsyncClient
    from secateur.client import Client

__all__ = ["AsyncClient", "Client"]

_HOMES: Final = {"AsyncClient": "secateur.async_client", "Client": "secateur.client"}


def __getattr__(name: str) -> object:
    """Loads a client when it is first asked for: `secateur --help` should not wait for httpx."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'secateur' has no attribute {name!r}")
