"""The model card: what it says, what it must never say, and that nothing is invented."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ghostpen.data.manifest import Inputs, Manifest, SourceRecord, SplitCounts
from ghostpen.export.card import CardFacts, render_card

SHARES = {"continue_share": 0.0, "brief_share": 0.0, "rewrite_share": 0.0}
MANIFEST: dict[str, Any] = {
    "run_id": "jane-secret-1",
    "role": "author",
    "author": "Jane Secret",
    "config": {
        "name": "jane-secret",
        "data": {"dir": "/home/jane/letters", "sequence_length": 1024} | SHARES,
        "model": {"name": "unsloth/gpt-oss-20b", "load_in_4bit": False, "precision": "bfloat16"},
        "lora": {"rank": None, "alpha": None, "layers": None},
        "train": {"batch_size": 2, "gradient_accumulation": 4, "seed": 7},
    },
    "recipe": {"rank": 24, "steps": 300, "learning_rate": 2e-4, "schedule": "cosine"},
    "step": 250,
    "best": {"step": 200, "bits_per_byte": 1.2345},
    "data_sha256": "d" * 64,
    "base_model": {"name": "unsloth/gpt-oss-20b", "revision": "abc123"},
    "targets": {"trainable": {"attention.q_proj": 8, "experts.down_proj": 1_234_567}, "trainable_total": 1_234_575},
    "tokens_seen": 2_400_000,
    "ghostpen_version": "0.1.0",
    "package_versions": {"torch": "2.14.1", "peft": "0.21.2"},
}
DATA = Manifest(
    format_version=1,
    ghostpen_version="0.1.0",
    inputs=Inputs(
        author="Jane Secret",
        sources=[SourceRecord(name="love-letters", sha256="e" * 64, size_bytes=9)],
        contrast=[],
        val_docs="letter-to-tom*",
        test_docs="diary-1999",
        seed=0,
    ),
    within_document=False,
    contrast_within_document=False,
    splits={"train": SplitCounts(documents=4, sections=192, words=476_350, size_bytes=2_665_333)},
    dropped={},
    data_sha256="d" * 64,
)
REPORT: Any = {
    "author": "Jane Secret",
    "verdict": "Writes like Jane Secret: ...",
    "specificity": {
        "g_a": {"estimate": 0.0612, "low": 0.058, "high": 0.064},
        "g_o": {"estimate": -0.0531, "low": -0.066, "high": -0.042},
        "s": {"estimate": 0.1143, "low": 0.103, "high": 0.127},
        "resamples": 2000,
        "seed": 0,
    },
    "author_test": {"parts": [{"name": "diary-1999"}]},
}


def make_row(split: str, step: int, loss_nats: float, bits_per_byte: float | None) -> dict[str, Any]:
    row = {"split": split, "step": step, "loss_nats": loss_nats, "tokens": 10, "bits_per_byte": bits_per_byte}
    return row | {"perplexity": 10 * loss_nats}


METRICS = [
    make_row("train", 1, 40.0, None),
    make_row("val", 0, 39.0, 1.7),
    make_row("val", 100, 36.0, 1.5),
    make_row("val", 200, 37.0, 1.6),
    make_row("val", 300, 38.0, 1.65),
]
FACTS = CardFacts(target="adapter", manifest=MANIFEST, data=DATA, metrics=METRICS, report=REPORT, author_name=None)


def read_front_matter(card: str) -> dict[str, Any]:
    """Read the few forms of YAML that a card uses: `key: value`, quoted or not, and one list."""
    opened, block, _ = card.split("---\n", 2)
    assert opened == ""
    found: dict[str, Any] = {}
    for line in block.splitlines():
        if line.startswith("- "):
            found["tags"].append(line[2:])
            continue
        key, value = line.split(":", 1)
        found[key] = json.loads(value) if value.startswith(' "') else value.strip() or []
    return found


@pytest.mark.parametrize(
    ("target", "library", "relation", "tags"),
    [
        ("adapter", "peft", "adapter", ["gpt_oss", "lora", "ghostpen"]),
        ("merged", "transformers", "finetune", ["gpt_oss", "ghostpen"]),
        ("gguf", None, "finetune", ["gpt_oss", "gguf", "ghostpen"]),
        ("ollama", None, "finetune", ["gpt_oss", "gguf", "ollama", "ghostpen"]),
    ],
)
def test_front_matter_names_base_library_and_tags(target: Any, library: str, relation: str, tags: list[str]) -> None:
    found = read_front_matter(render_card(replace(FACTS, target=target)))
    assert found == {
        "base_model": "unsloth/gpt-oss-20b",
        "base_model_relation": relation,
        **({"library_name": library} if library else {}),
        "pipeline_tag": "text-generation",
        "license": "unknown",
        "tags": tags,
    }


@pytest.mark.parametrize("target", ["adapter", "merged", "gguf", "ollama"])
def test_card_names_no_person_text_or_folder(target: Any) -> None:
    card = render_card(replace(FACTS, target=target)).lower()
    for secret in ("jane", "secret", "letter", "diary", "tom*", "/home"):
        assert secret not in card


def test_card_names_the_author_as_the_person_asks() -> None:
    card = render_card(replace(FACTS, author_name="J. S."))
    assert "trained on texts by J. S." in card
    assert "Writes like J. S.: on unseen text the adapter saves +0.061" in card
    assert "Jane" not in card


@pytest.mark.parametrize(
    ("divided", "said"),
    [
        (False, "Whole documents are held out for validation and test."),
        (True, "Too few documents: chapters of the longest are held out, an easier test than a whole work."),
    ],
)
def test_card_tells_how_text_is_held_out(divided: bool, said: str) -> None:
    data = DATA.model_copy(update={"within_document": divided})
    assert said in render_card(replace(FACTS, data=data)).splitlines()


def test_card_names_the_repository_that_the_commit_is_of() -> None:
    base = {"name": "openai/gpt-oss-20b", "loaded_name": "unsloth/gpt-oss-20b", "revision": "abc123"}
    lines = render_card(replace(FACTS, manifest=MANIFEST | {"base_model": base})).splitlines()
    assert "- base model: openai/gpt-oss-20b" in lines
    assert "- trained on its weights as unsloth/gpt-oss-20b has them" in lines
    assert "- revision of unsloth/gpt-oss-20b: `abc123`" in lines


def test_card_tells_what_was_trained_on_what() -> None:
    card = render_card(FACTS)
    for line in (
        "| train | 4 | 192 | 476,350 | 2,665,333 |",
        "- revision of the base: `abc123`",
        "- LoRA: rank 24, alpha 48, all layers, 1,234,575 trained parameters",
        "  - experts.down_proj: 1,234,567",
        "- 250 of 300 planned steps, 2,400,000 tokens trained on",
        "- these weights are those of step 200, the best on the author's validation text (1.234 bits per byte)",
        "- learning rate 0.0002, cosine, seed 7",
        "- windows of 1,024 tokens, 8 a step",
        "- ghostpen 0.1.0, torch 2.14.1, peft 0.21.2",
        f"sha256 of the prepared texts: `{'d' * 64}`.",
    ):
        assert line in card.splitlines()


def test_card_shows_first_lowest_and_last_validation() -> None:
    rows = [line for line in render_card(FACTS).splitlines() if line.startswith("| the author's |")]
    assert rows == [
        "| the author's | 0 | 390.00 | 1.700 |",
        "| the author's | 100 | 360.00 | 1.500 |",
        "| the author's | 300 | 380.00 | 1.650 |",
    ]


def test_card_of_a_tested_run_gives_the_three_numbers_with_intervals() -> None:
    lines = render_card(FACTS).splitlines()
    assert "| G_A | +0.061 | +0.058 to +0.064 | gain over the control on the author's unseen text |" in lines
    assert "| G_O | -0.053 | -0.066 to -0.042 | the same on other authors' unseen text |" in lines
    assert "| S = G_A - G_O | +0.114 | +0.103 to +0.127 | what is the author's and not just prose |" in lines
    few = {key: {"estimate": 0.1, "low": None, "high": None} for key in ("g_a", "g_o", "s")}
    card = render_card(replace(FACTS, report=REPORT | {"specificity": REPORT["specificity"] | few}))
    assert "| S = G_A - G_O | +0.100 | too few sections |" in card
    assert "Too little text to say whether it writes like the author" in card


def test_card_of_an_untested_run_claims_no_style() -> None:
    card = render_card(replace(FACTS, report=None))
    assert "Not tested" in card
    assert "G_A" not in card


def test_card_of_the_control_says_that_it_is_one() -> None:
    card = render_card(replace(FACTS, manifest=MANIFEST | {"role": "control"}, report=None))
    assert "other authors: the control" in card
    assert "does not name" not in card


def test_card_without_the_texts_has_no_counts() -> None:
    card = render_card(replace(FACTS, data=None))
    assert "has no counts" in card
    assert "| train |" not in card
    assert "d" * 64 in card


@pytest.mark.parametrize(
    ("base", "licence", "in_front"),
    [
        ({"name": "unsloth/gpt-oss-20b", "revision": "a"}, "gpt-oss is under Apache-2.0", True),
        ({"name": "openai/gpt-oss-120b", "revision": "a"}, "gpt-oss is under Apache-2.0", True),
        ({"name": "unsloth/gpt-oss-20b-unsloth-bnb-4bit", "revision": "a"}, "gpt-oss is under Apache-2.0", True),
        ({"name": "someone/gpt-oss-20b", "revision": "a"}, "licence is not known", True),
        ({"name": "jane/gpt", "weights_sha256": "b" * 64}, "licence is not known", False),
        ({"name": "embedded:tiny", "weights_sha256": "b" * 64}, "ghostpen's own, under Apache-2.0", False),
    ],
)
def test_card_gives_the_base_s_licence_and_never_its_own(base: dict[str, str], licence: str, in_front: bool) -> None:
    card = render_card(replace(FACTS, manifest=MANIFEST | {"base_model": base}))
    assert licence in card
    assert "for its owner to decide" in card
    assert ("base_model" in read_front_matter(card)) == in_front
    assert ("jane" in card) is False
    if "weights_sha256" in base:
        assert base["weights_sha256"] in card


@pytest.mark.parametrize(
    ("rank", "expected"),
    [(1, "--max-lora-rank 1 "), (16, "--max-lora-rank 16 "), (24, "--max-lora-rank 32 "), (513, "up to 512")],
)
def test_card_gives_vllm_a_rank_that_it_takes(rank: int, expected: str) -> None:
    recipe = MANIFEST["recipe"] | {"rank": rank}
    card = render_card(replace(FACTS, manifest=MANIFEST | {"recipe": recipe}))
    assert expected in card


def test_card_of_a_published_gpt_oss_dequantises_it() -> None:
    card = render_card(FACTS)
    assert "quantization_config=Mxfp4Config(dequantize=True)" in card
    assert "import AutoModelForCausalLM, AutoTokenizer, Mxfp4Config\n" in card
