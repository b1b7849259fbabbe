"""The verb that has a base model write briefs of what was prepared."""

from pathlib import Path
from typing import Annotated

import typer

from ghostpen.cli.front import SetOption, app, make_console, show_progress


@app.command()
def brief(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The folder that `ghostpen prepare` wrote.")],
    base: Annotated[
        str, typer.Option(metavar="MODEL", help="Who writes: a Hugging Face id, a folder, or embedded:tiny.")
    ],
    rewrite: Annotated[
        bool, typer.Option("--rewrite", help="Write plain versions of the passages, in place of briefs.")
    ] = False,
    share: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Of the training text, how much gets a brief.")
    ] = 0.5,
    words: Annotated[int, typer.Option(min=60, max=1000, help="Words in a passage, at most.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Decides which passages, and what is written.")] = 0,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="How the model is loaded: the section model of a run's settings."),
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Have the base model write briefs of the training text's passages, for data.brief_share."""
    from ghostpen.config import load_inspected_config

    embedded = ["model.precision=float32", "model.require_gpu=false"] if base.startswith("embedded:") else []
    run_config = load_inspected_config(config, [*embedded, *(overrides or ())], model=base)

    from ghostpen.data.briefing import brief_data

    with show_progress(in_bytes=False) as show:
        for briefed in brief_data(
            data,
            model=run_config.model,
            kind="rewrite" if rewrite else "brief",
            share=share,
            max_words=words,
            seed=seed,
            show_progress=show,
        ):
            make_console().print(briefed.describe(), soft_wrap=True, markup=False)
