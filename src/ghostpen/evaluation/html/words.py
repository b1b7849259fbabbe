"""What a finding means, in words for people who have not read how it was measured."""

from dataclasses import dataclass

from ghostpen.evaluation.report_shape import Finding, Report
from ghostpen.training.curve import render_perplexity


@dataclass(frozen=True)
class State:
    """How a finding is shown: a look of the style sheet, a sign, one word, and what it means."""

    look: str
    sign: str
    word: str
    headline: str
    meaning: str


def render_state(report: Report) -> State:
    """Render the finding for people."""
    author = report["author"]
    look, sign, word, headline, meaning = _STATES[report["finding"]]
    return State(look, sign, word, headline.format(author=author), meaning.format(author=author))


def render_perplexity_sentence(report: Report) -> str:
    """Render the two perplexities on the author's text as a person may picture them."""
    models = report["author_test"]["models"]
    control, author = (render_perplexity(models[label]["perplexity"]) for label in ("control", "author"))
    return (
        f"On {report['author']}’s unseen text the control is as unsure of each next token as if it had to choose "
        f"among {control} equally likely ones, the adapter among {author} (their perplexities)."
    )


_STATES: dict[Finding, tuple[str, str, str, str, str]] = {
    "specific": (
        "good",
        "\N{HEAVY CHECK MARK}",
        "specific",
        "What it learned is {author}, not just prose",
        "The adapter predicts unseen text by {author} better than a control that trained as long on other authors, "
        "and gains more there than on other authors’ text. So part of what it learned is {author}’s own.",
    ),
    "unclear": (
        "open",
        "?",
        "unclear",
        "No evidence yet that it learned {author}",
        "The adapter’s advantage on {author} may be no larger than on other authors: the interval includes 0. More "
        "text, more steps or a closer contrast may settle it; this test does not.",
    ),
    "others_got_worse": (
        "open",
        "?",
        "not shown",
        "No evidence yet that it learned {author}",
        "The adapter differs from its control, but by getting worse at other authors, and not clearly better at "
        "{author}. That is no evidence of {author}’s style.",
    ),
    "less_than_others": (
        "bad",
        "\N{MULTIPLICATION SIGN}",
        "not specific",
        "It learned less of {author} than of other authors",
        "Over its control the adapter gained less on {author} than on other authors: what it learned "
        "is not {author}’s.",
    ),
    "too_little_text": (
        "none",
        "\N{HORIZONTAL ELLIPSIS}",
        "too little text",
        "Too little text to say that it learned {author}",
        "There are too few held-out sections to say how far the numbers would move with other ones. Hold out more "
        "text, by {author} and by others.",
    ),
}
