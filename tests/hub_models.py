"""Taking in the model of `tests.hub`, as runs do."""

from pathlib import Path

from core import hub_model
from core.crew import nobody
from core.hub_sources import HubSource
from core.models.checkpoint import Checkpoint
from core.models.intake import Intake

SOURCE = HubSource("org/name", "main")
SHARD = "model.safetensors"


def take(
    folder: Path,
    source: HubSource = SOURCE,
    *,
    copies: int = 1,
    most: int | None = None,
    kept: Path | None = None,
) -> Intake:
    folder.mkdir(exist_ok=True)
    return hub_model.take_in(source, folder, nobody, copies=copies, most=most, kept=kept)


def read(intake: Intake) -> dict[str, bytes]:
    """Every file, whole."""
    Checkpoint(intake).fetch_all()
    files = (*intake.weights, *intake.auxiliary)
    return {file.as_posix(): (intake.folder / file).read_bytes() for file in files}
