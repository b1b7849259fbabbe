"""Put messages together that belong together: the mails of a thread, the posts of one, a day of a chat.

Pure functions. A document is what is never divided between training and test, so whatever answers each other is one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ghostpen.data.authorship import render_sender
from ghostpen.data.readers.passages import Passage, SourceFile
from ghostpen.data.readers.replies import find_contact_block
from ghostpen.data.stored import StoredText

_LEAST_SIGNATURES = 3


@dataclass(frozen=True)
class FoundPassage:
    """A passage, the file that it stands in, and the place of that file's source among all.

    Args:
        stored: where the passage's text lies, if not in the passage.
    """

    passage: Passage
    file: SourceFile
    source: int
    stored: StoredText | None = None

    @property
    def text(self) -> str:
        """Return the passage's text."""
        return self.passage.text if self.stored is None else self.stored.read()

    @property
    def chars(self) -> int:
        """Return how long the text is; 0 where it is blank."""
        return len(self.passage.text.strip() and self.passage.text) if self.stored is None else self.stored.chars


def group_passages(found: Sequence[FoundPassage], *, by_sender: bool) -> list[list[FoundPassage]]:
    """Return the documents, in the order of their first passages; within one, in the order of sending.

    A message that was found twice counts once.

    Args:
        found: the passages of all files.
        by_sender: what two senders wrote are two documents; else all are one author's, by whatever address.
    """
    roots = _join_links(item.passage.links for item in found)
    groups: dict[tuple[str, str], list[FoundPassage]] = {}
    for number, item in enumerate(_drop_copies(found)):
        links = item.passage.links
        sender = render_sender(item.passage.sender) if by_sender and item.passage.sender else ""
        key = (roots[links[0]], sender) if links else (f"alone {number}", sender)
        groups.setdefault(key, []).append(item)
    return [sorted(group, key=_place_in_time) for group in groups.values()]


def find_signatures(found: Iterable[FoundPassage]) -> set[str]:
    """Return the last paragraphs that look like signatures and that at least three messages end with."""
    counts: dict[str, int] = {}
    for item in found:
        if item.passage.sender and item.passage.links and (block := find_contact_block(item.text)):
            counts[block] = counts.get(block, 0) + 1
    return {block for block, count in counts.items() if count >= _LEAST_SIGNATURES}


def _drop_copies(found: Sequence[FoundPassage]) -> list[FoundPassage]:
    """Keep the longest passage of each key, at the place of the first; passages without text held links only."""
    kept: dict[str, FoundPassage] = {}
    for number, item in enumerate(found):
        key = item.passage.key or f"{number}"
        if item.chars and (key not in kept or kept[key].chars < item.chars):
            kept[key] = item
    return list(kept.values())


def _join_links(all_links: Iterable[Sequence[str]]) -> dict[str, str]:
    """Return for each link the one that stands for all that hang together with it."""
    parents: dict[str, str] = {}

    def find(link: str) -> str:
        root = link
        while parents.setdefault(root, root) != root:
            root = parents[root]
        while parents[link] != root:
            parents[link], link = root, parents[link]
        return root

    for links in all_links:
        for link in links:
            parents[find(link)] = find(links[0])
    return {link: find(link) for link in list(parents)}


def _place_in_time(item: FoundPassage) -> datetime:
    return item.passage.sent or datetime.min
