"""Which buckets a source may name, and how the operator's list says so."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import BadRequest, ModelNotFound, NotAvailable, SourceRefused
from core.settings import Settings
from core.source_buckets import parse_place, reached
from core.sources import Allowed, LocalFile, S3Source, model_source, text_source
from secateur.embedded import _child_environment

MODELS = "s3://bucket/models?endpoint=http://127.0.0.1:7070"
SERVER = Allowed(
    roots=(), buckets=(MODELS, "s3://bucket/models/secret?region=eu-central-1", "s3://other")
)


@pytest.mark.parametrize(
    ("source", "bucket", "key", "place"),
    [
        ("s3://bucket/models", "bucket", "models", 0),
        ("s3://bucket/models/", "bucket", "models", 0),
        ("s3://bucket/models/a/b", "bucket", "models/a/b", 0),
        ("s3://bucket/models/a%20b%23", "bucket", "models/a b#", 0),
        ("s3://bucket/models/secretive", "bucket", "models/secretive", 0),
        ("s3://bucket/models/secret/x", "bucket", "models/secret/x", 1),
        ("s3://other", "other", "", 2),
        ("s3://other/", "other", "", 2),
        ("s3://other/x/y", "other", "x/y", 2),
    ],
)
def test_the_narrowest_place_says_how_a_bucket_is_reached(
    source: str, bucket: str, key: str, place: int
) -> None:
    assert model_source(source, SERVER) == S3Source(bucket, key, SERVER.buckets[place])


@pytest.mark.parametrize(
    "source", ["s3://bucket/model", "s3://bucket/modelsX/a", "s3://bucket", "s3://third/models/a"]
)
def test_outside_the_places_is_refused(source: str) -> None:
    with pytest.raises(SourceRefused, match="outside") as caught:
        model_source(source, SERVER)
    assert "SECATEUR_SOURCE_BUCKETS" in caught.value.remedy
    with pytest.raises(SourceRefused, match="outside"):
        text_source(f"{source}/a.txt", SERVER)


@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket/models/a?endpoint=http://evil.example",
        "s3://bucket/models/a?",
        "s3://bucket/models/a#b",
        "s3://bucket/models/../secret",
        "s3://bucket/models/%2e%2e/secret",
        "s3://bucket/models//a",
        "s3://bucket//",
        "s3://bucket/models/a%0Ab",
        "s3://bucket/models/a%5Cb",
        "s3://bucket/models/\ud800",
        "s3://user:secret@bucket/models/a",
        "s3://bucket:80/models/a",
        "s3://BUCKET/models/a",
        "s3:///models/a",
        "s3://",
        "s3://[bucket/models",
    ],
)
def test_what_is_no_plain_key_is_refused_everywhere(source: str) -> None:
    for allowed in (SERVER, Allowed()):
        with pytest.raises(SourceRefused, match="plain"):
            model_source(source, allowed)


def test_a_user_at_a_shell_may_read_any_bucket() -> None:
    assert model_source("s3://any/thing", Allowed()) == S3Source("any", "thing", "s3://any")
    configured = Allowed(buckets=(MODELS,))
    assert model_source("s3://bucket/models/a", configured) == S3Source(
        "bucket", "models/a", MODELS
    )
    assert model_source("s3://any/thing", configured).place == "s3://any"  # type: ignore[union-attr]


def test_a_server_without_places_reads_no_bucket() -> None:
    for source in ("s3://bucket/a", "s3://bucket"):
        with pytest.raises(SourceRefused, match="outside"):
            model_source(source, Allowed(roots=()))


def test_a_text_is_one_object_of_a_known_kind() -> None:
    assert text_source("s3://other/a.txt", SERVER) == S3Source("other", "a.txt", "s3://other")
    for source in ("s3://other/a", "s3://other/a.txt/b", "s3://other", "s3://other/a.pkl"):
        with pytest.raises(SourceRefused, match=r"\.jsonl"):
            text_source(source, SERVER)


def test_other_schemes_are_as_they_were(tmp_path: Path) -> None:
    assert model_source(tmp_path.as_uri(), Allowed()) == tmp_path
    assert text_source(tmp_path.as_uri(), Allowed()) == LocalFile(tmp_path)
    with pytest.raises(SourceRefused, match="outside the folders"):
        model_source(tmp_path.as_uri(), SERVER)
    with pytest.raises(ModelNotFound):
        model_source("example:nothing", SERVER)
    with pytest.raises(NotAvailable):
        model_source("ftp://a/b", SERVER)


class TestSettings:
    @pytest.mark.parametrize("between", [" ", ",", ", ", "\n  "])
    def test_places_are_a_list(self, monkeypatch: pytest.MonkeyPatch, between: str) -> None:
        monkeypatch.setenv("SECATEUR_SOURCE_BUCKETS", between.join(SERVER.buckets))
        assert Settings().source_buckets == SERVER.buckets

    def test_places_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "secateur.toml").write_text(f'source_buckets = ["{MODELS}", "s3://other"]')
        assert Settings().source_buckets == (MODELS, "s3://other")

    @pytest.mark.parametrize(
        ("places", "why"),
        [
            ("s3://other s3://Bucket", "place 2 of 2.*'Bucket'"),
            ("bucket", "place 1 of 1.*s3://"),
            ("s3://bucket?sse=AES256", "'sse' has no meaning"),
            ("s3://bucket?public_endpoint=http://a", "'public_endpoint' has no meaning"),
            ("s3://bucket?endpoint=ftp://a", "endpoint"),
            ("s3://bucket?colour=red", "'colour' is unknown"),
        ],
    )
    def test_what_is_no_place_is_named(self, places: str, why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Settings.model_validate({"source_buckets": places})

    def test_a_secret_in_a_place_is_not_repeated(self) -> None:
        with pytest.raises(ValidationError) as caught:
            Settings.model_validate({"source_buckets": "s3://key:hunter2@bucket"})
        assert "hunter2" not in caught.value.errors()[0]["msg"]

    def test_serve_hands_them_to_its_children(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings(source_buckets=SERVER.buckets, model_roots=(Path("/a"), Path("/b")))
        env = _child_environment(settings)
        monkeypatch.setenv("SECATEUR_SOURCE_BUCKETS", env["SECATEUR_SOURCE_BUCKETS"])
        monkeypatch.setenv("SECATEUR_MODEL_ROOTS", env["SECATEUR_MODEL_ROOTS"])
        assert Settings().source_buckets == settings.source_buckets
        assert Settings().model_roots == settings.model_roots


def test_an_endpoint_of_the_place_comes_before_the_usual_one() -> None:
    assert reached(MODELS, "http://usual").endpoint == "http://127.0.0.1:7070"
    assert reached("s3://bucket?region=eu-central-1", "http://usual").endpoint == "http://usual"
    assert reached("s3://bucket", None).endpoint is None
    with pytest.raises(BadRequest):
        parse_place("file:///a")
