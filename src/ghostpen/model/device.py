"""Where a loaded model computes: the one answer to which device a batch goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def find_device(model: Any) -> torch.device:
    """Return the device of the output head, which is where the layers are.

    Not of the first parameter: that is the input embedding, which Unsloth may leave in the host's memory.

    Args:
        model: a gpt-oss, adapted or not.
    """
    device: torch.device = model.get_output_embeddings().weight.device
    return device
