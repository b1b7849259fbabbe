import errno
import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from tests.reading import read_source, read_sources

from ghostpen.data.cleaning_pool import CleaningKilled
from ghostpen.data.manifest import list_prepared_files, load_manifest
from ghostpen.data.prepare import prepare_data
from ghostpen.data.progress import Progress, ignore_progress
from ghostpen.data.redaction import Redactor
from ghostpen.data.review import Review
from ghostpen.data.sections import AUTHOR_SPLITS, CONTRAST_SPLITS, Section, load_sections, save_sections
from ghostpen.data.sources import ReadingOptions
from ghostpen.data.terminal import render_prepared
from ghostpen.errors import DataError, Interrupted

MakeProse = Callable[[str, int], str]


@pytest.fixture
def novels(tmp_path: Path, make_prose: MakeProse) -> Path:
    folder = tmp_path / "novels"
    folder.mkdir()
    for name in ("Emma", "Persuasion", "Mansfield Park"):
        (folder / f"{name}.txt").write_text(f"CHAPTER I\n\n{make_prose(name[0], 600)}", encoding="utf-8")
    return folder


@pytest.fixture
def others(tmp_path: Path, make_prose: MakeProse) -> Path:
    folder = tmp_path / "others"
    for split, author in (("train", "hawthorne"), ("val", "irving"), ("test", "anne-bronte")):
        (folder / split / author).mkdir(parents=True)
        (folder / split / author / "tales.txt").write_text(make_prose(author[:2], 300), encoding="utf-8")
    return folder


def _read_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# The whole way


def test_prepare_with_contrast_writes_seven_files_that_the_manifest_describes(
    novels: Path, others: Path, tmp_path: Path
) -> None:
    prepared = prepare_data(
        [novels],
        author="Jane Austen",
        out=tmp_path / "out",
        contrast=[others],
        val_docs="persuasion",
        test_docs="Emma*",
    )
    assert set(_read_bytes(tmp_path / "out")) == {
        "manifest.json",
        *(f"{split}.jsonl" for split in AUTHOR_SPLITS + CONTRAST_SPLITS),
    }
    manifest = load_manifest(tmp_path / "out")
    assert manifest == prepared.manifest
    assert manifest.author == "Jane Austen"
    (section,) = load_sections(tmp_path / "out", "test")
    counted = manifest.splits["test"].model_dump()
    tokens = counted.pop("tokens")
    assert counted == {
        "documents": 1,
        "sections": 1,
        "words": 600,
        "size_bytes": section.size_bytes,
        "by_document": {"words": [600], "size_bytes": [section.size_bytes], "tokens": [tokens]},
    }
    assert manifest.dropped == {"headings": 3}
    documents = {split: [s.document for s in load_sections(tmp_path / "out", split)] for split in AUTHOR_SPLITS}
    assert documents == {"train": ["mansfield-park"], "val": ["persuasion"], "test": ["emma"]}
    assert load_sections(tmp_path / "out", "contrast_test")[0].author == "anne-bronte"


def test_prepare_rows_are_the_documented_columns(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out", test_docs="emma", val_docs="persuasion")
    (line,) = (tmp_path / "out" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert row.pop("text").startswith("E0 E1 E2")
    assert row == {
        "author": "Jane Austen",
        "document": "emma",
        "section": 0,
        "starts_document": True,
        "ends_document": True,
    }


def test_prepare_same_inputs_give_the_same_bytes_even_in_another_process(
    novels: Path, others: Path, tmp_path: Path
) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "a", contrast=[others], seed=3)
    # Another process hashes words differently (PYTHONHASHSEED), which the n-gram guard must not show.
    code = (
        "import sys; from ghostpen.data.prepare import prepare_data; "
        "prepare_data([sys.argv[1]], author='Jane Austen', out=sys.argv[3], contrast=[sys.argv[2]], seed=3)"
    )
    command = [sys.executable, "-c", code, str(novels), str(others), str(tmp_path / "b")]
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7"}
    subprocess.run(command, check=True, env=environment, timeout=60)
    assert _read_bytes(tmp_path / "a") == _read_bytes(tmp_path / "b")


def test_prepare_crlf_bom_and_trailing_blanks_give_the_same_data(novels: Path, tmp_path: Path) -> None:
    first = prepare_data([novels], author="Jane Austen", out=tmp_path / "a")
    for path in novels.iterdir():
        noisy = path.read_bytes().replace(b"\n\n", b"\n \n\n").replace(b"\n", b"  \r\n")
        path.write_bytes(b"\xef\xbb\xbf" + noisy)
    second = prepare_data([novels], author="Jane Austen", out=tmp_path / "b")
    assert first.manifest.data_sha256 == second.manifest.data_sha256
    assert first.manifest.inputs != second.manifest.inputs


def test_prepare_manifest_holds_neither_paths_nor_text(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    text = (tmp_path / "out" / "manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert "E10" not in text


def test_prepare_data_hash_is_worked_out_over_the_files(novels: Path, tmp_path: Path) -> None:
    manifest = prepare_data([novels], author="Jane Austen", out=tmp_path / "out").manifest
    lines = [
        f"{split} {hashlib.sha256((tmp_path / 'out' / f'{split}.jsonl').read_bytes()).hexdigest()}\n"
        for split in AUTHOR_SPLITS
    ]
    assert manifest.data_sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_prepare_passage_of_a_held_out_document_is_taken_out_of_both_train_splits(
    novels: Path, others: Path, tmp_path: Path
) -> None:
    quoted = " ".join(f"E{i}" for i in range(20))
    for path in (novels / "Mansfield Park.txt", others / "train" / "hawthorne" / "tales.txt"):
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\nHe said: {quoted}.\n", encoding="utf-8")
    manifest = prepare_data(
        [novels],
        author="Jane Austen",
        out=tmp_path / "out",
        contrast=[others],
        val_docs="pers*",
        test_docs="emma",
    ).manifest
    assert manifest.dropped["shared_paragraphs"] == 2
    for split in ("train", "contrast_train"):
        assert "E10" not in (tmp_path / "out" / f"{split}.jsonl").read_text(encoding="utf-8")


def test_prepare_section_that_is_in_train_and_test_stays_in_test(novels: Path, tmp_path: Path) -> None:
    copy = (novels / "Emma.txt").read_text(encoding="utf-8").replace("CHAPTER I", "CHAPTER II")
    train = novels / "Mansfield Park.txt"
    train.write_text(f"{train.read_text(encoding='utf-8')}\n{copy}", encoding="utf-8")
    prepared = prepare_data([novels], author="A", out=tmp_path / "out", val_docs="persuasion", test_docs="emma")
    assert prepared.manifest.dropped["duplicate_sections"] == 1
    assert prepared.manifest.splits["test"].words == 600
    assert prepared.manifest.splits["train"].words == 600


def test_prepare_single_file_is_flagged_as_divided(tmp_path: Path, make_prose: MakeProse) -> None:
    (tmp_path / "diary.txt").write_text(make_prose("w", 8000), encoding="utf-8")
    manifest = prepare_data([tmp_path / "diary.txt"], author="Me", out=tmp_path / "out").manifest
    assert manifest.within_document
    assert manifest.splits["train"].words == 4800


def test_prepare_two_documents_of_which_one_is_divided_are_not_called_one(
    tmp_path: Path, make_prose: MakeProse
) -> None:
    for name, words in (("diary", 8000), ("note", 100)):
        (tmp_path / f"{name}.txt").write_text(make_prose(name, words), encoding="utf-8")
    prepared = prepare_data([tmp_path], author="Me", out=tmp_path / "out")
    assert [counts.documents for counts in prepared.manifest.splits.values()] == [2, 1, 1]
    caption = render_prepared(prepared).caption
    assert (
        caption
        == "too few documents: chapters of the longest are held out, which is an easier test than a whole work"
    )


# The folder


def test_prepare_again_with_the_same_inputs_does_nothing(novels: Path, tmp_path: Path) -> None:
    first = prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    assert (first.already_there, again.already_there) == (False, True)
    assert again.manifest == first.manifest
    assert times == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_prepared_files_are_pushed_with_briefs_and_rewrites_and_nothing_else(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    for name in ("briefs.jsonl", "rewrites.jsonl", "notes.txt"):
        (tmp_path / "out" / name).write_text("{}\n", encoding="utf-8")
    assert set(list_prepared_files(tmp_path / "out")) == {
        "manifest.json", "train.jsonl", "val.jsonl", "test.jsonl", "briefs.jsonl", "rewrites.jsonl",
    }  # fmt: skip
    again = prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    assert again.already_there


def test_prepare_into_an_empty_folder_is_fine(novels: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    assert (tmp_path / "out" / "train.jsonl").is_file()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / "manifest.json").unlink(), "holds files that ghostpen didn't write"),
        (
            lambda out: (out / "manifest.json").write_text("{}"),
            "manifest.json: format_version: Field required",
        ),
        (lambda out: (out / "val.jsonl").write_text(""), "were changed after they were prepared"),
    ],
)
def test_prepare_into_a_folder_that_holds_something_else_is_refused_and_it_stays(
    novels: Path, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    spoil(tmp_path / "out")
    before = _read_bytes(tmp_path / "out")
    with pytest.raises(DataError, match=message):
        prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    assert _read_bytes(tmp_path / "out") == before


def test_prepare_other_seed_into_the_same_folder_is_refused(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    with pytest.raises(DataError, match="holds data of other inputs"):
        prepare_data([novels], author="Jane Austen", out=tmp_path / "out", seed=1)


def test_prepare_that_fails_leaves_nothing_behind(novels: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError):
        prepare_data([novels], author="Jane Austen", out=tmp_path / "deep" / "out", test_docs="nothing*")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be written"):
        prepare_data([novels], author="Jane Austen", out=tmp_path / "file" / "out")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "file"])


def test_prepare_that_is_interrupted_at_a_question_keeps_what_was_cleaned_and_goes_on(
    novels: Path, tmp_path: Path
) -> None:
    def interrupt(_: Review) -> bool:
        raise KeyboardInterrupt

    straight = prepare_data([novels], author="A", out=tmp_path / "straight")
    out = tmp_path / "out"
    with pytest.raises(Interrupted, match=r"the same command goes on from .*\.out\.ghostpen-work,"):
        prepare_data([novels], author="A", out=out, review=interrupt)
    assert list(tmp_path.glob(".out.ghostpen-work/units/*.npz"))
    assert not out.exists()
    assert prepare_data([novels], author="A", out=out).manifest == straight.manifest
    assert _read_bytes(out) == _read_bytes(tmp_path / "straight")
    assert {path.name for path in tmp_path.iterdir()} == {"novels", "out", "straight"}


def test_prepare_that_comes_to_another_end_at_a_question_leaves_no_private_text(novels: Path, tmp_path: Path) -> None:
    def fail(_: Review) -> bool:
        raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError):
        prepare_data([novels], author="A", out=tmp_path / "out", review=fail)
    assert prepare_data([novels], author="A", out=tmp_path / "out", review=lambda _: False) is None
    assert {path.name for path in tmp_path.iterdir()} == {"novels"}


@pytest.mark.parametrize("title", ["cleaning", "comparing", "writing train"])
@pytest.mark.parametrize(
    ("error", "raised", "stays"),
    [
        (KeyboardInterrupt(), Interrupted, True),
        (MemoryError(), MemoryError, True),  # another time there may be more
        (CleaningKilled("killed"), CleaningKilled, True),
        (RuntimeError("a mistake of ours"), RuntimeError, False),
        (DataError("unfit"), DataError, False),
        (OSError(errno.ENOSPC, "No space left"), DataError, False),
    ],
)
def test_prepare_keeps_cleaned_texts_after_an_error_that_the_next_run_need_not_meet_and_after_no_other(
    novels: Path, tmp_path: Path, title: str, error: BaseException, raised: type[BaseException], stays: bool
) -> None:
    @contextmanager
    def show_progress() -> Iterator[Callable[[str], Progress]]:
        yield lambda shown: fail if shown == title else ignore_progress

    def fail(_done: int, _total: int) -> None:
        raise error

    with pytest.raises(raised):
        prepare_data([novels], author="A", out=tmp_path / "out", show_progress=show_progress)
    assert len(list(tmp_path.glob(".out.ghostpen-work/units/*.npz"))) == stays
    assert {path.name for path in tmp_path.iterdir()} == {"novels"} | ({".out.ghostpen-work"} if stays else set())


def test_prepare_that_is_there_already_removes_what_a_killed_run_left_beside_it(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="A", out=tmp_path / "out")
    (tmp_path / ".out.ghostpen-work/units").mkdir(parents=True)
    assert prepare_data([novels], author="A", out=tmp_path / "out").already_there
    assert {path.name for path in tmp_path.iterdir()} == {"novels", "out"}


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"val_docs": "nothing*"},
            r"--val-docs 'nothing\*' matches no document; there are: emma, mansfield-park",
        ),
        ({"val_docs": "e*", "test_docs": "emma"}, "'emma' matches --val-docs and --test-docs"),
        ({"test_docs": "*"}, "no document is left for train and val"),
        ({"author": " - "}, "--author is empty"),
    ],
)
def test_prepare_impossible_options_are_refused(
    novels: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        prepare_data([novels], out=tmp_path / "out", **({"author": "Jane Austen"} | options))


def test_prepare_contrast_by_the_author_is_refused(novels: Path, others: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contrast texts are by other authors"):
        prepare_data([novels], author="Irving", out=tmp_path / "out", contrast=[others])


def test_prepare_text_of_headings_only_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("CHAPTER I\n\nCHAPTER II\n", encoding="utf-8")
    with pytest.raises(DataError, match="nothing is left of the author's texts"):
        prepare_data([tmp_path / "a.txt"], author="A", out=tmp_path / "out")


# Sources


def test_source_not_utf8_is_read_as_what_it_is_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\nit\x92s\n")
    source = read_source(tmp_path / "a.txt", author="A")
    assert source.documents[0].text == "one\ntwo\nit’s\n"
    assert source.repaired == {"encodings": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "no such file or folder"),
        ("letters.docx", b"x", "no Word file, although its name says so"),
        ("empty.txt", b" \n\n", "no text in it"),
        ("mark.txt", b"\xef\xbb\xbf\n", "no text in it"),
    ],
)
def test_source_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {message}"):
        read_source(tmp_path / name, author="A")


def test_source_folder_is_read_in_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b.md", "a/Ä Öl.txt", ".git/x.txt", "picture.png", "c.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n")
    source = read_source(tmp_path, author="A")
    assert [document.id for document in source.documents] == ["ä-öl", "b", "c"]
    assert (source.files_of_other_types, source.empty_files, source.size_bytes) == (1, 1, 13)


def test_source_two_files_of_one_id_are_refused_by_both_names(tmp_path: Path) -> None:
    for name in ("a/Emma.txt", "b/emma.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("text")
    with pytest.raises(DataError, match=r"emma\.md: same document id, 'emma', as .*Emma\.txt"):
        read_sources([tmp_path], author="A")
    assert len(read_sources([tmp_path], author=None)[0].documents) == 2  # two authors: a and b


def test_source_fingerprint_follows_content_and_names_not_the_place(novels: Path, tmp_path: Path) -> None:
    before = read_source(novels, author="A").sha256
    moved = novels.rename(tmp_path / "elsewhere")
    assert read_source(moved, author="A").sha256 == before
    (moved / "Emma.txt").rename(moved / "Emma2.txt")
    assert read_source(moved, author="A").sha256 != before


def test_source_embedded_that_is_not_there_says_which_are() -> None:
    with pytest.raises(DataError, match="embedded:nobody: no such embedded text; there are: "):
        read_source("embedded:nobody", author="A")


def test_source_embedded_ships_austen_and_contrast_with_splits_and_authors() -> None:
    source = read_source("embedded:contrast", author=None)
    assert {document.split for document in source.documents} == {"train", "val", "test"}
    assert len({document.author for document in source.documents}) >= 3
    assert read_source("embedded:austen", author="Jane Austen").name == "embedded:austen"


# Loading


def test_load_sections_gives_back_what_was_saved(tmp_path: Path) -> None:
    sections = [
        Section('“Yes”\u2028 \n\nno \\ "', "A", "a", 0, starts_document=True, ends_document=False),
        Section("é", "B", "b", 7, starts_document=False, ends_document=True),
    ]
    save_sections(sections, tmp_path / "val.jsonl")
    assert load_sections(tmp_path, "val") == sections


def test_saved_rows_are_read_by_datasets_with_a_text_column(novels: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    path = str(tmp_path / "out" / "train.jsonl")
    rows = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["text"] == [section.text for section in load_sections(tmp_path / "out", "train")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"val\.jsonl:2: not JSON in UTF-8"),
        ("[1]", r"val\.jsonl:2: not a section"),
        (
            '{"text": "x"}',
            r"val\.jsonl:2: not a section \(author, document, ends_document, section, starts_document miss",
        ),
    ],
)
def test_load_sections_row_that_is_not_one_names_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    save_sections([Section("x", "A", "a", 0, starts_document=True, ends_document=True)], tmp_path / "val.jsonl")
    with (tmp_path / "val.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message):
        load_sections(tmp_path, "val")


def test_load_sections_type_is_checked_strictly(tmp_path: Path) -> None:
    row = {
        "text": "x",
        "author": "A",
        "document": "a",
        "section": True,
        "starts_document": True,
        "ends_document": True,
    }
    (tmp_path / "val.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"val\.jsonl:1: not a section \(section missing"):
        load_sections(tmp_path, "val")


def test_load_what_is_not_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split is called 'dev'"):
        load_sections(tmp_path, "dev")
    with pytest.raises(DataError, match=r"contrast_val\.jsonl: no such file.*--contrast"):
        load_sections(tmp_path, "contrast_val")
    with pytest.raises(DataError, match=r"manifest\.json: no such file.*ghostpen prepare"):
        load_manifest(tmp_path)


def test_load_manifest_of_a_later_format_is_refused(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="A", out=tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(DataError, match="format_version is 2, this ghostpen reads 1"):
        load_manifest(tmp_path / "out")


def test_import_of_the_data_package_brings_no_machine_learning_in() -> None:
    code = (
        "import sys, ghostpen.data.prepare, ghostpen.data.samples; "
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'datasets', 'numpy') if m in sys.modules])"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_source_zip_reads_like_a_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("test/irving/tales.txt", "text")
        archive.writestr("readme", "no")
    source = read_source(tmp_path / "x.zip", author=None)
    (document,) = source.documents
    assert (document.author, document.split, document.text) == ("irving", "test", "text")
    assert document.origin == f"{tmp_path}/x.zip/test/irving/tales.txt"
    assert source.files_of_other_types == 1
    (tmp_path / "folder/test/irving").mkdir(parents=True)
    (tmp_path / "folder/test/irving/tales.txt").write_text("text")
    assert read_source(tmp_path / "folder", author=None).sha256 == source.sha256


# Messages, masks and files that can't be read


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    """Write three days of a chat between two people."""
    lines = [
        f"[0{day}.01.24, 1{hour}:00:00] {name}: {name} {day}x{hour} writes to {name.lower()}@example.org\n"
        for day in (1, 2, 3)
        for hour in range(4)
        for name in ("Ann", "Bob")
    ]
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats/walks.txt").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "chats/broken.pdf").write_bytes(b"%PDF-1.7")
    return tmp_path / "chats"


def test_prepare_manifest_of_messages_holds_no_name_address_or_word(chats: Path, tmp_path: Path) -> None:
    options = ReadingOptions(me=("Ann",))
    prepared = prepare_data([chats], author="Me", out=tmp_path / "out", options=options)
    text = (tmp_path / "out/manifest.json").read_text(encoding="utf-8")
    assert [word for word in ("Ann", "ann", "Bob", "example", "1x1", "walks") if word in text] == []
    assert prepared.manifest.dropped == {"messages_by_others": 12, "unread_files": 1}
    assert [file.origin for file in prepared.unread] == [f"{chats}/broken.pdf"]
    assert sum(counts.documents for counts in prepared.manifest.splits.values()) == 3


def test_prepare_masks_what_is_to_be_masked_and_counts_it(chats: Path, tmp_path: Path) -> None:
    options = ReadingOptions(me=("Ann",))
    redactor = Redactor(["Ann"])
    manifest = prepare_data([chats], author="Me", out=tmp_path / "out", options=options, redactor=redactor).manifest
    assert manifest.masked == {"emails": 12, "names": 12}
    rows = [section.text for split in AUTHOR_SPLITS for section in load_sections(tmp_path / "out", split)]
    assert "[name] 1x1 writes to [email]" in "\n\n".join(rows).split("\n\n")
    assert "example.org" not in "".join(rows)


def test_prepare_contrast_of_a_chat_is_all_but_the_author(novels: Path, chats: Path, tmp_path: Path) -> None:
    for me in ((), ("Cara",)):
        out = tmp_path / f"out{len(me)}"
        prepare_data([novels], author="Ann", out=out, contrast=[chats], options=ReadingOptions(me=me))
        rows = [section for split in CONTRAST_SPLITS for section in load_sections(out, split)]
        assert {section.author for section in rows} == {"bob"}
        assert all("Ann" not in section.text for section in rows)


def test_prepare_again_knows_the_options_that_change_the_texts(chats: Path, tmp_path: Path) -> None:
    options = ReadingOptions(me=("Ann",))
    prepare_data([chats], author="Me", out=tmp_path / "out", options=options)
    again = prepare_data([chats], author="Me", out=tmp_path / "out", options=ReadingOptions(me=("ann", "nobody")))
    assert again.already_there  # other words for the same texts
    with pytest.raises(DataError, match="holds data of other inputs"):
        prepare_data([chats], author="Me", out=tmp_path / "out", options=ReadingOptions(me=("Bob",)))
    with pytest.raises(DataError, match="holds data of other inputs"):
        prepare_data([chats], author="Me", out=tmp_path / "out", options=options, redactor=Redactor())


def test_prepare_manifest_of_plain_texts_from_before_is_still_known(novels: Path, tmp_path: Path) -> None:
    prepare_data([novels], author="Jane Austen", out=tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert manifest["inputs"].pop("texts_sha256") is None
    assert (manifest.pop("repaired"), manifest.pop("masked")) == ({}, {})
    path.write_text(json.dumps(manifest), encoding="utf-8")
    assert prepare_data([novels], author="Jane Austen", out=tmp_path / "out").already_there


# Nothing leaves the machine

REFUSE_NETWORK = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"):
        raise SystemExit(f"{event} {arguments[1:]}")
sys.addaudithook(refuse)
"""


def test_prepare_reaches_for_no_network(novels: Path, others: Path, tmp_path: Path) -> None:
    texts = Path(__file__).parents[2] / "assets"
    command = ["prepare", str(novels), str(texts / "texts/story.html"), str(texts / "exports/telegram/chat.json")]
    command += ["--author", "Ann", "--me", "Ann", "--contrast", str(others), "--out", str(tmp_path / "out")]
    code = f"{REFUSE_NETWORK}\nfrom ghostpen.cli import app\nsys.argv = {['ghostpen', *command]!r}\napp()"
    # Neither told to be offline nor with a home that holds a cache.
    environment = {"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    refused = subprocess.run(
        [sys.executable, "-c", f"{REFUSE_NETWORK}\nimport socket; socket.getaddrinfo('example.org', 80)"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (refused.returncode, "getaddrinfo" in refused.stderr) == (1, True)  # the refusal works
    assert not (tmp_path / "home").exists()


# What is the same, and what is new


def _documents(folder: Path) -> dict[str, set[str]]:
    return {split: {s.document for s in load_sections(folder, split)} for split in AUTHOR_SPLITS}


def test_prepare_copies_and_later_versions_go_and_it_says_what_for(
    novels: Path, others: Path, tmp_path: Path, make_prose: MakeProse
) -> None:
    emma = (novels / "Emma.txt").read_text(encoding="utf-8")
    (novels / "Emma copy.txt").write_text(emma.upper(), encoding="utf-8")
    (novels / "Emma 2nd edition.txt").write_text(emma.replace("E9 ", "nine "), encoding="utf-8")
    (others / "train/hawthorne/emma.txt").write_text(emma, encoding="utf-8")
    prepared = prepare_data([novels], author="A", out=tmp_path / "out", contrast=[others], test_docs="emma")
    assert prepared.manifest.dropped == {
        "duplicate_documents": 2,
        "headings": 6,
        "near_duplicate_documents": 1,
    }
    rows = [json.loads(line) for line in (tmp_path / "out/duplicates.jsonl").read_text().splitlines()]
    # Of 600 words, 596 5-grams; one word that differs takes 5 of them: 591 of 601 are shared.
    assert [(row["document"], row["kept"], round(row["jaccard"], 3), row["exact"]) for row in rows] == [
        ("A/emma-2nd-edition", "A/emma", 0.983, False),
        ("A/emma-copy", "A/emma", 1.0, True),
        ("hawthorne/emma", "A/emma", 1.0, True),
    ]
    assert {row["section"] for row in rows} == {None}
    assert set().union(*_documents(tmp_path / "out").values()) == {"emma", "mansfield-park", "persuasion"}
    assert "emma" not in (tmp_path / "out/manifest.json").read_text().replace('"test_docs": "emma"', "")


def test_prepare_dated_rows_put_the_newest_into_test(tmp_path: Path, make_prose: MakeProse) -> None:
    rows = [{"text": make_prose(f"p{i}x", 50), "date": f"2024-01-{i + 1:02}"} for i in range(20)]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    manifest = prepare_data([tmp_path / "posts.jsonl"], author="A", out=tmp_path / "out").manifest
    assert manifest.newest_in_test
    assert _documents(tmp_path / "out")["test"] == {"posts-18", "posts-19"}


def test_prepare_row_that_is_put_first_moves_no_other_row(tmp_path: Path, make_prose: MakeProse) -> None:
    rows = [{"text": make_prose(f"p{i}x", 50)} for i in range(400)]
    texts = {}
    for name, table in (("before", rows), ("after", [{"text": make_prose("new", 50)}, *rows])):
        (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
        prepare_data([tmp_path / "posts.jsonl"], author="A", out=tmp_path / name)
        texts[name] = {
            split: {s.text for s in load_sections(tmp_path / name, split) if not s.text.startswith("new")}
            for split in AUTHOR_SPLITS
        }
    assert texts["before"] == texts["after"]


def _collect_ngrams(sections: list[Section]) -> set[tuple[str, ...]]:
    """Collect the 13-grams of each document with Python's own means: shares no code with ghostpen."""
    documents: dict[str, list[str]] = {}
    for section in sections:
        documents.setdefault(section.document, []).extend(re.findall(r"\w+", section.text.lower()))
    return {tuple(words[i : i + 13]) for words in documents.values() for i in range(len(words) - 12)}


@settings(max_examples=40)
@given(st.integers(3, 25), st.integers(0, 10**6))
def test_prepare_letters_that_quote_each_other_leak_nothing_whatever_they_are(count: int, seed: int) -> None:
    draw = random.Random(seed)
    phrases = [" ".join(f"q{number}w{i}" for i in range(draw.randint(10, 30))) for number in range(8)]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            own = [" ".join(f"n{number}p{p}w{i}" for i in range(draw.randint(5, 40))) for p in range(5)]
            # Phrases within paragraphs, as paragraphs, and across two of them.
            quoted = [f"{draw.choice(own)} {draw.choice(phrases)}", draw.choice(phrases).replace(" ", "\n\n", 1)]
            texts = [*own, *draw.sample(quoted, draw.randint(0, 2))]
            draw.shuffle(texts)
            (Path(folder) / f"letter{number}.txt").write_text("\n\n".join(texts), encoding="utf-8")
        try:
            prepare_data([folder], author="A", out=Path(folder) / "out", seed=seed)
        except DataError as error:
            assert "nothing is left to train on" in error.message
            reject()
        splits = {split: load_sections(Path(folder) / "out", split) for split in AUTHOR_SPLITS}
    train = _collect_ngrams(splits["train"])
    assert train
    assert train.isdisjoint(_collect_ngrams(splits["val"]) | _collect_ngrams(splits["test"]))
    documents = [{section.document for section in rows} for rows in splits.values()]
    assert sum(map(len, documents)) == len(set().union(*documents))
