"""What `ghostpen brief` writes, in which order, and how it goes on; the model is a function here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ghostpen.data.briefing import Briefed, Writer, make_writer, write_pairs
from ghostpen.data.instructions import ASK_BRIEF
from ghostpen.data.pairs import load_pairs
from ghostpen.data.passages import plan_passages
from ghostpen.data.sections import Section
from ghostpen.errors import DataError, Interrupted

PARAGRAPHS = [" ".join(f"p{i}w{j}" for j in range(80)) + "." for i in range(10)]


@pytest.fixture
def sections(make_section: Callable[..., Section]) -> list[Section]:
    halves = ("\n\n".join(PARAGRAPHS[:5]), "\n\n".join(PARAGRAPHS[5:]))
    return [
        make_section(halves[0], ends_document=False),
        make_section(halves[1], section=1, starts_document=False),
    ]


class Model:
    """Answer with the number of the request's paragraph and the seed, or as `answers` says for the n-th request."""

    def __init__(self, answers: dict[int, str] | None = None, *, interrupt_at: int | None = None) -> None:
        self.answers, self.interrupt_at = answers or {}, interrupt_at
        self.requests: list[str] = []

    def __call__(self, request: str, *, max_words: int, seed: int) -> str:
        if self.interrupt_at == len(self.requests):
            raise KeyboardInterrupt
        self.requests.append(request)
        paragraph = next(i for i, text in enumerate(PARAGRAPHS) if text in request)
        return self.answers.get(paragraph, f"Number {paragraph} with\nseed {seed}. And no")


def brief(folder: Path, sections: list[Section], model: Writer, **changes: Any) -> Briefed:
    settings: dict[str, Any] = {"base": "tiny", "share": 0.5, "max_words": 100, "seed": 3} | changes
    return write_pairs(folder, "brief", "train", sections, write=model, **settings)


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "briefs.jsonl").read_text(encoding="utf-8").splitlines()]


def test_briefs_cover_the_share_in_the_seeds_order_and_are_whole_sentences(
    tmp_path: Path, sections: list[Section]
) -> None:
    model = Model()
    done = brief(tmp_path, sections, model)
    assert (done.lines, done.new, done.share, done.left_out) == (5, 5, 0.5, {})  # of 10 paragraphs
    order = plan_passages(sections, max_words=100, seed=3)
    rows = read_rows(tmp_path)
    assert [row["completion"] for row in rows] == [passage.read(sections) for passage in order[:5]]
    assert model.requests == [ASK_BRIEF.format(passage=row["completion"]) for row in rows]
    for row, passage in zip(rows, order, strict=False):
        number = PARAGRAPHS.index(row["completion"])
        assert row["prompt"].startswith(f"Number {number} with seed ")
        assert row["prompt"].endswith(".")  # "And no" is no sentence
        assert (row["document"], row["section"]) == ("emma", passage.section_index)
        assert (row["base"], row["seed"]) == ("tiny", 3)
    assert len(load_pairs(tmp_path, "brief", "train", sections).pairs) == 5


def test_briefs_that_quote_or_are_empty_are_left_out_counted_and_made_up_for(
    tmp_path: Path, sections: list[Section]
) -> None:
    order = [PARAGRAPHS.index(p.read(sections)) for p in plan_passages(sections, max_words=100, seed=3)]
    quoting = " ".join(PARAGRAPHS[order[0]].split()[10:18])
    done = brief(tmp_path, sections, Model({order[0]: f"It says {quoting}.", order[2]: " "}))
    assert (done.lines, done.left_out) == (5, {"quotes the passage": 1, "empty": 1})
    assert [PARAGRAPHS.index(row["completion"]) for row in read_rows(tmp_path)] == [
        order[1], order[3], order[4], order[5], order[6],
    ]  # fmt: skip
    assert done.describe() == (
        f"{tmp_path}/briefs.jsonl: 5 lines, 5 of them new, 1 left out (empty), 1 left out (quotes the passage); "
        "0.50 of the text"
    )


@pytest.mark.parametrize("interrupt_at", [0, 1, 3])
@pytest.mark.parametrize("torn", [b"", b'{"prompt": "torn'])
def test_briefs_interrupted_go_on_to_what_an_undisturbed_run_writes(
    tmp_path: Path, sections: list[Section], interrupt_at: int, torn: bytes
) -> None:
    order = [PARAGRAPHS.index(p.read(sections)) for p in plan_passages(sections, max_words=100, seed=3)]
    answers = {order[1]: ""}
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    straight.mkdir()
    broken.mkdir()
    brief(straight, sections, Model(answers))
    with pytest.raises(Interrupted, match=r"briefs\.jsonl has \d lines; the same command goes on"):
        brief(broken, sections, Model(answers, interrupt_at=interrupt_at))
    with (broken / "briefs.jsonl").open("ab") as file:
        file.write(torn)
    done = brief(broken, sections, Model(answers))
    assert done.lines == 5
    assert (broken / "briefs.jsonl").read_bytes() == (straight / "briefs.jsonl").read_bytes()


def test_briefs_again_with_the_same_share_asks_nothing_and_a_larger_one_adds(
    tmp_path: Path, sections: list[Section]
) -> None:
    brief(tmp_path, sections, Model())
    before = (tmp_path / "briefs.jsonl").read_bytes()
    again = Model()
    assert (brief(tmp_path, sections, again).new, again.requests) == (0, [])
    assert (tmp_path / "briefs.jsonl").read_bytes() == before
    assert brief(tmp_path, sections, Model(), share=1.0).new == 5
    assert (tmp_path / "briefs.jsonl").read_bytes().startswith(before)


@pytest.mark.parametrize("changes", [{"seed": 4}, {"base": "other"}, {"max_words": 170}])
def test_briefs_of_other_settings_or_a_persons_own_are_not_added_to(
    tmp_path: Path, sections: list[Section], changes: dict[str, Any]
) -> None:
    brief(tmp_path, sections, Model())
    before = (tmp_path / "briefs.jsonl").read_bytes()
    with pytest.raises(DataError, match=r"briefs\.jsonl:1: is no line of this command.*move the file away"):
        brief(tmp_path, sections, Model(), **changes)
    assert (tmp_path / "briefs.jsonl").read_bytes() == before
    own = {"prompt": "My own.", "completion": PARAGRAPHS[0]}
    (tmp_path / "briefs.jsonl").write_text(json.dumps(own) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"briefs\.jsonl:1: is no line of this command"):
        brief(tmp_path, sections, Model())


def test_rewrites_keep_paragraphs_and_leave_out_what_copies(tmp_path: Path, sections: list[Section]) -> None:
    copied = " ".join(PARAGRAPHS[0].split()[:13])
    model = Model({0: f"He said: {copied}.", 1: "In plain words.\n\nAnd more."})
    done = write_pairs(
        tmp_path, "rewrite", "train", sections, write=model, base="tiny", share=1.0, max_words=100, seed=0
    )
    rows = [json.loads(line) for line in done.path.read_text(encoding="utf-8").splitlines()]
    assert (done.path.name, done.lines, done.left_out) == ("rewrites.jsonl", 9, {"quotes the passage": 1})
    (row,) = (row for row in rows if row["completion"] == PARAGRAPHS[1])
    assert row["prompt"] == "In plain words.\n\nAnd more."


def test_rewrites_begin_at_the_other_end_so_that_they_meet_no_brief(tmp_path: Path, sections: list[Section]) -> None:
    brief(tmp_path, sections, Model())
    done = write_pairs(
        tmp_path, "rewrite", "train", sections, write=Model(), base="tiny", share=0.5, max_words=100, seed=3
    )
    rewritten = {json.loads(line)["completion"] for line in done.path.read_text(encoding="utf-8").splitlines()}
    assert len(rewritten) == 5
    assert rewritten & {row["completion"] for row in read_rows(tmp_path)} == set()


def test_progress_rises_to_one(tmp_path: Path, sections: list[Section]) -> None:
    told: list[float] = []
    brief(tmp_path, sections, Model(), on_progress=told.append)
    assert told == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_model_is_asked_in_a_chat_and_the_seed_decides(tiny_model: Any, tokenizer: Any) -> None:
    write = make_writer(tiny_model, tokenizer)
    first, again, other = (write("Say it.", max_words=5, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first.split()) <= 5
