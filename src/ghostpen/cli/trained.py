"""The verbs of a trained run: write with it, and give it to other programs."""

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostpen.cli.front import app, make_console
from ghostpen.errors import ConfigError, DataError

if TYPE_CHECKING:
    from ghostpen.config import RunConfig


class Preset(enum.Enum):
    """How `write` draws."""

    steady = "steady"
    balanced = "balanced"
    free = "free"
    likeliest = "likeliest"


class ExportTo(enum.Enum):
    """What `export` writes."""

    adapter = "adapter"
    merged = "merged"
    gguf = "gguf"
    ollama = "ollama"


@app.command()
def write(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The beginning of a text, to be continued; - reads it from standard input."),
    ] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read the beginning from a file.")] = None,
    in_chat: Annotated[
        bool, typer.Option("--continue", help="Ask for the continuation in a chat, as data.continue_share trains it.")
    ] = False,
    brief: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Write from a brief, as data.brief_share trains it.")
    ] = None,
    rewrite: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|TEXT", help="Write this again in the author's words, as data.rewrite_share trains it."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings of the run whose adapter writes; else the newest run in runs/."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Or a run's folder, wherever it was moved to.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Show what the base model writes, too.")] = False,
    n: Annotated[int, typer.Option("--n", min=1, help="Write so many texts; each has the next seed.")] = 1,
    max_words: Annotated[int, typer.Option(min=1, help="Stop after this many words.")] = 150,
    preset: Annotated[
        Preset,
        typer.Option(help="How to draw: steady is even, balanced lively, free as learned; likeliest draws nothing."),
    ] = Preset.balanced,
    temperature: Annotated[
        float | None,
        typer.Option(min=0.0, max=100.0, help="In place of the preset's; 0 always takes the likeliest word."),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="In place of the preset's: share of the likeliest words to draw from."),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="In place of the preset's: leave out what is less likely than this share of the best.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same text.")] = 0,
) -> None:
    """Continue a text in the author's style, or write from a brief; without a prompt, ask for one after the other."""
    if config is not None and run is not None:
        raise ConfigError("name the run once: with --config FILE or with --run DIR")
    if prompt is not None and file is not None:
        raise ConfigError("a prompt and --file are two things to write: give one of them")
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()

    from ghostpen.evaluation.requests import Request, choose_sampling, plan_request

    request = plan_request(
        beginning=_read_file(file) if file else _read_input() if prompt == "-" else prompt,
        brief=brief,
        rewrite=_read_file(Path(rewrite)) if rewrite and _is_file(rewrite) else rewrite,
        in_chat=in_chat,
    )
    if request is None and not at_terminal:
        raise ConfigError(
            "nothing to write: give the beginning of a text, --file FILE, - for standard input, --brief or "
            "--rewrite; at a terminal none of them is needed"
        )
    run_config, run_dir = _find_run(config, run)

    from ghostpen.evaluation.generation import Wish, load_writer, write_at_prompt

    def warn(message: str) -> None:
        typer.echo(message, err=True)

    wish = Wish(
        request or Request("continue" if in_chat else "text", ""),
        choose_sampling(preset.value, temperature=temperature, top_p=top_p, min_p=min_p),
        max_words=max_words,
        seed=seed,
        count=n,
    )
    console = make_console()
    writer = load_writer(
        run_config, run_dir=run_dir, kind=wish.request.kind, compare=compare, console=console, warn=warn
    )
    if request is not None:
        writer.write(wish)
        return

    import readline  # noqa: F401  # arrow keys, and the lines before

    console.print(
        f"{run_dir}: {wish.sampling.describe()}, {max_words} words at most, seed {seed} and on; type the beginning "
        "of a text; Ctrl-C ends a text, Ctrl-D all",
        markup=False,
        soft_wrap=True,
    )
    write_at_prompt(wish, writer, ask=ask_line, warn=warn)


def ask_line() -> str:
    """Ask for a line; what ends the conversation ends the line, too.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        line = input("> ")
        line.encode()  # in a POSIX locale other bytes come as surrogates
    except UnicodeError as error:
        raise DataError("the line is not UTF-8; set the terminal to UTF-8") from error
    except (EOFError, KeyboardInterrupt):
        typer.echo()
        raise
    return line


def _find_run(config: Path | None, run: Path | None) -> "tuple[RunConfig, Path]":
    from ghostpen.config import find_newest_run, load_run_config, load_saved_config

    if config is not None:
        settings = load_run_config(config)
        return settings, settings.run_dir
    folder = run if run is not None else find_newest_run()
    return load_saved_config(folder), folder


def _is_file(text: str) -> bool:
    """Tell whether a text names a file; a long one is no name."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _read_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError(f"{path} can't be read ({why}); name a text file in UTF-8") from error


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().strip()
    except UnicodeDecodeError as error:
        raise DataError("standard input is not UTF-8; pass on a text that is") from error


@app.command()
def export(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run's folder; the newest in runs/ if left out.")
    ] = None,
    *,
    to: Annotated[ExportTo, typer.Option(help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to; RUN/export/ and the value of --to if left out.")
    ] = None,
    author_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name the author so in the card, which else names nobody.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Merge into this checkpoint; needed where the run's base is a 4-bit one."),
    ] = None,
    llama_cpp: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="LLAMA_CPP_DIR", help="A checkout of llama.cpp, for gguf and ollama."),
    ] = None,
    gguf_type: Annotated[
        str, typer.Option(metavar="TYPE", help="The converter's --outtype, such as bf16 or q8_0.")
    ] = "auto",
    deadline_s: Annotated[
        float,
        typer.Option(min=1, max=604_800, metavar="SECONDS", help="When to give up on the converter, and on ollama."),
    ] = 7200,
    create: Annotated[
        str | None, typer.Option(metavar="NAME", help="With ollama: create the model there under this name.")
    ] = None,
) -> None:
    """Write a finished run as other programs load it: PEFT and vLLM, transformers, llama.cpp, Ollama."""
    from ghostpen.config import find_newest_run
    from ghostpen.export.run import ExportSettings, export_run

    settings = ExportSettings(
        target=to.value,
        out=out,
        author_name=author_name,
        base=base,
        llama_cpp=llama_cpp,
        gguf_type=gguf_type,
        deadline_s=deadline_s,
        create=create,
    )
    export_run(run if run is not None else find_newest_run(), settings, console=make_console())
