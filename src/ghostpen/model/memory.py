"""How much GPU memory a run needs, part by part, from sizes and settings alone.

Pure arithmetic, each term with its formula and source. Not one of them was measured by this project: docs/gpu.md
holds the sums against published figures. All sizes are bytes; a GB is 10^9 bytes, as cards are sold, which is
never more than what a card has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ghostpen.config import RunConfig
from ghostpen.model.checkpoint import Loading, Storage

GB = 1_000_000_000
# One chunk of the loss's float32 logits; `training.loss` computes in chunks of this size.
LOSS_CHUNK_BYTES = 128 * 2**20
# Logits that become the gradient, and 16-bit copies of both: as many blocks live at once, at most (`training.loss`).
LOSS_BLOCKS = 2.5
# What the GPU's driver, CUDA's libraries and compiled kernels take before the first tensor; rounded up.
# PyTorch's own counters, and so the published figures, leave it out.
OVERHEAD_BYTES = 1 * GB
# By how much the published growth with the context, 0.947 MiB a token (slope of a least-squares line through the five
# rows of Unsloth's B200 table, docs/gpu.md), exceeds `count_layer_bytes`: blocks that the allocator keeps, workspaces
# of kernels, and what is not counted there. So that table tests the estimate's form, not this factor.
ACTIVATION_FACTOR = 1.87

_BYTES: Mapping[Storage, float] = {
    "mxfp4": 17 / 32,  # 32 values of 4 bits share an exponent of 8 (OCP MX 1.0)
    # 4 bits a value; a scale of 8 bits for 64 values; for 256 of these one of 32 (QLoRA, arXiv 2305.14314)
    "nf4": 1 / 2 + 1 / 64 + 4 / (64 * 256),
}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a gpt-oss that decide its memory, as in its config.json."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_per_token: int
    vocabulary: int
    tied: bool = False

    def count_parameters(self) -> dict[str, int]:
        """Count the parameters by part; "other" is biases, sinks, routers and norms."""
        h, i, e = self.hidden, self.intermediate, self.experts
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        biases = query + 2 * key + h + e * (2 * i + h)
        return {
            "experts": self.layers * e * (h * 2 * i + i * h),
            "attention": self.layers * (2 * h * query + 2 * h * key),
            "embeddings": self.vocabulary * h * (1 if self.tied else 2),
            "other": self.layers * (biases + self.heads + e * h + e + 2 * h) + h,
        }


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by part; evaluation and training do not happen at once, so the larger of the two counts."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    decoded_experts: int
    loss: int
    evaluation: int
    overhead: int

    @property
    def training_total(self) -> int:
        """Bytes in use while training."""
        return self._resident + self.activations + self.decoded_experts + self.loss

    @property
    def total(self) -> int:
        """Bytes in use at the peak."""
        return max(self.training_total, self._resident + self.decoded_experts + self.loss + self.evaluation)

    @property
    def _resident(self) -> int:
        return self.weights + self.adapter + self.gradients + self.optimizer + self.overhead

    def fits(self, gpu_bytes: int) -> bool:
        """Say whether a tenth of the card stays free, for what an estimate gets wrong."""
        return self.total <= 0.9 * gpu_bytes

    def to_dict(self) -> dict[str, int]:
        """Give the parts and their total, in bytes."""
        return {**asdict(self), "total": self.total}


def compute_weight_bytes(sizes: Sizes, loading: Loading, *, element_bytes: int = 2) -> int:
    """Sum parameters times bytes a parameter; embeddings, routers, norms and biases are never packed."""
    stored = {"experts": loading.experts, "attention": loading.attention}
    return round(
        sum(
            count * _BYTES.get(stored.get(part, "16 bit"), element_bytes)
            for part, count in sizes.count_parameters().items()
        )
    )


def count_layer_bytes(sizes: Sizes, *, element_bytes: int = 2) -> int:
    """Count what one layer's forward and backward pass keep for one token.

    Attention keeps 6 vectors of the hidden size (residuals, normed inputs, output, its gradient), two of them also
    in float32 for the norms, and queries, keys and values before and after rotation. Each chosen expert keeps its
    input, gate_up three times (product, with bias, with LoRA) and once as a gradient, five vectors of the activation
    (two clamps, sigmoid, gate, product), and its output three times and once in float32.

    Source: counted in transformers' modeling_gpt_oss.py 5.17 and unsloth_zoo's grouped expert forward 2026.10.9.
    """
    h, i = sizes.hidden, sizes.intermediate
    query, key = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    attention = element_bytes * (6 * h + 3 * query + 5 * key) + 4 * 2 * h
    expert = element_bytes * (h + 4 * 2 * i + 5 * i + 3 * h) + 4 * h
    return attention + sizes.experts_per_token * expert


def estimate_memory(
    sizes: Sizes, loading: Loading, *, trainable: int, config: RunConfig, experts_decoded: int | None = None
) -> MemoryEstimate:
    """Estimate the peak memory of one process's training.

    weights      `compute_weight_bytes`
    adapter      4 bytes a parameter: Unsloth keeps LoRA in float32 (unsloth_zoo/training_utils.py)
    gradients    4 bytes a parameter, kept over all accumulated batches
    optimizer    AdamW: two float32 states, 8 bytes a parameter; in 8 bits: 2 bytes, and a float32 scale for 256
                 values of each state (bitsandbytes)
    activations  tokens of a batch * `count_layer_bytes` * ACTIVATION_FACTOR for the layer that is recomputed, and
                 each layer's input, (hidden) 16-bit values a token: two of them where they are moved to the host's
                 memory, all where not. Without recomputing: every layer at once.
    decoded_experts  packed experts of one layer in 16 bits, both projections (unsloth_zoo/mxfp4_stacked_experts.py,
                 gpt_oss_grouped_qlora.py): `experts_decoded` of them, all by default
    loss         LOSS_BLOCKS chunks of logits, and hidden states and their gradient
    evaluation   windows are read with eager attention, which writes all scores (heads, window, window + 1) of a
                 layer in 16 bits and, for the softmax, in 32 (unsloth_zoo/temporary_patches/gpt_oss.py, which reads
                 in parts where that would not fit), and an expert's vectors without what backward needs
    overhead     OVERHEAD_BYTES

    Args:
        trainable: parameters of the adapter.
        experts_decoded: experts of a layer that are decoded at once; releases of 2025 took one after the other.
    """
    element = 4 if config.model.precision == "float32" else 2
    tokens = config.train.batch_size * config.data.sequence_length
    read_tokens = config.eval.batch_size * config.eval.window
    layer = ACTIVATION_FACTOR * tokens * count_layer_bytes(sizes, element_bytes=element)
    layer_input = tokens * sizes.hidden * element
    match config.model.checkpointing:
        case "offload":
            activations = layer + 2 * layer_input
        case "recompute":
            activations = layer + sizes.layers * layer_input
        case _:
            activations = sizes.layers * layer
    packed = loading.experts != "16 bit"
    decoded = sizes.experts if experts_decoded is None else experts_decoded
    expert_row = 2 * sizes.hidden + 3 * sizes.intermediate
    scores = sizes.heads * read_tokens * (config.eval.window + 1) * (element + 4)
    return MemoryEstimate(
        weights=compute_weight_bytes(sizes, loading, element_bytes=element),
        adapter=4 * trainable,
        gradients=4 * trainable,
        optimizer=round(trainable * (8 if config.train.optimizer == "adamw" else 2 + 2 * 4 / 256)),
        activations=round(activations),
        decoded_experts=decoded * 3 * sizes.hidden * sizes.intermediate * element if packed else 0,
        loss=round(LOSS_BLOCKS * min(LOSS_CHUNK_BYTES, 4 * tokens * sizes.vocabulary) + 2 * layer_input),
        evaluation=scores + read_tokens * sizes.experts_per_token * expert_row * element,
        overhead=OVERHEAD_BYTES,
    )
