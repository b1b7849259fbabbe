"""One of two processes of test_ranks.py: reads given.pickle in a folder, and writes RANK.pickle there."""

import math
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from ghostpen.errors import ConfigError, TrainingStopped
from ghostpen.training.balance import RouterLogits
from ghostpen.training.forward import give_forward_the_loss
from ghostpen.training.launch import read_place
from ghostpen.training.perplexity import score_sections
from ghostpen.training.ranks import Ranks, join_ranks


def refuse() -> str:
    raise ConfigError(f"no such run, says {os.environ['RANK']}")


def share_an_error(ranks: Ranks) -> str:
    try:
        return ranks.share(refuse)
    except ConfigError as error:
        return error.message


def count_questions(given: dict[str, Any], ranks: Ranks) -> dict[str, list[int]]:
    """Ask before each batch whether the second wants to leave; who asked less often would leave the other alone."""
    answers: dict[str, list[int]] = {}
    for name, options in given["scores"].items():
        answers[name] = asked = []
        score_sections(
            given["model"], given["tokenizer"], given["sections"], **options, ranks=ranks,
            before_batch=lambda asked=asked: asked.append(ranks.max(ranks.rank)),
        )  # fmt: skip
    return answers


def compute_gradients(model: Any, rows: list[list[int]], ranks: Ranks) -> list[Any]:
    """Average the gradients of the summed loss, and of the balance, over rows that are dealt out."""
    router_logits = RouterLogits(model)
    give_forward_the_loss(model, router_logits)
    ids = torch.tensor(rows[ranks.rank :: ranks.size])
    wrapped = DistributedDataParallel(model)
    nats, balance = wrapped(input_ids=ids, labels=ids, sum_nats=True)
    (nats + balance).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def main(folder: Path) -> None:
    given = pickle.loads((folder / "given.pickle").read_bytes())
    place = read_place(os.environ)
    assert place is not None
    found: dict[str, Any] = {}
    try:
        with join_ranks(place) as ranks:
            found["first"] = ranks.is_first
            found["sum"] = ranks.sum([[0.1, 10.0][ranks.rank], 2**40 + ranks.rank])
            found["sum with nan"] = ranks.sum([[0.0, math.nan][ranks.rank]])
            found["max"] = ranks.max([2, 15][ranks.rank])
            found["shared"] = ranks.share(lambda: f"decided by {ranks.rank}")
            found["shared error"] = share_an_error(ranks)
            for name, options in given["scores"].items():
                sections = given["sections"]
                found[name] = score_sections(given["model"], given["tokenizer"], sections, **options, ranks=ranks)
            found["asked"] = count_questions(given, ranks)
            found["gradients"] = compute_gradients(given["model"], given["rows"], ranks)
            if ranks.is_first:  # stops, as all do, but still writes
                time.sleep(1)
                (folder / "closed").touch()
            raise TrainingStopped("the loss became nan")
    except TrainingStopped:
        found["closed"] = (folder / "closed").exists()
    (folder / f"{place.rank}.pickle").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
