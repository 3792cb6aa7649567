"""Secateur: pruning as a service for diffusion language models."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> object:
    """Loads the client when it is first asked for: `secateur --help` should not wait for httpx."""
    if name == "Client":
        from secateur.client import Client  # noqa: PLC0415

        return Client
    raise AttributeError(f"module 'secateur' has no attribute {name!r}")
