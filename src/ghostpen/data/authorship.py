"""Who of those who wrote the messages is the author.

Never guesses: where several people wrote and nobody said who is meant, it is an error that lists them.
"""

import re
from collections import Counter
from collections.abc import Sequence

from ghostpen.data.readers.passages import Sender
from ghostpen.errors import DataError

_MOST_SENDERS_SHOWN = 10
_ADDRESS = re.compile(r"([^@\s]{1,2})[^@\s]*@(\S+)")
_NUMBER = re.compile(r"\+?[\d\s()/.-]{6,}(\d\d)")


class Authorship:
    """Decide per message whether its sender is wanted, and count who wrote how many.

    Args:
        me: the author's names and addresses, as `--me` gives them; case makes no difference.
        own: the author's messages are wanted; else all but the author's, as contrast.
    """

    def __init__(self, me: Sequence[str], *, own: bool) -> None:
        """Start with nobody counted."""
        self._me = {name.strip().casefold() for name in me if name.strip()}
        self._own = own
        self._counts: Counter[str] = Counter()
        self._labels: dict[str, str] = {}
        self._wanted = 0

    def wants(self, sender: Sender) -> bool:
        """Count a message, and say whether it is to be read.

        Where nobody said who the author is, the first sender is wanted: if another one comes, `check` fails.
        """
        identity = (sender.address or sender.name).casefold()
        is_author = sender.is_owner or bool({sender.name.casefold(), sender.address.casefold()} & self._me)
        if sender.is_owner is None:
            self._counts[identity] += 1
            self._labels.setdefault(identity, render_sender(sender))
            if self._own and not self._me:
                is_author = identity == next(iter(self._counts))
        wanted = is_author is self._own
        self._wanted += wanted
        return wanted

    def check(self) -> None:
        """Refuse messages by several people where it isn't known who of them is the author, and messages by none.

        Raises:
            DataError: with the senders and how many messages each wrote.
        """
        if not self._own or not self._counts:
            return
        if not self._me and len(self._counts) > 1:
            raise DataError(
                f"several people wrote these messages: {self._list_senders()}; say which of them is the author "
                "with --me NAME_OR_ADDRESS, once for each name or address"
            )
        if not self._wanted:
            raise DataError(f"no message is by --me; the senders are: {self._list_senders()}")

    def _list_senders(self) -> str:
        shown = [
            f"{self._labels[sender]} ({count:,})" for sender, count in self._counts.most_common(_MOST_SENDERS_SHOWN)
        ]
        more = len(self._counts) - len(shown)
        return ", ".join(shown) + (f", and {more:,} more" if more else "")


def render_sender(sender: Sender) -> str:
    """Return a sender's name, with enough of an address or number for its owner to know it, but not to use it."""
    if "@" in sender.address and sender.name and "@" not in sender.name:
        return f"{sender.name} <{_shorten(sender.address)}>"
    return _shorten(sender.name or sender.address)


def _shorten(text: str) -> str:
    if match := _ADDRESS.fullmatch(text):
        return f"{match[1]}…@{match[2]}"
    match = _NUMBER.fullmatch(text)
    return f"…{match[1]}" if match else text
