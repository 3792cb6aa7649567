"""What a client does with sweeps, and with results side by side."""

import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from core.comparison.document import Comparison
from core.jobs.sweep_views import Sweep, SweepPage
from core.sweep_spec import SweepSpec
from secateur.calls import Asking, Call, document, nothing, of, segment
from secateur.following import PASSING, WAITING, Patience
from secateur.job_calls import LONG_POLL
from secateur.problems import WaitedTooLong

_JSON = {"Accept": "application/json"}


class SweepCalls(Asking):
    """Part of both clients."""

    async def submit_sweep(
        self, sweep: SweepSpec | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Sweep:
        """Queue every job of a sweep, or none; once, as `submit` does.

        Raises:
            InvalidSpec, whose `fields` name every job that is not valid; QueueFull.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        call = Call("POST", "/v1/sweeps", of(Sweep), headers=headers, body=_posted(sweep))
        patience = Patience()
        while True:
            try:
                return await self._ask(call)
            except PASSING as error:
                await self._line.pause(patience.bear(error))

    async def estimate_sweep(self, sweep: SweepSpec | Mapping[str, Any]) -> dict[str, Any]:
        """What the jobs would take, together and each; nothing is queued."""
        query = {"dry_run": "true"}
        return await self._ask(Call("POST", "/v1/sweeps", document, query, body=_posted(sweep)))

    async def sweep(self, sweep_id: str) -> Sweep:
        """The sweep with all its jobs. Raises SweepNotFound."""
        return await self._ask(Call("GET", _path(sweep_id), of(Sweep)))

    def sweeps(self, *, page_size: int = 50) -> AsyncGenerator[Sweep, None]:
        """Every sweep, newest first, page by page, without its jobs."""
        return self._paged("/v1/sweeps", of(SweepPage), {"limit": page_size})

    async def wait_sweep(self, sweep_id: str, *, timeout: float | None = None) -> Sweep:
        """The sweep once all its jobs have ended, in whatever states; over a server's restart, too.

        Raises:
            WaitedTooLong: some go on after `timeout` seconds; they are left alone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        patience = Patience()

        def left(most: float) -> float:
            return most if deadline is None else max(0.0, min(most, deadline - time.monotonic()))

        while True:
            seconds = left(LONG_POLL)
            call = Call("GET", _path(sweep_id), of(Sweep), {"wait": seconds}, silence=seconds)
            try:
                found = await self._ask(call)
                patience.answered()
                if found.state != "running":
                    return found
            except WAITING as error:
                await self._line.pause(left(patience.bear(error)))
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitedTooLong(f"sweep {sweep_id} has not ended after {timeout:g} seconds.")

    async def cancel_sweep(self, sweep_id: str) -> Sweep:
        """Ask for the end of all jobs that go on. Raises WrongState when none does."""
        return await self._ask(Call("POST", f"{_path(sweep_id)}/cancel", of(Sweep)))

    async def delete_sweep(self, sweep_id: str) -> None:
        """Remove a sweep that has ended, with its jobs and all they left. Raises WrongState before."""
        await self._ask(Call("DELETE", _path(sweep_id), nothing))

    async def compare_sweep(self, sweep_id: str) -> Comparison:
        """The reports of all its jobs side by side."""
        call = Call("GET", f"{_path(sweep_id)}/comparison", of(Comparison), headers=_JSON)
        return await self._ask(call)

    async def compare(self, job_ids: Sequence[str]) -> Comparison:
        """The reports of two to eight jobs side by side. Raises WrongState before one has succeeded."""
        query = {"job": list(job_ids)}
        return await self._ask(Call("GET", "/v1/compare", of(Comparison), query, headers=_JSON))


def _path(sweep_id: str) -> str:
    return f"/v1/sweeps/{segment(sweep_id)}"


def _posted(sweep: SweepSpec | Mapping[str, Any]) -> dict[str, Any]:
    return sweep.model_dump(mode="json") if isinstance(sweep, SweepSpec) else dict(sweep)
