"""Credentials that are renewed while a process runs."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.credentials import ContainerProvider, EnvProvider, RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError
from botocore.session import Session

from core import vault

REREAD_SECONDS = 10.0
_TOLERATED_SECONDS: Final = 60  # of a file that is just being written, before it is an error
_FILES: Final = ("shared-credentials-file", "config-file")


class RereadingSession(Session):  # type: ignore[misc] # botocore has no types
    """A session whose credentials, where they come from a file, are read anew every few seconds.

    botocore reads such a file once in the life of a client. Those of roles and of single sign-on
    it renews itself, and the environment of a process never changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reread: RefreshableCredentials | None = None
        if not vault.is_empty():
            self._ask_the_vault()

    def _ask_the_vault(self) -> None:
        """Look for the variables that botocore looks for in the environment in the vault as well."""
        known, resolver = vault.variables(), self.get_component("credential_provider")
        for provider in (EnvProvider(environ=known), ContainerProvider(environ=known)):
            resolver.insert_before(provider.METHOD, provider)

    def get_credentials(self) -> Any:
        found = super().get_credentials()
        if found is None or found.method not in _FILES:
            return found
        if self._reread is None:
            self._reread = RefreshableCredentials.create_from_metadata(
                _metadata(found), _read, found.method, 0, -_TOLERATED_SECONDS
            )
        return self._reread


def _read() -> dict[str, str | None]:
    found = Session().get_credentials()
    if found is None:
        raise CredentialRetrievalError(provider=_FILES[0], error_msg="the file names none any more")
    return _metadata(found)


def _metadata(found: Any) -> dict[str, str | None]:
    until = datetime.now(UTC) + timedelta(seconds=REREAD_SECONDS)
    return {
        "access_key": found.access_key,
        "secret_key": found.secret_key,
        "token": found.token,
        "expiry_time": until.isoformat(),
    }
