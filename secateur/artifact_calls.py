"""What a client asks about a job's results: the list, the report, the files themselves."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from secateur.calls import Asking, Call, document, job_path, of
from secateur.download import Artifact, fetch, local_path


class _ArtifactList(BaseModel):
    data: list[Artifact]


class ArtifactCalls(Asking):
    """Part of both clients."""

    async def artifacts(self, job_id: str) -> tuple[Artifact, ...]:
        """What the job left; nothing before it has succeeded."""
        call = Call("GET", f"{job_path(job_id)}/artifacts", of(_ArtifactList))
        return tuple((await self._ask(call)).data)

    async def report(self, job_id: str) -> dict[str, Any]:
        """`report.json`. Raises WrongState before the job has succeeded."""
        accept = {"Accept": "application/json"}
        return await self._ask(Call("GET", f"{job_path(job_id)}/report", document, headers=accept))

    async def download(
        self, job_id: str, folder: Path, *, only: Callable[[str], bool] | None = None
    ) -> Path:
        """Put every artifact of the job below `folder`, each one whole and verified, or not at all.

        With `only`, just those for whose names it is true.
        Interrupted downloads go on where they stopped; files that are there already are kept.

        Raises:
            WrongState: the job has left nothing to download.
            CorruptObject: what arrived is not what the manifest names.
        """
        found = await self.artifacts(job_id)
        if not found:
            await self.report(job_id)  # says why there is nothing
        wanted = [each for each in found if only is None or only(each.name)]
        places = [local_path(folder, each.name) for each in wanted]
        await self._line.each(
            partial(fetch, self._line, each, place)
            for each, place in zip(wanted, places, strict=True)
        )
        return folder
