"""Passwords that come apart from the URLs they belong to."""

from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import SecretStr

from core.errors import BadRequest


def with_password(url: str, password: SecretStr, field: str) -> str:
    """`url` with `password` in it; `field` is the URL's setting, for the message.

    Raises:
        BadRequest: the URL holds a password already, or names no host to send one to.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused(field, "cannot be parsed", "Correct the URL.") from None
    userinfo, _, host = parts.netloc.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if colon:
        raise _refused(field, "holds one too", "Leave one of the two out.")
    if not host:
        raise _refused(field, "names no host", "Leave the password out.")
    netloc = f"{user}:{quote(password.get_secret_value(), safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _refused(field: str, why: str, remedy: str) -> BadRequest:
    # Never the URL itself, which may hold the password.
    url, password = (f"SECATEUR_{field}_{part}" for part in ("URL", "PASSWORD"))
    return BadRequest(f"{password} is set, and {url} {why}.", remedy=remedy)
