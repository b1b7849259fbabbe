"""A tiny random gpt-oss, short texts, and the real commands run on them, each once per session.

The model knows nothing, so no test here says anything about quality: they say that the parts fit together.
"""

import runpy
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands, Finished
from tests.s3_server import FAKE_CREDENTIALS, serve_s3

ROOT = Path(__file__).parents[2]
TEXTS = ROOT / "src/ghostpen/assets/texts"

# Pieces of books: (member of the zip, pieces, bytes a piece). Several documents in every split.
AUTHOR_PIECES = {
    "train": [("pride-and-prejudice.txt", 3, 12_000), ("mansfield-park.txt", 2, 12_000)],
    "val": [("persuasion.txt", 2, 5_000)],
    "test": [("emma.txt", 3, 5_000)],
}
OTHER_PIECES = {
    "train": [("train/twain/a-tramp-abroad.txt", 3, 12_000), ("train/hawthorne/fanshawe.txt", 2, 12_000)],
    "val": [("val/irving/mountjoy.txt", 2, 5_000)],
    "test": [("test/crane/maggie.txt", 3, 5_000)],
}
CONFIG = """
name = "austen"
[data]
dir = "data"
sequence_length = 64
[model]
name = "base"
precision = "float32"
require_gpu = false
[lora]
rank = 4
[train]
max_steps = 12
batch_size = 8
learning_rate = 2e-2
eval_every = 3
checkpoint_every = 5
[eval]
window = 64
stride = 32
continuations = 4
topics = 2
written_words = 20
extraction_windows = 4
[tracking]
tracker = "none"
samples = 0
sample_words = 5
"""
# What most tests don't look at, and what takes time.
WATCHED = ("--tracker", "wandb", "--set", "tracking.samples=1", "--set", "tracking.sample_words=40")
# Recognisable wherever they turn up. W&B wants 40 characters.
SECRETS = {
    "WANDB_API_KEY": "c0ffee5ec4e7" + "0123456789abcdef" * 2,
    "HF_TOKEN": "hf_canary5ec4e7token",
    "AWS_SECRET_ACCESS_KEY": "canary5ec4e7awskey",
}


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """Return what runs commands."""
    started = Commands(tmp_path_factory.mktemp("pipeline"))
    yield started
    started.close()


def cut_pieces(archive: Path, member: str, pieces: int, size_bytes: int) -> dict[str, str]:
    """Cut a book into `pieces` documents from places far apart, at paragraph ends."""
    with zipfile.ZipFile(archive) as opened:
        text = opened.read(member).decode()
    cut = {}
    for number in range(pieces):
        start = text.index("\n\n", number * len(text) // pieces + 3_000) + 2
        end = text.index("\n\n", start + size_bytes) + 1
        cut[f"{Path(member).stem}-{number}"] = text[start:end]
    return cut


@pytest.fixture(scope="session")
def texts(commands: Commands) -> Path:
    """Write the raw texts: texts/austen and texts/others, both with train, val and test folders."""
    folder = commands.folder / "texts"
    for name, archive, split_pieces in (
        ("austen", TEXTS / "austen.zip", AUTHOR_PIECES),
        ("others", TEXTS / "contrast.zip", OTHER_PIECES),
    ):
        for split, books in split_pieces.items():
            for member, pieces, size_bytes in books:
                author = [] if name == "austen" else [Path(member).parent.name]
                place = folder.joinpath(name, split, *author)
                place.mkdir(parents=True, exist_ok=True)
                for document, text in cut_pieces(archive, member, pieces, size_bytes).items():
                    (place / f"{document}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def base(commands: Commands, texts: Path) -> Path:
    """Save a random gpt-oss of two layers, with a tokenizer trained on the texts."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast

    made_by = runpy.run_path(str(ROOT / "tools/base_model.py"))
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    bpe.train([str(path) for path in sorted(texts.rglob("*.txt"))], trainer)
    bpe.add_special_tokens(list(made_by["SPECIAL_TOKENS"]))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|startoftext|>",
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = made_by["CHAT_TEMPLATE"]
    ids = tokenizer.convert_tokens_to_ids
    config = GptOssConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, intermediate_size=64,
        sliding_window=16, max_position_embeddings=512, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        router_aux_loss_coef=0.9,  # gpt-oss's own: a router loss that leaks into a perplexity shows
        initializer_range=0.1,  # large enough that the frozen output layer lets an adapter learn something
        bos_token_id=ids("<|startoftext|>"), eos_token_id=ids("<|return|>"), pad_token_id=ids("<|endoftext|>"),
    )  # fmt: skip
    torch.manual_seed(0)
    folder = commands.folder / "base"
    GptOssForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data(commands: Commands, texts: Path) -> Path:
    """Prepare the texts."""
    commands.succeed(
        "prepare", "texts/austen", "--author", "Jane Austen", "--contrast", "texts/others", "--out", "data"
    )
    return commands.folder / "data"


@pytest.fixture(scope="session")
def letters(commands: Commands) -> Path:
    """Prepare 30 documents of 100 to 1,500 bytes, 24 of them to train on."""
    with zipfile.ZipFile(TEXTS / "austen.zip") as opened:
        paragraphs = iter(opened.read("northanger-abbey.txt").decode().split("\n\n")[20:])
    for number in range(30):
        letter = ""
        while len(letter) < 100 + number * 7 % 30 * 25:
            letter += next(paragraphs) + "\n\n"
        split = "train" if number < 24 else "val" if number < 27 else "test"
        place = commands.folder / "letters" / split / f"letter-{number}.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(letter, encoding="utf-8")
    commands.succeed("prepare", "letters", "--author", "Jane Austen", "--out", "data-letters")
    return commands.folder / "data-letters"


@pytest.fixture(scope="session")
def config(commands: Commands, base: Path, data: Path) -> str:
    """Write the config that every run here starts from; returns its name."""
    (commands.folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    return "run.toml"


@pytest.fixture(scope="session")
def aws_variables() -> Iterator[dict[str, str]]:
    """Start an S3 server, and name it and its credentials as a process's environment does."""
    with serve_s3() as url:
        yield FAKE_CREDENTIALS | {"AWS_ENDPOINT_URL": url}


@dataclass(frozen=True)
class Run:
    """A run's folder, and what the verb that completed it printed."""

    folder: Path
    done: Finished


@pytest.fixture(scope="session")
def author_run(commands: Commands, config: str) -> Run:
    """Train the author's adapter, with secrets in the environment."""
    done = commands.succeed("train", "--config", config, *WATCHED, environment=SECRETS)
    return Run(commands.folder / "runs/austen", done)


@pytest.fixture(scope="session")
def control_run(commands: Commands, config: str, author_run: Run) -> Run:
    """Train the control."""
    done = commands.succeed("train", "--config", config, "--control", *WATCHED, environment=SECRETS)
    return Run(author_run.folder / "control", done)


@pytest.fixture(scope="session")
def tested_run(commands: Commands, config: str, author_run: Run, control_run: Run) -> Run:
    """Measure base, control and author."""
    return Run(author_run.folder, commands.succeed("test", "--config", config, environment=SECRETS))
