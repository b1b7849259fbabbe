"""What a document is: its id, its author, its date, and the split that a person fixed. Pure functions."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from ghostpen.data.stored import StoredText, TextStore
from ghostpen.data.threads import FoundPassage
from ghostpen.errors import DataError

SPLIT_FOLDERS = ("train", "val", "test")


@dataclass(frozen=True)
class Document:
    """One work, letter, thread of messages or day of a chat by one author, as it was read.

    Args:
        id: unique for its author: slug of the file's stem, or of what the service calls the thread.
        author: as `--author` says; for contrast texts the sender, or the name of the folder.
        stored: where the decoded text lies, not cleaned.
        origin: the file as a person would look for it; for messages only, never written out.
        split: "train", "val" or "test" where a leading folder of that name or a glob fixes it, else None.
        dated: of the work or of the newest message, where the format has it.
        wrapped: as `cleaning.clean_document` wants to know it; likewise headings.
        headings: see wrapped.
        identity: tells it from the author's others, as its id does, but stays when others come or go. "" is the id's.
    """

    id: str
    author: str
    stored: StoredText
    origin: str
    split: str | None = None
    dated: date | None = None
    wrapped: bool = True
    headings: bool = True
    identity: str = ""

    @property
    def text(self) -> str:
        """Return the decoded text, which is read for it."""
        return self.stored.read()


def document_id(document: Document) -> str:
    """Return what tells a document from all others, as `sections.document_key` does for its sections."""
    return f"{document.author}/{document.id}"


def build_document(
    group: Sequence[FoundPassage], *, author: str | None, root_name: str, signatures: set[str], store: TextStore
) -> Document:
    """Return the document that passages make up.

    Args:
        group: as `threads.group_passages` gives it.
        author: whose it is; None for contrast texts, where the sender or else the folder names the author.
        root_name: the author where neither does.
        signatures: as `threads.find_signatures` gives them.
        store: gets the text, where it isn't that of one passage, which lies there.
    """
    first = group[0].passage
    file = group[0].file
    folders = list(file.path.parts[:-1])
    split = folders.pop(0) if folders and folders[0] in SPLIT_FOLDERS else None
    if author is not None:
        owner = author
    elif first.sender is not None and first.sender.name:
        owner = slugify(first.sender.name)
    elif first.sender is not None:
        owner = f"sender-{hashlib.sha256(first.sender.address.encode()).hexdigest()[:8]}"
    else:
        owner = slugify(folders[0] if folders else root_name)
    dates = [item.passage.sent.date() for item in group if item.passage.sent]
    return Document(
        id=slugify(first.name or file.path.stem) or "text",
        author=owner,
        stored=_store_text(group, signatures, store),
        origin=file.origin,
        split=split,
        dated=max(dates, default=first.written),
        wrapped=first.wrapped,
        headings=first.headings,
        identity=_find_identity(group),
    )


def _find_identity(group: Sequence[FoundPassage]) -> str:
    """Return what a thread's first message or a chat's day is called; a row's number says nothing, its words do."""
    first = group[0].passage
    if first.name and not first.links:
        return hashlib.sha256(group[0].text.encode(errors="surrogatepass")).hexdigest()
    return first.name


def _store_text(group: Sequence[FoundPassage], signatures: set[str], store: TextStore) -> StoredText:
    if len(group) == 1 and not signatures and group[0].stored is not None:
        return group[0].stored
    return store.add("\n\n".join(_drop_signature(item.text, signatures) for item in group))


def _drop_signature(text: str, signatures: set[str]) -> str:
    above, _, last = text.strip().rpartition("\n\n")
    return above if last in signatures else text


def give_id(document: Document, seen: dict[tuple[str, str], str], *, is_work: bool) -> Document:
    """Return the document under an id of its own; threads that happen to have the same are numbered.

    Args:
        document: as `build_document` gives it.
        seen: the ids given so far, by author, and where; gets the new one.
        is_work: it is called after its file.

    Raises:
        DataError: two works of one author have the same id.
    """
    number = 1
    while (key := (document.author, document.id)) in seen:
        if is_work:
            raise DataError(
                f"{document.origin}: same document id, {document.id!r}, as {seen[key]}; rename one of them"
            )
        number += 1
        stem = document.id.removesuffix(f"-{number - 1}") if number > 2 else document.id
        document = replace(document, id=f"{stem}-{number}")
    seen[key] = document.origin
    return document


def fix_splits(documents: Sequence[Document], *, val_docs: str | None, test_docs: str | None) -> list[Document]:
    """Set the split of each document of one author whose id or file name matches; a glob overrules a folder.

    Raises:
        DataError: a glob matches no document, or both globs match the same one.
    """
    fixed: dict[str, str] = {}
    for option, glob, split in (("--val-docs", val_docs, "val"), ("--test-docs", test_docs, "test")):
        if glob is None:
            continue
        matches = [d.id for d in documents if fnmatchcase(d.id, glob) or fnmatchcase(Path(d.origin).name, glob)]
        if not matches:
            ids = ", ".join(document.id for document in documents[:8])
            more = ", …" if len(documents) > 8 else ""
            raise DataError(f"{option} {glob!r} matches no document; there are: {ids}{more}")
        if both := [name for name in matches if name in fixed]:
            raise DataError(f"document {both[0]!r} matches --val-docs and --test-docs; make the globs disjoint")
        fixed |= dict.fromkeys(matches, split)
    return [replace(document, split=fixed.get(document.id, document.split)) for document in documents]


def slugify(name: str) -> str:
    """Lower-case a name and turn everything but letters and digits into single hyphens."""
    return re.sub(r"[\W_]+", "-", name.casefold()).strip("-")
