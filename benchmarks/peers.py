"""Training a LoRA on the CPU: ghostpen beside its peers, on a tiny gpt-oss with the real vocabulary and ragged texts.

    .venv/bin/python benchmarks/peers.py     # twenty minutes on 2 idle cores; appends a line to results/peers.jsonl

Every side is a process of its own (sides.py), and the repetitions are interleaved. Equal for all: base model, windows
of text, batch size, LoRA (rank, alpha, targets, the same first A), steps, highest learning rate, schedule, one epoch.
All else is each side's default:
    ours          Unsloth's CPU backend, our kernels and loss, bfloat16 where the CPU has it, steps of like length
    transformers  Trainer + PEFT: float32, eager attention, grouped_mm experts, full logits, random order
    trl           TRL 1.14.2, SFTTrainer (1.15 cannot run on a CPU): bfloat16, gradient checkpointing, chunked loss of
                  256 tokens, random order, the router's balance loss (coefficient 0.9, from the model) trained too
    trl-nll       the same with loss_type="nll": full logits

Measured: tokens that count, per second, after the first step (padding is not counted); VmHWM, the most memory the
process has held, and how much that is above what it was before the first step; perplexity on unseen text, of every
side's adapter by one measure, beside what the side itself says. The first repetition has seed 0, the next 1, ...
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import ROOT, VOCABULARY, build_default_materials
from processes import append_line, install_peer, run_side, summarise_ratios

BUILD = ROOT / "build/peers"
RESULTS = Path(__file__).parent / "results/peers.jsonl"
SIDES = ("ours", "transformers", "trl", "trl-nll")
TRL = {"trl==1.14.2": "bd97adb0284f2520ae8c5ebf243e2e4b3cbe50f09cb5964547e38dfc1d37694e"}
SETTING = {"batch_size": 8, "sequence_length": 256, "rank": 16, "learning_rate": 4e-3, "warmup_steps": 1}


def run_job(job: Mapping[str, Any], *, trl: Path) -> dict[str, Any]:
    """Run sides.py in a new process, and read what it wrote.

    Raises:
        SystemExit: it failed or took too long; its output is beside the result.
    """
    side = job["side"]
    command = [str(Path(__file__).with_name("sides.py")), json.dumps(job)]
    return run_side(side, command, out=Path(job["out"]), peer=trl if side.startswith("trl") else None)


def measure(*, steps: int, repetitions: int, sides: Sequence[str]) -> list[dict[str, Any]]:
    """Run all sides, interleaved, and score their adapters; one result a side and repetition."""
    materials = build_default_materials(BUILD)
    trl = install_peer(BUILD, TRL)
    shared = SETTING | {"materials": str(materials), "steps": steps}
    results = []
    for repetition in range(repetitions):
        for side in sides if repetition % 2 == 0 else sides[::-1]:
            print(f"repetition {repetition + 1} of {repetitions}: {side}", file=sys.stderr)
            out = BUILD / f"runs/{repetition}-{side}"
            results.append(run_job(shared | {"side": side, "out": str(out), "seed": repetition}, trl=trl))
            results[-1]["adapter"] = str(out / "adapter")
    adapters = [result["adapter"] for result in results]
    scored = run_job(shared | {"side": "score", "out": str(BUILD / "runs/score"), "adapters": adapters}, trl=trl)[
        "perplexity"
    ]
    for result in results:
        result["perplexity"], result["base_perplexity"] = scored[result["adapter"]], scored["base"]
    return results


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the medians of the repetitions a line of the results file; the peer of the ratios is the fastest one."""
    sides = list(dict.fromkeys(result["side"] for result in results))
    table = {side: _summarise_side([r for r in results if r["side"] == side]) for side in sides}
    ratios = {
        peer: {
            "tokens_per_s": round(table["ours"]["tokens_per_s"] / table[peer]["tokens_per_s"], 2),
            "tokens_per_s_in_pairs": _compare_pairs(results, peer),
            "peak": round(table["ours"]["peak_mib"] / table[peer]["peak_mib"], 2),
            "peak_of_training": round(table["ours"]["training_mib"] / table[peer]["training_mib"], 2),
            "perplexity": round(table["ours"]["perplexity"] / table[peer]["perplexity"], 4),
        }
        for peer in sides
        if peer != "ours"
    }
    return {
        "date": datetime.date.today().isoformat(),
        "fastest_peer": max(ratios, key=lambda peer: table[peer]["tokens_per_s"]),
        "ours_over_peer": ratios,
        "sides": table,
        "base_perplexity": round(results[0]["base_perplexity"], 2),
        "same_first_lora": len({r["fresh_lora_a_sha256"] for r in results}) == len({r["seed"] for r in results}),
        "setting": SETTING | {"vocabulary": VOCABULARY, "steps": results[0]["steps"], "rows": results[0]["rows"]},
        "versions": {side: next(r["versions"] for r in results if r["side"] == side) for side in sides},
        "threads": results[0]["threads"],
        "cpu": read_cpu(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def _compare_pairs(results: Sequence[Mapping[str, Any]], peer: str) -> dict[str, float]:
    """Compare the speeds of each repetition, whose sides ran one after the other."""
    ours, theirs = ([one["tokens_per_s"] for one in results if one["side"] == side] for side in ("ours", peer))
    return summarise_ratios([own / other for own, other in zip(ours, theirs, strict=True)])


def _summarise_side(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    speeds = [result["tokens_per_s"] for result in results]
    own = results[0]["own_evaluation"]
    return {
        "tokens_per_s": round(statistics.median(speeds), 1),
        "tokens_per_s_each": [round(speed, 1) for speed in speeds],
        "peak_mib": round(statistics.median(result["peak_bytes"] for result in results) / 2**20),
        "training_mib": round(
            statistics.median(result["peak_bytes"] - result["before_training_bytes"] for result in results) / 2**20
        ),
        "padding_percent": round(100 * (1 - sum(results[0]["tokens"]) / _count_predicted(results[0])), 1),
        "perplexity": round(statistics.mean(result["perplexity"] for result in results), 3),
        "perplexity_each": [round(result["perplexity"], 3) for result in results],
        # Of the first repetition: what a user of this side would take for the perplexity.
        "own_perplexity": round(own["perplexity"] if "perplexity" in own else math.exp(own["eval_loss"]), 3),
    }


def _count_predicted(result: Mapping[str, Any]) -> int:
    """Count positions that could hold a token to predict: all but the first of each row."""
    return sum(result["positions"]) - result["rows"]


def read_cpu() -> str:
    """Name the machine's processors."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.machine()


def render_table(line: Mapping[str, Any]) -> str:
    """Render a line of the results file for a terminal."""
    rows = [f"{'':14}{'tokens/s':>10}{'peak MiB':>10}{'training':>10}{'padding':>9}{'perplexity':>12}{'its own':>12}"]
    rows += [
        f"{side:14}{one['tokens_per_s']:>10}{one['peak_mib']:>10}{one['training_mib']:>10}"
        f"{one['padding_percent']:>8}%{one['perplexity']:>12}{one['own_perplexity']:>12}"
        for side, one in line["sides"].items()
    ]
    rows += [
        f"ours / {peer}: tokens/s x{one['tokens_per_s']} [{{lowest}}, {{highest}}], ".format(
            **one["tokens_per_s_in_pairs"]
        )
        + f"peak x{one['peak']}, of training alone "
        f"x{one['peak_of_training']}, perplexity x{one['perplexity']}"
        for peer, one in line["ours_over_peer"].items()
    ]
    return "\n".join([*rows, f"before training: perplexity {line['base_perplexity']}"])


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=8, help="optimiser steps; 8 are one epoch")
    parser.add_argument("--repetitions", type=int, default=5, help="of every side")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES, help="ours must be among them")
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    options = parser.parse_args()
    if "ours" not in options.sides or len(set(options.sides)) < 2:
        parser.error("--sides: name ours and at least one peer")
    line = summarise(measure(steps=options.steps, repetitions=options.repetitions, sides=options.sides))
    print(render_table(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
