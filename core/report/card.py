"""The model card: README.md of a pruned checkpoint, for whoever finds it on a hub or a disk."""

import json
import re
from collections.abc import Sequence

from core.report import meanings, words
from core.report.noise_words import watched_rows
from core.report.schema import Report

COUNT_ZEROS = """\
```python
from pathlib import Path
from safetensors import safe_open

for shard in sorted(Path("PATH/TO/THIS/FOLDER").glob("*.safetensors")):
    with safe_open(shard, "pt") as tensors:
        for name in tensors.keys():
            zeros = (tensors.get_tensor(name) == 0).float().mean().item()
            print(f"{zeros:7.2%}  {name}")
```
"""


def model_card(report: Report) -> str:
    """Markdown with the YAML front matter that hubs read. Same report, same text."""
    parts = [
        _front_matter(report),
        f"# {_plain(_name(report))}, {words.percent(report.sparsity.overall)} pruned",
        words.verdict(report),
        "## What was done",
        (
            f"The weights of {_code(report.model.source)} (revision {_code(report.model.revision)}) were"
            f" pruned with {_code(str(report.job.get('method')))} ({meanings.method_meaning(report)}),"
            f" pattern {_code(meanings.pattern_of(report))}. Only linear layers of its"
            f" {words.plural(report.model.blocks, 'block')} were touched:"
            f" {meanings.untouched(report)} are those of the original, and so is every file beside the"
            f" weights except this card. {meanings.kept_weights(report)} Nothing was trained or"
            " fine-tuned afterwards."
        ),
        _table(("setting", "value"), _recipe(report)),
        "## What it cost",
        _cost(report),
        "## How to load it",
        (
            "Like the original: tensor names, shapes, types and configuration are the same, so whatever"
            " loads the dense checkpoint loads this one. To see the zeros:"
        ),
        COUNT_ZEROS.rstrip(),
        "## Worth knowing",
        _notes(report),
        (
            f"Made with Secateur {_plain(report.versions.get('secateur', ''))}. The report beside this"
            " model has every number, the plots and the seeds."
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(report: Report) -> str:
    """Strings are written as JSON, which is YAML too, so that none can end the block."""
    tags = ["pruned", "sparse", "secateur", str(report.job.get("method", ""))]
    if report.model.attention != "causal":
        tags.append("diffusion-language-model")
    base = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(@[\w./-]+)?/?", report.model.source)
    origin = [f"base_model: {json.dumps(base[1])}"] if base else []
    listed = [f"- {json.dumps(tag)}" for tag in tags]
    return "\n".join(["---", *origin, "pipeline_tag: text-generation", "tags:", *listed, "---"])


def _name(report: Report) -> str:
    return re.split(r"[/:]", report.model.source.rstrip("/"))[-1]


def _recipe(report: Report) -> list[tuple[str, str]]:
    rows = [
        (name, f"{_code(value)}{f': {meaning}' if meaning else ''}")
        for name, value, meaning in meanings.recipe_rows(report)
    ]
    pattern = meanings.pattern_of(report)
    rows.append(("pattern", f"{_code(pattern)}: {meanings.pattern_meaning(pattern)}"))
    rows += [(f"calibration: {name}", _plain(value)) for name, value in watched_rows(report)]
    rows += [(f"{name} seed", _code(str(seed))) for name, seed in report.seeds.items()]
    return [*rows, ("weights removed", words.percent(report.sparsity.overall, 2))]


def _cost(report: Report) -> str:
    nelbo, agreement, loss = (
        report.quality.nelbo,
        report.quality.agreement,
        meanings.loss_of(report),
    )
    if nelbo is None:
        return "The loss was not measured."
    rows = [
        ("dense", words.plus_minus(nelbo.dense, nelbo.dense_stderr),
         words.significant(nelbo.perplexity_bound_dense)),
        ("pruned", words.plus_minus(nelbo.pruned, nelbo.pruned_stderr),
         words.significant(nelbo.perplexity_bound_pruned)),
        ("difference", words.plus_minus(nelbo.difference, nelbo.stderr, signed=True),
         words.errors_text(nelbo)),
    ]  # fmt: skip
    text = (
        f"{loss.name} in nats per token, {words.plural(nelbo.samples, 'sample')} of"
        f" {_plain(nelbo.text)}, ± standard error; {loss.shared}.\n\n"
        + _table(("", "nats per token", loss.perplexity), rows)
    )
    if agreement is not None:
        text += (
            f"\n\nAt {words.percent(agreement.top1)} of {agreement.positions:,} {loss.positions} the"
            " pruned model's first choice is the dense model's."
        )
    return text


def _notes(report: Report) -> str:
    notes = [
        meanings.saves(meanings.pattern_of(report)),
        "Cost was measured on one text at most; other tasks may suffer more.",
        "The licence of the original model applies; it is not repeated here.",
        *report.warnings,
    ]
    return "\n".join(f"- {_plain(note)}" for note in notes)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _plain(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"([\\`*_\[\]<>|#&!])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    """`text` as a code span, whatever it holds."""
    line = " ".join(text.split()).replace("|", "\N{BROKEN BAR}")
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"
