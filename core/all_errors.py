"""Every error by its code. A class is part of the tree once its module is loaded: this loads them all."""

from types import ModuleType
from typing import Final

from core import (
    errors,
    idempotency_errors,
    intake_errors,
    key_errors,
    limit_errors,
    run_errors,
    sweep_errors,
    waiting_errors,
)
from core.destinations import errors as push_errors
from core.errors import SecateurError
from core.estimates import errors as estimate_errors
from core.webhooks import errors as webhook_errors

MODULES: Final[tuple[ModuleType, ...]] = (
    errors,
    idempotency_errors,
    intake_errors,
    key_errors,
    limit_errors,
    run_errors,
    sweep_errors,
    waiting_errors,
    estimate_errors,
    push_errors,
    webhook_errors,
)
"""Where the core's errors are. Not one needs torch, a database or a web framework."""


def tree(root: type[SecateurError] = SecateurError) -> dict[str, type[SecateurError]]:
    """Error classes by code, so that what another process raised can be raised again here.

    The core's always; those of the API and of the command line where they are loaded.
    """
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= tree(child)
    return found
