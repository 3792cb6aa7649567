"""How long fuzzers look: a moment in every test run, and as long as SECATEUR_FUZZ says otherwise.

SECATEUR_FUZZ=20000 .venv/bin/python -m pytest tests/fuzz
"""

import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("SECATEUR_FUZZ", "60"))

FUZZ = settings(
    max_examples=EXAMPLES,
    # Of one small input: far more than any takes, even on a machine that is busy with other things.
    deadline=timedelta(seconds=20),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PATIENCE = pytest.mark.timeout(300 + EXAMPLES)
"""Of one test, in seconds: who asks for more examples has more time."""
