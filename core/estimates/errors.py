"""What keeps an estimate from being made, beside what would keep the job from running.

SourceError
└── SourceTooSlow        it answers, and not within the time of a request
SecateurError
└── EstimatesBusy        as many are being made as a server makes at once
"""

from core.errors import SecateurError, SourceError


class SourceTooSlow(SourceError):
    code = "source-too-slow"

    def __init__(self, named: str, seconds: float) -> None:
        super().__init__(
            f"{named} could not be looked at within {seconds:g} seconds.",
            remedy="Try again, or submit the job: a worker has more patience.",
        )


class EstimatesBusy(SecateurError):
    code = "estimates-busy"

    def __init__(self) -> None:
        super().__init__(
            "other estimates are being made.", remedy="Try again when they are, in some seconds."
        )
