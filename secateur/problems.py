"""What a server's answer means when it is not the one hoped for."""

from typing import Any

import httpx

from core.all_errors import tree
from core.errors import BadRequest, InvalidSpec, SecateurError
from core.jobs.views import Job
from core.limit_errors import LimitReached


class Unreachable(SecateurError):
    """No answer, or it broke off."""

    code = "server-unreachable"


class BrokenOff(Unreachable):
    """Somebody was there. What became of the request is not known."""

    code = "connection-broken"


class NotASecateurServer(SecateurError):
    """Something answers there, and it speaks another language."""

    code = "not-a-secateur-server"


class WaitedTooLong(SecateurError):
    """Ends a command as timeout(1) does."""

    code = "waited-too-long"
    exit_status = 124


def error_of(response: httpx.Response) -> SecateurError:
    """The error that `response`, already read, reports; of the class the server raised."""
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return NotASecateurServer(
            # Without its query, which in a signed link is as good as a key.
            f"{response.url.copy_with(query=None)} answered {response.status_code} and no problem document.",
            remedy="Check the server's URL (--url or SECATEUR_URL).",
        )
    remedy, fields = str(problem.get("remedy", "")), problem.get("errors")
    # Some codes are only known to servers, which say by the status whose fault it is.
    unknown = BadRequest if response.is_client_error else SecateurError
    error = rebuilt(code, detail, remedy, fields, unknown)
    if isinstance(error, LimitReached):
        wait = response.headers.get("retry-after", "")
        error.retry_after = int(wait) if wait.isdecimal() else 1
    return error


def failure_of(job: Job) -> SecateurError | None:
    """Why `job` failed, as the error its worker raised; None unless it has failed."""
    if job.error is None:
        return None
    return rebuilt(job.error.code, job.error.message, job.error.remedy)


def rebuilt(
    code: str,
    message: str,
    remedy: str,
    fields: Any = None,
    unknown: type[SecateurError] = SecateurError,
) -> SecateurError:
    """An error of the class that has `code`, or of the class `unknown`."""
    kind = tree().get(code, unknown)
    # Some classes compose their message from facts that did not travel.
    error = kind.__new__(kind)
    SecateurError.__init__(error, message, remedy=remedy)
    if isinstance(error, InvalidSpec):
        listed = fields if isinstance(fields, list) else []
        error.fields = [
            {str(k): str(v) for k, v in each.items()} for each in listed if isinstance(each, dict)
        ]
    return error
