"""The verbs of one machine: texts in, an adapter, and its measure."""

import enum
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ghostpen.cli.front import ConfigOption, SetOption, app, describe_remote, make_console, show_progress
from ghostpen.errors import ConfigError


class RunMode(enum.Enum):
    """What `run` does."""

    train = "train"
    test = "test"


class ControlMode(enum.Enum):
    """Where `test` takes the control from."""

    trained = "trained"
    auto = "auto"


class Typography(enum.Enum):
    """What `prepare` does with quotes, dashes and blanks."""

    keep = "keep"
    unified = "unified"


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
    typography: Annotated[
        Typography, typer.Option(help="Keep quotes, dashes and blanks as they are, or write all authors' alike.")
    ] = Typography.keep,
    review: Annotated[
        bool, typer.Option("--review", help="Show what is dropped, as a diff, and ask before anything is written.")
    ] = False,
    tokenizer: Annotated[
        str, typer.Option(metavar="MODEL", help="Whose tokens are counted: a folder, or a Hugging Face id.")
    ] = "embedded:tiny",
) -> None:
    """Clean texts, split them by document and write them as training data."""
    from ghostpen.data.advice import compute_advice, load_identifier, show_advice
    from ghostpen.data.manifest import REPEATS_NAME
    from ghostpen.data.prepare import prepare_data
    from ghostpen.data.redaction import Redactor, load_names
    from ghostpen.data.sections import SplitFile
    from ghostpen.data.sources import ReadingOptions
    from ghostpen.data.terminal import ask_for_review, choose_column, render_prepared, render_repeats

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
        tokenizer=tokenizer,
        typography=typography.value,
        review=ask_for_review if review else None,
        show_progress=partial(show_progress, in_bytes=False),
    )
    if prepared is None:
        return
    console = make_console()
    for file in prepared.unread:
        typer.echo(f"not read: {file.origin}: {file.reason}", err=True)
    for line in render_repeats(prepared.repeats, where=out / REPEATS_NAME):
        typer.echo(line, err=True)
    if prepared.already_there:
        console.print(
            f"nothing to do: {prepared.dir} holds the data of the same texts and settings",
            soft_wrap=True,
            markup=False,
        )
    else:
        console.print(render_prepared(prepared))
    advice = compute_advice(prepared.manifest, SplitFile(prepared.dir, "train"), identify=load_identifier())
    show_advice(advice, console=console)


@app.command()
def train(
    context: typer.Context,
    config: ConfigOption,
    overrides: SetOption = None,
    control: Annotated[
        bool, typer.Option("--control", help="Train the control adapter: the same plan, other authors' texts.")
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
        console = make_console(quiet=not ranks.is_first)
        train_run(run_config, control=control, resume=resume, console=console, run_id=run_id, ranks=ranks)


@app.command()
def test(
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings of the run; the newest run in runs/ if left out."),
    ] = None,
    overrides: SetOption = None,
    control: Annotated[
        ControlMode,
        typer.Option(help="auto trains the control where it is missing; from the shipped authors if need be."),
    ] = ControlMode.trained,
) -> None:
    """Measure base, control and author adapter on held-out texts, and say whether the style was learned."""
    from ghostpen.config import find_newest_run, load_run_config, load_saved_config

    if config is not None:
        run_config = load_run_config(config, overrides or ())
    elif overrides:
        raise ConfigError("--set changes the settings of a file: name it with --config FILE")
    else:
        run_config = load_saved_config(find_newest_run())

    from ghostpen.evaluation.run import check_author, test_run

    console = make_console()
    if control is ControlMode.auto:
        from ghostpen.evaluation.control import ensure_control

        check_author(run_config)  # before a training that nothing could be compared to
        ensure_control(run_config, console=console, show_progress=partial(show_progress, in_bytes=False))
    test_run(run_config, console=console, show_progress=partial(show_progress, in_bytes=False, stays=False))


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
def inspect(
    model: Annotated[str, typer.Argument(help="A Hugging Face id, a folder, embedded:tiny, or s3://BUCKET/PREFIX.")],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The run's settings; the defaults if left out.")
    ] = None,
    overrides: SetOption = None,
    gpu_memory_gb: Annotated[
        float | None,
        typer.Option(
            "--gpu-memory",
            min=0.001,
            max=1e6,
            metavar="GB",
            help="Of the GPU to train on; else of the one here.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
) -> None:
    """Show what a gpt-oss contains, what an adapter is put on, and what memory a run needs, without its weights."""
    from ghostpen.config import load_inspected_config

    run_config = load_inspected_config(config, overrides or (), model=model)

    from ghostpen.model.inspection import find_gpu_bytes, inspect_model, render_inspection

    with describe_remote(model) as description:
        inspection = inspect_model(
            model,
            run_config,
            description=description,
            gpu_bytes=find_gpu_bytes() if gpu_memory_gb is None else round(gpu_memory_gb * 1e9),
        )
    if as_json:
        typer.echo(inspection.to_json())
    else:
        make_console().print(render_inspection(inspection))
