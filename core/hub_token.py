"""The token for a hub, from where `huggingface_hub` looks for one, and without that library."""

import os
from pathlib import Path
from typing import Final

from core import vault

_CACHE: Final = "~/.cache"


def found_token() -> str | None:
    """That of the variables, else that of the file which `hf auth login` writes; None without one."""
    token = vault.hub_token() or _kept(token_file())
    return token.strip() or None if token else None


def token_file() -> Path:
    """Where a token lies that was kept for later."""
    cache = os.environ.get("XDG_CACHE_HOME") or _CACHE
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    named = os.environ.get("HF_TOKEN_PATH") or f"{home}/token"
    return Path(os.path.expandvars(os.path.expanduser(named)))  # noqa: PTH111 - a text with $NAMES


def _kept(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
