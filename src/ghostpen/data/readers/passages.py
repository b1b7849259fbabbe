"""What a reader hands on: passages, what it left out, and why a file can't be read.

Owns the types that all readers share. Must not know any format.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path, PurePosixPath

LARGEST_WHOLE_BYTES = 256 * 1024**2  # of a file that is read in one piece; the longest novels have 5 MB
NIGHT_ENDS_HOUR = 4  # a chat past midnight belongs to the day before


class UnreadableError(Exception):
    """Say in half a sentence why one file can't be read, and what to do; it holds none of the file's text."""


@dataclass(frozen=True)
class Sender:
    """Who wrote a message, as the file says it.

    Args:
        name: as displayed; "" where there is only an address.
        address: an e-mail address or a service's id, "" where there is none.
        is_owner: whether it is the export's owner; None where the export doesn't say who that is.
    """

    name: str = ""
    address: str = ""
    is_owner: bool | None = None


@dataclass(frozen=True)
class Passage:
    """A whole work, one message or one row.

    Args:
        text: decoded and without markup; "" where only the links count.
        name: what to call the document; "" where it is the file, and is called so.
        sender: None where all of the file is by one hand.
        sent: when a message was sent; orders the messages of a document.
        written: when a work was written or published.
        links: ids of the messages and threads that this one belongs with. Messages with a link in common end
            up in one document; a passage without links is a document by itself.
        key: passages of equal keys are the same message; the longest is kept.
        wrapped: line ends may be a printer's and not the author's.
        headings: it has chapters, titles and the like.
    """

    text: str
    name: str = ""
    sender: Sender | None = None
    sent: datetime | None = None
    written: date | None = None
    links: tuple[str, ...] = ()
    key: str | None = None
    wrapped: bool = False
    headings: bool = False


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    Args:
        path: below the source's root, through archives; it names documents and authors.
        origin: as a person would look for it; for messages only.
        local: where its bytes lie now, perhaps for a short time only.
    """

    path: PurePosixPath
    origin: str
    local: Path

    @property
    def size_bytes(self) -> int:
        """Return the size on disk."""
        return self.local.stat().st_size

    def read_whole(self, *, most_bytes: int = LARGEST_WHOLE_BYTES) -> bytes:
        """Return the content of a file that is read in one piece.

        Raises:
            UnreadableError: it is larger than `most_bytes`.
        """
        if self.size_bytes > most_bytes:
            raise UnreadableError(f"larger than {most_bytes / 1024**2:,.0f} MiB; cut it into smaller files")
        return self.local.read_bytes()


@dataclass
class Reading:
    """How to read, and what was counted on the way.

    Args:
        wants: whether messages of a sender are to be read at all; asked once a message, so it can count.
        text_columns: the columns of tables that hold the text, where somebody named them.
        choose_column: asks a person for it, given the file and its columns; None where nobody can be asked.
        left_out: how often each rule left something out.
        repaired: how often each rule repaired something.
    """

    wants: Callable[[Sender], bool]
    text_columns: tuple[str, ...] = ()
    choose_column: Callable[[str, Sequence[str]], str] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)


def find_chat_day(sent: datetime | None) -> str:
    """Return the day that a message belongs to, in ISO's form, from 4 o'clock to 4 o'clock."""
    return (sent - timedelta(hours=NIGHT_ENDS_HOUR)).date().isoformat() if sent else "undated"
