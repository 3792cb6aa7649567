"""How far each pruned block's output is from the dense one's, alone and at the end of pruned blocks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.evaluation.in_depth import BLOCKS_SAMPLES
from core.evaluation.nelbo import NoisyTokens, Watch
from core.models.decoder import Decoder

TINY = 1e-30
"""Keeps a quotient finite where a dense output is zero."""

UseBlock = Callable[[int], None]
"""Puts a model's weights into one block of the decoder."""


@dataclass(frozen=True, slots=True)
class BlockErrors:
    """Relative squared errors, (blocks, sequences) float64."""

    own: Tensor
    """‖f′(h) − f(h)‖² / ‖f(h)‖²: dense states h through the pruned block f′ and the dense block f."""
    carried: Tensor
    """‖g − h‖² / ‖h‖² behind the block: g went through pruned blocks alone, h through dense ones."""


def sequences_to_compare(noisy: NoisyTokens, mask_token: int | None) -> Tensor:
    """ids (sequences, positions): the first samples, each at the next draw, so that all noise levels
    take part."""
    shown = noisy.shown(mask_token)[:BLOCKS_SAMPLES]
    sample = torch.arange(len(shown))
    return shown[sample, sample % shown.shape[1]]


@torch.inference_mode()
def block_errors(
    decoder: Decoder,
    ids: Tensor,
    use_dense: UseBlock,
    use_pruned: UseBlock,
    *,
    group: int,
    watch: Watch,
) -> BlockErrors:
    """Errors on ids (sequences, positions); every block holds its pruned weights afterwards.

    A block is swapped when it is reached: one model is in memory, and every block is read once from
    each.
    """
    dense = [decoder.embed(part) for part in torch.split(ids, group)]
    pruned = list(dense)
    own, carried = [], []
    for block in range(len(decoder.blocks)):
        use_dense(block)
        true = [decoder.run_block(block, state) for state in dense]
        use_pruned(block)
        alone = [decoder.run_block(block, state) for state in dense]
        pruned = [decoder.run_block(block, state) for state in pruned]
        own.append(_errors(alone, true))
        carried.append(_errors(pruned, true))
        dense = true
        watch(block + 1, len(decoder.blocks))
    return BlockErrors(torch.stack(own), torch.stack(carried))


def _errors(found: list[Tensor], true: list[Tensor]) -> Tensor:
    return torch.cat([relative_error(x, y) for x, y in zip(found, true, strict=True)]).cpu()


def relative_error(found: Tensor, true: Tensor) -> Tensor:
    """‖found − true‖² / ‖true‖² of each sequence: (sequences, positions, width) twice → (sequences,)
    float64."""
    moved = (found.float() - true.float()).square().sum((1, 2), dtype=torch.float64)
    return moved / true.float().square().sum((1, 2), dtype=torch.float64).clamp(min=TINY)
