"""How long results are kept: one rule per tenant, and which results it lets go."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, RootModel

OTHERS: Final = "default"
"""The row for tenants that have none of their own."""


class Rule(BaseModel):
    """What protects a result. It goes when nothing that is given here protects it any more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl_days: Annotated[float, Field(gt=0, le=36500, allow_inf_nan=False)] | None = None
    """Days from a job's end for which its artifacts stay."""
    keep_last: Annotated[int, Field(ge=1)] | None = None
    """This many of the tenant's newest results stay, whatever their age."""


class Retention(RootModel[dict[Annotated[str, Field(min_length=1, max_length=64)], Rule]]):
    """Rules by tenant. A tenant's own row replaces the row `default`; neither adds to the other."""

    model_config = ConfigDict(frozen=True)

    def rule_for(self, tenant: str) -> Rule:
        """The tenant's rule; one that keeps everything where nobody wrote any."""
        return self.root.get(tenant, self.root.get(OTHERS, Rule()))


@dataclass(frozen=True, slots=True)
class Result:
    """A succeeded job that still has its artifacts."""

    job_id: str
    finished_at: datetime


def expired(results: Iterable[Result], rule: Rule, now: datetime) -> list[Result]:
    """Those of one tenant's results that `rule` does not keep, newest first.

    With both limits a result goes when it is older than `ttl_days` and not among the newest
    `keep_last`; with one limit, when that one lets it go; without any, never.
    """
    if rule == Rule():
        return []
    newest_first = sorted(results, key=lambda each: (each.finished_at, each.job_id), reverse=True)
    rest = newest_first[rule.keep_last or 0 :]
    if rule.ttl_days is None:
        return rest
    limit = timedelta(days=rule.ttl_days)
    return [each for each in rest if now - each.finished_at > limit]
