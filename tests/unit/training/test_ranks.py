"""Two real processes over gloo, started once, say what one process computes alone."""

import math
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ghostpen.data.samples import render_eval_windows
from ghostpen.data.sections import Section
from ghostpen.errors import ConfigError
from ghostpen.training.balance import RouterLogits
from ghostpen.training.forward import give_forward_the_loss
from ghostpen.training.launch import Place, launch_processes
from ghostpen.training.perplexity import compute_batch_loss_nats, score_sections
from ghostpen.training.ranks import ALONE, join_ranks

PROGRAM = Path(__file__).with_name("rank_program.py")
PROCESSES = 2
TEXTS = ["It was a fine day, and the whole of the village had gone to the sea. " * 3, "", "“Where?”", "It ends. " * 9]
# The second has fewer batches than there are processes.
SCORES = {
    "many batches": {"window": 24, "stride": 10, "batch_size": 2},
    "one batch": {"window": 512, "stride": 512, "batch_size": 16},
}
ROWS = [[0, 9, 30, 41], [0, 60, 70, 5]]


@pytest.fixture(scope="module")
def given(
    make_tiny_model: Callable[..., Any], tokenizer: Any, make_section: Callable[..., Section]
) -> dict[str, Any]:
    sections = [make_section(text, section=index) for index, text in enumerate(TEXTS)]
    return {
        "model": make_tiny_model(), "tokenizer": tokenizer, "sections": sections, "scores": SCORES, "rows": ROWS,
    }  # fmt: skip


@pytest.fixture(scope="module")
def found(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "given.pickle").write_bytes(pickle.dumps(given))
    outcome = launch_processes(
        [sys.executable, str(PROGRAM), str(folder)],
        processes=PROCESSES,
        environ=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert outcome.exit_code == 0, outcome.stderr
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(PROCESSES)]


def test_one_process_is_first(found: list[dict[str, Any]]) -> None:
    assert [one["first"] for one in found] == [True, False]


def test_sum_and_max_are_the_same_everywhere_and_in_float64(found: list[dict[str, Any]]) -> None:
    for one in found:
        assert one["sum"] == [10.1, 2**41 + 1]
        assert one["max"] == 15
        assert math.isnan(one["sum with nan"][0])


def test_first_process_decides_for_all(found: list[dict[str, Any]]) -> None:
    assert [one["shared"] for one in found] == ["decided by 0"] * PROCESSES
    assert [one["shared error"] for one in found] == ["no such run, says 0"] * PROCESSES


@pytest.mark.parametrize("name", SCORES)
def test_score_that_processes_share_is_the_score_of_one(
    given: dict[str, Any], found: list[dict[str, Any]], name: str
) -> None:
    alone = score_sections(given["model"], given["tokenizer"], given["sections"], **SCORES[name])

    for one in found:
        assert one[name] == found[0][name]
        assert [score.tokens for score in one[name]] == [score.tokens for score in alone]
        for ours, theirs in zip(one[name], alone, strict=True):
            # Equal was seen, and 6e-9 on a processor whose float32 products depend on the number of threads.
            assert ours.loss_nats == pytest.approx(theirs.loss_nats, rel=1e-6)


def test_processes_are_asked_equally_often_whether_to_leave_a_measurement(
    given: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    windows = render_eval_windows(given["sections"], given["tokenizer"], window=24, stride=10)
    assert len(windows) % 4 in (1, 2)  # the last batch leaves nothing for the second process
    for one in found:
        assert one["asked"] == {"many batches": [1] * math.ceil(len(windows) / 4), "one batch": [1]}


def test_gradients_of_dealt_out_rows_average_to_those_of_all(
    make_tiny_model: Callable[..., Any], found: list[dict[str, Any]]
) -> None:
    model = make_tiny_model()
    router_logits = RouterLogits(model)
    give_forward_the_loss(model, router_logits)
    for row in ROWS:  # balance is not linear in the rows, so each is a batch here as there
        ids = torch.tensor([row])
        nats, balance = model(input_ids=ids, labels=ids, sum_nats=True)
        ((nats + balance) / len(ROWS)).backward()

    for one in found:
        for ours, parameter in zip(one["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(ours, parameter.grad, rtol=1e-4, atol=1e-5 * float(parameter.grad.abs().max()))


def test_processes_that_stop_leave_together(found: list[dict[str, Any]]) -> None:
    assert [one["closed"] for one in found] == [True] * PROCESSES


def test_process_alone_says_everything_to_itself() -> None:
    with join_ranks(None) as ranks:
        assert ranks is ALONE
    assert (ALONE.rank, ALONE.size, ALONE.is_first) == (0, 1, True)
    assert (ALONE.sum([1.5, 2.0]), ALONE.max(7), ALONE.share(lambda: "mine")) == ([1.5, 2.0], 7, "mine")
    ALONE.wait()


def test_processes_that_cannot_meet_say_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigError, match="process 1 can't meet the other 2"), join_ranks(Place(1, 1, 3)):
        pass


def test_forward_gives_the_loss_only_when_asked(make_tiny_model: Callable[..., Any]) -> None:
    plain, model, ids = make_tiny_model(), make_tiny_model(), torch.tensor(ROWS)
    give_forward_the_loss(model, None)

    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=0, atol=0)
        assert torch.equal(model.generate(ids, max_new_tokens=3), plain.generate(ids, max_new_tokens=3))
        nats, balance = model(input_ids=ids, labels=ids, sum_nats=True)
        assert float(nats) == float(compute_batch_loss_nats(plain, ids, ids))
    assert float(balance) == 0
