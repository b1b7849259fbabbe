"""The exact perplexity of held-out text: ghostpen beside EleutherAI's lm-evaluation-harness (loglikelihood_rolling).

    make bench     # part of it; about six minutes on 2 idle cores; appends a line to results/perplexity.jsonl

Every measurement is a process of its own, and the two sides take turns. Equal for both: the model (a tiny gpt-oss
with gpt-oss's real vocabulary), float32, the text (pieces of Emma that fit into one window, because the harness puts
the last token in front of a document's further windows where we put <|startoftext|>), windows in a batch, threads.
Measured: seconds for all pieces without loading; VmHWM, the most memory that the process has held, and how much that
is above what it held before the first window; nats, which must be the same. The more windows in a batch, the more
the harness takes for its logits: 8 is in favour of neither.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from materials import BOOKS, ROOT, VOCABULARY, build_default_materials
from peers import read_cpu
from processes import RESULT, append_line, install_peer, read_status_bytes, run_side, summarise_ratios

BUILD = ROOT / "build/peers"
RESULTS = Path(__file__).parent / "results/perplexity.jsonl"
SIDES = ("ours", "lm-eval")
WINDOW = 512
BATCH_SIZE = 8
PIECES = 60
PIECES_FILE = "pieces.json"
HARNESS = {
    "lm-eval==0.4.13": "5daaa1973bf874005f64f28d3834b875f6886f0d6475878e6a6c821994a5286a",
    "zstandard==0.25.0": "9300d02ea7c6506f00e627e287e0492a5eb0371ec1670ae852fefffa6164b072",
}


def cut_pieces(count: int, *, size_bytes: int = 1_500) -> list[str]:
    """Cut pieces of whole paragraphs from Emma, each of one window at most."""
    with zipfile.ZipFile(BOOKS) as opened:
        paragraphs = opened.read("emma.txt").decode().split("\n\n")[10:]
    pieces, piece = [], ""
    for paragraph in paragraphs:
        piece += paragraph + "\n\n"
        if len(piece) >= size_bytes:
            pieces += [piece.strip()] if len(piece) < 1.2 * size_bytes else []
            piece = ""
    return pieces[:count]


def score_with_ours(base: Path, pieces: Sequence[str]) -> dict[str, Any]:
    """Score as `ghostpen test` does."""
    from ghostpen.config import ModelConfig
    from ghostpen.data.sections import Section
    from ghostpen.model.loading import load_base
    from ghostpen.training.perplexity import score_sections

    config = ModelConfig(name=str(base), precision="float32", require_gpu=False)
    loaded = load_base(config, max_length=WINDOW)
    sections = [Section(text, "Jane Austen", "emma", number, False, False) for number, text in enumerate(pieces)]
    before, began_s = read_status_bytes("VmHWM"), time.perf_counter()
    scores = score_sections(
        loaded.model, loaded.tokenizer, sections, window=WINDOW, stride=WINDOW, batch_size=BATCH_SIZE
    )
    return _describe(began_s, before, [score.loss_nats for score in scores], sum(score.tokens for score in scores))


def score_with_harness(base: Path, pieces: Sequence[str]) -> dict[str, Any]:
    """Score with loglikelihood_rolling, at its defaults for a CPU."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(base), device="cpu", dtype="float32", batch_size=BATCH_SIZE, max_length=WINDOW)
    requests = [Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(pieces)]
    before, began_s = read_status_bytes("VmHWM"), time.perf_counter()
    found = lm.loglikelihood_rolling(requests, disable_tqdm=True)
    return _describe(began_s, before, [-nats for nats in found], sum(len(lm.tok_encode(text)) for text in pieces))


def _describe(began_s: float, before: int, nats: Sequence[float], tokens: int) -> dict[str, Any]:
    seconds = time.perf_counter() - began_s
    peak = read_status_bytes("VmHWM")
    return {"seconds": seconds, "peak_bytes": peak, "before_bytes": before, "nats": list(nats), "tokens": tokens}


def run_one(side: str, *, base: Path, pieces: Sequence[str], harness: Path, out: Path) -> dict[str, Any]:
    """Measure one side in a process of its own.

    Raises:
        SystemExit: it failed or took too long; its output is beside the result.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / PIECES_FILE).write_text(json.dumps(list(pieces)), encoding="utf-8")
    command = [__file__, "--side", side, str(base)]
    return run_side(side, command, out=out, peer=harness if side == "lm-eval" else None) | {"side": side}


def measure(*, base: Path, pieces: Sequence[str], pairs: int, harness: Path, folder: Path) -> list[dict[str, Any]]:
    """Measure both sides in turns."""
    results = []
    for pair in range(pairs):
        for side in SIDES if pair % 2 == 0 else SIDES[::-1]:
            print(f"pair {pair + 1} of {pairs}: {side}", file=sys.stderr)
            results.append(
                run_one(side, base=base, pieces=pieces, harness=harness, out=folder / f"perplexity/{pair}-{side}")
            )
    return results


def summarise(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make the medians over the pairs a line of the results file."""
    ours, theirs = ([result for result in results if result["side"] == side] for side in SIDES)
    speed = [peer["seconds"] / one["seconds"] for one, peer in zip(ours, theirs, strict=True)]
    memory = [one["peak_bytes"] / peer["peak_bytes"] for one, peer in zip(ours, theirs, strict=True)]
    scoring = [
        (one["peak_bytes"] - one["before_bytes"]) / (peer["peak_bytes"] - peer["before_bytes"])
        for one, peer in zip(ours, theirs, strict=True)
    ]
    apart = max(abs(one - peer) for one, peer in zip(ours[0]["nats"], theirs[0]["nats"], strict=True))
    return {
        "date": datetime.date.today().isoformat(),
        "peer": next(iter(HARNESS)),
        "speed_ours_over_peer": summarise_ratios(speed),
        "peak_ours_over_peer": summarise_ratios(memory),
        "peak_of_scoring_ours_over_peer": summarise_ratios(scoring),
        "largest_difference_of_a_piece_nats": apart,
        "sides": {
            side: {
                "nats_per_token": sum(found[0]["nats"]) / found[0]["tokens"],
                "tokens": found[0]["tokens"],
                "tokens_per_s": round(statistics.median(one["tokens"] / one["seconds"] for one in found), 1),
                "peak_mib": round(statistics.median(one["peak_bytes"] for one in found) / 2**20),
            }
            for side, found in zip(SIDES, (ours, theirs), strict=True)
        },
        "setting": {"window": WINDOW, "batch_size": BATCH_SIZE, "vocabulary": VOCABULARY, "pairs": len(ours)},
        "cpu": read_cpu(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


def render_line(line: Mapping[str, Any]) -> str:
    """Render a line of the results file for a terminal."""
    speed, peak, scoring = (
        "x{median} [{lowest}, {highest}]".format(**line[name])
        for name in ("speed_ours_over_peer", "peak_ours_over_peer", "peak_of_scoring_ours_over_peer")
    )
    return (
        f"exact perplexity, ours / {line['peer']}: speed {speed}, peak {peak}, of scoring alone {scoring}; "
        f"at most {line['largest_difference_of_a_piece_nats']:.1e} nats apart in a piece"
    )


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--no-record", action="store_true", help="print only; append nothing")
    parser.add_argument("--side", nargs=2, metavar=("SIDE", "BASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side, base = options.side
        score = score_with_ours if side == "ours" else score_with_harness
        pieces = json.loads(Path(PIECES_FILE).read_text(encoding="utf-8"))
        Path(RESULT).write_text(json.dumps(score(Path(base), pieces)), encoding="utf-8")
        return
    materials = build_default_materials(BUILD)
    results = measure(
        base=materials / "base",
        pieces=cut_pieces(PIECES),
        pairs=options.pairs,
        harness=install_peer(BUILD, HARNESS),
        folder=BUILD / "runs",
    )
    line = summarise(results)
    print(render_line(line))
    if not options.no_record:
        append_line(line, RESULTS)


if __name__ == "__main__":
    main()
