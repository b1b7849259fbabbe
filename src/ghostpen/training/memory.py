"""How much memory a training has needed at most, so far."""

from __future__ import annotations

import resource
from dataclasses import dataclass


@dataclass(frozen=True)
class PeakMemory:
    """The most that was held at once since the process started."""

    process_bytes: int
    gpu_bytes: int | None  # held by tensors on the current GPU; None without one


def read_peak_memory() -> PeakMemory:
    """Ask the kernel, and CUDA where there is a GPU."""
    import torch

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Source: getrusage(2), in KiB on Linux
    gpu_bytes = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return PeakMemory(process_bytes=kilobytes * 1024, gpu_bytes=gpu_bytes)
