"""From a result and a place to a push."""

from dataclasses import dataclass

from core.destinations.errors import PushError
from core.destinations.outgoing import Pushed, Tell, outgoing
from core.destinations.places import Bucket, HubModel, What, what_to_send
from core.result import Result


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may be chosen; None: what suits the place."""

    what: What | None = None
    private: bool = False
    message: str | None = None
    replace: bool = False
    resume: bool = False
    """Whether an earlier push of this result was killed, and may have left parts in a bucket."""


def push(result: Result, place: HubModel | Bucket, wishes: Wishes, tell: Tell) -> Pushed:
    """Have `result` at `place`, with the caller's own credentials. Again is as good as once.

    Raises:
        CorruptObject: the result is damaged here, or arrived damaged.
        BadRequest: the place cannot hold what was asked for.
        PushError, StoreError, OutputExists: the place does not take it.
    """
    what = what_to_send(place, wishes.what)
    tell(0.0, "verifying")
    files = outgoing(result, what)
    if isinstance(place, Bucket):
        from core.destinations import bucket  # noqa: PLC0415 - boto3 takes a second to load

        return bucket.push(place, files, tell, replace=wishes.replace, resume=wishes.resume)
    try:
        from core.destinations import hub  # noqa: PLC0415 - only where it is asked for
    except ImportError:
        raise PushError(
            "huggingface_hub is not installed.",
            remedy="Install it: pip install 'secateur[worker]'.",
        ) from None
    message = wishes.message or f"Add {_name(result)}, pruned with Secateur"
    return hub.Push(place, wishes.private, message).run(files, tell)


def _name(result: Result) -> str:
    job, model = result.report["job"], result.report["model"]
    return f"{model['source']} at {job.get('sparsity')} ({job.get('method')})"
