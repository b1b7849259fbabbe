"""The verbs between this machine and S3: data push, pull."""

from pathlib import Path
from typing import Annotated

import typer

from ghostpen import __version__
from ghostpen.cli.front import app, show_progress

data_app = typer.Typer(no_args_is_help=True)
app.add_typer(data_app, name="data", help="Bring prepared data to S3.")


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
    with show_progress() as show:
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
    with show_progress() as show:
        pulled = pull_run(store, run_id, out or Path("runs") / run_id, progress=show)
    typer.echo(f"{pulled.folder} holds {', '.join(pulled.parts)}")
