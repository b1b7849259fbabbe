"""Make the embedded base model: a tiny gpt-oss, its tokenizer, its card.

    python tools/texts.py build/texts            # once: the prose
    python tools/base_model.py tokenizer         # byte-level BPE with gpt-oss's special tokens
    python tools/base_model.py pretrain          # resumable: run it again after a stop
    python tools/base_model.py release           # bfloat16 weights + card into src/ghostpen/assets/tiny

The rows of step N depend on the seed and N alone, so a stopped run goes on as if it had not stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ghostpen.data.instructions import CONTINUE_INSTRUCTIONS
from ghostpen.data.samples import IGNORED_LABEL
from ghostpen.model.cpu_kernels import keep_freed_memory, use_cpu_kernels
from ghostpen.training.loss import compute_loss_nats

BUILD = Path("build/base")
TEXTS = Path("build/texts")
ASSET = Path("src/ghostpen/assets/tiny")
VOCABULARY = 4096
SPECIAL_TOKENS = (
    "<|startoftext|>", "<|endoftext|>", "<|return|>", "<|constrain|>", "<|channel|>", "<|start|>", "<|end|>",
    "<|message|>", "<|call|>",
)  # fmt: skip
CHAT_TEMPLATE = (
    "{%- for m in messages -%}"
    "{%- if m['role'] == 'assistant' -%}"
    "<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
    "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}"
    "{%- else -%}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|start|>assistant<|channel|>final<|message|>{%- endif -%}"
)
# Half of the bytes are messages of presidents; the model is to know fiction, so fiction counts double.
FICTION = (
    "burroughs",
    "butler",
    "charlotte-bronte",
    "chekhov",
    "cooper",
    "dostoevsky",
    "melville",
    "tolstoy",
)
WINDOW = 512
SEED = 20261122
# The texts have been read about three times by then: from here on the rate falls and dropout is on.
COOLDOWN_FROM = 1200
DROPOUT = 0.1


def read_role(role: str) -> dict[str, list[str]]:
    """Texts by author below build/texts/ROLE."""
    return {
        folder.name: [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
        for folder in sorted((TEXTS / role).iterdir())
    }


def make_tokenizer() -> None:
    """Train the BPE on the base texts only: the held-out authors must not shape it either."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = read_role("base")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    weighted = [t for author, works in texts.items() for t in works * (2 if author in FICTION else 1)]
    tokenizer.train_from_iterator(weighted, trainer)
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|startoftext|>",
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(BUILD)
    print(f"{len(fast)} tokens")


def make_model() -> nn.Module:
    """A gpt-oss of 9.1 million parameters, 3.3 million active, with random weights."""
    from transformers import GptOssConfig, GptOssForCausalLM, PreTrainedTokenizerFast

    ids = PreTrainedTokenizerFast.from_pretrained(BUILD).convert_tokens_to_ids
    config = GptOssConfig(
        vocab_size=VOCABULARY, hidden_size=256, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=2, head_dim=32, num_local_experts=8, num_experts_per_tok=2, intermediate_size=256,
        sliding_window=128, max_position_embeddings=2048, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        # gpt-oss's own value, kept so that a router loss that leaks into a perplexity shows here too.
        router_aux_loss_coef=0.9,
        bos_token_id=ids("<|startoftext|>"), eos_token_id=ids("<|return|>"), pad_token_id=ids("<|endoftext|>"),
    )  # fmt: skip
    torch.manual_seed(SEED)
    model = GptOssForCausalLM(config)
    use_cpu_kernels(model)
    return model


class Rows:
    """Training rows: half windows of running text, half Harmony continuations of such windows."""

    def __init__(self, tokenizer: object) -> None:
        self.tokenizer = tokenizer
        self.documents, weights = [], []
        for author, works in read_role("base").items():
            for text in works:
                ids = np.array(tokenizer.encode(text), dtype=np.uint16)
                self.documents.append(ids)
                weights.append(len(ids) * (2 if author in FICTION else 1))
        self.weights = np.array(weights, dtype=float) / sum(weights)
        self.start, self.end = tokenizer.convert_tokens_to_ids(["<|startoftext|>", "<|endoftext|>"])

    def build(self, step: int, count: int) -> np.ndarray:
        """(count, WINDOW + 1) token ids, padded with -1; a function of the seed and the step alone."""
        random = np.random.default_rng([SEED, step])
        rows = np.full((count, WINDOW + 1), -1, dtype=np.int64)
        for row in rows:
            document = self.documents[random.choice(len(self.documents), p=self.weights)]
            start = int(random.integers(-32, max(1, len(document) - WINDOW // 2)))
            window = document[max(0, start) : max(0, start) + WINDOW]
            ids = [self.start, *window.tolist()]
            if len(window) < WINDOW:
                ids.append(self.end)
            if random.random() < 0.5:
                ids = self._as_harmony(window[: WINDOW - 40], random)
            ids = ids[: WINDOW + 1]
            row[: len(ids)] = ids
        return rows

    def _as_harmony(self, window: np.ndarray, random: np.random.Generator) -> list[int]:
        text = self.tokenizer.decode(window.tolist()).strip()
        near = int(len(text) * random.uniform(0.1, 0.7))
        cut = text.find(" ", near)
        cut = cut if cut > 0 else near
        instruction = CONTINUE_INSTRUCTIONS[int(random.integers(len(CONTINUE_INSTRUCTIONS)))]
        messages = [
            {"role": "user", "content": f"{instruction}\n\n{text[:cut].strip()}"},
            {"role": "assistant", "content": text[cut:].strip()},
        ]
        return self.tokenizer.encode(self.tokenizer.apply_chat_template(messages, tokenize=False))


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, for matrices and stacks of matrices (one per expert).

    Source: Jordan et al. 2024, "Muon"; torch.optim.Muon 2.14 takes 2-D parameters only, and gpt-oss's
    experts are 3-D. Delete this when torch's takes stacks.
    """

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take one step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                buffer = self.state[parameter].setdefault("buffer", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = self._orthogonalise(parameter.grad.lerp(buffer, group["momentum"]))
                scale = max(1.0, parameter.shape[-2] / parameter.shape[-1]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * scale)

    @staticmethod
    def _orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
        a, b, c = 3.4445, -4.7750, 2.0315
        x = matrix.bfloat16()
        flip = x.shape[-2] > x.shape[-1]
        x = x.mT if flip else x
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(5):
            square = x @ x.mT
            x = a * x + (b * square + c * square @ square) @ x
        return (x.mT if flip else x).to(matrix.dtype)


def add_dropout(model: nn.Module) -> None:
    """Drop a share of what attention and experts add, in training only."""

    def drop(module: nn.Module, _inputs: object, output: tuple[torch.Tensor, torch.Tensor]) -> tuple[object, ...]:
        return nn.functional.dropout(output[0], DROPOUT, training=module.training), *output[1:]

    for layer in model.model.layers:
        layer.self_attn.register_forward_hook(drop)
        layer.mlp.register_forward_hook(drop)


def make_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inner = "layers" in name and ("proj" in name) and "bias" not in name
        (matrices if inner else others).append(parameter)
    return [
        Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.05),
        torch.optim.AdamW(others, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.02),
    ]


def learning_rate_share(step: int, steps: int) -> float:
    """Warm up over 100 steps, stay until COOLDOWN_FROM, then fall linearly from 0.8 to 0."""
    if step < COOLDOWN_FROM:
        return min((step + 1) / 100, 1.0)
    return 0.8 * (steps - step) / (steps - COOLDOWN_FROM)


def balance_loss(router_logits: tuple[torch.Tensor, ...], top_k: int) -> torch.Tensor:
    """Switch Transformer's load balance (Fedus et al. 2021, eq. 4), 1 when balanced; pre-training only."""
    total = 0.0
    for logits in router_logits:
        probabilities = logits.float().softmax(-1)
        chosen = torch.zeros_like(probabilities).scatter_(1, logits.topk(top_k, -1).indices, 1.0)
        total = total + probabilities.shape[-1] * (probabilities.mean(0) * chosen.mean(0) / top_k).sum()
    return total / len(router_logits)


def train_step(model: nn.Module, rows: np.ndarray, logits: list[torch.Tensor]) -> tuple[float, int, float]:
    """Accumulate the gradient of one batch; returns (nats, tokens, balance)."""
    ids = torch.from_numpy(rows)
    labels = ids[:, 1:].clone()
    labels[labels < 0] = IGNORED_LABEL
    logits.clear()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(input_ids=ids[:, :-1].clamp(min=0), use_cache=False).last_hidden_state
    nats = compute_loss_nats(hidden.bfloat16(), model.lm_head.weight, labels)
    tokens = int((labels != IGNORED_LABEL).sum())
    balance = balance_loss(tuple(logits), model.config.num_experts_per_tok)
    (nats / tokens + 0.01 * balance).backward()
    return float(nats), tokens, float(balance)


def held_out_samples(tokenizer: object) -> dict[str, tuple[list[list[int]], int]]:
    """Rows and bytes of 60 kB of each held-out author, for the log only; the card reads everything."""
    samples = {}
    for role in ("author", "contrast/val", "contrast/test"):
        for author, works in read_role(role).items():
            text = works[0][20_000:80_000]
            ids = tokenizer.encode(text)
            start = tokenizer.convert_tokens_to_ids("<|startoftext|>")
            rows = [[start, *ids[at : at + WINDOW]] for at in range(0, len(ids), WINDOW)]
            samples[author] = (rows, len(text.encode()))
    return samples


@torch.no_grad()
def score(model: nn.Module, rows: list[list[int]], size_bytes: int) -> float:
    """Bits per byte of `rows`, each read without the one before."""
    nats = 0.0
    model.eval()
    for at in range(0, len(rows), 16):
        batch = rows[at : at + 16]
        ids = torch.full((len(batch), WINDOW + 1), -1)
        for i, row in enumerate(batch):
            ids[i, : len(row)] = torch.tensor(row)
        labels = ids[:, 1:].clone()
        labels[labels < 0] = IGNORED_LABEL
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=ids[:, :-1].clamp(min=0), use_cache=False).last_hidden_state
        nats += float(compute_loss_nats(hidden.float(), model.lm_head.weight, labels))
    model.train()
    return nats / math.log(2) / size_bytes


def pretrain(steps: int, rows_per_step: int) -> None:
    """Train, or go on, until `steps`; a checkpoint and a line of log every 100 steps."""
    from transformers import PreTrainedTokenizerFast

    keep_freed_memory()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(BUILD)
    model, rows = make_model(), Rows(tokenizer)
    router_logits: list[torch.Tensor] = []
    for layer in model.model.layers:
        layer.mlp.router.register_forward_hook(lambda _m, _i, out: router_logits.append(out[0]))
    optimizers = make_optimizers(model)
    base_rates = [[group["lr"] for group in o.param_groups] for o in optimizers]
    samples = held_out_samples(tokenizer)
    first, elapsed_s, tokens_seen = 0, 0.0, 0
    checkpoint = BUILD / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        first, elapsed_s, tokens_seen = state["step"], state["elapsed_s"], state["tokens_seen"]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {first}", flush=True)
    model.train()
    since, nats, counted, balance = time.monotonic(), 0.0, 0, 0.0
    for step in range(first, steps):
        if step == max(first, COOLDOWN_FROM):
            torch.manual_seed(SEED + step)
            add_dropout(model)
        share = learning_rate_share(step, steps)
        for optimizer, rates in zip(optimizers, base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
        step_nats, step_tokens, balance = train_step(model, rows.build(step, rows_per_step), router_logits)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        nats, counted, tokens_seen = nats + step_nats, counted + step_tokens, tokens_seen + step_tokens
        if (step + 1) % 100 == 0 or step + 1 == steps:
            now = time.monotonic()
            elapsed_s, speed = elapsed_s + now - since, counted / (now - since)
            since = now
            line = {"step": step + 1, "tokens_seen": tokens_seen, "elapsed_s": round(elapsed_s),
                    "tokens_per_s": round(speed), "train_nats": round(nats / counted, 4),
                    "balance": round(balance, 3)}  # fmt: skip
            nats, counted = 0.0, 0
            if (step + 1) % 300 == 0 or step + 1 == steps:
                line |= {author: round(score(model, *sample), 4) for author, sample in samples.items()}
            with (BUILD / "pretrain.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(line, flush=True)
            part = checkpoint.with_suffix(".part")
            torch.save({"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
                        "step": step + 1, "elapsed_s": elapsed_s, "tokens_seen": tokens_seen}, part)  # fmt: skip
            part.replace(checkpoint)


def released_model() -> nn.Module:
    """The pre-trained weights as they are shipped: rounded to bfloat16."""
    model = make_model()
    model.load_state_dict(torch.load(BUILD / "checkpoint.pt", weights_only=True)["model"])
    return model.to(torch.bfloat16)


def release() -> None:
    """Write weights, configuration and tokenizer into the package; `tools/card.py` writes the card."""
    from transformers import PreTrainedTokenizerFast

    model = released_model()
    # The kernels that trained it are this project's; the checkpoint is to load anywhere.
    model.config._attn_implementation = "eager"
    model.config._experts_implementation = "eager"
    model.save_pretrained(ASSET)
    PreTrainedTokenizerFast.from_pretrained(BUILD).save_pretrained(ASSET)
    shutil.copy(BUILD / "pretrain.jsonl", ASSET / "pretrain.jsonl")
    (ASSET / "model.safetensors").chmod(0o644)
    size_bytes = sum(path.stat().st_size for path in ASSET.iterdir())
    print(f"{ASSET}: {size_bytes / 1e6:.1f} MB")


def main() -> None:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("tokenizer", "pretrain", "release"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=24, help=f"rows of {WINDOW} tokens a step")
    arguments = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    match arguments.action:
        case "tokenizer":
            make_tokenizer()
        case "pretrain":
            pretrain(arguments.steps, arguments.rows)
        case "release":
            release()


if __name__ == "__main__":
    main()
