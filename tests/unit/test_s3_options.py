"""What an s3:// URL may say, and that it is told by name what it may not."""

import subprocess
import sys

import pytest

from core.errors import BadRequest
from core.store.s3 import S3Store
from core.store.s3_options import S3Options, parse_s3_url
from core.store.urls import open_store


def test_everything_that_can_be_said() -> None:
    url = (
        "s3://my.bucket-1/all%20jobs/of us/?endpoint=http://host:9000/&public_endpoint=https://files.example"
        "&region=eu-central-1&addressing=virtual&sse=aws:kms&sse_kms_key=arn:aws:kms:x:1:key/a-b&part_size=8388608&threads=3"
        "&checksums=when_supported&timeout=7&attempts=2"
    )
    assert parse_s3_url(url) == S3Options(
        bucket="my.bucket-1",
        prefix="all jobs/of us",
        endpoint="http://host:9000",
        public_endpoint="https://files.example",
        region="eu-central-1",
        addressing="virtual",
        sse="aws:kms",
        sse_kms_key="arn:aws:kms:x:1:key/a-b",
        part_size=8 << 20,
        threads=3,
        checksums="when_supported",
        timeout=7,
        attempts=2,
    )


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/"])
def test_a_bucket_is_enough(url: str) -> None:
    store = open_store(url)
    assert isinstance(store, S3Store)
    assert store.options == S3Options(bucket="bucket")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://", "'' is not the name of a bucket"),
        ("s3:///prefix", "'' is not the name of a bucket"),
        ("s3://Bucket/p", "'Bucket'"),
        ("s3://ab/p", "'ab'"),
        ("s3://bucket:80/p", "bucket:80"),
        ("s3://bucket/a//b", "bad object key 'a//b'"),
        ("s3://bucket/../b", "bad object key"),
        ("s3://bucket/a%0Ab", "bad object key"),
        ("s3://bucket/a#b", "fragment"),
        ("s3://[bucket/p", "parsed"),
        ("s3://bucket?colour=red", "'colour' is unknown; there are endpoint, "),
        ("s3://bucket?endpoint", "parsed"),
        ("s3://bucket?threads=2&threads=3", "threads is given twice"),
        ("s3://bucket?threads=0", "threads='0': must be a whole number from 1 to 64"),
        ("s3://bucket?threads=x", "threads='x'"),
        ("s3://bucket?part_size=1000", "part_size='1000'"),
        ("s3://bucket?addressing=dns", "must be one of auto, path, virtual"),
        ("s3://bucket?sse=AES256&sse_kms_key=abc", "no effect without sse=aws:kms"),
        ("s3://bucket?sse=aws:kms&sse_kms_key=a%20b", "must be the id"),
        ("s3://bucket?sse=rot13", "must be one of AES256, aws:kms"),
        ("s3://bucket?checksums=no", "checksums='no'"),
        ("s3://bucket?endpoint=host:9000", "endpoint='host:9000': must be http"),
        ("s3://bucket?endpoint=http://host:x", "endpoint='http://host:x'"),
        ("s3://bucket?region=a/b", "region='a/b'"),
    ],
)
def test_what_is_wrong_is_named(url: str, why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        open_store(url)
    assert why in caught.value.message
    assert "SECATEUR_STORE_URL=s3://" in caught.value.remedy


@pytest.mark.parametrize(
    "url", ["s3://key:hidden-word@bucket/p", "s3://bucket?endpoint=http://key:hidden-word@host"]
)
def test_secrets_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(BadRequest) as caught:
        open_store(url)
    assert "hidden-word" not in str(caught.value)


def test_a_local_folder_needs_no_boto3() -> None:
    program = (
        "import sys\nfrom core.store.urls import open_store\n"
        "list(open_store('file:///nowhere').list(''))\n"
        "sys.exit('botocore' in sys.modules or 'boto3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
