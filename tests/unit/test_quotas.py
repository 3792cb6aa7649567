"""Quotas as they are written down, and whether a job is too large for one."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.errors import BadRequest
from core.limit_errors import JobTooLarge
from core.quotas import JobSize, Quota, Quotas, check_size
from core.settings import Settings
from secateur.cli._settings import load_settings
from secateur.embedded import _child_environment

SMALL = Quota(job_bytes=100, job_flops=1e15, job_seconds=60)


@pytest.mark.parametrize(
    "size",
    [
        JobSize(),
        JobSize(100, 1e15, 60),
        JobSize(peak_bytes=0),
        JobSize(seconds=None, flops=1.0),
    ],
)
def test_a_job_that_fits_passes(size: JobSize) -> None:
    check_size(size, SMALL)
    check_size(size, Quota())


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (JobSize(peak_bytes=101), "101 bytes of memory, and one job may take 100"),
        (JobSize(flops=2e15), r"2e\+15 floating-point operations"),
        (JobSize(1, 1, 60.1), "60.1 seconds"),
    ],
)
def test_one_that_does_not_says_by_how_much(size: JobSize, said: str) -> None:
    with pytest.raises(JobTooLarge, match=said) as refused:
        check_size(size, SMALL)
    assert "calibration.samples" in refused.value.remedy
    check_size(size, Quota())


def test_a_tenants_own_row_replaces_the_default() -> None:
    quotas = Quotas.model_validate({"default": {"queued_jobs": 5}, "a": {"running_jobs": 2}})
    assert quotas.quota_for("anyone") == Quota(queued_jobs=5)
    assert quotas.quota_for("a") == Quota(running_jobs=2)
    assert Quotas({}).quota_for("anyone") == Quota()


@pytest.mark.parametrize(
    "row",
    [
        {"queued_jobs": -1},
        {"running_jobs": 0},
        {"stored_bytes": -1},
        {"stored_bytes": 2**63},
        {"job_flops": "nan"},
        {"job_seconds": 0},
        {"queued": 3},
        7,
    ],
)
def test_a_quota_that_cannot_be_meant_is_refused(row: object) -> None:
    with pytest.raises(ValidationError):
        Quotas.model_validate({"default": row})


def test_they_are_read_from_a_file_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings().quotas == Quotas({})
    (tmp_path / "secateur.toml").write_text(
        "[quotas.default]\nqueued_jobs = 100\nrunning_jobs = 2\n[quotas.archive]\n"
    )
    written = Quotas({"default": Quota(queued_jobs=100, running_jobs=2), "archive": Quota()})
    assert Settings().quotas == written
    # `secateur serve` hands its settings on in the environment.
    handed = _child_environment(Settings())["SECATEUR_QUOTAS"]
    (tmp_path / "secateur.toml").unlink()
    monkeypatch.setenv("SECATEUR_QUOTAS", handed)
    assert Settings().quotas == written
    monkeypatch.setenv("SECATEUR_QUOTAS", '{"default": {"running_jobs": 0}}')
    with pytest.raises(BadRequest, match="quotas"):
        load_settings()
