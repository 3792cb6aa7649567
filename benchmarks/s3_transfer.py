"""How fast shards go into a bucket and come back, verified, over plain boto3 without.

    python benchmarks/s3_transfer.py [--rounds 5] [--shards 4] [--mb 512]

A SeaweedFS server on this machine's disk serves. Each transfer is one process of its own, which says how
long it took, without its start, and the most memory it held. Ours and boto3's `upload_file` and
`download_file` take turns; the ratio is taken round by round. boto3 runs twice: as it comes, and with the
parts and threads that ours has.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import boto3
import botocore
from boto3.s3.transfer import TransferConfig

from core.store.s3 import S3Store
from core.store.s3_client import connect
from core.store.s3_options import S3Options
from tests.buckets import credentials
from tests.seaweed import seaweed_server

WHO = ("ours", "boto3 as it comes", "boto3 with our parts")
_NUMBERS = count()


def plain(options: S3Options, *, our_parts: bool) -> tuple[Any, TransferConfig]:
    client = boto3.client("s3", endpoint_url=options.endpoint, region_name="us-east-1")
    if not our_parts:
        return client, TransferConfig()
    part, threads = options.part_size, options.threads
    return client, TransferConfig(part, threads, multipart_chunksize=part)


def up(who: str, options: S3Options, shards: list[Path]) -> None:
    if who == "ours":
        store = S3Store(options)
        for shard in shards:
            known = shard.with_suffix(".sha256")  # as a job's manifest has it
            store.put_file(shard.name, shard, sha256=known.read_text())
        return
    client, config = plain(options, our_parts=who == WHO[2])
    for shard in shards:
        client.upload_file(str(shard), options.bucket, shard.name, Config=config)


def down(who: str, options: S3Options, shards: list[Path]) -> None:
    with tempfile.TemporaryDirectory(dir=shards[0].parent.parent) as folder:
        if who == "ours":
            store = S3Store(options)
            for shard in shards:
                store.get_file(shard.name, Path(folder) / shard.name)
            return
        client, config = plain(options, our_parts=who == WHO[2])
        for shard in shards:
            client.download_file(
                options.bucket, shard.name, f"{folder}/{shard.name}", Config=config
            )


WAYS: dict[str, Callable[[str, S3Options, list[Path]], None]] = {"up": up, "down": down}


def child(way: str, who: str, endpoint: str, bucket: str, folder: str) -> None:
    """One transfer; what it took on standard output."""
    options = S3Options(bucket=bucket, endpoint=endpoint)
    connect(options, endpoint)  # whoever is first reads the description of S3
    os.sync()  # whoever comes later would wait for what was written before
    began = perf_counter()
    WAYS[way](who, options, sorted(Path(folder).glob("*.safetensors")))
    seconds = perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak}))


def transfer(way: str, who: str, endpoint: str, bucket: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", way, who, endpoint, bucket, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def empty_bucket(endpoint: str) -> tuple[Any, str]:
    """A bucket is a collection of volumes there: deleting it gives the disk back at once."""
    client, bucket = connect(S3Options(bucket="any"), endpoint), f"shards-{next(_NUMBERS)}"
    client.create_bucket(Bucket=bucket)
    return client, bucket


def one_round(turn: int, endpoint: str, folder: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Everybody up and down, beginning with another each time."""
    found = {}
    for who in (*WHO[turn % 3 :], *WHO[: turn % 3]):
        client, bucket = empty_bucket(endpoint)
        for way in WAYS:
            found[way, who] = transfer(way, who, endpoint, bucket, folder)
        for shard in folder.glob("*.safetensors"):
            client.delete_object(Bucket=bucket, Key=shard.name)
        client.delete_bucket(Bucket=bucket)
    return found


def write_shards(folder: Path, shards: int, mb: int) -> None:
    folder.mkdir()
    for number in range(shards):
        with (folder / f"model-{number:05}.safetensors").open("wb") as file:
            for _ in range(mb):
                file.write(os.urandom(1 << 20))
        with Path(file.name).open("rb") as whole:
            digest = hashlib.file_digest(whole, "sha256").hexdigest()
        Path(file.name).with_suffix(".sha256").write_text(digest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--mb", type=int, default=512)
    parser.add_argument("--dir", type=Path, default=None, help="on the disk that is to be used")
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; boto3 {boto3.__version__},"
          f" botocore {botocore.__version__}; {asked.shards} × {asked.mb} MiB")  # fmt: skip
    rounds = []
    place = Path(tempfile.mkdtemp(prefix="s3-transfer-", dir=asked.dir))
    try:
        (place / "server").mkdir()
        write_shards(place / "shards", asked.shards, asked.mb)
        with credentials(), seaweed_server(place / "server", volume_mb=1024) as endpoint:
            for turn in range(asked.rounds):
                rounds.append(one_round(turn, endpoint, place / "shards"))
                print_round(rounds[-1])
    finally:
        shutil.rmtree(place)
    for way in WAYS:
        for who in WHO[1:]:
            ratios = sorted(r[way, who]["seconds"] / r[way, "ours"]["seconds"] for r in rounds)
            print(
                f"{way}: ours over {who}: {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def print_round(found: dict[tuple[str, str], dict[str, float]]) -> None:
    for way in WAYS:
        told = (
            f"{who} {found[way, who]['seconds']:.1f} s, {found[way, who]['cpu']:.1f} s of CPU,"
            f" {found[way, who]['peak']:.0f} MiB"
            for who in WHO
        )
        print(f"{way}: {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
