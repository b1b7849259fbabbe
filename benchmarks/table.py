"""Write the table of docs/benchmarks.md from the newest line of each file in results/.

.venv/bin/python benchmarks/table.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from materials import ROOT

RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- benchmarks/table.py writes from here -->\n", "<!-- to here -->\n"
HEAD = "| what | measure | peer | ours / peer | measured |\n|---|---|---|---:|---|\n"


def read_newest(name: str, *, holding: str) -> dict[str, Any] | None:
    """Read the newest line of a results file that has ratios under a key; None where there is none."""
    path = RESULTS / f"{name}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return next((line for line in reversed(lines) if line.get(holding)), None)


def _range(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:g} [{ratio['lowest']:g}, {ratio['highest']:g}]"


def list_training(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/peers.py found: speed and memory of training, and whether it learned the same."""
    for peer, found in line["ours_over_peer"].items():
        speed = found.get("tokens_per_s_in_pairs")
        yield "training step", "tokens per second", peer, _range(speed) if speed else f"{found['tokens_per_s']:g}"
        yield "", "peak memory", peer, f"{found['peak']:g}"
        yield "", "perplexity reached", peer, f"{found['perplexity']:g}"


def list_perplexity(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/perplexity.py found."""
    yield "exact perplexity", "speed", line["peer"], _range(line["speed_ours_over_peer"])
    yield "", "peak memory", line["peer"], _range(line["peak_ours_over_peer"])


def list_prepare(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/prepare.py found."""
    for peer, found in line["ours_over_peer"].items():
        yield "prepare", "megabytes per second", peer, _range(found["megabytes_per_s"])
        yield "", "peak memory", peer, _range(found["peak_mib"])


def list_copying(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/copying.py found: seconds of CPU time for the same answers."""
    for peer, ratio in line["speed_ours_over_peer"].items():
        yield "looking for copies", "speed", peer, _range(ratio)


def list_storage(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/storage.py found."""
    for step, peers in line["speed_ours_over_peer"].items():
        for peer, ratio in peers.items():
            yield f"S3: {step}", "speed", {"aws": "aws s3 sync"}.get(peer, peer), _range(ratio)


def list_startup(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/startup.py found; of the help of one verb, and of Python alone, nothing."""
    for peer, ratio in line["speed_ours_over_peer"].items():
        if peer not in {"python", "ours, train"}:
            yield "`--help`", "speed", peer, _range(ratio)


def list_idle(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what benchmarks/idle.py found in the simulated account: seconds, not speed; less is better."""
    for case, found in line["cases"].items():
        seconds = found["idle_s"]
        ratio = f"{found['idle_ours_over_timer']:g} ({seconds['ours']:g} of {seconds['timer']:g} s)"
        yield f"paid without work, simulated: {case}", "seconds", line["peer"], ratio


def list_image(line: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """List what `make rehearse-image` found: bytes of a changed line of code; less is better."""
    found = f"{line['new_over_image']:.1e} ({line['new_bytes']:,} of {line['image_bytes']:,})"
    yield "image: a changed line of code", "bytes", "an image in one layer", found


LISTS = (
    ("peers", "ours_over_peer", list_training),
    ("perplexity", "speed_ours_over_peer", list_perplexity),
    ("prepare", "ours_over_peer", list_prepare),
    ("copying", "speed_ours_over_peer", list_copying),
    ("storage", "speed_ours_over_peer", list_storage),
    ("startup", "speed_ours_over_peer", list_startup),
    ("idle", "cases", list_idle),
    ("image", "new_over_image", list_image),
)


def render_table() -> str:
    """Render the newest results as Markdown."""
    rows = []
    for name, key, list_rows in LISTS:
        if (line := read_newest(name, holding=key)) is not None:
            rows += [f"| {' | '.join((*row, line['date']))} |\n" for row in list_rows(line)]
    return HEAD + "".join(rows)


def replace_table(page: str, table: str) -> str:
    """Put the table between the page's two marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table + END + rest.partition(END)[2]


def main() -> None:
    """Write the page's table anew."""
    PAGE.write_text(replace_table(PAGE.read_text(encoding="utf-8"), render_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
