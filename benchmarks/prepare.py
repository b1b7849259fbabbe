"""`ghostpen prepare` beside what it can't be faster than, and beside a peer, on the same synthetic texts.

    .venv/bin/python benchmarks/prepare.py --megabytes 50    # prints a table and appends to results/prepare.jsonl

Every side is a process of its own, on all cores, and the repetitions are interleaved:
    ours          ghostpen prepare: read, clean, compare, split, guard, write
    tokenizers    tokenizers.encode_batch alone, of the texts in memory, with gpt-oss's tokenizer: no training can do
                  without it, so it is the measure of what preparing may cost
    trl           what TRL's SFTTrainer does with a dataset of the same texts before it trains: tokenises, cuts at
                  1,024 tokens (SFTTrainer._prepare_dataset, one process a core, its cache empty)

The texts are made of runs of 4 to 8 words of the embedded novels, in hard-wrapped lines, letters of 300 bytes to
books of 600 kB: of English's words and characters, but without a passage twice. Measured: seconds from the first read
to the last write, without the start of Python and its imports; the processor's seconds in them, children's too; the
most memory that all processes together have held, memory that they share counted once (PSS, looked at four times a
second), or the first one's own peak, if that is more. Of a busy machine the processor's seconds say more: ratios are
given of both, in each repetition, with their median and range.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import ROOT, fetch_tokenizer
from processes import append_line, read_status_bytes, summarise_ratios

BUILD = ROOT / "build/prepare"
RESULTS = Path(__file__).parent / "results/prepare.jsonl"
SIDES = ("ours", "tokenizers", "trl")
MAX_TOKENS = 1024
SIDE_LIMIT_S = 3600
LOOK_EVERY_S = 0.25


def build_texts(parent: Path, *, megabytes: int, seed: int = 0) -> Path:
    """Write the texts below `parent`, once for each size, and return their folder."""
    folder = parent / f"texts-{megabytes}-{seed}"
    if folder.is_dir():
        return folder
    rng = random.Random(seed)
    words = _read_words()
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    written = number = 0
    while written < megabytes * 10**6:
        size = min(max(300, round(rng.lognormvariate(8, 1.3))), 600_000)
        path = part / f"{number % 100:02}/letter-{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        written += path.write_bytes(_make_text(words, size, rng).encode())
        number += 1
    part.rename(folder)
    return folder


def _read_words() -> list[str]:
    words: list[str] = []
    for name in ("austen", "contrast"):
        with zipfile.ZipFile(ROOT / f"src/ghostpen/assets/texts/{name}.zip") as opened:
            for entry in opened.namelist():
                words += opened.read(entry).decode().split() if entry.endswith(".txt") else []
    return words


def _make_text(words: Sequence[str], size: int, rng: random.Random) -> str:
    text = ""
    paragraphs = []
    while size > 0:
        chosen: list[str] = []
        for _ in range(rng.randint(3, 25)):
            start = rng.randrange(len(words) - 8)
            chosen += words[start : start + rng.randint(4, 8)]
        paragraphs.append(textwrap.fill(" ".join(chosen), 72, break_long_words=False, break_on_hyphens=False))
        size -= len(paragraphs[-1])
    text = "\n\n".join(paragraphs)
    return f"{text}\n"


class Watch:
    """Seconds on the wall and of the processor, between entering and leaving."""

    def __enter__(self) -> Watch:
        self._start = time.monotonic(), self._read_cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s, self.cpu_s = time.monotonic() - self._start[0], self._read_cpu_s() - self._start[1]

    def _read_cpu_s(self) -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)


def run_ours(texts: Path, out: Path, tokenizer: Path) -> Watch:
    """Prepare the texts as a person would."""
    from ghostpen.data.prepare import prepare_data

    with Watch() as watch:
        prepare_data([texts], author="A", out=out / "data")
    return watch


def run_tokenizers(texts: Path, out: Path, tokenizer: Path) -> Watch:
    """Encode the texts, and drop the result as it comes."""
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    documents = _read_texts(texts)
    with Watch() as watch:
        for first in range(0, len(documents), 1000):
            encoder.encode_batch(documents[first : first + 1000], add_special_tokens=False)
    return watch


def run_trl(texts: Path, out: Path, tokenizer: Path) -> Watch:
    """Let SFTTrainer prepare a dataset of the texts; the trainer around it is built, but trains nothing."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    watch = Watch()

    class Timed(SFTTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, *args: Any, **options: Any) -> Any:
            with watch:
                return super()._prepare_dataset(*args, **options)

    settings = SFTConfig(
        output_dir=str(out), max_length=MAX_TOKENS, dataset_num_proc=os.cpu_count(), report_to="none",
        use_cpu=True, bf16=False, loss_type="nll",
    )  # fmt: skip
    Timed(
        model=AutoModelForCausalLM.from_pretrained(ROOT / "src/ghostpen/assets/tiny"),
        args=settings,
        train_dataset=Dataset.from_dict({"text": _read_texts(texts)}),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_file=str(tokenizer / "tokenizer.json"), eos_token="<|return|>", pad_token="<|endoftext|>"
        ),
    )
    return watch


def _read_texts(texts: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(texts.rglob("*.txt"))]


def run_side(side: str, texts: Path, tokenizer: Path) -> dict[str, Any]:
    """Run one side in a new process, and return what it measured.

    Raises:
        SystemExit: it failed or took too long.
    """
    with tempfile.TemporaryDirectory(prefix=f"{side}-", dir=BUILD) as out:
        set_here = {
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
            "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": f"{out}/cache",
        }  # fmt: skip
        command = [sys.executable, __file__, "--side", side, str(texts), out, str(tokenizer)]
        with Path(out, "stdout").open("w+") as stdout, Path(out, "stderr").open("w+") as stderr:
            process = subprocess.Popen(
                command, env=os.environ | set_here, cwd=out, stdout=stdout, stderr=stderr, text=True
            )
            try:
                peak_kib = watch_memory(process)
            finally:
                process.kill()
                process.wait()
            stdout.seek(0)
            stderr.seek(0)
            if process.returncode:
                raise SystemExit(f"error: {side} ended with {process.returncode}:\n{stderr.read()[-2000:]}")
            result: dict[str, Any] = json.loads(stdout.read().splitlines()[-1])
        return result | {"peak_mib": max(peak_kib, result.pop("own_peak_kib")) / 1024}


def measure_side(side: str, texts: Path, out: Path, tokenizer: Path) -> dict[str, Any]:
    """Run one side here, and measure."""
    sides = {"ours": run_ours, "tokenizers": run_tokenizers, "trl": run_trl}
    watch = sides[side](texts, out, tokenizer)
    own_peak_kib = read_status_bytes("VmHWM") // 1024  # of a run that ends between two looks
    return {"side": side, "wall_s": watch.wall_s, "cpu_s": watch.cpu_s, "own_peak_kib": own_peak_kib}


def watch_memory(process: subprocess.Popen[str]) -> int:
    """Return the most memory, in KiB, that a process and its descendants hold until it ends."""
    peak_kib, deadline = 0, time.monotonic() + SIDE_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        peak_kib = max(peak_kib, sum(map(_read_pss_kib, _list_tree(process.pid))))
        time.sleep(LOOK_EVERY_S)
    return peak_kib


def _list_tree(root: int) -> list[int]:
    tree = [root]
    for one in tree:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has just ended
                tree += map(int, children.read_text().split())
    return tree


def _read_pss_kib(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def summarise(results: Sequence[Mapping[str, Any]], *, size_bytes: int) -> dict[str, Any]:
    """Make the medians of the repetitions a line of the results file."""
    sides = {}
    for side in dict.fromkeys(result["side"] for result in results):
        own = [result for result in results if result["side"] == side]
        medians = {key: statistics.median(result[key] for result in own) for key in ("wall_s", "cpu_s", "peak_mib")}
        sides[side] = {key: round(value, 1) for key, value in medians.items()} | {
            "megabytes_per_s": round(size_bytes / 1e6 / medians["wall_s"], 2),
            "megabytes_per_cpu_s": round(size_bytes / 1e6 / medians["cpu_s"], 2),
            "wall_s_each": [round(result["wall_s"], 1) for result in own],
        }
    return {
        "date": datetime.date.today().isoformat(),
        "size_bytes": size_bytes,
        "ours_over_peer": {peer: _compare(results, peer) for peer in sides if peer != "ours"},
        "sides": sides,
        "cores": os.cpu_count(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def _compare(results: Sequence[Mapping[str, Any]], peer: str) -> dict[str, dict[str, float]]:
    """Return the median and the range, over the repetitions, of ours over the peer's."""
    own, its = ([result for result in results if result["side"] == side] for side in ("ours", peer))
    ratios = {
        "megabytes_per_s": [b["wall_s"] / a["wall_s"] for a, b in zip(own, its, strict=True)],
        "megabytes_per_cpu_s": [b["cpu_s"] / a["cpu_s"] for a, b in zip(own, its, strict=True)],
        "peak_mib": [a["peak_mib"] / b["peak_mib"] for a, b in zip(own, its, strict=True)],
    }
    return {key: summarise_ratios(each) for key, each in ratios.items()}


def render_table(line: Mapping[str, Any]) -> str:
    """Render a line of the results file for a terminal."""
    rows = [f"{line['size_bytes'] / 1e6:.0f} MB{'':8}{'MB/s':>8}{'MB/cpu-s':>10}{'peak MiB':>10}"]
    rows += [
        f"{side:14}{one['megabytes_per_s']:>8}{one['megabytes_per_cpu_s']:>10}{one['peak_mib']:>10}"
        for side, one in line["sides"].items()
    ]
    rows += [
        f"ours / {peer}: "
        + ", ".join(f"{key} x{one['median']} ({one['lowest']} to {one['highest']})" for key, one in compared.items())
        for peer, compared in line["ours_over_peer"].items()
    ]
    return "\n".join([*rows, f"load of the machine: {line['load_average'][0]} on {line['cores']} cores"])


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--megabytes", type=int, default=50, help="of text")
    parser.add_argument("--repetitions", type=int, default=5, help="of every side")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES, help="ours must be among them")
    parser.add_argument("--tokenizer", type=Path, help="a folder with gpt-oss's tokenizer.json; else downloaded")
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    parser.add_argument("--side", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side, *paths = options.side
        print(json.dumps(measure_side(side, *map(Path, paths))))
        return
    if "ours" not in options.sides:
        parser.error("--sides: name ours")
    BUILD.mkdir(parents=True, exist_ok=True)
    tokenizer = (options.tokenizer or fetch_tokenizer(ROOT / "build/peers")).resolve()
    texts = build_texts(BUILD, megabytes=options.megabytes)
    results = []
    for repetition in range(options.repetitions):
        for side in options.sides if repetition % 2 == 0 else options.sides[::-1]:
            print(f"repetition {repetition + 1} of {options.repetitions}: {side}", file=sys.stderr)
            results.append(run_side(side, texts, tokenizer))
    line = summarise(results, size_bytes=sum(path.stat().st_size for path in texts.rglob("*.txt")))
    print(render_table(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
