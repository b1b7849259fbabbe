"""Measure how much text a style needs: the last table of docs/style.md, two authors at several sizes.

    .venv/bin/python -m tools.style_curve build/style-curve    # two to three hours on two cores; goes on where it was

Each size is a preparation, two trainings and a test by `ghostpen` itself with configs/tiny.toml. Only the training
texts are shortened, the control's like the author's: from each work the same share, from its beginning on, in whole
sentences. Validation and test texts are always whole, and what was written is judged beside all texts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ghostpen.data.counting import load_token_counter
from ghostpen.evaluation.measures import measure_style
from ghostpen.evaluation.texts import Texts
from ghostpen.evaluation.written import read_written

ROOT = Path(__file__).parents[1]
TEXTS = ROOT / "src/ghostpen/assets/texts"
SIZES = (10_000, 50_000, 200_000, None)  # tokens to train on; None is all
STEP_TOKENS = 16 * 512  # of configs/tiny.toml
MOST_PASSES = 12  # over a short text; the adapter with the lowest validation perplexity is kept anyway
FEWEST_STEPS, MOST_STEPS = 24, 160
MEASUREMENTS = 6
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Author:
    """One author's works by split, and the others', by their places in the sample texts."""

    name: str
    full_name: str
    works: Mapping[str, Mapping[str, str]]  # split -> work -> text
    others: Mapping[str, Mapping[str, str]]  # split -> AUTHOR/WORK -> text


def load_authors() -> list[Author]:
    """Return Austen, as the demo has her, and Twain, the largest author that the embedded base model never saw."""
    novels = {Path(name).stem: text for name, text in _read_zip("austen.zip")}
    splits = {"val": ("persuasion",), "test": ("emma",)}
    splits["train"] = tuple(sorted(novels.keys() - {"persuasion", "emma"}))
    others: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for name, text in _read_zip("contrast.zip"):
        split, work = name.split("/", 1)
        others[split][work] = text
    twain = {Path(work).stem: text for work, text in others["train"].items() if work.startswith("twain/")}
    held_out = {"val": ("the-american-claimant",), "test": ("a-connecticut-yankee",)}
    held_out["train"] = tuple(sorted(twain.keys() - {"the-american-claimant", "a-connecticut-yankee"}))
    without = {
        split: {k: v for k, v in works.items() if not k.startswith("twain/")} for split, works in others.items()
    }
    return [
        Author("austen", "Jane Austen", {s: {w: novels[w] for w in splits[s]} for s in SPLITS}, others),
        Author("twain", "Mark Twain", {s: {w: twain[w] for w in held_out[s]} for s in SPLITS}, without),
    ]


def _read_zip(name: str) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(TEXTS / name) as opened:
        for member in opened.namelist():
            if member.endswith(".txt"):
                yield member, opened.read(member).decode()


def shorten(works: Mapping[str, str], tokens: int | None) -> dict[str, str]:
    """Return the same share of every work, about `tokens` together, from its beginning to the end of a sentence."""
    if tokens is None:
        return dict(works)
    share = tokens / sum(load_token_counter().count(list(works.values())))
    return {work: _cut(text, int(len(text) * share)) for work, text in works.items()}


def _cut(text: str, length: int) -> str:
    return text[: text.rfind(". ", 0, length) + 1]


def write_texts(author: Author, tokens: int | None, folder: Path) -> None:
    """Write the texts of one size as `ghostpen prepare` takes them."""
    own = shorten(author.works["train"], tokens)
    others = shorten(author.others["train"], tokens)
    files = {f"author/{work}.txt": text for work, text in own.items()}
    files |= {f"author/{work}.txt": text for split in ("val", "test") for work, text in author.works[split].items()}
    files |= {f"contrast/train/{work}": text for work, text in others.items()}
    files |= {
        f"contrast/{split}/{work}": text for split in ("val", "test") for work, text in author.others[split].items()
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run_size(author: Author, tokens: int | None, folder: Path, verbs: frozenset[str]) -> None:
    """Prepare, train, train the control, and test; each verb says "nothing to do" where its result stands."""
    write_texts(author, tokens, folder / "texts")
    data = folder / "data"
    held_out = (item for split in ("val", "test") for item in (f"--{split}-docs", *author.works[split]))
    _run("prepare", str(folder / "texts/author"), "--author", author.full_name, "--contrast",
         str(folder / "texts/contrast"), *held_out, "--out", str(data))  # fmt: skip
    kept = json.loads((data / "manifest.json").read_text())["splits"]["train"]["tokens"]
    steps = min(MOST_STEPS, max(FEWEST_STEPS, -(-MOST_PASSES * kept // STEP_TOKENS)))
    settings = {
        "name": author.name,
        "data.dir": data,
        "output.dir": folder / "runs",
        "train.max_steps": steps,
        "train.eval_every": max(1, steps // MEASUREMENTS),
        "train.checkpoint_every": max(1, steps // MEASUREMENTS),
        "tracking.tracker": "none",
    }
    common = ["--config", "configs/tiny.toml", *(f"--set={key}={value}" for key, value in settings.items())]
    if "train" in verbs:
        _run("train", "--resume", *common)
        _run("train", "--control", "--resume", *common)
    if "test" in verbs:
        _run("test", *common)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ghostpen", *arguments], cwd=ROOT, check=True)


def judge(author: Author, run: Path, data: Path) -> Mapping[str, object]:
    """Measure a run's texts beside all of the author's texts in `data`: one judge for every size."""
    texts = Texts.load(data, contrast=data)
    written = read_written(run / "written.jsonl")
    return measure_style(written, texts=texts, author=author.full_name, scores={}) or {}


def render_row(author: Author, report: Mapping[str, dict], style: Mapping[str, object]) -> str:
    """Write one line of the table; a dash stands where a measure refused."""
    specificity, copying = report["specificity"], report["copying"]
    bits = report["author_test"]["models"]
    cells = [
        author.full_name,
        *(f"{bits[model]['bits_per_byte']:.3f}" for model in ("base", "control", "author")),
        *(f"{specificity[key]['estimate']:+.3f}" for key in ("g_a", "g_o", "s")),
        _find(report, "contrast", "auc", "estimate", form="{:.3f}"),
        _find(style, "verifier", "models", "author", "continuations", "accepted", form="{:.0%}"),
        _find(style, "verifier", "models", "author", "topics", "accepted", form="{:.0%}"),
        _find(style, "delta", "models", "author", "own", form="{:.2f}"),
        _find(style, "c2st", "models", "author", "auc", form="{:.2f}"),
        str(copying["training"]["longest"]["words"]),
        f"{copying['training']['coverage_8']:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def _find(value: object, *keys: str, form: str) -> str:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return "-"
        value = value[key]
    return form.format(value) if isinstance(value, float) else "-"


def main() -> None:
    """Go through authors and sizes: all, or the authors and verbs that are named after the folder."""
    folder, named = Path(sys.argv[1]).resolve(), frozenset(sys.argv[2:])
    verbs = named & {"train", "test"} or frozenset({"train", "test"})
    authors = {author.name: author for author in load_authors()}
    for name in sorted(named & authors.keys() or authors):
        author = authors[name]
        available = sum(load_token_counter().count(list(author.works["train"].values())))
        for tokens in SIZES:
            if tokens is not None and tokens >= available:
                continue
            size = folder / author.name / ("all" if tokens is None else str(tokens))
            run_size(author, tokens, size, verbs)
            run = size / "runs" / author.name
            if (run / "report.json").exists():
                report = json.loads((run / "report.json").read_text())
                style = judge(author, run, folder / author.name / "all/data")
                print(tokens or available, render_row(author, report, style), flush=True)


if __name__ == "__main__":
    main()
