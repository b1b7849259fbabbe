"""What of a mail its sender wrote: without quoted mails, forwarded mails and signatures.

quotequail knows how mail programs introduce a quotation, in many languages; what it takes for one is checked here,
since authors too write "On Sunday my father wrote:". Pure functions.
"""

import re
from collections import Counter

# quotequail takes time that grows with the square of these; no mail that somebody typed has as many.
_MOST_LINES = 2_000
_MOST_QUOTATIONS = 20
_SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)
_MOST_SIGNATURE_LINES = 12
_DEVICE_LINE = re.compile(
    r"^(?:(?:Sent|Get) (?:from|via) (?:my |Mail|Outlook|Yahoo|Gmail|Proton|Samsung|a mobile|the )|Get Outlook for|"
    r"Von meinem .{2,30} gesendet|Gesendet (?:von|mit) |Envoyé (?:de|depuis|à partir de) (?:mon|l’|l'|Outlook|Yahoo)|"
    r"Obtenez Outlook|Enviado (?:desde|do|de) (?:mi|meu|Outlook|Yahoo)|Inviato da |Verstuurd vanaf |"
    r"Skickat från ).{0,60}$",
    re.IGNORECASE,
)
_DIVIDER = re.compile(r"_{20,}\s*")
_FORWARD_LINE = re.compile(r"-{3,}.{3,40}-{3,}\s*$", re.MULTILINE)
_CONTACT = re.compile(r"@|https?://|www\.|(?:\d[ ()/.-]?){7}")


def extract_own_text(text: str, dropped: Counter[str]) -> str:
    """Return what the sender wrote, answers between quotations included.

    Args:
        text: the mail's body; quoted lines begin with >.
        dropped: counts quotations, signatures and the lines that phones add.
    """
    own: list[str] = []
    rest = text
    while rest and len(own) < _MOST_QUOTATIONS and rest.count("\n") < _MOST_LINES:
        top, rest = _split_quotation(rest, dropped)
        own.append(_drop_signature(top, dropped))
    return _drop_quoted_lines("\n\n".join([*own, rest]), dropped).strip()


def find_contact_block(text: str) -> str | None:
    """Return the last paragraph where it looks like a signature without a mark: lines with ways to reach somebody."""
    last = text.strip().split("\n\n")[-1]
    return last if 1 < len(last.split("\n")) <= _MOST_SIGNATURE_LINES and _CONTACT.search(last) else None


def _split_quotation(text: str, dropped: Counter[str]) -> tuple[str, str]:
    """Return what stands above the first quotation, and what below it."""
    import quotequail

    above, searched = "", text
    for _ in range(_MOST_QUOTATIONS):
        if (found := quotequail.unwrap(searched)) is None:
            break
        before, introduced = _split_at_introduction(searched)
        if _is_quotation(found, introduced):
            dropped["quoted_mails"] += 1
            blanks = searched[: len(searched) - len(searched.lstrip())]  # quotequail strips them
            return above + blanks + found.get("text_top", ""), found.get("text_bottom", "")
        line, _, searched = introduced.partition("\n")  # an author's sentence: look on below it
        above += f"{before}{line}\n"
    return above + searched, ""


def _split_at_introduction(text: str) -> tuple[str, str]:
    """Return what stands above the line that introduces a quotation, and the rest with that line."""
    import quotequail

    parts = quotequail.quote(text, limit=len(text) + 1, quote_intro_line=True)
    introduced = parts[1][1] if len(parts) > 1 else ""
    return text[: len(text) - len(introduced)], introduced


def _is_quotation(found: dict[str, str], introduced: str) -> bool:
    """Tell a mail program's introduction from an author's sentence: it has a date, headers or quoted lines."""
    if found["type"] == "quote" or not introduced:
        return True
    if found["type"] == "forward":
        return "from" in found or bool(_FORWARD_LINE.match(introduced))
    has_date = bool(re.search(r"\d{1,2}[:.]\d{2}|\d{4}", found.get("date", "")))
    return has_date or bool(re.match(r".*\n(?:.*\n)?\s*>", introduced))


def _drop_signature(text: str, dropped: Counter[str]) -> str:
    marks = list(_SIGNATURE.finditer(text))
    below = text[marks[-1].end() :].strip() if marks else ""
    # Without its blank, the mark may be an author's break between two scenes.
    if marks and below.count("\n") < _MOST_SIGNATURE_LINES and (marks[-1][0] == "-- " or _CONTACT.search(below)):
        text = text[: marks[-1].start()]
        dropped["signatures"] += 1
    lines = text.rstrip().split("\n")
    while lines and (not lines[-1].strip() or _DEVICE_LINE.match(lines[-1].strip()) or _DIVIDER.fullmatch(lines[-1])):
        if _DEVICE_LINE.match(lines.pop().strip()):
            dropped["signatures"] += 1
    return "\n".join(lines)


def _drop_quoted_lines(text: str, dropped: Counter[str]) -> str:
    """Drop single quoted lines, and a line that introduces them and would stand alone."""
    kept: list[str] = []
    for line in text.split("\n"):
        if line.startswith(">"):
            dropped["quoted_lines"] += 1
            while kept and not kept[-1].strip():
                kept.pop()
            if kept and re.search(r"(?:wrote|schrieb|écrit|escribió|scrisse|schreef|skrev)\s?:$", kept[-1]):
                kept.pop()
            kept.append("")
        else:
            kept.append(line)
    return "\n".join(kept)
