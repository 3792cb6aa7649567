"""Run the demo as nobody at a terminal would, and check what it printed, wrote and left running.

    python tools/check_demo.py make demo

Exits 0 when everything holds; else the last lines say what did not.
"""

import ctypes
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import IO

import psutil

from core.errors import CorruptObject
from core.report.schema import Report
from core.store import manifest

METHODS = ("wanda", "sink-wanda")
FOLDER = Path("demo")
TIME_LIMIT = 1800.0  # a stuck demo ends; a slow machine may take its time
EXIT_GRACE = 15.0
PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    adopt_orphans()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    printed, status = run(command)
    print(f"check_demo: took {time.monotonic() - began:.0f} s")
    problems = [f"{' '.join(command)} exited with {status}"] if status else []
    problems += [f"left running: {name}" for name in left_running()]
    if not status:
        problems += table_problems(printed) + folder_problems(FOLDER)
    for problem in problems:
        print(f"check_demo: {problem}")
    print(f"check_demo: {'failed' if problems else 'all good'}")
    return bool(problems)


def adopt_orphans() -> None:
    """From now on, whatever outlives its parent below us becomes our child, so none can hide."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def run(command: list[str]) -> tuple[list[str], int]:
    """Lines that `command` printed, shown as they come, and its exit status."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    lines: list[str] = []
    # In a thread, because a process that was left behind keeps the pipe open.
    reader = Thread(target=show, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        status = process.wait(TIME_LIMIT)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    reader.join(1)
    return lines, status


def show(printed: IO[str], lines: list[str]) -> None:
    for line in printed:
        print(line, end="", flush=True)
        lines.append(line)


def left_running() -> list[str]:
    """Command lines of descendants that are still alive after a moment; they are ended here."""
    children = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs(children, EXIT_GRACE)
    names = []
    for process in alive:
        try:
            names.append(" ".join(process.cmdline()) or process.name())
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return names


def table_problems(printed: list[str]) -> list[str]:
    """Three rows with finite numbers, and a price for pruning in each but the first."""
    rows = [
        [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]
        for line in printed
        if re.match(r"\s*[│┃]", line)
    ]
    named = {row[0]: " | ".join(row[1:]) for row in rows if row and row[0] in ("dense", *METHODS)}
    problems = []
    for name in ("dense", *METHODS):
        cells = named.get(name)
        if cells is None:
            problems.append(f"the table has no row {name!r}")
        elif len(re.findall(r"\d", cells)) < 3 or re.search(r"\b(nan|inf)\b", cells.lower()):
            problems.append(f"row {name!r} lacks numbers: {cells}")
        elif name != "dense" and not re.search(r"\+\d+\.\d+ ± \d+\.\d+", cells):
            problems.append(f"row {name!r} shows no rise of the loss with its error: {cells}")
    return problems


def folder_problems(folder: Path) -> list[str]:
    """Both results intact by their manifests, with reports that say what the table says."""
    problems = []
    for method in METHODS:
        try:
            manifest.verify(folder / method)
        except CorruptObject as error:
            problems.append(f"{method}: {error}")
            continue
        data = (folder / method / "report" / "report.json").read_bytes()
        report = Report.model_validate_json(data)
        nelbo = report.quality.nelbo
        if nelbo is None or not nelbo.difference > 0:
            problems.append(f"{method}: pruning costs nothing: {nelbo}")
        if not math.isclose(report.sparsity.overall, 0.5, abs_tol=0.01):
            problems.append(f"{method}: sparsity is {report.sparsity.overall}, not 0.5")
        if not (folder / method / "report" / "report.html").stat().st_size:
            problems.append(f"{method}: the report page is empty")
    return problems


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
