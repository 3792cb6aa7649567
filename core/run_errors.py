"""How a run can end beside what it says itself; jobs carry these as their error's code."""

from core.errors import SecateurError


class PhaseTimeout(SecateurError):
    """A phase of the run took longer than the operator allows it."""

    code = "phase-timeout"
