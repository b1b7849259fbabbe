"""What `ghostpen write` says about copies, and when it says that it could not look."""

import json
from pathlib import Path

import pytest

from ghostpen.data import manifest as data_manifest
from ghostpen.data.sections import Section, save_sections
from ghostpen.evaluation.copy_watch import load_copy_watch
from ghostpen.training import manifest as run_manifest

TRAINING = "Mr. Bennet was so odd a mixture of quick parts, sarcastic humour, reserve, and caprice."


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Write prepared data of one training section, and a run that was trained on it."""
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    run.mkdir()
    save_sections([Section(TRAINING, "Jane Austen", "pride", 0, True, True)], data / "train.jsonl")
    sha256 = data_manifest.compute_data_sha256(data)
    inputs = data_manifest.Inputs(
        author="Jane Austen", sources=[], contrast=[], val_docs=None, test_docs=None, seed=0
    )
    data_manifest.save_manifest(
        data_manifest.Manifest(
            format_version=data_manifest.FORMAT_VERSION,
            ghostpen_version="0",
            inputs=inputs,
            within_document=False,
            contrast_within_document=False,
            splits={},
            dropped={},
            data_sha256=sha256,
        ),
        data,
    )
    (run / run_manifest.FILE_NAME).write_text(
        json.dumps({"format_version": run_manifest.FORMAT_VERSION, "data_sha256": sha256}), encoding="utf-8"
    )
    return {"data_dir": data, "run_dir": run}


def find_warning(text: str, *, prompt: str, data_dir: Path, run_dir: Path) -> str | None:
    return load_copy_watch(data_dir=data_dir, run_dir=run_dir).find_warning(text, prompt=prompt)


def test_copy_of_13_words_is_quoted_with_its_document(places: dict[str, Path]) -> None:
    text = "and he was so odd a mixture of quick parts sarcastic humour, reserve and caprice, too"
    assert find_warning(text, prompt="It is said", **places) == (
        'copied: 13 words in a row from pride ("was so odd a mixture of quick parts sarcastic humour reserve and '
        'caprice") of the training text; another --seed or --temperature writes something else'
    )


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("so odd a mixture of quick parts sarcastic humour, reserve and caprice", "It was"),  # 12 words
        (TRAINING, TRAINING),  # the prompt's own
        ("", "It was"),
    ],
)
def test_less_than_a_copy_is_not_worth_a_word(text: str, prompt: str, places: dict[str, Path]) -> None:
    assert find_warning(text, prompt=prompt, **places) is None


def test_training_text_that_is_not_there_is_said(places: dict[str, Path], tmp_path: Path) -> None:
    missing = places | {"data_dir": tmp_path / "elsewhere"}
    assert find_warning(TRAINING, prompt="x", **missing) == (
        f"not checked for copied text: {tmp_path}/elsewhere/manifest.json: no such file; "
        "give a folder that `ghostpen prepare` wrote"
    )


def test_training_text_that_was_another_is_said(places: dict[str, Path]) -> None:
    path = places["run_dir"] / run_manifest.FILE_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"data_sha256": "other"}), encoding="utf-8")
    warning = find_warning(TRAINING, prompt="x", **places)
    assert warning is not None and warning.endswith("holds other data than the run was trained on")


def test_training_text_is_read_once_for_many_texts(places: dict[str, Path]) -> None:
    watch = load_copy_watch(**places)
    (places["data_dir"] / "train.jsonl").unlink()
    found = [watch.find_warning(text, prompt="x") for text in (TRAINING, "nothing of it", TRAINING)]
    assert found[0] is not None and found == [found[0], None, found[0]]
