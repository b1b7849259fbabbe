"""Words, bytes and tokens by split and document, and which tokenizer counts."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.real_tokenizer import load_real_tokenizer
from tokenizers import Tokenizer, models

from ghostpen.data.counting import TokenCounter, count_split, load_token_counter
from ghostpen.data.manifest import DocumentCounts
from ghostpen.data.prepare import prepare_data
from ghostpen.data.sections import Section
from ghostpen.errors import DataError
from ghostpen.model.location import resolve_model

EMBEDDED = Path(resolve_model("embedded:tiny")) / "tokenizer.json"


def test_counts_are_by_document_in_the_files_order(
    make_section: Callable[..., Section], embedded_tokenizer: Any
) -> None:
    texts = ["One two.", "Three é.", "Four five six."]
    sections = [
        make_section(texts[0], document="b", ends_document=False),
        make_section(texts[1], document="b", section=1, starts_document=False),
        make_section(texts[2], document="a"),
    ]
    tokens = [len(embedded_tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    counts = count_split(sections, load_token_counter())
    assert (counts.documents, counts.sections, counts.words, counts.size_bytes) == (2, 3, 7, 31)
    assert counts.tokens == sum(tokens)
    assert counts.by_document == DocumentCounts(
        words=[4, 3], size_bytes=[17, 14], tokens=[tokens[0] + tokens[1], tokens[2]]
    )


def test_counter_of_a_folder_is_recorded_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    shutil.copy(EMBEDDED, tmp_path / "my-model")
    digest = hashlib.sha256(EMBEDDED.read_bytes()).hexdigest()
    for name in (tmp_path / "my-model", tmp_path / "my-model/tokenizer.json"):
        record = load_token_counter(str(name)).record
        assert (record.name, record.sha256) == ("my-model", digest)
    assert load_token_counter().record.model_dump() == {"name": "embedded:tiny", "sha256": digest}


PIECES = [
    *(
        "a",
        "The",
        "don't",
        "'s",
        "12345",
        "3.14",
        "...",
        "“Yes”",
        "--",
        "/",
        "<|endoftext|>",
        "é",
        "\u0301",
        "漢字",
        "👍🏽",
    ),
    *(" ", " ", "  ", "\n", "\n\n", "\t", "\u00a0", "\u2028", "\u3000", "\u200b", "\x1c", "\x85"),
]


@pytest.fixture(params=["embedded", "gpt-oss"], scope="module")
def counter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TokenCounter:
    """Load the embedded tokenizer, and gpt-oss's own."""
    if request.param == "embedded":
        return load_token_counter()
    path = tmp_path_factory.mktemp("gpt-oss") / "tokenizer.json"
    load_real_tokenizer().backend_tokenizer.save(str(path))
    return load_token_counter(str(path))


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), max_size=4))
def test_count_by_words_is_that_of_the_whole_texts(counter: TokenCounter, texts: list[str]) -> None:
    assert counter.cuts_at_blanks
    assert counter.count(texts) == [len(counter.tokenizer.encode(text, add_special_tokens=False)) for text in texts]


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        {"truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}},
    ],
)
def test_counter_of_another_kind_counts_whole_texts(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(EMBEDDED.read_text(encoding="utf-8")) | change), encoding="utf-8")
    counter = load_token_counter(str(path))
    assert not counter.cuts_at_blanks
    text = "One Two  three."
    assert counter.count([text]) == [len(counter.tokenizer.encode(text, add_special_tokens=False))]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "--tokenizer nowhere: no such folder"),
        ("./now/here", "no such folder"),
        ("empty", "empty/tokenizer.json: No such file"),
        ("broken", "broken/tokenizer.json: no tokenizer"),
        ("embedded:nope", "embedded:nope: no such folder; give one with a tokenizer.json in it, .* or embedded:tiny"),
        ("~nobody-here/x", r"--tokenizer ~nobody-here/x: can't be looked for \("),
        ("long" * 99, r"can't be looked for \(File name too long\)"),
        ("owner/name", "--tokenizer owner/name: can't be fetched"),  # the hub is out of reach of the tests
    ],
)
def test_counter_that_is_not_there_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "broken"):
        Path(folder).mkdir()
    Path("broken/tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load_token_counter(name)


@pytest.mark.parametrize(
    ("change", "cuts"),
    [
        ({"added_tokens": None}, True),
        ({"pre_tokenizer": None}, False),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}}, False),
    ],
)
def test_counter_of_a_file_that_leaves_fields_out_is_loaded(
    tmp_path: Path, change: dict[str, Any], cuts: bool
) -> None:
    fields = json.loads(EMBEDDED.read_text(encoding="utf-8")) | change
    fields = {name: value for name, value in fields.items() if value is not None}
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    counter = load_token_counter(str(tmp_path))
    assert counter.cuts_at_blanks is cuts
    assert counter.count(["Emma"]) == [len(counter.tokenizer.encode("Emma"))]


def test_counter_with_dropout_counts_the_same_each_time(tmp_path: Path) -> None:
    fields = json.loads(EMBEDDED.read_text(encoding="utf-8"))
    fields["model"]["dropout"] = 0.9
    (tmp_path / "tokenizer.json").write_text(json.dumps(fields), encoding="utf-8")
    text = "She walked along the river in the evening. " * 9
    assert load_token_counter(str(tmp_path)).count([text]) == load_token_counter().count([text])


def run_prepare(folder: Path, tokenizer: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Prepare a short text with a tokenizer; returns the exit code and what was written on standard error."""
    (folder / "text.txt").write_text("Emma Woodhouse.\n", encoding="utf-8")
    command = ["prepare", "text.txt", "--author", "A", "--out", "out", "--tokenizer", tokenizer]
    done = subprocess.run(
        [sys.executable, "-m", "ghostpen", *command],
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "HF_HOME": str(folder)} | (environ or {}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr


def test_prepare_with_a_tokenizer_that_takes_no_text_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    Tokenizer(models.WordLevel({"a": 0}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    exit_code, stderr = run_prepare(tmp_path, "tokenizer.json")
    said = "WordLevel error: Missing [UNK] token from the vocabulary"
    expected = f"error: --tokenizer {tmp_path.name}: can't count these texts: {said}; give another one\n"
    assert (exit_code, stderr) == (2, expected)
    assert {path.name for path in tmp_path.iterdir()} == {"text.txt", "tokenizer.json"}


def test_prepare_with_a_tokenizer_behind_a_proxy_that_refuses_says_so(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as proxy:  # which knows no CONNECT
        threading.Thread(target=proxy.serve_forever).start()
        try:
            environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_port}"}
            exit_code, stderr = run_prepare(tmp_path, "owner/name", environ)
        finally:
            proxy.shutdown()
    assert exit_code == 2
    said = r"error: --tokenizer owner/name: can't be fetched: 501 .*; give a folder with a tokenizer.json\n"
    assert re.fullmatch(said, stderr), stderr


def test_prepare_with_another_tokenizer_counts_otherwise_and_writes_the_same_text(
    tmp_path: Path, make_prose: Callable[[str, int], str], tokenizer: Any
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in "abc":
        (texts / f"{name}.txt").write_text(make_prose(name, 300), encoding="utf-8")
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    one = prepare_data([texts], author="A", out=tmp_path / "one").manifest
    other = prepare_data([texts], author="A", out=tmp_path / "other", tokenizer=str(tmp_path)).manifest
    assert one.data_sha256 == other.data_sha256
    assert one.splits["train"].tokens != other.splits["train"].tokens
    with pytest.raises(DataError, match="holds data of other inputs"):
        prepare_data([texts], author="A", out=tmp_path / "one", tokenizer=str(tmp_path))


def test_manifest_has_a_list_of_counts_on_one_line_and_the_versions_that_read(
    tmp_path: Path, make_prose: Callable[[str, int], str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for name in "abcdef":
        (texts / f"{name}.txt").write_text(make_prose(name, 300), encoding="utf-8")
    manifest = prepare_data([texts], author="A", out=tmp_path / "out").manifest
    text = (tmp_path / "out/manifest.json").read_text(encoding="utf-8")
    assert '"words": [300, 300, 300, 300]' in text
    assert json.loads(text)["splits"]["train"]["words"] == 1200
    assert set(manifest.package_versions) >= {"python", "tokenizers", "ftfy", "mammoth"}
