"""The figures of chaos runs as a page to read, and to commit."""

import os
import platform
from collections.abc import Iterator

from tests.chaos.run import Figures
from tests.chaos.world import RECOVERY_SECONDS


def page(found: list[Figures]) -> str:
    """Markdown: one table for all runs, then what was wrong, if anything was."""
    rows = [_row(each) for each in found]
    heads = [f"{each.plan.database}, {_store(each)}" for each in found]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(found) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(row[name] for row in rows)} |" for name in _names(rows)]
    lines += ["", f"{os.cpu_count()} cores, Python {platform.python_version()}."]
    for each in found:
        lines += [f"- WRONG on {each.plan.database}: {line}" for line in each.verdict.wrong]
    return "\n".join(lines)


def _store(each: Figures) -> str:
    return "folder" if each.plan.database == "sqlite" else "bucket behind a faulty proxy"


def _names(rows: list[dict[str, str]]) -> Iterator[str]:
    yield from dict.fromkeys(name for row in rows for name in row)


def _row(each: Figures) -> dict[str, str]:
    users, verdict, plan = each.users, each.verdict, each.plan
    recovery = verdict.recovery
    harms = ", ".join(f"{name} {count}" for name, count in sorted(each.harms.items()))
    return {
        "jobs accepted": f"{len(users.accepted)}, {plan.real} of them real",
        "workers": str(plan.workers),
        "minutes": f"{each.seconds / 60:.1f}",
        "harms": f"{each.harms.total()} ({harms})",
        "outcomes": _counted(verdict.outcomes),
        "attempts needed": _counted(verdict.attempts),
        "posts repeated for want of an answer": str(users.repeated),
        "posts repeated after an answer got lost": str(users.lost),
        "cancellations accepted": str(len(users.cancelled)),
        "events": f"{verdict.events}, {sum(map(len, users.followed.values()))} of them followed",
        "recovery from a lost worker": (
            f"median {recovery[0]:.1f} s, longest {recovery[1]:.1f} s of {len(verdict.recoveries)},"
            f" {verdict.blinded} more under a second harm"
            if recovery
            else f"none outside of a second harm, {verdict.blinded} within"
        ),
        "lease, two heartbeats and a scan": f"{RECOVERY_SECONDS:g} s",
        "violations": str(len(verdict.wrong)),
    }


def _counted(counts: "dict[int, int] | dict[str, int]") -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items(), key=str))
