"""Read what a person points at, files, folders or `embedded:NAME`, into documents.

Owns which reader reads which file, and what is listed as unread. Must not change a text beyond decoding it and taking
it out of its format: the rest is cleaning's work.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ghostpen.data.authorship import Authorship
from ghostpen.data.documents import Document, build_document, give_id
from ghostpen.data.readers.archives import read_discord, read_reddit, read_x
from ghostpen.data.readers.isolation import IsolatedReader
from ghostpen.data.readers.kinds import Kind, recognise
from ghostpen.data.readers.mail import read_eml, read_mbox
from ghostpen.data.readers.passages import Passage, Reading, SourceFile, UnreadableError
from ghostpen.data.readers.plain import decode_text
from ghostpen.data.readers.tables import read_table
from ghostpen.data.readers.telegram import read_telegram
from ghostpen.data.readers.whatsapp import read_whatsapp
from ghostpen.data.source_files import EMBEDDED_PREFIX, FoundFile, find_files, walk_archive
from ghostpen.data.stored import StoredText, TextStore
from ghostpen.data.threads import FoundPassage, find_signatures, group_passages
from ghostpen.errors import DataError

_MOST_FILES_SHOWN = 3
_STREAMED: dict[Kind, Callable[[SourceFile, Reading], Iterator[Passage]]] = {
    Kind.MBOX: read_mbox,
    Kind.EML: read_eml,
    Kind.WHATSAPP: read_whatsapp,
    Kind.TELEGRAM: read_telegram,
    Kind.DISCORD: read_discord,
    Kind.REDDIT: read_reddit,
    Kind.X: read_x,
}


@dataclass(frozen=True)
class UnreadFile:
    """A file that could not be read, and why."""

    origin: str
    reason: str


@dataclass(frozen=True)
class Source:
    """What one SRC argument held: its fingerprint, its documents, and what was passed over.

    Args:
        left_out: by rule, how often something that is not the author's text was left out.
        repaired: by rule, how often something was repaired.
        is_plain: it holds nothing but plain text, so that the fingerprint says all about the documents.
    """

    name: str
    sha256: str
    size_bytes: int
    documents: tuple[Document, ...]
    files_of_other_types: int = 0
    empty_files: int = 0
    unread: tuple[UnreadFile, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    is_plain: bool = True


@dataclass(frozen=True)
class ReadingOptions:
    """What a person says about the files.

    Args:
        me: the author's names and addresses in mails and chats.
        text_columns: columns of tables that hold the text.
        choose_column: asks for one, given the file and its columns; None where nobody can be asked.
        strict: a file that can't be read is an error.
    """

    me: tuple[str, ...] = ()
    text_columns: tuple[str, ...] = ()
    choose_column: Callable[[str, Sequence[str]], str] | None = None
    strict: bool = False


def read_sources(
    sources: Sequence[str | Path],
    *,
    author: str | None,
    options: ReadingOptions,
    store: TextStore,
) -> list[Source]:
    """Read every file of the sources, in the order of their names.

    Hidden files and folders are passed over, and so are files of other types (they are counted). A file that can't
    be read is listed in its source.

    Args:
        sources: files, folders (read with everything below them), or `embedded:NAME`.
        author: whose texts these are; None for contrast texts, where sender or folder names the author, and messages
            of `options.me` are left out.
        options: what a person says about the files.
        store: gets the texts, and must be open for as long as they are wanted.

    Raises:
        DataError: a source is missing or without text; nothing can be read; it isn't clear who the author is, or
            which column holds the text; two works of one author have the same id.
    """
    authorship = Authorship(options.me, own=author is not None)
    with IsolatedReader() as isolated:
        contents = [_SourceContent(str(source), authorship, options, isolated, store) for source in sources]
        for content in contents:
            content.read()
    authorship.check()
    _check_unread([file for content in contents for file in content.unread], strict=options.strict)
    found = [
        FoundPassage(passage, file, number, stored)
        for number, content in enumerate(contents)
        for passage, file, stored in content.passages
    ]
    documents: list[list[Document]] = [[] for _ in contents]
    signatures = find_signatures(found)
    seen: dict[tuple[str, str], str] = {}
    for group in group_passages(found, by_sender=author is None):
        source = group[0].source
        document = build_document(
            group, author=author, root_name=contents[source].root_name, signatures=signatures, store=store
        )
        documents[source].append(give_id(document, seen, is_work=not group[0].passage.name))
    _check_texts(contents, documents)
    return [content.build_source(own) for content, own in zip(contents, documents, strict=True)]


class _SourceContent:
    """The passages of one source, file by file."""

    def __init__(
        self,
        source: str,
        authorship: Authorship,
        options: ReadingOptions,
        isolated: IsolatedReader,
        store: TextStore,
    ) -> None:
        self.source = source
        self.root_name = ""
        self.passages: list[tuple[Passage, SourceFile, StoredText | None]] = []
        self._store = store
        self.unread: list[UnreadFile] = []
        self._isolated = isolated
        self._reading = Reading(authorship.wants, options.text_columns, options.choose_column)
        self._kinds: Counter[Kind] = Counter()
        self._empty_files = 0
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def read(self) -> None:
        files, self.root_name = find_files(self.source)
        for found in files:
            self._read_found(found, is_root=found.file.origin == self.source)

    def build_source(self, documents: Sequence[Document]) -> Source:
        return Source(
            name=self.source if self.source.startswith(EMBEDDED_PREFIX) else Path(self.source).resolve().name,
            sha256=self._digest.hexdigest(),
            size_bytes=self._size_bytes,
            documents=tuple(documents),
            files_of_other_types=self._kinds[Kind.OTHER],
            empty_files=self._empty_files,
            unread=tuple(self.unread),
            left_out=+self._reading.left_out,
            repaired=+self._reading.repaired,
            is_plain=self._kinds.keys() <= {Kind.TEXT, Kind.ZIP, Kind.OTHER},
        )

    def _read_found(self, found: FoundFile, *, is_root: bool = False, is_packed: bool = False) -> None:
        file = found.file
        try:
            if found.refused is not None:
                raise UnreadableError(found.refused)
            kind = recognise(file, siblings=found.siblings)
            self._kinds[kind] += 1
            if kind is Kind.ZIP:
                if is_packed:
                    raise UnreadableError("an archive within an archive; unpack it")
                below = PurePosixPath() if is_root else file.path.with_suffix("")
                self.root_name = file.path.stem if is_root else self.root_name
                for entry in walk_archive(file, below=below):
                    self._read_found(entry, is_packed=True)
            elif kind is not Kind.OTHER:
                self._hash(file)
                self._read_file(file, kind)
        except UnreadableError as error:
            self.unread.append(UnreadFile(file.origin, str(error)))
        except OSError as error:
            self.unread.append(UnreadFile(file.origin, f"can't be read ({error.strerror}); check its permissions"))

    def _read_file(self, file: SourceFile, kind: Kind) -> None:
        has_text = False
        others = self._reading.left_out["messages_by_others"]
        for passage in self._iterate_passages(file, kind):
            has_text = has_text or bool(passage.text)
            stored = self._store.add(passage.text) if passage.text.strip() else None
            self.passages.append((replace(passage, text=""), file, stored))
        # A mail of one's own can be a file among many of others; a chat without a word of one's own is a mistake.
        others = self._reading.left_out["messages_by_others"] - others
        if others and kind is not Kind.EML and not has_text:
            raise UnreadableError(
                f"none of its {others:,} messages is by --me; give the name as it stands there, too"
            )

    def _iterate_passages(self, file: SourceFile, kind: Kind) -> Iterator[Passage]:
        if kind is Kind.TEXT:
            decoded = decode_text(file.read_whole())
            self._reading.repaired["encodings"] += decoded.repaired
            if decoded.text.strip():
                yield Passage(decoded.text, wrapped=True, headings=True)
            else:
                self._empty_files += 1
        elif kind in (Kind.PDF, Kind.DOCX, Kind.EPUB, Kind.HTML):
            yield self._isolated.read(file, kind.value, self._reading)
        elif kind in (Kind.JSONL, Kind.CSV, Kind.PARQUET):
            yield from read_table(file, kind.value, self._reading)
        else:
            yield from _STREAMED[kind](file, self._reading)

    def _hash(self, file: SourceFile) -> None:
        """Hash names and contents: a moved or repacked source keeps its fingerprint, a renamed file does not."""
        with file.local.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        self._digest.update(f"{file.path}\0{content}\n".encode(errors="surrogateescape"))
        self._size_bytes += file.size_bytes


def _check_unread(unread: Sequence[UnreadFile], *, strict: bool) -> None:
    if strict and unread:
        raise DataError(f"{_render_unread(unread)}; leave out --strict to go on without")


def _check_texts(contents: Sequence[_SourceContent], documents: Sequence[Sequence[Document]]) -> None:
    """Refuse a source without text; one whose files can't be read is let pass where another one has texts."""
    for content, own in zip(contents, documents, strict=True):
        if own or (content.unread and any(documents)):
            continue
        if content.unread:
            raise DataError(_render_unread(content.unread))
        raise DataError(
            f"{content.source}: no text in it; give a text, or a folder that holds some (docs/prepare.md)"
        )


def _render_unread(unread: Sequence[UnreadFile]) -> str:
    shown = ", and ".join(f"{file.origin}: {file.reason}" for file in unread[:_MOST_FILES_SHOWN])
    more = len(unread) - _MOST_FILES_SHOWN
    return shown + (f", and {more:,} more files that can't be read" if more > 0 else "")
