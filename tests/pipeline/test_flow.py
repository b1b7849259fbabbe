"""prepare -> train -> train --control -> test -> write -> inspect, and all that they leave behind."""

import hashlib
import html
import json
import math
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import ROOT, SECRETS, Run
from tests.pipeline.evidence import compute_loss_nats, hash_files, load_plainly, read_rows, read_wandb

from ghostpen.training.hold import hold_run

pytestmark = pytest.mark.pipeline

CURVES = ("train", "val", "contrast_val")
ROW_KEYS = {
    "step",
    "tokens_seen",
    "split",
    "perplexity",
    "bits_per_byte",
    "loss_nats",
    "tokens",
    "learning_rate",
    "tokens_per_s",
    "balance",
    "grad_norm",
    "peak_memory_bytes",
    "peak_gpu_memory_bytes",
}
# Asked for: rank 4 on all of 2 layers, so 2 * 4 * (in + out), and 4 experts where there are experts.
TRAINABLE = {
    "attention.q_proj": 2 * 4 * (64 + 64),
    "attention.k_proj": 2 * 4 * (64 + 32),
    "attention.v_proj": 2 * 4 * (64 + 32),
    "attention.o_proj": 2 * 4 * (64 + 64),
    "experts.gate_up_proj": 2 * 4 * 4 * (64 + 128),
    "experts.down_proj": 2 * 4 * 4 * (64 + 64),
}


def test_run_folder_holds_what_it_should(tested_run: Run) -> None:
    of_training = {
        "adapter",
        "checkpoints",
        "manifest.json",
        "metrics.jsonl",
        "perplexity.png",
        "samples",
        "wandb",
    }
    assert {path.name for path in tested_run.folder.iterdir()} == of_training | {
        "control",
        "report.json",
        "report.html",
        "specificity.png",
        "written.jsonl",
    }
    assert {path.name for path in (tested_run.folder / "control").iterdir()} == of_training
    for folder in (tested_run.folder, tested_run.folder / "control"):
        # Every 5 steps and at the end; the two newest are kept.
        assert {path.name for path in (folder / "checkpoints").iterdir()} == {"checkpoint-10", "checkpoint-12"}
        assert (folder / "adapter/adapter_config.json").is_file()
        assert (folder / "adapter/adapter_model.safetensors").is_file()
    for picture in ("perplexity.png", "specificity.png", "control/perplexity.png"):
        content = (tested_run.folder / picture).read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
        assert int.from_bytes(content[16:20]) >= 700  # pixels across


def read_head() -> str | None:
    """Ask git for the checkout's commit; there is no git in an image, and no commit in an unpacked copy."""
    if not shutil.which("git"):
        return None
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def test_manifest_says_what_was_trained_on_what_by_which_versions(author_run: Run, data: Path, base: Path) -> None:
    manifest = json.loads((author_run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["git_commit"] == (os.environ.get("GHOSTPEN_REVISION") or read_head())
    assert (manifest["finished"], manifest["role"], manifest["author"]) == (True, "author", "Jane Austen")
    assert manifest["targets"]["trainable"] == TRAINABLE
    assert manifest["targets"]["trainable_total"] == sum(TRAINABLE.values())
    assert manifest["package_versions"].keys() >= {"torch", "transformers", "trl", "peft", "unsloth", "wandb"}
    assert all(version(name) == found for name, found in manifest["package_versions"].items())
    assert manifest["data_sha256"] == json.loads((data / "manifest.json").read_text(encoding="utf-8"))["data_sha256"]
    weights = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["base_model"] == {"name": "base", "weights_sha256": weights}
    config = manifest["config"]
    assert (config["name"], config["train"]["max_steps"], config["lora"]["rank"]) == ("austen", 12, 4)
    assert config["train"]["router_aux_loss_coef"] == 0.0  # the defaults are in it, too
    rows = read_rows(author_run.folder / "metrics.jsonl")
    best = min((row for row in rows if row["split"] == "val"), key=lambda row: row["bits_per_byte"])
    assert manifest["best"] == {"step": best["step"], "bits_per_byte": best["bits_per_byte"]}
    assert (manifest["step"], manifest["stopped"]) == (12, None)


def test_metrics_are_true_sums_at_the_right_steps(author_run: Run) -> None:
    rows = read_rows(author_run.folder / "metrics.jsonl")
    by_split = defaultdict(list)
    for row in rows:
        assert row.keys() == ROW_KEYS
        assert row["perplexity"] == pytest.approx(math.exp(row["loss_nats"] / row["tokens"]), rel=1e-12)
        by_split[row["split"]].append(row)
    assert {split: [row["step"] for row in found] for split, found in by_split.items()} == {
        "train": [1, 3, 6, 9, 12],
        "val": [0, 3, 6, 9, 12],
        "contrast_val": [0, 3, 6, 9, 12],
    }
    # No trained token is missing from the curve. 12 steps * 8 windows * 63 counted tokens, if all windows are full.
    total = json.loads((author_run.folder / "manifest.json").read_text(encoding="utf-8"))["tokens_seen"]
    assert sum(row["tokens"] for row in by_split["train"]) == by_split["train"][-1]["tokens_seen"] == total
    assert 0.9 * 12 * 8 * 63 < total <= 12 * 8 * 63
    assert all(row["bits_per_byte"] is None and row["tokens_per_s"] > 0 for row in by_split["train"])
    assert all(row["bits_per_byte"] > 0 for row in by_split["val"] + by_split["contrast_val"])
    assert all(row["balance"] is None and row["peak_gpu_memory_bytes"] is None for row in rows)
    assert all(row["grad_norm"] > 0 for row in by_split["train"])
    peaks = [row["peak_memory_bytes"] for row in by_split["train"]]
    assert peaks[0] > 2**28 and peaks == sorted(peaks)  # torch alone takes a quarter of a gigabyte


def test_training_lowers_the_perplexity_and_leaves_the_base_alone(author_run: Run, base: Path) -> None:
    curve = [row["perplexity"] for row in read_rows(author_run.folder / "metrics.jsonl") if row["split"] == "val"]
    assert curve[-1] < 0.8 * curve[0]
    from safetensors.torch import load_file

    adapter = load_file(author_run.folder / "adapter/adapter_model.safetensors")
    assert all(".lora_A." in name or ".lora_B." in name for name in adapter)
    assert sum(weight.numel() for weight in adapter.values()) == sum(TRAINABLE.values())
    manifest = json.loads((author_run.folder / "manifest.json").read_text(encoding="utf-8"))
    weights = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["base_model"]["weights_sha256"] == weights  # as it was before the training


def test_last_validation_equals_full_logits_of_plain_transformers(author_run: Run, base: Path, data: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = load_plainly(base, author_run.folder / "adapter")
    rows = read_rows(author_run.folder / "metrics.jsonl")
    for split in ("val", "contrast_val"):
        texts = [row["text"] for row in read_rows(data / f"{split}.jsonl")]
        sums = [compute_loss_nats(model, tokenizer, text, window=64, stride=32) for text in texts]
        nats, tokens = (sum(column) for column in zip(*sums, strict=True))
        logged = [row for row in rows if row["split"] == split][-1]
        assert logged["tokens"] == tokens
        assert logged["perplexity"] == pytest.approx(math.exp(nats / tokens), abs=1e-4 * logged["perplexity"])
        size_bytes = sum(len(text.encode()) for text in texts)
        assert logged["bits_per_byte"] == pytest.approx(nats / math.log(2) / size_bytes, abs=1e-4)


def test_adapter_loads_with_plain_peft_to_the_logits_of_ghostpen(
    author_run: Run, base: Path, commands: Commands
) -> None:
    import torch

    code = """
import torch
from pathlib import Path
from ghostpen.config import load_saved_config
from ghostpen.model.loading import load_adapter, load_base
from ghostpen.training.perplexity import compute_hidden

config = load_saved_config(Path("runs/austen"))
loaded = load_adapter(load_base(config.model, max_length=64), Path("runs/austen/adapter"))
with torch.no_grad():
    hidden, weight = compute_hidden(loaded.model.eval(), torch.arange(128).view(2, 64))
torch.save(hidden @ weight.T, "logits.pt")
"""
    commands.succeed(code=code)
    with torch.no_grad():
        ids = torch.arange(128).view(2, 64)
        base_logits = load_plainly(base, None)(ids).logits
        plain = load_plainly(base, author_run.folder / "adapter")(ids).logits
    ours = torch.load(commands.folder / "logits.pt")
    assert (plain - base_logits).abs().max() > 0.1  # the adapter does something
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=0)


def test_samples_show_the_same_beginnings_before_and_after(author_run: Run, data: Path) -> None:
    before, after = (
        (author_run.folder / f"samples/{name}.txt").read_text(encoding="utf-8") for name in ("before", "after")
    )
    beginnings = [line.partition(">>>")[0] for line in before.splitlines() if ">>>" in line]
    assert len(beginnings) == 2
    assert beginnings == [line.partition(">>>")[0] for line in after.splitlines() if ">>>" in line]
    assert before != after
    held_out = " ".join(row["text"] for row in read_rows(data / "val.jsonl"))
    assert all(beginning.strip() in held_out for beginning in beginnings)


def test_wandb_run_holds_the_three_curves_and_the_counts(author_run: Run) -> None:
    (path,) = author_run.folder.glob("wandb/offline-run-*/run-*.wandb")
    records = read_wandb(path)
    logged: dict[str, list[float]] = defaultdict(list)
    summary = {}
    for record in records:
        for item in record.history.item:
            logged[item.key or "/".join(item.nested_key)].append(json.loads(item.value_json))
        for item in record.summary.update:
            summary[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    rows = read_rows(author_run.folder / "metrics.jsonl")
    for curve in CURVES:
        assert logged[f"perplexity/{curve}"] == [row["perplexity"] for row in rows if row["split"] == curve]
    assert {key: value for key, value in summary.items() if key.startswith("trainable/")} == {
        f"trainable/{kind}": count for kind, count in TRAINABLE.items()
    }
    # One chart, sent anew with every validation: each table holds what was measured so far, the last all.
    tables = author_run.folder.glob("wandb/offline-run-*/files/media/table/*.json")
    charts = [json.loads(table.read_text(encoding="utf-8")) for table in tables]
    assert len(charts) > 1
    chart = max(charts, key=lambda chart: len(chart["data"]))
    assert chart["columns"] == ["step", "lineKey", "lineVal"]
    for curve in CURVES:
        drawn = [[x, y] for x, name, y in chart["data"] if name == curve]
        assert drawn == [[row["tokens_seen"], row["perplexity"]] for row in rows if row["split"] == curve]


def test_wandb_run_holds_no_word_of_the_texts(author_run: Run, data: Path) -> None:
    texts = [row["text"] for split in ("train", "val", "test") for row in read_rows(data / f"{split}.jsonl")]
    phrases = [" ".join(text.split()[:5]).encode() for text in texts]
    files = [path for path in (author_run.folder / "wandb").rglob("*") if path.is_file()]
    assert any(b"perplexity/val" in path.read_bytes() for path in files)  # what is in them can be found
    assert [str(path) for path in files if any(phrase in path.read_bytes() for phrase in phrases)] == []


def test_no_file_of_a_run_holds_a_secret(tested_run: Run) -> None:
    found = []
    files = [path for path in tested_run.folder.rglob("*") if path.is_file()]
    for path in files:
        content = path.read_bytes()
        found += [f"{name} in {path}" for name, value in SECRETS.items() if value.encode() in content]
    assert len(files) > 40
    assert found == []


def test_control_differs_in_its_texts_alone(tested_run: Run) -> None:
    manifests = [
        json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for folder in (tested_run.folder, tested_run.folder / "control")
    ]
    differing = {key for key in manifests[0] if manifests[0][key] != manifests[1][key]}
    assert differing - {"tokens_seen", "training_s"} == {"run_id", "role", "author", "best"}
    assert manifests[0]["recipe"] == manifests[1]["recipe"]
    assert manifests[0]["tokens_seen"] == pytest.approx(manifests[1]["tokens_seen"], rel=0.05)
    curves = [read_rows(folder / "metrics.jsonl") for folder in (tested_run.folder, tested_run.folder / "control")]
    first = [[row for row in rows if row["step"] == 0] for rows in curves]
    assert first[0] == first[1]  # the same untrained model on the same validation texts
    assert curves[0][-2]["loss_nats"] != curves[1][-2]["loss_nats"]


def test_report_compares_the_three_models_on_both_texts(tested_run: Run, base: Path, data: Path) -> None:
    from transformers import AutoTokenizer

    report = json.loads((tested_run.folder / "report.json").read_text(encoding="utf-8"))
    assert " ".join(tested_run.done.stdout.split()).count(report["verdict"]) == 1
    tokenizer = AutoTokenizer.from_pretrained(base)
    bits = {}
    for label, adapter in (("base", None), ("control", "control/adapter"), ("author", "adapter")):
        model = load_plainly(base, tested_run.folder / adapter if adapter else None)
        for name, split in (("author_test", "test"), ("others_test", "contrast_test")):
            texts = [row["text"] for row in read_rows(data / f"{split}.jsonl")]
            nats = sum(compute_loss_nats(model, tokenizer, text, window=64, stride=32)[0] for text in texts)
            bits[name, label] = nats / math.log(2) / sum(len(text.encode()) for text in texts)
            assert report[name]["models"][label]["bits_per_byte"] == pytest.approx(bits[name, label], abs=1e-4)
    g_a = bits["author_test", "control"] - bits["author_test", "author"]
    g_o = bits["others_test", "control"] - bits["others_test", "author"]
    found = report["specificity"]
    assert (found["g_a"]["estimate"], found["g_o"]["estimate"]) == pytest.approx((g_a, g_o), abs=1e-4)
    assert found["s"]["estimate"] == pytest.approx(g_a - g_o, abs=1e-4)
    assert found["s"]["low"] < found["s"]["estimate"] < found["s"]["high"]


@pytest.mark.parametrize("verb", [["train"], ["train", "--resume"], ["train", "--control"], ["test"]], ids=" ".join)
def test_same_command_again_does_nothing(tested_run: Run, commands: Commands, config: str, verb: list[str]) -> None:
    before = hash_files(tested_run.folder)
    done = commands.succeed(*verb, "--config", config)
    assert done.stdout.startswith("nothing to do: runs/austen")
    assert hash_files(tested_run.folder) == before


def test_copies_beyond_the_limit_end_a_test_with_exit_code_3(
    tested_run: Run, commands: Commands, config: str
) -> None:
    folder = shutil.copytree(tested_run.folder, commands.folder / "copying/austen")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["copying"]["training"]["longest"] = {"words": 14, "document": "pride", "quote": "a b c"}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    command = ["test", "--config", config, "--set", "output.dir=copying", "--set"]
    assert commands.run(*command, "eval.max_copied_words=14").exit_code == 0
    done = commands.run(*command, "eval.max_copied_words=13")
    assert (done.exit_code, done.stderr.count("\n")) == (3, 1)
    assert "copies 14 words in a row from pride, and eval.max_copied_words is 13" in done.stderr


def test_report_is_also_a_page_of_what_was_measured_and_written(tested_run: Run) -> None:
    report = json.loads((tested_run.folder / "report.json").read_text(encoding="utf-8"))
    page = (tested_run.folder / "report.html").read_text(encoding="utf-8")
    text = html.unescape(page)
    assert report["verdict"] in text
    assert report["protocol"]["data_sha256"] in page
    beginnings = {row["prompt"] for row in read_rows(tested_run.folder / "written.jsonl")}
    assert beginnings and any(beginning in text for beginning in beginnings)


@pytest.mark.parametrize("lost", [["report.html"], ["specificity.png", "report.html"]], ids=" ".join)
def test_test_that_was_killed_when_its_report_was_written_is_made_whole(
    tested_run: Run, commands: Commands, config: str, lost: list[str]
) -> None:
    folder = shutil.copytree(tested_run.folder, commands.folder / f"unseen-{len(lost)}/austen", symlinks=True)
    for name in lost:
        (folder / name).unlink()
    (folder / "written.part.jsonl").write_text('{"key": "k"}\n', encoding="utf-8")
    done = commands.succeed("test", "--config", config, "--set", f"output.dir=unseen-{len(lost)}")
    assert done.stdout.startswith(f"nothing to do: unseen-{len(lost)}/austen")
    made, straight = (
        {
            str(path.relative_to(run)): path.read_bytes()
            for path in run.rglob("*")
            if path.is_file() and path.suffix != ".log"
        }
        for run in (folder, tested_run.folder)
    )
    assert {name for name in straight if made.get(name) != straight[name]} == made.keys() - straight.keys() == set()


@pytest.mark.parametrize("verb", ["train", "test"])
def test_run_that_another_process_works_on_is_refused(
    tested_run: Run, commands: Commands, config: str, verb: str
) -> None:
    folder = commands.folder / f"held/{verb}/austen"
    if verb == "test":
        shutil.copytree(tested_run.folder, folder, symlinks=True)
        (folder / "report.json").unlink()
    with hold_run(folder):
        before = hash_files(folder)
        done = commands.run(verb, "--config", config, "--set", f"output.dir=held/{verb}")
        assert hash_files(folder) == before
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"another ghostpen trains or tests in held/{verb}/austen" in done.stderr


def test_prepare_again_does_nothing(commands: Commands, data: Path) -> None:
    before = hash_files(data)
    done = commands.succeed(
        "prepare", "texts/austen", "--author", "Jane Austen", "--contrast", "texts/others", "--out", "data"
    )
    assert done.stdout.startswith("nothing to do: data")
    assert hash_files(data) == before


def test_write_compare_continues_with_both_models(tested_run: Run, commands: Commands, config: str) -> None:
    command = ["write", "It was a fine morning", "--config", config, "--compare", "--max-words", "20"]
    done = commands.succeed(*command)
    base_text, adapter_text = done.stdout.split("adapter austen", 1)
    assert base_text.startswith("base model")
    texts = [part.split("It was a fine morning", 1)[1].strip(" ─\n") for part in (base_text, adapter_text)]
    assert all(texts) and texts[0] != texts[1]
    assert commands.succeed(*command).stdout == done.stdout  # the same seed, the same text


def test_write_finds_a_run_by_its_folder(tested_run: Run, commands: Commands, config: str) -> None:
    options = ["--max-words", "10", "--temperature", "0"]
    by_config = commands.succeed("write", "She", "--config", config, *options)
    by_folder = commands.succeed("write", "She", "--run", "runs/austen", *options)
    assert by_folder.stdout == by_config.stdout
    assert by_config.stdout.startswith("She")
    (commands.folder / "runs/austen/manifest.json").touch()
    assert commands.succeed("write", "She", *options).stdout == by_config.stdout  # the newest run is meant


def test_inspect_shows_the_targets_that_training_used(commands: Commands, base: Path, author_run: Run) -> None:
    shown = commands.succeed("inspect", "base").stdout
    assert "4 a layer, 2 a token, fused layout" in shown
    found = json.loads(commands.succeed("inspect", "base", "--json").stdout)
    manifest = json.loads((author_run.folder / "manifest.json").read_text(encoding="utf-8"))
    for key in ("target_modules", "target_parameters", "expert_layout"):
        assert found[key] == manifest["targets"][key]
    assert (found["hidden_size"], found["layers"], found["router_aux_loss_coef"]) == (64, 2, 0.9)
    # inspect shows rank 16, and this run has 4.
    assert {kind: count // 4 for kind, count in found["trainable"].items()} == TRAINABLE


def test_training_of_one_step_trains(commands: Commands, config: str) -> None:
    settings = [part for key in ("name=one-step", "train.max_steps=1") for part in ("--set", key)]
    commands.succeed("train", "--config", config, *settings)
    curve = [row for row in read_rows(commands.folder / "runs/one-step/metrics.jsonl") if row["split"] == "val"]
    assert [row["step"] for row in curve] == [0, 1]
    assert curve[1]["perplexity"] < curve[0]["perplexity"]


def test_inspect_in_a_process_of_its_own_prints_nothing_on_standard_error(base: Path) -> None:
    """As a person runs it, with everything imported anew: notices of the libraries would come first."""
    command = [sys.executable, "-m", "ghostpen", "inspect", str(base), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["architecture"] == "GptOssForCausalLM"
