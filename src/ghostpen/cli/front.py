"""The front door: the app, how an error reaches the person, and what several verbs show or ask for.

One line on stderr and an exit code, never a traceback for what the person can put right.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ghostpen import __version__
from ghostpen.errors import DataError, GhostpenError, Interrupted

if TYPE_CHECKING:
    from rich.console import Console

    from ghostpen.aws.transfer import Progress

# What the machine refuses and the person can put right. Any other OSError is a bug and keeps its traceback.
_REFUSALS = {errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EROFS, errno.ENOTDIR}


class OneLineErrors(TyperGroup):
    """Turn an error of ours, a refusal of the machine and Ctrl-C into one line and an exit code."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Keep the arguments as they were given: `train` starts processes with the same ones."""
        given = list(args)
        try:
            check_arguments(given)
        except GhostpenError as error:
            raise print_error(error.message, error.exit_code) from error
        context = super().make_context(info_name, args, parent, **extra)
        context.obj = given
        return context

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own Context, re-exported
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except GhostpenError as error:
            raise print_error(error.message, error.exit_code) from error
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            raise print_error(f"{error.filename or 'disk'}: {error.strerror}", 2) from error
        except KeyboardInterrupt as error:
            raise print_error("interrupted", Interrupted.exit_code) from error


app = typer.Typer(
    name="ghostpen",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=True,
    # A traceback that shows local variables would show the author's private text.
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The run's settings, a TOML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, such as train.max_steps=100."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ghostpen {__version__}")
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Train gpt-oss to write like one author, and measure whether it does."""


@contextmanager
def show_progress(*, in_bytes: bool = True, stays: bool = True) -> Iterator[Callable[[str], "Progress"]]:
    """Show a bar on standard error for each title that is asked for, at a terminal only; in bytes or in per cent.

    Args:
        stays: the bars are left standing at the end.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        ProgressColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    console = make_console(stderr=True)
    amounts: tuple[ProgressColumn, ...] = (TaskProgressColumn(),)
    if in_bytes:
        amounts = (DownloadColumn(), TransferSpeedColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *amounts, TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal, transient=not stays) as bars:

        def show(title: str) -> "Progress":
            task = bars.add_task(title, total=None)
            return lambda bytes_done, bytes_total: bars.update(task, completed=bytes_done, total=bytes_total)

        yield show


@contextmanager
def describe_remote(model: str) -> Iterator[Path | None]:
    """Bring the description of a model in S3 into a temporary folder; any other model is read where it is."""
    from ghostpen.aws.s3 import S3_PREFIX, ObjectStore, download_description, make_client, parse_location

    if not model.startswith(S3_PREFIX):
        yield None
        return
    store = ObjectStore(make_client(), parse_location(model))
    with TemporaryDirectory(prefix="ghostpen-") as folder:
        download_description(store, Path(folder))
        yield Path(folder)


def check_arguments(arguments: Sequence[str]) -> None:
    """Make sure that arguments are text: Python lets other bytes through, and a tokenizer or a file stumbles later.

    Raises:
        DataError: one is not UTF-8.
    """
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            # From a little before the first wrong byte on: an argument may be a whole text.
            shown = ascii(argument[max(0, error.start - 20) : error.start + 20])
            raise DataError(
                f"argument {number} is not UTF-8, at {shown}; pass on text, and names of files, in UTF-8"
            ) from error


def make_console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    """Make what shows things to a person; what is shown may hold brackets."""
    from rich.console import Console

    return Console(stderr=stderr, quiet=quiet, highlight=False)


def print_error(message: str, exit_code: int) -> typer.Exit:
    """Print the one line, and make what leaves with the code."""
    from rich.text import Text

    # Text, not markup: a message may hold brackets, such as a config's [section].
    line = Text.assemble(("error: ", "bold red"), message)
    make_console(stderr=True).print(line, soft_wrap=True)
    return typer.Exit(exit_code)
