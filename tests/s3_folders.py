"""Folders in a bucket, put there by our own store or by another program."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from core.analysis_spec import parse_analysis
from core.progress import Report as Watch
from core.progress import ignore
from core.report.schema import AnalysisReport, Report
from core.run import analyse, execute
from core.spec import parse_spec
from core.stages import RunOptions
from core.store.s3 import S3Store
from core.store.s3_client import connect
from core.store.s3_options import S3Options

VERSES = Path(__file__).parent / "verses.txt"


def put_folder(options: S3Options, prefix: str, folder: Path, *, sha256: bool = False) -> str:
    """The source of a bucket's folder that holds what `folder` holds; with the SHA-256 in the
    objects' metadata as our store puts it there, or without, as most programs do."""
    for file in folder.rglob("*"):
        if file.is_file():
            put(options, f"{prefix}/{file.relative_to(folder)}", file.read_bytes(), sha256=sha256)
    return f"s3://{options.bucket}/{prefix}"


def put(options: S3Options, key: str, data: bytes, *, sha256: bool = False) -> str:
    """The source of the object."""
    if sha256:
        S3Store(replace(options, prefix="")).put_bytes(key, data)
    else:
        client(options).put_object(Bucket=options.bucket, Key=key, Body=data)
    return f"s3://{options.bucket}/{key}"


def client(options: S3Options) -> Any:
    return connect(options, options.endpoint)


def reading(options: S3Options, endpoint: str | None = None, more: str = "") -> RunOptions:
    """Options of a run on a server that may read the bucket, and no folder."""
    place = f"s3://{options.bucket}?endpoint={endpoint or options.endpoint}{more}"
    return RunOptions(device="cpu", threads=1, model_roots=(), source_buckets=(place,))


def prune(model: str, text: str, out: Path, options: RunOptions, watch: Watch = ignore) -> Report:
    calibration = {"source": text, "samples": 4, "sequence_length": 32}
    spec = {
        "model": {"source": model},
        "sparsity": 0.5,
        "calibration": calibration,
        "evaluation": {"samples": 4, "speed": False},
    }
    execute(parse_spec(spec), out, options, watch)
    return Report.model_validate_json((out / "report" / "report.json").read_bytes())


def look(model: str, text: str, options: RunOptions, watch: Watch = ignore) -> AnalysisReport:
    calibration = {"source": text, "samples": 2, "sequence_length": 32, "sample_interval": 25}
    spec = {"model": {"source": model}, "calibration": calibration}
    return analyse(parse_analysis(spec), None, options, watch)
