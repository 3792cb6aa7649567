"""Dense and pruned are judged alike in every family, with one model in memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch.testing import assert_close

from core.calibration.prepare import Prepared
from core.evaluate import judge_both, sequences
from core.evaluation.nelbo import judge
from core.models.checkpoint import Checkpoint, CheckpointWriter
from core.models.decoder import load
from core.models.intake import take_in
from core.spec import JobSpec
from tests.checkpoints import VOCABULARY
from tests.family_checkpoints import KINDS, tiny

CPU = torch.device("cpu")
CLEAN = torch.randint(VOCABULARY - 4, (3, 40), generator=torch.Generator().manual_seed(1))
SPEC = JobSpec.model_validate(
    {"model": {"source": "file:///x"}, "method": "magnitude", "sparsity": 0.5, "evaluation": {"speed": False}}
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_both_see_the_same_tokens_through_their_own_weights(tmp_path: Path, kind: str) -> None:
    dense = Checkpoint(take_in(tiny(tmp_path / "in", kind)))
    decoder = load(dense, CPU)
    (tmp_path / "out").mkdir()
    writer = CheckpointWriter(dense, tmp_path / "out")
    for m in decoder.all_matrices():
        with torch.inference_mode():
            m.linear.weight[:, ::2] = 0
        writer.replace(m.name, m.linear.weight, m.rows)
    pruned = Checkpoint(take_in(tmp_path / "out"))
    prepared = cast("Prepared", SimpleNamespace(evaluation=CLEAN, tokenizer=None))
    steps: list[tuple[int, int]] = []
    judged = judge_both(
        decoder, dense=dense, pruned=pruned, prepared=prepared, spec=SPEC, group=4,
        watch=lambda done, of: steps.append((done, of)),
    )  # fmt: skip
    assert judged.noisy is not None
    assert judged.dense is not None
    assert judged.pruned is not None
    shown = sequences(SPEC.evaluation, prepared, decoder.family)
    assert steps[-1] == (2 * shown, 2 * shown)
    assert shown == judged.noisy.masked[..., 0].numel()
    assert not torch.equal(judged.dense.nelbo, judged.pruned.nelbo)
    for checkpoint, answer in ((dense, judged.dense), (pruned, judged.pruned)):
        alone = judge(load(checkpoint, CPU), judged.noisy, group=7, watch=lambda done, of: None)
        assert_close(alone.nelbo, answer.nelbo, rtol=1e-5, atol=0)
    after = load(pruned, CPU)
    for held, saved in zip(decoder.all_matrices(), after.all_matrices(), strict=True):
        assert torch.equal(held.linear.weight, saved.linear.weight)
