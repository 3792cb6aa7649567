"""Laws of retention, and how it is written down."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.errors import BadRequest
from core.retention import Result, Retention, Rule, expired
from core.settings import Settings
from secateur.cli._settings import load_settings
from secateur.embedded import _child_environment

NOW = datetime(2026, 6, 1, tzinfo=UTC)
AGES = st.integers(-5, 60).map(lambda days: NOW - timedelta(days=days))
RESULTS = st.lists(AGES, max_size=12).map(
    lambda ends: [Result(f"job_{n}", end) for n, end in enumerate(ends)]
)
TTLS = st.none() | st.floats(0.01, 60)
COUNTS = st.none() | st.integers(1, 15)
RULES = st.builds(Rule, ttl_days=TTLS, keep_last=COUNTS)


def newest_first(results: list[Result]) -> list[Result]:
    return sorted(results, key=lambda each: (each.finished_at, each.job_id), reverse=True)


@given(RESULTS, RULES)
def test_the_newest_stay_whatever_their_age(results: list[Result], rule: Rule) -> None:
    gone = expired(results, rule, NOW)
    if rule.keep_last is not None:
        assert not set(gone) & set(newest_first(results)[: rule.keep_last])


@given(RESULTS, RULES)
def test_nothing_young_goes(results: list[Result], rule: Rule) -> None:
    if rule.ttl_days is not None:
        limit = timedelta(days=rule.ttl_days)
        assert all(NOW - each.finished_at > limit for each in expired(results, rule, NOW))


@given(RESULTS, RULES)
def test_what_no_limit_protects_goes(results: list[Result], rule: Rule) -> None:
    gone = expired(results, rule, NOW)
    kept = newest_first(results)[: rule.keep_last or 0]
    if rule == Rule():
        assert gone == []
    for each in set(results) - set(gone) - set(kept):
        assert rule == Rule() or (
            rule.ttl_days is not None and NOW - each.finished_at <= timedelta(days=rule.ttl_days)
        )


@given(RESULTS, RULES)
def test_order_does_not_matter_and_twice_is_once(results: list[Result], rule: Rule) -> None:
    gone = expired(results, rule, NOW)
    assert expired(reversed(results), rule, NOW) == gone
    left = [each for each in results if each not in gone]
    assert expired(left, rule, NOW) == []


@given(RESULTS, RULES, st.integers(0, 100))
def test_time_only_takes(results: list[Result], rule: Rule, days: int) -> None:
    later = NOW + timedelta(days=days)
    assert set(expired(results, rule, NOW)) <= set(expired(results, rule, later))


def test_a_tenants_own_row_replaces_the_default() -> None:
    retention = Retention.model_validate(
        {"default": {"ttl_days": 30}, "search": {"keep_last": 5}, "archive": {}}
    )
    assert retention.rule_for("anyone") == Rule(ttl_days=30)
    assert retention.rule_for("search") == Rule(keep_last=5)
    assert retention.rule_for("archive") == Rule()
    assert Retention({}).rule_for("anyone") == Rule()


@pytest.mark.parametrize(
    "row",
    [{"ttl_days": 0}, {"ttl_days": -1}, {"ttl_days": "nan"}, {"keep_last": 0}, {"keep": 3}, 3],
)
def test_a_rule_that_cannot_be_meant_is_refused(row: object) -> None:
    with pytest.raises(ValidationError):
        Retention.model_validate({"default": row})


def test_it_is_read_from_a_file_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings().retention == Retention({})
    (tmp_path / "secateur.toml").write_text(
        "[retention.default]\nttl_days = 30\nkeep_last = 10\n[retention.archive]\n"
    )
    written = Retention({"default": Rule(ttl_days=30, keep_last=10), "archive": Rule()})
    assert Settings().retention == written
    # `secateur serve` hands its settings on in the environment.
    handed = _child_environment(Settings())["SECATEUR_RETENTION"]
    (tmp_path / "secateur.toml").unlink()
    monkeypatch.setenv("SECATEUR_RETENTION", handed)
    assert Settings().retention == written
    for wrong in ('{"default": {"ttl_days": "x"}}', "30 days"):
        monkeypatch.setenv("SECATEUR_RETENTION", wrong)
        with pytest.raises(BadRequest, match=r"(?i)retention"):
            load_settings()
