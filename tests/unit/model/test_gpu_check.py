"""The check that the smoke test runs inside the image: its logic on pretended GPUs, and its answer without one."""

import json
import os
import subprocess
import sys

import pytest

from ghostpen.model.gpu_check import Matrix, check_gpus


class PretendedGpu:
    """Multiply with Python's own numbers, or as it is told to."""

    def __init__(self, *, free_gb: float = 22.0, total_gb: float = 24.0, fault: str = "") -> None:
        self.name = "NVIDIA Pretended"
        self._memory = (round(free_gb * 1e9), round(total_gb * 1e9))
        self._fault = fault

    def read_memory(self) -> tuple[int, int]:
        return self._memory

    def multiply(self, left: Matrix, right: Matrix) -> Matrix:
        if self._fault == "refuses":
            raise RuntimeError(
                "CUDA error: no kernel image is available for execution on the device\nCompile with ..."
            )
        columns = range(len(right[0]))
        product = [
            [sum(a * line[column] for a, line in zip(row, right, strict=True)) for column in columns] for row in left
        ]
        if self._fault == "one bit":
            product[63][63] += 1.0
        return product


def test_gpu_that_works_and_has_the_memory_has_no_problem() -> None:
    report = check_gpus([PretendedGpu()], need_gb=22.0)
    assert (report.problem, report.gpus, report.free_gb, report.total_gb) == ("", ("NVIDIA Pretended",), 22.0, 24.0)


def test_least_memory_of_several_gpus_counts() -> None:
    report = check_gpus([PretendedGpu(), PretendedGpu(free_gb=9.5)], need_gb=10)
    assert report.problem.startswith("9.5 GB of GPU memory are free of 24.0, and the run needs 10.0: take a larger")


def test_no_gpu_is_a_problem_even_where_nothing_is_needed() -> None:
    assert check_gpus([], need_gb=0).problem == "no GPU is visible to CUDA in this image"


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("one bit", "NVIDIA Pretended multiplies wrongly: its result is not the CPU's"),
        (
            "refuses",
            "NVIDIA Pretended can't multiply: CUDA error: no kernel image is available for execution on the device",
        ),
    ],
)
def test_gpu_that_computes_wrongly_or_not_at_all_is_a_problem(fault: str, problem: str) -> None:
    assert check_gpus([PretendedGpu(), PretendedGpu(fault=fault)], need_gb=0).problem == problem


def test_command_without_a_gpu_prints_one_line_and_leaves_with_1() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ghostpen.model.gpu_check", "--need-gb", "16"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert json.loads(done.stdout) == {
        "ok": False,
        "gpus": [],
        "free_gb": 0.0,
        "total_gb": 0.0,
        "need_gb": 16.0,
        "problem": "no GPU is visible to CUDA in this image",
    }


@pytest.mark.gpu
def test_command_on_a_gpu_finds_it_well() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ghostpen.model.gpu_check", "--need-gb", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
