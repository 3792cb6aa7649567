"""What only a strict server shows: one that checks signatures, encrypts, and pages by the thousand."""

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError

from core.errors import StoreUnavailable
from core.store.s3 import S3Store
from core.store.s3_errors import code_of
from core.store.s3_options import S3Options
from tests.buckets import new_bucket
from tests.faults.s3_line import DATA, LARGE


@pytest.fixture(scope="module")
def bucket(seaweed: str) -> S3Options:
    return new_bucket(seaweed)


@pytest.fixture
def store(bucket: S3Options, tmp_path: Path) -> S3Store:
    return S3Store(replace(bucket, prefix=tmp_path.name))


class TestCredentials:
    @pytest.mark.parametrize(
        ("variable", "value", "code"),
        [
            ("AWS_SECRET_ACCESS_KEY", "another secret", "SignatureDoesNotMatch"),
            ("AWS_ACCESS_KEY_ID", "nobody", "InvalidAccessKeyId"),
        ],
    )
    def test_that_are_wrong_are_named(
        self,
        store: S3Store,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
        code: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        for act in (store.check, lambda: store.read_bytes("k"), lambda: list(store.list(""))):
            with pytest.raises(StoreUnavailable, match=code) as caught:
                act()
            assert "AWS_SECRET_ACCESS_KEY" in caught.value.remedy


class TestEncryption:
    @pytest.mark.parametrize(
        "options", [{"sse": "AES256"}, {"sse": "aws:kms", "sse_kms_key": "0a1b2c3d"}]
    )
    def test_is_done_and_looked_at(
        self, store: S3Store, tmp_path: Path, options: dict[str, Any]
    ) -> None:
        (source := tmp_path / "large").write_bytes(LARGE)
        secret = S3Store(replace(store.options, **options))
        secret.put_file("large", source)
        secret.put_bytes("small", DATA)
        assert secret.read_bytes("large") == LARGE
        assert secret.read_bytes("small") == DATA
        for name in ("large", "small"):
            held = secret._client.head_object(
                Bucket=store.options.bucket, Key=f"{store.options.prefix}/{name}"
            )
            assert held["ServerSideEncryption"] == options["sse"]
            assert held.get("SSEKMSKeyId") == options.get("sse_kms_key")

    def test_that_did_not_happen_is_an_error(self, store: S3Store) -> None:
        """A store that does not know the header passes it over in silence."""
        forgetful = S3Store(replace(store.options, sse="AES256"))
        forgetful._client.meta.events.register(
            "before-parameter-build.s3.PutObject",
            lambda params, **_: params.pop("ServerSideEncryption"),
        )
        with pytest.raises(StoreUnavailable, match="no encryption, and sse=AES256") as caught:
            forgetful.put_bytes("k", b"x")
        assert "leave `sse` out" in caught.value.remedy

    def test_under_another_key_is_an_error(self, store: S3Store) -> None:
        mistaken = S3Store(replace(store.options, sse="aws:kms", sse_kms_key="0a1b2c3d"))
        mistaken._client.meta.events.register(
            "before-parameter-build.s3.PutObject",
            lambda params, **_: params.update(SSEKMSKeyId="4e5f6071"),
        )
        with pytest.raises(
            StoreUnavailable, match="under the key '4e5f6071' instead of '0a1b2c3d'"
        ):
            mistaken.put_bytes("k", b"x")


class TestLinks:
    def test_give_ranges_until_they_expire(self, store: S3Store) -> None:
        store.put_bytes("k", DATA)
        url = store.presign("k", "name.bin", 2)
        answer = httpx.get(url, headers={"Range": "bytes=5-9"}, trust_env=False)
        assert (answer.status_code, answer.content) == (206, DATA[5:10])
        time.sleep(2.5)
        assert httpx.get(url, trust_env=False).status_code == 403

    def test_that_were_changed_are_refused(self, store: S3Store) -> None:
        store.put_bytes("k", DATA)
        store.put_bytes("other", b"not for whoever has the link to k")
        url = store.presign("k", "name.bin", 60)
        assert httpx.get(url, trust_env=False).content == DATA
        given = dict(parse_qsl(urlsplit(url).query))
        longer = url.replace(urlsplit(url).query, urlencode(given | {"X-Amz-Expires": "6000"}))
        elsewhere = url.replace(f"{store.options.prefix}/k?", f"{store.options.prefix}/other?")
        unsigned = url.partition("?")[0]
        for changed in (longer, elsewhere, unsigned):
            assert changed != url
            assert httpx.get(changed, trust_env=False).status_code == 403
        assert httpx.put(url, content=b"overwritten", trust_env=False).status_code == 403
        assert store.read_bytes("k") == DATA


def test_several_thousand_objects_are_listed_and_deleted(store: S3Store) -> None:
    names = [f"jobs/a{mark}{number}" for number in range(1100) for mark in ("!", "/")]
    client, folder = store._client, store.options.prefix
    with ThreadPoolExecutor(8) as pool:
        for name in [*names, "jobs/b"]:
            pool.submit(client.put_object, Bucket=store.options.bucket, Key=f"{folder}/{name}")
    assert sorted(found.key for found in store.list("jobs/a")) == sorted(names)
    assert store.delete_prefix("jobs/a") == 1100
    assert sum(1 for _ in store.list("jobs/a")) == 1100
    assert store.delete_prefix("jobs") == 1101
    assert list(store.list("")) == []


def test_conditions_on_writing_hold(store: S3Store) -> None:
    """Nothing here leans on them yet: the epoch in the key keeps runs apart on every store."""
    store.put_bytes("k", b"first")
    place = {"Bucket": store.options.bucket, "Key": f"{store.options.prefix}/k"}
    etag = store._client.head_object(**place)["ETag"]
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"0"'}):
        with pytest.raises(ClientError) as caught:
            store._client.put_object(**place, Body=b"second", **condition)
        assert code_of(caught.value) == "PreconditionFailed"
    assert store.read_bytes("k") == b"first"
    store._client.put_object(**place, Body=b"second", IfMatch=etag)
    assert store.read_bytes("k") == b"second"


def test_the_digest_survives_parts_and_a_wrong_checksum_is_refused(
    store: S3Store, tmp_path: Path
) -> None:
    (source := tmp_path / "large").write_bytes(data := os.urandom(11_000_000))
    careful = S3Store(replace(store.options, checksums="when_supported"))
    for name, each in (("plain", store), ("careful", careful)):
        each.put_file(name, source)
        held = store._client.head_object(
            Bucket=store.options.bucket, Key=f"{store.options.prefix}/{name}"
        )
        assert held["Metadata"] == {"sha256": hashlib.sha256(data).hexdigest()}
        assert store.read_bytes(name) == data
    with pytest.raises(ClientError, match=r"BadDigest|checksum"):
        careful._client.put_object(
            Bucket=store.options.bucket, Key="k", Body=b"x", ChecksumSHA256="A" * 43 + "="
        )
