"""The benchmarks against peers still run, and measure what they say: at their smallest, without any timing."""

import math
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Train ours and transformers on a few letters, with the embedded model's small vocabulary, and score both."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import materials
        import peers

    folder = tmp_path_factory.mktemp("benchmark")
    made = materials.build_materials(
        folder / "materials",
        tokenizer=ROOT / "src/ghostpen/assets/tiny", vocabulary=4096, chapters=0, letters=12, val_letters=2,
    )  # fmt: skip
    job = {
        "materials": str(made),
        "steps": 3,
        "batch_size": 4,
        "rank": 4,
        "sequence_length": 512,
        "learning_rate": 4e-3,
    }
    found = []
    for side in ("ours", "transformers"):
        found.append(peers.run_job(job | {"side": side, "out": str(folder / side)}, trl=folder))
    adapters = [str(folder / result["side"] / "adapter") for result in found]
    score = {"side": "score", "out": str(folder / "score"), "adapters": adapters}
    perplexities = peers.run_job(job | score, trl=folder)["perplexity"]
    for result, adapter in zip(found, adapters, strict=True):
        result |= {"perplexity": perplexities[adapter], "base_perplexity": perplexities["base"]}
    return [*found, peers.summarise(found), {"table": peers.render_table(peers.summarise(found))}]


def test_sides_are_separate_and_start_from_the_same_adapter(results: list[dict[str, Any]]) -> None:
    ours, peer, line, _ = results
    assert (ours["unsloth_imported"], peer["unsloth_imported"]) == (True, False)
    assert ours["fresh_lora_a_sha256"] == peer["fresh_lora_a_sha256"]
    assert line["same_first_lora"] is True


def test_sides_count_the_tokens_of_their_steps(results: list[dict[str, Any]]) -> None:
    for result in results[:2]:
        assert len(result["tokens"]) == len(result["positions"]) == result["steps"] == 3
        assert all(
            0 < tokens < positions for tokens, positions in zip(result["tokens"], result["positions"], strict=True)
        )
        assert result["tokens_per_s"] > 0
        assert result["peak_bytes"] >= result["before_training_bytes"] > 2**27


def test_perplexity_is_the_one_that_each_side_finds_itself(results: list[dict[str, Any]]) -> None:
    ours, peer, *_ = results
    assert ours["own_evaluation"]["perplexity"] == pytest.approx(ours["perplexity"], rel=1e-4)
    # Both validation letters are one batch, so that transformers' mean of batch means is the mean over tokens.
    assert math.exp(peer["own_evaluation"]["eval_loss"]) == pytest.approx(peer["perplexity"], rel=1e-4)
    assert ours["perplexity"] < ours["base_perplexity"]
    assert peer["perplexity"] < peer["base_perplexity"]


def test_line_and_table_name_every_side(results: list[dict[str, Any]]) -> None:
    line, table = results[2], results[3]["table"]
    assert line["fastest_peer"] == "transformers"
    assert line["ours_over_peer"]["transformers"]["perplexity"] == pytest.approx(
        results[0]["perplexity"] / results[1]["perplexity"], abs=1e-3
    )
    assert [row.split()[0] for row in table.splitlines()[1:3]] == ["ours", "transformers"]


def test_prepare_is_measured_beside_the_tokenizer_on_the_same_texts(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import prepare

        patch.setattr(prepare, "BUILD", tmp_path)
        texts = prepare.build_texts(tmp_path / "texts", megabytes=1)
        results = [
            prepare.run_side(side, texts, ROOT / "src/ghostpen/assets/tiny") for side in ("ours", "tokenizers")
        ]
    size_bytes = sum(path.stat().st_size for path in texts.rglob("*.txt"))
    assert 10**6 <= size_bytes < 2 * 10**6
    assert all(result["wall_s"] > 0 and result["cpu_s"] > 0 and result["peak_mib"] > 20 for result in results)
    line = prepare.summarise(results, size_bytes=size_bytes)
    speeds = [size_bytes / 1e6 / result["wall_s"] for result in results]
    ratio = line["ours_over_peer"]["tokenizers"]["megabytes_per_s"]
    assert ratio["median"] == ratio["lowest"] == pytest.approx(speeds[0] / speeds[1], abs=0.02)
    assert [row.split()[0] for row in prepare.render_table(line).splitlines()[1:3]] == ["ours", "tokenizers"]


def test_our_side_of_the_perplexity_benchmark_measures_what_transformers_loses(tmp_path: Path, base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import perplexity

    pieces = perplexity.cut_pieces(3, size_bytes=400)
    ours = perplexity.run_one("ours", base=base, pieces=pieces, harness=tmp_path, out=tmp_path / "ours")
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModelForCausalLM.from_pretrained(base).eval()
    start = tokenizer.bos_token_id  # as the harness puts it in front
    theirs = []
    for piece in pieces:
        ids = torch.tensor([[start, *tokenizer.encode(piece, add_special_tokens=False)]])
        with torch.no_grad():
            theirs.append(float(model(ids, labels=ids).loss) * (ids.shape[1] - 1))
    assert ours["nats"] == pytest.approx(theirs, rel=1e-4)
    peer = {"side": "lm-eval", "seconds": 2 * ours["seconds"], "nats": theirs, "tokens": ours["tokens"]}
    peer |= {"peak_bytes": 4 * ours["peak_bytes"], "before_bytes": 0}
    line = perplexity.summarise([ours, peer])
    assert line["speed_ours_over_peer"] == {"median": 2.0, "lowest": 2.0, "highest": 2.0}
    assert line["peak_ours_over_peer"]["median"] == 0.25
    assert "speed x2.0 [2.0, 2.0]" in perplexity.render_line(line)
