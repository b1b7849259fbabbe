"""`ghostpen export`: what others load equals the run, and the card says no more than it may."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.documents import take_blocks
from tests.pipeline.commands import Commands
from tests.pipeline.conftest import ROOT, Run
from tests.pipeline.evidence import hash_files, load_plainly, read_rows

pytestmark = pytest.mark.pipeline

STAND_INS = ROOT / "tests/stand_ins"
LLAMA_CPP = {"LLAMA_CPP_DIR": str(STAND_INS / "llama_cpp")}
EXPERTS, RANK, HIDDEN, INTERMEDIATE = 4, 4, 64, 64  # of the run in conftest.py


def compute_logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(torch.arange(128).view(2, 64)).logits


def copy_run(run: Run, folder: Path, *, config: dict[str, dict[str, Any]] | None = None, **changes: Any) -> Path:
    """Copy what export reads of a run, with settings and entries of its manifest changed."""
    folder.mkdir(parents=True)
    shutil.copytree(run.folder / "adapter", folder / "adapter")
    for name in ("metrics.jsonl", "report.json"):
        if (run.folder / name).exists():
            shutil.copy(run.folder / name, folder)
    manifest = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8")) | changes
    for section, values in (config or {}).items():
        manifest["config"][section] |= values
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    if name := (config or {}).get("model", {}).get("name"):
        path = folder / "adapter/adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": name}))
    return folder


def read_python(card: Path) -> str:
    """Read the card's code."""
    code = re.search(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    return code[1]


@pytest.fixture(scope="module")
def adapter(commands: Commands, tested_run: Run) -> Path:
    """Export the adapter."""
    commands.succeed("export", "runs/austen", "--to", "adapter", "--out", "exports/adapter")
    return commands.folder / "exports/adapter"


@pytest.fixture(scope="module")
def merged(commands: Commands, tested_run: Run) -> Path:
    """Export the merged checkpoint, in a process of its own: no Unsloth, and nothing but the result is printed."""
    code = (
        "import sys; from ghostpen.cli import app; "
        "app(['export', 'runs/austen', '--to', 'merged', '--out', 'exports/merged'], standalone_mode=False); "
        "print('unsloth' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=commands.folder, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    first, second, unsloth = done.stdout.splitlines()
    assert re.fullmatch(r"merging in float32: ([\d.]+ [kM]B) of memory, \1 of disk", first)
    assert (second, unsloth) == ("merged: exports/merged", "False")
    return commands.folder / "exports/merged"


def test_adapter_loads_with_plain_peft_to_the_logits_of_the_run(adapter: Path, tested_run: Run, base: Path) -> None:
    import torch
    from transformers import AutoTokenizer

    expected = compute_logits(load_plainly(base, tested_run.folder / "adapter"))
    assert torch.equal(compute_logits(load_plainly(base, adapter)), expected)
    text = "It was late when <|end|> they came."
    assert AutoTokenizer.from_pretrained(adapter)(text) == AutoTokenizer.from_pretrained(base)(text)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert settings["base_model_name_or_path"] == "base"  # as the run's config says


def test_adapter_has_the_names_shapes_and_order_that_vllm_reads(adapter: Path, base: Path) -> None:
    """As vLLM 0.33.0 does it: lora/peft_helper.py, lora_model.py, utils.py, model_manager.py, models/gpt_oss.py.

    Not checked: its kernels, tensor and expert parallelism, whether the engine starts.
    """
    from safetensors.torch import load_file

    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    # PEFTHelper's required fields, and what makes validate_legal refuse.
    assert (settings["r"], settings["lora_alpha"]) == (RANK, 2 * RANK)
    assert set(settings["target_modules"]) == {"q_proj", "k_proj", "v_proj", "o_proj"}
    refused = ("modules_to_save", "use_dora", "lora_bias", "alora_invocation_tokens", "layer_replication")
    refused += ("use_bdlora", "use_qalora", "rank_pattern", "alpha_pattern", "use_rslora")
    assert {name: settings[name] for name in refused if settings.get(name)} == {}
    assert (settings["bias"], settings["init_lora_weights"]) == ("none", True)
    weights = load_file(adapter / "adapter_model.safetensors")
    shapes = {}
    for layer in range(2):
        module = f"base_model.model.model.layers.{layer}"
        for name, inputs, outputs in (("q", 64, 64), ("k", 64, 32), ("v", 64, 32), ("o", 64, 64)):
            shapes[f"{module}.self_attn.{name}_proj.lora_A.weight"] = (RANK, inputs)
            shapes[f"{module}.self_attn.{name}_proj.lora_B.weight"] = (outputs, RANK)
        # FusedMoE3DWithLoRA takes "experts.base_layer" for gate_up and "experts" for down.
        shapes[f"{module}.mlp.experts.base_layer.lora_A.weight"] = (EXPERTS * RANK, HIDDEN)
        shapes[f"{module}.mlp.experts.base_layer.lora_B.weight"] = (2 * INTERMEDIATE, EXPERTS * RANK)
        shapes[f"{module}.mlp.experts.lora_A.weight"] = (EXPERTS * RANK, INTERMEDIATE)
        shapes[f"{module}.mlp.experts.lora_B.weight"] = (HIDDEN, EXPERTS * RANK)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == shapes
    check_vllm_order(weights, base=base, adapter=adapter)


def check_vllm_order(weights: dict[str, Any], *, base: Path, adapter: Path) -> None:
    """Compare expert by expert: A's rows are expert after expert, B's columns rank after rank."""
    import torch

    plain = load_plainly(base, None).state_dict()
    sums = load_plainly(base, adapter).merge_and_unload().state_dict()
    for layer in range(2):
        experts = f"model.layers.{layer}.mlp.experts"
        for key, name in ((".base_layer", "gate_up_proj"), ("", "down_proj")):
            update = sums[f"{experts}.{name}"] - plain[f"{experts}.{name}"]  # (E, in, out)
            lora_a = weights[f"base_model.model.{experts}{key}.lora_A.weight"]
            lora_b = weights[f"base_model.model.{experts}{key}.lora_B.weight"]
            for expert in range(EXPERTS):
                rows = lora_a[expert * RANK : (expert + 1) * RANK]
                columns = lora_b[:, expert::EXPERTS]
                torch.testing.assert_close(2.0 * (columns @ rows), update[expert].T, atol=1e-5, rtol=0)
            assert update.abs().max() > 1e-2


def test_merged_checkpoint_alone_gives_the_adapted_logits(merged: Path, adapter: Path, base: Path) -> None:
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    adapted = compute_logits(load_plainly(base, adapter))
    assert (adapted - compute_logits(load_plainly(base, None))).abs().max() > 0.1
    # float32, and the same products added in another order; 1e-5 was seen at logits of 20.
    torch.testing.assert_close(compute_logits(load_plainly(merged, None)), adapted, atol=1e-4, rtol=0)
    assert AutoTokenizer.from_pretrained(merged).get_vocab() == AutoTokenizer.from_pretrained(base).get_vocab()
    stops = [GenerationConfig.from_pretrained(folder).eos_token_id for folder in (merged, base)]
    assert stops[0] == stops[1] is not None
    assert not list(merged.glob("adapter*"))


@pytest.mark.parametrize("target", ["adapter", "merged"])
def test_same_export_again_does_nothing(commands: Commands, adapter: Path, merged: Path, target: str) -> None:
    folder = commands.folder / "exports" / target
    before = hash_files(folder)
    done = commands.succeed("export", "runs/austen", "--to", target, "--out", f"exports/{target}")
    assert done.stdout == f"nothing to do: exports/{target} holds the export of the same run and settings\n"
    assert hash_files(folder) == before


@pytest.mark.parametrize("target", ["adapter", "merged"])
def test_card_s_code_runs_as_it_stands(
    commands: Commands, base: Path, adapter: Path, merged: Path, target: str
) -> None:
    folder = {"adapter": adapter, "merged": merged}[target]
    values: dict[str, Any] = {"FOLDER": str(folder), "BASE": str(base)}
    exec(compile(read_python(folder / "README.md"), "<the card's code>", "exec"), values)
    assert values["text"].startswith("<|startoftext|>It was late when")
    assert len(values["text"]) > len("<|startoftext|>It was late when")


def test_export_holds_no_word_title_name_or_path(commands: Commands, adapter: Path, merged: Path, data: Path) -> None:
    rows = [row for split in ("train", "val", "test", "contrast_test") for row in read_rows(data / f"{split}.jsonl")]
    phrases = {" ".join(row["text"].split()[:5]) for row in rows}
    titles = {row["document"] for row in rows} | {row["author"] for row in rows} | {"austen"}
    secrets = {text.lower().encode() for text in phrases | titles | {str(commands.folder)}}
    found = []
    for folder in (adapter, merged):
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".safetensors" and path.name != "tokenizer.json":
                content = path.read_bytes().lower()
                found += [(path.name, secret) for secret in secrets if secret in content]
    assert found == []


def test_card_tells_the_numbers_of_the_run(adapter: Path, tested_run: Run, data: Path) -> None:
    card = (adapter / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((tested_run.folder / "manifest.json").read_text(encoding="utf-8"))
    splits = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["splits"]
    assert f"| train | 5 | {splits['train']['sections']} | {splits['train']['words']:,} |" in card
    for value in (manifest["data_sha256"], manifest["base_model"]["weights_sha256"]):
        assert f"`{value}`" in card
    assert f"{manifest['tokens_seen']:,} tokens trained on" in card
    rows = [row for row in read_rows(tested_run.folder / "metrics.jsonl") if row["split"] == "val"]
    for row in (rows[0], rows[-1]):
        shown = f"| the author's | {row['step']} | {row['perplexity']:.2f} | {row['bits_per_byte']:.3f} |"
        assert shown in card
    for name, key in (("G_A", "g_a"), ("G_O", "g_o"), ("S = G_A - G_O", "s")):
        report = json.loads((tested_run.folder / "report.json").read_text(encoding="utf-8"))["specificity"][key]
        bounds = f"{report['low']:+.3f} to {report['high']:+.3f}"
        assert f"| {name} | {report['estimate']:+.3f} | {bounds} |" in card


def test_report_of_another_adapter_is_left_out(commands: Commands, tested_run: Run) -> None:
    run = copy_run(tested_run, commands.folder / "copies/other-report")
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    report["protocol"]["adapters_sha256"]["author"] = "0" * 64
    (run / "report.json").write_text(json.dumps(report), encoding="utf-8")
    commands.succeed("export", "copies/other-report", "--to", "adapter")
    card = (run / "export/adapter/README.md").read_text(encoding="utf-8")
    assert "Not tested" in card
    assert "G_A" not in card


def test_author_is_named_when_asked(commands: Commands, tested_run: Run) -> None:
    run = copy_run(tested_run, commands.folder / "copies/named")
    commands.succeed("export", "copies/named", "--to", "adapter", "--author-name", "Miss A.")
    assert "trained on texts by Miss A." in (run / "export/adapter/README.md").read_text(encoding="utf-8")


def test_control_is_exported_as_a_control(commands: Commands, tested_run: Run) -> None:
    commands.succeed("export", "runs/austen/control", "--to", "adapter", "--out", "exports/control")
    assert "other authors: the control" in (commands.folder / "exports/control/README.md").read_text(encoding="utf-8")


def test_embedded_base_lies_beside_its_adapter(commands: Commands, data: Path) -> None:
    settings = [
        "name=embedded",
        "output.dir=embedded-runs",
        "model.name=embedded:tiny",
        "train.max_steps=1",
        "train.batch_size=1",
    ]
    options = [part for setting in settings for part in ("--set", setting)]
    commands.succeed("train", "--config", "run.toml", *options)
    commands.succeed("export", "embedded-runs/embedded", "--to", "adapter", "--out", "exports/embedded")
    folder = commands.folder / "exports/embedded"
    values: dict[str, Any] = {"FOLDER": str(folder)}
    exec(compile(read_python(folder / "README.md"), "<the card's code>", "exec"), values)
    assert values["model"].get_base_model().config.vocab_size == 4096
    assert values["text"].startswith("<|startoftext|>It was late when")


def test_gguf_is_what_the_converter_makes_of_the_merged_checkpoint(commands: Commands, tested_run: Run) -> None:
    command = ["export", "runs/austen", "--to", "gguf", "--out", "exports/gguf", "--gguf-type", "q8_0"]
    done = commands.succeed(*command, environment=LLAMA_CPP)
    assert done.stdout.splitlines()[-1] == "gguf: exports/gguf"
    folder = commands.folder / "exports/gguf"
    assert {path.name for path in folder.iterdir()} == {"README.md", "export.json", "model.gguf"}
    content = (folder / "model.gguf").read_bytes()
    found = json.loads(content[8:])
    assert content[:4] == b"GGUF"
    assert (found["outtype"], found["shards"]) == ("q8_0", ["model.safetensors"])
    assert commands.succeed(*command, environment=LLAMA_CPP).stdout.startswith("nothing to do: exports/gguf")


def test_ollama_gets_a_modelfile_and_is_asked_only_on_demand(
    commands: Commands, tested_run: Run, tmp_path: Path
) -> None:
    command = ["export", "runs/austen", "--to", "ollama", "--out", "exports/ollama"]
    done = commands.succeed(*command, "--llama-cpp", LLAMA_CPP["LLAMA_CPP_DIR"])
    assert done.stdout.splitlines()[-1] == "ollama create my-author -f exports/ollama/Modelfile"
    folder = commands.folder / "exports/ollama"
    assert {path.name for path in folder.iterdir()} == {"README.md", "export.json", "model.gguf", "Modelfile"}
    notes = tmp_path / "notes"
    environment = LLAMA_CPP | {"OLLAMA_NOTES": str(notes), "PATH": f"{STAND_INS}:{os.environ['PATH']}"}
    done = commands.succeed(*command, "--create", "aunt-jane", environment=environment)
    assert done.stdout.splitlines()[0].startswith("nothing to do: exports/ollama")
    assert notes.read_text().split() == ["aunt-jane", "Modelfile", str((folder / "model.gguf").stat().st_size)]


@pytest.mark.parametrize(
    ("what", "options", "expected"),
    [
        ("fail", [], "exit code 1; it said last: NotImplementedError: BPE pre-tokenizer was not recognized"),
        ("hang", ["--deadline-s", "4"], "was not done after 4 seconds and was ended"),
    ],
)
def test_converter_that_fails_leaves_nothing(
    commands: Commands, tested_run: Run, tmp_path: Path, what: str, options: list[str], expected: str
) -> None:
    llama_cpp = shutil.copytree(STAND_INS / "llama_cpp", tmp_path / "llama_cpp")
    (llama_cpp / what).touch()
    done = commands.run(
        "export", "runs/austen", "--to", "gguf", "--out", f"exports/{what}", "--llama-cpp", str(llama_cpp), *options
    )
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and expected in done.stderr
    assert not list((commands.folder / "exports").glob(f"{what}*"))


@pytest.fixture(scope="module")
def refused(commands: Commands, tested_run: Run, base: Path) -> None:
    """Make runs that can't be exported."""
    copy_run(tested_run, commands.folder / "copies/unfinished", finished=False)
    copy_run(tested_run, commands.folder / "copies/huge", config={"model": {"name": "huge"}})
    huge = shutil.copytree(base, commands.folder / "huge")
    config = json.loads((huge / "config.json").read_text(encoding="utf-8")) | {"num_local_experts": 10**9}
    (huge / "config.json").write_text(json.dumps(config), encoding="utf-8")
    changed = {"name": "changed", "weights_sha256": "0" * 64}
    copy_run(
        tested_run, commands.folder / "copies/changed", config={"model": {"name": "changed"}}, base_model=changed
    )
    shutil.copytree(base, commands.folder / "changed")
    (commands.folder / "copies/notes").mkdir()
    (commands.folder / "copies/notes/mine.txt").write_text("mine")
    os.utime(tested_run.folder / "manifest.json")  # whatever other tests have trained since, this run is the newest


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["copies", "--to", "adapter"], "copies/manifest.json: not there"),
        (["copies/unfinished", "--to", "merged"], "the run in copies/unfinished is not finished"),
        (["--to", "adapter", "--out", "copies/notes"], "copies/notes holds files that ghostpen didn't export"),
        (["--to", "adapter", "--out", "run.toml"], "run.toml is not a folder"),
        (["copies/huge", "--to", "merged"], "TB of disk, and copies/huge/export/merged has"),
        (["copies/changed", "--to", "merged"], "the weights of changed are not those"),
        (["--to", "gguf"], "name the folder with --llama-cpp DIR or LLAMA_CPP_DIR"),
        (["--to", "gguf", "--llama-cpp", "texts"], "texts holds no convert_hf_to_gguf.py"),
        (["--to", "adapter", "--base", "base"], "--to adapter merges nothing"),
        (["--to", "merged", "--gguf-type", "bf16"], "--gguf-type is for --to gguf and ollama"),
        (["--to", "gguf", "--create", "me"], "--create is for --to ollama"),
        (["--to", "merged", "--base", "owner/nothing", "--out", "new"], "owner/nothing could not be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_export_that_cannot_be_made_is_one_line_and_writes_nothing(
    commands: Commands, refused: None, command: list[str], expected: str
) -> None:
    folders = [commands.folder / name for name in ("copies", "exports", "texts")]
    before = [hash_files(folder) for folder in folders]
    done = commands.run("export", *command, environment={"LLAMA_CPP_DIR": ""})  # not the developer's
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1 and expected in done.stderr
    assert [hash_files(folder) for folder in folders] == before
    assert not (commands.folder / "new").exists()


def test_docs_commands_run_as_they_stand(commands: Commands, tested_run: Run, base: Path) -> None:
    (block,) = take_blocks(__file__, "docs/export.md")
    folder = commands.folder / "docs"
    copy_run(tested_run, folder / "runs/mine")
    shutil.copytree(base, folder / "base")
    targets = []
    for program, *arguments in block.runnable:
        assert program == "ghostpen"
        commands.succeed(*arguments, folder=folder, environment=LLAMA_CPP)
        targets.append(arguments[arguments.index("--to") + 1])
    assert targets == ["adapter", "merged", "gguf", "ollama"]
    assert {path.name for path in (folder / "runs/mine/export").iterdir()} == {"adapter", "merged", "gguf"}
    assert (folder / "exports/ollama/Modelfile").is_file()
