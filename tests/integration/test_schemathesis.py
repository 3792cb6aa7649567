"""The API against its own description: tests/fuzz/api_cases.py, in a process of its own.

Schemathesis makes its cases when tests are collected, which everybody who runs any test would wait for.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = "tests/fuzz/api_cases.py"


def test_the_server_does_what_its_description_says() -> None:
    options = ["-q", "--noconftest", "--assert=plain", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", *options, CASES]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"run `python -m pytest --noconftest {CASES}`\n{done.stdout[-20000:]}"
    )
