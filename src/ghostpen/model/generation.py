"""Continue a text with a loaded model: sampling, stopping, and cutting at a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ghostpen.errors import DataError

if TYPE_CHECKING:
    import torch

# Tokens for a word of English, generously: gpt-oss's tokenizer needs 1.2, the embedded one 1.6.
TOKENS_PER_WORD = 2


def continue_text(
    model: Any, tokenizer: Any, prompt: str, *, max_words: int, temperature: float, top_p: float, seed: int
) -> str:
    """Write on from `prompt`; return what was written, without the prompt.

    The prompt is running text, in the form that `text` samples are trained in: no chat around it. The random
    numbers of who calls are left as they are, because a training may be going on.

    Args:
        temperature: 0 takes the likeliest token each time.

    Raises:
        DataError: the prompt is empty.
    """
    if not prompt.strip():
        raise DataError("the prompt is empty: write the beginning of a text, to be continued")
    start = tokenizer.convert_tokens_to_ids("<|startoftext|>")
    ids = [start, *tokenizer.encode(prompt, add_special_tokens=False, verbose=False)]
    return generate_text(model, tokenizer, ids, max_words=max_words, temperature=temperature, top_p=top_p, seed=seed)


def generate_text(
    model: Any, tokenizer: Any, ids: list[int], *, max_words: int, temperature: float, top_p: float, seed: int
) -> str:
    """Write on from tokens, to the model's own end or to `max_words`; return what was written.

    Args:
        ids: a prompt in the form that the model was trained in. temperature: as `continue_text` takes it.
    """
    import torch

    device = next(model.parameters()).device
    input_ids = torch.tensor([ids], device=device)
    stops = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|return|>", "<|end|>"])
    sampling = {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}
    enough = _stop_at_words(tokenizer, prompt_tokens=len(ids), max_words=max_words)
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(seed)
            output = model.generate(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                max_new_tokens=max_words * TOKENS_PER_WORD,
                eos_token_id=stops,
                pad_token_id=stops[0],
                use_cache=True,
                stopping_criteria=[enough],
                **(sampling if temperature > 0 else {"do_sample": False}),
            )
    finally:
        model.train(was_training)
    text = tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    return cut_words(text, max_words)


def _stop_at_words(tokenizer: Any, *, prompt_tokens: int, max_words: int) -> Callable[..., torch.Tensor]:
    """Tell transformers to stop when a word too many has begun: the rest would be cut off."""
    import torch

    def is_enough(input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        text = tokenizer.decode(input_ids[0, prompt_tokens:], skip_special_tokens=True)
        return torch.tensor([len(text.split()) > max_words], device=input_ids.device)

    return is_enough


def cut_words(text: str, max_words: int) -> str:
    """Keep the first `max_words` words, with the spaces and line breaks between them."""
    end, words, inside = 0, 0, False
    for position, character in enumerate(text):
        if character.isspace():
            inside = False
            continue
        if not inside:
            words += 1
            inside = True
            if words > max_words:
                return text[:end]
        end = position + 1
    return text[:end]
