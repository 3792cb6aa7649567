"""Where a job's objects lie in the store. Free of the database, which a runner does not know."""

import re
from typing import Final

FOLDER: Final = "jobs/"
RESUME: Final = "resume"
SWEEPS: Final = "sweeps/"
_OF_A_JOB: Final = re.compile(r"jobs/(job_[0-9a-z]{24})/")
_OF_A_SWEEP: Final = re.compile(r"sweeps/(swp_[0-9a-z]{24})/")
_OF_A_RUN: Final = re.compile(r"jobs/(job_[0-9a-z]{24})/([1-9][0-9]{0,8})/")


def objects_of(job_id: str, epoch: int) -> str:
    """The folder of one run's objects in the store."""
    return f"{FOLDER}{job_id}/{epoch}"


def resume_of(job_id: str, epoch: int) -> str:
    """The folder of what one run has finished on its way, for a later run to go on from."""
    return f"{objects_of(job_id, epoch)}/{RESUME}"


def job_of(key: str) -> str | None:
    """The job in whose folder `key` lies, if it lies in one."""
    found = _OF_A_JOB.match(key)
    return found[1] if found else None


def run_of(key: str) -> tuple[str, int] | None:
    """The job and the epoch in whose folder `key` lies, if it lies in one."""
    found = _OF_A_RUN.match(key)
    return (found[1], int(found[2])) if found else None


def dense_of(sweep_id: str) -> str:
    """The folder of what the jobs of a sweep found out about their dense models, for each other."""
    return f"{SWEEPS}{sweep_id}/dense"


def sweep_of(key: str) -> str | None:
    """The sweep in whose folder `key` lies, if it lies in one."""
    found = _OF_A_SWEEP.match(key)
    return found[1] if found else None
