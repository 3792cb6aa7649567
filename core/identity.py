"""What the bytes of a result depend on: parts of one run are of use to another only if all is equal."""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from core.calibration.noise import Trajectories
from core.evaluation.nelbo import NoisyTokens
from core.models.decoder import Decoder
from core.spec import JobSpec

FORMAT: Final = "2"
"""Of the points, and of the arithmetic between them: whoever changes either counts it up."""

SOFTWARE: Final = ("secateur", "torch", "transformers", "numpy")
_PROCESSOR: Final = Path("/proc/cpuinfo")


def run_identity(
    spec: JobSpec, revision: str, trajectories: Trajectories, decoder: Decoder
) -> dict[str, str]:
    """Name → value, in words that can be shown to whoever asks why two runs differ.

    Kernels choose the order of their sums by the processor, its vector units and the number of
    threads, so these count too; the memory budget does not, since the plan is a part that is kept.
    """
    return {
        "format": FORMAT,
        "spec": _digest(spec.model_dump_json()),
        "model": revision,
        "sequences": _sequences(trajectories),
        **{name: version(name) for name in SOFTWARE},
        "build of torch": torch.__version__,
        "dtype": str(decoder.embedding.dtype),
        **_machine(decoder.device),
    }


def dense_identity(
    revision: str, noisy: NoisyTokens, decoder: Decoder, group: int
) -> dict[str, str]:
    """What the dense model's judgement depends on: no spec, since all of it that counts is in `noisy`.

    The size of groups counts, too: kernels may add up in another order for another one.
    """
    return {
        "format": FORMAT,
        "model": revision,
        "questions": _numbers(noisy.clean, noisy.masked, noisy.rate, noisy.maskable),
        "group": str(group),
        **{name: version(name) for name in SOFTWARE},
        "build of torch": torch.__version__,
        "dtype": str(decoder.embedding.dtype),
        **_machine(decoder.device),
    }


def identity_digest(run: Mapping[str, str]) -> str:
    return _digest(json.dumps(dict(run), sort_keys=True))


def _machine(device: torch.device) -> dict[str, str]:
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return {"device": f"{found.name}, compute {found.major}.{found.minor}"}
    capability = torch.backends.cpu.get_cpu_capability()
    return {
        "device": f"{platform.machine()}, {_processor()}, {capability}",
        "threads": str(torch.get_num_threads()),
    }


def _processor() -> str:
    """The processor's name; empty where this machine does not tell."""
    try:
        lines = _PROCESSOR.read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _sequences(trajectories: Trajectories) -> str:
    """Of every number that calibration is made of: text, tokenizer and noise are all in it."""
    parts = (trajectories.clean, trajectories.noised, trajectories.weights, trajectories.present)
    return _numbers(*parts)


def _numbers(*parts: Tensor | None) -> str:
    total = hashlib.sha256()
    for part in parts:
        if part is None:
            continue
        total.update(f"{part.dtype} {list(part.shape)}\n".encode())
        total.update(part.contiguous().numpy().tobytes())
    return total.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
