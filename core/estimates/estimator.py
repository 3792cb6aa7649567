"""Estimates for many callers: bounded in time and number, with models that were seen remembered."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from core.calibration.builtin import check_builtin
from core.errors import BadTokenFile, BrokenCheckpoint, SourceUnavailable
from core.estimates.errors import EstimatesBusy
from core.estimates.estimate import Machine, estimate_of
from core.estimates.facts import ModelFacts, read_facts
from core.estimates.files import Deadline, ModelFiles
from core.estimates.opening import opened_model, token_header
from core.estimates.views import Estimate
from core.models.headers import Header
from core.sources import Allowed, BuiltinText, text_source
from core.spec import JobSpec, ModelRef

SECONDS: Final = 10.0
"""How long a model may take to be looked at."""
AT_ONCE: Final = 8
"""Estimates under way in a process: fewer than the threads that answer all other requests."""
OF_ONE_CALLER: Final = 2
REMEMBERED: Final = 64
"""Models of each caller. What is kept of one has a few kilobytes."""
CALLERS: Final = 256


class Estimator:
    """Safe to share between threads. Callers, as their tenants are called, share no memory: how long
    an answer takes tells nobody what others asked for."""

    def __init__(
        self,
        allowed: Allowed,
        machine: Machine,
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed, self._machine = allowed, machine
        self._seconds, self._clock = seconds, clock
        self._lock, self._under_way = Lock(), Counter[str]()
        self._seen: OrderedDict[str, OrderedDict[str, ModelFacts]] = OrderedDict()

    def estimate(
        self, spec: JobSpec, caller: str = "", flops_per_second: float | None = None
    ) -> Estimate:
        """What `spec` would take. The rate, where one is known, is what `seconds` is told from.

        Raises:
            ModelError, DataError, BadRequest: what would keep the job from running.
            SourceError: a source does not answer, or too slowly.
            EstimatesBusy: too many are under way, of this caller or of all.
        """
        with self._turn(caller):
            deadline = Deadline(spec.model.source, self._seconds, self._clock)
            with _readable(spec.model.source):
                facts = self._seen_or_read(spec.model, deadline, caller)
                tokens = self._tokens(spec, deadline)
            control = None
            if spec.control is not None:
                beside = Deadline(spec.control.source, deadline.left(), self._clock)
                with _readable(spec.control.source):
                    control = self._seen_or_read(spec.control, beside, caller)
        return estimate_of(spec, facts, tokens, self._machine, flops_per_second, control)

    def _seen_or_read(self, model: ModelRef, deadline: Deadline, caller: str) -> ModelFacts:
        with opened_model(model, self._allowed, deadline) as files:
            return self._facts(files, deadline, caller)

    def _tokens(self, spec: JobSpec, deadline: Deadline) -> Header | None:
        source = text_source(spec.calibration.source, self._allowed)
        if isinstance(source, BuiltinText):
            check_builtin(source.name)
        try:
            return token_header(source, deadline)
        except BrokenCheckpoint as error:
            raise BadTokenFile(error.message, remedy=error.remedy) from None

    def _facts(self, files: ModelFiles, deadline: Deadline, caller: str) -> ModelFacts:
        key = f"{files.named}\n{files.version}"
        with self._lock:
            seen = self._of_caller(caller)
            if (found := seen.get(key)) is not None:
                seen.move_to_end(key)
                return found
        found = read_facts(files, deadline)
        with self._lock:
            seen = self._of_caller(caller)
            seen[key] = found
            while len(seen) > REMEMBERED:
                seen.popitem(last=False)
        return found

    def _of_caller(self, caller: str) -> OrderedDict[str, ModelFacts]:
        seen = self._seen.setdefault(caller, OrderedDict())
        self._seen.move_to_end(caller)
        while len(self._seen) > CALLERS:
            self._seen.popitem(last=False)
        return seen

    @contextmanager
    def _turn(self, caller: str) -> Iterator[None]:
        with self._lock:
            if self._under_way.total() >= AT_ONCE or self._under_way[caller] >= OF_ONE_CALLER:
                raise EstimatesBusy
            self._under_way[caller] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[caller] -= 1
                self._under_way += Counter()  # forgets those who have none


@contextmanager
def _readable(named: str) -> Iterator[None]:
    """A file that this process may not read, or that goes away meanwhile, under a name of ours."""
    try:
        yield
    except OSError as error:
        raise SourceUnavailable(
            f"{named} cannot be read: {error.strerror or type(error).__name__}.",
            remedy="Check that the server's user may read it.",
        ) from None
