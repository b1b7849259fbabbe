"""What decides that a test measures anew, and what it leaves in a run's folder, also where it is broken off there."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.pictures import CONTROL, METRICS
from tests.reports import MANIFEST, TRAINING, build_written

from ghostpen.config import DataConfig, ModelConfig, RunConfig
from ghostpen.evaluation.report_shape import Protocol, Report
from ghostpen.evaluation.run import build_protocol, save_results, write_views
from ghostpen.evaluation.texts import Texts
from ghostpen.evaluation.written import read_written

VIEWS = ("specificity.png", "report.html")
TEXTS = Texts(training=TRAINING, validation=[], test=[], others_training=[], others_test=[])


@pytest.fixture
def folder(report: Report, tmp_path: Path) -> Path:
    """A run's folder with all that a test leaves."""
    for name, rows in (("metrics.jsonl", METRICS), ("control/metrics.jsonl", CONTROL)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    save_results(report, build_written(), folder=tmp_path)
    write_views(report, tmp_path, texts=TEXTS, manifest=MANIFEST)
    return tmp_path


def test_saved_results_are_all_there(folder: Path, report: Report) -> None:
    assert json.loads((folder / "report.json").read_text(encoding="utf-8")) == report
    assert read_written(folder / "written.jsonl") == build_written()
    assert (folder / "specificity.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert report["verdict"] in page and MANIFEST["run_id"] in page


@pytest.mark.parametrize("blocked", [".written.jsonl.part", ".report.json.part"])
def test_saving_that_is_broken_off_leaves_no_report_beside_other_texts(
    folder: Path, report: Report, blocked: str
) -> None:
    """A folder stands where the file is written, so that it can't be: at that point a killed test would end."""
    (folder / blocked).mkdir()
    texts = [replace(text, text="new") for text in build_written()]
    with pytest.raises(OSError, match=blocked):
        save_results(report, texts, folder=folder)
    assert {path.name for path in folder.iterdir()} == {"metrics.jsonl", "control", "written.jsonl", blocked}


def test_views_that_are_there_are_left_alone(folder: Path, report: Report) -> None:
    drawn = {name: (folder / name).read_bytes() for name in VIEWS}
    (folder / "metrics.jsonl").unlink()  # nothing is read where nothing is missing
    write_views(report, folder, texts=TEXTS, manifest=MANIFEST)
    assert {name: (folder / name).read_bytes() for name in VIEWS} == drawn


@pytest.mark.parametrize("lost", [VIEWS[:1], VIEWS[1:], VIEWS], ids=" ".join)
def test_views_that_are_missing_are_drawn_the_same(folder: Path, report: Report, lost: tuple[str, ...]) -> None:
    drawn = {name: (folder / name).read_bytes() for name in VIEWS}
    for name in lost:
        (folder / name).unlink()
    write_views(report, folder, texts=TEXTS, manifest=MANIFEST)
    assert {name: (folder / name).read_bytes() for name in VIEWS} == drawn


def build_plain_protocol(**model: Any) -> Protocol:
    config = RunConfig(name="a", data=DataConfig.model_validate({"dir": "d"}), model=ModelConfig(name="m", **model))
    hashes = {"data_sha256": "d", "contrast_sha256": "c", "adapters_sha256": {"author": "a"}}
    return build_protocol(config, tasks=[], base={"name": "m"}, **hashes)


def test_protocol_holds_the_number_format_of_the_test_s_own_settings() -> None:
    plain = build_plain_protocol()
    assert (plain["precision"], plain["load_in_4bit"]) == ("bfloat16", False)
    assert build_plain_protocol(precision="float32") == {**plain, "precision": "float32"}
    assert build_plain_protocol(load_in_4bit=True) == {**plain, "load_in_4bit": True}


def test_protocol_is_the_same_wherever_the_models_are_loaded() -> None:
    assert build_plain_protocol(require_gpu=False, gradient_checkpointing="off") == build_plain_protocol()
