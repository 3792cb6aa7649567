"""docs/client.md: its programs run as they stand, its table holds every call, its codes exist."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from secateur import problems
from secateur.client import Calls
from tests.deployment.compose import ROOT
from tests.served import Served, served

TEXT = (ROOT / "docs" / "client.md").read_text()
UNWANTED = ("torch", "transformers", "numpy", "safetensors", "fastapi", "starlette", "celery", "sqlalchemy")  # fmt: skip
LOADED = f"\nimport sys\nprint('loaded', [m for m in {UNWANTED} if m in sys.modules])\n"
FILES = {"report/report.json": b'{"sparsity": {"overall": 0.5}}', "model/a.bin": bytes(9000)}


@contextmanager
def worker(server: Served) -> Iterator[None]:
    """Lets every job succeed."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            for job_id in server.jobs.queued_ids(limit=9):
                server.finish(job_id, FILES)
            time.sleep(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_programs_run_and_load_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with served(tmp_path) as server, worker(server):
        code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)) + LOADED
        done = subprocess.run(
            [sys.executable, "-c", code.replace("http://127.0.0.1:8000", server.url)],
            cwd=tmp_path / "here",
            env={**os.environ, "SECATEUR_API_KEY": server.key().text, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert told[0] == "1 queued"
    assert "succeeded 0.5" in told
    assert told[-2:] == ["deleted, or another tenant's", "loaded []"]
    made = tmp_path / "here"
    assert (made / "pruned" / "model" / "a.bin").read_bytes() == FILES["model/a.bin"]
    assert sorted(path.name for path in (made / "sweep").iterdir()) == ["sink-wanda", "wanda"]
    assert not (made / "reports" / "model").exists()


def test_every_call_is_in_the_table() -> None:
    chapter = TEXT.partition("## Every call")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in chapter.splitlines() if line.startswith("| `")]
    told = re.findall(r"`(\w+)\(", " ".join(cells))
    assert sorted(told) == sorted(name for name in dir(Calls) if not name.startswith("_"))


def test_codes_and_links_are_there() -> None:
    codes = re.findall(r"^\| `([a-z-]+)` \|", TEXT, re.MULTILINE)
    ours = (problems.Unreachable, problems.BrokenOff, problems.NotASecateurServer, problems.WaitedTooLong)  # fmt: skip
    assert codes == [kind.code for kind in ours]
    for target in re.findall(r"\]\(([^)#]+)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
