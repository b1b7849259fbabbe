"""The memory estimate against published figures, and each GPU profile against its card and its document.

The figures are other people's, of other releases: they hold the arithmetic, and are no measurement of ghostpen.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ghostpen.config import RunConfig, build_run_config, load_run_config
from ghostpen.errors import ModelError
from ghostpen.model.checkpoint import Checkpoint, Layout, Loading, Storage, plan_loading, resolve_loaded_name
from ghostpen.model.loading import load_base
from ghostpen.model.memory import GB, MemoryEstimate, Sizes, compute_weight_bytes, count_layer_bytes, estimate_memory

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
GIB = 2**30
GPT_OSS_20B = Sizes(
    layers=24, hidden=2880, intermediate=2880, heads=64, kv_heads=8, head_dim=64, experts=32, experts_per_token=4,
    vocabulary=201088,
)  # fmt: skip
ATTENTION, EXPERTS = 497_664, 11_059_200  # trainable parameters for each unit of the rank
# What is published under a name, by the names of its tensors; attention in the split one is taken to be 16 bits.
PUBLISHED: dict[str, tuple[Layout, Storage]] = {
    "unsloth/gpt-oss-20b": ("fused", "mxfp4"),
    "unsloth/gpt-oss-20b-BF16": ("fused", "16 bit"),
    "unsloth/gpt-oss-20b-unsloth-bnb-4bit": ("split", "nf4"),
}
PROFILES = {24: "gpt-oss-20b-24gb", 48: "gpt-oss-20b-48gb", 80: "gpt-oss-20b-80gb"}


def load_profile(gpu_gb: int) -> RunConfig:
    return load_run_config(ROOT / f"configs/{PROFILES[gpu_gb]}.toml", ["data.dir=given"])


def plan_profile(config: RunConfig) -> Loading:
    name = resolve_loaded_name(config.model.name, config.model, gpu=True)
    layout, experts = PUBLISHED[name]
    return plan_loading(Checkpoint(layout, experts, "16 bit", 24, None), config.model, gpu=True, name=name)


def estimate_profile(gpu_gb: int) -> MemoryEstimate:
    config = load_profile(gpu_gb)
    trainable = config.lora.rank * (ATTENTION + EXPERTS)
    return estimate_memory(GPT_OSS_20B, plan_profile(config), trainable=trainable, config=config)


@dataclass(frozen=True)
class Anchor:
    """A published figure, PyTorch's reserved memory: without what the driver takes."""

    source: str
    setting: str
    published_gib: float
    loading: Loading
    tokens: int
    trainable: int
    experts_decoded: int | None = None

    @property
    def estimated_gib(self) -> float:
        config = build_run_config(
            {
                "name": "anchor",
                "data": {"dir": ".", "sequence_length": max(self.tokens, 32)},
                "model": {"name": self.loading.name},
                "train": {"max_steps": 1, "batch_size": 1, "optimizer": "adamw_8bit"},
            }
        )
        estimate = estimate_memory(
            GPT_OSS_20B, self.loading, trainable=self.trainable, config=config, experts_decoded=self.experts_decoded
        )
        trained = estimate.training_total - estimate.overhead
        return (trained if self.tokens else estimate.weights) / GIB

    @property
    def deviation(self) -> float:
        return self.estimated_gib / self.published_gib - 1

    def render(self) -> str:
        return (
            f"| {self.source} | {self.setting} | {self.published_gib:g} | {self.estimated_gib:.1f} | "
            f"{self.deviation:+.1%} |"
        )


BF16 = Loading("unsloth/gpt-oss-20b-BF16", "fused", "16 bit", "16 bit")
SPLIT = Loading("unsloth/gpt-oss-20b-unsloth-bnb-4bit", "split", "nf4", "16 bit")
NOTEBOOK = "Unsloth's notebook gpt-oss-(20B)-Fine-tuning, T4"
TABLE = "Unsloth's documentation, faster MoE, B200"
ANCHORS = [
    Anchor(NOTEBOOK, "split NF4, after loading", 12.811, SPLIT, 0, 0),
    Anchor(NOTEBOOK, "the same, peak: rank 8, attention, 1 x 1,024", 12.975, SPLIT, 1024, 8 * ATTENTION, 1),
    *(
        Anchor(TABLE, f"bfloat16, rank 8, with experts, 1 x {tokens:,}", gib, BF16, tokens, 8 * (ATTENTION + EXPERTS))
        for tokens, gib in ((1024, 40.9), (2048, 41.8), (4096, 43.7), (8192, 47.4), (16384, 55.1))
    ),
    Anchor("Axolotl's examples/gpt-oss", "bfloat16, rank 8, attention, 1 x 4,096", 44, BF16, 4096, 8 * ATTENTION),
]
# The notebook pads no sequence to 1,024, and its release decoded one expert after the other.
BOUNDS = {NOTEBOOK: 0.10, TABLE: 0.02, "Axolotl's examples/gpt-oss": 0.03}


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: anchor.setting)
def test_estimate_is_near_a_published_figure(anchor: Anchor) -> None:
    assert abs(anchor.deviation) < BOUNDS[anchor.source]


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: anchor.setting)
def test_document_shows_each_anchor_and_its_deviation(anchor: Anchor) -> None:
    assert anchor.render() in DOCUMENT.splitlines()


def render_profile(part: str) -> str:
    parts = [estimate_profile(gpu_gb).to_dict()[part] / GB for gpu_gb in PROFILES]
    return f"| {part} | " + " | ".join(f"{size:.1f}" for size in parts) + " |"


@pytest.mark.parametrize("part", estimate_profile(24).to_dict())
def test_document_shows_each_part_of_each_profile(part: str) -> None:
    assert render_profile(part) in DOCUMENT.splitlines()


@pytest.mark.parametrize("gpu_gb", PROFILES)
def test_profile_fits_its_card_with_a_tenth_to_spare(gpu_gb: int) -> None:
    estimate = estimate_profile(gpu_gb)

    assert estimate.fits(gpu_gb * GB)
    assert estimate.total <= 0.9 * gpu_gb * GB


@pytest.mark.parametrize(("gpu_gb", "smaller_gb"), [(48, 24), (80, 48)])
def test_profile_does_not_fit_the_next_smaller_card(gpu_gb: int, smaller_gb: int) -> None:
    assert not estimate_profile(gpu_gb).fits(smaller_gb * GB)


@pytest.mark.parametrize(
    ("gpu_gb", "layout", "experts"), [(24, "split", "nf4"), (48, "fused", "mxfp4"), (80, "fused", "16 bit")]
)
def test_profile_loads_the_layout_that_it_says(gpu_gb: int, layout: str, experts: str) -> None:
    loading = plan_profile(load_profile(gpu_gb))

    assert (loading.layout, loading.experts) == (layout, experts)


@pytest.mark.parametrize("gpu_gb", PROFILES)
def test_profile_without_a_gpu_is_an_error(gpu_gb: int) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: run it with CUDA_VISIBLE_DEVICES= (empty) in the environment")
    config = load_profile(gpu_gb)

    with pytest.raises(ModelError, match="no GPU is visible and model.require_gpu is true; run on a GPU host"):
        load_base(config.model, max_length=64)


@pytest.mark.parametrize("gpu_gb", PROFILES)
def test_profile_s_settings_are_settings_of_trl(gpu_gb: int) -> None:
    from dataclasses import fields

    from transformers.training_args import OptimizerNames
    from trl import SFTConfig

    config = load_profile(gpu_gb)
    names = {"adamw": "adamw_torch", "adamw_8bit": "adamw_8bit"}
    assert names[config.train.optimizer] in {name.value for name in OptimizerNames}
    source = (ROOT / "src/ghostpen/training/arguments.py").read_text(encoding="utf-8")
    passed = set(re.findall(r"^        (\w+)=", source.split("return SFTConfig(")[1].split("\n    )\n")[0], re.M))
    assert {"optim", "bf16", "router_aux_loss_coef"} <= passed
    assert passed <= {field.name for field in fields(SFTConfig)}


def test_parameters_of_gpt_oss_20b_are_the_published_count() -> None:
    assert sum(GPT_OSS_20B.count_parameters().values()) == 20_914_757_184


@pytest.mark.parametrize(
    ("experts", "attention", "size_bytes"),
    [
        # experts 19,110,297,600, attention 637,009,920, all else 1,167,449,664 parameters
        ("16 bit", "16 bit", 2 * 20_914_757_184),
        ("mxfp4", "16 bit", 19_110_297_600 * 17 // 32 + 2 * 1_804_459_584),
        ("nf4", "16 bit", round(19_110_297_600 * (0.5 + 1 / 64 + 1 / 4096)) + 2 * 1_804_459_584),
        ("nf4", "nf4", round(19_747_307_520 * (0.5 + 1 / 64 + 1 / 4096)) + 2 * 1_167_449_664),
    ],
)
def test_weight_bytes_by_hand(experts: Storage, attention: Storage, size_bytes: int) -> None:
    assert compute_weight_bytes(GPT_OSS_20B, Loading("a", "fused", experts, attention)) == size_bytes


SMALL = Sizes(
    layers=2, hidden=8, intermediate=4, heads=2, kv_heads=1, head_dim=4, experts=4, experts_per_token=2, vocabulary=10
)


def estimate_small(**changes: dict[str, object]) -> MemoryEstimate:
    values: dict[str, dict[str, object]] = {
        "data": {"dir": ".", "sequence_length": 32},
        "model": {"name": "a"},
        "train": {"max_steps": 1, "batch_size": 2},
        "eval": {"window": 4, "stride": 2, "batch_size": 3},
    }
    for section, keys in changes.items():
        values[section] |= keys
    loading = Loading("a", "fused", "mxfp4", "16 bit")
    return estimate_memory(SMALL, loading, trainable=1000, config=build_run_config({"name": "a", **values}))


def test_each_part_by_hand() -> None:
    estimate = estimate_small()

    # attention: 2 * (6*8 + 3*8 + 5*4) + 8*8 = 248; an expert: 2 * (8 + 4*8 + 5*4 + 3*8) + 4*8 = 200
    assert count_layer_bytes(SMALL) == 248 + 2 * 200
    assert (estimate.adapter, estimate.gradients, estimate.optimizer) == (4000, 4000, 8000)
    assert estimate.activations == round(1.87 * 64 * 648 + 2 * 64 * 8 * 2)
    assert estimate.decoded_experts == 4 * 3 * 8 * 4 * 2
    assert estimate.loss == 2.5 * 4 * 64 * 10 + 2 * 64 * 8 * 2
    assert estimate.evaluation == 2 * 3 * 4 * 5 * (2 + 4) + 12 * 2 * (2 * 8 + 3 * 4) * 2
    assert estimate.overhead == GB
    resident = estimate.weights + 4000 + 4000 + 8000 + GB
    assert estimate.total == resident + estimate.activations + estimate.decoded_experts + estimate.loss


def test_optimizer_of_8_bits_takes_two_bytes_and_a_scale_for_256() -> None:
    assert estimate_small(train={"optimizer": "adamw_8bit"}).optimizer == round(1000 * (2 + 2 * 4 / 256))


@pytest.mark.parametrize(
    ("checkpointing", "size_bytes"),
    [
        ("offload", 1.87 * 64 * 648 + 2 * 1024),
        ("recompute", 1.87 * 64 * 648 + 2 * 1024),
        ("off", 2 * 1.87 * 64 * 648),
    ],
)
def test_gradient_checkpointing_decides_which_layers_are_kept(checkpointing: str, size_bytes: float) -> None:
    assert estimate_small(model={"gradient_checkpointing": checkpointing}).activations == round(size_bytes)


def test_evaluation_counts_where_it_needs_more_than_training() -> None:
    large = estimate_small(eval={"window": 512, "stride": 2, "batch_size": 512})

    assert large.total - large.training_total == large.evaluation - large.activations > 0


def test_estimate_over_nine_tenths_of_a_card_does_not_fit() -> None:
    estimate = estimate_small()

    assert estimate.fits(round(estimate.total / 0.9) + 1)
    assert not estimate.fits(round(estimate.total / 0.9) - 1)
