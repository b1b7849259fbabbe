"""What the base model gives when it is only shown the author's text: passages of it at the head of every window.

Owns that prompt. A style that a prompt gives needs no training, so the report has this model beside the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ghostpen.data.chats import render_prompt
from ghostpen.data.passages import MIN_PASSAGE_WORDS, plan_passages
from ghostpen.data.sections import Section
from ghostpen.data.tokens import Tokenizer

PASSAGES = 5
_LENGTHS = (400, 250, 160, 100, 60, 40, MIN_PASSAGE_WORDS)  # words of a passage, at most, the longest first
_DAY = date(2025, 1, 1)  # gpt-oss's template has the day in it: the same prompt, whenever it is measured
_REQUEST = (
    "Here are passages that one author wrote.\n\n{passages}\n\n"
    "Write a passage of another text by the same author, in the same style."
)
_BETWEEN = "\n\n***\n\n"


@dataclass(frozen=True)
class AuthorPrompt:
    """The tokens up to where the author's text begins in the `final` channel, and how many passages they hold."""

    ids: tuple[int, ...]
    passages: int


def render_author_prompt(
    sections: Sequence[Section], tokenizer: Tokenizer, *, room: int, seed: int
) -> AuthorPrompt | None:
    """Render a request with up to PASSAGES passages, as long as there is room for; None where there is for none.

    Args:
        sections: the author's training text. room: tokens that the prompt may take. seed: of the choice.

    Raises:
        ModelError: the chat template is not Harmony.
    """
    plans = {max_words: plan_passages(sections, max_words=max_words, seed=seed) for max_words in _LENGTHS}
    for count in range(PASSAGES, 0, -1):
        for plan in plans.values():
            if chosen := plan[:count]:
                text = _BETWEEN.join(passage.read(sections) for passage in chosen)
                ids = render_prompt(_REQUEST.format(passages=text), tokenizer, day=_DAY)
                if len(ids) <= room:
                    return AuthorPrompt(tuple(ids), len(chosen))
    return None
