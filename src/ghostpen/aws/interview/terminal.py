"""A person at a terminal: what is said, and what is answered."""

from __future__ import annotations

import getpass
import select
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.aws.interview.look_ups import Proposal

_SHOWN = 20  # proposals
_LOOK_S = 0.2  # a Ctrl-C is noticed after this at the latest


class Terminal:
    """Speak to the person. Ctrl-D is Ctrl-C: there will be no more answers."""

    def __init__(self, console: Console) -> None:
        """Take where to write; what is typed comes from standard input."""
        self._console = console

    def say(self, text: str = "", *, style: str = "") -> None:
        """Write a text; nothing in it, wherever it comes from, can steer the terminal."""
        shown = "".join(character for character in text if character.isprintable() or character in "\n\t")
        self._console.print(shown, style=style, markup=False, soft_wrap=True)

    def ask(self, prompt: str) -> str:
        """Read a line, without the blanks around it."""
        return self._take(read_line, prompt)

    def ask_hidden(self, prompt: str) -> str:
        """Read a line that is not shown."""
        return self._take(getpass.getpass, prompt)

    def confirm(self, question: str) -> bool:
        """Ask until there is a yes or a no; neither is taken for granted."""
        while True:
            match self.ask(f"{question} [y/n] ").lower():
                case "y" | "yes":
                    return True
                case "n" | "no":
                    return False

    def ask_with_proposals(self, prompt: str, proposals: Sequence[Proposal]) -> str:
        """Read a value, or the number of one that was proposed."""
        shown = proposals[:_SHOWN]
        for number, proposal in enumerate(shown, start=1):
            self.say(f"  {number}  {proposal.value}" + (f"  ({proposal.source})" if proposal.source else ""))
        if len(proposals) > len(shown):
            self.say(f"  and {len(proposals) - len(shown)} more")
        answer = self.ask(prompt)
        numbers = {str(number): proposal.value for number, proposal in enumerate(shown, start=1)}
        return numbers.get(answer, answer)

    def _take(self, read: Callable[[str], str], prompt: str) -> str:
        try:
            return read(prompt).strip()
        except (KeyboardInterrupt, EOFError) as error:
            self.say()  # or what is said next would stand behind the prompt
            raise KeyboardInterrupt from error


def read_line(prompt: str) -> str:
    """Read a line, as `input` does, which would sleep through a Ctrl-C that comes while it writes the prompt.

    Raises:
        EOFError: by Ctrl-D.
    """
    print(prompt, end="", flush=True)
    while not select.select([sys.stdin], [], [], _LOOK_S)[0]:
        pass
    if not (line := sys.stdin.readline()):
        raise EOFError
    return line
