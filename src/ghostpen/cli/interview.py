"""The verb that asks: ask."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ghostpen.cli.front import app, make_console


@app.command()
def ask(
    deploy_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The deployment's settings; configs/deploy.toml if left out."),
    ] = None,
    deadline_s: Annotated[
        float,
        typer.Option(
            min=1, max=86_400, metavar="SECONDS", help="When to give up on an answer of the aws or gh program."
        ),
    ] = 30,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ask nothing: put the questions into this document, between its marks."),
    ] = None,
) -> None:
    """Ask for what a deployment needs and only you know, and write it down, here and on GitHub."""
    from ghostpen.aws.interview.dialogue import hold_interview, update_document
    from ghostpen.aws.interview.known import print_open
    from ghostpen.aws.interview.terminal import Terminal
    from ghostpen.aws.settings import DEFAULT_FILE

    path = DEFAULT_FILE if deploy_config is None else deploy_config
    if markdown is not None:
        update_document(markdown)
    elif sys.stdin.isatty() and sys.stdout.isatty():
        hold_interview(path, environ=os.environ, terminal=Terminal(make_console()), timeout_s=deadline_s)
    else:
        print_open(path, environ=os.environ, show=typer.echo)
