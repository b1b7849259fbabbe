"""The `ghostpen` command: parses, loads the config, calls one function per verb.

Owns the names of verbs and options, and how an error reaches the person: one line on stderr and an exit
code, never a traceback for what the person can put right. Must not decide anything else. Whatever loads
torch, Unsloth, pydantic or matplotlib is imported inside the verb that needs it, so that `--help` stays fast.
"""

import enum
import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ghostpen import __version__
from ghostpen.errors import ConfigError, GhostpenError, Interrupted

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
        context = super().make_context(info_name, args, parent, **extra)
        context.obj = given
        return context

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own Context, re-exported
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except GhostpenError as error:
            raise _print_error(error.message, error.exit_code) from error
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            raise _print_error(f"{error.filename or 'disk'}: {error.strerror}", 2) from error
        except KeyboardInterrupt as error:
            raise _print_error("interrupted", Interrupted.exit_code) from error


app = typer.Typer(
    name="ghostpen",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    # A traceback that shows local variables would show the author's private text.
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(no_args_is_help=True)
app.add_typer(data_app, name="data", help="Bring prepared data to S3.")

ConfigOption = Annotated[Path, typer.Option("--config", metavar="FILE", help="The run's settings, a TOML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, such as train.max_steps=100."),
]


class RunMode(enum.Enum):
    """What `run` does."""

    train = "train"
    test = "test"


class ExportTo(enum.Enum):
    """What `export` writes."""

    adapter = "adapter"
    merged = "merged"
    gguf = "gguf"
    ollama = "ollama"


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


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC...",
            help="Texts, books, mails, chats and archives: files, folders of them, or embedded:NAME.",
        ),
    ],
    author: Annotated[str, typer.Option(metavar="NAME", help="Who wrote the texts.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    contrast: Annotated[
        list[str] | None,
        typer.Option(metavar="SRC", help="Texts by others, for the control and the comparison."),
    ] = None,
    val_docs: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Documents to hold out for validation, by name.")
    ] = None,
    test_docs: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Documents to hold out for the test, by name.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.")] = 0,
    me: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The author's name or address in mails and chats; once for each."),
    ] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The column of a table that holds the text; once for each."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A file that can't be read is an error.")] = False,
    redact: Annotated[bool, typer.Option("--redact", help="Mask e-mail addresses, phone numbers and keys.")] = False,
    redact_names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Mask these names as well, one a line; implies --redact.")
    ] = None,
) -> None:
    """Clean texts, split them by document and write them as training data."""
    from ghostpen.data.prepare import prepare_data
    from ghostpen.data.redaction import Redactor, load_names
    from ghostpen.data.sources import ReadingOptions
    from ghostpen.data.terminal import choose_column, render_prepared

    names = load_names(redact_names) if redact_names is not None else []
    prepared = prepare_data(
        sources,
        author=author,
        out=out,
        contrast=contrast or (),
        val_docs=val_docs,
        test_docs=test_docs,
        seed=seed,
        options=ReadingOptions(
            me=tuple(me or ()),
            text_columns=tuple(text_column or ()),
            choose_column=choose_column if sys.stdin.isatty() and sys.stderr.isatty() else None,
            strict=strict,
        ),
        redactor=Redactor(names) if redact or names else None,
    )
    console = _make_console()
    for file in prepared.unread:
        typer.echo(f"not read: {file.origin}: {file.reason}", err=True)
    if prepared.already_there:
        console.print(
            f"nothing to do: {prepared.dir} holds the data of the same texts and settings",
            soft_wrap=True,
            markup=False,
        )
    else:
        console.print(render_prepared(prepared))


@app.command()
def train(
    context: typer.Context,
    config: ConfigOption,
    overrides: SetOption = None,
    control: Annotated[
        bool, typer.Option("--control", help="Train the control adapter: same steps, other authors' texts.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    processes: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto", help="Train in N processes on this machine; auto is one a GPU. 1 if left out."
        ),
    ] = None,
    tracker: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="wandb, tensorboard or none: short for --set tracking.tracker=NAME."),
    ] = None,
    run_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Id of a new run, in Weights & Biases too; made up if left out."),
    ] = None,
) -> None:
    """Train an adapter on an author's texts and draw its perplexity curve."""
    from ghostpen.config import load_run_config
    from ghostpen.training import launch

    chosen = [f"tracking.tracker={tracker}"] if tracker is not None else []
    # Before torch: a wrong setting answers at once.
    run_config = load_run_config(config, [*(overrides or ()), *chosen])
    place = launch.read_place(os.environ)
    count = launch.plan_processes(processes, train=run_config.train, place=place, count_gpus=launch.count_gpus)
    if place is None and count > 1:
        command = [sys.executable, "-P", "-m", "ghostpen", *context.obj]
        outcome = launch.launch_processes(command, processes=count, environ=os.environ)
        typer.echo(outcome.stderr, err=True, nl=False)
        raise typer.Exit(outcome.exit_code)

    from ghostpen.training.ranks import join_ranks
    from ghostpen.training.run import train_run

    with join_ranks(place) as ranks:
        console = _make_console(quiet=not ranks.is_first)
        train_run(run_config, control=control, resume=resume, console=console, run_id=run_id, ranks=ranks)


@app.command()
def test(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings of the run; the newest run in runs/ if left out."),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Measure base, control and author adapter on held-out texts, and say whether the style was learned."""
    from ghostpen.config import find_newest_run, load_run_config, load_saved_config

    if config is not None:
        run_config = load_run_config(config, overrides or ())
    elif overrides:
        raise ConfigError("--set changes the settings of a file: name it with --config FILE")
    else:
        run_config = load_saved_config(find_newest_run())

    from ghostpen.evaluation.run import test_run

    test_run(run_config, console=_make_console())


@app.command()
def run(
    mode: Annotated[RunMode, typer.Option(help="What to do.")],
    config: Annotated[str, typer.Option(metavar="FILE", help="The run's settings: a TOML file, or s3://BUCKET/KEY.")],
    overrides: SetOption = None,
    run_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The run to go on with, or to test; made up for a new training."),
    ] = None,
    work: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to work in; work/RUN_ID if left out.")
    ] = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Train in N processes on this machine; auto is one a GPU.")
    ] = None,
    control: Annotated[
        bool, typer.Option(help="Train the control, too, which a test needs, where the data have other authors.")
    ] = True,
) -> None:
    """Do the container's job: bring the data from S3, train or test, and put everything back, whatever happens."""
    from ghostpen.container.run import run_command

    run_command(
        mode.value,
        config=config,
        overrides=overrides or (),
        run_id=run_id,
        work=work,
        processes=processes,
        with_control=control,
        environ=os.environ,
    )


@app.command()
def write(
    prompt: Annotated[str, typer.Argument(help="The beginning of a text, to be continued.")],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings of the run whose adapter writes; else the newest run in runs/."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Or a run's folder, wherever it was moved to.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Show the base model's continuation, too.")] = False,
    max_words: Annotated[int, typer.Option(min=1, help="Stop after this many words.")] = 150,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest word.")] = 0.9,
    top_p: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the likeliest words to draw from.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same text.")] = 0,
) -> None:
    """Continue a text in the author's style."""
    from ghostpen.config import find_newest_run, load_run_config, load_saved_config

    if config is not None and run is not None:
        raise ConfigError("name the run once: with --config FILE or with --run DIR")
    if config is not None:
        run_config = load_run_config(config)
        run_dir = run_config.run_dir
    else:
        run_dir = run if run is not None else find_newest_run()
        run_config = load_saved_config(run_dir)

    from ghostpen.evaluation.generation import write_text

    write_text(
        prompt,
        config=run_config,
        run_dir=run_dir,
        compare=compare,
        max_words=max_words,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        console=_make_console(),
    )


@app.command()
def export(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN", help="A run's folder; the newest in runs/ if left out.")
    ] = None,
    *,
    to: Annotated[ExportTo, typer.Option(help="What to write.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to; RUN/export/ if left out.")] = None,
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
        float, typer.Option(min=1, metavar="SECONDS", help="When to give up on the converter, and on ollama.")
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
    export_run(run if run is not None else find_newest_run(), settings, console=_make_console())


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="A Hugging Face id, a folder, embedded:tiny, or s3://BUCKET/PREFIX.")],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The run's settings; the defaults if left out.")
    ] = None,
    overrides: SetOption = None,
    gpu_memory_gb: Annotated[
        float | None,
        typer.Option("--gpu-memory", min=0.001, metavar="GB", help="Of the GPU to train on; else of the one here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Show what a gpt-oss contains, what an adapter is put on, and what memory a run needs, without its weights."""
    from ghostpen.config import load_inspected_config

    run_config = load_inspected_config(config, overrides or (), model=model)

    from ghostpen.model.inspection import find_gpu_bytes, inspect_model, render_inspection

    with _describe_remote(model) as description:
        inspection = inspect_model(
            model,
            run_config,
            description=description,
            gpu_bytes=find_gpu_bytes() if gpu_memory_gb is None else round(gpu_memory_gb * 1e9),
        )
    if as_json:
        typer.echo(inspection.to_json())
    else:
        _make_console().print(render_inspection(inspection))


@data_app.command()
def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `ghostpen prepare` wrote.")],
    to: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", help="Where storage.uri points.")],
) -> None:
    """Put prepared data below s3://BUCKET/PREFIX/data, whole or not at all."""
    from ghostpen.aws.bundle import push_bundle
    from ghostpen.aws.runs import DATA, parse_data_location
    from ghostpen.aws.s3 import ObjectStore, make_client
    from ghostpen.data.manifest import list_prepared_files, load_manifest

    location = parse_data_location(to)
    files = list_prepared_files(folder)
    info = {"ghostpen_version": __version__, "data_sha256": load_manifest(folder).data_sha256}
    with _show_progress() as show:
        pushed = push_bundle(ObjectStore(make_client(), location), DATA, files, info=info, progress=show(str(folder)))
    where = f"s3://{location.bucket}/{location.locate(DATA)}"
    typer.echo(f"{where} holds {folder}: {len(files)} files, {pushed.size_bytes:,} bytes, since {pushed.created_at}")


@app.command()
def pull(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The id of a run.")],
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="s3://BUCKET/PREFIX", help="Where its storage.uri pointed.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder to bring it to; runs/RUN_ID if left out.")
    ] = None,
) -> None:
    """Bring a run's results from S3: adapters, report, pictures, log."""
    from ghostpen.aws.runs import pull_run
    from ghostpen.aws.s3 import ObjectStore, make_client, parse_location

    store = ObjectStore(make_client(), parse_location(source))
    with _show_progress() as show:
        pulled = pull_run(store, run_id, out or Path("runs") / run_id, progress=show)
    typer.echo(f"{pulled.folder} holds {', '.join(pulled.parts)}")


@contextmanager
def _show_progress() -> Iterator[Callable[[str], "Progress"]]:
    """Show a bar on standard error for each title that is asked for, at a terminal only."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = _make_console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:

        def show(title: str) -> "Progress":
            task = bars.add_task(title, total=None)
            return lambda bytes_done, bytes_total: bars.update(task, completed=bytes_done, total=bytes_total)

        yield show


@contextmanager
def _describe_remote(model: str) -> Iterator[Path | None]:
    """Bring the description of a model in S3 into a temporary folder; any other model is read where it is."""
    from ghostpen.aws.s3 import S3_PREFIX, ObjectStore, download_description, make_client, parse_location

    if not model.startswith(S3_PREFIX):
        yield None
        return
    store = ObjectStore(make_client(), parse_location(model))
    with TemporaryDirectory(prefix="ghostpen-") as folder:
        download_description(store, Path(folder))
        yield Path(folder)


def _make_console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, quiet=quiet, highlight=False)


def _print_error(message: str, exit_code: int) -> typer.Exit:
    from rich.text import Text

    # Text, not markup: a message may hold brackets, such as a config's [section].
    line = Text.assemble(("error: ", "bold red"), message)
    _make_console(stderr=True).print(line, soft_wrap=True)
    return typer.Exit(exit_code)
