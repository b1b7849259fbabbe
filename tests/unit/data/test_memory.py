"""How much memory `ghostpen prepare` takes as its texts grow: much less than they do."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 300
SMALL_MEGABYTES, LARGE_MEGABYTES = 3, 11  # both below what is given to other processes: all is in the one measured
# The most bytes that one more byte of text may take: an index of the held-out fifth, and each text's print.
# It was 0.6; with all texts in memory, 4.1.
MOST_BYTES_A_BYTE = 1.5

# Not psutil's nor resource's: the peak of this process alone, also where it was forked by a larger one.
CODE = """
import sys
from pathlib import Path
from ghostpen.data.prepare import prepare_data
prepare_data([sys.argv[1]], author="A", out=sys.argv[2])
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def write_letters(folder: Path, *, megabytes: int) -> Path:
    """Write letters of 20 kB of made-up words, with curly quotes: Python takes two bytes a character for those."""
    rng = random.Random(0)
    words = [f"{rng.choice('bdfglmnprstv')}{rng.choice('aeiou')}{n}" for n in range(3_000)]
    folder.mkdir()
    for number in range(megabytes * 50):
        paragraphs = [f"“{' '.join(rng.choices(words, k=100))}”" for _ in range(30)]
        (folder / f"letter{number}.txt").write_text("\n\n".join(paragraphs), encoding="utf-8")
    return folder


def measure_peak_bytes(texts: Path, out: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(texts), str(out)],
        env={"PYTHONPATH": ":".join(sys.path), "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return int(done.stdout) * 1024


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc: run it on Linux"
)
def test_prepare_takes_less_memory_than_its_texts(tmp_path: Path) -> None:
    peaks, sizes = [], []
    for megabytes in (SMALL_MEGABYTES, LARGE_MEGABYTES):
        texts = write_letters(tmp_path / f"{megabytes}", megabytes=megabytes)
        sizes.append(sum(path.stat().st_size for path in texts.iterdir()))
        peaks.append(measure_peak_bytes(texts, tmp_path / f"out{megabytes}"))
    assert (peaks[1] - peaks[0]) / (sizes[1] - sizes[0]) < MOST_BYTES_A_BYTE
