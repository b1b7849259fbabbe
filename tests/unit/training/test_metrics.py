import json
import math
from pathlib import Path

import pytest

from ghostpen.errors import DataError, NothingCountedError
from ghostpen.score import Score
from ghostpen.training.metrics import Measurement, read_metrics


def test_measurement_of_validation_has_both_numbers() -> None:
    # 8 ln 2 nats over 4 tokens of 16 bytes: perplexity 2 ** 2, 8 bits / 16 bytes.
    score = Score(loss_nats=8 * math.log(2), tokens=4, size_bytes=16)

    row = Measurement(step=10, tokens_seen=500, split="val", score=score).to_json()

    assert (row["step"], row["tokens_seen"], row["split"], row["tokens"]) == (10, 500, "val", 4)
    assert row["perplexity"] == pytest.approx(4.0)
    assert row["bits_per_byte"] == pytest.approx(0.5)
    assert row["loss_nats"] == pytest.approx(8 * math.log(2))
    assert (row["learning_rate"], row["tokens_per_s"], row["balance"]) == (None, None, None)


def test_measurement_of_training_has_no_bits_per_byte() -> None:
    score = Score(loss_nats=1.0, tokens=4, size_bytes=0)

    row = Measurement(1, 4, "train", score, learning_rate=1e-4, tokens_per_s=9.0, balance=1.5).to_json()

    assert row["bits_per_byte"] is None
    assert (row["learning_rate"], row["tokens_per_s"], row["balance"]) == (1e-4, 9.0, 1.5)


def test_measurement_of_nothing_is_an_error() -> None:
    with pytest.raises(NothingCountedError):
        Measurement(1, 0, "train", Score(0.0, 0, 0)).to_json()


def test_read_metrics_gives_back_what_was_written(tmp_path: Path) -> None:
    rows = [Measurement(step, step, "train", Score(1.0, 2, 0)).to_json() for step in (1, 2)]
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")

    assert read_metrics(path) == rows


def test_read_metrics_of_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("torn", ['{"step": 2, "tok', "[1, 2]"])
def test_read_metrics_with_a_torn_row_names_its_line(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{torn}')

    with pytest.raises(DataError, match=r"metrics\.jsonl:2 .*delete that line"):
        read_metrics(path)


@pytest.mark.parametrize("end", ['{"step": 2, "tok', '{"step": 2}', ""])
def test_read_metrics_can_leave_a_torn_end_out(tmp_path: Path, end: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{end}')

    assert read_metrics(path, drop_torn_end=True) == [{"step": 1}]
