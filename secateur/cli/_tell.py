"""How a conclusion is told: on stdout, and to the later steps and the readers of GitHub Actions."""

import os
from collections.abc import Iterable
from json import dumps
from pathlib import Path
from typing import Final

from secateur.cli._gate import WORDS, Conclusion
from secateur.cli._output import note, result, show_json

HEADLINES: Final = (
    "sparsity", "nelbo_delta", "nelbo_stderr", "perplexity_ratio", "agreement", "speedup",
    "seconds", "peak_bytes",
)  # fmt: skip
TITLES: Final = {
    "passed": "Pruning gate passed",
    "failed": "Pruning gate failed",
    "unjudged": "Pruning gate could not be judged",
    "job-failed": "Pruning job failed",
    "job-cancelled": "Pruning job was cancelled",
    "timed-out": "Pruning job did not end in time",
}


def tell(conclusion: Conclusion, *, json: bool, github: bool) -> None:
    """Print it, and leave it where GitHub Actions looks."""
    if json:
        show_json(conclusion.document())
    else:
        for line in conclusion.lines():
            result(line)
    if github and not tell_github(conclusion):
        note("--github: neither GITHUB_STEP_SUMMARY nor GITHUB_OUTPUT is set; nothing was written")


def tell_github(conclusion: Conclusion) -> list[str]:
    """Append to the files that GitHub Actions names; the variables that were set."""
    texts = {"GITHUB_STEP_SUMMARY": summary(conclusion), "GITHUB_OUTPUT": outputs(conclusion)}
    written = []
    for variable, text in texts.items():
        path = os.environ.get(variable)
        if path:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text)
            written.append(variable)
    return written


def outputs(conclusion: Conclusion) -> str:
    """`name=value` lines. No value can begin a line of its own: none holds a line break."""
    job = conclusion.job
    pairs = {
        "verdict": conclusion.word,
        "job": job.id if job else "",
        "artifacts-url": conclusion.artifacts_url or "",
        "metrics": dumps(conclusion.metrics),
    }
    return "".join(f"{name}={' '.join(value.split())}\n" for name, value in pairs.items())


def summary(conclusion: Conclusion) -> str:
    """Markdown for the page of the workflow run."""
    parts = [f"### {TITLES[conclusion.word]}"]
    job = conclusion.job
    if job is not None:
        source, method = job.spec["model"]["source"], job.spec["method"]
        parts.append(f"Job {_cell(job.id)}: {_cell(source)}, {_cell(method)}.")
        if job.error is not None:
            parts.append(f"**{_cell(job.error.code)}**: {_cell(job.error.message)}")
    if conclusion.verdicts:
        rows = [
            (f"`{each.condition}`", "–" if each.value is None else f"{each.value:.6g}",
             WORDS[each.met])
            for each in conclusion.verdicts
        ]  # fmt: skip
        parts.append(_table(("fails if", "value", ""), rows))
    found = conclusion.metrics
    if found:
        shown = [(name, f"{found[name]:.6g}") for name in HEADLINES if name in found]
        parts.append(_table(("metric", "value"), shown))
    if conclusion.artifacts_url:
        parts.append(f"[Artifacts]({conclusion.artifacts_url})")
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would act on."""
    line = " ".join(text.split())
    return "".join(f"&#{ord(c)};" if c in "|<>&`*_[]\\#!" else c for c in line)
