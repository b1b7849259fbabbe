"""The model card of an export: README.md with Hugging Face's front matter.

Pure: it is given what the manifests and reports say. A card is made to be passed on, so it holds numbers, hashes
and settings, and never a word of the texts, a title, a file's name or a folder of this machine; the author is
named only if the person says how.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ghostpen.data.manifest import Manifest
from ghostpen.evaluation.report import render_verdict
from ghostpen.evaluation.report_shape import Report
from ghostpen.evaluation.specificity import Interval, Specificity
from ghostpen.model.checkpoint import is_same_repository
from ghostpen.model.location import EMBEDDED_PREFIX

ExportTarget = Literal["adapter", "merged", "gguf", "ollama"]
# What vLLM 0.33.0 takes for --max-lora-rank (vllm/config/lora.py, MaxLoRARanks).
_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_GPT_OSS = re.compile(r"(openai|unsloth)/gpt-oss-(20b|120b)(-.*)?")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class CardFacts:
    """All that a card is made of."""

    target: ExportTarget
    manifest: dict[str, Any]  # the run's
    data: Manifest | None  # None where the prepared data are not there any more
    metrics: Sequence[dict[str, Any]]
    report: Report | None
    author_name: str | None


def name_base(facts: CardFacts) -> str | None:
    """Give the base's name as others know it; None for a folder, whose path is nobody's business."""
    base = facts.manifest["base_model"]
    # Of a folder the weights' hash was recorded, of a hub id its commit.
    is_folder = "weights_sha256" in base and not base["name"].startswith(EMBEDDED_PREFIX)
    return None if is_folder else base["name"]


def render_card(facts: CardFacts) -> str:
    """Render the whole card."""
    sections = [
        _render_front_matter(facts),
        _render_opening(facts),
        _render_use(facts),
        _render_intended(facts),
        _render_data(facts),
        _render_training(facts),
        _render_measurements(facts),
        _render_licence(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _render_front_matter(facts: CardFacts) -> str:
    base = name_base(facts)
    lines = []
    if base and _HUB_ID.fullmatch(base):
        lines.append(f"base_model: {json.dumps(base)}")
        lines.append(f"base_model_relation: {'adapter' if facts.target == 'adapter' else 'finetune'}")
    if facts.target in {"adapter", "merged"}:
        lines.append(f"library_name: {'peft' if facts.target == 'adapter' else 'transformers'}")
    tags = {"adapter": ["lora"], "merged": [], "gguf": ["gguf"], "ollama": ["gguf", "ollama"]}[facts.target]
    lines += ["pipeline_tag: text-generation", "license: unknown", "tags:"]
    lines += [f"- {tag}" for tag in ["gpt_oss", *tags, "ghostpen"]]
    return "\n".join(["---", *lines, "---"])


def _render_opening(facts: CardFacts) -> str:
    base = name_base(facts)
    about = f"`{base}`" if base else "a local gpt-oss (the sha256 below says which)"
    if facts.manifest["role"] == "control":
        subject = "other authors: the control that a style adapter is measured against, not one author's style"
    else:
        subject = f"{facts.author_name or 'one author, whom this card does not name'}"
    kind = {
        "adapter": "A LoRA adapter for",
        "merged": "A checkpoint with a LoRA adapter merged into",
        "gguf": "A GGUF file with a LoRA adapter merged into",
        "ollama": "A GGUF file and an Ollama Modelfile, with a LoRA adapter merged into",
    }[facts.target]
    return f"# gpt-oss in an author's style\n\n{kind} {about}, trained on texts by {subject}."


def _sum_chat_shares(config: Mapping[str, Any]) -> float:
    return sum(float(config["data"][f"{kind}_share"]) for kind in ("continue", "brief", "rewrite"))


def _render_use(facts: CardFacts) -> str:
    chat = _sum_chat_shares(facts.manifest["config"]) > 0
    prompt = "The texts were learned as running text, so give the beginning of a text after `<|startoftext|>`"
    prompt += ", or ask in gpt-oss's chat format." if chat else "; no request was ever shown in training."
    match facts.target:
        case "adapter":
            body = _render_adapter_use(facts)
        case "merged":
            body = _render_code("model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype='auto')")
        case "gguf":
            body = "```\nllama-cli -m model.gguf --no-conversation -p '<|startoftext|>It was late when'\n```"
        case "ollama":
            body = "```\nollama create my-author -f Modelfile\nollama run my-author 'It was late when'\n```"
    return f"## How to load it\n\n{prompt}\n\n{body}"


def _render_adapter_use(facts: CardFacts) -> str:
    base = name_base(facts)
    embedded = base is not None and base.startswith(EMBEDDED_PREFIX)
    options, imports = "dtype='auto'", ""
    if base and _GPT_OSS.fullmatch(base):
        # Adapted experts are 3-D parameters; MXFP4 kernels have none.
        options = "dtype='bfloat16', quantization_config=Mxfp4Config(dequantize=True)"
        imports = ", Mxfp4Config"
    place = "FOLDER + '/base'" if embedded else repr(base) if base else "BASE"
    code = (
        f"base = AutoModelForCausalLM.from_pretrained({place}, {options})\n"
        "model = PeftModel.from_pretrained(base, FOLDER)"
    )
    notes = []
    if embedded:
        notes.append("The base is embedded in the ghostpen package and on no hub: a copy is in `base/`.")
    if not base:
        notes.append("`BASE` is the folder of the base model.")
    rank = facts.manifest["recipe"]["rank"]
    allowed = [value for value in _VLLM_RANKS if value >= rank]
    if allowed:
        served = "FOLDER/base" if embedded else base or "BASE"
        notes.append(
            f"For vLLM: `vllm serve {served} --enable-lora --max-lora-rank {allowed[0]} "
            "--lora-modules author=FOLDER`. "
            "Names, shapes and the order of the experts are those that the loader of vLLM 0.33.0 reads; serving it "
            "there has not been tried by the project that made this file."
        )
    else:
        notes.append(f"vLLM 0.33.0 takes ranks up to {_VLLM_RANKS[-1]}, and this adapter has {rank}: merge it.")
    return _render_code(code, imports=imports, peft=True) + "\n\n" + "\n\n".join(notes)


def _render_code(load: str, *, imports: str = "", peft: bool = False) -> str:
    first = "from peft import PeftModel\n" if peft else ""
    return (
        f"```python\n{first}from transformers import AutoModelForCausalLM, AutoTokenizer{imports}\n\n"
        f"{load}\n"
        "tokenizer = AutoTokenizer.from_pretrained(FOLDER)\n"
        "ids = tokenizer('<|startoftext|>It was late when', add_special_tokens=False, return_tensors='pt')\n"
        "text = tokenizer.decode(model.generate(**ids, max_new_tokens=100, do_sample=True, top_p=0.95)[0])\n"
        "```\n\n`FOLDER` is where this file lies."
    )


def _render_intended(facts: CardFacts) -> str:
    return (
        "## What it is for, and what it must not be used for\n\n"
        "For continuing drafts in the author's manner, by the author or with the author's consent, and for research "
        "on style.\n\n"
        "**Impersonation:** what it writes can pass for the author's. Don't publish it as theirs, and don't use it "
        "to deceive.\n\n"
        "**Memorisation:** a model tuned on few texts can repeat them word for word, names and private facts "
        "included. Whoever holds this file holds something of the texts: treat it as confidential as they are. "
        "What it says is not true because the author would have said it so."
    )


def _render_data(facts: CardFacts) -> str:
    lines = ["## Texts", ""]
    if facts.data is None:
        lines.append("The prepared texts were not at hand when this card was made, so it has no counts.")
    else:
        lines += ["| split | documents | sections | words | bytes |", "|---|---:|---:|---:|---:|"]
        for split, counts in facts.data.splits.items():
            sizes = (counts.documents, counts.sections, counts.words, counts.size_bytes)
            lines.append(f"| {split} | " + " | ".join(f"{size:,}" for size in sizes) + " |")
        lines += ["", "`contrast` is text by other authors."]
        if facts.data.within_document:
            lines.append("Too few documents: chapters of the longest are held out, an easier test than a whole work.")
        else:
            lines.append("Whole documents are held out for validation and test.")
    lines += [
        f"sha256 of the prepared texts: `{facts.manifest['data_sha256']}`.",
        "Titles and sources are left out: the tool cannot know which of them are public.",
    ]
    return "\n".join(lines)


def _render_training(facts: CardFacts) -> str:
    manifest = facts.manifest
    config, base, targets = manifest["config"], manifest["base_model"], manifest["targets"]
    lora, train, recipe, best = config["lora"], config["train"], manifest["recipe"], manifest["best"]
    base_name = name_base(facts) or "a local folder"
    alpha = 2.0 * recipe["rank"] if lora["alpha"] is None else lora["alpha"]
    layers = "all layers" if lora["layers"] is None else f"layers {', '.join(map(str, lora['layers']))}"
    lines = ["## Training", "", f"- base model: {base_name}"]
    loaded_name = base.get("loaded_name", base["name"])  # of a folder nothing is recorded: its path is private
    if not is_same_repository(base["name"], loaded_name):
        lines.append(f"- trained on its weights as {loaded_name} has them")
    if base.get("revision"):
        of_base = "the base" if is_same_repository(base["name"], loaded_name) else loaded_name
        lines.append(f"- revision of {of_base}: `{base['revision']}`")
    if base.get("weights_sha256"):
        lines.append(f"- sha256 of the base's weights: `{base['weights_sha256']}`")
    quantised = "quantised to 4 bits, computed in" if config["model"]["load_in_4bit"] else "loaded in"
    lines += [
        f"- base {quantised} {config['model']['precision']}",
        f"- LoRA: rank {recipe['rank']}, alpha {alpha:g}, {layers}, "
        f"{targets['trainable_total']:,} trained parameters",
        *(f"  - {kind}: {count:,}" for kind, count in targets["trainable"].items()),
        f"- {manifest['step']:,} of {recipe['steps']:,} planned steps, {manifest['tokens_seen']:,} tokens trained on",
        f"- these weights are those of step {best['step']:,}, the best on the author's validation text "
        f"({best['bits_per_byte']:.3f} bits per byte)",
        f"- windows of {config['data']['sequence_length']:,} tokens, "
        f"{train['batch_size'] * train['gradient_accumulation']} a step",
        f"- learning rate {recipe['learning_rate']:g}, {recipe['schedule']}, seed {train['seed']}",
        f"- share of the text in chat format: {_sum_chat_shares(config):g}",
        f"- ghostpen {manifest['ghostpen_version']}, "
        + ", ".join(f"{name} {version}" for name, version in manifest["package_versions"].items()),
    ]
    return "\n".join(lines)


def _render_measurements(facts: CardFacts) -> str:
    lines = ["## Measured", "", "On validation texts while training, lower is better:", ""]
    lines += ["| text | step | perplexity | bits per byte |", "|---|---:|---:|---:|"]
    for split, name in (("val", "the author's"), ("contrast_val", "other authors'")):
        rows = [row for row in facts.metrics if row["split"] == split]
        if not rows:
            continue
        chosen = [rows[0], min(rows, key=lambda row: row["loss_nats"] / row["tokens"]), rows[-1]]
        for row in {row["step"]: row for row in chosen}.values():
            lines.append(f"| {name} | {row['step']:,} | {row['perplexity']:.2f} | {row['bits_per_byte']:.3f} |")
    lines.append("")
    if facts.manifest["role"] == "control":
        lines.append("This is the control; what the author's adapter gains over it says that adapter's card.")
    elif facts.report is None:
        lines.append("Not tested: no report compares this adapter with its control, so nothing here says style.")
    else:
        lines += _render_report(facts.report, facts.author_name)
    return "\n".join(lines)


def _render_report(report: Report, author_name: str | None) -> list[str]:
    found = report["specificity"]
    g_a, g_o, s = (Interval(**found[key]) for key in ("g_a", "g_o", "s"))
    specificity = Specificity(g_a, g_o, s, found["resamples"], found["seed"])
    verdict = render_verdict(specificity, author=author_name or "the author")
    lines = [
        "On held-out texts, against a control adapter that was trained on other authors for the same steps (bits per "
        "byte saved, 95 % intervals over the texts' sections):",
        "",
        "| | estimate | interval | meaning |",
        "|---|---:|---|---|",
    ]
    meanings = (
        ("G_A", g_a, "gain over the control on the author's unseen text"),
        ("G_O", g_o, "the same on other authors' unseen text"),
        ("S = G_A - G_O", s, "what is the author's and not just prose"),
    )
    for name, interval, meaning in meanings:
        if interval.low is None or interval.high is None:
            bounds = "too few sections"
        else:
            bounds = f"{interval.low:+.3f} to {interval.high:+.3f}"
        lines.append(f"| {name} | {interval.estimate:+.3f} | {bounds} | {meaning} |")
    caution = "The intervals cover the choice of sections, not of training seeds or of other authors."
    return [*lines, "", verdict, "", caution]


def _render_licence(facts: CardFacts) -> str:
    base = name_base(facts)
    if base and _GPT_OSS.fullmatch(base):
        of_base = "The base model gpt-oss is under Apache-2.0, a copy of which must go with its weights."
    elif base and base.startswith(EMBEDDED_PREFIX):
        of_base = "The base model is ghostpen's own, under Apache-2.0."
    else:
        of_base = "The base model's licence is not known to this tool: see where it came from."
    return (
        f"## Licence\n\n{of_base} The licence of what was trained here is for its owner to decide, with the rights "
        "to the texts in mind; until it is written here in place of `unknown` above, none is given."
    )
