"""What a run has left: whole, with its figure, or named by what is missing."""

import json
from typing import Any

import pytest
from tests.stand_ins.aws.bundles import render_bundle

from ghostpen.aws.results import Results, has_results, list_tests, verify_results
from ghostpen.aws.s3 import ObjectStore
from ghostpen.errors import ResultsMissingError

ROWS = [
    {"step": 0, "split": "val", "perplexity": 60.0},
    {"step": 20, "split": "train", "perplexity": 41.0},
    {"step": 20, "split": "val", "perplexity": 44.5},
    {"step": 40, "split": "val", "perplexity": 47.0},
    {"step": 40, "split": "contrast_val", "perplexity": 58.0},
]
METRICS = "".join(f"{json.dumps(row)}\n" for row in ROWS).encode()
TRAINED = {"manifest.json": json.dumps({"best": {"step": 20}}, indent=2).encode(), "metrics.jsonl": METRICS}
REPORT = {"verdict": "Writes like Jane", "author_test": {"models": {"author": {"perplexity": 44.1}}}}


def put(store: ObjectStore, name: str, files: dict[str, bytes], *, leave_out: str = "") -> None:
    for key, content in render_bundle(files, info={}, created_at="2026-11-24").items():
        if not leave_out or not key.endswith(leave_out):
            store.write_object(f"runs/emma/{name}/{key}", content)


def verify(store: ObjectStore, mode: Any = "train", **changes: Any) -> Results:
    values: dict[str, Any] = {"control": True, "tests_before": ()} | changes
    return verify_results(store, "emma", mode=mode, **values)


def test_training_is_whole_with_both_and_its_figure_is_of_the_step_that_was_kept(store: ObjectStore) -> None:
    put(store, "results/author", TRAINED)
    assert not has_results(store, "emma", control=True)
    assert has_results(store, "emma", control=False)
    put(store, "results/control", TRAINED)

    assert has_results(store, "emma", control=True)
    assert verify(store) == Results(("runs/emma/results/author", "runs/emma/results/control"), 44.5)


@pytest.mark.parametrize(
    ("files", "perplexity"),
    [
        ({"manifest.json": b"{}", "metrics.jsonl": METRICS}, 47.0),  # the last one, where no step is named
        ({"manifest.json": b"no json", "metrics.jsonl": METRICS}, 47.0),
        ({"manifest.json": b"{}", "metrics.jsonl": b'{"split": "val"}\n[]\n{'}, None),
        ({"manifest.json": b"{}"}, None),
    ],
)
def test_figure_that_can_not_be_read_is_none_and_no_error(
    store: ObjectStore, files: dict[str, bytes], perplexity: float | None
) -> None:
    put(store, "results/author", files)
    assert verify(store, control=False).perplexity == perplexity


def test_test_is_the_newest_report_that_was_not_there_before(store: ObjectStore) -> None:
    for number in (1, 2, 10):
        put(store, f"tests/{number}", {"report.json": json.dumps(REPORT).encode()})

    assert list_tests(store, "emma") == ("1", "2", "10")
    assert verify(store, "test", tests_before=("1",)) == Results(("runs/emma/tests/10",), 44.1, "Writes like Jane")


def test_test_without_a_new_report_is_missing(store: ObjectStore) -> None:
    put(store, "tests/1", {"report.json": b"{}"})

    with pytest.raises(ResultsMissingError, match=r"runs/emma/tests holds no new report, although"):
        verify(store, "test", tests_before=("1",))


def test_control_that_is_missing_is_named(store: ObjectStore) -> None:
    put(store, "results/author", TRAINED)

    with pytest.raises(ResultsMissingError, match=r"results/control holds no complete bundle, although"):
        verify(store)


def test_file_that_is_missing_or_of_another_size_is_named(store: ObjectStore) -> None:
    put(store, "results/author", TRAINED, leave_out="metrics.jsonl")

    with pytest.raises(ResultsMissingError) as caught:
        verify(store, control=False)
    assert "1 of 2 files are not as its manifest says" in caught.value.message
    assert f"such as metrics.jsonl: {len(METRICS)} bytes, found none" in caught.value.message


def test_manifest_that_is_none_is_a_missing_result(store: ObjectStore) -> None:
    store.write_object("runs/emma/results/author/manifest.json", b"{")

    with pytest.raises(ResultsMissingError, match=r"is not a bundle's manifest"):
        verify(store, control=False)
