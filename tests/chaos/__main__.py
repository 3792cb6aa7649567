"""`python -m tests.chaos`: the long form, with its figures on stdout as a page of Markdown."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.figures import page
from tests.chaos.run import Figures, run
from tests.chaos.world import Kind, Plan


def main() -> int:
    """1 if anything was wrong, and then its folders are kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=600, help="jobs on each database")
    parser.add_argument("--real", type=int, default=12, help="how many of them prune a model")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--jobs-a-harm", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", choices=["sqlite", "postgres", "both"], default="both")
    wanted = parser.parse_args()
    databases: list[Kind] = (
        ["sqlite", "postgres"] if wanted.database == "both" else [wanted.database]
    )
    found: list[Figures] = []
    for database in databases:
        plan = Plan(
            database, wanted.jobs, wanted.real, wanted.workers, wanted.jobs_a_harm, wanted.seed
        )
        folder = Path(tempfile.mkdtemp(prefix="secateur-chaos-"))
        print(f"{database}: {plan.jobs} jobs in {folder}", file=sys.stderr)
        found.append(run(folder, plan, lambda line: print(line, file=sys.stderr)))
    print(page(found))
    return 1 if any(each.verdict.wrong for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
