"""Options that several verbs have, under one name each."""

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str, typer.Option("--url", envvar="SECATEUR_URL", help="The server.", show_default=True)
]
URL = "http://127.0.0.1:8000"
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="SECATEUR_API_KEY_FILE",
        help="File that holds the server's API key [default: the key in SECATEUR_API_KEY]",
        show_default=False,
    ),
]
Host = Annotated[str, typer.Option("--host", help="Other than loopback: only with API keys.")]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)]
ResultArgument = Annotated[
    str,
    typer.Argument(
        metavar="JOB|FOLDER", help="A job's id, or a result's folder.", show_default=False
    ),
]

Model = Annotated[
    str | None,
    typer.Argument(help="A folder, example:NAME, or another source.", show_default=False),
]
SpecFile = Annotated[
    Path | None,
    typer.Option("--spec", metavar="SPEC.json", help="The whole spec; replaces the others."),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        "-m",
        help="magnitude, wanda, sink-wanda, sparsegpt or sink-sparsegpt [default: sink-wanda]",
    ),
]
Sparsity = Annotated[
    float | None, typer.Option("--sparsity", "-s", help="Share of the weights to remove, 0 to 1.")
]
Pattern = Annotated[
    str | None,
    typer.Option(
        "--pattern", help="unstructured, or N:M: N kept of every M [default: unstructured]"
    ),
]
CalibrationSource = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="A text or token file, or hf://datasets/ORG/NAME [default: builtin:plain-text]",
    ),
]
Samples = Annotated[
    int | None, typer.Option("--samples", help="Calibration sequences [default: 128]")
]
SequenceLength = Annotated[
    int | None, typer.Option("--sequence-length", help="Tokens in each [default: 1024]")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Of the calibration noise [default: 0]")]
Trajectory = Annotated[
    str | None,
    typer.Option(
        "--trajectory",
        help="What to watch: forward-noise; generation or decoding, the model's own writing; or"
        " prefixes of the text [default: forward-noise]",
    ),
]
Control = Annotated[
    str | None,
    typer.Option(
        "--control", help="Another model, to stand beside in the report, as example:kjv-ar"
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:N or auto [default: auto]")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
MemoryBudget = Annotated[
    str | None, typer.Option("--memory-budget", help="Bytes to use, such as 8GB.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace what is there once the new one is complete.")
]


def _list_metrics(asked: bool) -> None:
    from core.report.metrics import METRICS

    if asked:
        width = max(len(metric.name) for metric in METRICS)
        for metric in METRICS:
            print(f"{metric.name:{width}}  {metric.meaning}")
        raise typer.Exit


FailIf = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="CONDITION",
        help='Exit with 6 where the report says so: "nelbo_delta>0.05". May be given several times.',
        show_default=False,
    ),
]
Github = Annotated[
    bool,
    typer.Option(
        "--github", help="Also write a summary and outputs for the step of GitHub Actions."
    ),
]
ListMetrics = Annotated[
    bool,
    typer.Option(
        "--list-metrics",
        callback=_list_metrics,
        is_eager=True,
        help="Show what conditions may name, and stop.",
    ),
]
