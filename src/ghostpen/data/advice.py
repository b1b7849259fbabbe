"""What `ghostpen prepare` says of the texts: how much there is, what that is good for, what may go wrong.

Settings come from the table that a training's own come from (`ghostpen.tiers`); the shares that make a warning are
rules of thumb. Languages are told by the model that is part of the package `py3langid`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from ghostpen.data.manifest import Manifest
from ghostpen.data.sections import PARAGRAPH_END, Section
from ghostpen.tiers import TIERS, TOKENS_PER_WORD, Tier, choose_tier, describe_range

MOST_QUOTED = 0.2  # of the words
LEAST_OF_A_LANGUAGE = 0.05  # of the samples: fewer are quotations, or mistakes
_SAMPLE_CHARACTERS, _SAMPLES = 1_000, 100
_MOST_OF_A_PARAGRAPH = 5_000  # characters in quotation marks: more is a mark that nobody closed
_QUOTED = re.compile(r"“[^“”]+”|„[^„“”]+[“”]|«[^«»]+»|»[^«»]+«|\"[^\"]+\"")

# Returns a language's code, such as "en".
Identify = Callable[[str], str]


@dataclass(frozen=True)
class Advice:
    """How much the author's training text is, what it is like, and warnings, each a line."""

    documents: int
    words: int
    tokens: int | None
    tokenizer: str | None
    tier: Tier
    quoted: float
    languages: dict[str, float]
    warnings: tuple[str, ...]

    def describe(self) -> list[str]:
        """Say it in lines without colours or frames."""
        return [
            f"to train on: {self.describe_amount()}",
            f"that is {self.tier.name} ({describe_range(self.tier)}): {self.tier.expect}",
            f"a config that leaves them open gets {', '.join(self.list_settings())}",
            *(f"warning: {warning}" for warning in self.warnings),
        ]

    def describe_amount(self) -> str:
        """Say how much it is."""
        counted = "" if self.tokens is None else f", {self.tokens:,} tokens of {self.tokenizer}"
        documents = "document" if self.documents == 1 else "documents"
        return f"{self.documents:,} {documents}, {self.words:,} words{counted}"

    def list_settings(self) -> list[str]:
        """List what a training chooses for so much text, as it would stand in a config's first lines."""
        tier = self.tier
        settings = {"lora.rank": tier.rank, "train.epochs": tier.epochs, "train.learning_rate": tier.learning_rate}
        return [f"{key} = {value:g}" for key, value in settings.items()]


def compute_advice(manifest: Manifest, sections: Iterable[Section], *, identify: Identify) -> Advice:
    """Look at what was prepared.

    Args:
        sections: the author's, to train on; gone through several times.
        identify: tells a text's language.
    """
    counts = manifest.splits["train"]
    quoted = compute_quoted_share(sections)
    languages = compute_languages(sections, identify=identify)
    tokenizer = manifest.inputs.tokenizer
    return Advice(
        documents=counts.documents,
        words=counts.words,
        tokens=counts.tokens,
        tokenizer=tokenizer.name if tokenizer else None,
        tier=choose_tier(counts.words),
        quoted=quoted,
        languages=languages,
        warnings=tuple(_list_warnings(manifest, quoted=quoted, languages=languages)),
    )


def compute_quoted_share(sections: Iterable[Section]) -> float:
    """Compute the share of the words that stand in double quotation marks, by paragraph.

    Single ones are apostrophes as well, and are not looked at.
    """
    words = quoted = 0
    for section in sections:
        for paragraph in section.text.split(PARAGRAPH_END):
            words += len(paragraph.split())
            found = (match[0] for match in _QUOTED.finditer(paragraph) if len(match[0]) <= _MOST_OF_A_PARAGRAPH)
            quoted += sum(len(text.split()) for text in found)
    return quoted / words if words else 0.0


def compute_languages(sections: Iterable[Section], *, identify: Identify) -> dict[str, float]:
    """Compute the share of each language in samples from all over the text; the largest comes first."""
    total = max(sum(len(section.text) + len(PARAGRAPH_END) for section in sections) - len(PARAGRAPH_END), 0)
    stride = max(_SAMPLE_CHARACTERS, total // _SAMPLES)
    samples = list(_cut_samples(sections, stride))
    # The last one may be a few words, which could be any language.
    samples = [sample for sample in samples if len(sample) >= _SAMPLE_CHARACTERS // 4] or samples[:1]
    found = Counter(identify(sample) for sample in samples)
    return {language: count / len(samples) for language, count in found.most_common()}


def _cut_samples(sections: Iterable[Section], stride: int) -> Iterator[str]:
    """Yield what begins at each multiple of the stride in the joined texts, of which one is in memory at a time."""
    text = ""
    for number, section in enumerate(sections):
        text += (PARAGRAPH_END if number else "") + section.text
        while len(text) >= stride:
            yield text[:_SAMPLE_CHARACTERS]
            text = text[stride:]
    if text:
        yield text[:_SAMPLE_CHARACTERS]


def load_identifier() -> Identify:
    """Load what tells a text's language, from a model that is part of its package."""
    import py3langid

    return lambda text: str(py3langid.classify(text)[0])


def show_advice(advice: Advice, *, console: Console) -> None:
    """Print it: in a frame at a terminal, else in plain lines."""
    if console.is_terminal:
        console.print(render_advice(advice))
    else:
        for line in advice.describe():
            console.print(line, soft_wrap=True, markup=False)


def render_advice(advice: Advice) -> Panel:
    """Return it for a terminal."""
    lines = [
        Text(advice.describe_amount(), style="bold"),
        Text(f"{advice.tier.name}, {describe_range(advice.tier)}: {advice.tier.expect}"),
        Text("\na config that leaves them open gets"),
        *(Text(f"  {setting}", style="cyan") for setting in advice.list_settings()),
    ]
    if advice.warnings:
        lines += [Text(), *(Text(f"! {warning}", style="yellow") for warning in advice.warnings)]
    return Panel(Group(*lines), title="to train on", title_align="left")


def _list_warnings(manifest: Manifest, *, quoted: float, languages: dict[str, float]) -> list[str]:
    counts = manifest.splits["train"]
    words = counts.words
    warnings = []
    if counts.documents == 1:
        warnings.append(
            "one document only: what is learned may be its names and places as well as the style; add other works or "
            "letters if there are any"
        )
    if words < (least := TIERS[0].below_words):
        warnings.append(
            f"fewer than {least:,} words (about {least * TOKENS_PER_WORD:,.0f} tokens of gpt-oss) to train on: add "
            "texts if there are any"
        )
    if quoted > MOST_QUOTED:
        warnings.append(
            f"{quoted:.0%} of the words stand in quotation marks: where other people said them, as in interviews and "
            "minutes, they are learned as the author's; a novel's dialogue is the author's own"
        )
    several = {language: share for language, share in languages.items() if share >= LEAST_OF_A_LANGUAGE}
    if len(several) > 1:
        listed = ", ".join(f"{language} {share:.0%}" for language, share in several.items())
        warnings.append(f"several languages ({listed}): one adapter each learns more; prepare them apart")
    return warnings
