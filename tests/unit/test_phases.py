"""A run's progress as one fraction."""

import pytest

from core.phases import Phases
from core.progress import Progress


def test_a_phase_that_counts_twice_never_goes_back() -> None:
    told: list[Progress] = []
    phases = Phases(told.append)
    with phases.phase("fetching", 0.2, "reading"):
        phases.received(0, 10_000_000)
        phases.received(10_000_000, 10_000_000)  # the model
        phases.received(500_000, 2_000_000)  # the text
    with phases.phase("analysing", 0.8, "looking"):
        phases.step(1, 2)
    assert [each.fraction for each in told] == pytest.approx([0, 0, 0.2, 0.2, 0.2, 0.6])
    assert told[3].message == "reading (0.5 of 2.0 MB)"
    assert told[-1].message == "looking (1/2)"
