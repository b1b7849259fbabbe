"""`ghostpen doctor`: what this machine has, and what is missing for which verb."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostpen.cli.front import app, make_console

if TYPE_CHECKING:
    from ghostpen.doctor import Finding


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask AWS nothing.")] = False,
) -> None:
    """Show what this machine has, and what is missing for which verb; nothing is changed."""
    from ghostpen.doctor import examine, render_findings

    console = make_console()
    with console.status("looking"):
        findings = examine(environ=os.environ, folder=Path.cwd())
        if not offline:
            findings.append(_examine_aws())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console.print(render_findings(findings))


def _examine_aws() -> "Finding":
    from ghostpen.aws.identity import find_identity
    from ghostpen.doctor import Finding
    from ghostpen.errors import CloudError

    verbs = "run, data push, pull, deploy"
    try:
        return Finding("AWS identity", True, find_identity(os.environ), verbs)
    except CloudError as error:
        return Finding("AWS identity", False, "none", verbs, error.message)
