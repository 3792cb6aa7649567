"""What keeps somebody out: no key, one that is not good, or one made for other things.

BadRequest
└── KeysNeeded           other machines may reach a server only once it has keys
AccessDenied
├── KeyMissing
├── KeyUnknown           no key, or not one of this server
├── KeyExpired
├── KeyRevoked
└── ScopeMissing         a good key, made for other things
NotFound
└── KeyNotFound
"""

from core.errors import AccessDenied, BadRequest, NotFound


class KeysNeeded(BadRequest):
    code = "keys-needed"


class KeyMissing(AccessDenied):
    code = "key-missing"

    def __init__(self) -> None:
        super().__init__(
            "this server demands an API key.",
            remedy="Send it as `Authorization: Bearer sec_…`; the command line takes it from"
            " SECATEUR_API_KEY or --api-key-file.",
        )


class KeyUnknown(AccessDenied):
    """Also for a key whose first half is right: it tells nobody which keys there are."""

    code = "key-unknown"

    def __init__(self) -> None:
        super().__init__(
            "this server does not know the API key.",
            remedy="Check that it is complete, and made for this server.",
        )


class KeyExpired(AccessDenied):
    code = "key-expired"

    def __init__(self, prefix: str) -> None:
        super().__init__(
            f"the API key {prefix}… has expired.",
            remedy="Ask for a new one; `secateur keys create` makes it.",
        )


class KeyRevoked(AccessDenied):
    code = "key-revoked"

    def __init__(self, prefix: str) -> None:
        super().__init__(
            f"the API key {prefix}… has been revoked.",
            remedy="Ask for a new one; `secateur keys create` makes it.",
        )


class ScopeMissing(AccessDenied):
    code = "scope-missing"

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"the API key lacks the scope {scope}.",
            remedy=f"Use one made with `secateur keys create --scope {scope}`.",
        )
        self.scope = scope


class KeyNotFound(NotFound):
    code = "key-not-found"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no API key {key_id!r}.", remedy="`secateur keys list` shows their ids.")
