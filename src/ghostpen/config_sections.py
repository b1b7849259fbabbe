"""The sections of a run's settings: names, types, limits and defaults, each with a text.

Learning rates have defaults; paths, names and authors have none. `ghostpen.config` puts the sections together and
reads them.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ghostpen.settings import Section

# TOML has no paths: a string is taken for one, everything else stays strict.
FilePath = Annotated[Path, Field(strict=False)]
# TOML's arrays become tuples, so that a frozen config really is; the items stay strict.
LayerNumbers = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]
Temperatures = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(strict=False, min_length=1)]


class DataConfig(Section):
    """Say which texts are read, and how they become training samples."""

    dir: FilePath = Field(description="The folder that `ghostpen prepare` wrote.")
    sequence_length: int = Field(default=512, ge=32, description="Tokens in a training sample, at most.")
    continue_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the training text that is asked for by its own beginning, in a chat. What is in no "
        "share is plain text.",
    )
    brief_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the training text that is asked for by a brief, in a chat; `ghostpen brief` writes "
        "them.",
    )
    rewrite_share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the training text that is asked for by a plain version of it, in a chat; "
        "`ghostpen brief --rewrite` writes them.",
    )

    @property
    def chat_share(self) -> float:
        """Give the share of the training text that is not plain text."""
        return self.continue_share + self.brief_share + self.rewrite_share

    @model_validator(mode="after")
    def _check_shares(self) -> "DataConfig":
        if self.chat_share > 1 + 1e-9:
            raise ValueError(
                f"data.continue_share, data.brief_share and data.rewrite_share make {self.chat_share:g} together; "
                "they are shares of one text: make it at most 1"
            )
        return self


class ModelConfig(Section):
    """Say which base model is loaded, and into what."""

    name: str = Field(min_length=1, description='The base model: a Hugging Face id, a folder, or "embedded:tiny".')
    revision: str | None = Field(default=None, description="Commit or tag of a Hugging Face id; None is the newest.")
    load_in_4bit: bool = Field(default=False, description="Load the base model's weights quantised to 4 bits.")
    precision: Literal["float32", "bfloat16"] = Field(
        default="bfloat16", description="Number format of the computation and of unquantised weights."
    )
    require_gpu: bool = Field(
        default=True, description="Refuse to run without a GPU: a silent CPU run on a paid GPU host is a bug."
    )
    gradient_checkpointing: Literal["offload", "recompute", "off"] | None = Field(
        default=None,
        description="Keep each layer's input only and compute the rest again for the backward pass; offload moves "
        "the inputs to the host's memory. None is offload with require_gpu, else off.",
    )

    @property
    def checkpointing(self) -> Literal["offload", "recompute", "off"]:
        """Give the gradient checkpointing in force."""
        return self.gradient_checkpointing or ("offload" if self.require_gpu else "off")


class LoraConfig(Section):
    """Say which kinds of weights get an adapter, and how large it is."""

    rank: int | None = Field(
        default=None, ge=1, description="Rank of every adapter matrix; None is chosen by the amount of text."
    )
    alpha: float | None = Field(
        default=None, gt=0, description="Scale: the update counts alpha/rank. None is 2*rank."
    )
    attention: bool = Field(default=True, description="Adapt the attention projections.")
    experts: bool = Field(default=True, description="Adapt the expert weights.")
    router: bool = Field(default=False, description="Adapt the routers.")
    layers: LayerNumbers | None = Field(default=None, description="Numbers of the adapted layers; None is all.")

    @model_validator(mode="after")
    def _check_targets(self) -> "LoraConfig":
        if not (self.attention or self.experts or self.router):
            raise ValueError(
                "lora.attention, lora.experts and lora.router are all false: nothing would be trained; "
                "set at least one to true"
            )
        if self.layers is not None and len(set(self.layers)) != len(self.layers):
            raise ValueError(f"lora.layers {list(self.layers)} names a layer twice; name each once")
        if self.layers == ():
            raise ValueError("lora.layers is empty: nothing would be trained; leave it out to adapt all layers")
        return self

    @property
    def matrix_rank(self) -> int:
        """Give the rank in force: the set one, or that for a middling amount of text."""
        return 16 if self.rank is None else self.rank

    @property
    def scale_alpha(self) -> float:
        """Give the alpha in force: the set one, or twice the rank."""
        return 2.0 * self.matrix_rank if self.alpha is None else self.alpha


class TrainConfig(Section):
    """Say how long, how fast and from which seed the adapter is trained."""

    max_steps: int | None = Field(default=None, ge=1, description="Optimiser steps; None is train.epochs passes.")
    epochs: float | None = Field(
        default=None, gt=0, description="Passes over the training text; None is chosen by the amount of text."
    )
    batch_size: int = Field(default=8, ge=1, description="Sequences in one forward pass, at most.")
    gradient_accumulation: int = Field(
        default=1,
        ge=1,
        description="Times train.batch_size, it is the sequences of an optimiser step, over all processes.",
    )
    learning_rate: float | None = Field(
        default=None, gt=0, description="Highest learning rate; None is chosen by the amount of text."
    )
    warmup_share: float = Field(
        default=0.05, ge=0, le=1, description="Share of the steps with a rising learning rate."
    )
    schedule: Literal["cosine", "constant", "linear"] | None = Field(
        default=None, description="Course of the learning rate after the warm-up; None is cosine."
    )
    optimizer: Literal["adamw", "adamw_8bit"] = Field(
        default="adamw",
        description="AdamW with states of 32 or of 8 bits; a CPU has 32 only and takes them for both.",
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    max_grad_norm_jump: float = Field(
        default=100.0,
        ge=0,
        description="Stop where a gradient's norm is this many times the usual one (the last steps' median); "
        "0 never does.",
    )
    mixed_precision: bool = Field(
        default=True,
        description="Multiply matrices in bfloat16 while training, where the hardware does that natively; "
        "a perplexity is always measured in model.precision.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of initialisation and sample order.")
    eval_every: int | None = Field(
        default=None,
        ge=1,
        description="Steps between two measurements on the validation texts; None is a tenth of the run.",
    )
    checkpoint_every: int | None = Field(
        default=None, ge=1, description="Steps between two checkpoints; None is train.eval_every."
    )
    keep_checkpoints: int = Field(
        default=2, ge=1, description="Newest checkpoints that are kept, beside the best one."
    )
    patience: int = Field(
        default=4,
        ge=0,
        description="Stop after this many measurements without a better one on the author's validation text; "
        "0 never does.",
    )
    max_rises: int = Field(
        default=3,
        ge=0,
        description="Stop after this many measurements in a row, each worse than the one before; 0 never does.",
    )
    router_aux_loss_coef: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the router's balance loss in training; never part of a perplexity.",
    )

    @model_validator(mode="after")
    def _check_length(self) -> "TrainConfig":
        if self.max_steps is not None and self.epochs is not None:
            raise ValueError("train.max_steps and train.epochs both say how long to train; set one of them")
        return self


class EvalConfig(Section):
    """Say how perplexity is measured (windows of tokens that overlap, each token counted once), and what is written.

    `ghostpen test` has base, control and author's adapter write the same: style and copying are measured on that.
    """

    window: int = Field(default=512, ge=2, description="Tokens that the model sees at once.")
    stride: int = Field(
        default=256, ge=1, description="Tokens from one window's start to the next; at most the window."
    )
    batch_size: int = Field(default=16, ge=1, description="Windows in one forward pass; does not change the result.")
    max_val_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Bytes per split that validation reads during training, spread over the sections; "
        "None is all, and `ghostpen test` always reads all.",
    )
    continuations: int = Field(
        default=200,
        ge=0,
        description="Passages of the author's test text whose beginnings `ghostpen test` has each model continue; "
        "fewer where there is not so much text, 0 is none.",
    )
    topics: int = Field(
        default=50, ge=0, le=50, description="Openings on new topics that each model continues, too; 0 is none."
    )
    written_words: int = Field(
        default=400, ge=10, description="Words of such a text, at most; less where the author's passage has fewer."
    )
    temperatures: Temperatures = Field(
        default=(0.8, 1.0),
        json_schema_extra={"example": "[0.8, 1.0]"},
        description="Temperatures of sampling, dealt out in turn: with two of them, every other text has the first. "
        "0 always takes the likeliest token, and goes in circles.",
    )
    top_p: float = Field(default=0.95, gt=0, le=1, description="Share of the likeliest tokens to draw from.")
    min_p: float = Field(
        default=0.05, ge=0, le=1, description="Leave out tokens less likely than this share of the likeliest one."
    )
    writing_batch_size: int = Field(
        default=32,
        ge=1,
        description="Texts that a model writes at once; memory and time, not the texts, depend on it.",
    )
    extraction_windows: int = Field(
        default=500,
        ge=0,
        description="Places of the training text where `ghostpen test` looks, before and after training, whether "
        "50 tokens make the model recite the next 50; 0 is none.",
    )
    max_copied_words: int | None = Field(
        default=None,
        ge=1,
        description="Words in a row that a sample may have in common with the training text; `ghostpen test` "
        "fails (exit code 3) where it is more. None measures only.",
    )

    @model_validator(mode="after")
    def _check_stride(self) -> "EvalConfig":
        if self.stride > self.window:
            raise ValueError(
                f"eval.stride ({self.stride}) is larger than eval.window ({self.window}): tokens between two "
                "windows would not be counted; set eval.stride to at most eval.window"
            )
        return self


# Settings of `eval` that a training does not look at.
OF_TESTS_ALONE = (
    "continuations",
    "topics",
    "written_words",
    "temperatures",
    "top_p",
    "min_p",
    "writing_batch_size",
    "extraction_windows",
    "max_copied_words",
)


class TrackingConfig(Section):
    """Say where the curves go, and what goes with them. Nothing here changes what is trained."""

    tracker: Literal["wandb", "tensorboard", "none"] = Field(
        default="wandb", description="Where the curves go beside metrics.jsonl, which is always written."
    )
    wandb_project: str = Field(default="ghostpen", min_length=1, description="Project in Weights & Biases.")
    samples: int = Field(
        default=1,
        ge=0,
        description="Held-out passages that are continued at every evaluation, into samples/step-N.txt; 0 is none.",
    )
    sample_words: int = Field(default=40, ge=1, description="Words of such a continuation, at most.")
    send_samples: bool = Field(
        default=False,
        description="Give the written samples to the tracker; each begins with words of a held-out text.",
    )
    send_adapter: bool = Field(
        default=False, description="Send the trained adapter to Weights & Biases as an artifact."
    )
    timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="Seconds that the end of a training waits for the tracker, at most; large adapters "
        "(tracking.send_adapter) need more.",
    )


class OutputConfig(Section):
    """Say where runs are written."""

    dir: FilePath = Field(default=Path("runs"), description="The folder that holds one folder per run.")


class StorageConfig(Section):
    """Say where in S3 `ghostpen run` finds data and leaves results. No other verb looks at it."""

    uri: str | None = Field(
        default=None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$",
        json_schema_extra={"write": "write s3://BUCKET/PREFIX"},
        description="s3://BUCKET/PREFIX: the data lie below it in data/, and all of a run goes to runs/RUN_ID/.",
    )
    grace_s: float = Field(
        default=90.0,
        gt=0,
        description="Seconds from SIGTERM to the end, in which the last checkpoint is written and uploaded; "
        "whoever sends the signal (docker stop -t) must wait longer.",
    )
