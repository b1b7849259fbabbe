"""One typography for all authors: quotes, dashes, dots and blanks as a typewriter has them, but for the dash.

Only on demand: typography is style, too. It is for comparing authors whose editions were typeset by different houses,
so that a quotation mark tells nobody apart. Pure functions.
"""

import re
from dataclasses import dataclass

_RULES = (
    (re.compile("[“”„‟«»″‶＂]"), '"'),
    (re.compile("[‘’‚‛‹›′‵`´＇]"), "'"),
    (re.compile("…"), "..."),
    (re.compile(r"(?<=\.) (?=\.(?: ?\.))|(?<=\.\.) (?=\.)"), ""),  # ". . ."
    # A dash, however it was typed; a hyphen with blanks around is one, at the beginning of a line it is a bullet.
    (re.compile(r" *(?:[—―]|--+|(?<= )–|–(?= )|(?<=[^\s-] )-(?= [^\s-]))(?: *(?:[—―]|--+))* *"), "—"),
    (re.compile("[–‒‐‑]"), "-"),
    (re.compile(" {2,}"), " "),
)


@dataclass(frozen=True)
class UnifiedText:
    """A text in one typography, and how many places were changed."""

    text: str
    changes: int


def unify_typography(text: str) -> UnifiedText:
    """Return the text with straight quotes, "..." for an ellipsis, "—" without blanks for a dash, and single blanks.

    Line ends, spelling and case stay. What is unified already stays as it is.
    """
    changes = 0
    while True:
        before = text
        for pattern, plain in _RULES:
            changed, _ = pattern.subn(plain, text)
            if changed != text:
                changes += sum(match[0] != plain for match in pattern.finditer(text))
                text = changed
        if text == before:
            return UnifiedText(text, changes)
