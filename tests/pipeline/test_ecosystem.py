"""The files of prepared data are taken by `datasets` and by TRL's own trainer as they are."""

import json
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands

pytestmark = pytest.mark.pipeline

# What somebody else's script does; HF_HUB_OFFLINE=1 is in the environment, without which `datasets` asks the hub for
# a script called "json". Unsloth is imported because TRL 1.15's loss needs a GPU without it.
SCRIPT = """
import json
import unsloth
from datasets import load_dataset
from transformers import AutoTokenizer, GptOssForCausalLM
from trl import SFTConfig, SFTTrainer

loaded = load_dataset(
    "json", data_files={name: f"data/{name}.jsonl" for name in ("train", "val", "test")}, cache_dir="cache"
)
for name, rows in loaded.items():
    with open(f"data/{name}.jsonl", encoding="utf-8") as file:
        assert rows.to_list() == [json.loads(line) for line in file], name
pairs = load_dataset("json", data_files="pairs/briefs.jsonl", split="train", cache_dir="cache")
for name, rows in (("text", loaded["train"]), ("prompt-completion", pairs)):
    trainer = SFTTrainer(
        model=GptOssForCausalLM.from_pretrained("base"),
        processing_class=AutoTokenizer.from_pretrained("base"),
        train_dataset=rows,
        args=SFTConfig(
            output_dir="trl", max_steps=1, per_device_train_batch_size=1, max_length=64, use_cpu=True, bf16=False,
            report_to="none", save_strategy="no", disable_tqdm=True, gradient_checkpointing=False,
        ),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    counted = [int(label) for label in batch["labels"][0] if label != -100]
    tokenizer = trainer.processing_class
    print("RESULT", json.dumps([name, trainer.train().training_loss, tokenizer.decode(counted)]))
"""


def test_datasets_and_trl_take_the_files_as_they_are(commands: Commands, data: Path, base: Path) -> None:
    texts = [json.loads(line)["text"] for line in (data / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    row = {"prompt": "A brief.", "completion": texts[0][:60], "document": "a", "section": 0, "base": "b", "seed": 0}
    (commands.folder / "pairs").mkdir()
    (commands.folder / "pairs/briefs.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    done = commands.run(code=SCRIPT)
    assert done.exit_code == 0, done.stderr
    results = [json.loads(line.split(" ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert [name for name, _, _ in results] == ["text", "prompt-completion"]
    assert all(loss > 0 for _, loss, _ in results)
    assert any(text.startswith(results[0][2][:40]) for text in texts)
    assert results[1][2].startswith(row["completion"])  # TRL, too, counts the author's words only
