"""Where jobs may push to: the operator's list, and what a job's destination means there."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.destinations.allowed import Allowed, permitted
from core.destinations.errors import DestinationRefused
from core.destinations.places import Bucket, HubModel
from core.errors import InvalidSpec
from core.settings import Settings
from core.spec import parse_spec
from secateur.embedded import _child_environment

ENDPOINT = "http://127.0.0.1:7070"
PLACES = (
    f"s3://bucket/pruned?endpoint={ENDPOINT}",
    "s3://bucket/pruned/eu?region=eu-central-1&sse=AES256",
    "s3://other",
    "hf://org",
    "hf://people/one",
)
SERVER = Allowed(PLACES, "file:///store")
SPEC = {"model": {"source": "example:kjv-dlm"}, "sparsity": 0.5}

part = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)


def bucket(destination: str, allowed: Allowed = SERVER) -> Bucket:
    place = permitted(destination, allowed)
    assert isinstance(place, Bucket)
    return place


@pytest.mark.parametrize(
    ("destination", "place"),
    [
        ("hf://org/name", HubModel("org/name")),
        ("hf://org/name@half/sparse", HubModel("org/name", "half/sparse")),
        ("hf://people/one", HubModel("people/one")),
        ("hf://people/one@v2", HubModel("people/one", "v2")),
    ],
)
def test_a_repository_of_an_organisation_or_one_alone(destination: str, place: HubModel) -> None:
    assert permitted(destination, SERVER) == place


def test_the_operator_says_how_a_bucket_is_reached() -> None:
    options = bucket("s3://bucket/pruned/a").options
    assert (options.bucket, options.prefix, options.endpoint) == ("bucket", "pruned/a", ENDPOINT)
    narrower = bucket("s3://bucket/pruned/eu/a/").options
    assert (narrower.prefix, narrower.sse, narrower.endpoint) == ("pruned/eu/a", "AES256", None)
    assert bucket("s3://bucket/pruned").options.prefix == "pruned"
    assert bucket("s3://other").options.prefix == ""
    assert bucket("s3://other/a%20b%23").options.prefix == "a b#"


@pytest.mark.parametrize(
    "destination",
    [
        "s3://bucket", "s3://bucket/prune", "s3://bucket/prunedX/a", "s3://third/pruned",
        "hf://organ/name", "hf://or/name", "hf://people/two", "hf://people/one2",
    ],
)  # fmt: skip
def test_outside_the_places_is_refused(destination: str) -> None:
    with pytest.raises(DestinationRefused, match="outside") as caught:
        permitted(destination, SERVER)
    assert "SECATEUR_PUSH_DESTINATIONS" in caught.value.remedy
    with pytest.raises(DestinationRefused, match="no place is allowed") as caught:
        permitted(destination, Allowed((), "file:///store"))
    assert "SECATEUR_PUSH_DESTINATIONS" in caught.value.remedy


@pytest.mark.parametrize(
    "destination",
    [
        "s3://bucket/pruned/a?endpoint=http://169.254.169.254",
        "s3://bucket/pruned/a?",
        "s3://bucket/pruned/a#b",
        "s3://bucket/pruned/../a",
        "s3://bucket/pruned/%2e%2e/a",
        "s3://bucket/pruned/a/./b",
        "s3://bucket/pruned//a",
        "s3://bucket/pruned/a//",
        "s3://bucket/pruned/a%0Ab",
        "s3://bucket/pruned/" + "a" * 256,
        "s3://key:hunter2@bucket/pruned",
        "s3://",
        "hf://org",
        "hf://org/",
        "hf://org/..",
        "hf://org/a..b",
        "hf://org/name/more",
        "hf://org/name@",
        "hf://org/name@../main",
        "hf://org/name?endpoint=http://169.254.169.254",
        "hf://hunter2@org/name",
        "hf://",
    ],
)
def test_what_is_no_plain_place_is_refused_and_not_repeated(destination: str) -> None:
    with pytest.raises(DestinationRefused, match="plain") as caught:
        permitted(destination, SERVER)
    assert "hunter2" not in str(caught.value)


@given(st.lists(part, max_size=3), st.lists(part, max_size=3))
def test_a_place_holds_itself_and_what_is_below(allowed: list[str], below: list[str]) -> None:
    place = "/".join(["s3://bucket", *allowed])
    found = bucket("/".join([place, *below]), Allowed((place,), "file:///store"))
    assert found.options.prefix == "/".join([*allowed, *below])


@given(st.lists(part, min_size=1, max_size=3), part)
def test_a_place_ends_with_a_whole_part(allowed: list[str], more: str) -> None:
    place = "/".join(["s3://bucket", *allowed])
    for destination in (f"{place}{more}", f"{place}{more}/x", place.rpartition("/")[0]):
        with pytest.raises(DestinationRefused, match="outside"):
            permitted(destination, Allowed((place,), "file:///store"))


class TestTheStore:
    STORE = f"s3://bucket/results?endpoint={ENDPOINT}&part_size=5242880"
    PLACE = f"s3://bucket?endpoint={ENDPOINT}"

    @pytest.mark.parametrize("prefix", ["", "/results", "/results/", "/results/jobs/a"])
    def test_is_no_destination_nor_is_what_holds_it(self, prefix: str) -> None:
        with pytest.raises(DestinationRefused, match="keeps the results"):
            permitted(f"s3://bucket{prefix}", Allowed((self.PLACE,), self.STORE))

    @pytest.mark.parametrize("prefix", ["/results2", "/result", "/pruned/results"])
    def test_beside_it_is_room(self, prefix: str) -> None:
        bucket(f"s3://bucket{prefix}", Allowed((self.PLACE,), self.STORE))

    def test_a_whole_bucket_leaves_none(self) -> None:
        store = f"s3://bucket?endpoint={ENDPOINT}"
        with pytest.raises(DestinationRefused, match="keeps the results"):
            permitted("s3://bucket/pruned", Allowed((self.PLACE,), store))

    def test_another_server_may_have_a_bucket_of_this_name(self) -> None:
        elsewhere = "s3://bucket?endpoint=http://127.0.0.1:9000"
        bucket("s3://bucket/results", Allowed((elsewhere,), self.STORE))

    def test_without_an_endpoint_it_may_be_the_same_one(self) -> None:
        """That of AWS_ENDPOINT_URL."""
        with pytest.raises(DestinationRefused, match="keeps the results"):
            permitted("s3://bucket/results", Allowed(("s3://bucket",), self.STORE))


class TestSettings:
    @pytest.mark.parametrize("between", [" ", ",", ", ", "\n  "])
    def test_places_are_a_list(self, monkeypatch: pytest.MonkeyPatch, between: str) -> None:
        monkeypatch.setenv("SECATEUR_PUSH_DESTINATIONS", between.join(PLACES))
        assert Settings().push_destinations == PLACES

    def test_unset_and_empty_are_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Settings().push_destinations == ()
        monkeypatch.setenv("SECATEUR_PUSH_DESTINATIONS", "")
        assert Settings().push_destinations == ()

    def test_places_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "secateur.toml").write_text('push_destinations = ["hf://org", "s3://other"]')
        assert Settings().push_destinations == ("hf://org", "s3://other")

    @pytest.mark.parametrize(
        ("places", "why"),
        [
            ("hf://org s3://Bucket", "place 2 of 2.*'Bucket'"),
            ("org/name", "place 1 of 1.*hf://ORG"),
            ("hf://", "hf://ORG"),
            ("hf://org/name/more", "hf://ORG"),
            ("hf://org/name@main", "hf://ORG"),
            ("hf://..", "hf://ORG"),
            ("hf://org/a..b", "hf://ORG"),
            ("s3://bucket/a/../b", "'..' parts"),
            ("s3://bucket?public_endpoint=http://a", "'public_endpoint' has no meaning"),
            ("s3://bucket?endpoint=ftp://a", "endpoint"),
            ("s3://bucket?colour=red", "'colour' is unknown"),
        ],
    )
    def test_what_is_no_place_is_named(self, places: str, why: str) -> None:
        with pytest.raises(ValidationError, match=why):
            Settings.model_validate({"push_destinations": places})

    @pytest.mark.parametrize("place", ["s3://key:hunter2@bucket", "hf://key:hunter2@org"])
    def test_a_secret_in_a_place_is_not_repeated(self, place: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Settings.model_validate({"push_destinations": place})
        assert "hunter2" not in caught.value.errors()[0]["msg"]

    def test_serve_hands_them_to_its_children(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env = _child_environment(Settings(push_destinations=PLACES))
        monkeypatch.setenv("SECATEUR_PUSH_DESTINATIONS", env["SECATEUR_PUSH_DESTINATIONS"])
        assert Settings().push_destinations == PLACES


class TestSpec:
    @pytest.mark.parametrize("destination", ["hf://org/name@branch", "s3://bucket/prefix"])
    def test_the_field_survives_a_round_trip(self, destination: str) -> None:
        spec = parse_spec({**SPEC, "output": {"push": destination}})
        assert spec.output.push == destination
        assert parse_spec(spec.model_dump(mode="json")) == spec
        assert parse_spec(SPEC).output.push is None

    @pytest.mark.parametrize(
        "destination",
        ["", "org/name", "file:///x", "https://a/b", "hf://a\n/b", "s3://" + "a" * 600],
    )
    def test_other_schemes_do_not_parse(self, destination: str) -> None:
        with pytest.raises(InvalidSpec) as caught:
            parse_spec({**SPEC, "output": {"push": destination}})
        assert caught.value.fields[0]["field"] == "output.push"
