"""A run's settings in TRL's words: what is asked of Trainer, and what is taken out of its hands.

Import this module only after `loading.import_unsloth`, as `trainer`.
"""

from __future__ import annotations

import math

from trl import SFTConfig

from ghostpen.config import RunConfig
from ghostpen.training.launch import plan_batches

# One point of the training curve covers this many optimiser steps at most.
LOG_EVERY = 10


def build_arguments(config: RunConfig, *, folder: str, fresh: bool, processes: int = 1) -> SFTConfig:
    """Translate our settings into TRL's, which are those of one process.

    Args:
        config: with nothing left open (`recipe.apply_recipe`).
    """
    train = config.train
    assert train.max_steps is not None and train.eval_every is not None, "apply_recipe comes first"
    batches = plan_batches(train, processes=processes)
    return SFTConfig(
        output_dir=folder,
        max_steps=train.max_steps,
        per_device_train_batch_size=batches.size,
        gradient_accumulation_steps=batches.accumulation,
        learning_rate=train.learning_rate,
        # The first warm-up step has a learning rate of 0: a run of one step must not be all warm-up.
        warmup_steps=min(math.ceil(train.warmup_share * train.max_steps), train.max_steps - 1),
        # What transformers calls "constant" has no warm-up.
        lr_scheduler_type="constant_with_warmup" if train.schedule == "constant" else train.schedule,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        optim={"adamw": "adamw_torch", "adamw_8bit": "adamw_8bit"}[train.optimizer],
        seed=train.seed,
        data_seed=train.seed,
        bf16=train.mixed_precision,  # Unsloth turns it off on a CPU that would emulate it
        fp16=False,
        logging_steps=min(LOG_EVERY, train.eval_every),
        logging_first_step=True,
        logging_nan_inf_filter=False,  # a NaN must be seen, not replaced by the last good loss
        eval_strategy="steps",
        eval_steps=train.eval_every,
        eval_on_start=fresh,
        save_strategy="steps",
        save_steps=train.checkpoint_every,
        save_total_limit=None,  # Trainer would delete the old ones before the new one is sealed
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=False,
        max_length=None,
        gradient_checkpointing=False,  # Unsloth has set it on the model where it is wanted
        dataloader_num_workers=0,
        router_aux_loss_coef=0.0,  # ours is added in compute_loss, so that it cannot reach the log
        average_tokens_across_devices=True,  # the tokens of a step are counted over all processes
        # Each adapter is in each forward pass; looking for unused ones breaks on Unsloth's gradient checkpointing.
        ddp_find_unused_parameters=False,
    )
