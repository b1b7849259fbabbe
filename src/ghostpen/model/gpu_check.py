"""Whether CUDA works where this runs: each GPU is visible, multiplies as the CPU does, and has the memory free.

`python -m ghostpen.model.gpu_check --need-gb 16` prints one line of JSON and leaves with 0 or 1. The deployment runs
it inside the image before it starts a run: a driver that the host sees says nothing of what the image can do.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

SIZE = 64  # of the matrices; small whole numbers, so that every way to multiply them gives the same result
Matrix = list[list[float]]


class Gpu(Protocol):
    """One GPU."""

    name: str

    def read_memory(self) -> tuple[int, int]:
        """Read its free and its total bytes."""

    def multiply(self, left: Matrix, right: Matrix) -> Matrix:
        """Multiply on it."""


@dataclass(frozen=True)
class GpuReport:
    """What was found; `problem` is empty where all is well."""

    gpus: tuple[str, ...]
    free_gb: float  # of the one with the least
    total_gb: float
    need_gb: float
    problem: str


def check_gpus(gpus: Sequence[Gpu], *, need_gb: float) -> GpuReport:
    """Check each GPU, and say the first problem."""
    memory = [gpu.read_memory() for gpu in gpus]
    free_gb, total_gb = (min((part[i] for part in memory), default=0) / 1e9 for i in (0, 1))
    problem = "" if gpus else "no GPU is visible to CUDA in this image"
    for gpu in gpus:
        problem = problem or _check_product(gpu)
    if not problem and free_gb < need_gb:
        problem = (
            f"{free_gb:.1f} GB of GPU memory are free of {total_gb:.1f}, and the run needs {need_gb:.1f}: take a "
            "larger instance type, or a profile that needs less (ghostpen inspect MODEL --config FILE)"
        )
    return GpuReport(tuple(gpu.name for gpu in gpus), round(free_gb, 2), round(total_gb, 2), need_gb, problem)


def _check_product(gpu: Gpu) -> str:
    left = [[float((row * column) % 7) for column in range(SIZE)] for row in range(SIZE)]
    right = [[float((row + 2 * column) % 5) for column in range(SIZE)] for row in range(SIZE)]
    columns = list(zip(*right, strict=True))
    expected = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left]
    try:
        product = gpu.multiply(left, right)
    except RuntimeError as error:  # what torch raises for all that CUDA refuses
        return f"{gpu.name} can't multiply: {str(error).strip().splitlines()[0]}"
    return "" if product == expected else f"{gpu.name} multiplies wrongly: its result is not the CPU's"


class CudaGpu:
    """A GPU as torch sees it."""

    def __init__(self, index: int) -> None:
        """Take the device's number."""
        import torch

        self._index = index
        self.name = torch.cuda.get_device_name(index)

    def read_memory(self) -> tuple[int, int]:
        """Read its free and its total bytes."""
        import torch

        free, total = torch.cuda.mem_get_info(self._index)
        return free, total

    def multiply(self, left: Matrix, right: Matrix) -> Matrix:
        """Multiply on it."""
        import torch

        device = f"cuda:{self._index}"
        product: Matrix = (torch.tensor(left, device=device) @ torch.tensor(right, device=device)).cpu().tolist()
        return product


def list_gpus() -> list[CudaGpu]:
    """List the GPUs that torch sees."""
    import torch

    return [CudaGpu(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print and give the exit code."""
    parser = argparse.ArgumentParser(description="Check that CUDA works here.")
    parser.add_argument("--need-gb", type=float, default=0.0, help="free GPU memory that is needed")
    need_gb = parser.parse_args(arguments).need_gb
    report = check_gpus(list_gpus(), need_gb=need_gb)
    print(json.dumps({"ok": not report.problem, **asdict(report)}))
    return 1 if report.problem else 0


if __name__ == "__main__":
    sys.exit(main())
