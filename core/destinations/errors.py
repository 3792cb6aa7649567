"""Why a result is not pushed to where its spec says.

BadRequest
└── DestinationRefused   a push to where the operator allows none
PushError (SecateurError)
├── PushRefused          no credentials, or not enough rights
└── PushUnavailable      the destination does not answer, or breaks off
"""

from core.errors import BadRequest, SecateurError


class DestinationRefused(BadRequest):
    code = "destination-refused"


class PushError(SecateurError):
    code = "push-failed"


class PushRefused(PushError):
    code = "push-refused"


class PushUnavailable(PushError):
    code = "push-unavailable"
