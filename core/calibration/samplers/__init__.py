"""How models write: one sampler for each way, by the name that a family has in its row.

Each takes a decoder that was loaded with its head, prompts (samples, prompt positions) int64, what is to be
written, and one generator for each sample, so that no sample depends on which others are beside
it. It yields what is written at first and after every step, (samples, positions) int64 on the host:
steps + 1 states, the first the prompts alone and the last without anything to come.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256

from torch import Generator, Tensor

from core.calibration.continuation import Continuation
from core.calibration.samplers import decoding, dream, llada
from core.models.decoder import Decoder
from core.models.families.base import SamplerName

Sampler = Callable[[Decoder, Tensor, Continuation, Sequence[Generator]], Iterator[Tensor]]

SAMPLERS: Mapping[SamplerName, Sampler] = {
    "llada": llada.steps,
    "dream": dream.steps,
    "decoding": decoding.steps,
}


def generators(seed: int, samples: range) -> list[Generator]:
    """One for each sample, from the seed and the sample's number alone."""
    return [Generator().manual_seed(_seed(seed, sample)) for sample in samples]


def _seed(seed: int, sample: int) -> int:
    """Hashed, since neighbouring seeds are asked for on purpose and must not share their samples."""
    return int.from_bytes(sha256(f"{seed} {sample}".encode()).digest()[:7], "big")
