"""What a person asks `ghostpen write` for, in the form that the samples of that kind are trained in.

Pure functions. Must not know models; the tokenizer is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ghostpen.config import DataConfig
from ghostpen.data.chats import RELEASE_DAY, render_prompt
from ghostpen.data.instructions import BRIEF_INSTRUCTIONS, CONTINUE_INSTRUCTIONS, REWRITE_INSTRUCTIONS
from ghostpen.errors import ConfigError, DataError

RequestKind = Literal["text", "continue", "brief", "rewrite"]
PresetName = Literal["steady", "balanced", "free", "likeliest"]


@dataclass(frozen=True)
class Request:
    """What is to be written.

    Args:
        kind: running text that goes on; or in a chat a continuation, a text from a brief, a text in other words.
        text: the beginning, the brief, or the text to be rewritten.
    """

    kind: RequestKind
    text: str


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn; `top_p` and `min_p` as `RowSampler` takes them."""

    temperature: float
    top_p: float
    min_p: float

    def describe(self) -> str:
        """Say it in a few words."""
        return f"temperature {self.temperature:g}, top_p {self.top_p:g}, min_p {self.min_p:g}"


PRESETS: dict[PresetName, Sampling] = {
    "steady": Sampling(0.7, 0.9, 0.05),  # fewer slips, and more even than a person writes
    "balanced": Sampling(0.9, 0.95, 0.05),
    "free": Sampling(1.0, 1.0, 0.02),  # near what the model learned
    "likeliest": Sampling(0.0, 1.0, 0.0),
}


def choose_sampling(
    preset: PresetName, *, temperature: float | None, top_p: float | None, min_p: float | None
) -> Sampling:
    """Take a preset's numbers, but for those that are given."""
    chosen = PRESETS[preset]
    return Sampling(
        chosen.temperature if temperature is None else temperature,
        chosen.top_p if top_p is None else top_p,
        chosen.min_p if min_p is None else min_p,
    )


def plan_request(*, beginning: str | None, brief: str | None, rewrite: str | None, in_chat: bool) -> Request | None:
    """Say what is asked for; None where nothing is.

    Args:
        beginning: of a text. in_chat: it is to be continued in a chat.

    Raises:
        ConfigError: two things at once.
        DataError: an empty text.
    """
    given: list[tuple[str, RequestKind, str | None]] = [
        ("a prompt", "continue" if in_chat else "text", beginning),
        ("--brief", "brief", brief),
        ("--rewrite", "rewrite", rewrite),
    ]
    asked = [(name, Request(kind, text)) for name, kind, text in given if text is not None]
    if len(asked) > 1:
        raise ConfigError(f"{asked[0][0]} and {asked[1][0]} are two things to write: give one of them")
    if in_chat and asked and asked[0][1].kind != "continue":
        raise ConfigError(f"--continue goes on with a prompt, and {asked[0][0]} is none: leave one of the two out")
    if not asked:
        return None
    request = asked[0][1]
    if not request.text.strip():
        raise DataError("the prompt is empty: write the beginning of a text, to be continued")
    return request


def render_request(request: Request, tokenizer: Any) -> list[int]:
    """Render a request in a chat, up to where the answer begins in the final channel, as it is trained.

    Of the many wordings that are trained the first is taken.

    Raises:
        ModelError: the chat template is not Harmony.
        ValueError: a text that goes on is in no chat.
    """
    match request.kind:
        case "continue":
            words = f"{CONTINUE_INSTRUCTIONS[0]}\n\n{request.text.strip()}"
        case "brief":
            words = BRIEF_INSTRUCTIONS[0].format(brief=request.text.strip())
        case "rewrite":
            words = REWRITE_INSTRUCTIONS[0].format(neutral=request.text.strip())
        case "text":
            raise ValueError("running text is continued outside of a chat")
    return render_prompt(words, tokenizer, day=RELEASE_DAY)


def find_kind_warning(kind: RequestKind, data: DataConfig) -> str | None:
    """Say that an adapter was trained on nothing of the kind that is asked for."""
    shares = {
        "text": 1 - data.chat_share,
        "continue": data.continue_share,
        "brief": data.brief_share,
        "rewrite": data.rewrite_share,
    }
    if shares[kind] > 1e-9:
        return None
    if kind == "text":
        return "the run was trained on chats alone, and this is running text: --continue asks in a chat"
    return (
        f"the run was trained with data.{kind}_share = 0, so the adapter has seen no such request; "
        "train with a share of them, or give the beginning of a text"
    )
