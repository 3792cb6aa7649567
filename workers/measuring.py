"""What a run holds and moves, as its own process sees it."""

import resource
import sys
from typing import Any

from workers.protocol import Measured


def measured(sent_bytes: int = 0, result_bytes: int | None = None) -> Measured:
    """What this process holds now and has held at most; of a device, where it uses one.

    torch is asked only where the run has loaded it and woken CUDA: looking must not wake it.
    """
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return Measured(host_peak_bytes=host, sent_bytes=sent_bytes, result_bytes=result_bytes)
    free, total = torch.cuda.mem_get_info()
    return Measured(
        host_peak_bytes=host,
        sent_bytes=sent_bytes,
        result_bytes=result_bytes,
        gpu_bytes=torch.cuda.memory_allocated(),
        gpu_peak_bytes=torch.cuda.max_memory_allocated(),
        gpu_used_bytes=total - free,
        gpu_total_bytes=total,
    )
